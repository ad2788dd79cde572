//! When a byte of a file needs no more care: settled ranges, and the watermark below which all is settled.
//!
//! Pure bookkeeping of one file. Who settles, and when the result is stored, is decided elsewhere.

use std::collections::BTreeMap;

use crate::span::Spans;

/// What became of some spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The bytes.
    pub spans: Spans,
    /// What became of them.
    pub outcome: Outcome,
}

/// The two ways in which a span ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service returned a sequence number for the record that holds it.
    Delivered,
    /// It is not sent, by the operator's configuration or a limit of the service.
    Dropped(DropReason),
}

/// Why bytes that were read are not sent: the `reason` of `kinetail_dropped_bytes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// NULs with which a file begins: it was truncated, and its writer has gone on where it was.
    Hole,
    /// One of the first lines of a file, with `[flow.line] skip_header_lines`.
    Header,
    /// Longer than `[flow.line] max_bytes`, with `too_long = "truncate"` (the rest) or `"drop"` (all of it).
    TooLong,
    /// Is not of the format of `[flow.parse]`, with `on_mismatch = "drop"`.
    Mismatch,
    /// No condition of `[flow.filter] keep` holds.
    NotKept,
    /// A condition of `[flow.filter] drop` holds.
    Filtered,
    /// Not in the share of `[flow.filter] sample`.
    NotSampled,
    /// What the line was made into is larger than a record of the service may be.
    RecordTooLarge,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hole,
        Self::Header,
        Self::TooLong,
        Self::Mismatch,
        Self::NotKept,
        Self::Filtered,
        Self::NotSampled,
        Self::RecordTooLarge,
    ];

    /// Those for which whole lines, or records of several, are not sent; the others are of parts of a file.
    pub const OF_LINES: [Self; 5] = [Self::Mismatch, Self::NotKept, Self::Filtered, Self::NotSampled, Self::RecordTooLarge];

    /// The word in metrics, logs and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::Header => "header",
            Self::TooLong => "too_long",
            Self::Mismatch => "mismatch",
            Self::NotKept => "not_kept",
            Self::Filtered => "filtered",
            Self::NotSampled => "not_sampled",
            Self::RecordTooLarge => "record_too_large",
        }
    }
}

/// What of one file is settled.
///
/// Invariants: the ranges above the watermark are disjoint, do not touch each other, and all begin above it.
/// The watermark only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    watermark: u64,
    /// Start to end.
    above: BTreeMap<u64, u64>,
}

impl Settlement {
    /// A file of which everything below `watermark` and within `above` is settled.
    pub fn new(watermark: u64, above: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut settlement = Self { watermark, above: BTreeMap::new() };
        for (start, end) in above {
            settlement.settle(start, end);
        }
        settlement
    }

    /// The first byte that is not settled.
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The end of the last byte that is settled.
    pub fn end(&self) -> u64 {
        self.above.last_key_value().map_or(self.watermark, |(_, end)| *end)
    }

    /// The settled ranges above the watermark, in order, as (start, end).
    pub fn above(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.above.iter().map(|(start, end)| (*start, *end))
    }

    /// The end of the settled range in which `offset` lies, if it lies in one.
    pub fn settled_until(&self, offset: u64) -> Option<u64> {
        if offset < self.watermark {
            return Some(self.watermark);
        }
        let (_, end) = self.above.range(..=offset).next_back()?;
        (offset < *end).then_some(*end)
    }

    /// Settles `start..end` and returns how many of its bytes were not settled before.
    pub fn settle(&mut self, start: u64, end: u64) -> u64 {
        let mut start = start.max(self.watermark);
        let mut end = end;
        if start >= end {
            return 0;
        }
        let mut new = end - start;
        // Every range that overlaps or touches start..end is taken out and becomes part of it.
        while let Some((old_start, old_end)) = self.above.range(..=end).next_back().map(|(s, e)| (*s, *e)) {
            if old_end < start {
                break;
            }
            self.above.remove(&old_start);
            new -= old_end.min(end).saturating_sub(old_start.max(start));
            start = start.min(old_start);
            end = end.max(old_end);
        }
        if start == self.watermark {
            self.watermark = end;
        } else {
            self.above.insert(start, end);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(settlement: &Settlement) -> (u64, Vec<(u64, u64)>) {
        (settlement.watermark(), settlement.above().collect())
    }

    #[test]
    fn the_watermark_waits_for_the_gap_and_then_jumps_over_what_is_settled() {
        let mut settlement = Settlement::default();
        assert_eq!(settlement.settle(10, 20), 10);
        assert_eq!(settlement.settle(30, 40), 10);
        assert_eq!(state(&settlement), (0, vec![(10, 20), (30, 40)]));
        assert_eq!(settlement.settle(0, 10), 10);
        assert_eq!(state(&settlement), (20, vec![(30, 40)]));
        assert_eq!(settlement.settle(15, 35), 10);
        assert_eq!(state(&settlement), (40, vec![]));
    }

    #[test]
    fn a_position_in_a_settled_range_is_told_where_it_ends() {
        let settlement = Settlement::new(5, [(10, 20)]);
        assert_eq!(
            [0, 5, 9, 10, 19, 20].map(|offset| settlement.settled_until(offset)),
            [Some(5), None, None, Some(20), Some(20), None]
        );
    }

    proptest! {
        /// Settling is idempotent and commutative, counts each byte once, and agrees with a bitmap.
        #[test]
        fn it_agrees_with_a_bitmap(ranges in proptest::collection::vec((0u64..64, 1u64..16), 0..40)) {
            let mut settlement = Settlement::default();
            let mut bitmap = [false; 96];
            let mut watermark_before = 0;
            for (start, length) in &ranges {
                let bytes = &mut bitmap[usize::try_from(*start).unwrap()..usize::try_from(start + length).unwrap()];
                let new = bytes.iter().filter(|settled| !**settled).count() as u64;
                bytes.fill(true);
                prop_assert_eq!(settlement.settle(*start, start + length), new);
                prop_assert_eq!(settlement.settle(*start, start + length), 0);
                prop_assert!(settlement.watermark() >= watermark_before);
                watermark_before = settlement.watermark();
            }
            let watermark = bitmap.iter().take_while(|settled| **settled).count() as u64;
            prop_assert_eq!(settlement.watermark(), watermark);
            let mut from_ranges = [false; 96];
            from_ranges[..usize::try_from(watermark).unwrap()].fill(true);
            let mut end_before = watermark;
            for (start, end) in settlement.above() {
                prop_assert!(start > end_before, "ranges touch or overlap");
                end_before = end;
                from_ranges[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(true);
            }
            prop_assert_eq!(from_ranges, bitmap);
            let mut reversed = Settlement::default();
            for (start, length) in ranges.iter().rev() {
                reversed.settle(*start, start + length);
            }
            prop_assert_eq!(reversed, settlement);
        }
    }
}
