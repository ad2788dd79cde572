//! What is known of a flow's destination: its shards, how it spreads records over them, how large a record may be.
//!
//! Pure, but for the cells in which the sender leaves it for the packer. Who asks the service, and when, is the sender's
//! business; nothing here is needed for records to arrive, only for them to arrive evenly, in their keys' shards, and as what
//! readers understand.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Destination;
use crate::hash_key::HashRange;
use crate::limits::HASH_RANGES;

/// What is known of a destination now. A new one is made when something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Its shards, or ranges that stand for them.
    pub shards: Arc<ShardMap>,
    /// The service spreads records over the shards as it likes (`RecordDistributionStrategy` AUTO): readers that use the KCL would
    /// drop aggregates of the KPL without a word.
    pub is_auto: bool,
    /// Bytes of a record, key and data: `MaxRecordSizeInKiB` of the stream.
    pub record_bytes_max: usize,
}

/// The name of a shard, `shardId-000000000007`, shared by all who have it.
pub type ShardId = Arc<str>;

/// An open shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// Its hash keys.
    pub range: HashRange,
}

/// Ranges of hash keys, each with the shard that has it, where that is known. They tile all hash keys, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    ranges: Vec<HashRange>,
    /// As many as there are ranges, or none.
    ids: Vec<Arc<str>>,
    /// Where the ranges begin and end is not quite sure.
    is_learned: bool,
}

/// How long what waits for each shard will take to be sent. The sender says it, and the packer asks where a record that may go
/// anywhere is sent [soonest](Soonest): so a shard that is busy with the records of others does not hold this flow up.
#[derive(Clone, Default)]
pub struct Load(watch::Sender<Waits>);

#[derive(Default)]
struct Waits {
    /// Of the ranges of this map; none when nothing waits.
    of: Option<Arc<ShardMap>>,
    waits: Vec<Wait>,
}

/// Where records are sent soonest, by what the sender has said last and what was placed since. Only when it says something new all
/// shards are looked at.
pub struct Soonest {
    told: watch::Receiver<Waits>,
    of: Option<Arc<ShardMap>>,
    /// The ranges of that map, the one that is due first.
    places: BinaryHeap<Place>,
}

/// One range.
#[derive(Clone, Copy)]
struct Place {
    /// When one more record is sent there, which is of the size of the first that was placed since the sender has said something:
    /// so the order of the others does not depend on the size of each.
    seconds: f64,
    seconds_per_byte: f64,
    index: usize,
}

/// What waits for one range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wait {
    /// Seconds until all of it is sent.
    pub seconds: f64,
    /// Seconds for each further byte.
    pub seconds_per_byte: f64,
}

impl Load {
    /// Says how long what waits will take, by the ranges of `shards`; an empty list when nothing has to wait.
    pub fn set(&self, shards: &Arc<ShardMap>, waits: Vec<Wait>) {
        self.0.send_replace(Waits { of: (waits.len() == shards.range_count()).then(|| Arc::clone(shards)), waits });
    }

    /// For who places records. What one places another does not know of.
    pub fn soonest(&self) -> Soonest {
        let mut told = self.0.subscribe();
        told.mark_changed();
        Soonest { told, of: None, places: BinaryHeap::new() }
    }
}

impl Soonest {
    /// The range of `shards` in which `byte_count` bytes more will be sent soonest, and they are added to what waits there. None
    /// when nothing has to wait, or what waits is of another map.
    pub fn place(&mut self, shards: &Arc<ShardMap>, byte_count: usize) -> Option<usize> {
        if self.told.has_changed().is_ok_and(|has_changed| has_changed) {
            self.look(byte_count);
        }
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, shards)) {
            return None;
        }
        let mut soonest = self.places.peek_mut()?;
        soonest.seconds += soonest.seconds_per_byte * byte_count as f64;
        Some(soonest.index)
    }

    /// Goes by what the sender says now.
    fn look(&mut self, byte_count: usize) {
        let told = self.told.borrow_and_update();
        self.of.clone_from(&told.of);
        let mut places = std::mem::take(&mut self.places).into_vec();
        places.clear();
        places.extend(told.waits.iter().enumerate().map(|(index, &Wait { seconds, seconds_per_byte })| Place {
            seconds: seconds + seconds_per_byte * byte_count as f64,
            seconds_per_byte,
            index,
        }));
        self.places = places.into();
    }
}

