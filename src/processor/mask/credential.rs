//! What opens doors: tokens, and the keys of AWS.

use std::ops::Range;

use memchr::memchr2;

use super::{count_first, count_last, escape};

/// A word, and what finds what is to be masked behind it.
type Word = (&'static [u8], fn(&[u8], usize) -> Option<Range<usize>>);

/// What leads to a token. A first letter that may be a capital is left out.
pub(super) const WORDS: [Word; 3] = [(b"earer", behind_bearer), (b"EARER", behind_bearer), (b"eyJ", web_token)];

/// What a name says of the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It is that of a header `Authorization`.
    Authorization,
    /// It is a token by which one is let in.
    AccessToken,
    /// It is a secret key of AWS.
    SecretKey,
    /// It is a session token of AWS; always longer than a secret key.
    SessionToken,
}

/// What the name ends with, case and what separates words aside.
const NAMES: [(&[u8], Name); 6] = [
    (b"authorization", Name::Authorization),
    (b"accesstoken", Name::AccessToken),
    (b"secretaccesskey", Name::SecretKey),
    (b"secretkey", Name::SecretKey),
    (b"sessiontoken", Name::SessionToken),
    (b"securitytoken", Name::SessionToken),
];

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

impl Name {
    /// What `text`, which is a name or ends in one, says of what is behind it.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let is_last = |name: &[u8]| {
            let mut letters = text.iter().rev().filter(|byte| !matches!(byte, b'_' | b'-' | b' '));
            name.iter().rev().all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)))
        };
        NAMES.iter().find(|(name, _)| is_last(name)).map(|(_, name)| *name)
    }
}

/// The token that the whole of `text` is, as the value of `name`; of prose its first word.
pub(super) fn token_in(name: Name, text: &[u8]) -> Option<Range<usize>> {
    let start = gap(text, 0).map_or(0, |gap| gap.end);
    let token_start = match (name, behind_scheme(text, start)) {
        (Name::Authorization, token_start) => token_start?,
        (Name::AccessToken, token_start) => token_start.unwrap_or(start),
        _ => return None,
    };
    let length = count_first(&text[token_start..], |byte| !byte.is_ascii_whitespace());
    let token = token_start..token_start + length;
    text[token.clone()].iter().any(u8::is_ascii_alphanumeric).then_some(token)
}

/// The key of AWS that `text` begins with, as the value of `name`.
pub(super) fn key_in(name: Name, text: &[u8]) -> Option<Range<usize>> {
    key_at(name, text, gap(text, 0).map_or(0, |gap| gap.end))
}

/// `Authorization: Basic dXNlcjpwYXNz`, also as JSON or with a `=`.
pub(super) fn in_header(text: &[u8]) -> Option<Range<usize>> {
    // The rarest letter of the word.
    behind_name(text, b"zation", |name, end| {
        let gap = gap(text, end).filter(|gap| gap.is_assigned && name == Name::Authorization)?;
        token_at(text, behind_scheme(text, gap.end)?)
    })
}

/// `access_token=mF_9.B5f-4.1JqM` in URLs (RFC 6750), `"access_token": "mF_9.B5f-4.1JqM"` in JSON (RFC 6749).
pub(super) fn access_token(text: &[u8]) -> Option<Range<usize>> {
    behind_name(text, b"ken", |name, end| {
        let gap = gap(text, end).filter(|gap| gap.is_assigned && name == Name::AccessToken)?;
        let is_sure = matches!(gap.last, b'=' | b'"' | b'\'' | b'>');
        let start = behind_scheme(text, gap.end).unwrap_or(gap.end);
        token_at(text, start).filter(|token| is_sure || is_token(&text[token.clone()]))
    })
}

/// A secret key or a session token behind its name.
pub(super) fn aws_secret(text: &[u8]) -> Option<Range<usize>> {
    behind_name(text, b"key", |name, end| key_at(name, text, gap(text, end)?.end))
}

/// What `read` makes of the first name of which it makes something; it is told which name, and where that ends. All that it
/// looks for end as `ending` does, the last letter aside.
fn behind_name(text: &[u8], ending: &[u8], read: impl Fn(Name, usize) -> Option<Range<usize>>) -> Option<Range<usize>> {
    let (rare, next) = (*ending.first()?, *ending.get(1)?);
    let mut at = 0;
    loop {
        let found = at + memchr2(rare, rare.to_ascii_uppercase(), &text[at..])?;
        let end = found + ending.len();
        if text.get(found + 1).is_some_and(|byte| byte.eq_ignore_ascii_case(&next))
            && let Some(name) = text.get(..end).and_then(Name::of)
            && let Some(found) = read(name, end)
        {
            return Some(found);
        }
        at = found + 1;
    }
}

