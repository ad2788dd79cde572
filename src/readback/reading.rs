//! One reading of a stream: which question is asked next, and what its answer means.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::shard::ShardReading;
use super::{Page, Position, Progress, Reader, Shards, StoredRecord, Taken, Window};
use crate::backoff::backoff;
use crate::hash_key::HashRange;
use crate::limits::{
    CLOCK_MARGIN, READ_BACK_PATIENCE, READ_EMPTY_ANSWERS_MAX, READ_REQUESTS_IN_FLIGHT, READ_THROTTLED_MAX, SHARD_BYTES_OUT_MAX,
    SHARD_READ_INTERVAL, SHARD_TIP_INTERVAL,
};
use crate::outcome::{Failure, Verdict};
use crate::service_clock::ServiceClock;
use crate::stream::Shard;

/// A reading on its way.
pub(super) struct Reading<'a, R> {
    reader: &'a R,
    clock: &'a ServiceClock,
    window: Window,
    shards: &'a Shards,
    progress: &'a Progress,
    random: fastrand::Rng,
    in_flight: Vec<Pin<Box<dyn Future<Output = Answered> + Send + 'a>>>,
    /// Shards that are asked next, by when. The second number tells them apart.
    waiting: BTreeMap<(Instant, u64), ShardReading>,
    next_number: u64,
    /// All shards that were ever listed and are read.
    known: HashSet<Arc<str>>,
    /// Those of them that are not known to be closed.
    open: Vec<Shard>,
    /// Of those that are not done: what arrived before is read, in milliseconds since 1970.
    reached: HashMap<Arc<str>, i64>,
    /// Hash keys of which it is not known which shards have them now: at first all, later those of a shard that is closed.
    uncovered: Vec<HashRange>,
    /// Shards that are not there any more, if they are not in the next list either.
    missing: Vec<(ShardReading, Failure)>,
    /// When shards are listed; none while they need not be.
    list_at: Option<Instant>,
    list_failure_count: u32,
    /// Since when the service has answered nothing but failures.
    fruitless_since: Option<Instant>,
}

/// An answer to a question.
struct Answered {
    asked_at: Instant,
    answer: Answer,
}

enum Answer {
    Listed(Result<Vec<Shard>, Failure>),
    Iterator(ShardReading, Result<String, Failure>),
    Page(ShardReading, Result<Page, Failure>),
}

impl<'a, R: Reader> Reading<'a, R> {
    pub(super) fn new(
        reader: &'a R,
        clock: &'a ServiceClock,
        window: Window,
        shards: &'a Shards,
        progress: &'a Progress,
    ) -> Self {
        let seed = window.from_ms.cast_unsigned() ^ clock.now_ms().cast_unsigned().rotate_left(32);
        Self {
            reader,
            clock,
            window,
            shards,
            progress,
            // Two agents that were stopped by the same power cut have not sent last in the same millisecond.
            random: fastrand::Rng::with_seed(seed),
            in_flight: Vec::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            known: HashSet::new(),
            open: Vec::new(),
            reached: HashMap::new(),
            uncovered: vec![HashRange::ALL],
            missing: Vec::new(),
            list_at: Some(Instant::now()),
            list_failure_count: 0,
            fruitless_since: None,
        }
    }

    /// Reads to the end of the window.
    pub(super) async fn run(mut self, mut look: impl FnMut(&StoredRecord) + Send) -> Result<Taken, Failure> {
        loop {
            while self.in_flight.len() < READ_REQUESTS_IN_FLIGHT && self.ask() {}
            let ready_at = if self.in_flight.len() < READ_REQUESTS_IN_FLIGHT { self.ready_at() } else { None };
            if self.in_flight.is_empty() && ready_at.is_none() {
                return Ok(self.progress.taken());
            }
            tokio::select! {
                // In an order, so that a simulation is repeatable.
                biased;
                answered = first_of(&mut self.in_flight), if !self.in_flight.is_empty() => self.answered(answered, &mut look)?,
                () = sleep_until(ready_at.unwrap_or_else(Instant::now)), if ready_at.is_some() => {}
            }
            self.tell_reached();
        }
    }

    fn ready_at(&self) -> Option<Instant> {
        let shard_at = self.waiting.first_key_value().map(|((at, _), _)| *at);
        [self.list_at, shard_at].into_iter().flatten().min()
    }

