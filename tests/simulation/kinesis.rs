//! A Kinesis stream in memory, which fails in every way that the service and the network do, by its own
//! random numbers, and knows what it has stored and what it has said about it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use kinetail::collector::Entry;
use kinetail::config::Flow;
use kinetail::hash_key::{HashRange, hash_of};
use kinetail::limits::{ATTEMPT_TIMEOUT, MIB, READ_BYTES};
use kinetail::metrics::Metrics;
use kinetail::sender::outcome::{self, Failure, RecordResult, Service, Verdict};
use kinetail::sender::{Destination, Summary};
use kinetail::stream::Shard;
use tokio::time::{Instant, sleep};

use crate::ledger::is_token;

/// CR and LF.
const TERMINATOR_BYTES_MAX: usize = 2;

/// How likely each trouble is at each request, or each record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    latency_ms_max: u64,
    requests: Vec<(RequestFault, f64)>,
    record_throttled: f64,
    record_failed: f64,
    /// Records that the service refuses, each with the whole of its request, while the weather lasts.
    record_refused: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RequestFault {
    Throttled,
    ServerError,
    Unavailable,
    ResetBeforeBody,
    ResetAfterBody,
    Timeout,
    TooFewResults,
    TooManyResults,
    EmptyAnswer,
    /// Nobody answers for minutes.
    Blackout,
    /// Access is denied for a while.
    Denied,
}

const REQUEST_FAULTS: [RequestFault; 11] = [
    RequestFault::Throttled,
    RequestFault::ServerError,
    RequestFault::Unavailable,
    RequestFault::ResetBeforeBody,
    RequestFault::ResetAfterBody,
    RequestFault::Timeout,
    RequestFault::TooFewResults,
    RequestFault::TooManyResults,
    RequestFault::EmptyAnswer,
    RequestFault::Blackout,
    RequestFault::Denied,
];

impl Weather {
    /// From calm to a storm.
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let latency_ms_max = [1, 20, 200, 2_000][rng.usize(..4)];
        let severity = [0.0, 0.02, 0.1, 0.4][rng.usize(..4)];
        let mut chance = |scale: f64| if rng.bool() { 0.0 } else { rng.f64() * severity * scale };
        let requests = REQUEST_FAULTS.map(|fault| match fault {
            RequestFault::Blackout | RequestFault::Denied => (fault, chance(0.3)),
            _ => (fault, chance(0.5)),
        });
        Self {
            latency_ms_max,
            requests: requests.to_vec(),
            record_throttled: chance(1.0),
            record_failed: chance(1.0),
            record_refused: chance(0.05),
        }
    }
}

/// One stream.
pub(crate) struct Stream {
    flow: Flow,
    shards: Vec<HashRange>,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    weather: Weather,
    /// The time of the simulation when this life of the agent began, and the runtime's.
    life: Option<(Duration, Instant)>,
    metrics: Option<(Arc<Metrics>, usize)>,
    blackout_until: Duration,
    denied_until: Duration,
    /// By delivery token: the bytes, which never change.
    tokens: HashMap<String, Bytes>,
    in_flight: HashSet<String>,
    acknowledged: HashSet<String>,
    /// What was stored since it was last taken, in order.
    stored: Vec<Stored>,
    life_tally: LifeTally,
    faults: BTreeMap<String, u64>,
}

/// One record as it was stored.
pub(crate) struct Stored {
    pub(crate) shard: HashRange,
    pub(crate) entry: Entry,
    /// When the agent was told so; never, if the answer was another or did not arrive.
    pub(crate) acknowledged_at: Option<Duration>,
}

/// What was answered during one life of the agent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LifeTally {
    pub(crate) request_count: u64,
    /// Records of which the agent could not know whether they were stored.
    pub(crate) uncertain_record_count: u64,
    pub(crate) acknowledged_record_count: u64,
}

/// What happens to a request; decided when it arrives.
struct Plan {
    before: Duration,
    after: Duration,
    stored: Vec<bool>,
    answer: Answer,
}