/// `Bearer mF_9.B5f-4.1JqM`; `word` is where `earer` begins.
fn behind_bearer(text: &[u8], word: usize) -> Option<Range<usize>> {
    let start = word.checked_sub(1).filter(|start| matches!(text[*start], b'B' | b'b'))?;
    let is_word = text[..start].last().is_none_or(|before| !before.is_ascii_alphanumeric()) || escape::is_behind(text, start);
    let gap = gap(text, word + "earer".len()).filter(|_| is_word)?;
    let token = token_at(text, gap.end)?;
    // `the bearer: bob42`
    let is_sure = !gap.is_assigned || gap.is_quoted || text[start] == b'B' || token.len() >= TOKEN_BYTES_SURE;
    (is_sure && is_token(&text[token.clone()])).then_some(token)
}

/// A JSON Web Token, RFC 7519: an object in base64, which begins with `eyJ`, and more parts behind points.
fn web_token(text: &[u8], start: usize) -> Option<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_free = text[..start].last().is_none_or(|before| !is_part(*before)) || escape::is_behind(text, start);
    is_free.then_some(())?;
    let header_length = count_first(&text[start..], is_part);
    (header_length >= WEB_TOKEN_HEADER_BYTES_MIN).then_some(())?;
    let length = count_first(&text[start..], |byte| is_part(byte) || byte == b'.');
    let end = start + length - count_last(&text[start..start + length], |byte| byte == b'.');
    (end > start + header_length).then_some(start..end)
}

/// An access key id.
pub(super) fn aws_key_id(text: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    // Of so many letters and digits in a row there are at least the last, if they begin among these.
    while let Some(probe) = text.get(at + KEY_ID_BYTES - 1) {
        let probe_at = at + KEY_ID_BYTES - 1;
        if !probe.is_ascii_alphanumeric() {
            at = probe_at + 1;
            continue;
        }
        let run_start = probe_at - count_last(&text[at..probe_at], |byte| byte.is_ascii_alphanumeric());
        at = probe_at + count_first(&text[probe_at..], |byte| byte.is_ascii_alphanumeric());
        let start = at - KEY_ID_BYTES;
        if start >= run_start && is_key_id(&text[start..at]) && (start == run_start || escape::is_behind(text, start)) {
            return Some(start..at);
        }
    }
    None
}

fn is_key_id(text: &[u8]) -> bool {
    KEY_ID_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        && text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The key of AWS at `start`, as the value of `name`.
fn key_at(name: Name, text: &[u8], start: usize) -> Option<Range<usize>> {
    let (key_end, byte_count) = written(text, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+'));
    let (end, padding_length) = written(text, key_end, |byte| byte == b'=');
    let is_key = match name {
        Name::SecretKey => byte_count == SECRET_KEY_BYTES && padding_length == 0,
        Name::SessionToken => byte_count >= SECRET_KEY_BYTES,
        Name::Authorization | Name::AccessToken => false,
    };
    is_key.then_some(start..end)
}

/// What is between a name or a word and what it is about.
struct Gap {
    end: usize,
    /// There is a `:` or a `=` in it.
    is_assigned: bool,
    /// There are quotes in it.
    is_quoted: bool,
    /// Its last byte.
    last: u8,
}

/// The gap at `start`, if there is one: quotes, spaces, signs, brackets, and escapes of these.
fn gap(text: &[u8], start: usize) -> Option<Gap> {
    let mut gap = Gap { end: start, is_assigned: false, is_quoted: false, last: 0 };
    while let Some((byte, length)) = escape::read(text, gap.end) {
        match byte {
            b':' | b'=' => gap.is_assigned = true,
            b'"' | b'\'' => gap.is_quoted = true,
            b' ' | b'\t' | b'\\' | b'>' | b'[' | b'(' | b'{' | 0x1b => {}
            // For a space in forms.
            b'+' if gap.end == start => {}
            _ => break,
        }
        (gap.end, gap.last) = (gap.end + length, byte);
    }
    (gap.end > start).then_some(gap)
}

/// Where the credentials begin behind the scheme at `start`.
fn behind_scheme(text: &[u8], start: usize) -> Option<usize> {
    let end = start + count_first(&text[start..], |byte| byte.is_ascii_alphabetic());
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(&text[start..end])).then_some(())?;
    gap(text, end).map(|gap| gap.end)
}

/// The token at `start`, in the letters of RFC 6750 and RFC 7617; a point behind it ends a sentence.
fn token_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let (end, _) = written(text, start, |byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    let end = end - count_last(&text[start..end], |byte| byte == b'.');
    (end > start).then_some(start..end)
}

/// The end of the `wanted` bytes at `start`, some of which may be escaped, and how many they are.
fn written(text: &[u8], start: usize, wanted: impl Fn(u8) -> bool) -> (usize, usize) {
    let (mut end, mut byte_count) = (start, 0);
    while let Some((_, length)) = escape::read(text, end).filter(|(byte, _)| wanted(*byte)) {
        (end, byte_count) = (end + length, byte_count + 1);
    }
    (end, byte_count)
}

/// Whether it is more likely a token than a word.
fn is_token(text: &[u8]) -> bool {
    text.len() >= TOKEN_BYTES_SURE || text.len() >= TOKEN_BYTES_MIN && text.iter().any(u8::is_ascii_digit)
}
