//! Entries into one `PutRecords` or `PutRecordBatch` request, within the limits of the service.
//!
//! Pure. When a request that is not full is sent, is the packer's decision.

use std::time::Instant;

use bytes::Bytes;

use crate::config::TooLong;
use crate::limits::{REQUEST_MARGIN_BYTES, REQUEST_RECORDS_MAX};
use crate::span::Spans;

/// One Kinesis record. Its bytes are final: a retry sends the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Partition key, 1 to 256 characters.
    pub partition_key: String,
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

/// The entries of one request, in order; their number and bytes are within the limits.
#[derive(Debug)]
pub struct Collector {
    bytes_max: usize,
    entries: Vec<Entry>,
    byte_count: usize,
}

impl Collector {
    /// An empty request of at most `request_bytes`, partition keys included, less the margin of [`REQUEST_MARGIN_BYTES`].
    pub fn new(request_bytes: usize) -> Self {
        Self::with_room(request_bytes - REQUEST_MARGIN_BYTES)
    }

    /// An empty request for entries of at most `bytes_max` together.
    pub fn with_room(bytes_max: usize) -> Self {
        Self { bytes_max, entries: Vec::new(), byte_count: 0 }
    }

    /// Adds `entry`, or gives it back when the request has no room for it. An empty request takes any entry.
    #[expect(clippy::result_large_err, reason = "the entry comes back as it is")]
    pub fn try_push(&mut self, entry: Entry) -> Result<(), Entry> {
        let fits = self.entries.len() < REQUEST_RECORDS_MAX && self.byte_count + entry.byte_count() <= self.bytes_max;
        if !fits && !self.entries.is_empty() {
            return Err(entry);
        }
        self.byte_count += entry.byte_count();
        self.entries.push(entry);
        Ok(())
    }

    /// The entries so far; the request is empty afterwards.
    pub fn take(&mut self) -> Vec<Entry> {
        self.byte_count = 0;
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
            partition_key: "k".to_owned(),
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
    fn an_entry_that_does_not_fit_comes_back_unchanged() {
        let mut collector = Collector::new(MIB);
        collector.try_push(entry(MIB / 2)).unwrap();
        assert_eq!(collector.try_push(entry(MIB / 2)), Err(entry(MIB / 2)));
    }
}
