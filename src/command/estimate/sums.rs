//! What shards can take, what it costs, how keys spread, how sizes are distributed: arithmetic only.

use crate::config::Prices;
use crate::limits::{
    FIREHOSE_CHARGED_BYTES, FirehoseQuota, ON_DEMAND_RECORD_BYTES, PAYLOAD_UNIT_BYTES, SHARD_BYTES_IN_MAX, SHARD_BYTES_OUT_MAX,
    SHARD_RECORDS_IN_MAX,
};

/// Hours of a month, as AWS reckons: 365 days of 24 hours, by twelve.
pub(super) const MONTH_HOURS: f64 = 730.0;
const GIB: f64 = (1u64 << 30) as f64;

/// PUT payload units of a record of `byte_count`, partition key included.
pub(super) fn payload_units(byte_count: usize) -> u64 {
    byte_count.div_ceil(PAYLOAD_UNIT_BYTES).max(1) as u64
}

/// Bytes that a record counts as where an on-demand stream is charged for what comes in.
pub(super) fn on_demand_bytes(byte_count: usize) -> u64 {
    (byte_count.div_ceil(ON_DEMAND_RECORD_BYTES).max(1) * ON_DEMAND_RECORD_BYTES) as u64
}

/// Bytes that a record counts as where a delivery stream is charged for what is put into it.
pub(super) fn firehose_bytes(byte_count: usize) -> u64 {
    (byte_count.div_ceil(FIREHOSE_CHARGED_BYTES).max(1) * FIREHOSE_CHARGED_BYTES) as u64
}

/// What goes through a stream in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub(super) records_in: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
}

/// Which limit of a shard decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    BytesIn,
    RecordsIn,
    BytesOut,
}

impl Limit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::BytesIn => "bytes",
            Self::RecordsIn => "records",
            Self::BytesOut => "reading",
        }
    }
}

/// How many shards `load` fills, as a fraction, and by which limit.
pub(super) fn shards_filled(load: Load) -> (f64, Limit) {
    let filled = [
        (load.bytes_in / SHARD_BYTES_IN_MAX as f64, Limit::BytesIn),
        (load.records_in / SHARD_RECORDS_IN_MAX as f64, Limit::RecordsIn),
        (load.bytes_out / SHARD_BYTES_OUT_MAX as f64, Limit::BytesOut),
    ];
    // Of equals the first.
    filled.into_iter().reduce(|most, next| if next.0 > most.0 { next } else { most }).unwrap_or((0.0, Limit::BytesIn))
}

/// How many shards `load` needs when it is spread evenly: at least one.
pub(super) fn shards_needed(load: Load) -> u64 {
    // As exact as a double is, far above any number of shards.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number, rounded, not negative")]
    let shard_count = shards_filled(load).0.ceil() as u64;
    shard_count.max(1)
}

/// What a month of a provisioned stream costs.
pub(super) fn provisioned_month(prices: &Prices, shard_count: u64, payload_units_per_second: f64) -> f64 {
    let payload_units = payload_units_per_second * MONTH_HOURS * 3600.0;
    shard_count as f64 * MONTH_HOURS * prices.shard_hour + payload_units / 1e6 * prices.put_units_million
}

/// What a month of an on-demand stream costs; `bytes_in` are those that are charged for.
pub(super) fn on_demand_month(prices: &Prices, bytes_in_per_second: f64, bytes_out_per_second: f64) -> f64 {
    MONTH_HOURS * prices.on_demand_stream_hour
        + month_gib(bytes_in_per_second) * prices.on_demand_gib_in
        + month_gib(bytes_out_per_second) * prices.on_demand_gib_out
}

/// What a month of direct puts into a delivery stream costs; `bytes_in` are those that are charged for.
pub(super) fn firehose_month(prices: &Prices, bytes_in_per_second: f64) -> f64 {
    month_gib(bytes_in_per_second) * prices.firehose_gib_in
}

fn month_gib(bytes_per_second: f64) -> f64 {
    bytes_per_second * MONTH_HOURS * 3600.0 / GIB
}

