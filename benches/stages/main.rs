//! The stages of a line that compute and wait for nothing, one by one, on one thread: time, rate and allocations.
//!
//! `cargo bench --bench stages`, or some of them: `-- format`, `-- aggregate`; `-- --help` has more. With `--quick` each runs once, on little,
//! and shows only that it runs. An item is a line, unless something else is said. BENCHMARKS.md keeps the figures.

#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]

mod bodies;
mod formats;
#[path = "../lines/mod.rs"]
mod lines;
mod offsets;
mod records;
mod split;

use divan::{AllocProfiler, Divan};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    if is_quick() {
        Divan::default().test_benches();
    } else {
        Divan::from_args().run_benches();
    }
}

fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Lines of an access log, each with its newline, of about so many bytes together, or of a few.
fn access_log(byte_count: usize) -> String {
    let byte_count = if is_quick() { 4 << 10 } else { byte_count };
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = String::with_capacity(byte_count + 1_000);
    while text.len() < byte_count {
        lines::long_access(&mut random, &mut text);
        text.push('\n');
    }
    text
}
