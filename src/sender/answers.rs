//! What follows from an answer: what is delivered, what is sent again and after which wait, what is made smaller, what is kept
//! apart, and when a flow counts as paused.
//!
//! What an answer means is decided in [`outcome`]; what is sent when, by the loop above.

use std::collections::BTreeMap;
use std::slice;
use std::time::Instant as StdInstant;

use tokio::time::Instant;

use super::lanes::ShardAnswer;
use super::lookup::LookedUp;
use super::pace::Amount;
use super::shortening::{Shortened, shortened};
use super::{Answered, Destination, Request, Sender};
use crate::backoff::backoff;
use crate::checkpointer::Event;
use crate::collector::Entry;
use crate::failpoint;
use crate::limits::{KIB, REFUSED_RETRY_INTERVAL, REQUEST_BYTES_DEFAULT, REQUEST_MARGIN_BYTES, THROTTLED_UNTIL_PAUSED};
use crate::outcome::{self, Failure, RecordResult, Verdict};
use crate::settlement::{Outcome, Settled};
use crate::span::Spans;

/// Answers in a row that delivered nothing after which a flow counts as paused.
const FAILURES_UNTIL_PAUSED: u32 = 3;
/// Refusals in a row, with nothing delivered in between, after which it takes longer until the next request: more than it takes to
/// find some dozens of records in a request.
const REFUSALS_UNTIL_BACKOFF: u32 = 256;
/// After a timeout the room of a request grows by this part of it with each that is delivered: slowly, because a
/// step too far costs another one, and its records may be there twice.
const ROOM_GROWTH: usize = 64;

/// What was delivered by one request, or found in the stream.
#[derive(Default)]
struct Delivered {
    spans: Spans,
    record_count: usize,
    byte_count: usize,
    user_record_count: u64,
    /// Since when how many of them may have been stored.
    in_flight_since: Vec<(StdInstant, usize)>,
}

impl Delivered {
    fn push(&mut self, entry: &Entry) {
        self.spans.extend(&entry.spans);
        self.record_count += 1;
        self.byte_count += entry.data.len();
        self.user_record_count += u64::from(entry.user_record_count);
        let Some(since) = entry.in_flight_since else { return };
        match self.in_flight_since.last_mut() {
            Some((last, count)) if *last == since => *count += 1,
            _ => self.in_flight_since.push((since, 1)),
        }
    }
}

impl<D: Destination> Sender<D> {
    pub(super) async fn answered(&mut self, Answered { sent, answer }: Answered) {
        self.in_flight_byte_count -= sent.byte_count;
        // What was refused goes beside the others, also those of its file.
        if !sent.is_of_refused {
            self.lanes.landed(&sent.entries);
        }
        let failure = match answer {
            Ok(results) if results.len() == sent.entries.len() => return self.by_record(sent, results).await,
            Ok(results) => Failure::wrong_result_count(sent.entries.len(), results.len()),
            Err(failure) => failure,
        };
        self.request_failed(sent, &failure).await;
    }

    async fn by_record(&mut self, sent: Request, results: Vec<RecordResult>) {
        let (delivered, by_shard) = self.told_by_record(&sent, &results);
        let mut failed = Vec::new();
        let mut last_failure = None;
        let some_delivered = delivered.record_count > 0;
        // Entries are large: where all were delivered none is moved.
        if delivered.record_count < results.len() {
            for (mut entry, result) in sent.entries.into_iter().zip(results) {
                let RecordResult::Failed { code, message, .. } = result else { continue };
                let verdict = outcome::of_record(&code);
                self.record_failed(verdict, &code, &message);
                last_failure = Some(Failure { verdict, code, message });
                if verdict == Verdict::Uncertain {
                    failed.extend(self.uncertain(entry, sent.is_of_refused));
                } else {
                    self.not_stored(&mut entry, sent.sent_at);
                    failed.push(entry);
                }
            }
        }
        self.lanes.answered(&by_shard, sent.sent_at.into_std(), Instant::now().into_std());
        if some_delivered {
            self.delivered(delivered).await;
            self.delivering(sent.byte_count, sent.is_of_refused);
        }
        self.failure_count = 0;
        let Some(failure) = last_failure else {
            self.metrics.request("ok");
            return;
        };
        self.metrics.request("partial");
        if sent.is_of_refused {
            self.keep_apart(failed);
        } else {
            self.lanes.push_front(failed);
        }
        if !some_delivered {
            self.fruitless(&failure);
        }
    }

