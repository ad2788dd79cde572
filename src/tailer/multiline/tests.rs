use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{Container, Encoding, LineRules, Preset, TooLong};
use crate::limits::LINE_BYTES_MAX;
use crate::tailer::lines::Splitter;

const LINE_RULES: LineRules = LineRules {
    encoding: Encoding::Utf8,
    skip_header_lines: 0,
    max_bytes: LINE_BYTES_MAX,
    too_long: TooLong::Truncate,
    strip_cr: false,
};

pub(super) fn grouper(joining: Joining, max_lines: usize) -> Grouper {
    Grouper::new(&Multiline { joining, timeout: Duration::from_secs(1), max_lines })
}

pub(super) fn lines_of(text: &[u8]) -> Vec<Line> {
    Splitter::new(LINE_RULES).split(0, text, true).lines
}

/// `start`, `continue`, `end`; empty for none.
fn patterns([start, goes_on, end]: [&str; 3]) -> Joining {
    let compiled = |pattern: &str| (!pattern.is_empty()).then(|| Regex::new(pattern).unwrap().into());
    Joining::Patterns { start: compiled(start), goes_on: compiled(goes_on), end: compiled(end) }
}

fn texts<'a>(bytes: &'a [u8], grouped: &Grouped) -> Vec<&'a str> {
    grouped.records.iter().map(|record| std::str::from_utf8(&bytes[record.text.clone()]).unwrap()).collect()
}

/// With lines of a word each: the records that are over, and what is left open.
#[track_caller]
fn check(grouper: &Grouper, max_bytes: usize, input: &str, over: &[&str], open: &str) {
    let bytes = input.replace(' ', "\n").into_bytes();
    let Grouped { records, open_from } = grouper.group(&bytes, lines_of(&bytes), max_bytes, Ending::MoreToCome);
    let written = |range: Range<usize>| std::str::from_utf8(&bytes[range]).unwrap().replace('\n', " ");
    let texts: Vec<String> = records.iter().map(|record| written(record.text.clone())).collect();
    assert_eq!(
        (texts, written(open_from.unwrap_or(bytes.len())..bytes.len())),
        (over.iter().map(|text| (*text).to_owned()).collect(), open.to_owned()),
        "{input}"
    );
    let complete = grouper.group(&bytes, lines_of(&bytes), max_bytes, Ending::Complete);
    assert_eq!(
        (complete.open_from, complete.records.last().map(|record| record.whole.end)),
        (None, Some(bytes.len())),
        "{input}"
    );
}

#[test]
fn patterns_say_what_belongs_together() {
    for (keys, input, over, open) in [
        (["^s", "", ""], "a b s1 c c s2 s3 c", ["a b", "s1 c c", "s2"].as_slice(), "s3 c"),
        (["", "^c", ""], "c1 c2 a c3 b d c4", &["c1 c2", "a c3", "b"], "d c4"),
        (["^s", "^.?c", ""], "a sc1 c2 b c3 sc4 d s5", &["a", "sc1 c2", "b c3", "sc4", "d"], "s5"),
        (["", "", "^e"], "a b e1 e2 c d", &["a b e1", "e2"], "c d"),
        (["", "", "^e"], "a e", &["a e"], ""),
        (["^s", "", "^e"], "s1 a e1 b s2 s3 e2 c", &["s1 a e1", "b", "s2", "s3 e2"], "c"),
        (["", "^c", "^e"], "a c1 e1 c2 b e2 d", &["a c1 e1", "c2", "b e2"], "d"),
        (["^s", "^c", "e$"], "s1 c1 e s2 se c2 b", &["s1 c1 e", "s2", "se", "c2"], "b"),
    ] {
        check(&grouper(patterns(keys), 100), 1000, input, over, open);
    }
}

#[test]
fn a_record_has_no_more_lines_than_allowed_and_the_rest_begins_another() {
    check(&grouper(patterns(["", "^c", ""]), 3), 1000, "a c1 c2 c3 c4 c5 b c6", &["a c1 c2", "c3 c4 c5"], "b c6");
    check(&grouper(patterns(["", "^c", ""]), 3), 1000, "a c1 c2", &["a c1 c2"], "");
}

#[test]
fn a_record_is_no_longer_than_allowed_and_the_rest_begins_another() {
    let joining = patterns(["", "^c", ""]);
    check(&grouper(joining.clone(), 100), 5, "a c1 c22 c3 c44", &["a c1", "c22", "c3"], "c44");
    check(&grouper(joining.clone(), 100), 6, "a c1 c22 c3 c44", &["a c1", "c22 c3"], "c44");
    check(&grouper(joining, 100), 2, "aaaa c1 b", &["aaaa", "c1"], "b");
}

