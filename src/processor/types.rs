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
        FieldType::String => text_of(value, arena).map(Value::Text),
        FieldType::Integer => integer(value),
        FieldType::Float => float(value),
        FieldType::Boolean => boolean(value),
        FieldType::Timestamp(rules) if !is_list_or_object(value) => timestamp::convert(text_of(value, arena)?, rules, now, arena),
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

/// A value as it is written, a list or an object as its JSON.
fn text_of<'l>(value: Value<'l>, arena: &'l Arena) -> Option<&'l [u8]> {
    let written = |text: std::fmt::Arguments<'_>| bumpalo::format!(in arena, "{}", text).into_bump_str().as_bytes();
    match value {
        Value::Text(text) => Some(text),
        Value::Json(json) => Some(json.as_bytes()),
        Value::Integer(value) => Some(written(format_args!("{value}"))),
        Value::Float(value) => Some(written(format_args!("{value}"))),
        Value::Boolean(value) => Some(if value { b"true" } else { b"false" }),
        Value::Absent | Value::Null => None,
    }
}

fn is_list_or_object(value: Value<'_>) -> bool {
    matches!(value, Value::Json(json) if json.starts_with(['[', '{']))
}

#[cfg(test)]
mod tests;
