//! The shards as a list and the answers after it name them: where a list is late, or nobody may ask for one, answers are enough;
//! and they tell whether the service goes by hash keys at all.
//!
//! Pure but for names that are shared. When it is looked at, and what follows, the survey decides. That a shard which has taken
//! the place of another has the greater name is how the service counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hash_key::HashRange;
use crate::stream::{Shard, ShardMap};

/// What a list and answers have said.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Of each shard the hash keys between the first and the last that it was seen with, by the first; they do not meet.
    seen: BTreeMap<u128, Seen>,
    /// Nothing was learned since shards were listed.
    is_as_listed: bool,
    is_spread: bool,
    contradiction: Option<Contradiction>,
}

/// Answers of an older shard where a newer one was known.
#[derive(Debug)]
struct Contradiction {
    /// The newest of the older ones.
    shard_id: Arc<str>,
    /// When the first such request was sent.
    since: Instant,
}

#[derive(Debug)]
struct Seen {
    last: u128,
    shard_id: Arc<str>,
    /// When it was first seen.
    since: Instant,
}

/// Shards beyond so many are not kept: more than any stream has.
const SHARDS_MAX: usize = 20_000;
/// For so long after a change of the shards all kinds of answers may come.
const UNREST: Duration = Duration::from_secs(10);
/// A list that lacks shards which have answered is out of date, if they have begun to no longer ago.
const LATE_MAX: Duration = Duration::from_secs(60);

impl Learned {
    /// The answer to a request that was sent at `sent_at` says that this shard has stored a record with this hash key.
    pub(super) fn learn(&mut self, hash_key: u128, shard_id: &str, sent_at: Instant, now: Instant) {
        let before = self.seen.range(..=hash_key).next_back();
        if let Some(contradiction) = &self.contradiction
            && contradiction.since < sent_at
            && *shard_id > *contradiction.shard_id
            && self.seen.values().any(|seen| *seen.shard_id == *shard_id)
        {
            // Closed shards store nothing, and those of a stream that was deleted neither: both do where hash keys mean nothing.
            self.is_spread = true;
        }
        if self.is_spread || before.is_some_and(|(_, seen)| hash_key <= seen.last && *seen.shard_id == *shard_id) {
            return;
        }
        let known = self.seen.iter().find(|(_, seen)| *seen.shard_id == *shard_id);
        let mut range = HashRange { start: hash_key, end: hash_key };
        let mut since = now;
        if let Some((first, seen)) = known {
            range = HashRange { start: hash_key.min(*first), end: hash_key.max(seen.last) };
            since = seen.since;
        }
        let newer = self.meeting(range).filter(|seen| *seen.shard_id > *shard_id);
        if let Some(newest) = newer.map(|seen| seen.since).min() {
            if newest + UNREST < sent_at {
                self.contradicted(shard_id, sent_at);
            }
            return;
        }
        let shard_id = known.map_or_else(|| shard_id.into(), |(_, seen)| Arc::clone(&seen.shard_id));
        self.seen.retain(|first, seen| (*first > range.end || seen.last < range.start) && seen.shard_id != shard_id);
        if self.seen.len() < SHARDS_MAX {
            self.seen.insert(range.start, Seen { last: range.end, shard_id, since });
        }
        self.is_as_listed = false;
    }

    /// An older shard has stored a record that a newer one should have. Either hash keys mean nothing, which the next answer of a
    /// newer one says, or the stream was deleted and made again: then there are none.
    fn contradicted(&mut self, shard_id: &str, sent_at: Instant) {
        let since = self.contradiction.as_ref().map_or(sent_at, |contradiction| contradiction.since);
        if since + UNREST < sent_at {
            *self = Self::default();
        } else if self.contradiction.as_ref().is_none_or(|contradiction| *contradiction.shard_id < *shard_id) {
            self.contradiction = Some(Contradiction { shard_id: shard_id.into(), since });
        }
    }

