//! Values as JSON.

use bumpalo::collections::Vec as ArenaVec;

use super::fields::Value;

/// What JSON is appended to: memory of its own, or the arena's.
pub(super) trait Sink {
    /// Appends `bytes`.
    fn add(&mut self, bytes: &[u8]);
    /// Takes so many bytes off the end again; there are as many.
    fn cut(&mut self, byte_count: usize);
}

impl Sink for Vec<u8> {
    fn add(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn cut(&mut self, byte_count: usize) {
        self.truncate(self.len() - byte_count);
    }
}

impl Sink for ArenaVec<'_, u8> {
    fn add(&mut self, bytes: &[u8]) {
        self.extend_from_slice_copy(bytes);
    }

    fn cut(&mut self, byte_count: usize) {
        self.truncate(self.len() - byte_count);
    }
}

/// Appends `value`, null when it is absent; says whether some of its bytes were not UTF-8 and became U+FFFD.
pub(super) fn write_value(value: Value<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Text(text) => return write_string(text, out),
        Value::Json(json) => out.extend_from_slice(json.as_bytes()),
        Value::Absent | Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        // Writing into a Vec cannot fail, and the number is finite.
        Value::Integer(value) => _ = serde_json::to_writer(out, &value),
        Value::Float(value) => _ = serde_json::to_writer(out, &value),
    }
    false
}

/// Appends `bytes` in quotes, escaped; says whether some were not UTF-8 and became U+FFFD.
pub(super) fn write_string(bytes: &[u8], out: &mut impl Sink) -> bool {
    out.add(b"\"");
    // Nearly all texts are ASCII.
    let ascii_count = write_escaped::<true>(bytes, out);
    let replaced = ascii_count < bytes.len() && write_chunks(&bytes[ascii_count..], out);
    out.add(b"\"");
    replaced
}

/// Says whether some bytes are not UTF-8 and became U+FFFD.
#[cold]
fn write_chunks(bytes: &[u8], out: &mut impl Sink) -> bool {
    // In chunks it takes several times as long.
    if str::from_utf8(bytes).is_ok() {
        write_escaped::<false>(bytes, out);
        return false;
    }
    for chunk in bytes.utf8_chunks() {
        write_escaped::<false>(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.add("\u{fffd}".as_bytes());
        }
    }
    true
}

/// Appends `bytes` escaped, those before the first that is not ASCII where `ONLY_ASCII`; returns how many of them these are.
///
/// A block is appended before it is known what is in it, and cut where something is to be escaped: to append 16 bytes takes a
/// few instructions, to append some that are not known beforehand takes a call.
fn write_escaped<const ONLY_ASCII: bool>(bytes: &[u8], out: &mut impl Sink) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (block, byte_count) = match rest.first_chunk() {
            Some(block) => (u128::from_le_bytes(*block), BLOCK_BYTES),
            None => (last_block(rest), rest.len()),
        };
        out.add(&block.to_le_bytes());
        let Some(at) = first_stop::<ONLY_ASCII>(block) else {
            out.cut(BLOCK_BYTES - byte_count);
            rest = &rest[byte_count..];
            continue;
        };
        out.cut(BLOCK_BYTES - at);
        if ONLY_ASCII && !rest[at].is_ascii() {
            return bytes.len() - rest.len() + at;
        }
        write_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    bytes.len()
}

const BLOCK_BYTES: usize = size_of::<u128>();

/// Less than a block and at least one byte, with spaces behind, as [`u128::from_le_bytes`] has it.
fn last_block(bytes: &[u8]) -> u128 {
    let byte_count = bytes.len();
    // Two parts, which have bytes in common but for one length: those stay the same when they are or-ed.
    let block = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (byte_count - 8))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (byte_count - 4))).into()
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u32::from(u16::from_le_bytes(*first)) | u32::from(u16::from_le_bytes(*last)) << (8 * (byte_count - 2))).into()
    } else {
        bytes.first().map_or(0, |byte| u128::from(*byte))
    };
    block | u128::from_le_bytes([b' '; BLOCK_BYTES]) << (8 * byte_count)
}

/// The first byte of a block that is to be escaped, or, where `OR_NOT_ASCII`, is not ASCII.
fn first_stop<const OR_NOT_ASCII: bool>(block: u128) -> Option<usize> {
    let bytes = block.to_le_bytes();
    let (halves, _) = bytes.as_chunks();
    let stops = |half: usize| halves.get(half).map_or(0, |half| stops::<OR_NOT_ASCII>(u64::from_le_bytes(*half)));
    let (first, second) = (stops(0), stops(1));
    if first | second == 0 {
        return None;
    }
    Some(if first != 0 { first.trailing_zeros() / 8 } else { 8 + second.trailing_zeros() / 8 } as usize)
}

/// The highest bit of bytes as in [`first_stop`]; behind the first of them that of others may be set too.
///
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
fn stops<const OR_NOT_ASCII: bool>(bytes: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let is_control = bytes.wrapping_sub(all(b' '));
    let is_quote = (bytes ^ all(b'"')).wrapping_sub(all(1));
    let is_backslash = (bytes ^ all(b'\\')).wrapping_sub(all(1));
    let stops = is_control | is_quote | is_backslash;
    // Of a byte that is not ASCII they say nothing.
    let stops = if OR_NOT_ASCII { stops | bytes } else { stops & !bytes };
    stops & all(0x80)
}

fn write_escape(byte: u8, out: &mut impl Sink) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const DIGITS: [u8; 16] = *b"0123456789abcdef";
            return out.add(&[b'\\', b'u', b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    };
    out.add(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `serde_json` writes of the same text.
    #[track_caller]
    fn check(bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let expected = (serde_json::to_vec(&text).unwrap(), str::from_utf8(bytes).is_err());
        let mut written = b"before".to_vec();
        let replaced = write_string(bytes, &mut written);
        assert_eq!((written.split_off(6), replaced), expected, "{}", bytes.escape_ascii());
        let arena = bumpalo::Bump::new();
        let mut written = ArenaVec::new_in(&arena);
        let replaced = write_string(bytes, &mut written);
        assert_eq!((written.as_slice(), replaced), (expected.0.as_slice(), expected.1), "{}", bytes.escape_ascii());
    }

    #[test]
    fn every_byte_at_every_place_is_written_as_others_write_it() {
        for byte_count in 1..=2 * BLOCK_BYTES + 1 {
            check(&b"abcdefghijklmnopqrstuvwxyz0123456789"[..byte_count]);
            for place in 0..byte_count {
                for byte in u8::MIN..=u8::MAX {
                    let mut bytes = vec![b'~'; byte_count];
                    bytes[place] = byte;
                    check(&bytes);
                }
            }
        }
        check(b"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_written_as_others_write_them(
            bytes in prop::collection::vec(prop_oneof![3 => 0x1e..0x24_u8, 2 => 0x5a..0x5e_u8, 2 => 0x7e..0x82_u8, 1 => any::<u8>()], 0..80),
            text in "[a\"\\\\\n\u{7f}\u{e4}\u{4f8b}\u{1f980}]{0,40}",
        ) {
            check(&bytes);
            check(text.as_bytes());
            check(&[text.as_bytes(), &bytes].concat());
        }
    }
}
