//! What a shard has: records in the order in which they were accepted, which can be read a little later.

use std::time::Duration;

use bytes::Bytes;
use kinetail::readback::StoredRecord;
use kinetail::span::Spans;

use super::LifeId;

/// The records of a shard.
#[derive(Default)]
pub(super) struct Log(Vec<Logged>);

/// One of them.
pub(super) struct Logged {
    pub(super) partition_key: String,
    pub(super) data: Bytes,
    /// By the service's clock, about.
    pub(super) arrived_at_ms: i64,
    pub(super) visible_at: Duration,
    /// Who has sent it, and what it is made of, if that was an agent.
    pub(super) life: LifeId,
    pub(super) spans: Spans,
}

impl Log {
    /// No record can be read before one that is in front of it.
    pub(super) fn push(&mut self, mut logged: Logged) {
        if let Some(last) = self.0.last() {
            logged.visible_at = logged.visible_at.max(last.visible_at);
        }
        self.0.push(logged);
    }

    /// Index of the first record that arrived then or later.
    pub(super) fn first_since(&self, arrived_at_ms: i64) -> usize {
        self.0.iter().position(|logged| logged.arrived_at_ms >= arrived_at_ms).unwrap_or(self.0.len())
    }

    /// Records from the one of this index on, at most so many, that can be read now.
    pub(super) fn readable(&self, from: usize, count_max: usize, now: Duration) -> &[Logged] {
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.iter().take(count_max).take_while(|logged| logged.visible_at <= now).count();
        &rest[..count]
    }

    /// Records, readable or not.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Logged {
    /// As a reader gets it.
    pub(super) fn read(&self, index: usize) -> StoredRecord {
        StoredRecord {
            sequence_number: sequence_number(index),
            arrived_at_ms: Some(self.arrived_at_ms),
            partition_key: self.partition_key.clone(),
            data: self.data.clone(),
        }
    }
}

fn sequence_number(index: usize) -> String {
    format!("4959{index:052}")
}

/// The index of the record with this sequence number.
pub(super) fn index_of(sequence_number: &str) -> Option<usize> {
    sequence_number.strip_prefix("4959")?.parse().ok()
}
