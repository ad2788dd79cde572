//! What a flow does at its start when runs before have not ended in an orderly way: what of the unknown is stored already is
//! settled, so that it is not sent again.
//!
//! It decides which runs are looked for, where and when, and what is told of them. How a stream is read is the business of
//! [`readback`](super), how a record is recognized that of `recognition`.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::passes::{Pass, Run, Times, passes};
use super::recognition::spans_of;
use super::{Progress, Reader, Shards, StoredRecord, Taken, read_with};
use crate::backoff::backoff;
use crate::config::ReadBack;
use crate::delivery_token::DeliveryToken;
use crate::failpoint;
use crate::health::FlowReporter;
use crate::limits::{PAUSE_REMINDER, READ_BACK_LOG_INTERVAL, READ_BACK_PATIENCE};
use crate::metrics::FlowMetrics;
use crate::offsets::{Changes, Offsets, Row, RunKey, Sending};
use crate::outcome::Failure;
use crate::service_clock::ServiceClock;
use crate::settlement::Settlement;
use crate::span::{FileKey, Span};
use crate::tailer::Contradictions;
use crate::writing::Writing;

/// What a flow knows at its start.
pub struct Parts<F> {
    /// Its runs that are not reconciled.
    pub runs: Vec<(RunKey, Sending)>,
    /// Leads to a stream, by its name: a run may have sent to another one than the flow does now.
    pub reader_of: F,
    /// What time it is there.
    pub clock: ServiceClock,
    /// How long after a request was last accepted its records can be read.
    pub settle: Duration,
    /// How long a request lives.
    pub attempt_timeout: Duration,
    /// Whether streams are read back at all.
    pub read_back: ReadBack,
    /// Its records have delivery tokens, but for few: where each line is a record with a partition key of its own, nothing can be
    /// recognized.
    pub has_tokens: bool,
    /// The store was recovered, and says what was so at an earlier time.
    pub is_rolled_back: bool,
    /// Counts what is read and found.
    pub metrics: FlowMetrics,
    /// Where it is said that nothing is sent as long as the stream cannot be read.
    pub health: FlowReporter,
    /// Where it is written down.
    pub store: Arc<Offsets>,
    /// Where that is done.
    pub writing: Writing,
}

/// Settles in `rows`, those of the flow, what its runs before have sent, as far as that can be known. Returns the rows, and the
/// runs that are not heard of again. It takes as long as there is something to read, or until the service is within reach.
pub async fn reconcile<R: Reader, F: Fn(&str) -> Arc<R> + Send>(
    parts: Parts<F>,
    rows: Vec<(FileKey, Row)>,
) -> (Vec<(FileKey, Row)>, Vec<RunKey>) {
    if parts.runs.is_empty() {
        return (rows, Vec::new());
    }
    parts.metrics.read_back_running.set(1);
    Start { found: Found::new(&rows), parts }.run(rows).await
}

struct Start<F> {
    parts: Parts<F>,
    found: Found,
}

impl<R: Reader, F: Fn(&str) -> Arc<R> + Send> Start<F> {
    async fn run(mut self, mut rows: Vec<(FileKey, Row)>) -> (Vec<(FileKey, Row)>, Vec<RunKey>) {
        let runs = std::mem::take(&mut self.parts.runs);
        let reconciled: Vec<RunKey> = runs.iter().map(|(key, _)| key.clone()).collect();
        let (mut readable, mut unreadable) = (Vec::new(), Unreadable::default());
        for (key, sending) in runs {
            let Sending { in_flight_record_count, sent_record_count, .. } = sending;
            match (self.why_not(&sending), &sending.stream) {
                (None, Some(stream)) => readable.push((stream.clone(), key, sending)),
                (reason, _) => unreadable.add(reason.unwrap_or(OF_FIREHOSE), in_flight_record_count, sent_record_count),
            }
        }
        let (started_at, mut taken) = (Instant::now(), None);
        if !readable.is_empty() {
            taken = self.read(readable, &mut unreadable).await;
        }
        unreadable.tell(&self.parts.metrics);
        let found = std::mem::take(&mut self.found.spans);
        let settled = self.parts.writing.run(move || {
            let settling = settle(&mut rows, &found);
            (rows, settling)
        });
        let (rows, settling) = match settled.await {
            Ok(settled) => settled,
            Err(ended) => match ended.try_into_panic() {
                Ok(panicked) => std::panic::resume_unwind(panicked),
                // The runtime is going down, and this with it.
                Err(_) => std::future::pending().await,
            },
        };
        self.parts.metrics.read_back_settled_bytes.inc_by(settling.byte_count);
        if let Some(taken) = taken {
            self.tell(taken, &settling, started_at.elapsed());
        }
        let is_written = self.write(&rows, &settling.changed, &reconciled).await;
        self.parts.metrics.read_back_running.set(0);
        (rows, if is_written { reconciled } else { Vec::new() })
    }

