//! A stream that stores and answers as a story says, and that may be read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use crate::collector::Entry;
use crate::hash_key::HashRange;
use crate::outcome::{Failure, RecordResult, Verdict};
use crate::readback::{Page, Position, Reader, StoredRecord};
use crate::sender::{Destination, Summary};
use crate::service_clock::ServiceClock;
use crate::stream::{Shard, ShardMap};

/// How long an answer takes.
const ROUND_TRIP: Duration = Duration::from_millis(10);

/// What becomes of a request: which of its entries are stored, by their places, and what is said.
#[derive(Clone, Copy)]
pub(super) struct Put {
    pub(super) stores: fn(usize) -> bool,
    pub(super) says: Says,
}

#[derive(Clone, Copy)]
pub(super) enum Says {
    /// That all is stored.
    Well,
    /// The same, in other shards than those of the hash keys.
    AnotherShard,
    /// Nothing: the connection is lost.
    Nothing,
    /// The entries for which this does not hold have failed, nobody knows how.
    FailedBut(fn(usize) -> bool),
    /// One result less than there were entries.
    TooFew,
    /// That one of the entries is wrong.
    Refused,
}

/// What becomes of whoever begins to read.
#[derive(Clone, Copy)]
pub(super) enum Trouble {
    /// They may not.
    Refused,
    OutOfReach,
    /// They are told that there are no shards.
    NoShards,
}

#[derive(Clone)]
pub(super) struct Stream(Arc<Mutex<State>>);

struct State {
    clock: ServiceClock,
    puts: VecDeque<Put>,
    request_count: usize,
    shards: Vec<StoredShard>,
    trouble_reading: Option<Trouble>,
    /// How often somebody began to read, and shards from which somebody has begun to read.
    reading_count: usize,
    readings_at_once: usize,
    readings_at_once_max: usize,
    read_shards: Vec<String>,
    /// In the order in which they were stored.
    stored_keys: Vec<String>,
}

struct StoredShard {
    shard: Shard,
    is_open: bool,
    records: Vec<StoredRecord>,
}

impl Stream {
    pub(super) fn new(clock: ServiceClock, shard_count: u32, puts: impl IntoIterator<Item = Put>) -> Self {
        let ranges = ShardMap::equal_ranges(shard_count).ranges().to_vec();
        let shards = ranges.into_iter().enumerate().map(|(index, range)| StoredShard::new(index, range)).collect();
        Self(Arc::new(Mutex::new(State {
            clock,
            puts: puts.into_iter().collect(),
            request_count: 0,
            shards,
            trouble_reading: None,
            reading_count: 0,
            readings_at_once: 0,
            readings_at_once_max: 0,
            read_shards: Vec::new(),
            stored_keys: Vec::new(),
        })))
    }

    pub(super) fn open_shards(&self) -> Vec<Shard> {
        self.0.lock().unwrap().shards.iter().filter(|shard| shard.is_open).map(|shard| shard.shard.clone()).collect()
    }

    pub(super) fn store(&self, entry: &Entry) {
        self.0.lock().unwrap().store(entry);
    }

    /// The first shard becomes two.
    pub(super) fn split(&self) {
        let mut state = self.0.lock().unwrap();
        state.shards[0].is_open = false;
        let HashRange { start, end } = state.shards[0].shard.range;
        let middle = start + (end - start) / 2;
        for range in [HashRange { start, end: middle }, HashRange { start: middle + 1, end }] {
            let index = state.shards.len();
            state.shards.push(StoredShard::new(index, range));
        }
    }

    pub(super) fn trouble_reading(&self, trouble: Option<Trouble>) {
        self.0.lock().unwrap().trouble_reading = trouble;
    }

    pub(super) fn requests(&self) -> usize {
        self.0.lock().unwrap().request_count
    }

    pub(super) fn readings(&self) -> usize {
        self.0.lock().unwrap().reading_count
    }

    pub(super) fn readings_at_once_max(&self) -> usize {
        self.0.lock().unwrap().readings_at_once_max
    }

    pub(super) fn read_shards(&self) -> Vec<String> {
        self.0.lock().unwrap().read_shards.clone()
    }

    pub(super) fn stored_keys(&self) -> Vec<String> {
        self.0.lock().unwrap().stored_keys.clone()
    }
}

impl StoredShard {
    fn new(index: usize, range: HashRange) -> Self {
        let shard = Shard { id: format!("shardId-{index:012}").into(), range };
        Self { shard, is_open: true, records: Vec::new() }
    }
}

