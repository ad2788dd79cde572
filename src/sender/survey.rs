//! What the service says of a stream: asked at the start, again when an answer contradicts it, and now and then.
//!
//! It decides when to ask. Who may not ask is told once what that costs; records are delivered all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::learned::Learned;
use super::{Destination, Summary};
use crate::limits::{
    DOUBT_INTERVAL_MAX, DOUBT_INTERVAL_MIN, FACTS_WAIT, HASH_RANGES, SURVEY_INTERVAL, SURVEY_RETRY_MAX, SURVEY_RETRY_MIN,
};
use crate::metrics::FlowMetrics;
use crate::outcome::Failure;
use crate::stream::{Shard, ShardMap, StreamFacts};

/// The task of one flow.
pub struct Survey<D> {
    destination: Arc<D>,
    facts: watch::Sender<StreamFacts>,
    doubt: Doubt,
    metrics: FlowMetrics,
    random: fastrand::Rng,
    shards: Question,
    summary: Question,
    /// The last list of shards that was whole.
    known: Option<Arc<ShardMap>>,
    /// An answer has contradicted it since.
    is_doubted: bool,
    /// How often the shards were listed because of a doubt and were the same as before.
    doubt_count: u32,
    /// When what answers have said is looked at again, where nobody lists the shards.
    learn_at: Option<Instant>,
}

/// What makes it ask again at once; a clone is the same.
#[derive(Clone, Default)]
pub struct Doubt(Arc<Doubts>);

#[derive(Default)]
struct Doubts {
    raised: Notify,
    is_about_size: AtomicBool,
    learned: Mutex<Learned>,
}

impl Doubt {
    /// The answer to a request that was sent at `sent_at` names a shard that the map does not have, or not for this hash key.
    pub(super) fn raise(&self, hash_key: u128, shard_id: &str, sent_at: Instant) {
        self.learned().learn(hash_key, shard_id, sent_at.into_std(), Instant::now().into_std());
        self.0.raised.notify_one();
    }

