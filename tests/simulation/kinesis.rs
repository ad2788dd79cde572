//! A Kinesis stream in memory, which fails in every way that the service and the network do, by its own
//! random numbers, and knows what it has stored and what it has said about it.

mod plan;
mod questions;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use kinetail::collector::Entry;
use kinetail::config::Flow;
use kinetail::hash_key::{HashRange, hash_of};
use kinetail::limits::{MIB, READ_BYTES};
use kinetail::metrics::Metrics;
use kinetail::outcome::{self, Failure, RecordResult, Service, Verdict};
use kinetail::readback::Reader;
use kinetail::sender::{Destination, Summary};
use kinetail::stream::Shard;
use tokio::time::{Instant, sleep};

use self::plan::{Answer, Plan};
use crate::ledger::is_token;
use crate::shards::{Limiting, Shards};
use crate::weather::{Listing, Weather};

/// CR and LF.
const TERMINATOR_BYTES_MAX: usize = 2;

/// One stream.
pub(crate) struct Stream {
    flow: Flow,
    /// Most bytes of a request in this region.
    request_bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    weather: Weather,
    shards: Shards,
    /// Bytes of a record, if the service says it.
    record_bytes_max: Option<usize>,
    /// In this life of the agent the shards are what they were, and whoever asks is told so.
    is_map_sure: bool,
    /// Since when records go to any shard.
    auto_since: Option<Duration>,
    /// The time of the simulation when this life of the agent began, and the runtime's.
    life: Option<(Duration, Instant)>,
    metrics: Option<(Arc<Metrics>, usize)>,
    blackout_until: Duration,
    /// In a blackout nobody answers, else connections are refused.
    is_hanging: bool,
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
    shard_id: String,
    /// The agent has had every chance to know the shard.
    pub(crate) is_map_sure: bool,
    /// For how long records had gone to any shard, if they did.
    pub(crate) auto_for: Option<Duration>,
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

const RECORD_THROTTLED: &str = "ProvisionedThroughputExceededException";
const RECORD_FAILED: &str = "InternalFailure";
/// Streams change to the distribution AUTO and back. Not yet: there lines of flows that aggregate are joined, without keys.
const STREAMS_BECOME_AUTO: bool = false;

impl Stream {
    pub(crate) fn new(flow: &Flow, mut rng: fastrand::Rng) -> Self {
        let limiting = [Limiting::Never, Limiting::Bucket, Limiting::Window][rng.usize(..3)];
        let shards = Shards::new(rng.u32(1..=6), limiting);
        let request_bytes_max = [5 * MIB, 10 * MIB][rng.usize(..2)];
        let record_bytes_max = [None, Some(MIB)][rng.usize(..2)];
        let state = State {
            weather: Weather::drawn(&mut rng),
            rng,
            shards,
            record_bytes_max,
            is_map_sure: false,
            auto_since: None,
            life: None,
            metrics: None,
            blackout_until: Duration::ZERO,
            is_hanging: false,
            denied_until: Duration::ZERO,
            tokens: HashMap::new(),
            in_flight: HashSet::new(),
            acknowledged: HashSet::new(),
            stored: Vec::new(),
            life_tally: LifeTally::default(),
            faults: BTreeMap::new(),
        };
        Self { flow: flow.clone(), request_bytes_max, state: Mutex::new(state) }
    }

    /// An agent comes to life at `now`. Its bytes in flight, as `metrics` has them, must never pass `budget_bytes`.
    pub(crate) fn begin_life(&self, now: Duration, metrics: Arc<Metrics>, budget_bytes: usize) {
        let mut state = self.state();
        state.life = Some((now, Instant::now()));
        state.metrics = Some((metrics, budget_bytes));
        state.in_flight.clear();
        state.is_map_sure = state.weather.listing == Listing::Fresh && state.auto_since.is_none();
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
        state.shards.release();
        state.is_map_sure &= weather.listing == Listing::Fresh;
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
        assert!(byte_count <= self.flow.delivery.request_bytes, "{byte_count} bytes in a request");
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

    /// Stores what the plan says, as far as the shards have room now; what they have not becomes its answer.
    fn store(&self, entries: &[Entry], plan: &mut Plan) -> Vec<Option<usize>> {
        let mut state = self.state();
        let (now, auto_since) = (state.now(), state.auto_since);
        let mut indexes = Vec::with_capacity(entries.len());
        for (position, (entry, is_stored)) in entries.iter().zip(&plan.stored).enumerate() {
            assert!(entry.is_hash_key_explicit || entry.hash_key == hash_of(&entry.partition_key));
            let open = state.shards.open_now();
            let owner = match auto_since {
                Some(_) => open[state.rng.usize(..open.len())],
                None => state.shards.owner(entry.hash_key),
            };
            let error = match &mut plan.answer {
                Answer::ByRecord(errors) => Some(&mut errors[position]),
                Answer::WrongCount(_) | Answer::Failed(_) => None,
            };
            if *is_stored && !state.shards.admits(owner, entry.byte_count(), now) {
                state.note("shard full");
                if let Some(error) = error {
                    *error = Some(RECORD_THROTTLED);
                }
                indexes.push(None);
            } else if *is_stored {
                let shard = state.shards.get(owner);
                let (shard, shard_id) = (shard.range, shard.id.clone());
                let (auto_for, is_map_sure) = (auto_since.map(|since| now - since), state.is_map_sure);
                state.stored.push(Stored { shard, shard_id, is_map_sure, auto_for, entry: entry.clone(), acknowledged_at: None });
                indexes.push(Some(state.stored.len() - 1));
            } else {
                indexes.push(None);
            }
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
                    let stored = &mut state.stored[index.unwrap()];
                    stored.acknowledged_at = Some(now);
                    let shard_id = Some(stored.shard_id.clone());
                    state.life_tally.acknowledged_record_count += 1;
                    if is_token(&entry.partition_key) {
                        state.acknowledged.insert(entry.partition_key.clone());
                    }
                    RecordResult::Delivered { shard_id }
                }
                Some(code) => {
                    state.life_tally.uncertain_record_count += u64::from(code == RECORD_FAILED);
                    let is_throttled = code == RECORD_THROTTLED;
                    // Of a stream that is AUTO any shard may have been full.
                    let owner = state.auto_since.is_none().then(|| state.shards.owner(entry.hash_key));
                    let shard_id = owner.filter(|_| is_throttled).map(|owner| state.shards.get(owner).id.clone());
                    let message = match &shard_id {
                        Some(id) => format!("Rate exceeded for shard {id} in stream s under account 111111111111."),
                        None => "Internal service failure.".to_owned(),
                    };
                    RecordResult::Failed { code: code.to_owned(), message, shard_id }
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

impl Reader for Connection {}

impl Destination for Connection {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let Self(stream) = self;
        stream.receive(entries);
        let mut plan = stream.state().plan(entries, stream.request_bytes_max);
        sleep(plan.before).await;
        let indexes = stream.store(entries, &mut plan);
        sleep(plan.after).await;
        stream.answer(entries, plan.answer, &indexes)
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let Self(stream) = self;
        let plan = stream.state().plan_answer();
        sleep(plan.after).await;
        plan.answer?;
        stream.state().listed()
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        let Self(stream) = self;
        let plan = stream.state().plan_answer();
        sleep(plan.after).await;
        plan.answer?;
        stream.state().summarized()
    }
}