/// The greatest is the one that is due first.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        other.seconds.total_cmp(&self.seconds).then_with(|| other.index.cmp(&self.index))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl StreamFacts {
    /// What holds of a destination as long as nobody has answered. Of a delivery stream there is nothing more to ask.
    pub fn before_asking(destination: &Destination) -> Self {
        let range_count = match destination {
            Destination::Kinesis(_) => HASH_RANGES,
            Destination::Firehose(_) => 1,
        };
        let record_bytes_max = destination.record_bytes_default();
        Self { shards: Arc::new(ShardMap::equal_ranges(range_count)), is_auto: false, record_bytes_max }
    }
}

impl ShardMap {
    /// A map of these open shards; none when they do not tile all hash keys, as in the middle of a reshard.
    pub fn of(mut shards: Vec<Shard>) -> Option<Self> {
        shards.sort_by_key(|shard| shard.range.start);
        let first = shards.first()?.range.start;
        let last = shards.last()?.range.end;
        let touch = |pair: &[Shard]| pair[0].range.end.checked_add(1) == Some(pair[1].range.start);
        let is_whole = first == 0 && last == u128::MAX && shards.windows(2).all(touch);
        is_whole.then(|| Self {
            ranges: shards.iter().map(|shard| shard.range).collect(),
            ids: shards.into_iter().map(|shard| shard.id).collect(),
            is_learned: false,
        })
    }

    /// A map of shards that nobody has listed: what is known of their ranges is that they have some hash keys within them.
    pub fn learned(shards: Vec<Shard>) -> Option<Self> {
        Self::of(shards).map(|map| Self { is_learned: true, ..map })
    }

    /// `count` ranges of the same width, a power of two, for when nobody knows the shards.
    pub fn equal_ranges(count: u32) -> Self {
        let width_log2 = u128::BITS - count.max(1).ilog2();
        let width_less_1 = u128::MAX >> (u128::BITS - width_log2);
        let starts = (0..u128::from(count.max(1))).map(|index| index.checked_shl(width_log2).unwrap_or(0));
        Self {
            ranges: starts.map(|start| HashRange { start, end: start + width_less_1 }).collect(),
            ids: Vec::new(),
            is_learned: false,
        }
    }

    /// The ranges are those of shards.
    pub fn is_known(&self) -> bool {
        !self.ids.is_empty()
    }

    /// They are those that the service says there are.
    pub fn is_listed(&self) -> bool {
        self.is_known() && !self.is_learned
    }

