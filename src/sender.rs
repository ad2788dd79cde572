//! Requests to the service until every entry is delivered.
//!
//! The sender decides how many requests are in flight, how large they are, what is sent again and when, and when a
//! flow counts as paused. What an answer means is decided in [`outcome`], how a request is made in [`kinesis`].
//! Per-record results are the only interpretation of a response; only failed entries are sent again, the same
//! bytes, ahead of new ones; nothing expires. What fails in a large request is sent again in smaller ones, so that
//! in the end a record that the service refuses stands alone, is kept apart, and holds up no other.

mod condition;
pub mod firehose;
pub mod kinesis;
pub mod outcome;
mod sdk;
mod target;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::condition::Condition;
use self::outcome::{Failure, RecordResult, Verdict};
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::health::FlowReporter;
use crate::limits::{
    BACKOFF_MAX, BACKOFF_MIN, KIB, REFUSED_RETRY_INTERVAL, REQUEST_BYTES_DEFAULT, REQUEST_MARGIN_BYTES, REQUESTS_IN_FLIGHT,
};
use crate::metrics::FlowMetrics;
use crate::settlement::{Outcome, Settled};
use crate::span::Spans;
use crate::stream::Shard;

pub use self::target::Target;

/// Where entries go. Kinesis or Firehose, or in tests a fake that fails as told.
pub trait Destination: Send + Sync + 'static {
    /// Makes one attempt to put `entries`, and returns what became of each, in order.
    fn put(&self, entries: &[Entry]) -> impl Future<Output = Result<Vec<RecordResult>, Failure>> + Send;

    /// The open shards (`ListShards`).
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, Failure>> + Send;

    /// What else there is to know of the stream (`DescribeStreamSummary`).
    fn summary(&self) -> impl Future<Output = Result<Summary, Failure>> + Send;
}

/// What the service says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// `RecordDistributionStrategy` is AUTO.
    pub is_auto: bool,
    /// `MaxRecordSizeInKiB`, in bytes; not every emulator says it.
    pub record_bytes_max: Option<usize>,
}

/// The task.
pub struct Sender<D> {
    destination: Arc<D>,
    /// Most bytes of the entries of one request; less than `room_max` after one that was not answered in time.
    room: usize,
    room_max: usize,
    events: mpsc::Sender<Event>,
    metrics: FlowMetrics,
    condition: Condition,
    random: fastrand::Rng,
    in_flight: JoinSet<Answered>,
    in_flight_record_count: usize,
    in_flight_byte_count: usize,
    /// With so many bytes in flight no further request is made.
    in_flight_byte_count_max: usize,
    /// Entries to be sent: those that an attempt did not deliver, then new ones.
    waiting: VecDeque<Entry>,
    /// Halves of requests that were refused, to be sent as they are, ahead of what is in `waiting`.
    halves: VecDeque<Vec<Entry>>,
    /// Entries that the service refuses by themselves.
    refused: VecDeque<Entry>,
    /// When one of them is sent again.
    refused_retry_at: Instant,
    /// Nothing is sent before.
    wait_until: Option<Instant>,
    /// Attempts in a row that did not deliver all.
    failure_count: u32,
    /// Attempts in a row that delivered nothing.
    fruitless_count: u32,
}

/// What was sent, and what became of it.
struct Answered {
    sent: Request,
    answer: Result<Vec<RecordResult>, Failure>,
}

struct Request {
    entries: Vec<Entry>,
    byte_count: usize,
    /// It is the retry of an entry that was refused by itself.
    is_of_refused: bool,
}

/// Failures in a row, and nothing delivered, after which a flow counts as paused.
const FAILURES_UNTIL_PAUSED: u32 = 3;
/// With part of a request delivered the flow is not paused: waits double no further than this often.
const PARTIAL_FAILURES_MAX: u32 = 4;
/// After a timeout the room of a request grows by this part of it with each that is delivered: slowly, because a
/// step too far costs another one, and its records may be there twice.
const ROOM_GROWTH: usize = 64;

impl<D: Destination> Sender<D> {
    /// A sender with nothing to send.
    pub fn new(
        destination: D,
        request_bytes: usize,
        in_flight_byte_count_max: usize,
        events: mpsc::Sender<Event>,
        metrics: FlowMetrics,
        health: FlowReporter,
        random: fastrand::Rng,
    ) -> Self {
        let room_max = request_bytes - REQUEST_MARGIN_BYTES;
        Self {
            destination: Arc::new(destination),
            room: room_max,
            room_max,
            events,
            condition: Condition::new(metrics.clone(), health),
            metrics,
            random,
            in_flight: JoinSet::new(),
            in_flight_record_count: 0,
            in_flight_byte_count: 0,
            in_flight_byte_count_max,
            waiting: VecDeque::new(),
            halves: VecDeque::new(),
            refused: VecDeque::new(),
            refused_retry_at: Instant::now(),
            wait_until: None,
            failure_count: 0,
            fruitless_count: 0,
        }
    }

