//! Escapes, by which one byte is written as several: as in URLs and in JSON, those of control characters as syslog daemons
//! write them, and what colours the text of a terminal. None of their letters is a part of the text.

/// A longer escape is not looked for before a place.
const BYTES_MAX: usize = 24;
/// A longer escape has no part of what is behind it.
const SHARED_BYTES_MAX: usize = 6;
const ESCAPE: u8 = 0x1b;
/// Stands for all bytes that are no ASCII.
const OTHER: u8 = 0xff;

/// The byte that is written at `at`, and in how many bytes; a sequence for a terminal is an escape character.
pub(super) fn read(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = text.get(at..)?;
    let (byte, length) = match rest {
        [b'%', ..] => read_percent(rest),
        [b'\\', ..] => read_backslash(rest),
        // <https://www.rsyslog.com/doc/rainerscript/global.html>, `parser.escapeControlCharactersCStyle`
        [b'#', b'0', high @ b'0'..=b'3', low @ b'0'..=b'7', ..] => ((high & 7) << 3 | low & 7, 4),
        // Of a colour whose escape character somebody took out.
        [b'[', b'0'..=b'9', ..] => match sequence_length(rest) {
            length if length > 0 && rest[length - 1] == b'm' => return Some((ESCAPE, length)),
            _ => (b'[', 1),
        },
        [byte, ..] => (*byte, 1),
        [] => return None,
    };
    Some((byte, if byte == ESCAPE { length + sequence_length(&rest[length..]) } else { length }))
}

/// Whether an escape ends right before `at`.
pub(super) fn is_behind(text: &[u8], at: usize) -> bool {
    let before = &text[at.saturating_sub(BYTES_MAX)..at];
    let is_percent = matches!(before, [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let ends_here = |start: usize| {
        matches!(before[start], b'%' | b'\\' | b'#' | b'[' | ESCAPE)
            && read(before, start).is_some_and(|(_, length)| length > 1 && start + length == before.len())
    };
    is_percent || (0..before.len()).any(ends_here)
}

/// Where a thing may begin whose first bytes were found at `first` and end at `end`: an escape may have some of them.
pub(super) fn starts(text: &[u8], first: usize, end: usize) -> impl Iterator<Item = usize> {
    let is_within = matches!(text[..first], [.., b'%' | b'\\' | b'#' | b'[' | b';'] | [.., b'\\', b'u' | b'x']);
    let last = if is_within { end.min(first + SHARED_BYTES_MAX) } else { first };
    let behind_escapes = (first + 1..=last).rev().filter(move |start| is_behind(text, *start));
    behind_escapes.chain(std::iter::once(first))
}

/// `%3D`, and `%253D`, which is escaped twice.
fn read_percent(text: &[u8]) -> (u8, usize) {
    let mut at = 1;
    while text[at..].starts_with(b"25") && hexadecimal(&text[at + 2..], 2).is_some() {
        at += 2;
    }
    hexadecimal(&text[at..], 2).map_or((b'%', 1), |byte| (byte, at + 2))
}

/// As in JSON (RFC 8259) and in most programs, escaped any number of times.
fn read_backslash(text: &[u8]) -> (u8, usize) {
    let count = super::count_first(text, |byte| byte == b'\\');
    let escaped = &text[count..];
    let hexadecimal_length = match escaped {
        [b'u', ..] => 4,
        [b'x', ..] => 2,
        _ => 0,
    };
    if hexadecimal_length > 0
        && let Some(byte) = hexadecimal(&escaped[1..], hexadecimal_length)
    {
        return (byte, count + 1 + hexadecimal_length);
    }
    let (byte, length) = match *escaped {
        [b'0', b'3', b'3', ..] => (ESCAPE, 3),
        [b'e', b'[', ..] => (ESCAPE, 1),
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'b' | b'f' | b'v' | b'a' | b'0', ..] => (0, 1),
        [byte @ (b'/' | b'"' | b'\''), ..] => (byte, 1),
        _ => (b'\\', 0),
    };
    (byte, count + length)
}

/// The number that `digit_count` digits at the beginning of `text` write.
fn hexadecimal(text: &[u8], digit_count: usize) -> Option<u8> {
    let digits = text.get(..digit_count)?;
    let number = digits.iter().try_fold(0, |number: u32, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))?;
    Some(u8::try_from(number).ok().filter(u8::is_ascii).unwrap_or(OTHER))
}

/// Length of what is behind an escape character and belongs to it, ECMA-48: `[1;31m`, `(B`; zero for what is not known.
fn sequence_length(text: &[u8]) -> usize {
    match text {
        [b'[', rest @ ..] => {
            let length = rest.iter().take(BYTES_MAX).take_while(|byte| matches!(byte, b'0'..=b'?')).count();
            if rest.get(length).is_some_and(u8::is_ascii_alphabetic) { length + 2 } else { 0 }
        }
        [b'(' | b')', b'0' | b'A' | b'B', ..] => 2,
        _ => 0,
    }
}
