//! What nobody knows to be stored is looked up in the stream: entries of requests that had no answer, or one that says nothing.
//!
//! It decides which entries are looked up, when, in which shards, and who is told that a stream may not be read. What follows for
//! those that are found, and those that are not, is decided in `answers`; how a stream is read, in [`readback`].

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::collector::Entry;
use crate::config::ReadBack;
use crate::limits::{CLOCK_MARGIN, READ_BACK_PATIENCE, READ_BACK_REFUSED_INTERVAL};
use crate::metrics::FlowMetrics;
use crate::outcome::Failure;
use crate::progress::{Stage, alongside};
use crate::readback::{self, Progress, Reader, Shards, StoredRecord, Taken, Window};
use crate::service_clock::ServiceClock;

/// The entries of one flow that wait, and those that are being looked up.
pub(super) struct Lookups<D> {
    destination: Arc<D>,
    clock: ServiceClock,
    metrics: FlowMetrics,
    read_back: ReadBack,
    settle: Duration,
    /// Those that became uncertain first are first.
    waiting: VecDeque<Uncertain>,
    /// One at most: however many requests fail, the stream is read by one reader.
    running: JoinSet<LookedUp>,
    /// Bytes of all entries, those that are being looked up included.
    byte_count: usize,
    /// The stream may not be read, and is not asked for before.
    refused_until: Option<Instant>,
    is_told: bool,
    /// Since when every answer has named the shard that the map has for the record; none while none has.
    mapped_since: Option<Instant>,
}

/// An entry that may be stored.
pub(super) struct Uncertain {
    pub(super) entry: Entry,
    since: Instant,
    /// It was the retry of an entry that was refused by itself.
    pub(super) is_of_refused: bool,
}

/// What became of a lookup.
pub(super) struct LookedUp {
    pub(super) entries: Vec<Uncertain>,
    /// Of each whether it is stored.
    pub(super) stored: Result<Vec<bool>, Failure>,
}

impl<D: Reader> Lookups<D> {
    /// Nothing to be looked up.
    pub(super) fn new(
        destination: Arc<D>,
        clock: ServiceClock,
        metrics: FlowMetrics,
        read_back: ReadBack,
        settle: Duration,
    ) -> Self {
        let (waiting, running) = (VecDeque::new(), JoinSet::new());
        let (refused_until, is_told, mapped_since) = (None, false, None);
        Self {
            destination,
            clock,
            metrics,
            read_back,
            settle,
            waiting,
            running,
            byte_count: 0,
            refused_until,
            is_told,
            mapped_since,
        }
    }

    /// Nothing waits, and nothing is being looked up.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Bytes of the entries.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// Takes an entry that has just become uncertain, or gives it back when it cannot be looked up: no other record must have its
    /// partition key, and the stream must be one that may be read.
    #[expect(clippy::result_large_err, reason = "the entry comes back as it is")]
    pub(super) fn try_push(&mut self, entry: Entry, is_of_refused: bool) -> Result<(), Entry> {
        let since = Instant::now();
        let is_refused = self.refused_until.is_some_and(|until| since < until);
        if !entry.is_token || self.read_back == ReadBack::Off || is_refused {
            return Err(entry);
        }
        self.byte_count += entry.byte_count();
        self.waiting.push_back(Uncertain { entry, since, is_of_refused });
        Ok(())
    }

    /// An answer has named the shard of a record: the one that the map has for it, or not.
    pub(super) fn stored_as_mapped(&mut self, is_as_mapped: bool) {
        self.mapped_since = is_as_mapped.then(|| self.mapped_since.unwrap_or_else(Instant::now));
    }

    /// Waits until entries have been looked up; for ever while there are none. May be dropped and called again.
    pub(super) async fn next(&mut self, is_auto: bool) -> LookedUp {
        if self.running.is_empty() {
            let Some(first) = self.waiting.front() else { return pending().await };
            sleep_until(first.since + self.settle).await;
            self.begin(is_auto);
        }
        match self.running.join_next().await {
            Some(Ok(looked_up)) => self.ended(looked_up),
            Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            None => pending().await,
        }
    }