enum Answer {
    /// For each record nothing, or the code of its error.
    ByRecord(Vec<Option<&'static str>>),
    /// So many good results, which is not the number of records.
    WrongCount(usize),
    Failed(Failure),
}

const RECORD_THROTTLED: &str = "ProvisionedThroughputExceededException";
const RECORD_FAILED: &str = "InternalFailure";

impl Stream {
    pub(crate) fn new(flow: &Flow, mut rng: fastrand::Rng) -> Self {
        let shard_count = rng.u128(1..=6);
        let width = u128::MAX / shard_count;
        let start = |shard: u128| shard * width;
        let end = |shard: u128| if shard + 1 == shard_count { u128::MAX } else { start(shard + 1) - 1 };
        let shards = (0..shard_count).map(|shard| HashRange { start: start(shard), end: end(shard) }).collect();
        let state = State {
            weather: Weather::drawn(&mut rng),
            rng,
            life: None,
            metrics: None,
            blackout_until: Duration::ZERO,
            denied_until: Duration::ZERO,
            tokens: HashMap::new(),
            in_flight: HashSet::new(),
            acknowledged: HashSet::new(),
            stored: Vec::new(),
            life_tally: LifeTally::default(),
            faults: BTreeMap::new(),
        };
        Self { flow: flow.clone(), shards, state: Mutex::new(state) }
    }

    /// An agent comes to life at `now`. Its bytes in flight, as `metrics` has them, must never pass `budget_bytes`.
    pub(crate) fn begin_life(&self, now: Duration, metrics: Arc<Metrics>, budget_bytes: usize) {
        let mut state = self.state();
        state.life = Some((now, Instant::now()));
        state.metrics = Some((metrics, budget_bytes));
        state.in_flight.clear();
        state.life_tally = LifeTally::default();
    }

    /// What was stored and answered since the life began.
    pub(crate) fn end_life(&self) -> (Vec<Stored>, LifeTally) {
        let mut state = self.state();
        (std::mem::take(&mut state.stored), state.life_tally)
    }

    /// The weather changes; the weather so far.
    pub(crate) fn set_weather(&self, weather: Weather) -> Weather {
        let mut state = self.state();
        (state.blackout_until, state.denied_until) = (Duration::ZERO, Duration::ZERO);
        std::mem::replace(&mut state.weather, weather)
    }

    /// How often each trouble was made.
    pub(crate) fn faults(&self) -> BTreeMap<String, u64> {
        self.state().faults.clone()
    }

