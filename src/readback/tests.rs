use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::fake::{Fake, FakeShard, START_MS, shard};
use super::*;
use crate::limits::{MIB, READ_BACK_PATIENCE};
use crate::outcome::{Operation, Verdict};

pub(crate) mod fake;

/// What was seen, as the fake names it, and how the reading ended.
struct Seen {
    keys: Vec<String>,
    taken: Result<Taken, Failure>,
    elapsed: Duration,
}

/// Reads from a minute before the start until so many milliseconds after it.
async fn read_all(fake: &Fake, until_ms: i64, shards: &Shards) -> Seen {
    let clock = fake.to_teach.as_ref().unwrap_or(&fake.clock);
    let window = Window { from_ms: START_MS - 60_000, until_ms: START_MS + until_ms };
    let (start, mut keys) = (Instant::now(), Vec::new());
    let reading = read(fake, clock, window, shards, |record| keys.push(record.partition_key.clone()));
    let taken = timeout(Duration::from_secs(24 * 60 * 60), reading).await.expect("it ends");
    Seen { keys, taken, elapsed: start.elapsed() }
}

/// All records that arrive before the end of the window are seen, each shard's in order and none twice.
#[track_caller]
fn check_seen(fake: &Fake, seen: &Seen, until_ms: i64) {
    assert!(seen.taken.is_ok(), "{:?}", seen.taken);
    assert_eq!(fake.throttled_count.load(Ordering::Relaxed), 0, "a shard was asked too soon");
    for FakeShard { shard, records, .. } in &fake.shards {
        let is_in = |record: &&StoredRecord| {
            let arrived_at_ms = record.arrived_at_ms.unwrap_or(START_MS);
            (START_MS - 60_000..START_MS + until_ms).contains(&arrived_at_ms)
        };
        let expected: Vec<_> = records.iter().filter(is_in).map(|record| record.partition_key.clone()).collect();
        let prefix = format!("{}:", shard.id);
        let of_shard: Vec<_> = seen.keys.iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
        assert!(of_shard.starts_with(&expected), "{}: {of_shard:?} should begin with {expected:?}", shard.id);
    }
}

fn failure(code: &str) -> Failure {
    let verdict = crate::outcome::of_client(code, crate::outcome::Sent::Nothing);
    match code {
        Failure::DNS | Failure::CONNECTION | Failure::CREDENTIALS | Failure::TIMEOUT => {
            Failure { verdict, code: code.to_owned(), message: String::new() }
        }
        _ => Failure::answered(Operation::GetRecords, code, if code == "InternalFailure" { 500 } else { 400 }, ""),
    }
}

