//! Delivery streams of Data Firehose: how requests are made of entries, and what the answers say.
//!
//! There are no shards and no keys there, and nothing to ask for: limits are the same for all, and are kept by the packer and
//! the collector. What an error means is decided in [`outcome`](crate::outcome), by way of `sender::sdk`.

use std::sync::Arc;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{PutRecordBatchResponseEntry, Record};

use super::sdk;
use super::{Destination, Summary};
use crate::aws::{self, Access, Delivery};
use crate::collector::Entry;
use crate::limits::FIREHOSE_RECORD_BYTES_MAX;
use crate::outcome::{Failure, Operation, RecordResult};
use crate::readback::Reader;
use crate::stream::Shard;

/// A delivery stream with Direct PUT.
pub struct DeliveryStream {
    name: String,
    client: aws::Client<Client>,
}

impl DeliveryStream {
    /// The delivery stream `name`.
    pub fn new(name: String, access: Arc<Access>) -> Self {
        Self { name, client: aws::Client::new(access, aws::Service::Firehose, Client::new) }
    }
}

impl Reader for DeliveryStream {}

impl Destination for DeliveryStream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let made = self.client.get().await?;
        let records = entries.iter().map(record).collect::<Result<_, _>>()?;
        let delivery = Delivery::default();
        let request = made.client.put_record_batch().delivery_stream_name(&self.name).set_records(Some(records));
        match request.customize().mutate_request(delivery.watching()).send().await {
            Ok(output) => Ok(results(output)),
            Err(error) => {
                let failure = sdk::failure(Operation::PutRecordBatch, &error, delivery.sent(), &made.place);
                Err(self.client.renew(&made, failure))
            }
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Ok(Vec::new())
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Ok(Summary { is_auto: false, record_bytes_max: Some(FIREHOSE_RECORD_BYTES_MAX) })
    }
}

fn record(entry: &Entry) -> Result<Record, Failure> {
    let record = Record::builder().data(Blob::from_maybe_shared(entry.data.clone()));
    record.build().map_err(|error| sdk::not_made(&error))
}

/// Of each record an ID or an error, in the order of the request. `FailedPutCount` says nothing that these do not.
fn results(output: PutRecordBatchOutput) -> Vec<RecordResult> {
    let of_record = |record: PutRecordBatchResponseEntry| match record.record_id {
        Some(id) if !id.is_empty() => RecordResult::Delivered { shard_id: None },
        _ => RecordResult::Failed {
            code: record.error_code.unwrap_or_else(|| Failure::NO_RESULT.to_owned()),
            message: record.error_message.unwrap_or_default(),
            shard_id: None,
        },
    };
    output.request_responses.into_iter().map(of_record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_has_its_result_whatever_is_said_of_all() {
        let entry = PutRecordBatchResponseEntry::builder;
        let output = PutRecordBatchOutput::builder()
            .failed_put_count(0)
            .request_responses(entry().record_id("1").build())
            .request_responses(entry().error_code("ServiceUnavailableException").error_message("Slow down.").build())
            .request_responses(entry().build());
        let failed = |code: &str, message: &str| RecordResult::Failed {
            code: code.to_owned(),
            message: message.to_owned(),
            shard_id: None,
        };
        let expected = [
            RecordResult::Delivered { shard_id: None },
            failed("ServiceUnavailableException", "Slow down."),
            failed(Failure::NO_RESULT, ""),
        ];
        assert_eq!(results(output.build().unwrap()), expected);
    }
}
