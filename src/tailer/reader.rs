//! The content of a file into pieces: from where to where to read, and the lines and records in it.
//!
//! Nothing of a file is kept in memory between two pieces. What has no end yet, a line or a record of several lines, is
//! read again when there is more of the file. Whether the content is still that of the same life is not known here.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::charset::Charset;
use super::encoding::{Utf8, to_utf_8};
use super::header::HeaderLine;
use super::lines::{Line, Pieces, Splitter};
use super::multiline::{Ending, Grouped, Grouper};
use super::source::{Size, Source};
use crate::config::{Flow, LineRules};
use crate::limits::{HOLE_BYTES_MIN, PIECE_LINES_MAX, READ_BYTES};
use crate::settlement::{DropReason, Settlement};

/// How the content of the files of a flow is cut.
pub(super) struct Rules {
    /// Into lines.
    pub(super) line: LineRules,
    /// Lines into records; without it each line is one.
    grouper: Option<Grouper>,
    /// The last line of the header names the columns.
    is_header_kept: bool,
}

impl Rules {
    /// Those of a flow.
    pub(super) fn of(flow: &Flow) -> Self {
        let is_header_kept = flow.parse.as_ref().is_some_and(|parse| parse.format.has_header());
        Self { line: flow.line, grouper: flow.multiline.as_ref().map(Grouper::new), is_header_kept }
    }
}

/// Where in a content reading goes on.
#[derive(Clone)]
pub(super) struct Reader {
    rules: Arc<Rules>,
    splitter: Splitter,
    /// What is kept of what was passed over as header.
    header: HeaderLine,
    /// First byte not handed on: the beginning of a line and of a record, or of the rest of a line that is too long.
    position: u64,
    /// Nothing in `position..scanned` ends a line or a record; at least `position`.
    scanned: u64,
    /// All before the position, or what is there if that is the beginning, may be NULs to be dropped.
    is_in_hole: bool,
    /// There is a record that may still go on, and this is how far the content reached then.
    open_record_at: Option<u64>,
    /// What was settled before reading began.
    settled_before: Settlement,
}

/// How much of what has no end is taken to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// Nothing: there may be more.
    Nothing,
    /// A record, but not an unfinished line: it was waited for long enough.
    Record,
    /// All of it: nothing more will come.
    All,
}

/// What was read in one piece.
pub(super) struct Piece {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub byte_count: usize,
    /// So many bytes at its beginning are dropped, and why. Where there are any, there is nothing else.
    pub head: Option<(usize, DropReason)>,
    /// Bytes to drop as too long, positions in the piece.
    pub too_long: Vec<Range<usize>>,
    /// Records to send; each `text` is a position in `text`, or in what was read.
    pub records: Vec<Line>,
    /// The records as UTF-8; none when what was read is sent as it is.
    pub text: Option<Vec<u8>>,
    /// Lines in which something malformed became U+FFFD.
    pub replaced_line_count: u64,
}

#[cfg(test)]
impl Rules {
    /// Each line is a record.
    pub(super) fn of_lines(line: LineRules) -> Self {
        Self { line, grouper: None, is_header_kept: false }
    }
}

impl Piece {
    fn empty(start: u64, byte_count: usize) -> Self {
        Self { start, byte_count, head: None, too_long: Vec::new(), records: Vec::new(), text: None, replaced_line_count: 0 }
    }
}

