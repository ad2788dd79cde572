//! The pieces that lines of servers' logs are made of: words, numbers, text in quotes and in brackets.
//!
//! Each function takes its piece off the beginning of what is left of a line, and says that it is not there by none; what is
//! left then is not worth looking at, but for [`literal`] and [`taken`]. None of them skips the space behind its piece.

use crate::processor::fields::{Arena, Value};

/// Exactly these bytes. Nothing is taken when they are not there.
pub(super) fn literal(rest: &mut &[u8], bytes: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(bytes)?;
    Some(())
}

/// What `piece` takes. Nothing is taken when it is not there.
pub(super) fn taken<'l, P>(rest: &mut &'l [u8], piece: impl FnOnce(&mut &'l [u8]) -> Option<P>) -> Option<P> {
    let mut left = *rest;
    let found = piece(&mut left)?;
    *rest = left;
    Some(found)
}

/// What stands before the next space or the end of the line; at least one byte.
pub(super) fn word<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    let end = find_near(b' ', rest).unwrap_or(rest.len());
    let (word, left) = rest.split_at_checked(end)?;
    *rest = left;
    (!word.is_empty()).then_some(word)
}

/// A word of decimal digits, or `-`.
pub(super) fn number<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    let digit_count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let byte_count = if digit_count == 0 && rest.starts_with(b"-") { 1 } else { digit_count };
    let (number, left) = rest.split_at_checked(byte_count)?;
    *rest = left;
    (byte_count > 0 && matches!(left.first(), None | Some(b' '))).then_some(number)
}

/// Where the first `byte` is, as `memchr` says it: for bytes that are near, to which that costs more than looking.
pub(super) fn find_near(byte: u8, bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = LOW << 7;
    let (near, far) = bytes.split_at_checked(NEAR_BYTES).unwrap_or((bytes, b""));
    let (blocks, rest) = near.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        // Zero where it is the byte: <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>, exact for the first.
        let different = u64::from_le_bytes(*block) ^ (LOW * u64::from(byte));
        let found = different.wrapping_sub(LOW) & !different & HIGH;
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    if let Some(at) = rest.iter().position(|other| *other == byte) {
        return Some(8 * blocks.len() + at);
    }
    memchr::memchr(byte, far).map(|at| near.len() + at)
}

/// As far as words are near: beyond it is worth a call.
const NEAR_BYTES: usize = 32;

/// The digits up to the first byte that is none; at least one.
pub(super) fn digits<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, left) = rest.split_at_checked(end)?;
    *rest = left;
    (!digits.is_empty()).then_some(digits)
}

/// What stands between `[` and the next `]`.
pub(super) fn bracketed<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    let inside = rest.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', inside)?;
    *rest = inside.get(end + 1..)?;
    inside.get(..end)
}

/// What stands between `"` and the next `"` that no backslash escapes, [unescaped].
pub(super) fn quoted<'l>(rest: &mut &'l [u8], arena: &'l Arena) -> Option<&'l [u8]> {
    let inside = rest.strip_prefix(b"\"")?;
    let mut from = 0;
    loop {
        let found = from + memchr::memchr2(b'"', b'\\', inside.get(from..)?)?;
        if inside.get(found) == Some(&b'"') {
            *rest = inside.get(found + 1..)?;
            let text = inside.get(..found)?;
            return Some(if from == 0 { text } else { unescaped(text, arena) });
        }
        from = found + 2;
    }
}

/// `text` with `\"` and `\\` as the characters that they stand for; every other escape, as `\x16` or `\t`, stays as it is.
///
/// Text made of such bytes is rarely UTF-8, so that most of it would only turn into U+FFFD.
pub(super) fn unescaped<'l>(text: &'l [u8], arena: &'l Arena) -> &'l [u8] {
    let Some(first) = memchr::memchr(b'\\', text) else { return text };
    let (plain, mut rest) = text.split_at(first);
    let mut out = bumpalo::collections::Vec::with_capacity_in(text.len(), arena);
    out.extend_from_slice(plain);
    while let [b'\\', escaped, behind @ ..] = rest {
        if !matches!(escaped, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*escaped);
        let end = memchr::memchr(b'\\', behind).unwrap_or(behind.len());
        let (plain, left) = behind.split_at(end);
        out.extend_from_slice(plain);
        rest = left;
    }
    out.extend_from_slice(rest);
    out.into_bump_slice()
}

