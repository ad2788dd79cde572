//! What `kinetail estimate` says: the figures of each flow, and what they rest on.
//!
//! It decides which sums are made of what was seen. The text of them is the business of `text`.

use serde::Serialize;

use super::sums::{Load, on_demand_month, provisioned_month, shards_filled, shards_needed};
use super::tally::Packed;
use super::watch::Seen;
use crate::config::{Aggregate, PartitionKey, Prices};
use crate::limits::{ESTIMATE_PEAK_SECONDS, SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};

/// Partition keys that are named.
const NAMED_KEYS_MAX: usize = 10;
/// Those with a smaller share are not.
const NAMED_SHARE_MIN: f64 = 0.01;

/// All of it. As JSON its keys say their units.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Report {
    /// Seconds for which all flows were watched.
    pub(super) watched_seconds: f64,
    /// Over so many seconds a peak is: fewer where the watching was shorter.
    pub(super) peak_seconds: usize,
    /// In the order of the configuration.
    pub(super) flows: Vec<OfFlow>,
    /// What costs are reckoned with.
    pub(super) prices: Prices,
}

/// One flow.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfFlow {
    pub(super) name: String,
    pub(super) stream: String,
    pub(super) watched_seconds: f64,
    /// Files with something in them that match.
    pub(super) files: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    pub(super) lines_per_second_mean: f64,
    pub(super) lines_per_second_peak_1_second: f64,
    pub(super) bytes_per_second_mean: f64,
    pub(super) bytes_per_second_peak_1_second: f64,
    /// Records as consumers get them; there may be fewer than lines.
    pub(super) records: u64,
    pub(super) record_bytes_mean: f64,
    pub(super) record_bytes_p50: usize,
    pub(super) record_bytes_p99: usize,
    pub(super) record_bytes_max: usize,
    /// As configured: `kpl` or `none`.
    pub(super) aggregate: &'static str,
    /// As configured: `random`, `file` or `${field}`.
    pub(super) partition_key: String,
    pub(super) lines_without_partition_key: u64,
    pub(super) mismatched_lines: u64,
    pub(super) dropped_bytes: u64,
    /// Bytes that were appended and not read: what was seen is then less than what was written.
    pub(super) unread_bytes: u64,
    pub(super) kpl: OfPacking,
    pub(super) none: OfPacking,
    pub(super) hot_keys: Vec<HotKey>,
}

/// What a way of packing comes to.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfPacking {
    pub(super) records_per_second_mean: f64,
    /// Partition keys included.
    pub(super) bytes_per_second_mean: f64,
    pub(super) put_payload_units_per_second_mean: f64,
    pub(super) records_per_second_peak: f64,
    pub(super) bytes_per_second_peak: f64,
    /// For the peak.
    pub(super) shards: u64,
    /// Which limit of a shard decides: `bytes`, `records` or `reading`.
    pub(super) shards_limited_by: &'static str,
    pub(super) busiest_shard_share_of_bytes: f64,
    pub(super) busiest_shard_share_of_records: f64,
    /// In a peak one shard gets more than it takes, though all together get less.
    pub(super) busiest_shard_is_overloaded: bool,
    pub(super) provisioned_price_per_month: f64,
    pub(super) on_demand_price_per_month: f64,
    /// `provisioned` or `on_demand`.
    pub(super) cheaper: &'static str,
}

/// A partition key that many bytes have.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct HotKey {
    pub(super) key: String,
    /// From 0 to 1, of the bytes of all records.
    pub(super) share_of_bytes: f64,
}

