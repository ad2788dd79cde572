//! User records into one Kinesis record, byte for byte in the format of the Kinesis Producer Library.
//!
//! Format (aggregation-format.md of amazon-kinesis-producer): the magic `F3 89 9A C2`, a protobuf message
//! `AggregatedRecord`, and the MD5 of that message. All user records of an aggregate share one explicit hash
//! key, which the record itself is sent with: KCL discards an aggregate without a word when one inner hash key
//! lies outside of the shard that it reads, and this way none can, also after a split or a merge.
//!
//! Pure. Which records share an aggregate, and when it is full enough, is the packer's decision.

use std::collections::HashMap;

use md5::{Digest, Md5};

use crate::span::{Span, Spans};

/// The first bytes of every aggregate. They are not valid UTF-8.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// Length of the MD5 at the end.
pub const DIGEST_BYTES: usize = 16;
/// Key of the tag on the first user record that names the spans covered; readers ignore tags.
pub const SPANS_TAG: &str = "kinetail";

// Protobuf field headers: field number << 3 | wire type.
const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
const EXPLICIT_HASH_KEY_TABLE: u8 = 2 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const RECORD_PARTITION_KEY_INDEX: u8 = 1 << 3;
const RECORD_EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
const RECORD_DATA: u8 = 3 << 3 | 2;
const RECORD_TAGS: u8 = 4 << 3 | 2;
const TAG_KEY: u8 = 1 << 3 | 2;
const TAG_VALUE: u8 = 2 << 3 | 2;

/// One aggregate while it fills.
#[derive(Debug)]
pub struct Aggregate {
    hash_key: u128,
    /// `hash_key`, decimal.
    explicit_hash_key: String,
    /// Index in the table by partition key.
    key_indexes: HashMap<String, u64>,
    /// The partition key table, encoded.
    key_table: Vec<u8>,
    /// The first record without its field header, which is only known when its tag is.
    first: Vec<u8>,
    /// The further records, encoded.
    rest: Vec<u8>,
    spans: Spans,
    user_record_count: u32,
}

/// An aggregate whose bytes are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The data of the Kinesis record.
    pub data: Vec<u8>,
    /// The explicit hash key that the record must be sent with.
    pub explicit_hash_key: u128,
    /// The bytes of files that its user records are made of.
    pub spans: Spans,
    /// How many user records are in it; at least one.
    pub user_record_count: u32,
}

impl Aggregate {
    /// An empty aggregate that goes to the shard in whose range `explicit_hash_key` lies.
    pub fn new(explicit_hash_key: u128) -> Self {
        Self {
            hash_key: explicit_hash_key,
            explicit_hash_key: explicit_hash_key.to_string(),
            key_indexes: HashMap::new(),
            key_table: Vec::new(),
            first: Vec::new(),
            rest: Vec::new(),
            spans: Spans::default(),
            user_record_count: 0,
        }
    }

    /// True when no user record is in it.
    pub fn is_empty(&self) -> bool {
        self.user_record_count == 0
    }

    /// Adds a user record unless the data of the Kinesis record could then be longer than `bytes_max`; then
    /// nothing changes and the answer is false. A record that is the first is always taken.
    pub fn try_push(&mut self, partition_key: &str, data: &[u8], span: Span, bytes_max: usize) -> bool {
        let known_index = self.key_indexes.get(partition_key).copied();
        let index = known_index.unwrap_or(self.key_indexes.len() as u64);
        let new_key_byte_count = if known_index.is_some() { 0 } else { field_byte_count(partition_key.len()) };
        let body_byte_count = 1 + varint_byte_count(index) + 2 + field_byte_count(data.len());
        if !self.is_empty() {
            let record_byte_count = field_byte_count(body_byte_count);
            let span_byte_count = crate::span::SPAN_TAG_BYTES_MAX;
            if self.byte_count_max() + new_key_byte_count + record_byte_count + span_byte_count > bytes_max {
                return false;
            }
        }
        if known_index.is_none() {
            put_bytes_field(&mut self.key_table, PARTITION_KEY_TABLE, partition_key.as_bytes());
            self.key_indexes.insert(partition_key.to_owned(), index);
        }
        let into = if self.is_empty() {
            &mut self.first
        } else {
            put_header(&mut self.rest, RECORDS, body_byte_count);
            &mut self.rest
        };
        into.push(RECORD_PARTITION_KEY_INDEX);
        put_varint(into, index);
        into.extend([RECORD_EXPLICIT_HASH_KEY_INDEX, 0]);
        put_bytes_field(into, RECORD_DATA, data);
        self.spans.push(span);
        self.user_record_count += 1;
        true
    }

