//! SIGHUP: flows come, go and change while the agent runs; no line is lost, none is doubled, and flows that stay the same do not notice.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use kinetail::delivery_token::DeliveryToken;
use rustix::process::Signal;

use common::{Agent, Kinesis, Place, line, lines, verify, wait_until, wait_until_or};

/// A flow of the files NAME.log to a stream of its name.
fn flow(name: &str, settings: &str) -> String {
    format!(
        "[[flow]]\nname = \"{name}\"\nfiles = [\"LOGS/{name}.log\"]\n{settings}\n[flow.kinesis]\nstream = \"{name}\"\nmax_delay = \"20 ms\"\n"
    )
}

fn kinesis(streams: &[&str]) -> Kinesis {
    let kinesis = Kinesis::start();
    streams.iter().for_each(|name| kinesis.create_stream(name, 2));
    kinesis
}

fn flows_file(place: &Place, name: &str, text: &str) -> PathBuf {
    let folder = place.folder().join("conf.d");
    fs::create_dir_all(&folder).unwrap();
    let logs = place.folder().join("logs");
    fs::write(folder.join(name), text.replace("LOGS", logs.to_str().unwrap())).unwrap();
    folder.join(name)
}

/// Tells the agent, and waits until the configuration was read with this outcome.
#[track_caller]
fn reload(agent: &Agent, outcome: &str) {
    let count = || {
        let label = format!("outcome=\"{outcome}\"");
        let (_, page) = agent.page("/metrics");
        let of = page.lines().find(|line| line.starts_with("kinetail_reloads_total{") && line.contains(&label));
        of.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
    };
    let before = count();
    agent.signal(Signal::HUP);
    wait_until_or(&format!("the reload is {outcome}"), || count() > before, || agent.stderr());
}

/// The runs that have sent what is in `stream`.
fn runs(kinesis: &Kinesis, stream: &str) -> BTreeSet<u128> {
    let records = kinesis.read_all(stream).into_iter().flat_map(|shard| shard.records);
    records.map(|record| DeliveryToken::parse(&record.partition_key).unwrap().run_id).collect()
}

#[track_caller]
fn wait_received(kinesis: &Kinesis, agent: &Agent, stream: &str, count: usize) {
    let what = format!("{count} lines are in {stream}");
    wait_until_or(&what, || kinesis.received(stream).len() >= count, || agent.stderr());
}

