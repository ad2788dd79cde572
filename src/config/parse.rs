//! `[flow.parse]`: what the fields of a line are.

use std::collections::BTreeMap;

use super::Container;
use super::mistakes::{listed, nearest};
use super::pattern::{self, Pattern};
use super::reader::{Placed, Table};
use super::types::{self, FieldType};
use crate::limits::COLUMNS_MAX;
use crate::processor::field_names;

/// `[flow.parse]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parse {
    /// What lines look like.
    pub format: Format,
    /// Type by field name. Fields not named stay as the format has them, which is text for most.
    pub types: BTreeMap<String, FieldType>,
    /// What happens to a line that is not of the format.
    pub on_mismatch: OnMismatch,
}

/// `regex` or `format`: what lines look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `regex`: patterns, at least one, tried in order. Each has at least one named group; these are the fields.
    Regex(Vec<Pattern>),
    /// `"apache_common"`
    ApacheCommon,
    /// `"apache_combined"`
    ApacheCombined,
    /// `"apache_error"`, as Apache 2.2 and 2.4 write it.
    ApacheError,
    /// `"nginx_combined"`
    NginxCombined,
    /// `"nginx_error"`
    NginxError,
    /// `"syslog_rfc3164"`: files of a syslog daemon, with or without priority, also with RFC 3339 times.
    SyslogRfc3164,
    /// `"syslog_rfc5424"`
    SyslogRfc5424,
    /// `"json"`: an object a line.
    Json,
    /// `"logfmt"`
    Logfmt,
    /// `"csv"`
    Csv(Csv),
    /// `"ltsv"`
    Ltsv,
    /// `"docker_json"`: Docker's json-file.
    DockerJson,
    /// `"cri"`: the log files of Kubernetes.
    Cri,
    /// `"aws_elb"`: access logs of load balancers.
    AwsElb,
    /// `"aws_vpc_flow"`; without columns those of version 2.
    AwsVpcFlow(Option<Columns>),
}

impl Format {
    /// The runtime that writes logs of this format, if it is that of a container.
    pub fn container(&self) -> Option<Container> {
        match self {
            Self::DockerJson => Some(Container::Docker),
            Self::Cri => Some(Container::Cri),
            _ => None,
        }
    }

    /// Whether the last line of a file's header names the columns.
    pub fn has_header(&self) -> bool {
        matches!(self, Self::Csv(Csv { columns: Columns::Header, .. }) | Self::AwsVpcFlow(Some(Columns::Header)))
    }
}

/// `"csv"`: how lines are divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// `columns` or `header`
    pub columns: Columns,
    /// `delimiter`: one ASCII character, by default a comma.
    pub delimiter: u8,
}

/// What the columns of a table are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// `columns`: at least one, each once.
    Named(Vec<String>),
    /// `header = true`: as the first line of each file says, or the last of those that `skip_header_lines` passes over.
    Header,
}

/// `on_mismatch`: what happens to a line that is not of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    /// The line goes as it is (default).
    SendRaw,
    /// The line is dropped and counted.
    Drop,
    /// `{"message": line, "error": reason}`
    Wrap,
}

const FORMATS: [(&str, FormatName); 15] = [
    ("apache_common", FormatName::Plain(Format::ApacheCommon)),
    ("apache_combined", FormatName::Plain(Format::ApacheCombined)),
    ("apache_error", FormatName::Plain(Format::ApacheError)),
    ("nginx_combined", FormatName::Plain(Format::NginxCombined)),
    ("nginx_error", FormatName::Plain(Format::NginxError)),
    ("syslog_rfc3164", FormatName::Plain(Format::SyslogRfc3164)),
    ("syslog_rfc5424", FormatName::Plain(Format::SyslogRfc5424)),
    ("json", FormatName::Plain(Format::Json)),
    ("logfmt", FormatName::Plain(Format::Logfmt)),
    ("csv", FormatName::Csv),
    ("ltsv", FormatName::Plain(Format::Ltsv)),
    ("docker_json", FormatName::Plain(Format::DockerJson)),
    ("cri", FormatName::Plain(Format::Cri)),
    ("aws_elb", FormatName::Plain(Format::AwsElb)),
    ("aws_vpc_flow", FormatName::VpcFlow),
];

/// What a value of `format` asks for.
enum FormatName {
    /// Nothing more.
    Plain(Format),
    /// Columns, and perhaps a delimiter.
    Csv,
    /// Perhaps columns.
    VpcFlow,
}

const ON_MISMATCH: [(&str, OnMismatch); 3] =
    [("send_raw", OnMismatch::SendRaw), ("drop", OnMismatch::Drop), ("wrap", OnMismatch::Wrap)];

/// Reads `[flow.parse]`; none when its format is not sound, of which all else depends.
pub(super) fn read(table: &mut Table<'_>, source: &str) -> Option<Parse> {
    table.require_any(
        &["regex", "format"],
        "write format = \"apache_combined\", or regex = '^(?<name>…)$': each named group becomes a field",
    );
    let format = format(table, source);
    let on_mismatch = table.choice("on_mismatch", &ON_MISMATCH).unwrap_or(OnMismatch::SendRaw);
    let names = format.as_ref().and_then(|format| field_names(Some(format)));
    let types = types::read(table, source, names.as_deref());
    Some(Parse { format: format?, types, on_mismatch })
}

