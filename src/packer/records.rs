//! User records into records: which of them share one, and where that goes.
//!
//! Of those that are filling there is one for each hash key in use: of each range of hash keys with records that have keys, one
//! for those that may go anywhere, or one of each file where its lines are to stay in order. What shares a hash key goes out in
//! the order in which it came.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::layout::{Form, Layout};
use super::places::Places;
use crate::aggregator::Aggregate;
use crate::collector::Entry;
use crate::config::{PartitionKey, TooLong};
use crate::delivery_token::DeliveryTokens;
use crate::hash_key::hash_of;
use crate::joiner::Joined;
use crate::span::{Span, Spans};
use crate::stream::{Load, StreamFacts};

/// One user record to be packed.
#[derive(Clone, Copy)]
pub(super) struct UserRecord<'a> {
    /// Its own; none when it may go anywhere.
    pub(super) partition_key: Option<&'a str>,
    pub(super) data: &'a [u8],
    pub(super) span: Span,
    /// Where the data are the first bytes of the span, as they are in the file: what is done when the service takes less.
    pub(super) too_long: Option<TooLong>,
    /// The hash key of its file, if the order of that is kept.
    pub(super) hash_key: Option<u128>,
}

/// The records of one flow that are filling.
pub(super) struct Records {
    layout: Layout,
    places: Places,
    tokens: DeliveryTokens,
    /// By hash key.
    filling: BTreeMap<u128, Filling>,
    /// Bytes of all of them, at the most.
    byte_count_max: usize,
    /// The hash key with which the last user record without a key of its own went.
    last_without_key: u128,
    /// Where a record may go, those with keys may join it.
    is_keyed: bool,
}

struct Filling {
    content: Content,
    token: String,
    /// Bytes of it, at the most.
    byte_count_max: usize,
}

enum Content {
    Kpl(Aggregate),
    Lines(Joined),
}

impl Records {
    /// None so far.
    pub(super) fn new(
        partition_key: &PartitionKey,
        layout: Layout,
        facts: &StreamFacts,
        load: Load,
        tokens: DeliveryTokens,
    ) -> Self {
        let golden = tokens.run_id();
        Self {
            layout,
            places: Places::new(facts.shards.clone(), load, golden),
            tokens,
            filling: BTreeMap::new(),
            byte_count_max: 0,
            last_without_key: golden,
            is_keyed: *partition_key != PartitionKey::Random,
        }
    }

    /// From now on this is known of the stream. What has begun under another layout is given out.
    pub(super) fn set(&mut self, layout: Layout, facts: &StreamFacts, out: &mut Vec<Entry>) {
        self.places.set_shards(&facts.shards);
        if layout != self.layout {
            self.take_all(out);
            self.layout = layout;
        }
    }

    /// Adds a user record, and puts what it completes in `out`: records in which there was no room for it, or its own.
    pub(super) fn push(&mut self, record: &UserRecord<'_>, out: &mut Vec<Entry>) {
        if self.layout.is_single(record.data) {
            return self.push_single(record, out);
        }
        // What has just begun takes any user record.
        loop {
            let hash_key = match (record.hash_key, record.partition_key) {
                (Some(of_file), _) => of_file,
                (None, Some(key)) => self.places.shared_with_key(key),
                (None, None) => self.hash_key_without_key(),
            };
            let begin = || Filling::new(self.layout.form, hash_key, self.tokens.draw());
            let filling = self.filling.entry(hash_key).or_insert_with(begin);
            let before = filling.byte_count_max;
            if filling.try_push(record, &self.layout) {
                self.byte_count_max += filling.byte_count_max - before;
                return;
            }
            self.take(hash_key, out);
        }
    }

    /// Bytes of the records that are filling, at the most.
    pub(super) fn byte_count_max(&self) -> usize {
        self.byte_count_max
    }

    /// Puts those that are filling in `out`, as they are.
    pub(super) fn take_all(&mut self, out: &mut Vec<Entry>) {
        out.extend(
            std::mem::take(&mut self.filling).into_iter().map(|(hash_key, filling)| filling.finish(hash_key, &self.layout)),
        );
        self.byte_count_max = 0;
    }

    fn take(&mut self, hash_key: u128, out: &mut Vec<Entry>) {
        if let Some(filling) = self.filling.remove(&hash_key) {
            self.byte_count_max -= filling.byte_count_max;
            out.push(filling.finish(hash_key, &self.layout));
        }
    }

