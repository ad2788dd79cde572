//! What `kinetail estimate` says of logs that are being written.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use common::{Agent, Place, line, wait_until, wait_until_or};

/// Bytes of each line with its newline.
const LINE_BYTES: usize = 100;

/// A host with the flow "f" of its logs, the flow "quiet", of which there is one log to which nothing is written, and the flow
/// "d" of the same logs as "f", which go to Firehose.
fn place() -> Arc<Place> {
    let place = Place::new();
    let state = place.state();
    let text = format!(
        "[agent]\nstate_dir = {state:?}\n[prices]\nshard_hour = 1\n\
         [[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n[flow.kinesis]\nstream = \"s\"\n\
         [[flow]]\nname = \"quiet\"\nfiles = [\"LOGS/*.txt\"]\n[flow.kinesis]\nstream = \"s\"\n\
         [[flow]]\nname = \"d\"\nfiles = [\"LOGS/*.log\"]\n[flow.firehose]\ndelivery_stream = \"s\"\n"
    );
    place.configure_verbatim(&text);
    let old: Vec<String> = (0..5_000).map(|number| line("old", number, LINE_BYTES * 2)).collect();
    place.append("a.log", &old);
    place.append("quiet.txt", &old);
    Arc::new(place)
}

fn estimate(place: &Place, more_arguments: &[&str]) -> Agent {
    let config = place.config();
    let arguments = [&["estimate", "--config", config.to_str().unwrap()], more_arguments].concat();
    place.start(&mut place.command(&arguments))
}

/// Somebody who writes some lines a hundred times a second.
struct Steady {
    stop: Arc<AtomicBool>,
    line_count: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Steady {
    fn start(place: Arc<Place>) -> Self {
        let (stop, line_count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_over, written) = (stop.clone(), line_count.clone());
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let first = written.load(Ordering::Relaxed);
                let lines: Vec<String> = (first..first + 10).map(|number| line("new", number, LINE_BYTES - 1)).collect();
                place.append("a.log", &lines);
                written.store(first + 10, Ordering::Relaxed);
                thread::park_timeout(Duration::from_millis(10));
            }
        });
        Self { stop, line_count, thread }
    }

    fn line_count(&self) -> usize {
        self.line_count.load(Ordering::Relaxed)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[track_caller]
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value:#}"))
}

