//! One shard that is read: where its reading is, and how much is asked for.

use super::Page;
use crate::limits::{AGGREGATE_BYTES_TARGET, READ_ANSWER_BYTES, READ_ANSWER_RECORDS_MAX, READ_EMPTY_ANSWERS_MAX};
use crate::outcome::{Failure, Verdict};
use crate::stream::Shard;

/// A shard that is read.
pub(super) struct ShardReading {
    pub(super) shard: Shard,
    pub(super) iterator: Option<String>,
    /// The last record that was seen.
    pub(super) last_sequence_number: Option<String>,
    /// About so large are its records.
    record_byte_count: usize,
    pub(super) failure_count: u32,
    /// Answers in a row that led nowhere.
    empty_count: u32,
}

impl ShardReading {
    pub(super) fn new(shard: Shard) -> Self {
        Self {
            shard,
            iterator: None,
            last_sequence_number: None,
            // As large as records usually are that are worth aggregating.
            record_byte_count: AGGREGATE_BYTES_TARGET,
            failure_count: 0,
            empty_count: 0,
        }
    }

    /// So many records that an answer is not too large.
    pub(super) fn count_max(&self) -> u32 {
        let count = READ_ANSWER_BYTES / self.record_byte_count.max(1);
        u32::try_from(count).unwrap_or(u32::MAX).clamp(1, READ_ANSWER_RECORDS_MAX)
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.failure_count = self.failure_count.saturating_add(1);
        if failure.code == Failure::TIMEOUT {
            // Over a slow line smaller answers arrive.
            self.record_byte_count = self.record_byte_count.saturating_mul(2).min(READ_ANSWER_BYTES);
        }
        if failure.code == Failure::EXPIRED_ITERATOR || failure.verdict == Verdict::Split {
            self.iterator = None;
        }
    }

    /// Goes on behind a page. False if that leads nowhere.
    pub(super) fn took(&mut self, page: Page, byte_count: usize) -> bool {
        self.failure_count = 0;
        self.iterator = page.next;
        let record_count = page.records.len();
        // Larger records are believed at once, smaller ones by and by.
        let average = byte_count.checked_div(record_count).unwrap_or(self.record_byte_count);
        self.record_byte_count = average.max(self.record_byte_count / 2).max(1);
        let last = page.records.into_iter().next_back().map(|record| record.sequence_number);
        let is_new = last.is_some() && last != self.last_sequence_number;
        self.last_sequence_number = last.or_else(|| self.last_sequence_number.take());
        self.empty_count = if is_new || page.is_at_tip { 0 } else { self.empty_count + 1 };
        self.empty_count < READ_EMPTY_ANSWERS_MAX
    }
}
