//! Records in CBOR (RFC 8949): heads are read, data is passed over, and no other string is long.

use super::records::Found;

pub(super) struct CborRecords {
    pub(super) found: Found,
    /// The head that is being read: its first byte, and what of its argument has come.
    head: Vec<u8>,
    /// Bytes that are still to come of a string.
    left: u64,
    /// They are text, which is kept.
    is_text: bool,
    text: Vec<u8>,
    name: Vec<u8>,
    /// Containers that are open.
    open: Vec<Container>,
}

struct Container {
    is_map: bool,
    /// Items still to come; none when a break ends it.
    items_left: Option<u64>,
    /// The next item of a map is a value.
    is_at_value: bool,
}

const BREAK: u8 = 0xff;
const INDEFINITE: u8 = 31;

impl CborRecords {
    pub(super) fn new(found: Found) -> Self {
        Self { found, head: Vec::new(), left: 0, is_text: false, text: Vec::new(), name: Vec::new(), open: Vec::new() }
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.left > 0 {
                let length = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if self.is_text {
                    self.text.extend(&piece[..length]);
                }
                self.left -= length as u64;
                piece = &piece[length..];
                if self.left == 0 {
                    self.end_string();
                }
                continue;
            }
            self.head.push(piece[0]);
            piece = &piece[1..];
            let argument_bytes = match self.head[0] & 0x1f {
                size @ 24..28 => 1 << (size - 24),
                _ => 0,
            };
            if self.head.len() > argument_bytes {
                self.end_head();
            }
        }
    }

    fn end_head(&mut self) {
        let (first, argument) = (self.head[0], &self.head[1..]);
        let (major, low) = (first >> 5, first & 0x1f);
        let value = match argument {
            [] => u64::from(low),
            bytes => bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        self.head.clear();
        let is_indefinite = low == INDEFINITE;
        match major {
            2 | 3 => {
                assert!(!is_indefinite, "strings in pieces are not understood");
                (self.left, self.is_text) = (value, major == 3);
                self.text.clear();
                if value == 0 {
                    self.end_string();
                }
            }
            4 | 5 => {
                let items = if major == 5 { value * 2 } else { value };
                let items_left = (!is_indefinite).then_some(items);
                self.open.push(Container { is_map: major == 5, items_left, is_at_value: false });
                self.close();
            }
            7 if first == BREAK => self.end_container(),
            // A tag is not an item.
            6 => {}
            _ => self.end_item(),
        }
    }

    fn end_string(&mut self) {
        let is_value = self.open.last().is_some_and(|container| container.is_map && container.is_at_value);
        if !self.is_text {
            if self.name == b"Data" {
                self.found.data();
            }
        } else if is_value {
            self.found.text(&self.name, &self.text);
        } else {
            std::mem::swap(&mut self.name, &mut self.text);
        }
        self.end_item();
    }

    fn end_item(&mut self) {
        if let Some(container) = self.open.last_mut() {
            container.items_left = container.items_left.map(|left| left - 1);
            container.is_at_value = !container.is_at_value;
        }
        self.close();
    }

    fn close(&mut self) {
        if self.open.last().is_some_and(|container| container.items_left == Some(0)) {
            self.end_container();
        }
    }

    fn end_container(&mut self) {
        if self.open.pop().is_some_and(|container| container.is_map) {
            self.found.end();
        }
        self.end_item();
    }
}
