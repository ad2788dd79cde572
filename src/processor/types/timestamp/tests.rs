use proptest::prelude::*;

use super::*;

/// Two hours east in summer, one in winter, by the rules of the European Union; no table of zones is needed for it.
fn central_europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn rules(format: TimestampFormat, output: TimestampOutput) -> TimestampRules {
    TimestampRules { format, zone: central_europe(), output }
}

/// What `text` is as RFC 3339, at a moment of March 2026; "" when it does not fit.
fn rfc_3339(text: &[u8], format: TimestampFormat) -> String {
    rfc_3339_at("2026-03-12T03:34:08Z", text, format)
}

fn rfc_3339_at(now: &str, text: &[u8], format: TimestampFormat) -> String {
    let arena = Arena::new();
    match convert(text, &rules(format, TimestampOutput::Rfc3339), now.parse().unwrap(), &arena) {
        Some(Value::Text(text)) => str::from_utf8(text).unwrap().to_owned(),
        None => String::new(),
        other => panic!("{other:?}"),
    }
}

fn epoch_ms(text: &str, format: TimestampFormat) -> Option<i64> {
    let arena = Arena::new();
    match convert(text.as_bytes(), &rules(format, TimestampOutput::EpochMs), Timestamp::UNIX_EPOCH, &arena) {
        Some(Value::Integer(milliseconds)) => Some(milliseconds),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn known_formats_are_read_by_name_and_by_shape() {
    use TimestampFormat::{ApacheError, Clf, Epoch, EpochMs, EpochNs, EpochUs, NginxError, Rfc3339, Syslog};
    for (format, text, expected) in [
        (Rfc3339, "2026-03-12T12:00:08Z", "2026-03-12T12:00:08Z"),
        (Rfc3339, "2026-03-12t12:00:08.5z", "2026-03-12T12:00:08.5Z"),
        (Rfc3339, "2026-03-12T12:00:08.123+09:00", "2026-03-12T03:00:08.123Z"),
        (Rfc3339, "2026-03-12T12:00:08.000000-0330", "2026-03-12T15:30:08.000000Z"),
        (Rfc3339, "2026-03-12 12:00:08,250", "2026-03-12T11:00:08.250Z"),
        (Rfc3339, "2026-07-12 12:00:08 +09", "2026-07-12T03:00:08Z"),
        (Rfc3339, "2026-07-12 12:00:08", "2026-07-12T10:00:08Z"),
        (Rfc3339, "2026-03-12T12:00:08.1234567891Z", "2026-03-12T12:00:08.123456789Z"),
        (Rfc3339, "1999-12-31T23:59:60Z", "1999-12-31T23:59:59Z"),
        (Rfc3339, "2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00Z"),
        (Clf, "12/Mar/2026:12:00:08 +0900", "2026-03-12T03:00:08Z"),
        (Clf, "12/MAR/2026:12:00:08.25 -0130", "2026-03-12T13:30:08.25Z"),
        (Clf, "12/Mar/2026:12:00:08", "2026-03-12T11:00:08Z"),
        (Syslog, "Mar  2 12:00:08", "2026-03-02T11:00:08Z"),
        (Syslog, "mar 02 12:00:08.123", "2026-03-02T11:00:08.123Z"),
        (Syslog, "Mar 2 12:00:08", "2026-03-02T11:00:08Z"),
        (ApacheError, "Thu Mar 12 12:00:08.902022 2026", "2026-03-12T11:00:08.902022Z"),
        (ApacheError, "Sun Mar  1 12:00:08 2026", "2026-03-01T11:00:08Z"),
        (NginxError, "2026/03/12 12:00:08", "2026-03-12T11:00:08Z"),
        (Epoch, "1773286448", "2026-03-12T03:34:08Z"),
        (Epoch, "1773286448.001", "2026-03-12T03:34:08.001Z"),
        (EpochMs, "1773286448123", "2026-03-12T03:34:08.123Z"),
        (EpochMs, "1773286448123.4", "2026-03-12T03:34:08.1234Z"),
        (EpochUs, "1773286448123456", "2026-03-12T03:34:08.123456Z"),
        (EpochNs, "1773286448123456789", "2026-03-12T03:34:08.123456789Z"),
        (EpochNs, "1773286448123456789.999", "2026-03-12T03:34:08.123456789Z"),
    ] {
        assert_eq!(rfc_3339(text.as_bytes(), format), expected, "{text}");
        assert_eq!(rfc_3339(text.as_bytes(), TimestampFormat::Any), expected, "{text} by its shape");
    }
    for (format, text, expected) in [
        (Epoch, "0", "1970-01-01T00:00:00Z"),
        (Epoch, "-1.5", "1969-12-31T23:59:58.5Z"),
        (Epoch, "-0.000000001", "1969-12-31T23:59:59.999999999Z"),
        (EpochMs, "999", "1970-01-01T00:00:00.999Z"),
        (Epoch, "1e9", "2001-09-09T01:46:40Z"),
        (Epoch, "1e-128", "1970-01-01T00:00:00.000000000Z"),
        (Epoch, "253402207200", "9999-12-30T22:00:00Z"),
    ] {
        assert_eq!(rfc_3339(text.as_bytes(), format), expected, "{text}");
    }
}

#[test]
fn what_is_no_time_does_not_fit() {
    use TimestampFormat::{Any, ApacheError, Clf, Epoch, NginxError, Rfc3339, Syslog};
    for (format, text) in [
        (Rfc3339, "2026-03-12T12:00:08+09:00 "),
        (Rfc3339, " 2026-03-12T12:00:08Z"),
        (Rfc3339, "2026-02-29T12:00:08Z"),
        (Rfc3339, "2026-13-01T12:00:08Z"),
        (Rfc3339, "2026-03-12T24:00:00Z"),
        (Rfc3339, "2026-03-12T12:00:61Z"),
        (Rfc3339, "2026-03-12T12:00:08.Z"),
        (Rfc3339, "2026-03-12T12:00:08+24:00"),
        (Rfc3339, "2026-03-12T12:00:08+09:60"),
        (Rfc3339, "2026-03-12T12:00:08+9"),
        (Rfc3339, "2026-03-12T12:00Z"),
        (Rfc3339, "2026-03-12"),
        (Rfc3339, "2026/03/12 12:00:08"),
        (Clf, "12/Mar/2026 12:00:08 +0900"),
        (Clf, "12/Mrz/2026:12:00:08 +0900"),
        (Clf, "12/03/2026:12:00:08 +0900"),
        (Clf, "[12/Mar/2026:12:00:08 +0900]"),
        (Syslog, "Mar  2 12:00"),
        (Syslog, "Mar  2 12:00:08 web-1"),
        (Syslog, "Mar   2 12:00:08"),
        (Syslog, "Mar 32 12:00:08"),
        (Syslog, "Feb 30 12:00:08"),
        (ApacheError, "Thu Mar 12 12:00:08"),
        (ApacheError, "Thu, 12 Mar 2026 12:00:08 GMT"),
        (NginxError, "2026-03-12 12:00:08"),
        (Epoch, ""),
        (Epoch, "-"),
        (Epoch, "."),
        (Epoch, ".5"),
        (Epoch, "5."),
        (Epoch, "+5"),
        (Epoch, " 5"),
        (Epoch, "5e"),
        (Epoch, "5s"),
        (Epoch, "1.2.3"),
        (Epoch, "253402300801"),
        (Epoch, "1e127"),
        (Epoch, "-99999999999"),
        (Epoch, "99999999999999999999999999999999999999999999"),
        (Any, ""),
        (Any, "-"),
        (Any, "12"),
        (Any, "200"),
        (Any, "-1773286448"),
        (Any, "17732864481"),
        (Any, "12:00:08"),
        (Any, "Thu"),
    ] {
        assert_eq!(rfc_3339(text.as_bytes(), format.clone()), "", "{text} as {format:?}");
    }
    assert_eq!(rfc_3339(b"2026-03-12T12:00:08\xff", Any), "");
}

#[test]
fn years_that_rfc_3339_does_not_have_do_not_fit() {
    assert_eq!(rfc_3339(b"-62167219201", TimestampFormat::Epoch), "");
    assert_eq!(rfc_3339(b"-62167219200", TimestampFormat::Epoch), "0000-01-01T00:00:00Z");
    assert_eq!(rfc_3339(b"9999-12-31T23:59:59-01:00", TimestampFormat::Rfc3339), "");
}

#[test]
fn milliseconds_are_a_number() {
    for (text, format, expected) in [
        ("2026-03-12T03:34:08.123987Z", TimestampFormat::Rfc3339, Some(1_773_286_448_123)),
        ("1773286448", TimestampFormat::Epoch, Some(1_773_286_448_000)),
        ("-1", TimestampFormat::EpochMs, Some(-1)),
        ("soon", TimestampFormat::Any, None),
    ] {
        assert_eq!(epoch_ms(text, format), expected, "{text}");
    }
}

/// A time without a year is of the last year in which it is at most a day ahead.
#[test]
fn the_year_is_that_of_now_or_the_one_before_or_after() {
    for (now, text, expected) in [
        ("2026-03-12T12:00:00Z", "Mar 12 12:59:59", "2026-03-12T11:59:59Z"),
        ("2026-03-12T12:00:00Z", "Mar 13 13:00:00", "2026-03-13T12:00:00Z"),
        ("2026-03-12T12:00:00Z", "Mar 13 13:00:01", "2025-03-13T12:00:01Z"),
        ("2026-03-12T12:00:00Z", "Dec 31 12:00:00", "2025-12-31T11:00:00Z"),
        // At the turn of a year: the line from before it, and one of a host whose clock is ahead.
        ("2026-01-01T00:00:01Z", "Dec 31 23:59:59", "2025-12-31T22:59:59Z"),
        ("2025-12-31T12:00:00Z", "Jan  1 00:00:05", "2025-12-31T23:00:05Z"),
        ("2025-12-31T12:00:00Z", "Jan  1 14:00:00", "2025-01-01T13:00:00Z"),
        // The year is of the line's zone: here it is 2027 already.
        ("2026-12-31T23:30:00Z", "Jan  1 00:30:00", "2026-12-31T23:30:00Z"),
        ("2028-03-01T00:00:00Z", "Feb 29 12:00:00", "2028-02-29T11:00:00Z"),
        ("2028-02-27T00:00:00Z", "Feb 29 12:00:00", "2024-02-29T11:00:00Z"),
        ("2026-03-12T12:00:00Z", "Feb 29 12:00:00", "2024-02-29T11:00:00Z"),
        ("2103-03-12T12:00:00Z", "Feb 29 12:00:00", "2096-02-29T11:00:00Z"),
    ] {
        assert_eq!(rfc_3339_at(now, text.as_bytes(), TimestampFormat::Syslog), expected, "{text} at {now}");
        let pattern = TimestampFormat::Pattern("%b %e %H:%M:%S".to_owned());
        assert_eq!(rfc_3339_at(now, text.as_bytes(), pattern), expected, "{text} at {now} by a pattern");
    }
    // The day of the week tells the year.
    let pattern = TimestampFormat::Pattern("%a %b %e %T".to_owned());
    assert_eq!(rfc_3339(b"Thu Mar 12 01:00:00", pattern.clone()), "2026-03-12T00:00:00Z");
    assert_eq!(rfc_3339(b"Wed Mar 12 01:00:00", pattern), "2025-03-12T00:00:00Z");
}

#[test]
fn local_times_that_are_not_or_are_twice() {
    for (text, expected) in [
        ("2026-03-29 01:59:59", "2026-03-29T00:59:59Z"),
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
        ("2026-03-29 03:00:00", "2026-03-29T01:00:00Z"),
        ("2026-10-25 01:59:59", "2026-10-24T23:59:59Z"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25 03:00:00", "2026-10-25T02:00:00Z"),
    ] {
        assert_eq!(rfc_3339(text.as_bytes(), TimestampFormat::Rfc3339), expected, "{text}");
    }
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("%d.%m.%Y %H:%M", "12.03.2026 12:00", "2026-03-12T11:00:00Z"),
        ("%d.%m.%y %H:%M:%S%.f", "12.03.26 12:00:08.5", "2026-03-12T11:00:08.500Z"),
        ("%d.%m.%y %H:%M:%S%.f", "12.03.26 12:00:08", "2026-03-12T11:00:08Z"),
        ("%Y%m%d%H%M%S%f", "20260312120008123456", "2026-03-12T11:00:08.123456Z"),
        ("%a, %d %b %Y %T GMT%z", "thu, 12 mar 2026 12:00:08 GMT+0900", "2026-03-12T03:00:08Z"),
        ("%m/%d/%Y %I:%M:%S %p %:z", "3/12/2026 12:00:08 am -01:00", "2026-03-12T01:00:08Z"),
        ("%Y-%j %T", "2026-071 12:00:60", "2026-03-12T11:00:59Z"),
        ("%G-W%V-%u %T", "2026-W11-4 12:00:08", "2026-03-12T11:00:08Z"),
        ("%s", "1773286448", "2026-03-12T03:34:08Z"),
        ("%s.%f", "1773286448.000001", "2026-03-12T03:34:08.000001Z"),
        ("%Y-%m-%d %T %Q", "2026-03-12 12:00:08 UTC", "2026-03-12T12:00:08Z"),
        ("%Y-%m-%d %H:%M:%S", "2026-02-29 12:00:00", ""),
        ("%Y-%m-%d %H:%M:%S", "2026-03-12 12:00:00 ", ""),
        ("%a %Y-%m-%d %H:%M:%S", "Fri 2026-03-12 12:00:00", ""),
    ] {
        assert_eq!(rfc_3339(text.as_bytes(), TimestampFormat::Pattern(pattern.to_owned())), expected, "{pattern}: {text}");
        assert_eq!(check_time_pattern(pattern), Ok(()), "{pattern}");
    }
}

#[test]
fn patterns_that_can_read_no_time() {
    for (pattern, part) in [
        ("%Y-%m-%d %H:%M:%E", "%E"),
        ("%Y-%m-%d %H:%M:%S %Z", "%Z"),
        ("100%% %é %Y", "%é"),
        ("%Y-%m-%d %T%.3", "%.3"),
        ("%Y-%m-%d %T%.3x", "%.3x"),
        ("%Y-%m-%d %", "%"),
        ("%c", "%c"),
        ("%_999Y", "%_999Y"),
    ] {
        let start = pattern.rfind(part).unwrap();
        assert_eq!(check_time_pattern(pattern), Err(PatternMistake::Directive(start..start + part.len())), "{pattern}");
    }
    for pattern in ["%Y-%m-%d", "%H:%M:%S", "%Y %H", "%m %H:%M", "%%", "", "%M:%S %Y-%m-%d"] {
        assert_eq!(check_time_pattern(pattern), Err(PatternMistake::NoTime), "{pattern}");
    }
}

/// Moments that RFC 3339 can say, in UTC and in the zone of the tests.
fn moments() -> impl Strategy<Value = Timestamp> {
    let seconds = -62_167_000_000_i64..253_402_100_000;
    (prop_oneof![seconds, 0..4_102_444_800_i64], 0..1_000_000_000_i32)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

proptest! {
    /// Whatever bytes, and whatever pattern, there is a value or there is none.
    #[test]
    fn any_text_is_read_or_does_not_fit(
        text in prop_oneof![
            any::<Vec<u8>>(),
            "[0-9TZ:., /+eEMarFb-]{0,40}".prop_map(String::into_bytes),
            "(Mar|Feb|Thu Mar) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{0,12})?( [0-9]{4})?".prop_map(String::into_bytes),
            "[0-9]{4}[-/][01][0-9][-/][0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[Z+:0-9-]{0,7}".prop_map(String::into_bytes),
        ],
        pattern in "(%[_0-9:.^#-]{0,3}[a-zA-Z%]|[ 0-9é:-]){0,8}",
        now in moments(),
    ) {
        let arena = Arena::new();
        for format in [
            TimestampFormat::Any,
            TimestampFormat::Rfc3339,
            TimestampFormat::Clf,
            TimestampFormat::Syslog,
            TimestampFormat::ApacheError,
            TimestampFormat::NginxError,
            TimestampFormat::Epoch,
            TimestampFormat::EpochNs,
            TimestampFormat::Pattern(pattern.clone()),
        ] {
            let output = TimestampOutput::Rfc3339;
            if let Some(Value::Text(written)) = convert(&text, &rules(format, output), now, &arena) {
                prop_assert!(str::from_utf8(written).unwrap().parse::<Timestamp>().is_ok());
            }
        }
        _ = check_time_pattern(&pattern);
    }

    /// What is written is the moment that was read, to as many digits.
    #[test]
    fn what_is_written_is_read_again(moment in moments(), digit_count in 0_usize..10) {
        let power = 10_i128.pow(9 - u32::try_from(digit_count).unwrap());
        let rounded = Timestamp::from_nanosecond(moment.as_nanosecond().div_euclid(power) * power).unwrap();
        let text = format!("{rounded:.digit_count$}");
        let written = rfc_3339(text.as_bytes(), TimestampFormat::Rfc3339);
        prop_assert_eq!(&written, &text);
        prop_assert_eq!(written.parse::<Timestamp>().unwrap(), rounded);
        prop_assert_eq!(rfc_3339(moment.as_nanosecond().to_string().as_bytes(), TimestampFormat::EpochNs), format!("{moment:.9}"));
        prop_assert_eq!(epoch_ms(&text, TimestampFormat::Rfc3339), Some(rounded.as_millisecond()));
    }

    /// What is read without a pattern is what a pattern reads.
    #[test]
    fn known_formats_are_read_as_patterns_are(moment in moments(), offset_minutes in -1439..1440, mangled in any::<Option<(prop::sample::Index, u8)>>()) {
        let zoned = moment.to_zoned(TimeZone::fixed(Offset::from_seconds(offset_minutes * 60).unwrap()));
        for (format, pattern) in [
            (TimestampFormat::Rfc3339, "%Y-%m-%dT%H:%M:%S%:z"),
            (TimestampFormat::Rfc3339, "%Y-%m-%d %H:%M:%S"),
            (TimestampFormat::Rfc3339, "%Y-%m-%d %H:%M:%S.%f"),
            (TimestampFormat::Clf, "%d/%b/%Y:%H:%M:%S %z"),
            (TimestampFormat::Syslog, "%b %e %H:%M:%S"),
            (TimestampFormat::ApacheError, "%a %b %e %H:%M:%S%.f %Y"),
            (TimestampFormat::NginxError, "%Y/%m/%d %H:%M:%S"),
        ] {
            let mut text = zoned.strftime(pattern).to_string().into_bytes();
            if let Some((index, byte)) = mangled {
                let at = index.index(text.len());
                text[at] = byte;
            }
            let read = |format| read(&text, &rules(format, TimestampOutput::Rfc3339), moment).map(|moment| moment.timestamp);
            let by_shape = read(format.clone());
            let by_pattern = read(TimestampFormat::Pattern(pattern.to_owned()));
            if mangled.is_none() {
                prop_assert!(by_shape.is_some(), "{}", text.escape_ascii());
                prop_assert_eq!(by_shape, read(TimestampFormat::Any));
            }
            // Each reads things that the other does not, spaces and signs above all; but none differently.
            if let (Some(by_shape), Some(by_pattern)) = (by_shape, by_pattern) {
                prop_assert_eq!(by_shape, by_pattern, "{}", text.escape_ascii());
            }
        }
    }
}
