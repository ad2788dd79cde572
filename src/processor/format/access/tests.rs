use proptest::prelude::*;
use proptest::sample::select;
use regex::bytes::Regex;

use super::*;
use crate::config::Format;
use crate::processor::format::tests::mutations::{Values, agree, captures, group, mutated};
use crate::processor::format::tests::{check, fields_of};

const TIME: &str = r#"datetime="07/Mar/2021:18:02:55 +0100""#;

/// An Apache line with `client` in front of the time, and its host, ident and user.
#[track_caller]
fn check_client(client: &str, expected: &str) {
    let line = format!(r#"{client} [07/Mar/2021:18:02:55 +0100] "GET / HTTP/1.1" 200 5"#);
    let (client, vhost) = expected.split_once(" vhost=").unwrap_or((expected, ""));
    let vhost = if vhost.is_empty() { String::new() } else { format!(" vhost={vhost}") };
    let fields = format!(r#"{client} {TIME} request="GET / HTTP/1.1" response="200" bytes="5"{vhost}"#);
    check(&Format::ApacheCommon, &line, &fields);
    let fields = format!(r#"{client} {TIME} request="GET / HTTP/1.1" response="200" bytes="5" referer=null agent="a"{vhost}"#);
    check(&Format::ApacheCombined, &format!(r#"{line} "-" "a""#), &fields);
}

/// What an Apache line has from its request on.
#[track_caller]
fn check_rest(format: &Format, rest: &str, expected: &str) {
    let line = format!("192.0.2.7 - - [07/Mar/2021:18:02:55 +0100] {rest}");
    let expected = if expected.is_empty() {
        String::new()
    } else {
        format!(r#"host="192.0.2.7" ident=null authuser=null {TIME} {expected}"#)
    };
    check(format, &line, &expected);
}

#[test]
fn the_fields_are_named_as_those_of_the_java_agent() {
    check(
        &Format::ApacheCommon,
        r#"crawler7.example.net - - [30/Sep/2023:23:59:59 -0700] "GET /manual/index.html HTTP/1.0" 200 10450"#,
        r#"host="crawler7.example.net" ident=null authuser=null datetime="30/Sep/2023:23:59:59 -0700" request="GET /manual/index.html HTTP/1.0" response="200" bytes="10450""#,
    );
    check(
        &Format::ApacheCombined,
        r#"198.51.100.23 - ada [30/Sep/2023:23:59:59 -0700] "GET /a%20b.html?c=[d] HTTP/1.0" 304 - "https://example.com/?q=1" "Mozilla/5.0 [en] (X11; U; Linux x86_64; rv:1)""#,
        r#"host="198.51.100.23" ident=null authuser="ada" datetime="30/Sep/2023:23:59:59 -0700" request="GET /a%20b.html?c=[d] HTTP/1.0" response="304" bytes=null referer="https://example.com/?q=1" agent="Mozilla/5.0 [en] (X11; U; Linux x86_64; rv:1)""#,
    );
    check(
        &Format::NginxCombined,
        r#"198.51.100.23 - ada [30/Sep/2023:23:59:59 +0000] "GET / HTTP/2.0" 200 612 "-" "curl/8.5.0""#,
        r#"remote_addr="198.51.100.23" remote_user="ada" time_local="30/Sep/2023:23:59:59 +0000" request="GET / HTTP/2.0" status="200" body_bytes_sent="612" http_referer=null http_user_agent="curl/8.5.0""#,
    );
}

#[test]
fn clients_are_addresses_or_names() {
    for host in
        ["2001:db8::1", "::1", "[::1]:443", "::ffff:192.0.2.1", "fe80::1%eth0", "192.0.2.1:8080", "a_b.example.", "häß.example"]
    {
        check_client(&format!("{host} - -"), &format!(r#"host="{host}" ident=null authuser=null"#));
        let line = format!(r#"{host} - - [t] "GET / HTTP/1.1" 200 5 "-" "-""#);
        let fields = format!(
            r#"remote_addr="{host}" remote_user=null time_local="t" request="GET / HTTP/1.1" status="200" body_bytes_sent="5" http_referer=null http_user_agent=null"#
        );
        check(&Format::NginxCombined, &line, &fields);
    }
    check_client("- - -", "host=null ident=null authuser=null");
}

#[test]
fn users_are_what_stands_before_the_time() {
    let user =
        |user: &str, expected: &str| check_client(&format!("h - {user}"), &format!(r#"host="h" ident=null authuser={expected}"#));
    user("ada@example.com", r#""ada@example.com""#);
    user("Ada Lovelace", r#""Ada Lovelace""#);
    user("Ada [admin] Lovelace", r#""Ada [admin] Lovelace""#);
    user("a [07/Mar/2021:18:02:54 +0100] b", r#""a [07/Mar/2021:18:02:54 +0100] b""#);
    user(r#"a [t] \"GET / HTTP/1.0\" 200 1"#, r#""a [t] "GET / HTTP/1.0" 200 1""#);
    user(r"EXAMPLE\\ada", r#""EXAMPLE\ada""#);
    user("\"\"", "\"\"");
    user("", "\"\"");
    check_client("h ident ada b", r#"host="h" ident="ident" authuser="ada b""#);
    check_client("h - -", r#"host="h" ident=null authuser=null"#);
    for client in ["h -", "h", "", "h  -", " h - -"] {
        let line = format!(r#"{client} [t] "GET / HTTP/1.1" 200 5"#);
        check(&Format::ApacheCommon, &line, "");
    }
}

#[test]
fn nginx_has_a_dash_between_address_and_user() {
    let user = |user: &str, expected: &str| {
        let line = format!(r#"::1 - {user} [t] "GET / HTTP/1.1" 200 5 "-" "a" "192.0.2.1""#);
        let fields = format!(
            r#"remote_addr="::1" remote_user={expected} time_local="t" request="GET / HTTP/1.1" status="200" body_bytes_sent="5" http_referer=null http_user_agent="a""#
        );
        check(&Format::NginxCombined, &line, &fields);
    };
    user("-", "null");
    user("ada b@example.com", r#""ada b@example.com""#);
    user("", "\"\"");
    user(r"EXAMPLE\x5Cada", r#""EXAMPLE\x5Cada""#);
    for line in [r#"::1 x ada [t] "G" 200 5 "-" "a""#, r#"::1 -ada [t] "G" 200 5 "-" "a""#, r#"::1 - ada [t] "G" 200 5"#] {
        check(&Format::NginxCombined, line, "");
    }
}

#[test]
fn a_virtual_host_in_front_is_the_last_field() {
    check_client("example.com:443 192.0.2.1 - -", r#"host="192.0.2.1" ident=null authuser=null vhost="example.com:443""#);
    check_client("example.com 2001:db8::1 - a b", r#"host="2001:db8::1" ident=null authuser="a b" vhost="example.com""#);
    check_client("[::1]:80 ::1 - \"\"", r#"host="::1" ident=null authuser="" vhost="[::1]:80""#);
    check_client("2001:db8::1 - a b", r#"host="2001:db8::1" ident=null authuser="a b""#);
    check_client("h - - b", r#"host="h" ident=null authuser="- b""#);
    check_client("h ident -", r#"host="h" ident="ident" authuser=null"#);
}

#[test]
fn text_in_quotes_ends_at_a_quote_that_is_not_escaped() {
    let combined = |rest: &str, expected: &str| check_rest(&Format::ApacheCombined, rest, expected);
    combined(
        r#""GET /?q=\"a b\" HTTP/1.1" 200 5 "http://\"r\"/" "Moz \"x\" \\""#,
        r#"request="GET /?q="a b" HTTP/1.1" response="200" bytes="5" referer="http://"r"/" agent="Moz "x" \""#,
    );
    combined(r#""" 400 0 "" """#, r#"request="" response="400" bytes="0" referer="" agent="""#);
    combined(r#""-" 408 - "-" "-""#, "request=null response=\"408\" bytes=null referer=null agent=null");
    combined(
        r#""\x16\x03\x01\x02\t" 400 226 "-" "-""#,
        r#"request="\x16\x03\x01\x02\t" response="400" bytes="226" referer=null agent=null"#,
    );
    combined(r#""GET /a b c" 200 5 "-" "a"#, "");
    combined(r#""GET / HTTP/1.1" 200 5 "-" "a\"#, "");
    combined(r#""GET / HTTP/1.1" 200 5 "-" "Mozilla "x" y""#, "");
}

#[test]
fn what_is_behind_the_last_field_is_left_out() {
    let request = r#""GET / HTTP/1.1" 200 5"#;
    let (common, combined) = (
        r#"request="GET / HTTP/1.1" response="200" bytes="5""#,
        r#"request="GET / HTTP/1.1" response="200" bytes="5" referer=null agent="a""#,
    );
    check_rest(&Format::ApacheCommon, &format!(r#"{request} "-" "a" and more"#), common);
    check_rest(&Format::ApacheCommon, &format!("{request} "), common);
    check_rest(&Format::ApacheCommon, &format!("{request}\r"), common);
    check_rest(&Format::ApacheCombined, &format!(r#"{request} "-" "a" "X-Id: 7" 0.003"#), combined);
    check_rest(&Format::ApacheCombined, &format!("{request} \"-\" \"a\"\r"), combined);
    check_rest(&Format::ApacheCombined, &format!(r#"{request} "-" "a"b"#), "");
    check_rest(&Format::ApacheCombined, request, "");
}

#[test]
fn a_common_line_may_lack_its_size() {
    check_rest(&Format::ApacheCommon, r#""GET / HTTP/1.0" 200"#, r#"request="GET / HTTP/1.0" response="200""#);
    check_rest(&Format::ApacheCommon, "\"GET / HTTP/1.0\" 200\r", r#"request="GET / HTTP/1.0" response="200""#);
    check_rest(&Format::ApacheCommon, r#""GET / HTTP/1.0" -"#, r#"request="GET / HTTP/1.0" response=null"#);
    for rest in [r#""GET / HTTP/1.0""#, r#""G" OK"#, r#""G" 200 "#, r#""G" 200 5x"#, r#""G"200 5"#, r#""G" 200 "-" "a""#] {
        check_rest(&Format::ApacheCommon, rest, "");
    }
}

#[test]
fn bytes_that_are_not_utf_8_stay() {
    let fields = fields_of(&Format::ApacheCommon, b"h\xff - \xff [t\xff] \"\xff\\\"\xff\" 200 5 \xff");
    assert_eq!(
        fields.unwrap(),
        "host=\"h\u{fffd}\" ident=null authuser=\"\u{fffd}\" datetime=\"t\u{fffd}\" request=\"\u{fffd}\"\u{fffd}\" response=\"200\" bytes=\"5\""
    );
}

#[test]
fn other_lines_do_not_match() {
    for line in [
        "",
        "-",
        "\u{fffd}",
        r#"a - - [t] "#,
        r#"a - - [] "G" 200 5 "-" "a""#,
        r#"a - - t "G" 200 5 "-" "a""#,
        r#"a - -[t] "G" 200 5 "-" "a""#,
        r#"[t] "G" 200 5 "-" "a""#,
        "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] \"x\"",
        r#"{"request":"G"}"#,
    ] {
        for format in [Format::ApacheCommon, Format::ApacheCombined, Format::NginxCombined] {
            check(&format, line, "");
        }
    }
}

const SPLIT: &str = r#"(?s-u)^(?<client>.*?) \[(?<time>[^\[\]]+)\] (?<rest>".*)$"#;
const WITH_VHOST: &str = r"(?s-u)^(?<vhost>[^ ]+) (?<host>[^ -][^ ]*|-[^ ]+) (?<ident>-) (?<user>.*)$";
const WITHOUT_VHOST: &str = r"(?s-u)^(?<host>[^ ]+) (?<ident>[^ ]+) (?<user>.*)$";
const NGINX_CLIENT: &str = r"(?s-u)^(?<host>[^ ]+) - (?<user>.*)$";
const COMMON: &str = r#"(?s-u)^"(?<request>(?:[^"\\]|\\.)*)" (?<status>[0-9]+|-)(?: (?<bytes>[0-9]+|-)(?: .*)?)?$"#;
const COMBINED: &str = r#"(?s-u)^"(?<request>(?:[^"\\]|\\.)*)" (?<status>[0-9]+|-) (?<bytes>[0-9]+|-) "(?<referer>(?:[^"\\]|\\.)*)" "(?<agent>(?:[^"\\]|\\.)*)"(?: .*)?$"#;

/// What is specified: `client` are the patterns of what stands before the time, of which the first that matches counts.
fn specified<'l>(line: &'l [u8], arena: &'l Arena, client: &[&'static str], rest: &'static str, names: &[&str]) -> Values<'l> {
    let split = captures(SPLIT, line.strip_suffix(b"\r").unwrap_or(line))?;
    let part = |name: &str| split.name(name).unwrap().as_bytes();
    let client = client.iter().find_map(|pattern| captures(pattern, part("client")))?;
    let rest = captures(rest, part("rest"))?;
    let values = names.iter().map(|name| {
        let of = [&client, &split, &rest].into_iter().find(|of| of.name(name).is_some());
        let Some(Value::Text(text)) = of.map(|of| group(of, name, Value::Absent)) else { return Value::Absent };
        let is_escaped = matches!(*name, "request" | "referer" | "agent") || (*name == "user" && names.contains(&"ident"));
        match (*name, text) {
            (_, b"-") => Value::Null,
            ("user", b"\"\"") if is_escaped => Value::Text(b""),
            _ if is_escaped => {
                let plain = Regex::new(r#"(?s-u)\\(["\\])"#).unwrap().replace_all(text, &b"$1"[..]);
                Value::Text(arena.alloc_slice_copy(&plain))
            }
            _ => Value::Text(text),
        }
    });
    Some(values.collect())
}

fn common<'l>(line: &'l [u8], arena: &'l Arena) -> Values<'l> {
    let names = ["host", "ident", "user", "time", "request", "status", "bytes", "vhost"];
    specified(line, arena, &[WITH_VHOST, WITHOUT_VHOST], COMMON, &names)
}

fn combined<'l>(line: &'l [u8], arena: &'l Arena) -> Values<'l> {
    let names = ["host", "ident", "user", "time", "request", "status", "bytes", "referer", "agent", "vhost"];
    specified(line, arena, &[WITH_VHOST, WITHOUT_VHOST], COMBINED, &names)
}

fn nginx<'l>(line: &'l [u8], arena: &'l Arena) -> Values<'l> {
    let names = ["host", "user", "time", "request", "status", "bytes", "referer", "agent"];
    specified(line, arena, &[NGINX_CLIENT], COMBINED, &names)
}

fn lines() -> impl Strategy<Value = String> {
    let host = select(vec!["192.0.2.1", "2001:db8::1", "[::1]:443", "a.example", "-", "a:80 b", "a b", "a:80 -"]);
    let ident = select(vec!["-", "-", "-", "i", "\"\""]);
    let user = select(vec!["-", "ada", "\"\"", "", "a b", "- -", "a [b] c", r#"a] \"b"#, r"D\\u", r"\", "a [t] \"G\" 200 5"]);
    let time = prop_oneof![3 => Just("07/Mar/2021:18:02:55 +0100".to_owned()), 1 => "[^\\[\\]]{0,3}"];
    let text = || {
        let piece = select(vec!["", "-", "GET / HTTP/1.1", r#"\""#, r"\\", r"\x16", r"\t", "[t] ", "é", " "]);
        proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    };
    let status = select(vec!["200", "200", "304", "304", "-", "-", "4", "4", "", "2x"]);
    let end = select(vec!["", "", "", " ", " \"more\"", " more", "more", "\r", "\r\r"]);
    ((host, ident, user, time), (text(), status.clone(), status), (text(), text(), select(vec![0, 1, 2, 3, 3, 3]), end)).prop_map(
        |((host, ident, user, time), (request, status, bytes), (referer, agent, count, end))| {
            let mut line = format!(r#"{host} {ident} {user} [{time}] "{request}" {status}"#);
            for part in [format!(" {bytes}"), format!(" \"{referer}\""), format!(" \"{agent}\"")].iter().take(count) {
                line += part;
            }
            line + end
        },
    )
}

proptest! {
    #[test]
    fn lines_hold_what_the_grammar_says(line in mutated(lines())) {
        agree(apache_common, common, &line)?;
        agree(apache_combined, combined, &line)?;
        agree(nginx_combined, nginx, &line)?;
    }
}
