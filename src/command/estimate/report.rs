//! What `kinetail estimate` says: the figures of each flow, and what they rest on.
//!
//! It decides which sums are made of what was seen. What a way of packing comes to is the business of `needs`, the text of it all
//! that of `text`.

use serde::Serialize;

use super::needs::{Needs, OfDirectPuts, OfStream};
use super::tally::Measure;
use super::watch::Seen;
use crate::config::{Aggregate, Delivery, Destination, Order, PartitionKey, Prices};
use crate::limits::ESTIMATE_PEAK_SECONDS;

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
    /// `kinesis` or `firehose`.
    pub(super) destination: &'static str,
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
    /// Records as consumers take them out, before they are compressed or encrypted; there may be fewer than lines.
    pub(super) records: u64,
    pub(super) record_bytes_mean: f64,
    pub(super) record_bytes_p50: usize,
    pub(super) record_bytes_p99: usize,
    pub(super) record_bytes_max: usize,
    /// As configured: `kpl`, `lines` or `none`.
    pub(super) aggregate: &'static str,
    /// As configured: `none`, `gzip` or `zstd`.
    pub(super) compress: &'static str,
    /// Bytes by which a record grows that is encrypted.
    pub(super) encryption_bytes: usize,
    /// As configured: `random`, `file` or `${field}`; Firehose knows none.
    pub(super) partition_key: Option<String>,
    /// As configured: `throughput` or `file`.
    pub(super) order: &'static str,
    pub(super) lines_without_partition_key: u64,
    pub(super) mismatched_lines: u64,
    pub(super) dropped_bytes: u64,
    /// Bytes that were appended and not read: what was seen is then less than what was written.
    pub(super) unread_bytes: u64,
    pub(super) needs: Needs,
    pub(super) hot_keys: Vec<HotKey>,
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
            destination: match delivery.destination {
                Destination::Kinesis(_) => "kinesis",
                Destination::Firehose(_) => "firehose",
            },
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
            compress: delivery.compress.as_str(),
            encryption_bytes: Measure::of(&seen.flow).data_byte_count(0),
            partition_key: match (&delivery.destination, &delivery.partition_key) {
                (Destination::Firehose(_), _) => None,
                (_, PartitionKey::Random) => Some("random".to_owned()),
                (_, PartitionKey::File) => Some("file".to_owned()),
                (_, PartitionKey::Template(template)) => Some(template.to_string()),
            },
            order: match delivery.order {
                Order::Throughput => "throughput",
                Order::File => "file",
            },
            lines_without_partition_key: seen.keyless_line_count,
            mismatched_lines: seen.mismatched_line_count,
            dropped_bytes: seen.dropped_bytes,
            unread_bytes: seen.lag_bytes,
            needs: needs_of(seen, prices),
            hot_keys: hot_keys
                .into_iter()
                .filter(|(_, share)| *share >= NAMED_SHARE_MIN)
                .map(|(key, share_of_bytes)| HotKey { key: key.to_owned(), share_of_bytes })
                .collect(),
        }
    }

    /// Where its records go.
    pub(super) fn to(&self) -> Destination {
        match self.needs {
            Needs::Stream { .. } => Destination::Kinesis(self.stream.clone()),
            Needs::DeliveryStream { .. } => Destination::Firehose(self.stream.clone()),
        }
    }
}

/// What it takes.
fn needs_of(seen: &Seen, prices: &Prices) -> Needs {
    let Seen { elapsed, joined, none, .. } = seen;
    match &seen.kpl {
        Some(kpl) => {
            let Delivery { partition_key, order, .. } = &seen.flow.delivery;
            let is_by_key = *partition_key != PartitionKey::Random && *order == Order::Throughput;
            // The keys of lines are those of records where each line is one.
            let by_keys = is_by_key.then_some(&none.spread);
            Needs::Stream {
                kpl: OfStream::of(kpl, by_keys, *elapsed, prices),
                lines: OfStream::of(joined, by_keys, *elapsed, prices),
                none: OfStream::of(none, None, *elapsed, prices),
            }
        }
        None => Needs::DeliveryStream {
            joined: OfDirectPuts::of(joined, *elapsed, prices),
            single_lines: OfDirectPuts::of(none, *elapsed, prices),
        },
    }
}

impl Report {
    pub(super) fn of(seen: &[Seen], watched_seconds: f64, prices: &Prices) -> Self {
        let flows = seen.iter().map(|seen| OfFlow::of(seen, prices)).collect();
        let peak_seconds = (1..ESTIMATE_PEAK_SECONDS).find(|count| watched_seconds < *count as f64 + 0.5);
        Self { watched_seconds, peak_seconds: peak_seconds.unwrap_or(ESTIMATE_PEAK_SECONDS), flows, prices: *prices }
    }

