//! Some agents and a stream, and what was measured of them.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kinetail::limits::{SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};
use tokio::time::sleep;

use crate::agents::{Agent, Offer};
use crate::service::{Service, Setting, Tally};
use crate::shards::Shards;

/// The stream and its agents.
pub(crate) struct Story {
    service: Arc<Service>,
    agents: Vec<Agent>,
    /// The part of the shards' limits that others take, in shards.
    taken: f64,
}

/// What was measured for some seconds.
pub(crate) struct Figures {
    seconds: f64,
    began: Duration,
    ended: Duration,
    /// Shards, less what others take of them.
    capacity: f64,
    tally: Tally,
}

impl Story {
    pub(crate) fn begin(setting: Setting) -> Self {
        Self { service: Arc::new(Service::new(setting)), agents: Vec::new(), taken: 0.0 }
    }

    pub(crate) fn start(&mut self, offer: Offer) {
        self.agents.push(Agent::start(&self.service, self.agents.len(), offer));
    }

    pub(crate) fn take_part(&mut self, shard: usize, part: f64, until: Duration) {
        self.service.state().shards.take_part(shard, part, until);
        self.taken += part;
    }

    pub(crate) fn reshard(&mut self, change: impl FnOnce(&mut Shards, Duration)) {
        let now = self.service.now();
        change(&mut self.service.state().shards, now);
    }

    pub(crate) async fn pass(&mut self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    /// What happens in the next seconds.
    pub(crate) async fn figures(&mut self, seconds: u64) -> Figures {
        self.service.state().tally = Tally::default();
        let began = self.service.now();
        self.pass(seconds).await;
        let mut state = self.service.state();
        let capacity = state.shards.open_now().len() as f64 - self.taken;
        let tally = std::mem::take(&mut state.tally);
        Figures { seconds: seconds as f64, began, ended: self.service.now(), capacity, tally }
    }

    /// Everything is delivered, once.
    pub(crate) async fn finish(self) {
        for agent in self.agents {
            agent.finish().await;
        }
    }
}

impl Figures {
    /// By the limit that is closer.
    pub(crate) fn use_of_capacity(&self) -> f64 {
        let (bytes, records) = self.tally.by_agent.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let by_bytes = bytes as f64 / SHARD_BYTES_IN_MAX as f64;
        let by_records = records as f64 / SHARD_RECORDS_IN_MAX as f64;
        by_bytes.max(by_records) / self.seconds / self.capacity
    }

    /// Of the records that were sent.
    pub(crate) fn throttled_part(&self) -> f64 {
        self.tally.throttled_record_count as f64 / self.tally.record_count.max(1) as f64
    }

    fn throttled_request_part(&self) -> f64 {
        self.tally.throttled_request_count as f64 / self.tally.request_count.max(1) as f64
    }

    /// What each agent has delivered, and 1 is a fair share.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let delivered: Vec<f64> = self.tally.by_agent.iter().map(|(bytes, _)| *bytes as f64).collect();
        let fair = delivered.iter().sum::<f64>() / delivered.len() as f64;
        delivered.into_iter().map(|of_agent| of_agent / fair).collect()
    }

    /// Bytes a second by shard.
    pub(crate) fn by_shard(&self) -> Vec<f64> {
        self.tally.by_shard.iter().map(|(bytes, _)| *bytes as f64 / self.seconds).collect()
    }

    /// Longest time in which nothing was stored.
    pub(crate) fn longest_pause(&self) -> Duration {
        let times: Vec<Duration> =
            [self.began].into_iter().chain(self.tally.stored_at.iter().copied()).chain([self.ended]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Requests a second.
    fn request_rate(&self) -> f64 {
        self.tally.request_count as f64 / self.seconds
    }

    /// A row of the table.
    pub(crate) fn tell(&self, what: &str) {
        told(&format!("{what:64} {self}"));
    }
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn told(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [use_of_capacity, records, requests] =
            [self.use_of_capacity(), self.throttled_part(), self.throttled_request_part()].map(|part| part * 100.0);
        let (rate, pause_ms) = (self.request_rate(), self.longest_pause().as_millis());
        let shares = self.shares();
        let (least, greatest) = shares.iter().fold((f64::MAX, 0.0f64), |(a, b), share| (a.min(*share), b.max(*share)));
        write!(
            f,
            "{use_of_capacity:5.1} % of capacity; {records:5.2} % of records and {requests:5.1} % of {rate:4.0} requests/s "
        )?;
        write!(f, "throttled; shares {least:.2}..{greatest:.2}; pause {pause_ms:4} ms")
    }
}
