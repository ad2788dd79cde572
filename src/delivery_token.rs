//! Delivery tokens: partition keys by which a reader of the stream can tell what of which run of the agent is stored.
//!
//! A token is `<run id>-<sequence number>`, both hexadecimal. An aggregate has it as its partition key, and says in a tag which
//! bytes of files it is made of; any other record says it in the key itself: `<run id>-<sequence number>-<spans>`, as
//! [`Spans::to_tag`] writes them.
//!
//! Pure. Which records have tokens is decided by the packer, what is done with those that are found by [`readback`](crate::readback).

use crate::limits::PARTITION_KEY_CHARS_MAX;
use crate::span::{Spans, put_hex};

/// Names of records that are unlike those of any other run: a random run id and a sequence number.
#[derive(Clone, Debug)]
pub struct DeliveryTokens {
    run_id: u128,
    /// What all of them begin with: the run id and a hyphen.
    prefix: String,
    next: u64,
}

/// Which of the names of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumber(u64);

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryToken {
    /// The run of a flow that has sent the record.
    pub run_id: u128,
    /// What the record is made of; none of an aggregate, which says it in its tag.
    pub spans: Option<Spans>,
}

const RUN_ID_DIGITS: usize = 32;
const SEQUENCE_DIGITS_MAX: usize = 16;
/// Longest text of spans for which a token has room.
pub const TOKEN_SPANS_BYTES_MAX: usize = PARTITION_KEY_CHARS_MAX - RUN_ID_DIGITS - SEQUENCE_DIGITS_MAX - 2;

impl DeliveryTokens {
    /// Tokens of this run.
    pub fn new(run_id: u128) -> Self {
        Self { run_id, prefix: format!("{run_id:0RUN_ID_DIGITS$x}-"), next: 0 }
    }

    /// The run's id: as good as a random number.
    pub fn run_id(&self) -> u128 {
        self.run_id
    }

    /// The next token, of an aggregate.
    pub fn draw(&mut self) -> String {
        let (number, mut text) = (self.draw_number(), Vec::new());
        self.write(number, None, &mut text);
        // All of it is ASCII.
        String::from_utf8(text).unwrap_or_default()
    }

    /// The number of the next token.
    pub fn draw_number(&mut self) -> SequenceNumber {
        let number = SequenceNumber(self.next);
        self.next += 1;
        number
    }

    /// Writes a token into `text`, instead of what is there: that of an aggregate; or one that names these spans, which must
    /// [fit](has_room_for).
    pub fn write(&self, number: SequenceNumber, spans: Option<&Spans>, text: &mut Vec<u8>) {
        text.clear();
        text.extend_from_slice(self.prefix.as_bytes());
        put_hex(text, number.0);
        if let Some(spans) = spans {
            text.push(b'-');
            spans.write_tag(text);
        }
    }
}

impl DeliveryToken {
    /// What `partition_key` says, if it is a token.
    pub fn parse(partition_key: &str) -> Option<Self> {
        let (run_id, rest) = partition_key.split_once('-')?;
        let (sequence, spans) = rest.split_once('-').map_or((rest, None), |(sequence, spans)| (sequence, Some(spans)));
        let is_run_id = run_id.len() == RUN_ID_DIGITS && run_id.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_run_id || sequence.len() > SEQUENCE_DIGITS_MAX || u64::from_str_radix(sequence, 16).is_err() {
            return None;
        }
        let spans = match spans {
            Some(text) => Some(Spans::from_tag(text)?),
            None => None,
        };
        Some(Self { run_id: u128::from_str_radix(run_id, 16).ok()?, spans })
    }
}

/// The partition key of a record made of `spans` that is no aggregate, of the token `of`, which may name other spans. They must
/// [fit](has_room_for).
pub fn naming(of: &str, spans: &Spans) -> String {
    let mut parts = of.splitn(3, '-');
    let (run_id, sequence) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{run_id}-{sequence}-{}", spans.to_tag())
}

/// Whether a token has room for these spans.
pub fn has_room_for(spans: &Spans) -> bool {
    spans.tag_byte_count_max() <= TOKEN_SPANS_BYTES_MAX || spans.tag_byte_count() <= TOKEN_SPANS_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{FileKey, Span};
    use proptest::prelude::*;

    #[test]
    fn tokens_do_not_meet() {
        let mut tokens = DeliveryTokens::new(0xab);
        assert_eq!(tokens.draw(), "000000000000000000000000000000ab-0");
        assert_eq!(tokens.draw(), "000000000000000000000000000000ab-1");
        assert_ne!(DeliveryTokens::new(0xac).draw(), DeliveryTokens::new(0xab).draw());
    }

    #[test]
    fn other_keys_are_not_tokens() {
        let token = DeliveryTokens::new(7).draw();
        assert_eq!(DeliveryToken::parse(&token), Some(DeliveryToken { run_id: 7, spans: None }));
        let long = format!("{token}0000000000000000");
        for key in ["", "a", "7-0", &token[1..], &format!("+{}", &token[1..]), &format!("{token}-"), &format!("{token}-x"), &long]
        {
            assert_eq!(DeliveryToken::parse(key), None, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_says_of_which_spans_a_record_is_made(
            run_id: u128,
            list in proptest::collection::vec((0u64..4, 0..u64::MAX - 1000, 1u64..1000), 1..8),
        ) {
            let spans: Spans = list.into_iter().map(|(file, start, len)| Span::new(FileKey(file), start, start + len)).collect();
            let mut tokens = DeliveryTokens::new(run_id);
            let number = tokens.draw_number();
            let mut text = b"something else".to_vec();
            tokens.write(number, Some(&spans), &mut text);
            let named = naming(&DeliveryTokens::new(run_id).draw(), &spans);
            prop_assert_eq!(text, named.as_bytes());
            prop_assert_eq!(naming(&named, &spans), named.clone());
            prop_assert_eq!(has_room_for(&spans), spans.to_tag().len() <= TOKEN_SPANS_BYTES_MAX);
            prop_assert!(!has_room_for(&spans) || named.len() <= PARTITION_KEY_CHARS_MAX);
            prop_assert_eq!(DeliveryToken::parse(&named), Some(DeliveryToken { run_id, spans: Some(spans) }));
        }
    }
}
