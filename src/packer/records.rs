//! User records into records: which of them share one, and where that goes.
//!
//! Of those that are filling there is one for each hash key in use: of each range of hash keys with records that have keys, one
//! for those that may go anywhere, or one of each file where its lines are to stay in order. What shares a hash key goes out in
//! the order in which it came.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::layout::{Form, Layout};
use super::made::Made;
use super::places::Places;
use crate::aggregator::Aggregate;
use crate::collector::{Entry, Key};
use crate::config::{PartitionKey, TooLong};
use crate::delivery_token::{DeliveryTokens, SequenceNumber};
use crate::joiner::Joined;
use crate::limits::MIB;
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

/// The line that was packed last, if its span is [open](Span::ending_in_a_line): only when it is known that the next line
/// does not continue the span, the last line of that is looked at. All of one chunk is packed with the same.
#[derive(Default)]
pub(super) struct Newest<'c>(Option<Open<'c>>);

struct Open<'c> {
    /// Which of the filling records it is in.
    slot: usize,
    span: Span,
    line: &'c [u8],
}

/// The records of one flow that are filling.
pub(super) struct Records {
    layout: Layout,
    places: Places,
    tokens: DeliveryTokens,
    /// Those that are filling, and others whose memory will be used again.
    slots: Vec<Filling>,
    /// Which of the slots are filling, by hash key.
    by_hash_key: BTreeMap<u128, usize>,
    /// Which are not.
    free: Vec<usize>,
    /// The hash key and the slot of the record that was added to last, while it is filling.
    last: Option<(u128, usize)>,
    /// Bytes of all of them, at the most.
    byte_count_max: usize,
    /// How large the last one was in the end: as much is expected of the next.
    expected_bytes: usize,
    /// The hash key with which the last user record without a key of its own went.
    last_without_key: u128,
    /// Where a record may go, those with keys may join it.
    is_keyed: bool,
    /// The newest token.
    token: Vec<u8>,
}