    /// How many ranges there are; at least one.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[HashRange] {
        &self.ranges
    }

    /// Which range has a hash key.
    pub fn index_of(&self, hash_key: u128) -> usize {
        self.ranges.partition_point(|range| range.start <= hash_key) - 1
    }

    /// The shard that has a range, if it is known.
    pub fn id_of(&self, index: usize) -> Option<&Arc<str>> {
        self.ids.get(index)
    }

    /// The range of a shard, if there is one of that name.
    pub fn range_of(&self, shard_id: &str) -> Option<HashRange> {
        let index = self.ids.iter().position(|id| **id == *shard_id)?;
        self.ranges.get(index).copied()
    }

    /// A hash key of a range for a record that may go anywhere in it: in the middle, or by a number of the caller's where the range
    /// may be that of several shards, so that all of them get records, and are found.
    pub fn hash_key_in(&self, index: usize, anywhere: u128) -> u128 {
        if self.is_listed() {
            return self.hash_key_of(index);
        }
        let HashRange { start, end } = self.ranges[index];
        // The upper half of the bits of both is enough.
        let width = ((end - start) >> 64) + 1;
        start + (((anywhere >> 64) * width) >> 64 << 64).min(end - start)
    }

    /// A hash key in the middle of a range. After a split it is in one of the two halves.
    pub fn hash_key_of(&self, index: usize) -> u128 {
        let HashRange { start, end } = self.ranges[index];
        start + (end - start) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, start: u128, end: u128) -> Shard {
        Shard { id: id.into(), range: HashRange { start, end } }
    }

    #[test]
    fn a_map_is_of_shards_that_tile_all_hash_keys() {
        let half = u128::MAX / 2;
        let map = ShardMap::of(vec![shard("b", half + 1, u128::MAX), shard("a", 0, half)]).unwrap();
        assert!(map.is_known());
        assert_eq!([0, half, half + 1, u128::MAX].map(|key| map.index_of(key)), [0, 0, 1, 1]);
        assert_eq!(map.id_of(1).map(|id| &**id), Some("b"));
        assert_eq!(map.range_of("a"), Some(HashRange { start: 0, end: half }));
        assert_eq!(map.range_of("c"), None);
        for incomplete in [
            vec![],
            vec![shard("a", 0, half)],
            vec![shard("a", 1, u128::MAX)],
            vec![shard("a", 0, half), shard("b", half, u128::MAX)],
            vec![shard("a", 0, half), shard("b", half + 2, u128::MAX)],
            vec![shard("a", 0, u128::MAX), shard("b", half, u128::MAX)],
        ] {
            assert_eq!(ShardMap::of(incomplete.clone()), None, "{incomplete:?}");
        }
    }

    #[test]
    fn what_may_go_anywhere_goes_where_it_is_sent_soonest() {
        let (load, map) = (Load::default(), Arc::new(ShardMap::equal_ranges(4)));
        let mut soonest = load.soonest();
        assert_eq!(soonest.place(&map, 1), None);
        let wait = |seconds, seconds_per_byte| Wait { seconds, seconds_per_byte };
        load.set(&map, vec![wait(10.0, 0.1), wait(2.0, 1.0), wait(3.0, 0.1), wait(9.0, 0.0)]);
        let placed: Vec<_> = (0..8).map(|_| soonest.place(&map, 10).unwrap()).collect();
        assert_eq!(placed, [2, 2, 2, 2, 2, 2, 3, 3]);
        assert_eq!(soonest.place(&Arc::new(ShardMap::equal_ranges(4)), 10), None);
        // Who comes later, or asks for the first time, goes by what was said last.
        assert_eq!(load.soonest().place(&map, 10), Some(2));
        load.set(&map, Vec::new());
        assert_eq!(soonest.place(&map, 10), None);
    }

    /// Where all shards are as fast, that is the one for which least waits, however large the records are.
    #[test]
    fn records_of_all_sizes_go_where_least_waits() {
        let (load, map) = (Load::default(), Arc::new(ShardMap::equal_ranges(64)));
        let mut random = fastrand::Rng::with_seed(1);
        let mut soonest = load.soonest();
        let seconds_per_byte = 1e-6;
        for _ in 0..20 {
            let mut waits: Vec<f64> = (0..64).map(|_| random.f64() * 0.02).collect();
            load.set(&map, waits.iter().map(|&seconds| Wait { seconds, seconds_per_byte }).collect());
            for _ in 0..2_000 {
                let byte_count = random.usize(1..1_000);
                let index = soonest.place(&map, byte_count).unwrap();
                let least = waits.iter().copied().min_by(f64::total_cmp).unwrap();
                assert!(waits[index] <= least + 1e-9, "{} rather than {least}", waits[index]);
                waits[index] += seconds_per_byte * byte_count as f64;
            }
        }
    }

    #[test]
    fn equal_ranges_tile_too() {
        for count in [1, 2, 16, 4096] {
            let map = ShardMap::equal_ranges(count);
            let named =
                map.ranges().iter().enumerate().map(|(index, range)| Shard { id: index.to_string().into(), range: *range });
            assert_eq!(ShardMap::of(named.collect()).unwrap().ranges(), map.ranges());
            assert!(!map.is_known());
            for index in 0..map.range_count() {
                assert_eq!(map.index_of(map.hash_key_of(index)), index);
            }
        }
    }
}
