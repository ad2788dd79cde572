//! Lines of a known format, or that match a pattern, into their fields.
//!
//! A format decides what is a line of it, what its fields are called and what they hold; all values are text unless the
//! line itself says more (JSON). Types, and what is written in which way, are decided elsewhere.

use super::fields::{Arena, Fields};
use crate::config::{Columns, Format};

mod access;
mod apache_error;
mod aws_elb;
mod aws_vpc_flow;
pub mod containers;
mod csv;
mod json;
mod logfmt;
mod ltsv;
mod nginx_error;
mod pattern;
mod pieces;
mod syslog;
mod syslog_rfc3164;
mod syslog_rfc5424;

/// A format, and the memory that finding fields reuses from line to line.
pub(super) enum Parser {
    /// Not parsed: the line is the field [`UNPARSED_FIELD`].
    Line,
    Patterns(pattern::Patterns),
    Csv(csv::Parser),
    VpcFlow(aws_vpc_flow::Parser),
    /// One that needs nothing but the line.
    Plain(for<'l> fn(&'l [u8], &'l Arena, &mut Fields<'l>) -> Option<()>),
}

/// The only field of a line that is not parsed.
pub const UNPARSED_FIELD: &str = "message";

impl Parser {
    pub(super) fn new(format: Option<&Format>) -> Self {
        match format {
            None => Self::Line,
            Some(Format::Regex(patterns)) => Self::Patterns(pattern::Patterns::new(patterns)),
            Some(Format::Csv(rules)) => Self::Csv(csv::Parser::new(rules)),
            Some(Format::AwsVpcFlow(columns)) => Self::VpcFlow(aws_vpc_flow::Parser::new(columns.as_ref())),
            Some(Format::ApacheCommon) => Self::Plain(access::apache_common),
            Some(Format::ApacheCombined) => Self::Plain(access::apache_combined),
            Some(Format::NginxCombined) => Self::Plain(access::nginx_combined),
            Some(Format::ApacheError) => Self::Plain(apache_error::parse),
            Some(Format::NginxError) => Self::Plain(nginx_error::parse),
            Some(Format::SyslogRfc3164) => Self::Plain(syslog_rfc3164::parse),
            Some(Format::SyslogRfc5424) => Self::Plain(syslog_rfc5424::parse),
            Some(Format::Json) => Self::Plain(json::parse),
            Some(Format::Logfmt) => Self::Plain(logfmt::parse),
            Some(Format::Ltsv) => Self::Plain(ltsv::parse),
            Some(Format::DockerJson) => Self::Plain(containers::docker_json),
            Some(Format::Cri) => Self::Plain(containers::cri),
            Some(Format::AwsElb) => Self::Plain(aws_elb::parse),
        }
    }

    /// Adds the fields of `line` to `fields`, which are empty; none, and whatever in `fields`, when it is not of the format.
    /// `header` is the line at the beginning of its file that names the columns, if it is known.
    pub(super) fn parse<'l>(
        &'l mut self,
        line: &'l [u8],
        header: Option<&'l [u8]>,
        arena: &'l Arena,
        fields: &mut Fields<'l>,
    ) -> Option<()> {
        let parsed = match self {
            Self::Line => {
                fields.push(UNPARSED_FIELD, super::fields::Value::Text(line));
                Some(())
            }
            Self::Patterns(patterns) => patterns.parse(line, fields),
            Self::Csv(parser) => parser.parse(line, header, arena, fields),
            Self::VpcFlow(parser) => parser.parse(line, header, arena, fields),
            Self::Plain(parse) => parse(line, arena, fields),
        };
        parsed.filter(|()| !fields.is_too_many())
    }
}

/// The names of the fields of `format`, in their order; none when the lines themselves say them.
pub fn field_names(format: Option<&Format>) -> Option<Vec<String>> {
    let fixed = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    match format {
        None => fixed(&[UNPARSED_FIELD]),
        Some(Format::Regex(patterns)) => Some(pattern::names(patterns)),
        Some(Format::Csv(rules)) => named(&rules.columns),
        Some(Format::AwsVpcFlow(Some(columns))) => named(columns),
        Some(Format::AwsVpcFlow(None)) => fixed(aws_vpc_flow::FIELDS),
        Some(Format::ApacheCommon) => fixed(access::APACHE_COMMON_FIELDS),
        Some(Format::ApacheCombined) => fixed(access::APACHE_COMBINED_FIELDS),
        Some(Format::NginxCombined) => fixed(access::NGINX_COMBINED_FIELDS),
        Some(Format::ApacheError) => fixed(apache_error::FIELDS),
        Some(Format::NginxError) => fixed(nginx_error::FIELDS),
        Some(Format::SyslogRfc3164) => fixed(syslog_rfc3164::FIELDS),
        Some(Format::SyslogRfc5424) => fixed(syslog_rfc5424::FIELDS),
        Some(Format::DockerJson) => fixed(containers::DOCKER_JSON_FIELDS),
        Some(Format::Cri) => fixed(containers::CRI_FIELDS),
        Some(Format::AwsElb) => fixed(aws_elb::FIELDS),
        Some(Format::Json | Format::Logfmt | Format::Ltsv) => None,
    }
}

fn named(columns: &Columns) -> Option<Vec<String>> {
    match columns {
        Columns::Named(names) => Some(names.clone()),
        Columns::Header => None,
    }
}

#[cfg(test)]
mod tests;