    /// Asks what may be asked now, if there is something.
    fn ask(&mut self) -> bool {
        let now = Instant::now();
        let reader = self.reader;
        let question: Pin<Box<dyn Future<Output = Answer> + Send + 'a>> = if self.list_at.is_some_and(|at| at <= now) {
            self.list_at = None;
            let from_ms = self.begin_ms();
            Box::pin(async move { Answer::Listed(reader.shards_since(from_ms).await) })
        } else if let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            let reading = first.remove();
            match (reading.iterator.clone(), reading.last_sequence_number.clone()) {
                (Some(iterator), _) => {
                    let count_max = reading.count_max();
                    Box::pin(async move {
                        let page = reader.records(&iterator, count_max).await;
                        Answer::Page(reading, page)
                    })
                }
                (None, last) => {
                    let position = last.map_or_else(|| Position::At(self.begin_ms()), Position::Behind);
                    Box::pin(async move {
                        let iterator = reader.iterator(&reading.shard.id, &position).await;
                        Answer::Iterator(reading, iterator)
                    })
                }
            }
        } else {
            return false;
        };
        self.progress.request_count.fetch_add(1, Ordering::Relaxed);
        self.in_flight.push(Box::pin(async move { Answered { asked_at: now, answer: question.await } }));
        true
    }

    /// A time that is to come is refused.
    fn begin_ms(&self) -> i64 {
        self.window.from_ms.min(self.clock.now_ms()).max(0)
    }

    fn answered(&mut self, answered: Answered, look: &mut impl FnMut(&StoredRecord)) -> Result<(), Failure> {
        let asked_at = answered.asked_at;
        match answered.answer {
            Answer::Listed(Ok(shards)) => self.listed(&shards),
            Answer::Listed(Err(failure)) => self.not_listed(failure),
            Answer::Iterator(mut reading, Ok(iterator)) => {
                reading.iterator = Some(iterator);
                // Its records are asked for by another limit.
                self.wait(Instant::now(), reading);
                Ok(())
            }
            Answer::Page(reading, Ok(page)) => {
                self.fruitless_since = None;
                self.progress.set_trouble(None);
                self.page(reading, page, asked_at, look)
            }
            Answer::Iterator(reading, Err(failure)) | Answer::Page(reading, Err(failure)) => self.not_read(reading, failure),
        }
    }

    fn wait(&mut self, ready_at: Instant, reading: ShardReading) {
        self.next_number += 1;
        self.waiting.insert((ready_at, self.next_number), reading);
    }

    /// New shards are read, from the same time on.
    fn listed(&mut self, listed: &[Shard]) -> Result<(), Failure> {
        for shard in listed {
            let is_wanted = match self.shards {
                Shards::All => true,
                Shards::With(keys) => keys.iter().any(|key| shard.range.contains(*key)),
            };
            if is_wanted {
                self.expect(shard);
            }
        }
        self.progress.shard_count.store(self.known.len() as u64, Ordering::Relaxed);
        for (reading, failure) in std::mem::take(&mut self.missing) {
            if listed.iter().any(|shard| shard.id == reading.shard.id) {
                // Not everything there knows yet that it was made.
                self.ask_again(reading, failure)?;
            } else {
                // It was closed so long ago that it has no records any more.
                self.closed(reading);
            }
        }
        let uncovered = std::mem::take(&mut self.uncovered);
        self.uncovered = uncovered.into_iter().filter(|range| !self.is_covered(*range)).collect();
        if self.uncovered.is_empty() {
            self.list_failure_count = 0;
            return Ok(());
        }
        self.not_listed(Failure {
            verdict: Verdict::Retry,
            code: Failure::RESHARDING.to_owned(),
            message: "the shards that are listed do not have all hash keys".to_owned(),
        })
    }

    /// Reads a shard, if it is a new one.
    pub(super) fn expect(&mut self, shard: &Shard) {
        if self.known.insert(Arc::clone(&shard.id)) {
            self.open.push(shard.clone());
            self.reached.insert(Arc::clone(&shard.id), self.window.from_ms);
            self.wait(Instant::now(), ShardReading::new(shard.clone()));
        }
    }

    fn not_listed(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.is_unreadable() {
            return Err(failure);
        }
        self.list_failure_count = self.list_failure_count.saturating_add(1);
        self.list_at = Some(Instant::now() + self.wait_after(&failure, self.list_failure_count));
        self.bear(failure)
    }

    fn not_read(&mut self, reading: ShardReading, failure: Failure) -> Result<(), Failure> {
        if failure.code == Failure::NO_RESOURCE {
            // Of the shard or of the stream? The list says it.
            self.missing.push((reading, failure));
            self.list_at.get_or_insert_with(Instant::now);
            return Ok(());
        }
        if failure.is_unreadable() {
            return Err(failure);
        }
        self.ask_again(reading, failure)
    }

    fn ask_again(&mut self, mut reading: ShardReading, failure: Failure) -> Result<(), Failure> {
        reading.failed(&failure);
        let wait = self.wait_after(&failure, reading.failure_count);
        self.wait(Instant::now() + wait, reading);
        self.bear(failure)
    }

    fn wait_after(&mut self, failure: &Failure, failure_count: u32) -> Duration {
        let wait = backoff(failure_count, self.random.f64());
        if failure.verdict == Verdict::SlowDown { wait.min(READ_THROTTLED_MAX) } else { wait }
    }

    /// Goes on although something has failed, unless nothing else has happened for too long.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let now = Instant::now();
        if failure.is_out_of_reach() {
            self.fruitless_since = None;
        } else if now.duration_since(*self.fruitless_since.get_or_insert(now)) >= READ_BACK_PATIENCE {
            return Err(failure);
        }
        self.progress.set_trouble(Some(failure));
        Ok(())
    }

    fn page(
        &mut self,
        mut reading: ShardReading,
        page: Page,
        asked_at: Instant,
        look: &mut impl FnMut(&StoredRecord),
    ) -> Result<(), Failure> {
        let byte_count = page.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum::<usize>();
        self.progress.record_count.fetch_add(page.records.len() as u64, Ordering::Relaxed);
        self.progress.byte_count.fetch_add(byte_count as u64, Ordering::Relaxed);
        page.records.iter().for_each(&mut *look);

        // By what is known of the clock now, not before the answer.
        let asked_at_ms = self.clock.at_ms(asked_at);
        let is_after_window = |record: &StoredRecord| {
            record.arrived_at_ms.is_some_and(|at_ms| at_ms >= self.window.until_ms.saturating_add(millis(CLOCK_MARGIN)))
        };
        let is_at_end = page.records.iter().any(is_after_window) || (page.is_at_tip && asked_at_ms >= self.window.until_ms);
        let (is_closed, is_at_tip) = (page.next.is_none(), page.is_at_tip);
        let arrived_at_ms = page.records.iter().filter_map(|record| record.arrived_at_ms).max();
        if let Some(reached_ms) = if is_at_tip { Some(asked_at_ms) } else { arrived_at_ms } {
            self.reached.insert(Arc::clone(&reading.shard.id), reached_ms);
        }
        if !reading.took(page, byte_count) {
            return Err(no_progress(&reading.shard.id));
        }
        if is_closed {
            self.closed(reading);
        } else if is_at_end {
            self.done(&reading);
        } else {
            let pause = if is_at_tip { self.pause_at_tip(asked_at_ms) } else { pause_after(byte_count) };
            self.wait(asked_at + pause, reading);
        }
        Ok(())
    }

    /// How long after a request that has found nothing more the next one is made: when the window ends, it is the last.
    fn pause_at_tip(&self, asked_at_ms: i64) -> Duration {
        let left_ms = self.window.until_ms.saturating_sub(asked_at_ms);
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).clamp(SHARD_READ_INTERVAL, SHARD_TIP_INTERVAL)
    }

    fn done(&mut self, reading: &ShardReading) {
        self.progress.done_shard_count.fetch_add(1, Ordering::Relaxed);
        self.reached.remove(&reading.shard.id);
    }

    /// Its hash keys have gone to others; who has them is looked up, unless those are known.
    fn closed(&mut self, reading: ShardReading) {
        self.done(&reading);
        let Shard { id, range } = reading.shard;
        self.open.retain(|shard| shard.id != id);
        if !self.is_covered(range) {
            self.uncovered.push(range);
            self.list_at.get_or_insert_with(Instant::now);
        }
    }

    /// Whether shards that are not closed have all hash keys of a range that are of interest. A shard that overlaps another and was
    /// there before it counts until it turns out to be closed; then it asks for itself.
    fn is_covered(&self, range: HashRange) -> bool {
        match self.shards {
            Shards::With(keys) => {
                let mut keys = keys.iter().filter(|key| range.contains(**key));
                keys.all(|key| self.open.iter().any(|shard| shard.range.contains(*key)))
            }
            Shards::All => {
                let mut ranges: Vec<HashRange> = self.open.iter().map(|shard| shard.range).collect();
                ranges.sort_unstable_by_key(|range| range.start);
                let mut next = Some(range.start);
                for HashRange { start, end } in ranges {
                    if let Some(first) = next
                        && start <= first
                        && end >= first
                    {
                        next = end.checked_add(1);
                    }
                }
                next.is_none_or(|next| next > range.end)
            }
        }
    }

    fn tell_reached(&self) {
        if !self.known.is_empty() {
            let reached_ms = self.reached.values().copied().min().unwrap_or(self.window.until_ms);
            self.progress.reached_ms.store(reached_ms, Ordering::Relaxed);
        }
    }
}

/// How long after a request of a shard that has brought so much the next one is made.
fn pause_after(byte_count: usize) -> Duration {
    SHARD_READ_INTERVAL.max(Duration::from_secs_f64(byte_count as f64 / SHARD_BYTES_OUT_MAX as f64))
}

fn no_progress(shard_id: &str) -> Failure {
    let message = format!("{READ_EMPTY_ANSWERS_MAX} answers of {shard_id} had nothing new and were not the end");
    Failure { verdict: Verdict::Pause, code: Failure::NO_PROGRESS.to_owned(), message }
}

/// The output of the first that has one; it is taken out of the list.
async fn first_of<T>(futures: &mut Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> T {
    poll_fn(|context| {
        for index in 0..futures.len() {
            if let Poll::Ready(output) = futures[index].as_mut().poll(context) {
                drop(futures.swap_remove(index));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
