//! Where the newest lines of a file begin, for those who show them and tail nothing.

use std::io;

use super::charset::Charset;
use super::source::{Source, fingerprint_of, place_of};
use crate::config::{Flow, LineRules};
use crate::discovery::Found;
use crate::limits::{FINGERPRINT_BYTES, READ_BYTES};
use crate::offsets::{Identity, Row};

/// Longest way back that is looked for newlines.
const LOOK_BACK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The row with which a file is read as if all of it were settled but its `line_count` newest lines; all of it is read when
/// that is none. None of a file that is compressed or empty.
pub fn row_before_newest(flow: &Flow, found: &Found, line_count: Option<usize>) -> io::Result<Option<Row>> {
    let mut source = Source::open(&found.path)?;
    let end = source.byte_count_told()?;
    if source.is_compressed() || end == 0 {
        return Ok(None);
    }
    let start = match line_count {
        Some(line_count) => start_of_newest(&mut source, flow.line, end, line_count)?,
        None => 0,
    };
    let identity = Identity {
        place: Some(place_of(&source.metadata()?)),
        fingerprint: fingerprint_of(&source.beginning(FINGERPRINT_BYTES)?),
        mark: source.mark(start)?,
        byte_count: end,
        is_superseded: false,
    };
    let path = found.path.to_string_lossy().into_owned();
    Ok(Some(Row { flow: flow.name.clone(), path, identity, gone_at: None, watermark: start, settled_above: Vec::new() }))
}

/// Where the last `line_count` lines before `end` begin, an unfinished one at the end counted. Where newlines are too rare,
/// fewer lines.
fn start_of_newest(source: &mut Source, rules: LineRules, end: u64, line_count: usize) -> io::Result<u64> {
    let mut bytes = Vec::new();
    source.read_at(&mut bytes, 0, 2)?;
    let charset = Charset::of(rules.encoding, &bytes);
    let unit = charset.unit_bytes() as u64;
    let (end, mut start) = (end - end % unit, end);
    let (mut left, mut position) = (line_count, end);
    let lowest = end.saturating_sub(LOOK_BACK_BYTES_MAX);
    while left > 0 && position > lowest {
        let block_start = position.saturating_sub(READ_BYTES as u64).max(lowest - lowest % unit);
        source.read_at(&mut bytes, block_start, position)?;
        while let Some(at) = charset.rfind_newline(&bytes) {
            let line_start = block_start + at as u64 + unit;
            // The one at the end ends the last line, and begins none.
            if line_start < end {
                start = line_start;
                left -= 1;
                if left == 0 {
                    return Ok(start);
                }
            }
            bytes.truncate(at);
        }
        position = block_start;
    }
    Ok(if left > 0 && position == 0 { 0 } else { start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encoding, TooLong};

    fn check(encoding: Encoding, content: &[u8], line_count: usize, expected: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, content).unwrap();
        let mut source = Source::open(&path).unwrap();
        let rules = LineRules { encoding, skip_header_lines: 0, max_bytes: 1000, too_long: TooLong::Truncate, strip_cr: false };
        let start = start_of_newest(&mut source, rules, content.len() as u64, line_count).unwrap();
        assert_eq!(start, expected, "{line_count} of {} bytes", content.len());
    }

    #[test]
    fn the_newest_lines_begin_behind_a_newline() {
        for (content, line_count, expected) in [
            (&b"a\nbb\nccc\n"[..], 0, 9),
            (b"a\nbb\nccc\n", 1, 5),
            (b"a\nbb\nccc\n", 2, 2),
            (b"a\nbb\nccc\n", 3, 0),
            (b"a\nbb\nccc\n", 9, 0),
            (b"a\nbb\nccc", 1, 5),
            (b"a\nbb\nccc", 2, 2),
            (b"\n\n\n", 2, 1),
            (b"a", 1, 0),
        ] {
            check(Encoding::Utf8, content, line_count, expected);
        }
    }

    #[test]
    fn newlines_of_utf_16_are_two_bytes_at_an_even_place() {
        // The second character has 0x0A for its second byte.
        let content = b"a\0\x0a\x01\n\0b\0\n\0";
        check(Encoding::Utf16Le, content, 1, 6);
        check(Encoding::Utf16Le, content, 2, 0);
    }

    #[test]
    fn blocks_are_looked_through_backwards_and_not_for_ever() {
        let long = [b"first\n".as_slice(), &vec![b'x'; 3 * READ_BYTES], b"\nlast\n"].concat();
        check(Encoding::Utf8, &long, 1, long.len() as u64 - 5);
        check(Encoding::Utf8, &long, 2, 6);
        check(Encoding::Utf8, &long, 3, 0);
        let endless = vec![b'x'; usize::try_from(LOOK_BACK_BYTES_MAX).unwrap() + 10];
        check(Encoding::Utf8, &endless, 1, endless.len() as u64);
    }
}
