//! Where records go: a stream in memory that stores whatever it gets, and at times lets everything wait.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kinetail::collector::Entry;
use kinetail::deaggregator::{Deaggregated, deaggregate};
use kinetail::outcome::{Failure, RecordResult};
use kinetail::readback::Reader;
use kinetail::sender::{Destination, Summary};
use kinetail::stream::Shard;
use tokio::time::{Instant, sleep};

/// One stream, through all lives of the agent.
pub(crate) struct Stream(Mutex<State>);

struct State {
    rng: fastrand::Rng,
    latency_ms_max: u64,
    /// The time of the simulation when this life of the agent began, and the runtime's.
    life: Option<(Duration, Instant)>,
    /// Nothing is stored before.
    blackout_until: Duration,
    stored: Vec<Stored>,
}

/// One user record.
pub(crate) struct Stored {
    pub(crate) at: Duration,
    pub(crate) data: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(mut rng: fastrand::Rng) -> Self {
        let latency_ms_max = [0, 5, 100, 400][rng.usize(..4)];
        let (blackout_until, stored) = (Duration::ZERO, Vec::new());
        Self(Mutex::new(State { rng, latency_ms_max, life: None, blackout_until, stored }))
    }

    pub(crate) fn begin_life(&self, now: Duration) {
        self.state().life = Some((now, Instant::now()));
    }

    pub(crate) fn black_out(&self, until: Duration) {
        self.state().blackout_until = until;
    }

    /// What was stored since it was last taken, in order.
    pub(crate) fn take(&self) -> Vec<Stored> {
        std::mem::take(&mut self.state().stored)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn now(&self) -> Duration {
        let (base, begun) = self.life.unwrap();
        base + begun.elapsed()
    }
}

/// The agent's way to the stream. An attempt that is given up has stored nothing.
pub(crate) struct Connection(pub(crate) Arc<Stream>);

impl Reader for Connection {}

impl Destination for Connection {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let Self(stream) = self;
        let latency = {
            let mut state = stream.state();
            let most = state.latency_ms_max;
            Duration::from_millis(state.rng.u64(..=most))
        };
        sleep(latency).await;
        loop {
            let left = {
                let state = stream.state();
                state.blackout_until.saturating_sub(state.now())
            };
            if left.is_zero() {
                break;
            }
            sleep(left).await;
        }
        let mut state = stream.state();
        let at = state.now();
        for entry in entries {
            match deaggregate(&entry.data, None) {
                Deaggregated::Raw => state.stored.push(Stored { at, data: entry.data.to_vec() }),
                Deaggregated::Records(records) => {
                    state.stored.extend(records.iter().map(|record| Stored { at, data: record.data.to_vec() }));
                }
                lost => panic!("readers lose records of {}: {lost:?}", entry.partition_key),
            }
        }
        Ok(vec![RecordResult::Delivered { shard_id: None }; entries.len()])
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Err(Failure::unsupported("ListShards"))
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}
