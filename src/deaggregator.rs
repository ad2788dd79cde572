//! What a reader of the stream makes of a record: the user records of an aggregate, or the record as it is.
//!
//! Decides exactly as the Kinesis Client Library 3.5 does, because that is the reader that kinetail's
//! aggregates must survive, with one difference: where the library loses records without a word, the result
//! here says so. How the bytes of an aggregate are laid out is the business of `message`; whoever reads the
//! stream counts and reports.

mod message;

use std::borrow::Cow;

use md5::{Digest as _, Md5};

use crate::aggregator::{DIGEST_BYTES, MAGIC};
use crate::hash_key::{HashRange, hash_of};
use message::{Entry, Message};

/// One record as its producer put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its partition key; bytes that are not UTF-8 are replaced, as Java does.
    pub partition_key: Cow<'a, str>,
    /// Its explicit hash key, if it has one.
    pub explicit_hash_key: Option<Cow<'a, str>>,
    /// What was to be carried.
    pub data: &'a [u8],
    /// Keys and values that the client library passes over.
    pub tags: Vec<Tag<'a>>,
}

/// A note on a user record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// What it is about.
    pub key: Cow<'a, str>,
    /// What it says.
    pub value: Option<Cow<'a, str>>,
}

/// What a reader gets out of a Kinesis record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deaggregated<'a> {
    /// Not an aggregate: the record itself, with its own partition key, is the one user record.
    Raw,
    /// An aggregate of these, in this order.
    Records(Vec<UserRecord<'a>>),
    /// An aggregate in which a user record belongs to another shard: the client library drops all of it, silently.
    Dropped {
        /// How many user records are lost.
        record_count: usize,
    },
    /// An aggregate with a user record that cannot be understood: the client library gives out those before it.
    Malformed {
        /// Those before it.
        readable: Vec<UserRecord<'a>>,
        /// How many are lost: it and all behind it.
        lost_count: usize,
    },
}

/// Takes the data of a Kinesis record apart, as a reader of `shard` does; without one, nothing is out of range.
pub fn deaggregate(data: &[u8], shard: Option<HashRange>) -> Deaggregated<'_> {
    let Some(message) = message_of(data) else { return Deaggregated::Raw };
    let shard = shard.unwrap_or(HashRange::ALL);
    let record_count = message.entries.len();
    let mut records = Vec::with_capacity(record_count);
    for entry in &message.entries {
        let Some((record, hash_key)) = user_record(&message, entry) else {
            let lost_count = record_count - records.len();
            return Deaggregated::Malformed { readable: records, lost_count };
        };
        if !matches!(hash_key, HashKey::Of(hash_key) if shard.contains(hash_key)) {
            return Deaggregated::Dropped { record_count };
        }
        records.push(record);
    }
    Deaggregated::Records(records)
}

/// The message of an aggregate; `None` if the bytes are not an aggregate.
fn message_of(data: &[u8]) -> Option<Message<'_>> {
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    // The library takes an empty message for a raw record, whether or not the digest fits.
    if message.is_empty() || Md5::digest(message)[..] != digest[..] {
        return None;
    }
    message::parse(message)
}

/// Where the hash key that a user record claims lies.
enum HashKey {
    Of(u128),
    /// A number that is no hash key, and so in no shard.
    Beyond,
}

/// The user record of an entry; `None` if an index leads nowhere or the explicit hash key is no number.
fn user_record<'a>(message: &Message<'a>, entry: &Entry<'a>) -> Option<(UserRecord<'a>, HashKey)> {
    let partition_key = String::from_utf8_lossy(at(&message.partition_keys, entry.partition_key_index)?);
    let explicit_hash_key = match entry.explicit_hash_key_index {
        Some(index) => Some(String::from_utf8_lossy(at(&message.explicit_hash_keys, index)?)),
        None => None,
    };
    let hash_key = match &explicit_hash_key {
        Some(text) => parse_hash_key(text)?,
        None => HashKey::Of(hash_of(&*partition_key)),
    };
    let tags = entry
        .tags
        .iter()
        .map(|(key, value)| Tag { key: String::from_utf8_lossy(key), value: value.map(String::from_utf8_lossy) });
    Some((UserRecord { partition_key, explicit_hash_key, data: entry.data, tags: tags.collect() }, hash_key))
}

/// The entry of a table, found as Java finds it: by the low 32 bits of the index.
fn at<'a>(table: &[&'a [u8]], index: u64) -> Option<&'a [u8]> {
    usize::try_from(index & u64::from(u32::MAX)).ok().and_then(|index| table.get(index)).copied()
}

