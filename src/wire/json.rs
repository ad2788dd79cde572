//! Bodies in JSON, and answers in JSON as the services usually write them.

use base64_simd::STANDARD as BASE64;
use memchr::memchr;

use super::answer::{Members, Said, Shape};
use super::{Record, append_digits};

pub(super) fn put_records<'a>(stream: &str, records: impl Iterator<Item = Record<'a>>, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"StreamName\":");
    append_text(stream, body);
    append_records(records, body, |record, body| {
        append_data(record.data, body);
        body.extend_from_slice(b",\"PartitionKey\":");
        append_text(record.partition_key, body);
        if let Some(hash_key) = record.hash_key {
            body.extend_from_slice(b",\"ExplicitHashKey\":\"");
            append_digits(hash_key, body);
            body.push(b'"');
        }
    });
}

pub(super) fn put_record_batch<'a>(delivery_stream: &str, data: impl Iterator<Item = &'a [u8]>, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"DeliveryStreamName\":");
    append_text(delivery_stream, body);
    append_records(data, body, append_data);
}

fn append_records<T>(records: impl Iterator<Item = T>, body: &mut Vec<u8>, append: impl Fn(T, &mut Vec<u8>)) {
    body.extend_from_slice(b",\"Records\":[");
    for (index, record) in records.enumerate() {
        body.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        append(record, body);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
}

fn append_data(data: &[u8], body: &mut Vec<u8>) {
    body.extend_from_slice(b"\"Data\":\"");
    BASE64.encode_append(data, body);
    body.push(b'"');
}

fn append_text(text: &str, body: &mut Vec<u8>) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        body.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    } else {
        body.push(b'"');
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
    }
}

/// Reads an answer of the usual shape: no white space, no escapes, no member that is not known or is there twice. None for any
/// other, of which nothing is said by that; some results may have been found then.
pub(super) fn read_usual(body: &[u8], shape: Shape, result: impl FnMut(Said<'_>)) -> Option<()> {
    // With these out of the way each string ends at the next quote, and is one.
    if memchr(b'\\', body).is_some() || body.iter().any(|byte| *byte < b' ') {
        return None;
    }
    let mut text = Text { rest: std::str::from_utf8(body).ok()? };
    text.whole(shape, result)?;
    text.rest.is_empty().then_some(())
}

struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn whole(&mut self, shape: Shape, mut result: impl FnMut(Said<'_>)) -> Option<()> {
        let mut is_listed = false;
        self.eat("{")?;
        loop {
            let name = self.string()?;
            self.eat(":")?;
            match name {
                _ if name == shape.list && !is_listed => {
                    is_listed = true;
                    self.list(shape, &mut result)?;
                }
                "FailedRecordCount" | "FailedPutCount" => self.count()?,
                "EncryptionType" => drop(self.string()?),
                "Encrypted" => self.eat("true").or_else(|| self.eat("false"))?,
                _ => return None,
            }
            if self.eat(",").is_none() {
                self.eat("}")?;
                return is_listed.then_some(());
            }
        }
    }

    fn list(&mut self, shape: Shape, result: &mut impl FnMut(Said<'_>)) -> Option<()> {
        self.eat("[")?;
        if self.eat("]").is_some() {
            return Some(());
        }
        loop {
            result(self.record(shape)?);
            if self.eat(",").is_none() {
                return self.eat("]");
            }
        }
    }

    fn record(&mut self, shape: Shape) -> Option<Said<'a>> {
        let mut members = Members::default();
        self.eat("{")?;
        loop {
            let name = self.string()?;
            self.eat(":")?;
            let member = members.of(shape, name)?;
            if member.is_some() {
                return None;
            }
            *member = Some(self.string()?.into());
            if self.eat(",").is_none() {
                self.eat("}")?;
                return Some(members.into());
            }
        }
    }

    /// A whole number that is no larger than numbers of records are, and has no zero before other digits.
    fn count(&mut self) -> Option<()> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        (digits == "0" || (1..=9).contains(&digits.len()) && !digits.starts_with('0')).then_some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let rest = self.rest.strip_prefix('"')?;
        let (string, rest) = rest.split_at_checked(memchr(b'"', rest.as_bytes())?)?;
        self.rest = rest.strip_prefix('"')?;
        Some(string)
    }

    fn eat(&mut self, expected: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }
}
