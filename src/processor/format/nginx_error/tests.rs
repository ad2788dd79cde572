use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::Format;
use crate::processor::format::tests::mutations::{Values, agree, captures, group, mutated};
use crate::processor::format::tests::{check, fields_of};

/// What a line has behind its time, level, process and thread.
#[track_caller]
fn check_rest(rest: &str, expected: &str) {
    let line = format!("2021/03/06 07:08:09 [error] 7#8: {rest}");
    let expected = format!(r#"time="2021/03/06 07:08:09" level="error" pid="7" tid="8" {expected}"#);
    check(&Format::NginxError, &line, &expected);
}

#[test]
fn all_parts_are_fields() {
    check_rest(
        r#"*9 open() "/srv/a" failed (2: No such file or directory), client: 192.0.2.7, server: a.example, request: "GET /a HTTP/1.1", subrequest: "/b", upstream: "http://127.0.0.1:80/a", host: "a.example", referrer: "http://b.example/""#,
        r#"connection="9" message="open() "/srv/a" failed (2: No such file or directory)" client="192.0.2.7" server="a.example" request="GET /a HTTP/1.1" subrequest="/b" upstream="http://127.0.0.1:80/a" host="a.example" referrer="http://b.example/""#,
    );
}

#[test]
fn parts_that_the_line_does_not_have_are_absent() {
    check_rest("signal process started", r#"message="signal process started""#);
    check_rest("", r#"message="""#);
    check_rest("m\r", r#"message="m""#);
    check_rest("*9 m, client: ::1", r#"connection="9" message="m" client="::1""#);
    check_rest(
        "*9 SSL_do_handshake() failed (SSL: error:0A00006C) while SSL handshaking, client: 192.0.2.7, server: [::]:443",
        r#"connection="9" message="SSL_do_handshake() failed (SSL: error:0A00006C) while SSL handshaking" client="192.0.2.7" server="[::]:443""#,
    );
    check_rest(
        "*9 m, client: unix:, server: , request: \"GET / HTTP/1.1\"\r",
        r#"connection="9" message="m" client="unix:" server="" request="GET / HTTP/1.1""#,
    );
    check_rest(r#"m, client: 2001:db8::1, server: s, host: """#, r#"message="m" client="2001:db8::1" server="s" host="""#);
    check_rest("*x m", r#"message="*x m""#);
    check_rest("*9m", r#"message="*9m""#);
}

#[test]
fn messages_may_look_like_parts() {
    let context = r#", client: 192.0.2.7, server: _, request: "G""#;
    for message in [
        "a, b: c",
        r#"FastCGI sent in stderr: "PHP message: a, "b", host: "c"" while reading response header from upstream"#,
        r#"open() "/srv/a, client: b c" failed"#,
        r#""a, client: 9, server: b" while reading"#,
        "client: 9 closed",
        "a, client: , server: b",
    ] {
        check_rest(&format!("{message}{context}"), &format!(r#"message="{message}" client="192.0.2.7" server="_" request="G""#));
    }
    for message in [
        "m, client: a b",
        "m, client: ",
        "m,client: a",
        "m, client: a, b",
        "m, client: a, server: b, c",
        "m, client: a, host: \"h\"",
    ] {
        check_rest(message, &format!(r#"message="{message}""#));
    }
}

#[test]
fn texts_in_quotes_end_where_another_part_or_nothing_follows() {
    let quoted = |text: &str, expected: &str| {
        check_rest(&format!("m, client: a, server: b{text}"), &format!(r#"message="m" client="a" server="b" {expected}"#));
    };
    for text in ["", r#"GET /?a="b"&c"#, r#"a", b"#, r#"a","#, r#"""#, "a, host: b", r#"a", Host: "b"#, r"\x16\"] {
        quoted(&format!(r#", request: "{text}""#), &format!(r#"request="{text}""#));
        quoted(&format!(r#", request: "{text}", host: "h""#), &format!(r#"request="{text}" host="h""#));
        quoted(&format!(r#", host: "h", referrer: "{text}""#), &format!(r#"host="h" referrer="{text}""#));
    }
    quoted(r#", host: "h", referrer: "r", host: "x", client: y"#, r#"host="h" referrer="r" rest="host: "x", client: y""#);
    quoted(r#", referrer: ", client: c, server: d", host: "h""#, r#"referrer=", client: c, server: d" rest="host: "h"""#);
}

#[test]
fn what_follows_the_parts_is_the_rest() {
    check_rest(
        r#"*9 upstream timed out while connecting to upstream, udp client: 192.0.2.7, server: 0.0.0.0:53, upstream: "127.0.0.1:53", bytes from/to client:0/0, bytes from/to upstream:0/12"#,
        r#"connection="9" message="upstream timed out while connecting to upstream" client="192.0.2.7" server="0.0.0.0:53" upstream="127.0.0.1:53" rest="bytes from/to client:0/0, bytes from/to upstream:0/12""#,
    );
    check_rest(
        r#"*9 m, client: 192.0.2.7, server: 0.0.0.0:143, login: "ada", upstream: 127.0.0.1:143"#,
        r#"connection="9" message="m" client="192.0.2.7" server="0.0.0.0:143" rest="login: "ada", upstream: 127.0.0.1:143""#,
    );
    check_rest(
        r#"*9 m, client: 192.0.2.7, server: s, request: "G", host: "h", request_id: "0a1b""#,
        r#"connection="9" message="m" client="192.0.2.7" server="s" request="G" host="h" rest="request_id: "0a1b"""#,
    );
}

#[test]
fn lines_that_are_cut_lack_their_last_quote() {
    check_rest(
        r#"m, client: a, server: b, request: "G", referrer: "http://a"#,
        r#"message="m" client="a" server="b" request="G" referrer="http://a""#,
    );
    check_rest(
        r#"m, client: a, server: b, request: "G", referrer: ""#,
        r#"message="m" client="a" server="b" request="G" referrer="""#,
    );
}

#[test]
fn bytes_that_are_not_utf_8_stay() {
    let fields =
        fields_of(&Format::NginxError, b"2021/03/06 07:08:09 [warn] 7#8: \xff, client: \xff, server: \xff, request: \"\xff\"");
    let expected = "time=\"2021/03/06 07:08:09\" level=\"warn\" pid=\"7\" tid=\"8\" message=\"\u{fffd}\" client=\"\u{fffd}\" server=\"\u{fffd}\" request=\"\u{fffd}\"";
    assert_eq!(fields.unwrap(), expected);
}

#[test]
fn other_lines_do_not_match() {
    for line in [
        "",
        "nginx: [emerg] invalid number of arguments",
        "2021/03/06 07:08:09",
        "2021-03-06 07:08:09 [error] 7#8: m",
        "2021/03/06 07:08:09 error 7#8: m",
        "2021/03/06 07:08:09 [] 7#8: m",
        "2021/03/06 07:08:09 [Error] 7#8: m",
        "2021/03/06 07:08:09 [error] 7: m",
        "2021/03/06 07:08:09 [error] 7#: m",
        "2021/03/06 07:08:09 [error] 7#8:m",
        "2021/03/06 07:08:09 [error] m",
        " 2021/03/06 07:08:09 [error] 7#8: m",
    ] {
        check(&Format::NginxError, line, "");
    }
}

const LINE: &str = concat!(
    r"(?s-u)^(?<time>[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) \[(?<level>[a-z]+)\] (?<pid>[0-9]+)#(?<tid>[0-9]+): ",
    r"(?:\*(?<connection>[0-9]+) )?(?<message>.*?)",
    r#"(?:, (?:udp )?client: (?<client>[^ ,"]+)(?:, server: (?<server>[^,"]*)"#,
    r#"(?:, request: "(?<request>.*?)(?:"|$))?(?:, subrequest: "(?<subrequest>.*?)(?:"|$))?"#,
    r#"(?:, upstream: "(?<upstream>.*?)(?:"|$))?(?:, host: "(?<host>.*?)(?:"|$))?(?:, referrer: "(?<referrer>.*?)(?:"|$))?"#,
    r"(?:, (?<rest>[a-z][a-z0-9_/ ]*:.*))?)?)?$",
);

fn specified<'l>(line: &'l [u8], _arena: &'l Arena) -> Values<'l> {
    let captures = captures(LINE, line.strip_suffix(b"\r").unwrap_or(line))?;
    Some(FIELDS.iter().map(|name| group(&captures, name, Value::Absent)).collect())
}

fn lines() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "m",
        "a \"b\"",
        ",",
        ", ",
        "\", ",
        ", client: 9",
        ", server: _",
        ", host: \"h",
        "\", host: \"",
        "\", x: y",
        ", udp client: ",
        "\"",
        "é",
    ]);
    let text = move || proptest::collection::vec(piece.clone(), 0..4).prop_map(|pieces| pieces.concat());
    let connection = select(vec!["", "*9 ", "*9", "*", "*x "]);
    let client =
        select(vec!["", ", client: ::1", ", client: 192.0.2.7", ", udp client: a", ", client: a b", ", client: ", "client: a"]);
    let server = select(vec!["", ", server: ", ", server: a.example", ", server: [::]:80", ", server: a,b", ", server: \"a\""]);
    let names = ["request", "subrequest", "upstream", "host", "referrer", "request", "login"];
    let parts = proptest::sample::subsequence(names.to_vec(), 0..names.len());
    let part = (parts, proptest::collection::vec(text(), names.len()));
    let end = select(vec!["", "", "\"", ", bytes from/to client:0/0", ", Id: a", "\r"]);
    (connection, text(), client, server, part, end).prop_map(|(connection, message, client, server, (names, texts), end)| {
        let mut line = format!("2021/03/06 07:08:09 [error] 7#8: {connection}{message}{client}{server}");
        for (name, text) in names.iter().zip(texts) {
            line += &format!(", {name}: \"{text}\"");
        }
        line + end
    })
}

proptest! {
    #[test]
    fn lines_hold_what_the_grammar_says(line in mutated(lines())) {
        agree(parse, specified, &line)?;
    }
}
