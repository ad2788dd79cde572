//! What opens doors: tokens, and the keys of AWS.

use std::ops::Range;

use super::{behind_escape, count_first, count_last, is_behind_escape};

/// A word, and what finds what is to be masked behind it.
type Word = (&'static [u8], fn(&[u8], usize) -> Option<Range<usize>>);

/// What leads to a token. A first letter that may be a capital is left out.
pub(super) const WORDS: [Word; 4] =
    [(b"uthorization", in_header), (b"earer", behind_bearer), (b"access_token", behind_name), (b"eyJ", web_token)];

/// Schemes of which the credentials are a single token: RFC 7617, RFC 6750, RFC 4559, and what programs make up.
const SCHEMES: [&[u8]; 5] = [b"basic", b"bearer", b"negotiate", b"token", b"apikey"];
/// So long nothing is that a person would write behind `Bearer`.
const TOKEN_BYTES_SURE: usize = 20;
/// Least bytes of a token that has digits in it.
const TOKEN_BYTES_MIN: usize = 6;
/// Least bytes of `{"alg":` and so on in base64.
const WEB_TOKEN_HEADER_BYTES_MIN: usize = 10;

/// The prefixes of access key ids: of users, temporary ones, and of other services. Other unique ids are no secrets.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
const KEY_ID_PREFIXES: [&[u8]; 4] = [b"AKIA", b"ASIA", b"ABIA", b"ACCA"];
const KEY_ID_BYTES: usize = 20;
const SECRET_KEY_BYTES: usize = 40;
/// What the name in front of a secret key ends with, case and `_` and `-` aside.
const SECRET_KEY_NAMES: [&[u8]; 2] = [b"secretaccesskey", b"secretkey"];
/// The same of a session token; it is always longer than a secret key.
const SESSION_TOKEN_NAMES: [&[u8]; 2] = [b"sessiontoken", b"securitytoken"];

/// `Authorization: Basic dXNlcjpwYXNz`, also as JSON or with a `=`; `word` is where `uthorization` begins.
fn in_header(text: &[u8], word: usize) -> Option<Range<usize>> {
    let scheme_start = behind_assignment(text, word + "uthorization".len())?;
    let scheme_end = scheme_start + count_first(&text[scheme_start..], |byte| byte.is_ascii_alphabetic());
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(&text[scheme_start..scheme_end])).then_some(())?;
    token_at(text, behind_spaces(text, scheme_end)?)
}

/// `Bearer mF_9.B5f-4.1JqM`; `word` is where `earer` begins.
fn behind_bearer(text: &[u8], word: usize) -> Option<Range<usize>> {
    let start = word.checked_sub(1).filter(|start| matches!(text[*start], b'B' | b'b'))?;
    text[..start].last().is_none_or(|before| !before.is_ascii_alphanumeric()).then_some(())?;
    token_at(text, behind_spaces(text, word + "earer".len())?).filter(|token| is_token(&text[token.clone()]))
}

/// `access_token=mF_9.B5f-4.1JqM` in URLs (RFC 6750), `"access_token": "mF_9.B5f-4.1JqM"` in JSON (RFC 6749).
fn behind_name(text: &[u8], word: usize) -> Option<Range<usize>> {
    let start = behind_assignment(text, word + "access_token".len())?;
    let is_sure = matches!(text[start - 1], b'=' | b'"' | b'\'');
    token_at(text, start).filter(|token| is_sure || is_token(&text[token.clone()]))
}

/// A JSON Web Token, RFC 7519: an object in base64, which begins with `eyJ`, and more parts behind points.
fn web_token(text: &[u8], start: usize) -> Option<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_free = text[..start].last().is_none_or(|before| !is_part(*before)) || is_behind_escape(text, start);
    is_free.then_some(())?;
    let header_length = count_first(&text[start..], is_part);
    (header_length >= WEB_TOKEN_HEADER_BYTES_MIN).then_some(())?;
    let length = count_first(&text[start..], |byte| is_part(byte) || byte == b'.');
    let end = start + length - count_last(&text[start..start + length], |byte| byte == b'.');
    (end > start + header_length).then_some(start..end)
}

