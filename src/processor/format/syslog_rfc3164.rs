//! Format `syslog_rfc3164`: what syslog daemons write into files, and what they send each other.
//!
//! RFC 3164 (<https://www.rfc-editor.org/rfc/rfc3164>) describes what was in use, and there is more of it:
//!
//! ```text
//! [<PRI>] time [<facility.severity>] [host] [facility.severity] [program[pid]:] message
//! ```
//!
//! Times are `Mar  2 12:00:08`; with a year in front (syslog-ng: `ts-format(full)`) or behind the day (Cisco); RFC 3339, as
//! rsyslog writes them (`RSYSLOG_FileFormat`), and with a space in place of the T (macOS: install.log). FreeBSD (`-v`) puts
//! the level in brackets before the host, `BusyBox` puts it behind the host without. `BusyBox` (`-S`) leaves the host out.
//!
//! The first five fields are in every record, null when the line does not have them; the level only when the line does.
//! Times are not checked for whether there is such a time.

use super::syslog::{Level, named_level, numbered_level, split_word, take_priority};
use crate::processor::fields::{Arena, Fields, Value};

pub(super) const FIELDS: &[&str] =
    &["timestamp", "hostname", "program", "processid", "message", "priority", "facility", "severity"];

const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Longest program name that may have spaces in it, as those of macOS have: RFC 3164, section 4.1.3.
const SPACED_NAME_BYTES_MAX: usize = 32;

pub(super) fn parse<'l>(line: &'l [u8], _arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let mut priority = Value::Absent;
    let mut level = None;
    let mut rest = line;
    if line.first() == Some(&b'<') {
        let (number, of_number, behind) = take_priority(line)?;
        (priority, level) = (Value::Text(number), Some(of_number));
        rest = behind.strip_prefix(b" ").unwrap_or(behind);
    }
    let behind_time = skip_time(rest)?;
    let timestamp = &rest[..rest.len() - behind_time.len()];
    // Cisco writes a colon behind it.
    rest = behind_time.strip_prefix(b":").unwrap_or(behind_time).strip_prefix(b" ")?;
    if let Some((of_brackets, behind)) = take_level_in_brackets(rest) {
        (level, rest) = (Some(of_brackets), behind);
    }
    if rest.is_empty() {
        return None;
    }
    let mut hostname = Value::Null;
    if !begins_without_host(rest) {
        let (word, behind) = split_word(rest);
        if !matches!(word, b"" | b"-") {
            hostname = Value::Text(word);
        }
        rest = behind.unwrap_or_default();
        if let (word, Some(behind)) = split_word(rest)
            && let Some(of_word) = named_level(word)
        {
            (level, rest) = (Some(of_word), behind);
        }
    }
    let (tag, message) = match take_tag(rest) {
        Some((tag, message)) => (tag, message),
        None => (Tag { program: None, process: None }, rest),
    };
    let or_null = |text: Option<&'l [u8]>| text.map_or(Value::Null, Value::Text);
    let or_absent = |text: Option<&'static str>| text.map_or(Value::Absent, |text| Value::Text(text.as_bytes()));
    let values = [
        Value::Text(timestamp),
        hostname,
        or_null(tag.program),
        or_null(tag.process),
        Value::Text(message),
        priority,
        or_absent(level.map(|level| level.facility)),
        or_absent(level.map(|level| level.severity)),
    ];
    for (name, value) in FIELDS.iter().zip(values) {
        fields.push(*name, value);
    }
    Some(())
}

/// What is behind the time with which `text` begins.
fn skip_time(text: &[u8]) -> Option<&[u8]> {
    let date = skip(text, b"0000-00-00T").or_else(|| skip(text, b"0000-00-00 "));
    if let Some(date) = date {
        return Some(skip_offset(skip_clock(date)?));
    }
    let (month, rest) = skip(text, b"0000 ").unwrap_or(text).split_first_chunk()?;
    if !MONTHS.contains(&month) {
        return None;
    }
    let rest = skip(rest, b"  0 ").or_else(|| skip(rest, b" 00 ")).or_else(|| skip(rest, b" 0 "))?;
    skip_clock(skip(rest, b"0000 ").unwrap_or(rest))
}

fn skip_clock(text: &[u8]) -> Option<&[u8]> {
    let rest = skip(text, b"00:00:00")?;
    let Some(fraction) = skip(rest, b".0") else { return Some(rest) };
    let digit_count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(&fraction[digit_count..])
}

