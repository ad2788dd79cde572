//! What the records of a flow are made like, as far as the stream lets them.

use crate::aggregator::MAGIC;
use crate::config::{self, Compression, Destination, Flow};
use crate::delivery_token;
use crate::limits::{
    ENVELOPE_BYTES_MAX, JOINED_RECORD_BYTES_MIN, RECORD_BYTES_MAX, SEALED_OVERHEAD_BYTES_MAX, TERMINATOR_BYTES_MAX,
};
use crate::span::Spans;
use crate::stream::StreamFacts;

/// How user records become records. Of a stream of which nothing else is known it stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// How several share one.
    pub(super) form: Form,
    /// Where a record is full: data and partition key of an aggregate, data of joined ones before they are compressed.
    pub(super) full_bytes: usize,
    /// Longest data of a user record.
    pub(super) data_bytes_max: usize,
    /// What is put behind each that is joined.
    pub(super) behind: &'static [u8],
    /// There may be readers who take what begins as an aggregate for one.
    has_kpl_readers: bool,
    /// Keys of records say what they are made of. Those of delivery streams nobody reads.
    has_keys: bool,
}

/// How several user records share a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In an aggregate of the KPL.
    Kpl,
    /// One behind the other.
    Lines,
    /// They do not.
    Single,
}

impl Layout {
    /// The records of `flow`, for a stream of which `facts` are known.
    pub(super) fn new(flow: &Flow, facts: &StreamFacts) -> Self {
        let delivery = &flow.delivery;
        let overhead = ENVELOPE_BYTES_MAX + if flow.encryption.is_some() { SEALED_OVERHEAD_BYTES_MAX } else { 0 };
        // No stream has a limit as low as that.
        let record_bytes_max = facts.record_bytes_max.max(overhead + JOINED_RECORD_BYTES_MIN);
        let record_room = record_bytes_max - overhead;
        let is_kinesis = matches!(delivery.destination, Destination::Kinesis(_));
        let (form, full_bytes) = match delivery.aggregate {
            // Where the service spreads records as it likes, readers drop aggregates without a word.
            config::Aggregate::Kpl if facts.is_auto => (Form::Lines, delivery.record_bytes.min(record_room)),
            config::Aggregate::Kpl => (Form::Kpl, delivery.record_bytes.min(record_room)),
            config::Aggregate::Lines => (Form::Lines, delivery.record_bytes.min(record_room)),
            config::Aggregate::None => (Form::Single, 0),
        };
        let is_plain = delivery.compress == Compression::None && flow.encryption.is_none();
        let is_to_be_ended = delivery.aggregate == config::Aggregate::Kpl && flow.record.terminator.is_empty();
        Self {
            form,
            full_bytes,
            data_bytes_max: record_room + TERMINATOR_BYTES_MAX,
            behind: if form == Form::Lines && is_to_be_ended { b"\n" } else { b"" },
            has_kpl_readers: is_kinesis && !facts.is_auto && is_plain,
            has_keys: is_kinesis,
        }
    }

    /// A reader would take a record of these data for an aggregate.
    pub(super) fn is_like_aggregate(&self, data: &[u8]) -> bool {
        self.has_kpl_readers && data.starts_with(&MAGIC)
    }

    /// A record of these data, which stands by itself, is an aggregate of one: because readers would take it for an aggregate, or
    /// because it `has_key`, so that nothing else says whose it is.
    pub(super) fn is_wrapped(&self, data: &[u8], has_key: bool) -> bool {
        // What every stream takes whole is never shortened, which an aggregate could not be.
        let is_never_shortened = data.len() + ENVELOPE_BYTES_MAX <= RECORD_BYTES_MAX;
        self.is_like_aggregate(data) || (self.form == Form::Kpl && has_key && is_never_shortened)
    }

    /// A record that is no aggregate may be made of so many spans: its partition key names them.
    pub(super) fn has_room_for(&self, spans: &Spans) -> bool {
        !self.has_keys || delivery_token::has_room_for(spans)
    }

    /// What the partition key of a record that is no aggregate names, if it is a token.
    pub(super) fn named<'a>(&self, spans: &'a Spans) -> Option<&'a Spans> {
        self.has_keys.then_some(spans)
    }

    /// A record of these data has no room for others.
    pub(super) fn is_single(&self, data: &[u8]) -> bool {
        match self.form {
            Form::Kpl => data.len() > self.full_bytes && !data.starts_with(&MAGIC),
            Form::Lines => data.len() + self.behind.len() > self.full_bytes || self.is_like_aggregate(data),
            Form::Single => true,
        }
    }
}
