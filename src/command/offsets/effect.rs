//! What a change of a row makes the next start send again, or never send. Pure.

use crate::offsets::Row;

/// Bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Settled before, and not afterwards.
    pub(super) again: u64,
    /// Settled afterwards, and not before.
    pub(super) skipped: u64,
}

impl Effect {
    /// Of a file of `byte_count` bytes that has this row afterwards instead of that before; none is one of which nothing is
    /// settled.
    pub(super) fn of(before: Option<&Row>, after: Option<&Row>, byte_count: u64) -> Self {
        let [before, after] = [before, after].map(|row| settled(row, byte_count));
        let both = common(&before, &after);
        Self { again: sum(&before) - both, skipped: sum(&after) - both }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.again = self.again.saturating_add(other.again);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

/// Bytes of a file of so many bytes that are settled.
pub(super) fn settled_byte_count(row: &Row, byte_count: u64) -> u64 {
    sum(&settled(Some(row), byte_count))
}

/// The settled ranges below `byte_count`, in order; none is empty.
fn settled(row: Option<&Row>, byte_count: u64) -> Vec<(u64, u64)> {
    let ranges = row.into_iter().flat_map(|row| std::iter::once((0, row.watermark)).chain(row.settled_above.iter().copied()));
    ranges.map(|(start, end)| (start, end.min(byte_count))).filter(|(start, end)| start < end).collect()
}

fn sum(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|(start, end)| end - start).sum()
}

/// Bytes that are in both.
fn common(left: &[(u64, u64)], right: &[(u64, u64)]) -> u64 {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut count = 0;
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        count += one.1.min(other.1).saturating_sub(one.0.max(other.0));
        if one.1 <= other.1 {
            left.next()
        } else {
            right.next()
        };
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Identity;

    fn row(watermark: u64, settled_above: &[(u64, u64)]) -> Row {
        let (flow, path) = ("f".to_owned(), "/a.log".to_owned());
        Row { flow, path, identity: Identity::default(), gone_at: None, watermark, settled_above: settled_above.to_vec() }
    }

    #[test]
    fn what_was_settled_is_sent_again_and_what_is_settled_now_is_skipped() {
        let before = row(100, &[(200, 300), (400, 500)]);
        for (before, after, byte_count, again, skipped) in [
            (Some(&before), None, 1000, 300, 0),
            (Some(&before), None, 250, 150, 0),
            (None, Some(&before), 1000, 0, 300),
            (Some(&before), Some(&before), 1000, 0, 0),
            (Some(&before), Some(&row(0, &[])), 1000, 300, 0),
            (Some(&before), Some(&row(250, &[])), 1000, 150, 100),
            (Some(&before), Some(&row(1000, &[])), 1000, 0, 700),
            (Some(&before), Some(&row(150, &[(250, 450)])), 1000, 100, 150),
            (None, None, 1000, 0, 0),
        ] {
            let effect = Effect::of(before, after, byte_count);
            assert_eq!(effect, Effect { again, skipped }, "{before:?} {after:?} {byte_count}");
        }
    }
}
