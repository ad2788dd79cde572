//! The report as text for people: aligned, figures rounded to what matters.

use std::fmt::Write as _;

use super::needs::{Needs, OfDirectPuts, OfQuota, OfStream};
use super::report::{OfFlow, Report};
use super::sums::MONTH_HOURS;
use crate::command::{counted, human_bytes};
use crate::config::{Destination, Prices, one_line};
use crate::limits::{
    FIREHOSE_CHARGED_BYTES, FIREHOSE_LARGE_REGIONS, FIREHOSE_QUOTA, FIREHOSE_QUOTA_LARGE, FirehoseQuota, HASH_RANGES,
    PAYLOAD_UNIT_BYTES, SHARD_BYTES_IN_MAX, SHARD_BYTES_OUT_MAX, SHARD_RECORDS_IN_MAX,
};

/// Characters of a partition key that are shown.
const KEY_CHARS_MAX: usize = 60;
/// More unread bytes than come in so many seconds are told: the tailer did not keep pace.
const UNREAD_SECONDS: f64 = 2.0;
/// More than this share of what is charged, for nothing but that records are rounded up, is told.
const ROUNDED_SHARE_MAX: f64 = 0.1;
/// But for less than this a month, in whichever currency, it is not worth a word.
const ROUNDED_PRICE_MIN: f64 = 1.0;

/// The whole report; headings are `bold` where the terminal can do that.
pub(super) fn text_of(report: &Report, bold: bool) -> String {
    let mut text = format!("watched for {}: nothing was sent, and no offset was stored\n", seconds(report.watched_seconds));
    for flow in &report.flows {
        let heading = format!("{} to {}", flow.name, flow.to());
        let heading = if bold { format!("\x1b[1m{heading}\x1b[0m") } else { heading };
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(text, "\n{heading}");
        write_flow(&mut text, flow, report.peak_seconds);
    }
    if report.flows.iter().any(|flow| flow.lines > 0) {
        write_basis(&mut text, report, bold);
    }
    text
}

fn write_flow(text: &mut String, flow: &OfFlow, peak_seconds: usize) {
    let files = counted(usize::try_from(flow.files).unwrap_or(usize::MAX), "file");
    if flow.lines == 0 {
        let _ = writeln!(
            text,
            "  no line was appended in {} ({files} watched): there is nothing to estimate from",
            seconds(flow.watched_seconds)
        );
        return;
    }
    let rows = [
        ("files", files.clone()),
        (
            "lines",
            format!(
                "{} a second, at most {} in one second",
                figure(flow.lines_per_second_mean),
                figure(flow.lines_per_second_peak_1_second)
            ),
        ),
        (
            "bytes of files",
            format!(
                "{} a second, at most {} in one second",
                bytes(flow.bytes_per_second_mean),
                bytes(flow.bytes_per_second_peak_1_second)
            ),
        ),
        (
            "record size",
            format!(
                "mean {}, p50 {}, p99 {}, max {}",
                bytes(flow.record_bytes_mean),
                human_bytes(flow.record_bytes_p50 as u64),
                human_bytes(flow.record_bytes_p99 as u64),
                human_bytes(flow.record_bytes_max as u64)
            ),
        ),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<16}{value}");
    }
    if let Some(becoming) = becoming(flow) {
        let _ = writeln!(text, "  {:<16}{becoming}", "records are");
    }
    write_needs(text, flow, peak_seconds);
    write_keys(text, flow);
    write_warnings(text, flow);
}

/// What is done with records before they are sent.
fn becoming(flow: &OfFlow) -> Option<String> {
    let compressed = (flow.compress != "none").then(|| format!("compressed ({})", flow.compress));
    let encrypted = (flow.encryption_bytes > 0).then(|| format!("encrypted ({} more each)", bytes(flow.encryption_bytes as f64)));
    let all: Vec<String> = compressed.into_iter().chain(encrypted).collect();
    let not_all = match flow.needs {
        Needs::Stream { .. } => ", but not with \"kpl\"",
        Needs::DeliveryStream { .. } if flow.compress != "none" => ", but single lines not compressed",
        Needs::DeliveryStream { .. } => "",
    };
    (!all.is_empty()).then(|| format!("{}{not_all}", all.join(", then ")))
}