/// Lines that go on being written until it is stopped.
struct Busy {
    stop: Arc<AtomicBool>,
    line_count: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Busy {
    fn start(place: &Arc<Place>, name: &'static str) -> Self {
        let (stop, line_count, place) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::clone(place));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&line_count));
        let thread = thread::spawn(move || {
            let mut sent = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let batch: Vec<String> = (0..20).map(|index| line(name, sent.len() + index, 200)).collect();
                place.append(&format!("{name}.log"), &batch);
                counted.fetch_add(batch.len(), Ordering::Relaxed);
                sent.extend(batch);
                thread::park_timeout(std::time::Duration::from_millis(1));
            }
            sent
        });
        Self { stop, line_count, thread }
    }

    fn wait_for_more(&self, count: usize) {
        let wanted = self.line_count.load(Ordering::Relaxed) + count;
        wait_until("more lines are written", || self.line_count.load(Ordering::Relaxed) >= wanted);
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn flows_come_change_and_go_and_the_others_do_not_notice() {
    let kinesis = kinesis(&["stays", "comes", "changes", "goes"]);
    let place = Arc::new(Place::new());
    let names = ["stays", "changes", "goes"];
    let all = |changed: &str, rest: &[&str]| {
        let rest: String = rest.iter().map(|name| flow(name, "")).collect();
        flow("stays", "") + &flow("changes", changed) + &rest
    };
    place.configure(&kinesis, &all("", &["goes"]));
    let busy = names.map(|name| Busy::start(&place, name));
    let agent = place.run(&[]);
    names.iter().for_each(|name| wait_received(&kinesis, &agent, name, 100));

    let came = lines("comes", 50);
    place.append("comes.log", &came);
    place.configure(&kinesis, &all("rescan = \"9 s\"", &["comes"]));
    reload(&agent, "applied");
    wait_received(&kinesis, &agent, "comes", 50);
    wait_until("the run that is changed sends", || runs(&kinesis, "changes").len() == 2);
    busy.iter().for_each(|busy| busy.wait_for_more(200));
    // What was away is as after a restart: it goes on where it was.
    place.configure(&kinesis, &all("rescan = \"9 s\"", &["comes", "goes"]));
    reload(&agent, "applied");
    wait_until("it is back", || runs(&kinesis, "goes").len() == 2);
    // Nothing has changed.
    reload(&agent, "applied");

    for (busy, name) in busy.into_iter().zip(names) {
        let sent = busy.stop();
        wait_received(&kinesis, &agent, name, sent.len());
        verify(&sent, &kinesis.received(name));
    }
    verify(&came, &kinesis.received("comes"));
    agent.figures().assert_balanced();
    agent.stop();
    assert_eq!(["stays", "comes", "changes", "goes"].map(|name| runs(&kinesis, name).len()), [1, 1, 2, 2]);
}

#[test]
fn a_busy_flow_that_changes_again_and_again_loses_and_doubles_nothing() {
    let kinesis = kinesis(&["a", "b"]);
    let place = Arc::new(Place::new());
    place.configure(&kinesis, &flow("a", ""));
    let busy = Busy::start(&place, "a");
    let agent = place.run(&[]);
    wait_received(&kinesis, &agent, "a", 100);
    // Threads, and inotify instances among what is open.
    let threads = || fs::read_dir(format!("/proc/{}/task", agent.id())).unwrap().count();
    let watches = || agent.open_paths().into_iter().filter(|path| path.ends_with("anon_inode:inotify")).count();
    let before = (threads(), watches());
    for round in 0..20 {
        // Every other time it is told again before that can have been done.
        let settings = format!("rescan = \"{} s\"", 5 + round % 3);
        place.configure(&kinesis, &flow("a", &settings));
        reload(&agent, "applied");
        if round % 2 == 0 {
            busy.wait_for_more(50);
        }
    }
    let sent = busy.stop();
    wait_received(&kinesis, &agent, "a", sent.len());
    verify(&sent, &kinesis.received("a"));
    let run_count = runs(&kinesis, "a").len();
    assert!(run_count > 5, "only {run_count} runs have sent: the reloads proved little");
    // Nothing of the runs before is left.
    // Idle threads for blocking work come and go.
    let is_as_before = || threads() <= before.0 + 6 && watches() == before.1;
    wait_until_or("nothing of the runs before is left", is_as_before, || format!("{before:?} {:?}", (threads(), watches())));
    let log = place.log("a.log");
    let opened = || agent.open_paths().into_iter().filter(|path| *path == log).count();
    wait_until("the log is open once", || opened() == 1);
    agent.figures().assert_balanced();
    agent.stop();
}

/// The files are its own, and what is new of them goes elsewhere from now on.
#[test]
fn a_flow_that_sends_to_another_stream_sends_each_line_to_one_of_them() {
    let kinesis = kinesis(&["a", "b"]);
    let place = Arc::new(Place::new());
    place.configure(&kinesis, &flow("a", ""));
    let busy = Busy::start(&place, "a");
    let agent = place.run(&[]);
    wait_received(&kinesis, &agent, "a", 100);
    place.configure(&kinesis, &flow("a", "").replace("stream = \"a\"", "stream = \"b\""));
    reload(&agent, "applied");
    wait_received(&kinesis, &agent, "b", 100);
    let sent = busy.stop();
    agent.stop();
    let mut received = kinesis.received("a");
    received.extend(kinesis.received("b"));
    verify(&sent, &received);
}

#[test]
fn a_bad_file_is_told_and_what_it_said_before_stays_in_force_while_the_others_take_effect() {
    let kinesis = kinesis(&["main", "bad", "good", "new"]);
    let place = Place::new();
    place.configure(&kinesis, &flow("main", ""));
    let bad = flows_file(&place, "bad.toml", &flow("bad", ""));
    flows_file(&place, "good.toml", &flow("good", ""));
    let agent = place.run(&[]);
    for name in ["main", "bad", "good"] {
        place.append(&format!("{name}.log"), &lines(name, 10));
        wait_received(&kinesis, &agent, name, 10);
    }
    fs::write(&bad, "[[flow]]\nname = \"bad\"\nfils = [\"/a\"]\n").unwrap();
    flows_file(&place, "good.toml", &(flow("good", "rescan = \"9 s\"") + &flow("new", "")));
    reload(&agent, "partial");
    let told = format!("{}:3:1", bad.display());
    agent.wait_for_log(&told);
    place.append("bad.log", &lines("later", 10));
    place.append("new.log", &lines("new", 10));
    wait_received(&kinesis, &agent, "bad", 20);
    wait_received(&kinesis, &agent, "new", 10);
    assert_eq!((runs(&kinesis, "main").len(), runs(&kinesis, "bad").len()), (1, 1));

    // Names must be unique over all files: then nothing changes.
    flows_file(&place, "z.toml", &flow("main", ""));
    reload(&agent, "refused");
    agent.wait_for_log("is taken");
    // A main file that cannot be understood is no reason to end either.
    fs::remove_file(place.folder().join("conf.d/z.toml")).unwrap();
    fs::write(place.config(), "[agent\n").unwrap();
    reload(&agent, "partial");
    place.append("main.log", &lines("still", 10));
    wait_received(&kinesis, &agent, "main", 20);
    assert_eq!(runs(&kinesis, "main").len(), 1);
    assert_eq!(agent.page("/health").0, 200);
    agent.stop();
    // At a start it is: what stays in force is not written anywhere.
    let refused = place.run(&[]).wait();
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains("bad.toml") && refused.stderr.contains("agent.toml"), "{}", refused.stderr);
}