struct Filling {
    content: Content,
    number: SequenceNumber,
    /// The token, if user records without a key have it as theirs.
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
        load: &Load,
        tokens: DeliveryTokens,
    ) -> Self {
        let golden = tokens.run_id();
        Self {
            layout,
            places: Places::new(facts.shards.clone(), load, golden),
            tokens,
            slots: Vec::new(),
            by_hash_key: BTreeMap::new(),
            free: Vec::new(),
            last: None,
            byte_count_max: 0,
            expected_bytes: 0,
            last_without_key: golden,
            is_keyed: *partition_key != PartitionKey::Random,
            token: Vec::new(),
        }
    }

    /// From now on this is known of the stream. What has begun under another layout is given out.
    pub(super) fn set(&mut self, layout: Layout, facts: &StreamFacts, out: &mut Made) {
        self.places.set_shards(&facts.shards);
        if layout != self.layout {
            self.take_all(out);
            self.layout = layout;
        }
    }

    /// Adds a user record, and puts what it completes in `out`: records in which there was no room for it, or its own. `line` is the
    /// line that it is made of as it is in the file, if its span is open; `newest` the one before it.
    pub(super) fn push<'c>(&mut self, record: &UserRecord<'_>, line: Option<&'c [u8]>, newest: &mut Newest<'c>, out: &mut Made) {
        if self.layout.is_single(record.data) {
            self.close(newest);
            let span = line.map_or(record.span, |line| record.span.ending_in(line));
            return self.push_single(&UserRecord { span, ..*record }, out);
        }
        // What has just begun takes any user record.
        loop {
            let hash_key = match (record.hash_key, record.partition_key) {
                (Some(of_file), _) => of_file,
                (None, Some(key)) => self.places.shared_with_key(key),
                (None, None) => self.hash_key_without_key(),
            };
            let slot = self.slot_of(hash_key);
            if newest.0.as_ref().is_some_and(|open| open.slot != slot || !open.span.is_continued_by(&record.span)) {
                self.close(newest);
            }
            let filling = &mut self.slots[slot];
            let before = filling.byte_count_max;
            if filling.try_push(record, &self.layout) {
                self.byte_count_max += filling.byte_count_max - before;
                newest.0 = line.map(|line| Open { slot, span: record.span, line });
                return;
            }
            self.close(newest);
            self.take(hash_key, out);
        }
    }

    /// Looks at the newest line. What comes behind it is no longer expected to continue its span, though it may.
    pub(super) fn close(&mut self, newest: &mut Newest<'_>) {
        if let Some(Open { slot, span, line }) = newest.0.take() {
            match &mut self.slots[slot].content {
                Content::Kpl(aggregate) => aggregate.set_last_line(&span, line),
                Content::Lines(joined) => joined.set_last_line(&span, line),
            }
        }
    }

    /// Bytes of the records that are filling, at the most.
    pub(super) fn byte_count_max(&self) -> usize {
        self.byte_count_max
    }

    /// Puts those that are filling in `out`, as they are. No line may be [open](Newest).
    pub(super) fn take_all(&mut self, out: &mut Made) {
        self.places.end_run();
        for (hash_key, slot) in std::mem::take(&mut self.by_hash_key) {
            self.finish(hash_key, slot, out);
        }
        self.last = None;
        self.byte_count_max = 0;
    }

    fn take(&mut self, hash_key: u128, out: &mut Made) {
        if let Some(slot) = self.by_hash_key.remove(&hash_key) {
            self.byte_count_max -= self.slots[slot].byte_count_max;
            self.finish(hash_key, slot, out);
        }
        if self.last.is_some_and(|(last, _)| last == hash_key) {
            self.last = None;
        }
    }

    /// The slot of what is filling there; if nothing is, it begins.
    fn slot_of(&mut self, hash_key: u128) -> usize {
        if let Some((last, slot)) = self.last
            && last == hash_key
        {
            return slot;
        }
        let slot = match self.by_hash_key.get(&hash_key) {
            Some(slot) => *slot,
            None => {
                let slot = self.begin(self.layout.form, hash_key);
                self.by_hash_key.insert(hash_key, slot);
                slot
            }
        };
        self.last = Some((hash_key, slot));
        slot
    }

    /// A slot in which a record begins.
    fn begin(&mut self, form: Form, hash_key: u128) -> usize {
        let number = self.tokens.draw_number();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Filling::new(number));
            self.slots.len() - 1
        });
        self.tokens.write(number, None, &mut self.token);
        // All of it is ASCII.
        let token = str::from_utf8(&self.token).unwrap_or_default();
        let is_expected = self.by_hash_key.len() * self.expected_bytes <= EXPECTED_BYTES_MAX;
        let expected_bytes = if is_expected { self.expected_bytes } else { 0 };
        self.slots[slot].begin(form, hash_key, (number, token), expected_bytes);
        slot
    }

    /// Puts the record of a slot in `out`.
    fn finish(&mut self, hash_key: u128, slot: usize, out: &mut Made) {
        self.free.push(slot);
        let Self { slots, tokens, layout, token, expected_bytes, .. } = self;
        let filling = &mut slots[slot];
        let (data, undigested, spans, user_record_count) = match &mut filling.content {
            Content::Kpl(aggregate) => {
                let (undigested, spans, user_record_count) = aggregate.take();
                tokens.write(filling.number, None, token);
                *expected_bytes = undigested.byte_count();
                (Bytes::new(), Some(undigested), spans, user_record_count)
            }
            Content::Lines(joined) => {
                let (data, spans, user_record_count) = joined.take();
                tokens.write(filling.number, layout.named(&spans), token);
                *expected_bytes = data.len();
                (data, None, spans, user_record_count)
            }
        };
        *expected_bytes = (*expected_bytes + EXPECTED_BYTES_MORE).min(layout.full_bytes);
        let entry = Entry {
            partition_key: Key::of_utf_8(token),
            hash_key,
            is_hash_key_explicit: true,
            data,
            spans,
            user_record_count,
            is_token: true,
            too_long: None,
            in_flight_since: None,
        };
        out.push(entry, undigested);
    }

    /// Where a user record without a key of its own, which may go anywhere, goes: where the last one went, until that is full or
    /// sent. Then to the next place that is due; or, rather than begin another record there, to the first behind it in which one
    /// is filling.
    fn hash_key_without_key(&mut self) -> u128 {
        let is_last = self.last.is_some_and(|(last, _)| last == self.last_without_key);
        if !is_last && !self.by_hash_key.contains_key(&self.last_without_key) {
            let place = self.places.anywhere(self.layout.full_bytes);
            let place = if self.is_keyed { self.places.shared_with(place) } else { place };
            let from_there = self.by_hash_key.range(place..).next().or_else(|| self.by_hash_key.first_key_value());
            self.last_without_key = from_there.map_or(place, |(hash_key, _)| *hash_key);
        }
        self.last_without_key
    }

    /// One that is a record by itself. What goes the same way and came before goes before.
    fn push_single(&mut self, record: &UserRecord<'_>, out: &mut Made) {
        let is_wrapped = self.layout.is_wrapped(record.data, record.partition_key.is_some());
        if self.layout.form == Form::Single && !is_wrapped {
            // Nothing is filling.
            return self.push_alone(record, None, out);
        }
        let shared = match (record.hash_key, record.partition_key) {
            (Some(of_file), _) => Some(of_file),
            (None, Some(key)) => Some(self.places.shared_with_key(key)),
            (None, None) => None,
        };
        self.take(shared.unwrap_or(self.last_without_key), out);
        if is_wrapped {
            let hash_key = shared.unwrap_or_else(|| self.places.anywhere(record.data.len()));
            let slot = self.begin(Form::Kpl, hash_key);
            self.slots[slot].try_push(record, &self.layout);
            self.finish(hash_key, slot, out);
        } else {
            self.push_alone(record, shared, out);
        }
    }

    /// The record of one user record, as it is. But for joined ones it has that one's partition key, by which the service decides where
    /// it goes unless the order of its file is kept; without one it goes where it is sent soonest.
    fn push_alone(&mut self, record: &UserRecord<'_>, shared: Option<u128>, out: &mut Made) {
        let &UserRecord { data, span, too_long, .. } = record;
        let key = record.partition_key.filter(|_| self.layout.form != Form::Lines);
        let explicit_hash_key = match (self.layout.form, key) {
            (Form::Lines, _) => Some(shared.unwrap_or_else(|| self.places.anywhere(data.len()))),
            _ if record.hash_key.is_some() => record.hash_key,
            (_, Some(_)) => None,
            (_, None) => Some(self.places.anywhere_in_a_run(data.len())),
        };
        let spans = Spans::from_iter([span]);
        let partition_key = match key {
            Some(key) => Key::from(key),
            None => {
                let number = self.tokens.draw_number();
                self.tokens.write(number, self.layout.named(&spans), &mut self.token);
                Key::of_utf_8(&self.token)
            }
        };
        let behind = self.layout.behind;
        let entry = Entry {
            hash_key: explicit_hash_key.unwrap_or_else(|| self.places.of_key(&partition_key)),
            partition_key,
            is_hash_key_explicit: explicit_hash_key.is_some(),
            data: if behind.is_empty() { Bytes::copy_from_slice(data) } else { [data, behind].concat().into() },
            spans,
            user_record_count: 1,
            is_token: key.is_none(),
            too_long: too_long.filter(|_| behind.is_empty()),
            in_flight_since: None,
        };
        out.push(entry, None);
    }
}

/// Of many records that fill at once most are small: while more than so many bytes are expected of those that are filling, the
/// next grows as it is filled.
const EXPECTED_BYTES_MAX: usize = MIB;
/// A record may well be a little larger than the one before.
const EXPECTED_BYTES_MORE: usize = 1024;

impl Filling {
    /// It has to be begun.
    fn new(number: SequenceNumber) -> Self {
        Self { content: Content::Kpl(Aggregate::default()), number, token: String::new(), byte_count_max: 0 }
    }

    /// Begins a record, in the memory that there is from others, with room for so many bytes.
    fn begin(&mut self, form: Form, hash_key: u128, (number, token): (SequenceNumber, &str), expected_bytes: usize) {
        match (&mut self.content, form) {
            (Content::Kpl(aggregate), Form::Kpl | Form::Single) => aggregate.begin(hash_key, expected_bytes),
            (Content::Lines(joined), Form::Lines) => joined.begin(expected_bytes),
            (content, Form::Kpl | Form::Single) => *content = Content::Kpl(Aggregate::new(hash_key)),
            (content, Form::Lines) => *content = Content::Lines(Joined::default()),
        }
        self.token.clear();
        self.token.push_str(token);
        (self.number, self.byte_count_max) = (number, 0);
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
}
