//! The whole agent in one process on simulated time, against a stream that fails in every way, for many seeds.
//!
//! Nothing is lost, whatever fails and however the agent ends. A line arrives twice only where the answer to a
//! request did not tell whether it was stored, or after an end in which an acknowledgement did not reach the
//! disk. The counters balance, and the store never says more than is true.
//!
//! `KINETAIL_SEEDS=100000` runs so many seeds instead of the few of an ordinary test run; `KINETAIL_SEED=1234`
//! runs that one and tells what happens in it.
#![allow(clippy::unwrap_used, reason = "a simulation that cannot go on has failed")]

mod config;
mod doubles;
mod host;
mod kinesis;
mod ledger;
mod logs;
mod model;
#[path = "../common/seeds.rs"]
mod seeds;
#[path = "../common/shards.rs"]
mod shards;
#[path = "../common/state.rs"]
mod state;
mod story;
mod tally;
mod weather;
mod world;

use std::io::Write as _;
use std::time::Duration;

use seeds::{Extent, run_seeds};
use tally::Tally;
use world::simulate;

/// No line is lost, none is doubled without need, and everything is accounted for, whatever happens.
#[test]
fn nothing_is_lost_and_everything_is_accounted_for() {
    let extent = Extent { seeds: 200, seeds_min: 50, time: Duration::from_secs(20) };
    let mut tally = Tally::default();
    let is_well = run_seeds("simulation", &extent, simulate, |of_seed| tally.add(of_seed));
    // Past the test harness, which keeps what a passing test prints to itself.
    let _ = writeln!(std::io::stderr(), "{tally:#?}");
    assert!(is_well, "a seed failed, see above");
}

/// A seed that has failed fails again: the same happens at the same time.
#[test]
fn a_seed_is_repeatable() {
    for seed in 1_000..1_100 {
        assert_eq!(simulate(seed, false), simulate(seed, false), "seed {seed}");
    }
}

/// Seeds in which a file that was known to be empty was taken for another that was still there, and its first line for sent.
#[test]
fn an_empty_file_that_is_written_like_another_is_a_file_of_its_own() {
    for seed in [543, 2671, 3757, 4110] {
        simulate(seed, false);
    }
}
