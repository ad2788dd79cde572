//! The configuration as it is used: every default filled in, every relation between values checked.
//!
//! What was written, and everything that can be wrong with it, is the business of the submodules; whoever
//! holds a [`Config`] need not check anything again. This module opens no file but the configuration itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::Regex;

/// Where offsets are kept when `[agent] state_dir` is not given.
pub const STATE_DIR_DEFAULT: &str = "/var/lib/kinetail";
/// Where metrics and health are served when `[agent] admin` is not given.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9559));

/// One configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[aws]`
    pub aws: Aws,
    /// `[[flow]]`, at least one, names unique.
    pub flows: Vec<Flow>,
}

/// `[agent]`: the process.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Folder of the offset store; `None` when the file does not say.
    pub state_dir: Option<PathBuf>,
    /// Bytes of memory; at least [`crate::limits::MEMORY_PER_FLOW_MIN`] a flow.
    pub memory_max: usize,
    /// Address of metrics and health; `None` when switched off (`admin = "off"`).
    pub admin: Option<SocketAddr>,
    /// How long an ending waits for what was read to be delivered.
    pub drain_timeout: Duration,
}

/// `[aws]`: where and as whom.
#[derive(Clone, Debug, Default)]
pub struct Aws {
    /// Region; without it the SDK's chain decides (environment, profile, instance metadata).
    pub region: Option<String>,
    /// `endpoints.kinesis`: an http or https URL instead of the region's endpoint.
    pub kinesis_endpoint: Option<String>,
}

/// `[[flow]]`: some files to one stream.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Name, unique; offsets belong to file and flow name.
    pub name: String,
    /// Glob patterns, absolute, at least one.
    pub files: Vec<String>,
    /// Glob patterns of files left out: of whole paths when there is a `/` in them, else of file names.
    pub exclude: Vec<String>,
    /// Where a file never seen starts.
    pub start_at: StartAt,
    /// `[flow.line]`
    pub line: LineRules,
    /// `[flow.parse]`; without it lines go as they are.
    pub parse: Option<Parse>,
    /// `[flow.kinesis]`
    pub kinesis: Kinesis,
}

/// `start_at`: where a file that was there at the first start and was never seen before begins.
/// Files that appear later always begin at their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At its first byte (default).
    Beginning,
    /// At its end: only what is appended from now on.
    End,
}

/// `[flow.line]`: how bytes become lines.
#[derive(Clone, Copy, Debug)]
pub struct LineRules {
    /// Longest line in bytes, terminator not counted; `1..=`[`crate::limits::LINE_BYTES_MAX`], by default the greatest.
    pub max_bytes: usize,
    /// What happens to a longer one.
    pub too_long: TooLong,
    /// A CR before the LF belongs to the terminator. Default: true with `[flow.parse]`, else false.
    pub strip_cr: bool,
}

/// `too_long`: what happens to a line longer than `max_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// The first `max_bytes` are sent, the rest is dropped and counted (default).
    Truncate,
    /// It is sent in pieces of `max_bytes`.
    Split,
    /// It is dropped and counted.
    Drop,
}

/// `[flow.parse]`: how a line becomes a JSON object.
#[derive(Clone, Debug)]
pub struct Parse {
    /// Has at least one named group; each becomes a field, in the order of the groups.
    pub regex: Regex,
    /// Type by field name; every name is a group of `regex`. Fields not named are strings.
    pub types: BTreeMap<String, FieldType>,
    /// What happens to a line that does not match.
    pub on_mismatch: OnMismatch,
}

/// A value of `types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `"string"`
    String,
    /// `"integer"`: 64 bits, signed.
    Integer,
    /// `"float"`: finite.
    Float,
    /// `"boolean"`: `true` or `false`, any case.
    Boolean,
}

/// `on_mismatch`: what happens to a line that the pattern does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    /// The line goes as it is (default).
    SendRaw,
    /// The line is dropped and counted.
    Drop,
    /// `{"message": line, "error": reason}`
    Wrap,
}

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
    /// The value of a field of `[flow.parse]`, written `${field}`. A line without it counts and is sent as with `Random`.
    Field(String),
}
