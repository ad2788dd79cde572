//! Addresses of people and of hosts.

// Of `core`, which opens no sockets.
use core::net::Ipv6Addr;
use std::ops::Range;

use memchr::{memchr, memchr3};

use super::{begins_word, count_first, count_last, ends_word, escape};

/// Bytes of the longest address of IPv6, the last 32 bits written as IPv4.
const IPV6_BYTES_MAX: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

/// An e-mail address whose host has a name of two parts at least; the `@` may be escaped as in URLs or in JSON.
///
/// The part before it is of ASCII letters, digits and `._+-`, as nearly all are.
pub(super) fn email(text: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let sign = at + memchr3(b'@', b'%', b'\\', &text[at..])?;
        let Some(sign_length) = sign_length(&text[sign..]) else {
            at = sign + 1;
            continue;
        };
        let host = sign + sign_length;
        if let Some(start) = mailbox_start(text, sign)
            && let Some(host_length) = mail_host_length(&text[host..])
        {
            return Some(start..host + host_length);
        }
        at = host;
    }
}

/// Length of the `@` at the beginning of `text`, `%40`, `%2540` or `\u0040`; of several backslashes the last.
fn sign_length(text: &[u8]) -> Option<usize> {
    match text {
        [b'@', ..] => Some(1),
        [b'\\', b'u', b'0', b'0', b'4', b'0', ..] => Some(6),
        [b'\\', b'x', b'4', b'0', ..] => Some(4),
        [b'%', ..] => escape::read(text, 0).filter(|(byte, _)| *byte == b'@').map(|(_, length)| length),
        _ => None,
    }
}

/// Where what is before the `@` at `sign` begins; letters of it may be escaped.
fn mailbox_start(text: &[u8], sign: usize) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let backslash_count = |end: usize| count_last(&text[..end], |byte| byte == b'\\');
    let end = sign - backslash_count(sign);
    let mut start = end;
    loop {
        start -= count_last(&text[..start], is_part);
        let escape_start = match text[..start] {
            [.., b'%'] => start - 1,
            [.., b'\\'] => start - backslash_count(start),
            _ => break,
        };
        match escape::read(text, escape_start) {
            Some((byte, length)) if is_part(byte) && escape_start + length <= end => start = escape_start,
            _ => break,
        }
    }
    let start = escape::starts(text, start, end).next()?;
    let start = start + count_first(&text[start..end], |byte| byte == b'.');
    (start < end).then_some(start)
}

/// Length of the name at the beginning of `text`: labels of which the last is of letters, or of the alphabet `xn--`.
fn mail_host_length(text: &[u8]) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || !byte.is_ascii();
    let mut length = None;
    let mut start = 0;
    for label in text[..count_first(text, is_part)].split(|byte| *byte == b'.') {
        if label.is_empty() || label.starts_with(b"-") {
            break;
        }
        let letters = count_first(label, |byte| byte.is_ascii_alphabetic());
        if start > 0 && label.starts_with(b"xn--") {
            length = Some(start + count_first(label, |byte| byte.is_ascii()));
        } else if start > 0 && letters >= 2 && label.get(letters).is_none_or(|behind| *behind == b'-' || !behind.is_ascii()) {
            length = Some(start + letters);
        }
        start += label.len() + 1;
    }
    length
}

/// Four numbers up to 255. No version of a program as browsers tell it, `Chrome/120.0.0.0`.
pub(super) fn ipv4(text: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let dot = at + memchr(b'.', &text[at..])?;
        let is_between_digits = matches!(text[at.max(dot.saturating_sub(1))..], [b'0'..=b'9', b'.', b'0'..=b'9', ..]);
        if !is_between_digits {
            at = dot + 1;
            continue;
        }
        let first = dot - count_last(&text[at..dot], |byte| byte.is_ascii_digit());
        let run_end = dot + dotted_length(&text[dot..]);
        let end = run_end - usize::from(text[..run_end].ends_with(b"."));
        let is_whole = end < run_end || ends_word(text, end) || text[end] == b'_';
        let is_found = |start: &usize| {
            is_ipv4(&text[*start..end])
                && (begins_word(text, *start) || text[..*start].ends_with(b"_"))
                && !is_version(&text[..*start], &text[*start..end])
        };
        if is_whole && let Some(start) = escape::starts(text, first, dot).find(is_found) {
            return Some(start..end);
        }
        at = run_end;
    }
}

