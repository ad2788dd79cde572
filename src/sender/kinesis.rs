//! Streams of Kinesis Data Streams: how requests are made of entries and of questions, and what the answers say.
//!
//! Requests for records have bodies of our own (`sender::exchange`), in the format that [`choice`](crate::wire::choice) says.
//! What an error means is decided in [`outcome`](crate::outcome), by way of `sender::sdk`. The SDK's own retries are off, so
//! that no attempt is invisible.

mod reading;

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::types::{self, RecordDistributionStrategy, ShardFilter, ShardFilterType};

use super::exchange::{Attempt, Exchange};
use super::sdk;
use super::{Destination, Summary};
use crate::aws::{self, Access, Buffers, Delivery, Made, Request};
use crate::collector::Entry;
use crate::hash_key::HashRange;
use crate::limits::{KIB, SHARD_PAGES_MAX, SHARDS_PER_PAGE};
use crate::outcome::{Failure, Operation, RecordResult, Sent};
use crate::stream::Shard;
use crate::wire::answer::ShardIds;
use crate::wire::choice::{Choice, Then};
use crate::wire::{self, Record, Wire};

/// A stream.
pub struct Stream {
    name: String,
    client: aws::Client<Client>,
    buffers: Buffers,
    choice: Mutex<Choice>,
    shard_ids: Arc<Mutex<ShardIds>>,
}

impl Stream {
    /// The stream `name`.
    pub fn new(name: String, access: Arc<Access>) -> Self {
        let (buffers, choice) = (access.buffers().clone(), Choice::new(access.settings().wire()));
        let client = aws::Client::new(access, aws::Service::Kinesis, Client::new);
        Self { name, client, buffers, choice: Mutex::new(choice), shard_ids: Arc::default() }
    }

    /// One attempt to put `entries`, in one request in this format.
    async fn attempt(&self, made: &Made<Client>, wire: Wire, entries: &[Entry]) -> Attempt {
        let output = match PutRecordsOutput::builder().set_records(Some(Vec::new())).build() {
            Ok(output) => output,
            Err(error) => return Attempt::not_made(&error),
        };
        let byte_count = wire::put_records_bytes(wire, &self.name, entries.iter().map(record));
        let body = self.buffers.body(byte_count, |body| {
            wire::put_records(wire, &self.name, entries.iter().map(record), body);
        });
        let request = Request { target: "Kinesis_20131202.PutRecords", content_type: wire.content_type(), body };
        let exchange = Exchange::new(Operation::PutRecords, entries.len(), Arc::clone(&self.shard_ids));
        let ready = exchange.ready(request, output, PutRecordsError::generic);
        let delivery = Delivery::default();
        let put = made.client.put_records().stream_name(&self.name).set_records(Some(Vec::new()));
        let sent = put.customize().mutate_request(delivery.watching()).interceptor(ready).send().await;
        exchange.ended(sent, &delivery, &made.place)
    }

    /// One attempt in the format of now; one more in JSON where CBOR is refused for the first time.
    async fn put_in_a_format(&self, made: &Made<Client>, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let wire = self.choice().wire();
        let Attempt { answer, trial } = self.attempt(made, wire, entries).await;
        if wire == Wire::Json {
            if self.choice().json(answer.is_ok(), false) {
                tracing::info!(stream = self.name, "requests in CBOR have failed, records are sent in JSON from now on");
            }
            return answer;
        }
        let then = self.choice().cbor(trial);
        match (then, answer) {
            (Then::AgainInJson, Err(refusal)) => {
                let Attempt { answer, .. } = self.attempt(made, Wire::Json, entries).await;
                if self.choice().json(answer.is_ok(), true) {
                    let reason = refusal.to_string();
                    tracing::info!(stream = self.name, reason, "CBOR is refused, records are sent in JSON from now on");
                }
                answer
            }
            (Then::JsonForGood, answer) => {
                tracing::info!(stream = self.name, "answers in CBOR cannot be read, records are sent in JSON from now on");
                answer
            }
            (Then::Say, Err(refusal)) => Err(refusal.refusing_cbor()),
            (_, answer) => answer,
        }
    }

    /// A panic while it was held leaves a choice that works, perhaps not the best.
    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
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
        let answer = self.put_in_a_format(&made, entries).await;
        answer.map_err(|failure| self.client.renew(&made, failure))
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

/// What goes over the wire of an entry.
fn record(entry: &Entry) -> Record<'_> {
    Record {
        data: &entry.data,
        partition_key: &entry.partition_key,
        hash_key: entry.is_hash_key_explicit.then_some(entry.hash_key),
    }
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
