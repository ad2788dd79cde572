//! Rows with which a file is read from where somebody wants: before its newest lines, for those who show them and tail nothing,
//! or from an offset that an operator has given.

use std::path::Path;
use std::{fmt, io};

use super::charset::Charset;
use super::source::{Source, fingerprint_of, place_of};
use crate::config::{Encoding, Flow, LineRules};
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
    row_from(&mut source, &flow.name, &found.path, start, end).map(Some)
}

/// Where reading is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the first byte.
    Beginning,
    /// With the unfinished last line, or behind the last when that is finished.
    End,
    /// With the line that has the byte at this offset.
    Offset(u64),
}

/// Why there is no row with which a file is read from a position.
#[derive(Debug)]
pub enum UnfitPosition {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is a directory, a pipe or the like.
    NotAFile,
    /// Offsets of a compressed file are those of what it holds.
    Compressed,
    /// It has only so many bytes.
    BeyondEnd(u64),
    /// No line begins in the 16 MiB before the offset.
    NoLine,
}

impl fmt::Display for UnfitPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot read it: {error}"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Compressed => f.write_str("it is compressed, so that no line of it can be named by an offset of the file"),
            Self::BeyondEnd(byte_count) => write!(f, "the offset is behind its end: it has {byte_count} bytes"),
            Self::NoLine => write!(f, "no line begins in the {} MiB before the offset", LOOK_BACK_BYTES_MAX >> 20),
        }
    }
}

impl std::error::Error for UnfitPosition {}

impl From<io::Error> for UnfitPosition {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The row with which the file at `path` is read from the beginning of the line at `position`, which is its watermark. Without
/// an `encoding` its byte order mark decides, and where there is none every newline ends a line.
pub fn row_at(flow: &str, encoding: Option<Encoding>, path: &Path, position: Position) -> Result<Row, UnfitPosition> {
    let mut source = Source::open(path)?;
    if !source.metadata()?.is_file() {
        return Err(UnfitPosition::NotAFile);
    }
    if source.is_compressed() {
        return Err(UnfitPosition::Compressed);
    }
    let end = source.byte_count_told()?;
    let start = match position {
        Position::Beginning => 0,
        Position::End => start_of_line(&mut source, encoding, end)?.unwrap_or(end),
        Position::Offset(offset) if offset > end => return Err(UnfitPosition::BeyondEnd(end)),
        Position::Offset(offset) => start_of_line(&mut source, encoding, offset)?.ok_or(UnfitPosition::NoLine)?,
    };
    Ok(row_from(&mut source, flow, path, start, end)?)
}

/// The row with which a file of `end` bytes is read from `start` on.
fn row_from(source: &mut Source, flow: &str, path: &Path, start: u64, end: u64) -> io::Result<Row> {
    let identity = Identity {
        place: Some(place_of(&source.metadata()?)),
        fingerprint: fingerprint_of(&source.beginning(FINGERPRINT_BYTES)?),
        mark: source.mark(start)?,
        byte_count: end,
        is_superseded: false,
    };
    let path = path.to_string_lossy().into_owned();
    Ok(Row { flow: flow.to_owned(), path, identity, gone_at: None, watermark: start, settled_above: Vec::new() })
}

/// Where the line begins that has the byte at `offset`, or would have it; none when that is too far back.
fn start_of_line(source: &mut Source, encoding: Option<Encoding>, offset: u64) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    source.read_at(&mut bytes, 0, 2)?;
    let charset = match encoding {
        Some(encoding) => Charset::of(encoding, &bytes),
        None => Charset::of_beginning(&bytes),
    };
    let unit = charset.unit_bytes() as u64;
    let whole_units = |offset: u64| offset - offset % unit;
    let mut position = whole_units(offset);
    let lowest = whole_units(position.saturating_sub(LOOK_BACK_BYTES_MAX));
    while position > lowest {
        let block_start = position.saturating_sub(READ_BYTES as u64).max(lowest);
        source.read_at(&mut bytes, block_start, position)?;
        if let Some(at) = charset.rfind_newline(&bytes) {
            return Ok(Some(block_start + at as u64 + unit));
        }
        position = block_start;
    }
    Ok((position == 0).then_some(0))
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

    fn row_of(encoding: Option<Encoding>, content: &[u8], position: Position) -> Result<Row, UnfitPosition> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, content).unwrap();
        row_at("f", encoding, &path, position)
    }

    #[test]
    fn an_offset_is_moved_back_to_the_beginning_of_its_line() {
        use Position::{Beginning, End, Offset};
        let long = [b"first\n".as_slice(), &vec![b'x'; 3 * READ_BYTES], b"\nlast\n"].concat();
        let endless = vec![b'x'; usize::try_from(LOOK_BACK_BYTES_MAX).unwrap() + 10];
        for (encoding, content, position, expected) in [
            (None, &b"a\nbb\nccc"[..], Beginning, 0),
            (None, b"a\nbb\nccc", Offset(0), 0),
            (None, b"a\nbb\nccc", Offset(1), 0),
            (None, b"a\nbb\nccc", Offset(2), 2),
            (None, b"a\nbb\nccc", Offset(4), 2),
            (None, b"a\nbb\nccc", Offset(8), 5),
            (None, b"a\nbb\nccc", End, 5),
            (None, b"a\nbb\nccc\n", End, 9),
            (None, b"", Beginning, 0),
            (None, b"", End, 0),
            (None, b"", Offset(0), 0),
            (None, &long, Offset(2 * READ_BYTES as u64), 6),
            (None, &endless, End, endless.len() as u64),
            // The byte order mark says it, or the configuration.
            (None, b"\xfe\xff\0a\0\n\n\0\0b\0", End, 6),
            (None, b"\xff\xfea\0\n\0b\0", Offset(7), 6),
            (Some(Encoding::Utf16Be), b"\0a\0\n\n\0\0b", Offset(7), 4),
            (Some(Encoding::Utf8), b"\0a\0\n\n\0\0b", Offset(7), 5),
        ] {
            let row = row_of(encoding, content, position).unwrap();
            assert_eq!(row.watermark, expected, "{encoding:?} {position:?} of {} bytes", content.len());
            assert_eq!((row.identity.mark.end, row.identity.byte_count), (expected, content.len() as u64));
            assert_eq!(row.identity.fingerprint.byte_count as usize, content.len().min(FINGERPRINT_BYTES));
        }
        for (content, position, expected) in [
            (&b"a\n"[..], Offset(3), "the offset is behind its end: it has 2 bytes"),
            (&endless, Offset(endless.len() as u64), "no line begins in the 16 MiB before the offset"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Beginning, "it is compressed"),
        ] {
            let error = row_of(None, content, position).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(matches!(row_at("f", None, Path::new("/dev/null"), Beginning), Err(UnfitPosition::NotAFile)));
        assert!(matches!(row_at("f", None, Path::new("/nowhere"), Beginning), Err(UnfitPosition::Unreadable(_))));
    }
}