/// Length of the digits and points at the beginning of `text`, up to two points in a row: `10.0.0.1..10.0.0.9` is two.
fn dotted_length(text: &[u8]) -> usize {
    let mut is_behind_point = false;
    count_first(text, |byte| {
        let is_second_point = byte == b'.' && is_behind_point;
        is_behind_point = byte == b'.';
        (byte.is_ascii_digit() || byte == b'.') && !is_second_point
    })
}

fn is_ipv4(text: &[u8]) -> bool {
    let number = |part: &[u8]| part.iter().fold(0, |number: u16, digit| number * 10 + u16::from(digit & 15));
    let is_byte = |part: &[u8]| (1..=3).contains(&part.len()) && number(part) <= 255;
    let mut parts = text.split(|byte| *byte == b'.');
    text.len() <= "255.255.255.255".len()
        && parts.by_ref().take(4).filter(|part| is_byte(part)).count() == 4
        && parts.next().is_none()
}

fn is_version(before: &[u8], number: &[u8]) -> bool {
    matches!(before, [.., letter, b'/'] | [.., letter, b'\\', b'/'] if letter.is_ascii_alphabetic())
        && number.ends_with(b".0.0.0")
}

/// An address with its zone. It has a digit, or it might be a path in a program, `a::b`; and it is no hardware address.
pub(super) fn ipv6(text: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let colon = at + memchr(b':', &text[at..])?;
        let first = colon - count_last(&text[at..colon], |byte| byte.is_ascii_hexdigit());
        let end = colon + count_first(&text[colon..], |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
        if may_be_ipv6(&text[colon..end])
            && let Some(found) = escape::starts(text, first, colon).find_map(|start| ipv6_in(text, start..end))
        {
            return Some(found);
        }
        at = end;
    }
}

/// The address in `run`, which is all that is around it of what addresses are made of.
fn ipv6_in(text: &[u8], run: Range<usize>) -> Option<Range<usize>> {
    let Range { mut start, mut end } = run;
    if !begins_word(text, start) {
        // `addr:fe80::1`, but not `std::`.
        let is_behind_name = matches!(text[start..end], [b':', behind, ..] if behind != b':');
        is_behind_name.then_some(())?;
    }
    if matches!(text[start..end], [b':', behind, ..] if behind != b':') {
        start += 1;
    }
    while let [.., before, b':'] | [.., before, b'.'] = text[start..end]
        && (text[end - 1] == b'.' || before != b':')
    {
        end -= 1;
    }
    (end < run.end || ends_word(text, end)).then_some(())?;
    if !is_ipv6(&text[start..end]) {
        // A port may follow, behind a ninth colon or, as tcpdump writes it, a point.
        end = start + text[start..end].iter().rposition(|byte| *byte == b':' || *byte == b'.')?;
        is_ipv6(&text[start..end]).then_some(())?;
    }
    Some(start..end + zone_length(&text[end..]))
}

/// Length of a zone with its `%`, as of `%eth0.100`, `%12` or in an URL `%25eth0`; zero for other escapes, `%5D`.
fn zone_length(text: &[u8]) -> usize {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let Some(zone) = text.strip_prefix(b"%") else { return 0 };
    let zone = &zone[..count_first(zone, is_part)];
    let is_escape = matches!(zone, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let is_zone = !is_escape || zone.starts_with(b"25") || zone.iter().all(u8::is_ascii_digit);
    match zone.len() - count_last(zone, |byte| byte == b'.') {
        length if length > 0 && is_zone => 1 + length,
        _ => 0,
    }
}

/// Whether there are as many colons as in an address.
fn may_be_ipv6(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"::") || text.iter().filter(|byte| **byte == b':').count() >= 6
}

fn is_ipv6(text: &[u8]) -> bool {
    text.len() <= IPV6_BYTES_MAX
        && text.iter().any(u8::is_ascii_digit)
        && !text.split(|byte| *byte == b':').all(|group| group.len() == 2)
        && str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}
