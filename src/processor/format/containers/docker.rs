//! A line of Docker's json-file: `{"log":"the message\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`.
//!
//! Written by `daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go` of <https://github.com/moby/moby>, in this order and with
//! `attrs`, if there are any, before `time`. The message of the last part of a line ends in a newline, that of the others in
//! none. Any order of the members is read; one that Docker does not write makes the line none of Docker's, for it would
//! vanish.

use memchr::memchr2;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Line, Part, Stream};
use crate::processor::fields::Arena;
use crate::processor::nested::{DEPTH_MAX, decode, read_valid};

/// The members, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'l> {
    #[serde(borrow)]
    log: Text<'l>,
    #[serde(borrow, default)]
    stream: Option<Text<'l>>,
    #[serde(borrow)]
    time: Text<'l>,
    #[serde(borrow, default)]
    attrs: Option<Object<'l>>,
}

/// A string, without its quotes and with its escapes.
#[derive(Deserialize)]
#[serde(try_from = "&RawValue")]
struct Text<'l>(&'l str);

/// An object, as it is written.
#[derive(Deserialize)]
#[serde(try_from = "&RawValue")]
struct Object<'l>(&'l str);

impl<'l> Members<'l> {
    fn of(text: &'l [u8]) -> Option<Self> {
        // A list of the values would do as well.
        let is_object = text.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(text).ok())?
    }
}

impl<'l> TryFrom<&'l RawValue> for Text<'l> {
    type Error = &'static str;

    fn try_from(value: &'l RawValue) -> Result<Self, Self::Error> {
        let within_quotes = value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        within_quotes.map(Self).ok_or("not a string")
    }
}

impl<'l> TryFrom<&'l RawValue> for Object<'l> {
    type Error = &'static str;

    fn try_from(value: &'l RawValue) -> Result<Self, Self::Error> {
        Some(value.get()).filter(|value| value.starts_with('{')).map(Self).ok_or("not an object")
    }
}

pub(super) fn line<'l>(text: &'l [u8], arena: &'l Arena) -> Option<Line<'l>> {
    let Members { log, stream, time, attrs } = Members::of(text)?;
    let newline_bytes = newline_bytes(log.0.as_bytes());
    let decoded = |text| decode(text, arena).as_bytes();
    let attrs = match attrs {
        Some(attrs) => Some(read_valid(attrs.0, arena, DEPTH_MAX)?),
        None => None,
    };
    Some(Line {
        time: decoded(time.0),
        stream: stream.map(|stream| decoded(stream.0)),
        tag: b"",
        message: decoded(log.0.get(..log.0.len() - newline_bytes)?),
        is_last: newline_bytes > 0,
        attrs,
    })
}

pub(super) fn part_of(text: &[u8]) -> Option<Part> {
    if let Some(stream) = stream_of_last_part(text) {
        return Some(Part { stream, is_last: true });
    }
    let Members { log, stream, .. } = Members::of(text)?;
    Some(Part { stream: Stream::called(stream?.0.as_bytes())?, is_last: newline_bytes(log.0.as_bytes()) > 0 })
}

/// The stream of a line that has the end of the container's line, as nearly all have, and begins as Docker writes it.
fn stream_of_last_part(text: &[u8]) -> Option<Stream> {
    let behind_quote = text.strip_prefix(br#"{"log":""#)?;
    let (log, rest) = behind_quote.split_at(string_bytes(behind_quote)?);
    let rest = rest.strip_prefix(br#"","stream":""#)?;
    let stream = Stream::called(rest.get(.."stdout".len())?)?;
    (newline_bytes(log) > 0 && rest.get("stdout".len()) == Some(&b'"')).then_some(stream)
}

/// How long the string is that `text`, behind its opening quote, begins with.
fn string_bytes(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// How many bytes the newline at the end of a string takes up, which is written as an escape; 0 when there is none.
fn newline_bytes(string: &[u8]) -> usize {
    let escape = [br"\n".as_slice(), br"\u000a", br"\u000A"].into_iter().find(|escape| string.ends_with(escape));
    let Some(escape) = escape else { return 0 };
    let backslash_count = string[..string.len() - escape.len()].iter().rev().take_while(|byte| **byte == b'\\').count();
    if backslash_count % 2 == 0 { escape.len() } else { 0 }
}
