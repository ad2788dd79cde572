//! `[flow.kinesis]` and `[flow.firehose]`: destinations, and how records are packed for them.

use super::*;
use crate::limits::{FIREHOSE_RECORD_BYTES_MAX, LINE_BYTES_MAX};

const FLOW: &str = "[[flow]]\nname = 'a'\nfiles = '/a'\n";

fn parsed(settings: &str) -> Flow {
    let source = format!("{FLOW}{settings}");
    Config::parse(&source, "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0)
}

#[test]
fn records_for_kinesis() {
    let flow = parsed(
        "[flow.kinesis]\nstream = 's'\naggregate = 'lines'\nmax_record_bytes = '1 MiB'\ncompress = 'zstd'\norder = 'file'\n\
         max_delay = '2 s'\n",
    );
    let delivery = &flow.delivery;
    assert_eq!((delivery.destination.to_string(), delivery.aggregate), ("stream s".to_owned(), Aggregate::Lines));
    assert_eq!((delivery.record_bytes, delivery.compress, delivery.order), (1 << 20, Compression::Zstd, Order::File));
    assert_eq!((flow.line.max_bytes, flow.record.terminator.as_str()), (LINE_BYTES_MAX, "\n"));
    let flow = parsed("[flow.kinesis]\nstream = 's'\n");
    assert_eq!((flow.delivery.compress, flow.delivery.order), (Compression::None, Order::Throughput));
    assert_eq!((flow.delivery.record_bytes, flow.record.terminator.as_str()), (49_900, ""));
    let flow = parsed("[flow.kinesis]\nstream = 's'\naggregate = 'lines'\n[flow.record]\nterminator = ''\n");
    assert_eq!(flow.record.terminator, "");
    let flow = parsed("[flow.kinesis]\nstream = 's'\n[flow.line]\nmax_bytes = '10236 KiB'\n");
    assert_eq!(flow.line.max_bytes, 10_236 << 10);
}

#[test]
fn records_for_firehose() {
    let flow =
        parsed("[flow.firehose]\ndelivery_stream = 'd'\nrecord_bytes = '1000 KiB'\ncompress = 'gzip'\nmax_delay = '1 min'\n");
    let delivery = &flow.delivery;
    assert_eq!((delivery.destination.to_string(), delivery.aggregate), ("delivery stream d".to_owned(), Aggregate::Lines));
    assert_eq!((delivery.record_bytes, delivery.compress), (1000 << 10, Compression::Gzip));
    assert_eq!(delivery.max_delay, Duration::from_secs(60));
    assert_eq!((flow.record.terminator.as_str(), delivery.partition_key.clone()), ("\n", PartitionKey::Random));
    assert_eq!(flow.line.max_bytes, FIREHOSE_RECORD_BYTES_MAX - (4 << 10));
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (settings, mistake) in [
        (
            "",
            "1:1 `kinesis` is missing in [[flow]] (write [flow.kinesis] and below it stream = \"…\"; or [flow.firehose] and \
             delivery_stream = \"…\")",
        ),
        (
            "[flow.kinesis]\nstream = 's'\n[flow.firehose]\ndelivery_stream = 'd'",
            "1:1 both [flow.kinesis] and [flow.firehose] (a flow has one destination: write a second [[flow]] with the same files \
             for the other)",
        ),
        (
            "[flow.firehose]",
            "4:1 `delivery_stream` is missing in [flow.firehose] (write delivery_stream = \"…\", the name of the Firehose delivery \
             stream)",
        ),
        (
            "[flow.firehose]\ndelivery_stream = 'arn:aws:firehose:us-east-1:123456789012:deliverystream/d'",
            "5:19 `delivery_stream` is not the name of a stream (write the name, without the rest of the ARN: \"d\")",
        ),
        (
            "[flow.firehose]\ndelivery_stream = 'd'\nrecord_bytes = '1 MiB'",
            "6:16 `record_bytes` is out of range: 1 MiB (from 1 KiB to 1000 KiB)",
        ),
        (
            "[flow.firehose]\ndelivery_stream = 'd'\npartition_key = 'file'",
            "6:1 unknown key `partition_key` in [flow.firehose] (known here: `compress`, `delivery_stream`, `max_delay`, \
             `record_bytes`)",
        ),
        (
            "[flow.kinesis]\nstream = 's'\ncompress = 'gzip'",
            "6:12 `compress` cannot be used with aggregates of the KPL (no reader finds the records in a compressed aggregate: \
             write aggregate = \"lines\" or \"none\" too)",
        ),
        (
            "[flow.kinesis]\nstream = 's'\naggregate = 'none'\nmax_record_bytes = '1 MiB'",
            "7:20 `max_record_bytes` is of records of several lines (take it out, or change `aggregate`)",
        ),
        (
            "[flow.kinesis]\nstream = 's'\norder = 'strict'",
            "6:9 `order` cannot be \"strict\" (valid are \"throughput\", \"file\")",
        ),
        (
            "[flow.firehose]\ndelivery_stream = 'd'\n[flow.line]\nmax_bytes = '1 MiB'",
            "7:13 `max_bytes` is out of range: 1 MiB (from 1 B to 996 KiB)",
        ),
    ] {
        assert_eq!(mistakes(&format!("{FLOW}{settings}\n")), [mistake]);
    }
}
