use std::sync::LazyLock;

use proptest::prelude::*;
use regex::bytes::{Captures, Regex};
use serde_json::Map;

use super::*;
use crate::config::Format;
use crate::processor::fields::Field;
use crate::processor::format::tests::{check_fields, lines_of};

#[track_caller]
fn check(line: &str, expected: &str) {
    crate::processor::format::tests::check(&Format::SyslogRfc5424, line, expected);
}

/// That what stands behind the message id has the fields `expected`: message and structured data.
#[track_caller]
fn check_rest(rest: &str, message: &str, structured_data: &str) {
    let message = if message.is_empty() { String::new() } else { format!("message={message} ") };
    let level = r#"priority="165" facility="local4" severity="notice" version="1" msgid=null"#;
    let head = r#"timestamp=null hostname=null program=null processid=null"#;
    check(&format!("<165>1 - - - - - {rest}"), &format!("{head} {message}{level} structured_data={structured_data}"));
}

#[test]
fn all_parts() {
    check(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su 12 ID47 - 'su root' failed on /dev/pts/8",
        r#"timestamp="2003-10-11T22:14:15.003Z" hostname="mymachine.example.com" program="su" processid="12" message="'su root' failed on /dev/pts/8" priority="34" facility="auth" severity="crit" version="1" msgid="ID47" structured_data=null"#,
    );
    check(
        r#"<165>1 2003-08-24T05:14:15.000003-07:00 fe80::1 app - ID47 [exampleSDID@32473 iut="3" eventSource="App"] An event"#,
        r#"timestamp="2003-08-24T05:14:15.000003-07:00" hostname="fe80::1" program="app" processid=null message="An event" priority="165" facility="local4" severity="notice" version="1" msgid="ID47" structured_data={"exampleSDID@32473":{"iut":"3","eventSource":"App"}}"#,
    );
    check(
        "<191>999 - - - - - -",
        r#"timestamp=null hostname=null program=null processid=null priority="191" facility="local7" severity="debug" version="999" msgid=null structured_data=null"#,
    );
}