    /// What an answer says that was delivered, and what it says of each shard.
    fn told_by_record(&mut self, sent: &Request, results: &[RecordResult]) -> (Delivered, BTreeMap<usize, ShardAnswer>) {
        let (mut delivered, mut by_shard) = (Delivered::default(), BTreeMap::<usize, ShardAnswer>::new());
        let mut told = sent.entries.iter().zip(results).peekable();
        while let Some((first, _)) = told.peek() {
            let index = self.lanes.index_of(first.hash_key);
            let (range, of_shard) = (self.lanes.map().ranges()[index], by_shard.entry(index).or_default());
            while let Some((entry, result)) = told.next_if(|(entry, _)| range.contains(entry.hash_key)) {
                let shard_id = match result {
                    RecordResult::Delivered { shard_id } => {
                        of_shard.delivered += Amount::of(entry);
                        delivered.push(entry);
                        shard_id.as_deref()
                    }
                    RecordResult::Failed { code, shard_id, .. } => {
                        match outcome::of_record(code) {
                            Verdict::SlowDown => of_shard.throttled += Amount::of(entry),
                            _ => of_shard.has_failed = true,
                        }
                        shard_id.as_deref()
                    }
                };
                self.check_shard(entry.hash_key, index, shard_id, sent.sent_at);
            }
        }
        (delivered, by_shard)
    }

    /// Reports what was delivered. Only then it is not in flight any more: what is in flight is what the checkpointer does not know
    /// to be settled.
    async fn delivered(&self, delivered: Delivered) {
        let Delivered { spans, record_count, byte_count, user_record_count, in_flight_since } = delivered;
        self.metrics.delivered_records.inc_by(record_count as u64);
        self.metrics.delivered_record_bytes.inc_by(byte_count as u64);
        self.metrics.delivered_user_records.inc_by(user_record_count);
        self.report(spans, Outcome::Delivered).await;
        failpoint::pass("after_report");
        for (since, count) in in_flight_since {
            self.gate.land(since.into(), count);
        }
        self.closed(record_count);
    }

    /// It is known of so many records whether their last attempt has stored them, or they are counted.
    fn closed(&self, record_count: usize) {
        self.unknown.remove(record_count);
    }

    /// What surely was not stored is not in flight any more, unless it may be by an earlier attempt.
    fn not_stored(&self, entry: &mut Entry, sent_at: Instant) {
        self.closed(1);
        if entry.in_flight_since == Some(sent_at.into_std()) {
            entry.in_flight_since = None;
            self.gate.land(sent_at, 1);
        }
    }

    /// What may be stored is looked up in the stream. Where that cannot be done it is given back, to be sent again, and counts.
    fn uncertain(&mut self, entry: Entry, is_of_refused: bool) -> Option<Entry> {
        if !is_of_refused {
            // As long as it is not known, nothing that comes behind it may go where order is kept.
            self.lanes.departed(slice::from_ref(&entry));
        }
        let entry = self.lookups.try_push(entry, is_of_refused).err()?;
        if !is_of_refused {
            self.lanes.landed(slice::from_ref(&entry));
        }
        self.possibly_doubled();
        Some(entry)
    }

    fn possibly_doubled(&self) {
        self.metrics.possibly_doubled_records.inc();
        self.closed(1);
    }

