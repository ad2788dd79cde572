//! What of the unknown is already in the stream? Reading a stream back: its shards over a window of time, record by record.
//!
//! It decides in which order and how fast shards are read, when one has been read far enough, and what is tried again. Which
//! records are looked for, and what follows from those that are found, is the business of who asks: at the start `readback::start`, while
//! the agent runs the sender.

mod passes;
mod reading;
pub mod recognition;
mod shard;
pub mod start;

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use self::reading::Reading;

use crate::outcome::Failure;
use crate::service_clock::ServiceClock;
use crate::stream::Shard;

/// A stream that may be read. What cannot be is not [supported](Failure::unsupported).
pub trait Reader: Send + Sync + 'static {
    /// The shards that are open, or were at `from_ms` or later (milliseconds since 1970, by the service's clock). There may be
    /// others too, closed before.
    fn shards_since(&self, from_ms: i64) -> impl Future<Output = Result<Vec<Shard>, Failure>> + Send {
        let _ = from_ms;
        async { Err(Failure::unsupported("ListShards")) }
    }

    /// An iterator over the records of a shard, from `position` on (`GetShardIterator`).
    fn iterator(&self, shard_id: &str, position: &Position) -> impl Future<Output = Result<String, Failure>> + Send {
        let _ = (shard_id, position);
        async { Err(Failure::unsupported("GetShardIterator")) }
    }

    /// The next records, at most `count_max` of them (`GetRecords`).
    fn records(&self, iterator: &str, count_max: u32) -> impl Future<Output = Result<Page, Failure>> + Send {
        let _ = (iterator, count_max);
        async { Err(Failure::unsupported("GetRecords")) }
    }
}

/// Where in a shard to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// With what arrived at this time or later, in milliseconds since 1970 by the service's clock.
    At(i64),
    /// Behind the record with this sequence number.
    Behind(String),
}

/// An answer to `GetRecords`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order in which they are stored.
    pub records: Vec<StoredRecord>,
    /// Goes on behind them; none at the end of a shard that is closed.
    pub next: Option<String>,
    /// There was nothing more when it was made.
    pub is_at_tip: bool,
}

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// By which an iterator goes on behind it.
    pub sequence_number: String,
    /// When it arrived, in milliseconds since 1970 by the service's clock; neither exact nor always growing. Not every emulator
    /// says it.
    pub arrived_at_ms: Option<i64>,
    /// As it was put.
    pub partition_key: String,
    /// As it was put.
    pub data: Bytes,
}

/// From when until when, in milliseconds since 1970 by the service's clock; margins for clocks are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What arrived before is of no interest.
    pub from_ms: i64,
    /// A shard is read until it is sure that all is seen that has arrived before: if that is in the future, it is waited for.
    pub until_ms: i64,
}

/// Which shards are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    /// All that were open in the window.
    All,
    /// Of these the ones that have, or had then, one of these hash keys.
    With(Vec<u128>),
}

/// What reading took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Shards that were read to the end of the window.
    pub shard_count: u64,
    /// Requests of all kinds.
    pub request_count: u64,
    /// Records that were looked at.
    pub record_count: u64,
    /// Bytes of them.
    pub byte_count: u64,
}

impl Taken {
    /// What both took.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            shard_count: self.shard_count + other.shard_count,
            request_count: self.request_count + other.request_count,
            record_count: self.record_count + other.record_count,
            byte_count: self.byte_count + other.byte_count,
        }
    }
}

/// How far a reading is, for those who want to know meanwhile.
#[derive(Debug)]
pub struct Progress {
    shard_count: AtomicU64,
    done_shard_count: AtomicU64,
    request_count: AtomicU64,
    record_count: AtomicU64,
    byte_count: AtomicU64,
    reached_ms: AtomicI64,
    trouble: Mutex<Option<Failure>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            shard_count: AtomicU64::new(0),
            done_shard_count: AtomicU64::new(0),
            request_count: AtomicU64::new(0),
            record_count: AtomicU64::new(0),
            byte_count: AtomicU64::new(0),
            reached_ms: AtomicI64::new(i64::MIN),
            trouble: Mutex::default(),
        }
    }
}

impl Progress {
    /// What it has taken so far.
    pub fn taken(&self) -> Taken {
        Taken {
            shard_count: self.done_shard_count.load(Ordering::Relaxed),
            request_count: self.request_count.load(Ordering::Relaxed),
            record_count: self.record_count.load(Ordering::Relaxed),
            byte_count: self.byte_count.load(Ordering::Relaxed),
        }
    }

    /// Shards that are to be read, as far as is known.
    pub fn shard_count(&self) -> u64 {
        self.shard_count.load(Ordering::Relaxed)
    }

    /// What arrived until then is read, in milliseconds since 1970 by the service's clock; none before the shards are known.
    pub fn reached_ms(&self) -> Option<i64> {
        Some(self.reached_ms.load(Ordering::Relaxed)).filter(|reached_ms| *reached_ms != i64::MIN)
    }

    /// Why it does not go on just now, where something is tried again.
    pub fn trouble(&self) -> Option<Failure> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<Failure>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Reads `shards` over `window` and shows each record to `look`, in the order of its shard; a record may be shown twice, and some
/// of before and after the window are shown too. What the service throttles, and what fails for a while, is tried again; while
/// the service is out of reach, for ever.
///
/// # Errors
/// The service will not let the stream be read, however often it is asked, or has failed for too long.
pub async fn read<R: Reader>(
    reader: &R,
    clock: &ServiceClock,
    window: Window,
    shards: &Shards,
    look: impl FnMut(&StoredRecord) + Send,
) -> Result<Taken, Failure> {
    read_with(reader, clock, window, shards, &Progress::default(), look).await
}

/// The same, and says in `progress` how far it is.
///
/// # Errors
/// As of [`read`].
pub async fn read_with<R: Reader>(
    reader: &R,
    clock: &ServiceClock,
    window: Window,
    shards: &Shards,
    progress: &Progress,
    look: impl FnMut(&StoredRecord) + Send,
) -> Result<Taken, Failure> {
    Reading::new(reader, clock, window, shards, progress).run(look).await
}

#[cfg(test)]
mod tests;
