mod filters;
mod java_agent;
mod masks;
mod records;

use proptest::prelude::*;

use super::*;
use crate::config::Config;

/// A processor for a flow with these settings: tables of the flow, or only keys of `[flow.parse]`.
fn processor(settings: &str) -> Processor {
    let settings = if settings.contains("[flow.") { settings.to_owned() } else { format!("[flow.parse]\n{settings}") };
    let kinesis = if settings.contains("[flow.kinesis]") { "" } else { "[flow.kinesis]" };
    let source = format!("[[flow]]\nname = 'app'\nfiles = '/a'\n{settings}\n{kinesis}\nstream = 's'\n");
    let config = Config::parse(&source, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let surroundings = Surroundings {
        host_name: "web-1".to_owned(),
        environment: [("STAGE".to_owned(), "test".to_owned())].into_iter().collect(),
    };
    Processor::new(&config.flows[0], &surroundings)
}

/// The record and the partition key that `processor` makes of `line`, and what there is to count.
fn process_with(processor: &mut Processor, line: &[u8]) -> (String, String, Processed) {
    let ec2 = Ec2 { instance_id: Some("i-1".to_owned()), ..Ec2::default() };
    let origin = Origin {
        path: Path::new("/var/log/a.log"),
        file: FileKey(7),
        offset: 42,
        header: None,
        now: "2026-11-21T12:00:00.5Z".parse().unwrap(),
        ec2: &ec2,
    };
    // It ends as an object that has begun: what is before a record must not decide where it has commas.
    let before = b"of other lines{";
    let (mut out, mut key) = (before.to_vec(), "left over".to_owned());
    let processed = processor.process(line, &origin, &mut out, &mut key);
    assert!(out.starts_with(before));
    out.drain(..before.len());
    // What goes as it is need not be text; here it is told by its escapes.
    let out = String::from_utf8(out).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string());
    (out, key, processed)
}

fn process(settings: &str, line: &[u8]) -> (String, String, Processed) {
    process_with(&mut processor(settings), line)
}

/// That `line` becomes `record`, and that nothing is to be counted.
#[track_caller]
fn check(settings: &str, line: &str, record: &str) {
    let (out, _, processed) = process(settings, line.as_bytes());
    assert_eq!((out.as_str(), processed), (record, Processed::of(Made::Record)), "{line}");
}

#[test]
fn without_rules_a_line_goes_as_it_is() {
    let (out, key, processed) = process("[flow.kinesis]", b"\xff");
    assert_eq!((out.as_str(), key.as_str(), processed), ("", "", Processed::of(Made::Raw)));
}

