//! Streams of Kinesis Data Streams: how requests are made of entries and of questions, and what the answers say.
//!
//! What an error means is decided in [`outcome`](crate::outcome), by way of `sender::sdk`. The SDK's own retries are off, so
//! that no attempt is invisible.

mod reading;

use std::error::Error as StdError;
use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{self, PutRecordsRequestEntry, RecordDistributionStrategy, ShardFilter, ShardFilterType};

use super::sdk;
use super::{Destination, Summary};
use crate::aws::{self, Access, Delivery, Made};
use crate::collector::Entry;
use crate::hash_key::HashRange;
use crate::limits::{KIB, SHARD_PAGES_MAX, SHARDS_PER_PAGE};
use crate::outcome::{Failure, Operation, RecordResult, Sent, shard_in};
use crate::stream::Shard;

/// A stream.
pub struct Stream {
    name: String,
    client: aws::Client<Client>,
}

impl Stream {
    /// The stream `name`.
    pub fn new(name: String, access: Arc<Access>) -> Self {
        Self { name, client: aws::Client::new(access, aws::Service::Kinesis, Client::new) }
    }

    /// The failure of a question.
    fn unanswered<E: ProvideErrorMetadata + StdError + 'static>(
        &self,
        operation: Operation,
        made: &Made<Client>,
        error: &SdkError<E>,
    ) -> Failure {
        self.client.renew(made, of_question(operation, sdk::failure(operation, error, Sent::Nothing, &made.place)))
    }

    /// The shards that a filter lets through, where it is known; without one all.
    async fn list(&self, made: &Made<Client>, filter: Option<ShardFilter>) -> Result<Vec<types::Shard>, Failure> {
        let mut shards = Vec::new();
        let mut next_token = None;
        for _ in 0..SHARD_PAGES_MAX {
            let page = made.client.list_shards().max_results(SHARDS_PER_PAGE);
            // The rest of the list is of the stream that the token was given for; to name it again is an error.
            let page = match next_token {
                Some(token) => page.next_token(token),
                None => page.stream_name(&self.name).set_shard_filter(filter.clone()),
            };
            let page = page.send().await.map_err(|error| self.unanswered(Operation::ListShards, made, &error))?;
            shards.extend(page.shards.unwrap_or_default());
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        Ok(shards)
    }
}

impl Destination for Stream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let made = self.client.get().await?;
        let records = entries.iter().map(record).collect::<Result<_, _>>()?;
        let delivery = Delivery::default();
        let request = made.client.put_records().stream_name(&self.name).set_records(Some(records));
        match request.customize().mutate_request(delivery.watching()).send().await {
            Ok(output) => Ok(results(output)),
            Err(error) => {
                let failure = sdk::failure(Operation::PutRecords, &error, delivery.sent(), &made.place);
                Err(self.client.renew(&made, failure))
            }
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let made = self.client.get().await?;
        let listed = self.list(&made, open_shards()).await?;
        Ok(listed.iter().filter_map(open_shard).collect())
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        let made = self.client.get().await?;
        let output = made
            .client
            .describe_stream_summary()
            .stream_name(&self.name)
            .send()
            .await
            .map_err(|error| self.unanswered(Operation::DescribeStreamSummary, &made, &error))?;
        let summary = output.stream_description_summary();
        let size_kib = summary.and_then(types::StreamDescriptionSummary::max_record_size_in_kib);
        Ok(Summary {
            is_auto: summary.and_then(types::StreamDescriptionSummary::record_distribution_strategy)
                == Some(&RecordDistributionStrategy::Auto),
            record_bytes_max: size_kib
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| *size > 0)
                .map(|size| size * KIB),
        })
    }
}

fn record(entry: &Entry) -> Result<PutRecordsRequestEntry, Failure> {
    let record = PutRecordsRequestEntry::builder()
        .partition_key(entry.partition_key.as_str())
        .set_explicit_hash_key(entry.is_hash_key_explicit.then(|| entry.hash_key.to_string()))
        .data(Blob::from_maybe_shared(entry.data.clone()));
    record.build().map_err(|error| sdk::not_made(&error))
}

/// Of each record a sequence number or an error, in the order of the request.
fn results(output: PutRecordsOutput) -> Vec<RecordResult> {
    let of_record = |record: types::PutRecordsResultEntry| match record.sequence_number {
        Some(number) if !number.is_empty() => RecordResult::Delivered { shard_id: record.shard_id },
        _ => {
            let message = record.error_message.unwrap_or_default();
            RecordResult::Failed {
                code: record.error_code.unwrap_or_else(|| Failure::NO_RESULT.to_owned()),
                shard_id: shard_in(&message).map(str::to_owned),
                message,
            }
        }
    };
    output.records.into_iter().map(of_record).collect()
}

/// Asks for the shards that are open now.
fn open_shards() -> Option<ShardFilter> {
    ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().ok()
}

/// A shard, if it is open: emulators do not know the filter, and list those too that were split or merged.
fn open_shard(shard: &types::Shard) -> Option<Shard> {
    if shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some()) {
        return None;
    }
    self::shard(shard)
}

fn shard(shard: &types::Shard) -> Option<Shard> {
    let range = shard.hash_key_range()?;
    let range = HashRange::parse(range.starting_hash_key(), range.ending_hash_key())?;
    Some(Shard { id: shard.shard_id().into(), range })
}

/// A question stores nothing, so that its failure is never an uncertain one; and not everything that speaks the protocol knows
/// every question.
fn of_question(operation: Operation, failure: Failure) -> Failure {
    match failure.code.as_str() {
        "UnknownOperationException" | "InvalidAction" | "Http404" | "Http501" => Failure::unsupported(operation.name()),
        _ => Failure { verdict: failure.verdict.given(Sent::Nothing), ..failure },
    }
}

#[cfg(test)]
mod tests;