    /// What several flows go to.
    pub(super) fn shared_destinations(&self) -> Vec<Destination> {
        let all: Vec<Destination> = self.flows.iter().map(OfFlow::to).collect();
        let before = |index: usize| all.iter().take(index).filter(|one| **one == all[index]).count();
        (0..all.len()).filter(|index| before(*index) == 1).map(|index| all[index].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Entry;
    use crate::command::estimate::tally::{Packed, Seconds, UserRecords};
    use crate::config::Config;
    use crate::hash_key::hash_of;
    use crate::limits::KIB;
    use crate::span::Spans;

    fn entry(partition_key: &str, data_bytes: usize) -> Entry {
        let data = vec![b'x'; data_bytes].into();
        Entry {
            partition_key: partition_key.into(),
            hash_key: hash_of(partition_key),
            is_hash_key_explicit: false,
            data,
            spans: Spans::default(),
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long: None,
        }
    }

    const KEYED: &str = "[flow.parse]\nregex = '(?<user>.*)'\n[flow.kinesis]\nstream = 's'\npartition_key = '${user}'\n";
    const FIREHOSE: &str = "[flow.firehose]\ndelivery_stream = 's'\n";

    /// Ten seconds of a flow with keys of a field, of which each line is a record, as `of_second` says.
    fn seen(of_second: impl Fn(usize) -> Vec<Entry>) -> Seen {
        seen_of(KEYED, of_second)
    }

    /// The same of a flow with these settings; joined, ten of its records are one.
    fn seen_of(settings: &str, of_second: impl Fn(usize) -> Vec<Entry>) -> Seen {
        let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}");
        let flow = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0);
        let new = || Packed::new(Measure::of(&flow));
        let (mut lines, mut joined, mut none, mut records) = (Seconds::default(), new(), new(), UserRecords::new(1));
        for second in 0..10 {
            let entries = of_second(second);
            lines.add(second, entries.len() as u64, entries.iter().map(|entry| entry.data.len() as u64).sum());
            none.add(second, &entries);
            for ten in entries.chunks(10) {
                joined.add(second, &[entry("", ten.iter().map(|entry| entry.data.len()).sum())]);
            }
            records.add(&entries);
        }
        let kpl = matches!(flow.delivery.destination, Destination::Kinesis(_)).then(|| Packed::new(Measure::default()));
        Seen {
            flow,
            elapsed: 10.0,
            tailed_file_count: 2,
            lines,
            kpl,
            joined,
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
        assert_eq!((flow.aggregate, flow.partition_key.as_deref()), ("kpl", Some("${user}")));
        assert_eq!((flow.destination, flow.compress, flow.encryption_bytes, flow.order), ("kinesis", "none", 0, "throughput"));
        assert_eq!(flow.hot_keys, [HotKey { key: "k".to_owned(), share_of_bytes: 1.0 }]);
        let Needs::Stream { kpl, lines, none } = &flow.needs else { panic!("{flow:?}") };
        assert_eq!((none.records_per_second_mean, none.bytes_per_second_mean), (750.0, 750.0 * KIB as f64));
        assert_eq!((none.records_per_second_peak, none.shards, none.shards_limited_by), (750.0, 1, "records"));
        assert!(!none.busiest_shard_is_overloaded);
        // 750 units a second are 1,971 million a month, 750 KiB a second 1,879.7 GiB.
        assert!((none.provisioned_price_per_month - 10.95 - 27.594).abs() < 0.001, "{}", none.provisioned_price_per_month);
        assert!((none.on_demand_price_per_month - 29.2 - 225.56).abs() < 0.01, "{}", none.on_demand_price_per_month);
        assert_eq!((none.cheaper, kpl.shards, lines.records_per_second_mean), ("provisioned", 1, 75.0));
    }

    #[test]
    fn a_hot_key_overloads_its_shard_however_many_there_are() {
        let records = |_| [vec![entry("k", 1_000); 1_500], vec![entry("other", 1_000); 500]].concat();
        let report = Report::of(&[seen(records)], 10.0, &Prices::default());
        let Needs::Stream { lines, none, .. } = &report.flows[0].needs else { panic!("{report:?}") };
        assert_eq!((none.shards, none.busiest_shard_is_overloaded), (2, true));
        assert!(none.busiest_shard_share_of_records >= 0.75);
        // Joined, lines go by their keys though records have none of them.
        assert_eq!((lines.shards, lines.busiest_shard_is_overloaded), (2, true));
        assert!(lines.busiest_shard_share_of_bytes >= 0.74);
        assert_eq!(lines.busiest_shard_share_of_bytes, lines.busiest_shard_share_of_records);
    }

    #[test]
    fn where_the_order_of_files_is_kept_records_do_not_go_by_keys() {
        let records = |_| [vec![entry("k", 1_000); 1_500], vec![entry("other", 1_000); 500]].concat();
        let report = Report::of(&[seen_of(&format!("{KEYED}order = 'file'\n"), records)], 10.0, &Prices::default());
        let Needs::Stream { lines, .. } = &report.flows[0].needs else { panic!("{report:?}") };
        // All records of the test have the same hash key.
        assert_eq!((lines.shards, lines.busiest_shard_share_of_bytes), (2, 1.0));
    }

    #[test]
    fn figures_of_a_flow_to_firehose() {
        let report = Report::of(&[seen_of(FIREHOSE, |_| vec![entry("token", 1_024); 1_000])], 10.0, &Prices::default());
        let flow = &report.flows[0];
        assert_eq!((flow.destination, flow.aggregate, flow.partition_key.as_deref()), ("firehose", "lines", None));
        let Needs::DeliveryStream { joined, single_lines } = &flow.needs else { panic!("{flow:?}") };
        assert_eq!((joined.records_per_second_mean, joined.bytes_per_second_mean), (100.0, 1_024_000.0));
        assert_eq!((joined.requests_per_second_mean, joined.charged_bytes_per_second_mean), (100.0, 1_024_000.0));
        assert_eq!((joined.requests_per_second_peak, joined.records_per_second_peak), (100.0, 100.0));
        let (large, other) = (&joined.quota_of_large_regions, &joined.quota_of_other_regions);
        assert_eq!((large.share, large.limited_by), (1_024_000.0 / f64::from(5 << 20), "bytes"));
        assert_eq!((other.share, other.limited_by), (1_024_000.0 / f64::from(1 << 20), "bytes"));
        // A MiB a second is 2,566.41 GiB a month.
        let gib = 2_566.406_25 * 1_024_000.0 / 1_048_576.0;
        assert!((joined.price_per_month - gib * 0.029).abs() < 0.001, "{}", joined.price_per_month);
        assert_eq!((single_lines.charged_bytes_per_second_mean, single_lines.requests_per_second_mean), (5_120_000.0, 1.0));
        assert!((single_lines.price_per_month - 5.0 * joined.price_per_month).abs() < 1e-9);
    }

    #[test]
    fn json_has_the_ways_of_packing_by_their_names() {
        let seen = [seen(|_| vec![]), seen_of(FIREHOSE, |_| vec![])];
        let json = serde_json::to_value(Report::of(&seen, 10.0, &Prices::default())).unwrap();
        let (stream, delivery_stream) = (&json["flows"][0], &json["flows"][1]);
        for way in ["kpl", "lines", "none"] {
            assert_eq!(stream["needs"][way]["shards"], 1, "{stream:#}");
        }
        for way in ["joined", "single_lines"] {
            assert!(delivery_stream["needs"][way]["quota_of_other_regions"]["share"].is_number(), "{delivery_stream:#}");
        }
        assert_eq!((&stream["encryption_bytes"], &delivery_stream["partition_key"]), (&0.into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_short_watching_has_a_short_peak() {
        for (watched_seconds, peak_seconds) in [(0.0, 1), (1.0, 1), (3.02, 3), (9.6, 10), (3_600.0, 10)] {
            assert_eq!(Report::of(&[], watched_seconds, &Prices::default()).peak_seconds, peak_seconds, "{watched_seconds}");
        }
    }

    #[test]
    fn destinations_of_several_flows_are_known() {
        let delivery_stream = || seen_of(FIREHOSE, |_| vec![]);
        let seen = [seen(|_| vec![]), delivery_stream(), seen(|_| vec![]), seen(|_| vec![]), seen(|_| vec![])];
        let mut report = Report::of(&seen, 10.0, &Prices::default());
        report.flows[4].stream = "other".to_owned();
        assert_eq!(report.shared_destinations(), [Destination::Kinesis("s".to_owned())]);
        report.flows.push(OfFlow::of(&delivery_stream(), &Prices::default()));
        assert_eq!(report.shared_destinations()[1], Destination::Firehose("s".to_owned()));
    }
}
