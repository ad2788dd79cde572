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
mod lanes;
mod learned;
mod pace;
mod sdk;
mod shortening;
pub mod survey;
mod target;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::condition::Condition;
use self::lanes::{Lanes, ShardAnswer};
use self::pace::Amount;
use self::shortening::{Shortened, shortened};
use self::survey::Doubt;
use crate::backoff::backoff;
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::config::Order;
use crate::health::FlowReporter;
use crate::limits::{
    KIB, LOAD_INTERVAL, REFUSED_RETRY_INTERVAL, REQUEST_BYTES_DEFAULT, REQUEST_MARGIN_BYTES, REQUESTS_IN_FLIGHT,
    THROTTLED_UNTIL_PAUSED,
};
use crate::metrics::FlowMetrics;
use crate::outcome::{self, Failure, RecordResult, Verdict};
use crate::settlement::{Outcome, Settled};
use crate::span::Spans;
use crate::stream::{Load, Shard, StreamFacts};

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

/// What a sender is made of.
pub struct Parts<D> {
    /// Where entries go.
    pub destination: Arc<D>,
    /// What is known of the stream.
    pub facts: watch::Receiver<StreamFacts>,
    /// Where it says how long what waits will take.
    pub load: Load,
    /// Where it says that the shards are not as they are known.
    pub doubt: Doubt,
    /// What is kept in order.
    pub order: Order,
    /// Most bytes of a request.
    pub request_bytes: usize,
    /// With so many bytes waiting and on their way nothing more is taken.
    pub held_byte_count_max: usize,
    /// Where deliveries are reported.
    pub events: mpsc::Sender<Event>,
    /// Counts requests and records.
    pub metrics: FlowMetrics,
    /// Where it says how it fares.
    pub health: FlowReporter,
    /// For the jitter of retries.
    pub random: fastrand::Rng,
}

/// The task.
pub struct Sender<D> {
    destination: Arc<D>,
    facts: watch::Receiver<StreamFacts>,
    load: Load,
    load_set_at: Instant,
    doubt: Doubt,
    order: Order,
    /// The service spreads records as it likes.
    is_auto: bool,
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
    held_byte_count_max: usize,
    /// Entries to be sent: those that an attempt did not deliver, then new ones.
    lanes: Lanes,
    /// Halves of requests that were refused, to be sent as they are.
    halves: VecDeque<Vec<Entry>>,
    /// The last request was one of these.
    is_turn_of_lanes: bool,
    /// Entries that the service refuses by themselves.
    refused: VecDeque<Entry>,
    /// When one of them is sent again.
    refused_retry_at: Instant,
    /// Nothing is sent before.
    wait_until: Option<Instant>,
    /// Requests in a row that failed as a whole.
    failure_count: u32,
    /// Refusals in a row, for the sake of one of the records.
    refusal_count: u32,
    /// Since when nothing was delivered though something was sent, and how many answers said so.
    fruitless: Option<(Instant, u32)>,
}

/// What was sent, and what became of it.
struct Answered {
    sent: Request,
    answer: Result<Vec<RecordResult>, Failure>,
}

struct Request {
    entries: Vec<Entry>,
    byte_count: usize,
    sent_at: Instant,
    /// It is the retry of an entry that was refused by itself.
    is_of_refused: bool,
}

/// Answers in a row that delivered nothing after which a flow counts as paused.
const FAILURES_UNTIL_PAUSED: u32 = 3;
/// Refusals in a row, with nothing delivered in between, after which it takes longer until the next request: more than it takes to
/// find some dozens of records in a request.
const REFUSALS_UNTIL_BACKOFF: u32 = 256;
/// After a timeout the room of a request grows by this part of it with each that is delivered: slowly, because a
/// step too far costs another one, and its records may be there twice.
const ROOM_GROWTH: usize = 64;

impl<D: Destination> Sender<D> {
    /// A sender with nothing to send.
    pub fn new(parts: Parts<D>) -> Self {
        let Parts { destination, mut facts, load, doubt, order, request_bytes, held_byte_count_max, .. } = parts;
        let Parts { events, metrics, health, mut random, .. } = parts;
        let (room_max, now) = (request_bytes - REQUEST_MARGIN_BYTES, Instant::now());
        let StreamFacts { shards: map, is_auto, .. } = facts.borrow_and_update().clone();
        let lanes = Lanes::new(map, order, random.fork(), now.into_std());
        Self {
            destination,
            facts,
            load,
            load_set_at: now,
            doubt,
            order,
            is_auto,
            room: room_max,
            room_max,
            events,
            condition: Condition::new(metrics.clone(), health),
            metrics,
            random,
            in_flight: JoinSet::new(),
            in_flight_record_count: 0,
            in_flight_byte_count: 0,
            held_byte_count_max,
            lanes,
            halves: VecDeque::new(),
            is_turn_of_lanes: false,
            refused: VecDeque::new(),
            refused_retry_at: now,
            wait_until: None,
            failure_count: 0,
            refusal_count: 0,
            fruitless: None,
        }
    }

