//! What of a flow is sound and still better written otherwise.

use crate::command::human_bytes;
use crate::config::{Aggregate, Compression, Delivery, Destination, Flow, Order, PartitionKey, Template, Variable};
use crate::limits::{FIREHOSE_CHARGED_BYTES, FIREHOSE_RECORD_BYTES_DEFAULT};

/// More than this share of what Firehose charges, for nothing but that records are rounded up, is told.
const ROUNDED_SHARE_MAX: f64 = 0.025;

/// What there is to say of `flow`, each with what to write instead.
pub(super) fn advice(flow: &Flow) -> Vec<String> {
    let Delivery { aggregate, compress, order, .. } = flow.delivery;
    let mut advice = Vec::new();
    // Records of several lines have none of their keys.
    if let PartitionKey::Template(template) = &flow.delivery.partition_key
        && flow.encryption.is_some()
        && aggregate == Aggregate::None
        && tells_of_lines(template)
    {
        advice.push(format!(
            "partition keys are not encrypted, and {template} tells something of each line: write partition_key = \"random\" or \
             aggregate = \"lines\" to keep it secret"
        ));
    }
    let joining = match compress {
        Compression::None if flow.encryption.is_none() => "aggregate = \"kpl\" or \"lines\"",
        _ => "aggregate = \"lines\"",
    };
    if order == Order::File && aggregate == Aggregate::None {
        advice.push(format!(
            "with order = \"file\" and aggregate = \"none\" the next line of a file is sent when the one before has arrived: write \
             {joining} to send many at once"
        ));
    }
    if compress != Compression::None && aggregate == Aggregate::None {
        advice.push(format!(
            "with aggregate = \"none\" each line is compressed by itself, which makes a short one hardly smaller: write {joining}"
        ));
    }
    if aggregate == Aggregate::Lines && flow.record.terminator.is_empty() {
        advice.push("lines are joined with nothing between them: write terminator = \"\\n\" in [flow.record]".to_owned());
    }
    advice.extend(advice_on_size(flow));
    advice
}

fn tells_of_lines(template: &Template) -> bool {
    template.fields().next().is_some() || template.variables().any(|variable| *variable == Variable::LineText)
}

