//! What a way of packing comes to: shards of a stream or the quota of a delivery stream, and costs.

use serde::Serialize;

use super::sums::{
    Busiest, DirectPuts, Load, Spread, firehose_month, on_demand_month, provisioned_month, quota_filled, shards_filled,
    shards_needed,
};
use super::tally::Packed;
use crate::config::Prices;
use crate::limits::{
    ESTIMATE_PEAK_SECONDS, FIREHOSE_QUOTA, FIREHOSE_QUOTA_LARGE, FirehoseQuota, SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX,
};

/// What a flow needs, by the ways of packing that its destination allows for.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Needs {
    /// Of a stream of Kinesis Data Streams, by the values of `aggregate`.
    Stream { kpl: OfStream, lines: OfStream, none: OfStream },
    /// Of a delivery stream of Data Firehose: as it is configured, and each line a record.
    DeliveryStream { joined: OfDirectPuts, single_lines: OfDirectPuts },
}

/// What a way of packing comes to for a stream.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfStream {
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
    /// Of records of several lines with keys the share of bytes.
    pub(super) busiest_shard_share_of_records: f64,
    /// In a peak one shard gets more than it takes, though all together get less.
    pub(super) busiest_shard_is_overloaded: bool,
    pub(super) provisioned_price_per_month: f64,
    pub(super) on_demand_price_per_month: f64,
    /// `provisioned` or `on_demand`.
    pub(super) cheaper: &'static str,
}

/// What a way of packing comes to for a delivery stream.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfDirectPuts {
    pub(super) records_per_second_mean: f64,
    pub(super) bytes_per_second_mean: f64,
    /// Calls of `PutRecordBatch`.
    pub(super) requests_per_second_mean: f64,
    /// Each record rounded up.
    pub(super) charged_bytes_per_second_mean: f64,
    pub(super) records_per_second_peak: f64,
    pub(super) bytes_per_second_peak: f64,
    pub(super) requests_per_second_peak: f64,
    /// In the regions where the quota is large.
    pub(super) quota_of_large_regions: OfQuota,
    pub(super) quota_of_other_regions: OfQuota,
    pub(super) price_per_month: f64,
}

/// What a peak takes of a quota.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfQuota {
    /// 1 is all of it.
    pub(super) share: f64,
    /// By which limit: `bytes`, `records` or `requests`.
    pub(super) limited_by: &'static str,
}

impl OfStream {
    /// Of what was `packed` in `elapsed` seconds; `by_keys` is how the keys of its lines spread, where records go by them but have
    /// no keys of lines themselves.
    pub(super) fn of(packed: &Packed, by_keys: Option<&Spread>, elapsed: f64, prices: &Prices) -> Self {
        let per_second = |count: u64| count as f64 / elapsed;
        let (records, bytes) = packed.seconds.total();
        let (records_peak, bytes_peak) = packed.peak(elapsed);
        // One consumer reads everything.
        let peak = Load { records_in: records_peak, bytes_in: bytes_peak, bytes_out: bytes_peak };
        let shards = shards_needed(peak);
        let busiest = match by_keys {
            // A shard that gets more bytes gets more records, full ones.
            Some(spread) => {
                let Busiest { byte_share, .. } = spread.busiest(shards);
                Busiest { byte_share, record_share: byte_share }
            }
            None => packed.spread.busiest(shards),
        };
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

impl OfDirectPuts {
    /// Of what was `packed` in `elapsed` seconds.
    pub(super) fn of(packed: &Packed, elapsed: f64, prices: &Prices) -> Self {
        let per_second = |count: u64| count as f64 / elapsed;
        let (records, bytes) = packed.seconds.total();
        let (requests, charged_bytes) = packed.requests.total();
        let (records_peak, bytes_peak) = packed.peak(elapsed);
        let (requests_peak, _) = packed.requests.peak(ESTIMATE_PEAK_SECONDS, elapsed);
        let peak = DirectPuts { records: records_peak, requests: requests_peak, bytes: bytes_peak };
        Self {
            records_per_second_mean: per_second(records),
            bytes_per_second_mean: per_second(bytes),
            requests_per_second_mean: per_second(requests),
            charged_bytes_per_second_mean: per_second(charged_bytes),
            records_per_second_peak: records_peak,
            bytes_per_second_peak: bytes_peak,
            requests_per_second_peak: requests_peak,
            quota_of_large_regions: OfQuota::of(peak, FIREHOSE_QUOTA_LARGE),
            quota_of_other_regions: OfQuota::of(peak, FIREHOSE_QUOTA),
            price_per_month: firehose_month(prices, per_second(charged_bytes)),
        }
    }
}

impl OfQuota {
    fn of(peak: DirectPuts, quota: FirehoseQuota) -> Self {
        let (share, limited_by) = quota_filled(peak, quota);
        Self { share, limited_by }
    }
}