#[test]
fn named_groups_become_fields_in_their_order() {
    check(r"regex = '(?<z>\w+) (?:\w+) (?<a>\w+)'", "x y z", r#"{"z":"x","a":"z"}"#);
    check("regex = '(?<z>x)|(?<a>y)'", "y", r#"{"z":null,"a":"y"}"#);
    check("regex = '(?<a>.*)'", "", r#"{"a":""}"#);
}

#[test]
fn patterns_are_tried_in_order() {
    let settings = "regex = ['^login (?<user>.+)$', '^(?<level>[A-Z]+) (?<user>.+)$']";
    check(settings, "login ann", r#"{"user":"ann"}"#);
    check(settings, "WARN bob", r#"{"user":"bob","level":"WARN"}"#);
    assert!(process(settings, b"other").2.mismatched);
}

#[test]
fn strings_are_escaped_and_what_is_not_utf8_is_replaced() {
    let any = "regex = '(?s-u)(?<a>.*)'";
    check(any, "say \"hi\"\\", r#"{"a":"say \"hi\"\\"}"#);
    check(any, "\n\r\t\x08\x0c\x00\x1b\x7f", "{\"a\":\"\\n\\r\\t\\b\\f\\u0000\\u001b\x7f\"}");
    check(any, "häß🦀", r#"{"a":"häß🦀"}"#);
    let (out, _, processed) = process(any, b"a\xffb\xf0\x9f");
    assert_eq!((out.as_str(), processed.replaced), ("{\"a\":\"a\u{fffd}b\u{fffd}\"}", true));
}

/// A pattern of text does not match what is not: then the line is matched with U+FFFD in its place.
#[test]
fn a_line_that_is_not_utf8_is_parsed_all_the_same() {
    let (out, _, processed) = process("regex = '^(?<a>.*) (?<b>.*)$'", b"a\xff b");
    assert_eq!(out, "{\"a\":\"a\u{fffd}\",\"b\":\"b\"}");
    assert_eq!(processed, Processed { replaced: true, ..Processed::of(Made::Record) });
    // All of it, also where the pattern would match what stands before.
    let (out, _, processed) = process("regex = '^(?<a>.*)'", b"a\xff b");
    assert_eq!((out.as_str(), processed.replaced), ("{\"a\":\"a\u{fffd} b\"}", true));
    let (out, _, processed) = process("regex = '^never (?<a>.*)$'", b"a\xff b");
    assert_eq!((out.as_str(), processed.made, processed.mismatched), (r"a\xff b", Made::Record, true));
}

/// Also where it is replaced before the record is written.
#[test]
fn what_is_replaced_in_names_and_structured_data_is_counted() {
    for (format, line, record) in [
        ("logfmt", b"a\xff=1".as_slice(), "{\"a\u{fffd}\":\"1\"}"),
        ("ltsv", b"a\xff:1", "{\"a\u{fffd}\":\"1\"}"),
        (
            "syslog_rfc5424",
            b"<34>1 - - - - - [x@1 a=\"\xff\"]",
            "{\"timestamp\":null,\"hostname\":null,\"program\":null,\"processid\":null,\"priority\":\"34\",\"facility\":\"auth\",\
             \"severity\":\"crit\",\"version\":\"1\",\"msgid\":null,\"structured_data\":{\"x@1\":{\"a\":\"\u{fffd}\"}}}",
        ),
    ] {
        let (out, _, processed) = process(&format!("format = '{format}'"), line);
        assert_eq!((out.as_str(), processed), (record, Processed { replaced: true, ..Processed::of(Made::Record) }), "{format}");
    }
}

#[test]
fn a_value_has_its_type_or_stays_text_and_is_counted() {
    for (field_type, text, value, type_mismatches) in [
        ("string", "7", r#""7""#, 0),
        ("integer", "7", "7", 0),
        ("integer", "-007", "-7", 0),
        ("integer", "9223372036854775807", "9223372036854775807", 0),
        ("integer", "9223372036854775808", r#""9223372036854775808""#, 1),
        ("integer", "-", r#""-""#, 1),
        ("integer", " 7", r#"" 7""#, 1),
        ("integer", "7.0", r#""7.0""#, 1),
        ("integer", "", r#""""#, 1),
        ("float", "0.250", "0.25", 0),
        ("float", "7", "7.0", 0),
        ("float", "1e400", r#""1e400""#, 1),
        ("float", "NaN", r#""NaN""#, 1),
        ("float", "inf", r#""inf""#, 1),
        ("boolean", "TRUE", "true", 0),
        ("boolean", "false", "false", 0),
        ("boolean", "yes", r#""yes""#, 1),
    ] {
        let (out, _, processed) = process(&format!("regex = '^(?<a>.*)$'\ntypes = {{ a = '{field_type}' }}"), text.as_bytes());
        assert_eq!(out, format!("{{\"a\":{value}}}"), "{text}");
        assert_eq!(processed, Processed { type_mismatches, ..Processed::of(Made::Record) }, "{text}");
    }
    check("regex = '(?<a>a)?b'\ntypes = { a = 'integer' }", "b", r#"{"a":null}"#);
}

#[test]
fn a_line_that_does_not_match_is_sent_dropped_or_wrapped() {
    for (on_mismatch, made, record) in [
        ("send_raw", Made::Record, "x\""),
        ("drop", Made::Dropped(DropReason::Mismatch), ""),
        ("wrap", Made::Record, "{\"message\":\"x\\\"\",\"error\":\"no match\"}"),
    ] {
        let (out, key, processed) = process(&format!("regex = '(?<a>never)'\non_mismatch = '{on_mismatch}'"), b"x\"");
        assert_eq!(processed, Processed { mismatched: true, ..Processed::of(made) });
        assert_eq!((out.as_str(), key.as_str()), (record, ""));
    }
}

#[test]
fn a_line_that_is_wrapped_has_what_is_added_to_all() {
    let settings = "[flow.parse]\nregex = '(?<a>never)'\non_mismatch = 'wrap'\n\
                    [flow.record]\nadd = { host = '${host.name}', copy = '${a}' }";
    let (out, ..) = process(settings, b"x");
    assert_eq!(out, r#"{"message":"x","error":"no match","host":"web-1"}"#);
}

#[test]
fn the_partition_key_is_what_its_template_says() {
    let key = |template: &str, regex: &str, line: &[u8]| {
        let settings =
            format!("[flow.parse]\nregex = '{regex}'\ntypes = {{ a = 'integer' }}\n[flow.kinesis]\npartition_key = '{template}'");
        let (_, key, processed) = process(&settings, line);
        assert_eq!(processed.key_missing, key.is_empty());
        key
    };
    assert_eq!(key("${a}", "(?<a>[0-9]+)", b"x 7 y"), "7");
    assert_eq!(key("${a}-${b}", "(?<a>[0-9]+) (?<b>.*)", b"7 b"), "7-b");
    assert_eq!(key("${a}", "(?s-u)(?<a>.*)", b"a\xffb"), "a\u{fffd}b");
    assert_eq!(key("${a}", "(?<a>.*)", "ä".repeat(300).as_bytes()), "ä".repeat(256));
    assert_eq!(key("${a}", "(?<a>x)?", b"y"), "");
    assert_eq!(key("${a}-${file.name}", "(?<a>x?)", b"y"), "");
    assert_eq!(key("${file.name}", "(?<a>.*)", b"y"), "a.log");
    assert_eq!(key("host", "(?<a>.*)", b"y"), "web-1");
    assert_eq!(key("fixed:all", "(?<a>never)", b"y"), "all");
    assert_eq!(key("${a}", "(?<a>never)", b"y"), "");
}

proptest! {
    /// Any bytes make valid JSON, and its strings are the groups.
    #[test]
    fn any_line_makes_valid_json(line in any::<Vec<u8>>(), is_wrapped in any::<bool>()) {
        let regex = if is_wrapped { "^never (?<a>x)(?<b>y)$" } else { r"(?s-u)^(?<a>[0-9.]*)(?<b>[0-9e.]*)(?<c>.*)$" };
        let (out, _, processed) =
            process(&format!("regex = '{regex}'\ntypes = {{ a = 'integer', b = 'float' }}\non_mismatch = 'wrap'"), &line);
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
        let settings = "[flow.parse]\nregex = '^(?<a>a+)?(?<b>b+)?$'\n[flow.kinesis]\npartition_key = '${a}'";
        let mut processor = processor(settings);
        for line in &lines {
            prop_assert_eq!(process_with(&mut processor, line.as_bytes()), process(settings, line.as_bytes()));
        }
    }
}
