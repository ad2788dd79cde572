//! The configuration as it is used: every default filled in, every relation between values checked.
//!
//! What was written, and everything that can be wrong with it, is the business of the submodules; whoever
//! holds a [`Config`] need not check anything again. This module opens no files but those of the configuration: the one that is
//! named, and those of `conf.d` beside it.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use files::flows_folder;
use top::Role;
use whole::Text;

mod agent;
mod aws;
mod delivery;
mod encryption;
mod errors;
mod files;
mod filter;
mod firehose;
mod flow;
mod kinesis;
mod loaded;
mod mask;
mod mistakes;
mod multiline;
mod parse;
mod pattern;
mod prices;
mod reader;
mod record;
mod template;
mod top;
mod types;
mod units;
mod whole;

pub use aws::{
    AccountIdEndpointMode, AssumeRole, Aws, Endpoints, Proxy, ProxyUrl, SESSION_NAME_CHARS_MAX, WireSetting, is_of_session_name,
};
pub use delivery::{Aggregate, Compression, Delivery, Destination, Order, PartitionKey};
pub use encryption::Encryption;
pub use errors::{FileError, LoadError, Trouble};
pub use filter::{Condition, Filter, Sample, Test};
pub use loaded::{Loaded, Refused, Reloaded};
pub use mask::{Mask, MaskPattern, MaskPreset};
pub(crate) use mistakes::nearest;
pub use mistakes::{Mistake, Mistakes};
pub use multiline::{Container, Joining, Multiline, Preset};
pub use parse::{Columns, Csv, Format, OnMismatch, Parse};
pub use pattern::Pattern;
pub use prices::Prices;
pub use record::{Added, AddedValue, FieldFate, FieldRule, Output, Record, WRAPPED_FIELDS};
pub use template::{Ec2Variable, Part, Template, Variable};
pub use types::{FieldType, TimestampFormat, TimestampOutput, TimestampRules};
pub use units::parse_duration;

/// Where offsets are kept when `[agent] state_dir` is not given.
pub const STATE_DIR_DEFAULT: &str = "/var/lib/kinetail";
/// Where metrics and health are served when `[agent] admin` is not given.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9559));

/// What all files of the configuration say together.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[aws]`
    pub aws: Aws,
    /// `[prices]`
    pub prices: Prices,
    /// `[[flow]]`, at least one, names unique.
    pub flows: Vec<Flow>,
}

/// `[agent]`: the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Folder of the offset store; `None` when the file does not say.
    pub state_dir: Option<PathBuf>,
    /// Bytes of memory; at least [`crate::limits::MEMORY_PER_FLOW_MIN`] a flow.
    pub memory_max: usize,
    /// Address of metrics and health; `None` when switched off (`admin = "off"`).
    pub admin: Option<SocketAddr>,
    /// How long an ending waits for what was read to be delivered.
    pub drain_timeout: Duration,
    /// Whether the stream is read back to learn what of the unknown is stored.
    pub read_back: ReadBack,
    /// How long after a request can last have been accepted its records are looked for.
    pub settle: Duration,
    /// How long it is known what was sent of a file that is gone.
    pub forget_after: Duration,
    /// Files that are kept open at once, by all flows together; at least [`crate::limits::OPEN_FILES_MIN`] a flow.
    pub max_open_files: usize,
    /// Threads that process, pack and send; `None` when the file does not say.
    pub threads: Option<usize>,
}

impl Agent {
    /// On how many threads lines are processed, packed and sent, at least 1. When the file does not say it is half as many as
    /// there are cores: the host is there for somebody else's program.
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1)
    }
}

/// Whether streams are read back where nobody knows what is stored: after an end that was not orderly, and when a request has had
/// no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// Where the stream may be read (default).
    Auto,
    /// Never: what may be stored is sent again, and counted.
    Off,
}

/// `[[flow]]`: some files to one stream.
///
/// Flows that are equal do the same, as far as they decide it: `[aws]` and the share of the memory are said elsewhere. Where only
/// the order of a list differs they are not equal, whether or not it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Name, unique; offsets belong to file and flow name.
    pub name: String,
    /// Glob patterns, absolute, at least one.
    pub files: Vec<String>,
    /// Glob patterns of files left out: of whole paths when there is a `/` in them, else of file names.
    pub exclude: Vec<String>,
    /// Where a file never seen starts.
    pub start_at: StartAt,
    /// A file never seen that was not written to for so long begins at its end.
    pub ignore_older: Option<Duration>,
    /// What happens to compressed files never seen.
    pub compressed: Compressed,
    /// How often the globs are expanded again and all files are looked at.
    pub rescan: Duration,
    /// Nothing but that tells of changes: no notifications are asked for.
    pub poll: bool,
    /// `[flow.line]`
    pub line: LineRules,
    /// `[flow.multiline]`; without it each line is a record.
    pub multiline: Option<Multiline>,
    /// `[flow.parse]`; without it lines go as they are.
    pub parse: Option<Parse>,
    /// `[flow.filter]`
    pub filter: Filter,
    /// `[flow.record]`
    pub record: Record,
    /// `[flow.kinesis]` or `[flow.firehose]`
    pub delivery: Delivery,
    /// `[flow.encryption]`; without it records are not encrypted.
    pub encryption: Option<Encryption>,
    /// `[flow.aws]` over `[aws]`.
    pub aws: Aws,
}

