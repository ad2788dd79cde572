//! What is shown as lines of JSON, for programs: whole, in the order in which it was read.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::shown::{Counts, Shown};
use crate::settlement::DropReason;

#[derive(Serialize)]
struct Line<'a> {
    flow: &'a str,
    file: &'a str,
    offset: u64,
    read_bytes: u64,
    outcome: &'static str,
    reason: Option<&'static str>,
    partition_key: Option<&'a str>,
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
    /// Where there is no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
    mismatched: bool,
    type_mismatches: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unfit_fields: &'a [String],
    replaced_characters: bool,
    partition_key_missing: bool,
    unknown_variables: bool,
    overwritten_fields: u32,
    masked_places: u32,
}

/// Writes one line about what is shown of `flow`.
pub(super) fn write_line(flow: &str, shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let (record, record_base64) = shown.record.map_or((None, None), text_or_base64);
    let line = shown.line.filter(|_| shown.record.is_err());
    let (line, line_base64) = line.map_or((None, None), text_or_base64);
    let processed = shown.processed.as_ref();
    let line = Line {
        flow,
        file: &shown.path.to_string_lossy(),
        offset: shown.span.start,
        read_bytes: shown.span.byte_count(),
        outcome: if shown.record.is_ok() { "sent" } else { "dropped" },
        reason: shown.record.err().map(DropReason::as_str),
        partition_key: shown.partition_key,
        record,
        record_base64,
        line,
        line_base64,
        mismatched: shown.is_mismatched(),
        type_mismatches: processed.map_or(0, |processed| processed.type_mismatches),
        unfit_fields: &shown.unfit_fields,
        replaced_characters: shown.is_replaced,
        partition_key_missing: processed.is_some_and(|processed| processed.key_missing),
        unknown_variables: processed.is_some_and(|processed| processed.unknown_variables),
        overwritten_fields: processed.map_or(0, |processed| processed.overwritten_fields),
        masked_places: processed.map_or(0, |processed| processed.masks),
    };
    write_json(&line, out)
}

/// Writes the last line: the counts of all flows, and of each.
pub(super) fn write_counts(flows: BTreeMap<&str, &Counts>, total: &Counts, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct OfAll<'a> {
        total: &'a Counts,
        flows: BTreeMap<&'a str, &'a Counts>,
    }
    #[derive(Serialize)]
    struct Last<'a> {
        counts: OfAll<'a>,
    }
    write_json(&Last { counts: OfAll { total, flows } }, out)
}

fn write_json(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}