impl State {
    /// The shard that has it now.
    fn store(&mut self, entry: &Entry) -> String {
        let arrived_at_ms = Some(self.clock.now_ms());
        let sequence_number = format!("{:020}", self.stored_keys.len());
        let (partition_key, data) = (entry.partition_key.to_string(), entry.data.clone());
        self.stored_keys.push(partition_key.clone());
        let shard = self.shards.iter_mut().find(|of| of.is_open && of.shard.range.contains(entry.hash_key)).unwrap();
        shard.records.push(StoredRecord { sequence_number, arrived_at_ms, partition_key, data });
        shard.shard.id.to_string()
    }

    fn shard(&self, id: &str) -> &StoredShard {
        self.shards.iter().find(|shard| *shard.shard.id == *id).unwrap()
    }

    fn put(&mut self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        self.request_count += 1;
        let Put { stores, says } = self.puts.pop_front().unwrap_or(Put { stores: |_| true, says: Says::Well });
        let mut results = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let shard_id = stores(index).then(|| self.store(entry));
            let failed = match says {
                Says::FailedBut(well) => !well(index),
                _ => false,
            };
            results.push(match says {
                _ if failed => {
                    let (code, message) = ("InternalFailure".to_owned(), "no".to_owned());
                    RecordResult::Failed { code, message, shard_id: None }
                }
                Says::AnotherShard => RecordResult::Delivered { shard_id: Some("shardId-000000000077".into()) },
                _ => RecordResult::Delivered { shard_id: shard_id.map(Into::into) },
            });
        }
        match says {
            Says::Nothing => Err(failure(Verdict::Uncertain, Failure::CONNECTION_LOST)),
            Says::Refused => Err(failure(Verdict::Split, "ValidationException")),
            Says::TooFew => Ok(results.split_off(1)),
            Says::Well | Says::AnotherShard | Says::FailedBut(_) => Ok(results),
        }
    }

    fn begin_reading(&mut self) -> Result<Vec<Shard>, Failure> {
        self.reading_count += 1;
        match self.trouble_reading {
            Some(Trouble::Refused) => return Err(failure(Verdict::Pause, "AccessDeniedException")),
            Some(Trouble::OutOfReach) => return Err(failure(Verdict::Retry, Failure::CONNECTION)),
            Some(Trouble::NoShards) => return Ok(Vec::new()),
            None => {}
        }
        self.readings_at_once += 1;
        self.readings_at_once_max = self.readings_at_once_max.max(self.readings_at_once);
        Ok(self.shards.iter().map(|shard| shard.shard.clone()).collect())
    }
}

fn failure(verdict: Verdict, code: &str) -> Failure {
    Failure { verdict, code: code.to_owned(), message: "no".to_owned() }
}

impl Reader for Stream {
    async fn shards_since(&self, _: i64) -> Result<Vec<Shard>, Failure> {
        sleep(ROUND_TRIP).await;
        self.0.lock().unwrap().begin_reading()
    }

    async fn iterator(&self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        sleep(ROUND_TRIP).await;
        let mut state = self.0.lock().unwrap();
        state.read_shards.push(shard_id.to_owned());
        let records = &state.shard(shard_id).records;
        let index = match position {
            Position::At(ms) => records.partition_point(|record| record.arrived_at_ms < Some(*ms)),
            Position::Behind(number) => records.partition_point(|record| record.sequence_number <= *number),
        };
        Ok(format!("{shard_id}:{index}"))
    }

    async fn records(&self, iterator: &str, count_max: u32) -> Result<Page, Failure> {
        sleep(ROUND_TRIP).await;
        let mut state = self.0.lock().unwrap();
        let (shard_id, index) = iterator.split_once(':').unwrap();
        let index: usize = index.parse().unwrap();
        let shard = state.shard(shard_id);
        let records: Vec<_> = shard.records.iter().skip(index).take(count_max as usize).cloned().collect();
        let behind = index + records.len();
        let is_at_tip = behind == shard.records.len();
        let next = (shard.is_open || !is_at_tip).then(|| format!("{shard_id}:{behind}"));
        // Each reading here comes to the tip of the last shard that it reads.
        state.readings_at_once = state.readings_at_once.saturating_sub(usize::from(is_at_tip));
        Ok(Page { records, next, is_at_tip })
    }
}

impl Destination for Stream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        sleep(ROUND_TRIP).await;
        self.0.lock().unwrap().put(entries)
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Ok(self.open_shards())
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}
