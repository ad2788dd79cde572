//! The agent as its users run it, with more to ship than the shards admit.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use kinetail::limits::{MIB, SHARD_BYTES_IN_MAX};

use common::{Figures, Kinesis, Stage, line, wait_until_or};

/// By then an agent knows how much the shards take from it.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// While files are longer than the shards can take, the shards are used, little is sent in vain, memory does not grow, and in the
/// end every line is there, once.
#[test]
fn an_agent_with_a_backlog_uses_the_shards_and_no_more_memory() {
    let shard_count = 2u32;
    let seconds = if std::env::var_os("KINETAIL_LONG").is_some() { 60 } else { 15 };
    let mut stage = Stage::with(Kinesis::throttling("s", shard_count), "LOGS/*.log", "memory_max = \"16 MiB\"", "");
    let agent = stage.start();
    agent.wait_health(200);
    let byte_count = seconds * shard_count as usize * SHARD_BYTES_IN_MAX;
    let lines_of = |file: &str| (0..byte_count / 4_000).map(|number| line(file, number, 1_000)).collect();
    let files: Vec<(&str, Vec<String>)> =
        ["0.log", "1.log", "2.log", "3.log"].into_iter().map(|file| (file, lines_of(file))).collect();
    let begun = Instant::now();
    for (file, written) in files {
        stage.place.append(file, &written);
        stage.sent.extend(written);
    }
    let wanted = stage.sent.len();
    let (mut memory, mut peak, mut records) = (0, 0, (0, 0));
    let records_of = |figures: &Figures| {
        let throttled = figures.sum_where("kinetail_failed_records_total", "ProvisionedThroughputExceededException");
        (figures.sum("kinetail_delivered_records_total"), throttled)
    };
    let is_delivered = || {
        peak = peak.max(agent.memory());
        let figures = agent.figures();
        if begun.elapsed() < SETTLED_AFTER {
            (memory, records) = (peak, records_of(&figures));
        }
        figures.sum("kinetail_delivered_user_records_total") >= wanted && figures.sum("kinetail_in_flight_bytes") == 0
    };
    wait_until_or("everything is delivered", is_delivered, || agent.stderr());
    let took = begun.elapsed();
    let figures = agent.figures();
    let (delivered, throttled) = records_of(&figures);
    let (delivered, throttled) = (delivered - records.0, throttled - records.1);
    let requests = figures.sum("kinetail_requests_total");
    let partial = figures.sum_where("kinetail_requests_total", "partial");
    let used = byte_count as f64 / took.as_secs_f64() / f64::from(shard_count) / SHARD_BYTES_IN_MAX as f64;
    // Past the test harness, which keeps what a passing test prints to itself.
    let _ = writeln!(
        std::io::stderr(),
        "agent and emulator: {:.1} MiB in {took:.1?}, {:.1} % of capacity; throttled: {} of {} records in the first \
         {SETTLED_AFTER:?}, then {throttled} of {}, {partial} of {requests} requests; memory {:.1} MiB by then, {:.1} MiB at most",
        byte_count as f64 / MIB as f64,
        used * 100.0,
        records.1,
        records.0 + records.1,
        delivered + throttled,
        memory as f64 / MIB as f64,
        peak as f64 / MIB as f64,
    );
    assert!(used > 0.6, "{used}");
    assert!(throttled * 20 < delivered, "{throttled} records throttled, {delivered} delivered");
    assert!(peak < memory + 4 * MIB, "{memory} bytes of memory became {peak}");
    stage.finish(agent);
}
