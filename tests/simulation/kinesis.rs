//! A Kinesis stream in memory, which fails in every way that the service and the network do, by its own
//! random numbers, and knows what it has stored and what it has said about it.

mod accepting;
mod connection;
mod log;
mod plan;
mod questions;
mod reading;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use kinetail::collector::Entry;
use kinetail::config::Flow;
use kinetail::hash_key::{HashRange, hash_of};
use kinetail::limits::{ATTEMPT_TIMEOUT, COMMIT_INTERVAL, MIB, READ_BACK_PATIENCE, READ_BYTES};
use kinetail::metrics::Metrics;
use kinetail::outcome::{self, Failure, RecordResult, Service, Verdict};
use kinetail::settlement::Settlement;
use kinetail::span::FileKey;
use tokio::time::Instant;

pub(crate) use self::connection::Connection;
use self::log::Log;
use self::plan::{Answer, Plan};
use crate::received::is_token;
use crate::shards::{Limiting, Shards};
use crate::story::{Question, Story};
use crate::weather::{Listing, Weather};

/// CR and LF.
const TERMINATOR_BYTES_MAX: usize = 2;

/// What the service's clock shows when a simulation begins, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// One stream.
pub(crate) struct Stream {
    pub(crate) name: String,
    /// Of the one that sends to it, or did.
    pub(crate) flow_index: usize,
    flow: Flow,
    /// Everything that is asked and answered goes to the standard error.
    is_told: bool,
    /// Most bytes of a request in this region.
    request_bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    story: Story,
    weather: Weather,
    shards: Shards,
    /// What is in each of them, closed ones too.
    logs: Vec<Log>,
    /// Requests that nobody waits for any more, and that will be accepted all the same.
    late: Vec<Late>,
    /// `ListShards` knows no filter.
    lists_all: bool,
    /// What readers were shown of each file, by who has sent it.
    shown: Shown,
    /// Since when readers got nothing but failures.
    unreadable_since: Option<Duration>,
    has_been_unreadable: bool,
    read_request_count: u64,
    read_record_count: u64,
    /// Bytes of a record, if the service says it.
    record_bytes_max: Option<usize>,
    /// In this life of the agent the shards are what they were, and whoever asks is told so.
    is_map_sure: bool,
    /// Since when records go to any shard.
    auto_since: Option<Duration>,
    /// The time of the simulation when this life of the agent began, and the runtime's.
    life: Option<(Duration, Instant)>,
    /// Which life it is.
    life_id: LifeId,
    /// The time of the simulation while no agent lives.
    ended_at: Duration,
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
    answered_at: Option<Duration>,
    life_tally: LifeTally,
    faults: BTreeMap<String, u64>,
}

/// One life of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LifeId {
    pub(crate) host: usize,
    pub(crate) number: u64,
}

/// What is read of each file, by the life that has sent it.
pub(crate) type Shown = BTreeMap<(LifeId, FileKey), Settlement>;

/// A request on its way.
struct Late {
    accepted_at: Duration,
    life: LifeId,
    entries: Vec<Entry>,
}

/// One record as it was stored.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) life: LifeId,
    pub(crate) accepted_at: Duration,
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

/// The message of what the service has answered. Without an answer nothing is told.
const AS_SERVICE: &str = "as the service says";
impl LifeTally {
    /// Adds what another stream has answered.
    pub(crate) fn add(&mut self, other: Self) {
        self.request_count += other.request_count;
        self.uncertain_record_count += other.uncertain_record_count;
        self.acknowledged_record_count += other.acknowledged_record_count;
    }
}

const RECORD_THROTTLED: &str = "ProvisionedThroughputExceededException";
const RECORD_FAILED: &str = "InternalFailure";
/// Streams change to the distribution AUTO and back. Not yet: there lines of flows that aggregate are joined, without keys.
const STREAMS_BECOME_AUTO: bool = false;

impl Stream {
    /// An empty stream, to which `flow` sends.
    pub(crate) fn new(flow_index: usize, flow: &Flow, story: &Story, is_told: bool, mut rng: fastrand::Rng) -> Self {
        let limiting = [Limiting::Never, Limiting::Bucket, Limiting::Window][rng.usize(..3)];
        let shards = Shards::new(rng.u32(1..=6), limiting);
        let request_bytes_max = [5 * MIB, 10 * MIB][rng.usize(..2)];
        let record_bytes_max = [None, Some(MIB)][rng.usize(..2)];
        let state = State {
            story: story.clone(),
            weather: Weather::drawn(&mut rng),
            shards,
            logs: Vec::new(),
            late: Vec::new(),
            lists_all: rng.u8(..4) == 0,
            rng,
            shown: Shown::new(),
            unreadable_since: None,
            has_been_unreadable: false,
            read_request_count: 0,
            read_record_count: 0,
            record_bytes_max,
            is_map_sure: false,
            auto_since: None,
            life: None,
            life_id: LifeId::default(),
            ended_at: Duration::ZERO,
            metrics: None,
            blackout_until: Duration::ZERO,
            is_hanging: false,
            denied_until: Duration::ZERO,
            tokens: HashMap::new(),
            in_flight: HashSet::new(),
            acknowledged: HashSet::new(),
            stored: Vec::new(),
            answered_at: None,
            life_tally: LifeTally::default(),
            faults: BTreeMap::new(),
        };
        let name = flow.delivery.destination.stream().to_owned();
        Self { name, flow_index, flow: flow.clone(), is_told, request_bytes_max, state: Mutex::new(state) }
    }

