//! One stream of Kinesis Data Streams: the only module of the way out that knows its API.
//!
//! It decides how a request is made and what kind of failure an error that the service answers is. How it is reached, and
//! what it means that it did not answer, is left to `aws`. The SDK's own retries are off, so that no attempt is invisible.

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use super::outcome::{self, Failure, RecordResult, Verdict};
use super::{Destination, Summary};
use crate::aws::trouble::{self, shortened};
use crate::aws::{self, Access, Delivery, Service};
use crate::collector::Entry;
use crate::stream::Shard;

/// A stream.
pub struct Stream {
    name: String,
    client: aws::Client<Client>,
}

impl Stream {
    /// The stream `name`.
    pub fn new(name: String, access: Arc<Access>) -> Self {
        Self { name, client: aws::Client::new(access, Service::Kinesis, Client::new) }
    }
}

impl Destination for Stream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let made = self.client.get().await?;
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = PutRecordsRequestEntry::builder()
                .partition_key(&entry.partition_key)
                .set_explicit_hash_key(entry.is_hash_key_explicit.then(|| entry.hash_key.to_string()))
                .data(Blob::from_maybe_shared(entry.data.clone()))
                .build()
                .map_err(|error| Failure {
                    verdict: Verdict::Pause,
                    code: "BuildError".to_owned(),
                    message: error.to_string(),
                })?;
            records.push(record);
        }
        let delivery = Delivery::default();
        let request = made.client.put_records().stream_name(&self.name).set_records(Some(records));
        match request.customize().mutate_request(delivery.watching()).send().await {
            Ok(output) => Ok(results(output)),
            Err(error) => Err(self.client.renew(&made, failure(&error, &delivery, &made.place))),
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Err(Failure::unsupported("ListShards"))
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}

fn results(output: PutRecordsOutput) -> Vec<RecordResult> {
    let of_record = |record: aws_sdk_kinesis::types::PutRecordsResultEntry| match record.sequence_number {
        Some(number) if !number.is_empty() => RecordResult::Delivered { shard_id: Some(record.shard_id.unwrap_or_default()) },
        _ => RecordResult::Failed {
            code: record.error_code.unwrap_or_else(|| "NoSequenceNumber".to_owned()),
            message: record.error_message.unwrap_or_default(),
        },
    };
    output.records.into_iter().map(of_record).collect()
}

fn failure(error: &SdkError<PutRecordsError>, delivery: &Delivery, place: &str) -> Failure {
    if let SdkError::ServiceError(service) = error
        && let Some(code) = service.err().code()
    {
        let message = shortened(service.err().message().unwrap_or("no message"));
        let verdict = outcome::of_request(code, service.raw().status().as_u16());
        return Failure { verdict, code: code.to_owned(), message };
    }
    trouble::failure(error, delivery.sent(), place)
}
