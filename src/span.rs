//! What part of which file: the plain data that travels with every line.
//!
//! This module decides how neighbouring spans merge and how they are written into a tag. It does not
//! know what a line is, nor when a span is settled.

use std::fmt;

use smallvec::SmallVec;
use twox_hash::XxHash3_64;

/// One life of one file in one flow.
///
/// The number is random and is kept in the offset store, so that a restart finds the same life again.
/// A truncated file starts a new life, and so a new key; offsets below one key only grow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(pub u64);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({:016x})", self.0)
    }
}

/// Bytes `start..end` of one file. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file that the bytes are of.
    pub file: FileKey,
    /// Offset of the first byte.
    pub start: u64,
    /// Offset behind the last byte; greater than `start`.
    pub end: u64,
    /// What the last line in it is, where that is known.
    pub last_line: Option<Check>,
}

/// By what the last line of a span is told from another in its place. A file system that loses power may lose the end of a file
/// that was read, and then other lines are written there: what is found in the stream must not be taken for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Check {
    /// How many bytes before the end of the span are hashed.
    pub byte_count: u8,
    /// The low 24 bits of their XXH3, the most significant first.
    pub hash: [u8; 3],
}

/// Most bytes of a line that a check looks at: as many as XXH3 hashes without setting up.
const CHECKED_BYTES_MAX: usize = 240;

impl Check {
    /// The check of a line, terminator included.
    pub fn of(line: &[u8]) -> Self {
        let bytes = &line[line.len().saturating_sub(CHECKED_BYTES_MAX)..];
        let [.., high, middle, low] = XxHash3_64::oneshot(bytes).to_be_bytes();
        // Never more than fits.
        Self { byte_count: u8::try_from(bytes.len()).unwrap_or(u8::MAX), hash: [high, middle, low] }
    }

    fn from_text(text: &str) -> Option<Self> {
        let (byte_count, hash) = text.split_at_checked(2).filter(|_| text.len() + 1 == CHECK_TEXT_BYTES)?;
        let [_, hash @ ..] = u32::from_str_radix(hash, 16).ok()?.to_be_bytes();
        Some(Self { byte_count: u8::from_str_radix(byte_count, 16).ok()?, hash })
    }
}

impl Span {
    /// The span of the bytes `start..end` of `file`.
    pub fn new(file: FileKey, start: u64, end: u64) -> Self {
        debug_assert!(start < end, "empty span {start}..{end}");
        Self { file, start, end, last_line: None }
    }

    /// The same, of which the last line is this one, terminator included.
    #[must_use]
    pub fn ending_in(self, line: &[u8]) -> Self {
        Self { last_line: Some(Check::of(line)), ..self }
    }

    /// The same, of which the last line is known, but not looked at yet: [`Spans::set_last_line`] does that, for the lines that end
    /// spans, and not for each.
    #[must_use]
    pub fn ending_in_a_line(self) -> Self {
        Self { last_line: Some(Check { byte_count: 0, hash: [0; 3] }), ..self }
    }

    /// Nobody has looked at its last line yet.
    pub fn is_open(&self) -> bool {
        self.last_line.is_some_and(|check| check.byte_count == 0)
    }

    /// How many bytes it covers.
    pub fn byte_count(&self) -> u64 {
        self.end - self.start
    }

    /// `next` is of the same file, and begins where this one ends.
    pub fn is_continued_by(&self, next: &Self) -> bool {
        self.end == next.start && self.file == next.file
    }
}

/// Spans in the order in which they were added; a span that continues the last one of its file merges with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(SmallVec<[Span; 1]>);

/// How far back [`Spans::push`] looks for a neighbour: enough for a few files whose chunks alternate,
/// few enough that a push stays a handful of comparisons.
const MERGE_WINDOW: usize = 4;

impl Spans {
    /// Adds a span behind those that are there.
    pub fn push(&mut self, span: Span) {
        match self.neighbour_of(span) {
            Some(index) => (self.0[index].end, self.0[index].last_line) = (span.end, span.last_line),
            None => self.0.push(span),
        }
    }

    /// Which of the newest spans this one continues.
    fn neighbour_of(&self, span: Span) -> Option<usize> {
        let mut newest = self.0.iter().enumerate().rev().take(MERGE_WINDOW);
        newest.find(|(_, last)| last.is_continued_by(&span)).map(|(index, _)| index)
    }

    /// The last line of the newest span that ends where `span` does, which was the last to be added.
    pub fn set_last_line(&mut self, span: &Span, line: &[u8]) {
        let mut newest = self.0.iter_mut().rev().take(MERGE_WINDOW);
        let ending = newest.find(|last| last.end == span.end && last.file == span.file);
        debug_assert!(ending.is_some(), "{span:?} is not among the newest");
        if let Some(ending) = ending {
            ending.last_line = Some(Check::of(line));
        }
    }

