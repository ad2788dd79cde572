use super::super::report::HotKey;
use super::*;

fn packing() -> OfStream {
    OfStream {
        records_per_second_mean: 5.2,
        bytes_per_second_mean: 308_429.0,
        put_payload_units_per_second_mean: 10.4,
        records_per_second_peak: 9.0,
        bytes_per_second_peak: 524_288.0,
        shards: 1,
        shards_limited_by: "bytes",
        busiest_shard_share_of_bytes: 1.0,
        busiest_shard_share_of_records: 1.0,
        busiest_shard_is_overloaded: false,
        provisioned_price_per_month: 11.33,
        on_demand_price_per_month: 93.64,
        cheaper: "provisioned",
    }
}

fn flow() -> OfFlow {
    OfFlow {
        name: "access".to_owned(),
        destination: "kinesis",
        stream: "logs".to_owned(),
        watched_seconds: 60.0,
        files: 4,
        lines: 74_040,
        bytes: 18_000_000,
        lines_per_second_mean: 1_234.0,
        lines_per_second_peak_1_second: 2_000.0,
        bytes_per_second_mean: 300_000.0,
        bytes_per_second_peak_1_second: 524_288.0,
        records: 74_040,
        record_bytes_mean: 242.12,
        record_bytes_p50: 240,
        record_bytes_p99: 512,
        record_bytes_max: 1_229,
        aggregate: "kpl",
        compress: "none",
        encryption_bytes: 0,
        partition_key: Some("${user}".to_owned()),
        order: "throughput",
        lines_without_partition_key: 0,
        mismatched_lines: 0,
        dropped_bytes: 0,
        unread_bytes: 0,
        needs: Needs::Stream {
            kpl: packing(),
            lines: OfStream { put_payload_units_per_second_mean: 9.3, ..packing() },
            none: OfStream {
                records_per_second_mean: 1_234.0,
                put_payload_units_per_second_mean: 1_234.0,
                shards: 2,
                shards_limited_by: "records",
                busiest_shard_share_of_bytes: 0.512,
                busiest_shard_share_of_records: 0.5,
                provisioned_price_per_month: 67.3,
                on_demand_price_per_month: 1_290.5,
                cheaper: "on_demand",
                ..packing()
            },
        },
        hot_keys: vec![
            HotKey { key: "alice".to_owned(), share_of_bytes: 0.412 },
            HotKey { key: format!("\x1b[2J{}", "b".repeat(80)), share_of_bytes: 0.0132 },
        ],
    }
}

fn puts() -> OfDirectPuts {
    let quota = |share| OfQuota { share, limited_by: "bytes" };
    OfDirectPuts {
        records_per_second_mean: 1.0,
        bytes_per_second_mean: 300_000.0,
        requests_per_second_mean: 1.0,
        charged_bytes_per_second_mean: 302_560.0,
        records_per_second_peak: 2.0,
        bytes_per_second_peak: 524_288.0,
        requests_per_second_peak: 1.5,
        quota_of_large_regions: quota(0.1),
        quota_of_other_regions: quota(0.5),
        price_per_month: 21.47,
    }
}

fn to_firehose(joined: OfDirectPuts) -> OfFlow {
    let single_lines = OfDirectPuts {
        records_per_second_mean: 1_234.0,
        requests_per_second_mean: 3.2,
        charged_bytes_per_second_mean: 6_318_080.0,
        records_per_second_peak: 2_157.0,
        requests_per_second_peak: 4.8,
        price_per_month: 448.44,
        ..puts()
    };
    OfFlow {
        destination: "firehose",
        aggregate: "lines",
        partition_key: None,
        hot_keys: vec![],
        needs: Needs::DeliveryStream { joined, single_lines },
        ..flow()
    }
}

fn report(flows: Vec<OfFlow>) -> Report {
    Report { watched_seconds: 60.04, peak_seconds: 10, flows, prices: Prices::default() }
}