/// What is put into a delivery stream in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DirectPuts {
    pub(super) records: f64,
    pub(super) requests: f64,
    pub(super) bytes: f64,
}

/// Which part of `quota` these take, 1 being all of it, and by which of its limits: `bytes`, `records` or `requests`.
pub(super) fn quota_filled(puts: DirectPuts, quota: FirehoseQuota) -> (f64, &'static str) {
    let filled = [
        (puts.bytes / quota.bytes as f64, "bytes"),
        (puts.records / quota.records as f64, "records"),
        (puts.requests / quota.requests as f64, "requests"),
    ];
    // Of equals the first.
    filled.into_iter().reduce(|most, next| if next.0 > most.0 { next } else { most }).unwrap_or_default()
}

/// Bits of a hash key that the spread is kept by.
const SPREAD_BITS: u32 = 14;

/// Where records lie among the hash keys.
pub(super) struct Spread {
    /// Bytes and records of each of 2^[`SPREAD_BITS`] equal ranges.
    ranges: Vec<(u64, u64)>,
}

/// The greatest part that one of some equal shards gets, of bytes and of records, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Busiest {
    pub(super) byte_share: f64,
    pub(super) record_share: f64,
}

impl Spread {
    pub(super) fn new() -> Self {
        Self { ranges: vec![(0, 0); 1 << SPREAD_BITS] }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, hash_key: u128, byte_count: usize) {
        let range = (hash_key >> (u128::BITS - SPREAD_BITS)) as usize;
        if let Some((bytes, records)) = self.ranges.get_mut(range) {
            *bytes += byte_count as u64;
            *records += 1;
        }
    }

    /// What the busiest of `shard_count` equal shards gets. A range on the border of two is counted to that of its middle.
    pub(super) fn busiest(&self, shard_count: u64) -> Busiest {
        let shard_of = |range: usize| (((2 * range as u64 + 1) * shard_count) >> (SPREAD_BITS + 1)) as usize;
        let mut shards = vec![(0, 0); shard_of(self.ranges.len() - 1) + 1];
        for (range, (bytes, records)) in self.ranges.iter().enumerate() {
            let shard: &mut (u64, u64) = &mut shards[shard_of(range)];
            *shard = (shard.0 + bytes, shard.1 + records);
        }
        let share = |of: fn(&(u64, u64)) -> u64| {
            let total: u64 = shards.iter().map(of).sum();
            shards.iter().map(of).max().unwrap_or_default() as f64 / total.max(1) as f64
        };
        Busiest { byte_share: share(|shard| shard.0), record_share: share(|shard| shard.1) }
    }
}

/// Sizes below this are kept exactly, greater ones to so many steps for each doubling.
const EXACT_SIZES: usize = 4096;

/// How large records are.
#[derive(Default)]
pub(super) struct Sizes {
    /// Records by size.
    counts: Vec<u64>,
    record_count: u64,
    byte_count: u64,
    size_max: usize,
}

impl Sizes {
    /// Adds a record of `byte_count`.
    pub(super) fn add(&mut self, byte_count: usize) {
        let step = step_of(byte_count);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.record_count += 1;
        self.byte_count += byte_count as u64;
        self.size_max = self.size_max.max(byte_count);
    }

    /// How many there are.
    pub(super) fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Bytes of a record on average.
    pub(super) fn mean(&self) -> f64 {
        self.byte_count as f64 / self.record_count.max(1) as f64
    }

    /// The greatest.
    pub(super) fn max(&self) -> usize {
        self.size_max
    }

    /// A size that at least `percent` of the records do not exceed: exact below [`EXACT_SIZES`], else up to 0.05 % too large.
    pub(super) fn percentile(&self, percent: u64) -> usize {
        let rank = (self.record_count * percent).div_ceil(100).max(1);
        let mut below = 0;
        let step = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        step.map_or(0, |step| largest_of(step).min(self.size_max))
    }
}

