//! Values into values of other types.
//!
//! What does not fit is only said here; that it stays as it is, and is counted, is the caller's.

use jiff::Timestamp;

use super::fields::{Arena, Value};
use crate::config::FieldType;

mod timestamp;

pub use self::timestamp::{PatternMistake, check_time_pattern};

/// What `value` is as a `field_type`; none when it does not fit. What holds no value fits every type.
///
/// Numbers of JSON stay as the line has them where they are of the type. `now` says which year a time without one is of.
pub(super) fn convert<'l>(value: Value<'l>, field_type: &FieldType, now: Timestamp, arena: &'l Arena) -> Option<Value<'l>> {
    if matches!(value, Value::Absent | Value::Null) {
        return Some(value);
    }
    match field_type {
        FieldType::String => value.text(arena).map(Value::Text),
        FieldType::Integer => integer(value),
        FieldType::Float => float(value),
        FieldType::Boolean => boolean(value),
        FieldType::Timestamp(rules) if !value.is_nested() => timestamp::convert(value.text(arena)?, rules, now, arena),
        FieldType::Timestamp(_) => None,
    }
}

fn integer(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Text(text) => str::from_utf8(text).ok()?.parse().ok().map(Value::Integer),
        Value::Json(json) => json.parse::<i64>().is_ok().then_some(value),
        Value::Integer(_) => Some(value),
        Value::Float(_) | Value::Boolean(_) | Value::Absent | Value::Null => None,
    }
}

fn float(value: Value<'_>) -> Option<Value<'_>> {
    let finite = |text: &str| text.parse().ok().filter(|float: &f64| float.is_finite());
    match value {
        Value::Text(text) => finite(str::from_utf8(text).ok()?).map(Value::Float),
        Value::Json(json) => finite(json).is_some().then_some(value),
        Value::Integer(_) | Value::Float(_) => Some(value),
        Value::Boolean(_) | Value::Absent | Value::Null => None,
    }
}

fn boolean(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Text(text) if text.eq_ignore_ascii_case(b"true") => Some(Value::Boolean(true)),
        Value::Text(text) if text.eq_ignore_ascii_case(b"false") => Some(Value::Boolean(false)),
        Value::Boolean(_) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
