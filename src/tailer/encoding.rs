//! Lines of any encoding into UTF-8.
//!
//! Pure. Alone knows `encoding_rs`. Where lines are, and where they are cut, was decided before; what they take up in
//! the file stays as it is.

use std::borrow::Cow;
use std::ops::Range;

use super::charset::Charset;
use super::lines::Line;

/// Lines as they are sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Utf8<'a> {
    /// The lines one behind the other, each with its terminator, if it has one, as `\n` or `\r\n`. Of UTF-8 all that
    /// was read, what is dropped in between included.
    pub bytes: Cow<'a, [u8]>,
    /// `text` are positions in `bytes`; `whole` is where it was in what was read.
    pub lines: Vec<Line>,
    /// Lines in which something malformed became U+FFFD.
    pub replaced_line_count: u64,
}

/// Makes the `lines` of what was read UTF-8. For UTF-8 nothing is done, whatever is in it.
pub(super) fn to_utf_8(charset: Charset, read: &[u8], mut lines: Vec<Line>) -> Utf8<'_> {
    let decode: Decode = match charset {
        Charset::Utf8 => return Utf8 { bytes: Cow::Borrowed(read), lines, replaced_line_count: 0 },
        Charset::Latin1 => |bytes| (encoding_rs::mem::decode_latin1(bytes), false),
        Charset::Utf16Le => |bytes| encoding_rs::UTF_16LE.decode_without_bom_handling(bytes),
        Charset::Utf16Be => |bytes| encoding_rs::UTF_16BE.decode_without_bom_handling(bytes),
        Charset::ShiftJis => |bytes| encoding_rs::SHIFT_JIS.decode_without_bom_handling(bytes),
        Charset::EucKr => |bytes| encoding_rs::EUC_KR.decode_without_bom_handling(bytes),
        Charset::Gb18030 => |bytes| encoding_rs::GB18030.decode_without_bom_handling(bytes),
    };
    let mut bytes = Vec::with_capacity(read.len());
    let mut replaced_line_count = 0;
    for Line { text, whole } in &mut lines {
        // With its terminator: a character that it breaks off is not at the end of the input, which may be another
        // matter when it is malformed.
        let (decoded, is_replaced) = decode(&read[text.start..whole.end]);
        let terminator_unit_count = (whole.end - text.end) / charset.unit_bytes();
        *text = appended(&mut bytes, &decoded, terminator_unit_count);
        replaced_line_count += u64::from(is_replaced);
    }
    Utf8 { bytes: Cow::Owned(bytes), lines, replaced_line_count }
}

type Decode = for<'a> fn(&'a [u8]) -> (Cow<'a, str>, bool);

/// Where in `bytes` the line without its terminator is, once it is there. CR and LF are one byte each in UTF-8.
fn appended(bytes: &mut Vec<u8>, line: &str, terminator_byte_count: usize) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(line.as_bytes());
    start..bytes.len() - terminator_byte_count.min(line.len())
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
