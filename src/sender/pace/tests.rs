//! Agents and shards in simulated time, each figure the mean of several runs with random numbers of their own.
#![allow(clippy::print_stdout, reason = "the figures are for whoever changes a constant")]

mod model;

use proptest::prelude::*;

use self::model::{Figures, Limit, Model, Scene, Setting};
use super::*;

const EVER: f64 = 1e6;

/// The mean of all runs.
fn measure(scene: &Scene, setting: Setting) -> Figures {
    // Of many small records each run is much like the others.
    let runs = if setting.record_bytes < 1000 { 3 } else { 6 };
    let mut mean = Figures::default();
    for seed in 0..runs {
        let mut model = Model::new(scene, setting, seed);
        model.run(scene.measured.1 as f64);
        let figures = model.figures(scene.measured);
        mean.delivered += figures.delivered / runs as f64;
        mean.throttled += figures.throttled / runs as f64;
        mean.fairness += figures.fairness / runs as f64;
        mean.least += figures.least / runs as f64;
        mean.greatest += figures.greatest / runs as f64;
    }
    mean
}

/// Checks a scene in all settings, and prints the worst of each kind of shard and record.
fn check(name: &str, scene: &Scene, delivered_min: f64, throttled_max: f64, fairness_min: f64) {
    for limit in [Limit::Bucket, Limit::Windows] {
        for record_bytes in [49_900, 200] {
            let mut worst = Figures { delivered: 9.0, throttled: 0.0, fairness: 9.0, least: 9.0, greatest: 0.0 };
            for round_trip in [0.005, 0.02, 0.1] {
                let setting = Setting { limit, record_bytes, round_trip };
                let figures = measure(scene, setting);
                assert!(figures.delivered >= delivered_min, "{name}, {setting:?}: {figures:?}");
                assert!(figures.throttled < throttled_max, "{name}, {setting:?}: {figures:?}");
                assert!(figures.fairness >= fairness_min, "{name}, {setting:?}: {figures:?}");
                assert!(figures.least >= 0.6 && figures.greatest <= 1.5, "{name}, {setting:?}: {figures:?}");
                worst.delivered = worst.delivered.min(figures.delivered);
                worst.throttled = worst.throttled.max(figures.throttled);
                worst.fairness = worst.fairness.min(figures.fairness);
                worst.least = worst.least.min(figures.least);
                worst.greatest = worst.greatest.max(figures.greatest);
            }
            let Figures { delivered, throttled, fairness, least, greatest } = worst;
            println!(
                "{name:28} {:8} {record_bytes:6}: {:5.1} % delivered, {:4.1} % throttled, {fairness:.2} ({least:.2} to {greatest:.2})",
                format!("{limit:?}"),
                100.0 * delivered,
                100.0 * throttled,
            );
        }
    }
}

const ONE: Scene = Scene { shard_count: 1, ceiling: 1.0, left: &[], agents: &[(0.0, EVER)], measured: (10, 70) };

#[test]
fn one_agent_uses_the_shard() {
    check("one agent", &ONE, 0.95, 0.05, 0.99);
}

#[test]
fn one_agent_uses_what_others_leave() {
    let scene = Scene { left: &[(0.0, 0.4)], ..ONE };
    check("40 % left", &scene, 0.95, 0.05, 0.99);
    let left = &[(0.0, 1.0), (30.0, 0.4), (90.0, 0.8)];
    check("from 100 % to 40 % left", &Scene { left, measured: (45, 90), ..ONE }, 0.95, 0.05, 0.99);
    check("from 40 % to 80 % left", &Scene { left, measured: (105, 165), ..ONE }, 0.95, 0.05, 0.99);
}

#[test]
fn agents_share_a_shard() {
    let measured = (15, 75);
    check("two agents", &Scene { agents: &[(0.0, EVER); 2], measured, ..ONE }, 0.95, 0.05, 0.93);
    // An agent with a quarter sends five aggregates a second, and is told of a throttle once in five seconds.
    check("four agents", &Scene { agents: &[(0.0, EVER); 4], measured, ..ONE }, 0.95, 0.05, 0.93);
}

