//! Bytes into lines: where each ends, which are the file's header, and what becomes of one that is too long.
//!
//! Pure. Every byte that is consumed belongs to exactly one line or one dropped piece, in order.

use std::ops::Range;

use super::charset::Charset;
use crate::config::{Encoding, LineRules, TooLong};
use crate::limits::PIECE_LINES_MAX;

/// Where the lines of one piece of a file are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// How the file is encoded.
    pub charset: Charset,
    /// So many bytes at the beginning of the piece are of the header, to be dropped. Where there are any, the piece has
    /// neither lines nor what is too long.
    pub header_byte_count: usize,
    /// What of these is of the text of the header's last line.
    pub header_line: Range<usize>,
    /// Lines to send.
    pub lines: Vec<Line>,
    /// Bytes to drop as too long, positions in the piece.
    pub too_long: Vec<Range<usize>>,
    /// How many bytes of the piece the lines and the dropped bytes take up; what follows is
    /// an unfinished line, or more than [`PIECE_LINES_MAX`] lines, or lines behind the header.
    pub consumed: usize,
}

/// One line, positions in the piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is sent: without the terminator, nor a byte order mark of UTF-16.
    pub text: Range<usize>,
    /// What it takes up in the file: terminator included.
    pub whole: Range<usize>,
}

/// The state between two pieces of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Splitter {
    rules: LineRules,
    /// None until it is known how the file begins, where that matters.
    charset: Option<Charset>,
    /// Lines to come that are header.
    headers_left: usize,
    /// Behind the cut of a line that is too long: everything up to its end is dropped.
    discarding: bool,
}

impl Splitter {
    /// At the beginning of a file.
    pub(super) fn new(rules: LineRules) -> Self {
        let charset = (rules.encoding != Encoding::Utf16).then(|| Charset::of(rules.encoding, b""));
        Self { rules, charset, headers_left: rules.skip_header_lines, discarding: false }
    }

