use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::budget::Share;
use crate::config;
use crate::hash_key::hash_of;
use crate::health::Health;
use crate::limits::{MIB, REQUEST_BYTES_DEFAULT, SETTLE_DEFAULT};
use crate::metrics::Metrics;
use crate::outcome::Verdict;
use crate::readback::Reader;
use crate::span::{FileKey, Span};

/// A service that takes requests of so many bytes in time, and refuses those with a poisoned entry.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<ServiceState>>);

#[derive(Default)]
struct ServiceState {
    bytes_in_time: usize,
    poisoned: Option<&'static str>,
    /// Entries with smaller numbers are poisoned too.
    poisoned_below: u64,
    /// Of so many records one fails.
    fails_once_in: usize,
    put_count: usize,
    /// Bytes of each request, and whether it was answered well.
    requests: Vec<(usize, bool)>,
    delivered: Vec<String>,
    answers_never: bool,
    /// How long it takes to store a request.
    storing: Duration,
    /// Requests that are being stored, and the most there ever were at once.
    stored_at_once: usize,
    stored_at_once_max: usize,
}

impl ServiceState {
    /// How long it takes to store a request, if it is taken.
    fn begin(&mut self, entries: &[Entry], byte_count: usize) -> Result<Duration, Failure> {
        let is_poisoned = entries.iter().any(|entry| {
            Some(entry.partition_key.as_str()) == self.poisoned
                || entry.partition_key.parse::<u64>().unwrap() < self.poisoned_below
        });
        let failure = |verdict, code: &str| Failure { verdict, code: code.to_owned(), message: "at 12:00:00".to_owned() };
        let failure = match byte_count > self.bytes_in_time {
            true => Some(failure(Verdict::Uncertain, Failure::TIMEOUT)),
            false if is_poisoned => Some(failure(Verdict::Split, "ValidationException")),
            false => None,
        };
        self.requests.push((byte_count, failure.is_none()));
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.stored_at_once += 1;
        self.stored_at_once_max = self.stored_at_once_max.max(self.stored_at_once);
        Ok(self.storing)
    }
}

impl ServiceState {
    fn put(&mut self, entry: &Entry) -> RecordResult {
        self.put_count += 1;
        if self.fails_once_in > 0 && self.put_count.is_multiple_of(self.fails_once_in) {
            let (code, message) = ("InternalFailure".to_owned(), "no".to_owned());
            return RecordResult::Failed { code, message, shard_id: None };
        }
        self.delivered.push(entry.partition_key.to_string());
        RecordResult::Delivered { shard_id: None }
    }
}

impl Reader for Service {}

