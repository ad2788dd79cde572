use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::processor::format::tests::lines_of;

/// That a line that is matched straight on has the groups that the regex finds; says whether it was.
#[track_caller]
fn check(pattern: &str, line: &[u8]) -> bool {
    let Some(mut straight) = Straight::new(pattern) else { return false };
    let regex = Regex::new(pattern).unwrap();
    let mut groups = regex.capture_locations();
    let is_match = regex.captures_read(&mut groups, line).is_some();
    let is_straight = straight.matches(line);
    if is_straight {
        assert!(is_match, "{pattern}: {}", line.escape_ascii());
        for group in 1..groups.len() {
            assert_eq!(straight.group(group), groups.get(group), "group {group} of {pattern}: {}", line.escape_ascii());
        }
    }
    is_straight
}

const COMBINED: &str = r#"203.0.113.9 - ann [21/Nov/2026:08:00:01 +0000] "GET /a?b=[c] HTTP/1.1" 200 - "-" "curl/8.10""#;

/// Patterns as they are found on the web, and a line of each.
const USUAL: [(&str, &str); 12] = [
    (r#"^(?<a>\S+) (?<b>\S+) (?<c>\S+) \[(?<d>.*?)\] "(?<e>.*?)" (?<f>\d{3}) (?<g>\d+|-) "(?<h>.*?)" "(?<i>.*?)"$"#, COMBINED),
    (
        r#"^(?<a>[^ ]+) (?<b>[^ ]+) (?<c>[^ ]+) \[(?<d>[^\]]+)\] "(?<e>[^"]*)" (?<f>[0-9]+) (?<g>[0-9-]+) "(?<h>[^"]*)" "(?<i>.*)"$"#,
        COMBINED,
    ),
    (r#"(?<a>\S+) \S+ (?<c>\S+) \[(?<d>[\w:/]+\s[+\-]\d{4})\] "(?<e>\S+)\s?(?<f>\S+)?\s?(?<g>[^\s"]+)?" (?<h>\d{3})"#, COMBINED),
    (
        r"^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[(?<thread>[^\]]+)\] (?<level>[A-Z]+) +(?<logger>\S+) - (?<message>.*)$",
        "2026-11-21 08:00:01 [main] INFO  shop.Cart - ä took 7 ms - at last",
    ),
    (r"(?s)^(?<level>INFO|WARN|ERROR): (?<message>.+)", "WARN: one\ntwo"),
    (r"^(?:\[(?<id>\d+)\] )?(?<message>.*)$", "[47] text"),
    (r"^(?<user>[^@]+)@(?<host>.+?)(?:$)", "ann@shop.example"),
    (r"^(?<a>.*) - (?<b>.*)$", "one - two - three"),
    (r"^(?<a>.*?) - (?<b>.*)$", "one - two - three"),
    (r"^(?<a>(?<b>\w+)=(?<c>[^ ]*)) (?<d>\w+)$", "k=v word"),
    (r"(?i)^(?<a>get|post) (?<b>/[^ ?]*)(?:\?(?<c>\S*))?$", "GET /a/b?c=d"),
    (r"(?-u)^(?<a>[^:]*):(?<b>\d+) (?<c>.*)$", "host:80 rest é"),
];

#[test]
fn usual_patterns_are_matched_straight_on() {
    for (pattern, line) in USUAL {
        assert!(check(pattern, line.as_bytes()), "{pattern}");
    }
}

#[test]
fn what_is_not_certain_is_left_to_the_regex() {
    for (pattern, line) in [
        // The first end of the shortest text does not lead on.
        (r#"^"(?<a>.*?)" (?<b>\d+)$"#, r#""x" y" 7"#),
        // Less has to be taken.
        (r"^(?<a>\S+)(?<b>\d)$", "ab7"),
        (r"^(?<a>\d|\d\d)x$", "12x"),
        // Characters of several bytes.
        (r"^(?<a>.{3})$", "äöü"),
        (r"^(?<a>\S+) ", "é b"),
        // Something stands in front of the match.
        (r"(?<a>\d+)", "a 7"),
    ] {
        assert!(Straight::new(pattern).is_some_and(|mut straight| !straight.matches(line.as_bytes())), "{pattern}");
        assert!(Regex::new(pattern).unwrap().is_match(line.as_bytes()), "{pattern}");
    }
    for pattern in ["(?m)^(?<a>a)", r"(?<a>a)\b", "(?<a>a){2}", "(?<a>a*?)", "(?<a>a+?)b*", "(?<a>é)", "(?:(?<a>ab))??"] {
        assert!(Straight::new(pattern).is_none(), "{pattern}");
    }
    assert!(!check("^(?<a>.*)$", b"a\xff"));
}

/// Parts of patterns that have much in common, so that there are many ways through them.
const PARTS: &[&str] = &[
    "a",
    "b",
    " ",
    "ab",
    "-",
    "[ab]",
    "(?:(a)){0}",
    "[^a]",
    "[^ ]",
    r"\S",
    ".",
    r"\w",
    r"\d",
    "a*",
    "b+",
    ".*",
    ".*?",
    ".+?",
    r"\S+",
    r"\S*?",
    "[^ ]*",
    "[ab]+",
    "[ab]+?",
    "[^a]?",
    ".{2}",
    "[ab]{1,2}",
    "(?:a|b)",
    "(?:a|ab)",
    "(?:b+|-)",
    "(?:ab)?",
    "(?: a)?",
    "(?:a| b|)",
    "(?-u:.)*",
    "(?-u:[^a])+",
    r"(?-u:\xc3)",
    "(?-u:[^a])",
    "[^é]*",
    "é",
    r"\s*",
    "(?s:.)*",
    "(?i:a)+",
    "$",
    "(?-u:[\\x80-\\xff])+",
];

fn patterns() -> impl Strategy<Value = String> {
    let part = (prop::sample::select(PARTS), any::<bool>());
    let alternatives = prop::collection::vec(prop::collection::vec(prop::sample::select(PARTS), 0..3), 0..4);
    (any::<bool>(), prop::collection::vec(part, 1..7), alternatives, any::<bool>()).prop_map(
        |(is_begun, parts, ways, is_ended)| {
            let mut pattern = if is_begun { "^".to_owned() } else { String::new() };
            let middle = parts.len() / 2;
            for (place, (part, is_group)) in parts.into_iter().enumerate() {
                if place == middle && !ways.is_empty() {
                    let ways: Vec<_> = ways.iter().map(|way| format!("({})", way.concat())).collect();
                    pattern += &format!("(?:{})", ways.join("|"));
                }
                pattern += &if is_group { format!("({part})") } else { part.to_owned() };
            }
            if is_ended {
                pattern.push('$');
            }
            pattern
        },
    )
}

const LINE: &[&[&str]] = &[
    &["203.0.113.9", "::1", "", "ann@b"],
    &[" - ", " ann ", " "],
    &["[21/Nov/2026:08:00:01 +0000]", "[main] INFO  a.B", "[]] "],
    &[" \"GET / HTTP/1.1\" ", " - \"\" ", " \"a\" \"b\" "],
    &["200 ", "- ", "20 1 "],
    &["7 \"-\" \"c\"", "- \"ä\" \"\\\"\"", " x"],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_match_straight_on_is_that_of_the_regex(
        pattern in patterns(),
        lines in prop::collection::vec("[ab \\-7\u{e9}\u{a0}\n]{0,12}", 1..20),
        bytes in prop::collection::vec(prop::sample::select(b"ab -\xc3\xa9\xff".as_slice()), 0..8),
    ) {
        for line in &lines {
            check(&pattern, line.as_bytes());
        }
        check(&pattern, &bytes);
    }

    #[test]
    fn usual_patterns_find_the_same_in_any_line(line in lines_of(LINE, b" \"[]-7a\\\n\xc3\xa9"), of in prop::sample::select(USUAL.as_slice())) {
        check(of.0, &line);
    }

    #[test]
    fn usual_patterns_find_the_same_in_lines_almost_of_theirs(
        of in prop::sample::select(USUAL.as_slice()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b" \"[]-7a\\\n\xc3\xa9".as_slice())), 0..4),
    ) {
        let mut line = of.1.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(line.len());
            line[place] = byte;
        }
        check(of.0, &line);
    }
}
