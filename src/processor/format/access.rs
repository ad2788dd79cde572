//! The access logs of Apache and nginx: `common`, `combined` and nginx's `combined`.
//!
//! ```text
//! host ident authuser [datetime] "request" response bytes "referer" "agent"
//! remote_addr - remote_user [time_local] "request" status body_bytes_sent "http_referer" "http_user_agent"
//! ```
//!
//! The layouts are those of <https://httpd.apache.org/docs/current/mod/mod_log_config.html> and
//! <https://nginx.org/en/docs/http/ngx_http_log_module.html>; the names of Apache's fields are those of the Java agent. What
//! was decided:
//!
//! - The line is split where ` [`, a time in whatever format, and `] "` stand first. The name of a user may have spaces and
//!   brackets in it, but no quote that is not escaped, so that it cannot pass for the time and the request.
//! - Status and size are digits or `-`. The size may be absent at the end of a `common` line. What follows the last field
//!   behind a space is left out.
//! - Text in quotes ends at the first quote that is not escaped. `\"` and `\\` in it, and in Apache's user, become the
//!   characters that they stand for. Everything else that is escaped stays as it is in the line: `\x16` and `\t` of Apache,
//!   and `\x22` of nginx, which escapes quotes so too.
//! - `-` is null, also in quotes. A user that Apache writes as `""` is empty text.
//! - A name in front of the host, as in Apache's `vhost_combined` (`%v:%p` or `%v`), is the last field, `vhost`. It is taken
//!   for one when the third word is `-` and the second is not: the ident is `-` wherever nobody asks the client for it.

use memchr::memchr_iter;

use super::pieces::{literal, number, quoted, unescaped, value, without_carriage_return, word};
use crate::processor::fields::{Arena, Fields, Value};

pub(super) const APACHE_COMMON_FIELDS: &[&str] =
    &["host", "ident", "authuser", "datetime", "request", "response", "bytes", "vhost"];
pub(super) const APACHE_COMBINED_FIELDS: &[&str] =
    &["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent", "vhost"];
pub(super) const NGINX_COMBINED_FIELDS: &[&str] =
    &["remote_addr", "remote_user", "time_local", "request", "status", "body_bytes_sent", "http_referer", "http_user_agent"];

pub(super) fn apache_common<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let (client, time, mut rest) = split(line)?;
    let client = apache_client(client, arena)?;
    let [request, response] = result(&mut rest, arena)?;
    let bytes = if rest.is_empty() { Value::Absent } else { behind_space(&mut rest, number)? };
    let values = [client.host, client.ident, client.user, time, request, response, bytes, client.vhost];
    push(APACHE_COMMON_FIELDS, values, fields)
}

pub(super) fn apache_combined<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let (client, time, mut rest) = split(line)?;
    let client = apache_client(client, arena)?;
    let [request, response] = result(&mut rest, arena)?;
    let [bytes, referer, agent] = combined(&mut rest, arena)?;
    let values = [client.host, client.ident, client.user, time, request, response, bytes, referer, agent, client.vhost];
    push(APACHE_COMBINED_FIELDS, values, fields)
}

pub(super) fn nginx_combined<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let (mut client, time, mut rest) = split(line)?;
    let address = word(&mut client).map(value)?;
    literal(&mut client, b" - ")?;
    let [request, status] = result(&mut rest, arena)?;
    let [bytes, referer, agent] = combined(&mut rest, arena)?;
    push(NGINX_COMBINED_FIELDS, [address, value(client), time, request, status, bytes, referer, agent], fields)
}

/// What stands before the time, the time, and what stands behind it.
fn split(line: &[u8]) -> Option<(&[u8], Value<'_>, &[u8])> {
    let line = without_carriage_return(line);
    memchr_iter(b'"', line).find_map(|quote| {
        let (before, rest) = line.split_at_checked(quote)?;
        let before = before.strip_suffix(b"] ")?;
        let (client, time) = before.split_at_checked(memchr::memrchr2(b'[', b']', before)?)?;
        let time = time.strip_prefix(b"[").filter(|time| !time.is_empty())?;
        Some((client.strip_suffix(b" ")?, value(time), rest))
    })
}

/// Who asked, as Apache says it.
struct Client<'l> {
    vhost: Value<'l>,
    host: Value<'l>,
    ident: Value<'l>,
    user: Value<'l>,
}

fn apache_client<'l>(text: &'l [u8], arena: &'l Arena) -> Option<Client<'l>> {
    let (first, behind_first) = before_space(text)?;
    let (second, behind_second) = before_space(behind_first)?;
    let third = before_space(behind_second).filter(|(third, _)| *third == b"-" && second != b"-");
    let (vhost, host, ident, user) = match third {
        Some((third, behind_third)) => (value(first), second, third, behind_third),
        None => (Value::Absent, first, second, behind_second),
    };
    let user = if user == b"\"\"" { Value::Text(b"") } else { value(unescaped(user, arena)) };
    Some(Client { vhost, host: value(host), ident: value(ident), user })
}

/// A word, and what stands behind the space that ends it.
fn before_space(mut text: &[u8]) -> Option<(&[u8], &[u8])> {
    let word = word(&mut text)?;
    Some((word, text.strip_prefix(b" ")?))
}

fn result<'l>(rest: &mut &'l [u8], arena: &'l Arena) -> Option<[Value<'l>; 2]> {
    Some([value(quoted(rest, arena)?), behind_space(rest, number)?])
}

fn combined<'l>(rest: &mut &'l [u8], arena: &'l Arena) -> Option<[Value<'l>; 3]> {
    let bytes = behind_space(rest, number)?;
    let referer = behind_space(rest, |rest| quoted(rest, arena))?;
    let agent = behind_space(rest, |rest| quoted(rest, arena))?;
    (rest.is_empty() || rest.starts_with(b" ")).then_some([bytes, referer, agent])
}

fn behind_space<'l>(rest: &mut &'l [u8], piece: impl Fn(&mut &'l [u8]) -> Option<&'l [u8]>) -> Option<Value<'l>> {
    literal(rest, b" ")?;
    piece(rest).map(value)
}

fn push<'l, const COUNT: usize>(names: &[&'static str], values: [Value<'l>; COUNT], fields: &mut Fields<'l>) -> Option<()> {
    for (name, value) in names.iter().zip(values) {
        fields.push(*name, value);
    }
    Some(())
}

#[cfg(test)]
mod tests;
