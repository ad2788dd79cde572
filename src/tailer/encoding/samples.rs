//! What files in each encoding may look like, for property tests.

use proptest::prelude::*;

use crate::config::Encoding;

pub(crate) const ALL: [Encoding; 8] = [
    Encoding::Utf8,
    Encoding::Utf16,
    Encoding::Utf16Le,
    Encoding::Utf16Be,
    Encoding::Latin1,
    Encoding::ShiftJis,
    Encoding::EucKr,
    Encoding::Gb18030,
];

/// Of all lengths, of two planes, and with 0x0A in what is no newline.
const CHARACTERS: &str = "abc\\~0{é ßÿ日本ソ表熙黑ｱ가똠中㐀€🦀𠀀\u{feff}\u{0a0a}\u{0a00}\u{010a}\u{0d00}";

/// Bytes that begin, end or break characters.
const FRAGMENTS: [u8; 16] = [0x00, 0x0a, 0x0d, 0x30, 0x39, 0x40, 0x7f, 0x80, 0x81, 0xa0, 0xd8, 0xdc, 0xe3, 0xfe, 0xff, b'a'];

/// The bytes of `text`, without what cannot be written in this encoding. "utf-16" is written as little endian here.
pub(crate) fn encoded(encoding: Encoding, text: &str) -> Vec<u8> {
    let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    let of = |encoding: &'static encoding_rs::Encoding| {
        let mut character = [0; 4];
        let bytes = text.chars().filter_map(|c| match encoding.encode(c.encode_utf8(&mut character)) {
            (bytes, _, false) => Some(bytes.into_owned()),
            _ => None,
        });
        bytes.flatten().collect()
    };
    match encoding {
        Encoding::Utf8 => text.into(),
        Encoding::Utf16 | Encoding::Utf16Le => units(u16::to_le_bytes),
        Encoding::Utf16Be => units(u16::to_be_bytes),
        Encoding::Latin1 => text.chars().filter_map(|c| u8::try_from(c).ok()).collect(),
        Encoding::ShiftJis => of(encoding_rs::SHIFT_JIS),
        Encoding::EucKr => of(encoding_rs::EUC_KR),
        Encoding::Gb18030 => of(encoding_rs::GB18030),
    }
}

pub(crate) fn any_encoding() -> impl Strategy<Value = Encoding> {
    proptest::sample::select(&ALL[..])
}

/// A file: characters, ends of lines, some that is malformed, perhaps a byte order mark.
pub(crate) fn any_file(encoding: Encoding) -> impl Strategy<Value = Vec<u8>> {
    // "utf-16" in either order; without a mark it is little endian.
    let (written, marks): (&[Encoding], &[&str]) = match encoding {
        Encoding::Utf16 => (&[Encoding::Utf16Le, Encoding::Utf16Be], &["\u{feff}"]),
        _ => (&ALL[ALL.iter().position(|other| *other == encoding).unwrap()..][..1], &["", "\u{feff}", "\u{fffe}"]),
    };
    let (written, mark) = (proptest::sample::select(written.to_vec()), proptest::sample::select(marks.to_vec()));
    let characters: Vec<char> = CHARACTERS.chars().collect();
    let token = prop_oneof![
        6 => proptest::sample::select(characters).prop_map(|c| Token::Text(c.to_string())),
        3 => proptest::sample::select(vec!["\n", "\r\n", "\r"]).prop_map(|end| Token::Text(end.to_owned())),
        1 => proptest::sample::select(FRAGMENTS.to_vec()).prop_map(Token::Fragment),
    ];
    (written, mark, proptest::collection::vec(token, 0..60)).prop_map(|(written, mark, tokens)| {
        let mut file = encoded(written, mark);
        for token in tokens {
            match token {
                Token::Text(text) => file.extend(encoded(written, &text)),
                Token::Fragment(byte) => file.push(byte),
            }
        }
        file
    })
}

#[derive(Clone, Debug)]
enum Token {
    Text(String),
    Fragment(u8),
}

/// An encoding and a file in it.
pub(crate) fn any_encoded_file() -> impl Strategy<Value = (Encoding, Vec<u8>)> {
    any_encoding().prop_flat_map(|encoding| (Just(encoding), any_file(encoding)))
}