    /// No more than this many bytes would the data be, finished now.
    pub fn byte_count_max(&self) -> usize {
        let tag_byte_count =
            field_byte_count(field_byte_count(SPANS_TAG.len()) + field_byte_count(self.spans.tag_byte_count_max()));
        let first_byte_count = field_byte_count(self.first.len() + tag_byte_count);
        MAGIC.len()
            + self.key_table.len()
            + field_byte_count(self.explicit_hash_key.len())
            + first_byte_count
            + self.rest.len()
            + DIGEST_BYTES
    }

    /// The final bytes, with the spans in a tag on the first user record.
    ///
    /// # Panics
    /// When it is empty: readers disagree on what an aggregate without records means.
    pub fn finish(self) -> Finished {
        let tag = self.spans.to_tag();
        self.finish_with_tag(Some(&tag))
    }

    fn finish_with_tag(mut self, tag: Option<&str>) -> Finished {
        assert!(!self.is_empty(), "an aggregate holds at least one user record");
        if let Some(tag) = tag {
            let tag_byte_count = field_byte_count(SPANS_TAG.len()) + field_byte_count(tag.len());
            put_header(&mut self.first, RECORD_TAGS, tag_byte_count);
            put_bytes_field(&mut self.first, TAG_KEY, SPANS_TAG.as_bytes());
            put_bytes_field(&mut self.first, TAG_VALUE, tag.as_bytes());
        }
        let mut data = Vec::with_capacity(self.byte_count_max());
        data.extend(MAGIC);
        data.extend(&self.key_table);
        put_bytes_field(&mut data, EXPLICIT_HASH_KEY_TABLE, self.explicit_hash_key.as_bytes());
        put_bytes_field(&mut data, RECORDS, &self.first);
        data.extend(&self.rest);
        let digest = Md5::digest(&data[MAGIC.len()..]);
        data.extend(digest);
        Finished { data, explicit_hash_key: self.hash_key, spans: self.spans, user_record_count: self.user_record_count }
    }
}

fn varint_byte_count(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Bytes of a length-delimited field: header, length, content.
fn field_byte_count(length: usize) -> usize {
    1 + varint_byte_count(length as u64) + length
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_header(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(field);
    put_varint(out, length as u64);
}

fn put_bytes_field(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    put_header(out, field, content.len());
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::span::FileKey;

    fn span(start: u64, end: u64) -> Span {
        Span::new(FileKey(7), start, end)
    }

    /// The vectors whose user records share one explicit hash key come out byte for byte: one made by the real
    /// KPL, one by the Java aggregator, and one on which the de-aggregators of `PyPI` and npm agree with KCL.
    #[test]
    fn the_bytes_are_those_of_the_kpl() {
        let vectors = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kpl_vectors.json")).unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&vectors).unwrap();
        for name in ["kpl_generated_ka_rec", "abc_alphabet_100", "uniform_ehk_3"] {
            let vector = vectors.as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap();
            let records = vector["records"].as_array().unwrap();
            let mut aggregate = Aggregate::new(records[0]["ehk"].as_str().unwrap().parse().unwrap());
            for record in records {
                let data = BASE64.decode(record["data_b64"].as_str().unwrap()).unwrap();
                assert!(aggregate.try_push(record["pk"].as_str().unwrap(), &data, span(0, 1), usize::MAX));
            }
            assert_eq!(BASE64.encode(aggregate.finish_with_tag(None).data), vector["base64"].as_str().unwrap(), "{name}");
        }
    }

    #[test]
    fn a_partition_key_stands_in_the_table_once() {
        let mut aggregate = Aggregate::new(0);
        for index in 0..300 {
            assert!(aggregate.try_push("shared", b"x", span(index, index + 1), usize::MAX));
        }
        let finished = aggregate.finish();
        assert_eq!(finished.data.windows(6).filter(|window| window == b"shared").count(), 1);
        assert_eq!(finished.user_record_count, 300);
        assert_eq!(finished.spans.iter().collect::<Vec<_>>(), [span(0, 300)]);
    }

    #[test]
    fn what_does_not_fit_is_given_back_and_what_fits_never_passes_the_limit() {
        for gap in [0, 3] {
            let mut aggregate = Aggregate::new(u128::MAX);
            let mut offset = 0;
            let mut accepted = 0;
            while aggregate.try_push(&format!("key {}", accepted % 7), &[b'x'; 200], span(offset, offset + 201), 5_000) {
                offset += 201 + gap;
                accepted += 1;
            }
            let finished = aggregate.finish();
            assert_eq!(finished.user_record_count, accepted);
            assert!((4_000..=5_000).contains(&finished.data.len()) || gap > 0, "{} bytes", finished.data.len());
            assert!(finished.data.len() <= 5_000, "{} bytes", finished.data.len());
        }
    }

    #[test]
    fn a_first_record_is_taken_whatever_its_size() {
        let mut aggregate = Aggregate::new(1);
        assert!(aggregate.try_push("k", &[b'x'; 10_000], span(0, 10_001), 100));
        assert!(!aggregate.try_push("k", b"", span(10_001, 10_002), 100));
    }
}
