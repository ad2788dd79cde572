//! Where among the hash keys records go: into the shard that the MD5 of their key names, or wherever there is room.

use std::sync::Arc;

use crate::hash_key::hash_of;
use crate::limits::{SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};
use crate::span::FileKey;
use crate::stream::{Load, ShardMap, Soonest};

/// What a flow knows of the places that its records can go to.
pub(super) struct Places {
    shards: Arc<ShardMap>,
    soonest: Soonest,
    /// Grows in golden steps: where what may go anywhere goes while nothing waits.
    golden: u128,
    run: Run,
    /// The newest key and its hash: neighbours often have the same.
    last_key: String,
    last_hash: u128,
}

/// Records by themselves that may go anywhere go to one place one behind the other for a while: what waits for a shard, goes
/// there and is settled then takes little work for each.
#[derive(Default)]
struct Run {
    hash_key: u128,
    /// Of how many more records it may be, of how many bytes together.
    record_count: usize,
    byte_count: usize,
}

/// As much as a shard takes in 25 ms: little enough that shards are used evenly, and enough that what is done once for each run is
/// little for each record.
const RUN_RECORDS: usize = SHARD_RECORDS_IN_MAX / 40;
const RUN_BYTES: usize = SHARD_BYTES_IN_MAX / 40;

/// 2^128 divided by the golden ratio: its multiples spread evenly over any number of shards.
const GOLDEN_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Places {
    /// Those of `shards`; `golden` is where to begin with what may go anywhere.
    pub(super) fn new(shards: Arc<ShardMap>, load: &Load, golden: u128) -> Self {
        Self { shards, soonest: load.soonest(), golden, run: Run::default(), last_key: String::new(), last_hash: hash_of("") }
    }

    /// From now on these are the shards.
    pub(super) fn set_shards(&mut self, shards: &Arc<ShardMap>) {
        self.shards = Arc::clone(shards);
    }

    /// The hash key that the service gives a record with this partition key.
    pub(super) fn of_key(&mut self, partition_key: &str) -> u128 {
        if partition_key != self.last_key {
            self.last_hash = hash_of(partition_key);
            self.last_key.clear();
            self.last_key.push_str(partition_key);
        }
        self.last_hash
    }

    /// The hash key that all records share which the service would give to the same shard as one with this key.
    pub(super) fn shared_with_key(&mut self, partition_key: &str) -> u128 {
        let hash_key = self.of_key(partition_key);
        self.shared_with(hash_key)
    }

    /// The hash key that stands for all of its shard: the middle of it.
    pub(super) fn shared_with(&self, hash_key: u128) -> u128 {
        self.shards.hash_key_of(self.shards.index_of(hash_key))
    }

    /// Where a record of so many bytes that may go anywhere is sent soonest; with golden steps while nothing has to wait anywhere.
    pub(super) fn anywhere(&mut self, byte_count: usize) -> u128 {
        self.golden = self.golden.wrapping_add(GOLDEN_STEP);
        match self.soonest.place(&self.shards, byte_count) {
            Some(index) => self.shards.hash_key_in(index, self.golden),
            None => self.golden,
        }
    }

    /// The same, of one of many records: where the one before went, for a while. Where nobody knows the shards, of a range that
    /// stands for them only one record may go at first.
    pub(super) fn anywhere_in_a_run(&mut self, byte_count: usize) -> u128 {
        if self.run.record_count == 0 || self.run.byte_count < byte_count {
            let record_count = if self.shards.is_known() { RUN_RECORDS } else { 1 };
            let byte_count = (record_count * byte_count).min(RUN_BYTES).max(byte_count);
            self.run = Run { hash_key: self.anywhere(byte_count), record_count, byte_count };
        }
        self.run.record_count -= 1;
        self.run.byte_count -= byte_count;
        self.run.hash_key
    }

    /// The next record begins a new one.
    pub(super) fn end_run(&mut self) {
        self.run = Run::default();
    }
}

/// The hash key of all that is of one file, in a flow that keeps its order: whatever shards there are, one of them has it.
pub(super) fn of_file(file: FileKey) -> u128 {
    hash_of(format!("{:016x}", file.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::hash_key::HashRange;
    use crate::stream::{Shard, Wait};

    #[test]
    fn golden_steps_reach_every_one_of_some_shards_soon() {
        for shard_count in [4u128, 10, 100] {
            let mut places = Places::new(Arc::new(ShardMap::equal_ranges(1)), &Load::default(), 12_345);
            let width = u128::MAX / shard_count;
            let reached: HashSet<u128> = (0..2 * shard_count).map(|_| places.anywhere(1) / width).collect();
            assert!(reached.len() as u128 >= shard_count, "{} of {shard_count}", reached.len());
        }
    }

    #[test]
    fn what_may_go_anywhere_avoids_the_shard_for_which_most_waits() {
        let shards = Arc::new(ShardMap::equal_ranges(4));
        let load = Load::default();
        let wait = |seconds| Wait { seconds, seconds_per_byte: 0.001 };
        load.set(&shards, vec![wait(9.0), wait(0.0), wait(0.5), wait(9.0)]);
        let mut places = Places::new(Arc::clone(&shards), &load, 1);
        let drawn: Vec<usize> = (0..6).map(|_| shards.index_of(places.anywhere(200))).collect();
        assert_eq!(drawn, [1, 1, 1, 2, 1, 2]);
        // A map that the load is not of says nothing of it.
        places.set_shards(&Arc::new(ShardMap::equal_ranges(4)));
        assert_eq!(places.anywhere(200), 1u128.wrapping_add(GOLDEN_STEP.wrapping_mul(7)));
    }

    #[test]
    fn records_go_in_runs_of_25_ms_of_a_shard_and_large_ones_by_themselves() {
        let shards = Arc::new(ShardMap::of(vec![Shard { id: "s".into(), range: HashRange::ALL }]).unwrap());
        let runs_of = |byte_counts: &[usize]| {
            let mut places = Places::new(Arc::clone(&shards), &Load::default(), 1);
            let hash_keys: Vec<u128> = byte_counts.iter().map(|byte_count| places.anywhere_in_a_run(*byte_count)).collect();
            hash_keys.chunk_by(|one, next| one == next).map(<[u128]>::len).collect::<Vec<_>>()
        };
        assert_eq!(runs_of(&[100; 60]), [25, 25, 10]);
        assert_eq!(runs_of(&[5_000; 12]), [5, 5, 2]);
        assert_eq!(runs_of(&[100_000, 100_000, 0]), [1, 2]);
        let mut places = Places::new(Arc::clone(&shards), &Load::default(), 1);
        let before = places.anywhere_in_a_run(1);
        places.end_run();
        let of_run = places.anywhere_in_a_run(1);
        assert_ne!(of_run, before);
        assert_eq!(places.anywhere_in_a_run(1), of_run);
        places.set_shards(&Arc::new(ShardMap::equal_ranges(16)));
        places.end_run();
        assert_ne!(places.anywhere_in_a_run(1), places.anywhere_in_a_run(1));
    }

    #[test]
    fn records_of_one_shard_share_a_hash_key() {
        let shards = Arc::new(ShardMap::equal_ranges(4));
        let mut places = Places::new(Arc::clone(&shards), &Load::default(), 1);
        for key in ["", "a", "a", "k1", "é", "a", ""] {
            assert_eq!(places.of_key(key), hash_of(key));
            let shared = places.shared_with_key(key);
            assert_eq!(shards.index_of(shared), shards.index_of(hash_of(key)));
            assert_eq!(shared, places.shared_with(shared));
        }
    }
}