/// An offset from UTC is not everywhere: of a time that has none, nothing is skipped.
fn skip_offset(text: &[u8]) -> &[u8] {
    match text.split_first() {
        Some((b'Z', rest)) => rest,
        Some((b'+' | b'-', rest)) => {
            skip(rest, b"00:00").or_else(|| skip(rest, b"0000")).or_else(|| skip(rest, b"00")).unwrap_or(text)
        }
        _ => text,
    }
}

/// What is behind `shape`, in which 0 is any digit and all else is itself.
fn skip<'l>(text: &'l [u8], shape: &[u8]) -> Option<&'l [u8]> {
    let (head, rest) = text.split_at_checked(shape.len())?;
    let has_shape = head.iter().zip(shape).all(|(byte, of)| if *of == b'0' { byte.is_ascii_digit() } else { byte == of });
    has_shape.then_some(rest)
}

/// Takes `<3.6> ` or `<daemon.info> ` off the beginning.
fn take_level_in_brackets(text: &[u8]) -> Option<(Level, &[u8])> {
    let (word, rest) = split_word(text);
    let inner = word.strip_prefix(b"<")?.strip_suffix(b">")?;
    Some((numbered_level(inner).or_else(|| named_level(inner))?, rest?))
}

/// Whether the first word is not the name of a host. An IPv6 address may end in colons.
fn begins_without_host(text: &[u8]) -> bool {
    let (word, _) = split_word(text);
    let is_repetition = [&b"message repeated "[..], b"last message repeated "].iter().any(|start| text.starts_with(start));
    let is_program = matches!(word, [.., last, b':'] if *last != b':');
    is_repetition || is_program || numbered_colon(word).is_some() || numbered(word).is_some()
}

/// What is before a message.
struct Tag<'l> {
    program: Option<&'l [u8]>,
    process: Option<&'l [u8]>,
}

/// Takes `program: `, `program[pid]: `, `program[pid]:` or `program[pid] ` off the beginning.
fn take_tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (word, behind_word) = split_word(text);
    let behind_word = behind_word.unwrap_or_default();
    if let Some(colon) = numbered_colon(word) {
        let behind = &text[colon + 1..];
        return Some((numbered(&word[..colon])?, behind.strip_prefix(b" ").unwrap_or(behind)));
    }
    match word {
        [tag @ .., b':'] if !tag.is_empty() => Some((tag_of(tag), behind_word)),
        _ if numbered(word).is_some() => Some((numbered(word)?, behind_word)),
        _ => take_spaced_tag(text),
    }
}

/// Takes `Google Chrome[123]: ` off the beginning. Of a message that only happens to have a colon it differs by the number.
fn take_spaced_tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let colon = memchr::memchr(b':', text)?;
    let behind = &text[colon + 1..];
    let message = if behind.is_empty() { behind } else { behind.strip_prefix(b" ")? };
    let tag = numbered(&text[..colon])?;
    let is_name = |name: &[u8]| name.len() <= SPACED_NAME_BYTES_MAX && !name.starts_with(b" ");
    tag.program.is_some_and(is_name).then_some((tag, message))
}

/// The place of the first colon behind `program[123]`.
fn numbered_colon(word: &[u8]) -> Option<usize> {
    let is_behind_number = |place: &usize| *place > 0 && word[place - 1] == b']' && numbered(&word[..*place]).is_some();
    memchr::memchr_iter(b':', word).find(is_behind_number)
}

/// `program[123]`
fn numbered(text: &[u8]) -> Option<Tag<'_>> {
    let inner = text.strip_suffix(b"]")?;
    let digit_count = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = inner.split_at(inner.len() - digit_count);
    let program = before.strip_suffix(b"[")?;
    (digit_count > 0 && !program.is_empty()).then_some(Tag { program: Some(program), process: Some(number) })
}

/// `program`, or `program[process]` where a process may be called anything, or not be named.
fn tag_of(text: &[u8]) -> Tag<'_> {
    match before_brackets(text) {
        Some((program, process)) => Tag { program: Some(program), process: Some(process).filter(|name| !name.is_empty()) },
        None => Tag { program: Some(text), process: None },
    }
}

/// What is before the last `[`, and what is between it and the `]` at the end.
fn before_brackets(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_suffix(b"]")?;
    let bracket = memchr::memrchr(b'[', text).filter(|bracket| *bracket > 0)?;
    Some((&text[..bracket], &text[bracket + 1..]))
}

#[cfg(test)]
mod tests;
