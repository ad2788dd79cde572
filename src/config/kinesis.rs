//! `[flow.kinesis]`: the stream and how records are packed for it.

use super::delivery::{self, Aggregate, Compression, Delivery, Destination, Order, PartitionKey};
use super::reader::Table;
use crate::limits::{
    JOINED_RECORD_BYTES_DEFAULT, JOINED_RECORD_BYTES_MIN, RECORD_BYTES_LARGEST, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MAX,
    REQUEST_BYTES_MIN,
};

/// Characters of a stream's name: API reference of `CreateStream`.
const STREAM_CHARS_MAX: usize = 128;

/// Reads `[flow.kinesis]`; `names` are the fields of a line, if they are known.
pub(super) fn read(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Delivery> {
    table.require("stream", "write stream = \"…\", the name of the Kinesis data stream");
    let stream = delivery::stream(table, "stream", STREAM_CHARS_MAX, ":stream/");
    let aggregates = [("kpl", Aggregate::Kpl), ("lines", Aggregate::Lines), ("none", Aggregate::None)];
    let aggregate = table.choice("aggregate", &aggregates).unwrap_or(Aggregate::Kpl);
    let record_bytes = table.size("max_record_bytes", JOINED_RECORD_BYTES_MIN..=RECORD_BYTES_LARGEST);
    if let Some(written) = &record_bytes
        && aggregate == Aggregate::None
    {
        table.mistake(&written.place, "`max_record_bytes` is of records of several lines", "take it out, or change `aggregate`");
    }
    let compress = delivery::compress(table);
    if let Some(written) = &compress
        && written.value != Compression::None
        && aggregate == Aggregate::Kpl
    {
        let help = "no reader finds the records in a compressed aggregate: write aggregate = \"lines\" or \"none\" too";
        table.mistake(&written.place, "`compress` cannot be used with aggregates of the KPL", help);
    }
    let partition_key = delivery::partition_key(table, source, names);
    let max_delay = delivery::max_delay(table);
    let request_bytes = table.size("request_bytes", REQUEST_BYTES_MIN..=REQUEST_BYTES_MAX);
    let order = table.choice("order", &[("throughput", Order::Throughput), ("file", Order::File)]);
    Some(Delivery {
        destination: Destination::Kinesis(stream?),
        aggregate,
        record_bytes: record_bytes.map_or(JOINED_RECORD_BYTES_DEFAULT, |written| written.value),
        compress: compress.map_or(Compression::None, |written| written.value),
        partition_key: partition_key.unwrap_or(PartitionKey::Random),
        max_delay,
        request_bytes: request_bytes.map_or(REQUEST_BYTES_DEFAULT, |written| written.value),
        order: order.unwrap_or(Order::Throughput),
    })
}
