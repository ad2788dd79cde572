//! What is shown as a person reads it: a field a line, what is wrong below, and figures at the end.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::members::members;
use super::shown::{Counts, Shown};
use crate::command::{counted, human_bytes};
use crate::config::{Aggregate, Compression, Destination, Flow, OnMismatch, Output};
use crate::settlement::DropReason;

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 1_000;
/// Characters of a record that is no JSON, or of a line.
const TEXT_CHARS_MAX: usize = 4_000;
/// Names of fields are filled up to the longest, but to no more than this.
const NAME_CHARS_MAX: usize = 32;

/// Which of the terminal's colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint {
    pub(super) is_coloured: bool,
}

/// SGR parameters of ECMA-48.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Bold,
    Dim,
    Name,
    Warning,
}

impl Paint {
    fn put(self, style: Style, text: &str) -> String {
        let parameter = match style {
            Style::Plain => return text.to_owned(),
            _ if !self.is_coloured => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Name => "36",
            Style::Warning => "33",
        };
        format!("\x1b[{parameter}m{text}\x1b[0m")
    }
}

/// Writes what stands above the lines of a flow.
pub(super) fn write_heading(flow: &Flow, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    let stream = format!("to {}", flow.delivery.destination);
    writeln!(out, "{} {}", paint.put(Style::Bold, &flow.name), paint.put(Style::Dim, &stream))?;
    if let Some(becoming) = becoming(flow) {
        writeln!(out, "{}", paint.put(Style::Dim, &becoming))?;
    }
    writeln!(out)
}

/// What is done on their way with the records that are shown.
fn becoming(flow: &Flow) -> Option<String> {
    let records = match flow.delivery.aggregate {
        Aggregate::Lines => "records are joined, each joined one is",
        Aggregate::Kpl | Aggregate::None => "each record is",
    };
    let compressed = match flow.delivery.compress {
        Compression::None => None,
        compress => Some(format!("compressed ({})", compress.as_str())),
    };
    let encrypted = flow.encryption.is_some().then(|| "encrypted".to_owned());
    let all: Vec<String> = compressed.into_iter().chain(encrypted).collect();
    (!all.is_empty()).then(|| format!("{records} {} on its way", all.join(" and then ")))
}

/// Writes what is shown of `flow`, and an empty line.
pub(super) fn write_line(flow: &Flow, shown: &Shown<'_>, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    let mut head = format!("{}:{}", visible(shown.path.to_string_lossy().as_bytes(), TEXT_CHARS_MAX), shown.span.start);
    // Firehose knows no keys.
    if shown.record.is_ok() && matches!(flow.delivery.destination, Destination::Kinesis(_)) {
        let key = shown.partition_key.map_or("random".to_owned(), |key| visible(key.as_bytes(), TEXT_CHARS_MAX));
        write!(head, "  key={key}").map_err(io::Error::other)?;
    }
    writeln!(out, "{}", paint.put(Style::Dim, &head))?;
    let style = match shown.record {
        _ if shown.is_mismatched() => Style::Warning,
        Ok(_) => Style::Plain,
        Err(_) => Style::Dim,
    };
    match (shown.record, shown.line) {
        (Ok(record), _) => write_record(flow, shown, record, style, paint, out)?,
        (Err(_), Some(line)) => write_text(line, style, paint, out)?,
        (Err(_), None) => {}
    }
    for note in notes(flow, shown) {
        writeln!(out, "  {}", paint.put(Style::Warning, &format!("! {note}")))?;
    }
    writeln!(out)
}

fn write_record(
    flow: &Flow,
    shown: &Shown<'_>,
    record: &[u8],
    style: Style,
    paint: Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    let record = record.strip_suffix(flow.record.terminator.as_bytes()).unwrap_or(record);
    let is_object = flow.record.output == Output::Json && !shown.is_mismatched() || is_wrapped(flow, shown);
    let members = if is_object { members(record) } else { None };
    let Some(members) = members else { return write_text(record, style, paint, out) };
    if members.is_empty() {
        return write_text(record, style, paint, out);
    }
    let names = members.iter().map(|(name, _)| visible(name.as_bytes(), VALUE_CHARS_MAX));
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(NAME_CHARS_MAX);
    for (name, (_, value)) in names.iter().zip(&members) {
        let name = paint.put(Style::Name, &format!("{name:width$}"));
        writeln!(out, "  {name}  {}", paint.put(style, &visible(value.as_bytes(), VALUE_CHARS_MAX)))?;
    }
    Ok(())
}

fn is_wrapped(flow: &Flow, shown: &Shown<'_>) -> bool {
    shown.is_mismatched() && flow.parse.as_ref().is_some_and(|parse| parse.on_mismatch == OnMismatch::Wrap)
}

/// Text that may be of several lines.
fn write_text(text: &[u8], style: Style, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    for line in visible_lines(text, TEXT_CHARS_MAX).split('\n') {
        writeln!(out, "  {}", paint.put(style, line))?;
    }
    Ok(())
}

