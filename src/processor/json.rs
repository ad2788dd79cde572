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
    let mut replaced = false;
    write(b"\"");
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), write);
        if !chunk.invalid().is_empty() {
            replaced = true;
            write("\u{fffd}".as_bytes());
        }
    }
    write(b"\"");
    replaced
}

fn write_escaped(text: &[u8], write: &mut impl FnMut(&[u8])) {
    let must_escape = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    let mut rest = text;
    while let Some(plain_count) = rest.iter().position(must_escape) {
        write(&rest[..plain_count]);
        write_escape(rest[plain_count], write);
        rest = &rest[plain_count + 1..];
    }
    write(rest);
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