    /// Works until the packer has ended and everything is delivered.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Vec<Entry>>) {
        let (mut is_ended, mut is_surveyed) = (false, true);
        while !(is_ended && self.is_done()) {
            while self.may_send() && self.send_next() {}
            self.set_load();
            let (may_send, may_take) = (self.may_send(), self.may_take());
            let ready_at = if may_send { self.ready_at() } else { None };
            tokio::select! {
                // Answers first: what failed goes ahead of what is new.
                biased;
                Some(answer) = self.in_flight.join_next(), if !self.in_flight.is_empty() => match answer {
                    Ok(answered) => self.answered(answered).await,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                changed = self.facts.changed(), if is_surveyed => match changed {
                    Ok(()) => self.remap(),
                    Err(_) => is_surveyed = false,
                },
                () = sleep_until(self.wait_until.unwrap_or_else(Instant::now)), if self.wait_until.is_some() => self.wait_until = None,
                () = sleep_until(self.refused_retry_at), if may_send && !self.refused.is_empty() => self.send_refused(),
                request = requests.recv(), if may_take && !is_ended => match request {
                    Some(entries) => entries.into_iter().for_each(|entry| self.lanes.push(entry)),
                    None => is_ended = true,
                },
                () = sleep_until(ready_at.unwrap_or_else(Instant::now)), if ready_at.is_some() => {}
            }
        }
        self.load.set(self.lanes.map(), Vec::new());
    }

    fn is_done(&self) -> bool {
        self.lanes.is_empty() && self.halves.is_empty() && self.refused.is_empty() && self.in_flight.is_empty()
    }

    /// While nothing gets through, one request at a time finds out when it does.
    fn may_send(&self) -> bool {
        let in_flight_max = if self.condition.is_paused() { 1 } else { REQUESTS_IN_FLIGHT };
        self.wait_until.is_none() && self.in_flight.len() < in_flight_max
    }

    /// What waits is no more than what may be on its way: the files are the buffer.
    fn may_take(&self) -> bool {
        self.lanes.byte_count() + self.in_flight_byte_count < self.held_byte_count_max || self.lanes.is_empty()
    }

    fn ready_at(&mut self) -> Option<Instant> {
        self.lanes.ready_at(Instant::now().into_std()).map(Instant::from_std)
    }

    fn remap(&mut self) {
        let StreamFacts { shards: map, is_auto, .. } = self.facts.borrow_and_update().clone();
        self.is_auto = is_auto;
        if !Arc::ptr_eq(&map, self.lanes.map()) {
            self.lanes.remap(map, Instant::now().into_std());
        }
    }