/// The ways of packing side by side.
fn write_needs(text: &mut String, flow: &OfFlow, peak_seconds: usize) {
    let title = |name: &str| {
        if flow.aggregate == name { format!("\"{name}\" (configured)") } else { format!("\"{name}\"") }
    };
    let peak = |what: &str| format!("peak of {peak_seconds} s: {what} a second");
    text.push('\n');
    match &flow.needs {
        Needs::Stream { kpl, lines, none } => {
            write_row(text, "with aggregate =", &["kpl", "lines", "none"].map(title));
            let mut row = |name: &str, of: &dyn Fn(&OfStream) -> String| {
                write_row(text, name, &[of(kpl), of(lines), of(none)]);
            };
            row("records a second", &|of| figure(of.records_per_second_mean));
            row("bytes a second", &|of| bytes(of.bytes_per_second_mean));
            row("PUT payload units a second", &|of| figure(of.put_payload_units_per_second_mean));
            row(&peak("records"), &|of| figure(of.records_per_second_peak));
            row(&peak("bytes"), &|of| bytes(of.bytes_per_second_peak));
            row("shards for that peak", &|of| format!("{} (by {})", of.shards, of.shards_limited_by));
            row("busiest shard: of all bytes", &|of| percent(of.busiest_shard_share_of_bytes));
            row("busiest shard: of all records", &|of| percent(of.busiest_shard_share_of_records));
            row("a month, provisioned", &|of| money(of.provisioned_price_per_month));
            row("a month, on-demand", &|of| money(of.on_demand_price_per_month));
            row("cheaper", &|of| of.cheaper.replace('_', "-"));
        }
        Needs::DeliveryStream { joined, single_lines } => {
            write_row(text, "lines are sent", &["joined".to_owned(), "one by one".to_owned()]);
            let mut row = |name: &str, of: &dyn Fn(&OfDirectPuts) -> String| {
                write_row(text, name, &[of(joined), of(single_lines)]);
            };
            row("records a second", &|of| figure(of.records_per_second_mean));
            row("bytes a second", &|of| bytes(of.bytes_per_second_mean));
            row("PutRecordBatch calls a second", &|of| figure(of.requests_per_second_mean));
            row("charged bytes a second", &|of| bytes(of.charged_bytes_per_second_mean));
            row(&peak("records"), &|of| figure(of.records_per_second_peak));
            row(&peak("bytes"), &|of| bytes(of.bytes_per_second_peak));
            row(&peak("calls"), &|of| figure(of.requests_per_second_peak));
            let quota = |of: &OfQuota| format!("{} (by {})", percent(of.share), of.limited_by);
            row("of the quota of large regions", &|of| quota(&of.quota_of_large_regions));
            row("of the quota of other regions", &|of| quota(&of.quota_of_other_regions));
            row("a month", &|of| money(of.price_per_month));
        }
    }
}

fn write_row(text: &mut String, name: &str, values: &[String]) {
    let _ = write!(text, "  {name:<32}");
    for value in values {
        let _ = write!(text, "{value:>21}");
    }
    text.push('\n');
}

fn write_keys(text: &mut String, flow: &OfFlow) {
    match flow.partition_key.as_deref() {
        None => {}
        Some("random") => _ = writeln!(text, "\n  partition_key = \"random\": spread evenly, no key is hot"),
        Some(key) if flow.hot_keys.is_empty() => {
            let _ = writeln!(text, "\n  partition_key = {key:?}: no key has 1 % of the bytes");
        }
        Some(key) => {
            let _ = writeln!(text, "\n  partition_key = {key:?}: share of the bytes");
            for hot in &flow.hot_keys {
                let _ = writeln!(text, "  {:>8}  {}", percent(hot.share_of_bytes), shortened(&hot.key));
            }
        }
    }
}

