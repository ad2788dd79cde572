//! Allocations per line: the agent in a process whose allocator counts, started for fewer and for more lines, so that the
//! start does not count.

use std::alloc::System;
use std::process::Command;

use kinetail::command::run;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::blackhole::{Blackhole, Settings};
use crate::common::Place;
use crate::input::Input;
use crate::run::configure;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The hidden first argument of the process.
const ROLE: &str = "count-allocations";

/// Whether this process was started to count; then it has.
pub(crate) fn have_run() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, config] = &arguments[..] else { return false };
    if role != ROLE {
        return false;
    }
    let code = run::main(&run::Options { config: config.into(), once: true, local: false });
    assert_eq!(code, 0);
    let stats = ALLOCATOR.stats();
    println!("{} {}", stats.allocations + stats.reallocations, stats.bytes_allocated);
    true
}

/// Allocations, moves to a larger place included, and bytes allocated, per line of those that `more` has beyond `fewer`.
pub(crate) fn per_line(fewer: &Input, more: &Input, flow: &str, settings: Settings) -> [f64; 2] {
    let [before, after] = [fewer, more].map(|input| count(input, flow, settings));
    let line_count = (more.line_count - fewer.line_count) as f64;
    [0, 1].map(|figure| (after[figure] - before[figure]) / line_count)
}

fn count(input: &Input, flow: &str, settings: Settings) -> [f64; 2] {
    let place = Place::new();
    let blackhole = Blackhole::start(settings);
    configure(&place, &blackhole, "admin = \"off\"", &input.glob(), flow);
    // The environment of the binary, and no other program can be given to it.
    let model = place.command(&[]);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ROLE).arg(place.config()).current_dir(place.folder()).env_clear();
    command.envs(model.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = place.start(&mut command).wait().well();
    let figures: Vec<f64> = ended.stdout.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    [figures[0], figures[1]]
}
