//! The subcommands, one module each, and what they share: exit codes, and numbers for people.
//!
//! `arguments` has the command line, `main` parses it.

pub mod arguments;
pub mod check;
pub mod estimate;
pub mod offsets;
pub mod preview;
pub mod run;

/// Exit codes, by their names in `sysexits.h`.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The command line was wrong (`EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// A file that was named on the command line is wrong (`EX_DATAERR`).
    pub const DATAERR: u8 = 65;
    /// `--local --once` did not read back what was delivered (`EX_SOFTWARE`).
    pub const SOFTWARE: u8 = 70;
    /// The system gives no threads or signals (`EX_OSERR`).
    pub const OSERR: u8 = 71;
    /// Something could not be read or written: the offset store (`EX_IOERR`).
    pub const IOERR: u8 = 74;
    /// Another agent uses the state folder; later it may go (`EX_TEMPFAIL`).
    pub const TEMPFAIL: u8 = 75;
    /// The state folder belongs to another user, who alone may do that (`EX_NOPERM`).
    pub const NOPERM: u8 = 77;
    /// The configuration is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;
    /// Added to the number of the signal that cut a run short, as shells do.
    pub const SIGNAL: u8 = 128;
}

/// What went wrong and why, from the outside in.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// `12 files`, `1 file`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `3.4 MiB`: for people, not exact.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, rounded; 1023.96 KiB is 1.0 MiB, not 1024.0 KiB.
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (1 << (10 * unit + 9))) >> (10 * (unit + 1));
    let unit = (0..UNITS.len() - 1).find(|unit| tenths(*unit) < 10240).unwrap_or(UNITS.len() - 1);
    format!("{}.{} {}", tenths(unit) / 10, tenths(unit) % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (3_565_158, "3.4 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
