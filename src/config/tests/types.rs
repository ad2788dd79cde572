//! `types` of `[flow.parse]`: what may be said of the values of fields.

use jiff::tz::{Offset, TimeZone};

use super::*;

/// [`SOUND`] with these types; they begin in line 16, column 9.
fn with_types(types: &str) -> String {
    SOUND.replace("{ status = \"integer\" }", types)
}

fn read(types: &str) -> Parse {
    let config = Config::parse(&with_types(types), "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    config.flows[0].parse.clone().unwrap()
}

/// The rules of the field `status`, a timestamp.
fn timestamp(keys: &str) -> TimestampRules {
    let parse = read(&format!("{{ status = {{ type = 'timestamp', {keys} }} }}"));
    let Some(FieldType::Timestamp(rules)) = parse.types.get("status") else { panic!("{:?}", parse.types) };
    rules.clone()
}

#[test]
fn a_type_is_a_word_or_a_table() {
    for (word, meant) in [
        ("string", FieldType::String),
        ("integer", FieldType::Integer),
        ("float", FieldType::Float),
        ("boolean", FieldType::Boolean),
    ] {
        assert_eq!(read(&format!("{{ status = '{word}' }}")).types.get("status"), Some(&meant), "{word}");
        assert_eq!(read(&format!("{{ status.type = '{word}' }}")).types.get("status"), Some(&meant), "{word}");
    }
    let both = read("{ remote = 'string', status = { type = 'integer' } }").types;
    assert_eq!(both.into_keys().collect::<Vec<_>>(), ["remote", "status"]);
}

#[test]
fn a_timestamp_and_its_defaults() {
    let defaults = timestamp("");
    assert_eq!(defaults.format, TimestampFormat::Any);
    assert_eq!(defaults.zone, TimeZone::system());
    assert_eq!(defaults.output, TimestampOutput::Rfc3339);
    assert_eq!(read("{ status = 'timestamp' }").types.get("status"), Some(&FieldType::Timestamp(defaults)));
    assert_eq!(timestamp("output = 'epoch_ms'").output, TimestampOutput::EpochMs);
}

#[test]
fn formats_of_timestamps() {
    for (written, meant) in [
        ("rfc3339", TimestampFormat::Rfc3339),
        ("epoch", TimestampFormat::Epoch),
        ("epoch_ms", TimestampFormat::EpochMs),
        ("epoch_us", TimestampFormat::EpochUs),
        ("epoch_ns", TimestampFormat::EpochNs),
        ("clf", TimestampFormat::Clf),
        ("syslog", TimestampFormat::Syslog),
        ("apache_error", TimestampFormat::ApacheError),
        ("nginx_error", TimestampFormat::NginxError),
        ("%d/%b/%Y:%H:%M:%S %z", TimestampFormat::Clf),
        ("%d.%m.%Y %T", TimestampFormat::Pattern("%d.%m.%Y %T".to_owned())),
    ] {
        assert_eq!(timestamp(&format!("format = '{written}'")).format, meant, "{written}");
    }
}

#[test]
fn zones_of_timestamps() {
    let offset = |minutes: i32| TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
    for (written, meant) in [
        ("local", TimeZone::system()),
        ("UTC", TimeZone::UTC),
        ("+09:00", offset(9 * 60)),
        ("-0330", offset(-(3 * 60 + 30))),
        ("+00:00", offset(0)),
    ] {
        assert_eq!(timestamp(&format!("zone = '{written}'")).zone, meant, "{written}");
    }
    // A host may have no table of zones.
    if let Ok(seoul) = TimeZone::get("Asia/Seoul") {
        assert_eq!(timestamp("zone = 'Asia/Seoul'").zone, seoul);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (types, mistake) in [
        (
            "{ status = 'time' }",
            "16:20 `status` cannot be \"time\" (did you mean \"timestamp\"? valid are \"string\", \"integer\", \"float\", \
             \"boolean\", \"timestamp\")",
        ),
        (
            "{ status = { type = 'date' } }",
            "16:29 `type` cannot be \"date\" (valid are \"string\", \"integer\", \"float\", \"boolean\", \"timestamp\")",
        ),
        ("{ status = ['integer'] }", "16:20 `status` must be a string, not a list (write it in quotes)"),
        ("{ status = { format = 'clf' } }", "16:20 `type` is missing in [flow.parse.types.status] (write type = \"timestamp\")"),
        (
            "{ status = { type = 'timestamp', fromat = 'clf' } }",
            "16:42 unknown key `fromat` in [flow.parse.types.status] (did you mean `format`?)",
        ),
        (
            "{ status = { type = 'integer', zone = 'UTC' } }",
            "16:20 `zone` has no meaning here (only type = \"timestamp\" has one)",
        ),
        (
            "{ status = { type = 'timestamp', format = 'rfc3338' } }",
            "16:51 `format` cannot be \"rfc3338\" (did you mean \"rfc3339\"? valid are \"rfc3339\", \"epoch\", \"epoch_ms\", \
             \"epoch_us\", \"epoch_ns\", \"clf\", \"syslog\", \"apache_error\", \"nginx_error\", \"%Y-%m-%d %H:%M:%S\")",
        ),
        (
            "{ status = { type = 'timestamp', format = '%Y-%m-%d %H:%M:%S %Z' } }",
            "16:70 `format`: no time can be read by `%Z` (the directives are those of \
             https://docs.rs/jiff/latest/jiff/fmt/strtime/)",
        ),
        (
            "{ status = { type = 'timestamp', format = '%Y-%m-%d %H:%M:%E3S' } }",
            "16:67 `format`: no time can be read by `%E` (the directives are those of \
             https://docs.rs/jiff/latest/jiff/fmt/strtime/)",
        ),
        (
            "{ status = { type = 'timestamp', format = '%Y-%m-%d' } }",
            "16:51 `format` does not give a date and a time (a date is for example %Y-%m-%d, or %b %e where the year is not \
             written; a time %H:%M:%S; both are %s)",
        ),
        ("{ status = { type = 'timestamp', format = 7 } }", "16:51 `format` must be a string, not a number (write it in quotes)"),
        (
            "{ status = { type = 'timestamp', output = 'epoch' } }",
            "16:51 `output` cannot be \"epoch\" (did you mean \"epoch_ms\"? valid are \"rfc3339\", \"epoch_ms\")",
        ),
        (
            "{ status = { type = 'timestamp', zone = '+9' } }",
            "16:49 `zone` cannot be \"+9\" (valid are \"local\", \"UTC\", \"+09:00\", and names such as \"Asia/Seoul\" that this \
             host knows in /usr/share/zoneinfo)",
        ),
        (
            "{ status = { type = 'timestamp', zone = 'Nowhere/Atlantis' } }",
            "16:49 `zone` cannot be \"Nowhere/Atlantis\" (valid are \"local\", \"UTC\", \"+09:00\", and names such as \
             \"Asia/Seoul\" that this host knows in /usr/share/zoneinfo)",
        ),
        (
            "{ satus = { type = 'timestamp' } }",
            "16:11 `types` names `satus`, which is not a field of [flow.parse] (did you mean `status`?)",
        ),
    ] {
        assert_eq!(mistakes(&with_types(types)), [mistake], "{types}");
    }
    if TimeZone::get("Asia/Seoul").is_ok() {
        let help = &mistakes(&with_types("{ status = { type = 'timestamp', zone = 'Asia/Soul' } }"))[0];
        assert!(help.contains("did you mean \"Asia/Seoul\"?"), "{help}");
    }
}