    /// Where a user record without a key of its own, which may go anywhere, goes: where the last one went, until that is full or
    /// sent. Then to the next place that is due; or, rather than begin another record there, to the first behind it in which one
    /// is filling.
    fn hash_key_without_key(&mut self) -> u128 {
        if !self.filling.contains_key(&self.last_without_key) {
            let place = self.places.anywhere(self.layout.full_bytes);
            let place = if self.is_keyed { self.places.shared_with(place) } else { place };
            let from_there = self.filling.range(place..).next().or_else(|| self.filling.first_key_value());
            self.last_without_key = from_there.map_or(place, |(hash_key, _)| *hash_key);
        }
        self.last_without_key
    }

    /// One that is a record by itself. What goes the same way and came before goes before.
    fn push_single(&mut self, record: &UserRecord<'_>, out: &mut Vec<Entry>) {
        let is_wrapped = self.layout.is_wrapped(record.data, record.partition_key.is_some());
        if self.layout.form == Form::Single && !is_wrapped {
            // Nothing is filling.
            return out.push(self.single(record, None));
        }
        let shared = match (record.hash_key, record.partition_key) {
            (Some(of_file), _) => Some(of_file),
            (None, Some(key)) => Some(self.places.shared_with_key(key)),
            (None, None) => None,
        };
        self.take(shared.unwrap_or(self.last_without_key), out);
        out.push(if is_wrapped {
            let hash_key = shared.unwrap_or_else(|| self.places.anywhere(record.data.len()));
            let mut filling = Filling::new(Form::Kpl, hash_key, self.tokens.draw());
            filling.try_push(record, &self.layout);
            filling.finish(hash_key, &self.layout)
        } else {
            self.single(record, shared)
        });
    }

    /// The record of one user record, as it is. But for joined ones it has that one's partition key, by which the service decides
    /// where it goes unless something else is to be decided: that the file is kept in order, or a busy shard avoided.
    fn single(&mut self, record: &UserRecord<'_>, shared: Option<u128>) -> Entry {
        let &UserRecord { data, span, too_long, .. } = record;
        let key = record.partition_key.filter(|_| self.layout.form != Form::Lines);
        let explicit_hash_key = match (self.layout.form, key) {
            (Form::Lines, _) => Some(shared.unwrap_or_else(|| self.places.anywhere(data.len()))),
            _ if record.hash_key.is_some() => record.hash_key,
            (_, Some(_)) => None,
            (_, None) => self.places.least_busy(data.len()),
        };
        let spans = Spans::from_iter([span]);
        let partition_key = match key {
            Some(key) => key.to_owned(),
            None => self.layout.key_of(self.tokens.draw(), &spans),
        };
        let behind = self.layout.behind;
        Entry {
            hash_key: explicit_hash_key.unwrap_or_else(|| match key {
                Some(key) => self.places.of_key(key),
                None => hash_of(&partition_key),
            }),
            is_hash_key_explicit: explicit_hash_key.is_some(),
            partition_key,
            data: if behind.is_empty() { Bytes::copy_from_slice(data) } else { [data, behind].concat().into() },
            spans,
            user_record_count: 1,
            is_token: key.is_none(),
            too_long: too_long.filter(|_| behind.is_empty()),
            in_flight_since: None,
        }
    }
}

impl Filling {
    fn new(form: Form, hash_key: u128, token: String) -> Self {
        let content = match form {
            Form::Kpl | Form::Single => Content::Kpl(Aggregate::new(hash_key)),
            Form::Lines => Content::Lines(Joined::default()),
        };
        Self { content, token, byte_count_max: 0 }
    }

    fn try_push(&mut self, record: &UserRecord<'_>, layout: &Layout) -> bool {
        match &mut self.content {
            Content::Kpl(aggregate) => {
                let partition_key = record.partition_key.unwrap_or(&self.token);
                let bytes_max = layout.full_bytes.saturating_sub(self.token.len());
                let is_taken = aggregate.try_push(partition_key, record.data, record.span, bytes_max);
                self.byte_count_max = aggregate.byte_count_max();
                is_taken
            }
            Content::Lines(joined) => {
                let is_taken = joined
                    .try_push(record.data, layout.behind, record.span, layout.full_bytes, |spans| layout.has_room_for(spans));
                self.byte_count_max = joined.byte_count();
                is_taken
            }
        }
    }

    fn finish(self, hash_key: u128, layout: &Layout) -> Entry {
        let (partition_key, (data, spans, user_record_count)) = match self.content {
            Content::Kpl(aggregate) => {
                let finished = aggregate.finish();
                (self.token, (finished.data, finished.spans, finished.user_record_count))
            }
            Content::Lines(joined) => {
                let (data, spans, user_record_count) = joined.finish();
                (layout.key_of(self.token, &spans), (data, spans, user_record_count))
            }
        };
        Entry {
            partition_key,
            hash_key,
            is_hash_key_explicit: true,
            data: data.into(),
            spans,
            user_record_count,
            is_token: true,
            too_long: None,
            in_flight_since: None,
        }
    }
}