#[test]
fn messages() {
    check_rest("-", "", "null");
    check_rest("- ", "\"\"", "null");
    check_rest("- -", "\"-\"", "null");
    check_rest("-  a: b ", "\" a: b \"", "null");
    check_rest("- \u{feff}ä", "\"ä\"", "null");
    check_rest("- \u{feff}\u{feff}", "\"\u{feff}\"", "null");
    check_rest("- [a b=c]", "\"[a b=c]\"", "null");
    check_rest("[a]", "", r#"{"a":{}}"#);
    check_rest("[a] ", "\"\"", r#"{"a":{}}"#);
    check_rest("[a] [b]", "\"[b]\"", r#"{"a":{}}"#);
}

#[test]
fn structured_data() {
    for (written, object) in [
        ("[a]", r#"{"a":{}}"#),
        (r#"[a b=""]"#, r#"{"a":{"b":""}}"#),
        (r#"[a b="c"][d@1 e="f" g="h"][i]"#, r#"{"a":{"b":"c"},"d@1":{"e":"f","g":"h"},"i":{}}"#),
        (r#"[a b="1\"2\\3\]4"]"#, r#"{"a":{"b":"1\"2\\3]4"}}"#),
        (r#"[a b="\n\x\\"]"#, r#"{"a":{"b":"\\n\\x\\"}}"#),
        (r#"[a b="x]y[z"]"#, r#"{"a":{"b":"x]y[z"}}"#),
        (r#"[a b="c = d"]"#, r#"{"a":{"b":"c = d"}}"#),
        ("[a b=\"\t\u{1}é🦀\"]", "{\"a\":{\"b\":\"\\t\\u0001é🦀\"}}"),
        (r#"[é\ ï="x"]"#, r#"{"é\\":{"ï":"x"}}"#),
        (r#"[origin ip="192.0.2.1" ip="192.0.2.129" software="x"]"#, r#"{"origin":{"ip":"192.0.2.129","software":"x"}}"#),
        (r#"[a b="1"][c][a d="2"]"#, r#"{"a":{"d":"2"},"c":{}}"#),
    ] {
        check_rest(&format!("{written} x"), "\"x\"", object);
    }
    for written in [
        "",
        "x",
        "[]",
        "[ a]",
        "[a",
        "[a ]",
        "[a b]",
        "[a b=]",
        "[a b=c]",
        "[a b=\"c]",
        "[a b=\"c\"",
        "[a b=\"c\\\"]",
        "[a b=\"c\"d=\"e\"]",
        "[a  b=\"c\"]",
        "[a b=\"c\" ]",
        "[a =\"c\"]",
        "[=]",
        "[a]x",
        "-x",
        "--",
    ] {
        check(&format!("<165>1 - - - - - {written}"), "");
    }
}

#[test]
fn lines_of_another_format() {
    for line in [
        "",
        "<34>",
        "<34>1",
        "<34>1 ",
        "<34>1 - - - - -",
        "<34>1 - - - - - ",
        "<34>1  - - - - - -",
        "<34>1 - - -  - - -",
        "<34>0 - - - - - -",
        "<34>01 - - - - - -",
        "<34>1000 - - - - - -",
        "<34>a - - - - - -",
        "<34> 1 - - - - - -",
        "<192>1 - - - - - -",
        "<1234>1 - - - - - -",
        "<>1 - - - - - -",
        "34>1 - - - - - -",
        "1 - - - - - -",
        "20 <34>1 - - - - - -",
        "<34>Mar 12 12:00:08 a sshd[42]: hi",
        "Mar 12 12:00:08 a sshd[42]: hi",
    ] {
        check(line, "");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_in_structured_data_only() {
    let line = b"<0>1 - h\xff - - - [a\xfe b\xfd=\"c\xfc\" b\xfb=\"d\"] m\xfa";
    let values = [
        Value::Null,
        Value::Text(b"h\xff"),
        Value::Null,
        Value::Null,
        Value::Text(b"m\xfa"),
        Value::Text(b"0"),
        Value::Text(b"kern"),
        Value::Text(b"emerg"),
        Value::Text(b"1"),
        Value::Null,
        Value::Json("{\"a\u{fffd}\":{\"b\u{fffd}\":\"d\"}}"),
    ];
    let fields: Vec<_> = FIELDS.iter().zip(values).map(|(name, value)| Field { name: name.as_bytes(), value }).collect();
    check_fields(&Format::SyslogRfc5424, line, Some(&fields));
}

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let header =
        r"<(?<pri>[0-9]{1,3})>(?<version>[1-9][0-9]{0,2}) (?<time>[^ ]+) (?<host>[^ ]+) (?<app>[^ ]+) (?<pid>[^ ]+) (?<id>[^ ]+)";
    let element = r#"\[[^ =\]"]+(?: [^ =\]"]+="(?:[^"\\]|\\.)*")*\]"#;
    Regex::new(&format!("(?s-u)^{header} (?:-|(?<data>(?:{element})+))(?: (?:\\xef\\xbb\\xbf)?(?<message>.*))?$")).unwrap()
});
static ELEMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?s-u)^\[(?<name>[^ =\]"]+)(?<parameters>(?: [^ =\]"]+="(?:[^"\\]|\\.)*")*)\]"#).unwrap());
static PARAMETER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?s-u)^ (?<name>[^ =\]"]+)="(?<value>(?:[^"\\]|\\.)*)""#).unwrap());
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"(?-u)\\(["\\\]])"#).unwrap());

/// All matches of `regex`, which is anchored, one behind the other.
fn matches<'t>(regex: &'static Regex, text: &'t [u8]) -> impl Iterator<Item = Captures<'t>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let captures = regex.captures(rest)?;
        rest = &rest[captures.get_match().end()..];
        Some(captures)
    })
}

/// Structured data by regular expressions.
fn reference_object(data: &[u8]) -> serde_json::Value {
    let text = |captures: &Captures<'_>, group: &str| String::from_utf8_lossy(&captures[group]).into_owned();
    let mut elements = Map::new();
    for element in matches(&ELEMENT, data) {
        let mut parameters = Map::new();
        for parameter in matches(&PARAMETER, &element["parameters"]) {
            let value = ESCAPE.replace_all(&parameter["value"], &b"$1"[..]).into_owned();
            parameters.insert(text(&parameter, "name"), String::from_utf8_lossy(&value).into());
        }
        elements.insert(text(&element, "name"), parameters.into());
    }
    elements.into()
}

/// All fields but structured data, shown, and what that is by serde.
type Shown = (Vec<(Vec<u8>, String)>, serde_json::Value);

fn parsed(line: &[u8]) -> Option<Shown> {
    let arena = Arena::new();
    let mut fields = Fields::new(&arena);
    parse(line, &arena, &mut fields)?;
    assert!(fields.iter().map(|field| field.name).eq(FIELDS.iter().map(|name| name.as_bytes())));
    let (data, others): (Vec<&Field<'_>>, Vec<&Field<'_>>) = fields.iter().partition(|field| field.name == b"structured_data");
    let object = match data[0].value {
        Value::Json(json) => {
            let object: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(object.to_string().len(), json.len(), "a name is there twice in {json}");
            object
        }
        other => {
            assert_eq!(other, Value::Null);
            serde_json::Value::Null
        }
    };
    Some((others.iter().map(|field| (field.name.to_vec(), format!("{:?}", field.value))).collect(), object))
}

/// The same by regular expressions.
fn reference(line: &[u8]) -> Option<Shown> {
    const FACILITIES: &str = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock \
        local0 local1 local2 local3 local4 local5 local6 local7";
    const SEVERITIES: &str = "emerg alert crit err warning notice info debug";
    let captures = LINE.captures(line)?;
    let priority = str::from_utf8(&captures["pri"]).unwrap().parse::<usize>().unwrap();
    let facility = FACILITIES.split(' ').nth(priority / 8)?;
    let severity = SEVERITIES.split(' ').nth(priority % 8)?;
    let or_null =
        |group: &str| if &captures[group] == b"-" { Value::Null } else { Value::Text(captures.name(group).unwrap().as_bytes()) };
    let values = [
        ("timestamp", or_null("time")),
        ("hostname", or_null("host")),
        ("program", or_null("app")),
        ("processid", or_null("pid")),
        ("message", captures.name("message").map_or(Value::Absent, |message| Value::Text(message.as_bytes()))),
        ("priority", Value::Text(&captures["pri"])),
        ("facility", Value::Text(facility.as_bytes())),
        ("severity", Value::Text(severity.as_bytes())),
        ("version", Value::Text(&captures["version"])),
        ("msgid", or_null("id")),
    ];
    let values = values.iter().map(|(name, value)| (name.as_bytes().to_vec(), format!("{value:?}"))).collect();
    let object = captures.name("data").map_or(serde_json::Value::Null, |data| reference_object(data.as_bytes()));
    Some((values, object))
}

const ELEMENTS: &str = r#"(\[[ab\\]{1,2}( [ab]{1,2}="([ab\\\x01 é]|\\"){0,4}")*\]){1,4}[ x]?"#;

const PARTS: &[&[&str]] = &[
    &["<34>1 ", "<0>1 ", "<191>99 ", "<192>1 ", "<34>"],
    &["2003-10-11T22:14:15.003Z ", "- ", "Mar 12 12:00:08 "],
    &["host ", "- ", "fe80::1 "],
    &["app ", "- "],
    &["12 ", "- "],
    &["ID47 ", "- "],
    &["-", "[a]", "[a b=\"c\"]", "[a b=\"\\\"\\\\\\]\\n\" c=\"\" b=\"]\"]", "[ä@1 x=\" \"]"],
    &["", "", "[a z=\"é\"]", "[b c=\"d\"]"],
    &["", " ", " message", " \u{feff}message ", " [x]"],
];

proptest! {
    #[test]
    fn regular_expressions_find_the_same(line in lines_of(PARTS, b" []=\"\\<>-10ab\xff")) {
        prop_assert_eq!(parsed(&line), reference(&line), "{}", line.escape_ascii());
    }

    /// Any structured data is valid JSON without a name twice, or no match.
    #[test]
    fn structured_data_is_valid_json(elements in ELEMENTS.prop_map(String::into_bytes), change in any::<(prop::sample::Index, u8)>()) {
        let mut elements = elements;
        let place = change.0.index(elements.len());
        elements[place] = change.1;
        let line = [b"<34>1 - - - - - ", &elements[..]].concat();
        prop_assert_eq!(parsed(&line), reference(&line), "{}", line.escape_ascii());
    }
}