    /// An agent comes to life at `now`. Its bytes in flight, as `metrics` has them, must never pass `budget_bytes`.
    pub(crate) fn begin_life(&self, now: Duration, life_id: LifeId, metrics: Arc<Metrics>, budget_bytes: usize) {
        let mut state = self.state();
        (state.life, state.life_id) = (Some((now, Instant::now())), life_id);
        (state.unreadable_since, state.has_been_unreadable) = (None, false);
        state.metrics = Some((metrics, budget_bytes));
        state.in_flight.clear();
        state.answered_at = None;
        state.is_map_sure = state.weather.listing == Listing::Fresh && state.auto_since.is_none();
        state.life_tally = LifeTally::default();
    }

    /// The agent lives no longer; what of it is left now has no more turns.
    pub(crate) fn end_life(&self, now: Duration) {
        let mut state = self.state();
        (state.life, state.ended_at) = (None, now);
    }

    /// What was stored since it was last taken, and what was answered during the last life.
    pub(crate) fn take(&self) -> (Vec<Stored>, LifeTally) {
        let mut state = self.state();
        (std::mem::take(&mut state.stored), state.life_tally)
    }

    /// What readers were ever shown of each file.
    pub(crate) fn shown(&self) -> Shown {
        self.state().shown.clone()
    }

    /// In the last life readers got nothing but failures for longer than they bear.
    pub(crate) fn has_been_unreadable(&self) -> bool {
        self.state().has_been_unreadable
    }

    /// Questions asked to read the stream, and records read.
    pub(crate) fn read_counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.read_request_count, state.read_record_count)
    }

    /// What a clock shows that is ahead of the service's by so much, in milliseconds since 1970.
    pub(crate) fn clock_ms(now: Duration, skew_ms: i64) -> i64 {
        BEGINNING_MS + millis(now) + skew_ms
    }

    /// The weather changes; the weather so far.
    pub(crate) fn set_weather(&self, weather: Weather) -> Weather {
        let mut state = self.state();
        (state.blackout_until, state.denied_until) = (Duration::ZERO, Duration::ZERO);
        state.shards.release();
        state.is_map_sure &= weather.listing == Listing::Fresh;
        std::mem::replace(&mut state.weather, weather)
    }

    /// A request is on its way, or was answered less than a commit ago.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state();
        let now = state.now();
        !state.in_flight.is_empty() || state.answered_at.is_some_and(|at| now < at + COMMIT_INTERVAL / 2)
    }

    /// How often each trouble was made.
    pub(crate) fn faults(&self) -> BTreeMap<String, u64> {
        self.state().faults.clone()
    }

    /// The share of a flow that was away was given to the others, who may have it for a while after it has come back.
    pub(crate) fn widen_budget(&self, budget_bytes_now: usize) {
        if let Some((_, budget_bytes)) = &mut self.state().metrics {
            *budget_bytes = budget_bytes_now;
        }
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

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.is_told {
            let (now, now_ms) = {
                let state = self.state();
                (state.now(), state.now_ms())
            };
            eprintln!("    {now:?} ({now_ms}) {}: {}", self.name, text());
        }
    }

    /// Whoever looks at a stream finds in it what was accepted by then.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.accept_late();
        state
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
                let token = &entry.partition_key.to_string();
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
        let now = state.now();
        let mut indexes = Vec::with_capacity(entries.len());
        for (position, (entry, is_stored)) in entries.iter().zip(&plan.stored).enumerate() {
            assert!(entry.is_hash_key_explicit || entry.hash_key == hash_of(&entry.partition_key));
            let owner = state.owner(entry);
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
                indexes.push(Some(state.accept(owner, entry, now)));
            } else {
                indexes.push(None);
            }
        }
        indexes
    }

    fn answer(&self, entries: &[Entry], answer: Answer, indexes: &[Option<usize>]) -> Result<Vec<RecordResult>, Failure> {
        let mut state = self.state();
        for entry in entries {
            state.in_flight.remove(entry.partition_key.as_str());
        }
        state.answered_at = Some(state.now());
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
                    let shard_id = Some(stored.shard_id.as_str().into());
                    state.life_tally.acknowledged_record_count += 1;
                    if is_token(&entry.partition_key) {
                        state.acknowledged.insert(entry.partition_key.to_string());
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
        self.life.map_or(self.ended_at, |(base, start)| base + start.elapsed())
    }

    /// What time it is, in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        Stream::clock_ms(self.now(), 0)
    }

    /// As `Date` says it.
    fn second(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    fn time_at(&self, at_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(at_ms - BEGINNING_MS).unwrap_or(0))
    }

    /// Readers give up when they get nothing but failures for long.
    fn reading_answered(&mut self, question: Question, is_ok: bool) {
        let now = self.now();
        if !is_ok {
            let since = *self.unreadable_since.get_or_insert(now);
            self.has_been_unreadable |= now - since >= READ_BACK_PATIENCE - 2 * ATTEMPT_TIMEOUT;
        } else if question == Question::Records {
            self.unreadable_since = None;
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
        message: AS_SERVICE.to_owned(),
    }
}

fn transport(verdict: Verdict, code: &str) -> Failure {
    Failure { verdict, code: code.to_owned(), message: "as drawn".to_owned() }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}