/// What there is to say of a line, the gravest first.
fn notes(flow: &Flow, shown: &Shown<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Err(reason) = shown.record {
        notes.push(format!("not sent: {}{}", reason.as_str(), why(reason)));
        if shown.line.is_none() {
            notes.push(human_bytes(shown.span.byte_count()));
        }
    } else if shown.is_mismatched() {
        let how = if is_wrapped(flow, shown) { "wrapped" } else { "as it is" };
        notes.push(format!("no match: sent {how}"));
    }
    let Some(processed) = shown.processed else { return notes };
    match shown.unfit_fields.as_slice() {
        [] if processed.type_mismatches > 0 => {
            notes.push(format!("{} not fit their type", counted(processed.type_mismatches as usize, "value")));
        }
        [] => {}
        [field] => notes.push(format!("does not fit its type: {}", visible(field.as_bytes(), VALUE_CHARS_MAX))),
        fields => notes.push(format!("do not fit their types: {}", visible(fields.join(", ").as_bytes(), VALUE_CHARS_MAX))),
    }
    if shown.is_replaced {
        notes.push("some bytes became U+FFFD".to_owned());
    }
    if processed.key_missing {
        notes.push("its partition key is missing, empty or masked: a random one".to_owned());
    }
    if processed.overwritten_fields > 0 {
        let fields = counted(processed.overwritten_fields as usize, "field");
        notes.push(format!("{fields} of the line gave way to added ones of the same name"));
    }
    notes
}

fn why(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Hole => " (NULs at the beginning of a file that was truncated)",
        DropReason::Header => " ([flow.line] skip_header_lines)",
        DropReason::TooLong => " (beyond [flow.line] max_bytes)",
        DropReason::Mismatch => " (no match, and on_mismatch = \"drop\")",
        DropReason::NotKept => " (no condition of [flow.filter] keep holds)",
        DropReason::Filtered => " (a condition of [flow.filter] drop holds)",
        DropReason::NotSampled => " (not in the share of [flow.filter] sample)",
        DropReason::RecordTooLarge => " (the record is larger than its stream takes)",
    }
}

/// Writes the figures of a flow, or of all.
pub(super) fn write_counts(
    name: &str,
    flow: Option<&Flow>,
    counts: &Counts,
    paint: Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{}", paint.put(Style::Bold, name))?;
    let mut row = |label: &str, count: u64, more: &str, style: Style| {
        let line = format!("  {label:<26}{count:>9}{}{more}", if more.is_empty() { "" } else { "  " });
        writeln!(out, "{}", paint.put(style, &line))
    };
    row("lines read", counts.read_lines, &human_bytes(counts.read_bytes), Style::Plain)?;
    if flow.is_none_or(|flow| flow.parse.is_some()) {
        row("matched", counts.matched_lines, "", Style::Plain)?;
        let how = match flow.and_then(|flow| flow.parse.as_ref()).map(|parse| parse.on_mismatch) {
            _ if counts.mismatched_lines == 0 => "",
            Some(OnMismatch::SendRaw) => "sent as they are",
            Some(OnMismatch::Wrap) => "sent wrapped",
            Some(OnMismatch::Drop) => "not sent",
            None => "",
        };
        row("mismatched", counts.mismatched_lines, how, warning_if(counts.mismatched_lines > 0))?;
    }
    for (reason, byte_count) in &counts.dropped_bytes {
        let line_count = counts.dropped_lines.get(reason).copied().unwrap_or(0);
        row(&format!("not sent, {reason}"), line_count, &human_bytes(*byte_count), Style::Plain)?;
    }
    row("records to send", counts.user_records, &human_bytes(counts.user_record_bytes), Style::Plain)?;
    for (label, count) in [
        ("type mismatches", counts.type_mismatches),
        ("lines with U+FFFD", counts.replaced_characters_lines),
        ("without their key", counts.partition_key_missing_lines),
        ("with unknown variables", counts.unknown_variables_lines),
        ("overwritten fields", counts.overwritten_fields),
    ] {
        if count > 0 {
            row(label, count, "", Style::Warning)?;
        }
    }
    if counts.masked_places > 0 {
        row("masked places", counts.masked_places, "", Style::Plain)?;
    }
    Ok(())
}

fn warning_if(is_wrong: bool) -> Style {
    if is_wrong { Style::Warning } else { Style::Plain }
}

/// Writes a remark below the figures.
pub(super) fn write_remark(text: &str, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", paint.put(Style::Dim, text))
}

/// Bytes on one line of a terminal, cut to so many characters: nothing in them can move the cursor.
pub(super) fn visible(bytes: &[u8], chars_max: usize) -> String {
    visible_lines(bytes, chars_max).replace('\n', "\\n")
}

/// As [`visible`], newlines left as they are.
fn visible_lines(bytes: &[u8], chars_max: usize) -> String {
    let mut text = String::new();
    let mut left = chars_max;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if left == 0 {
                return cut(&text, bytes.len());
            }
            left -= 1;
            match character {
                '\n' | '\t' => text.push(character),
                // Control characters, and those that turn the direction of writing or break the line.
                c if c.is_control()
                    || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}') =>
                {
                    text.extend(c.escape_unicode());
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            if left == 0 {
                return cut(&text, bytes.len());
            }
            left -= 1;
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn cut(text: &str, byte_count: usize) -> String {
    format!("{text}… ({byte_count} bytes)")
}