#[test]
fn what_was_dropped_between_two_lines_ends_the_record() {
    let bytes = b"a\n cut dropped\n c\n c\n";
    let mut splitter = Splitter::new(LineRules { max_bytes: 4, ..LINE_RULES });
    let lines = splitter.split(0, bytes, true).lines;
    let grouped = grouper(Joining::Preset(Preset::Indented), 100).group(bytes, lines, 100, Ending::Complete);
    assert_eq!(texts(bytes, &grouped), ["a\n cut", " c\n c"]);
    assert_eq!(grouped.records[0].whole, 0..6);
}

#[test]
fn the_cr_of_a_terminator_is_sent_and_not_matched() {
    let bytes = b"s\r\nx\r\n\r\nend\r\ns\r\n";
    let grouper = grouper(patterns(["^s$", "^x$|^$", "^end$"]), 100);
    let grouped = grouper.group(bytes, lines_of(bytes), 100, Ending::Complete);
    assert_eq!(texts(bytes, &grouped), ["s\r\nx\r\n\r\nend\r", "s\r"]);
    let stripped = Splitter::new(LineRules { strip_cr: true, ..LINE_RULES }).split(0, bytes, true).lines;
    let grouped = grouper.group(bytes, stripped, 100, Ending::Complete);
    assert_eq!(texts(bytes, &grouped), ["s\r\nx\r\n\r\nend", "s"]);
}

#[test]
fn lines_that_wait_in_vain_begin_records_of_their_own() {
    let java = grouper(Joining::Preset(Preset::Java), 100);
    check(&java, 1000, "java.lang.Error: x y", &[], "java.lang.Error: x y");
    let waiting = format!("java.lang.Error:{}", " y".repeat(UNCERTAIN_LINES_MAX));
    check(&java, 1000, &waiting, &[], &waiting);
    let in_vain = format!("{waiting} y");
    let mut over = vec!["java.lang.Error:"];
    over.extend(["y"; UNCERTAIN_LINES_MAX]);
    check(&java, 1000, &in_vain, &over, "y");
    // The last place in the record goes to none of them.
    check(&grouper(Joining::Preset(Preset::Java), 2), 1000, "java.lang.Error: y z", &["java.lang.Error:", "y"], "z");
}