impl Flow {
    /// All templates of the flow.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let added = self.record.add.iter().filter_map(|added| match &added.value {
            AddedValue::Template(template) => Some(template),
            AddedValue::Json(_) => None,
        });
        let record = match &self.record.output {
            Output::Template(template) => Some(template),
            Output::Json | Output::Raw => None,
        };
        let partition_key = match &self.delivery.partition_key {
            PartitionKey::Template(template) => Some(template),
            PartitionKey::Random | PartitionKey::File => None,
        };
        let sample = self.filter.sample.as_ref().and_then(|sample| sample.key.as_ref());
        added.chain(record).chain(partition_key).chain(sample)
    }

    /// Variables of the environment that its records name.
    pub fn environment_variables(&self) -> impl Iterator<Item = &str> {
        self.templates().flat_map(Template::variables).filter_map(|variable| match variable {
            Variable::Environment(name) => Some(name.as_str()),
            _ => None,
        })
    }
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

/// `compressed`: what happens to a file compressed by gzip of which the content was never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressed {
    /// It is not read (default).
    Ignore,
    /// It is read, decompressed.
    Read,
}

/// `[flow.line]`: how bytes become lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRules {
    /// What the bytes of the file are.
    pub encoding: Encoding,
    /// So many first lines of each file are dropped; at most [`crate::limits::HEADER_LINES_MAX`], by default 0.
    /// At least 1 where [the last of them names the columns](Format::has_header).
    pub skip_header_lines: usize,
    /// Longest line in bytes of the file, terminator not counted; from [`Encoding::character_bytes_max`] to what
    /// [`Encoding::line_bytes_max`] makes of the largest record there can be, by default of the usual largest.
    pub max_bytes: usize,
    /// What happens to a longer one.
    pub too_long: TooLong,
    /// A CR before the LF belongs to the terminator. Default: true with `[flow.parse]`, else false.
    pub strip_cr: bool,
}

/// `encoding`: what the bytes of a file are. Lines are sent as UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `"utf-8"`: lines go byte for byte, whatever they are (default).
    Utf8,
    /// `"utf-16"`: the byte order mark at the beginning of each file decides; without one as `"utf-16le"`.
    Utf16,
    /// `"utf-16le"`
    Utf16Le,
    /// `"utf-16be"`
    Utf16Be,
    /// `"latin-1"`: ISO 8859-1; every byte is the character of that number.
    Latin1,
    /// `"shift_jis"`, with the extensions of Windows.
    ShiftJis,
    /// `"euc-kr"`, with the extensions of Windows.
    EucKr,
    /// `"gb18030"`, and so GBK and GB 2312.
    Gb18030,
}

impl Encoding {
    /// The longest line, in bytes of the file, that surely is no longer than `utf_8_bytes_max` as UTF-8.
    pub const fn line_bytes_max(self, utf_8_bytes_max: usize) -> usize {
        match self {
            Self::Utf8 => utf_8_bytes_max,
            // At most 3 bytes of 2.
            Self::Utf16 | Self::Utf16Le | Self::Utf16Be => utf_8_bytes_max / 3 * 2,
            // At most 2 bytes of 1.
            Self::Latin1 => utf_8_bytes_max / 2,
            // 3 bytes of 1 that is half-width katakana, a euro sign, or malformed.
            Self::ShiftJis | Self::EucKr | Self::Gb18030 => utf_8_bytes_max / 3,
        }
    }

    /// Bytes of the longest character: a line cannot be cut shorter. What is sent byte for byte can be cut anywhere.
    pub const fn character_bytes_max(self) -> usize {
        match self {
            Self::Utf8 | Self::Latin1 => 1,
            Self::ShiftJis | Self::EucKr => 2,
            Self::Utf16 | Self::Utf16Le | Self::Utf16Be | Self::Gb18030 => 4,
        }
    }
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

impl Config {
    /// Reads the configuration file `path`, and those of flows beside it.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Loaded::load(path).map(|loaded| loaded.config)
    }

    /// Reads `source`, the text of the configuration `file`, which is only named and has no others beside it.
    pub fn parse(source: &str, file: &str) -> Result<Self, Mistakes> {
        let (text, mut mistakes) = Text::of(file.into(), source, &Role::Main);
        let flows_folder = flows_folder(Path::new(file));
        let (config, found) = whole::join(&[text], &flows_folder.to_string_lossy(), true);
        mistakes.extend(found.into_iter().map(|found| found.mistake));
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes::new(file, source, mistakes)),
        }
    }
}

/// Two are equal if they do the same: in which files the flows are written, and in which order, does not matter.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        fn by_name(flows: &[Flow]) -> Vec<&Flow> {
            let mut flows: Vec<&Flow> = flows.iter().collect();
            flows.sort_by(|one, other| one.name.cmp(&other.name));
            flows
        }
        let Self { agent, aws, prices, flows } = self;
        *agent == other.agent && *aws == other.aws && *prices == other.prices && by_name(flows) == by_name(&other.flows)
    }
}

/// Whoever may create a file must not be able to write to the operator's terminal.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests;