    /// What is stored was delivered, by an attempt that was not answered; what is not is sent again.
    pub(super) async fn looked_up(&mut self, LookedUp { entries, stored }: LookedUp) {
        let mut delivered = Delivered::default();
        let (mut again, mut refused, mut is_of_refused) = (Vec::new(), Vec::new(), false);
        failpoint::pass("looked_up");
        for (index, uncertain) in entries.into_iter().enumerate() {
            let mut entry = uncertain.entry;
            if !uncertain.is_of_refused {
                self.lanes.landed(slice::from_ref(&entry));
            }
            match stored.as_ref().ok().map(|stored| stored.get(index) == Some(&true)) {
                Some(true) => {
                    self.metrics.looked_up_stored.inc();
                    delivered.push(&entry);
                    is_of_refused |= uncertain.is_of_refused;
                    continue;
                }
                Some(false) => {
                    self.metrics.looked_up_not_stored.inc();
                    self.closed(1);
                    if let Some(since) = entry.in_flight_since.take() {
                        self.gate.land(since.into(), 1);
                    }
                }
                None => self.possibly_doubled(),
            }
            if uncertain.is_of_refused { refused.push(entry) } else { again.push(entry) }
        }
        let flow = &self.metrics.name;
        tracing::debug!(
            flow,
            stored = delivered.record_count,
            not_stored = again.len() + refused.len(),
            "looked up what may be stored"
        );
        self.lanes.push_front(again);
        if !refused.is_empty() {
            self.keep_apart(refused);
        }
        if delivered.record_count > 0 {
            self.delivered(delivered).await;
            self.got_through(is_of_refused);
        }
    }

    async fn report(&self, spans: Spans, outcome: Outcome) {
        // The checkpointer ends last; without it there is nobody to tell.
        let _ = self.events.send(Event::Settled(Settled { spans, outcome })).await;
    }

    /// The service says where a record went; is that where the map says it goes?
    fn check_shard(&mut self, hash_key: u128, index: usize, shard_id: Option<&str>, sent_at: Instant) {
        let expected = self.lanes.map().id_of(index);
        let Some(actual) = shard_id else { return };
        let is_as_mapped = expected.is_some_and(|expected| **expected == *actual);
        self.lookups.stored_as_mapped(is_as_mapped);
        if !is_as_mapped && !self.is_auto {
            self.doubt.raise(hash_key, actual, sent_at);
        }
    }

    fn record_failed(&mut self, verdict: Verdict, code: &str, message: &str) {
        self.metrics.failed_records(code, 1);
        let is_uncertain = verdict == Verdict::Uncertain;
        tracing::debug!(flow = self.metrics.name, code, message, is_uncertain, "a record was not delivered");
    }

    async fn request_failed(&mut self, sent: Request, failure: &Failure) {
        let Request { mut entries, byte_count, is_of_refused, sent_at } = sent;
        let (record_count, is_uncertain) = (entries.len(), failure.verdict == Verdict::Uncertain);
        if is_uncertain {
            entries = entries.into_iter().filter_map(|entry| self.uncertain(entry, is_of_refused)).collect();
        } else {
            entries.iter_mut().for_each(|entry| self.not_stored(entry, sent_at));
        }
        self.metrics.request(&failure.code);
        self.metrics.failed_records(&failure.code, record_count as u64);
        let (flow, code, message) = (&self.metrics.name, &failure.code, &failure.message);
        tracing::debug!(flow, code, message, is_uncertain, "a request failed");
        match failure.verdict {
            Verdict::Split if entries.len() == 1 => {
                return self.refused_by_itself(entries, is_of_refused, failure).await;
            }
            Verdict::Split => {
                self.respect_the_region(byte_count);
                let second = entries.split_off(entries.len() / 2);
                self.halves.push_front(second);
                self.halves.push_front(entries);
                return self.back_off_from_refusal();
            }
            _ if is_of_refused => self.keep_apart(entries),
            _ => {
                if failure.code == Failure::TIMEOUT && record_count > 1 {
                    self.room = self.room.min(byte_count / 2);
                }
                if !is_uncertain {
                    self.lanes.returned(&entries);
                }
                self.lanes.push_front(entries);
            }
        }
        self.back_off();
        // A timeout is long enough to be told the first time.
        if failure.verdict == Verdict::Pause || failure.code == Failure::TIMEOUT {
            self.condition.paused(failure);
        } else {
            self.fruitless(failure);
        }
    }

