//! Texts into times.
//!
//! A time that says no year is the latest with its month and day that is at most a day ahead of the agent's clock. Times
//! that a zone passes over when its clocks are put forward are as much later; of those that it has twice when they are put
//! back, the first is meant. A leap second, `:60`, is the second before it.

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use self::shapes::Written;
use crate::config::{TimestampFormat, TimestampOutput, TimestampRules};
use crate::processor::fields::{Arena, Value};

mod shapes;

/// How far ahead of the agent's clock a time without a year may be: clocks and zones differ.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Longest time between two 29ths of February: from 1896 to 1904, from 2096 to 2104.
const LEAP_YEARS_GAP_MAX: i16 = 8;
/// Bytes of the longest RFC 3339 text, to the nanosecond.
const RFC_3339_BYTES_MAX: usize = "2026-03-12T12:00:08.123456789Z".len();

/// A time, and how many digits of its second were read, 0 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    timestamp: Timestamp,
    digit_count: usize,
}

/// What is wrong with a pattern of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternMistake {
    /// These bytes are no directive that can be read.
    Directive(std::ops::Range<usize>),
    /// It gives no date, or no time.
    NoTime,
}

/// What `text` is by `rules`; none when it is no such time.
pub(super) fn convert<'l>(text: &[u8], rules: &TimestampRules, now: Timestamp, arena: &'l Arena) -> Option<Value<'l>> {
    let moment = read(text, rules, now)?;
    match rules.output {
        TimestampOutput::EpochMs => Some(Value::Integer(moment.timestamp.as_millisecond())),
        TimestampOutput::Rfc3339 => {
            let mut written = [0; RFC_3339_BYTES_MAX];
            let byte_count = write_rfc_3339(moment, &mut written)?;
            Some(Value::Text(arena.alloc_slice_copy(&written[..byte_count])))
        }
    }
}

fn read(text: &[u8], rules: &TimestampRules, now: Timestamp) -> Option<Moment> {
    match &rules.format {
        TimestampFormat::Any => read_any(text, &rules.zone, now),
        TimestampFormat::Rfc3339 => moment(&shapes::iso(text, b'-')?, &rules.zone, now),
        TimestampFormat::NginxError => moment(&shapes::iso(text, b'/')?, &rules.zone, now),
        TimestampFormat::Clf => moment(&shapes::clf(text)?, &rules.zone, now),
        TimestampFormat::Syslog => moment(&shapes::syslog(text)?, &rules.zone, now),
        TimestampFormat::ApacheError => moment(&shapes::ctime(text)?, &rules.zone, now),
        TimestampFormat::Epoch => shapes::decimal(text)?.in_units(0),
        TimestampFormat::EpochMs => shapes::decimal(text)?.in_units(3),
        TimestampFormat::EpochUs => shapes::decimal(text)?.in_units(6),
        TimestampFormat::EpochNs => shapes::decimal(text)?.in_units(9),
        TimestampFormat::Pattern(pattern) => read_pattern(text, pattern, &rules.zone, now),
    }
}

/// Reads whatever `text` has the shape of.
fn read_any(text: &[u8], zone: &TimeZone, now: Timestamp) -> Option<Moment> {
    let written = match text {
        [b'0'..=b'9', _, b'/', ..] => shapes::clf(text)?,
        [b'0'..=b'9', _, _, _, separator @ (b'-' | b'/'), ..] => shapes::iso(text, *separator)?,
        [b'0'..=b'9', ..] => return shapes::decimal(text)?.in_units_by_size(),
        [_, _, _, b' ', b'A'..=b'Z' | b'a'..=b'z', ..] => shapes::ctime(text)?,
        _ => shapes::syslog(text)?,
    };
    moment(&written, zone, now)
}

fn moment(written: &Written, zone: &TimeZone, now: Timestamp) -> Option<Moment> {
    let in_year = |year| {
        let date_time = written.in_year(year)?;
        match written.offset {
            Some(offset) => offset.to_timestamp(date_time).ok(),
            None => zone.to_timestamp(date_time).ok(),
        }
    };
    let timestamp = match written.year {
        Some(year) => in_year(year),
        None => in_latest_year(zone, now, in_year),
    };
    Some(Moment { timestamp: timestamp?, digit_count: written.digit_count() })
}

