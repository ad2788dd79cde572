//! Requests to the service until every entry is delivered.
//!
//! The sender decides how many requests are in flight, how large they are, what is sent again and when, and when a
//! flow counts as paused. What an answer means is decided in [`outcome`], how a request is made in [`kinesis`].
//! Per-record results are the only interpretation of a response; only failed entries are sent again, the same
//! bytes, ahead of new ones; nothing expires. What fails in a large request is sent again in smaller ones, so that
//! in the end a record that the service refuses stands alone, is kept apart, and holds up no other.

mod condition;
pub mod kinesis;
pub mod outcome;

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

/// Where entries go. Kinesis, or in tests a fake that fails as told.
pub trait Destination: Send + Sync + 'static {
    /// Makes one attempt to put `entries`, and returns what became of each, in order.
    fn put(&self, entries: &[Entry]) -> impl Future<Output = Result<Vec<RecordResult>, Failure>> + Send;
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
                RecordResult::Delivered => {
                    self.metrics.delivered_records.inc();
                    self.metrics.delivered_record_bytes.inc_by(entry.data.len() as u64);
                    self.metrics.delivered_user_records.inc_by(u64::from(entry.user_record_count));
                    delivered.extend(&entry.spans);
                }
                RecordResult::Failed { code, message } => {
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
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::health::Health;
    use crate::limits::MIB;
    use crate::metrics::Metrics;
    use crate::span::{FileKey, Span};

    #[test]
    fn waits_double_up_to_the_greatest_and_are_spread() {
        let longest: Vec<_> = [1, 2, 3, 8, 9, 100].map(|count| backoff(count, 1.0).as_millis()).to_vec();
        assert_eq!(longest, [100, 200, 400, 12_800, 20_000, 20_000]);
        assert_eq!(backoff(1, 0.0), BACKOFF_MIN / 2);
    }

    /// A service that takes requests of so many bytes in time, and refuses those with a poisoned entry.
    #[derive(Clone, Default)]
    struct Service(Arc<Mutex<ServiceState>>);

    #[derive(Default)]
    struct ServiceState {
        bytes_in_time: usize,
        poisoned: Option<&'static str>,
        /// Bytes of each request, and whether it was answered well.
        requests: Vec<(usize, bool)>,
        delivered: Vec<String>,
        answers_never: bool,
    }

    impl Destination for Service {
        async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
            if self.0.lock().unwrap().answers_never {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            let mut state = self.0.lock().unwrap();
            let byte_count = entries.iter().map(Entry::byte_count).sum();
            let is_poisoned = entries.iter().any(|entry| Some(entry.partition_key.as_str()) == state.poisoned);
            let failure = |verdict, code: &str| Failure { verdict, code: code.to_owned(), message: "at 12:00:00".to_owned() };
            let answer = match byte_count > state.bytes_in_time {
                true => Err(failure(Verdict::Uncertain, Failure::TIMEOUT)),
                false if is_poisoned => Err(failure(Verdict::Split, "ValidationException")),
                false => Ok(vec![RecordResult::Delivered; entries.len()]),
            };
            state.requests.push((byte_count, answer.is_ok()));
            if answer.is_ok() {
                state.delivered.extend(entries.iter().map(|entry| entry.partition_key.clone()));
            }
            answer
        }
    }

    fn entries(count: u64, bytes: usize) -> Vec<Entry> {
        let entry = |number| Entry {
            partition_key: format!("{number:04}"),
            explicit_hash_key: None,
            data: vec![0; bytes - 4].into(),
            spans: [Span::new(FileKey(1), number, number + 1)].into_iter().collect(),
            user_record_count: 1,
        };
        (0..count).map(entry).collect()
    }

    struct Running {
        service: Service,
        metrics: FlowMetrics,
        health: Health,
        requests: mpsc::Sender<Vec<Entry>>,
        events: mpsc::Receiver<Event>,
        task: tokio::task::JoinHandle<()>,
    }

    fn run(service: ServiceState) -> Running {
        let service = Service(Arc::new(Mutex::new(service)));
        let (metrics, health) = (Metrics::default().flow("access"), Health::default());
        let (events, events_out) = mpsc::channel(10_000);
        let (requests, requests_out) = mpsc::channel(1);
        let (reporter, random) = (health.flow("access"), fastrand::Rng::with_seed(1));
        let (request_bytes, in_flight) = (REQUEST_BYTES_DEFAULT, 4 * REQUEST_BYTES_DEFAULT);
        let sender = Sender::new(service.clone(), request_bytes, in_flight, events, metrics.clone(), reporter, random);
        Running { service, metrics, health, requests, events: events_out, task: tokio::spawn(sender.run(requests_out)) }
    }

    #[tokio::test(start_paused = true)]
    async fn over_a_slow_line_requests_become_so_small_that_they_arrive() {
        let running = run(ServiceState { bytes_in_time: MIB, ..ServiceState::default() });
        for _ in 0..20 {
            running.requests.send(entries(50, 100_000)).await.unwrap();
        }
        drop(running.requests);
        running.task.await.unwrap();
        let state = running.service.0.lock().unwrap();
        assert_eq!(state.delivered.len(), 1_000);
        let failed_count = state.requests.iter().filter(|(_, is_well)| !is_well).count();
        assert!(failed_count < state.requests.len() / 5, "{failed_count} of {} requests failed", state.requests.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_is_refused_holds_up_no_other_and_goes_when_it_is_taken() {
        let running = run(ServiceState { bytes_in_time: usize::MAX, poisoned: Some("0123"), ..ServiceState::default() });
        running.requests.send(entries(500, 200)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(running.service.0.lock().unwrap().delivered.len(), 499);
        let pause = running.health.flows()[0].paused.clone().expect("the flow says so");
        assert!(pause.reason.starts_with("ValidationException") && pause.reason.contains("the others go on"), "{}", pause.reason);
        let request_count = running.service.0.lock().unwrap().requests.len();
        assert!(request_count < 60, "{request_count} requests");
        running.service.0.lock().unwrap().poisoned = None;
        drop(running.requests);
        running.task.await.unwrap();
        assert_eq!(running.service.0.lock().unwrap().delivered.len(), 500);
        assert!(running.health.flows()[0].paused.is_none());
        assert_eq!(running.metrics.possibly_doubled_records.get(), 0);
        drop(running.events);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_record_gets_alone_while_the_flow_is_busy() {
        let running = run(ServiceState { bytes_in_time: usize::MAX, poisoned: Some("0123"), ..ServiceState::default() });
        running.requests.send(entries(500, 200)).await.unwrap();
        for _ in 0..200 {
            let mut others = entries(500, 200);
            others.remove(123);
            running.requests.send(others).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let state = running.service.0.lock().unwrap();
        assert_eq!(state.delivered.len(), 499 * 201);
        let failed_count = state.requests.iter().filter(|(_, is_well)| !is_well).count();
        assert!(failed_count < 20, "{failed_count} requests failed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_at_an_early_end_counts_as_possibly_doubled() {
        let running = run(ServiceState { answers_never: true, ..ServiceState::default() });
        running.requests.send(entries(50, 100)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.task.abort();
        assert!(running.task.await.is_err());
        assert_eq!(running.metrics.possibly_doubled_records.get(), 50);
    }
}
