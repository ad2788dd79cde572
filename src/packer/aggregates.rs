//! Which aggregate a record joins: one for each range of hash keys, or a single one for random keys.

use crate::aggregator::Aggregate;
use crate::collector::Entry;
use crate::config::PartitionKey;
use crate::hash_key::hash_of;
use crate::limits::{AGGREGATE_BYTES_TARGET, HASH_RANGES};
use crate::span::Span;

use super::tokens::DeliveryTokens;

/// The aggregates of one flow that are filling.
pub(super) struct Aggregates {
    /// One for random keys, or one for each hash range.
    filling: Vec<Option<Filling>>,
    /// Grows in golden steps: where the aggregate of a flow with random keys goes.
    hash_key: u128,
    /// Index in `filling` where the last record without a key of its own went.
    last_without_key: usize,
}

struct Filling {
    aggregate: Aggregate,
    token: String,
}

/// 2^128 divided by the golden ratio: its multiples spread evenly over any number of shards.
const GOLDEN_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Aggregates {
    /// None so far. `hash_key` is where to begin with those that may go anywhere.
    pub(super) fn new(partition_key: &PartitionKey, hash_key: u128) -> Self {
        let range_count = if *partition_key == PartitionKey::Random { 1 } else { HASH_RANGES as usize };
        Self { filling: (0..range_count).map(|_| None).collect(), hash_key, last_without_key: 0 }
    }

    /// Adds a record. Returns the aggregates in which there was no room for it, to be sent: for a record that may go
    /// anywhere there may be several.
    pub(super) fn push(
        &mut self,
        partition_key: Option<&str>,
        data: &[u8],
        span: Span,
        tokens: &mut DeliveryTokens,
    ) -> Vec<Entry> {
        let mut full = Vec::new();
        // An aggregate that has just begun takes any record.
        loop {
            let index = match partition_key {
                Some(key) => self.range_of(hash_of(key)),
                None => self.range_without_key(),
            };
            let mut filling = match self.filling[index].take() {
                Some(filling) => filling,
                None => Filling { aggregate: Aggregate::new(self.hash_key_of(index)), token: tokens.draw() },
            };
            if filling.try_push(partition_key, data, span) {
                self.filling[index] = Some(filling);
                return full;
            }
            full.push(filling.finish());
        }
    }

    /// Takes one of those that are filling, as it is.
    pub(super) fn take_any(&mut self) -> Option<Entry> {
        self.filling.iter_mut().find_map(Option::take).map(Filling::finish)
    }

    /// Bytes of the records that are filling, at the most.
    pub(super) fn byte_count_max(&self) -> usize {
        self.filling.iter().flatten().map(|filling| filling.aggregate.byte_count_max()).sum()
    }

    /// Index in `filling` of the range in which a hash lies: its first bits.
    fn range_of(&self, hash: u128) -> usize {
        if self.filling.len() > 1 { (hash >> (u128::BITS - HASH_RANGES.ilog2())) as usize } else { 0 }
    }

    /// Index in `filling` for a record without a key of its own, which may go anywhere: where the last one went,
    /// until that is full or sent. Then to the next range in golden steps, so that all get their share; or, rather
    /// than begin another aggregate there, to the first after it in which one is filling.
    fn range_without_key(&mut self) -> usize {
        if self.filling[self.last_without_key].is_none() {
            self.hash_key = self.hash_key.wrapping_add(GOLDEN_STEP);
            let next = self.range_of(self.hash_key);
            let range_count = self.filling.len();
            let mut ranges = (0..range_count).map(|step| (next + step) % range_count);
            self.last_without_key = ranges.find(|index| self.filling[*index].is_some()).unwrap_or(next);
        }
        self.last_without_key
    }

    /// The middle of a range: it stays in one shard as long as there are no more shards than ranges.
    fn hash_key_of(&self, index: usize) -> u128 {
        if self.filling.len() == 1 {
            return self.hash_key;
        }
        let range_width_log2 = u128::BITS - HASH_RANGES.ilog2();
        ((index as u128) << range_width_log2) + (1 << (range_width_log2 - 1))
    }
}

impl Filling {
    fn try_push(&mut self, partition_key: Option<&str>, data: &[u8], span: Span) -> bool {
        let bytes_max = AGGREGATE_BYTES_TARGET - self.token.len();
        self.aggregate.try_push(partition_key.unwrap_or(&self.token), data, span, bytes_max)
    }

    fn finish(self) -> Entry {
        let finished = self.aggregate.finish();
        Entry {
            partition_key: self.token,
            hash_key: finished.explicit_hash_key,
            is_hash_key_explicit: true,
            data: finished.data.into(),
            spans: finished.spans,
            user_record_count: finished.user_record_count,
            too_long: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::span::FileKey;

    /// A record without a key of its own that fits none of those that are filling leaves none of them behind.
    #[test]
    fn every_aggregate_that_is_full_is_given_back() {
        let mut tokens = DeliveryTokens::new(1, 0, 1);
        let mut aggregates = Aggregates::new(&PartitionKey::File, 1);
        let span = |start| Span::new(FileKey(1), start, start + 1);
        let almost_full = vec![b'x'; AGGREGATE_BYTES_TARGET - 1_000];
        for number in 0..100 {
            let given_back = aggregates.push(Some(&format!("key {number}")), &almost_full, span(number), &mut tokens);
            assert!(given_back.len() <= 1);
        }
        let filling_count = aggregates.filling.iter().flatten().count();
        let given_back = aggregates.push(None, &almost_full, span(100), &mut tokens);
        assert_eq!(given_back.len() + aggregates.filling.iter().flatten().count(), filling_count + 1);
    }

    #[test]
    fn golden_steps_reach_every_one_of_some_shards_soon() {
        for shard_count in [4u128, 10, 100] {
            let width = u128::MAX / shard_count;
            let mut hash_key = 12_345u128;
            let mut reached = HashSet::new();
            for _ in 0..2 * shard_count {
                hash_key = hash_key.wrapping_add(GOLDEN_STEP);
                reached.insert(hash_key / width);
            }
            assert!(reached.len() as u128 >= shard_count, "{} of {shard_count}", reached.len());
        }
    }
}
