//! The error log of nginx.
//!
//! ```text
//! 2021/03/06 07:08:09 [error] 7#8: *9 open() "/srv/a" failed (2: No such file or directory), client: 192.0.2.7,
//! server: a.example, request: "GET /a HTTP/1.1", subrequest: "/b", upstream: "http://127.0.0.1:80/a", host: "a.example",
//! referrer: "http://b.example/"
//! ```
//!
//! In <https://github.com/nginx/nginx> `src/core/ngx_log.c` writes what stands in front of the message, and behind it
//! `src/http/ngx_http_request.c` (`ngx_http_log_error`) the context: the client, and what else is known, in this order. What
//! was decided:
//!
//! - A part that the line does not have is absent. There are no nulls: nginx writes no `-` here.
//! - nginx escapes nothing, and messages, requests and referrers hold what clients send. So the context begins at the first
//!   `, client: ` from which on the line is a context up to its end: a client, then nothing, or a server and other parts. A
//!   text in quotes ends at the first quote that another part or the end of the line follows. What a referrer says can thus
//!   pass for `rest`, and for nothing else.
//! - What follows the parts that are named here is `rest`, as it is in the line: `bytes from/to client:0/0, ...` of streams,
//!   `login: "..."` of mail, and what modules add. It has to begin with a name in small letters and a colon.
//! - nginx cuts lines at 2048 bytes; the last text in quotes may lack its end.
//! - `udp client: ` of streams is a client like any other.

use memchr::memchr_iter;
use memchr::memmem::find_iter;

use super::pieces::{digits, literal, taken, without_carriage_return};
use crate::processor::fields::{Arena, Fields, Value};

pub(super) const FIELDS: &[&str] = &[
    "time",
    "level",
    "pid",
    "tid",
    "connection",
    "message",
    "client",
    "server",
    "request",
    "subrequest",
    "upstream",
    "host",
    "referrer",
    "rest",
];

/// What begins the parts in quotes, in their order.
const QUOTED: [&[u8]; 5] = [b", request: \"", b", subrequest: \"", b", upstream: \"", b", host: \"", b", referrer: \""];

/// What stands behind the message; what is absent there is none.
#[derive(Default)]
struct Context<'l> {
    client: Option<&'l [u8]>,
    server: Option<&'l [u8]>,
    quoted: [Option<&'l [u8]>; QUOTED.len()],
    rest: Option<&'l [u8]>,
}

pub(super) fn parse<'l>(line: &'l [u8], _arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let (time, mut rest) = without_carriage_return(line).split_at_checked(TIME.len())?;
    if !is_time(time) {
        return None;
    }
    literal(&mut rest, b" [")?;
    let (level, mut rest) = rest.split_at_checked(memchr::memchr(b']', rest)?)?;
    if level.is_empty() || !level.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    literal(&mut rest, b"] ")?;
    let process = digits(&mut rest)?;
    literal(&mut rest, b"#")?;
    let thread = digits(&mut rest)?;
    literal(&mut rest, b": ")?;
    let connection = taken(&mut rest, connection);
    let (message, context) = context(rest);
    let [request, subrequest, upstream, host, referrer] = context.quoted;
    let values = [
        Some(time),
        Some(level),
        Some(process),
        Some(thread),
        connection,
        Some(message),
        context.client,
        context.server,
        request,
        subrequest,
        upstream,
        host,
        referrer,
        context.rest,
    ];
    for (name, value) in FIELDS.iter().zip(values) {
        fields.push(*name, value.map_or(Value::Absent, Value::Text));
    }
    Some(())
}

/// What a time looks like, with a zero for any digit.
const TIME: &[u8] = b"0000/00/00 00:00:00";

fn is_time(text: &[u8]) -> bool {
    text.iter().zip(TIME).all(|(byte, like)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like })
}

fn connection<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    literal(rest, b"*")?;
    let connection = digits(rest)?;
    literal(rest, b" ")?;
    Some(connection)
}

/// The message, and the context behind it.
fn context(text: &[u8]) -> (&[u8], Context<'_>) {
    const CLIENT: &[u8] = b"client: ";
    let found = find_iter(text, CLIENT).find_map(|start| {
        let before = text.get(..start)?;
        let message = before.strip_suffix(b", udp ").or_else(|| before.strip_suffix(b", "))?;
        Some((message, behind_client(text.get(start + CLIENT.len()..)?)?))
    });
    found.unwrap_or((text, Context::default()))
}

/// The context whose client begins `text`. All that nginx writes behind a client begins with a server, of which it may not
/// know the name.
fn behind_client(text: &[u8]) -> Option<Context<'_>> {
    let (client, text) = before_comma(text);
    if client.is_empty() || memchr::memchr3(b' ', b',', b'"', client).is_some() {
        return None;
    }
    let mut context = Context { client: Some(client), ..Context::default() };
    if text.is_empty() {
        return Some(context);
    }
    let (server, mut text) = before_comma(text.strip_prefix(b", server: ")?);
    if memchr::memchr2(b',', b'"', server).is_some() {
        return None;
    }
    context.server = Some(server);
    let mut next = 0;
    while !text.is_empty() {
        match part(text, next)? {
            Part::Quoted(index, inside) => {
                let (value, behind) = quoted(inside, index + 1);
                context.quoted[index] = Some(value);
                (text, next) = (behind, index + 1);
            }
            Part::Rest(rest) => {
                context.rest = Some(rest);
                break;
            }
        }
    }
    Some(context)
}

/// What stands before the first `, `, and the rest from there on.
fn before_comma(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr_iter(b',', text).find(|comma| text.get(comma + 1) == Some(&b' ')).unwrap_or(text.len()))
}

enum Part<'l> {
    /// One of [`QUOTED`], and what stands behind its first quote.
    Quoted(usize, &'l [u8]),
    Rest(&'l [u8]),
}

/// The part that begins `text`; none of [`QUOTED`] before `next`.
fn part(text: &[u8], next: usize) -> Option<Part<'_>> {
    let rest = text.strip_prefix(b", ")?;
    let later = QUOTED.iter().enumerate().skip(next);
    if let Some(quoted) = later.filter_map(|(index, begin)| Some(Part::Quoted(index, text.strip_prefix(*begin)?))).next() {
        return Some(quoted);
    }
    let is_in_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_/ ".contains(byte);
    let end = rest.iter().position(|byte| !is_in_name(byte))?;
    (rest.get(end) == Some(&b':') && rest.first().is_some_and(u8::is_ascii_lowercase)).then_some(Part::Rest(rest))
}

/// The text that begins behind a quote and goes up to the one that ends it, and what follows that.
fn quoted(text: &[u8], next: usize) -> (&[u8], &[u8]) {
    let ends = memchr_iter(b'"', text).map(|quote| (&text[..quote], &text[quote + 1..]));
    let mut ends = ends.filter(|(_, behind)| behind.is_empty() || part(behind, next).is_some());
    ends.next().unwrap_or((text, b""))
}

#[cfg(test)]
mod tests;
