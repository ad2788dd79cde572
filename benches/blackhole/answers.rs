//! What the services answer, in JSON and in CBOR, made of prepared pieces.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use super::records::Found;

/// The answers about one stream.
pub(super) struct Answers {
    shard_count: u32,
    shards: [Bytes; 2],
    summary: [Bytes; 2],
    /// Sequence numbers and IDs differ in their last digits.
    counter: AtomicU64,
}

/// As long as those of the service.
const SEQUENCE_NUMBER: &str = "49658123456789012345678901234567890100000000000000000000";
const RECORD_ID: &str = "3FZ1qGv2Xc8mRt5Yw7Kp9Ln4Bs6Hd0JfQaEuTzVxNgCiMoWrSyPbDkLhUjIeOvAtZfXgRcNmQsBwEyKpTdLuHiGoJxFaVzCrMnSbYqWkPeDtUlHjIgOvAsZfXhRcNkQmBwEyKpTdLuHiGoJxFaVzCrMnSbYqWkPeDtUlHjIgOvAsZfXhRcNkQmBwEyKpTdLuHiGoJxFaVz00000000000000000000";
/// Zeros at the end of both.
const COUNTER_DIGITS: usize = 20;

impl Answers {
    pub(super) fn new(shard_count: u32) -> Self {
        let both = |value: &Value| [value.to_string().into(), cbor_of(value).into()];
        Self {
            shard_count,
            shards: both(&json!({ "Shards": (0..shard_count).map(|index| shard(index, shard_count)).collect::<Vec<_>>() })),
            summary: both(&summary(shard_count)),
            counter: AtomicU64::new(0),
        }
    }

    pub(super) fn shards(&self, is_cbor: bool) -> Bytes {
        self.shards[usize::from(is_cbor)].clone()
    }

    pub(super) fn summary(&self, is_cbor: bool) -> Bytes {
        self.summary[usize::from(is_cbor)].clone()
    }

    /// Each of `found` has a sequence number and the shard of its hash key; without keys all have the first shard.
    pub(super) fn put_records(&self, found: &Found, is_cbor: bool) -> Bytes {
        let mut out = Vec::with_capacity(128 + 128 * usize::try_from(found.count).unwrap());
        let counter = self.counter.fetch_add(found.count, Ordering::Relaxed);
        if is_cbor {
            out.push(0xa2);
            put_text(&mut out, "FailedRecordCount");
            out.push(0);
            put_text(&mut out, "Records");
            put_head(&mut out, 4, found.count);
        } else {
            out.extend(br#"{"FailedRecordCount":0,"Records":["#);
        }
        for index in 0..found.count {
            let hash_key = found.hash_keys.get(usize::try_from(index).unwrap());
            let shard = hash_key.map_or(0, |hash_key| shard_of(*hash_key, self.shard_count));
            if is_cbor {
                out.push(0xa2);
                put_text(&mut out, "SequenceNumber");
                put_head(&mut out, 3, SEQUENCE_NUMBER.len() as u64);
                put_counted(&mut out, SEQUENCE_NUMBER, counter + index);
                put_text(&mut out, "ShardId");
                put_head(&mut out, 3, 20);
                put_shard_id(&mut out, shard);
            } else {
                out.extend(if index == 0 { &b"{\"SequenceNumber\":\""[..] } else { b",{\"SequenceNumber\":\"" });
                put_counted(&mut out, SEQUENCE_NUMBER, counter + index);
                out.extend(b"\",\"ShardId\":\"");
                put_shard_id(&mut out, shard);
                out.extend(b"\"}");
            }
        }
        if !is_cbor {
            out.extend(b"]}");
        }
        out.into()
    }

    /// Of Firehose, which speaks JSON alone.
    pub(super) fn put_record_batch(&self, found: &Found) -> Bytes {
        let mut out = br#"{"FailedPutCount":0,"Encrypted":false,"RequestResponses":["#.to_vec();
        let counter = self.counter.fetch_add(found.count, Ordering::Relaxed);
        for index in 0..found.count {
            out.extend(if index == 0 { &b"{\"RecordId\":\""[..] } else { b",{\"RecordId\":\"" });
            put_counted(&mut out, RECORD_ID, counter + index);
            out.extend(b"\"}");
        }
        out.extend(b"]}");
        out.into()
    }
}

fn width(shard_count: u32) -> u128 {
    u128::MAX / u128::from(shard_count)
}

fn shard_of(hash_key: u128, shard_count: u32) -> u32 {
    u32::try_from(hash_key / width(shard_count)).unwrap_or(u32::MAX).min(shard_count - 1)
}

fn shard(index: u32, count: u32) -> Value {
    let start = u128::from(index) * width(count);
    let end = if index + 1 == count { u128::MAX } else { start + width(count) - 1 };
    json!({
        "ShardId": format!("shardId-{index:012}"),
        "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
        "SequenceNumberRange": { "StartingSequenceNumber": SEQUENCE_NUMBER },
    })
}

fn summary(shard_count: u32) -> Value {
    json!({ "StreamDescriptionSummary": {
        "StreamName": "bench",
        "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/bench",
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 1_700_000_000,
        "EnhancedMonitoring": [],
        "OpenShardCount": shard_count,
    } })
}

fn put_counted(out: &mut Vec<u8>, text: &str, counter: u64) {
    out.extend(text.as_bytes());
    put_digits(out, counter, COUNTER_DIGITS);
}

fn put_shard_id(out: &mut Vec<u8>, shard: u32) {
    out.extend(b"shardId-000000000000");
    put_digits(out, u64::from(shard), 12);
}

/// Over the last bytes of `out`.
fn put_digits(out: &mut [u8], mut number: u64, digits: usize) {
    for digit in out.iter_mut().rev().take(digits) {
        if number == 0 {
            break;
        }
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

fn cbor_of(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_value(&mut out, value);
    out
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Number(number) => put_head(out, 0, number.as_u64().unwrap()),
        Value::String(text) => put_text(out, text),
        Value::Array(items) => {
            put_head(out, 4, items.len() as u64);
            items.iter().for_each(|item| put_value(out, item));
        }
        Value::Object(members) => {
            put_head(out, 5, members.len() as u64);
            for (name, value) in members {
                put_text(out, name);
                put_value(out, value);
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let (low, length) = match value {
        0..24 => (bytes[7], 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | low);
    out.extend(&bytes[8 - length..]);
}