fn format(table: &mut Table<'_>, source: &str) -> Option<Format> {
    let patterns = patterns(table, source);
    let choices = FORMATS.each_ref().map(|(word, format)| (*word, format));
    let format = table.choice("format", &choices);
    let columns = columns(table, source);
    let delimiter = delimiter(table);
    if table.has("regex") && table.has("format") {
        table.mistake(table.place(), "`regex` and `format` exclude each other", "leave one of them out");
        return None;
    }
    let is_table = !matches!(format, Some(FormatName::Plain(_)) | None);
    for key in ["columns", "header"].into_iter().filter(|key| !is_table && table.has(key)) {
        table.mistake(
            table.place(),
            format!("`{key}` has no meaning here"),
            "only format = \"csv\" and \"aws_vpc_flow\" have columns",
        );
    }
    if table.has("delimiter") && !matches!(format, Some(FormatName::Csv) | None) {
        table.mistake(table.place(), "`delimiter` has no meaning here", "only format = \"csv\" has one");
    }
    match format {
        None => patterns.map(Format::Regex),
        Some(FormatName::Plain(format)) => Some(format.clone()),
        Some(FormatName::VpcFlow) => Some(Format::AwsVpcFlow(columns)),
        Some(FormatName::Csv) => {
            table.require_any(
                &["columns", "header"],
                "write columns = [\"…\", \"…\"], or header = true if each file begins with them",
            );
            Some(Format::Csv(Csv { columns: columns?, delimiter }))
        }
    }
}

fn patterns(table: &mut Table<'_>, source: &str) -> Option<Vec<Pattern>> {
    let written = pattern::read_all(table, "regex", source)?;
    if written.is_empty() {
        table.mistake(table.place(), "`regex` is empty", "write regex = '^(?<name>…)$'");
        return None;
    }
    let mut is_sound = true;
    for Placed { value: regex, place } in &written {
        let text = Placed { value: regex.as_str(), place: place.clone() };
        let groups = pattern::groups_without_name(regex.as_str());
        for group in &groups {
            let help = "write (?<name>…) for a field, (?:…) for a group that is none";
            table.mistake(&text.within(source, group.clone()), "`regex` has a group without a name", help);
        }
        let has_fields = regex.capture_names().flatten().next().is_some();
        if !has_fields && groups.is_empty() {
            table.mistake(place, "`regex` has no named group", "name what becomes a field: (?<name>…)");
        }
        is_sound &= has_fields && groups.is_empty();
    }
    is_sound.then(|| written.into_iter().map(|regex| regex.value).collect())
}

fn columns(table: &mut Table<'_>, source: &str) -> Option<Columns> {
    let has_header = table.boolean("header").unwrap_or(false);
    let named = table.strings("columns");
    if has_header && named.is_some() {
        table.mistake(table.place(), "`columns` and `header` exclude each other", "leave one of them out");
    }
    let Some(named) = named else { return has_header.then_some(Columns::Header) };
    if named.is_empty() || named.len() > COLUMNS_MAX {
        let help = format!("write 1 to {COLUMNS_MAX} names, one for each column");
        table.mistake(table.place(), format!("`columns` has {} names", named.len()), help);
        return None;
    }
    let mut is_sound = true;
    for (index, column) in named.iter().enumerate() {
        if column.value.split('.').any(str::is_empty) {
            table.mistake(
                &column.place,
                "a column without a name",
                "name every column; what is not wanted is left out by `remove` of [flow.record]",
            );
        } else if named[..index].iter().any(|earlier| earlier.value == column.value) {
            let place = column.within(source, 0..column.value.len());
            table.mistake(&place, format!("two columns are called `{}`", column.value), "give each a name of its own");
        } else {
            continue;
        }
        is_sound = false;
    }
    is_sound.then(|| Columns::Named(named.iter().map(|column| column.value.to_owned()).collect()))
}

fn delimiter(table: &mut Table<'_>) -> u8 {
    let Some(written) = table.string("delimiter") else { return b',' };
    match written.value.as_bytes() {
        [delimiter] if delimiter.is_ascii() && !b"\"\r\n".contains(delimiter) => *delimiter,
        _ => {
            let help = "write one ASCII character that is neither a quote nor a line break, for example \";\" or \"\\t\"";
            table.mistake(&written.place, "`delimiter` cannot be used", help);
            b','
        }
    }
}

/// Notes a mistake when `field`, named by `key`, is not one of `names`.
pub(super) fn check_field(table: &Table<'_>, key: &str, field: &Placed<&str>, names: &[String]) {
    let names = || names.iter().map(String::as_str);
    if names().all(|name| name != field.value) {
        let help = match nearest(field.value, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the fields are {}", listed(names(), '`')),
        };
        table.mistake(&field.place, format!("`{key}` names `{}`, which is not a field of [flow.parse]", field.value), help);
    }
}

/// Objects in JSON have members that are not known before there is a line.
pub(super) fn check_outermost(table: &Table<'_>, key: &str, field: &Placed<&str>, names: Option<&[String]>) {
    let Some(names) = names else { return };
    let outermost = field.value.split('.').next().unwrap_or(field.value);
    if !names.iter().any(|name| name == outermost) {
        check_field(table, key, field, names);
    }
}
