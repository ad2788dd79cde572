//! The report as text for people: aligned, figures rounded to what matters.

use std::fmt::Write as _;

use super::report::{OfFlow, OfPacking, Report};
use super::sums::MONTH_HOURS;
use crate::command::{counted, human_bytes};
use crate::config::{Prices, one_line};
use crate::limits::{HASH_RANGES, PAYLOAD_UNIT_BYTES, SHARD_BYTES_IN_MAX, SHARD_BYTES_OUT_MAX, SHARD_RECORDS_IN_MAX};

/// Characters of a partition key that are shown.
const KEY_CHARS_MAX: usize = 60;
/// More unread bytes than come in so many seconds are told: the tailer did not keep pace.
const UNREAD_SECONDS: f64 = 2.0;

/// The whole report; headings are `bold` where the terminal can do that.
pub(super) fn text_of(report: &Report, bold: bool) -> String {
    let mut text = format!("watched for {}: nothing was sent, and no offset was stored\n", seconds(report.watched_seconds));
    for flow in &report.flows {
        let heading = format!("{} to stream {}", flow.name, flow.stream);
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
    write_packings(text, flow, peak_seconds);
    write_keys(text, flow);
    write_warnings(text, flow);
}

/// Both ways of packing side by side.
fn write_packings(text: &mut String, flow: &OfFlow, peak_seconds: usize) {
    let title = |name: &str| {
        if flow.aggregate == name { format!("\"{name}\" (configured)") } else { format!("\"{name}\"") }
    };
    let _ = writeln!(text, "\n  {:<34}{:>20}{:>20}", "with aggregate =", title("kpl"), title("none"));
    let mut row = |name: String, of: &dyn Fn(&OfPacking) -> String| {
        let _ = writeln!(text, "  {name:<34}{:>20}{:>20}", of(&flow.kpl), of(&flow.none));
    };
    row("records a second".to_owned(), &|of| figure(of.records_per_second_mean));
    row("bytes a second".to_owned(), &|of| bytes(of.bytes_per_second_mean));
    row("PUT payload units a second".to_owned(), &|of| figure(of.put_payload_units_per_second_mean));
    row(format!("peak of {peak_seconds} s: records a second"), &|of| figure(of.records_per_second_peak));
    row(format!("peak of {peak_seconds} s: bytes a second"), &|of| bytes(of.bytes_per_second_peak));
    row("shards for that peak".to_owned(), &|of| format!("{} (by {})", of.shards, of.shards_limited_by));
    row("busiest shard: of all bytes".to_owned(), &|of| percent(of.busiest_shard_share_of_bytes));
    row("busiest shard: of all records".to_owned(), &|of| percent(of.busiest_shard_share_of_records));
    row("a month, provisioned".to_owned(), &|of| money(of.provisioned_price_per_month));
    row("a month, on-demand".to_owned(), &|of| money(of.on_demand_price_per_month));
    row("cheaper".to_owned(), &|of| of.cheaper.replace('_', "-"));
}

fn write_keys(text: &mut String, flow: &OfFlow) {
    match flow.partition_key.as_str() {
        "random" => _ = writeln!(text, "\n  partition_key = \"random\": spread evenly, no key is hot"),
        key if flow.hot_keys.is_empty() => {
            let _ = writeln!(text, "\n  partition_key = {key:?}: no key has 1 % of the bytes");
        }
        key => {
            let _ = writeln!(text, "\n  partition_key = {key:?}: share of the bytes");
            for hot in &flow.hot_keys {
                let _ = writeln!(text, "  {:>8}  {}", percent(hot.share_of_bytes), shortened(&hot.key));
            }
        }
    }
}

fn write_warnings(text: &mut String, flow: &OfFlow) {
    let share = |lines: u64| percent(lines as f64 / flow.lines.max(1) as f64);
    let mut warn = |warning: String| _ = writeln!(text, "  warning: {warning}");
    if flow.mismatched_lines > 0 {
        warn(format!("{} of the lines do not match [flow.parse]", share(flow.mismatched_lines)));
    }
    if flow.lines_without_partition_key > 0 {
        warn(format!("{} of the lines have no partition key, and get a random one", share(flow.lines_without_partition_key)));
    }
    if flow.dropped_bytes > 0 {
        warn(format!(
            "{} would not be sent, by the configuration or because they are too large",
            human_bytes(flow.dropped_bytes)
        ));
    }
    for (name, packing) in [("kpl", &flow.kpl), ("none", &flow.none)] {
        if packing.busiest_shard_is_overloaded {
            // Aggregates of lines with keys go to the middles of hash ranges.
            let why = if name == "kpl" && flow.partition_key != "random" {
                format!("lines with a partition key reach {HASH_RANGES} shards at most, and those of one key a single one")
            } else {
                "further shards help only as far as they part hot keys".to_owned()
            };
            warn(format!("with aggregate = \"{name}\" the busiest shard gets more than it takes in a peak; {why}"));
        }
    }
    if flow.unread_bytes as f64 > UNREAD_SECONDS * flow.bytes_per_second_mean {
        warn(format!("{} more were appended and not read in time: all figures are too low", human_bytes(flow.unread_bytes)));
    }
}

fn write_basis(text: &mut String, report: &Report, bold: bool) {
    let heading = "what this rests on";
    let _ = if bold { writeln!(text, "\n\x1b[1m{heading}\x1b[0m") } else { writeln!(text, "\n{heading}") };
    let mebibytes = |byte_count: usize| byte_count >> 20;
    let _ = writeln!(
        text,
        "  shards    for the busiest {} s; each takes {} MiB and {SHARD_RECORDS_IN_MAX} records a second and gives {} MiB;\n\
         \x20           one consumer reads everything, and each further one that shares the throughput as much again",
        report.peak_seconds,
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
    for (index, (key, price)) in report.prices.all().into_iter().enumerate() {
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
    for stream in report.shared_streams() {
        let _ = writeln!(
            text,
            "  stream {stream} is that of several flows: it needs fewer shards than their sum, and costs its hours once"
        );
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
