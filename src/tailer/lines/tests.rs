use proptest::prelude::*;

use super::*;
use crate::settlement::DropReason;
use crate::tailer::encoding::samples::{any_encoded_file, encoded};

fn rules(max_bytes: usize, too_long: TooLong) -> LineRules {
    LineRules { encoding: Encoding::Utf8, skip_header_lines: 0, max_bytes, too_long, strip_cr: false }
}

fn check(rules: LineRules, input: &str, lines: &[&str], too_long: &[&str], unfinished: &str) {
    let mut splitter = Splitter::new(rules);
    let pieces = splitter.split(0, input.as_bytes(), false);
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

/// Lines of `text` written in `encoding`, as they are cut after at most 5 bytes.
fn check_cuts(encoding: Encoding, text: &str, lines: &[&str]) {
    let rules = LineRules { encoding, strip_cr: true, ..rules(5, TooLong::Split) };
    let input = encoded(encoding, text);
    let pieces = Splitter::new(rules).split(0, &input, true);
    let expected: Vec<_> = lines.iter().map(|line| encoded(encoding, line)).collect();
    assert_eq!(pieces.lines.iter().map(|line| &input[line.text.clone()]).collect::<Vec<_>>(), expected, "{encoding:?}");
    assert_eq!(pieces.consumed, input.len());
}

#[test]
fn a_cut_does_not_tear_a_character_of_any_encoding() {
    check_cuts(Encoding::Utf16Le, "ab🦀\u{a0a}\r\ncd\n", &["ab", "🦀", "\u{a0a}", "cd"]);
    check_cuts(Encoding::Utf16Be, "abc\n\r\n\u{a00}🦀d", &["ab", "c", "", "\u{a00}", "🦀", "d"]);
    check_cuts(Encoding::Latin1, "éééééé\n", &["ééééé", "é"]);
    check_cuts(Encoding::ShiftJis, "日本ソｱb\n熙黑熙\n", &["日本", "ソｱb", "熙黑", "熙"]);
    check_cuts(Encoding::EucKr, "가나다a\r\n", &["가나", "다a"]);
    check_cuts(Encoding::Gb18030, "a🦀b中c🦀\n", &["a🦀", "b中c", "🦀"]);
}

/// Bytes of UTF-16, little endian unless `encoding` says otherwise: texts of the lines, and where in it they end.
fn check_utf_16(encoding: Encoding, offset: u64, input: &[u8], end: bool, texts: &[&[u8]], ends: &[usize]) {
    let mut splitter = Splitter::new(LineRules { encoding, ..rules(100, TooLong::Split) });
    let pieces = splitter.split(offset, input, end);
    assert_eq!(pieces.lines.iter().map(|line| &input[line.text.clone()]).collect::<Vec<_>>(), texts, "{input:?}");
    assert_eq!(pieces.lines.iter().map(|line| line.whole.end).collect::<Vec<_>>(), ends, "{input:?}");
}

#[test]
fn in_utf_16_a_newline_is_two_bytes_at_an_even_offset() {
    let le = Encoding::Utf16Le;
    check_utf_16(le, 0, b"a\0\n\0\0\n\n\n\x0a\x0a\n\0", false, &[b"a\0", b"\0\n\n\n\x0a\x0a"], &[4, 12]);
    check_utf_16(le, 6, b"\n\0\n\0", false, &[b"", b""], &[2, 4]);
    check_utf_16(Encoding::Utf16Be, 0, b"\0a\0\n\n\0\0\n", false, &[b"\0a", b"\n\0"], &[4, 8]);
    check_utf_16(le, 0, b"a\0\n", false, &[], &[]);
}

#[test]
fn a_byte_order_mark_is_in_the_span_of_the_first_line_and_not_in_its_text() {
    let (le, be) = (Encoding::Utf16Le, Encoding::Utf16Be);
    check_utf_16(le, 0, b"\xff\xfea\0\n\0\xff\xfe\n\0", false, &[b"a\0", b"\xff\xfe"], &[6, 10]);
    check_utf_16(be, 0, b"\xfe\xff\0a\0\n", false, &[b"\0a"], &[6]);
    check_utf_16(Encoding::Utf16, 0, b"\xfe\xff\0a\0\n", false, &[b"\0a"], &[6]);
    check_utf_16(Encoding::Utf16, 0, b"\xff\xfea\0\n\0", false, &[b"a\0"], &[6]);
    check_utf_16(Encoding::Utf16, 0, b"a\0\n\0", false, &[b"a\0"], &[4]);
    check_utf_16(le, 2, b"\xff\xfe\n\0", false, &[b"\xff\xfe"], &[4]);
    check_utf_16(le, 0, b"\xff\xfe", true, &[b""], &[2]);
    check_utf_16(Encoding::Utf8, 0, b"\xff\xfe\n", false, &[b"\xff\xfe"], &[3]);
}

#[test]
fn an_odd_byte_at_the_end_waits_and_then_is_in_the_last_line() {
    let le = Encoding::Utf16Le;
    check_utf_16(le, 0, b"a\0\n\0b\0c", false, &[b"a\0"], &[4]);
    check_utf_16(le, 0, b"a\0\n\0b\0c", true, &[b"a\0", b"b\0c"], &[4, 7]);
    // Should the file grow after that, what the half character lacked is no text.
    check_utf_16(le, 7, b"\0d\0\n\0", false, &[b"d\0"], &[5]);
    check_utf_16(le, 7, b"\0", true, &[b""], &[1]);
}

/// How much of the beginning of `input` is header, and how many lines follow, read at once and byte by byte.
fn check_header(rules: LineRules, input: &[u8], header: usize, lines: usize) {
    for step in [input.len(), 1] {
        let mut splitter = Splitter::new(rules);
        let (mut header_seen, mut line_count, mut start) = (0, 0, 0);
        for available in (step..=input.len()).step_by(step) {
            while start < available {
                let pieces = splitter.split(start as u64, &input[start..available], false);
                assert!(pieces.header_byte_count == 0 || pieces.header_byte_count == pieces.consumed);
                header_seen += pieces.header_byte_count;
                line_count += pieces.lines.len();
                start += pieces.consumed;
                if pieces.consumed == 0 {
                    break;
                }
            }
        }
        assert_eq!((header_seen, line_count), (header, lines), "{input:?} in steps of {step}");
    }
}

#[test]
fn header_lines_are_dropped_however_long_they_are() {
    let with = |skip_header_lines| LineRules { skip_header_lines, ..rules(4, TooLong::Truncate) };
    check_header(with(0), b"a\nb\n", 0, 2);
    check_header(with(1), b"a\nb\n", 2, 1);
    check_header(with(2), b"a\n\nb\nc", 3, 1);
    check_header(with(3), b"a\nb\nc", 5, 0);
    check_header(with(1), b"far too long\nb\n", 13, 1);
    let utf_16 = |skip_header_lines| LineRules { encoding: Encoding::Utf16, ..with(skip_header_lines) };
    check_header(utf_16(1), b"\xff\xfea\0\n\0b\0\n\0", 6, 1);
    check_header(utf_16(1), b"\xfe\xff\0a\0\n\0b\0\n", 6, 1);
    check_header(utf_16(2), b"a\0\n\0\0\n\0", 6, 0);
}

/// A splitter for what begins at `start` of `file`, made as a restart makes it.
fn resumed(rules: LineRules, file: &[u8], start: usize) -> Splitter {
    resumed_with_header(rules, file, start).0
}

/// The same, and what is known of the last line of the header.
fn resumed_with_header(rules: LineRules, file: &[u8], start: usize) -> (Splitter, Vec<u8>) {
    let mut splitter = Splitter::new(rules);
    let (mut passed, mut header_line) = (0, Vec::new());
    while splitter.needs_beginning() && passed < start {
        let until = start.min(passed + 4);
        let part = splitter.pass(passed as u64, &file[passed..until]);
        header_line.extend_from_slice(&file[passed..until][part]);
        passed = until;
    }
    let mut before = &file[start.saturating_sub(2)..start];
    if !splitter.is_line_start(start as u64, before) {
        before = &file[start.saturating_sub(splitter.context_bytes())..start];
    }
    splitter.resume_behind(start as u64, before);
    (splitter, header_line)
}

fn newline_count(charset: Charset, mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(at) = charset.find_newline(bytes) {
        bytes = &bytes[at + charset.unit_bytes()..];
        count += 1;
    }
    count
}

/// The text of the last line of the header, as far as it is there.
fn header_line_of(rules: LineRules, charset: Charset, file: &[u8]) -> &[u8] {
    let mut rest = &file[charset.textless_bytes(0, file)..];
    for _ in 1..rules.skip_header_lines {
        let Some(at) = charset.find_newline(rest) else { return b"" };
        rest = &rest[at + charset.unit_bytes()..];
    }
    match charset.find_newline(rest) {
        _ if rules.skip_header_lines == 0 => b"",
        Some(at) => &rest[..at],
        None => &rest[..charset.whole_units(rest.len())],
    }
}

/// How many lines are in what follows `start`.
fn check_resumed(rules: LineRules, file: &[u8], start: usize, lines: usize) {
    let pieces = resumed(rules, file, start).split(start as u64, &file[start..], false);
    assert_eq!(pieces.lines.len(), lines, "{file:?} from {start}");
}

#[test]
fn behind_the_cut_of_a_long_line_a_restart_goes_on_dropping() {
    let utf_8 = rules(10, TooLong::Truncate);
    check_resumed(utf_8, b"0123456789tail\nnext\n", 10, 1);
    check_resumed(utf_8, b"012\n456789tail\nnext\n", 10, 2);
    check_resumed(utf_8, b"shorttail\nnext\n", 5, 2);
    check_resumed(rules(10, TooLong::Split), b"0123456789tail\nnext\n", 10, 2);
    // Sent at an end of the input, and shorter than any cut: the mark is not in what counts.
    let utf_16 = LineRules { encoding: Encoding::Utf16, ..utf_8 };
    let file = encoded(Encoding::Utf16Le, "\u{feff}abcd\nef\n");
    check_resumed(utf_16, &file, 8, 2);
    let file = encoded(Encoding::Utf16Be, "\u{feff}abcdef\ngh\n");
    check_resumed(utf_16, &file, 12, 1);
    // Where the file ended within a character.
    check_resumed(utf_16, &file, 13, 1);
}

#[test]
fn a_restart_within_the_header_goes_on_with_it() {
    let two = LineRules { skip_header_lines: 2, ..rules(4, TooLong::Truncate) };
    for start in 1..20 {
        let mut splitter = resumed(two, b"first line\nsecond\nthird\n", start);
        let pieces = splitter.split(start as u64, &b"first line\nsecond\nthird\n"[start..], false);
        assert_eq!(pieces.header_byte_count, 18usize.saturating_sub(start), "from {start}");
    }
}

fn any_rules() -> impl Strategy<Value = (LineRules, Vec<u8>)> {
    let too_long = prop_oneof![Just(TooLong::Truncate), Just(TooLong::Split), Just(TooLong::Drop)];
    (any_encoded_file(), 0usize..9, too_long, any::<bool>(), 0usize..4).prop_map(
        |((encoding, file), more_bytes, too_long, strip_cr, skip_header_lines)| {
            let max_bytes = encoding.character_bytes_max() + more_bytes;
            (LineRules { encoding, skip_header_lines, max_bytes, too_long, strip_cr }, file)
        },
    )
}

/// What becomes of the bytes of a file: text of a line, or the reason why it is dropped.
#[derive(Debug, PartialEq, Eq)]
struct Tile {
    whole: Range<usize>,
    fate: Result<Range<usize>, DropReason>,
}

#[derive(Default)]
struct Tiles(Vec<Tile>);

impl Tiles {
    /// Adds those of a piece that begins at `start`; what is dropped for one reason and touches is one.
    fn add(&mut self, start: usize, pieces: &Pieces) {
        let moved = |range: &Range<usize>| start + range.start..start + range.end;
        let line = |line: &Line| Tile { whole: moved(&line.whole), fate: Ok(moved(&line.text)) };
        let dropped = |range: &Range<usize>, reason| Tile { whole: moved(range), fate: Err(reason) };
        let mut tiles: Vec<_> = pieces.lines.iter().map(line).collect();
        tiles.extend(pieces.too_long.iter().map(|range| dropped(range, DropReason::TooLong)));
        if pieces.header_byte_count > 0 {
            tiles.push(dropped(&(0..pieces.header_byte_count), DropReason::Header));
        }
        tiles.sort_by_key(|tile| tile.whole.start);
        for tile in tiles {
            match self.0.last_mut() {
                Some(last) if last.fate == tile.fate && last.fate.is_err() && last.whole.end == tile.whole.start => {
                    last.whole.end = tile.whole.end;
                }
                _ => self.0.push(tile),
            }
        }
    }
}

fn stripped(rules: LineRules, charset: Charset, line: &[u8]) -> &[u8] {
    if rules.strip_cr { charset.without_cr(line) } else { line }
}

/// Splits what begins at `start` of `file`, after a restart there.
fn split_at_once(rules: LineRules, file: &[u8], mut start: usize) -> Tiles {
    let mut splitter = resumed(rules, file, start);
    let mut tiles = Tiles::default();
    while start < file.len() {
        let pieces = splitter.split(start as u64, &file[start..], true);
        tiles.add(start, &pieces);
        start += pieces.consumed;
    }
    tiles
}

proptest! {
    /// I1: lines and dropped pieces tile what is consumed; no line is longer than allowed; and it makes
    /// no difference, nor for the line that is the header's last, in which pieces the file is read, nor where a restart goes on.
    #[test]
    fn spans_tile_the_file_however_it_is_read(
        (rules, file) in any_rules(),
        cuts in proptest::collection::vec((1usize..20, any::<bool>()), 1..20),
        settled in any::<prop::sample::Index>(),
    ) {
        let expected = split_at_once(rules, &file, 0);
        let charset = Charset::of(rules.encoding, &file);
        let end = expected.0.iter().fold(0, |end, Tile { whole, .. }| if whole.start == end { whole.end } else { usize::MAX });
        prop_assert_eq!(end, file.len());
        let mut header = 0..0;
        for Tile { whole, fate } in &expected.0 {
            prop_assert!(!whole.is_empty());
            match fate {
                Ok(text) => {
                    prop_assert!(text.len() <= rules.max_bytes && whole.start <= text.start);
                    let line = &file[text.start..];
                    let line = charset.find_newline(line).map_or(line, |at| stripped(rules, charset, &line[..at]));
                    let is_cut = text.end == whole.end && whole.end < file.len();
                    let is_right = if is_cut { line.len() > rules.max_bytes } else { line.len() == text.len() };
                    prop_assert!(is_right, "{:?} of a line of {} bytes", text, line.len());
                }
                Err(DropReason::Header) => header = whole.clone(),
                Err(_) => {}
            }
        }
        prop_assert_eq!(header.start, 0);
        let header_line_count = newline_count(charset, &file[header.clone()]);
        prop_assert!(header_line_count == rules.skip_header_lines || header.end == file.len());
        prop_assert!(header_line_count <= rules.skip_header_lines);

        let (mut splitter, mut header_line) = (Splitter::new(rules), Vec::new());
        let mut in_pieces = Tiles::default();
        let (mut start, mut available) = (0, 0);
        let mut cuts = cuts.into_iter().cycle();
        while start < file.len() {
            let (more, restarts) = cuts.next().unwrap();
            available = (available + more).min(file.len());
            if restarts {
                (splitter, header_line) = resumed_with_header(rules, &file, start);
            }
            let pieces = splitter.split(start as u64, &file[start..available], available == file.len());
            header_line.extend_from_slice(&file[start..available][pieces.header_line.clone()]);
            prop_assert!(available < file.len() || pieces.consumed > 0);
            in_pieces.add(start, &pieces);
            start += pieces.consumed;
        }
        prop_assert_eq!(&in_pieces.0, &expected.0);
        prop_assert_eq!(header_line, header_line_of(rules, charset, &file));

        if !expected.0.is_empty() {
            let open = &expected.0[settled.index(expected.0.len())..];
            prop_assert_eq!(split_at_once(rules, &file, open[0].whole.start).0, open);
        }
    }
}