/// A decimal number as Java's `BigInteger` reads it; `None` if it is none.
fn parse_hash_key(text: &str) -> Option<HashKey> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match digits.parse() {
        Ok(0) => HashKey::Of(0),
        Ok(hash_key) if !text.starts_with('-') => HashKey::Of(hash_key),
        _ => HashKey::Beyond,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An aggregate of the message.
    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)].concat()
    }

    #[track_caller]
    fn check(message: &[u8], shard: Option<HashRange>, expected: &Deaggregated) {
        assert_eq!(deaggregate(&sealed(message), shard), *expected);
    }

    fn record(partition_key: &'static str, explicit_hash_key: Option<&'static str>, data: &'static str) -> UserRecord<'static> {
        UserRecord {
            partition_key: partition_key.into(),
            explicit_hash_key: explicit_hash_key.map(Into::into),
            data: data.as_bytes(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn one_user_record_of_another_shard_drops_the_whole_aggregate() {
        // Explicit hash keys 5 and 7.
        let message = b"\x0a\x01k\x12\x015\x12\x017\x1a\x07\x08\0\x10\0\x1a\x01A\x1a\x07\x08\0\x10\x01\x1a\x01B";
        let both = Deaggregated::Records(vec![record("k", Some("5"), "A"), record("k", Some("7"), "B")]);
        check(message, Some(HashRange { start: 5, end: 7 }), &both);
        check(message, None, &both);
        check(message, Some(HashRange { start: 5, end: 6 }), &Deaggregated::Dropped { record_count: 2 });
        check(message, Some(HashRange { start: 6, end: 7 }), &Deaggregated::Dropped { record_count: 2 });
    }

    #[test]
    fn without_an_explicit_hash_key_the_partition_key_decides() {
        let message = b"\x0a\x01a\x1a\x05\x08\0\x1a\x01A";
        let hash_key = hash_of("a");
        check(message, Some(HashRange { start: hash_key, end: hash_key }), &Deaggregated::Records(vec![record("a", None, "A")]));
        check(message, Some(HashRange { start: 0, end: hash_key - 1 }), &Deaggregated::Dropped { record_count: 1 });
    }

    #[test]
    fn what_comes_first_decides_between_dropped_and_malformed() {
        let out_of_range = b"\x1a\x07\x08\0\x10\0\x1a\x01A";
        let bad_index = b"\x1a\x05\x08\x09\x1a\x01B";
        let tables = b"\x0a\x01k\x12\x015";
        let shard = Some(HashRange { start: 6, end: 7 });
        check(&[&tables[..], out_of_range, bad_index].concat(), shard, &Deaggregated::Dropped { record_count: 2 });
        let malformed = Deaggregated::Malformed { readable: Vec::new(), lost_count: 2 };
        check(&[&tables[..], bad_index, out_of_range].concat(), shard, &malformed);
    }

    #[test]
    fn explicit_hash_keys_that_are_none() {
        let malformed = Deaggregated::Malformed { readable: Vec::new(), lost_count: 1 };
        let dropped = Deaggregated::Dropped { record_count: 1 };
        for (text, expected) in
            [("x", &malformed), ("", &malformed), ("-", &malformed), ("-1", &dropped), (&"9".repeat(40), &dropped)]
        {
            let length = u8::try_from(text.len()).unwrap();
            let message = [b"\x0a\x01k\x12", &[length][..], text.as_bytes(), b"\x1a\x07\x08\0\x10\0\x1a\x01A"].concat();
            check(&message, None, expected);
        }
    }

    #[test]
    fn a_table_index_counts_modulo_two_to_the_32_as_in_java() {
        let message = b"\x0a\x01k\x1a\x09\x08\x80\x80\x80\x80\x10\x1a\x01A";
        check(message, None, &Deaggregated::Records(vec![record("k", None, "A")]));
    }

    proptest::proptest! {
        #[test]
        fn no_message_is_too_strange(message: Vec<u8>, entries in proptest::collection::vec("[\\x00-\\x22]{0,12}", 0..4)) {
            // As it is, and with something like records in it.
            deaggregate(&sealed(&message), None);
            let fields = entries.iter().map(|entry| [&[0x1A, u8::try_from(entry.len()).unwrap()], entry.as_bytes()].concat());
            let message = [b"\x0a\x01k".to_vec(), fields.collect::<Vec<_>>().concat()].concat();
            if let Deaggregated::Records(records) = deaggregate(&sealed(&message), None) {
                proptest::prop_assert!(records.iter().all(|record| record.partition_key == "k"));
            }
        }
    }
}
