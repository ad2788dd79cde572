//! CBOR (RFC 8949), as much of it as bodies and answers take: heads of definite length are written, everything that is well-formed
//! is read.

use std::borrow::Cow;

use super::answer::{Members, Said, Shape};
use super::{Record, append_digits};

// Major types.
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Ends what has no length.
const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;
/// Levels of what is passed over; an answer of the services has three.
const DEPTH_MAX: u32 = 32;

pub(super) fn put_records<'a>(stream: &str, records: impl ExactSizeIterator<Item = Record<'a>>, body: &mut Vec<u8>) {
    append_head(MAP, 2, body);
    append_text("StreamName", body);
    append_text(stream, body);
    append_text("Records", body);
    append_head(ARRAY, records.len(), body);
    for record in records {
        append_head(MAP, if record.hash_key.is_some() { 3 } else { 2 }, body);
        append_text("Data", body);
        append_head(BYTES, record.data.len(), body);
        body.extend_from_slice(record.data);
        append_text("PartitionKey", body);
        append_text(record.partition_key, body);
        if let Some(hash_key) = record.hash_key {
            append_text("ExplicitHashKey", body);
            append_decimal(hash_key, body);
        }
    }
}

fn append_text(text: &str, body: &mut Vec<u8>) {
    append_head(TEXT, text.len(), body);
    body.extend_from_slice(text.as_bytes());
}

/// A text of digits.
fn append_decimal(number: u128, body: &mut Vec<u8>) {
    // Of at most 39 characters: how many is known when they are there.
    let at = body.len();
    body.extend_from_slice(&[TEXT << 5 | 24, 0]);
    append_digits(number, body);
    body[at + 1] = u8::try_from(body.len() - at - 2).unwrap_or_default();
}

#[expect(clippy::cast_possible_truncation, reason = "each length is written in a width that it fits")]
fn append_head(major: u8, length: usize, body: &mut Vec<u8>) {
    let major = major << 5;
    match length {
        0..24 => body.push(major | length as u8),
        24..0x100 => body.extend_from_slice(&[major | 24, length as u8]),
        0x100..0x1_0000 => {
            body.push(major | 25);
            body.extend_from_slice(&(length as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            body.push(major | 26);
            body.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            body.push(major | 27);
            body.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Reads an answer: members in any order, also such as are not known or are null, of definite lengths or not. None when it is
/// not well-formed, or has other types than it should.
pub(super) fn read(body: &[u8], shape: Shape, mut result: impl FnMut(Said<'_>)) -> Option<()> {
    let mut items = Items { rest: body };
    let mut is_listed = false;
    items.map(|name, items| {
        if name != shape.list {
            return items.skip(DEPTH_MAX);
        }
        // In JSON the last of several counts, which nobody has any use for.
        if std::mem::replace(&mut is_listed, true) {
            return None;
        }
        items.array(|items| {
            let mut members = Members::default();
            items.map(|name, items| {
                let Some(member) = members.of(shape, &name) else { return items.skip(DEPTH_MAX) };
                *member = items.text_or_null()?;
                Some(())
            })?;
            result(members.into());
            Some(())
        })
    })?;
    (is_listed && items.rest.is_empty()).then_some(())
}

/// Reads those members of a map that are texts and have one of `names`.
pub(super) fn read_texts<const COUNT: usize>(
    body: &[u8],
    names: &[&str; COUNT],
    texts: &mut [Option<String>; COUNT],
) -> Option<()> {
    let mut items = Items { rest: body };
    items.map(|name, items| {
        match names.iter().position(|known| *known == name) {
            Some(index) if items.is_text() => texts[index] = items.text_or_null()?.map(Cow::into_owned),
            _ => items.skip(DEPTH_MAX)?,
        }
        Some(())
    })?;
    items.rest.is_empty().then_some(())
}

/// Items one after the other. What is read with an error leaves the rest in no particular place.
struct Items<'a> {
    rest: &'a [u8],
}

/// How long an item says that it is.
#[derive(Clone, Copy)]
enum Length {
    Definite(u64),
    /// Until [`BREAK`].
    Indefinite,
}

impl<'a> Items<'a> {
    /// The major type of the next item, and its length or its value. Tags are passed over.
    fn head(&mut self) -> Option<(u8, Length)> {
        loop {
            let (major, length) = self.bare_head()?;
            if major != TAG {
                return Some((major, length));
            }
        }
    }

    fn bare_head(&mut self) -> Option<(u8, Length)> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 0x1f);
        let length = match info {
            0..24 => u64::from(info),
            24 => u64::from(u8::from_be_bytes(self.take()?)),
            25 => u64::from(u16::from_be_bytes(self.take()?)),
            26 => u64::from(u32::from_be_bytes(self.take()?)),
            27 => u64::from_be_bytes(self.take()?),
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP) => return Some((major, Length::Indefinite)),
            _ => return None,
        };
        Some((major, Length::Definite(length)))
    }

    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn is_text(&self) -> bool {
        self.rest.first().is_some_and(|first| first >> 5 == TEXT)
    }

    /// Whether what has no length ends here.
    fn is_at_break(&mut self) -> Option<bool> {
        let is_break = *self.rest.first()? == BREAK;
        if is_break {
            self.rest = &self.rest[1..];
        }
        Some(is_break)
    }

    /// Calls `item` for each of so many.
    fn each(&mut self, length: Length, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        match length {
            Length::Definite(count) => (0..count).try_for_each(|_| item(self)),
            Length::Indefinite => {
                while !self.is_at_break()? {
                    item(self)?;
                }
                Some(())
            }
        }
    }

    fn array(&mut self, item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        match self.head()? {
            (ARRAY, length) => self.each(length, item),
            _ => None,
        }
    }

    /// Calls `member` with each name, to read the value. Names of other types than text are passed over with their values.
    fn map(&mut self, mut member: impl FnMut(Cow<'a, str>, &mut Self) -> Option<()>) -> Option<()> {
        let (MAP, length) = self.head()? else { return None };
        self.each(length, |items| {
            if items.is_text() {
                let name = items.text_or_null()?.unwrap_or_default();
                member(name, items)
            } else {
                items.skip(DEPTH_MAX)?;
                items.skip(DEPTH_MAX)
            }
        })
    }

    /// A text; none for null and undefined.
    fn text_or_null(&mut self) -> Option<Option<Cow<'a, str>>> {
        if let [NULL | UNDEFINED, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(None);
        }
        match self.head()? {
            (TEXT, Length::Definite(count)) => Some(Some(text(self.bytes(count)?)?.into())),
            (TEXT, Length::Indefinite) => {
                let mut whole = String::new();
                self.each(Length::Indefinite, |items| {
                    let (TEXT, Length::Definite(count)) = items.bare_head()? else { return None };
                    whole.push_str(text(items.bytes(count)?)?);
                    Some(())
                })?;
                Some(Some(whole.into()))
            }
            _ => None,
        }
    }

    /// Passes over the next item, whatever it is, with what is in it.
    fn skip(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.head()? {
            (major @ (BYTES | TEXT), Length::Indefinite) => self.each(Length::Indefinite, |items| {
                let (of, Length::Definite(count)) = items.bare_head()? else { return None };
                items.bytes(count)?;
                (of == major).then_some(())
            }),
            (BYTES | TEXT, Length::Definite(count)) => self.bytes(count).map(drop),
            (ARRAY, length) => self.each(length, |items| items.skip(depth)),
            (MAP, length) => self.each(length, |items| {
                items.skip(depth)?;
                items.skip(depth)
            }),
            _ => Some(()),
        }
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
