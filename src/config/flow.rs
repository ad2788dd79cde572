//! `[[flow]]` and `[flow.line]`: which files, and how bytes become lines.

use std::time::Duration;

use super::reader::{Placed, Table};
use super::record::Given;
use super::{
    Aggregate, Compressed, Delivery, Encoding, Flow, LineRules, OnMismatch, StartAt, TooLong, aws, encryption, filter, firehose,
    kinesis, multiline, parse, record,
};
use crate::discovery::{Globs, PatternMistake};
use crate::limits::{HEADER_LINES_MAX, LINE_BYTES_MAX, RESCAN_DEFAULT, RESCAN_MAX, RESCAN_MIN, SEALED_OVERHEAD_BYTES_MAX};
use crate::processor::field_names;

/// Longest name of a flow: it is part of every offset's key and of every metric.
const NAME_CHARS_MAX: usize = 128;
/// Greatest `ignore_older`: ten years.
const IGNORE_OLDER_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const ENCODINGS: [(&str, Encoding); 8] = [
    ("utf-8", Encoding::Utf8),
    ("utf-16", Encoding::Utf16),
    ("utf-16le", Encoding::Utf16Le),
    ("utf-16be", Encoding::Utf16Be),
    ("latin-1", Encoding::Latin1),
    ("shift_jis", Encoding::ShiftJis),
    ("euc-kr", Encoding::EucKr),
    ("gb18030", Encoding::Gb18030),
];

/// One `[[flow]]`, before it is known whether its name is unique.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// None when it could not be understood.
    pub(super) flow: Option<Flow>,
    pub(super) name: Option<Placed<String>>,
}

/// Reads one `[[flow]]`.
pub(super) fn read(table: &mut Table<'_>, source: &str) -> Written {
    let name = name(table);
    table.require("files", "write files = [\"/var/log/app/**/*.log\"]");
    let files = patterns(table, "files", source);
    let exclude = patterns(table, "exclude", source);
    let start_at = table.choice("start_at", &[("beginning", StartAt::Beginning), ("end", StartAt::End)]);
    let ignore_older = table.duration("ignore_older", Duration::from_secs(1)..=IGNORE_OLDER_MAX).map(|written| written.value);
    let compressed = table.choice("compressed", &[("ignore", Compressed::Ignore), ("read", Compressed::Read)]);
    let rescan = table.duration("rescan", RESCAN_MIN..=RESCAN_MAX).map_or(RESCAN_DEFAULT, |written| written.value);
    let poll = table.boolean("poll").unwrap_or(false);
    let parse = table.optional_section("parse", |table| parse::read(table, source)).flatten();
    let is_parsed = table.has("parse");
    let header_lines_min = usize::from(parse.as_ref().is_some_and(|parse| parse.format.has_header()));
    let container = parse.as_ref().and_then(|parse| parse.format.container());
    let multiline = table.optional_section("multiline", |table| multiline::read(table, source, container)).flatten();
    let multiline = multiline.or_else(|| container.map(multiline::of_parts));
    // Where `[flow.parse]` is not sound, nobody knows what fields there are.
    let names = if is_parsed && parse.is_none() { None } else { field_names(parse.as_ref().map(|parse| &parse.format)) };
    let names = names.as_deref();
    let is_wrapped = parse.as_ref().is_some_and(|parse| parse.on_mismatch == OnMismatch::Wrap);
    let filter = table.section("filter", |table| filter::read(table, source, names));
    let delivery = delivery(table, source, names);
    let aggregate = delivery.as_ref().map(|delivery| delivery.aggregate);
    let encryption = table.optional_section("encryption", |table| encryption::read(table, aggregate)).flatten();
    let given = Given { names, is_parsed, is_wrapped, is_joined: aggregate == Some(Aggregate::Lines) };
    let record = table.section("record", |table| record::read(table, source, &given));
    let lengths = line_lengths(delivery.as_ref(), encryption.is_some());
    let line = table.section("line", |table| line(table, is_parsed, header_lines_min, lengths));
    let aws = table.section("aws", aws::read);

    let flow = name.clone().zip(delivery).map(|(name, delivery)| Flow {
        name: name.value,
        files,
        exclude,
        start_at: start_at.unwrap_or(StartAt::Beginning),
        ignore_older,
        compressed: compressed.unwrap_or(Compressed::Ignore),
        rescan,
        poll,
        line,
        multiline,
        parse,
        filter,
        record,
        delivery,
        encryption,
        aws,
    });
    Written { flow, name }
}

