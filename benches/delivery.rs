//! How fast an agent delivers a backlog, and what that costs, by the time that the service takes to answer.
//!
//! `cargo bench --bench delivery`; with `--quick` it shows only that it runs. The agent is a process of its own, so that the
//! figures are its own; Kinesis is a stand-in here, of 256 shards over plain HTTP, that takes everything and answers late.
//! BENCHMARKS.md keeps the figures. Linux only: they are those of `/proc`.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod blackhole;
#[path = "../tests/common/mod.rs"]
mod common;
mod lines;
mod machine;
mod usage;

use std::fs;
use std::time::{Duration, Instant};

use blackhole::Blackhole;
use common::Place;
use usage::{Usage, memory_mib};

/// No shard is full.
const SHARDS: u128 = 256;
const ROUND_TRIPS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];
const PACKINGS: [&str; 3] = ["kpl", "lines", "none"];

/// How much is measured.
struct Scale {
    backlog_bytes: usize,
    /// Of which the median is taken.
    runs: usize,
}

const FULL: Scale = Scale { backlog_bytes: 512 << 20, runs: 3 };
const QUICK: Scale = Scale { backlog_bytes: 2 << 20, runs: 1 };

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if is_quick { &QUICK } else { &FULL };
    println!("{}\n", machine::machine());
    println!("| aggregate | round trip, ms | MB/s | of that without | cpu-s/GiB | VmHWM MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let backlog = backlog(scale.backlog_bytes);
    for packing in PACKINGS {
        // Side by side, so that what else the machine does is the same for all of a row.
        let mut runs: Vec<[[f64; 3]; ROUND_TRIPS.len()]> = Vec::new();
        for _ in 0..scale.runs {
            runs.push(ROUND_TRIPS.map(|round_trip| deliver(&backlog, packing, round_trip)));
        }
        let median = |of: &dyn Fn(&[[f64; 3]; ROUND_TRIPS.len()]) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(of).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        for (index, round_trip) in ROUND_TRIPS.iter().enumerate() {
            let figure = |which: usize| median(&|run| run[index][which]);
            let share = median(&|run| run[index][0] / run[0][0]);
            let (rate, cpu, memory) = (figure(0), figure(1), figure(2));
            println!("| {packing} | {} | {rate:.0} | {:.0} % | {cpu:.2} | {memory:.1} |", round_trip.as_millis(), share * 100.0);
        }
    }
}

fn backlog(byte_count: usize) -> String {
    let case = lines::CASES.iter().find(|case| case.name == "apache_combined").unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = String::with_capacity(byte_count + 1000);
    while text.len() < byte_count {
        (case.write)(&mut random, &mut text);
        text.push('\n');
    }
    text
}

/// MB/s, processor seconds a GiB, and the most memory in MiB, of an agent that ships `backlog`.
fn deliver(backlog: &str, packing: &str, round_trip: Duration) -> [f64; 3] {
    let place = Place::new();
    fs::write(place.log("backlog.log"), backlog).unwrap();
    let kinesis = Blackhole::start(SHARDS, round_trip);
    let (state, url) = (place.state(), &kinesis.url);
    place.configure_verbatim(&format!(
        "[agent]\nstate_dir = {state:?}\nadmin = \"127.0.0.1:0\"\n[aws]\nregion = \"us-east-1\"\nendpoints.kinesis = {url:?}\n\
         [[flow]]\nname = \"bench\"\nfiles = [\"LOGS/*.log\"]\n[flow.kinesis]\nstream = \"bench\"\naggregate = \"{packing}\"\n"
    ));
    let begun = Instant::now();
    let agent = place.run(&[]);
    agent.wait_settled(backlog.len());
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = Usage::of(&agent).total().cpu.as_secs_f64();
    let peak = memory_mib(&agent, "VmHWM:");
    agent.stop();
    [backlog.len() as f64 / 1e6 / seconds, cpu / backlog.len() as f64 * (1u64 << 30) as f64, peak]
}
