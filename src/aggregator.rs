//! User records into one Kinesis record, byte for byte in the format of the Kinesis Producer Library.
//!
//! Format (aggregation-format.md of amazon-kinesis-producer): the magic `F3 89 9A C2`, a protobuf message
//! `AggregatedRecord`, and the MD5 of that message. All user records of an aggregate share one explicit hash
//! key, which the record itself is sent with: KCL discards an aggregate without a word when one inner hash key
//! lies outside of the shard that it reads, and this way none can, also after a split or a merge.
//!
//! The records are written where they stay. What stands in front of the second is known only at the end: the keys, and the spans in
//! the tag of the first. A gap is left for it, in which it is written so that it ends where the second begins.
//!
//! Pure. Which records share an aggregate, and when it is full enough, is the packer's decision.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use bytes::{Buf as _, BufMut, Bytes};

use crate::digest::{Digest, digests};
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
#[derive(Debug, Default)]
pub struct Aggregate {
    hash_key: u128,
    /// `hash_key`, decimal.
    explicit_hash_key: String,
    /// The partition key table, encoded.
    key_table: Vec<u8>,
    key_count: u64,
    /// Index in the table by partition key, as soon as there are two.
    key_indexes: HashMap<Box<[u8]>, u64>,
    /// Where in the table the newest key stands, and its index: most aggregates have no other.
    last_key: (Range<usize>, u64),
    /// The first record without its field header, which is only known when its tag is.
    first: Vec<u8>,
    /// A gap for what stands in front of them, and the further records, encoded.
    buffer: Vec<u8>,
    gap_byte_count: usize,
    spans: Spans,
    user_record_count: u32,
}

/// An aggregate whose bytes are final but for the digest.
#[derive(Debug)]
pub struct Undigested {
    buffer: Vec<u8>,
    /// Where in the buffer it begins.
    start: usize,
}

/// An aggregate whose bytes are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The data of the Kinesis record.
    pub data: Bytes,
    /// The explicit hash key that the record must be sent with.
    pub explicit_hash_key: u128,
    /// The bytes of files that its user records are made of.
    pub spans: Spans,
    /// How many user records are in it; at least one.
    pub user_record_count: u32,
}

/// Spans for whose tag there is room in the gap.
const SPANS_IN_GAP: usize = 4;
/// Room for a first record that is kept for the next aggregate.
const FIRST_BYTES_KEPT: usize = 16 * 1024;

impl Undigested {
    /// What is digested.
    pub fn message(&self) -> &[u8] {
        &self.buffer[self.start + MAGIC.len()..self.buffer.len() - DIGEST_BYTES]
    }

    /// How long the data are.
    pub fn byte_count(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The data of the Kinesis record.
    pub fn with(mut self, digest: Digest) -> Bytes {
        if let Some(place) = self.buffer.last_chunk_mut() {
            *place = digest;
        }
        // Room for an aggregate that has become much smaller is given back: this may wait long.
        if self.buffer.capacity() - self.buffer.len() > self.buffer.len() / 4 {
            self.buffer.shrink_to_fit();
        }
        let mut data = Bytes::from(self.buffer);
        data.advance(self.start);
        data
    }
}

impl Aggregate {
    /// An empty aggregate that goes to the shard in whose range `explicit_hash_key` lies.
    pub fn new(explicit_hash_key: u128) -> Self {
        let mut new = Self::default();
        new.begin(explicit_hash_key, 0);
        new
    }

    /// Begins anew, as [`Aggregate::new`] does, in the memory that it has, with room for so many bytes.
    pub fn begin(&mut self, explicit_hash_key: u128, expected_bytes: usize) {
        self.hash_key = explicit_hash_key;
        self.explicit_hash_key.clear();
        // A text takes anything.
        let _ = fmt::Write::write_fmt(&mut self.explicit_hash_key, format_args!("{explicit_hash_key}"));
        self.key_table.clear();
        (self.key_count, self.last_key) = (0, (0..0, 0));
        self.key_indexes.clear();
        self.first.clear();
        self.first.shrink_to(FIRST_BYTES_KEPT);
        self.buffer = Vec::with_capacity(expected_bytes);
        (self.gap_byte_count, self.spans, self.user_record_count) = (0, Spans::default(), 0);
    }

