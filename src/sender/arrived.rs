//! What has come from the packer and was not looked at: about one request, which is to be sent as it is if it may go. Small ones
//! that come while none may be sent share one.

use crate::collector::Entry;
use crate::limits::REQUEST_RECORDS_MAX;

/// Entries that have just come, in their order.
#[derive(Default)]
pub(super) struct Arrived {
    entries: Vec<Entry>,
    byte_count: usize,
}

/// With so many, or so much of the room of a request, nothing more is taken: it would not share the request.
const RECORDS_ENOUGH: usize = REQUEST_RECORDS_MAX / 2;
const ROOM_ENOUGH: usize = 2;

impl Arrived {
    pub(super) fn push(&mut self, mut entries: Vec<Entry>) {
        self.byte_count += byte_count(&entries);
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.append(&mut entries);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all of them.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// There is enough for a request that has room for so many bytes.
    pub(super) fn is_enough(&self, room: usize) -> bool {
        self.entries.len() >= RECORDS_ENOUGH || self.byte_count >= room / ROOM_ENOUGH
    }

    /// One request has room for all of them.
    pub(super) fn is_one_request(&self, room: usize) -> bool {
        self.entries.len() <= REQUEST_RECORDS_MAX && self.byte_count <= room
    }

    /// All of them; none is left.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.byte_count = 0;
        std::mem::take(&mut self.entries)
    }
}

/// Bytes of entries.
pub(super) fn byte_count(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::byte_count).sum()
}