fn write_warnings(text: &mut String, flow: &OfFlow) {
    let share = |lines: u64| percent(lines as f64 / flow.lines.max(1) as f64);
    let mut warnings = Vec::new();
    if flow.mismatched_lines > 0 {
        warnings.push(format!("{} of the lines do not match [flow.parse]", share(flow.mismatched_lines)));
    }
    if flow.lines_without_partition_key > 0 {
        let keyless = share(flow.lines_without_partition_key);
        warnings.push(format!("{keyless} of the lines have no partition key, and get a random one"));
    }
    if flow.dropped_bytes > 0 {
        let dropped = human_bytes(flow.dropped_bytes);
        warnings.push(format!("{dropped} would not be sent, by the configuration or because they are too large"));
    }
    match &flow.needs {
        Needs::Stream { kpl, lines, none } => {
            for (name, needs) in [("kpl", kpl), ("lines", lines), ("none", none)] {
                warnings.extend(warnings_of_stream(flow, name, needs));
            }
        }
        Needs::DeliveryStream { joined, .. } => warnings.extend(warnings_of_direct_puts(joined)),
    }
    if flow.unread_bytes as f64 > UNREAD_SECONDS * flow.bytes_per_second_mean {
        let unread = human_bytes(flow.unread_bytes);
        warnings.push(format!("{unread} more were appended and not read in time: all figures are too low"));
    }
    for warning in warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
}

fn warnings_of_stream(flow: &OfFlow, name: &str, needs: &OfStream) -> Vec<String> {
    let mut warnings = Vec::new();
    if needs.busiest_shard_is_overloaded {
        let why = match flow.order {
            "file" => "all lines of a file go to one shard, however many there are",
            _ => "all lines of a key go to one shard, and further shards help only as far as they part hot keys",
        };
        warnings.push(format!("with aggregate = \"{name}\" the busiest shard gets more than it takes in a peak; {why}"));
    }
    let has_keys = flow.partition_key.as_deref() != Some("random") && flow.order != "file";
    if has_keys && name != "none" && needs.shards > u64::from(HASH_RANGES) {
        warnings.push(format!(
            "with aggregate = \"{name}\" lines with a partition key reach only {HASH_RANGES} shards where the agent may not \
             list them (kinesis:ListShards)"
        ));
    }
    warnings
}

fn warnings_of_direct_puts(joined: &OfDirectPuts) -> Vec<String> {
    let mut warnings = Vec::new();
    let where_exceeded = match (joined.quota_of_large_regions.share, joined.quota_of_other_regions.share) {
        (1.0.., _) => Some("everywhere".to_owned()),
        (_, 1.0..) => Some(format!("but for {}", listed(&FIREHOSE_LARGE_REGIONS))),
        _ => None,
    };
    if let Some(place) = where_exceeded {
        warnings.push(format!(
            "in a peak this flow alone takes the whole quota of a delivery stream, {place}: have it raised before, or the \
             service refuses records until it has done so by itself"
        ));
    }
    let rounded = 1.0 - joined.bytes_per_second_mean / joined.charged_bytes_per_second_mean.max(1.0);
    if rounded > ROUNDED_SHARE_MAX && rounded * joined.price_per_month >= ROUNDED_PRICE_MIN {
        warnings.push(format!(
            "{} of what is charged is nothing but rounding up: with a longer max_delay or larger record_bytes there are fewer \
             and larger records",
            percent(rounded)
        ));
    }
    warnings
}