impl Destination for Service {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        if self.0.lock().unwrap().answers_never {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let byte_count = entries.iter().map(Entry::byte_count).sum();
        let storing = self.0.lock().unwrap().begin(entries, byte_count)?;
        tokio::time::sleep(storing).await;
        let mut state = self.0.lock().unwrap();
        state.stored_at_once -= 1;
        Ok(entries.iter().map(|entry| state.put(entry)).collect())
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Err(Failure::unsupported("ListShards"))
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}

fn entries(count: u64, bytes: usize) -> Vec<Entry> {
    let entry = |number| Entry {
        partition_key: format!("{number:04}").into(),
        hash_key: hash_of(format!("{number:04}")),
        is_hash_key_explicit: false,
        data: vec![0; bytes - 4].into(),
        spans: [Span::new(FileKey(1), number, number + 1)].into_iter().collect(),
        user_record_count: 1,
        is_token: true,
        in_flight_since: None,
        too_long: None,
    };
    (0..count).map(entry).collect()
}

struct Running {
    service: Service,
    metrics: FlowMetrics,
    health: Health,
    requests: mpsc::Sender<Vec<Entry>>,
    events: mpsc::Receiver<Event>,
    unknown: Unknown,
    task: tokio::task::JoinHandle<()>,
}

fn run(service: ServiceState) -> Running {
    run_in(Order::Throughput, service)
}

fn run_in(order: Order, service: ServiceState) -> Running {
    let service = Service(Arc::new(Mutex::new(service)));
    let (metrics, health) = (Metrics::default().flow("access"), Health::default());
    let unknown = Unknown::default();
    let (events, events_out) = mpsc::channel(10_000);
    let (requests, requests_out) = mpsc::channel(1);
    let sender = Sender::new(Parts {
        destination: Arc::new(service.clone()),
        facts: watch::channel(StreamFacts::before_asking(&config::Destination::Kinesis("s".to_owned()))).1,
        load: Load::default(),
        doubt: Doubt::default(),
        gate: Gate::always_open(),
        clock: ServiceClock::new(0),
        read_back: ReadBack::Off,
        settle: SETTLE_DEFAULT,
        order,
        request_bytes: REQUEST_BYTES_DEFAULT,
        share: Share::new(4 * REQUEST_BYTES_DEFAULT, 1),
        events,
        metrics: metrics.clone(),
        health: health.flow("access"),
        unknown: unknown.clone(),
        random: fastrand::Rng::with_seed(1),
    });
    Running { service, metrics, health, requests, events: events_out, unknown, task: tokio::spawn(sender.run(requests_out)) }
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

/// What comes and may go is sent at once, without a wait for the next tick of the runtime's clock, which are milliseconds.
#[tokio::test(start_paused = true)]
async fn what_arrives_is_sent_at_once() {
    for order in [Order::Throughput, Order::File] {
        let running = run_in(order, ServiceState { bytes_in_time: usize::MAX, ..ServiceState::default() });
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::advance(Duration::from_micros(300)).await;
        let begun = Instant::now();
        running.requests.send(entries(1, 200)).await.unwrap();
        // As long as somebody has something to do, the clock stands still.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!((running.unknown.record_count(), begun.elapsed()), (1, Duration::ZERO), "{order:?}");
    }
}

/// While as many requests as may are on their way, what comes in small ones shares the next.
#[tokio::test(start_paused = true)]
async fn small_requests_that_have_to_wait_share_one() {
    let service = ServiceState { bytes_in_time: usize::MAX, storing: Duration::from_secs(1), ..ServiceState::default() };
    let running = run(service);
    for _ in 0..REQUESTS_IN_FLIGHT + 100 {
        running.requests.send(entries(1, 200)).await.unwrap();
    }
    drop(running.requests);
    running.task.await.unwrap();
    let state = running.service.0.lock().unwrap();
    assert_eq!(state.delivered.len(), REQUESTS_IN_FLIGHT + 100);
    assert!(state.requests.len() < REQUESTS_IN_FLIGHT + 10, "{} requests", state.requests.len());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_holds_up_no_other_and_goes_when_it_is_taken() {
    let running = run(ServiceState { bytes_in_time: usize::MAX, poisoned: Some("0123"), ..ServiceState::default() });
    running.requests.send(entries(500, 200)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.service.0.lock().unwrap().delivered.len(), 499);
    let pause = running.health.flows()[0].paused().cloned().expect("the flow says so");
    assert!(pause.reason.starts_with("ValidationException") && pause.reason.contains("the others go on"), "{}", pause.reason);
    let request_count = running.service.0.lock().unwrap().requests.len();
    assert!(request_count < 60, "{request_count} requests");
    running.service.0.lock().unwrap().poisoned = None;
    drop(running.requests);
    running.task.await.unwrap();
    assert_eq!(running.service.0.lock().unwrap().delivered.len(), 500);
    assert!(running.health.flows()[0].paused().is_none());
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

/// The retries of the refused one come while others of its file are being stored.
#[tokio::test(start_paused = true)]
async fn a_file_is_kept_in_order_also_while_one_of_its_records_is_refused() {
    let storing = Duration::from_secs(15);
    let service = ServiceState { bytes_in_time: usize::MAX, poisoned: Some("0000"), storing, ..ServiceState::default() };
    let running = run_in(Order::File, service);
    let of_file = entries(10, 100).into_iter().map(|entry| Entry { hash_key: 7, ..entry });
    running.requests.send(of_file.collect()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    running.service.0.lock().unwrap().poisoned = None;
    drop(running.requests);
    running.task.await.unwrap();
    let state = running.service.0.lock().unwrap();
    let others: Vec<_> = state.delivered.iter().filter(|key| *key != "0000").map(String::as_str).collect();
    assert_eq!(others, ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"]);
    // One of the file, and beside it the one that was refused.
    assert_eq!((state.delivered.len(), state.stored_at_once_max), (10, 2));
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

#[tokio::test(start_paused = true)]
async fn what_is_held_has_a_bound() {
    // Whatever is offered while nothing is answered: what may be held, and the request with which it is reached.
    let running = run(ServiceState { answers_never: true, ..ServiceState::default() });
    let mut taken_byte_count = 0;
    let offered = |running: &Running| running.requests.try_send(entries(50, 100_000)).is_ok();
    for _ in 0..1_000 {
        taken_byte_count += if offered(&running) { 5_000_000 } else { 0 };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One more waits in the channel.
    assert!(taken_byte_count >= 4 * REQUEST_BYTES_DEFAULT, "{taken_byte_count}");
    assert!(taken_byte_count < 4 * REQUEST_BYTES_DEFAULT + 2 * 5_000_000, "{taken_byte_count}");
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn records_that_are_refused_together_hold_up_no_other() {
    let running = run(ServiceState { bytes_in_time: usize::MAX, poisoned_below: 50, ..ServiceState::default() });
    let mut all = entries(1_500, 200);
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(500));
        running.requests.send(std::mem::replace(&mut all, rest)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(running.service.0.lock().unwrap().delivered.len(), 1_450);
    let request_count = running.service.0.lock().unwrap().requests.len();
    assert!(request_count < 200, "{request_count} requests");
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_part_of_all_records_that_fails_does_not_slow_the_others_down() {
    let running = run(ServiceState { bytes_in_time: usize::MAX, fails_once_in: 10, ..ServiceState::default() });
    let begun = Instant::now();
    for _ in 0..40 {
        running.requests.send(entries(500, 200)).await.unwrap();
    }
    drop(running.requests);
    running.task.await.unwrap();
    assert_eq!(running.service.0.lock().unwrap().delivered.len(), 20_000);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
