//! The partition keys that most bytes have, found in bounded memory.
//!
//! The algorithm "space saving" of Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in
//! Data Streams" (ICDT 2005): so many keys are counted at a time, and a new one takes the place of the least, with its count
//! as the error of its own.

use std::collections::{BTreeSet, HashMap};

/// Counts of keys, weighted.
pub(super) struct HotKeys {
    slots: Vec<Slot>,
    /// Where in `slots` a key is.
    places: HashMap<String, usize>,
    /// Count and place of every slot, the least first.
    by_count: BTreeSet<(u64, usize)>,
    slots_max: usize,
    /// All that was added.
    total: u64,
}

struct Slot {
    key: String,
    /// At least what was added for the key.
    count: u64,
    /// At most so much of it was added for others.
    error: u64,
}

impl HotKeys {
    /// Counts `slots_max` keys at a time, at least one.
    pub(super) fn new(slots_max: usize) -> Self {
        let slots_max = slots_max.max(1);
        Self { slots: Vec::new(), places: HashMap::new(), by_count: BTreeSet::new(), slots_max, total: 0 }
    }

    /// Adds `weight` to `key`.
    pub(super) fn add(&mut self, key: &str, weight: u64) {
        self.total += weight;
        if let Some(&place) = self.places.get(key) {
            let slot = &mut self.slots[place];
            self.by_count.remove(&(slot.count, place));
            slot.count += weight;
            self.by_count.insert((slot.count, place));
            return;
        }
        let place = if self.slots.len() < self.slots_max {
            self.slots.push(Slot { key: key.to_owned(), count: weight, error: 0 });
            self.slots.len() - 1
        } else {
            let Some((count, place)) = self.by_count.pop_first() else { return };
            let slot = &mut self.slots[place];
            self.places.remove(&slot.key);
            *slot = Slot { key: key.to_owned(), count: count + weight, error: count };
            place
        };
        self.by_count.insert((self.slots[place].count, place));
        self.places.insert(key.to_owned(), place);
    }

    /// Adds `weight` to no key in particular.
    pub(super) fn add_others(&mut self, weight: u64) {
        self.total += weight;
    }

    /// The `count` keys of which most was added, the greatest first, with the share that surely is theirs, from 0 to 1.
    pub(super) fn top(&self, count: usize) -> Vec<(&str, f64)> {
        let mut keys: Vec<_> = self.slots.iter().map(|slot| (slot.key.as_str(), slot.count - slot.error)).collect();
        keys.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        keys.truncate(count);
        keys.into_iter().map(|(key, weight)| (key, weight as f64 / self.total.max(1) as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut keys = HotKeys::new(3);
        for (key, weight) in [("a", 10), ("b", 30), ("a", 40), ("c", 20)] {
            keys.add(key, weight);
        }
        assert_eq!(keys.top(2), [("a", 0.5), ("b", 0.3)]);
        assert_eq!(keys.top(10).len(), 3);
        assert!(HotKeys::new(0).top(10).is_empty());
    }

    #[test]
    fn hot_keys_are_found_among_very_many_others() {
        let mut keys = HotKeys::new(100);
        let mut random = fastrand::Rng::with_seed(1);
        let mut exact = [0u64; 2];
        let mut total = 0;
        for number in 0..200_000 {
            let weight = random.u64(1..100);
            total += weight;
            match number % 10 {
                0..3 => {
                    keys.add("hot", weight);
                    exact[0] += weight;
                }
                3 => {
                    keys.add("warm", weight);
                    exact[1] += weight;
                }
                _ => keys.add(&format!("{number}"), weight),
            }
        }
        let top = keys.top(2);
        assert_eq!(top.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["hot", "warm"]);
        for ((_, share), exact) in top.iter().zip(exact) {
            let exact = exact as f64 / total as f64;
            assert!(*share <= exact && *share > exact - 0.01, "{share} of {exact}");
        }
        assert!(keys.slots.len() == 100 && keys.places.len() == 100 && keys.by_count.len() == 100);
    }
}