    /// Why what a run has sent is not looked for.
    fn why_not(&self, sending: &Sending) -> Option<&'static str> {
        match (&sending.stream, self.parts.read_back, self.parts.has_tokens) {
            (None, _, _) => Some(OF_FIREHOSE),
            (_, ReadBack::Off, _) => Some("`read_back` is \"off\" in [agent]"),
            (_, _, false) => Some("records with partition keys of their lines cannot be recognized: `aggregate` is \"none\""),
            _ => None,
        }
    }

    /// Reads what there is to read of these runs, and says what that took, unless nothing came of it.
    async fn read(&mut self, runs: Vec<(String, RunKey, Sending)>, unreadable: &mut Unreadable) -> Option<Taken> {
        if let Some((stream, ..)) = runs.first() {
            let reader = (self.parts.reader_of)(stream);
            self.reach(&*reader).await;
        }
        // The clock has learned from the first answer.
        let Parts { settle, attempt_timeout, is_rolled_back, .. } = self.parts;
        let times = Times { now_ms: self.parts.clock.now_ms(), settle, attempt_timeout, is_rolled_back };
        let sent: HashMap<RunKey, u64> = runs.iter().map(|(_, key, sending)| (key.clone(), sending.sent_record_count)).collect();
        let (mut sum, mut is_read) = (Taken::default(), false);
        for pass in passes(runs, &times) {
            let (taken, result) = self.read_pass(&pass).await;
            sum = sum.plus(taken);
            is_read |= result.is_ok();
            if let Err(failure) = result {
                for run in &pass.runs {
                    let sent_record_count = sent.get(&run.key).copied().unwrap_or(0);
                    unreadable.add(&failure.to_string(), run.in_flight_record_count, sent_record_count);
                }
            }
        }
        (is_read || self.found.record_count > 0).then_some(sum)
    }

    fn tell(&self, taken: Taken, settling: &Settling, duration: Duration) {
        let Found { record_count, lost_byte_count, .. } = self.found;
        tracing::info!(
            flow = self.parts.metrics.name,
            shards = taken.shard_count,
            requests = taken.request_count,
            read_records = taken.record_count,
            read_bytes = taken.byte_count,
            found_records = record_count,
            settled_bytes = settling.byte_count,
            seconds = duration.as_secs_f64(),
            "the stream is read back: what it has of the last run is not sent again"
        );
        if settling.contradicted_byte_count > 0 {
            tracing::warn!(
                flow = self.parts.metrics.name,
                bytes = settling.contradicted_byte_count,
                "the stream has lines that are not in their files any more, as when the power is lost: what is there instead is sent"
            );
        }
        if lost_byte_count > 0 {
            tracing::warn!(
                flow = self.parts.metrics.name,
                bytes = lost_byte_count,
                "the stream has lines of files of which the offset store knows nothing: they are sent again if the files are there"
            );
        }
    }

    /// Waits until the service can be asked at all, which tells what time it is there. What only never answers is not waited for
    /// longer than reading it would be.
    async fn reach(&self, reader: &R) {
        let begun = Instant::now();
        let seed = self.parts.clock.now_ms().cast_unsigned();
        let (mut random, mut failure_count, mut told_at) = (fastrand::Rng::with_seed(seed), 0u32, None::<Instant>);
        loop {
            self.parts.metrics.read_back_requests.inc();
            let failure = match reader.shards_since(self.parts.clock.now_ms()).await {
                Err(failure) if failure.is_out_of_reach() => failure,
                Err(failure) if failure.is_silence() && begun.elapsed() < READ_BACK_PATIENCE => failure,
                _ => return self.parts.health.delivering(),
            };
            self.parts.health.paused(&format!("{failure}; the stream has to be read back before lines are sent"));
            if told_at.is_none_or(|told_at| told_at.elapsed() >= PAUSE_REMINDER) {
                let flow = &self.parts.metrics.name;
                tracing::warn!(flow, reason = %failure, "cannot reach the stream, which has to be read back before lines are sent");
                told_at = Some(Instant::now());
            }
            failure_count = failure_count.saturating_add(1);
            sleep(backoff(failure_count, random.f64())).await;
        }
    }

    async fn read_pass(&mut self, pass: &Pass) -> (Taken, Result<Taken, Failure>) {
        let reader = (self.parts.reader_of)(&pass.stream);
        let (progress, found) = (Progress::default(), &mut self.found);
        let Parts { metrics, health, .. } = &self.parts;
        tracing::info!(
            flow = metrics.name,
            stream = pass.stream,
            runs = pass.runs.len(),
            seconds = pass.window.until_ms.saturating_sub(pass.window.from_ms) / 1000,
            "the last run did not end in an orderly way: reading the stream back, to send nothing twice"
        );
        let look = |record: &StoredRecord| found.look(record, &pass.runs);
        let mut reading = pin!(read_with(&*reader, &self.parts.clock, pass.window, &Shards::All, &progress, look));
        let mut ticks = interval_at(Instant::now() + READ_BACK_LOG_INTERVAL, READ_BACK_LOG_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counted = Taken::default();
        loop {
            tokio::select! {
                biased;
                result = &mut reading => {
                    health.delivering();
                    count(metrics, &mut counted, progress.taken());
                    return (counted, result);
                }
                _ = ticks.tick() => {
                    count(metrics, &mut counted, progress.taken());
                    match progress.trouble() {
                        Some(failure) => health.paused(&format!("{failure}; the stream is read back before lines are sent")),
                        None => health.delivering(),
                    }
                    tell(&metrics.name, &progress, counted, pass.window.until_ms);
                }
            }
        }
    }

    /// Writes down what is settled and that these runs are reconciled, all or nothing.
    async fn write(&self, rows: &[(FileKey, Row)], changed: &[usize], reconciled: &[RunKey]) -> bool {
        let rows = changed.iter().filter_map(|index| rows.get(*index)).cloned().collect();
        let changes = Changes { rows, reconciled: reconciled.to_vec(), ..Changes::default() };
        let store = Arc::clone(&self.parts.store);
        let commit = move || {
            failpoint::pass("before_reconciled");
            store.commit(&changes).inspect(|()| failpoint::pass("after_reconciled"))
        };
        let written = self.parts.writing.run(commit).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => true,
            Err(error) => {
                let flow = &self.parts.metrics.name;
                tracing::warn!(flow, %error, "cannot write down what was found in the stream; the next start reads it back again");
                false
            }
        }
    }
}