    /// A record is too large for the service, though it is not for what is known of the stream.
    pub(super) fn raise_about_size(&self) {
        self.0.is_about_size.store(true, Ordering::Relaxed);
        self.0.raised.notify_one();
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long answers are gathered before the shards that they name are taken for those that there are.
const LEARN_INTERVAL: Duration = Duration::from_millis(500);

/// One of the two that are asked.
struct Question {
    operation: &'static str,
    /// What is different while nobody knows.
    without: &'static str,
    ask_at: Instant,
    asked_at: Option<Instant>,
    failure_count: u32,
    is_told: bool,
}

impl<D: Destination> Survey<D> {
    /// A survey that has asked nothing yet. What it learns it puts into `facts`; it ends when nobody looks there any more.
    pub fn new(
        destination: Arc<D>,
        facts: watch::Sender<StreamFacts>,
        doubt: Doubt,
        metrics: FlowMetrics,
        random: fastrand::Rng,
    ) -> Self {
        let now = Instant::now();
        let question =
            |operation, without| Question { operation, without, ask_at: now, asked_at: None, failure_count: 0, is_told: false };
        Self {
            destination,
            facts,
            doubt,
            metrics,
            random,
            shards: question("ListShards", "records are spread over equal ranges of hash keys instead of over the shards"),
            summary: question(
                "DescribeStreamSummary",
                "the stream is taken to have the usual distribution and size of records; readers lose aggregates where it is AUTO",
            ),
            known: None,
            is_doubted: false,
            doubt_count: 0,
            learn_at: None,
        }
    }

    /// Asks until nobody wants to know any more.
    pub async fn run(mut self) {
        // All of it may be lost: who asks has nothing that is not in the answers.
        let nobody_looks = self.facts.clone();
        tokio::select! {
            () = nobody_looks.closed() => {}
            () = self.ask() => {}
        }
    }

    async fn ask(&mut self) {
        // Both at once, so that the first lines wait for one round trip only.
        let destination = Arc::clone(&self.destination);
        let both = async { tokio::join!(destination.shards(), destination.summary()) };
        if let Ok((shards, summary)) = timeout(FACTS_WAIT, both).await {
            let mut facts = self.facts.borrow().clone();
            self.shards_answered(shards, &mut facts);
            self.summary_answered(summary, &mut facts);
            self.publish(facts);
        }
        self.facts.send_modify(|_| {});
        loop {
            let doubt = self.doubt.clone();
            tokio::select! {
                // Each is rare; in an order, a simulation is repeatable.
                biased;
                () = doubt.0.raised.notified() => self.doubted(),
                () = sleep_until(self.learn_at.unwrap_or_else(Instant::now)), if self.learn_at.is_some() => self.learn(),
                () = sleep_until(self.shards.ask_at) => {
                    let answer = destination.shards().await;
                    let mut facts = self.facts.borrow().clone();
                    self.shards_answered(answer, &mut facts);
                    self.publish(facts);
                }
                () = sleep_until(self.summary.ask_at) => {
                    let answer = destination.summary().await;
                    let mut facts = self.facts.borrow().clone();
                    self.summary_answered(answer, &mut facts);
                    self.publish(facts);
                }
            }
        }
    }

    /// The map is not right, or not any more.
    fn doubted(&mut self) {
        let now = Instant::now();
        if self.doubt.0.is_about_size.swap(false, Ordering::Relaxed) {
            return self.summary.ask_soon(now, DOUBT_INTERVAL_MAX);
        }
        self.is_doubted = true;
        // What has failed is asked again by itself, later each time: all agents have the same doubt at once.
        if self.shards.failure_count == 0 {
            let interval = DOUBT_INTERVAL_MIN.saturating_mul(1 << self.doubt_count.min(16)).min(DOUBT_INTERVAL_MAX);
            self.shards.ask_soon(now, interval);
        }
        if self.learn_at.is_none() {
            self.learn_at = Some(now + LEARN_INTERVAL);
        }
    }

    /// Takes what answers have said for what the service has not.
    fn learn(&mut self) {
        self.learn_at = None;
        let mut facts = self.facts.borrow().clone();
        if self.doubt.learned().is_spread() && !facts.is_auto {
            let flow = &self.metrics.name;
            tracing::warn!(flow, "shards store records without regard to their hash keys: the stream is taken to be AUTO");
            facts.is_auto = true;
            // It may have been changed a moment ago, and all agents notice.
            self.summary.ask_soon(Instant::now(), SURVEY_RETRY_MAX.mul_f64(0.5 + self.random.f64()));
        }
        self.take_map(&mut facts);
        self.publish(facts);
    }

    fn shards_answered(&mut self, answer: Result<Vec<Shard>, Failure>, facts: &mut StreamFacts) {
        let is_right = |map: &ShardMap| self.doubt.learned().list(map, Instant::now().into_std());
        let answer = answer.and_then(|shards| ShardMap::of(shards).filter(is_right).ok_or_else(in_the_middle));
        match answer {
            Ok(map) => {
                self.shards.answered(self.random.f64());
                if self.known.as_deref() != Some(&map) {
                    tracing::info!(flow = self.metrics.name, shards = map.range_count(), "shards of the stream");
                    self.metrics.shards.set(i64::try_from(map.range_count()).unwrap_or(i64::MAX));
                    self.known = Some(Arc::new(map));
                    self.doubt_count = 0;
                } else if self.is_doubted {
                    self.doubt_count = self.doubt_count.saturating_add(1);
                }
                self.is_doubted = false;
            }
            Err(failure) => self.shards.failed(&failure, &self.metrics.name, self.random.f64()),
        }
        self.take_map(facts);
    }

    fn summary_answered(&mut self, answer: Result<Summary, Failure>, facts: &mut StreamFacts) {
        match answer {
            Ok(Summary { is_auto, record_bytes_max }) => {
                self.summary.answered(self.random.f64());
                if is_auto && !facts.is_auto {
                    let flow = &self.metrics.name;
                    tracing::warn!(
                        flow,
                        "the stream spreads records as it likes (AUTO): lines are joined in records instead of aggregated, and \
                         partition keys have no effect"
                    );
                }
                facts.is_auto = is_auto;
                if !is_auto {
                    // It may have been until now.
                    self.doubt.learned().is_not_spread(self.known.as_deref(), Instant::now().into_std());
                }
                facts.record_bytes_max = record_bytes_max.unwrap_or(facts.record_bytes_max);
            }
            Err(failure) => self.summary.failed(&failure, &self.metrics.name, self.random.f64()),
        }
        self.take_map(facts);
    }

    /// Where the service spreads records as it likes, shards mean nothing to who sends them. Else answers are newer than lists.
    fn take_map(&self, facts: &mut StreamFacts) {
        let is_one = facts.shards.range_count() == 1 && !facts.shards.is_known();
        let (is_as_listed, learned) = {
            let learned = self.doubt.learned();
            (learned.is_as_listed(), learned.map())
        };
        match (&self.known, learned) {
            _ if facts.is_auto && is_one => {}
            _ if facts.is_auto => facts.shards = Arc::new(ShardMap::equal_ranges(1)),
            (Some(map), _) if is_as_listed => facts.shards = Arc::clone(map),
            (_, Some(learned)) if *facts.shards == learned => {}
            (_, Some(learned)) => facts.shards = Arc::new(learned),
            (_, None) if is_one => facts.shards = Arc::new(ShardMap::equal_ranges(HASH_RANGES)),
            (_, None) => {}
        }
    }

    fn publish(&self, facts: StreamFacts) {
        self.facts.send_if_modified(|known| {
            let is_new = *known != facts;
            *known = facts;
            is_new
        });
    }
}

/// Shards that do not tile the hash keys.
fn in_the_middle() -> Failure {
    Failure {
        verdict: crate::outcome::Verdict::Retry,
        code: Failure::RESHARDING.to_owned(),
        message: "the open shards do not have all hash keys, or are not those that answer".to_owned(),
    }
}

impl Question {
    /// Asks at once, but not twice in `interval`.
    fn ask_soon(&mut self, now: Instant, interval: Duration) {
        let earliest = self.asked_at.map_or(now, |asked_at| asked_at + interval).max(now);
        self.ask_at = self.ask_at.min(earliest);
    }

    fn answered(&mut self, random: f64) {
        let now = Instant::now();
        self.failure_count = 0;
        self.is_told = false;
        self.asked_at = Some(now);
        self.ask_at = now + SURVEY_INTERVAL.mul_f64(0.5 + random);
    }

    fn failed(&mut self, failure: &Failure, flow: &str, random: f64) {
        let now = Instant::now();
        self.asked_at = Some(now);
        self.failure_count = self.failure_count.saturating_add(1);
        let is_refused = failure.is_refusal();
        if is_refused && !self.is_told {
            let (operation, without) = (self.operation, self.without);
            tracing::warn!(flow, operation, reason = %failure, without, "cannot ask the service about the stream");
            self.is_told = true;
        }
        let doubled = SURVEY_RETRY_MIN.saturating_mul(1 << self.failure_count.min(16)).min(SURVEY_RETRY_MAX);
        let wait = if is_refused { SURVEY_INTERVAL } else { doubled };
        self.ask_at = now + wait.mul_f64(0.5 + random);
    }
}

#[cfg(test)]
mod tests;