impl Reader {
    /// At the beginning of a content.
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self {
            splitter: Splitter::new(rules.line),
            rules,
            header: HeaderLine::default(),
            position: 0,
            scanned: 0,
            is_in_hole: true,
            open_record_at: None,
            settled_before: Settlement::default(),
        }
    }

    /// Goes on behind what is settled.
    pub(super) fn resume(&mut self, source: &mut Source, settled_before: Settlement) -> io::Result<()> {
        let position = settled_before.watermark();
        *self = Self { settled_before, ..Self::new(Arc::clone(&self.rules)) };
        if position > 0 { self.go_to(source, position) } else { Ok(()) }
    }

    /// Takes what was settled for all there is: nothing will be read.
    pub(super) fn resume_at_end(&mut self, settled_before: Settlement) {
        let position = settled_before.watermark();
        *self = Self { settled_before, position, scanned: position, ..Self::new(Arc::clone(&self.rules)) };
    }

    /// First byte not handed on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The line before the position that names the columns, if one does.
    pub(super) fn header(&self) -> Option<&Arc<[u8]>> {
        self.header.text()
    }

    /// How the content is cut.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// How far the content reached when a record was found that may still go on; none when there is no such record.
    pub(super) fn open_record_at(&self) -> Option<u64> {
        self.open_record_at
    }

    /// The ranges behind the position that were settled before reading began.
    pub(super) fn settled_above(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.settled_before.above().filter(|(_, end)| *end > self.position)
    }

    /// The next piece of a content of this size, read into `buffer`: at most [`READ_BYTES`], unless a line or a record is
    /// longer. None when there is nothing that can be handed on now.
    pub(super) fn next(
        &mut self,
        source: &mut Source,
        size: Size,
        buffer: &mut Vec<u8>,
        complete: Complete,
    ) -> io::Result<Option<Piece>> {
        self.skip_settled(source)?;
        let (content_end, is_final) = match size {
            Size::Growing(byte_count) => (byte_count, false),
            Size::Final(byte_count) => (byte_count, true),
            Size::Unknown => (u64::MAX, false),
        };
        if content_end < self.scanned {
            self.scanned = self.position;
        }
        let next_settled = self.settled_before.above().map(|(start, _)| start).find(|start| *start > self.position);
        let end = next_settled.map_or(content_end, |start| start.min(content_end));
        let complete = if is_final || next_settled == Some(end) { Complete::All } else { complete };
        if complete == Complete::Nothing && size != Size::Unknown && self.nothing_new_ends_a_line(source, buffer, end)? {
            // Of the record that may still go on there is more, or an unfinished line behind it.
            self.open_record_at = self.open_record_at.map(|_| end);
            return Ok(None);
        }
        let mut length = READ_BYTES as u64;
        loop {
            let read_until = end.min(self.position + length);
            source.read_at(buffer, self.position, read_until)?;
            // Truncated meanwhile, or a file that yields less than its size: the next look sees what is there.
            let is_short = self.position + (buffer.len() as u64) < read_until;
            if is_short && size == Size::Unknown {
                // Now its end is known.
                return self.next(source, source.size()?, buffer, complete);
            }
            let is_all = read_until == end;
            let complete = if is_all && !is_short { complete } else { Complete::Nothing };
            let piece = self.cut(buffer, complete);
            if piece.byte_count > 0 {
                self.position += piece.byte_count as u64;
                self.scanned = self.scanned.max(self.position);
                return Ok(Some(piece));
            }
            if is_all || is_short {
                self.scanned = self.position + buffer.len() as u64;
                return Ok(None);
            }
            length = (length * 2).min(self.undecided_bytes_max() as u64 + 1);
        }
    }

    /// The lines and records in `read`, the bytes at the position.
    fn cut(&mut self, read: &[u8], complete: Complete) -> Piece {
        let hole_byte_count = self.hole_byte_count(read);
        if hole_byte_count > 0 {
            return Piece { head: Some((hole_byte_count, DropReason::Hole)), ..Piece::empty(self.position, hole_byte_count) };
        }
        let splitter = self.splitter;
        let pieces = self.splitter.split(self.position, read, complete == Complete::All);
        let Pieces { charset, header_byte_count, header_line, lines, mut too_long, mut consumed } = pieces;
        if header_byte_count > 0 {
            self.keep_header(&read[header_line]);
        }
        let (text, mut records, replaced_line_count) = in_utf_8(charset, &read[..consumed], lines);
        self.open_record_at = None;
        if let Some(grouper) = &self.rules.grouper {
            // A line that was cut ends its record, even when the rest of it is still to come.
            let last_line_end = records.last().map_or(0, |line| line.whole.end);
            let is_cut = last_line_end < consumed || self.splitter.is_within_line();
            let has_more = complete == Complete::Nothing || records.len() >= PIECE_LINES_MAX;
            let ending = if has_more && !is_cut { Ending::MoreToCome } else { Ending::Complete };
            let max_bytes = self.rules.line.max_bytes;
            let Grouped { records: grouped, open_from } =
                grouper.group(text.as_deref().unwrap_or(read), records, max_bytes, ending);
            records = grouped;
            if let Some(open_from) = open_from {
                consumed = open_from;
                too_long.retain(|range| range.start < consumed);
                self.splitter = if consumed == 0 { splitter } else { self.splitter.at_line_start() };
                self.open_record_at = Some(self.position + read.len() as u64);
            }
        }
        let head = (header_byte_count > 0).then_some((header_byte_count, DropReason::Header));
        Piece { start: self.position, byte_count: consumed, head, too_long, records, text, replaced_line_count }
    }

    /// With how many NULs `read` begins, if it is at the beginning of the content, or behind nothing but NULs: a writer that
    /// does not append goes on where it was when its file is truncated, and leaves a hole before that.
    fn hole_byte_count(&mut self, read: &[u8]) -> usize {
        if !self.is_in_hole || self.splitter.unit_start(1) != 1 {
            return 0;
        }
        let nul_count = read.iter().take_while(|byte| **byte == 0).count();
        let is_hole = nul_count >= if self.position == 0 { HOLE_BYTES_MIN } else { 1 };
        self.is_in_hole = is_hole && nul_count == read.len();
        if is_hole { nul_count } else { 0 }
    }

    /// More bytes than this are surely enough for a piece. A record may be as long as a line, with one more line behind it
    /// that does not belong to it, and twice as long in UTF-16.
    fn undecided_bytes_max(&self) -> usize {
        let of_line = self.splitter.undecided_bytes_max();
        if self.rules.grouper.is_some() { 4 * (of_line + 4) } else { of_line }
    }

    /// Looks only at bytes not looked at before, so that a long line written in small pieces costs no more
    /// than its length.
    fn nothing_new_ends_a_line(&mut self, source: &mut Source, buffer: &mut Vec<u8>, end: u64) -> io::Result<bool> {
        if self.position == 0 && !self.splitter.knows_charset() {
            return Ok(false);
        }
        while self.scanned < end
            && self.scanned > self.position
            && end - self.position <= self.splitter.undecided_bytes_max() as u64
        {
            let start = self.splitter.unit_start(self.scanned);
            source.read_at(buffer, start, end.min(start + READ_BYTES as u64))?;
            let scanned = start + buffer.len() as u64;
            if scanned <= self.scanned {
                return Ok(true);
            }
            if self.splitter.has_line_end(buffer) {
                return Ok(false);
            }
            self.scanned = scanned;
        }
        Ok(self.scanned >= end)
    }

    fn skip_settled(&mut self, source: &mut Source) -> io::Result<()> {
        while let Some(end) = self.settled_before.settled_until(self.position) {
            self.go_to(source, end)?;
        }
        Ok(())
    }

    fn go_to(&mut self, source: &mut Source, position: u64) -> io::Result<()> {
        self.position = position;
        self.scanned = self.scanned.max(position);
        let mut before = Vec::new();
        self.pass_beginning(source, &mut before)?;
        source.read_at(&mut before, position.saturating_sub(2), position)?;
        if !self.splitter.is_line_start(position, &before) {
            let context_start = position.saturating_sub(self.splitter.context_bytes() as u64);
            source.read_at(&mut before, context_start, position)?;
        }
        self.splitter.resume_behind(position, &before);
        self.is_in_hole = before.last() == Some(&0) && {
            source.read_at(&mut before, 0, position.min(HOLE_BYTES_MIN as u64))?;
            before.len() == HOLE_BYTES_MIN && before.iter().all(|byte| *byte == 0)
        };
        Ok(())
    }

    /// What can only be told from the beginning of the file: how many lines of its header are still to come, and the
    /// order of bytes.
    fn pass_beginning(&mut self, source: &mut Source, buffer: &mut Vec<u8>) -> io::Result<()> {
        if !self.splitter.needs_beginning() {
            return Ok(());
        }
        self.splitter = self.splitter.anew();
        self.header = HeaderLine::default();
        let mut passed = 0;
        while passed < self.position && self.splitter.needs_beginning() {
            source.read_at(buffer, passed, self.position.min(passed + READ_BYTES as u64))?;
            if buffer.is_empty() {
                break;
            }
            let is_within_header = !self.splitter.is_behind_header();
            let header_line = self.splitter.pass(passed, buffer);
            if is_within_header {
                self.keep_header(&buffer[header_line]);
            }
            passed += buffer.len() as u64;
        }
        Ok(())
    }

    /// Behind `part` of the last line of the header, or behind all of it.
    fn keep_header(&mut self, part: &[u8]) {
        if !self.rules.is_header_kept {
            return;
        }
        let charset = self.splitter.charset();
        self.header.gather(charset, part);
        if self.splitter.is_behind_header() {
            self.header.finish(charset, self.rules.line.max_bytes);
        }
    }
}

