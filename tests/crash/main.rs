//! Ends without order: the agent is killed over and over again, at any moment, while files grow and rotate and the network loses
//! requests and answers. No line is lost. Where the stream may be read no line is there twice; where it may not, no more are than
//! agents have said.
//!
//! `KINETAIL_KILLS=10000` kills so many times instead of the few hundred of an ordinary test run, `KINETAIL_LONG=1` some
//! thousands; `KINETAIL_TEST_SEED=1234` repeats the decisions of a run, though not what the clock makes of them.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod balance;
#[path = "../common/mod.rs"]
mod common;
mod host;
mod network;
mod program;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use balance::{Balance, sent_again_count};
use common::Kinesis;
use host::{Host, SETTLE, Tally};
use network::{Happened, Network, Reading};
use serde_json::json;

/// How much is done.
#[derive(Clone, Copy)]
struct Extent {
    /// Streams, each with an agent or two.
    stream_count: usize,
    kill_count: u64,
    /// When fewer are enough.
    time: Duration,
}

/// What all streams together came to.
#[derive(Default)]
struct Sum {
    tally: Tally,
    line_count: usize,
    doubled_count: usize,
    sent_again_count: u64,
    uncertain_count: u64,
}

/// What one of them came to.
struct OfStream {
    tally: Tally,
    balance: Balance,
    sent_again_count: u64,
    uncertain_count: u64,
    diary: String,
}

/// However often and wherever it is killed, every line arrives once.
#[test]
fn every_line_arrives_once() {
    let sum = run("every_line_arrives_once", Reading::Allowed, extent(5, 300));
    assert!(sum.tally.kill_count() > 0);
}

/// Where the stream may not be read nothing is lost, and agents say how much may be there twice.
#[test]
fn where_nobody_may_read_nothing_is_lost() {
    run("where_nobody_may_read_nothing_is_lost", Reading::Denied, extent(2, 100));
}

/// Of this many in an ordinary test run.
fn extent(stream_count: usize, kill_count: u64) -> Extent {
    let (kill_count, time) = match (std::env::var("KINETAIL_KILLS"), std::env::var_os("KINETAIL_LONG")) {
        (Ok(asked), _) => (asked.parse().unwrap(), Duration::MAX),
        (_, Some(_)) => (kill_count * 10, Duration::MAX),
        _ => (kill_count, Duration::from_secs(30)),
    };
    Extent { stream_count, kill_count, time }
}

