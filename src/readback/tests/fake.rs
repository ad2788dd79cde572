//! A stream that answers as the service does, and fails as told.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::super::{Page, Position, Reader, StoredRecord};
use crate::hash_key::HashRange;
use crate::outcome::{Failure, Operation};
use crate::service_clock::ServiceClock;
use crate::stream::Shard;

/// When the tests begin, in milliseconds since 1970.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

#[derive(Clone)]
pub(crate) struct FakeShard {
    pub(crate) shard: Shard,
    pub(crate) opened_at_ms: i64,
    pub(crate) closed_at_ms: Option<i64>,
    /// Of each when it arrives; it is not there before.
    pub(crate) records: Vec<StoredRecord>,
}

pub(crate) struct Fake {
    /// What time it is.
    pub(crate) clock: ServiceClock,
    pub(crate) shards: Vec<FakeShard>,
    /// What goes wrong next, by the name of the operation and perhaps of the shard, or does not.
    pub(crate) failures: Mutex<HashMap<&'static str, VecDeque<Option<Failure>>>>,
    /// What is asked, and when, in milliseconds since the start.
    pub(crate) asked: Mutex<Vec<(i64, String)>>,
    last_read_at: Mutex<HashMap<String, Instant>>,
    /// Requests that came too soon.
    pub(crate) throttled_count: AtomicUsize,
    /// Instead of all other answers to `GetRecords`.
    pub(crate) always: Option<Page>,
    /// The clock of who reads, which learns from answers.
    pub(crate) to_teach: Option<ServiceClock>,
}

impl Fake {
    pub(crate) fn new(shards: Vec<FakeShard>) -> Self {
        Self {
            clock: ServiceClock::new(START_MS),
            shards,
            failures: Mutex::default(),
            asked: Mutex::default(),
            last_read_at: Mutex::default(),
            throttled_count: AtomicUsize::new(0),
            always: None,
            to_teach: None,
        }
    }

    pub(crate) fn failing(self, operation: &'static str, failures: Vec<Failure>) -> Self {
        self.failures.lock().unwrap().insert(operation, failures.into_iter().map(Some).collect());
        self
    }

    /// How often an operation was asked for.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, asked)| asked.starts_with(operation)).count()
    }

    fn answer(&self, operation: &'static str, of: &str) -> Result<(), Failure> {
        let now_ms = self.clock.now_ms();
        if let Some(clock) = &self.to_teach {
            clock.learn(now_ms / 1000, Instant::now());
        }
        let asked = format!("{operation} {of}");
        let mut failures = self.failures.lock().unwrap();
        let failures = failures.iter_mut().find(|(name, _)| asked.starts_with(**name)).map(|(_, failures)| failures);
        self.asked.lock().unwrap().push((now_ms - START_MS, asked.clone()));
        match failures.and_then(VecDeque::pop_front).flatten() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn shard(&self, id: &str) -> Result<&FakeShard, Failure> {
        let found = self.shards.iter().find(|fake| *fake.shard.id == *id);
        found.ok_or_else(|| Failure::answered(Operation::GetRecords, Failure::NO_RESOURCE, 400, "no such shard"))
    }
}

impl Reader for Fake {
    async fn shards_since(&self, from_ms: i64) -> Result<Vec<Shard>, Failure> {
        self.answer("list", "")?;
        let now_ms = self.clock.now_ms();
        let is_listed =
            |fake: &&FakeShard| fake.opened_at_ms <= now_ms && fake.closed_at_ms.is_none_or(|closed_at| closed_at >= from_ms);
        Ok(self.shards.iter().filter(is_listed).map(|fake| fake.shard.clone()).collect())
    }

    async fn iterator(&self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        self.answer("iterator", shard_id)?;
        let now_ms = self.clock.now_ms();
        let records = &self.shard(shard_id)?.records;
        let index = match position {
            Position::At(at_ms) if *at_ms > now_ms => {
                return Err(Failure::answered(Operation::GetShardIterator, "InvalidArgumentException", 400, "in the future"));
            }
            Position::At(at_ms) => records.partition_point(|record| record.arrived_at_ms < Some(*at_ms)),
            Position::Behind(number) => records.iter().position(|record| record.sequence_number == *number).unwrap() + 1,
        };
        Ok(format!("{shard_id}/{index}/{now_ms}"))
    }

    async fn records(&self, iterator: &str, count_max: u32) -> Result<Page, Failure> {
        let [shard_id, index, made_at] = iterator.split('/').collect::<Vec<_>>()[..] else { panic!("{iterator}") };
        self.answer("records", &format!("{shard_id} {count_max}"))?;
        let now = Instant::now();
        let last = self.last_read_at.lock().unwrap().insert(shard_id.to_owned(), now);
        if last.is_some_and(|last| (now - last).as_millis() < 200) {
            self.throttled_count.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::answered(Operation::GetRecords, "ProvisionedThroughputExceededException", 400, "too soon"));
        }
        if let Some(page) = &self.always {
            return Ok(Page { next: page.next.as_ref().map(|_| iterator.to_owned()), ..page.clone() });
        }
        let (index, made_at_ms): (usize, i64) = (index.parse().unwrap(), made_at.parse().unwrap());
        let now_ms = self.clock.now_ms();
        if now_ms - made_at_ms > 300_000 {
            return Err(Failure::answered(Operation::GetRecords, Failure::EXPIRED_ITERATOR, 400, "too old"));
        }
        let fake = self.shard(shard_id)?;
        let is_here = |record: &&StoredRecord| record.arrived_at_ms.is_none_or(|at_ms| at_ms <= now_ms);
        let here: Vec<_> = fake.records[index..].iter().take_while(is_here).cloned().collect();
        let records: Vec<_> = here.iter().take(count_max as usize).cloned().collect();
        let is_all = records.len() == here.len();
        let is_closed = fake.closed_at_ms.is_some_and(|closed_at| closed_at <= now_ms) && is_all;
        Ok(Page {
            next: (!is_closed).then(|| format!("{shard_id}/{}/{now_ms}", index + records.len())),
            is_at_tip: is_all && records.is_empty(),
            records,
        })
    }
}

/// An open shard, one of `count` of the same width.
pub(crate) fn shard(id: &str, index: u128, count: u128) -> FakeShard {
    // The last one has what is left over.
    let width = (u128::MAX / count).checked_add(1).unwrap_or(0);
    let end = if index + 1 == count { u128::MAX } else { (index + 1) * width - 1 };
    let shard = Shard { id: id.into(), range: HashRange { start: index * width, end } };
    FakeShard { shard, opened_at_ms: 0, closed_at_ms: None, records: Vec::new() }
}

impl FakeShard {
    /// With records that arrive so many milliseconds after the start.
    pub(crate) fn with(mut self, arriving_ms: impl IntoIterator<Item = i64>) -> Self {
        for (index, at_ms) in arriving_ms.into_iter().enumerate() {
            self.records.push(StoredRecord {
                sequence_number: format!("{}", index + 1),
                arrived_at_ms: Some(START_MS + at_ms),
                partition_key: format!("{}:{}", self.shard.id, index + 1),
                data: bytes::Bytes::from_static(b"data"),
            });
        }
        self
    }

    /// Closed so many milliseconds after the start.
    pub(crate) fn closed(self, at_ms: i64) -> Self {
        Self { closed_at_ms: Some(START_MS + at_ms), ..self }
    }

    /// Opened then.
    pub(crate) fn opened(self, at_ms: i64) -> Self {
        Self { opened_at_ms: START_MS + at_ms, ..self }
    }
}