impl OfFlow {
    pub(super) fn of(seen: &Seen, prices: &Prices) -> Self {
        let per_second = |count: u64| count as f64 / seen.elapsed;
        let (lines, bytes) = seen.lines.total();
        let (lines_peak, bytes_peak) = seen.lines.peak(1, seen.elapsed);
        let sizes = &seen.records.sizes;
        let delivery = &seen.flow.delivery;
        let hot_keys = match delivery.partition_key {
            // Each is drawn for one record.
            PartitionKey::Random => Vec::new(),
            PartitionKey::File | PartitionKey::Template(_) => seen.records.keys.top(NAMED_KEYS_MAX),
        };
        Self {
            name: seen.flow.name.clone(),
            stream: delivery.destination.stream().to_owned(),
            watched_seconds: seen.elapsed,
            files: seen.tailed_file_count,
            lines,
            bytes,
            lines_per_second_mean: per_second(lines),
            lines_per_second_peak_1_second: lines_peak,
            bytes_per_second_mean: per_second(bytes),
            bytes_per_second_peak_1_second: bytes_peak,
            records: sizes.record_count(),
            record_bytes_mean: sizes.mean(),
            record_bytes_p50: sizes.percentile(50),
            record_bytes_p99: sizes.percentile(99),
            record_bytes_max: sizes.max(),
            aggregate: match delivery.aggregate {
                Aggregate::Kpl => "kpl",
                Aggregate::Lines => "lines",
                Aggregate::None => "none",
            },
            partition_key: match &delivery.partition_key {
                PartitionKey::Random => "random".to_owned(),
                PartitionKey::File => "file".to_owned(),
                PartitionKey::Template(template) => template.to_string(),
            },
            lines_without_partition_key: seen.keyless_line_count,
            mismatched_lines: seen.mismatched_line_count,
            dropped_bytes: seen.dropped_bytes,
            unread_bytes: seen.lag_bytes,
            kpl: OfPacking::of(&seen.kpl, seen.elapsed, prices),
            none: OfPacking::of(&seen.none, seen.elapsed, prices),
            hot_keys: hot_keys
                .into_iter()
                .filter(|(_, share)| *share >= NAMED_SHARE_MIN)
                .map(|(key, share_of_bytes)| HotKey { key: key.to_owned(), share_of_bytes })
                .collect(),
        }
    }
}

impl OfPacking {
    fn of(packed: &Packed, elapsed: f64, prices: &Prices) -> Self {
        let per_second = |count: u64| count as f64 / elapsed;
        let (records, bytes) = packed.seconds.total();
        let (records_peak, bytes_peak) = packed.peak(elapsed);
        // One consumer reads everything.
        let peak = Load { records_in: records_peak, bytes_in: bytes_peak, bytes_out: bytes_peak };
        let shards = shards_needed(peak);
        let busiest = packed.spread.busiest(shards);
        let payload_units_per_second = per_second(packed.payload_units);
        let provisioned = provisioned_month(prices, shards, payload_units_per_second);
        let on_demand = on_demand_month(prices, per_second(packed.on_demand_bytes), per_second(bytes));
        Self {
            records_per_second_mean: per_second(records),
            bytes_per_second_mean: per_second(bytes),
            put_payload_units_per_second_mean: payload_units_per_second,
            records_per_second_peak: records_peak,
            bytes_per_second_peak: bytes_peak,
            shards,
            shards_limited_by: shards_filled(peak).1.as_str(),
            busiest_shard_share_of_bytes: busiest.byte_share,
            busiest_shard_share_of_records: busiest.record_share,
            busiest_shard_is_overloaded: busiest.byte_share * bytes_peak > SHARD_BYTES_IN_MAX as f64
                || busiest.record_share * records_peak > SHARD_RECORDS_IN_MAX as f64,
            provisioned_price_per_month: provisioned,
            on_demand_price_per_month: on_demand,
            cheaper: if provisioned <= on_demand { "provisioned" } else { "on_demand" },
        }
    }
}

impl Report {
    pub(super) fn of(seen: &[Seen], watched_seconds: f64, prices: &Prices) -> Self {
        let flows = seen.iter().map(|seen| OfFlow::of(seen, prices)).collect();
        let peak_seconds = (1..ESTIMATE_PEAK_SECONDS).find(|count| watched_seconds < *count as f64 + 0.5);
        Self { watched_seconds, peak_seconds: peak_seconds.unwrap_or(ESTIMATE_PEAK_SECONDS), flows, prices: *prices }
    }