    /// These are all shards, says the service. Returns whether that can be: not when answers have named newer ones.
    pub(super) fn list(&mut self, map: &ShardMap, now: Instant) -> bool {
        let shards = || map.ranges().iter().enumerate().filter_map(|(index, range)| Some((*range, map.id_of(index)?)));
        let is_late = |(range, id): (HashRange, &Arc<str>)| {
            self.meeting(range)
                .any(|seen| seen.shard_id > *id && now < seen.since + LATE_MAX && map.range_of(&seen.shard_id).is_none())
        };
        if self.contradiction.is_none() && shards().any(is_late) {
            return false;
        }
        let since: BTreeMap<&Arc<str>, Instant> = self.seen.values().map(|seen| (&seen.shard_id, seen.since)).collect();
        let seen = |(range, id): (HashRange, &Arc<str>)| {
            let since = since.get(id).copied().unwrap_or(now);
            (range.start, Seen { last: range.end, shard_id: Arc::clone(id), since })
        };
        self.seen = shards().map(seen).collect();
        self.contradiction = None;
        self.is_as_listed = true;
        true
    }

    /// Hash keys mean something after all: the shards are those that were listed last, or nobody knows.
    pub(super) fn is_not_spread(&mut self, listed: Option<&ShardMap>, now: Instant) {
        if self.is_spread {
            *self = Self::default();
            if let Some(map) = listed {
                self.list(map, now);
            }
        }
    }

    /// Answers agree with the list.
    pub(super) fn is_as_listed(&self) -> bool {
        self.is_as_listed
    }

    /// Those that were seen with hash keys of `range`.
    fn meeting(&self, range: HashRange) -> impl Iterator<Item = &Seen> {
        let before = self.seen.range(..range.start).next_back().filter(|(_, seen)| seen.last >= range.start);
        before.into_iter().chain(self.seen.range(range.start..=range.end)).map(|(_, seen)| seen)
    }

