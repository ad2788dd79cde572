use std::sync::LazyLock;

use proptest::prelude::*;
use regex::bytes::{Captures, Regex};

use crate::config::Format;
use crate::processor::fields::{Arena, Field, Fields, Value};
use crate::processor::format::tests::{check_fields, lines_of};

#[track_caller]
fn check(line: &str, expected: &str) {
    crate::processor::format::tests::check(&Format::Logfmt, line, expected);
}

#[test]
fn pairs() {
    check(
        r#"time=2026-03-12T12:00:08Z level=info msg="hello world" took=12ms"#,
        r#"time="2026-03-12T12:00:08Z" level="info" msg="hello world" took="12ms""#,
    );
    check("a=1", r#"a="1""#);
    check("a=", r#"a="""#);
    check(r#"a="""#, r#"a="""#);
    check("a= b=2", r#"a="" b="2""#);
    check("a= b", r#"a="" b=true"#);
    check("a=1 flag b=2 last", r#"a="1" flag=true b="2" last=true"#);
    check("  a=1\t\tb=2  ", r#"a="1" b="2""#);
    check("url=http://a/?b=c&d=e", r#"url="http://a/?b=c&d=e""#);
    check("a==", r#"a="=""#);
    check("a=b\"c", "a=\"b\"c\"");
    check("a='b c'", r#"a="'b" c'=true"#);
    check("@x.y/z[0]:ä=ö", r#"@x.y/z[0]:ä="ö""#);
    check(r#""a b"=c "d\"e"="f g""#, r#"a b="c" d"e="f g""#);
}

#[test]
fn escapes() {
    for (written, value) in [
        (r#"say \"hi\""#, "say \"hi\""),
        (r"a\\b", "a\\b"),
        (r"\\n", "\\n"),
        (r"a\nb\rc\td\be\ff\vg\ah", "a\nb\rc\td\u{8}e\u{c}f\u{b}g\u{7}h"),
        (r"\/\'", "/'"),
        (r"\u00e4\u4F8b", "ä例"),
        (r"\ud83e\udd80!", "🦀!"),
        (r"\U0001f980!", "🦀!"),
        (r"\ud83e", "\u{fffd}"),
        (r"\ud83e\u0041", "\u{fffd}A"),
        (r"\udd80\ud83e", "\u{fffd}\u{fffd}"),
        (r"\U00110000", "\u{fffd}"),
        (r"\x1b[31mred\x1B[0m", "\u{1b}[31mred\u{1b}[0m"),
        (r"\xc3\xa4", "ä"),
        (r"C:\Users\me", r"C:\Users\me"),
        (r"\u00e \x1 \xyz \U1234567", r"\u00e \x1 \xyz \U1234567"),
        (r"\q\ \0", r"\q\ \0"),
        ("\u{1}\ttab", "\u{1}\ttab"),
        ("a=b c", "a=b c"),
    ] {
        check(&format!("k=\"{written}\" next=1"), &format!("k=\"{value}\" next=\"1\""));
    }
    check(r"k=a\nb", r#"k="a\nb""#);
}

#[test]
fn lines_of_another_format() {
    for line in [
        "",
        " ",
        "word",
        "some words",
        "=",
        "=a",
        "a =b",
        "= a",
        r#"a="b"#,
        r#"a=""#,
        r#"a="b\"#,
        r#"a="b\""#,
        r#"a="b"c"#,
        r#"a="b"c=d"#,
        r#"a="b""c""#,
        r#"a="say "hi" there""#,
        r#"a=1 b"c=2"#,
        r#"a=1 "b""#,
        r#""a"b=c"#,
        r#"a=1 "b c"#,
        r#"{"a":"b=c"}"#,
    ] {
        check(line, "");
    }
}

#[test]
fn of_a_key_that_is_there_twice_the_last_value_counts() {
    check("a=1 b=2 a=3", r#"a="3" b="2""#);
    check("a=1 a", "a=true");
    check("a a= \"a\"=x", r#"a="x""#);
}

#[test]
fn bytes_that_are_not_utf8_stay_in_values() {
    let fields = [
        Field { name: "k\u{fffd}".as_bytes(), value: Value::Text(b"\xfev") },
        Field { name: b"q", value: Value::Text(b"\xff\xfe") },
    ];
    check_fields(&Format::Logfmt, b"k\xff=\xfev q=\"\\xff\xfe\"", Some(&fields));
}

#[test]
fn thousands_of_keys() {
    let line = (0..10_000).map(|number| format!("k{}={number} ", number % 9_000)).collect::<String>();
    let arena = Arena::new();
    let mut fields = Fields::new(&arena);
    super::parse(line.as_bytes(), &arena, &mut fields).unwrap();
    assert_eq!(fields.iter().count(), 9_000);
    assert_eq!(fields.at(0), Some(&Field { name: b"k0", value: Value::Text(b"9000") }));
    assert_eq!(fields.at(8_999), Some(&Field { name: b"k8999", value: Value::Text(b"8999") }));
}

static PAIR: LazyLock<Regex> = LazyLock::new(|| {
    let quoted = r#""(?<NAME>(?:[^"\\]|\\.)*)""#;
    let (quoted_key, quoted_value) = (quoted.replace("NAME", "quoted_key"), quoted.replace("NAME", "quoted_value"));
    let value = format!(r#"(?:{quoted_value}|(?<value>(?:[^\x00- "][^\x00- ]*)?))"#);
    let pair = format!(r#"(?:(?<key>[^\x00- ="]+)|{quoted_key})={value}|(?<alone>[^\x00- ="]+)"#);
    Regex::new(&format!("(?s-u)^[\\x00- ]*(?:{pair})(?:[\\x00- ]+|$)")).unwrap()
});
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    let surrogates = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})";
    let numbers = r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\x([0-9a-fA-F]{2})";
    Regex::new(&format!(r#"(?s-u){surrogates}|{numbers}|\\(["\\/'abfnrtv])"#)).unwrap()
});

fn unescaped(text: &[u8]) -> Vec<u8> {
    let replaced = |captures: &Captures<'_>| {
        let number = |group: usize| {
            let digits = str::from_utf8(captures.get(group)?.as_bytes()).unwrap();
            Some(u32::from_str_radix(digits, 16).unwrap())
        };
        let utf8 = |number: u32| char::from_u32(number).unwrap_or('\u{fffd}').to_string().into_bytes();
        if let (Some(high), Some(low)) = (number(1), number(2)) {
            let units = [high, low].map(|unit| u16::try_from(unit).unwrap());
            return String::from_utf16(&units).unwrap().into_bytes();
        }
        if let Some(byte) = number(5) {
            return vec![u8::try_from(byte).unwrap()];
        }
        number(3).or(number(4)).map(utf8).unwrap_or_else(|| match captures[6][0] {
            b'a' => vec![7],
            b'b' => vec![8],
            b'f' => vec![12],
            b'n' => vec![10],
            b'r' => vec![13],
            b't' => vec![9],
            b'v' => vec![11],
            itself => vec![itself],
        })
    };
    ESCAPE.replace_all(text, replaced).into_owned()
}

/// A key and its value, or none for a key alone.
type Pair = (Vec<u8>, Option<Vec<u8>>);

/// The same by regular expressions.
fn reference(line: &[u8]) -> Option<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut has_value = false;
    let mut rest = line;
    while rest.iter().any(|byte| *byte > b' ') {
        let captures = PAIR.captures(rest)?;
        let plain = |group| captures.name(group).map(|group| group.as_bytes().to_vec());
        let quoted = |group| captures.name(group).map(|group| unescaped(group.as_bytes()));
        let key = plain("key").or(plain("alone")).or_else(|| quoted("quoted_key"))?;
        let key = String::from_utf8_lossy(&key).into_owned().into_bytes();
        let value = plain("value").or_else(|| quoted("quoted_value"));
        has_value |= value.is_some();
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => pairs.push((key, value)),
        }
        rest = &rest[captures[0].len()..];
    }
    has_value.then_some(pairs)
}

fn value(text: Option<&[u8]>) -> Value<'_> {
    text.map_or(Value::Boolean(true), Value::Text)
}

const PARTS: &[&[&str]] = &[
    &["", "", " ", "\t "],
    &["a", "a", "key", "@x.y", "\"k k\"", "\"a\"", ""],
    &["=", "=", "=", ""],
    &["", "value", "\"\"", "\"a b\"", "\"\\\"\\\\\\n\"", "\"\\u00e4\\x41\\q\"", "\"\\ud83e\\udd80\"", "http://x/?y=z"],
    &[" ", " ", "  ", "\t", ""],
    &["b", "a", "é", "b", ""],
    &["=", "=", ""],
    &["1", "", "\"x\"", "\"\\\\\"", "a\"b"],
    &["", " ", " a=3", " flag", " a"],
];

proptest! {
    #[test]
    fn regular_expressions_find_the_same(line in lines_of(PARTS, b" =\"\\abu0\t\x00\xff")) {
        let expected = reference(&line);
        let fields = expected.as_ref().map(|pairs| {
            pairs.iter().map(|(key, text)| Field { name: key, value: value(text.as_deref()) }).collect::<Vec<_>>()
        });
        check_fields(&Format::Logfmt, &line, fields.as_deref());
    }
}
