//! The protobuf message of an aggregate, as Google's Java parser reads proto2: field by field, in any order,
//! fields that it does not know passed over, anything else wrong a reason to take the record for a raw one.
//!
//! ```proto
//! message AggregatedRecord {
//!   repeated string partition_key_table     = 1;
//!   repeated string explicit_hash_key_table = 2;
//!   repeated Record records                 = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index     = 1;
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes  data                    = 3;
//!   repeated Tag    tags                    = 4;
//! }
//! message Tag { required string key = 1; optional string value = 2; }
//! ```

/// How deep groups may nest; the parser's own limit.
const DEPTH_MAX: usize = 100;
/// Bytes of the longest number.
const VARINT_BYTES_MAX: usize = 10;

/// `AggregatedRecord`
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) partition_keys: Vec<&'a [u8]>,
    pub(super) explicit_hash_keys: Vec<&'a [u8]>,
    pub(super) entries: Vec<Entry<'a>>,
}

/// `Record`
pub(super) struct Entry<'a> {
    pub(super) partition_key_index: u64,
    pub(super) explicit_hash_key_index: Option<u64>,
    pub(super) data: &'a [u8],
    /// Key and value.
    pub(super) tags: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// The message in these bytes; `None` if the Java parser would throw.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Message<'_>> {
    let mut message = Message::default();
    while let Some(field) = next_field(&mut bytes)? {
        match field {
            (1, Value::Bytes(key)) => message.partition_keys.push(key),
            (2, Value::Bytes(key)) => message.explicit_hash_keys.push(key),
            (3, Value::Bytes(entry)) => message.entries.push(parse_entry(entry)?),
            _ => {}
        }
    }
    Some(message)
}

fn parse_entry(mut bytes: &[u8]) -> Option<Entry<'_>> {
    let (mut partition_key_index, mut explicit_hash_key_index, mut data, mut tags) = (None, None, None, Vec::new());
    while let Some(field) = next_field(&mut bytes)? {
        match field {
            (1, Value::Number(index)) => partition_key_index = Some(index),
            (2, Value::Number(index)) => explicit_hash_key_index = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            (4, Value::Bytes(tag)) => tags.push(parse_tag(tag)?),
            _ => {}
        }
    }
    Some(Entry { partition_key_index: partition_key_index?, explicit_hash_key_index, data: data?, tags })
}

fn parse_tag(mut bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (mut key, mut value) = (None, None);
    while let Some(field) = next_field(&mut bytes)? {
        match field {
            (1, Value::Bytes(bytes)) => key = Some(bytes),
            (2, Value::Bytes(bytes)) => value = Some(bytes),
            _ => {}
        }
    }
    Some((key?, value))
}

/// The value of a field, by its wire type.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that no field of the format has: passed over.
    Other,
}

/// Takes the next field off the bytes; the inner `None` is their end, the outer a mistake.
#[expect(clippy::option_option, reason = "the outer one is for `?`")]
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<Option<(u64, Value<'a>)>> {
    if bytes.is_empty() {
        return Some(None);
    }
    let (number, wire_type) = take_tag(bytes)?;
    let value = match wire_type {
        0 => Value::Number(take_varint(bytes)?),
        2 => Value::Bytes(take_prefixed(bytes)?),
        3 => {
            skip_group(bytes, number)?;
            Value::Other
        }
        _ => {
            skip_fixed(bytes, wire_type)?;
            Value::Other
        }
    };
    Some(Some((number, value)))
}

/// Passes over a group whose opening has been taken.
fn skip_group(bytes: &mut &[u8], number: u64) -> Option<()> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        match take_tag(bytes)? {
            (_, 0) => drop(take_varint(bytes)?),
            (_, 2) => drop(take_prefixed(bytes)?),
            (number, 3) if open.len() < DEPTH_MAX => open.push(number),
            (number, 4) if number == innermost => drop(open.pop()),
            (_, wire_type) => skip_fixed(bytes, wire_type)?,
        }
    }
    Some(())
}

fn skip_fixed(bytes: &mut &[u8], wire_type: u64) -> Option<()> {
    match wire_type {
        1 => take(bytes, 8).map(drop),
        5 => take(bytes, 4).map(drop),
        _ => None,
    }
}

/// A field's number and wire type.
fn take_tag(bytes: &mut &[u8]) -> Option<(u64, u64)> {
    let tag = take_varint(bytes)? & u64::from(u32::MAX);
    let (number, wire_type) = (tag >> 3, tag & 7);
    (number != 0).then_some((number, wire_type))
}

/// Bytes with their length before them.
fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_varint(bytes)? & u64::from(u32::MAX);
    take(bytes, usize::try_from(length).ok()?)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = bytes.iter().take(VARINT_BYTES_MAX).position(|byte| byte & 0x80 == 0)? + 1;
    let groups = take(bytes, length)?;
    Some(groups.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7F)))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (bytes, number) in [
            (&b"\x00"[..], Some(0)),
            (b"\xac\x02", Some(300)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
            (b"\x80", None),
            (b"", None),
        ] {
            assert_eq!(take_varint(&mut &bytes[..]), number, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let record = b"\x1a\x05\x08\0\x1a\x01A";
        for unknown in
            [&b"\x7a\x01z"[..], b"\x79\0\0\0\0\0\0\0\0", b"\x7d\0\0\0\0", b"\x7b\x08\x01\x12\x01x\x73\x74\x7c", b"\x08\x05"]
        {
            let bytes = [&b"\x0a\x01k"[..], unknown, record].concat();
            let message = parse(&bytes).unwrap_or_else(|| panic!("{unknown:?} was a mistake"));
            assert_eq!((message.partition_keys, message.entries.len()), (vec![&b"k"[..]], 1));
        }
    }

    #[test]
    fn mistakes() {
        for bytes in [
            &b"\x0a"[..],
            b"\x0a\x02k",
            b"\x02\x01k",
            b"\x0e\x01k",
            b"\x0c",
            b"\x7b\x08\x01",
            b"\x7b\x74",
            &b"\x7b".repeat(DEPTH_MAX + 1),
            b"\x1a\x02\x08\0",
            b"\x1a\x03\x1a\x01A",
            b"\x1a\x09\x08\0\x1a\x01A\x22\x02\x12\0",
            b"\x0a\xff\xff\xff\xff\x0f",
        ] {
            assert!(parse(bytes).is_none(), "{bytes:?} was understood");
        }
    }
}