/// The lines of what was read in UTF-8: the text, if it is another than what was read, the lines, and how many of them were
/// malformed.
fn in_utf_8(charset: Charset, read: &[u8], lines: Vec<Line>) -> (Option<Vec<u8>>, Vec<Line>, u64) {
    let Utf8 { bytes, lines, replaced_line_count } = to_utf_8(charset, read, lines);
    let text = match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text),
    };
    (text, lines, replaced_line_count)
}

/// Where the unfinished last line of a content begins, looking back as far as a line may be long; its end when its last byte
/// is a newline.
pub(super) fn start_of_last_line(source: &mut Source, rules: LineRules) -> io::Result<u64> {
    let mut bytes = Vec::new();
    source.read_at(&mut bytes, 0, 2)?;
    let charset = Charset::of(rules.encoding, &bytes);
    let whole_units = |offset: u64| offset - offset % charset.unit_bytes() as u64;
    let end = whole_units(source.byte_count_told()?);
    let context_start = whole_units(end.saturating_sub(rules.max_bytes as u64));
    source.read_at(&mut bytes, context_start, end)?;
    Ok(match charset.rfind_newline(&bytes) {
        Some(at) => context_start + (at + charset.unit_bytes()) as u64,
        None if context_start == 0 => 0,
        None => end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encoding, TooLong};

    fn rules(encoding: Encoding) -> LineRules {
        LineRules { encoding, skip_header_lines: 0, max_bytes: 1000, too_long: TooLong::Truncate, strip_cr: false }
    }

    #[test]
    fn the_last_line_begins_behind_the_last_newline() {
        for (encoding, content, start) in [
            (Encoding::Utf8, b"one\ntwo".as_slice(), 4),
            (Encoding::Utf8, b"one\n", 4),
            (Encoding::Utf8, b"one", 0),
            (Encoding::Utf16, b"\xfe\xff\0a\0\n\n\0\0b\0", 6),
            (Encoding::Utf16, b"\xff\xfea\0\n\0\0\nb", 6),
            (Encoding::Utf16, b"a\0\0\n\0", 0),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let found = start_of_last_line(&mut Source::open(file.path()).unwrap(), rules(encoding)).unwrap();
            assert_eq!(found, start, "{encoding:?} {content:?}");
        }
    }
}
