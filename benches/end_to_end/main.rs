//! The agent as its users run it, from files to a Kinesis over TLS that takes everything: what it ships a second, and what
//! that costs; what it costs to wait; how long a line takes; how all that grows; what memory an outage takes.
//!
//! `cargo bench --bench end_to_end`, or some parts and cases: `-- throughput`, `-- throughput raw json`, `-- idle`, `-- latency`,
//! `-- growth`, `-- memory`. With `--quick` all is small and short, and shows only that it runs. The agent is a process of its own, the binary
//! of the profile, and so is the [`blackhole`]. Logs are generated below target/tmp, kept there, and read once before they are
//! shipped, so that they are in the page cache. BENCHMARKS.md keeps the figures. Linux only: they are those of `/proc`.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

#[path = "../lines/access.rs"]
mod access;
mod allocations;
#[path = "../blackhole/mod.rs"]
mod blackhole;
mod choice;
#[path = "../../tests/common/mod.rs"]
mod common;
mod growth;
#[path = "../host/mod.rs"]
mod host;
mod idle;
mod input;
mod latency;
#[path = "../machine/mod.rs"]
mod machine;
mod memory;
mod run;
mod threads;
mod throughput;
#[path = "../usage/mod.rs"]
mod usage;

use choice::Choice;

type Part = (&'static str, fn(&Choice));

/// Parts by their names.
const PARTS: [Part; 5] = [
    ("throughput", throughput::measure),
    ("idle", idle::measure),
    ("latency", latency::measure),
    ("growth", growth::measure),
    ("memory", memory::measure),
];

fn main() {
    let is_helper = kinetail::offsets::read_for_parent(std::env::args_os()) || blackhole::has_served() || allocations::have_run();
    if is_helper {
        return;
    }
    let choice = Choice::from_arguments(&PARTS.map(|(name, _)| name));
    println!("{}", machine::machine());
    for (name, measure) in PARTS {
        if choice.has_part(name) {
            println!("\n## {name}\n");
            measure(&choice);
        }
    }
}
