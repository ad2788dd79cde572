//! Numbers of payment cards.
//!
//! Of numbers that begin like one and are as long, one in ten has the right check digit by chance.

use std::ops::{Range, RangeInclusive};

use super::{begins_word, count_first, count_last, ends_word, escape};

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
const GROUPS_MAX: usize = 5;
/// What may be between groups, between all of them the same; a no-break space among them.
const SEPARATORS: [&[u8]; 8] = [b" ", b"-", b"\t", b"  ", b"\xc2\xa0", b"+", b"%20", b"\\t"];

/// First four digits, and how many digits there are, as <https://en.wikipedia.org/wiki/Payment_card_number> lists them.
/// Without UATP, of which the numbers begin as microseconds since 1970 do.
const ISSUERS: &[(RangeInclusive<u16>, RangeInclusive<usize>)] = &[
    // Mir, Borica
    (2200..=2205, 16..=19),
    // Mastercard
    (2221..=2720, 16..=16),
    (5100..=5599, 16..=16),
    // Diners Club
    (3000..=3059, 14..=19),
    (3095..=3095, 14..=19),
    (3600..=3699, 14..=19),
    (3800..=3999, 14..=19),
    // American Express
    (3400..=3499, 15..=15),
    (3700..=3799, 15..=15),
    // JCB, RuPay
    (3528..=3589, 16..=19),
    // Visa
    (4000..=4999, 13..=13),
    (4000..=4999, 16..=16),
    (4000..=4999, 18..=19),
    // Maestro, Dankort, Verve, RuPay, UzCard
    (5000..=5099, 13..=19),
    (5600..=5899, 13..=19),
    (6304..=6304, 13..=19),
    (6759..=6767, 13..=19),
    // Discover, RuPay
    (6000..=6099, 16..=19),
    // UnionPay
    (6200..=6299, 16..=19),
    (8100..=8171, 16..=19),
    // InterPayment, InstaPayment
    (6360..=6399, 16..=19),
    // Discover, RuPay, Troy, Verve
    (6440..=6599, 16..=19),
    // RuPay
    (8200..=8299, 16..=16),
    // UzCard, Napas, Troy, Humo
    (8600..=8600, 16..=16),
    (9704..=9704, 16..=19),
    (9792..=9792, 16..=16),
    (9860..=9860, 16..=16),
];

/// The number of a card, its digits together or in groups with a space or a hyphen between them.
pub(super) fn find(text: &[u8]) -> Option<Range<usize>> {
    let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b' ' | b'-' | b'\t' | b'+' | b'%' | b'\\' | b't' | 0xc2 | 0xa0);
    let mut at = 0;
    // Of so many bytes in a row a number has at least the last, if it begins among them.
    while let Some(probe) = text.get(at + DIGITS_MIN - 1) {
        let probe_at = at + DIGITS_MIN - 1;
        if !is_part(*probe) {
            at = probe_at + 1;
            continue;
        }
        at = probe_at - count_last(&text[at..probe_at], is_part);
        // Through all groups up to the first that is more than that.
        while text.get(at).is_some_and(|byte| is_part(*byte)) {
            let digit_count = count_first(&text[at..], |byte| byte.is_ascii_digit());
            let digits_end = at + digit_count;
            let found = |start: usize| {
                let is_begun = is_first_group(digits_end - start) && is_free_before(text, start);
                if is_begun { number_end(text, start).map(|end| start..end) } else { None }
            };
            if let Some(found) = escape::starts(text, at, digits_end).find_map(found) {
                return Some(found);
            }
            at += digit_count.max(1);
        }
    }
    None
}

/// Whether a number can begin here: behind a point it is a fraction, behind a plus that of a telephone.
fn is_free_before(text: &[u8], start: usize) -> bool {
    let is_more = matches!(text[..start], [.., b'0'..=b'9', b'.'] | [.., b'+']);
    begins_word(text, start) && !is_more
}

fn is_free_behind(text: &[u8], end: usize) -> bool {
    let is_more = matches!(text[end..], [b'.', b'0'..=b'9', ..]);
    ends_word(text, end) && !is_more
}

/// The end of the longest number that begins at `start`.
fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let (mut digits, mut digit_count) = ([0; DIGITS_MAX], 0);
    let mut sizes = [0; GROUPS_MAX];
    let mut separator = None;
    let (mut at, mut end) = (start, None);
    for group in 0..GROUPS_MAX {
        let group_start = at;
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            let Some(place) = digits.get_mut(digit_count) else { return end };
            *place = digit & 15;
            (at, digit_count) = (at + 1, digit_count + 1);
        }
        sizes[group] = at - group_start;
        if is_shape(&sizes[..=group]) && is_number(&digits[..digit_count]) && is_free_behind(text, at) {
            end = Some(at);
        }
        match separator_at(&text[at..]) {
            Some(next) if separator.is_none_or(|separator| separator == next) => {
                (separator, at) = (Some(next), at + next.len());
            }
            _ => break,
        }
    }
    end
}

/// What is between a digit and the next at the beginning of `text`.
fn separator_at(text: &[u8]) -> Option<&'static [u8]> {
    let is_here =
        |separator: &&[u8]| text.strip_prefix(*separator).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    SEPARATORS.into_iter().find(is_here)
}

/// Whether so many digits can be the first of a shape.
fn is_first_group(digit_count: usize) -> bool {
    matches!(digit_count, 4 | 6 | DIGITS_MIN..=DIGITS_MAX)
}

/// How the digits of a card are printed: together, or in groups of so many.
fn is_shape(sizes: &[usize]) -> bool {
    matches!(sizes, [DIGITS_MIN..=DIGITS_MAX] | [4, 4, 4, 1..=4] | [4, 4, 4, 4, 1..=3] | [4, 6, 4..=5] | [4, 3, 3, 3] | [6, 13])
}

fn is_number(digits: &[u8]) -> bool {
    let Some((first, _)) = digits.split_first_chunk::<4>() else { return false };
    let first = first.iter().fold(0, |number: u16, digit| number * 10 + u16::from(*digit));
    let is_issued =
        ISSUERS.iter().any(|(prefixes, digit_counts)| prefixes.contains(&first) && digit_counts.contains(&digits.len()));
    is_issued && has_check_digit(digits)
}

/// The last digit makes the sum of all, every second from the end doubled, a multiple of ten (ISO/IEC 7812-1, Luhn).
fn has_check_digit(digits: &[u8]) -> bool {
    const DOUBLED: [u32; 10] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let worth = |(index, digit): (usize, &u8)| {
        if index % 2 == 0 { u32::from(*digit) } else { DOUBLED[usize::from(*digit % 10)] }
    };
    digits.iter().rev().enumerate().map(worth).sum::<u32>().is_multiple_of(10)
}