    /// One record that is too large is made smaller as `too_long` says; any other is kept apart.
    async fn refused_by_itself(&mut self, entries: Vec<Entry>, is_of_refused: bool, failure: &Failure) {
        let is_too_large = outcome::is_about_size(&failure.code, &failure.message);
        if is_too_large {
            self.doubt.raise_about_size();
        }
        // Of several lines each may fit: they are not given up for the sake of their number.
        if is_too_large && entries.iter().all(|entry| entry.user_record_count == 1) {
            self.shorten(entries).await;
            if is_of_refused && self.refused.is_empty() {
                self.condition.none_is_refused();
            }
            return;
        }
        self.condition.refused(failure);
        self.keep_apart(entries);
        // Of one that is tried again nothing is to be learned about the others.
        if !is_of_refused {
            self.back_off_from_refusal();
        }
    }

    /// What is kept of records that are too large is sent again.
    async fn shorten(&mut self, entries: Vec<Entry>) {
        let record_bytes_max = self.facts.borrow().record_bytes_max;
        for mut entry in entries {
            // What is too large was not stored by an earlier attempt either.
            if let Some(since) = entry.in_flight_since.take() {
                self.gate.land(since.into(), 1);
            }
            tracing::warn!(flow = self.metrics.name, bytes = entry.byte_count(), "a record is too large for the stream");
            let Shortened { kept, dropped, reason } = shortened(entry, record_bytes_max);
            self.lanes.push_front(kept);
            if !dropped.is_empty() {
                self.metrics.dropped_lines(reason, 1);
                self.report(dropped, Outcome::Dropped(reason)).await;
            }
        }
    }

    /// A request above the limit that every region has was refused: this one may have no other.
    fn respect_the_region(&mut self, byte_count: usize) {
        if byte_count > REQUEST_BYTES_DEFAULT {
            self.room_max = REQUEST_BYTES_DEFAULT - REQUEST_MARGIN_BYTES;
            self.room = self.room.min(self.room_max);
        }
    }

    /// Entries that are refused by themselves are tried again rarely, one at a time; the others go on.
    fn keep_apart(&mut self, entries: Vec<Entry>) {
        if self.refused.is_empty() {
            self.refused_retry_at = Instant::now() + REFUSED_RETRY_INTERVAL;
        }
        self.refused.extend(entries);
    }

    /// Waits a little longer after each request in a row that failed. Those that were in flight together fail together
    /// and count once.
    fn back_off(&mut self) {
        if self.wait_until.is_some() {
            return;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        let wait = backoff(self.failure_count, self.random.f64());
        self.wait_until = Some(Instant::now() + wait);
    }

    /// Finding the records that are refused takes many requests: they follow each other soon, unless nothing else comes of it.
    fn back_off_from_refusal(&mut self) {
        self.refusal_count = self.refusal_count.saturating_add(1);
        if self.refusal_count > REFUSALS_UNTIL_BACKOFF {
            self.back_off();
        } else if self.wait_until.is_none() {
            self.wait_until = Some(Instant::now() + backoff(1, self.random.f64()));
        }
    }

    /// An answer delivered nothing. That a shard is busy is no trouble for a while.
    fn fruitless(&mut self, failure: &Failure) {
        let now = Instant::now();
        let (since, count) = self.fruitless.get_or_insert((now, 0));
        *count = count.saturating_add(1);
        let is_long = failure.verdict != Verdict::SlowDown || now - *since >= THROTTLED_UNTIL_PAUSED;
        if *count >= FAILURES_UNTIL_PAUSED && is_long {
            self.condition.paused(failure);
        }
    }

    fn delivering(&mut self, byte_count: usize, is_of_refused: bool) {
        let room = self.room.max(byte_count);
        self.room = (room + (room / ROOM_GROWTH).max(KIB)).min(self.room_max);
        self.got_through(is_of_refused);
    }

    /// Something is delivered.
    fn got_through(&mut self, is_of_refused: bool) {
        self.fruitless = None;
        self.refusal_count = 0;
        self.condition.delivering();
        if is_of_refused {
            // What was wrong with the others may be mended too.
            self.lanes.push_front(self.refused.drain(..).collect());
            self.condition.accepted();
        }
    }
}