    /// The bytes in flight are within the budget, or above it by one long line.
    pub(crate) fn check_budget(&self) {
        let state = self.state();
        let Some((metrics, budget_bytes)) = &state.metrics else { return };
        for flow in metrics.flows().iter().filter(|flow| flow.name == self.flow.name) {
            let bytes_max = budget_bytes + (self.flow.line.max_bytes + TERMINATOR_BYTES_MAX).saturating_sub(READ_BYTES);
            assert!(flow.in_flight() <= bytes_max as u64, "{} bytes in flight of {bytes_max}", flow.in_flight());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the service refuses, and what an agent that keeps its word never does.
    fn receive(&self, entries: &[Entry]) {
        self.check_budget();
        assert!((1..=500).contains(&entries.len()), "{} records in a request", entries.len());
        let byte_count: usize = entries.iter().map(Entry::byte_count).sum();
        assert!(byte_count <= (5 * MIB).min(self.flow.delivery.request_bytes), "{byte_count} bytes in a request");
        let mut state = self.state();
        state.life_tally.request_count += 1;
        for entry in entries {
            assert!(entry.byte_count() <= MIB, "{} bytes in a record", entry.byte_count());
            let key_chars = entry.partition_key.chars().count();
            assert!((1..=256).contains(&key_chars), "{key_chars} characters in a partition key");
            if is_token(&entry.partition_key) {
                let token = &entry.partition_key;
                let known = state.tokens.entry(token.clone()).or_insert_with(|| entry.data.clone());
                assert!(*known == entry.data, "the record {token} is sent again with other bytes");
                assert!(!state.acknowledged.contains(token), "the record {token} is sent again after it was delivered");
                assert!(state.in_flight.insert(token.clone()), "the record {token} is sent twice at once");
            }
        }
    }

    fn store(&self, entries: &[Entry], stored: &[bool]) -> Vec<Option<usize>> {
        let mut state = self.state();
        let mut indexes = Vec::with_capacity(entries.len());
        for (entry, is_stored) in entries.iter().zip(stored) {
            if *is_stored {
                assert!(entry.is_hash_key_explicit || entry.hash_key == hash_of(&entry.partition_key));
                let shard = *self.shards.iter().find(|shard| shard.contains(entry.hash_key)).unwrap();
                state.stored.push(Stored { shard, entry: entry.clone(), acknowledged_at: None });
            }
            indexes.push(is_stored.then(|| state.stored.len() - 1));
        }
        indexes
    }

    fn answer(&self, entries: &[Entry], answer: Answer, indexes: &[Option<usize>]) -> Result<Vec<RecordResult>, Failure> {
        let mut state = self.state();
        for entry in entries {
            state.in_flight.remove(&entry.partition_key);
        }
        let errors = match answer {
            Answer::ByRecord(errors) => errors,
            Answer::WrongCount(count) => {
                state.life_tally.uncertain_record_count += entries.len() as u64;
                return Ok(vec![RecordResult::Delivered { shard_id: None }; count]);
            }
            Answer::Failed(failure) => {
                let is_uncertain = failure.verdict == Verdict::Uncertain;
                state.life_tally.uncertain_record_count += if is_uncertain { entries.len() as u64 } else { 0 };
                return Err(failure);
            }
        };
        let now = state.now();
        let mut results = Vec::with_capacity(entries.len());
        for ((entry, error), index) in entries.iter().zip(errors).zip(indexes) {
            results.push(match error {
                None => {
                    state.stored[index.unwrap()].acknowledged_at = Some(now);
                    state.life_tally.acknowledged_record_count += 1;
                    if is_token(&entry.partition_key) {
                        state.acknowledged.insert(entry.partition_key.clone());
                    }
                    RecordResult::Delivered { shard_id: None }
                }
                Some(code) => {
                    state.life_tally.uncertain_record_count += u64::from(code == RECORD_FAILED);
                    RecordResult::Failed { code: code.to_owned(), message: "as drawn".to_owned(), shard_id: None }
                }
            });
        }
        Ok(results)
    }
}

impl State {
    fn now(&self) -> Duration {
        let (base, start) = self.life.unwrap();
        base + start.elapsed()
    }

    fn plan(&mut self, entries: &[Entry]) -> Plan {
        let count = entries.len();
        let mut latency = || Duration::from_millis(self.rng.u64(..=self.weather.latency_ms_max));
        let (before, after) = (latency(), latency());
        let not_stored = vec![false; count];
        let failed = |failure| Plan { before, after, stored: not_stored.clone(), answer: Answer::Failed(failure) };
        let now = self.now();
        if now < self.blackout_until {
            return failed(transport(Verdict::Retry, "Connection"));
        }
        if now < self.denied_until {
            return failed(service("AccessDeniedException", 400));
        }
        if entries.iter().any(|entry| self.is_refused(entry)) {
            self.note("record refused");
            return failed(service("ValidationException", 400));
        }
        let drawn = self.weather.requests.iter().find(|(_, chance)| self.rng.f64() < *chance).map(|(fault, _)| *fault);
        let Some(fault) = drawn else { return self.plan_by_record(before, after, count) };
        self.note(&format!("{fault:?}"));
        let stored = self.drawn_stored(count);
        let lost = |failure| Plan { before, after, stored: stored.clone(), answer: Answer::Failed(failure) };
        match fault {
            RequestFault::Throttled => failed(service("ThrottlingException", 400)),
            RequestFault::ServerError => lost(service("InternalFailure", 500)),
            RequestFault::Unavailable => lost(service("ServiceUnavailable", 503)),
            RequestFault::ResetBeforeBody => failed(transport(Verdict::Retry, "Connection")),
            RequestFault::ResetAfterBody => {
                Plan { stored: vec![true; count], ..failed(transport(Verdict::Uncertain, "ConnectionLost")) }
            }
            RequestFault::Timeout => Plan { after: ATTEMPT_TIMEOUT, ..lost(transport(Verdict::Uncertain, "Timeout")) },
            RequestFault::TooFewResults => Plan { before, after, stored, answer: Answer::WrongCount(self.rng.usize(..count)) },
            RequestFault::TooManyResults => Plan { before, after, stored, answer: Answer::WrongCount(count + 1) },
            RequestFault::EmptyAnswer => Plan { before, after, stored, answer: Answer::WrongCount(0) },
            RequestFault::Blackout => {
                self.blackout_until = now + Duration::from_secs(self.rng.u64(5..600));
                if self.rng.bool() {
                    failed(transport(Verdict::Retry, "Connection"))
                } else {
                    Plan { after: ATTEMPT_TIMEOUT, ..lost(transport(Verdict::Uncertain, "Timeout")) }
                }
            }
            RequestFault::Denied => {
                self.denied_until = now + Duration::from_secs(self.rng.u64(5..300));
                failed(service("AccessDeniedException", 400))
            }
        }
    }

    /// Always the same of the same record.
    fn is_refused(&self, entry: &Entry) -> bool {
        let drawn = hash_of(&entry.partition_key) ^ entry.spans.iter().next().map_or(0, |span| hash_of(span.start.to_string()));
        (drawn as f64) < self.weather.record_refused * (u128::MAX as f64)
    }

    fn plan_by_record(&mut self, before: Duration, after: Duration, count: usize) -> Plan {
        let mut stored = Vec::with_capacity(count);
        let mut errors = Vec::with_capacity(count);
        for _ in 0..count {
            if self.rng.f64() < self.weather.record_throttled {
                self.note("record throttled");
                stored.push(false);
                errors.push(Some(RECORD_THROTTLED));
            } else if self.rng.f64() < self.weather.record_failed {
                self.note("record failed");
                stored.push(self.rng.bool());
                errors.push(Some(RECORD_FAILED));
            } else {
                stored.push(true);
                errors.push(None);
            }
        }
        Plan { before, after, stored, answer: Answer::ByRecord(errors) }
    }

    /// All of a request, nothing of it, or some.
    fn drawn_stored(&mut self, count: usize) -> Vec<bool> {
        match self.rng.u8(..3) {
            0 => vec![true; count],
            1 => vec![false; count],
            _ => (0..count).map(|_| self.rng.bool()).collect(),
        }
    }

    fn note(&mut self, fault: &str) {
        *self.faults.entry(fault.to_owned()).or_default() += 1;
    }
}

fn service(code: &str, status: u16) -> Failure {
    Failure {
        verdict: outcome::of_request(Service::Kinesis, code, status),
        code: code.to_owned(),
        message: "as drawn".to_owned(),
    }
}

fn transport(verdict: Verdict, code: &str) -> Failure {
    Failure { verdict, code: code.to_owned(), message: "as drawn".to_owned() }
}

/// The agent's way to a stream.
pub(crate) struct Connection(pub(crate) Arc<Stream>);

impl Destination for Connection {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let Self(stream) = self;
        stream.receive(entries);
        let plan = stream.state().plan(entries);
        sleep(plan.before).await;
        let indexes = stream.store(entries, &plan.stored);
        sleep(plan.after).await;
        stream.answer(entries, plan.answer, &indexes)
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Err(Failure::unsupported("ListShards"))
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}
