//! Requests to the service until every entry is delivered.
//!
//! The sender decides how many requests are in flight, how large they are, and what is sent next; in `answers` what is
//! sent again and when, and when a flow counts as paused; in `lookup` what is first looked for in the stream. What an answer means is decided in [`outcome`](crate::outcome),
//! how a request is made in [`kinesis`] and [`firehose`].
//! Per-record results are the only interpretation of a response; only failed entries are sent again, the same
//! bytes, ahead of new ones; nothing expires. What fails in a large request is sent again in smaller ones, so that
//! in the end a record that the service refuses stands alone, is kept apart, and holds up no other.

mod answers;
mod arrived;
mod condition;
mod exchange;
pub mod firehose;
pub mod kinesis;
mod lanes;
mod learned;
mod lookup;
mod pace;
mod sdk;
mod shortening;
pub mod survey;
mod target;
mod unknown;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::arrived::{Arrived, byte_count};
use self::condition::Condition;
use self::lanes::Lanes;
use self::lookup::Lookups;
use self::survey::Doubt;
use crate::budget::Share;
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::config::{Order, ReadBack};
use crate::failpoint;
use crate::gate::Gate;
use crate::health::FlowReporter;
use crate::limits::{LOAD_INTERVAL, REFUSED_RETRY_INTERVAL, REQUEST_MARGIN_BYTES, REQUESTS_IN_FLIGHT};
use crate::metrics::FlowMetrics;
use crate::outcome::{Failure, RecordResult};
use crate::progress::{Stage, alongside};
use crate::readback::Reader;
use crate::service_clock::ServiceClock;
use crate::stream::{Load, Shard, StreamFacts};

pub use self::target::Target;
pub use self::unknown::Unknown;

/// Where entries go. Kinesis or Firehose, or in tests a fake that fails as told.
pub trait Destination: Reader {
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
    /// Where requests wait until they may leave.
    pub gate: Gate,
    /// What time it is for the service.
    pub clock: ServiceClock,
    /// Whether what may be stored is looked up in the stream; not where the destination is none that can be read.
    pub read_back: ReadBack,
    /// How long that waits before.
    pub settle: Duration,
    /// What is kept in order.
    pub order: Order,
    /// Most bytes of a request.
    pub request_bytes: usize,
    /// With so many bytes as it has waiting and on their way nothing more is taken.
    pub share: Share,
    /// Where deliveries are reported.
    pub events: mpsc::Sender<Event>,
    /// Counts requests and records.
    pub metrics: FlowMetrics,
    /// Where it says how it fares.
    pub health: FlowReporter,
    /// Where it says of how many records it does not know what became of them.
    pub unknown: Unknown,
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
    gate: Gate,
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
    in_flight_byte_count: usize,
    unknown: Unknown,
    share: Share,
    /// New entries: what of them may go does so as it is, without a way through the lanes.
    arrived: Arrived,
    /// Entries to be sent: those that an attempt did not deliver, then new ones.
    lanes: Lanes,
    /// Halves of requests that were refused, to be sent as they are.
    halves: VecDeque<Vec<Entry>>,
    /// The last request was one of these.
    is_turn_of_lanes: bool,
    /// Entries that the service refuses by themselves.
    refused: VecDeque<Entry>,
    /// Entries that may be stored, until that is known.
    lookups: Lookups<D>,
    /// When one of the refused is sent again.
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

impl<D: Destination> Sender<D> {
    /// A sender with nothing to send.
    pub fn new(parts: Parts<D>) -> Self {
        let Parts { destination, mut facts, load, doubt, gate, order, request_bytes, share, unknown, .. } = parts;
        let Parts { clock, read_back, settle, events, metrics, health, mut random, .. } = parts;
        let (room_max, now) = (request_bytes - REQUEST_MARGIN_BYTES, Instant::now());
        let StreamFacts { shards: map, is_auto, .. } = facts.borrow_and_update().clone();
        let lanes = Lanes::new(map, order, random.fork(), now.into_std());
        let lookups = Lookups::new(Arc::clone(&destination), clock, metrics.clone(), read_back, settle);
        Self {
            destination,
            facts,
            load,
            load_set_at: now,
            doubt,
            gate,
            order,
            is_auto,
            room: room_max,
            room_max,
            events,
            condition: Condition::new(metrics.clone(), health),
            metrics,
            random,
            in_flight: JoinSet::new(),
            in_flight_byte_count: 0,
            unknown,
            share,
            arrived: Arrived::default(),
            lanes,
            halves: VecDeque::new(),
            is_turn_of_lanes: false,
            refused: VecDeque::new(),
            lookups,
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
                looked_up = self.lookups.next(self.is_auto) => self.looked_up(looked_up).await,
                changed = self.facts.changed(), if is_surveyed => match changed {
                    Ok(()) => self.remap(),
                    Err(_) => is_surveyed = false,
                },
                () = sleep_until(self.wait_until.unwrap_or_else(Instant::now)), if self.wait_until.is_some() => self.wait_until = None,
                () = sleep_until(self.refused_retry_at), if may_send && !self.refused.is_empty() => self.send_refused(),
                request = requests.recv(), if may_take && !is_ended => match request {
                    Some(entries) => self.arrived.push(entries),
                    None => is_ended = true,
                },
                () = sleep_until(ready_at.unwrap_or_else(Instant::now)), if ready_at.is_some() => {}
            }
        }
        self.load.set(self.lanes.map(), Vec::new());
    }

