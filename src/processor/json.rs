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
    let mut replaced = false;
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            replaced = true;
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
    replaced
}

fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    let must_escape = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    let mut rest = text;
    while let Some(plain_count) = rest.iter().position(must_escape) {
        out.extend_from_slice(&rest[..plain_count]);
        write_escape(rest[plain_count], out);
        rest = &rest[plain_count + 1..];
    }
    out.extend_from_slice(rest);
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const DIGITS: [u8; 16] = *b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            return out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    };
    out.extend([b'\\', short]);
}
