//! Bytes into lines: where each ends, and what becomes of one that is too long.
//!
//! Pure. Every byte that is consumed belongs to exactly one line or one dropped piece, in order.

use std::ops::Range;

use crate::config::{LineRules, TooLong};
use crate::limits::PIECE_LINES_MAX;

/// Where the lines of one piece of a file are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Lines to send.
    pub lines: Vec<Line>,
    /// Bytes to drop as too long, positions in the piece.
    pub too_long: Vec<Range<usize>>,
    /// How many bytes of the piece the lines and the dropped bytes take up; what follows is
    /// an unfinished line, or more than [`PIECE_LINES_MAX`] lines.
    pub consumed: usize,
}

/// One line, positions in the piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is sent: without the terminator.
    pub text: Range<usize>,
    /// What it takes up in the file: terminator included.
    pub whole: Range<usize>,
}

/// The state between two pieces of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Splitter {
    rules: LineRules,
    /// Behind the cut of a line that is too long: everything up to its end is dropped.
    discarding: bool,
}

impl Splitter {
    /// At the beginning of a line.
    pub(super) fn new(rules: LineRules) -> Self {
        Self { rules, discarding: false }
    }

    /// Begins anew behind `before`, the bytes of the file before the next piece: as many as
    /// [`Splitter::context_bytes`] where there are so many. When they end within a line of which the cut must
    /// lie among or before them, that line's rest goes on being dropped.
    pub(super) fn resume_behind(&mut self, before: &[u8]) {
        let longest_head = self.context_bytes();
        let is_behind_cut =
            before.len() >= longest_head && memchr::memrchr(b'\n', &before[before.len() - longest_head..]).is_none();
        self.discarding = is_behind_cut && self.rules.too_long != TooLong::Split;
    }

    /// The least length of the head of a line that was cut.
    pub(super) fn context_bytes(&self) -> usize {
        self.rules.max_bytes.saturating_sub(UTF8_BYTES_MAX - 1).max(1)
    }

    /// More bytes than this without an end are surely a line that is too long.
    pub(super) fn undecided_bytes_max(&self) -> usize {
        self.rules.max_bytes + usize::from(self.rules.strip_cr)
    }

    /// Splits `bytes`. At the `end` of the input an unfinished line is a line.
    pub(super) fn split(&mut self, bytes: &[u8], end: bool) -> Pieces {
        let mut pieces = Pieces::default();
        while pieces.consumed < bytes.len() && pieces.lines.len() < PIECE_LINES_MAX {
            let start = pieces.consumed;
            let rest = &bytes[start..];
            if self.discarding {
                let newline = memchr::memchr(b'\n', rest);
                let length = newline.map_or(rest.len(), |at| at + 1);
                self.discarding = newline.is_none();
                push_too_long(&mut pieces, start..start + length);
                continue;
            }
            // No further than needed: many pieces of one long line would each search all of it.
            let decisive = &rest[..rest.len().min(self.undecided_bytes_max() + 1)];
            let (text_length, whole_length) = match memchr::memchr(b'\n', decisive) {
                Some(at) => (self.text_length(&rest[..at]), at + 1),
                None if rest.len() > self.undecided_bytes_max() || end => (rest.len(), rest.len()),
                None => break,
            };
            if text_length <= self.rules.max_bytes {
                push_line(&mut pieces, start..start + text_length, whole_length);
                continue;
            }
            let cut = cut_before(rest, self.rules.max_bytes);
            match self.rules.too_long {
                TooLong::Split => push_line(&mut pieces, start..start + cut, cut),
                TooLong::Truncate => {
                    push_line(&mut pieces, start..start + cut, cut);
                    self.discarding = true;
                }
                TooLong::Drop => {
                    push_too_long(&mut pieces, start..start + cut);
                    self.discarding = true;
                }
            }
        }
        pieces
    }

    fn text_length(&self, before_newline: &[u8]) -> usize {
        match before_newline {
            [text @ .., b'\r'] if self.rules.strip_cr => text.len(),
            text => text.len(),
        }
    }
}

const UTF8_BYTES_MAX: usize = 4;

/// The greatest length up to `length_max`, at least 1, that does not cut a UTF-8 character; what is not
/// UTF-8 is cut at `length_max`.
fn cut_before(bytes: &[u8], length_max: usize) -> usize {
    let is_continuation = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (0..UTF8_BYTES_MAX)
        .map(|back| length_max.saturating_sub(back))
        .find(|at| !is_continuation(*at))
        .filter(|at| *at > 0)
        .unwrap_or(length_max)
}

