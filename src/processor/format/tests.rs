//! What the tests of formats share.

use super::*;
use crate::processor::fields::Value;

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
