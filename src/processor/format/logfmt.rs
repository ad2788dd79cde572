//! Format logfmt: `key=value key="quoted \"value\"" flag key=`.
//!
//! There is no specification; <https://brandur.org/logfmt> tells what it is for, and the grammar in the documentation of
//! <https://pkg.go.dev/github.com/kr/logfmt> is what most readers follow. Beyond it:
//!
//! - A value may have `=` and quotes inside, since many writers quote only what has spaces.
//! - A key may be quoted, and escapes are those of JSON and of Go's strconv.Quote, with which slog and logrus write.
//! - A key alone is true, as in Fluent Bit and Vector; `key=` is empty text.
//!
//! A line without any `=` is not logfmt, nor is one with a quote that nothing closes, or with one that something else than
//! space follows: inner quotes were not escaped, and what would be read is not what was written.

use bumpalo::collections::Vec as ArenaVec;

use crate::processor::fields::{Arena, Fields, Value};

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let mut has_value = false;
    let mut rest = skip_space(line);
    while let Some(&first) = rest.first() {
        let is_quoted = first == b'"';
        let (key, behind) = if is_quoted { take_quoted(&rest[1..], arena)? } else { take_key(rest)? };
        if let Some(behind) = behind.strip_prefix(b"=") {
            let (value, behind) = match behind.strip_prefix(b"\"") {
                Some(quoted) => take_quoted(quoted, arena)?,
                None => split_at(behind, |byte| byte <= b' '),
            };
            fields.push(key, Value::Text(value));
            has_value = true;
            rest = behind;
        } else if is_quoted {
            return None;
        } else {
            fields.push(key, Value::Boolean(true));
            rest = behind;
        }
        if rest.first().is_some_and(|&byte| byte > b' ') {
            return None;
        }
        rest = skip_space(rest);
    }
    has_value.then(|| fields.keep_one_of_each_name())
}

/// Takes a key without quotes, which is not empty, off the beginning.
fn take_key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = split_at(text, |byte| byte <= b' ' || byte == b'=' || byte == b'"');
    (!key.is_empty()).then_some((key, rest))
}

/// Takes what is in quotes off the beginning, without the quote before it and with the one behind it.
fn take_quoted<'l>(text: &'l [u8], arena: &'l Arena) -> Option<(&'l [u8], &'l [u8])> {
    let mut has_escape = false;
    let mut from = 0;
    loop {
        let place = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[place] == b'"' {
            let inner = &text[..place];
            return Some((if has_escape { unescape(inner, arena) } else { inner }, &text[place + 1..]));
        }
        has_escape = true;
        from = place + 2;
    }
}

/// An escape that is none of JSON's or Go's is left as it is.
fn unescape<'l>(text: &[u8], arena: &'l Arena) -> &'l [u8] {
    let mut out = ArenaVec::with_capacity_in(text.len(), arena);
    let mut rest = text;
    while let Some(place) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice_copy(&rest[..place]);
        let escape = &rest[place + 1..];
        let mut encoded = [0; 4];
        let (meaning, length): (&[u8], usize) = match escape.first() {
            Some(b'"' | b'\\' | b'/' | b'\'') => (&escape[..1], 1),
            Some(b'a') => (b"\x07", 1),
            Some(b'b') => (b"\x08", 1),
            Some(b'f') => (b"\x0c", 1),
            Some(b'n') => (b"\n", 1),
            Some(b'r') => (b"\r", 1),
            Some(b't') => (b"\t", 1),
            Some(b'v') => (b"\x0b", 1),
            _ => numbered_escape(escape, &mut encoded).unwrap_or((b"\\", 0)),
        };
        out.extend_from_slice_copy(meaning);
        rest = &escape[length..];
    }
    out.extend_from_slice_copy(rest);
    out.into_bump_slice()
}

/// What `xff`, `u00ff`, two surrogates (`ud83e\udd80`) or `U0001f980` mean, and how long that is. Numbers that are no
/// character mean U+FFFD.
fn numbered_escape<'e>(escape: &[u8], encoded: &'e mut [u8; 4]) -> Option<(&'e [u8], usize)> {
    let (number, length) = match escape.first()? {
        b'x' => {
            encoded[0] = u8::try_from(hexadecimal(escape.get(1..3)?)?).ok()?;
            return Some((&encoded[..1], 3));
        }
        b'u' => {
            let first = hexadecimal(escape.get(1..5)?)?;
            let second = || hexadecimal(escape.get(5..11)?.strip_prefix(b"\\u")?);
            match (first, second()) {
                (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
                    (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 11)
                }
                _ => (first, 5),
            }
        }
        b'U' => (hexadecimal(escape.get(1..9)?)?, 9),
        _ => return None,
    };
    let character = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((character.encode_utf8(encoded).as_bytes(), length))
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

fn skip_space(text: &[u8]) -> &[u8] {
    split_at(text, |byte| byte > b' ').1
}

/// What is before the first byte that `is_end`, and what begins with it.
fn split_at(text: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| is_end(*byte)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests;
