//! A backlog by how many files it is in, by how many threads there are, by how many shards the stream has, and by how far away the
//! service is.

use std::time::Duration;

use crate::blackhole::{Settings, Telling};
use crate::choice::Choice;
use crate::input::Input;
use crate::run::{ship, ship_with};
use crate::throughput::{SHARDS, USUAL};

const KPL: &str = "[flow.kinesis]\nstream = \"bench\"";
/// Raw lines, each to the shard of its client.
const KEYED: &str = "[flow.parse]\nformat = \"apache_combined\"\n[flow.record]\noutput = \"raw\"\n[flow.kinesis]\nstream = \"bench\"\npartition_key = \"${host}\"";
const PACKINGS: [&str; 3] = ["kpl", "lines", "none"];
/// With the MB/s of the best other writer of which that is published, see BENCHMARKS.md.
const ROUND_TRIPS_MS: [(u64, &str); 3] = [(0, "266"), (20, "60"), (100, "")];
/// What a shard takes a second.
const SHARD_BYTES: u64 = 1 << 20;
/// How long all shards take for the backlog at the least.
const SHARD_SECONDS: u64 = 10;

pub(crate) fn measure(choice: &Choice) {
    let byte_count = choice.full_or_quick(256 << 20, 256 << 10);
    if choice.has_case("files") {
        files(byte_count, choice.full_or_quick(&[1, 10, 100, 1_000], &[1, 10]));
    }
    if choice.has_case("threads") {
        threads(&Input::new(byte_count, 1), choice.full_or_quick(&[1, 2], &[2]));
    }
    if choice.has_case("shards") {
        let bytes_a_shard = choice.full_or_quick(SHARD_SECONDS * SHARD_BYTES, 64 << 10);
        shards(bytes_a_shard, choice.full_or_quick(&[1, 4, 16, 64], &[1, 4]));
    }
    if choice.has_case("single") {
        let counts = choice.full_or_quick(&[64, 256, 1_024][..], &[64]);
        single(&Input::new(choice.full_or_quick(64 << 20, 256 << 10), 1), counts);
    }
    if choice.has_case("round trip") {
        round_trips(byte_count);
    }
}

fn settings(shard_count: u32, round_trip_ms: u64) -> Settings {
    Settings { shard_count, latency: Duration::from_millis(round_trip_ms), telling: Telling::Nothing }
}

/// Raw lines in aggregates.
fn files(byte_count: u64, file_counts: &[usize]) {
    println!("| files | MB/s | cpu-s/GiB | VmHWM MiB |");
    println!("| ---: | ---: | ---: | ---: |");
    for file_count in file_counts {
        let shipped = ship(&Input::new(byte_count, *file_count), KPL, settings(SHARDS, 0));
        let (rate, cpu, peak) = (shipped.mb_per_second(), shipped.per_gib(shipped.cpu), shipped.peak_mib);
        println!("| {file_count} | {rate:.0} | {cpu:.2} | {peak:.1} |");
    }
    println!();
}

/// Of one file, what is made of each line being much of the work.
fn threads(input: &Input, thread_counts: &[u32]) {
    println!("| threads, usual regex to JSON | MB/s | cpu-s/GiB | VmHWM MiB |");
    println!("| ---: | ---: | ---: | ---: |");
    for thread_count in thread_counts {
        let shipped = ship_with(&format!("threads = {thread_count}"), input, USUAL, settings(SHARDS, 0));
        let (rate, cpu, peak) = (shipped.mb_per_second(), shipped.per_gib(shipped.cpu), shipped.peak_mib);
        println!("| {thread_count} | {rate:.0} | {cpu:.2} | {peak:.1} |");
    }
    println!();
}

/// What a shard takes is what limits it.
fn shards(bytes_a_shard: u64, shard_counts: &[u32]) {
    println!("| shards | MB/s | of what they take | cpu-s/GiB | VmHWM MiB | records a request |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for shard_count in shard_counts {
        let shipped = ship(&Input::new(bytes_a_shard * u64::from(*shard_count), 1), KEYED, settings(*shard_count, 0));
        let (rate, cpu, peak) = (shipped.mb_per_second(), shipped.per_gib(shipped.cpu), shipped.peak_mib);
        let share = rate * 1e6 / (SHARD_BYTES * u64::from(*shard_count)) as f64 * 100.0;
        let record_count = shipped.tally.record_count as f64 / shipped.tally.request_count as f64;
        println!("| {shard_count} | {rate:.1} | {share:.0} % | {cpu:.2} | {peak:.1} | {record_count:.0} |");
    }
    println!();
}

/// Each line a record that may go to any shard: what it costs to choose one.
fn single(input: &Input, shard_counts: &[u32]) {
    println!("| shards, a record a line | MB/s | cpu-s/GiB | VmHWM MiB |");
    println!("| ---: | ---: | ---: | ---: |");
    for shard_count in shard_counts {
        let shipped = ship(input, &format!("{KPL}\naggregate = \"none\""), settings(*shard_count, 0));
        let (rate, cpu, peak) = (shipped.mb_per_second(), shipped.per_gib(shipped.cpu), shipped.peak_mib);
        println!("| {shard_count} | {rate:.1} | {cpu:.2} | {peak:.1} |");
    }
    println!();
}

fn round_trips(byte_count: u64) {
    println!("| aggregate | round trip, ms | MB/s | best peer | of that without | cpu-s/GiB | VmHWM MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let input = Input::new(byte_count, 1);
    for packing in PACKINGS {
        let flow = format!("{KPL}\naggregate = \"{packing}\"");
        let mut without = None;
        for (round_trip_ms, best_peer) in ROUND_TRIPS_MS {
            let shipped = ship(&input, &flow, settings(SHARDS, round_trip_ms));
            let (rate, cpu, peak) = (shipped.mb_per_second(), shipped.per_gib(shipped.cpu), shipped.peak_mib);
            let share = rate / *without.get_or_insert(rate) * 100.0;
            println!("| {packing} | {round_trip_ms} | {rate:.0} | {best_peer} | {share:.0} % | {cpu:.2} | {peak:.1} |");
        }
    }
}
