//! Which lines are in a request: what a line says of itself behind a mark is found in the data of records, whatever frames them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Stands in a line before its number, which has [`DIGITS`] digits.
pub(crate) const MARK: &str = "line=";
const DIGITS: usize = 10;

/// First and last of the numbers in `body` that follow each other, as they come.
pub(super) fn numbers_in(body: &[u8], is_cbor: bool) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    if is_cbor {
        find(body, &mut ranges);
        return ranges;
    }
    const BEFORE_DATA: &[u8] = b"\"Data\":\"";
    for at in memchr::memmem::find_iter(body, BEFORE_DATA) {
        let data = &body[at + BEFORE_DATA.len()..];
        let data = &data[..memchr::memchr(b'"', data).unwrap()];
        find(&BASE64.decode(data).unwrap(), &mut ranges);
    }
    ranges
}

fn find(data: &[u8], ranges: &mut Vec<(u64, u64)>) {
    for at in memchr::memmem::find_iter(data, MARK.as_bytes()) {
        let digits = &data[at + MARK.len()..][..DIGITS];
        let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
}