/// Firehose charges each record as a multiple of some bytes.
fn advice_on_size(flow: &Flow) -> Option<String> {
    let Delivery { destination: Destination::Firehose(_), record_bytes, compress, .. } = flow.delivery else { return None };
    let (unit, usual) = (human_bytes(FIREHOSE_CHARGED_BYTES as u64), human_bytes(FIREHOSE_RECORD_BYTES_DEFAULT as u64));
    let is_of_any_size = compress != Compression::None || flow.encryption.is_some();
    let rounded_bytes = if is_of_any_size {
        // As likely one as the other.
        FIREHOSE_CHARGED_BYTES / 2
    } else {
        record_bytes.next_multiple_of(FIREHOSE_CHARGED_BYTES) - record_bytes
    };
    let rounded_share = rounded_bytes as f64 / (record_bytes + rounded_bytes) as f64;
    (rounded_share > ROUNDED_SHARE_MAX).then(|| {
        let (size, percent) = (human_bytes(record_bytes as u64), rounded_share * 100.0);
        let help = if is_of_any_size { "" } else { ", or a multiple of that" };
        format!(
            "each record is charged as a multiple of {unit}, which for record_bytes of {size} makes {percent:.1} % of the charge or \
             more: leave it out, so that it is {usual}{help}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const KEY: &str = "[flow.encryption]\nkms_key = 'arn:aws:kms:us-east-1:111122223333:alias/logs'\n";
    const STREAM: &str = "[flow.kinesis]\nstream = 's'\n";
    const DELIVERY_STREAM: &str = "[flow.firehose]\ndelivery_stream = 'd'\n";

    #[track_caller]
    fn check(settings: &str, expected: &[&str]) {
        let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}");
        let flow = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0);
        assert_eq!(advice(&flow), expected, "{settings}");
    }

    #[test]
    fn keys_that_tell_of_encrypted_lines() {
        let stream = |aggregate: &str, key: &str| {
            let parse = "[flow.parse]\nregex = '(?<user>.*)'\n";
            format!("{parse}{STREAM}aggregate = '{aggregate}'\npartition_key = '{key}'\n{KEY}")
        };
        let told = |key: &str| {
            format!(
                "partition keys are not encrypted, and {key} tells something of each line: write partition_key = \"random\" or \
                 aggregate = \"lines\" to keep it secret"
            )
        };
        for key in ["${user}", "${host.name}-${user}", "${line.text}"] {
            check(&stream("none", key), &[&told(key)]);
            check(&stream("lines", key), &[]);
        }
        for key in ["random", "file", "host", "fixed:x", "${file.name}"] {
            check(&stream("none", key), &[]);
        }
        check(&stream("none", "${user}").replace(KEY, ""), &[]);
    }

    #[test]
    fn lines_that_would_better_be_joined() {
        let order = "with order = \"file\" and aggregate = \"none\" the next line of a file is sent when the one before has arrived: \
                     write aggregate = \"kpl\" or \"lines\" to send many at once";
        let compress = "with aggregate = \"none\" each line is compressed by itself, which makes a short one hardly smaller: write \
                        aggregate = \"lines\"";
        check(&format!("{STREAM}aggregate = 'none'\norder = 'file'\n"), &[order]);
        check(&format!("{STREAM}aggregate = 'none'\ncompress = 'zstd'\n"), &[compress]);
        let order = order.replace("\"kpl\" or ", "");
        check(&format!("{STREAM}aggregate = 'none'\norder = 'file'\n{KEY}"), &[&order]);
        check(&format!("{STREAM}aggregate = 'none'\norder = 'file'\ncompress = 'gzip'\n"), &[&order, compress]);
        for well in ["", "order = 'file'", "aggregate = 'none'", "aggregate = 'lines'\norder = 'file'\ncompress = 'gzip'"] {
            check(&format!("{STREAM}{well}\n"), &[]);
        }
    }

    #[test]
    fn joined_lines_that_nothing_parts() {
        let told = "lines are joined with nothing between them: write terminator = \"\\n\" in [flow.record]";
        check(&format!("{DELIVERY_STREAM}[flow.record]\nterminator = ''\n"), &[told]);
        check(&format!("{STREAM}aggregate = 'lines'\n[flow.record]\nterminator = ''\n"), &[told]);
        check(&format!("{DELIVERY_STREAM}[flow.record]\nterminator = '|'\n"), &[]);
        check(&format!("{STREAM}[flow.record]\nterminator = ''\n"), &[]);
    }

    #[test]
    fn records_for_firehose_that_are_rounded_up_by_much() {
        let told = |size: &str, percent: &str, help: &str| {
            format!(
                "each record is charged as a multiple of 5.0 KiB, which for record_bytes of {size} makes {percent} % of the charge or \
                 more: leave it out, so that it is 500.0 KiB{help}"
            )
        };
        let multiple = ", or a multiple of that";
        for (settings, expected) in [
            ("", None),
            ("record_bytes = '1 KiB'", Some(told("1.0 KiB", "80.0", multiple))),
            ("record_bytes = '5 KiB'", None),
            ("record_bytes = '5121 B'", Some(told("5.0 KiB", "50.0", multiple))),
            ("record_bytes = '51 KiB'", Some(told("51.0 KiB", "7.3", multiple))),
            ("record_bytes = '98 KiB'", None),
            ("record_bytes = '1000 KiB'", None),
            ("compress = 'gzip'", None),
            ("compress = 'gzip'\nrecord_bytes = '100 KiB'", None),
            ("compress = 'gzip'\nrecord_bytes = '95 KiB'", Some(told("95.0 KiB", "2.6", ""))),
            ("compress = 'gzip'\nrecord_bytes = '5 KiB'", Some(told("5.0 KiB", "33.3", ""))),
        ] {
            let expected: Vec<&str> = expected.as_deref().into_iter().collect();
            check(&format!("{DELIVERY_STREAM}{settings}\n"), &expected);
        }
        check(&format!("{DELIVERY_STREAM}record_bytes = '5 KiB'\n{KEY}"), &[&told("5.0 KiB", "33.3", "")]);
    }
}
