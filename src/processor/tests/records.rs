//! What records look like.

use super::*;

const PARSE: &str = "[flow.parse]\nregex = '^(?<ip>[^ ]*) (?<user>[^ ]*) (?<path>.*)$'\n[flow.record]\n";

#[track_caller]
fn check_record(settings: &str, record: &str) {
    check(&format!("{PARSE}{settings}"), "::1 ann /a?b", record);
}

#[test]
fn fields_are_added_behind_those_of_the_line() {
    check_record("", r#"{"ip":"::1","user":"ann","path":"/a?b"}"#);
    check_record(
        "add = { env = 'prod', n = 3, f = 0.5, ok = true, list = [1, 'a'] }",
        r#"{"ip":"::1","user":"ann","path":"/a?b","env":"prod","n":3,"f":0.5,"ok":true,"list":[1,"a"]}"#,
    );
    check_record(
        "remove = ['ip', 'user', 'path']\nadd = { host = '${host.name}', path = '${file.path}', name = '${file.name}', \
         at = '${file.offset}', flow = '${flow.name}', now = '${time.now}', stage = '${env.STAGE}', id = '${ec2.instance_id}' }",
        r#"{"host":"web-1","path":"/var/log/a.log","name":"a.log","at":42,"flow":"app","now":"2026-11-21T12:00:00.500Z","stage":"test","id":"i-1"}"#,
    );
    check_record(
        "keep_only = ['ip']\nadd = { who = '${user} at ${ip}', line = '${line.text}', dollar = '$${x} $' }",
        r#"{"ip":"::1","who":"ann at ::1","line":"::1 ann /a?b","dollar":"${x} $"}"#,
    );
}

#[test]
fn what_is_not_known_is_null_and_counted() {
    let settings =
        format!("{PARSE}keep_only = []\nadd = {{ a = '${{env.NONE}}', b = '${{ec2.tags.Name}}', c = 'x${{env.NONE}}' }}");
    let (out, _, processed) = process(&settings, b"::1 ann /");
    assert_eq!(out, r#"{"a":null,"b":null,"c":"x"}"#);
    assert_eq!(processed, Processed { unknown_variables: true, ..Processed::of(Made::Record) });
}

#[test]
fn fields_are_left_out_and_renamed_in_their_places() {
    check_record("remove = ['user']", r#"{"ip":"::1","path":"/a?b"}"#);
    check_record("keep_only = ['path', 'ip']", r#"{"ip":"::1","path":"/a?b"}"#);
    check_record("rename = { user = 'who' }", r#"{"ip":"::1","who":"ann","path":"/a?b"}"#);
    // One takes the name of the other.
    check_record("rename = { user = 'ip', ip = 'user' }", r#"{"user":"::1","ip":"ann","path":"/a?b"}"#);
}

#[test]
fn a_dot_in_a_name_nests() {
    check_record(
        "rename = { ip = 'client.ip', path = 'url.path' }\nadd = { client.kind = 'v6', 'url.scheme' = 'https' }",
        r#"{"client":{"ip":"::1","kind":"v6"},"user":"ann","url":{"path":"/a?b","scheme":"https"}}"#,
    );
    check("regex = '(?<a.b>x)(?<c>y)(?<a.d>z)'", "xyz", r#"{"a":{"b":"x","d":"z"},"c":"y"}"#);
    // Of objects in which nothing is nothing is left.
    let settings = "[flow.parse]\nregex = ['^x(?<a.b>x)', '(?<c>.*)']";
    check(settings, "y", r#"{"c":"y"}"#);
}

#[test]
fn a_line_that_is_not_parsed_is_its_message() {
    check("[flow.record]\noutput = 'json'", "a b", r#"{"message":"a b"}"#);
    check("[flow.record]\nadd = { env = 'prod' }", "a b", r#"{"message":"a b","env":"prod"}"#);
    check("[flow.record]\nrename = { message = 'data' }", "a b", r#"{"data":"a b"}"#);
}

#[test]
fn a_record_can_be_text() {
    check_record("output = 'raw'", "::1 ann /a?b");
    check_record("output = 'template'\ntemplate = '${path} by ${user}'", "/a?b by ann");
    check("[flow.record]\ntemplate = '{${line.text}}'", "hello", "{hello}");
    let (_, _, processed) = process(&format!("{PARSE}output = 'raw'"), b"no-match");
    assert!(processed.mismatched);
}

#[test]
fn a_terminator_ends_every_record() {
    check("[flow.record]\nterminator = \"\\n\"", "a", "a\n");
    check_record("keep_only = ['ip']\nterminator = \"\\n\"", "{\"ip\":\"::1\"}\n");
    let (out, ..) = process(&format!("{PARSE}terminator = '|'"), b"no-match");
    assert_eq!(out, "no-match|");
}
