//! Orderly ends: however often the agent is stopped, no line is lost and none is sent twice.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use common::{Kinesis, Place, line, lines, verify, wait_until};

const FLOW: &str = r#"
[[flow]]
name = "f"
files = ["LOGS/*.log"]
[flow.kinesis]
stream = "s"
max_delay = "20 ms"
"#;

/// A seed from `KINETAIL_TEST_SEED`, or a new one; the output of a failed test has it.
fn seeded() -> fastrand::Rng {
    let seed = std::env::var("KINETAIL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("KINETAIL_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// A program that logs to three files, in whatever pieces its buffers happen to have, until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    line_count: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(place: Arc<Place>, mut rng: fastrand::Rng) -> Self {
        let (stop, line_count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), line_count.clone());
        let thread = thread::spawn(move || {
            let mut sent = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let name = ["a.log", "b.log", "c.log"][rng.usize(..3)];
                let batch: Vec<String> =
                    (0..rng.usize(1..20)).map(|index| line(name, sent.len() + index, rng.usize(30..2_000))).collect();
                let text = batch.join("\n") + "\n";
                let (first, second) = text.as_bytes().split_at(rng.usize(..text.len()));
                place.append_bytes(name, first);
                // The pace of a busy server: some MiB a second, with a line torn in two most of the time.
                thread::park_timeout(Duration::from_millis(rng.u64(0..8)));
                place.append_bytes(name, second);
                counted.fetch_add(batch.len(), Ordering::Relaxed);
                sent.extend(batch);
            }
            sent
        });
        Self { stop, line_count, thread }
    }

    fn line_count(&self) -> usize {
        self.line_count.load(Ordering::Relaxed)
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Stopped by SIGTERM ten times, at any moment, while files grow: no line is lost, and none is sent twice.
#[test]
fn ten_restarts_lose_and_double_nothing() {
    let mut rng = seeded();
    let kinesis = Kinesis::with_stream("s", 4);
    let place = Arc::new(Place::new());
    place.configure(&kinesis, FLOW);
    let writer = Writer::start(place.clone(), rng.fork());
    for _ in 0..10 {
        let agent = place.run(&[]);
        agent.admin();
        let line_count = writer.line_count() + rng.usize(..1_500);
        wait_until("more lines are written", || writer.line_count() >= line_count);
        agent.stop();
    }
    let sent = writer.stop();
    let before = kinesis.received("s").len();
    assert!(before > sent.len() / 4, "only {before} of {} lines before the last run: the restarts proved little", sent.len());
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
}

/// Stopped while it cannot deliver, the agent ends when `drain_timeout` is over; the next one delivers the rest.
#[test]
fn stopped_during_an_outage_the_next_start_delivers() {
    let mut kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure_agent(&kinesis, "drain_timeout = \"200 ms\"", FLOW);
    let delivered = lines("delivered", 300);
    place.append("a.log", &delivered);
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    kinesis.take_down();
    let held_up = lines("held up", 300);
    place.append("a.log", &held_up);
    agent.wait_health(503);
    agent.stop();
    assert_eq!(kinesis.received("s").len(), delivered.len());

    kinesis.bring_up();
    place.ship_once();
    verify(&[delivered, held_up].concat(), &kinesis.received("s"));
}

/// `--once` that is told to stop before all is shipped says so by its exit code.
#[test]
fn once_that_is_interrupted_says_by_which_signal() {
    let mut kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure_agent(&kinesis, "drain_timeout = \"200 ms\"", FLOW);
    kinesis.take_down();
    let sent = lines("a", 300);
    place.append("a.log", &sent);
    let agent = place.run(&["--once"]);
    agent.wait_health(503);
    agent.signal(Signal::INT);
    assert_eq!(agent.wait().code, Some(128 + 2));

    kinesis.bring_up();
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
}

/// A second signal ends the agent at once, whatever it still had to deliver; the next one delivers it.
#[test]
fn a_second_signal_aborts() {
    let mut kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    kinesis.take_down();
    let sent = lines("a", 300);
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    agent.wait_health(503);
    agent.terminate();
    agent.wait_for_log("signal");
    let ended = agent.abort();
    assert_eq!(ended.code, Some(128 + 15), "{}", ended.stderr);
    assert!(ended.stderr.contains("aborted"), "it did not drain:\n{}", ended.stderr);

    kinesis.bring_up();
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
}

/// With nothing new, a restart sends nothing.
#[test]
fn a_restart_with_nothing_new_sends_nothing() {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    let sent = lines("a", 500);
    place.append("a.log", &sent);
    place.ship_once();
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
}

/// What was sent of a file is known by the file and the name of its flow: another pattern, format or stream changes nothing.
#[test]
fn offsets_outlive_a_changed_glob_stream_and_pattern() {
    let kinesis = Kinesis::with_stream("s", 2);
    kinesis.create_stream("other", 1);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    let before = lines("before", 300);
    place.append("a.log", &before);
    place.ship_once();

    let changed = FLOW.replace("LOGS/*.log", "LOGS/**/a*").replace("stream = \"s\"", "stream = \"other\"");
    place.configure(&kinesis, &(changed + "[flow.parse]\nregex = '^(?<all>.*)$'\n[flow.record]\noutput = \"raw\"\n"));
    let after = lines("after", 300);
    place.append("a.log", &after);
    place.ship_once();
    verify(&before, &kinesis.received("s"));
    verify(&after, &kinesis.received("other"));
}
