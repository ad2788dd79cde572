//! `[flow.firehose]`: the delivery stream and how records are packed for it.

use super::delivery::{self, Aggregate, Compression, Delivery, Destination, Order, PartitionKey};
use super::reader::Table;
use crate::limits::{
    FIREHOSE_RECORD_BYTES_DEFAULT, FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_REQUEST_BYTES_MAX, JOINED_RECORD_BYTES_MIN,
};

/// Characters of a delivery stream's name: API reference of `CreateDeliveryStream`.
const STREAM_CHARS_MAX: usize = 64;

/// Reads `[flow.firehose]`.
pub(super) fn read(table: &mut Table<'_>) -> Option<Delivery> {
    table.require("delivery_stream", "write delivery_stream = \"…\", the name of the Firehose delivery stream");
    let stream = delivery::stream(table, "delivery_stream", STREAM_CHARS_MAX, ":deliverystream/");
    let record_bytes = table.size("record_bytes", JOINED_RECORD_BYTES_MIN..=FIREHOSE_RECORD_BYTES_MAX);
    let compress = delivery::compress(table);
    let max_delay = delivery::max_delay(table);
    Some(Delivery {
        destination: Destination::Firehose(stream?),
        aggregate: Aggregate::Lines,
        record_bytes: record_bytes.map_or(FIREHOSE_RECORD_BYTES_DEFAULT, |written| written.value),
        compress: compress.map_or(Compression::None, |written| written.value),
        partition_key: PartitionKey::Random,
        max_delay,
        request_bytes: FIREHOSE_REQUEST_BYTES_MAX,
        order: Order::Throughput,
    })
}
