//! What an agent costs while it waits, how soon it notices a change, and how long it takes to open its files.
//!
//! `cargo bench --bench tailing`, or a part of it: `-- idle`, `-- notice`, `-- open`. With `--quick` all is small and
//! short, and shows only that it runs. The agent is a process of its own, so that the figures are its own; Kinesis is a
//! stand-in here that takes everything. BENCHMARKS.md keeps the figures. Linux only: they are those of `/proc`.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

mod blackhole;
#[path = "../tests/common/mod.rs"]
mod common;
mod machine;
mod usage;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use blackhole::Blackhole;
use common::{Agent, PATIENCE, Place, wait_until};
use usage::{Usage, memory_mib};

/// How much is measured.
struct Scale {
    /// Files that match, case by case.
    file_counts: &'static [usize],
    /// How many of the most are written to once a second in the last case of `idle`.
    busy_count: usize,
    /// After the last file was shipped: connections and threads end that are not used any more.
    rest: Duration,
    /// How long an agent is watched.
    watch: Duration,
    /// Lines written one by one.
    writes: usize,
    /// Files made one by one.
    new_files: usize,
    /// Before a file is made: what the one before has brought about is over.
    calm: Duration,
    /// Starts of which the median is taken.
    starts: usize,
}

const FULL: Scale = Scale {
    file_counts: &[1, 1_000, 10_000],
    busy_count: 100,
    rest: Duration::from_secs(30),
    watch: Duration::from_secs(60),
    writes: 200,
    new_files: 40,
    calm: Duration::from_secs(2),
    starts: 5,
};

const QUICK: Scale = Scale {
    file_counts: &[1, 20],
    busy_count: 5,
    rest: Duration::ZERO,
    watch: Duration::from_secs(1),
    writes: 5,
    new_files: 2,
    calm: Duration::ZERO,
    starts: 1,
};

const FILES_PER_FOLDER: usize = 100;
const LINES_PER_FILE: usize = 3;
/// The flow, in which `DELAY` stands for its `max_delay`.
const FLOW: &str =
    "[[flow]]\nname = \"bench\"\nfiles = [\"LOGS/**/*.log\"]\n[flow.kinesis]\nstream = \"bench\"\nmax_delay = \"DELAY\"\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let scale = if arguments.iter().any(|argument| argument == "--quick") { &QUICK } else { &FULL };
    let is_chosen = |case: &str| arguments.iter().all(|argument| argument == case || argument == "--quick");
    println!("{}", machine::machine());
    for (case, measure) in [("idle", idle as fn(&Scale)), ("notice", notice), ("open", open)] {
        if is_chosen(case) {
            println!("\n## {case}\n");
            measure(scale);
        }
    }
}

/// Memory and processor time of an agent that has shipped all there is.
fn idle(scale: &Scale) {
    println!("| files | written to | VmRSS MiB | VmHWM MiB | CPU % of a core | wake-ups a second |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for file_count in scale.file_counts {
        let host = Host::new(*file_count, "1 s");
        watch_idle(scale, &host, *file_count, 0);
    }
    let most = most_files(scale);
    watch_idle(scale, &Host::new(most, "1 s"), most, scale.busy_count);
}

fn watch_idle(scale: &Scale, host: &Host, file_count: usize, busy_count: usize) {
    let agent = host.start();
    agent.wait_settled(host.byte_count);
    let write_interval = Duration::from_secs(1) / busy_count.max(1) as u32;
    let mut written = 0;
    let mut go_on_for = |time: Duration, usage: &mut Usage| {
        let end = Instant::now() + time;
        let mut sample_at = Instant::now();
        while Instant::now() < end {
            if Instant::now() >= sample_at {
                usage.sample(&agent);
                sample_at += Duration::from_secs(1);
            }
            if busy_count > 0 {
                append(&host.place.log(&name_of(written % busy_count)), &line_of(written, file_count));
                written += 1;
            }
            pause(if busy_count > 0 { write_interval } else { Duration::from_millis(200) });
        }
        usage.sample(&agent);
    };
    go_on_for(scale.rest, &mut Usage::default());
    let mut usage = Usage::default();
    usage.sample(&agent);
    let (before, begun) = (usage.total(), Instant::now());
    go_on_for(scale.watch, &mut usage);
    let (after, seconds) = (usage.total(), begun.elapsed().as_secs_f64());
    let cpu_percent = (after.cpu - before.cpu).as_secs_f64() / seconds * 100.0;
    let wakeups = (after.wakeup_count - before.wakeup_count) as f64 / seconds;
    let (now, peak) = (memory_mib(&agent, "VmRSS:"), memory_mib(&agent, "VmHWM:"));
    println!("| {file_count} | {busy_count} | {now:.1} | {peak:.1} | {cpu_percent:.4} | {wakeups:.1} |");
}