    /// Looks up all that have waited long enough.
    fn begin(&mut self, is_auto: bool) {
        let now = Instant::now();
        let ready_count = self.waiting.partition_point(|uncertain| uncertain.since + self.settle <= now);
        let entries: Vec<Uncertain> = self.waiting.drain(..ready_count).collect();
        let first_sent_at = entries.iter().filter_map(|uncertain| uncertain.entry.in_flight_since).min();
        let first_sent_at = first_sent_at.map_or(now, Instant::from_std);
        // Where hash keys mean nothing, or may, a record can be in any shard.
        let is_by_hash_key = !is_auto && self.mapped_since.is_some_and(|since| since <= first_sent_at);
        let shards = if is_by_hash_key { Shards::With(hash_keys(&entries)) } else { Shards::All };
        let margin_ms = i64::try_from(CLOCK_MARGIN.as_millis()).unwrap_or(i64::MAX);
        let from_ms = self.clock.at_ms(first_sent_at).saturating_sub(margin_ms);
        let window = Window { from_ms, until_ms: self.clock.at_ms(now) };
        let (destination, clock, metrics) = (Arc::clone(&self.destination), self.clock.clone(), self.metrics.clone());
        let looks_up = async move {
            let stored = look_up(&*destination, &clock, &metrics, window, &shards, &entries).await;
            LookedUp { entries, stored }
        };
        self.running.spawn(alongside(Stage::Lookup, looks_up));
    }

    /// What a lookup says of the stream. Where that may not be read, those that wait need not wait any longer.
    fn ended(&mut self, mut looked_up: LookedUp) -> LookedUp {
        match &looked_up.stored {
            Ok(_) => (self.refused_until, self.is_told) = (None, false),
            Err(failure) => {
                if cannot_be_read(failure) {
                    self.refused_until = Some(Instant::now() + READ_BACK_REFUSED_INTERVAL);
                    looked_up.entries.extend(self.waiting.drain(..));
                }
                self.tell(failure);
            }
        }
        self.byte_count -= looked_up.entries.iter().map(|uncertain| uncertain.entry.byte_count()).sum::<usize>();
        looked_up
    }

    fn tell(&mut self, failure: &Failure) {
        let flow = &self.metrics.name;
        if !cannot_be_read(failure) {
            tracing::warn!(
                flow,
                reason = %failure,
                "what may be stored could not be looked up in the stream: it is sent again, counted as possibly doubled"
            );
        } else if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                flow,
                reason = %failure,
                permissions = "kinesis:ListShards, kinesis:GetShardIterator, kinesis:GetRecords",
                "the stream may not be read: records that may be stored when a request has no answer are not looked up there, but \
                 sent again, and counted as possibly doubled"
            );
        }
    }
}

/// It will fail again, until a person changes something.
fn cannot_be_read(failure: &Failure) -> bool {
    failure.is_unreadable() || failure.is_out_of_reach()
}

fn hash_keys(entries: &[Uncertain]) -> Vec<u128> {
    let mut hash_keys: Vec<u128> = entries.iter().map(|uncertain| uncertain.entry.hash_key).collect();
    hash_keys.sort_unstable();
    hash_keys.dedup();
    hash_keys
}

/// Of each entry whether it is in the stream: a record with its partition key and its data.
async fn look_up<D: Reader>(
    destination: &D,
    clock: &ServiceClock,
    metrics: &FlowMetrics,
    window: Window,
    shards: &Shards,
    entries: &[Uncertain],
) -> Result<Vec<bool>, Failure> {
    let mut stored = vec![false; entries.len()];
    let entries = entries.iter().map(|uncertain| &uncertain.entry).enumerate();
    let by_key: HashMap<&str, (usize, &Entry)> =
        entries.map(|(index, entry)| (entry.partition_key.as_str(), (index, entry))).collect();
    let look = |record: &StoredRecord| {
        if let Some((index, entry)) = by_key.get(record.partition_key.as_str())
            && entry.data == record.data
        {
            stored[*index] = true;
        }
    };
    let progress = Progress::default();
    let reading = readback::read_with(destination, clock, window, shards, &progress, look);
    let taken = unless_only_reading_fails(reading, &progress, metrics).await;
    let Taken { request_count, record_count, byte_count, .. } = progress.taken();
    metrics.read_back_requests.inc_by(request_count);
    metrics.read_back_records.inc_by(record_count);
    metrics.read_back_bytes.inc_by(byte_count);
    taken.map(|_| stored)
}

/// In an outage reading goes on for ever. But where only what is asked for reading is out of reach, nobody waits for that.
async fn unless_only_reading_fails(
    reading: impl Future<Output = Result<Taken, Failure>>,
    progress: &Progress,
    metrics: &FlowMetrics,
) -> Result<Taken, Failure> {
    let mut reading = pin!(reading);
    loop {
        let delivered_before = metrics.delivered_records.get();
        tokio::select! {
            biased;
            taken = &mut reading => return taken,
            () = sleep(READ_BACK_PATIENCE) => {
                let trouble = progress.trouble().filter(Failure::is_out_of_reach);
                if let Some(trouble) = trouble && metrics.delivered_records.get() > delivered_before {
                    return Err(trouble);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
