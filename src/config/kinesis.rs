//! `[flow.kinesis]`: the stream and how records are packed for it.

use std::time::Duration;

use super::reader::{Placed, Table};
use super::template::{self, Part, Template, Variable};
use crate::limits::{
    MAX_DELAY_DEFAULT, MAX_DELAY_MAX, MAX_DELAY_MIN, PARTITION_KEY_CHARS_MAX, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MAX,
    REQUEST_BYTES_MIN,
};

/// `[flow.kinesis]`: the stream and how records are packed for it.
#[derive(Clone, Debug)]
pub struct Kinesis {
    /// Name of the stream.
    pub stream: String,
    /// How lines become records.
    pub aggregate: Aggregate,
    /// Which partition key a line gets.
    pub partition_key: PartitionKey,
    /// Longest that a line waits for others before it is sent.
    pub max_delay: Duration,
    /// Most bytes of one request, partition keys included.
    pub request_bytes: usize,
}

/// `aggregate`: how lines become Kinesis records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Many lines in one record, in the KPL's format (default).
    Kpl,
    /// Each line is a record.
    None,
}

/// `partition_key`: which partition key a line gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionKey {
    /// None of its own: lines go wherever there is room (default).
    Random,
    /// The path of its file.
    File,
    /// A template, also `host` and `fixed:…`. A line without one of its fields counts and is sent as with `Random`.
    Template(Template),
}

/// Characters of a stream's name: API reference of `CreateStream`.
const STREAM_CHARS_MAX: usize = 128;

/// Reads `[flow.kinesis]`; `names` are the fields of a line, if they are known.
pub(super) fn read(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Kinesis> {
    let stream = stream(table);
    let aggregate = table.choice("aggregate", &[("kpl", Aggregate::Kpl), ("none", Aggregate::None)]);
    let partition_key = partition_key(table, source, names);
    let max_delay = table.duration("max_delay", MAX_DELAY_MIN..=MAX_DELAY_MAX);
    let request_bytes = table.size("request_bytes", REQUEST_BYTES_MIN..=REQUEST_BYTES_MAX);
    Some(Kinesis {
        stream: stream?,
        aggregate: aggregate.unwrap_or(Aggregate::Kpl),
        partition_key: partition_key.unwrap_or(PartitionKey::Random),
        max_delay: max_delay.map_or(MAX_DELAY_DEFAULT, |written| written.value),
        request_bytes: request_bytes.map_or(REQUEST_BYTES_DEFAULT, |written| written.value),
    })
}

fn stream(table: &mut Table<'_>) -> Option<String> {
    table.require("stream", "write stream = \"…\", the name of the Kinesis data stream");
    let Placed { value, place } = table.string("stream")?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if value.is_empty() || value.len() > STREAM_CHARS_MAX || !value.chars().all(is_allowed) {
        let help = match value.split_once(":stream/") {
            Some((_, name)) => format!("write the name, without the rest of the ARN: \"{name}\""),
            None => format!("write 1 to {STREAM_CHARS_MAX} letters, digits, `_`, `.` and `-`"),
        };
        table.mistake(&place, "`stream` is not the name of a stream", help);
    }
    Some(value.to_owned())
}

fn partition_key(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<PartitionKey> {
    let written = table.string("partition_key")?;
    if let Some(fixed) = written.value.strip_prefix("fixed:") {
        if fixed.is_empty() || fixed.chars().count() > PARTITION_KEY_CHARS_MAX {
            let help = format!("write 1 to {PARTITION_KEY_CHARS_MAX} characters behind `fixed:`");
            table.mistake(&written.place, "`partition_key` cannot be used", help);
        }
        return Some(PartitionKey::Template(Template { parts: vec![Part::Text(fixed.to_owned())] }));
    }
    if written.value.contains("${") {
        return Some(PartitionKey::Template(template::parse(table, "partition_key", &written, source, names)));
    }
    let host = PartitionKey::Template(Template { parts: vec![Part::Variable(Variable::HostName)] });
    let words = [
        ("random", Some(PartitionKey::Random)),
        ("file", Some(PartitionKey::File)),
        ("host", Some(host)),
        ("${field}", None),
        ("fixed:text", None),
    ];
    let meanings = words.each_ref().map(|(word, meaning)| (*word, meaning.as_ref()));
    table.chosen("partition_key", &written, &meanings).flatten().cloned()
}
