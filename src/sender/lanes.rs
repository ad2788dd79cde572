//! What waits to be sent, by shard, and which of it may go now.
//!
//! Each shard has a lane with a [`Pace`] of its own, so that a busy shard holds up nothing but what is for it. The lanes are those
//! of the shard map; when it changes, what waits is sorted anew. Requests are made of whatever may go, shard by shard in turn.
//! Of one hash key only one entry is on its way where files are kept in order. What a request, an answer or a record costs does not
//! grow with the number of shards: only lanes of which something may go are looked at; and what need not wait does not come into one.
//!
//! Pure but for the map. What became of a request, and what that means for others, is decided by the sender.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use super::pace::{Amount, Pace};
use crate::backoff::backoff;
use crate::collector::{Collector, Entry};
use crate::config::Order;
use crate::hash_key::HashRange;
use crate::stream::{ShardMap, Wait};

/// The lanes of one flow.
pub(super) struct Lanes {
    map: Arc<ShardMap>,
    /// One for each range of `map`.
    lanes: Vec<Lane>,
    /// Those of which something may go, as far as is known.
    ready: BTreeSet<usize>,
    /// Those of which something may go later, and when.
    asleep: BTreeSet<(Instant, usize)>,
    random: Rng,
    order: Order,
    /// Hash keys of entries that are on their way, where files are kept in order.
    busy: HashSet<u128>,
    /// The lane whose turn is next.
    next: usize,
    /// The lane that was asked for last: neighbours are often for the same.
    last: usize,
    byte_count: usize,
    record_count: usize,
}

struct Lane {
    pace: Pace,
    /// By hash key where files are kept in order, else all in one. None is empty.
    queues: BTreeMap<u128, VecDeque<Entry>>,
    /// Hash key of the queue that had its turn last.
    last: u128,
    byte_count: usize,
    record_count: usize,
    /// Answers in a row with a record for this shard that failed for another reason than its pace.
    failure_count: u32,
    /// Nothing is sent before.
    held_until: Option<Instant>,
    turn: Turn,
}

/// When a lane is looked at next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// When it gets something, or something has landed: there is nothing, or nothing that may go.
    Never,
    /// With the next request: it is one of those that are ready.
    Next,
    /// Then: it is asleep.
    At(Instant),
}

/// What an answer says of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShardAnswer {
    pub(super) delivered: Amount,
    pub(super) throttled: Amount,
    /// Some of its records failed for another reason.
    pub(super) has_failed: bool,
}

/// How it ended that a request took what may go of a lane.
enum Taken {
    /// The request is full.
    Full,
    /// Nothing more may go before then.
    Until(Instant),
    /// Nothing is left, or nothing that may go before what is on its way has landed.
    All,
}

impl Lanes {
    /// Lanes without anything in them.
    pub(super) fn new(map: Arc<ShardMap>, order: Order, mut random: Rng, now: Instant) -> Self {
        let lanes = map.ranges().iter().map(|_| Lane::new(first_pace(&map, random.u64(..), now))).collect();
        let (ready, asleep, busy) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
        Self { map, lanes, ready, asleep, random, order, busy, next: 0, last: 0, byte_count: 0, record_count: 0 }
    }

    /// The map of the lanes.
    pub(super) fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    pub(super) fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Which lane the entries of a hash key have.
    pub(super) fn index_of(&mut self, hash_key: u128) -> usize {
        if !self.map.ranges()[self.last].contains(hash_key) {
            self.last = self.map.index_of(hash_key);
        }
        self.last
    }

    /// Bytes of the entries that wait.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// Of entries that have just come gives back, in their order, those that may go now, for which nothing waits that would have to
    /// go before; the others wait in their lanes.
    pub(super) fn admit(&mut self, mut entries: Vec<Entry>, now: Instant) -> Vec<Entry> {
        let passing_count = entries.iter().take_while(|entry| self.may_pass(entry, now)).count();
        for entry in entries.split_off(passing_count) {
            if self.may_pass(&entry, now) { entries.push(entry) } else { self.push(entry) }
        }
        entries
    }

    /// Whether it may go now; then it is counted as sent.
    fn may_pass(&mut self, entry: &Entry, now: Instant) -> bool {
        let index = self.index_of(entry.hash_key);
        let lane = &mut self.lanes[index];
        let is_free = self.order == Order::Throughput && lane.record_count == 0;
        let may_pass = is_free && !lane.is_held(now) && lane.pace.may_send(now);
        if may_pass {
            lane.pace.sent(now, Amount::of(entry));
        }
        may_pass
    }

    /// Puts an entry behind those of its shard.
    pub(super) fn push(&mut self, entry: Entry) {
        self.queue_for(&entry).push_back(entry);
    }

    /// Puts entries in front of those of their shards, in their order.
    pub(super) fn push_front(&mut self, entries: Vec<Entry>) {
        for entry in entries.into_iter().rev() {
            self.queue_for(&entry).push_front(entry);
        }
    }

