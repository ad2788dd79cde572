//! Sizes and durations as people write them: a whole number and a unit.
//!
//! Which values are sensible is decided by those who read them.

use std::time::Duration;

use super::mistakes::nearest;

/// Units of size, from the smallest. The decimal ones are read and never written by us.
const SIZES: [(&str, u64); 7] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
/// Units of time in milliseconds, from the smallest.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `64 MiB`; the error says what to write.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = parse(text, &SIZES, "64 MiB", "B, KiB, MiB or GiB")?;
    usize::try_from(bytes).map_err(|_| "write a smaller size".to_owned())
}

/// Reads `500 ms`; the error says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &TIMES, "500 ms", "ms, s, min, h or d").map(Duration::from_millis)
}

/// The size in the largest unit that divides it, as [`parse_size`] reads it.
pub(super) fn size_written(bytes: usize) -> String {
    written(bytes as u64, &SIZES[..4])
}

/// The duration in the largest unit that divides it, as [`parse_duration`] reads it.
pub(super) fn duration_written(duration: Duration) -> String {
    written(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

fn written(amount: u64, units: &[(&str, u64)]) -> String {
    let divides = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rev().find(divides).unwrap_or(&units[0]);
    format!("{} {unit}", amount / factor)
}

fn parse(text: &str, units: &[(&str, u64)], example: &str, unit_names: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim_start());
    if digits.is_empty() {
        return Err(format!("write a whole number and a unit, for example \"{example}\""));
    }
    if unit.is_empty() {
        return Err(format!("write the unit too, for example \"{digits} {}\": {unit_names}", units[1].0));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        // `m` is a minute to some and a mebibyte to others: never guessed, only suggested.
        return Err(match meant(unit, units) {
            Some(name) => format!("did you mean \"{digits} {name}\"? units are {unit_names}"),
            None => format!("write a whole number and one of the units {unit_names}, for example \"{example}\""),
        });
    };
    let amount = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    amount.ok_or_else(|| format!("write a smaller number, for example \"{example}\""))
}

fn meant<'a>(unit: &str, units: &[(&'a str, u64)]) -> Option<&'a str> {
    let lowercase = unit.to_lowercase();
    let names = || units.iter().map(|(name, _)| *name);
    let starts_alike = |name: &&str| name.to_lowercase().starts_with(&lowercase) || lowercase.starts_with(&name.to_lowercase());
    names()
        .find(|name| name.eq_ignore_ascii_case(unit))
        .or_else(|| names().filter(starts_alike).max_by_key(|name| name.len()))
        .or_else(|| nearest(unit, names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_whole_number_and_a_unit() {
        let read = |text| parse_size(text).map_err(|help| help.split(": ").next().unwrap_or_default().to_owned());
        assert_eq!(read("64 MiB"), Ok(64 << 20));
        assert_eq!(read("1KiB"), Ok(1024));
        assert_eq!(read("10 MB"), Ok(10_000_000));
        assert_eq!(read("0 B"), Ok(0));
        for (text, help) in [
            ("64", "write the unit too, for example \"64 KiB\""),
            ("64 mib", "did you mean \"64 MiB\"? units are B, KiB, MiB or GiB"),
            ("64 M", "did you mean \"64 MiB\"? units are B, KiB, MiB or GiB"),
            ("64 bytes", "did you mean \"64 B\"? units are B, KiB, MiB or GiB"),
            ("", "write a whole number and a unit, for example \"64 MiB\""),
            ("-1 B", "write a whole number and a unit, for example \"64 MiB\""),
            ("1.5 MiB", "write a whole number and one of the units B, KiB, MiB or GiB, for example \"64 MiB\""),
            ("99999999999 GiB", "write a smaller number, for example \"64 MiB\""),
            ("99999999999999999999 B", "write a smaller number, for example \"64 MiB\""),
        ] {
            assert_eq!(read(text), Err(help.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_need_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("500 ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1 h"), Ok(Duration::from_secs(3600)));
        let help = |text| parse_duration(text).unwrap_err();
        assert_eq!(help("5 m"), "did you mean \"5 min\"? units are ms, s, min, h or d");
        assert_eq!(help("5 seconds"), "did you mean \"5 s\"? units are ms, s, min, h or d");
        assert_eq!(help("soon"), "write a whole number and a unit, for example \"500 ms\"");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (bytes, text) in
            [(0, "0 B"), (1, "1 B"), (1024, "1 KiB"), (1025, "1025 B"), (1020 << 10, "1020 KiB"), (64 << 20, "64 MiB")]
        {
            assert_eq!((size_written(bytes).as_str(), parse_size(text)), (text, Ok(bytes)));
        }
        assert_eq!(duration_written(Duration::from_millis(1500)), "1500 ms");
        assert_eq!(duration_written(Duration::from_secs(900)), "15 min");
    }
}