#[test]
fn a_flow_that_moves_to_another_file_does_not_notice() {
    let kinesis = kinesis(&["a", "b"]);
    let place = Place::new();
    place.configure(&kinesis, &(flow("a", "") + &flow("b", "")));
    let agent = place.run(&[]);
    place.append("b.log", &lines("first", 10));
    wait_received(&kinesis, &agent, "b", 10);
    flows_file(&place, "b.toml", &flow("b", ""));
    place.configure(&kinesis, &flow("a", ""));
    reload(&agent, "applied");
    agent.wait_for_log("in force is the same as before");
    place.append("b.log", &lines("second", 10));
    wait_received(&kinesis, &agent, "b", 20);
    agent.stop();
    assert_eq!(runs(&kinesis, "b").len(), 1);
}

/// What was in flight when the drain timeout was over is looked for in the stream by the run that follows, as after a restart.
#[test]
fn changed_in_an_outage_a_flow_goes_on_after_it_and_doubles_nothing() {
    let mut kinesis = kinesis(&["a"]);
    let place = Arc::new(Place::new());
    let agent_keys = "drain_timeout = \"100 ms\"\nsettle = \"1 s\"";
    place.configure_agent(&kinesis, agent_keys, &flow("a", ""));
    let busy = Busy::start(&place, "a");
    let agent = place.run(&[]);
    wait_received(&kinesis, &agent, "a", 200);
    for round in 0..3 {
        kinesis.take_down();
        busy.wait_for_more(200);
        place.configure_agent(&kinesis, agent_keys, &flow("a", &format!("rescan = \"{} s\"", 6 + round)));
        reload(&agent, "applied");
        wait_until_or(
            "the run before has ended",
            || agent.stderr().matches("goes on with what has changed").count() > round,
            || agent.stderr(),
        );
        kinesis.bring_up();
        let before = kinesis.received("a").len();
        wait_received(&kinesis, &agent, "a", before + 100);
    }
    let sent = busy.stop();
    wait_received(&kinesis, &agent, "a", sent.len());
    verify(&sent, &kinesis.received("a"));
    let figures = agent.figures();
    figures.assert_balanced();
    assert!(figures.sum("kinetail_released_bytes_total") > 0, "nothing was in flight: the outages proved little");
    agent.stop();
}

/// Logs are rotated and deleted while the stream is wrong, and while the flow ends: mending the configuration is no reason to lose them.
#[test]
fn what_is_deleted_or_moved_away_before_it_is_read_is_read_on_after_a_reload() {
    type Deed = fn(&Path);
    let nothing: Deed = |_| {};
    let delete: Deed = |log| fs::remove_file(log).unwrap();
    let move_away: Deed = |log| {
        let elsewhere = log.ancestors().nth(2).unwrap().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(log, elsewhere.join("a.log")).unwrap();
    };
    for (before, while_it_ends) in [(delete, nothing), (move_away, nothing), (nothing, delete), (nothing, move_away)] {
        let kinesis = kinesis(&["a"]);
        let place = Place::new();
        let agent_keys = "memory_max = \"2 MiB\"\ndrain_timeout = \"1 s\"";
        place.configure_agent(&kinesis, agent_keys, &flow("a", "").replace("stream = \"a\"", "stream = \"wrong\""));
        let sent = lines("a", 10_000);
        place.append("a.log", &sent);
        let agent = place.run(&[]);
        agent.wait_health(503);
        let log = place.log("a.log");
        wait_until("the log is open", || agent.open_paths().contains(&log));
        before(&log);
        place.configure_agent(&kinesis, agent_keys, &flow("a", ""));
        reload(&agent, "applied");
        while_it_ends(&log);
        let later = lines("later", 10);
        place.append("a.log", &later);
        wait_received(&kinesis, &agent, "a", sent.len() + later.len());
        verify(&[sent, later].concat(), &kinesis.received("a"));
        assert_eq!(agent.figures().sum("kinetail_unreachable_bytes_total"), 0);
        agent.stop();
    }
}

#[test]
fn what_takes_effect_at_a_start_only_is_told_each_time() {
    let kinesis = kinesis(&["a"]);
    let place = Place::new();
    place.configure(&kinesis, &flow("a", ""));
    let agent = place.run(&[]);
    agent.admin();
    let text = fs::read_to_string(place.config()).unwrap();
    fs::write(place.config(), text.replace("127.0.0.1:0", "127.0.0.1:9559")).unwrap();
    for count in 1..3 {
        reload(&agent, "applied");
        wait_until("it is told", || agent.stderr().matches("key=\"admin\"").count() == count);
    }
    agent.stop();
}
