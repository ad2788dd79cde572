//! Format `syslog_rfc5424`: RFC 5424, section 6 (<https://www.rfc-editor.org/rfc/rfc5424#section-6>).
//!
//! ```text
//! <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]
//! ```
//!
//! `-` is null. Header fields are not checked for length or characters, and the time is not checked at all: no two formats
//! begin like this. Structured data becomes an object of objects. Of an element or a parameter that is there twice, the
//! last one counts.

use bumpalo::collections::Vec as ArenaVec;

use super::syslog::{split_word, take_priority};
use crate::processor::fields::{Arena, Field, Fields, Value};
use crate::processor::json::{self, Sink as _};

pub(super) const FIELDS: &[&str] = &[
    "timestamp",
    "hostname",
    "program",
    "processid",
    "message",
    "priority",
    "facility",
    "severity",
    "version",
    "msgid",
    "structured_data",
];

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let (priority, level, rest) = take_priority(line)?;
    let (version, rest) = take_word(rest)?;
    let is_version = version.len() <= 3 && version.iter().all(u8::is_ascii_digit) && version[0] != b'0';
    if !is_version {
        return None;
    }
    let (timestamp, rest) = take_word(rest)?;
    let (hostname, rest) = take_word(rest)?;
    let (program, rest) = take_word(rest)?;
    let (process, rest) = take_word(rest)?;
    let (message_id, rest) = take_word(rest)?;
    let (structured_data, behind) = take_structured_data(rest, arena)?;
    if str::from_utf8(&rest[..rest.len() - behind.len()]).is_err() {
        fields.note_replacement();
    }
    let message = match behind {
        [] => Value::Absent,
        [b' ', message @ ..] => Value::Text(message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message)),
        _ => return None,
    };
    let or_null = |word: &'l [u8]| if word == b"-" { Value::Null } else { Value::Text(word) };
    let values = [
        or_null(timestamp),
        or_null(hostname),
        or_null(program),
        or_null(process),
        message,
        Value::Text(priority),
        Value::Text(level.facility.as_bytes()),
        Value::Text(level.severity.as_bytes()),
        Value::Text(version),
        or_null(message_id),
        structured_data,
    ];
    for (name, value) in FIELDS.iter().zip(values) {
        fields.push(*name, value);
    }
    Some(())
}

/// The first word, which is not empty, and what is behind the space that ends it.
fn take_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = split_word(text);
    rest.filter(|_| !word.is_empty()).map(|rest| (word, rest))
}

/// Takes `-` or elements off the beginning.
fn take_structured_data<'l>(text: &'l [u8], arena: &'l Arena) -> Option<(Value<'l>, &'l [u8])> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return Some((Value::Null, rest));
    }
    let mut elements = Fields::new(arena);
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix(b"[") {
        let (name, parameters, behind) = take_element(inner, arena)?;
        elements.push(name, Value::Json(parameters));
        rest = behind;
    }
    // No element, and no `-` either.
    elements.at(0)?;
    Some((Value::Json(object(&mut elements, arena)?), rest))
}

/// Takes one behind its `[` off the beginning: its name, its parameters as an object, and the rest.
fn take_element<'l>(text: &'l [u8], arena: &'l Arena) -> Option<(&'l [u8], &'l str, &'l [u8])> {
    let (name, mut rest) = take_name(text)?;
    let mut parameters = Fields::new(arena);
    while let Some(parameter) = rest.strip_prefix(b" ") {
        let (name, behind) = take_name(parameter)?;
        let (value, behind) = take_value(behind.strip_prefix(b"=\"")?, arena)?;
        parameters.push(name, Value::Text(value));
        rest = behind;
    }
    Some((name, object(&mut parameters, arena)?, rest.strip_prefix(b"]")?))
}

/// Takes the name of an element or a parameter, which is not empty, off the beginning.
fn take_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'=' | b']' | b'"')).filter(|end| *end > 0)?;
    text.split_at_checked(end)
}

/// Takes a value and the quote behind it off the beginning. A backslash that escapes nothing is a backslash.
fn take_value<'l>(text: &'l [u8], arena: &'l Arena) -> Option<(&'l [u8], &'l [u8])> {
    let mut unescaped = None;
    let mut rest = text;
    loop {
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        let (plain, behind) = (&rest[..end], &rest[end + 1..]);
        if rest[end] == b'"' {
            let Some(mut unescaped) = unescaped else { return Some((plain, behind)) };
            ArenaVec::extend_from_slice_copy(&mut unescaped, plain);
            return Some((unescaped.into_bump_slice(), behind));
        }
        let unescaped = unescaped.get_or_insert_with(|| ArenaVec::new_in(arena));
        let is_escape = matches!(behind.first(), Some(b'"' | b'\\' | b']'));
        let (plain, behind) = if is_escape { (plain, behind) } else { (&rest[..=end], behind) };
        unescaped.extend_from_slice_copy(plain);
        let taken_count = usize::from(is_escape);
        unescaped.extend_from_slice_copy(&behind[..taken_count]);
        rest = &behind[taken_count..];
    }
}

/// `fields`, each name once, as a JSON object.
fn object<'l>(fields: &mut Fields<'l>, arena: &'l Arena) -> Option<&'l str> {
    fields.keep_one_of_each_name();
    let byte_count = |field: &Field<'_>| match field.value {
        Value::Json(json) => field.name.len() + json.len(),
        Value::Text(text) => field.name.len() + text.len(),
        _ => 0,
    };
    // Quotes, a colon and a comma for each, and room to write in blocks: more only where something is escaped.
    let capacity = 32 + fields.iter().map(|field| byte_count(field) + 6).sum::<usize>();
    let mut out = ArenaVec::with_capacity_in(capacity, arena);
    for (place, field) in fields.iter().enumerate() {
        out.add(if place == 0 { b"{" } else { b"," });
        json::write_string(field.name, &mut out);
        out.add(b":");
        match field.value {
            Value::Json(json) => out.add(json.as_bytes()),
            Value::Text(text) => _ = json::write_string(text, &mut out),
            _ => return None,
        }
    }
    out.add(if fields.at(0).is_some() { b"}" } else { b"{}" });
    str::from_utf8(out.into_bump_slice()).ok()
}

#[cfg(test)]
mod tests;