/// The latest of what `in_year` says, for a year, that is not too far ahead of `now`.
fn in_latest_year(zone: &TimeZone, now: Timestamp, mut in_year: impl FnMut(i16) -> Option<Timestamp>) -> Option<Timestamp> {
    let latest = now.saturating_add(AHEAD_MAX).ok()?;
    let year = zone.to_datetime(latest).year();
    (year - LEAP_YEARS_GAP_MAX..=year).rev().find_map(|year| in_year(year).filter(|timestamp| *timestamp <= latest))
}

fn read_pattern(text: &[u8], pattern: &str, zone: &TimeZone, now: Timestamp) -> Option<Moment> {
    let mut read = BrokenDownTime::parse(pattern, text).ok()?;
    let nanosecond = read.subsec_nanosecond();
    let digit_count = match nanosecond {
        None => 0,
        Some(nanosecond) if nanosecond % 1_000_000 == 0 => 3,
        Some(nanosecond) if nanosecond % 1_000 == 0 => 6,
        Some(_) => 9,
    };
    let zone = &read.offset().map_or_else(|| zone.clone(), TimeZone::fixed);
    let timestamp = if let Some(second) = read.timestamp() {
        second.checked_add(SignedDuration::from_nanos(nanosecond.unwrap_or(0).into())).ok()
    } else if read.hour().is_none() {
        None
    } else if read.year().is_some() || read.iso_week_year().is_some() {
        resolve(&read, zone)
    } else {
        in_latest_year(zone, now, |year| {
            read.set_year(Some(year)).ok()?;
            resolve(&read, zone)
        })
    };
    Some(Moment { timestamp: timestamp?, digit_count })
}

fn resolve(read: &BrokenDownTime, zone: &TimeZone) -> Option<Timestamp> {
    match read.iana_time_zone() {
        Some(_) => read.to_zoned().ok().map(|zoned| zoned.timestamp()),
        None => zone.to_timestamp(read.to_datetime().ok()?).ok(),
    }
}

/// Whether times can be read by `pattern`, directives as those of `strftime`.
pub fn check_time_pattern(pattern: &str) -> Result<(), PatternMistake> {
    // What a pattern writes it must be able to read.
    let sample = Timestamp::constant(1_773_286_448, 123_456_789).to_zoned(TimeZone::UTC);
    let written = |pattern: &str| BrokenDownTime::from(&sample).to_string(pattern).ok();
    let mut at = 0;
    while let Some(start) = pattern[at..].find('%').map(|start| at + start) {
        let end = directive_end(pattern, start);
        let directive = &pattern[start..end];
        if written(directive).is_none_or(|text| BrokenDownTime::parse(directive, text).is_err()) {
            return Err(PatternMistake::Directive(start..end));
        }
        at = end;
    }
    let text = written(pattern).ok_or(PatternMistake::NoTime)?;
    let read = read_pattern(text.as_bytes(), pattern, &TimeZone::UTC, sample.timestamp());
    read.map(|_| ()).ok_or(PatternMistake::NoTime)
}

/// The end of the directive that begins at `start`: flags and a width, and one character.
fn directive_end(pattern: &str, start: usize) -> usize {
    let rest = pattern[start..].char_indices().skip(1);
    let mut kind = rest.skip_while(|(_, character)| "_-^#.:0123456789".contains(*character));
    kind.next().map_or(pattern.len(), |(index, character)| start + index + character.len_utf8())
}

/// Writes a moment of the years 0 to 9999 in UTC; returns how many bytes that took.
fn write_rfc_3339(Moment { timestamp, digit_count }: Moment, out: &mut [u8; RFC_3339_BYTES_MAX]) -> Option<usize> {
    let time = Offset::UTC.to_datetime(timestamp);
    out[..20].copy_from_slice(b"0000-00-00T00:00:00.");
    write_digits(time.year().try_into().ok()?, &mut out[..4]);
    for (part, start) in [(time.month(), 5), (time.day(), 8), (time.hour(), 11), (time.minute(), 14), (time.second(), 17)] {
        write_digits(part.unsigned_abs().into(), &mut out[start..start + 2]);
    }
    write_digits(time.subsec_nanosecond().unsigned_abs(), &mut out[20..29]);
    let end = if digit_count == 0 { 19 } else { 20 + digit_count.min(9) };
    out[end] = b'Z';
    Some(end + 1)
}

fn write_digits(mut number: u32, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        // Less than ten.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests;
