//! The shards of a stream as the service keeps them: open ones and closed ones, each with its limits.

#![allow(dead_code, reason = "each target uses a part")]

use std::time::Duration;

use kinetail::hash_key::HashRange;
use kinetail::limits::{SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};
use kinetail::stream;

/// How the limits of a shard are kept. The service does not say how it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limiting {
    /// Not at all, as emulators do.
    Never,
    /// Credit for a second, which comes back evenly.
    Bucket,
    /// Each second of the clock anew.
    Window,
    /// Each second anew, from the first record on, as emulators do.
    Turns,
}

/// All shards that a stream ever had, the oldest first.
pub(crate) struct Shards {
    all: Vec<Shard>,
    limiting: Limiting,
}

/// One of them.
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) range: HashRange,
    opened_at: Duration,
    closed_at: Option<Duration>,
    /// The part of its limits that other producers take, and until when.
    others: (f64, Duration),
    /// Credit, in seconds of each limit, and when it was counted.
    byte_seconds: f64,
    record_seconds: f64,
    counted_at: Duration,
}

impl Shards {
    /// A new stream of so many shards of the same width.
    pub(crate) fn new(count: u32, limiting: Limiting) -> Self {
        let width = u128::MAX / u128::from(count);
        let mut shards = Self { all: Vec::new(), limiting };
        for index in 0..u128::from(count) {
            let end = if index + 1 == u128::from(count) { u128::MAX } else { (index + 1) * width - 1 };
            shards.open(HashRange { start: index * width, end }, Duration::ZERO);
        }
        shards
    }

    fn open(&mut self, range: HashRange, now: Duration) {
        self.all.push(Shard {
            id: format!("shardId-{:012}", self.all.len()),
            range,
            opened_at: now,
            closed_at: None,
            others: (0.0, Duration::ZERO),
            byte_seconds: 1.0,
            record_seconds: 1.0,
            counted_at: now,
        });
    }

    /// The shard of this index among all.
    pub(crate) fn get(&self, index: usize) -> &Shard {
        &self.all[index]
    }

    /// Indexes of the shards that were open at `at`, in no order.
    pub(crate) fn open_at(&self, at: Duration) -> Vec<usize> {
        let is_open = |shard: &Shard| shard.opened_at <= at && shard.closed_at.is_none_or(|closed_at| at < closed_at);
        (0..self.all.len()).filter(|index| is_open(&self.all[*index])).collect()
    }

    /// Indexes of the shards that are open.
    pub(crate) fn open_now(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|index| self.all[*index].closed_at.is_none()).collect()
    }

    /// Indexes of the shards that were open at some time between these, the last of which is now or was.
    pub(crate) fn open_between(&self, from: Duration, until: Duration) -> Vec<usize> {
        let was_open = |shard: &Shard| shard.opened_at <= until && shard.closed_at.is_none_or(|closed_at| from <= closed_at);
        (0..self.all.len()).filter(|index| was_open(&self.all[*index])).collect()
    }

    /// Index of the shard of this name.
    pub(crate) fn index_of(&self, id: &str) -> Option<usize> {
        self.all.iter().position(|shard| shard.id == id)
    }

    /// Nothing more is stored in it.
    pub(crate) fn is_closed(&self, index: usize) -> bool {
        self.all[index].closed_at.is_some()
    }

    /// What `ListShards` says of those that were open at `at`.
    pub(crate) fn list(&self, at: Duration) -> Vec<stream::Shard> {
        let listed = |index: usize| stream::Shard { id: self.all[index].id.as_str().into(), range: self.all[index].range };
        self.open_at(at).into_iter().map(listed).collect()
    }

    /// Index of the open shard that has this hash key.
    pub(crate) fn owner(&self, hash_key: u128) -> usize {
        self.open_now().into_iter().find(|index| self.all[*index].range.contains(hash_key)).unwrap()
    }

    /// Index of the shard that had this hash key at `at`.
    pub(crate) fn owner_at(&self, hash_key: u128, at: Duration) -> usize {
        self.open_at(at).into_iter().find(|index| self.all[*index].range.contains(hash_key)).unwrap()
    }

    /// Two shards in place of one, divided in the middle; nothing is done to one that has a single hash key.
    pub(crate) fn split(&mut self, index: usize, now: Duration) {
        let HashRange { start, end } = self.all[index].range;
        if start < end {
            self.all[index].closed_at = Some(now);
            let middle = start + (end - start) / 2;
            self.open(HashRange { start, end: middle }, now);
            self.open(HashRange { start: middle + 1, end }, now);
        }
    }

    /// One shard in place of one and its neighbour with the greater hash keys; nothing is done where there is none.
    pub(crate) fn merge(&mut self, index: usize, now: Duration) {
        let HashRange { start, end } = self.all[index].range;
        let is_next = |other: &usize| end.checked_add(1) == Some(self.all[*other].range.start);
        if let Some(next) = self.open_now().into_iter().find(is_next) {
            let end = self.all[next].range.end;
            self.all[index].closed_at = Some(now);
            self.all[next].closed_at = Some(now);
            self.open(HashRange { start, end }, now);
        }
    }

    /// Other producers take this part of a shard's limits from now on.
    pub(crate) fn take_part(&mut self, index: usize, part: f64, until: Duration) {
        self.all[index].others = (part, until);
    }

    /// Other producers take nothing any more.
    pub(crate) fn release(&mut self) {
        self.all.iter_mut().for_each(|shard| shard.others = (0.0, Duration::ZERO));
    }

    /// Whether a shard has room for a record of so many bytes now; then it is there.
    pub(crate) fn admits(&mut self, index: usize, byte_count: usize, now: Duration) -> bool {
        let limiting = self.limiting;
        limiting == Limiting::Never || self.all[index].admits(limiting, byte_count, now)
    }
}

impl Shard {
    fn admits(&mut self, limiting: Limiting, byte_count: usize, now: Duration) -> bool {
        let (taken, until) = self.others;
        let part = if now < until { 1.0 - taken } else { 1.0 };
        let seconds = (now - self.counted_at).as_secs_f64();
        let of_limit = |credit: f64| match limiting {
            Limiting::Window if now.as_secs() > self.counted_at.as_secs() => part,
            Limiting::Turns if seconds >= 1.0 => part,
            Limiting::Window | Limiting::Turns | Limiting::Never => credit,
            Limiting::Bucket => (credit + seconds * part).min(part),
        };
        (self.byte_seconds, self.record_seconds) = (of_limit(self.byte_seconds), of_limit(self.record_seconds));
        if limiting != Limiting::Turns || seconds >= 1.0 {
            self.counted_at = now;
        }
        let byte_seconds = byte_count as f64 / SHARD_BYTES_IN_MAX as f64;
        let record_seconds = 1.0 / SHARD_RECORDS_IN_MAX as f64;
        // A record may be as large as the limit, so what others take cannot keep it out for ever.
        let has_room = self.byte_seconds >= byte_seconds.min(part) - 1e-9 && self.record_seconds >= record_seconds - 1e-9;
        if has_room {
            self.byte_seconds -= byte_seconds;
            self.record_seconds -= record_seconds;
        }
        has_room
    }
}
