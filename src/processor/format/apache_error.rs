//! The error log of Apache 2.2 and 2.4.
//!
//! ```text
//! [Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 192.0.2.1:50444] AH00037: ...
//! [Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708] (13)Permission denied: [client 192.0.2.1:50444] AH00035: ...
//! [Wed Oct 11 14:32:52 2000] [error] [client 192.0.2.1] client denied by server configuration: /srv/test
//! ```
//!
//! The layout is what `do_errorlog_default` in <https://github.com/apache/httpd/blob/trunk/server/log.c> writes; the names of
//! the fields are those of the Java agent. What was decided:
//!
//! - A field that the line does not have is null. So is a module that it leaves empty, as in `[:error]`.
//! - The timestamp is whatever stands in the first brackets and has a time of day in it, in whatever format.
//! - In front of the client there may be a source file (`mod_ssl.c(1720): `) and an error of the system
//!   (`(13)Permission denied: `). The message is then both parts, as though the client stood in front of them.
//! - The client has its port, if the line has one. `[remote ...]` is a server that was asked, not a client, and stays in the
//!   message, as do the number of the message (`AH00035`) and the referer.

use super::pieces::{bracketed, digits, literal, taken, value, without_carriage_return};
use crate::processor::fields::{Arena, Fields, Value};

pub(super) const FIELDS: &[&str] = &["timestamp", "module", "severity", "processid", "threadid", "client", "message"];

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let mut rest = without_carriage_return(line);
    let timestamp = bracketed(&mut rest).filter(|timestamp| timestamp.windows(8).any(is_time_of_day))?;
    literal(&mut rest, b" ")?;
    let (module, severity) = level(bracketed(&mut rest)?)?;
    let (process, thread) = taken(&mut rest, process).unwrap_or((Value::Null, Value::Null));
    let text = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    let (client, message) = client(text, arena).unwrap_or((Value::Null, text));
    let values = [Value::Text(timestamp), module, Value::Text(severity), process, thread, client, Value::Text(message)];
    for (name, value) in FIELDS.iter().zip(values) {
        fields.push(*name, value);
    }
    Some(())
}

fn is_time_of_day(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| if at % 3 == 2 { *byte == b':' } else { byte.is_ascii_digit() })
}

/// `module:severity` or `severity`.
fn level(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (module, severity) = match memchr::memchr(b':', text) {
        Some(colon) => (text.get(..colon)?, text.get(colon + 1..)?),
        None => (&b""[..], text),
    };
    let is_module = memchr::memchr(b' ', module).is_none();
    let is_severity = !severity.is_empty() && severity.iter().all(u8::is_ascii_alphanumeric);
    let module = if module.is_empty() { Value::Null } else { value(module) };
    (is_module && is_severity).then_some((module, severity))
}

/// ` [pid 1:tid 2]` or ` [pid 1]`, with a space or nothing behind it.
fn process<'l>(rest: &mut &'l [u8]) -> Option<(Value<'l>, Value<'l>)> {
    literal(rest, b" [pid ")?;
    let process = digits(rest)?;
    let thread = match literal(rest, b":tid ") {
        Some(()) => Value::Text(digits(rest)?),
        None => Value::Null,
    };
    literal(rest, b"]")?;
    (rest.is_empty() || rest.starts_with(b" ")).then_some((Value::Text(process), thread))
}

/// The client, and the rest of the message.
fn client<'l>(text: &'l [u8], arena: &'l Arena) -> Option<(Value<'l>, &'l [u8])> {
    let (before, rest) = text.split_at_checked(memchr::memchr(b'[', text)?)?;
    if !before.is_empty() && !is_error(before) {
        return None;
    }
    let rest = rest.strip_prefix(b"[client ")?;
    let (client, behind) = rest.split_at_checked(memchr::memchr(b' ', rest).unwrap_or(rest.len()))?;
    let client = client.strip_suffix(b"]").filter(|client| !client.is_empty())?;
    let behind = behind.strip_prefix(b" ").unwrap_or(behind);
    let message = if before.is_empty() {
        behind
    } else {
        let message = arena.alloc_slice_fill_copy(before.len() + behind.len(), 0);
        let (start, end) = message.split_at_mut_checked(before.len())?;
        start.copy_from_slice(before);
        end.copy_from_slice(behind);
        message
    };
    Some((value(client), message))
}

/// A source file or an error of the system or both, each with `: ` behind it.
fn is_error(mut text: &[u8]) -> bool {
    _ = taken(&mut text, source_file);
    text.is_empty() || (is_system_error(text) && text.ends_with(b": "))
}

/// `mod_ssl.c(1720): `
fn source_file(rest: &mut &[u8]) -> Option<()> {
    let (name, behind) = rest.split_at_checked(memchr::memchr2(b'(', b' ', rest)?)?;
    *rest = behind;
    literal(rest, b"(")?;
    digits(rest)?;
    literal(rest, b"): ")?;
    (!name.is_empty()).then_some(())
}

/// `(13)Permission denied`, also `(OS 10054)`, `(EAI 2)`, `(-3)` and `(os 0x0000271c)`.
fn is_system_error(text: &[u8]) -> bool {
    let Some(inside) = text.strip_prefix(b"(") else { return false };
    let end = memchr::memchr2(b'(', b')', inside).unwrap_or(inside.len());
    let (code, behind) = inside.split_at(end);
    behind.starts_with(b")") && code.last().is_some_and(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests;
