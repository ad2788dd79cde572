//! How soon an agent notices a change, and how long it takes to open its files.
//!
//! `cargo bench --bench tailing`, or a part of it: `-- notice`, `-- open`. With `--quick` all is small and
//! short, and shows only that it runs. The agent is a process of its own, so that the figures are its own; Kinesis is a
//! stand-in here that takes everything. BENCHMARKS.md keeps the figures. Linux only: they are those of `/proc`.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

mod blackhole;
#[path = "../tests/common/mod.rs"]
mod common;
mod host;
mod machine;
mod usage;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use blackhole::{Event, Telling, now};
use common::{PATIENCE, wait_until};
use host::{Host, append, line_of, name_of, pause};
use usage::{cpu_of, memory_mib};

/// How much is measured.
struct Scale {
    /// Files that match, case by case.
    file_counts: &'static [usize],
    /// Lines written one by one.
    writes: usize,
    /// Files made one by one.
    new_files: usize,
    /// Before a file is made: what the one before has brought about is over.
    calm: Duration,
    /// Starts of which the median is taken.
    starts: usize,
}

const FULL: Scale =
    Scale { file_counts: &[1, 1_000, 10_000], writes: 200, new_files: 40, calm: Duration::from_secs(2), starts: 5 };

const QUICK: Scale = Scale { file_counts: &[1, 20], writes: 5, new_files: 2, calm: Duration::ZERO, starts: 1 };

fn main() {
    if blackhole::has_served() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let scale = if arguments.iter().any(|argument| argument == "--quick") { &QUICK } else { &FULL };
    let is_chosen = |case: &str| arguments.iter().all(|argument| argument == case || argument == "--quick");
    println!("{}", machine::machine());
    for (case, measure) in [("notice", notice as fn(&Scale)), ("open", open)] {
        if is_chosen(case) {
            println!("\n## {case}\n");
            measure(scale);
        }
    }
}

/// Time until a line that was written arrives at Kinesis. In it are 10 ms of `max_delay`, the least there is.
fn notice(scale: &Scale) {
    println!("| files | a line in | p50 ms | p99 ms | longest ms |");
    println!("| ---: | --- | ---: | ---: | ---: |");
    for file_count in [scale.file_counts[0], most_files(scale)] {
        let host = Host::new(file_count, "10 ms", Telling::Requests);
        let agent = host.start();
        agent.wait_settled(host.byte_count);
        pause(scale.calm);
        let mut random = fastrand::Rng::with_seed(1);
        let times = (0..scale.writes).map(|index| {
            pause(Duration::from_millis(random.u64(0..100)).min(scale.calm));
            let path = host.place.log(&name_of(random.usize(0..file_count)));
            time_until_arrival(&host, &path, &line_of(index, file_count))
        });
        print_percentiles(file_count, "a file that is tailed", times.collect());
        let times = (0..scale.new_files).map(|index| {
            pause(scale.calm);
            let path = host.place.log(&name_of(file_count + index));
            time_until_arrival(&host, &path, &line_of(index, file_count + index))
        });
        print_percentiles(file_count, "a new file", times.collect());
    }
}

fn print_percentiles(file_count: usize, what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    println!("| {file_count} | {what} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.99), at(1.0));
}

/// Time from the start of the process until all files are opened and positioned, and until all is read and settled.
fn open(scale: &Scale) {
    println!("| files | start | opened, s | CPU s | settled, s | CPU s | VmHWM MiB |");
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    let file_count = most_files(scale);
    let host = Host::new(file_count, "1 s", Telling::Nothing);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..scale.starts {
        let _ = fs::remove_dir_all(host.place.state());
        first.push(time_start(&host, file_count, host.byte_count));
        again.push(time_start(&host, file_count, 0));
    }
    for (what, starts) in [("first", first), ("again", again)] {
        let median_of = |figure: usize| {
            let mut figures: Vec<f64> = starts.iter().map(|start: &[f64; 5]| start[figure]).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let [opened, opened_cpu, settled, settled_cpu, peak] = [0, 1, 2, 3, 4].map(median_of);
        println!("| {file_count} | {what} | {opened:.2} | {opened_cpu:.2} | {settled:.2} | {settled_cpu:.2} | {peak:.1} |");
    }
}

fn most_files(scale: &Scale) -> usize {
    scale.file_counts.iter().copied().max().unwrap()
}

fn time_until_arrival(host: &Host, path: &Path, line: &str) -> Duration {
    while host.kinesis.events.try_recv().is_ok() {}
    let written_at = now();
    append(path, line);
    loop {
        if let Event::Answered(at) = host.kinesis.events.recv_timeout(PATIENCE).unwrap()
            && at > written_at
        {
            return at - written_at;
        }
    }
}

/// Seconds and processor seconds until `file_count` files are opened, the same until `byte_count` bytes are read and
/// settled, and the most memory in MiB.
fn time_start(host: &Host, file_count: usize, byte_count: usize) -> [f64; 5] {
    let begun = Instant::now();
    let agent = host.start();
    wait_until("all files are opened", || agent.figures().sum("kinetail_tailed_files") == file_count);
    let opened = begun.elapsed().as_secs_f64();
    let opened_cpu = cpu_of(agent.id()).as_secs_f64();
    agent.wait_settled(byte_count);
    let settled = begun.elapsed().as_secs_f64();
    let settled_cpu = cpu_of(agent.id()).as_secs_f64();
    let peak = memory_mib(&agent, "VmHWM:");
    agent.stop();
    [opened, opened_cpu, settled, settled_cpu, peak]
}