    /// Works until the packer has ended and everything is delivered.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Vec<Entry>>) {
        let mut is_ended = false;
        while !(is_ended && self.has_nothing_to_send() && self.refused.is_empty() && self.in_flight.is_empty()) {
            while self.may_send() && !self.has_nothing_to_send() {
                self.send_next();
            }
            let may_send = self.may_send();
            tokio::select! {
                // Answers first: what failed goes ahead of what is new.
                biased;
                Some(answer) = self.in_flight.join_next(), if !self.in_flight.is_empty() => match answer {
                    Ok(answered) => self.answered(answered).await,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                () = sleep_until(self.wait_until.unwrap_or_else(Instant::now)), if self.wait_until.is_some() => self.wait_until = None,
                () = sleep_until(self.refused_retry_at), if may_send && !self.refused.is_empty() => self.send_refused(),
                request = requests.recv(), if may_send && !is_ended => match request {
                    Some(entries) => self.waiting.extend(entries),
                    None => is_ended = true,
                },
            }
        }
    }

    /// While nothing gets through, one request at a time finds out when it does.
    fn may_send(&self) -> bool {
        let in_flight_max = if self.condition.is_paused() { 1 } else { REQUESTS_IN_FLIGHT };
        let has_room = self.in_flight.is_empty() || self.in_flight_byte_count < self.in_flight_byte_count_max;
        self.wait_until.is_none() && self.in_flight.len() < in_flight_max && has_room
    }

    fn send(&mut self, entries: Vec<Entry>, is_of_refused: bool) {
        let byte_count = entries.iter().map(Entry::byte_count).sum();
        self.in_flight_record_count += entries.len();
        self.in_flight_byte_count += byte_count;
        let destination = Arc::clone(&self.destination);
        self.in_flight.spawn(async move {
            let answer = destination.put(&entries).await;
            Answered { sent: Request { entries, byte_count, is_of_refused }, answer }
        });
    }

    fn has_nothing_to_send(&self) -> bool {
        self.halves.is_empty() && self.waiting.is_empty()
    }

    fn send_next(&mut self) {
        if let Some(half) = self.halves.pop_front() {
            return self.send(half, false);
        }
        let mut request = Collector::with_room(self.room);
        while let Some(entry) = self.waiting.pop_front() {
            if let Err(entry) = request.try_push(entry) {
                self.waiting.push_front(entry);
                break;
            }
        }
        self.send(request.take(), false);
    }

    fn send_refused(&mut self) {
        self.refused_retry_at = Instant::now() + REFUSED_RETRY_INTERVAL;
        if let Some(entry) = self.refused.pop_front() {
            self.send(vec![entry], true);
        }
    }

    async fn answered(&mut self, Answered { sent, answer }: Answered) {
        let record_count = sent.entries.len();
        self.in_flight_byte_count -= sent.byte_count;
        match answer {
            Ok(results) if results.len() == sent.entries.len() => self.by_record(sent, results).await,
            Ok(results) => {
                let failure = Failure::wrong_result_count(sent.entries.len(), results.len());
                self.request_failed(sent, &failure);
            }
            Err(failure) => self.request_failed(sent, &failure),
        }
        // What was delivered is reported by now.
        self.in_flight_record_count -= record_count;
    }

    async fn by_record(&mut self, sent: Request, results: Vec<RecordResult>) {
        let mut delivered = Spans::default();
        let mut failed = Vec::new();
        let mut last_failure = None;
        for (entry, result) in sent.entries.into_iter().zip(results) {
            match result {
                RecordResult::Delivered { .. } => {
                    self.metrics.delivered_records.inc();
                    self.metrics.delivered_record_bytes.inc_by(entry.data.len() as u64);
                    self.metrics.delivered_user_records.inc_by(u64::from(entry.user_record_count));
                    delivered.extend(&entry.spans);
                }
                RecordResult::Failed { code, message, .. } => {
                    self.record_failed(&code, &message);
                    last_failure = Some(Failure { verdict: outcome::of_record(&code), code, message });
                    failed.push(entry);
                }
            }
        }
        let some_delivered = !delivered.is_empty();
        if some_delivered {
            let settled = Settled { spans: delivered, outcome: Outcome::Delivered };
            // The checkpointer ends last; without it there is nobody to tell.
            let _ = self.events.send(Event::Settled(settled)).await;
            self.delivering(sent.byte_count, sent.is_of_refused);
        }
        let Some(failure) = last_failure else {
            self.metrics.request("ok");
            self.failure_count = 0;
            return;
        };
        self.metrics.request("partial");
        if sent.is_of_refused {
            self.keep_apart(failed);
        } else {
            self.send_again(failed);
        }
        if some_delivered {
            self.failure_count = self.failure_count.min(PARTIAL_FAILURES_MAX - 1);
        }
        self.back_off();
        self.pause_if_fruitless(&failure);
    }