    /// The same, unless what there would be then does not `fit`; then nothing changes and the answer is false.
    pub fn try_push(&mut self, span: Span, fits: impl FnOnce(&Self) -> bool) -> bool {
        let neighbour = self.neighbour_of(span).map(|index| (index, self.0[index]));
        self.push(span);
        let is_taken = fits(self);
        match neighbour {
            _ if is_taken => {}
            Some((index, before)) => self.0[index] = before,
            None => _ = self.0.pop(),
        }
        is_taken
    }

    /// Adds all spans of `others`.
    pub fn extend(&mut self, others: &Self) {
        for span in &others.0 {
            self.push(*span);
        }
    }

    /// The spans, in order.
    pub fn iter(&self) -> impl Iterator<Item = Span> + Clone + '_ {
        self.0.iter().copied()
    }

    /// How many separate spans these are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they cover together.
    pub fn byte_count(&self) -> u64 {
        self.iter().map(|span| span.byte_count()).sum()
    }

    /// The text that stands in the tag of an aggregate: for each file `<key>:`, then for each span
    /// `<gap>+<length>` and, where the last line is known, `!<check>`, separated by commas, the gap counted from the end of the
    /// span before (from 0 for the first, and signed because chunks of one file may be aggregated out of order); files are
    /// separated by `;`. All numbers are hexadecimal; a check is 2 digits of how many bytes and 6 of their hash.
    pub fn to_tag(&self) -> String {
        let mut text = Vec::with_capacity(self.tag_byte_count_max());
        self.write_tag(&mut text);
        // All of it is ASCII.
        String::from_utf8(text).unwrap_or_default()
    }

    /// Writes that text behind what stands in `text`.
    pub fn write_tag(&self, text: &mut Vec<u8>) {
        let mut previous: Option<Span> = None;
        for span in self.iter() {
            let from = match previous {
                Some(last) if last.file == span.file => {
                    text.push(b',');
                    last.end
                }
                _ => {
                    if previous.is_some() {
                        text.push(b';');
                    }
                    put_hex(text, span.file.0);
                    text.push(b':');
                    0
                }
            };
            if span.start < from {
                text.push(b'-');
            }
            put_hex(text, span.start.abs_diff(from));
            text.push(b'+');
            put_hex(text, span.byte_count());
            if let Some(Check { byte_count, hash }) = span.last_line {
                text.push(b'!');
                for byte in [byte_count, hash[0], hash[1], hash[2]] {
                    text.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
                }
            }
            previous = Some(span);
        }
    }

    /// How long that text is.
    pub fn tag_byte_count(&self) -> usize {
        let digits = |number: u64| (u64::BITS - number.leading_zeros()).div_ceil(4).max(1) as usize;
        let mut byte_count = 0;
        let mut previous: Option<Span> = None;
        for span in self.iter() {
            let from = match previous {
                Some(last) if last.file == span.file => last.end,
                _ => {
                    byte_count += digits(span.file.0) + 1;
                    0
                }
            };
            let separator = usize::from(previous.is_some());
            let sign = usize::from(span.start < from);
            byte_count += separator + sign + digits(span.start.abs_diff(from)) + 1 + digits(span.byte_count());
            byte_count += if span.last_line.is_some() { CHECK_TEXT_BYTES } else { 0 };
            previous = Some(span);
        }
        byte_count
    }

    /// No tag of these spans is longer than this many bytes.
    pub fn tag_byte_count_max(&self) -> usize {
        self.count() * SPAN_TAG_BYTES_MAX
    }

    /// Reads what [`Spans::to_tag`] wrote; `None` when it is not such a text.
    pub fn from_tag(text: &str) -> Option<Self> {
        let mut spans = Self::default();
        for of_file in text.split(';') {
            let (key, list) = of_file.split_once(':')?;
            let file = FileKey(u64::from_str_radix(key, 16).ok()?);
            let mut end = 0u64;
            for item in list.split(',') {
                let (item, check) = item.split_once('!').map_or((item, None), |(item, check)| (item, Some(check)));
                let (gap, length) = item.split_once('+')?;
                let start = match gap.strip_prefix('-') {
                    Some(back) => end.checked_sub(u64::from_str_radix(back, 16).ok()?)?,
                    None => end.checked_add(u64::from_str_radix(gap, 16).ok()?)?,
                };
                end = start.checked_add(u64::from_str_radix(length, 16).ok()?)?;
                if end == start {
                    return None;
                }
                let last_line = match check {
                    Some(text) => Some(Check::from_text(text)?),
                    None => None,
                };
                spans.push(Span { last_line, ..Span::new(file, start, end) });
            }
        }
        Some(spans)
    }
}

/// Writes a number in hexadecimal, without zeros in front.
pub(crate) fn put_hex(text: &mut Vec<u8>, number: u64) {
    let digits: [u8; 16] = std::array::from_fn(|place| hex_digit(number.to_be_bytes()[place / 2] >> (4 * (1 - place % 2))));
    text.extend_from_slice(&digits[(number.leading_zeros() as usize / 4).min(15)..]);
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 0xf)]
}

