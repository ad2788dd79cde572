use proptest::prelude::*;

use crate::config::Format;
use crate::processor::fields::{Field, Value};
use crate::processor::format::tests::{check_fields, lines_of};

#[track_caller]
fn check(line: &str, expected: &str) {
    crate::processor::format::tests::check(&Format::Ltsv, line, expected);
}

#[test]
fn labels_and_values() {
    check(
        "time:[12/Mar/2026:12:00:08 +0900]\thost:192.0.2.1\treq:GET / HTTP/1.1\tua:-",
        r#"time="[12/Mar/2026:12:00:08 +0900]" host="192.0.2.1" req="GET / HTTP/1.1" ua="-""#,
    );
    check("a:1", r#"a="1""#);
    check("a:", r#"a="""#);
    check("a::\tb: c: ", r#"a=":" b=" c: ""#);
    check("a:1\t", r#"a="1""#);
    check("a:1\t\tb:2\t\t", r#"a="1" b="2""#);
    check("\ta:1", r#"a="1""#);
    check("x-forwarded_for.1@/ä:1", r#"x-forwarded_for.1@/ä="1""#);
    check("a:\"quoted\"", "a=\"\"quoted\"\"");
}

#[test]
fn lines_of_another_format() {
    for line in
        ["", "\t", "a", "a\tb:1", "a:1\tb", ":1", "a:1\t:2", "a b:1", "a:1\t b:2", "\tat a.B(C.java:1)", "a\u{1}:1", "\u{7f}:1"]
    {
        check(line, "");
    }
}

#[test]
fn of_a_label_that_is_there_twice_the_last_value_counts() {
    check("a:1\tb:2\ta:3", r#"a="3" b="2""#);
}

#[test]
fn bytes_that_are_not_utf8_stay_in_values() {
    let fields = [Field { name: "l\u{fffd}".as_bytes(), value: Value::Text(b"\xfe:\xfd") }];
    check_fields(&Format::Ltsv, b"l\xff:\xfe:\xfd", Some(&fields));
}

/// The same with what the standard library has.
fn reference(line: &[u8]) -> Option<Vec<(String, &[u8])>> {
    let mut pairs: Vec<(String, &[u8])> = Vec::new();
    for field in line.split(|byte| *byte == b'\t').filter(|field| !field.is_empty()) {
        let mut parts = field.splitn(2, |byte| *byte == b':');
        let (label, value) = (parts.next()?, parts.next()?);
        if label.is_empty() || label.iter().any(|byte| (0..=0x20).contains(byte) || *byte == 0x7f) {
            return None;
        }
        let label = String::from_utf8_lossy(label).into_owned();
        match pairs.iter_mut().find(|(known, _)| *known == label) {
            Some(known) => known.1 = value,
            None => pairs.push((label, value)),
        }
    }
    Some(pairs).filter(|pairs| !pairs.is_empty())
}

const PARTS: &[&[&str]] = &[
    &["a:1", "time:[12/Mar/2026:12:00:08]", "", "label:"],
    &["\t", "\t", "\t\t", ""],
    &["b:2", "a:2", "ä: ö ", "c"],
    &["\t", ""],
    &["", "d::", "a:3", "b:", "no label"],
    &["", "\t"],
];

proptest! {
    #[test]
    fn splitting_finds_the_same(line in lines_of(PARTS, b"\t: a\x01\xff\xfe")) {
        let expected = reference(&line);
        let fields = expected.as_ref().map(|pairs| {
            pairs.iter().map(|(label, value)| Field { name: label.as_bytes(), value: Value::Text(value) }).collect::<Vec<_>>()
        });
        check_fields(&Format::Ltsv, &line, fields.as_deref());
    }
}
