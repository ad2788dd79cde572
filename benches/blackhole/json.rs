//! Records in JSON: strings are passed in one search each, and only those that are short are kept.

use super::records::Found;

pub(super) struct JsonRecords {
    pub(super) found: Found,
    state: State,
    name: Vec<u8>,
    string: Vec<u8>,
    /// The next string is the value of `name`.
    is_value: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// Names and keys are shorter, data is not asked for.
const KEPT_BYTES_MAX: usize = 256;

impl JsonRecords {
    pub(super) fn new(found: Found) -> Self {
        Self { found, state: State::Outside, name: Vec::new(), string: Vec::new(), is_value: false }
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while let Some(first) = piece.first() {
            match self.state {
                State::Outside => {
                    self.outside(*first);
                    piece = &piece[1..];
                }
                State::Escaped => {
                    self.state = State::Inside;
                    piece = &piece[1..];
                }
                State::Inside => {
                    let end = memchr::memchr2(b'"', b'\\', piece);
                    let text = &piece[..end.unwrap_or(piece.len())];
                    if self.string.len() + text.len() <= KEPT_BYTES_MAX {
                        self.string.extend(text);
                    }
                    let Some(end) = end else { return };
                    if piece[end] == b'"' {
                        self.end_string();
                    } else {
                        self.state = State::Escaped;
                    }
                    piece = &piece[end + 1..];
                }
            }
        }
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.state = State::Inside;
                self.string.clear();
            }
            b':' => {
                self.is_value = true;
                std::mem::swap(&mut self.name, &mut self.string);
            }
            b'{' | b'[' | b',' => self.is_value = false,
            b'}' => self.found.end(),
            _ => {}
        }
    }

    fn end_string(&mut self) {
        self.state = State::Outside;
        if !self.is_value {
            return;
        }
        if self.name == b"Data" {
            self.found.data();
        } else {
            self.found.text(&self.name, &self.string);
        }
    }
}