/// One of the two there must be.
fn delivery(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Delivery> {
    if table.has("kinesis") && table.has("firehose") {
        let help = "a flow has one destination: write a second [[flow]] with the same files for the other";
        table.mistake(table.place(), "both [flow.kinesis] and [flow.firehose]", help);
    }
    let firehose = table.optional_section("firehose", firehose::read);
    if firehose.is_none() {
        table.require(
            "kinesis",
            "write [flow.kinesis] and below it stream = \"…\"; or [flow.firehose] and delivery_stream = \"…\"",
        );
    }
    let kinesis = table.optional_section("kinesis", |table| kinesis::read(table, source, names));
    kinesis.or(firehose).flatten()
}

fn name(table: &mut Table<'_>) -> Option<Placed<String>> {
    table.require("name", "write name = \"…\": offsets and metrics are kept by it");
    let Placed { value, place } = table.string("name")?;
    if value.is_empty() || value.chars().count() > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        table.mistake(&place, "`name` cannot be used", format!("write 1 to {NAME_CHARS_MAX} characters on one line"));
    }
    Some(Placed { value: value.to_owned(), place })
}

fn patterns(table: &mut Table<'_>, key: &'static str, source: &str) -> Vec<String> {
    let Some(written) = table.strings(key) else { return Vec::new() };
    if key == "files" && written.is_empty() {
        table.mistake(table.place(), "`files` is empty", "write files = [\"/var/log/app/**/*.log\"]");
    }
    for pattern in &written {
        let alone = [pattern.value.to_owned()];
        let compiled = if key == "files" { Globs::new(&alone, &[]) } else { Globs::new(&[], &alone) };
        if let Err(PatternMistake { offset, message, help }) = compiled {
            table.mistake(&pattern.within(source, offset..offset), format!("pattern in `{key}`: {message}"), help);
        }
    }
    written.iter().map(|pattern| pattern.value.to_owned()).collect()
}

/// The longest line, in UTF-8, when nothing is said, and the longest that can be configured.
fn line_lengths(delivery: Option<&Delivery>, is_encrypted: bool) -> (usize, usize) {
    let overhead = if is_encrypted { SEALED_OVERHEAD_BYTES_MAX } else { 0 };
    // Where the destination is not sound, nobody knows how long a record may be.
    let Some(delivery) = delivery else { return (LINE_BYTES_MAX, usize::MAX) };
    (delivery.line_bytes_default() - overhead, delivery.line_bytes_max() - overhead)
}

fn line(table: &mut Table<'_>, is_parsed: bool, header_lines_min: usize, (usual, longest): (usize, usize)) -> LineRules {
    let too_long = [("truncate", TooLong::Truncate), ("split", TooLong::Split), ("drop", TooLong::Drop)];
    let encoding = table.choice("encoding", &ENCODINGS).unwrap_or(Encoding::Utf8);
    let (usual, longest) = (encoding.line_bytes_max(usual), encoding.line_bytes_max(longest));
    let bounds = encoding.character_bytes_max()..=longest;
    let why = match encoding {
        Encoding::Utf8 => "",
        _ => " with this `encoding`: bytes of the file, which may become more as UTF-8 and must then fit a record",
    };
    let skip_header_lines = table.integer("skip_header_lines", 0..=HEADER_LINES_MAX).map_or(0, |written| written.value);
    LineRules {
        encoding,
        skip_header_lines: skip_header_lines.max(header_lines_min),
        max_bytes: table.size_because("max_bytes", bounds, why).map_or(usual, |written| written.value),
        too_long: table.choice("too_long", &too_long).unwrap_or(TooLong::Truncate),
        strip_cr: table.boolean("strip_cr").unwrap_or(is_parsed),
    }
}