#[test]
fn the_whole_report() {
    let quiet = OfFlow { name: "quiet".to_owned(), stream: "other".to_owned(), lines: 0, files: 1, ..flow() };
    let expected = "\
watched for 60 s: nothing was sent, and no offset was stored

access to stream logs
  files           4 files
  lines           1,234 a second, at most 2,000 in one second
  bytes of files  293.0 KiB a second, at most 512.0 KiB in one second
  record size     mean 242 B, p50 240 B, p99 512 B, max 1.2 KiB

  with aggregate =                   \"kpl\" (configured)              \"lines\"               \"none\"
  records a second                                 5.20                 5.20                1,234
  bytes a second                              301.2 KiB            301.2 KiB            301.2 KiB
  PUT payload units a second                       10.4                 9.30                1,234
  peak of 10 s: records a second                   9.00                 9.00                 9.00
  peak of 10 s: bytes a second                512.0 KiB            512.0 KiB            512.0 KiB
  shards for that peak                     1 (by bytes)         1 (by bytes)       2 (by records)
  busiest shard: of all bytes                   100.0 %              100.0 %               51.2 %
  busiest shard: of all records                 100.0 %              100.0 %               50.0 %
  a month, provisioned                            11.33                11.33                67.30
  a month, on-demand                              93.64                93.64             1,290.50
  cheaper                                   provisioned          provisioned            on-demand

  partition_key = \"${user}\": share of the bytes
    41.2 %  alice
     1.3 %  \u{fffd}[2Jbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…

quiet to stream other
  no line was appended in 60 s (1 file watched): there is nothing to estimate from

what this rests on
  shards    for the busiest 10 s; each takes 1 MiB and 1000 records a second and gives 2 MiB;
            one consumer reads everything, and each further one that shares the throughput as much again;
            lines with keys are packed and spread as for a new stream of so many shards
  costs     730 h at the mean rate; provisioned: shards for the peak, and PUT payload units of 25 KiB of each
            record; on-demand: records in by the full KiB, and all of it out once; not counted: longer retention,
            enhanced fan-out, other hosts
  prices    shard_hour = 0.015
            put_units_million = 0.014
            on_demand_stream_hour = 0.04
            on_demand_gib_in = 0.08
            on_demand_gib_out = 0.04
            those of us-east-1 in USD on 2023-09-21; they differ by region and change:
            set yours in [prices] or by --price
";
    let text = text_of(&report(vec![flow(), quiet]), false);
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn the_report_of_a_flow_to_firehose() {
    let expected = "\
watched for 60 s: nothing was sent, and no offset was stored

access to delivery stream logs
  files           4 files
  lines           1,234 a second, at most 2,000 in one second
  bytes of files  293.0 KiB a second, at most 512.0 KiB in one second
  record size     mean 242 B, p50 240 B, p99 512 B, max 1.2 KiB

  lines are sent                                 joined           one by one
  records a second                                 1.00                1,234
  bytes a second                              293.0 KiB            293.0 KiB
  PutRecordBatch calls a second                    1.00                 3.20
  charged bytes a second                      295.5 KiB              6.0 MiB
  peak of 10 s: records a second                   2.00                2,157
  peak of 10 s: bytes a second                512.0 KiB            512.0 KiB
  peak of 10 s: calls a second                     1.50                 4.80
  of the quota of large regions       10.0 % (by bytes)    10.0 % (by bytes)
  of the quota of other regions       50.0 % (by bytes)    50.0 % (by bytes)
  a month                                         21.47               448.44

what this rests on
  firehose  730 h at the mean rate; each record is charged as a multiple of 5 KiB, a GB of the price list being a
            GiB; not counted: lower prices beyond 500 TB a month, conversion, partitioning, VPCs, the destination
  quota     of each delivery stream, for all that is put directly, also by other hosts, until it is raised:
            500,000 records, 2,000 calls and 5 MiB a second in us-east-1, us-west-2 and eu-west-1;
            100,000 records, 1,000 calls and 1 MiB a second elsewhere
  prices    firehose_gib_in = 0.029
            those of us-east-1 in USD on 2023-09-21; they differ by region and change:
            set yours in [prices] or by --price
";
    let text = text_of(&report(vec![to_firehose(puts())]), false);
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn nothing_seen_is_one_sentence() {
    let quiet = OfFlow { lines: 0, ..flow() };
    let expected = "\
watched for 60 s: nothing was sent, and no offset was stored

\x1b[1maccess to stream logs\x1b[0m
  no line was appended in 60 s (4 files watched): there is nothing to estimate from
";
    assert_eq!(text_of(&report(vec![quiet]), true), expected);
}

#[test]
fn what_is_out_of_the_ordinary_is_told() {
    let check = |flow: OfFlow, expected: &str| {
        let text = text_of(&report(vec![flow]), false);
        assert!(text.contains(expected), "{expected}\n{text}");
    };
    check(OfFlow { partition_key: Some("random".to_owned()), hot_keys: vec![], ..flow() }, "spread evenly, no key is hot\n");
    check(OfFlow { hot_keys: vec![], ..flow() }, "partition_key = \"${user}\": no key has 1 % of the bytes\n");
    check(OfFlow { mismatched_lines: 7_404, ..flow() }, "  warning: 10.0 % of the lines do not match [flow.parse]\n");
    check(OfFlow { lines_without_partition_key: 37_020, ..flow() }, "  warning: 50.0 % of the lines have no partition key");
    check(OfFlow { dropped_bytes: 2_048, ..flow() }, "  warning: 2.0 KiB would not be sent");
    check(OfFlow { unread_bytes: 1 << 20, ..flow() }, "  warning: 1.0 MiB more were appended and not read in time");
    let overloaded = || OfStream { busiest_shard_is_overloaded: true, ..packing() };
    let needs = || Needs::Stream { kpl: packing(), lines: packing(), none: overloaded() };
    check(
        OfFlow { needs: needs(), ..flow() },
        "  warning: with aggregate = \"none\" the busiest shard gets more than it takes in a peak; all lines of a key go to one shard,",
    );
    check(OfFlow { needs: needs(), order: "file", ..flow() }, " in a peak; all lines of a file go to one shard, however");
    let many = || OfStream { shards: 17, ..packing() };
    let needs = || Needs::Stream { kpl: many(), lines: packing(), none: many() };
    let told =
        "  warning: with aggregate = \"kpl\" lines with a partition key reach only 16 shards where the agent may not list them";
    check(OfFlow { needs: needs(), ..flow() }, told);
    for (partition_key, order) in [("random", "throughput"), ("${user}", "file")] {
        let flow = OfFlow { needs: needs(), partition_key: Some(partition_key.to_owned()), order, ..flow() };
        let text = text_of(&report(vec![flow]), false);
        assert!(!text.contains("16 shards"), "{text}");
    }
    let sealed = OfFlow { compress: "gzip", encryption_bytes: 410, ..flow() };
    check(sealed, "  records are     compressed (gzip), then encrypted (410 B more each), but not with \"kpl\"\n");
    check(OfFlow { encryption_bytes: 410, ..flow() }, "\n  encrypted a record grows by a little more or less");
    check(OfFlow { compress: "zstd", ..to_firehose(puts()) }, "compressed (zstd), but single lines not compressed\n");
    check(OfFlow { encryption_bytes: 410, ..to_firehose(puts()) }, "  records are     encrypted (410 B more each)\n");
    let share = |large, other| {
        let quota = |share| OfQuota { share, limited_by: "calls" };
        to_firehose(OfDirectPuts { quota_of_large_regions: quota(large), quota_of_other_regions: quota(other), ..puts() })
    };
    check(share(0.9, 4.5), "the whole quota of a delivery stream, but for us-east-1, us-west-2 and eu-west-1: have it raised");
    check(share(1.1, 5.5), "the whole quota of a delivery stream, everywhere: have it raised");
    let rounded =
        |price_per_month| to_firehose(OfDirectPuts { charged_bytes_per_second_mean: 400_000.0, price_per_month, ..puts() });
    let text = text_of(&report(vec![rounded(3.9)]), false);
    assert!(!text.contains("warning"), "{text}");
    check(
        rounded(4.0),
        "  warning: 25.0 % of what is charged is nothing but rounding up: with a longer max_delay or larger record_bytes",
    );
    check(OfFlow { aggregate: "none", ..flow() }, "\"kpl\"              \"lines\"  \"none\" (configured)\n");
    let text = text_of(&report(vec![flow()]), false);
    assert!(!text.contains("warning"), "{text}");
    let both = text_of(&report(vec![flow(), flow()]), false);
    assert!(both.contains("  stream logs is that of several flows: it needs fewer shards"), "{both}");
    let both = text_of(&report(vec![flow(), to_firehose(puts())]), false);
    assert!(!both.contains("several flows") && both.contains("shard_hour") && both.contains("firehose_gib_in"), "{both}");
    let both = text_of(&report(vec![to_firehose(puts()), to_firehose(puts())]), false);
    assert!(both.contains("  delivery stream logs is that of several flows: they share its quota\n"), "{both}");
    let prices = Prices { shard_hour: 0.018, ..Prices::default() };
    let text = text_of(&Report { prices, ..report(vec![flow()]) }, false);
    assert!(text.contains("shard_hour = 0.018\n") && text.contains("  as set by [prices] or by --price\n"), "{text}");
    assert!(!text.contains("us-east-1"), "{text}");
}

#[test]
fn figures_for_people() {
    for (value, text) in [
        (0.0, "0"),
        (0.004, "< 0.01"),
        (0.05, "0.05"),
        (9.876, "9.88"),
        (42.0, "42.0"),
        (999.6, "1,000"),
        (1_234_567.0, "1,234,567"),
    ] {
        assert_eq!(figure(value), text);
    }
    assert_eq!([0.0, 999.999, 1_234_567.891].map(money), ["0.00", "1,000.00", "1,234,567.89"]);
    assert_eq!([0.4, 1.0, 9.96, 59.7, 3_600.0].map(seconds), ["0.4 s", "1 s", "10 s", "60 s", "3600 s"]);
}