    /// These are on their way: so are those that were [taken](Self::take), and some that were and that the sender sends again
    /// by itself.
    pub(super) fn departed(&mut self, entries: &[Entry]) {
        if self.order == Order::File {
            self.busy.extend(entries.iter().map(|entry| entry.hash_key));
        }
    }

    /// They are no longer on their way: the next entries of their files may go.
    pub(super) fn landed(&mut self, entries: &[Entry]) {
        if self.order == Order::File {
            for entry in entries {
                self.busy.remove(&entry.hash_key);
                let index = self.index_of(entry.hash_key);
                self.look_at(index);
            }
        }
    }

    /// Moves what may go now into `request`, until it is full.
    pub(super) fn take(&mut self, request: &mut Collector, now: Instant) {
        while let Some(&(_, index)) = self.asleep.first().filter(|(at, _)| *at <= now) {
            self.rouse(index);
        }
        let mut from = self.next;
        while let Some(&index) = self.ready.range(from..).next().or_else(|| self.ready.first()) {
            let lane = &mut self.lanes[index];
            let (byte_count, record_count) = (lane.byte_count, lane.record_count);
            let taken = lane.take(request, self.order, &mut self.busy, now);
            self.byte_count -= byte_count - lane.byte_count;
            self.record_count -= record_count - lane.record_count;
            lane.turn = match taken {
                Taken::Full => {
                    self.next = index;
                    return;
                }
                Taken::Until(at) => Turn::At(at),
                Taken::All => Turn::Never,
            };
            self.ready.remove(&index);
            if let Turn::At(at) = lane.turn {
                self.asleep.insert((at, index));
            }
            from = index;
        }
        self.next = (self.next + 1) % self.lanes.len();
    }

    /// When something that waits may go, if nothing else happens before; none when nothing waits for the time to pass.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.asleep.first().map(|(at, _)| *at) } else { Some(now) }
    }

    /// Learns what became of a request that was sent at `sent_at`.
    pub(super) fn answered(&mut self, answers: &BTreeMap<usize, ShardAnswer>, sent_at: Instant, now: Instant) {
        for (index, answer) in answers {
            let Some(lane) = self.lanes.get_mut(*index) else { continue };
            lane.pace.answered(now, sent_at, answer.delivered, answer.throttled);
            if answer.has_failed {
                // Where something gets through, what does not is no reason to send ever less.
                lane.failure_count = if answer.delivered.record_count > 0 { 1 } else { lane.failure_count.saturating_add(1) };
                lane.held_until = Some(now + backoff(lane.failure_count, self.random.f64()));
            } else if answer.delivered.record_count > 0 {
                lane.failure_count = 0;
            }
            self.rouse(*index);
        }
    }

    /// Gives back the credit of entries that were surely not stored, and not because of their pace.
    pub(super) fn returned(&mut self, entries: &[Entry]) {
        for entry in entries {
            let index = self.index_of(entry.hash_key);
            self.lanes[index].pace.returned(Amount::of(entry));
            self.rouse(index);
        }
    }

    /// Goes on with another map: shards that were there before keep their pace, others begin with that of the shards whose hash
    /// keys they have, and what waits goes to its shard's lane.
    pub(super) fn remap(&mut self, map: Arc<ShardMap>, now: Instant) {
        let before = std::mem::take(&mut self.lanes);
        let same: HashMap<&str, &Lane> =
            before.iter().enumerate().filter_map(|(index, lane)| Some((&**self.map.id_of(index)?, lane))).collect();
        let lane_of = |index| match map.id_of(index).and_then(|id| same.get(&**id)) {
            Some(lane) => lane.without_entries(),
            None => {
                let new = first_pace(&map, self.random.u64(..), now);
                let range = map.ranges()[index];
                let parents = before.get(self.map.index_of(range.start)..=self.map.index_of(range.end)).unwrap_or_default();
                let is_starting = parents.iter().all(|lane| lane.pace.is_starting());
                // Nothing was learned, and now the number of shards is known.
                let is_first = is_starting && map.is_listed() && !self.map.is_known();
                let share = if is_first { None } else { share_of_successor(parents, &self.map, range) };
                Lane::new(match share {
                    Some(share) => new.of_share(share, is_starting),
                    None => new,
                })
            }
        };
        let lanes = (0..map.range_count()).map(lane_of).collect();
        drop(same);
        let waiting: Vec<Entry> = before.into_iter().flat_map(|lane| lane.queues.into_values().flatten()).collect();
        self.lanes = lanes;
        self.ready.clear();
        self.asleep.clear();
        (self.map, self.next, self.last, self.byte_count, self.record_count) = (map, 0, 0, 0, 0);
        for entry in waiting {
            self.push(entry);
        }
    }

    /// How long what waits takes, by range; an empty list when nothing waits.
    pub(super) fn waits(&mut self, now: Instant) -> Vec<Wait> {
        if self.byte_count == 0 {
            return Vec::new();
        }
        self.lanes.iter_mut().map(|lane| lane.wait(now)).collect()
    }

    /// The queue of an entry, which is counted.
    fn queue_for(&mut self, entry: &Entry) -> &mut VecDeque<Entry> {
        let (index, byte_count) = (self.index_of(entry.hash_key), entry.byte_count());
        self.byte_count += byte_count;
        self.record_count += 1;
        self.lanes[index].byte_count += byte_count;
        self.lanes[index].record_count += 1;
        self.look_at(index);
        let queue = if self.order == Order::File { entry.hash_key } else { 0 };
        self.lanes[index].queues.entry(queue).or_default()
    }

    /// There is more of a lane that may go, as soon as it is its turn.
    fn look_at(&mut self, index: usize) {
        if self.lanes[index].turn == Turn::Never {
            self.rouse(index);
        }
    }

    /// A lane may be ready sooner than was known.
    fn rouse(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.record_count == 0 {
            return;
        }
        if let Turn::At(at) = std::mem::replace(&mut lane.turn, Turn::Next) {
            self.asleep.remove(&(at, index));
        }
        self.ready.insert(index);
    }
}