fn write_basis(text: &mut String, report: &Report, bold: bool) {
    let heading = "what this rests on";
    let _ = if bold { writeln!(text, "\n\x1b[1m{heading}\x1b[0m") } else { writeln!(text, "\n{heading}") };
    let seen = || report.flows.iter().filter(|flow| flow.lines > 0);
    let is_firehose = |flow: &OfFlow| matches!(flow.to(), Destination::Firehose(_));
    let (has_streams, has_delivery_streams) = (seen().any(|flow| !is_firehose(flow)), seen().any(is_firehose));
    if has_streams {
        write_basis_of_streams(text, report.peak_seconds);
    }
    if has_delivery_streams {
        write_basis_of_direct_puts(text);
    }
    if seen().any(|flow| flow.encryption_bytes > 0) {
        let _ = writeln!(
            text,
            "  encrypted a record grows by a little more or less, as KMS makes the data key; its calls are not counted"
        );
    }
    let is_used = |key: &str| if key.starts_with("firehose_") { has_delivery_streams } else { has_streams };
    for (index, (key, price)) in report.prices.all().into_iter().filter(|(key, _)| is_used(key)).enumerate() {
        let _ = writeln!(text, "  {:<10}{key} = {price}", if index == 0 { "prices" } else { "" });
    }
    let (region, currency, date) = (Prices::DEFAULT_REGION, Prices::DEFAULT_CURRENCY, Prices::DEFAULT_DATE);
    let whose = if report.prices == Prices::default() {
        format!("those of {region} in {currency} on {date}; they differ by region and change:\n            ")
    } else {
        "as set by ".to_owned()
    };
    let how = if report.prices == Prices::default() { "set yours in " } else { "" };
    let _ = writeln!(text, "            {whose}{how}[prices] or by --price");
    for shared in report.shared_destinations() {
        let what = match shared {
            Destination::Kinesis(_) => "it needs fewer shards than their sum, and costs its hours once",
            Destination::Firehose(_) => "they share its quota",
        };
        let _ = writeln!(text, "  {shared} is that of several flows: {what}");
    }
}

fn write_basis_of_streams(text: &mut String, peak_seconds: usize) {
    let mebibytes = |byte_count: usize| byte_count >> 20;
    let _ = writeln!(
        text,
        "  shards    for the busiest {peak_seconds} s; each takes {} MiB and {SHARD_RECORDS_IN_MAX} records a second and gives {} MiB;\n\
         \x20           one consumer reads everything, and each further one that shares the throughput as much again;\n\
         \x20           lines with keys are packed and spread as for a new stream of so many shards",
        mebibytes(SHARD_BYTES_IN_MAX),
        mebibytes(SHARD_BYTES_OUT_MAX),
    );
    let _ = writeln!(
        text,
        "  costs     {MONTH_HOURS} h at the mean rate; provisioned: shards for the peak, and PUT payload units of {} KiB of each\n\
         \x20           record; on-demand: records in by the full KiB, and all of it out once; not counted: longer retention,\n\
         \x20           enhanced fan-out, other hosts",
        PAYLOAD_UNIT_BYTES >> 10,
    );
}

fn write_basis_of_direct_puts(text: &mut String) {
    let quota = |FirehoseQuota { records, requests, bytes }: FirehoseQuota| {
        let (records, requests) = (grouped(&records.to_string()), grouped(&requests.to_string()));
        format!("{records} records, {requests} calls and {} MiB", bytes >> 20)
    };
    let _ = writeln!(
        text,
        "  firehose  {MONTH_HOURS} h at the mean rate; each record is charged as a multiple of {} KiB, a GB of the price list being a\n\
         \x20           GiB; not counted: lower prices beyond 500 TB a month, conversion, partitioning, VPCs, the destination\n\
         \x20 quota     of each delivery stream, for all that is put directly, also by other hosts, until it is raised:\n\
         \x20           {} a second in {};\n\
         \x20           {} a second elsewhere",
        FIREHOSE_CHARGED_BYTES >> 10,
        quota(FIREHOSE_QUOTA_LARGE),
        listed(&FIREHOSE_LARGE_REGIONS),
        quota(FIREHOSE_QUOTA),
    );
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} and {last}", names.join(", ")),
        names => names.concat(),
    }
}

/// `60 s`, `0.5 s`.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 && (seconds - seconds.round()).abs() >= 0.05 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// `0.05`, `12.3`, `1,234`.
fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.01 => "< 0.01".to_owned(),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// `10.95`, `1,234.50`.
fn money(value: f64) -> String {
    grouped(&format!("{value:.2}"))
}

/// Digits in groups of three.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::with_capacity(number.len() + number.len() / 3);
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

fn bytes(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people; not negative")]
    human_bytes(value.round() as u64)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn shortened(key: &str) -> String {
    let key = one_line(key);
    match key.char_indices().nth(KEY_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key,
    }
}

#[cfg(test)]
mod tests;
