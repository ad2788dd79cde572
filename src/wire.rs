//! What goes over the wire when records are put: the bodies of `PutRecords` and `PutRecordBatch`, and what the answers to them
//! say.
//!
//! Pure. Kinesis takes JSON and CBOR ([`Wire`]), Firehose only JSON; which of them is used is decided by [`choice`]. Bodies are
//! written into buffers of the caller, answers are read without an allocation for each record. How both get to the service and
//! back is left to `aws`, what the results mean to [`outcome`](crate::outcome).

pub mod answer;
mod cbor;
pub mod choice;
mod json;

use std::fmt::{self, Write as _};

/// A format of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// AWS JSON 1.1, where data are in base64.
    Json,
    /// CBOR as the AWS SDK for Java speaks it to Kinesis, where data are as they are: a quarter less to sign, encrypt and send.
    Cbor,
}

impl Wire {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }
}

/// A record of a request to Kinesis.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Data.
    pub data: &'a [u8],
    /// Partition key, any characters.
    pub partition_key: &'a str,
    /// Its explicit hash key, if it has one.
    pub hash_key: Option<u128>,
}

/// Bytes of a record beside data and keys: names and heads of members, and the longest hash key, in either format.
const RECORD_FRAME_BYTES: usize = 128;
/// The same of a request.
const REQUEST_FRAME_BYTES: usize = 128;

/// How long the body of a request with `records` is at most, unless there are characters in its names and keys that JSON has to
/// escape.
pub fn put_records_bytes<'a>(wire: Wire, stream: &str, records: impl Iterator<Item = Record<'a>>) -> usize {
    let of_data = |data: &[u8]| match wire {
        Wire::Json => data.len().div_ceil(3) * 4,
        Wire::Cbor => data.len(),
    };
    let of_records: usize = records.map(|record| of_data(record.data) + record.partition_key.len() + RECORD_FRAME_BYTES).sum();
    REQUEST_FRAME_BYTES + stream.len() + of_records
}

/// Appends the body of a `PutRecords` request to `body`.
pub fn put_records<'a>(wire: Wire, stream: &str, records: impl ExactSizeIterator<Item = Record<'a>>, body: &mut Vec<u8>) {
    match wire {
        Wire::Json => json::put_records(stream, records, body),
        Wire::Cbor => cbor::put_records(stream, records, body),
    }
}

/// The same as [`put_records_bytes`], of a request to Firehose.
pub fn put_record_batch_bytes<'a>(delivery_stream: &str, data: impl Iterator<Item = &'a [u8]>) -> usize {
    let records = data.map(|data| Record { data, partition_key: "", hash_key: None });
    put_records_bytes(Wire::Json, delivery_stream, records)
}

/// Appends the body of a `PutRecordBatch` request to `body`, in JSON.
pub fn put_record_batch<'a>(delivery_stream: &str, data: impl Iterator<Item = &'a [u8]>, body: &mut Vec<u8>) {
    json::put_record_batch(delivery_stream, data, body);
}

/// Appends the digits of `number`.
fn append_digits(number: u128, body: &mut Vec<u8>) {
    struct Appending<'a>(&'a mut Vec<u8>);

    impl fmt::Write for Appending<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }

    // To memory: it does not fail.
    let _ = write!(Appending(body), "{number}");
}

#[cfg(test)]
mod tests;