/// The greatest share of a shard's limits: that of one shard, or more where a range stands for several.
fn ceiling(map: &ShardMap) -> f64 {
    if map.is_known() { 1.0 } else { f64::INFINITY }
}

/// The pace where nothing is known of others. Ranges that stand for nobody knows how many shards begin as if it was a single one.
fn first_pace(map: &ShardMap, random: u64, now: Instant) -> Pace {
    let pace = Pace::new(now, ceiling(map), random);
    if map.is_known() { pace } else { pace.of_share(1.0 / map.range_count() as f64, true) }
}

/// The share at a shard, or range, that has taken the place of others; none if there are none.
fn share_of_successor(parents: &[Lane], map: &ShardMap, range: HashRange) -> Option<f64> {
    if map.is_known() {
        // The others who send to them come along.
        let sum: f64 = parents.iter().map(|lane| lane.pace.share()).sum();
        return (!parents.is_empty()).then(|| sum / parents.len() as f64);
    }
    let part = |of: &HashRange| {
        let (start, end) = (of.start.max(range.start), of.end.min(range.end));
        (end - start) as f64 / (of.end - of.start) as f64
    };
    let ranges = &map.ranges()[map.index_of(range.start)..];
    let shares = parents.iter().zip(ranges).map(|(lane, of)| lane.pace.share() * part(of));
    (!parents.is_empty()).then(|| shares.sum())
}

impl Lane {
    /// The same, with nothing that waits.
    fn without_entries(&self) -> Self {
        Self { failure_count: self.failure_count, held_until: self.held_until, ..Self::new(self.pace.clone()) }
    }

    fn new(pace: Pace) -> Self {
        let queues = BTreeMap::new();
        Self { pace, queues, last: 0, byte_count: 0, record_count: 0, failure_count: 0, held_until: None, turn: Turn::Never }
    }

    fn take(&mut self, request: &mut Collector, order: Order, busy: &mut HashSet<u128>, now: Instant) -> Taken {
        while let Some(hash_key) = self.next_queue(busy) {
            if self.is_held(now) || !self.pace.may_send(now) {
                return Taken::Until(self.ready_at(now));
            }
            let Some(queue) = self.queues.get_mut(&hash_key) else { break };
            let Some(entry) = queue.pop_front() else { break };
            let sent = Amount::of(&entry);
            if let Err(entry) = request.try_push(entry) {
                queue.push_front(entry);
                return Taken::Full;
            }
            if queue.is_empty() {
                self.queues.remove(&hash_key);
            }
            self.pace.sent(now, sent);
            self.byte_count -= sent.byte_count;
            self.record_count -= 1;
            if order == Order::File {
                busy.insert(hash_key);
                self.last = hash_key;
            }
        }
        Taken::All
    }

    /// The queue after the last one, of those from which something may go.
    fn next_queue(&self, busy: &HashSet<u128>) -> Option<u128> {
        let after = self.queues.range((Bound::Excluded(self.last), Bound::Unbounded));
        let up_to = self.queues.range(..=self.last);
        after.chain(up_to).map(|(hash_key, _)| *hash_key).find(|hash_key| !busy.contains(hash_key))
    }

    fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    fn ready_at(&mut self, now: Instant) -> Instant {
        self.pace.ready_at(now).max(self.held_until.unwrap_or(now))
    }

    fn wait(&mut self, now: Instant) -> Wait {
        let waiting = Amount { byte_count: self.byte_count, record_count: self.record_count };
        Wait { seconds: self.pace.seconds_for(now, waiting).max(0.0), seconds_per_byte: self.pace.seconds_per_byte() }
    }
}

impl Amount {
    /// What one entry counts.
    pub(super) fn of(entry: &Entry) -> Self {
        Self { byte_count: entry.byte_count(), record_count: 1 }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.byte_count += other.byte_count;
        self.record_count += other.record_count;
    }
}

#[cfg(test)]
mod tests;
