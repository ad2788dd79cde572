//! Entries into one `PutRecords` or `PutRecordBatch` request, within the limits of the service.
//!
//! Pure. When a request that is not full is sent, is the packer's decision.

use std::fmt;
use std::ops::Deref;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::config::TooLong;
use crate::limits::{REQUEST_MARGIN_BYTES, REQUEST_RECORDS_MAX};
use crate::span::Spans;

/// One Kinesis record. Its bytes are final: a retry sends the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Partition key, 1 to 256 characters.
    pub partition_key: Key,
    /// Where among the hash keys it goes: its explicit hash key, else the MD5 of the partition key.
    pub hash_key: u128,
    /// It is sent with `hash_key` as its explicit hash key.
    pub is_hash_key_explicit: bool,
    /// Data.
    pub data: Bytes,
    /// The bytes of files that it is made of.
    pub spans: Spans,
    /// How many user records are in it.
    pub user_record_count: u32,
    /// Its partition key is a [delivery token](crate::delivery_token): no other record has the same.
    pub is_token: bool,
    /// Since when it may be stored without anybody knowing: the first time that it was sent; none when it surely is not.
    pub in_flight_since: Option<Instant>,
    /// What is done with it when the service finds it too large by itself. Only where the data are the first bytes of its one
    /// span, as they are in the file; any other record is dropped.
    pub too_long: Option<TooLong>,
}

impl Entry {
    /// What it counts towards the limits of a record and a request.
    pub fn byte_count(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// A partition key. Those that name one span, of which there may be one for each line, need no memory of their own.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(SmallVec<[u8; KEY_BYTES_INLINE]>);

/// As many as the name of one span usually takes, which is some 85.
const KEY_BYTES_INLINE: usize = 96;

impl Key {
    /// Of a text in UTF-8.
    pub(crate) fn of_utf_8(text: &[u8]) -> Self {
        debug_assert!(str::from_utf8(text).is_ok());
        Self(SmallVec::from_slice(text))
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::of_utf_8(text.as_bytes())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(SmallVec::from_vec(text.into_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// The entries of one request, in order; their number and bytes are within the limits.
#[derive(Debug)]
pub struct Collector {
    bytes_max: usize,
    entries: Vec<Entry>,
    byte_count: usize,
    /// As many as the last request had: there is room for these when the first comes, not while there is none.
    expected_count: usize,
}

impl Collector {
    /// An empty request of at most `request_bytes`, partition keys included, less the margin of [`REQUEST_MARGIN_BYTES`].
    pub fn new(request_bytes: usize) -> Self {
        Self::with_room(request_bytes - REQUEST_MARGIN_BYTES)
    }

    /// An empty request for entries of at most `bytes_max` together.
    pub fn with_room(bytes_max: usize) -> Self {
        Self { bytes_max, entries: Vec::new(), byte_count: 0, expected_count: 0 }
    }

    /// Adds `entry`, or gives it back when the request has no room for it. An empty request takes any entry.
    #[expect(clippy::result_large_err, reason = "the entry comes back as it is")]
    pub fn try_push(&mut self, entry: Entry) -> Result<(), Entry> {
        if !self.has_room_for(1, entry.byte_count()) && !self.entries.is_empty() {
            return Err(entry);
        }
        self.byte_count += entry.byte_count();
        self.make_room();
        self.entries.push(entry);
        Ok(())
    }

    /// Moves entries behind those of the request, in their order, as many as it has room for, an empty one at least one. True when
    /// none is left.
    pub fn try_append(&mut self, entries: &mut Vec<Entry>) -> bool {
        let mut fitting_count = 0;
        for entry in &*entries {
            let record_count = self.entries.len() + fitting_count;
            let has_room = record_count < REQUEST_RECORDS_MAX && self.byte_count + entry.byte_count() <= self.bytes_max;
            if !has_room && record_count > 0 {
                break;
            }
            self.byte_count += entry.byte_count();
            fitting_count += 1;
        }
        if fitting_count > 0 {
            self.make_room();
        }
        self.entries.extend(entries.drain(..fitting_count));
        entries.is_empty()
    }

    fn make_room(&mut self) {
        if self.entries.is_empty() {
            self.entries.reserve(self.expected_count);
        }
    }

    /// Whether so many more entries, of so many bytes together, have room too.
    pub fn has_room_for(&self, record_count: usize, byte_count: usize) -> bool {
        self.entries.len() + record_count <= REQUEST_RECORDS_MAX && self.byte_count + byte_count <= self.bytes_max
    }

    /// The entries so far; the request is empty afterwards.
    pub fn take(&mut self) -> Vec<Entry> {
        (self.byte_count, self.expected_count) = (0, self.entries.len());
        std::mem::take(&mut self.entries)
    }

    /// How many bytes the entries so far have.
    pub fn byte_count(&self) -> usize {
        self.byte_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MIB, REQUEST_BYTES_DEFAULT};

    fn entry(bytes: usize) -> Entry {
        Entry {
            partition_key: "k".into(),
            hash_key: 0,
            is_hash_key_explicit: false,
            data: vec![0; bytes - 1].into(),
            spans: Spans::default(),
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long: None,
        }
    }

    fn count_that_fit(entry_bytes: usize) -> usize {
        let mut collector = Collector::new(REQUEST_BYTES_DEFAULT);
        let mut count = 0;
        while collector.try_push(entry(entry_bytes)).is_ok() {
            count += 1;
        }
        assert_eq!(collector.take().len(), count);
        assert!(collector.take().is_empty());
        count
    }

    #[test]
    fn a_request_has_500_records_or_5_mib_less_the_margin() {
        assert_eq!(count_that_fit(1), 500);
        assert_eq!(count_that_fit(MIB), 4);
        assert_eq!(count_that_fit(49_900), (REQUEST_BYTES_DEFAULT - REQUEST_MARGIN_BYTES) / 49_900);
    }

    #[test]
    fn of_many_entries_as_many_are_taken_as_fit() {
        for sizes in
            [vec![1; 1_200], vec![MIB; 9], vec![REQUEST_BYTES_DEFAULT, 2, REQUEST_BYTES_DEFAULT], vec![], vec![49_900; 150]]
        {
            let (mut one_by_one, mut at_once) = (Collector::new(REQUEST_BYTES_DEFAULT), Collector::new(REQUEST_BYTES_DEFAULT));
            let (mut expected, mut requests) = (Vec::new(), Vec::new());
            for size in &sizes {
                if let Err(back) = one_by_one.try_push(entry(*size)) {
                    expected.push(one_by_one.take());
                    one_by_one.try_push(back).unwrap();
                }
            }
            for some in sizes.chunks(70) {
                let mut some: Vec<Entry> = some.iter().map(|size| entry(*size)).collect();
                while !at_once.try_append(&mut some) {
                    requests.push(at_once.take());
                }
            }
            expected.push(one_by_one.take());
            requests.push(at_once.take());
            assert_eq!(requests, expected);
        }
    }

    #[test]
    fn an_entry_that_does_not_fit_comes_back_unchanged() {
        let mut collector = Collector::new(MIB);
        collector.try_push(entry(MIB / 2)).unwrap();
        assert_eq!(collector.try_push(entry(MIB / 2)), Err(entry(MIB / 2)));
    }
}