    /// True when no user record is in it.
    pub fn is_empty(&self) -> bool {
        self.user_record_count == 0
    }

    /// Adds a user record unless the data of the Kinesis record could then be longer than `bytes_max`; then
    /// nothing changes and the answer is false. A record that is the first is always taken.
    pub fn try_push(&mut self, partition_key: &str, data: &[u8], span: Span, bytes_max: usize) -> bool {
        let known_index = self.index_of(partition_key.as_bytes());
        let index = known_index.unwrap_or(self.key_count);
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
            self.add_key(partition_key.as_bytes());
        }
        self.spans.push(span);
        if self.is_empty() {
            put_body(&mut self.first, index, data);
            self.gap_byte_count = self.head_byte_count(tag_byte_count(SPANS_IN_GAP * crate::span::SPAN_TAG_BYTES_MAX));
            self.buffer.resize(self.gap_byte_count, 0);
        } else {
            put_header(&mut self.buffer, RECORDS, body_byte_count);
            put_body(&mut self.buffer, index, data);
        }
        self.user_record_count += 1;
        true
    }

    /// Where in the table a key stands.
    fn index_of(&self, key: &[u8]) -> Option<u64> {
        let (place, index) = &self.last_key;
        if self.key_count > 0 && self.key_table[place.clone()] == *key {
            return Some(*index);
        }
        self.key_indexes.get(key).copied()
    }

    fn add_key(&mut self, key: &[u8]) {
        if self.key_count == 1 {
            // Until now it was the newest.
            self.key_indexes.insert(self.key_table[self.last_key.0.clone()].into(), 0);
        }
        let index = self.key_count;
        put_bytes_field(&mut self.key_table, PARTITION_KEY_TABLE, key);
        let end = self.key_table.len();
        self.last_key = (end - key.len()..end, index);
        if index > 0 {
            self.key_indexes.insert(key.into(), index);
        }
        self.key_count += 1;
    }

    /// The newest span ended in this line.
    pub fn set_last_line(&mut self, span: &Span, line: &[u8]) {
        self.spans.set_last_line(span, line);
    }

    /// No more than this many bytes would the data be, finished now.
    pub fn byte_count_max(&self) -> usize {
        let rest_byte_count = self.buffer.len() - self.gap_byte_count;
        self.head_byte_count(tag_byte_count(self.spans.tag_byte_count_max())) + rest_byte_count + DIGEST_BYTES
    }

    /// Bytes up to the second record, where the first still gets so many.
    fn head_byte_count(&self, more: usize) -> usize {
        let first_byte_count = field_byte_count(self.first.len() + more);
        MAGIC.len() + self.key_table.len() + field_byte_count(self.explicit_hash_key.len()) + first_byte_count
    }

    /// The final bytes, with the spans in a tag on the first user record.
    ///
    /// # Panics
    /// When it is empty: readers disagree on what an aggregate without records means.
    pub fn finish(mut self) -> Finished {
        self.put_tag();
        self.finish_without_tag()
    }

    /// Ends it, as [`Aggregate::finish`] does, but for the digest; and how many user records are in it. It has to be
    /// [begun](Aggregate::begin) before it is used again.
    ///
    /// # Panics
    /// When it is empty.
    pub fn take(&mut self) -> (Undigested, Spans, u32) {
        self.put_tag();
        self.take_without_tag()
    }

    fn finish_without_tag(mut self) -> Finished {
        let (undigested, spans, user_record_count) = self.take_without_tag();
        let mut digest = Vec::new();
        digests(&[undigested.message()], &mut digest);
        let data = undigested.with(digest[0]);
        Finished { data, explicit_hash_key: self.hash_key, spans, user_record_count }
    }

    fn put_tag(&mut self) {
        let tag_bytes = self.spans.tag_byte_count();
        put_header(&mut self.first, RECORD_TAGS, field_byte_count(SPANS_TAG.len()) + field_byte_count(tag_bytes));
        put_bytes_field(&mut self.first, TAG_KEY, SPANS_TAG.as_bytes());
        put_header(&mut self.first, TAG_VALUE, tag_bytes);
        self.spans.write_tag(&mut self.first);
    }

