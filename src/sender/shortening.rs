//! What is kept of a record that the service finds too large, by `[flow.line] too_long`.
//!
//! Pure. That it is too large the service has said; such a record comes here only where the stream takes less than is known.

use crate::collector::Entry;
use crate::config::TooLong;
use crate::delivery_token;
use crate::hash_key::hash_of;
use crate::limits::RECORD_BYTES_MAX;
use crate::settlement::DropReason;
use crate::span::{Span, Spans};

/// What is kept of an entry, in order, and what is not.
pub(super) struct Shortened {
    pub(super) kept: Vec<Entry>,
    pub(super) dropped: Spans,
    pub(super) reason: DropReason,
}

/// Shortens `entry`, which was refused as too large, to `record_bytes_max` if it is larger than that, else to the usual limit, or
/// to half of what it is.
pub(super) fn shortened(entry: Entry, record_bytes_max: usize) -> Shortened {
    let limits = [record_bytes_max, RECORD_BYTES_MAX, entry.byte_count() / 2];
    let limit = limits.into_iter().find(|limit| *limit < entry.byte_count()).unwrap_or(0);
    let data_bytes = limit.saturating_sub(entry.partition_key.len());
    let span = if entry.spans.count() == 1 { entry.spans.iter().next() } else { None };
    match (entry.too_long, span) {
        (Some(TooLong::Truncate), Some(span)) if data_bytes > 0 => {
            let (first, rest) = cut(&entry, span, data_bytes);
            Shortened { kept: vec![first], dropped: rest.spans, reason: DropReason::TooLong }
        }
        (Some(TooLong::Split), Some(span)) if data_bytes > 0 => {
            let (first, rest) = cut(&entry, span, data_bytes);
            Shortened { kept: vec![first, rest], dropped: Spans::default(), reason: DropReason::TooLong }
        }
        (Some(TooLong::Drop), ..) => Shortened { kept: Vec::new(), dropped: entry.spans, reason: DropReason::TooLong },
        _ => Shortened { kept: Vec::new(), dropped: entry.spans, reason: DropReason::RecordTooLarge },
    }
}

/// The first bytes of an entry of one span, and the rest with the terminator; not within a character where there is a choice.
fn cut(entry: &Entry, span: Span, bytes_max: usize) -> (Entry, Entry) {
    let begins_character = |at: &usize| entry.data.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let at = (bytes_max.saturating_sub(3).max(1)..=bytes_max).rev().find(begins_character).unwrap_or(bytes_max);
    let middle = span.start + at as u64;
    let part = |data, start, end| {
        let spans = [Span::new(span.file, start, end)].into_iter().collect();
        let partition_key = if entry.is_token {
            delivery_token::naming(&entry.partition_key, &spans).into()
        } else {
            entry.partition_key.clone()
        };
        let hash_key = if entry.is_hash_key_explicit { entry.hash_key } else { hash_of(&partition_key) };
        Entry { partition_key, hash_key, data, spans, ..entry.clone() }
    };
    (part(entry.data.slice(..at), span.start, middle), part(entry.data.slice(at..), middle, span.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;
    use crate::span::FileKey;

    fn check(too_long: Option<TooLong>, data_bytes: usize, kept: &[usize], dropped_bytes: u64, reason: DropReason) {
        let span = Span::new(FileKey(1), 10, 10 + data_bytes as u64 + 1);
        let entry = Entry {
            partition_key: "key".into(),
            hash_key: 0,
            is_hash_key_explicit: false,
            data: vec![b'x'; data_bytes].into(),
            spans: [span].into_iter().collect(),
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long,
        };
        let shortened = shortened(entry, 4 * MIB);
        assert_eq!(shortened.kept.iter().map(|entry| entry.data.len()).collect::<Vec<_>>(), kept);
        assert_eq!((shortened.dropped.byte_count(), shortened.reason), (dropped_bytes, reason));
        let kept_bytes: u64 = shortened.kept.iter().map(|entry| entry.spans.byte_count()).sum();
        assert_eq!(kept_bytes + dropped_bytes, span.byte_count());
    }

    #[test]
    fn a_line_is_cut_as_the_configuration_says() {
        check(Some(TooLong::Truncate), 2 * MIB, &[MIB - 3], MIB as u64 + 4, DropReason::TooLong);
        check(Some(TooLong::Split), 5 * MIB, &[4 * MIB - 3, MIB + 3], 0, DropReason::TooLong);
        check(Some(TooLong::Truncate), 101, &[49], 53, DropReason::TooLong);
        check(Some(TooLong::Drop), 2 * MIB, &[], 2 * MIB as u64 + 1, DropReason::TooLong);
        check(None, 2 * MIB, &[], 2 * MIB as u64 + 1, DropReason::RecordTooLarge);
        check(Some(TooLong::Split), 0, &[], 1, DropReason::RecordTooLarge);
    }
}
