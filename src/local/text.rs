//! Figures and foreign bytes as a person reads them.

use crate::limits::KIB;

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3` and `line` as `3 lines`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `47_710` as `46.6 KiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    if number < KIB as u64 {
        return format!("{number} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = number as f64;
    let mut unit = 0;
    // What would be rounded to 1024.0 is written in the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= KIB as f64;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes on one line of a terminal, `…` behind what was cut: nothing in them can move the cursor.
pub(super) fn visible(bytes: &[u8], chars_max: usize) -> String {
    // A character has four bytes at most.
    let head = &bytes[..bytes.len().min(4 * chars_max)];
    let head = String::from_utf8_lossy(head.strip_suffix(b"\n").unwrap_or(head)).into_owned();
    let mut text = String::new();
    for (index, character) in head.chars().enumerate() {
        if index == chars_max {
            break;
        }
        match character {
            '\t' => text.push(' '),
            // Control characters, and those that turn the direction of writing or break the line.
            c if c.is_control() || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}') => {
                text.extend(c.escape_unicode());
            }
            c => text.push(c),
        }
    }
    if head.chars().count() > chars_max || bytes.len() > 4 * chars_max {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 47_710, 1_048_575, 3 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "46.6 KiB", "1.0 MiB", "3.0 TiB"]
        );
        assert_eq!([counted(1, "line"), counted(2000, "line")], ["1 line", "2,000 lines"]);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(visible(b"plain\n", 20), "plain");
        assert_eq!(visible(b"a\tb\x1b[2J\x07", 20), "a b\\u{1b}[2J\\u{7}");
        assert_eq!(visible("\u{202E}x".as_bytes(), 20), "\\u{202e}x");
        assert_eq!(visible(b"\xff\xfe", 20), "\u{FFFD}\u{FFFD}");
        assert_eq!(visible("äöü".as_bytes(), 2), "äö…");
        assert_eq!(visible(&b"x".repeat(9), 2), "xx…");
    }
}
