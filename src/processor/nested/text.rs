//! Strings without their escapes, and lists and objects without their white space.

use bumpalo::collections::String as ArenaString;
use memchr::memchr;

use super::{Arena, string_end};

/// What the string `written`, without its quotes, says. Half of a surrogate pair says no character: it becomes U+FFFD.
pub(in crate::processor) fn decode<'l>(written: &'l str, arena: &'l Arena) -> &'l str {
    let Some(first) = memchr(b'\\', written.as_bytes()) else { return written };
    let mut decoded = ArenaString::with_capacity_in(written.len(), arena);
    let mut rest = written;
    let mut plain_count = first;
    loop {
        let (plain, escape) = rest.split_at(plain_count);
        decoded.push_str(plain);
        let (character, byte_count) = escaped(escape);
        decoded.push(character);
        rest = escape.get(byte_count..).unwrap_or_default();
        match memchr(b'\\', rest.as_bytes()) {
            Some(count) => plain_count = count,
            None => {
                decoded.push_str(rest);
                return decoded.into_bump_str();
            }
        }
    }
}

/// The character of the escape with which `text` begins, and how many bytes it has.
fn escaped(text: &str) -> (char, usize) {
    let character = match text.as_bytes().get(1) {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return escaped_by_number(text),
        Some(&plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
        // No valid string has another.
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (character, 2)
}

fn escaped_by_number(text: &str) -> (char, usize) {
    let Some(first) = code_unit(text) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if let Some(second @ 0xdc00..=0xdfff) = text.get(6..).and_then(code_unit)
        && (0xd800..=0xdbff).contains(&first)
    {
        let number = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

fn code_unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// A list or an object without the white space outside of its strings; none when more than `depth_max` of them stand in each
/// other.
pub(super) fn compact<'l>(json: &'l str, arena: &'l Arena, depth_max: usize) -> Option<&'l str> {
    let bytes = json.as_bytes();
    let mut made: Option<ArenaString<'l>> = None;
    let (mut at, mut copied, mut depth) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_end(&bytes[at..]),
            b' ' | b'\t' | b'\n' | b'\r' => {
                made.get_or_insert_with(|| ArenaString::with_capacity_in(json.len(), arena)).push_str(json.get(copied..at)?);
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                copied = at;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return None;
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => at += 1,
        }
    }
    Some(match made {
        Some(mut made) => {
            made.push_str(json.get(copied..)?);
            made.into_bump_str()
        }
        None => json,
    })
}
