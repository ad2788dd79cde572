//! Records that are complete, on their way to the request: with digests, as soon as there are enough of them to be made together.

use super::Entry;
use crate::aggregator::Undigested;
use crate::digest::{Digest, digests, lane_count};

/// Records in the order in which they are to go.
pub(super) struct Made {
    list: Vec<(Entry, Lacking)>,
    /// How many of them lack a digest.
    lacking_count: usize,
    byte_count: usize,
    lane_count: usize,
    digests: Vec<Digest>,
}

/// What a record does not have yet.
pub(super) enum Lacking {
    Nothing,
    /// Its hash key is the digest of its partition key.
    HashKey,
    /// Its data are this aggregate.
    Data(Undigested),
}

impl Lacking {
    /// What has to be digested.
    fn message<'a>(&'a self, entry: &'a Entry) -> Option<&'a [u8]> {
        match self {
            Self::Nothing => None,
            Self::HashKey => Some(entry.partition_key.as_bytes()),
            Self::Data(aggregate) => Some(aggregate.message()),
        }
    }
}

impl Made {
    /// None so far.
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), lacking_count: 0, byte_count: 0, lane_count: lane_count(), digests: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry, lacking: Lacking) {
        debug_assert!(entry.spans.iter().all(|span| !span.is_open()), "nobody has looked at the last line of {entry:?}");
        self.byte_count += entry.byte_count();
        match &lacking {
            Lacking::Nothing => {}
            Lacking::HashKey => self.lacking_count += 1,
            Lacking::Data(aggregate) => {
                self.byte_count += aggregate.byte_count();
                self.lacking_count += 1;
            }
        }
        self.list.push((entry, lacking));
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Bytes of all of them.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// Nothing is gained by waiting for more: as many lack a digest as can be digested at once, or none does.
    pub(super) fn is_due(&self) -> bool {
        self.lacking_count >= self.lane_count || (self.lacking_count == 0 && !self.list.is_empty())
    }

    /// Gives all of them, with what they lacked. None are left.
    pub(super) fn complete(&mut self) -> impl Iterator<Item = Entry> + '_ {
        let messages: Vec<&[u8]> = self.list.iter().filter_map(|(entry, lacking)| lacking.message(entry)).collect();
        digests(&messages, &mut self.digests);
        (self.lacking_count, self.byte_count) = (0, 0);
        let mut digests = self.digests.iter().copied();
        self.list.drain(..).map(move |(mut entry, lacking)| {
            match lacking {
                Lacking::Nothing => {}
                Lacking::HashKey => entry.hash_key = u128::from_be_bytes(digests.next().unwrap_or_default()),
                Lacking::Data(aggregate) => entry.data = aggregate.with(digests.next().unwrap_or_default()),
            }
            entry
        })
    }
}
