//! Where in the bytes of a file lines end and characters begin, in each encoding.
//!
//! Pure. What the characters are is the business of [`super::encoding`].
//!
//! In all encodings but UTF-16 a byte 0x0A is a newline wherever it stands, for it is never the second byte of a
//! character. In UTF-16 it is one together with a zero, and only at an even offset of the file.

use crate::config::Encoding;

/// An encoding, the order of bytes decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Charset {
    /// Or whatever the bytes are: they stay as they are.
    #[default]
    Utf8,
    Utf16Le,
    Utf16Be,
    Latin1,
    ShiftJis,
    EucKr,
    Gb18030,
}

const UTF_8_BYTES_MAX: usize = 4;
const BOM_LE: [u8; 2] = [0xff, 0xfe];
const BOM_BE: [u8; 2] = [0xfe, 0xff];

impl Charset {
    /// Of a file that begins with `beginning`: two bytes of it decide.
    pub(super) fn of(encoding: Encoding, beginning: &[u8]) -> Self {
        match encoding {
            Encoding::Utf8 => Self::Utf8,
            Encoding::Utf16 if beginning.starts_with(&BOM_BE) => Self::Utf16Be,
            Encoding::Utf16 | Encoding::Utf16Le => Self::Utf16Le,
            Encoding::Utf16Be => Self::Utf16Be,
            Encoding::Latin1 => Self::Latin1,
            Encoding::ShiftJis => Self::ShiftJis,
            Encoding::EucKr => Self::EucKr,
            Encoding::Gb18030 => Self::Gb18030,
        }
    }

    /// Of a file of which nothing is known but how it begins: UTF-16 if it says so.
    pub(super) fn of_beginning(beginning: &[u8]) -> Self {
        let is_marked = beginning.starts_with(&BOM_BE) || beginning.starts_with(&BOM_LE);
        Self::of(if is_marked { Encoding::Utf16 } else { Encoding::Utf8 }, beginning)
    }

    /// Bytes of a newline, and of a CR.
    pub(super) fn unit_bytes(self) -> usize {
        if self.is_utf_16() { 2 } else { 1 }
    }

    /// The part of `byte_count` bytes that is whole units.
    pub(super) fn whole_units(self, byte_count: usize) -> usize {
        byte_count - byte_count % self.unit_bytes()
    }

    /// Bytes from `offset` of the file that are no text: its byte order mark, or, behind an end of the file that was
    /// within a unit, what that unit still lacked.
    pub(super) fn textless_bytes(self, offset: u64, bytes: &[u8]) -> usize {
        let bom = match self {
            Self::Utf16Le => BOM_LE,
            Self::Utf16Be => BOM_BE,
            _ => return 0,
        };
        match offset {
            0 if bytes.starts_with(&bom) => bom.len(),
            _ => usize::from(offset % 2 == 1).min(bytes.len()),
        }
    }

    /// Where the first newline is in `bytes`, which begin with a unit.
    pub(super) fn find_newline(self, bytes: &[u8]) -> Option<usize> {
        if self.is_utf_16() { self.find_utf_16_newline(bytes) } else { memchr::memchr(b'\n', bytes) }
    }

    /// Where the last one is.
    pub(super) fn rfind_newline(self, bytes: &[u8]) -> Option<usize> {
        if self.is_utf_16() { self.utf_16_newlines(bytes).next_back() } else { memchr::memrchr(b'\n', bytes) }
    }

    /// `text` without a CR at its end.
    pub(super) fn without_cr(self, text: &[u8]) -> &[u8] {
        let without = match self {
            Self::Utf16Le => text.strip_suffix(b"\r\0"),
            Self::Utf16Be => text.strip_suffix(b"\0\r"),
            _ => text.strip_suffix(b"\r"),
        };
        without.unwrap_or(text)
    }

    /// The least that [`Charset::cut_before`] gives.
    pub(super) fn cut_min(self, length_max: usize) -> usize {
        let character_bytes_max = match self {
            Self::Latin1 => 1,
            Self::ShiftJis | Self::EucKr => 2,
            Self::Utf8 | Self::Gb18030 | Self::Utf16Le | Self::Utf16Be => 4,
        };
        // Rounded up: a cut is always behind whole units.
        let least = length_max.saturating_sub(character_bytes_max - 1);
        least.next_multiple_of(self.unit_bytes()).max(self.unit_bytes())
    }

