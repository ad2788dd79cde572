use super::*;
use crate::config::{TimestampFormat, TimestampOutput, TimestampRules};

/// That `value` becomes `expected`; none when it does not fit.
#[track_caller]
fn check(value: Value<'_>, field_type: &FieldType, expected: Option<Value<'_>>) {
    let arena = Arena::new();
    assert_eq!(convert(value, field_type, Timestamp::UNIX_EPOCH, &arena), expected, "{value:?} as {field_type:?}");
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes())
}

fn timestamp() -> FieldType {
    let zone = jiff::tz::TimeZone::UTC;
    FieldType::Timestamp(TimestampRules { format: TimestampFormat::Any, zone, output: TimestampOutput::Rfc3339 })
}

#[test]
fn text_is_read_as_its_type() {
    for (written, field_type, expected) in [
        ("", FieldType::String, Some(text(""))),
        ("\u{e9}", FieldType::String, Some(text("\u{e9}"))),
        ("7", FieldType::Integer, Some(Value::Integer(7))),
        ("+7", FieldType::Integer, Some(Value::Integer(7))),
        ("-007", FieldType::Integer, Some(Value::Integer(-7))),
        ("9223372036854775807", FieldType::Integer, Some(Value::Integer(i64::MAX))),
        ("-9223372036854775808", FieldType::Integer, Some(Value::Integer(i64::MIN))),
        ("9223372036854775808", FieldType::Integer, None),
        (" 7", FieldType::Integer, None),
        ("7 ", FieldType::Integer, None),
        ("7.0", FieldType::Integer, None),
        ("0x7", FieldType::Integer, None),
        ("-", FieldType::Integer, None),
        ("", FieldType::Integer, None),
        ("0.250", FieldType::Float, Some(Value::Float(0.25))),
        ("-7", FieldType::Float, Some(Value::Float(-7.0))),
        ("1e3", FieldType::Float, Some(Value::Float(1000.0))),
        ("1e400", FieldType::Float, None),
        ("NaN", FieldType::Float, None),
        ("inf", FieldType::Float, None),
        ("-", FieldType::Float, None),
        (" 1.0", FieldType::Float, None),
        ("TRUE", FieldType::Boolean, Some(Value::Boolean(true))),
        ("false", FieldType::Boolean, Some(Value::Boolean(false))),
        ("yes", FieldType::Boolean, None),
        ("1", FieldType::Boolean, None),
        ("", FieldType::Boolean, None),
        ("2026-03-12T12:00:08+09:00", timestamp(), Some(text("2026-03-12T03:00:08Z"))),
        ("yesterday", timestamp(), None),
    ] {
        check(text(written), &field_type, expected);
    }
    for field_type in [FieldType::Integer, FieldType::Float, FieldType::Boolean, timestamp()] {
        check(Value::Text(b"7\xff"), &field_type, None);
    }
}

#[test]
fn what_json_says_already_stays_or_is_converted() {
    use FieldType::{Boolean, Float, Integer, String};
    for (json, field_type, expected) in [
        ("7", Integer, Some(Value::Json("7"))),
        ("-0", Integer, Some(Value::Json("-0"))),
        ("7.0", Integer, None),
        ("1e3", Integer, None),
        ("9223372036854775808", Integer, None),
        ("[7]", Integer, None),
        ("7", Float, Some(Value::Json("7"))),
        ("1E-3", Float, Some(Value::Json("1E-3"))),
        ("1e999", Float, None),
        ("{}", Float, None),
        ("1", Boolean, None),
        ("7.50", String, Some(text("7.50"))),
        ("[1, 2]", String, Some(text("[1, 2]"))),
        ("1773286448", timestamp(), Some(text("2026-03-12T03:34:08Z"))),
        ("1773286448.25", timestamp(), Some(text("2026-03-12T03:34:08.25Z"))),
        ("1.7732864485E9", timestamp(), Some(text("2026-03-12T03:34:08.5Z"))),
        ("17732864485E-1", timestamp(), Some(text("2026-03-12T03:34:08.5Z"))),
        ("[1773286448]", timestamp(), None),
        ("{}", timestamp(), None),
    ] {
        check(Value::Json(json), &field_type, expected);
    }
    for (value, field_type, expected) in [
        (Value::Boolean(true), Boolean, Some(Value::Boolean(true))),
        (Value::Boolean(false), String, Some(text("false"))),
        (Value::Boolean(true), Integer, None),
        (Value::Boolean(true), Float, None),
        (Value::Boolean(true), timestamp(), None),
        (Value::Integer(-7), Integer, Some(Value::Integer(-7))),
        (Value::Integer(-7), Float, Some(Value::Integer(-7))),
        (Value::Integer(-7), String, Some(text("-7"))),
        (Value::Integer(1_773_286_448_123), timestamp(), Some(text("2026-03-12T03:34:08.123Z"))),
        (Value::Float(0.5), Float, Some(Value::Float(0.5))),
        (Value::Float(0.5), String, Some(text("0.5"))),
        (Value::Float(0.5), Integer, None),
    ] {
        check(value, &field_type, expected);
    }
}

#[test]
fn nothing_fits_every_type() {
    use FieldType::{Boolean, Float, Integer, String};
    for field_type in [String, Integer, Float, Boolean, timestamp()] {
        check(Value::Null, &field_type, Some(Value::Null));
        check(Value::Absent, &field_type, Some(Value::Absent));
    }
}