const OF_FIREHOSE: &str = "a delivery stream cannot be read";

/// What the records say that were seen.
struct Found {
    /// What is in the stream of each file of which there is a row.
    spans: HashMap<FileKey, BTreeSet<Span>>,
    /// What is in the stream of other files, to count it once.
    others: HashMap<FileKey, Settlement>,
    /// Records of the runs that are looked for.
    record_count: u64,
    /// Bytes of files that have no row.
    lost_byte_count: u64,
}

impl Found {
    fn new(rows: &[(FileKey, Row)]) -> Self {
        Self {
            spans: rows.iter().map(|(file, _)| (*file, BTreeSet::new())).collect(),
            others: HashMap::new(),
            record_count: 0,
            lost_byte_count: 0,
        }
    }

    fn look(&mut self, record: &StoredRecord, runs: &[Run]) {
        failpoint::pass("read_back");
        let Some(token) = DeliveryToken::parse(&record.partition_key) else { return };
        let is_of_run = |run: &Run| run.key.run_id == token.run_id && run.may_have_sent(record.arrived_at_ms);
        if !runs.iter().any(is_of_run) {
            return;
        }
        let Some(spans) = spans_of(token, &record.data) else { return };
        self.record_count += 1;
        spans.iter().for_each(|span| self.take(span));
    }

