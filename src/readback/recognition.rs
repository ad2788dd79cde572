//! Is a record one of ours, and what is it made of?
//!
//! Pure. Whatever a record may be, others have put it there as well.

use crate::aggregator::SPANS_TAG;
use crate::deaggregator::{Deaggregated, deaggregate};
use crate::delivery_token::DeliveryToken;
use crate::span::Spans;

/// What a record with this token and data is made of; none if it does not say so, as ours always do.
pub fn spans_of(token: DeliveryToken, data: &[u8]) -> Option<Spans> {
    match token.spans {
        Some(spans) => Some(spans),
        None => tagged_spans(data),
    }
}

/// What the tag of an aggregate says, on the first of its user records.
fn tagged_spans(data: &[u8]) -> Option<Spans> {
    // Which shard it is read from does not matter here: readers may drop it, but it is there.
    let Deaggregated::Records(records) = deaggregate(data, None) else { return None };
    let tag = records.first()?.tags.iter().find(|tag| tag.key == SPANS_TAG)?;
    Spans::from_tag(tag.value.as_deref()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregator::Aggregate;
    use crate::delivery_token::{DeliveryTokens, naming};
    use crate::span::{FileKey, Span};

    fn token(key: &str) -> DeliveryToken {
        DeliveryToken::parse(key).unwrap()
    }

    #[test]
    fn an_aggregate_says_it_in_a_tag_and_any_other_record_in_its_key() {
        let lines = [Span::new(FileKey(1), 0, 10), Span::new(FileKey(1), 10, 15), Span::new(FileKey(2), 7, 9)];
        let spans: Spans = lines.into_iter().collect();
        let mut aggregate = Aggregate::new(5);
        for span in lines {
            assert!(aggregate.try_push("key", b"line", span, 10_000));
        }
        let (key, data) = (DeliveryTokens::new(7).draw(), aggregate.finish().data);
        let named = naming(&key, &spans);
        assert_eq!(spans_of(token(&key), &data), Some(spans.clone()));
        assert_eq!(spans_of(token(&named), b"line\n"), Some(spans.clone()));
        // A line may look like an aggregate.
        assert_eq!(spans_of(token(&named), &data[..20]), Some(spans));
        for other in [&b""[..], b"line", &data[..data.len() - 1]] {
            assert_eq!(spans_of(token(&key), other), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(data: Vec<u8>, tag: String, at: prop::sample::Index, byte: u8) {
            let key = token(&DeliveryTokens::new(7).draw());
            prop_assert_eq!(spans_of(key.clone(), &data), None);
            let _ = Spans::from_tag(&tag);
            let mut aggregate = Aggregate::new(5);
            assert!(aggregate.try_push("key", b"line", Span::new(FileKey(1), 3, 4), 10_000));
            let mut data = aggregate.finish().data.to_vec();
            let index = at.index(data.len());
            data[index] ^= byte;
            prop_assert_eq!(spans_of(key, &data).is_some(), byte == 0);
        }
    }
}
