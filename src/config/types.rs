//! `types` of `[flow.parse]`: what the values of fields are.

use std::collections::BTreeMap;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use super::mistakes::{listed, nearest};
use super::parse::check_field;
use super::reader::{Placed, Table};
use crate::processor::{PatternMistake, check_time_pattern};

/// A value of `types`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `"string"`
    String,
    /// `"integer"`: 64 bits, signed.
    Integer,
    /// `"float"`: finite.
    Float,
    /// `"boolean"`: `true` or `false`, any case.
    Boolean,
    /// `"timestamp"`
    Timestamp(TimestampRules),
}

/// `type = "timestamp"`: how a text is read as a time, and how that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampRules {
    /// `format`
    pub format: TimestampFormat,
    /// `zone`: that of texts that do not say one, by default the host's own.
    pub zone: TimeZone,
    /// `output`
    pub output: TimestampOutput,
}

/// `format` of a timestamp: what it looks like. All but those that are numbers may have fractions of seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Any of those below but a pattern: the one of which a text has the shape (default). Numbers are seconds,
    /// milliseconds, microseconds or nanoseconds when their whole part has 10, 13, 16 or 19 digits.
    Any,
    /// `"rfc3339"`: `2026-03-12T12:00:08+09:00`, also with a space for the `T`, and without an offset.
    Rfc3339,
    /// `"epoch"`: seconds since 1970, UTC, also with a fraction.
    Epoch,
    /// `"epoch_ms"`: milliseconds.
    EpochMs,
    /// `"epoch_us"`: microseconds.
    EpochUs,
    /// `"epoch_ns"`: nanoseconds.
    EpochNs,
    /// `"clf"`: `12/Mar/2026:12:00:08 +0900`, the time of access logs.
    Clf,
    /// `"syslog"`: `Mar  2 12:00:08`
    Syslog,
    /// `"apache_error"`: `Thu Mar 12 12:00:08.902022 2026`, as C's `ctime` and Apache write it.
    ApacheError,
    /// `"nginx_error"`: `2026/03/12 12:00:08`
    NginxError,
    /// Anything else: what `strftime` would take to write it, in the directives of the crate jiff. It gives a date, though
    /// perhaps without a year, and a time.
    Pattern(String),
}

/// `output` of a timestamp: how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampOutput {
    /// `"rfc3339"`: text, in UTC, with as many digits of a second as were read (default).
    Rfc3339,
    /// `"epoch_ms"`: a number, milliseconds since 1970.
    EpochMs,
}

#[derive(Clone, Copy)]
enum TypeName {
    String,
    Integer,
    Float,
    Boolean,
    Timestamp,
}

const TYPES: [(&str, TypeName); 5] = [
    ("string", TypeName::String),
    ("integer", TypeName::Integer),
    ("float", TypeName::Float),
    ("boolean", TypeName::Boolean),
    ("timestamp", TypeName::Timestamp),
];
const FORMATS: [(&str, TimestampFormat); 9] = [
    ("rfc3339", TimestampFormat::Rfc3339),
    ("epoch", TimestampFormat::Epoch),
    ("epoch_ms", TimestampFormat::EpochMs),
    ("epoch_us", TimestampFormat::EpochUs),
    ("epoch_ns", TimestampFormat::EpochNs),
    ("clf", TimestampFormat::Clf),
    ("syslog", TimestampFormat::Syslog),
    ("apache_error", TimestampFormat::ApacheError),
    ("nginx_error", TimestampFormat::NginxError),
];
const OUTPUTS: [(&str, TimestampOutput); 2] = [("rfc3339", TimestampOutput::Rfc3339), ("epoch_ms", TimestampOutput::EpochMs)];

