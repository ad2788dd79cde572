//! The whole agent in one process on simulated time, against a stream that fails in every way, for many seeds.
//!
//! Nothing is lost, whatever fails and however the agent ends. Where the agent may read its streams back, nothing is there twice
//! either: not after an answer that never came, nor after a kill, an abort, or a drain timeout, while shards are split and merged,
//! the host's clock is minutes off, streams are exchanged for others, commits take seconds, or a copy of the state folder goes on
//! as another host. Elsewhere a line is there twice only for these reasons, and what may be so is counted. The counters balance,
//! and the store never says more than is true.
//!
//! Where streams may be read all the time a record is there twice all the same when
//! - it has no delivery token, but a partition key of its own, of a line that is a record by itself: nobody can tell it from
//!   another record with that key ("no token" in the tally);
//! - it is one of the few with a token of a flow whose records mostly have none, and the run has ended before it was known what
//!   became of it: a start does not look for these ("no tokens in most records");
//! - the service answers nothing but failures when the stream is read, for longer than the agent waits for that ("reading failed
//!   for long").
//!
//! Not simulated are a stream that forgets records before they are read back, for which an agent would have to be down for a day;
//! streams that change to the distribution AUTO; disks that fail or lose power (`tests/power_loss/` does).
//!
//! What the service and the network may do is bounded by what the agent is told in `settle`: a request that nobody waits for any
//! more is accepted within half of that, and what was accepted can be read within the other half.
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
mod received;
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
    for seed in 1_000..1_010 {
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