fn push_line(pieces: &mut Pieces, text: Range<usize>, whole_length: usize) {
    let whole = text.start..text.start + whole_length;
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(max_bytes: usize, too_long: TooLong) -> LineRules {
        LineRules { max_bytes, too_long, strip_cr: false }
    }

    fn check(rules: LineRules, input: &str, lines: &[&str], too_long: &[&str], unfinished: &str) {
        let mut splitter = Splitter::new(rules);
        let pieces = splitter.split(input.as_bytes(), false);
        assert_eq!(pieces.lines.iter().map(|line| &input[line.text.clone()]).collect::<Vec<_>>(), lines, "{input:?}");
        assert_eq!(pieces.too_long.iter().map(|range| &input[range.clone()]).collect::<Vec<_>>(), too_long, "{input:?}");
        assert_eq!(&input[pieces.consumed..], unfinished, "{input:?}");
    }

    #[test]
    fn lines_end_at_a_newline_and_the_unfinished_one_waits() {
        check(rules(10, TooLong::Truncate), "one\n\ntwo\r\nthr", &["one", "", "two\r"], &[], "thr");
    }

    #[test]
    fn a_cr_belongs_to_the_terminator_when_it_is_stripped() {
        let stripping = LineRules { strip_cr: true, ..rules(3, TooLong::Truncate) };
        check(stripping, "one\r\n\r\na\rb\nabc\r", &["one", "", "a\rb"], &[], "abc\r");
    }

    #[test]
    fn a_line_that_is_too_long_follows_the_rule() {
        check(rules(3, TooLong::Truncate), "abc\nabcdefgh\nx\n", &["abc", "abc", "x"], &["defgh\n"], "");
        check(rules(3, TooLong::Split), "abc\nabcdefgh\nx\n", &["abc", "abc", "def", "gh", "x"], &[], "");
        check(rules(3, TooLong::Split), "abcdef\nx\n", &["abc", "def", "x"], &[], "");
        check(rules(3, TooLong::Drop), "abc\nabcdefgh\nx\n", &["abc", "x"], &["abcdefgh\n"], "");
        check(rules(3, TooLong::Drop), "abcd", &[], &["abcd"], "");
    }

    #[test]
    fn a_cut_does_not_tear_a_character() {
        check(rules(4, TooLong::Split), "abcé\n日本\n", &["abc", "é", "日", "本"], &[], "");
    }

    #[test]
    fn behind_the_cut_of_a_long_line_a_restart_goes_on_dropping() {
        let mut splitter = Splitter::new(rules(10, TooLong::Truncate));
        splitter.resume_behind(b"0123456789");
        assert_eq!(splitter.split(b"tail\nnext\n", false).lines.len(), 1);
        splitter.resume_behind(b"012\n456789");
        assert_eq!(splitter.split(b"tail\nnext\n", false).lines.len(), 2);
        splitter.resume_behind(b"short");
        assert_eq!(splitter.split(b"tail\nnext\n", false).lines.len(), 2);
    }

    fn any_rules() -> impl Strategy<Value = LineRules> {
        let too_long = prop_oneof![Just(TooLong::Truncate), Just(TooLong::Split), Just(TooLong::Drop)];
        (1usize..12, too_long, any::<bool>()).prop_map(|(max_bytes, too_long, strip_cr)| LineRules {
            max_bytes,
            too_long,
            strip_cr,
        })
    }

    proptest! {
        /// I1: lines and dropped pieces tile what is consumed; no line is longer than allowed; and it makes
        /// no difference in which pieces the file is read.
        #[test]
        fn spans_tile_the_file_however_it_is_read(
            rules in any_rules(),
            input in "[a-c\r\n\n\né日]{0,60}",
            cuts in proptest::collection::vec(1usize..20, 1..20),
        ) {
            let input = input.as_bytes();
            let whole = Splitter::new(rules).split(input, true);
            let mut expected: Vec<Range<usize>> = whole.lines.iter().map(|line| line.whole.clone()).collect();
            let mut tiles: Vec<_> = expected.iter().cloned().chain(whole.too_long.iter().cloned()).collect();
            tiles.sort_by_key(|tile| tile.start);
            prop_assert_eq!(tiles.iter().fold(0, |end, tile| if tile.start == end { tile.end } else { usize::MAX }), input.len());
            for line in &whole.lines {
                prop_assert!(line.text.len() <= rules.max_bytes.max(1));
            }

            let mut splitter = Splitter::new(rules);
            let mut in_pieces = Vec::new();
            let (mut start, mut available) = (0, 0);
            let mut cuts = cuts.into_iter().cycle();
            while start < input.len() {
                available = (available + cuts.next().unwrap()).min(input.len());
                let pieces = splitter.split(&input[start..available], available == input.len());
                in_pieces.extend(pieces.lines.iter().map(|line| start + line.whole.start..start + line.whole.end));
                start += pieces.consumed;
            }
            // Where a piece ends within the undecided CR of a line that is too long, the cut is the same.
            expected.retain(|range| !range.is_empty());
            prop_assert_eq!(in_pieces, expected);
        }
    }
}
