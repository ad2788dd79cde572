//! The line of a file's header that names the columns: gathered where the header is passed over, and kept as UTF-8.
//!
//! Which lines are header, and where the last of them is, is decided by the splitter.

use std::sync::Arc;

use super::charset::Charset;
use super::encoding::to_utf_8;
use super::lines::Line;
use crate::limits::HEADER_LINE_BYTES_MAX;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The last line of a file's header.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderLine {
    /// What was passed over of it, as it is in the file. One byte more than may be is as bad as many.
    gathered: Vec<u8>,
    text: Option<Arc<[u8]>>,
}

impl HeaderLine {
    /// Takes `part` of it, behind what was taken before.
    pub(super) fn gather(&mut self, charset: Charset, part: &[u8]) {
        // A hole that a truncation has left is no text.
        let is_in_hole = |byte: &u8| *byte == 0 && self.gathered.is_empty() && charset.unit_bytes() == 1;
        let hole_byte_count = part.iter().take_while(|byte| is_in_hole(byte)).count();
        let room = (HEADER_LINE_BYTES_MAX + 1).saturating_sub(self.gathered.len());
        self.gathered.extend(part[hole_byte_count..].iter().take(room));
    }

    /// All of it was taken. One longer than `bytes_max`, which is that of lines, or than [`HEADER_LINE_BYTES_MAX`] is none: with
    /// a part of the names, values would get wrong ones.
    pub(super) fn finish(&mut self, charset: Charset, bytes_max: usize) {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.len() <= bytes_max.min(HEADER_LINE_BYTES_MAX) {
            let line = Line { text: 0..gathered.len(), whole: 0..gathered.len() };
            let text = to_utf_8(charset, &gathered, vec![line]).bytes;
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
            self.text = Some(text.strip_suffix(b"\r").unwrap_or(text).into());
        }
    }

    /// The line, without terminator or byte order mark; none until all of it was passed over.
    pub(super) fn text(&self) -> Option<&Arc<[u8]>> {
        self.text.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line, taken at once and byte by byte.
    #[track_caller]
    fn check(charset: Charset, line: &[u8], bytes_max: usize, expected: Option<&str>) {
        for step in [line.len().max(1), 1] {
            let mut header = HeaderLine::default();
            line.chunks(step).for_each(|part| header.gather(charset, part));
            assert_eq!(header.text(), None);
            header.finish(charset, bytes_max);
            assert_eq!(header.text().map(|text| &text[..]), expected.map(str::as_bytes), "{line:?} in steps of {step}");
        }
    }

    #[test]
    fn the_line_is_utf_8_without_marks_and_terminators() {
        check(Charset::Utf8, b"a,b", 3, Some("a,b"));
        check(Charset::Utf8, b"a,b\r", 100, Some("a,b"));
        check(Charset::Utf8, b"", 100, Some(""));
        check(Charset::Utf8, "\u{feff}a,b".as_bytes(), 100, Some("a,b"));
        check(Charset::Utf8, b"\0\0\0a\0b", 100, Some("a\0b"));
        check(Charset::Latin1, b"\xe9\r", 100, Some("é"));
        check(Charset::ShiftJis, b"\x93\xfa\x96\x7b", 100, Some("日本"));
        check(Charset::Utf16Le, b"a\0\r\0", 100, Some("a"));
        check(Charset::Utf16Be, b"\0a\0,\0\xe9", 100, Some("a,é"));
    }

    #[test]
    fn a_line_that_is_too_long_is_none() {
        check(Charset::Utf8, b"a,b", 2, None);
        check(Charset::Utf8, &[b'x'; HEADER_LINE_BYTES_MAX + 5], usize::MAX, None);
        check(Charset::Latin1, &[b'x'; HEADER_LINE_BYTES_MAX], usize::MAX, Some(&"x".repeat(HEADER_LINE_BYTES_MAX)));
        check(Charset::Utf8, &[0; 2 * HEADER_LINE_BYTES_MAX], usize::MAX, Some(""));
    }
}