    /// The streams that several flows go to.
    pub(super) fn shared_streams(&self) -> Vec<&str> {
        let mut streams: Vec<&str> = self.flows.iter().map(|flow| flow.stream.as_str()).collect();
        streams.sort_unstable();
        let mut shared: Vec<&str> = streams.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        shared.dedup();
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Entry;
    use crate::command::estimate::tally::{Seconds, UserRecords};
    use crate::config::Config;
    use crate::hash_key::hash_of;
    use crate::limits::KIB;
    use crate::span::Spans;

    fn entry(partition_key: &str, data_bytes: usize) -> Entry {
        let data = vec![b'x'; data_bytes].into();
        Entry {
            partition_key: partition_key.to_owned(),
            hash_key: hash_of(partition_key),
            is_hash_key_explicit: false,
            data,
            spans: Spans::default(),
            user_record_count: 1,
            too_long: None,
        }
    }

    /// Ten seconds of a flow with keys of a field, of which each line is a record, as `of_second` says.
    fn seen(of_second: impl Fn(usize) -> Vec<Entry>) -> Seen {
        let text = "[[flow]]\nname = 'f'\nfiles = '/a'\n[flow.parse]\nregex = '(?<user>.*)'\n[flow.kinesis]\nstream = 's'\npartition_key = '${user}'\n";
        let flow = Config::parse(text, "test").unwrap().flows.remove(0);
        let (mut lines, mut none, mut records) = (Seconds::default(), Packed::new(), UserRecords::new(1));
        for second in 0..10 {
            let entries = of_second(second);
            lines.add(second, entries.len() as u64, entries.iter().map(|entry| entry.data.len() as u64).sum());
            none.add(second, &entries);
            records.add(&entries);
        }
        Seen {
            flow,
            elapsed: 10.0,
            tailed_file_count: 2,
            lines,
            kpl: Packed::new(),
            none,
            records,
            mismatched_line_count: 3,
            keyless_line_count: 4,
            dropped_bytes: 5,
            lag_bytes: 6,
        }
    }

    #[test]
    fn figures_of_a_flow() {
        let records = |second| if second == 3 { vec![entry("k", 1_023); 3_000] } else { vec![entry("k", 1_023); 500] };
        let report = Report::of(&[seen(records)], 10.0, &Prices::default());
        let flow = &report.flows[0];
        assert_eq!((flow.lines, flow.lines_per_second_mean, flow.lines_per_second_peak_1_second), (7_500, 750.0, 3_000.0));
        assert_eq!((flow.records, flow.record_bytes_mean, flow.record_bytes_p99), (7_500, 1_023.0, 1_023));
        assert_eq!(
            (flow.mismatched_lines, flow.lines_without_partition_key, flow.dropped_bytes, flow.unread_bytes),
            (3, 4, 5, 6)
        );
        assert_eq!((flow.aggregate, flow.partition_key.as_str()), ("kpl", "${user}"));
        assert_eq!(flow.hot_keys, [HotKey { key: "k".to_owned(), share_of_bytes: 1.0 }]);
        let none = &flow.none;
        assert_eq!((none.records_per_second_mean, none.bytes_per_second_mean), (750.0, 750.0 * KIB as f64));
        assert_eq!((none.records_per_second_peak, none.shards, none.shards_limited_by), (750.0, 1, "records"));
        assert!(!none.busiest_shard_is_overloaded);
        // 750 units a second are 1,971 million a month, 750 KiB a second 1,879.7 GiB.
        assert!((none.provisioned_price_per_month - 10.95 - 27.594).abs() < 0.001, "{}", none.provisioned_price_per_month);
        assert!((none.on_demand_price_per_month - 29.2 - 225.56).abs() < 0.01, "{}", none.on_demand_price_per_month);
        assert_eq!((none.cheaper, flow.kpl.shards), ("provisioned", 1));
    }

    #[test]
    fn a_hot_key_overloads_its_shard_however_many_there_are() {
        let records = |_| [vec![entry("k", 10); 1_500], vec![entry("other", 10); 500]].concat();
        let report = Report::of(&[seen(records)], 10.0, &Prices::default());
        let none = &report.flows[0].none;
        assert_eq!((none.shards, none.busiest_shard_is_overloaded), (2, true));
        assert!(none.busiest_shard_share_of_records >= 0.75);
    }

    #[test]
    fn a_short_watching_has_a_short_peak() {
        for (watched_seconds, peak_seconds) in [(0.0, 1), (1.0, 1), (3.02, 3), (9.6, 10), (3_600.0, 10)] {
            assert_eq!(Report::of(&[], watched_seconds, &Prices::default()).peak_seconds, peak_seconds, "{watched_seconds}");
        }
    }

    #[test]
    fn streams_of_several_flows_are_known() {
        let seen = [seen(|_| vec![]), seen(|_| vec![]), seen(|_| vec![])];
        let mut report = Report::of(&seen, 10.0, &Prices::default());
        report.flows[1].stream = "other".to_owned();
        assert_eq!(report.shared_streams(), ["s"]);
    }
}
