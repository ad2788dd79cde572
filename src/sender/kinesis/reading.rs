//! How a stream is read back: questions about its shards, and their records.

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{self, ShardFilter, ShardFilterType, ShardIteratorType};

use super::{Stream, shard};
use crate::outcome::{Failure, Operation};
use crate::readback::{Page, Position, Reader, StoredRecord};
use crate::stream::Shard;

impl Reader for Stream {
    async fn shards_since(&self, from_ms: i64) -> Result<Vec<Shard>, Failure> {
        let made = self.client.get().await?;
        let listed = match self.list(&made, shards_since(from_ms)).await {
            // A time before the stream, or the filter, is not to its liking.
            Err(failure) if ["ValidationException", "InvalidArgumentException"].contains(&&*failure.code) => {
                self.list(&made, None).await?
            }
            listed => listed?,
        };
        Ok(listed.iter().filter_map(shard).collect())
    }

    async fn iterator(&self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        let made = self.client.get().await?;
        let question = made.client.get_shard_iterator().stream_name(&self.name).shard_id(shard_id);
        let question = match position {
            Position::At(at_ms) => {
                question.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*at_ms))
            }
            Position::Behind(number) => {
                question.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(number)
            }
        };
        let answer = question.send().await.map_err(|error| self.unanswered(Operation::GetShardIterator, &made, &error))?;
        // Without it nothing can be read; the service always says it.
        answer
            .shard_iterator
            .ok_or_else(|| Failure::answered(Operation::GetShardIterator, Failure::NO_RESULT, 200, "no iterator"))
    }

    async fn records(&self, iterator: &str, count_max: u32) -> Result<Page, Failure> {
        let made = self.client.get().await?;
        let limit = i32::try_from(count_max).unwrap_or(i32::MAX);
        let question = made.client.get_records().shard_iterator(iterator).limit(limit);
        let answer = question.send().await.map_err(|error| self.unanswered(Operation::GetRecords, &made, &error))?;
        Ok(page(answer))
    }
}

/// Asks for the shards that are open, or were then.
fn shards_since(from_ms: i64) -> Option<ShardFilter> {
    let from = DateTime::from_millis(from_ms.max(0));
    ShardFilter::builder().r#type(ShardFilterType::FromTimestamp).timestamp(from).build().ok()
}

/// Emulators say that they are not behind while there is more than they were asked for: only an answer without records is at the
/// tip.
fn page(answer: GetRecordsOutput) -> Page {
    Page {
        is_at_tip: answer.records.is_empty() && answer.millis_behind_latest.is_none_or(|behind_ms| behind_ms <= 0),
        next: answer.next_shard_iterator.filter(|next| !next.is_empty()),
        records: answer.records.into_iter().map(stored).collect(),
    }
}

fn stored(record: types::Record) -> StoredRecord {
    StoredRecord {
        sequence_number: record.sequence_number,
        arrived_at_ms: record.approximate_arrival_timestamp.and_then(|at| at.to_millis().ok()),
        partition_key: record.partition_key.unwrap_or_default(),
        data: record.data.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;

    use super::*;

    #[test]
    fn only_an_answer_without_records_is_at_the_tip() {
        let record = types::Record::builder().sequence_number("1").data(Blob::new("x")).build().unwrap();
        for (records, behind_ms, is_at_tip) in [
            (vec![], Some(0), true),
            (vec![], None, true),
            (vec![], Some(1), false),
            (vec![record.clone()], Some(0), false),
            (vec![record], None, false),
        ] {
            let answer = GetRecordsOutput::builder().set_records(Some(records)).set_millis_behind_latest(behind_ms);
            assert_eq!(page(answer.build().unwrap()).is_at_tip, is_at_tip, "{behind_ms:?}");
        }
    }

    #[test]
    fn a_record_is_as_it_was_put() {
        let record = types::Record::builder()
            .sequence_number("7")
            .partition_key("key")
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .data(Blob::new("data"));
        let StoredRecord { sequence_number, arrived_at_ms, partition_key, data } = stored(record.build().unwrap());
        assert_eq!((&*sequence_number, arrived_at_ms), ("7", Some(1_700_000_000_123)));
        assert_eq!((&*partition_key, &*data), ("key", &b"data"[..]));
    }
}
