use std::sync::LazyLock;

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::config::Format;
use crate::processor::fields::Field;
use crate::processor::format::tests::{check_fields, fields_of, lines_of};

#[track_caller]
fn check(line: &str, expected: &str) {
    crate::processor::format::tests::check(&Format::SyslogRfc3164, line, expected);
}

/// That the fields from the host on are `expected`, behind any time.
#[track_caller]
fn check_rest(rest: &str, expected: &str) {
    check(&format!("Mar 12 12:00:08 {rest}"), &format!("timestamp=\"Mar 12 12:00:08\" {expected}"));
}

#[test]
fn programs_with_and_without_a_number() {
    check(
        "Mar 12 12:00:08 web7 updated[308]: 12 packages in 'main|351' (0.018 seconds) ",
        r#"timestamp="Mar 12 12:00:08" hostname="web7" program="updated" processid="308" message="12 packages in 'main|351' (0.018 seconds) ""#,
    );
    check_rest("a dhclient: bound to 10.0.0.9", r#"hostname="a" program="dhclient" processid=null message="bound to 10.0.0.9""#);
    check_rest("a systemd[1]: Started.", r#"hostname="a" program="systemd" processid="1" message="Started.""#);
    check_rest("a postfix/smtpd[7]: x", r#"hostname="a" program="postfix/smtpd" processid="7" message="x""#);
    check_rest("a CRON(pam_unix)[3]: x", r#"hostname="a" program="CRON(pam_unix)" processid="3" message="x""#);
    check_rest("a (sd-pam)[12]: x", r#"hostname="a" program="(sd-pam)" processid="12" message="x""#);
    check_rest("a pam_unix(sshd:auth): x", r#"hostname="a" program="pam_unix(sshd:auth)" processid=null message="x""#);
    check_rest("a kernel: [12345.678] x: y", r#"hostname="a" program="kernel" processid=null message="[12345.678] x: y""#);
    check_rest("a kernel[0]: x", r#"hostname="a" program="kernel" processid="0" message="x""#);
    check_rest("a app[web.1]: x", r#"hostname="a" program="app" processid="web.1" message="x""#);
    check_rest("a app[]: x", r#"hostname="a" program="app" processid=null message="x""#);
    check_rest("a Foo::Bar: x", r#"hostname="a" program="Foo::Bar" processid=null message="x""#);
    check_rest("a %ASA-6-302013: x", r#"hostname="a" program="%ASA-6-302013" processid=null message="x""#);
    check_rest("a [x]: y", r#"hostname="a" program="[x]" processid=null message="y""#);
    check_rest("a Some Helper (GPU)[9]: x: y", r#"hostname="a" program="Some Helper (GPU)" processid="9" message="x: y""#);
    check_rest(
        "a launchd[1] (net.example.a[42]): exited",
        r#"hostname="a" program="launchd" processid="1" message="(net.example.a[42]): exited""#,
    );
    check_rest("a app[7]:x: y", r#"hostname="a" program="app" processid="7" message="x: y""#);
}

#[test]
fn messages_without_a_program() {
    let no_program = |message: &str| format!("hostname=\"a\" program=null processid=null message=\"{message}\"");
    for message in [
        "last message repeated 2 times",
        "--- last message repeated 1 time ---",
        "-- MARK --",
        "message repeated 2 times: [ x[1]: y]",
        "no such file: x",
        "http://example.org/ is down",
        "at 12:00:00",
        ": x",
        " x[1]: y",
        "a name of more than 32 bytes, sure[1]: y",
        "[1]",
        "",
    ] {
        check_rest(&format!("a {message}"), &no_program(message));
    }
    check_rest("a", &no_program(""));
    check_rest(
        "a sshd[5]: message repeated 2 times: [ x]",
        r#"hostname="a" program="sshd" processid="5" message="message repeated 2 times: [ x]""#,
    );
}

#[test]
fn a_message_is_kept_as_it_is() {
    let of_p = |message: &str| format!("hostname=\"a\" program=\"p\" processid=null message=\"{message}\"");
    for message in ["", " ", "  two before", "behind  ", "a: b: c", "\ttab\u{1}", "#012 ä 🦀"] {
        check_rest(&format!("a p: {message}"), &of_p(message));
    }
    check_rest("a p:", &of_p(""));
    check_rest("a p[1]:", r#"hostname="a" program="p" processid="1" message="""#);
    check_rest("a p[1]", r#"hostname="a" program="p" processid="1" message="""#);
}

#[test]
fn hosts_and_none() {
    let program = r#"program="p" processid=null message="x""#;
    for host in ["ip-10-0-0-1", "10.0.0.1", "a.example.org", "fe80::1%eth0", "fe80::", "[::1]", "(none)", "s_net@a/b", "_", "ä"]
    {
        check_rest(&format!("{host} p: x"), &format!("hostname=\"{host}\" {program}"));
    }
    check_rest("- p: x", &format!("hostname=null {program}"));
    check_rest(" p: x", &format!("hostname=null {program}"));
    check_rest("p: x", &format!("hostname=null {program}"));
    check_rest("p[1]: x", r#"hostname=null program="p" processid="1" message="x""#);
    check_rest("p[1]:x", r#"hostname=null program="p" processid="1" message="x""#);
    check_rest("p[1] x", r#"hostname=null program="p" processid="1" message="x""#);
    for message in ["last message repeated 2 times", "message repeated 2 times: [ x]"] {
        check_rest(message, &format!("hostname=null program=null processid=null message=\"{message}\""));
    }
}

#[test]
fn times() {
    for time in [
        "Mar 12 12:00:08",
        "Mar  2 12:00:08",
        "Mar 2 12:00:08",
        "Mar 02 12:00:08",
        "Mar 12 12:00:08.123",
        "2026 Mar 12 12:00:08",
        "Mar 12 2026 12:00:08",
        "Mar  2 2026 12:00:08",
        "2017-07-01T12:34:56.789Z",
        "2017-07-01T12:34:56Z",
        "2017-07-01T12:34:56.789012+09:00",
        "2017-07-01T12:34:56+0900",
        "2017-07-01T12:34:56-08",
        "2017-07-01T12:34:56",
        "2017-07-01 12:34:56-08",
    ] {
        let rest = r#"hostname="a" program="sshd" processid="42" message="hi""#;
        check(&format!("{time} a sshd[42]: hi"), &format!("timestamp=\"{time}\" {rest}"));
        check(&format!("{time}: a sshd[42]: hi"), &format!("timestamp=\"{time}\" {rest}"));
        check(
            &format!("<38>{time} a sshd[42]: hi"),
            &format!("timestamp=\"{time}\" {rest} priority=\"38\" facility=\"auth\" severity=\"info\""),
        );
    }
    for time in [
        "Mrz 12 12:00:08",
        "mar 12 12:00:08",
        "Mar 123 12:00:08",
        "Mar   2 12:00:08",
        "Mar  12 12:00:08",
        "Mar 12 12:00",
        "Mar 12 1:00:08",
        "Mar 12 12:00:08.",
        "Thu Mar 12 12:00:08 2026",
        "12/Mar/2026:12:00:08",
        "2017-07-01",
        "2017-7-1T12:34:56Z",
        "2017-07-01T12:34:56+9",
        "1500000000",
        " Mar 12 12:00:08",
        "",
    ] {
        check(&format!("{time} a sshd[42]: hi"), "");
    }
    for line in ["Mar 12 12:00:08", "Mar 12 12:00:08 ", "Mar 12 12:00:08a b: c", "<38>", ""] {
        check(line, "");
    }
}

#[test]
fn levels() {
    let rest = r#"timestamp="Mar 12 12:00:08" hostname="a" program="p" processid=null message="x""#;
    for (line, level) in [
        ("<0>Mar 12 12:00:08 a p: x", r#"priority="0" facility="kern" severity="emerg""#),
        ("<34>Mar 12 12:00:08 a p: x", r#"priority="34" facility="auth" severity="crit""#),
        ("<034>Mar 12 12:00:08 a p: x", r#"priority="034" facility="auth" severity="crit""#),
        ("<86> Mar 12 12:00:08 a p: x", r#"priority="86" facility="authpriv" severity="info""#),
        ("<191>Mar 12 12:00:08 a p: x", r#"priority="191" facility="local7" severity="debug""#),
        ("Mar 12 12:00:08 <3.6> a p: x", r#"facility="daemon" severity="info""#),
        ("Mar 12 12:00:08 <user.notice> a p: x", r#"facility="user" severity="notice""#),
        ("Mar 12 12:00:08 <security.err> a p: x", r#"facility="security" severity="err""#),
        ("Mar 12 12:00:08 a daemon.warn p: x", r#"facility="daemon" severity="warning""#),
        ("Mar 12 12:00:08 a cron.error p: x", r#"facility="cron" severity="err""#),
        ("<34>Mar 12 12:00:08 a cron.panic p: x", r#"priority="34" facility="cron" severity="emerg""#),
    ] {
        check(line, &format!("{rest} {level}"));
    }
    for line in [
        "<192>Mar 12 12:00:08 a p: x",
        "<999>Mar 12 12:00:08 a p: x",
        "<1000>Mar 12 12:00:08 a p: x",
        "<>Mar 12 12:00:08 a p: x",
        "<3a>Mar 12 12:00:08 a p: x",
        "<34Mar 12 12:00:08 a p: x",
        "<34>  Mar 12 12:00:08 a p: x",
        "<34>1 2003-10-11T22:14:15.003Z a p - ID47 - x",
        "<34>a p: x",
    ] {
        check(line, "");
    }
    // Neither of these is a level.
    check_rest("<24.6> p: x", r#"hostname="<24.6>" program="p" processid=null message="x""#);
    check_rest("mail.info p: x", r#"hostname="mail.info" program="p" processid=null message="x""#);
    check_rest("a daemon.high: x", r#"hostname="a" program="daemon.high" processid=null message="x""#);
    check_rest("a daemon.info", r#"hostname="a" program=null processid=null message="daemon.info""#);
}

#[test]
fn bytes_that_are_not_utf8_stay() {
    let line = b"Mar 12 12:00:08 h\xff p\xfe[1]: m\xfd";
    let fields = [Value::Text(b"Mar 12 12:00:08"), Value::Text(b"h\xff"), Value::Text(b"p\xfe"), Value::Text(b"1")];
    let fields = fields.into_iter().chain([Value::Text(b"m\xfd"), Value::Absent, Value::Absent, Value::Absent]);
    let fields: Vec<_> = FIELDS.iter().zip(fields).map(|(name, value)| Field { name: name.as_bytes(), value }).collect();
    check_fields(&Format::SyslogRfc3164, line, Some(&fields));
    assert_eq!(fields_of(&Format::SyslogRfc3164, b"\xffMar 12 12:00:08 a b: c"), None);
}

const NAMES: &str = "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|ntp|audit|alert|clock|\
    local0|local1|local2|local3|local4|local5|local6|local7";
const SEVERITY_NAMES: &str = "emerg|alert|crit|err|warning|notice|info|debug";

static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    let bsd = "(?:[0-9]{4} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?:[0-9]{1,2}| [0-9]) (?:[0-9]{4} )?CLOCK";
    let iso = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]CLOCK(?:Z|[-+][0-9]{2}(?::?[0-9]{2})?)?";
    let time = format!("{bsd}|{iso}").replace("CLOCK", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?");
    let numbers = r"(?<fn>0{0,2}[0-9]|0?1[0-9]|0?2[0-3])\.(?<sn>0{0,2}[0-7])";
    let level = format!("<(?:{numbers}|{})> ", level());
    Regex::new(&format!("(?s-u)^(?:<(?<priority>[0-9]{{1,3}})> ?)?(?<time>{time}):? (?:{level})?(?<rest>.*)$")).unwrap()
});

fn level() -> String {
    format!(r"(?<f>{NAMES}|console|mark|security)\.(?<s>{SEVERITY_NAMES}|warn|error|panic)")
}

static NO_HOST: LazyLock<Regex> = LazyLock::new(|| {
    let program = r"[^ ]+?\[[0-9]+\]:|[^ ]*[^ :]:(?: |$)|[^ ]+\[[0-9]+\](?: |$)";
    Regex::new(&format!("(?s-u)^(?:(?:last )?message repeated |{program})")).unwrap()
});
static HOST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("(?s-u)^(?<host>[^ ]*)(?: (?:{} )?(?<rest>.*))?$", level())).unwrap());
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    let tags = [
        r"(?<p1>[^ ]+?)\[(?<i1>[0-9]+)\]: ?",
        r"(?<p2>[^ ]+)\[(?<i2>[^ \[]*)\]:(?: |$)",
        r"(?<p3>[^ ]+):(?: |$)",
        r"(?<p4>[^ ]+)\[(?<i4>[0-9]+)\](?: |$)",
        r"(?<p5>[^ :][^:]{0,31})\[(?<i5>[0-9]+)\]:(?: |$)",
    ];
    Regex::new(&format!("(?s-u)^(?:{})?(?<message>.*)$", tags.join("|"))).unwrap()
});

/// The same by regular expressions.
fn reference(line: &[u8]) -> Option<[Value<'_>; 8]> {
    let head = HEAD.captures(line)?;
    let text = |bytes: &'static str| Value::Text(bytes.as_bytes());
    let facility = |number: usize| NAMES.split('|').nth(number).map(text);
    let severity = |number: usize| SEVERITY_NAMES.split('|').nth(number).map(text);
    let number = |group: &str| head.name(group).and_then(|group| str::from_utf8(group.as_bytes()).ok()?.parse::<usize>().ok());
    let named = |captures: &regex::bytes::Captures<'_>| {
        let known = |group: &str, names: &[&'static str]| {
            let group = captures.name(group)?.as_bytes();
            names.iter().flat_map(|names| names.split('|')).find(|name| name.as_bytes() == group)
        };
        let facility = known("f", &[NAMES, "console|mark|security"])?;
        let severity = known("s", &[SEVERITY_NAMES, "warn|error|panic"])?;
        let severity = match severity {
            "warn" => "warning",
            "error" => "err",
            "panic" => "emerg",
            other => other,
        };
        Some((text(facility), text(severity)))
    };
    let mut level = (Value::Absent, Value::Absent);
    if let Some(priority) = number("priority") {
        level = (facility(priority / 8)?, severity(priority % 8)?);
    }
    if let (Some(facility_number), Some(severity_number)) = (number("fn"), number("sn")) {
        level = (facility(facility_number)?, severity(severity_number)?);
    }
    level = named(&head).unwrap_or(level);
    let mut rest = Some(head.name("rest")?.as_bytes()).filter(|rest| !rest.is_empty())?;
    let mut host = Value::Null;
    if !NO_HOST.is_match(rest) {
        let captures = HOST.captures(rest)?;
        host =
            Some(captures.name("host")?.as_bytes()).filter(|host| !matches!(*host, b"" | b"-")).map_or(Value::Null, Value::Text);
        level = named(&captures).unwrap_or(level);
        rest = captures.name("rest").map_or(b"", |rest| rest.as_bytes());
    }
    let tag = TAG.captures(rest)?;
    let one_of = |names: &[&str]| {
        let found = names.iter().find_map(|name| tag.name(name)).map(|found| found.as_bytes());
        found.filter(|found| !found.is_empty()).map_or(Value::Null, Value::Text)
    };
    Some([
        Value::Text(head.name("time")?.as_bytes()),
        host,
        one_of(&["p1", "p2", "p3", "p4", "p5"]),
        one_of(&["i1", "i2", "i4", "i5"]),
        Value::Text(tag.name("message")?.as_bytes()),
        head.name("priority").map_or(Value::Absent, |priority| Value::Text(priority.as_bytes())),
        level.0,
        level.1,
    ])
}

const PARTS: &[&[&str]] = &[
    &["", "", "<34>", "<191>", "<192>", "<13> ", "<1>1 "],
    &["Mar 12 12:00:08", "Mar  2 12:00:08.5", "2026 Jan 1 00:00:00", "Dec 31 2026 23:59:59", "2026-03-12T12:00:08.1+01:00"],
    &[" ", " ", " ", ": ", " <3.6> ", " <daemon.info> ", " <24.1> "],
    &["host ", "10.0.0.1 ", "fe80:: ", "- ", "", " ", "host daemon.info "],
    &[
        "",
        "p",
        "CRON(x)",
        "Some Thing",
        "last message repeated",
        "a::b",
        "[x]",
        "message repeated ",
        "a name of 32 bytes or some more",
    ],
    &["", "[1]", "[1]", "[]", "[a.b]", "[1][2]"],
    &["", ": ", ": ", ":", " "],
    &["", "message", " two: words[1]: ", "é: \u{1}"],
];

proptest! {
    #[test]
    fn regular_expressions_find_the_same(line in lines_of(PARTS, b" :[]<>0129.-+TZaM\xff")) {
        let expected = reference(&line);
        let fields = expected.map(|values| {
            let fields = FIELDS.iter().zip(values).map(|(name, value)| Field { name: name.as_bytes(), value });
            fields.collect::<Vec<_>>()
        });
        check_fields(&Format::SyslogRfc3164, &line, fields.as_deref());
    }
}