/// The value of a field: `-` says that there is none.
pub(super) fn value(text: &[u8]) -> Value<'_> {
    if text == b"-" { Value::Null } else { Value::Text(text) }
}

/// The line without the carriage return at its end, which is there when line ends are kept as they are.
pub(super) fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `piece` takes off `line` and leaves of it.
    #[track_caller]
    fn check<'l>(piece: impl Fn(&mut &'l [u8]) -> Option<&'l [u8]>, line: &'l str, expected: Option<(&str, &str)>) {
        let mut rest = line.as_bytes();
        let found = piece(&mut rest).map(|found| (str::from_utf8(found).unwrap(), str::from_utf8(rest).unwrap()));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn words_end_at_a_space_or_with_the_line() {
        check(word, "a b", Some(("a", " b")));
        check(word, "a\tb", Some(("a\tb", "")));
        check(word, " a", None);
        check(word, "", None);
        check(number, "200 x", Some(("200", " x")));
        check(number, "-", Some(("-", "")));
        check(number, "-1", None);
        check(number, "2x", None);
        check(number, "-2", None);
        check(number, "--", None);
        check(number, " 2", None);
        check(number, "", None);
        check(digits, "12#34", Some(("12", "#34")));
        check(digits, "12", Some(("12", "")));
        check(digits, "#", None);
    }

    #[test]
    fn a_byte_is_found_near_and_far() {
        for byte_count in 0..2 * NEAR_BYTES {
            let mut bytes = vec![b' ' + 1; byte_count];
            assert_eq!(find_near(b' ', &bytes), None, "{byte_count}");
            for at in (0..byte_count).rev() {
                bytes[at] = b' ';
                assert_eq!(find_near(b' ', &bytes), Some(at), "{byte_count}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut rest = &b"[a"[..];
        assert_eq!((literal(&mut rest, b"[b"), taken(&mut rest, bracketed), rest), (None, None, &b"[a"[..]));
        assert_eq!((literal(&mut rest, b"["), taken(&mut rest, word), rest), (Some(()), Some(&b"a"[..]), &b""[..]));
    }

    #[test]
    fn brackets_end_at_the_first_that_closes() {
        check(bracketed, "[a[b] c]", Some(("a[b", " c]")));
        check(bracketed, "[]", Some(("", "")));
        check(bracketed, "[a", None);
        check(bracketed, "a]", None);
    }

    #[test]
    fn quotes_end_at_the_first_that_is_not_escaped() {
        let arena = Arena::new();
        let check = |line, expected| check(|rest| quoted(rest, &arena), line, expected);
        check(r#""a b" c"#, Some(("a b", " c")));
        check(r#""""#, Some(("", "")));
        check(r#""a\"b" c"#, Some((r#"a"b"#, " c")));
        check(r#""a\\" c""#, Some((r"a\", r#" c""#)));
        check(r#""\\\"\\"x"#, Some((r#"\"\"#, "x")));
        check(r#""\x16\t\\x16""#, Some((r"\x16\t\x16", "")));
        check(r#""a\""#, None);
        check(r#""a\"#, None);
        check(r#""a"#, None);
        check("a", None);
        check("", None);
    }

    #[test]
    fn a_backslash_at_the_end_escapes_nothing() {
        let arena = Arena::new();
        for (text, expected) in [(r"a\", r"a\"), (r"\", r"\"), ("", ""), (r"a\\\", r"a\\"), (r"D\\u", r"D\u")] {
            assert_eq!(unescaped(text.as_bytes(), &arena), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_dash_is_null_and_nothing_is_empty_text() {
        assert_eq!(value(b"-"), Value::Null);
        assert_eq!(value(b""), Value::Text(b""));
        assert_eq!(value(b"--"), Value::Text(b"--"));
        assert_eq!(without_carriage_return(b"a\r\r"), b"a\r");
        assert_eq!(without_carriage_return(b"a"), b"a");
    }
}