fn run(story: &str, reading: Reading, extent: Extent) -> Sum {
    let seed = std::env::var("KINETAIL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    say(&format!("{story}: KINETAIL_TEST_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let (begun, kills, happened) = (Instant::now(), AtomicU64::new(0), Arc::<Happened>::default());
    let is_enough = || kills.load(Ordering::Relaxed) >= extent.kill_count || begun.elapsed() >= extent.time;
    let mut sum = Sum::default();
    let mut failures = Vec::new();
    thread::scope(|scope| {
        let streams: Vec<_> = (0..extent.stream_count)
            .map(|index| {
                let (random, happened, kills, is_enough) = (random.fork(), &happened, &kills, &is_enough);
                scope.spawn(move || of_stream(index, reading, random, happened, kills, is_enough))
            })
            .collect();
        for stream in streams {
            let OfStream { tally, balance, sent_again_count, uncertain_count, diary } =
                stream.join().unwrap_or_else(|panicked| resume_unwind(panicked));
            sum.tally.add(&tally);
            sum.line_count += balance.line_count;
            sum.doubled_count += balance.doubled_count;
            sum.sent_again_count += sent_again_count;
            sum.uncertain_count += uncertain_count;
            let is_well = match reading {
                Reading::Allowed => balance.doubled_count == 0,
                // What agents have died of before they could say it the network knows.
                Reading::Denied => sent_again_count <= tally.admitted + uncertain_count,
            };
            if !balance.nothing_is_lost() || !is_well {
                let counts =
                    format!("{sent_again_count} records sent again, {} admitted, {uncertain_count} uncertain\n", tally.admitted);
                failures.push(balance.report() + &counts + &diary);
            }
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    say(&format!(
        "{story}: {} kills {:?}, {} orderly ends, {} aborts; {} lines, {} too often; {} records sent again, {} \
         admitted, {} without a true answer; {} requests, {} of unknown outcome, {} too \
         late; {} reads, {} questions not answered; {:?}",
        sum.tally.kill_count(),
        sum.tally.kills,
        sum.tally.orderly_ends,
        sum.tally.aborts,
        sum.line_count,
        sum.doubled_count,
        sum.sent_again_count,
        sum.tally.admitted,
        sum.uncertain_count,
        count(&happened.puts),
        count(&happened.uncertain_puts),
        count(&happened.late_puts),
        count(&happened.reads),
        count(&happened.failed_questions),
        begun.elapsed(),
    ));
    assert!(failures.is_empty(), "KINETAIL_TEST_SEED={seed}\n{}", failures.join("\n"));
    sum
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// One stream and its agents, until it is enough.
fn of_stream(
    index: usize,
    reading: Reading,
    mut random: fastrand::Rng,
    happened: &Arc<Happened>,
    kills: &AtomicU64,
    is_enough: impl Fn() -> bool + Sync,
) -> OfStream {
    let kinesis = Kinesis::with_stream("s", random.u32(2..5));
    let network = Network::start(&kinesis, reading, SETTLE, random.fork(), Arc::clone(happened));
    let host_count = random.usize(1..3);
    let mut hosts: Vec<Host> =
        (0..host_count).map(|host| Host::new(&format!("h{index}{host}"), &network, random.fork())).collect();
    thread::scope(|scope| {
        for host in &mut hosts {
            let (network, is_enough) = (&network, &is_enough);
            scope.spawn(move || {
                while !is_enough() {
                    let before = host.tally.kill_count();
                    host.live(network);
                    kills.fetch_add(host.tally.kill_count() - before, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..RESHARDING_COUNT_MAX {
            // No faster than the service lets it.
            thread::park_timeout(Duration::from_millis(random.u64(1_000..6_000)));
            if is_enough() {
                break;
            }
            reshard(&kinesis, &mut random);
        }
    });
    network.calm();
    let written: Vec<String> = hosts.iter_mut().flat_map(Host::stop_program).collect();
    thread::scope(|scope| hosts.iter_mut().for_each(|host| _ = scope.spawn(|| host.ship_the_rest())));
    let mut tally = Tally::default();
    hosts.iter().for_each(|host| tally.add(&host.tally));
    let diary = hosts.iter().map(Host::diary).collect::<Vec<_>>().join("\n");
    OfStream {
        tally,
        balance: Balance::of(&written, &BTreeSet::new(), &kinesis, "s"),
        sent_again_count: sent_again_count(&network.take_stored()),
        uncertain_count: network.uncertain_record_count(),
        diary,
    }
}

/// Each leaves shards behind that are closed, and are read back all the same.
const RESHARDING_COUNT_MAX: usize = 12;

/// Splits a shard, or merges two, unless it is busy with the last time.
fn reshard(kinesis: &Kinesis, random: &mut fastrand::Rng) {
    let (_, answer) = kinesis.ask("ListShards", &json!({ "StreamName": "s" }));
    let mut open: Vec<(u128, u128, String)> = (answer["Shards"].as_array().unwrap().iter())
        .filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null())
        .map(|shard| {
            let key = |which: &str| shard["HashKeyRange"][which].as_str().unwrap().parse().unwrap();
            (key("StartingHashKey"), key("EndingHashKey"), shard["ShardId"].as_str().unwrap().to_owned())
        })
        .collect();
    open.sort();
    let index = random.usize(..open.len());
    if open.len() < 3 || (open.len() < 6 && random.bool()) {
        let (start, end, id) = &open[index];
        let middle = (start + (end - start) / 2 + 1).to_string();
        kinesis.ask("SplitShard", &json!({ "StreamName": "s", "ShardToSplit": id, "NewStartingHashKey": middle }));
    } else if let Some((_, _, next)) = open.get(index + 1) {
        let shards = json!({ "StreamName": "s", "ShardToMerge": open[index].2, "AdjacentShardToMerge": next });
        kinesis.ask("MergeShards", &shards);
    }
}