    fn is_done(&self) -> bool {
        let is_nothing_to_send =
            self.arrived.is_empty() && self.lanes.is_empty() && self.halves.is_empty() && self.refused.is_empty();
        is_nothing_to_send && self.in_flight.is_empty() && self.lookups.is_empty()
    }

    /// While nothing gets through, one request at a time finds out when it does.
    fn may_send(&self) -> bool {
        let in_flight_max = if self.condition.is_paused() { 1 } else { REQUESTS_IN_FLIGHT };
        self.wait_until.is_none() && self.in_flight.len() < in_flight_max
    }

    /// What waits is no more than what may be on its way: the files are the buffer.
    fn may_take(&self) -> bool {
        let uncertain_byte_count = self.lookups.byte_count();
        let held_byte_count =
            self.arrived.byte_count() + self.lanes.byte_count() + self.in_flight_byte_count + uncertain_byte_count;
        let held_byte_count_max = self.share.byte_count_max();
        let is_little_waiting = self.arrived.is_empty() && self.lanes.is_empty() && uncertain_byte_count < held_byte_count_max;
        !self.arrived.is_enough(self.room) && (held_byte_count < held_byte_count_max || is_little_waiting)
    }

    fn ready_at(&self) -> Option<Instant> {
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

    fn send(&mut self, mut entries: Vec<Entry>, is_of_refused: bool) {
        let byte_count = byte_count(&entries);
        self.in_flight_byte_count += byte_count;
        let (destination, gate) = (Arc::clone(&self.destination), self.gate.clone());
        let unknown = self.unknown.clone();
        let request = async move {
            let files = entries.iter().flat_map(|entry| entry.spans.iter()).map(|span| span.file);
            let new_count = entries.iter().filter(|entry| entry.in_flight_since.is_none()).count();
            let sent_at = gate.depart(files, new_count).await;
            unknown.add(entries.len());
            for entry in &mut entries {
                entry.in_flight_since.get_or_insert(sent_at.into_std());
            }
            failpoint::pass("before_send");
            let answer = destination.put(&entries).await;
            failpoint::pass("after_answer");
            Answered { sent: Request { entries, byte_count, sent_at, is_of_refused }, answer }
        };
        self.in_flight.spawn(alongside(Stage::Request, request));
    }

    /// Makes the next request, if there is something that may go now.
    fn send_next(&mut self) -> bool {
        let mut entries = Vec::new();
        // In turns: what is good does not wait until all that is refused was found, but where what is refused comes first.
        let is_turn_of_lanes = std::mem::replace(&mut self.is_turn_of_lanes, false) && self.order == Order::Throughput;
        if self.halves.is_empty() || is_turn_of_lanes {
            entries = self.next_that_may_go();
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

    /// What has arrived goes as it is, as far as it may, unless something may go that waits, or it is more than a request.
    fn next_that_may_go(&mut self) -> Vec<Entry> {
        let now = Instant::now().into_std();
        let is_one_request = self.arrived.is_one_request(self.room);
        let mut arrived = self.arrived.take();
        if is_one_request && self.lanes.ready_at(now).is_none_or(|at| at > now) {
            arrived = self.lanes.admit(arrived, now);
            if !arrived.is_empty() {
                return arrived;
            }
        }
        for entry in arrived {
            self.lanes.push(entry);
        }
        let mut request = Collector::with_room(self.room);
        self.lanes.take(&mut request, now);
        request.take()
    }

    fn send_refused(&mut self) {
        self.refused_retry_at = Instant::now() + REFUSED_RETRY_INTERVAL;
        if let Some(entry) = self.refused.pop_front() {
            self.send(vec![entry], true);
        }
    }
}

impl<D> Drop for Sender<D> {
    /// Ended before its time, it does not learn what becomes of the requests in flight, nor what a lookup would have found: unless
    /// the next start finds it, that is sent again.
    fn drop(&mut self) {
        if !self.unknown.is_found_out() {
            self.metrics.possibly_doubled_records.inc_by(self.unknown.record_count() as u64);
        }
    }
}

#[cfg(test)]
mod tests;
