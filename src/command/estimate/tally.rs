//! What was seen of a flow, second by second: lines as they were read, and records as they would have been sent.

use crate::collector::Entry;
use crate::config::{Destination, Encryption, Flow};
use crate::deaggregator::{Deaggregated, deaggregate};
use crate::encryption::message::sealed_byte_count_expected;
use crate::limits::{ESTIMATE_KEYS, ESTIMATE_PEAK_SECONDS};

use super::keys::HotKeys;
use super::sums::{Load, Sizes, Spread, firehose_bytes, on_demand_bytes, payload_units, shards_needed};

/// A count and its bytes for each second.
#[derive(Default)]
pub(super) struct Seconds {
    seconds: Vec<(u64, u64)>,
}

impl Seconds {
    /// Adds what has come in the second that begins `second` seconds after the watching began.
    pub(super) fn add(&mut self, second: usize, count: u64, byte_count: u64) {
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, (0, 0));
        }
        let of_second = &mut self.seconds[second];
        *of_second = (of_second.0 + count, of_second.1 + byte_count);
    }

    /// Count and bytes of it all.
    pub(super) fn total(&self) -> (u64, u64) {
        self.seconds.iter().fold((0, 0), |total, second| (total.0 + second.0, total.1 + second.1))
    }

    /// Count and bytes of the newest `width` seconds.
    fn newest(&self, width: usize) -> (u64, u64) {
        self.seconds.iter().rev().take(width).fold((0, 0), |total, second| (total.0 + second.0, total.1 + second.1))
    }

    /// Greatest count and greatest bytes a second over `width` seconds, of a watching of `elapsed` seconds. What came when it
    /// was over, because it was sent on late, belongs to its last second. Never less than the mean.
    pub(super) fn peak(&self, width: usize, elapsed: f64) -> (f64, f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a watching, not negative")]
        let second_count = (elapsed.round() as usize).max(1);
        let mut seconds = vec![(0, 0); second_count];
        for (index, second) in self.seconds.iter().enumerate() {
            let of_second = &mut seconds[index.min(second_count - 1)];
            *of_second = (of_second.0 + second.0, of_second.1 + second.1);
        }
        let width = width.clamp(1, second_count);
        let greatest = |of: fn(&(u64, u64)) -> u64, total: u64| {
            let sums = seconds.windows(width).map(|window| window.iter().map(of).sum::<u64>());
            (sums.max().unwrap_or_default() as f64 / width as f64).max(total as f64 / elapsed)
        };
        let (count, byte_count) = self.total();
        (greatest(|second| second.0, count), greatest(|second| second.1, byte_count))
    }
}

/// How the service counts the bytes of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    /// Without its partition key.
    is_keyless: bool,
    /// As it is when it is encrypted.
    encryption: Option<Encryption>,
}

impl Measure {
    /// Of the records of `flow`.
    pub(super) fn of(flow: &Flow) -> Self {
        let is_keyless = matches!(flow.delivery.destination, Destination::Firehose(_));
        Self { is_keyless, encryption: flow.encryption.clone() }
    }

    fn byte_count(&self, entry: &Entry) -> usize {
        let key_byte_count = if self.is_keyless { 0 } else { entry.partition_key.len() };
        key_byte_count + self.data_byte_count(entry.data.len())
    }

    /// Bytes of what becomes of so many when they are encrypted.
    pub(super) fn data_byte_count(&self, byte_count: usize) -> usize {
        self.encryption
            .as_ref()
            .map_or(byte_count, |encryption| sealed_byte_count_expected(&encryption.kms_key, &encryption.context, byte_count))
    }
}

/// The records that a packer has made.
pub(super) struct Packed {
    /// Records, and their bytes.
    pub(super) seconds: Seconds,
    /// Requests, and the bytes that a delivery stream is charged for.
    pub(super) requests: Seconds,
    pub(super) payload_units: u64,
    /// Bytes that an on-demand stream is charged for.
    pub(super) on_demand_bytes: u64,
    pub(super) spread: Spread,
    measure: Measure,
    shards_so_far: u64,
}