    /// At the beginning of another file, by the same rules.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.rules)
    }

    /// Whether the rest of a line is to come of which the beginning was cut off.
    pub(super) fn is_within_line(&self) -> bool {
        self.discarding
    }

    /// In the same file, at the beginning of a line behind its header.
    pub(super) fn at_line_start(&self) -> Self {
        Self { discarding: false, ..*self }
    }

    /// Whether the beginning of the file, up to where the next piece begins, has to be [passed](Splitter::pass) first.
    pub(super) fn needs_beginning(&self) -> bool {
        self.headers_left > 0 || self.charset.is_none()
    }

    /// Learns from `bytes` at `offset`, an even one, which are not split. From a new [`Splitter`] on, up to where the next
    /// piece begins, or until nothing more [is needed](Splitter::needs_beginning). Gives what of them is of the text of the
    /// header's last line.
    pub(super) fn pass(&mut self, offset: u64, bytes: &[u8]) -> Range<usize> {
        self.learn(offset, bytes);
        self.pass_header(offset, bytes).1
    }

    /// Whether it is known what ends a line.
    pub(super) fn knows_charset(&self) -> bool {
        self.charset.is_some()
    }

    /// Whether all of the header is before what comes next.
    pub(super) fn is_behind_header(&self) -> bool {
        self.headers_left == 0
    }

    /// Begins anew at `offset`, behind `before`: as many bytes of the file as [`Splitter::context_bytes`] where there are
    /// so many, or some that [end a line](Splitter::is_line_start). When they end within a line of which the cut must lie
    /// among or before them, that line's rest goes on being dropped.
    pub(super) fn resume_behind(&mut self, offset: u64, before: &[u8]) {
        let charset = self.charset();
        let longest_head = charset.cut_min(self.rules.max_bytes);
        let before = whole_units_before(charset, offset, before);
        let is_behind_cut =
            before.len() >= longest_head && charset.rfind_newline(&before[before.len() - longest_head..]).is_none();
        self.discarding = is_behind_cut && self.headers_left == 0 && self.rules.too_long != TooLong::Split;
    }

    /// Whether a line ends at `offset`, to be told from the two bytes `before`, or as many as there are.
    pub(super) fn is_line_start(&self, offset: u64, before: &[u8]) -> bool {
        let charset = self.charset();
        let before = whole_units_before(charset, offset, before);
        charset.rfind_newline(before).is_some_and(|at| at + charset.unit_bytes() == before.len())
    }

    /// Whether a line ends in `bytes`, which begin where [a unit does](Splitter::unit_start).
    pub(super) fn has_line_end(&self, bytes: &[u8]) -> bool {
        self.charset().find_newline(bytes).is_some()
    }

    /// Where the unit begins that `offset` is in.
    pub(super) fn unit_start(&self, offset: u64) -> u64 {
        offset - offset % self.charset().unit_bytes() as u64
    }

    /// How many bytes are enough for [`Splitter::resume_behind`].
    pub(super) fn context_bytes(&self) -> usize {
        let charset = self.charset();
        // An odd end of a file is in the way.
        charset.cut_min(self.rules.max_bytes) + charset.unit_bytes() - 1
    }

    /// More bytes than this without an end are surely a line that is too long.
    pub(super) fn undecided_bytes_max(&self) -> usize {
        let unit_bytes = self.charset().unit_bytes();
        // A byte order mark takes as much as it is long.
        self.undecided_text_bytes_max() + if unit_bytes == 1 { 0 } else { unit_bytes }
    }

    /// A terminator of which a byte is missing may still follow the text.
    fn undecided_text_bytes_max(&self) -> usize {
        let unit_bytes = self.charset().unit_bytes();
        self.rules.max_bytes + if self.rules.strip_cr { unit_bytes } else { 0 } + unit_bytes - 1
    }

    /// Splits `bytes`, which are at `offset` of the file, behind what was consumed before. At the `end` of the input an
    /// unfinished line is a line.
    pub(super) fn split(&mut self, offset: u64, bytes: &[u8], end: bool) -> Pieces {
        self.learn(offset, bytes);
        let charset = self.charset();
        let (unit_bytes, undecided_bytes_max) = (charset.unit_bytes(), self.undecided_text_bytes_max());
        let mut pieces = Pieces { charset, ..Pieces::default() };
        if self.headers_left > 0 {
            let (passed, header_line) = self.pass_header(offset, bytes);
            // An odd byte at the end goes with what it is the end of.
            let byte_count = if end && self.headers_left > 0 { bytes.len() } else { passed };
            return Pieces { header_byte_count: byte_count, header_line, consumed: byte_count, ..pieces };
        }
        // Only what comes first can have some: a tile ends behind a whole unit, or the input ends.
        let mut textless_bytes = charset.textless_bytes(offset, bytes);
        while pieces.consumed < bytes.len() && pieces.lines.len() < PIECE_LINES_MAX {
            let whole_start = pieces.consumed;
            let start = whole_start + std::mem::take(&mut textless_bytes);
            let rest = &bytes[start..];
            if self.discarding {
                let newline = charset.find_newline(rest);
                let length = match newline {
                    Some(at) => at + unit_bytes,
                    None if end => rest.len(),
                    None => charset.whole_units(rest.len()),
                };
                if start + length == whole_start {
                    break;
                }
                self.discarding = newline.is_none();
                push_too_long(&mut pieces, whole_start..start + length);
                continue;
            }
            // No further than needed: many pieces of one long line would each search all of it.
            let decisive = &rest[..rest.len().min(undecided_bytes_max + 1)];
            let (text_length, whole_length) = match charset.find_newline(decisive) {
                Some(at) => (self.text_length(charset, &rest[..at]), at + unit_bytes),
                None if rest.len() > undecided_bytes_max || end => (rest.len(), rest.len()),
                None => break,
            };
            if text_length <= self.rules.max_bytes {
                push_line(&mut pieces, start..start + text_length, whole_start..start + whole_length);
                continue;
            }
            let cut = start + charset.cut_before(rest, self.rules.max_bytes);
            match self.rules.too_long {
                TooLong::Split => push_line(&mut pieces, start..cut, whole_start..cut),
                TooLong::Truncate => {
                    push_line(&mut pieces, start..cut, whole_start..cut);
                    self.discarding = true;
                }
                TooLong::Drop => {
                    push_too_long(&mut pieces, whole_start..cut);
                    self.discarding = true;
                }
            }
        }
        pieces
    }

    /// How many of `bytes`, in whole units, are header, and where among them the text of its last line is. Where its lines end
    /// is all that counts, so nothing of it has to wait for that.
    fn pass_header(&mut self, offset: u64, bytes: &[u8]) -> (usize, Range<usize>) {
        let charset = self.charset();
        let mut start = charset.textless_bytes(offset, bytes);
        let mut last_line = start..start;
        while self.headers_left > 0 {
            let rest = &bytes[start..];
            let newline = charset.find_newline(rest);
            let length = newline.unwrap_or_else(|| charset.whole_units(rest.len()));
            if self.headers_left == 1 {
                last_line = start..start + length;
            }
            start += length;
            if newline.is_none() {
                break;
            }
            start += charset.unit_bytes();
            self.headers_left -= 1;
        }
        (start, last_line)
    }

    fn learn(&mut self, offset: u64, bytes: &[u8]) {
        // Of a mark the first byte alone tells nothing.
        if offset == 0 && bytes.len() > 1 && self.rules.encoding == Encoding::Utf16 {
            self.charset = Some(Charset::of(self.rules.encoding, bytes));
        }
    }

    /// How the file is encoded, as far as is known.
    pub(super) fn charset(&self) -> Charset {
        self.charset.unwrap_or_else(|| Charset::of(self.rules.encoding, b""))
    }

    fn text_length(&self, charset: Charset, before_newline: &[u8]) -> usize {
        if self.rules.strip_cr { charset.without_cr(before_newline).len() } else { before_newline.len() }
    }
}

/// The first lines of a file with the content `bytes`, [`PIECE_LINES_MAX`] at most. For benchmarks: nothing else splits by itself.
pub fn first_lines(rules: LineRules, bytes: &[u8]) -> Vec<Line> {
    Splitter::new(rules).split(0, bytes, true).lines
}

/// Of the bytes that end at `offset` those that are whole units of text.
fn whole_units_before(charset: Charset, offset: u64, before: &[u8]) -> &[u8] {
    if charset.unit_bytes() == 1 {
        return before;
    }
    let start = offset.saturating_sub(before.len() as u64);
    let text = &before[charset.textless_bytes(start, before)..];
    &text[..charset.whole_units(text.len())]
}

fn push_line(pieces: &mut Pieces, text: Range<usize>, whole: Range<usize>) {
    pieces.consumed = whole.end;
    pieces.lines.push(Line { text, whole });
}

fn push_too_long(pieces: &mut Pieces, bytes: Range<usize>) {
    pieces.consumed = bytes.end;
    match pieces.too_long.last_mut() {
        Some(last) if last.end == bytes.start => last.end = bytes.end,
        _ => pieces.too_long.push(bytes),
    }
}

#[cfg(test)]
mod tests;