    /// The service spreads records over the shards without regard to their hash keys.
    pub(super) fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// The shards that were seen, each with the hash keys that are closer to its own than to those of others; none as long as
    /// there is none.
    pub(super) fn map(&self) -> Option<ShardMap> {
        if self.is_spread {
            return None;
        }
        let mut shards: Vec<Shard> = Vec::with_capacity(self.seen.len());
        let mut last = 0;
        for (first, seen) in &self.seen {
            let start = shards.last_mut().map_or(0, |before: &mut Shard| {
                before.range.end = last + (first - last) / 2;
                // Where they touch there is nothing between them.
                before.range.end = before.range.end.min(first.saturating_sub(1));
                before.range.end + 1
            });
            shards.push(Shard { id: Arc::clone(&seen.shard_id), range: HashRange { start, end: u128::MAX } });
            last = seen.last;
        }
        ShardMap::learned(shards)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Shards of a stream by their first hash keys, as answers tell of them.
    fn shard_of(firsts: &[(u128, &'static str)], hash_key: u128) -> &'static str {
        firsts.iter().rev().find(|(first, _)| *first <= hash_key).unwrap().1
    }

    #[test]
    fn shards_are_found_by_what_they_store() {
        let step = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835u128;
        let third = u128::MAX / 3;
        let firsts = [(0, "s-1"), (third, "s-2"), (third * 2, "s-3")];
        let (mut learned, now) = (Learned::default(), Instant::now());
        assert_eq!(learned.map(), None);
        for hash_key in (0..10_000u128).map(|turn| step.wrapping_mul(turn)) {
            learned.learn(hash_key, shard_of(&firsts, hash_key), now, now);
        }
        let map = learned.map().unwrap();
        assert_eq!(map.range_count(), 3);
        for (index, (first, id)) in firsts.into_iter().enumerate() {
            assert_eq!(map.id_of(index).map(|id| &**id), Some(id));
            assert!(map.ranges()[index].start.abs_diff(first) < u128::MAX / 1_000);
        }
    }

    #[test]
    fn shards_that_take_the_place_of_others_are_believed() {
        let (mut learned, begun) = (Learned::default(), Instant::now());
        let half = u128::MAX / 2;
        let mut check = |answers: &[(u128, &str)], sent: u64, answered: u64, ids: &[&str]| {
            let at = |second| begun + Duration::from_secs(second);
            for (hash_key, id) in answers {
                learned.learn(*hash_key, id, at(sent), at(answered));
            }
            assert!(!learned.is_spread());
            let map = learned.map().unwrap();
            assert_eq!((0..map.range_count()).map(|index| &**map.id_of(index).unwrap()).collect::<Vec<_>>(), ids);
        };
        check(&[(1, "s-1"), (half - 1, "s-1"), (half + 1, "s-2"), (u128::MAX, "s-2")], 0, 1, &["s-1", "s-2"]);
        // The first is split; answers of the time before come late.
        check(&[(half - 2, "s-4"), (half - 1, "s-4")], 2, 3, &["s-4", "s-2"]);
        check(&[(half - 1, "s-1")], 2, 3, &["s-4", "s-2"]);
        check(&[(2, "s-3"), (1, "s-1")], 2, 4, &["s-1", "s-3", "s-4", "s-2"]);
        check(&[(0, "s-3"), (2, "s-3"), (1, "s-3")], 2, 4, &["s-3", "s-4", "s-2"]);
        // All are merged.
        check(&[(half, "s-5"), (3, "s-5"), (u128::MAX, "s-5"), (0, "s-5")], 9, 10, &["s-5"]);
    }

    #[test]
    fn a_list_is_right_unless_answers_know_better() {
        let (mut learned, begun) = (Learned::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        let half = u128::MAX / 2;
        let shard = |id: &str, start, end| Shard { id: id.into(), range: HashRange { start, end } };
        let before = ShardMap::of(vec![shard("s-1", 0, u128::MAX)]).unwrap();
        let after = ShardMap::of(vec![shard("s-2", 0, half), shard("s-3", half + 1, u128::MAX)]).unwrap();
        assert!(learned.list(&before, at(0)) && learned.is_as_listed());
        learned.learn(half + 7, "s-1", at(100), at(100));
        assert!(learned.is_as_listed());
        learned.learn(7, "s-2", at(101), at(101));
        assert!(!learned.is_as_listed());
        assert!(!learned.list(&before, at(102)));
        assert!(learned.list(&after, at(103)) && learned.is_as_listed());
        // The other half may still be told of by an answer that is late, but not for long.
        learned.learn(half + 7, "s-1", at(104), at(105));
        assert!(learned.is_as_listed() && !learned.is_spread());
        learned.learn(half + 7, "s-1", at(120), at(120));
        assert!(!learned.is_spread());
        learned.learn(half + 8, "s-3", at(121), at(121));
        assert!(learned.is_spread());
        learned.is_not_spread(Some(&after), at(121));
        assert!(!learned.is_spread() && learned.is_as_listed());
    }

    /// The numbers of shards begin anew in a stream that was deleted and made again under its name.
    #[test]
    fn a_stream_that_was_made_again_is_another() {
        let (mut learned, begun) = (Learned::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        let half = u128::MAX / 2;
        let shard = |id: &str, start, end| Shard { id: id.into(), range: HashRange { start, end } };
        let before = ShardMap::of(vec![shard("s-8", 0, half), shard("s-9", half + 1, u128::MAX)]).unwrap();
        let after = ShardMap::of(vec![shard("s-0", 0, half), shard("s-1", half + 1, u128::MAX)]).unwrap();
        assert!(learned.list(&before, at(0)));
        learned.learn(7, "s-0", at(100), at(100));
        learned.learn(half + 7, "s-1", at(100), at(100));
        assert!(learned.list(&after, at(101)) && !learned.is_spread(), "a list that answers agree with is believed");
        // Where nobody may list them answers are enough, after a while.
        assert!(learned.list(&before, at(200)));
        for second in 220..240 {
            learned.learn(7, "s-0", at(second), at(second));
            let later = at(second) + Duration::from_millis(500);
            learned.learn(half + 7, "s-1", later, later);
        }
        let map = learned.map().unwrap();
        assert_eq!((0..map.range_count()).map(|index| &**map.id_of(index).unwrap()).collect::<Vec<_>>(), ["s-0", "s-1"]);
        assert!(!learned.is_spread());
    }

    #[test]
    fn answers_that_contradict_each_other_for_long_mean_that_hash_keys_mean_nothing() {
        let (mut learned, begun) = (Learned::default(), Instant::now());
        let mut random = fastrand::Rng::with_seed(1);
        let mut answer_count = 0;
        while !learned.is_spread() {
            answer_count += 1;
            let sent_at = begun + Duration::from_millis(500 * answer_count);
            let shard_id = format!("s-{}", random.u8(0..4));
            learned.learn(random.u128(..), &shard_id, sent_at, sent_at + Duration::from_millis(20));
            assert!(answer_count < 100, "{learned:?}");
        }
        assert_eq!(learned.map(), None);
    }
}