/// The step in which a size is counted.
fn step_of(size: usize) -> usize {
    let doublings = (size / EXACT_SIZES).checked_ilog2().map_or(0, |log| log as usize + 1);
    doublings * (EXACT_SIZES / 2) + (size >> doublings)
}

/// The largest size that is counted in `step`.
fn largest_of(step: usize) -> usize {
    let doublings = (step / (EXACT_SIZES / 2)).saturating_sub(1);
    ((step - doublings * (EXACT_SIZES / 2) + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{FIREHOSE_QUOTA, FIREHOSE_QUOTA_LARGE, FIREHOSE_RECORD_BYTES_MAX, RECORD_BYTES_MAX};

    #[test]
    fn what_is_charged_of_a_record() {
        for (byte_count, units, on_demand, firehose) in [
            (0, 1, 1024, 5120),
            (1, 1, 1024, 5120),
            (1024, 1, 1024, 5120),
            (1025, 1, 2048, 5120),
            (4608, 1, 5120, 5120),
            (5120, 1, 5120, 5120),
            (5121, 1, 6144, 10_240),
            (25_600, 1, 25_600, 25_600),
            (25_601, 2, 26_624, 30_720),
            (49_900, 2, 50_176, 51_200),
            (51_200, 2, 51_200, 51_200),
            (51_201, 3, 52_224, 56_320),
            (FIREHOSE_RECORD_BYTES_MAX, 40, 1_024_000, 1_024_000),
            (RECORD_BYTES_MAX, 41, 1_048_576, 1_049_600),
        ] {
            let charged = (payload_units(byte_count), on_demand_bytes(byte_count), firehose_bytes(byte_count));
            assert_eq!(charged, (units, on_demand, firehose), "{byte_count}");
        }
    }

    /// The example of the price list, which takes 1,048,576 KB for a GB: 500 records of at most 5 KB a second are 6,179.81 GB in 30
    /// days.
    #[test]
    fn a_month_of_direct_puts() {
        let prices = Prices { firehose_gib_in: 0.035, ..Prices::default() };
        let month_of_30_days = firehose_month(&prices, 500.0 * firehose_bytes(3_000) as f64) * 30.0 * 24.0 / MONTH_HOURS;
        assert!((month_of_30_days - 216.29).abs() < 0.005, "{month_of_30_days}");
    }

    #[test]
    fn the_limit_of_a_quota_that_is_reached_first() {
        let mib = 1_048_576.0;
        for (records, requests, bytes, large, other) in [
            (0.0, 0.0, 0.0, (0.0, "bytes"), (0.0, "bytes")),
            (1.0, 1.0, mib, (0.2, "bytes"), (1.0, "bytes")),
            (50_000.0, 100.0, 0.1 * mib, (0.1, "records"), (0.5, "records")),
            (200.0, 2_000.0, 2.0 * mib, (1.0, "requests"), (2.0, "bytes")),
        ] {
            let puts = DirectPuts { records, requests, bytes };
            assert_eq!(
                (quota_filled(puts, FIREHOSE_QUOTA_LARGE), quota_filled(puts, FIREHOSE_QUOTA)),
                (large, other),
                "{puts:?}"
            );
        }
    }

    #[test]
    fn shards_by_whichever_limit_is_reached_first() {
        let mib = 1_048_576.0;
        for (records_in, bytes_in, bytes_out, shard_count, limit) in [
            (0.0, 0.0, 0.0, 1, Limit::BytesIn),
            (1.0, 100.0, 100.0, 1, Limit::RecordsIn),
            (1_000.0, 1_000.0, 1_000.0, 1, Limit::RecordsIn),
            (1_000.1, 1_000.0, 1_000.0, 2, Limit::RecordsIn),
            (10.0, mib, mib, 1, Limit::BytesIn),
            (10.0, 1.01 * mib, 1.01 * mib, 2, Limit::BytesIn),
            (10.0, mib, 2.0 * mib, 1, Limit::BytesIn),
            (10.0, mib, 3.0 * mib, 2, Limit::BytesOut),
            (2_500.0, 7.2 * mib, 7.2 * mib, 8, Limit::BytesIn),
        ] {
            let load = Load { records_in, bytes_in, bytes_out };
            assert_eq!((shards_needed(load), shards_filled(load).1), (shard_count, limit), "{load:?}");
        }
    }

    #[test]
    fn a_month_of_a_stream() {
        let prices = Prices::default();
        let check = |month: f64, expected: f64| assert!((month - expected).abs() < 0.005, "{month}, not {expected}");
        check(provisioned_month(&prices, 1, 0.0), 10.95);
        // 1,000 units a second are 2,628 million a month.
        check(provisioned_month(&prices, 3, 1_000.0), 3.0 * 10.95 + 36.79);
        check(on_demand_month(&prices, 0.0, 0.0), 29.20);
        // A MiB a second is 2,566.41 GiB a month.
        check(on_demand_month(&prices, 1_048_576.0, 0.0), 29.20 + 205.31);
        check(on_demand_month(&prices, 1_048_576.0, 2_097_152.0), 29.20 + 205.31 + 205.31);
        let other = Prices { shard_hour: 1.0, put_units_million: 10.0, on_demand_stream_hour: 2.0, ..prices };
        check(provisioned_month(&other, 2, 1_000.0), 1_460.0 + 26_280.0);
        check(on_demand_month(&other, 0.0, 0.0), 1_460.0);
    }

    #[test]
    fn the_busiest_of_some_equal_shards() {
        let mut spread = Spread::new();
        assert_eq!(spread.busiest(4), Busiest { byte_share: 0.0, record_share: 0.0 });
        // Three quarters of the bytes in the first half, and one of three records there.
        for (hash_key, byte_count) in [(0, 300), (u128::MAX, 50), (1 << 127, 50)] {
            spread.add(hash_key, byte_count);
        }
        for (shard_count, byte_share, record_share) in
            [(1, 1.0, 1.0), (2, 0.75, 2.0 / 3.0), (3, 0.75, 1.0 / 3.0), (20_000, 0.75, 1.0 / 3.0)]
        {
            assert_eq!(spread.busiest(shard_count), Busiest { byte_share, record_share }, "{shard_count} shards");
        }
    }

    #[test]
    fn hash_keys_that_are_spread_evenly_are_seen_so() {
        let mut spread = Spread::new();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            spread.add(random.u128(..), 100);
        }
        for shard_count in [1u32, 2, 3, 7, 16, 100] {
            let even = 1.0 / f64::from(shard_count);
            let share = spread.busiest(u64::from(shard_count)).byte_share;
            assert!(share >= even && share < even * 1.15, "{share} of {shard_count} shards");
        }
    }

    #[test]
    fn the_distribution_of_sizes() {
        let mut sizes = Sizes::default();
        assert_eq!((sizes.record_count(), sizes.percentile(50), sizes.max()), (0, 0, 0));
        for size in 1..=200 {
            sizes.add(size);
        }
        assert_eq!((sizes.record_count(), sizes.mean()), (200, 100.5));
        assert_eq!((sizes.percentile(50), sizes.percentile(99), sizes.percentile(100), sizes.max()), (100, 198, 200, 200));
        sizes.add(RECORD_BYTES_MAX);
        assert_eq!((sizes.percentile(100), sizes.max()), (RECORD_BYTES_MAX, RECORD_BYTES_MAX));
    }

    #[test]
    fn each_size_is_counted_in_a_step_of_sizes_hardly_larger() {
        let mut last = 0;
        for size in (0..20_000).chain((20_000..=RECORD_BYTES_MAX).step_by(97)) {
            let (step, largest) = (step_of(size), largest_of(step_of(size)));
            assert!(step >= last && largest >= size && step_of(largest) == step && step_of(largest + 1) == step + 1, "{size}");
            assert!(largest - size <= if size < EXACT_SIZES { 0 } else { size / 2048 }, "{size}");
            last = step;
        }
    }
}
