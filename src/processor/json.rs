//! Values as JSON.

use super::fields::Value;

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
pub(super) fn write_string(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    write_string_with(bytes, &mut |piece| out.extend_from_slice(piece))
}

/// The same, piece by piece, into whatever `write` appends to.
pub(super) fn write_string_with(bytes: &[u8], write: &mut impl FnMut(&[u8])) -> bool {
    write(b"\"");
    // Nearly all texts are ASCII without anything to escape.
    let plain_count = position(bytes, |byte| must_escape(byte) | !byte.is_ascii()).unwrap_or(bytes.len());
    write(&bytes[..plain_count]);
    let replaced = plain_count < bytes.len() && write_chunks(&bytes[plain_count..], write);
    write(b"\"");
    replaced
}

/// Says whether some bytes are not UTF-8 and became U+FFFD.
#[cold]
fn write_chunks(bytes: &[u8], write: &mut impl FnMut(&[u8])) -> bool {
    let mut replaced = false;
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), write);
        if !chunk.invalid().is_empty() {
            replaced = true;
            write("\u{fffd}".as_bytes());
        }
    }
    replaced
}

fn write_escaped(text: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut rest = text;
    while let Some(plain_count) = position(rest, must_escape) {
        write(&rest[..plain_count]);
        write_escape(rest[plain_count], write);
        rest = &rest[plain_count + 1..];
    }
    write(rest);
}

fn must_escape(byte: u8) -> bool {
    // Without branches, so that many bytes can be looked at at once.
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// Where the first byte is that `is_sought`. Of a block all bytes are looked at, which compilers do at once.
fn position(bytes: &[u8], is_sought: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<16>();
    let is_in = |block: &[u8; 16]| block.iter().fold(false, |is_in, byte| is_in | is_sought(*byte));
    let start = blocks.iter().position(is_in).unwrap_or(blocks.len()) * 16;
    bytes[start..].iter().position(|byte| is_sought(*byte)).map(|at| start + at)
}

fn write_escape(byte: u8, write: &mut impl FnMut(&[u8])) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const DIGITS: [u8; 16] = *b"0123456789abcdef";
            return write(&[b'\\', b'u', b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    };
    write(&[b'\\', short]);
}