/// An access key id.
pub(super) fn aws_key_id(text: &[u8]) -> Option<Range<usize>> {
    runs(
        text,
        KEY_ID_BYTES,
        |byte| byte.is_ascii_alphanumeric(),
        |run| {
            let start = behind_escape(text, run.start);
            let key_id = text.get(start..run.end)?;
            let is_key_id = key_id.len() == KEY_ID_BYTES
                && KEY_ID_PREFIXES.iter().any(|prefix| key_id.starts_with(prefix))
                && key_id.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            is_key_id.then_some(start..run.end)
        },
    )
}

/// A secret key or a session token behind its name.
pub(super) fn aws_secret(text: &[u8]) -> Option<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'%');
    runs(text, SECRET_KEY_BYTES, is_part, |run| {
        let name = name_before(text, run.start)?;
        let padding_length = count_first(&text[run.end..], |byte| byte == b'=');
        let is_secret_key = run.len() == SECRET_KEY_BYTES && padding_length == 0 && ends_in(name, &SECRET_KEY_NAMES);
        let is_session_token = ends_in(name, &SESSION_TOKEN_NAMES);
        (is_secret_key || is_session_token).then_some(run.start..run.end + padding_length)
    })
}

/// What `read` makes of the first run of bytes that are `wanted`, at least so many, of which it makes something.
fn runs(
    text: &[u8],
    byte_count_min: usize,
    wanted: impl Fn(u8) -> bool,
    read: impl Fn(Range<usize>) -> Option<Range<usize>>,
) -> Option<Range<usize>> {
    let mut at = 0;
    // Of so many bytes in a row a run has at least the last, if it begins among them.
    while let Some(probe) = text.get(at + byte_count_min - 1) {
        let probe_at = at + byte_count_min - 1;
        if !wanted(*probe) {
            at = probe_at + 1;
            continue;
        }
        let start = probe_at - count_last(&text[at..probe_at], &wanted);
        let end = probe_at + count_first(&text[probe_at..], &wanted);
        if end - start >= byte_count_min
            && let Some(found) = read(start..end)
        {
            return Some(found);
        }
        at = end;
    }
    None
}

/// The end of the quotes, spaces, `:` and `=` at `start`, if there is one of the latter among them.
fn behind_assignment(text: &[u8], start: usize) -> Option<usize> {
    let end = start + count_first(&text[start..], is_assigning);
    text[start..end].iter().any(|byte| matches!(byte, b':' | b'=')).then_some(end)
}

/// The name to which something at `start` is assigned, and all before it.
fn name_before(text: &[u8], start: usize) -> Option<&[u8]> {
    let end = start - count_last(&text[..start], |byte| is_assigning(byte) || byte == b'>');
    (end < start).then(|| &text[..end])
}

fn is_assigning(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\' | b' ' | b'\t' | b':' | b'=')
}

/// Whether `text` ends in one of `names`, case and `_` and `-` aside.
fn ends_in(text: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| {
        let mut letters = text.iter().rev().filter(|byte| !matches!(byte, b'_' | b'-'));
        name.iter().rev().all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)))
    })
}

fn behind_spaces(text: &[u8], start: usize) -> Option<usize> {
    let space_count = count_first(&text[start..], |byte| byte == b' ');
    (space_count > 0).then_some(start + space_count)
}

/// The token at `start`, in the letters of RFC 6750 and RFC 7617; a point behind it ends a sentence.
fn token_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let length = count_first(&text[start..], |byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    let end = start + length - count_last(&text[start..start + length], |byte| byte == b'.');
    (end > start).then_some(start..end)
}

/// Whether it is more likely a token than a word.
fn is_token(text: &[u8]) -> bool {
    text.len() >= TOKEN_BYTES_SURE || text.len() >= TOKEN_BYTES_MIN && text.iter().any(u8::is_ascii_digit)
}
