//! Records that are complete, on their way to the request, as soon as there are enough of them that go on together: with digests,
//! which are made of as many as a processor can at once.

use super::Entry;
use crate::aggregator::Undigested;
use crate::digest::{Digest, digests, lane_count};

/// Records in the order in which they are to go.
pub(super) struct Made {
    entries: Vec<Entry>,
    /// Aggregates that lack a digest, and of which of the records they will be the data.
    undigested: Vec<(usize, Undigested)>,
    byte_count: usize,
    lane_count: usize,
    digests: Vec<Digest>,
}

/// So many that lack nothing go on together: what is done for all of them then costs little for each.
const WHOLE_COUNT: usize = 32;

impl Made {
    /// None so far.
    pub(super) fn new() -> Self {
        let (entries, undigested, digests) = (Vec::new(), Vec::new(), Vec::new());
        Self { entries, undigested, byte_count: 0, lane_count: lane_count(), digests }
    }

    /// Adds a record, or one of which the data will be this aggregate.
    pub(super) fn push(&mut self, entry: Entry, undigested: Option<Undigested>) {
        debug_assert!(entry.spans.iter().all(|span| !span.is_open()), "nobody has looked at the last line of {entry:?}");
        self.byte_count += entry.byte_count();
        if let Some(aggregate) = undigested {
            self.byte_count += aggregate.byte_count();
            self.undigested.push((self.entries.len(), aggregate));
        }
        self.entries.push(entry);
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all of them.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// Little is gained by waiting for more: as many lack a digest as can be digested at once, or there are enough without.
    pub(super) fn is_due(&self) -> bool {
        self.undigested.len() >= self.lane_count || self.entries.len() - self.undigested.len() >= WHOLE_COUNT
    }

    /// All of them, with what they lacked. Who takes them takes all.
    pub(super) fn complete(&mut self) -> &mut Vec<Entry> {
        let messages: Vec<&[u8]> = self.undigested.iter().map(|(_, aggregate)| aggregate.message()).collect();
        digests(&messages, &mut self.digests);
        for ((index, aggregate), digest) in self.undigested.drain(..).zip(&self.digests) {
            self.entries[index].data = aggregate.with(*digest);
        }
        self.byte_count = 0;
        &mut self.entries
    }
}