#[test]
fn agents_that_come_later_get_their_share() {
    let second = Scene { agents: &[(0.0, EVER), (20.0, EVER)], measured: (35, 95), ..ONE };
    check("second after 20 s", &second, 0.95, 0.05, 0.93);
    let fourth = Scene { agents: &[(0.0, EVER), (10.0, EVER), (20.0, EVER), (30.0, EVER)], measured: (60, 120), ..ONE };
    check("others after 10, 20, 30 s", &fourth, 0.95, 0.05, 0.93);
}

#[test]
fn an_agent_that_remains_uses_the_shard() {
    let agents = &[(0.0, EVER), (0.0, 40.0), (0.0, 40.0), (0.0, 40.0)];
    check("20 s after three have left", &Scene { agents, measured: (60, 90), ..ONE }, 0.95, 0.05, 0.99);
}

/// Records that fall on shards by chance cannot fill every second of the clock.
#[test]
fn one_pace_finds_out_how_many_shards_there_are() {
    let scene = Scene { shard_count: 4, ceiling: f64::INFINITY, measured: (15, 75), ..ONE };
    check("four shards, one pace", &scene, 0.7, 0.05, 0.99);
    let soon = Scene { measured: (3, 8), ..scene };
    check("from 3 s to 8 s", &soon, 0.7, 0.5, 0.99);
}

/// With so many, who is throttled is a matter of luck; but nobody waits for ever and the shard is used.
#[test]
fn twenty_agents_use_a_shard() {
    let scene = Scene { agents: &[(0.0, EVER); 20], measured: (30, 90), ..ONE };
    for limit in [Limit::Bucket, Limit::Windows] {
        let figures = measure(&scene, Setting { limit, record_bytes: 49_900, round_trip: 0.02 });
        println!("twenty agents, {limit:?}: {figures:?}");
        assert!(figures.delivered > 0.95 && figures.throttled < 0.25 && figures.least > 0.1, "{figures:?}");
    }
}

#[test]
fn waits_for_several_records_worth() {
    let start = Instant::now();
    let mut pace = Pace::new(start, 1.0, 0);
    let record = Amount { byte_count: 1000, record_count: 1 };
    while pace.may_send(start) {
        pace.sent(start, record);
    }
    let ready_at = pace.ready_at(start);
    assert!((99..=102).contains(&(ready_at - start).as_millis()), "{:?}", ready_at - start);
    assert!(!pace.may_send(ready_at - Duration::from_millis(5)));
    let sendable = std::iter::from_fn(|| pace.may_send(ready_at).then(|| pace.sent(ready_at, record))).count();
    assert!((99..=102).contains(&sendable), "{sendable}");
}

#[test]
fn what_was_not_stored_costs_nothing() {
    let start = Instant::now();
    let mut pace = Pace::new(start, 1.0, 0);
    let request = Amount { byte_count: 2 * SHARD_BYTES_IN_MAX, record_count: 10 };
    pace.sent(start, request);
    assert!(!pace.may_send(start));
    assert!(pace.seconds_for(start, Amount { byte_count: 0, record_count: 1 }) > 1.4);
    pace.returned(request);
    assert!(pace.may_send(start));
    assert!(pace.seconds_for(start, Amount { byte_count: 0, record_count: 1 }) < 0.0);
    assert!(
        pace.seconds_for(start, Amount { byte_count: 1000, record_count: 1 })
            < pace.seconds_for(start, Amount { byte_count: 2000, record_count: 1 })
    );
}

/// Lowers the share as far as it goes.
fn throttled_down(start: Instant, ceiling: f64) -> (Pace, Instant) {
    let mut pace = Pace::new(start, ceiling, 0);
    let mut now = start;
    for _ in 0..100 {
        now += Duration::from_millis(100);
        pace.answered(now, now, Amount::default(), Amount { byte_count: SHARD_BYTES_IN_MAX, record_count: 20 });
    }
    (pace, now)
}

