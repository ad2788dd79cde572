//! Where the records of a flow go and how they are packed for it: what `[flow.kinesis]` and `[flow.firehose]` share.

use std::time::Duration;

use super::reader::{Placed, Table};
use super::template::{self, Part, Template, Variable};
use crate::limits::{
    ENVELOPE_BYTES_MAX, FIREHOSE_RECORD_BYTES_MAX, MAX_DELAY_DEFAULT, MAX_DELAY_MAX, MAX_DELAY_MIN, PARTITION_KEY_CHARS_MAX,
    RECORD_BYTES_LARGEST, RECORD_BYTES_MAX,
};

/// Where the records of a flow go and how they are packed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where to.
    pub destination: Destination,
    /// How lines become records.
    pub aggregate: Aggregate,
    /// Size at which a record of several lines is sent, before it is compressed or encrypted; a line that is longer is a record by
    /// itself. No less than [`JOINED_RECORD_BYTES_MIN`](crate::limits::JOINED_RECORD_BYTES_MIN).
    pub record_bytes: usize,
    /// What is done with the data of a record.
    pub compress: Compression,
    /// Which partition key a line gets.
    pub partition_key: PartitionKey,
    /// Longest that a line waits for others before it is sent.
    pub max_delay: Duration,
    /// Most bytes of one request, partition keys included.
    pub request_bytes: usize,
    /// What is kept in order.
    pub order: Order,
}

impl Delivery {
    /// The longest line in UTF-8 that surely fits a record, where a stream takes records of the usual size.
    pub fn line_bytes_default(&self) -> usize {
        self.destination.record_bytes_default() - ENVELOPE_BYTES_MAX
    }

    /// The longest line in UTF-8 that fits a record of a stream that takes the largest.
    pub fn line_bytes_max(&self) -> usize {
        self.destination.record_bytes_max() - ENVELOPE_BYTES_MAX
    }
}

/// A stream of Kinesis Data Streams or a delivery stream of Data Firehose, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `[flow.kinesis] stream`
    Kinesis(String),
    /// `[flow.firehose] delivery_stream`
    Firehose(String),
}

impl Delivery {
    /// Its records have [delivery tokens](crate::delivery_token), but for few: not where each line is a record with its own key.
    pub fn has_tokens(&self) -> bool {
        self.aggregate != Aggregate::None || self.partition_key == PartitionKey::Random
    }
}

impl Destination {
    /// The name of the stream.
    pub fn stream(&self) -> &str {
        match self {
            Self::Kinesis(stream) | Self::Firehose(stream) => stream,
        }
    }

    /// The name, if it is a stream of Kinesis Data Streams: one that can be read.
    pub fn readable_stream(&self) -> Option<&str> {
        match self {
            Self::Kinesis(stream) => Some(stream),
            Self::Firehose(_) => None,
        }
    }

    /// Bytes of a record, key and data, when nothing more is known of the stream.
    pub fn record_bytes_default(&self) -> usize {
        match self {
            Self::Kinesis(_) => RECORD_BYTES_MAX,
            Self::Firehose(_) => FIREHOSE_RECORD_BYTES_MAX,
        }
    }

    /// Bytes of the largest record that there can be.
    fn record_bytes_max(&self) -> usize {
        match self {
            Self::Kinesis(_) => RECORD_BYTES_LARGEST,
            Self::Firehose(_) => FIREHOSE_RECORD_BYTES_MAX,
        }
    }
}

/// How people speak of it.
impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kinesis(stream) => write!(f, "stream {stream}"),
            Self::Firehose(stream) => write!(f, "delivery stream {stream}"),
        }
    }
}

/// `aggregate`: how lines become Kinesis records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Many lines in one record, in the KPL's format (default).
    Kpl,
    /// Many lines in one record, one behind the other, each with its terminator. Firehose knows no other way.
    Lines,
    /// Each line is a record.
    None,
}

/// `compress`: what is done with the data of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing (default).
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// `order`: what is kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing is kept in order when something has to be sent again: several requests are in flight at once (default).
    Throughput,
    /// The lines of a file, which all go to one shard, one record of theirs at a time.
    File,
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

const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];

pub(super) fn max_delay(table: &mut Table<'_>) -> Duration {
    table.duration("max_delay", MAX_DELAY_MIN..=MAX_DELAY_MAX).map_or(MAX_DELAY_DEFAULT, |written| written.value)
}

pub(super) fn compress(table: &mut Table<'_>) -> Option<Placed<Compression>> {
    let written = table.string("compress")?;
    let value = table.chosen("compress", &written, &COMPRESSIONS)?;
    Some(Placed { value, place: written.place })
}

/// The name of a stream under `key`, of at most `chars_max` characters; `arn_part` is what stands before it in an ARN.
pub(super) fn stream(table: &mut Table<'_>, key: &'static str, chars_max: usize, arn_part: &str) -> Option<String> {
    let Placed { value, place } = table.string(key)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if value.is_empty() || value.len() > chars_max || !value.chars().all(is_allowed) {
        let help = match value.split_once(arn_part) {
            Some((_, name)) => format!("write the name, without the rest of the ARN: \"{name}\""),
            None => format!("write 1 to {chars_max} letters, digits, `_`, `.` and `-`"),
        };
        table.mistake(&place, format!("`{key}` is not the name of a stream"), help);
    }
    Some(value.to_owned())
}

pub(super) fn partition_key(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<PartitionKey> {
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