/// Lines are told by their first letters: `o` and `e` are parts of the two streams, `O` and `E` last parts, and the rest is
/// none of the runtime's.
fn in_log_of(container: Container, line: &str) -> String {
    let (stream, is_last) = match line.as_bytes() {
        [b'o', ..] => ("stdout", false),
        [b'O', ..] => ("stdout", true),
        [b'e', ..] => ("stderr", false),
        [b'E', ..] => ("stderr", true),
        _ => return line.to_owned(),
    };
    match container {
        Container::Cri => format!("2026-11-21T12:18:53Z {stream} {} {line}", if is_last { "F" } else { "P" }),
        Container::Docker => {
            let newline = if is_last { "\\n" } else { "" };
            format!(r#"{{"log":"{line}{newline}","stream":"{stream}","time":"2026-11-21T12:18:53Z"}}"#)
        }
    }
}

#[test]
fn parts_of_a_line_of_a_container_are_joined() {
    for (lines, max_lines, expected, open) in [
        ("O1 E1 O2", 9, ["O1", "E1", "O2"].as_slice(), ""),
        ("o1 o2 O3 O4", 9, &["o1 o2 O3", "O4"], ""),
        ("e1 E2 o1 O2", 9, &["e1 E2", "o1 O2"], ""),
        ("o1 E1 O2", 9, &["o1", "E1", "O2"], ""),
        ("o1 o2 e1 O3 E2", 9, &["o1 o2", "e1", "O3", "E2"], ""),
        ("o1 x O2", 9, &["o1", "x", "O2"], ""),
        ("x o1 o2", 9, &["x"], "o1 o2"),
        ("x y", 9, &["x", "y"], ""),
        ("o1 o2 o3 o4 O5 o6", 2, &["o1 o2", "o3 o4", "O5"], "o6"),
    ] {
        for (container, terminator) in [(Container::Cri, "\n"), (Container::Docker, "\n"), (Container::Docker, "\r\n")] {
            let grouper = grouper(Joining::Parts(container), max_lines);
            let in_log = |lines: &str| -> String {
                lines.split_whitespace().map(|line| in_log_of(container, line) + terminator).collect()
            };
            let bytes = in_log(lines).into_bytes();
            let expected: Vec<_> = expected.iter().map(|record| in_log(record)).collect();
            let whole = |range: Range<usize>| std::str::from_utf8(&bytes[range]).unwrap();
            let Grouped { records, open_from } = grouper.group(&bytes, lines_of(&bytes), 10_000, Ending::MoreToCome);
            assert_eq!(records.iter().map(|record| whole(record.whole.clone())).collect::<Vec<_>>(), expected, "{lines}");
            assert_eq!(whole(open_from.unwrap_or(bytes.len())..bytes.len()), in_log(open), "{lines}");
            let complete = grouper.group(&bytes, lines_of(&bytes), 10_000, Ending::Complete);
            assert_eq!(complete.records.len(), expected.len() + usize::from(!open.is_empty()), "{lines}");
        }
    }
}

#[test]
fn nothing_is_made_of_nothing() {
    for ending in [Ending::MoreToCome, Ending::Complete] {
        let grouped = grouper(Joining::Preset(Preset::Go), 100).group(b"", Vec::new(), 100, ending);
        assert_eq!(grouped, Grouped { records: Vec::new(), open_from: None });
    }
}

/// Groups `lines` as they become known, `cuts` of them at a time, as a caller would.
pub(super) fn group_in_pieces(grouper: &Grouper, bytes: &[u8], lines: &[Line], max_bytes: usize, cuts: &[usize]) -> Vec<Line> {
    let mut records = Vec::new();
    let (mut first, mut known) = (0, 0);
    let mut cuts = cuts.iter().cycle();
    while known < lines.len() {
        known = (known + cuts.next().unwrap()).min(lines.len());
        let grouped = grouper.group(bytes, lines[first..known].to_vec(), max_bytes, Ending::MoreToCome);
        first = grouped.open_from.map_or(known, |at| lines.iter().position(|line| line.whole.start == at).unwrap());
        records.extend(grouped.records);
    }
    records.extend(grouper.group(bytes, lines[first..].to_vec(), max_bytes, Ending::Complete).records);
    records
}

fn any_rules() -> impl Strategy<Value = Joining> {
    let preset = prop_oneof![
        Just(Preset::Java),
        Just(Preset::Python),
        Just(Preset::Go),
        Just(Preset::Ruby),
        Just(Preset::JavaScript),
        Just(Preset::DotNet),
        Just(Preset::Indented),
    ];
    let keys = ["(\\^[a-c1-3\t])?", "(\\^[a-c1-3\t])?", "(\\^[a-c1-3\t])?"];
    let container = prop_oneof![Just(Container::Docker), Just(Container::Cri)];
    prop_oneof![3 => preset.prop_map(Joining::Preset), 1 => container.prop_map(Joining::Parts), 3 => keys.prop_map(|keys| patterns([&keys[0], &keys[1], &keys[2]]))]
}

/// Lines of which many belong together for one preset or another.
fn any_line() -> impl Strategy<Value = String> {
    const LINES: &[&str] = &[
        "",
        "",
        "}",
        "    ^",
        "2026-11-21 12:00:00 INFO started",
        "java.io.IOException: no",
        "\tat a.B.c(B.java:1)",
        "    at f (/a.js:1:2) {",
        "Caused by: x",
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in <module>",
        "ValueError: no",
        "During handling of the above exception, another exception occurred:",
        "panic: no",
        "goroutine 1 [running]:",
        "main.main()",
        "\t/a.go:1 +0x1",
        "exit status 2",
        "a.rb:1:in `rescue in f': no (RuntimeError)",
        "\tfrom a.rb:1:in `g'",
        "a.rb:1:in `h'",
        "Error: no",
        "/a.js:1",
        "Node.js v22.1.0",
        "System.Exception: no",
        " ---> System.Exception: no",
    ];
    let container = prop_oneof![Just(Container::Docker), Just(Container::Cri)];
    prop_oneof![
        6 => proptest::sample::select(LINES).prop_map(str::to_owned),
        2 => "[a-c1-3\t]{0,3}\r?",
        3 => (container, "[oe]{1,2}|[OE]").prop_map(|(container, line)| in_log_of(container, &line)),
    ]
}

proptest! {
    /// Records tile the lines, each with all text between its first and last; and it makes no difference in which
    /// pieces the file is read.
    #[test]
    fn records_tile_the_lines_however_they_are_read(
        joining in any_rules(),
        input in proptest::collection::vec(any_line(), 0..40),
        dropped in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        max_lines in 2usize..12,
        max_bytes in 4usize..200,
        cuts in proptest::collection::vec(1usize..6, 1..10),
    ) {
        let bytes = input.iter().fold(String::new(), |text, line| text + line + "\n").into_bytes();
        let mut lines = lines_of(&bytes);
        for index in dropped {
            if !lines.is_empty() {
                lines.remove(index.index(lines.len()));
            }
        }
        let grouper = grouper(joining, max_lines);
        let at_once = grouper.group(&bytes, lines.clone(), max_bytes, Ending::Complete).records;

        let mut rest = lines.as_slice();
        for record in &at_once {
            let line_count = rest.iter().take_while(|line| line.whole.end <= record.whole.end).count();
            let (own, behind) = rest.split_at(line_count);
            rest = behind;
            prop_assert!((1..=max_lines).contains(&line_count));
            prop_assert_eq!(own[0].whole.start..own[line_count - 1].whole.end, record.whole.clone());
            prop_assert_eq!(own[0].text.start..own[line_count - 1].text.end, record.text.clone());
            prop_assert!(own.windows(2).all(|pair| pair[0].whole.end == pair[1].whole.start));
            prop_assert!(line_count == 1 || record.text.len() <= max_bytes);
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(group_in_pieces(&grouper, &bytes, &lines, max_bytes, &cuts), at_once);
    }
}