impl Packed {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            seconds: Seconds::default(),
            requests: Seconds::default(),
            payload_units: 0,
            on_demand_bytes: 0,
            spread: Spread::new(),
            measure,
            shards_so_far: 1,
        }
    }

    /// Adds the records of a request that was made in this second.
    pub(super) fn add(&mut self, second: usize, entries: &[Entry]) {
        let mut charged_bytes = 0;
        for entry in entries {
            let byte_count = self.measure.byte_count(entry);
            self.payload_units += payload_units(byte_count);
            self.on_demand_bytes += on_demand_bytes(byte_count);
            charged_bytes += firehose_bytes(byte_count);
            self.spread.add(entry.hash_key, byte_count);
            self.seconds.add(second, 1, byte_count as u64);
        }
        self.requests.add(second, 1, charged_bytes);
    }

    /// How many shards the busiest seconds so far need: never more than it will be in the end.
    pub(super) fn shards_so_far(&mut self) -> u64 {
        let (records, bytes) = self.seconds.newest(ESTIMATE_PEAK_SECONDS);
        let per_second = |count: u64| count as f64 / ESTIMATE_PEAK_SECONDS as f64;
        let (records_in, bytes_in) = (per_second(records), per_second(bytes));
        self.shards_so_far = self.shards_so_far.max(shards_needed(Load { records_in, bytes_in, bytes_out: bytes_in }));
        self.shards_so_far
    }

    /// Records and bytes a second at their greatest, over [`ESTIMATE_PEAK_SECONDS`].
    pub(super) fn peak(&self, elapsed: f64) -> (f64, f64) {
        self.seconds.peak(ESTIMATE_PEAK_SECONDS, elapsed)
    }
}

/// The user records, by the size of their data and by their partition keys.
pub(super) struct UserRecords {
    pub(super) sizes: Sizes,
    pub(super) keys: HotKeys,
    /// With this begin keys that a packer has drawn.
    drawn_prefix: String,
}

impl UserRecords {
    /// Of a packer whose run has this id.
    pub(super) fn new(run_id: u128) -> Self {
        Self { sizes: Sizes::default(), keys: HotKeys::new(ESTIMATE_KEYS), drawn_prefix: format!("{run_id:032x}-") }
    }