#[test]
fn a_round_of_throttling_counts_once() {
    let start = Instant::now();
    let mut pace = Pace::new(start, 1.0, 0);
    let throttled = Amount { byte_count: SHARD_BYTES_IN_MAX, record_count: 20 };
    for milliseconds in 1..50 {
        pace.answered(start + Duration::from_millis(milliseconds), start, Amount::default(), throttled);
    }
    assert!(pace.share() >= ROUND_PART_MIN, "{}", pace.share());
    let (pace, _) = throttled_down(start, 1.0);
    assert!(pace.share() < 0.02, "{}", pace.share());
}

#[test]
fn an_idle_agent_may_soon_send_again() {
    let (mut pace, now) = throttled_down(Instant::now(), 1.0);
    for seconds in 1..=60 {
        assert!(pace.may_send(now + Duration::from_secs(seconds)));
    }
    assert!(pace.share() > 0.8, "{}", pace.share());
    let (mut pace, now) = throttled_down(Instant::now(), f64::INFINITY);
    assert!(pace.may_send(now + Duration::from_secs(31)));
    assert!(pace.is_starting);
}

/// What may happen to a pace.
#[derive(Clone, Debug)]
enum Deed {
    Waits(Duration),
    Sends(usize, usize),
    Returns(usize, usize),
    Learns { sent_before: Duration, delivered: (usize, usize), throttled: (usize, usize) },
}

fn deed() -> impl Strategy<Value = Deed> {
    let count = || prop_oneof![Just(0_usize), 1..2000_usize, 1..20_000_000_usize, Just(usize::MAX)];
    let counts = || (count(), count());
    let duration = || prop_oneof![0..200_u64, 0..60_000_u64, 0..10_000_000_000_u64].prop_map(Duration::from_millis);
    prop_oneof![
        duration().prop_map(Deed::Waits),
        counts().prop_map(|(bytes, records)| Deed::Sends(bytes, records)),
        counts().prop_map(|(bytes, records)| Deed::Returns(bytes, records)),
        (duration(), counts(), counts()).prop_map(|(sent_before, delivered, throttled)| Deed::Learns {
            sent_before,
            delivered,
            throttled
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_something_is_sent_again(
        deeds in prop::collection::vec(deed(), 0..60),
        is_bounded in any::<bool>(),
        random in any::<u64>(),
    ) {
        let ceiling = if is_bounded { 1.0 } else { f64::INFINITY };
        let mut now = Instant::now();
        let mut pace = Pace::new(now, ceiling, random);
        let amount = |(byte_count, record_count)| Amount { byte_count, record_count };
        for deed in deeds {
            match deed {
                Deed::Waits(duration) => now += duration,
                Deed::Sends(bytes, records) => pace.sent(now, amount((bytes, records))),
                Deed::Returns(bytes, records) => pace.returned(amount((bytes, records))),
                Deed::Learns { sent_before, delivered, throttled } => {
                    let sent_at = now.checked_sub(sent_before).unwrap_or(now);
                    pace.answered(now, sent_at, amount(delivered), amount(throttled));
                }
            }
            prop_assert!(pace.share() >= SHARE_MIN && pace.share() <= ceiling.min(SHARE_MAX), "{pace:?}");
            prop_assert!(pace.credit().is_finite() && pace.seconds_for(now, Amount { byte_count: usize::MAX, record_count: 1 }).is_finite(), "{pace:?}");
        }
        let until = now + Duration::from_secs_f64(DEBT_SECONDS_MAX + 1.0);
        while !pace.may_send(now) {
            let ready_at = pace.ready_at(now);
            prop_assert!(ready_at > now && ready_at <= now + WAIT_MAX && now < until, "{pace:?}");
            now = ready_at;
        }
    }
}