/// What is appended is measured, and nothing that was there before; no state is left behind.
#[test]
fn lines_that_are_appended_are_measured() {
    let place = place();
    let writer = Steady::start(place.clone());
    wait_until("lines are written", || writer.line_count() > 100);
    let ended = estimate(&place, &["--for", "3s", "--json", "--price", "put_units_million=1e6"]).wait().well();
    writer.stop();
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    let watched_seconds = number(&report, "watched_seconds");
    assert!((3.0..4.0).contains(&watched_seconds), "{watched_seconds}");
    assert_eq!((&report["prices"]["shard_hour"], &report["prices"]["put_units_million"]), (&1.0.into(), &1e6.into()));

    let flow = &report["flows"][0];
    let lines = number(flow, "lines");
    // A hundred times a second at most, and not much less but on a machine that is very busy.
    assert!((100.0..=10.0 * 100.0 * 5.0).contains(&lines), "{lines}");
    assert_eq!(number(flow, "bytes"), lines * LINE_BYTES as f64);
    assert_eq!(number(flow, "records"), lines);
    for size in ["mean", "p50", "p99", "max"] {
        assert_eq!(number(flow, &format!("record_bytes_{size}")), (LINE_BYTES - 1) as f64, "{size}");
    }
    let seconds = number(flow, "watched_seconds");
    let near = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 1e-9, "{value}, not {expected} in {flow:#}");
    near(number(flow, "lines_per_second_mean"), lines / seconds);
    assert!(number(flow, "lines_per_second_peak_1_second") >= lines / seconds);
    let (kpl, joined, none) = (&flow["needs"]["kpl"], &flow["needs"]["lines"], &flow["needs"]["none"]);
    near(number(none, "records_per_second_mean"), lines / seconds);
    near(number(none, "put_payload_units_per_second_mean"), lines / seconds);
    // A token of 35 characters or so is the partition key of each, and as many say where in which file the line is.
    let overhead = number(none, "bytes_per_second_mean") * seconds / lines - (LINE_BYTES - 1) as f64;
    assert!((60.0..90.0).contains(&overhead), "{overhead}");
    assert!(number(kpl, "records_per_second_mean") < lines / seconds / 5.0, "{kpl:#}");
    assert!(number(joined, "records_per_second_mean") <= lines / seconds, "{joined:#}");
    assert_eq!((number(kpl, "shards"), &kpl["shards_limited_by"]), (1.0, &"bytes".into()));
    near(number(none, "provisioned_price_per_month"), number(none, "shards") * 730.0 + lines / seconds * 730.0 * 3600.0);
    assert_eq!(number(&report["flows"][1], "lines"), 0.0);

    let to_firehose = &report["flows"][2];
    assert_eq!((&flow["destination"], &to_firehose["destination"]), (&"kinesis".into(), &"firehose".into()));
    let (lines, seconds) = (number(to_firehose, "lines"), number(to_firehose, "watched_seconds"));
    assert!((100.0..=10.0 * 100.0 * 5.0).contains(&lines), "{lines}");
    assert_eq!(number(to_firehose, "records"), lines);
    let (joined, singly) = (&to_firehose["needs"]["joined"], &to_firehose["needs"]["single_lines"]);
    // Each with its newline, and nothing else.
    near(number(singly, "bytes_per_second_mean"), lines * LINE_BYTES as f64 / seconds);
    near(number(singly, "charged_bytes_per_second_mean"), lines * 5_120.0 / seconds);
    near(number(singly, "price_per_month"), lines * 5_120.0 / seconds * 730.0 * 3600.0 / f64::from(1 << 30) * 0.029);
    assert!(number(joined, "charged_bytes_per_second_mean") <= number(singly, "charged_bytes_per_second_mean"), "{joined:#}");
    for way in [joined, singly] {
        assert!(number(way, "records_per_second_mean") <= lines / seconds + 1e-9, "{way:#}");
        assert!(number(way, "charged_bytes_per_second_mean") >= number(way, "bytes_per_second_mean"), "{way:#}");
        assert!(number(way, "requests_per_second_mean") <= number(way, "records_per_second_mean"), "{way:#}");
        assert!(number(&way["quota_of_other_regions"], "share") > 0.0, "{way:#}");
    }
    assert!(!place.state().exists(), "nothing is stored");
    assert_eq!(ended.stderr, "");
}

/// Where nothing is written there is nothing to say, which is no failure.
#[test]
fn nothing_appended_is_said() {
    let ended = estimate(&place(), &["--for", "1s", "--flow", "quiet"]).wait().well();
    let (begin, end) =
        ("\n\nquiet to stream s\n  no line was appended in 1", " s (1 file watched): there is nothing to estimate from\n");
    assert!(ended.stdout.contains(begin) && ended.stdout.ends_with(end), "{}", ended.stdout);
}

/// Who has seen enough interrupts, and is told what was seen.
#[test]
fn an_interruption_ends_it_with_a_report() {
    let place = place();
    let running = estimate(&place, &["--for", "1d", "--flow", "f"]);
    let log = place.log("a.log");
    wait_until_or("the log is open", || running.open_paths().contains(&log), || running.stderr());
    let writer = Steady::start(place.clone());
    wait_until("lines are written", || writer.line_count() > 100);
    running.signal(Signal::INT);
    let ended = running.wait().well();
    writer.stop();
    assert!(ended.stdout.contains("\nf to stream s\n"), "{}", ended.stdout);
}

/// Mistakes have the exit codes that they have elsewhere.
#[test]
fn mistakes_are_told() {
    let place = place();
    for (arguments, code, told) in [
        (["--for", "1s", "--flow", "g"], 64, "there is no flow `g`; flows are `f`, `quiet`, `d`"),
        (["--for", "1 m", "--flow", "f"], 64, "did you mean \"1 min\"?"),
        (["--for", "2d", "--flow", "f"], 64, "write a time from 1 s to 1 d"),
        (["--for", "1s", "--price", "shard=1"], 64, "did you mean `shard_hour`?"),
    ] {
        let ended = estimate(&place, &arguments).wait();
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told) && ended.stdout.is_empty(), "{arguments:?}: {}", ended.stderr);
    }
    place.configure_verbatim("[prices]\nshard_hour = '1'\n");
    let ended = estimate(&place, &[]).wait();
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("`shard_hour` must be a number"), "{}", ended.stderr);
}