    fn take_without_tag(&mut self) -> (Undigested, Spans, u32) {
        assert!(!self.is_empty(), "an aggregate holds at least one user record");
        let head_byte_count = self.head_byte_count(0);
        let mut buffer = std::mem::take(&mut self.buffer);
        let start = if let Some(start) = self.gap_byte_count.checked_sub(head_byte_count) {
            self.put_head(&mut &mut buffer[start..self.gap_byte_count]);
            start
        } else {
            let rest = &buffer[self.gap_byte_count..];
            let mut whole = Vec::with_capacity(head_byte_count + rest.len() + DIGEST_BYTES);
            self.put_head(&mut whole);
            whole.extend_from_slice(rest);
            buffer = whole;
            0
        };
        buffer.extend_from_slice(&[0; DIGEST_BYTES]);
        (Undigested { buffer, start }, std::mem::take(&mut self.spans), std::mem::take(&mut self.user_record_count))
    }

    /// Writes what stands in front of the second record.
    fn put_head(&self, out: &mut impl BufMut) {
        out.put_slice(&MAGIC);
        out.put_slice(&self.key_table);
        put_bytes_field(out, EXPLICIT_HASH_KEY_TABLE, self.explicit_hash_key.as_bytes());
        put_bytes_field(out, RECORDS, &self.first);
    }
}

/// Bytes of the field of a tag with so many of spans.
fn tag_byte_count(spans_bytes: usize) -> usize {
    field_byte_count(field_byte_count(SPANS_TAG.len()) + field_byte_count(spans_bytes))
}

fn varint_byte_count(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Bytes of a length-delimited field: header, length, content.
fn field_byte_count(length: usize) -> usize {
    1 + varint_byte_count(length as u64) + length
}

fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

fn put_header(out: &mut impl BufMut, field: u8, length: usize) {
    out.put_u8(field);
    put_varint(out, length as u64);
}

fn put_bytes_field(out: &mut impl BufMut, field: u8, content: &[u8]) {
    put_header(out, field, content.len());
    out.put_slice(content);
}

/// A user record without its field header.
fn put_body(out: &mut Vec<u8>, key_index: u64, data: &[u8]) {
    out.push(RECORD_PARTITION_KEY_INDEX);
    put_varint(out, key_index);
    out.extend_from_slice(&[RECORD_EXPLICIT_HASH_KEY_INDEX, 0]);
    put_bytes_field(out, RECORD_DATA, data);
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::deaggregator::{Deaggregated, deaggregate};
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
            assert_eq!(BASE64.encode(aggregate.finish_without_tag().data), vector["base64"].as_str().unwrap(), "{name}");
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

    /// Whatever stands in front of the second record, and however much of it there is: in the gap or not, and in memory that was
    /// used before.
    #[test]
    fn a_reader_finds_all_keys_and_spans_of_an_aggregate() {
        let mut aggregate = Aggregate::default();
        for (key_count, span_count) in [(1, 1), (1, 4), (1, 100), (2, 1), (3, 3), (300, 1), (300, 300), (1, 1)] {
            aggregate.begin(5, 1_000);
            // The first are not neighbours.
            let gap = |number| u64::from(number < span_count);
            let spans: Vec<Span> = (0..300).map(|number| span(number * 10 + gap(number), number * 10 + 10)).collect();
            for (number, span) in spans.iter().enumerate() {
                let key = format!("key {}", number as u64 % key_count);
                assert!(aggregate.try_push(&key, &[b'x'; 50], *span, usize::MAX));
            }
            let most = aggregate.byte_count_max();
            let (undigested, spans_out, user_record_count) = aggregate.take();
            assert_eq!(undigested.byte_count(), undigested.message().len() + MAGIC.len() + DIGEST_BYTES);
            let mut digest = Vec::new();
            digests(&[undigested.message()], &mut digest);
            let data = undigested.with(digest[0]);
            assert!(data.len() <= most && user_record_count == 300);
            assert_eq!(spans_out, spans.into_iter().collect());
            let Deaggregated::Records(records) = deaggregate(&data, None) else { panic!("a reader loses {key_count}") };
            assert_eq!(records.len(), 300);
            for (number, record) in records.iter().enumerate() {
                assert_eq!(
                    (&*record.partition_key, record.data),
                    (&*format!("key {}", number as u64 % key_count), &[b'x'; 50][..])
                );
            }
        }
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
