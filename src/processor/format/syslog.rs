//! What both formats of syslog have: the priority, and what it says.
//!
//! The numbers are those of RFC 5424, section 6.2.1 (<https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1>); the names are
//! those that rsyslog writes (runtime/msg.c of <https://github.com/rsyslog/rsyslog>), which people search for.

/// Names of facilities, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
    "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// What some daemons call facilities: FreeBSD and glibc.
const OTHER_FACILITIES: [&str; 3] = ["console", "mark", "security"];

/// Names of severities, by number.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// What the C library calls them too, and `BusyBox` therefore writes.
const OTHER_SEVERITIES: [(&str, &str); 3] = [("warn", "warning"), ("error", "err"), ("panic", "emerg")];

/// How urgent a message is, and which part of the system it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) facility: &'static str,
    pub(super) severity: &'static str,
}

/// Takes `<34>` off the beginning: the number as it is written, what it says, and the rest.
pub(super) fn take_priority(line: &[u8]) -> Option<(&[u8], Level, &[u8])> {
    let digits = line.strip_prefix(b"<")?;
    let (digits, rest) = digits.split_at_checked(digits.iter().take(4).position(|byte| *byte == b'>')?)?;
    let number = number(digits)?;
    let level = Level { facility: FACILITIES.get(number / 8)?, severity: SEVERITIES.get(number % 8)? };
    Some((digits, level, rest.strip_prefix(b">")?))
}

/// What `daemon.info` says.
pub(super) fn named_level(text: &[u8]) -> Option<Level> {
    let (facility, severity) = around_dot(text)?;
    let find = |name: &[u8], names: &[&'static str]| names.iter().find(|known| known.as_bytes() == name).copied();
    let facility = find(facility, &FACILITIES).or_else(|| find(facility, &OTHER_FACILITIES))?;
    let other = OTHER_SEVERITIES.iter().find(|(name, _)| name.as_bytes() == severity).map(|(_, known)| *known);
    Some(Level { facility, severity: find(severity, &SEVERITIES).or(other)? })
}

/// What `3.6` says.
pub(super) fn numbered_level(text: &[u8]) -> Option<Level> {
    let (facility, severity) = around_dot(text)?;
    Some(Level { facility: FACILITIES.get(number(facility)?)?, severity: SEVERITIES.get(number(severity)?)? })
}

fn around_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = text.iter().position(|byte| *byte == b'.')?;
    Some((&text[..dot], &text[dot + 1..]))
}

/// The value of one to three digits.
fn number(digits: &[u8]) -> Option<usize> {
    let is_number = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

/// The first word, and what is behind the space that ends it; none when it is the last.
pub(super) fn split_word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], Some(&text[space + 1..])),
        None => (text, None),
    }
}
