//! What the tests of formats share.

use proptest::prelude::*;

use super::*;
use crate::processor::fields::{Field, Value};

pub(super) mod mutations;

/// The fields of `line` as `name=value` pairs: text in quotes, what is absent left out; none when it is not of `format`.
/// Whatever the line, a format whose names are fixed has all of them in their order.
pub(super) fn fields_of(format: &Format, line: &[u8]) -> Option<String> {
    fields_under(format, None, line)
}

/// The same of a line in a file with the header line `header`.
pub(super) fn fields_under(format: &Format, header: Option<&[u8]>, line: &[u8]) -> Option<String> {
    let arena = Arena::new();
    let mut parser = Parser::new(Some(format));
    let mut fields = Fields::new(&arena);
    parser.parse(line, header, &arena, &mut fields)?;
    if let Some(names) = field_names(Some(format)) {
        let found: Vec<_> = fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        assert_eq!(found, names, "{}", line.escape_ascii());
    }
    let shown = fields.iter().filter(|field| field.value != Value::Absent).map(|field| {
        let value = match field.value {
            Value::Text(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
            Value::Json(json) => json.to_owned(),
            Value::Absent | Value::Null => "null".to_owned(),
            Value::Integer(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Boolean(value) => value.to_string(),
        };
        format!("{}={value}", String::from_utf8_lossy(field.name))
    });
    Some(shown.collect::<Vec<_>>().join(" "))
}

/// That `line` has the fields `expected`, as [`fields_of`] shows them; "" when it is not of `format`.
#[track_caller]
pub(super) fn check(format: &Format, line: &str, expected: &str) {
    assert_eq!(fields_of(format, line.as_bytes()).unwrap_or_default(), expected, "{line}");
}

/// That `line` has the fields `expected`, byte for byte; none when it is not of `format`.
#[track_caller]
pub(super) fn check_fields(format: &Format, line: &[u8], expected: Option<&[Field<'_>]>) {
    let arena = Arena::new();
    let mut parser = Parser::new(Some(format));
    let mut fields = Fields::new(&arena);
    let found = parser.parse(line, None, &arena, &mut fields).map(|()| fields.iter().copied().collect::<Vec<_>>());
    assert_eq!(found.as_deref(), expected, "{}", line.escape_ascii());
}

/// Lines of one part of each of `parts`, one behind the other, of which some bytes are changed, with preference into
/// `bytes`.
pub(super) fn lines_of(parts: &'static [&'static [&'static str]], bytes: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let line = parts.iter().map(|part| prop::sample::select(*part)).collect::<Vec<_>>();
    let byte = prop_oneof![4 => prop::sample::select(bytes), 1 => any::<u8>()];
    let change = (any::<prop::sample::Index>(), 0..3, byte);
    let changes = prop_oneof![Just(Vec::new()), prop::collection::vec(change, 0..6)];
    (line, changes).prop_map(|(parts, changes)| {
        let mut line = parts.concat().into_bytes();
        for (place, kind, byte) in changes {
            let place = place.index(line.len() + 1);
            match kind {
                0 => line.insert(place, byte),
                _ if place == line.len() => {}
                1 => line[place] = byte,
                _ => _ = line.remove(place),
            }
        }
        line
    })
}
