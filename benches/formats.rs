//! What it costs to make lines into records, format by format.
//!
//! `cargo bench --bench formats`, or some of them: `-- json csv`. With `--quick` a few lines show only that it runs. All that
//! the processor does with a line is measured, on one thread: finding its fields, and writing them as JSON. BENCHMARKS.md
//! keeps the figures.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "figures for people")]

mod lines;
mod machine;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use kinetail::config::Config;
use kinetail::metadata::Ec2;
use kinetail::processor::{Made, Origin, Processor, Surroundings};
use kinetail::span::FileKey;

use lines::CASES;

/// How much of it are different lines; enough that no cache below the last has them all, and no branch predictor.
const DIFFERENT_BYTES: usize = 8 << 20;
/// How often these are measured.
const ROUNDS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (names, options): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|argument| !argument.starts_with("--"));
    let is_quick = options.iter().any(|option| *option == "--quick");
    let unknown = names.iter().find(|name| CASES.iter().all(|case| case.name != name.as_str()));
    assert_eq!(unknown, None, "is none of {:?}", CASES.map(|case| case.name));
    println!("{}\n", machine::machine());
    println!("| lines | bytes each | bytes of a record | lines/s | MB/s | CPU s/GiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let (different_bytes, rounds) = if is_quick { (4 << 10, 1) } else { (DIFFERENT_BYTES, ROUNDS) };
    for case in CASES.iter().filter(|case| names.is_empty() || names.iter().any(|name| *name == case.name)) {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut text, mut ends) = (String::new(), vec![0]);
        while text.len() < different_bytes {
            (case.write)(&mut random, &mut text);
            ends.push(text.len());
        }
        measure(case.name, case.settings, &text, &ends, rounds);
    }
}

/// Prints the row of the lines of `text`, each of which ends where `ends` says.
fn measure(name: &str, settings: &str, text: &str, ends: &[usize], rounds: usize) {
    let source = format!("[[flow]]\nname = \"bench\"\nfiles = [\"/a\"]\n{settings}\n[flow.kinesis]\nstream = \"bench\"\n");
    let config = Config::parse(&source, name).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let surroundings = Surroundings { host_name: "host".to_owned(), environment: BTreeMap::new() };
    let mut processor = Processor::new(&config.flows[0], &surroundings);
    let ec2 = Ec2::default();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let origin = Origin { path: Path::new("/a"), file: FileKey(1), offset: 0, header: None, now, ec2: &ec2 };
    let (mut out, mut key) = (Vec::new(), String::new());
    let mut record_bytes = 0;
    let mut pass = || {
        record_bytes = 0;
        for bounds in ends.windows(2) {
            let line = &text.as_bytes()[bounds[0]..bounds[1]];
            let processed = processor.process(black_box(line), &origin, &mut out, &mut key);
            let is_sound = !processed.mismatched && processed.type_mismatches == 0;
            assert!(is_sound, "{name}: {processed:?}: {}", line.escape_ascii());
            record_bytes += if processed.made == Made::Raw { line.len() } else { black_box(&out).len() };
        }
    };
    pass();
    let (begun, begun_cpu) = (Instant::now(), cpu_time());
    (0..rounds).for_each(|_| pass());
    let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), (cpu_time() - begun_cpu).as_secs_f64());
    let (byte_count, line_count) = (text.len() * rounds, (ends.len() - 1) * rounds);
    println!(
        "| {name} | {} | {} | {:.0} | {:.0} | {:.2} |",
        text.len() / (ends.len() - 1),
        record_bytes / (ends.len() - 1),
        line_count as f64 / seconds,
        byte_count as f64 / seconds / 1e6,
        cpu_seconds / byte_count as f64 * f64::from(1 << 30),
    );
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, u32::try_from(time.tv_nsec).unwrap())
}
