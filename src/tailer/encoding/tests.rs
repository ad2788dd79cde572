use proptest::prelude::*;

use super::samples::{any_encoded_file, any_encoding, encoded};
use super::*;
use crate::config::{Encoding, LineRules, TooLong};
use crate::limits::LINE_BYTES_MAX;
use crate::tailer::lines::Splitter;

/// All lines of a file in one run of bytes, and how many had something malformed.
fn decoded(rules: LineRules, file: &[u8]) -> (Vec<u8>, Vec<Range<usize>>, u64) {
    let mut splitter = Splitter::new(rules);
    let pieces = splitter.split(0, file, true);
    assert_eq!(pieces.consumed, file.len());
    let wholes: Vec<_> = pieces.lines.iter().map(|line| line.whole.clone()).collect();
    let Utf8 { bytes, lines, replaced_line_count } = to_utf_8(pieces.charset, file, pieces.lines);
    assert_eq!(lines.iter().map(|line| line.whole.clone()).collect::<Vec<_>>(), wholes);
    (bytes.into_owned(), lines.into_iter().map(|line| line.text).collect(), replaced_line_count)
}

fn rules(encoding: Encoding) -> LineRules {
    LineRules { encoding, skip_header_lines: 0, max_bytes: 1000, too_long: TooLong::Split, strip_cr: true }
}

fn check(encoding: Encoding, file: &[u8], expected: &[&str], replaced: u64) {
    let (bytes, texts, replaced_line_count) = decoded(rules(encoding), file);
    let lines: Vec<_> = texts.into_iter().map(|text| String::from_utf8_lossy(&bytes[text]).into_owned()).collect();
    assert_eq!((lines, replaced_line_count), (expected.iter().map(ToString::to_string).collect(), replaced), "{encoding:?}");
}

#[test]
fn lines_become_utf_8() {
    check(Encoding::ShiftJis, b"\x93\xfa\x96\x7b\r\n\x83\x5c\xb1\n", &["日本", "ソｱ"], 0);
    check(Encoding::EucKr, b"\xc7\xd1\xb1\xb9\n\x8c\x63", &["한국", "똠"], 0);
    check(Encoding::Gb18030, b"\xd6\xd0\xce\xc4\n\x94\x39\xda\x33\n", &["中文", "\u{1f4a9}"], 0);
    check(Encoding::Latin1, b"caf\xe9\n\x80\xff\n", &["café", "\u{80}ÿ"], 0);
    check(Encoding::Utf16Le, b"\xff\xfea\0\r\0\n\0\x3d\xd8\xa9\xdc\n\0", &["a", "\u{1f4a9}"], 0);
    check(Encoding::Utf16Be, b"\0a\0\r\0\n\xd8\x3d\xdc\xa9\0\n", &["a", "\u{1f4a9}"], 0);
    check(Encoding::Utf16, b"\xfe\xff\0a\0\n", &["a"], 0);
    check(Encoding::Utf16, b"\xff\xfea\0\n\0", &["a"], 0);
    check(Encoding::Utf16, b"a\0\n\0b\0", &["a", "b"], 0);
}

#[test]
fn what_is_malformed_becomes_u_fffd_and_each_such_line_is_counted() {
    check(Encoding::ShiftJis, b"fine\na\xfd\xfe\n\x81\n", &["fine", "a\u{fffd}\u{fffd}", "\u{fffd}"], 2);
    check(Encoding::EucKr, b"\xff\n\xb0", &["\u{fffd}", "\u{fffd}"], 2);
    check(Encoding::Gb18030, b"\x81\x30\na\n", &["\u{fffd}0", "a"], 1);
    check(Encoding::Utf16Le, b"\x3d\xd8\n\0a\0b", &["\u{fffd}", "a\u{fffd}"], 2);
}