/// Time until a line that was written arrives at Kinesis. In it are 10 ms of `max_delay`, the least there is.
fn notice(scale: &Scale) {
    println!("| files | a line in | p50 ms | p99 ms | longest ms |");
    println!("| ---: | --- | ---: | ---: | ---: |");
    for file_count in [scale.file_counts[0], most_files(scale)] {
        let host = Host::new(file_count, "10 ms");
        let agent = host.start();
        agent.wait_settled(host.byte_count);
        pause(scale.calm);
        let mut random = fastrand::Rng::with_seed(1);
        let times = (0..scale.writes).map(|index| {
            pause(Duration::from_millis(random.u64(0..100)).min(scale.calm));
            let path = host.place.log(&name_of(random.usize(0..file_count)));
            host.time_until_arrival(&path, &line_of(index, file_count))
        });
        print_percentiles(file_count, "a file that is tailed", times.collect());
        let times = (0..scale.new_files).map(|index| {
            pause(scale.calm);
            let path = host.place.log(&name_of(file_count + index));
            host.time_until_arrival(&path, &line_of(index, file_count + index))
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
    let host = Host::new(file_count, "1 s");
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..scale.starts {
        let _ = fs::remove_dir_all(host.place.state());
        first.push(host.time_start(file_count, host.byte_count));
        again.push(host.time_start(file_count, 0));
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

/// Files, a configuration of which they are the only flow, and what takes their lines.
struct Host {
    place: Place,
    kinesis: Blackhole,
    /// Of all files as they were made.
    byte_count: usize,
}

impl Host {
    fn new(file_count: usize, max_delay: &str) -> Self {
        let place = Place::new();
        let mut byte_count = 0;
        for file in 0..file_count {
            let lines: String = (0..LINES_PER_FILE).map(|line| line_of(line, file)).collect();
            byte_count += lines.len();
            append(&place.log(&name_of(file)), &lines);
        }
        let kinesis = Blackhole::start(1, Duration::ZERO);
        let (state, url) = (place.state(), &kinesis.url);
        place.configure_verbatim(&format!(
            "[agent]\nstate_dir = {state:?}\nadmin = \"127.0.0.1:0\"\n[aws]\nregion = \"us-east-1\"\nendpoints.kinesis = {url:?}\n{}",
            FLOW.replace("DELAY", max_delay)
        ));
        Self { place, kinesis, byte_count }
    }

    fn start(&self) -> Agent {
        self.place.run(&[])
    }

    fn time_until_arrival(&self, path: &Path, line: &str) -> Duration {
        while self.kinesis.arrivals.try_recv().is_ok() {}
        let written_at = Instant::now();
        append(path, line);
        self.kinesis.arrivals.recv_timeout(PATIENCE).unwrap().duration_since(written_at)
    }

    /// Seconds and processor seconds until `file_count` files are opened, the same until `byte_count` bytes are read and
    /// settled, and the most memory in MiB.
    fn time_start(&self, file_count: usize, byte_count: usize) -> [f64; 5] {
        let begun = Instant::now();
        let agent = self.start();
        wait_until("all files are opened", || agent.figures().sum("kinetail_tailed_files") == file_count);
        let opened = begun.elapsed().as_secs_f64();
        let opened_cpu = Usage::of(&agent).total().cpu.as_secs_f64();
        agent.wait_settled(byte_count);
        let settled = begun.elapsed().as_secs_f64();
        let settled_cpu = Usage::of(&agent).total().cpu.as_secs_f64();
        let peak = memory_mib(&agent, "VmHWM:");
        agent.stop();
        [opened, opened_cpu, settled, settled_cpu, peak]
    }
}

fn name_of(file: usize) -> String {
    format!("service-{:03}/part-{file:05}.log", file / FILES_PER_FOLDER)
}

fn line_of(line: usize, file: usize) -> String {
    format!(
        "{file:05} {line:06} GET /articles/{line}/comments?page={file} 200 took {} us, cache miss, 1 upstream\n",
        line * 7 + file
    )
}

fn append(path: &Path, text: &str) {
    File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "time that passes is what is measured")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
