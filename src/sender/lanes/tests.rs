use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::limits::REQUEST_RECORDS_MAX;
use crate::span::{FileKey, Span};

fn entry(hash_key: u128, number: u64) -> Entry {
    Entry {
        partition_key: "k".into(),
        hash_key,
        is_hash_key_explicit: true,
        data: vec![0; 999].into(),
        spans: [Span::new(FileKey(1), number, number + 1)].into_iter().collect(),
        user_record_count: 1,
        is_token: true,
        too_long: None,
        in_flight_since: None,
    }
}

fn number_of(entry: &Entry) -> u64 {
    entry.spans.iter().next().unwrap().start
}

/// So many shards of the same width, of names that no others have.
fn map(count: u32) -> Arc<ShardMap> {
    let ranges = ShardMap::equal_ranges(count).ranges().to_vec();
    let shard = |(index, range)| crate::stream::Shard { id: format!("{count}-{index}").into(), range };
    Arc::new(ShardMap::of(ranges.into_iter().enumerate().map(shard).collect()).unwrap())
}

fn take(lanes: &mut Lanes, now: Instant) -> Vec<Entry> {
    let mut request = Collector::with_room(usize::MAX);
    lanes.take(&mut request, now);
    request.take()
}

/// Of each shard goes what it takes; the next request goes on where this one was full.
#[test]
fn requests_are_made_shard_by_shard_in_turn() {
    let (map, now) = (map(4), Instant::now());
    let mut lanes = Lanes::new(Arc::clone(&map), Order::Throughput, Rng::with_seed(1), now);
    for (number, index) in (0..4_000).zip([0, 1, 3].into_iter().cycle()) {
        // Nothing is for shard 2.
        lanes.push(entry(map.hash_key_of(index), number));
    }
    let taken: Vec<Entry> =
        std::iter::from_fn(|| Some(take(&mut lanes, now)).filter(|taken| !taken.is_empty())).flatten().collect();
    // Half a second of each.
    let shards: Vec<usize> = taken.iter().map(|entry| map.index_of(entry.hash_key)).collect();
    assert!(shards.is_sorted());
    assert_eq!([0, 1, 2, 3].map(|shard| shards.iter().filter(|index| **index == shard).count()), [500, 500, 0, 500]);
    assert_eq!(taken.len(), 3 * REQUEST_RECORDS_MAX);
    let ready_at = lanes.ready_at(now).unwrap();
    assert!(ready_at > now && ready_at < now + Duration::from_millis(200));
    assert!(take(&mut lanes, now).is_empty());
    assert!(!take(&mut lanes, now + Duration::from_millis(200)).is_empty());
}

/// It is not forgotten when nothing else happens than that the one before it has landed.
#[test]
fn of_a_file_the_next_entry_goes_when_the_one_before_has_landed() {
    let now = Instant::now();
    let mut lanes = Lanes::new(map(4), Order::File, Rng::with_seed(1), now);
    (0..3).for_each(|number| lanes.push(entry(7, number)));
    for number in 0..3 {
        let taken = take(&mut lanes, now);
        assert_eq!(taken.iter().map(number_of).collect::<Vec<_>>(), [number]);
        assert_eq!(lanes.ready_at(now), None);
        assert!(take(&mut lanes, now).is_empty());
        lanes.landed(&taken);
        assert_eq!(lanes.ready_at(now).is_some(), number < 2);
    }
    assert!(lanes.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    /// Entries for these places among the hash keys.
    Push(Vec<u8>),
    /// The same, of which those go that may.
    Arrive(Vec<u8>),
    Take,
    /// An answer to the oldest request: of each shard the records were delivered, were throttled, or failed.
    Answer(Vec<u8>),
    /// None of its records was stored.
    Fail,
    Wait(u64),
    Remap(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Step::Push),
        3 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Step::Arrive),
        1 => (any::<u8>(), 400..800_usize).prop_map(|(place, count)| Step::Arrive(vec![place; count])),
        1 => (any::<u8>(), 400..800_usize).prop_map(|(place, count)| Step::Push(vec![place; count])),
        4 => Just(Step::Take),
        3 => prop::collection::vec(0..3_u8, 1..5).prop_map(Step::Answer),
        1 => Just(Step::Fail),
        3 => (1..3_000_u64).prop_map(Step::Wait),
        1 => (0..6_u32).prop_map(|log2| Step::Remap(1 << log2)),
    ]
}

/// Looks at every lane: of those that are not looked at nothing may go, and they will be in time.
fn check(lanes: &Lanes, now: Instant) -> Result<(), TestCaseError> {
    prop_assert_eq!(lanes.byte_count, lanes.lanes.iter().map(|lane| lane.byte_count).sum::<usize>());
    prop_assert_eq!(lanes.record_count, lanes.lanes.iter().map(|lane| lane.record_count).sum::<usize>());
    let next = lanes.ready_at(now);
    for (index, lane) in lanes.lanes.iter().enumerate() {
        prop_assert_eq!(lane.record_count, lane.queues.values().map(VecDeque::len).sum::<usize>());
        prop_assert_eq!(lanes.ready.contains(&index), lane.turn == Turn::Next);
        if lane.turn == Turn::Never {
            prop_assert!(lane.next_queue(&lanes.busy).is_none());
        } else {
            prop_assert!(lane.record_count > 0);
        }
        if let Turn::At(at) = lane.turn {
            prop_assert!(lanes.asleep.contains(&(at, index)) && next.is_some_and(|next| next <= at.max(now)));
            // A share that grows meanwhile is noticed a little later.
            let ready_at = lane.ready_at_now(now);
            prop_assert!(at <= ready_at + Duration::from_millis(100), "{:?} late", at - ready_at);
        }
    }
    let asleep_count = lanes.lanes.iter().filter(|lane| matches!(lane.turn, Turn::At(_))).count();
    prop_assert_eq!(lanes.asleep.len(), asleep_count);
    Ok(())
}

