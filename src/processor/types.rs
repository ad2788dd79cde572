//! Text into values of other types.

use super::fields::Value;
use crate::config::FieldType;

/// What `text` is as a `field_type`; none when it does not fit.
pub(super) fn convert<'l>(text: &'l [u8], field_type: &FieldType) -> Option<Value<'l>> {
    let utf_8 = || str::from_utf8(text).ok();
    match field_type {
        FieldType::String => Some(Value::Text(text)),
        FieldType::Integer => Some(Value::Integer(utf_8()?.parse().ok()?)),
        FieldType::Float => Some(Value::Float(utf_8()?.parse().ok().filter(|float: &f64| float.is_finite())?)),
        FieldType::Boolean => boolean(utf_8()?).map(Value::Boolean),
    }
}

fn boolean(text: &str) -> Option<bool> {
    [("true", true), ("false", false)].iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
}
