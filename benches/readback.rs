//! What it costs to read a stream back after a crash: what other producers have put since has to be looked at too.
//!
//! `cargo bench --bench readback`; with `--quick` it shows only that it runs. What reads is a process of its own, so that the
//! figures are its own; Kinesis is ferrokinesis, over plain HTTP, with 4 shards. BENCHMARKS.md keeps the figures. Linux only: they
//! are those of `/proc`.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/common/mod.rs"]
mod common;
mod machine;

use std::fs;
use std::process::Command;
use std::time::{Instant, SystemTime};

use common::{Kinesis, wire};
use kinetail::aggregator::Aggregate;
use kinetail::delivery_token::{DeliveryToken, DeliveryTokens};
use kinetail::readback::recognition::spans_of;
use kinetail::readback::{self, Shards, StoredRecord, Taken, Window};
use kinetail::service_clock::ServiceClock;
use kinetail::span::{FileKey, Span};

const SHARDS: u32 = 4;
const RUN: u128 = 0xabc;
/// What others put is of them, and between it the run's own records.
const RECORD_BYTES: usize = 49_900;
const OWN_RECORDS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, url, from_ms] = &arguments[..]
        && command == "read"
    {
        return read(url, from_ms.parse().unwrap());
    }
    let byte_count = if arguments.iter().any(|argument| argument == "--quick") { 2_000_000 } else { 100_000_000 };
    println!("{}\n", machine::machine());
    println!("| bytes | seconds | MB/s | requests | cpu-s | VmHWM MiB | before MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let from_ms = since_1970_ms() - 5_000;
    let kinesis = filled(byte_count);
    let reader = Command::new(std::env::current_exe().unwrap()).args(["read", &kinesis.url(), &from_ms.to_string()]).output();
    let reader = reader.unwrap();
    assert!(reader.status.success(), "{}", String::from_utf8_lossy(&reader.stderr));
    print!("{}", String::from_utf8(reader.stdout).unwrap());
}

/// A stream with so many bytes of others, and some aggregates of the run.
fn filled(byte_count: usize) -> Kinesis {
    let kinesis = Kinesis::with_stream("s", SHARDS);
    let mut random = fastrand::Rng::with_seed(1);
    let record_count = byte_count / RECORD_BYTES;
    let data: Vec<u8> = std::iter::repeat_with(|| random.alphanumeric() as u8).take(RECORD_BYTES).collect();
    let mut tokens = DeliveryTokens::new(RUN);
    for index in 0..record_count {
        // Of another agent: its keys are like ours.
        let mut others = DeliveryTokens::new(random.u128(..));
        kinesis.put("s", &others.draw(), &data);
        if index % (record_count / OWN_RECORDS).max(1) == 0 {
            let mut aggregate = Aggregate::new(random.u128(..));
            let start = index as u64 * 1_000;
            assert!(aggregate.try_push("key", &data[..10_000], Span::new(FileKey(1), start, start + 1_000), RECORD_BYTES));
            kinesis.put("s", &tokens.draw(), &aggregate.finish().data);
        }
    }
    kinesis
}

/// Reads it back as the agent does at its start, and says what that took.
fn read(url: &str, from_ms: i64) {
    let before = memory_mib("VmRSS:");
    let (begun, cpu_before) = (Instant::now(), cpu_seconds());
    let stream = wire::stream(url.to_owned(), "s");
    let clock = ServiceClock::new(since_1970_ms());
    let window = Window { from_ms, until_ms: clock.now_ms() };
    let mut found_count = 0;
    let look = |record: &StoredRecord| {
        let token = DeliveryToken::parse(&record.partition_key).filter(|token| token.run_id == RUN);
        found_count += usize::from(token.is_some_and(|token| spans_of(token, &record.data).is_some()));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let taken = runtime.block_on(readback::read(&stream, &clock, window, &Shards::All, look)).unwrap();
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    assert!(found_count >= OWN_RECORDS.min(usize::try_from(taken.record_count).unwrap() / 2), "{found_count}");
    let Taken { request_count, byte_count, .. } = taken;
    let (rate, peak) = (byte_count as f64 / 1e6 / seconds, memory_mib("VmHWM:"));
    println!("| {byte_count} | {seconds:.1} | {rate:.1} | {request_count} | {cpu:.2} | {peak:.1} | {before:.1} |");
}

/// What the threads of this process have used, also those that have ended.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time, in hundredths of a second: fields 14 and 15 of proc(5).
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn memory_mib(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0
}

fn since_1970_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_millis()).unwrap()
}