    fn record_failed(&mut self, code: &str, message: &str) {
        self.metrics.failed_records(code, 1);
        if outcome::of_record(code) == Verdict::Uncertain {
            self.metrics.possibly_doubled_records.inc();
        }
        tracing::debug!(flow = self.metrics.name, code, message, "a record was not delivered, sending it again");
    }

    fn request_failed(&mut self, sent: Request, failure: &Failure) {
        let Request { mut entries, byte_count, is_of_refused } = sent;
        self.metrics.request(&failure.code);
        self.metrics.failed_records(&failure.code, entries.len() as u64);
        if failure.verdict == Verdict::Uncertain {
            self.metrics.possibly_doubled_records.inc_by(entries.len() as u64);
        }
        tracing::debug!(
            flow = self.metrics.name,
            code = failure.code,
            message = failure.message,
            "a request failed, sending it again"
        );
        let is_single = entries.len() == 1;
        match failure.verdict {
            Verdict::Split if is_single => {
                self.condition.refused(failure);
                self.keep_apart(entries);
                if is_of_refused {
                    // As expected; nothing is to be learned from it about the others.
                    return;
                }
            }
            Verdict::Split => {
                self.respect_the_region(byte_count);
                let second = entries.split_off(entries.len() / 2);
                self.halves.push_front(second);
                self.halves.push_front(entries);
            }
            _ if is_of_refused => self.keep_apart(entries),
            _ => {
                if failure.code == Failure::TIMEOUT && !is_single {
                    self.room = self.room.min(byte_count / 2);
                }
                self.send_again(entries);
            }
        }
        self.back_off();
        // A timeout is long enough to be told the first time.
        if failure.verdict == Verdict::Pause || failure.code == Failure::TIMEOUT {
            self.condition.paused(failure);
        } else {
            self.pause_if_fruitless(failure);
        }
    }

    /// A request above the limit that every region has was refused: this one may have no other.
    fn respect_the_region(&mut self, byte_count: usize) {
        if byte_count > REQUEST_BYTES_DEFAULT {
            self.room_max = REQUEST_BYTES_DEFAULT - REQUEST_MARGIN_BYTES;
            self.room = self.room.min(self.room_max);
        }
    }

    /// Entries that are refused by themselves are tried again rarely, one at a time.
    fn keep_apart(&mut self, entries: Vec<Entry>) {
        if self.refused.is_empty() {
            self.refused_retry_at = Instant::now() + REFUSED_RETRY_INTERVAL;
        }
        self.refused.extend(entries);
    }

    /// Puts entries in front of those that wait, in their order.
    fn send_again(&mut self, entries: Vec<Entry>) {
        for entry in entries.into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }

    /// Waits a little longer after each failure in a row. Requests that were in flight together fail together
    /// and count once.
    fn back_off(&mut self) {
        if self.wait_until.is_some() {
            return;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        self.fruitless_count = self.fruitless_count.saturating_add(1);
        let wait = backoff(self.failure_count, self.random.f64());
        self.wait_until = Some(Instant::now() + wait);
    }

    fn pause_if_fruitless(&mut self, failure: &Failure) {
        if self.fruitless_count >= FAILURES_UNTIL_PAUSED {
            self.condition.paused(failure);
        }
    }

    fn delivering(&mut self, byte_count: usize, is_of_refused: bool) {
        self.fruitless_count = 0;
        let room = self.room.max(byte_count);
        self.room = (room + (room / ROOM_GROWTH).max(KIB)).min(self.room_max);
        self.condition.delivering();
        if is_of_refused {
            // What was wrong with the others may be mended too.
            self.waiting.extend(self.refused.drain(..));
            self.condition.accepted();
        }
    }
}

impl<D> Drop for Sender<D> {
    /// Ended before its time, it does not learn what becomes of the requests in flight; they will be sent again.
    fn drop(&mut self) {
        self.metrics.possibly_doubled_records.inc_by(self.in_flight_record_count as u64);
    }
}

/// How long to wait after so many failures in a row: doubling, between half of it and all of it by `random`
/// in `0..1`.
fn backoff(failure_count: u32, random: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failure_count.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests;