/// Reads `types`; `names` are those of the fields, if they are known.
pub(super) fn read(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> BTreeMap<String, FieldType> {
    let types = table.each_named(
        "types",
        |table, field| (field, in_full(table, source)),
        |table, field, written| {
            let name = table.chosen(field.value, &written, &TYPES);
            (field, name.map(|name| field_type(name, TimestampFormat::Any, None, TimestampOutput::Rfc3339)))
        },
    );
    for (field, _) in &types {
        if let Some(names) = names {
            check_field(table, "types", field, names);
        }
    }
    types.into_iter().filter_map(|(field, field_type)| Some((field.value.to_owned(), field_type?))).collect()
}

/// Reads a type with what else is to be said of it.
fn in_full(table: &mut Table<'_>, source: &str) -> Option<FieldType> {
    table.require("type", "write type = \"timestamp\"");
    let name = table.choice("type", &TYPES);
    let format = format(table, source);
    let zone = zone(table);
    let output = table.choice("output", &OUTPUTS).unwrap_or(TimestampOutput::Rfc3339);
    let is_timestamp = matches!(name, Some(TypeName::Timestamp) | None);
    for key in ["format", "zone", "output"].into_iter().filter(|key| !is_timestamp && table.has(key)) {
        table.mistake(table.place(), format!("`{key}` has no meaning here"), "only type = \"timestamp\" has one");
    }
    Some(field_type(name?, format, zone, output))
}

fn field_type(name: TypeName, format: TimestampFormat, zone: Option<TimeZone>, output: TimestampOutput) -> FieldType {
    match name {
        TypeName::String => FieldType::String,
        TypeName::Integer => FieldType::Integer,
        TypeName::Float => FieldType::Float,
        TypeName::Boolean => FieldType::Boolean,
        TypeName::Timestamp => {
            FieldType::Timestamp(TimestampRules { format, zone: zone.unwrap_or_else(TimeZone::system), output })
        }
    }
}

fn format(table: &mut Table<'_>, source: &str) -> TimestampFormat {
    let Some(written) = table.string("format") else { return TimestampFormat::Any };
    if !written.value.contains('%') {
        // The last is what an example looks like; it is never written here, as it has a `%`.
        let example = [("%Y-%m-%d %H:%M:%S", None)];
        let choices: Vec<_> = FORMATS.iter().map(|(word, format)| (*word, Some(format))).chain(example).collect();
        return table.chosen("format", &written, &choices).flatten().cloned().unwrap_or(TimestampFormat::Any);
    }
    match check_time_pattern(written.value) {
        Ok(()) => {}
        Err(PatternMistake::Directive(part)) => {
            let message = format!("`format`: no time can be read by `{}`", &written.value[part.clone()]);
            let help = "the directives are those of https://docs.rs/jiff/latest/jiff/fmt/strtime/";
            table.mistake(&written.within(source, part), message, help);
        }
        Err(PatternMistake::NoTime) => {
            let help = "a date is for example %Y-%m-%d, or %b %e where the year is not written; a time %H:%M:%S; both are %s";
            table.mistake(&written.place, "`format` does not give a date and a time", help);
        }
    }
    // What a named format reads as well, it reads much faster.
    if written.value == "%d/%b/%Y:%H:%M:%S %z" {
        TimestampFormat::Clf
    } else {
        TimestampFormat::Pattern(written.value.to_owned())
    }
}

fn zone(table: &mut Table<'_>) -> Option<TimeZone> {
    let written = table.string("zone")?;
    let zone = match written.value {
        "local" => Some(TimeZone::system()),
        "UTC" => Some(TimeZone::UTC),
        offset if offset.starts_with(['+', '-']) => ["%:z", "%z"]
            .iter()
            .find_map(|directive| BrokenDownTime::parse(directive, offset).ok()?.offset())
            .map(TimeZone::fixed),
        name => TimeZone::get(name).ok(),
    };
    if zone.is_none() {
        unknown_zone(table, &written);
    }
    zone
}

fn unknown_zone(table: &Table<'_>, written: &Placed<&str>) {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let meant = nearest(written.value, names.iter().map(String::as_str));
    let meant = meant.map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
    let examples = listed(["local", "UTC", "+09:00"], '"');
    let help =
        format!("{meant}valid are {examples}, and names such as \"Asia/Seoul\" that this host knows in /usr/share/zoneinfo");
    table.mistake(&written.place, format!("`zone` cannot be \"{}\"", written.value), help);
}