/// `!`, and the digits.
const CHECK_TEXT_BYTES: usize = 1 + 2 + 6;
/// The longest that one span can be in a tag: `;` key `:` sign gap `+` length, 16 digits each, and a check.
pub const SPAN_TAG_BYTES_MAX: usize = 1 + 16 + 1 + 1 + 16 + 1 + 16 + CHECK_TEXT_BYTES;

impl FromIterator<Span> for Spans {
    fn from_iter<T: IntoIterator<Item = Span>>(iter: T) -> Self {
        let mut spans = Self::default();
        for span in iter {
            spans.push(span);
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(file: u64, start: u64, end: u64) -> Span {
        Span::new(FileKey(file), start, end)
    }

    #[test]
    fn neighbours_merge_also_when_chunks_of_two_files_alternate() {
        let spans: Spans = [span(1, 0, 10), span(2, 0, 5), span(1, 10, 20), span(2, 5, 9), span(1, 30, 31)].into_iter().collect();
        assert_eq!(spans.iter().collect::<Vec<_>>(), [span(1, 0, 20), span(2, 0, 9), span(1, 30, 31)]);
        assert_eq!(spans.byte_count(), 30);
    }

    #[test]
    fn the_last_line_of_a_span_is_told_by_its_check() {
        let (first, last) = (span(1, 0, 3).ending_in(b"ab\n"), span(1, 3, 6).ending_in(b"cd\n"));
        let spans: Spans = [first, last, span(1, 9, 10)].into_iter().collect();
        assert_eq!(spans.iter().next().unwrap().last_line, Some(Check::of(b"cd\n")));
        let mut unseen: Spans = [span(1, 0, 3).ending_in_a_line(), span(1, 3, 6).ending_in_a_line()].into_iter().collect();
        assert_eq!(unseen.tag_byte_count(), spans.to_tag().len() - ",3+1".len());
        assert!(unseen.iter().all(|span| span.is_open()) && spans.iter().all(|span| !span.is_open()));
        unseen.set_last_line(&span(1, 3, 6), b"cd\n");
        assert!(unseen.iter().eq(spans.iter().take(1)));
        let mut undone: Spans = [first].into_iter().collect();
        assert!(!undone.try_push(last, |_| false));
        assert_eq!(undone, [first].into_iter().collect());
        assert_eq!(Spans::from_tag(&spans.to_tag()), Some(spans));
        assert_ne!(Check::of(b"ab\n"), Check::of(b"ad\n"));
        let long = [b'x'; 300];
        assert_eq!(Check::of(&long).byte_count, 240);
        assert_eq!(Check::of(&long), Check::of(&long[60..]));
    }

    #[test]
    fn the_tag_is_short_for_lines_of_one_file() {
        let spans: Spans = [span(0xabc, 0x100, 0x1f0), span(0xabc, 0x200, 0x2f0)].into_iter().collect();
        assert_eq!(spans.to_tag(), "abc:100+f0,10+f0");
    }

    #[test]
    fn a_span_that_does_not_fit_changes_nothing() {
        let before: Spans = [span(1, 0, 10), span(2, 0, 5), span(3, 7, 9)].into_iter().collect();
        for (new, is_neighbour) in [(span(1, 10, 20), true), (span(4, 0, 1), false), (span(3, 3, 4), false)] {
            let mut spans = before.clone();
            assert!(!spans.try_push(new, |spans| spans.count() > before.count() + 1));
            assert_eq!(spans, before);
            assert!(spans.try_push(new, |spans| spans.count() == before.count() + usize::from(!is_neighbour)));
        }
    }

    #[test]
    fn rubbish_is_not_a_tag() {
        for text in [
            "",
            "x",
            "1:",
            "1:2",
            "1:2+0",
            "1:ffffffffffffffff+1",
            "1:-1+1",
            "1:1+1,",
            ";1:1+1",
            "1:1+1!",
            "1:1+1!0102030",
            "1:1+1!0é02030",
        ] {
            assert_eq!(Spans::from_tag(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_reads_back_as_the_spans_it_was_written_from(
            list in proptest::collection::vec((0u64..4, 0..u64::MAX - 1000, 1u64..1000, proptest::option::of(any::<u32>())), 1..40),
        ) {
            let with_check = |(file, start, len, line): (u64, u64, u64, Option<u32>)| match line {
                Some(line) => span(file, start, start + len).ending_in(&line.to_le_bytes()),
                None => span(file, start, start + len),
            };
            let spans: Spans = list.into_iter().map(with_check).collect();
            let tag = spans.to_tag();
            prop_assert!(tag.len() <= spans.tag_byte_count_max());
            prop_assert_eq!(tag.len(), spans.tag_byte_count());
            prop_assert_eq!(Spans::from_tag(&tag), Some(spans));
        }
    }
}