    fn take(&mut self, span: Span) {
        if let Some(spans) = self.spans.get_mut(&span.file) {
            spans.insert(span);
        } else {
            self.lost_byte_count += self.others.entry(span.file).or_default().settle(span.start, span.end);
        }
    }
}

/// Takes what was found into the rows, but for what a file has no longer, and says which of them have changed, how many bytes of them
/// were not settled before, and how many are in the stream and not in their file any more. It reads the ends of files.
fn settle(rows: &mut [(FileKey, Row)], found: &HashMap<FileKey, BTreeSet<Span>>) -> Settling {
    let (mut settling, mut contradictions) = (Settling::default(), Contradictions::default());
    for (index, (file, row)) in rows.iter_mut().enumerate() {
        let mut settlement = Settlement::new(row.watermark, row.settled_above.iter().copied());
        let mut byte_count = 0;
        // What is behind something that is lost was written after that.
        let mut lost_from = u64::MAX;
        for span in found.get(file).into_iter().flatten() {
            if settlement.settled_until(span.start).is_some_and(|end| end >= span.end) {
                continue;
            }
            if span.end > lost_from || contradictions.of(row, *span) {
                lost_from = lost_from.min(span.start);
                settling.contradicted_byte_count += span.byte_count();
            } else {
                byte_count += settlement.settle(span.start, span.end);
            }
        }
        if byte_count > 0 {
            (row.watermark, row.settled_above) = (settlement.watermark(), settlement.above().collect());
            // The file was at least as long when this was read.
            row.identity.byte_count = row.identity.byte_count.max(settlement.end());
            settling.byte_count += byte_count;
            settling.changed.push(index);
        }
    }
    settling
}

#[derive(Default)]
struct Settling {
    changed: Vec<usize>,
    byte_count: u64,
    contradicted_byte_count: u64,
}

/// Runs of which nobody can know what is stored, by the reason: records that were in flight, and that were sent.
#[derive(Default)]
struct Unreadable(Vec<(String, u64, u64)>);

impl Unreadable {
    fn add(&mut self, reason: &str, in_flight_record_count: u64, sent_record_count: u64) {
        match self.0.iter_mut().find(|(of, ..)| of == reason) {
            Some((_, in_flight, sent)) => {
                *in_flight += in_flight_record_count;
                *sent += sent_record_count;
            }
            None => self.0.push((reason.to_owned(), in_flight_record_count, sent_record_count)),
        }
    }

    /// Says so once, unless nothing was ever sent.
    fn tell(&self, metrics: &FlowMetrics) {
        for (reason, in_flight_record_count, sent_record_count) in &self.0 {
            metrics.possibly_doubled_records.inc_by(*in_flight_record_count);
            if in_flight_record_count + sent_record_count > 0 {
                tracing::warn!(
                    flow = metrics.name,
                    reason,
                    records = in_flight_record_count,
                    "the last run did not end in an orderly way, and what it sent last cannot be looked up: what was in flight, and \
                     what was sent within a second or so, is sent again and may be in the stream twice"
                );
            }
        }
    }
}

/// Counts what was taken since it was counted last.
fn count(metrics: &FlowMetrics, counted: &mut Taken, now: Taken) {
    metrics.read_back_requests.inc_by(now.request_count - counted.request_count);
    metrics.read_back_records.inc_by(now.record_count - counted.record_count);
    metrics.read_back_bytes.inc_by(now.byte_count - counted.byte_count);
    *counted = now;
}

fn tell(flow: &str, progress: &Progress, taken: Taken, until_ms: i64) {
    let Taken { shard_count, record_count, byte_count, .. } = taken;
    let seconds_behind = progress.reached_ms().map(|reached_ms| until_ms.saturating_sub(reached_ms).max(0) / 1000);
    let trouble = progress.trouble().map(|failure| failure.to_string());
    tracing::info!(
        flow,
        shards_done = shard_count,
        shards = progress.shard_count(),
        records = record_count,
        bytes = byte_count,
        seconds_behind,
        trouble,
        "reading the stream back"
    );
}

#[cfg(test)]
mod tests;