    fn set_load(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.load_set_at) >= LOAD_INTERVAL {
            self.load_set_at = now;
            let waits = self.lanes.waits(now.into_std());
            self.load.set(self.lanes.map(), waits);
        }
    }

    fn send(&mut self, entries: Vec<Entry>, is_of_refused: bool) {
        let byte_count = entries.iter().map(Entry::byte_count).sum();
        self.in_flight_record_count += entries.len();
        self.in_flight_byte_count += byte_count;
        let (destination, sent_at) = (Arc::clone(&self.destination), Instant::now());
        self.in_flight.spawn(async move {
            let answer = destination.put(&entries).await;
            Answered { sent: Request { entries, byte_count, sent_at, is_of_refused }, answer }
        });
    }

    /// Makes the next request, if there is something that may go now.
    fn send_next(&mut self) -> bool {
        let mut entries = Vec::new();
        // In turns: what is good does not wait until all that is refused was found, but where what is refused comes first.
        let is_turn_of_lanes = std::mem::replace(&mut self.is_turn_of_lanes, false) && self.order == Order::Throughput;
        if self.halves.is_empty() || is_turn_of_lanes {
            let mut request = Collector::with_room(self.room);
            self.lanes.take(&mut request, Instant::now().into_std());
            entries = request.take();
        }
        if entries.is_empty()
            && let Some(half) = self.halves.pop_front()
        {
            self.lanes.departed(&half);
            entries = half;
            self.is_turn_of_lanes = true;
        }
        let is_something = !entries.is_empty();
        if is_something {
            self.send(entries, false);
        }
        is_something
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
        // What was refused goes beside the others, also those of its file.
        if !sent.is_of_refused {
            self.lanes.landed(&sent.entries);
        }
        match answer {
            Ok(results) if results.len() == sent.entries.len() => self.by_record(sent, results).await,
            Ok(results) => {
                let failure = Failure::wrong_result_count(sent.entries.len(), results.len());
                self.request_failed(sent, &failure).await;
            }
            Err(failure) => self.request_failed(sent, &failure).await,
        }
        // What was delivered is reported by now.
        self.in_flight_record_count -= record_count;
    }

    async fn by_record(&mut self, sent: Request, results: Vec<RecordResult>) {
        let mut delivered = Spans::default();
        let mut failed = Vec::new();
        let mut last_failure = None;
        let mut by_shard: BTreeMap<usize, ShardAnswer> = BTreeMap::new();
        for (entry, result) in sent.entries.into_iter().zip(results) {
            let index = self.lanes.map().index_of(entry.hash_key);
            let of_shard = by_shard.entry(index).or_default();
            match result {
                RecordResult::Delivered { shard_id } => {
                    of_shard.delivered += Amount::of(&entry);
                    self.check_shard(entry.hash_key, index, shard_id.as_deref(), sent.sent_at);
                    self.metrics.delivered_records.inc();
                    self.metrics.delivered_record_bytes.inc_by(entry.data.len() as u64);
                    self.metrics.delivered_user_records.inc_by(u64::from(entry.user_record_count));
                    delivered.extend(&entry.spans);
                }
                RecordResult::Failed { code, message, shard_id } => {
                    let verdict = outcome::of_record(&code);
                    match verdict {
                        Verdict::SlowDown => of_shard.throttled += Amount::of(&entry),
                        _ => of_shard.has_failed = true,
                    }
                    self.check_shard(entry.hash_key, index, shard_id.as_deref(), sent.sent_at);
                    self.record_failed(verdict, &code, &message);
                    last_failure = Some(Failure { verdict, code, message });
                    failed.push(entry);
                }
            }
        }
        let some_delivered = !delivered.is_empty();
        self.lanes.answered(&by_shard, sent.sent_at.into_std(), Instant::now().into_std());
        if some_delivered {
            self.report(delivered, Outcome::Delivered).await;
            self.delivering(sent.byte_count, sent.is_of_refused);
        }
        self.failure_count = 0;
        let Some(failure) = last_failure else {
            self.metrics.request("ok");
            return;
        };
        self.metrics.request("partial");
        if sent.is_of_refused {
            self.keep_apart(failed);
        } else {
            self.lanes.push_front(failed);
        }
        if !some_delivered {
            self.fruitless(&failure);
        }
    }

    async fn report(&self, spans: Spans, outcome: Outcome) {
        // The checkpointer ends last; without it there is nobody to tell.
        let _ = self.events.send(Event::Settled(Settled { spans, outcome })).await;
    }

    /// The service says where a record went; is that where the map says it goes?
    fn check_shard(&self, hash_key: u128, index: usize, shard_id: Option<&str>, sent_at: Instant) {
        let expected = self.lanes.map().id_of(index);
        if let Some(actual) = shard_id
            && expected.is_none_or(|expected| **expected != *actual)
            && !self.is_auto
        {
            self.doubt.raise(hash_key, actual, sent_at);
        }
    }

    fn record_failed(&mut self, verdict: Verdict, code: &str, message: &str) {
        self.metrics.failed_records(code, 1);
        if verdict == Verdict::Uncertain {
            self.metrics.possibly_doubled_records.inc();
        }
        tracing::debug!(flow = self.metrics.name, code, message, "a record was not delivered, sending it again");
    }

    async fn request_failed(&mut self, sent: Request, failure: &Failure) {
        let Request { mut entries, byte_count, is_of_refused, .. } = sent;
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
        match failure.verdict {
            Verdict::Split if entries.len() == 1 => {
                return self.refused_by_itself(entries, is_of_refused, failure).await;
            }
            Verdict::Split => {
                self.respect_the_region(byte_count);
                let second = entries.split_off(entries.len() / 2);
                self.halves.push_front(second);
                self.halves.push_front(entries);
                return self.back_off_from_refusal();
            }
            _ if is_of_refused => self.keep_apart(entries),
            verdict => {
                if failure.code == Failure::TIMEOUT && entries.len() > 1 {
                    self.room = self.room.min(byte_count / 2);
                }
                if verdict != Verdict::Uncertain {
                    self.lanes.returned(&entries);
                }
                self.lanes.push_front(entries);
            }
        }
        self.back_off();
        // A timeout is long enough to be told the first time.
        if failure.verdict == Verdict::Pause || failure.code == Failure::TIMEOUT {
            self.condition.paused(failure);
        } else {
            self.fruitless(failure);
        }
    }

    /// One record that is too large is made smaller as `too_long` says; any other is kept apart.
    async fn refused_by_itself(&mut self, entries: Vec<Entry>, is_of_refused: bool, failure: &Failure) {
        let is_too_large = outcome::is_about_size(&failure.code, &failure.message);
        if is_too_large {
            self.doubt.raise_about_size();
        }
        // Of several lines each may fit: they are not given up for the sake of their number.
        if is_too_large && entries.iter().all(|entry| entry.user_record_count == 1) {
            self.shorten(entries).await;
            if is_of_refused && self.refused.is_empty() {
                self.condition.none_is_refused();
            }
            return;
        }
        self.condition.refused(failure);
        self.keep_apart(entries);
        // Of one that is tried again nothing is to be learned about the others.
        if !is_of_refused {
            self.back_off_from_refusal();
        }
    }

    /// What is kept of records that are too large is sent again.
    async fn shorten(&mut self, entries: Vec<Entry>) {
        let record_bytes_max = self.facts.borrow().record_bytes_max;
        for entry in entries {
            tracing::warn!(flow = self.metrics.name, bytes = entry.byte_count(), "a record is too large for the stream");
            let Shortened { kept, dropped, reason } = shortened(entry, record_bytes_max);
            self.lanes.push_front(kept);
            if !dropped.is_empty() {
                self.metrics.dropped_lines(reason, 1);
                self.report(dropped, Outcome::Dropped(reason)).await;
            }
        }
    }

    /// A request above the limit that every region has was refused: this one may have no other.
    fn respect_the_region(&mut self, byte_count: usize) {
        if byte_count > REQUEST_BYTES_DEFAULT {
            self.room_max = REQUEST_BYTES_DEFAULT - REQUEST_MARGIN_BYTES;
            self.room = self.room.min(self.room_max);
        }
    }

    /// Entries that are refused by themselves are tried again rarely, one at a time; the others go on.
    fn keep_apart(&mut self, entries: Vec<Entry>) {
        if self.refused.is_empty() {
            self.refused_retry_at = Instant::now() + REFUSED_RETRY_INTERVAL;
        }
        self.refused.extend(entries);
    }

    /// Waits a little longer after each request in a row that failed. Those that were in flight together fail together
    /// and count once.
    fn back_off(&mut self) {
        if self.wait_until.is_some() {
            return;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        let wait = backoff(self.failure_count, self.random.f64());
        self.wait_until = Some(Instant::now() + wait);
    }

    /// Finding the records that are refused takes many requests: they follow each other soon, unless nothing else comes of it.
    fn back_off_from_refusal(&mut self) {
        self.refusal_count = self.refusal_count.saturating_add(1);
        if self.refusal_count > REFUSALS_UNTIL_BACKOFF {
            self.back_off();
        } else if self.wait_until.is_none() {
            self.wait_until = Some(Instant::now() + backoff(1, self.random.f64()));
        }
    }

    /// An answer delivered nothing. That a shard is busy is no trouble for a while.
    fn fruitless(&mut self, failure: &Failure) {
        let now = Instant::now();
        let (since, count) = self.fruitless.get_or_insert((now, 0));
        *count = count.saturating_add(1);
        let is_long = failure.verdict != Verdict::SlowDown || now - *since >= THROTTLED_UNTIL_PAUSED;
        if *count >= FAILURES_UNTIL_PAUSED && is_long {
            self.condition.paused(failure);
        }
    }

    fn delivering(&mut self, byte_count: usize, is_of_refused: bool) {
        self.fruitless = None;
        self.refusal_count = 0;
        let room = self.room.max(byte_count);
        self.room = (room + (room / ROOM_GROWTH).max(KIB)).min(self.room_max);
        self.condition.delivering();
        if is_of_refused {
            // What was wrong with the others may be mended too.
            self.lanes.push_front(self.refused.drain(..).collect());
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

#[cfg(test)]
mod tests;
