//! What of the unknown is already in the stream? Reading a stream back: its shards over a window of time, record by record.
//!
//! It decides in which order and how fast shards are read, when one has been read far enough, and what is tried again. Which
//! records are looked for, and what follows from those that are found, is the business of who asks: at the start `readback::start`, while
//! the agent runs the sender.

use std::future::Future;

use bytes::Bytes;

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

/// Reads `shards` over `window` and shows each record to `look`, in the order of its shard; a record may be shown twice. What the
/// service throttles, and what fails for a while, is tried again.
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
    let _ = (reader, clock, window, shards, look);
    Err(Failure::unsupported("GetRecords"))
}
