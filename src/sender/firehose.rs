//! Delivery streams of Data Firehose: how requests are made of entries, and what the answers say.
//!
//! There are no shards and no keys there, and nothing to ask for: limits are the same for all, and are kept by the packer and
//! the collector. Bodies are ours (`sender::exchange`), in JSON: Firehose knows nothing else. What an error means is decided in [`outcome`](crate::outcome), by way of `sender::sdk`.

use std::sync::{Arc, Mutex};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::{PutRecordBatchError, PutRecordBatchOutput};

use super::exchange::{Attempt, Exchange};
use super::{Destination, Summary};
use crate::aws::{self, Access, Buffers, Delivery, Made, Request};
use crate::collector::Entry;
use crate::limits::FIREHOSE_RECORD_BYTES_MAX;
use crate::outcome::{Failure, Operation, RecordResult};
use crate::readback::Reader;
use crate::stream::Shard;
use crate::wire::answer::ShardIds;
use crate::wire::{self, Wire};

/// A delivery stream with Direct PUT.
pub struct DeliveryStream {
    name: String,
    client: aws::Client<Client>,
    buffers: Buffers,
    /// There are none.
    shard_ids: Arc<Mutex<ShardIds>>,
}

impl DeliveryStream {
    /// The delivery stream `name`.
    pub fn new(name: String, access: Arc<Access>) -> Self {
        let buffers = access.buffers().clone();
        let client = aws::Client::new(access, aws::Service::Firehose, Client::new);
        Self { name, client, buffers, shard_ids: Arc::default() }
    }

    /// One attempt to put `entries`, in one request.
    async fn attempt(&self, made: &Made<Client>, entries: &[Entry]) -> Attempt {
        let output = PutRecordBatchOutput::builder().failed_put_count(0).set_request_responses(Some(Vec::new()));
        let output = match output.build() {
            Ok(output) => output,
            Err(error) => return Attempt::not_made(&error),
        };
        let data = || entries.iter().map(|entry| &*entry.data);
        let byte_count = wire::put_record_batch_bytes(&self.name, data());
        let body = self.buffers.body(byte_count, |body| wire::put_record_batch(&self.name, data(), body));
        let content_type = Wire::Json.content_type();
        let request = Request { target: "Firehose_20150804.PutRecordBatch", content_type, body };
        let exchange = Exchange::new(Operation::PutRecordBatch, entries.len(), Arc::clone(&self.shard_ids));
        let ready = exchange.ready(request, output, PutRecordBatchError::generic);
        let delivery = Delivery::default();
        let put = made.client.put_record_batch().delivery_stream_name(&self.name).set_records(Some(Vec::new()));
        let sent = put.customize().mutate_request(delivery.watching()).interceptor(ready).send().await;
        exchange.ended(sent, &delivery, &made.place)
    }
}

impl Reader for DeliveryStream {}

impl Destination for DeliveryStream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let made = self.client.get().await?;
        let answer = self.attempt(&made, entries).await.answer;
        answer.map_err(|failure| self.client.renew(&made, failure))
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Ok(Vec::new())
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Ok(Summary { is_auto: false, record_bytes_max: Some(FIREHOSE_RECORD_BYTES_MAX) })
    }
}