impl Lane {
    /// When something may go as it is now; nothing is counted for that.
    fn ready_at_now(&self, now: Instant) -> Instant {
        self.pace.clone().ready_at(now).max(self.held_until.unwrap_or(now))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever comes and is answered, in whatever order: what may go goes, and all of it in the end.
    #[test]
    fn what_may_go_goes_and_nothing_is_forgotten(is_by_file: bool, steps in prop::collection::vec(step(), 1..40)) {
        let (order, mut now) = (if is_by_file { Order::File } else { Order::Throughput }, Instant::now());
        let mut lanes = Lanes::new(map(8), order, Rng::with_seed(1), now);
        let mut in_flight: VecDeque<(Instant, Vec<Entry>)> = VecDeque::new();
        let (mut pushed, mut delivered) = (0, HashMap::<u128, Vec<u64>>::new());
        let until_all_is_delivered = std::iter::repeat_n([Step::Take, Step::Answer(vec![0]), Step::Wait(1_001)], 20_000).flatten();
        let step_count = steps.len();
        for (index, step) in steps.into_iter().chain(until_all_is_delivered).enumerate() {
            match step {
                Step::Push(places) => for place in places {
                    lanes.push(entry(u128::from(place) << 120, pushed));
                    pushed += 1;
                },
                Step::Arrive(places) => {
                    let arrived: Vec<Entry> = (pushed..).zip(&places).map(|(number, place)| entry(u128::from(*place) << 120, number)).collect();
                    pushed += places.len() as u64;
                    let waiting_before: Vec<usize> = lanes.lanes.iter().map(|lane| lane.record_count).collect();
                    let going = lanes.admit(arrived, now);
                    // None overtakes another of its shard, and none that may go stays behind those that have gone.
                    prop_assert!(going.iter().map(number_of).is_sorted());
                    for (index, lane) in lanes.lanes.iter().enumerate() {
                        let of_lane = |entry: &&Entry| lanes.map.index_of(entry.hash_key) == index;
                        let last_going = going.iter().filter(of_lane).map(number_of).last();
                        let first_waiting = lane.queues.values().flatten().map(number_of).find(|number| *number >= pushed - places.len() as u64);
                        prop_assert!(last_going.is_none() || (waiting_before[index] == 0 && order == Order::Throughput));
                        prop_assert!(first_waiting.is_none_or(|waiting| last_going.is_none_or(|going| going < waiting)));
                        let could_go = order == Order::Throughput && waiting_before[index] == 0 && lane.ready_at_now(now) <= now;
                        prop_assert!(first_waiting.is_none() || !could_go);
                    }
                    in_flight.push_back((now, going));
                }
                Step::Take => {
                    let taken = take(&mut lanes, now);
                    if taken.len() < REQUEST_RECORDS_MAX {
                        // Nothing is left that may go.
                        prop_assert!(lanes.ready.is_empty());
                        for lane in &lanes.lanes {
                            prop_assert!(lane.next_queue(&lanes.busy).is_none() || lane.ready_at_now(now) > now);
                        }
                    }
                    if order == Order::File {
                        let on_their_way = || in_flight.iter().flat_map(|(_, entries)| entries).chain(&taken);
                        let keys: HashSet<u128> = on_their_way().map(|entry| entry.hash_key).collect();
                        prop_assert_eq!(keys.len(), on_their_way().count());
                    }
                    in_flight.push_back((now, taken));
                }
                Step::Answer(results) => if let Some((sent_at, entries)) = in_flight.pop_front() {
                    lanes.landed(&entries);
                    let mut answers: BTreeMap<usize, ShardAnswer> = BTreeMap::new();
                    let mut failed = Vec::new();
                    for entry in entries {
                        let index = lanes.map().index_of(entry.hash_key);
                        let answer = answers.entry(index).or_default();
                        match results[index % results.len()] {
                            0 => {
                                answer.delivered += Amount::of(&entry);
                                delivered.entry(entry.hash_key).or_default().push(number_of(&entry));
                                continue;
                            }
                            1 => answer.throttled += Amount::of(&entry),
                            _ => answer.has_failed = true,
                        }
                        failed.push(entry);
                    }
                    lanes.answered(&answers, sent_at, now);
                    lanes.push_front(failed);
                },
                Step::Fail => if let Some((_, entries)) = in_flight.pop_front() {
                    lanes.landed(&entries);
                    lanes.returned(&entries);
                    lanes.push_front(entries);
                },
                Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Remap(count) => lanes.remap(map(count), now),
            }
            check(&lanes, now)?;
            if lanes.is_empty() && in_flight.iter().all(|(_, entries)| entries.is_empty()) {
                prop_assert_eq!(lanes.ready_at(now), None);
                if index >= step_count {
                    break;
                }
            }
        }
        prop_assert!(lanes.is_empty());
        prop_assert_eq!(delivered.values().map(|numbers| numbers.len() as u64).sum::<u64>(), pushed);
        prop_assert!(order == Order::Throughput || delivered.values().all(|numbers| numbers.is_sorted()));
    }
}
