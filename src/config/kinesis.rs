//! `[flow.kinesis]`: the stream and how records are packed for it.

use super::parse::check_field;
use super::reader::{Placed, Table};
use super::{Aggregate, Kinesis, Parse, PartitionKey};
use crate::limits::{
    MAX_DELAY_DEFAULT, MAX_DELAY_MAX, MAX_DELAY_MIN, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MAX, REQUEST_BYTES_MIN,
};
use crate::processor::field_names;

/// Characters of a stream's name: API reference of `CreateStream`.
const STREAM_CHARS_MAX: usize = 128;

/// Reads `[flow.kinesis]` of a flow with (`is_parsed`) or without `[flow.parse]`; `parse` is that, if it is sound.
pub(super) fn read(table: &mut Table<'_>, is_parsed: bool, parse: Option<&Parse>) -> Option<Kinesis> {
    let stream = stream(table);
    let aggregate = table.choice("aggregate", &[("kpl", Aggregate::Kpl), ("none", Aggregate::None)]);
    let partition_key = partition_key(table, is_parsed, parse);
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

fn partition_key(table: &mut Table<'_>, is_parsed: bool, parse: Option<&Parse>) -> Option<PartitionKey> {
    let written = table.string("partition_key")?;
    let Some(field) = written.value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        let words = [("random", Some(PartitionKey::Random)), ("file", Some(PartitionKey::File)), ("${field}", None)];
        let meanings: Vec<_> = words.iter().map(|(word, meaning)| (*word, meaning.as_ref())).collect();
        return table.chosen("partition_key", &written, &meanings).flatten().cloned();
    };
    if !is_parsed {
        let help = "fields are the named groups of [flow.parse] regex; without it, \"random\" and \"file\" are valid";
        table.mistake(&written.place, format!("`partition_key` names the field `{field}` of a flow without [flow.parse]"), help);
    } else if let Some(names) = parse.and_then(|parse| field_names(Some(&parse.format))) {
        check_field(table, "partition_key", &Placed { value: field, place: written.place }, &names);
    }
    Some(PartitionKey::Field(field.to_owned()))
}
