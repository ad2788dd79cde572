//! The commonest ways of writing a time, read without a pattern: many times as fast, and nothing is allocated.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::Moment;

/// A time as a text says it. That there is such a day is not sure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) year: Option<i16>,
    month: i8,
    day: i8,
    clock: Clock,
    pub(super) offset: Option<Offset>,
}

#[derive(Debug, PartialEq, Eq)]
struct Clock {
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    /// How many digits of the nanosecond were written, up to 9.
    digit_count: usize,
}

/// A number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    /// The number times 10^9.
    billionths: i128,
    /// How many digits are behind its point.
    digit_count: usize,
}

const MONTHS: [&[u8; 3]; 12] = [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
/// What is behind these digits of a fraction is less than any unit of time.
const FRACTION_DIGITS_MAX: usize = 18;

impl Written {
    /// The time in that year, if there is such a day.
    pub(super) fn in_year(&self, year: i16) -> Option<DateTime> {
        let Clock { hour, minute, second, nanosecond, .. } = self.clock;
        DateTime::new(year, self.month, self.day, hour, minute, second, nanosecond).ok()
    }

    /// How many digits of its second there are, up to 9.
    pub(super) fn digit_count(&self) -> usize {
        self.clock.digit_count
    }
}

impl Decimal {
    /// The time that is so many units after 1970 began; a unit is a second divided by 10^`exponent`.
    pub(super) fn in_units(&self, exponent: u8) -> Option<Moment> {
        let timestamp = Timestamp::from_nanosecond(self.billionths.div_euclid(10_i128.pow(exponent.into()))).ok()?;
        Some(Moment { timestamp, digit_count: (self.digit_count + usize::from(exponent)).min(9) })
    }

    /// The same in the unit in which it is a time from 2001 to 2286.
    pub(super) fn in_units_by_size(&self) -> Option<Moment> {
        let is_near = |exponent: &u8| {
            let second = self.billionths / 10_i128.pow(9 + u32::from(*exponent));
            (1_000_000_000..10_000_000_000).contains(&second)
        };
        self.in_units([0, 3, 6, 9].into_iter().find(is_near)?)
    }
}

/// `2026-03-12T12:00:08.123+09:00` with that separator; a space, or a small letter, for the `T`; `Z` or no offset.
pub(super) fn iso(text: &[u8], separator: u8) -> Option<Written> {
    let mut rest = Rest(text);
    let year = Some(rest.year()?);
    rest.byte(separator)?;
    let month = rest.two_digits()?;
    rest.byte(separator)?;
    let day = rest.two_digits()?;
    rest.one_of(b"Tt ")?;
    let clock = rest.clock()?;
    Some(Written { year, month, day, clock, offset: rest.offset()? })
}

/// `12/Mar/2026:12:00:08 +0900`
pub(super) fn clf(text: &[u8]) -> Option<Written> {
    let mut rest = Rest(text);
    let day = rest.two_digits()?;
    rest.byte(b'/')?;
    let month = rest.month()?;
    rest.byte(b'/')?;
    let year = Some(rest.year()?);
    rest.byte(b':')?;
    let clock = rest.clock()?;
    Some(Written { year, month, day, clock, offset: rest.offset()? })
}

/// `Mar  2 12:00:08`
pub(super) fn syslog(text: &[u8]) -> Option<Written> {
    let mut rest = Rest(text);
    let (month, day) = rest.month_and_day()?;
    let clock = rest.clock()?;
    rest.0.is_empty().then_some(Written { year: None, month, day, clock, offset: None })
}

/// `Thu Mar  2 12:00:08.123456 2026`; the day of the week may be wrong.
pub(super) fn ctime(text: &[u8]) -> Option<Written> {
    let (weekday, rest) = text.split_first_chunk::<3>()?;
    weekday.iter().all(u8::is_ascii_alphabetic).then_some(())?;
    let mut rest = Rest(rest);
    rest.byte(b' ')?;
    let (month, day) = rest.month_and_day()?;
    let clock = rest.clock()?;
    rest.byte(b' ')?;
    let year = Some(rest.year()?);
    rest.0.is_empty().then_some(Written { year, month, day, clock, offset: None })
}

/// A number as JSON has it.
pub(super) fn decimal(text: &[u8]) -> Option<Decimal> {
    let (is_negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        text => (false, text),
    };
    let (number, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], str::from_utf8(&text[at + 1..]).ok()?.parse::<i8>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = match number.iter().position(|byte| *byte == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..0]),
    };
    let ends_in_point = number.len() == whole.len() + 1;
    if whole.is_empty() || ends_in_point || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let digits = whole.iter().chain(fraction).try_fold(0_i128, |number, byte| {
        let digit = byte.is_ascii_digit().then_some(byte & 15)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    let fraction_exponent = i32::try_from(fraction.len()).ok()? - i32::from(exponent);
    let power = 10_i128.checked_pow((9 - fraction_exponent).unsigned_abs());
    let billionths = if fraction_exponent > 9 { power.map_or(0, |power| digits / power) } else { digits.checked_mul(power?)? };
    let digit_count = usize::try_from(fraction_exponent).unwrap_or(0);
    Some(Decimal { billionths: if is_negative { -billionths } else { billionths }, digit_count })
}

/// What is still to be read.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn byte(&mut self, wanted: u8) -> Option<()> {
        self.one_of(&[wanted])
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| self.0 = rest)
    }

    fn two_digits(&mut self) -> Option<i8> {
        let ([tens @ b'0'..=b'9', ones @ b'0'..=b'9'], rest) = self.0.split_first_chunk()? else { return None };
        self.0 = rest;
        i8::try_from((tens & 15) * 10 + (ones & 15)).ok()
    }

    fn year(&mut self) -> Option<i16> {
        let (century, year) = (self.two_digits()?, self.two_digits()?);
        Some(i16::from(century) * 100 + i16::from(year))
    }

    fn month(&mut self) -> Option<i8> {
        let (name, rest) = self.0.split_first_chunk::<3>()?;
        self.0 = rest;
        let number = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))? + 1;
        i8::try_from(number).ok()
    }

    /// `Mar  2 `, `Mar 02 ` or `Mar 2 `
    fn month_and_day(&mut self) -> Option<(i8, i8)> {
        let month = self.month()?;
        self.byte(b' ')?;
        // One before a day of one digit, for those of two.
        _ = self.byte(b' ');
        let day = match self.0 {
            [digit @ b'0'..=b'9', b' ', ..] => {
                self.0 = &self.0[1..];
                i8::try_from(digit & 15).ok()?
            }
            _ => self.two_digits()?,
        };
        self.byte(b' ')?;
        Some((month, day))
    }

    /// `12:00:08`, with a fraction behind a point or a comma, or without.
    fn clock(&mut self) -> Option<Clock> {
        let hour = self.two_digits()?;
        self.byte(b':')?;
        let minute = self.two_digits()?;
        self.byte(b':')?;
        // A leap second.
        let second = Some(self.two_digits()?).map(|second| if second == 60 { 59 } else { second })?;
        let (mut nanosecond, mut digit_count) = (0, 0);
        if let Some(()) = self.one_of(b".,") {
            let digits = &self.0[..self.0.iter().take_while(|byte| byte.is_ascii_digit()).count()];
            self.0 = &self.0[digits.len()..];
            digit_count = digits.len().min(9);
            let nine = digits.iter().chain(&[b'0'; 9]).take(9);
            nanosecond = nine.fold(0, |number, byte| number * 10 + i32::from(byte & 15));
            (digit_count > 0).then_some(())?;
        }
        Some(Clock { hour, minute, second, nanosecond, digit_count })
    }

    /// Nothing, `Z`, `+09:00`, `+0900` or `+09`, perhaps with a space before it, and then the end.
    fn offset(mut self) -> Option<Option<Offset>> {
        if self.0.is_empty() {
            return Some(None);
        }
        _ = self.byte(b' ');
        if let b"Z" | b"z" = self.0 {
            return Some(Some(Offset::UTC));
        }
        let sign = if self.byte(b'+').is_some() { 1 } else { self.byte(b'-').map(|()| -1)? };
        let hour = self.two_digits()?;
        _ = self.byte(b':');
        let minute = if self.0.is_empty() { 0 } else { self.two_digits()? };
        let is_sound = hour < 24 && minute < 60 && self.0.is_empty();
        let second = (i32::from(hour) * 60 + i32::from(minute)) * 60;
        is_sound.then(|| Offset::from_seconds(sign * second).ok())?.map(Some)
    }
}