#[tokio::test(start_paused = true)]
async fn all_shards_are_read_each_in_its_order() {
    let shards = (0..20).map(|index| shard(&format!("s{index}"), index, 20).with((-70_000..0).step_by(500)));
    let fake = Fake::new(shards.collect());
    let seen = read_all(&fake, 0, &Shards::All).await;
    check_seen(&fake, &seen, 0);
    let taken = seen.taken.unwrap();
    assert_eq!(taken.shard_count, 20);
    assert_eq!(taken.record_count, seen.keys.len() as u64);
    assert_eq!(taken.record_count, 20 * 120, "what arrived before the window is not asked for");
    assert_eq!(taken.request_count, fake.asked.lock().unwrap().len() as u64);
    assert_eq!(fake.count("list"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_is_tried_again() {
    for code in [
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        "InternalFailure",
        "InvalidArgumentException",
        "ExpiredTokenException",
        Failure::EXPIRED_ITERATOR,
        Failure::TIMEOUT,
        Failure::CONNECTION,
    ] {
        for operation in ["list", "iterator", "records"] {
            let shards = vec![shard("a", 0, 2).with([-5, -4, -3]), shard("b", 1, 2).with([-9])];
            let fake = Fake::new(shards).failing(operation, vec![failure(code); 6]);
            let seen = read_all(&fake, 0, &Shards::All).await;
            check_seen(&fake, &seen, 0);
            assert!(fake.failures.lock().unwrap()[operation].is_empty(), "{code}");
            assert_eq!(seen.keys.len(), 4, "{code} of {operation}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_has_expired_is_followed_by_one_behind_what_was_seen() {
    let fake = Fake::new(vec![shard("a", 0, 1).with((-2_000..0).map(|at| at * 20))]);
    // The third answer comes later than an iterator lives.
    let waits = [None, None].into_iter().chain(std::iter::repeat_n(Some(failure(Failure::DNS)), 40));
    fake.failures.lock().unwrap().insert("records", waits.collect());
    let seen = read_all(&fake, 0, &Shards::All).await;
    check_seen(&fake, &seen, 0);
    assert!(seen.elapsed > Duration::from_secs(300));
    assert_eq!((seen.keys.len(), fake.count("iterator")), (2_000, 2));
}

#[tokio::test(start_paused = true)]
async fn children_of_a_reshard_are_read_too() {
    // a is split while it is read, b and c were merged before; d is a grandchild.
    let fake = Fake::new(vec![
        shard("a", 0, 2).with((-40..30).map(|at| at * 100)).closed(3_000),
        shard("a0", 0, 4).with([3_100, 4_900, 5_100]).opened(3_000),
        shard("a1", 1, 4).with([3_100, 3_200]).opened(3_000).closed(4_000),
        shard("d", 1, 4).with([4_100, 4_800]).opened(4_000),
        shard("b", 2, 4).with([-50_000, -30_000]).closed(-20_000),
        shard("c", 3, 4).with([-40_000]).closed(-20_000),
        shard("e", 1, 2).with([-10_000, 4_000]).opened(-20_000),
    ]);
    let seen = read_all(&fake, 5_000, &Shards::All).await;
    check_seen(&fake, &seen, 5_000);
    assert_eq!(seen.taken.unwrap().shard_count, 7);
    assert_eq!(fake.count("list"), 3, "who has the hash keys of a closed shard is asked when it is not known");
}

#[tokio::test(start_paused = true)]
async fn only_shards_that_have_a_key_are_read_and_their_children() {
    let fake = Fake::new(vec![
        shard("a", 0, 2).with([-1_000]).closed(1_000),
        shard("a0", 0, 4).with([1_100]).opened(1_000),
        shard("a1", 1, 4).with([1_100]).opened(1_000),
        shard("b", 1, 2).with([-1_000]),
    ]);
    let key_of_a1 = u128::MAX / 4 + 7;
    let seen = read_all(&fake, 2_000, &Shards::With(vec![key_of_a1])).await;
    assert_eq!(seen.keys, ["a:1", "a1:1"]);
    assert_eq!(seen.taken.unwrap().shard_count, 2);
    assert_eq!(read_all(&fake, 2_000, &Shards::With(Vec::new())).await.taken.unwrap().shard_count, 0);
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_end_of_the_window() {
    let fake = Fake::new(vec![shard("a", 0, 1).with([-1_000, 4_200, 9_999, 10_500])]);
    let seen = read_all(&fake, 10_000, &Shards::All).await;
    check_seen(&fake, &seen, 10_000);
    assert!(seen.elapsed >= Duration::from_secs(10) && seen.elapsed < Duration::from_secs(12), "{:?}", seen.elapsed);
    assert!(fake.count("records") <= 15, "{:?}", fake.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_never_quiet_is_read_to_the_end_of_the_window() {
    let fake = Fake::new(vec![shard("a", 0, 1).with((0..1_000_000).map(|at| at / 10))]);
    let seen = read_all(&fake, 1_000, &Shards::All).await;
    check_seen(&fake, &seen, 1_000);
    assert!(seen.keys.len() < 200_000, "{}", seen.keys.len());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_is_corrected_by_the_first_answer() {
    let mut fake = Fake::new(vec![shard("a", 0, 1).with([-1_000, 1_500])]);
    fake.to_teach = Some(ServiceClock::new(START_MS + 3_600_000));
    let seen = read_all(&fake, 2_500, &Shards::All).await;
    check_seen(&fake, &seen, 2_500);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_not_asked_for_again() {
    for operation in ["list", "iterator", "records"] {
        for code in ["AccessDeniedException", "KMSAccessDeniedException", "KMSDisabledException", "UnsupportedThing"] {
            let refused = if code == "UnsupportedThing" { Failure::unsupported("GetRecords") } else { failure(code) };
            let fake = Fake::new(vec![shard("a", 0, 1).with([-1])]).failing(operation, vec![refused.clone()]);
            let seen = read_all(&fake, 0, &Shards::All).await;
            assert_eq!(seen.taken, Err(refused), "{operation}");
            assert_eq!(fake.count(operation), 1);
        }
    }
    let fake = Fake::new(vec![shard("a", 0, 1)]).failing("list", vec![failure(Failure::NO_RESOURCE)]);
    assert_eq!(read_all(&fake, 0, &Shards::All).await.taken, Err(failure(Failure::NO_RESOURCE)));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_gone_has_nothing_more() {
    let both = || vec![shard("a", 0, 1).with([-5]).closed(100), shard("b", 0, 1).with([200]).opened(100)];
    let no_shard = failure(Failure::NO_RESOURCE);
    // As long as it is in the list it is asked for again.
    let listed = Fake::new(both()).failing("iterator", vec![no_shard.clone(); 5]);
    check_seen(&listed, &read_all(&listed, 500, &Shards::All).await, 500);
    let listed = Fake::new(both()).failing("iterator a", vec![no_shard.clone(); 500]);
    let seen = read_all(&listed, 500, &Shards::All).await;
    assert!(seen.taken == Err(no_shard) && seen.elapsed >= READ_BACK_PATIENCE);
    // It is not any more: it went while it was read.
    let mut gone = Fake::new(both());
    gone.shards[0].closed_at_ms = Some(START_MS - 70_000);
    gone.shards[1].opened_at_ms = START_MS - 70_000;
    let window = Window { from_ms: START_MS - 60_000, until_ms: START_MS + 500 };
    let progress = Progress::default();
    let mut reading = Reading::new(&gone, &gone.clock, window, &Shards::All, &progress);
    reading.expect(&gone.shards[0].shard);
    let no_shard = VecDeque::from([Some(failure(Failure::NO_RESOURCE))]);
    gone.failures.lock().unwrap().insert("iterator", no_shard);
    assert_eq!(reading.run(|_| {}).await.map(|taken| taken.shard_count), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_service_as_long_as_nothing_can_be_sent_either() {
    // Each wait is 20 seconds at most: hours.
    for operation in ["list", "iterator", "records"] {
        for code in [Failure::DNS, Failure::CREDENTIALS, "ExpiredTokenException"] {
            let mut failures = vec![failure(code); 500];
            failures.insert(250, failure("InternalFailure"));
            let fake = Fake::new(vec![shard("a", 0, 1).with([-1])]).failing(operation, failures);
            let seen = read_all(&fake, 0, &Shards::All).await;
            check_seen(&fake, &seen, 0);
            assert!(seen.elapsed > Duration::from_secs(3_600));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_when_the_service_only_fails() {
    for operation in ["list", "iterator", "records"] {
        for code in ["InternalFailure", "ProvisionedThroughputExceededException", Failure::TIMEOUT, Failure::EXPIRED_ITERATOR] {
            let fake = Fake::new(vec![shard("a", 0, 1).with([-1])]).failing(operation, vec![failure(code); 500]);
            let seen = read_all(&fake, 0, &Shards::All).await;
            assert_eq!(seen.taken, Err(failure(code)), "{operation}");
            assert!(seen.elapsed >= READ_BACK_PATIENCE && seen.elapsed < READ_BACK_PATIENCE * 2, "{:?}", seen.elapsed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_shard_that_fails_does_not_hold_up_the_others() {
    let shards = vec![shard("a", 0, 2).with([-5]), shard("b", 1, 2).with((-900..0).map(|at| at * 60))];
    let fake = Fake::new(shards).failing("iterator a", vec![failure("InternalFailure"); 8]);
    let seen = read_all(&fake, 0, &Shards::All).await;
    check_seen(&fake, &seen, 0);
    assert_eq!((&*seen.keys[0], seen.keys.last().map(|key| &**key)), ("b:1", Some("a:1")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leads_nowhere_is_left() {
    let record = shard("a", 0, 1).with([-5]).records;
    for page in [
        Page { records: record, next: Some(String::new()), is_at_tip: false },
        Page { records: Vec::new(), next: Some(String::new()), is_at_tip: false },
    ] {
        let mut fake = Fake::new(vec![shard("a", 0, 1)]);
        fake.always = Some(page);
        let Err(failure) = read_all(&fake, 0, &Shards::All).await.taken else { panic!("it goes on for ever") };
        assert_eq!(failure.code, Failure::NO_PROGRESS);
    }
    // Shards that are closed and have no children, and a stream without shards.
    let mut closed = Fake::new(vec![shard("a", 0, 1)]);
    closed.always = Some(Page::default());
    for fake in [closed, Fake::new(Vec::new()), Fake::new(vec![shard("a", 0, 2)])] {
        let seen = read_all(&fake, 0, &Shards::All).await;
        assert_eq!(seen.taken.unwrap_err().code, Failure::RESHARDING);
        assert!(seen.elapsed < READ_BACK_PATIENCE * 2 && fake.count("list") < 50);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_about_as_much_as_a_shard_gives_in_a_second() {
    for (record_bytes, count_max) in [(100, 10_000), (MIB, 2), (MIB / 4, 8), (10 * MIB, 1)] {
        let mut fake = Fake::new(vec![shard("a", 0, 1).with((-3_000..0).map(|at| at * 20))]);
        fake.shards[0].records.truncate(30_000_000 / record_bytes);
        for record in &mut fake.shards[0].records {
            record.data = Bytes::from(vec![0; record_bytes]);
        }
        let seen = read_all(&fake, 0, &Shards::All).await;
        check_seen(&fake, &seen, 0);
        let asked = fake.asked.lock().unwrap();
        let mut limits = asked.iter().filter_map(|(_, asked)| asked.strip_prefix("records a ")?.parse::<u32>().ok());
        let last = limits.next_back().unwrap();
        assert!((count_max / 2..=count_max).contains(&last), "{last} records of {record_bytes} bytes");
        let seconds = seen.keys.len() as f64 * record_bytes as f64 / (2 * MIB) as f64;
        assert!(seen.elapsed.as_secs_f64() >= seconds - 1.0, "{:?} {seconds}", seen.elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_says_how_far_it_is() {
    let fake = Fake::new(vec![shard("a", 0, 2).with([-1_000, 500]), shard("b", 1, 2)])
        .failing("records", vec![failure("InternalFailure"); 1]);
    let progress = Progress::default();
    assert_eq!((progress.reached_ms(), progress.trouble()), (None, None));
    let window = Window { from_ms: START_MS - 5_000, until_ms: START_MS + 3_000 };
    let mut reached = Vec::new();
    let reading = read_with(&fake, &fake.clock, window, &Shards::All, &progress, |_| reached.push(progress.reached_ms()));
    let taken = reading.await.unwrap();
    assert_eq!(reached, [Some(START_MS - 5_000), reached[1]]);
    assert!(reached[1] < Some(START_MS + 3_000));
    assert_eq!((progress.taken(), progress.shard_count()), (taken, 2));
    assert_eq!((progress.reached_ms(), progress.trouble()), (Some(START_MS + 3_000), None));
    assert_eq!(failure("InternalFailure").verdict, Verdict::Uncertain);
}