    /// Adds what is in the records of a request.
    pub(super) fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            match deaggregate(&entry.data, None) {
                // A line that begins as an aggregate does is sent as one.
                Deaggregated::Records(records) => {
                    for record in records {
                        self.add_one(&record.partition_key, record.data.len());
                    }
                }
                _ => self.add_one(&entry.partition_key, entry.data.len()),
            }
        }
    }

    fn add_one(&mut self, partition_key: &str, byte_count: usize) {
        self.sizes.add(byte_count);
        if partition_key.starts_with(&self.drawn_prefix) {
            self.keys.add_others(byte_count as u64);
        } else {
            self.keys.add(partition_key, byte_count as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::MAGIC;
    use crate::config::Config;
    use crate::hash_key::hash_of;
    use crate::span::Spans;

    fn entry(partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> Entry {
        Entry {
            partition_key: partition_key.into(),
            hash_key: explicit_hash_key.unwrap_or_else(|| hash_of(partition_key)),
            is_hash_key_explicit: explicit_hash_key.is_some(),
            data: data.to_vec().into(),
            spans: Spans::default(),
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long: None,
        }
    }

    #[test]
    fn the_peak_is_of_the_busiest_seconds_and_never_below_the_mean() {
        let mut seconds = Seconds::default();
        for (second, count) in [(0, 10), (1, 20), (3, 90), (3, 10), (4, 50)] {
            seconds.add(second, count, 2 * count);
        }
        assert_eq!(seconds.total(), (180, 360));
        for (width, elapsed, peak) in [
            (1, 5.0, 100.0),
            (2, 5.0, 75.0),
            (10, 5.0, 36.0),
            // What came too late belongs to the last second.
            (1, 4.2, 150.0),
            (1, 2.9, 150.0),
            (10, 0.4, 450.0),
            (10, 4.6, 180.0 / 4.6),
        ] {
            assert_eq!(seconds.peak(width, elapsed), (peak, 2.0 * peak), "{width} of {elapsed} s");
        }
        assert_eq!(Seconds::default().peak(10, 60.0), (0.0, 0.0));
    }

    #[test]
    fn records_are_counted_as_the_service_counts_them() {
        let mut packed = Packed::new(Measure::default());
        packed.add(0, &[entry("k1", None, &[b'x'; 98]), entry("kk", Some(0), &[b'x'; 25_599])]);
        packed.add(2, &[entry("kk", Some(0), &[b'x'; 98])]);
        assert_eq!((packed.seconds.total(), packed.payload_units), ((3, 25_801), 4));
        assert_eq!(packed.on_demand_bytes, 1_024 + 26_624 + 1_024);
        assert_eq!(packed.requests.total(), (2, 5_120 + 30_720 + 5_120));
        // "k1" has a hash in the upper half.
        assert_eq!(packed.spread.busiest(2).byte_share, 25_701.0 / 25_801.0);
    }

    #[test]
    fn records_for_firehose_have_no_keys_and_encrypted_ones_are_larger() {
        let flow = |settings: &str| {
            let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}");
            Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0)
        };
        let key = "[flow.encryption]\nkms_key = 'arn:aws:kms:us-east-1:111122223333:alias/logs'\ncontext = { app = 'shop' }\n";
        let (stream, delivery_stream) = (
            "[flow.kinesis]\naggregate = 'none'\nstream = 's'\n".to_owned(),
            "[flow.firehose]\ndelivery_stream = 'd'\n".to_owned(),
        );
        // 145 bytes whatever the key and the context are, the ARN, the encrypted data key, the context.
        let sealed = 145 + 45 + 184 + 13;
        for (settings, byte_count) in [
            (stream.clone(), 102),
            (delivery_stream.clone(), 100),
            (stream + key, 102 + sealed),
            (delivery_stream + key, 100 + sealed),
        ] {
            let mut packed = Packed::new(Measure::of(&flow(&settings)));
            packed.add(0, &[entry("k1", None, &[b'x'; 100])]);
            assert_eq!(packed.seconds.total(), (1, byte_count), "{settings}");
        }
    }

    #[test]
    fn shards_so_far_are_those_of_the_busiest_seconds() {
        let mut packed = Packed::new(Measure::default());
        assert_eq!(packed.shards_so_far(), 1);
        let records = |count: usize| vec![entry("k", None, b"x"); count];
        // 1,000 records a second for a shard, over ten seconds.
        for (second, record_count, shard_count) in [(0, 9_000, 1), (5, 9_000, 2), (9, 9_000, 3), (10, 500, 3), (60, 500, 3)] {
            packed.add(second, &records(record_count));
            assert_eq!(packed.shards_so_far(), shard_count, "second {second}");
        }
    }

    #[test]
    fn user_records_are_found_in_aggregates_too() {
        let mut records = UserRecords::new(7);
        let like_an_aggregate = [&MAGIC[..], b"and so on"].concat();
        let span = crate::span::Span::new(crate::span::FileKey(1), 0, 1);
        let mut aggregate = crate::aggregator::Aggregate::new(1);
        assert!(aggregate.try_push("a", &like_an_aggregate, span, 1_000));
        let aggregate = aggregate.finish().data;
        records.add(&[entry("a", None, b"12345"), entry("b", None, &aggregate), entry(&format!("{:032x}-1f", 7), None, b"12")]);
        assert_eq!((records.sizes.record_count(), records.sizes.max()), (3, like_an_aggregate.len()));
        let total = (5 + like_an_aggregate.len() + 2) as f64;
        assert_eq!(records.keys.top(10), [("a", (total - 2.0) / total)]);
    }
}
