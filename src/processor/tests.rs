use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::config::{FieldType, Format};

fn parse(regex: &str, types: &[(&str, FieldType)], on_mismatch: OnMismatch) -> Parse {
    let types = types.iter().map(|(field, field_type)| ((*field).to_owned(), field_type.clone())).collect();
    Parse { format: Format::Regex(vec![Regex::new(regex).unwrap()]), types, on_mismatch }
}

/// The record, the partition key (field `a`) and what there is to count.
fn process(parse: &Parse, line: &[u8]) -> (String, String, Processed) {
    let (mut out, mut key) = (b"left over".to_vec(), "left over".to_owned());
    let processed = Processor::new(Some(parse), Some("a")).process(line, Timestamp::UNIX_EPOCH, &mut out, &mut key);
    (String::from_utf8(out).unwrap(), key, processed)
}

#[track_caller]
fn check(parse: &Parse, line: &[u8], record: &str, type_mismatches: u32, replaced: bool) {
    let expected = Processed { made: Made::Record, mismatched: false, type_mismatches, replaced };
    let (out, _, processed) = process(parse, line);
    assert_eq!((out.as_str(), processed), (record, expected), "{}", line.escape_ascii());
}

#[test]
fn without_parse_a_line_goes_as_it_is() {
    let (mut out, mut key) = (vec![1], "k".to_owned());
    let processed = Processor::new(None, None).process(b"\xff", Timestamp::UNIX_EPOCH, &mut out, &mut key);
    assert_eq!(processed, Processed { made: Made::Raw, mismatched: false, type_mismatches: 0, replaced: false });
    assert!(out.is_empty() && key.is_empty());
}

#[test]
fn named_groups_become_fields_in_their_order() {
    let of = |regex| parse(regex, &[], OnMismatch::Drop);
    check(&of(r"(?<z>\w+) (\w+) (?<a>\w+)"), b"x y z", r#"{"z":"x","a":"z"}"#, 0, false);
    check(&of(r"(?<z>x)|(?<a>y)"), b"y", r#"{"z":null,"a":"y"}"#, 0, false);
    check(&of(r"(?<a>.*)"), b"", r#"{"a":""}"#, 0, false);
}

#[test]
fn strings_are_escaped_and_what_is_not_utf8_is_replaced() {
    let any = parse(r"(?s-u)(?<a>.*)", &[], OnMismatch::Drop);
    check(&any, b"say \"hi\"\\", r#"{"a":"say \"hi\"\\"}"#, 0, false);
    check(&any, b"\n\r\t\x08\x0c\x00\x1b\x7f", "{\"a\":\"\\n\\r\\t\\b\\f\\u0000\\u001b\x7f\"}", 0, false);
    check(&any, "häß🦀".as_bytes(), r#"{"a":"häß🦀"}"#, 0, false);
    check(&any, b"a\xffb\xf0\x9f", "{\"a\":\"a\u{fffd}b\u{fffd}\"}", 0, true);
}

#[test]
fn a_value_has_its_type_or_stays_text_and_is_counted() {
    use FieldType::{Boolean, Float, Integer};
    for (field_type, text, value, type_mismatches) in [
        (FieldType::String, "7", r#""7""#, 0),
        (Integer, "7", "7", 0),
        (Integer, "-007", "-7", 0),
        (Integer, "9223372036854775807", "9223372036854775807", 0),
        (Integer, "9223372036854775808", r#""9223372036854775808""#, 1),
        (Integer, "-", r#""-""#, 1),
        (Integer, " 7", r#"" 7""#, 1),
        (Integer, "7.0", r#""7.0""#, 1),
        (Integer, "", r#""""#, 1),
        (Float, "0.250", "0.25", 0),
        (Float, "7", "7.0", 0),
        (Float, "1e400", r#""1e400""#, 1),
        (Float, "NaN", r#""NaN""#, 1),
        (Float, "inf", r#""inf""#, 1),
        (Boolean, "TRUE", "true", 0),
        (Boolean, "false", "false", 0),
        (Boolean, "yes", r#""yes""#, 1),
    ] {
        let typed = parse("^(?<a>.*)$", &[("a", field_type)], OnMismatch::Drop);
        check(&typed, text.as_bytes(), &format!("{{\"a\":{value}}}"), type_mismatches, false);
    }
    let absent = parse("(?<a>a)?b", &[("a", Integer)], OnMismatch::Drop);
    check(&absent, b"b", r#"{"a":null}"#, 0, false);
}

#[test]
fn a_line_that_does_not_match_is_sent_dropped_or_wrapped() {
    for (on_mismatch, made, record) in [
        (OnMismatch::SendRaw, Made::Raw, ""),
        (OnMismatch::Drop, Made::Dropped(DropReason::Mismatch), ""),
        (OnMismatch::Wrap, Made::Record, "{\"message\":\"\u{fffd}\\\"\",\"error\":\"no match\"}"),
    ] {
        let (out, key, processed) = process(&parse("(?<a>x)", &[], on_mismatch), b"\xff\"");
        let replaced = on_mismatch == OnMismatch::Wrap;
        assert_eq!(processed, Processed { made, mismatched: true, type_mismatches: 0, replaced });
        assert_eq!((out.as_str(), key.as_str()), (record, ""));
    }
}

#[test]
fn the_partition_key_is_the_text_of_its_field() {
    let key = |regex: &str, line: &[u8]| process(&parse(regex, &[("a", FieldType::Integer)], OnMismatch::Drop), line).1;
    assert_eq!(key("(?<a>[0-9]+)", b"x 007 y"), "007");
    assert_eq!(key("(?s-u)(?<a>.*)", b"a\xffb"), "a\u{fffd}b");
    assert_eq!(key("(?<a>.*)", "ä".repeat(300).as_bytes()), "ä".repeat(256));
    assert_eq!(key("(?<a>x)?", b"y"), "");
    assert_eq!(key("(?<b>.*)", b"y"), "");
}

proptest! {
    /// Any bytes make valid JSON, and its strings are the groups.
    #[test]
    fn any_line_makes_valid_json(line in any::<Vec<u8>>(), is_wrapped in any::<bool>()) {
        let types = [("a", FieldType::Integer), ("b", FieldType::Float)];
        let regex = if is_wrapped { "^never (?<a>x)$" } else { r"(?s-u)^(?<a>[0-9.]*)(?<b>[0-9e.]*)(?<c>.*)$" };
        let (out, _, processed) = process(&parse(regex, &types, OnMismatch::Wrap), &line);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(processed.mismatched, is_wrapped);
        if is_wrapped {
            prop_assert_eq!(value["message"].as_str(), Some(&*String::from_utf8_lossy(&line)));
        } else {
            let rest = line.iter().position(|byte| !b"0123456789e.".contains(byte));
            let rest = &line[rest.unwrap_or(line.len())..];
            prop_assert_eq!(value["c"].as_str(), Some(&*String::from_utf8_lossy(rest)));
        }
    }

    /// A processor remembers nothing of the lines before.
    #[test]
    fn lines_do_not_mix(lines in proptest::collection::vec("[ab]{0,4}", 1..6)) {
        let parse = parse("^(?<a>a+)?(?<b>b+)?$", &[], OnMismatch::SendRaw);
        let mut processor = Processor::new(Some(&parse), Some("a"));
        let (mut out, mut key) = (Vec::new(), String::new());
        for line in &lines {
            let processed = processor.process(line.as_bytes(), Timestamp::UNIX_EPOCH, &mut out, &mut key);
            prop_assert_eq!((String::from_utf8(out.clone()).unwrap(), key.clone(), processed), process(&parse, line.as_bytes()));
        }
    }
}
