//! Bytes as the vectors write them.
#![allow(dead_code, reason = "each test uses some")]

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<_> = text.chars().filter_map(|c| ALPHABET.find(c)).collect();
    let bytes = digits.chunks(4).flat_map(|digits| {
        let number = (0..4).fold(0, |number, at| number << 6 | digits.get(at).copied().unwrap_or(0));
        let bytes = [number >> 16, number >> 8, number].map(|byte| u8::try_from(byte & 0xFF).expect("a byte"));
        bytes.into_iter().take(digits.len() - 1)
    });
    bytes.collect()
}
