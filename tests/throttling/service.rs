//! A stream in memory that does nothing wrong: it only has limits, and shards that change.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kinetail::collector::Entry;
use kinetail::outcome::{Failure, RecordResult, Verdict};
use kinetail::readback::Reader;
use kinetail::sender::{Destination, Summary};
use kinetail::stream;
use tokio::time::{Instant, sleep};

use crate::shards::{Limiting, Shards};

/// What `ListShards` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// What is.
    Fresh,
    /// What was so long ago.
    StaleFor(Duration),
    /// That it may not be asked.
    Denied,
}

/// The circumstances of a story.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) shard_count: u32,
    pub(crate) limiting: Limiting,
    pub(crate) round_trip: Duration,
    pub(crate) listing: Listing,
}

/// The stream.
pub(crate) struct Service {
    setting: Setting,
    began: Instant,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) shards: Shards,
    pub(crate) tally: Tally,
}

/// What was answered since it was last taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) request_count: u64,
    /// Requests with a record that was throttled.
    pub(crate) throttled_request_count: u64,
    pub(crate) record_count: u64,
    pub(crate) throttled_record_count: u64,
    /// Bytes and records that were stored, by agent and by shard.
    pub(crate) by_agent: Vec<(u64, u64)>,
    pub(crate) by_shard: Vec<(u64, u64)>,
    /// When something was stored.
    pub(crate) stored_at: Vec<Duration>,
    pub(crate) listed_count: u64,
}

/// What an agent has of it.
pub(crate) struct Connection {
    pub(crate) service: Arc<Service>,
    pub(crate) agent: usize,
}

impl Service {
    pub(crate) fn new(setting: Setting) -> Self {
        let shards = Shards::new(setting.shard_count, setting.limiting);
        Self { setting, began: Instant::now(), state: Mutex::new(State { shards, tally: Tally::default() }) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn store(&self, agent: usize, entries: &[Entry]) -> Vec<RecordResult> {
        let now = self.now();
        let State { shards, tally } = &mut *self.state();
        let mut results = Vec::with_capacity(entries.len());
        let throttled_before = tally.throttled_record_count;
        for entry in entries {
            let index = shards.owner(entry.hash_key);
            let shard_id = shards.get(index).id.clone();
            tally.record_count += 1;
            results.push(if shards.admits(index, entry.byte_count(), now) {
                for (tallies, index) in [(&mut tally.by_agent, agent), (&mut tally.by_shard, index)] {
                    tallies.resize(tallies.len().max(index + 1), (0, 0));
                    tallies[index].0 += entry.byte_count() as u64;
                    tallies[index].1 += 1;
                }
                if tally.stored_at.last() != Some(&now) {
                    tally.stored_at.push(now);
                }
                RecordResult::Delivered { shard_id: Some(shard_id.into()) }
            } else {
                tally.throttled_record_count += 1;
                throttled(&shard_id)
            });
        }
        tally.request_count += 1;
        tally.throttled_request_count += u64::from(tally.throttled_record_count > throttled_before);
        results
    }
}

/// As the service says it.
fn throttled(shard_id: &str) -> RecordResult {
    RecordResult::Failed {
        code: "ProvisionedThroughputExceededException".to_owned(),
        message: format!("Rate exceeded for shard {shard_id} in stream s under account 111111111111."),
        shard_id: Some(shard_id.to_owned()),
    }
}

impl Reader for Connection {}

impl Destination for Connection {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let one_way = self.service.setting.round_trip / 2;
        sleep(one_way).await;
        let results = self.service.store(self.agent, entries);
        sleep(one_way).await;
        Ok(results)
    }

    async fn shards(&self) -> Result<Vec<stream::Shard>, Failure> {
        sleep(self.service.setting.round_trip).await;
        let now = self.service.now();
        let mut state = self.service.state();
        state.tally.listed_count += 1;
        match self.service.setting.listing {
            Listing::Fresh => Ok(state.shards.list(now)),
            Listing::StaleFor(age) => Ok(state.shards.list(now.saturating_sub(age))),
            Listing::Denied => Err(Failure {
                verdict: Verdict::Pause,
                code: "AccessDeniedException".to_owned(),
                message: "no identity-based policy allows the kinesis:ListShards action".to_owned(),
            }),
        }
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        sleep(self.service.setting.round_trip).await;
        Ok(Summary { is_auto: false, record_bytes_max: None })
    }
}
