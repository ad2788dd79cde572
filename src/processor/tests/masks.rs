//! What nobody shall read leaves the process in no way.

use super::*;

/// Record and key, and how many places were masked.
fn masked(settings: &str, line: &str) -> (String, String, u32) {
    let (out, key, processed) = process(settings, line.as_bytes());
    (out, key, processed.masks)
}

#[track_caller]
fn check_masked(settings: &str, line: &str, record: &str, count: u32) {
    let (out, _, masks) = masked(settings, line);
    assert_eq!((out.as_str(), masks), (record, count), "{settings}: {line}");
}

#[test]
fn in_every_value() {
    let settings = "[flow.parse]\nformat = 'logfmt'\n[flow.record]\nmask = ['email', { pattern = '[0-9]{6}', with = '#' }]";
    check_masked(
        settings,
        "user=ann@example.com id=x123456y note=\"to bob@example.org\"",
        r##"{"user":"***","id":"x#y","note":"to ***"}"##,
        3,
    );
    check_masked(settings, "user=ann", r#"{"user":"ann"}"#, 0);
}

#[test]
fn in_some_fields() {
    let settings =
        "[flow.parse]\nregex = '^(?<a>[^ ]*) (?<b>.*)$'\n[flow.record]\nmask = [{ pattern = '[0-9]+', fields = ['b'] }]";
    check_masked(settings, "12 x34", r#"{"a":"12","b":"x***"}"#, 1);
    // Nobody knows what of a line that does not match is which field.
    check_masked(settings, "12", "***", 1);
}

#[test]
fn inside_of_objects_and_numbers() {
    let settings = "[flow.parse]\nformat = 'json'\n[flow.record]\nmask = ['card', 'email']";
    check_masked(
        settings,
        r#"{"n": 4111111111111111, "a": {"b": ["ann@example.com", 4111111111111111, 7]}, "c": "ann\u0040example.com"}"#,
        r#"{"n":"***","a":{"b":["***","***",7]},"c":"***"}"#,
        4,
    );
    let nested = "[flow.parse]\nformat = 'json'\n[flow.record]\nmask = [{ pattern = '.+', fields = ['user.name', 'x'] }]";
    check_masked(
        nested,
        r#"{"user": {"name": "ann", "named": "b", "n": 1}, "x": {"y": "z"}, "other": {"user": {"name": "c"}}}"#,
        r#"{"user":{"name":"***","named":"b","n":1},"x":{"y":"***"},"other":{"user":{"name":"c"}}}"#,
        2,
    );
}

/// The name is the field's then, and no part of the value.
#[test]
fn what_is_known_by_its_name() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let session = "IQoJb3JpZ2luX2VjEJz//wEaCXVzLWVhc3QtMSJHMEUCIQDx+abc==";
    let settings = |format: &str| format!("[flow.parse]\n{format}\n[flow.record]\nmask = ['bearer', 'aws_keys']");
    let json = settings("format = 'json'");
    for (line, record, count) in [
        (
            format!(r#"{{"authorization":"Basic dXNlcjpwYXNz","access_token":"opaque123","aws_secret_access_key":"{secret}"}}"#),
            r#"{"authorization":"Basic ***","access_token":"***","aws_secret_access_key":"***"}"#,
            3,
        ),
        (
            r#"{"headers":{"Authorization":"Basic dXNlcjpwYXNz","Proxy-Authorization":["bearer x:y","Basic z"]}}"#.to_owned(),
            r#"{"headers":{"Authorization":"Basic ***","Proxy-Authorization":["bearer ***","Basic ***"]}}"#,
            3,
        ),
        (
            format!(r#"{{"c":[{{"SecretAccessKey":"{secret}","SessionToken":"{session}"}}],"SECRET-KEY":" {secret}"}}"#),
            r#"{"c":[{"SecretAccessKey":"***","SessionToken":"***"}],"SECRET-KEY":" ***"}"#,
            3,
        ),
        (
            format!(r#"{{"x-amz-security-token":"{session}","accessToken":123456,"access-token":"Bearer a|b.c"}}"#),
            r#"{"x-amz-security-token":"***","accessToken":"***","access-token":"Bearer ***"}"#,
            3,
        ),
        // None:
        (
            format!(r#"{{"key":"{secret}","authorization":{{"x":"Basic dXNlcjpwYXNz"}},"secret_key":"{secret}A"}}"#),
            &format!(r#"{{"key":"{secret}","authorization":{{"x":"Basic dXNlcjpwYXNz"}},"secret_key":"{secret}A"}}"#),
            0,
        ),
        (
            r#"{"authorization":"failed","access_token":null,"a":{"access_token":true},"session_token":"short"}"#.to_owned(),
            r#"{"authorization":"failed","access_token":null,"a":{"access_token":true},"session_token":"short"}"#,
            0,
        ),
    ] {
        check_masked(&json, &line, record, count);
    }
    check_masked(
        &settings("format = 'logfmt'"),
        &format!("Authorization=\"Basic x\" access_token=short secret_key={secret}"),
        r#"{"Authorization":"Basic ***","access_token":"***","secret_key":"***"}"#,
        3,
    );
    check_masked(
        &settings("format = 'ltsv'"),
        &format!("authorization:Basic x\tsession_token:{session}"),
        r#"{"authorization":"Basic ***","session_token":"***"}"#,
        2,
    );
    check_masked(
        &settings("format = 'csv'\ncolumns = ['Access key ID', 'Secret access key']"),
        &format!("AKIAIOSFODNN7EXAMPLE,{secret}"),
        r#"{"Access key ID":"***","Secret access key":"***"}"#,
        2,
    );
}

/// A short value may have a long mask, and a line very many values.
#[test]
fn no_more_of_them_than_a_record_can_hold() {
    let settings =
        format!("[flow.parse]\nformat = 'json'\n[flow.record]\nmask = [{{ pattern = 'a', with = '{}' }}]", "*".repeat(100));
    let list = |count: usize| format!(r#"{{"l":[[1],{}]}}"#, vec![r#""a""#; count].join(","));
    let (out, _, masks) = masked(&settings, &list(1000));
    assert_eq!((out.len(), masks), (1000 * 103 + r#"{"l":[[1],]}"#.len() - 1, 1000));
    check_masked(&settings, &list(100_000), &format!(r#"{{"l":"{}"}}"#, "*".repeat(100)), 1);
}

#[test]
fn in_typed_values() {
    let settings = "[flow.parse]\nregex = '^(?<n>.*)$'\ntypes = { n = 'integer' }\n[flow.record]\nmask = ['card']";
    check_masked(settings, "4111111111111111", r#"{"n":"***"}"#, 1);
    check_masked(settings, "4111111111111112", r#"{"n":4111111111111112}"#, 0);
}

#[test]
fn in_lines_that_go_as_they_are() {
    check_masked("[flow.record]\nmask = ['email']", "to ann@example.com", "to ***", 1);
    check_masked("[flow.record]\nmask = ['email']\ntemplate = '> ${line.text}'", "to ann@example.com", "> to ***", 1);
    let on_mismatch = |on_mismatch: &str| {
        format!("[flow.parse]\nregex = '(?<a>never)'\non_mismatch = '{on_mismatch}'\n[flow.record]\nmask = ['email']")
    };
    check_masked(&on_mismatch("send_raw"), "to ann@example.com", "to ***", 1);
    check_masked(&on_mismatch("wrap"), "to ann@example.com", r#"{"message":"to ***","error":"no match"}"#, 1);
}

#[test]
fn in_partition_keys_and_what_is_added() {
    let settings = "[flow.parse]\nregex = '^(?<user>[^ ]*) (?<b>.*)$'\n[flow.record]\nmask = ['email']\n\
                    add = { copy = '${user}', line = '${line.text}' }\n[flow.kinesis]\npartition_key = '${user}'";
    let (out, key, masks) = masked(settings, "ann@example.com x");
    assert_eq!(out, r#"{"user":"***","b":"x","copy":"***","line":"*** x"}"#);
    // All that is masked would be one key, and all on one shard.
    assert_eq!((key.as_str(), masks), ("", 1));
}

/// Also of a line that is not of the format.
#[test]
fn in_the_partition_key_of_a_mismatch() {
    let settings =
        "[flow.parse]\nregex = '(?<a>never)'\n[flow.record]\nmask = ['email']\n[flow.kinesis]\npartition_key = '${line.text}'";
    let (_, key, processed) = process(settings, b"to ann@example.com");
    assert_eq!((key.as_str(), processed.key_missing), ("", true));
    let (_, key, processed) = process(settings, b"to ann");
    assert_eq!((key.as_str(), processed.key_missing), ("to ann", false));
}

/// Conditions see what is masked later: nothing leaves the process by them.
#[test]
fn not_before_conditions() {
    let settings = "[flow.parse]\nregex = '^(?<user>.*)$'\n[flow.filter]\nkeep = [{ field = 'user', matches = '@example.com$' }]\n\
                    [flow.record]\nmask = ['email']";
    check_masked(settings, "ann@example.com", r#"{"user":"***"}"#, 1);
    assert_eq!(process(settings, b"ann@example.org").2.made, Made::Dropped(DropReason::NotKept));
}
