//! Where the entries of a flow go, of the services that there are.

use super::firehose::DeliveryStream;
use super::kinesis::Stream;
use super::{Destination, Summary};
use crate::collector::Entry;
use crate::outcome::{Failure, RecordResult};
use crate::readback::{Page, Position, Reader};
use crate::stream::Shard;

/// A stream or a delivery stream.
pub enum Target {
    /// Of Kinesis Data Streams.
    Kinesis(Stream),
    /// Of Data Firehose.
    Firehose(DeliveryStream),
}

impl Reader for Target {
    async fn shards_since(&self, from_ms: i64) -> Result<Vec<Shard>, Failure> {
        match self {
            Self::Kinesis(stream) => stream.shards_since(from_ms).await,
            Self::Firehose(stream) => stream.shards_since(from_ms).await,
        }
    }

    async fn iterator(&self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        match self {
            Self::Kinesis(stream) => stream.iterator(shard_id, position).await,
            Self::Firehose(stream) => stream.iterator(shard_id, position).await,
        }
    }

    async fn records(&self, iterator: &str, count_max: u32) -> Result<Page, Failure> {
        match self {
            Self::Kinesis(stream) => stream.records(iterator, count_max).await,
            Self::Firehose(stream) => stream.records(iterator, count_max).await,
        }
    }
}

impl Destination for Target {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        match self {
            Self::Kinesis(stream) => stream.put(entries).await,
            Self::Firehose(stream) => stream.put(entries).await,
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        match self {
            Self::Kinesis(stream) => stream.shards().await,
            Self::Firehose(stream) => stream.shards().await,
        }
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        match self {
            Self::Kinesis(stream) => stream.summary().await,
            Self::Firehose(stream) => stream.summary().await,
        }
    }
}
