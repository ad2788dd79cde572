//! What container runtimes write of a container's output: Docker's json-file, and the log files of CRI (Kubernetes).
//!
//! | format | fields |
//! | --- | --- |
//! | `docker_json` | `time`, `stream`, `message`, `attrs` |
//! | `cri` | `time`, `stream`, `logtag`, `message` |
//!
//! They are called so by Fluent Bit (`conf/parsers.conf`) and Vector, except that Docker's `log` is `message` here too, as
//! Vector has it: what the container has written, without its newline. `logtag` is `F`, or `P` when the rest of the message is
//! missing; `attrs`, the labels that were asked for, is an object of JSON, and absent in most logs.
//!
//! Both runtimes divide long lines, Docker after 16 KiB. The parts are joined when they stand one behind the other: which
//! lines of a file belong together [`part_of`] tells, and their text, with the newlines between, is one message here. Time
//! and stream are those of the first part, `logtag` that of the last. Where a line of the container's other stream stands
//! between two parts, each is sent by itself.

use bumpalo::collections::Vec as ArenaVec;
use memchr::{memchr, memchr_iter};

use crate::config::Container;
use crate::processor::fields::{Arena, Fields, Value};

mod cri;
mod docker;

pub(super) const DOCKER_JSON_FIELDS: &[&str] = &["time", "stream", "message", "attrs"];
pub(super) const CRI_FIELDS: &[&str] = &["time", "stream", "logtag", "message"];

/// Where a container has written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What a line of a log is of a line of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where the container has written it to.
    pub stream: Stream,
    /// It has the end of the container's line: the next line begins another one.
    pub is_last: bool,
}

/// A line of a log, or several that are parts of one message.
struct Line<'l> {
    time: &'l [u8],
    /// Docker leaves it out when it is empty.
    stream: Option<&'l [u8]>,
    /// Of CRI.
    tag: &'l [u8],
    message: &'l [u8],
    is_last: bool,
    /// Of Docker.
    attrs: Option<Value<'l>>,
}

pub(super) fn docker_json<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let Line { time, stream, message, attrs, .. } = joined(Container::Docker, line, arena)?;
    let values =
        [Value::Text(time), stream.map_or(Value::Absent, Value::Text), Value::Text(message), attrs.unwrap_or(Value::Absent)];
    push_all(DOCKER_JSON_FIELDS, values, fields)
}

pub(super) fn cri<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let Line { time, stream, tag, message, .. } = joined(Container::Cri, line, arena)?;
    push_all(CRI_FIELDS, [time, stream?, tag, message].map(Value::Text), fields)
}

/// What `line` is of a line of the container; none when it is not of this format, or of neither stream.
///
/// Of Docker's lines most are told by their beginning; what is behind that need not be sound.
pub fn part_of(container: Container, line: &[u8]) -> Option<Part> {
    let (stream, is_last) = match container {
        Container::Docker => return docker::part_of(line),
        Container::Cri => cri::line(line).map(|line| (line.stream, line.is_last))?,
    };
    Some(Part { stream: Stream::called(stream?)?, is_last })
}

fn joined<'l>(container: Container, record: &'l [u8], arena: &'l Arena) -> Option<Line<'l>> {
    let line = |text: &'l [u8]| match container {
        Container::Docker => docker::line(text, arena),
        Container::Cri => cri::line(text),
    };
    let Some(first_end) = memchr(b'\n', record) else { return line(record) };
    let mut whole = line(&record[..first_end])?;
    let mut message = ArenaVec::with_capacity_in(record.len(), arena);
    message.extend_from_slice(whole.message);
    let mut start = first_end + 1;
    for end in memchr_iter(b'\n', &record[start..]).map(|at| first_end + 1 + at).chain([record.len()]) {
        let part = line(&record[start..end])?;
        if whole.is_last || part.stream != whole.stream {
            return None;
        }
        message.extend_from_slice(part.message);
        (whole.is_last, whole.tag) = (part.is_last, part.tag);
        start = end + 1;
    }
    whole.message = message.into_bump_slice();
    Some(whole)
}

fn push_all<'l>(names: &'static [&'static str], values: [Value<'l>; 4], fields: &mut Fields<'l>) -> Option<()> {
    for (name, value) in names.iter().zip(values) {
        fields.push(*name, value);
    }
    Some(())
}

impl Stream {
    fn called(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