#[test]
fn utf_8_stays_as_it_is_and_where_it_is() {
    let file = b"\xef\xbb\xbfa\xff\r\nb\n";
    let lines = Splitter::new(rules(Encoding::Utf8)).split(0, file, true).lines;
    let made = to_utf_8(Charset::Utf8, file, lines.clone());
    assert!(matches!(made.bytes, Cow::Borrowed(bytes) if std::ptr::eq(bytes, file.as_slice())));
    assert_eq!((made.lines, made.replaced_line_count), (lines, 0));
}

/// The whole text at once, by the decoder alone.
fn decoded_at_once(charset: Charset, file: &[u8]) -> String {
    let text = &file[charset.textless_bytes(0, file)..];
    let encoding = match charset {
        Charset::Utf8 => encoding_rs::UTF_8,
        Charset::Utf16Le => encoding_rs::UTF_16LE,
        Charset::Utf16Be => encoding_rs::UTF_16BE,
        Charset::Latin1 => return text.iter().map(|byte| char::from(*byte)).collect(),
        Charset::ShiftJis => encoding_rs::SHIFT_JIS,
        Charset::EucKr => encoding_rs::EUC_KR,
        Charset::Gb18030 => encoding_rs::GB18030,
    };
    encoding.decode_without_bom_handling(text).0.into_owned()
}

#[test]
fn the_longest_lines_reach_the_bound_and_fit_a_record() {
    for (encoding, worst) in [
        (Encoding::Utf16Le, encoded(Encoding::Utf16Le, "日")),
        (Encoding::Utf16Be, encoded(Encoding::Utf16Be, "日")),
        (Encoding::Latin1, encoded(Encoding::Latin1, "é")),
        (Encoding::ShiftJis, encoded(Encoding::ShiftJis, "ｱ")),
        (Encoding::EucKr, vec![0xff]),
        (Encoding::Gb18030, vec![0x80]),
    ] {
        let max_bytes = encoding.line_bytes_max(LINE_BYTES_MAX);
        let (bytes, texts, _) = decoded(LineRules { max_bytes, ..rules(encoding) }, &worst.repeat(max_bytes / worst.len() + 1));
        assert_eq!(texts.first(), Some(&(0..LINE_BYTES_MAX)), "{encoding:?}");
        assert!(bytes.len() > LINE_BYTES_MAX);
    }
}

proptest! {
    /// Whatever the bytes are, they grow by no more than what the greatest `max_bytes` allows for.
    #[test]
    fn no_line_grows_beyond_a_record(
        encoding in any_encoding(),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let charset = Charset::of(encoding, &bytes);
        let line = Line { text: 0..bytes.len(), whole: 0..bytes.len() };
        let made = to_utf_8(charset, &bytes, vec![line]).bytes.len();
        // What is half a unit becomes as much as a whole one.
        let units = bytes.len().next_multiple_of(charset.unit_bytes());
        prop_assert!(made * encoding.line_bytes_max(LINE_BYTES_MAX) <= units * LINE_BYTES_MAX, "{} became {}", bytes.len(), made);
    }

    /// It makes no difference that each line is decoded by itself, nor that long ones are cut.
    #[test]
    fn line_by_line_gives_what_the_whole_text_gives(
        (encoding, file) in any_encoded_file(),
        max_bytes in 4usize..20,
        strip_cr in any::<bool>(),
    ) {
        let rules = LineRules { max_bytes, strip_cr, ..rules(encoding) };
        let (bytes, texts, replaced_line_count) = decoded(rules, &file);
        let charset = Charset::of(encoding, &file);
        if charset == Charset::Utf8 {
            prop_assert_eq!(bytes, file);
            return Ok(());
        }
        let expected = decoded_at_once(charset, &file);
        prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        let mut end = 0;
        for text in texts {
            prop_assert!(["", "\n", "\r\n"].map(str::as_bytes).contains(&&bytes[end..text.start]));
            prop_assert!(memchr::memchr(b'\n', &bytes[text.clone()]).is_none());
            end = text.end;
        }
        prop_assert_eq!(replaced_line_count > 0, bytes.windows(3).any(|window| window == "\u{fffd}".as_bytes()));
    }
}
