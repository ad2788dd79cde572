use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::Format;
use crate::processor::format::tests::mutations::{Values, agree, captures, group, mutated};
use crate::processor::format::tests::{check, fields_of};

/// What a line has behind `[Sat Mar 06 ...] [ssl:warn]`.
#[track_caller]
fn check_rest(rest: &str, expected: &str) {
    let line = format!("[Sat Mar 06 07:08:09.123456 2021] [ssl:warn]{rest}");
    let expected = format!(r#"timestamp="Sat Mar 06 07:08:09.123456 2021" module="ssl" severity="warn" {expected}"#);
    check(&Format::ApacheError, &line, &expected);
}

#[test]
fn the_fields_are_named_as_those_of_the_java_agent() {
    check(
        &Format::ApacheError,
        "[Sat Mar 06 07:08:09.123456 2021] [core:error] [pid 4711:tid 139641] [client 192.0.2.7:50444] AH00126: Invalid URI in request, referer: http://a.example/",
        r#"timestamp="Sat Mar 06 07:08:09.123456 2021" module="core" severity="error" processid="4711" threadid="139641" client="192.0.2.7:50444" message="AH00126: Invalid URI in request, referer: http://a.example/""#,
    );
    check(
        &Format::ApacheError,
        "[Sat Mar  6 07:08:09 2021] [error] [client 192.0.2.7] File does not exist: /srv/www/favicon.ico",
        r#"timestamp="Sat Mar  6 07:08:09 2021" module=null severity="error" processid=null threadid=null client="192.0.2.7" message="File does not exist: /srv/www/favicon.ico""#,
    );
}

#[test]
fn what_is_missing_is_null() {
    let client = "client=\"192.0.2.7\" message=\"m\"";
    check_rest(" [pid 7:tid 8] [client 192.0.2.7] m", &format!(r#"processid="7" threadid="8" {client}"#));
    check_rest(" [pid 7] [client 192.0.2.7] m", &format!(r#"processid="7" threadid=null {client}"#));
    check_rest(" [client 192.0.2.7] m", &format!(r#"processid=null threadid=null {client}"#));
    check_rest(" [pid 7:tid 8] AH01: m", r#"processid="7" threadid="8" client=null message="AH01: m""#);
    check_rest(" m", r#"processid=null threadid=null client=null message="m""#);
    check_rest(" [pid 7:tid 8] ", r#"processid="7" threadid="8" client=null message="""#);
    check_rest(" [pid 7:tid 8]", r#"processid="7" threadid="8" client=null message="""#);
    check_rest("", r#"processid=null threadid=null client=null message="""#);
    check_rest(" [pid 7] [client 192.0.2.7]", r#"processid="7" threadid=null client="192.0.2.7" message="""#);
    check_rest(" m\r", r#"processid=null threadid=null client=null message="m""#);
    check_rest(" [pid x] m", r#"processid=null threadid=null client=null message="[pid x] m""#);
    check_rest(" [pid 7]m", r#"processid=null threadid=null client=null message="[pid 7]m""#);
}

#[test]
fn modules_and_severities_stand_in_the_second_brackets() {
    let level = |level: &str, module: &str, severity: &str| {
        check(
            &Format::ApacheError,
            &format!("[2021-03-06 07:08:09] [{level}] m"),
            &format!(
                r#"timestamp="2021-03-06 07:08:09" module={module} severity="{severity}" processid=null threadid=null client=null message="m""#
            ),
        );
    };
    level("mpm_event:notice", "\"mpm_event\"", "notice");
    level("http2:trace8", "\"http2\"", "trace8");
    level("crit", "null", "crit");
    level(":error", "null", "error");
    level("-:error", "null", "error");
}

#[test]
fn clients_are_addresses_with_or_without_a_port() {
    for client in
        ["192.0.2.7", "192.0.2.7:50444", "2001:db8::1", "2001:db8::1:50444", "[::1]:443", "::ffff:192.0.2.1", "a.example"]
    {
        check_rest(
            &format!(" [pid 7] [client {client}] [client b] m"),
            &format!(r#"processid="7" threadid=null client="{client}" message="[client b] m""#),
        );
    }
    for rest in ["[remote 192.0.2.7:80] m", "[client 192.0.2.7", "[client ] m", "[client a b] m", "[client a]m", "x [client a] m"]
    {
        check_rest(&format!(" [pid 7] {rest}"), &format!(r#"processid="7" threadid=null client=null message="{rest}""#));
    }
}

#[test]
fn an_error_of_the_system_may_stand_before_or_behind_the_client() {
    for error in [
        "(13)Permission denied: ",
        "(OS 10054)An existing connection was forcibly closed by the remote host.  : ",
        "(EAI 2)Name or service not known: ",
        "(-3)Unknown resolver error: ",
        "(20014)Internal error (specific information not available): ",
        "mod_deflate.c(615): ",
        "util_ldap.c(3): (2)No such file or directory: ",
    ] {
        let expected = format!(r#"processid="7" threadid=null client="::1:5" message="{error}AH00035: m [x]""#);
        check_rest(&format!(" [pid 7] {error}[client ::1:5] AH00035: m [x]"), &expected);
        check_rest(&format!(" [pid 7] [client ::1:5] {error}AH00035: m [x]"), &expected);
        let without = format!("{error}AH00035: m [client x] y");
        check_rest(&format!(" [pid 7] {without}"), &format!(r#"processid="7" threadid=null client=null message="{without}""#));
    }
    for rest in
        ["(x)y: [client a] m", "(1)y [client a] m", "a b(1): [client a] m", "(1)a[b]: [client a] m", "a(1): b: [client a] m"]
    {
        check_rest(&format!(" {rest}"), &format!(r#"processid=null threadid=null client=null message="{rest}""#));
    }
}

#[test]
fn bytes_that_are_not_utf_8_stay() {
    let fields = fields_of(&Format::ApacheError, b"[\xff07:08:09] [\xff:error] (1)\xff: [client \xff] \xff\\\"");
    let expected = "timestamp=\"\u{fffd}07:08:09\" module=\"\u{fffd}\" severity=\"error\" processid=null threadid=null client=\"\u{fffd}\" message=\"(1)\u{fffd}: \u{fffd}\\\"\"";
    assert_eq!(fields.unwrap(), expected);
}

#[test]
fn other_lines_do_not_match() {
    for line in [
        "",
        "[",
        "AH00558: apache2: Could not reliably determine the server's fully qualified domain name",
        "[07:08:09]",
        "[07:08:09] m",
        "[07:08:09] [error",
        "[07:08:09] [error]m",
        "[07:08:09] [] m",
        "[07:08:09] [core:] m",
        "[07:08:09] [a b] m",
        "[07:08:09] [a b:error] m",
        "[07:08:09][error] m",
        "[Sat Mar 06] [error] m",
        "192.0.2.7 - - [06/Mar/2021:07:08:09 +0000] \"GET / HTTP/1.1\" 200 5",
    ] {
        check(&Format::ApacheError, line, "");
    }
}

const LINE: &str = concat!(
    r"(?s-u)^\[(?<timestamp>[^\]]*[0-9]{2}:[0-9]{2}:[0-9]{2}[^\]]*)\]",
    r" \[(?:(?<module>[^\] :]*):)?(?<severity>[0-9A-Za-z]+)\]",
    r"(?: \[pid (?<process>[0-9]+)(?::tid (?<thread>[0-9]+))?\])?",
    r"(?: (?:(?<before>(?:[^ (\[]+\([0-9]+\): )?(?:\([^()\[]*[0-9A-Fa-f]\)[^\[]*: )?)\[client (?<client>[^ ]+)\](?: |$))?",
    r"(?<message>.*))?$",
);

fn specified<'l>(line: &'l [u8], arena: &'l Arena) -> Values<'l> {
    let captures = captures(LINE, line.strip_suffix(b"\r").unwrap_or(line))?;
    let text = |name: &str| group(&captures, name, Value::Null);
    let null = |value: Value<'l>| if matches!(value, Value::Text(b"" | b"-")) { Value::Null } else { value };
    let bytes = |name: &str| captures.name(name).map_or(&b""[..], |group| group.as_bytes());
    let message = [bytes("before"), bytes("message")].concat();
    Some(vec![
        text("timestamp"),
        null(text("module")),
        text("severity"),
        text("process"),
        text("thread"),
        null(text("client")),
        Value::Text(arena.alloc_slice_copy(&message)),
    ])
}

fn lines() -> impl Strategy<Value = String> {
    let timestamp = select(vec![
        "Sat Mar 06 07:08:09.123456 2021",
        "Sat Mar  6 07:08:09 2021",
        "2021-03-06 07:08:09",
        "07:08:09",
        "7:08",
        "",
    ]);
    let level = select(vec![
        "core:error",
        "ssl:warn",
        "php7:notice",
        "http2:trace8",
        "error",
        ":error",
        "-:error",
        "a:b:c",
        "core:",
        "a b:c",
        "",
    ]);
    let process =
        select(vec!["", "", " [pid 1]", " [pid 1:tid 2]", " [pid 1:tid 2]", " [pid 1:tid ]", " [pid ]", " [pid 1:tid x]"]);
    let error = select(vec![
        "",
        "",
        "(13)Denied: ",
        "(OS 1)a (b): ",
        "(x)y: ",
        "a.c(5): ",
        "a.c(5): (2)No: ",
        "a.c(5): x: ",
        "(0xAf)[: ",
        "(",
    ]);
    let client = select(vec![
        "",
        "[client ::1] ",
        "[client ::1] ",
        "[client [::1]:5]",
        "[client -] ",
        "[client a b] ",
        "[client ] ",
        "[remote a] ",
    ]);
    let message = prop_oneof![Just("AH00035: m, referer: http://a".to_owned()), "[\\[\\]() :a1é]{0,6}"];
    let end = select(vec!["", "", "\r"]);
    (timestamp, level, process, error, client, message, end).prop_map(
        |(timestamp, level, process, error, client, message, end)| {
            format!("[{timestamp}] [{level}]{process} {error}{client}{message}{end}")
        },
    )
}

proptest! {
    #[test]
    fn lines_hold_what_the_grammar_says(line in mutated(lines())) {
        agree(parse, specified, &line)?;
    }
}