    /// The greatest length up to `length_max` that tears no character, of `line`, which begins with a character and is
    /// longer. At least one unit: what is longer than `length_max` by itself is torn, and so is what is to be UTF-8
    /// and is not. Only bytes before `length_max`, and for UTF-8 the one behind, decide.
    ///
    /// Decoded by itself, what is before the cut gives the same characters as in the whole line, also where bytes are
    /// malformed.
    pub(super) fn cut_before(self, line: &[u8], length_max: usize) -> usize {
        let cut = match self {
            Self::Utf8 => utf_8_cut(line, length_max),
            Self::Latin1 => length_max,
            Self::Utf16Le | Self::Utf16Be => self.utf_16_cut(line, length_max),
            Self::ShiftJis | Self::EucKr | Self::Gb18030 => self.multibyte_cut(line, length_max),
        };
        if cut > 0 { cut } else { self.whole_units(length_max).max(self.unit_bytes()) }
    }

    // In line it makes the search in all other encodings slower by a quarter.
    #[inline(never)]
    fn find_utf_16_newline(self, bytes: &[u8]) -> Option<usize> {
        self.utf_16_newlines(bytes).next()
    }

    fn is_utf_16(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    fn utf_16_newlines(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let newline = if self == Self::Utf16Le { b"\n\0" } else { b"\0\n" };
        memchr::memchr_iter(b'\n', bytes).map(|at| at - at % 2).filter(|at| bytes[*at..].starts_with(newline))
    }

    /// A high surrogate goes to what follows, whatever that is.
    fn utf_16_cut(self, line: &[u8], length_max: usize) -> usize {
        let cut = self.whole_units(length_max);
        let high_byte = if self == Self::Utf16Le { cut.checked_sub(1) } else { cut.checked_sub(2) };
        let is_behind_high_surrogate = high_byte.and_then(|at| line.get(at)).is_some_and(|byte| (0xd8..=0xdb).contains(byte));
        if is_behind_high_surrogate { cut - 2 } else { cut }
    }

    /// Where a character ends can only be told from the beginning of the line on.
    fn multibyte_cut(self, line: &[u8], length_max: usize) -> usize {
        let mut cut = 0;
        loop {
            let length = self.multibyte_length(&line[cut..line.len().min(length_max)]);
            if length == 0 || cut + length > length_max {
                return cut;
            }
            cut += length;
        }
    }

    /// Bytes behind which a decoder begins anew, whatever they are; 0 when there is none.
    fn multibyte_length(self, bytes: &[u8]) -> usize {
        let is_lead = |byte: &u8| match self {
            Self::ShiftJis => matches!(byte, 0x81..=0x9f | 0xe0..=0xfc),
            _ => matches!(byte, 0x81..=0xfe),
        };
        match bytes {
            [] => 0,
            [first, ..] if !is_lead(first) => 1,
            [_, b'0'..=b'9', third, ..] if self == Self::Gb18030 && is_lead(third) => 4,
            // Malformed. Without the third byte a decoder makes one U+FFFD of the two, with it U+FFFD and a digit.
            [_, b'0'..=b'9', ..] if self == Self::Gb18030 => 3,
            _ => 2,
        }
    }
}

/// How much of the beginning of `line`, which is longer than `length_max`, is kept where it is cut: at least a byte, and no more
/// than that. No character of UTF-8 is torn, but one that is longer by itself.
pub fn utf_8_cut_before(line: &[u8], length_max: usize) -> usize {
    Charset::Utf8.cut_before(line, length_max)
}

/// What is not UTF-8 is cut at `length_max`.
fn utf_8_cut(bytes: &[u8], length_max: usize) -> usize {
    let is_continuation = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (0..UTF_8_BYTES_MAX)
        .map(|back| length_max.saturating_sub(back))
        .find(|at| !is_continuation(*at))
        .filter(|at| *at > 0)
        .unwrap_or(length_max)
}
