//! What a service manager hears of the agent, and when: the real binary, with a socket of the test's own.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use common::{Agent, Kinesis, Place, lines, skipped, verify, wait_until_or};

const PING: &str = "WATCHDOG=1";
const READY: &str = "READY=1";

/// Who is told.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: RefCell<Vec<(Instant, String)>>,
}

impl Manager {
    fn of(place: &Place) -> Self {
        let path = place.folder().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path, heard: RefCell::default() }
    }

    /// Starts the agent for this manager, with these variables too.
    fn start(&self, place: &Place, variables: &[(&str, &str)]) -> Agent {
        let address = [("NOTIFY_SOCKET", self.path.to_str().unwrap())];
        place.run_with(&[], &[&address, variables].concat())
    }

    /// Every line so far, with the time at which it was heard.
    fn heard(&self) -> Vec<(Instant, String)> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let (now, text) = (Instant::now(), std::str::from_utf8(&buffer[..length]).unwrap());
            self.heard.borrow_mut().extend(text.lines().map(|line| (now, line.to_owned())));
        }
        self.heard.borrow().clone()
    }

    fn has_heard(&self, beginning: &str) -> bool {
        self.heard().iter().any(|(_, line)| line.starts_with(beginning))
    }

    #[track_caller]
    fn wait_for(&self, agent: &Agent, what: &str, is_it: impl Fn(&str) -> bool) {
        let state = || format!("{:#?}\n{}", self.heard(), agent.stderr());
        wait_until_or(what, || self.heard().iter().any(|(_, line)| is_it(line)), state);
    }

    #[track_caller]
    fn wait_ready(&self, agent: &Agent) {
        self.wait_for(agent, "the agent is ready", |line| line == READY);
    }

    fn pings(&self) -> Vec<Instant> {
        self.heard().into_iter().filter(|(_, line)| line == PING).map(|(at, _)| at).collect()
    }

    /// Waits until nothing was heard of the agent for longer than a manager waits.
    #[track_caller]
    fn wait_silent(&self, agent: &Agent, watchdog: Duration) {
        let is_silent = || self.pings().last().is_some_and(|last| last.elapsed() > watchdog);
        wait_until_or("the pings stop", is_silent, || format!("{:#?}\n{}", self.heard(), agent.stderr()));
    }

    /// Waits until there were `count` more pings.
    #[track_caller]
    fn wait_pings(&self, agent: &Agent, count: usize) {
        let before = self.pings().len();
        wait_until_or("pings go on", || self.pings().len() >= before + count, || agent.stderr());
    }
}

fn flow(name: &str, files: &str, settings: &str) -> String {
    format!(
        "[[flow]]\nname = \"{name}\"\nfiles = [\"{files}\"]\n{settings}\n[flow.kinesis]\nstream = \"s\"\nmax_delay = \"20 ms\"\n"
    )
}

fn byte_count(lines: &[String]) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

/// `READY=1` comes when the files that are there are watched: a line written right after it is one that came later.
#[test]
fn it_is_ready_when_its_files_are_watched() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &(flow("a", "LOGS/a.log", "start_at = \"end\"") + &flow("b", "LOGS/b.log", "start_at = \"end\"")));
    for name in ["a.log", "b.log"] {
        place.append(name, &lines("before", 10));
    }
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[]);
    manager.wait_ready(&agent);
    let (a, b) = (lines("a", 100), lines("b", 100));
    place.append("a.log", &a);
    place.append("b.log", &b);
    agent.wait_settled(byte_count(&a) + byte_count(&b));
    agent.stop();
    verify(&[a, b].concat(), &kinesis.received("s"));
    assert_eq!(manager.heard().iter().filter(|(_, line)| line == READY).count(), 1);
    assert!(manager.pings().is_empty(), "nobody has asked for pings");
}

/// A configuration that is wrong is never ready.
#[test]
fn with_a_configuration_that_is_wrong_nothing_is_told_and_it_exits_with_78() {
    let place = Place::new();
    place.configure_verbatim("[[flow]]\nname = 7\n");
    let manager = Manager::of(&place);
    assert_eq!(manager.start(&place, &[]).wait().code, Some(78));
    assert!(manager.heard().is_empty());
}

/// A flow that has to read its stream back first does not watch its files yet: the manager learns why, and waits.
#[test]
fn while_a_stream_that_is_out_of_reach_is_to_be_read_back_it_is_not_ready_and_asks_for_time() {
    let (mut kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure_agent(&kinesis, "settle = \"100 ms\"", &flow("a", "LOGS/a.log", ""));
    let first = lines("first", 100);
    place.append("a.log", &first);
    let agent = place.run(&[]);
    agent.wait_settled(byte_count(&first));
    agent.signal(Signal::KILL);
    agent.wait();
    kinesis.take_down();
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[]);
    manager.wait_for(&agent, "the status has the reason", |line| {
        line.starts_with("STATUS=Starting: flow a waits until its stream is read back; 1 of 1 flow paused: a: ")
    });
    assert!(manager.has_heard("EXTEND_TIMEOUT_USEC="));
    assert!(!manager.has_heard(READY));
    kinesis.bring_up();
    manager.wait_ready(&agent);
    agent.stop();
    verify(&first, &kinesis.received("s"));
}

/// The status says what waits, how fast it goes, and what keeps it.
#[test]
fn the_status_has_lag_and_rate_and_the_reason_of_a_pause() {
    let (mut kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[]);
    manager.wait_ready(&agent);
    let first = lines("first", 1_000);
    place.append("a.log", &first);
    manager.wait_for(&agent, "the status has a rate", |line| {
        let rate = line.strip_prefix("STATUS=1 file, lag 0 B, ").and_then(|rest| rest.split_once(" lines/s, "));
        rate.is_some_and(|(lines, bytes)| lines.parse::<u64>().unwrap() > 0 && bytes.ends_with("/s"))
    });
    kinesis.take_down();
    let second = lines("second", 1_000);
    place.append("a.log", &second);
    let lag = kinetail::command::human_bytes(byte_count(&second) as u64);
    manager.wait_for(&agent, "the status has the lag and why", |line| {
        line.starts_with(&format!("STATUS=1 file, lag {lag}, 0 lines/s, 0 B/s; 1 of 1 flow paused: a: "))
    });
    kinesis.bring_up();
    agent.wait_settled(byte_count(&first) + byte_count(&second));
    agent.stop();
}

/// A manager that waits for so long hears of the agent twice as often, as long as all is well.
#[test]
fn pings_come_at_half_of_what_the_watchdog_waits() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "1000000")]);
    wait_until_or("six pings", || manager.pings().len() >= 6, || agent.stderr());
    let pings = manager.pings();
    // A busy machine may delay one, never double it.
    assert!(pings[5].duration_since(pings[0]) > Duration::from_millis(2_000), "{pings:?}");
    agent.stop();
}

/// `WATCHDOG_PID` may name another process, as when a shell has started the agent.
#[test]
fn pings_that_another_process_is_to_send_are_not_sent() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "10000"), ("WATCHDOG_PID", "1")]);
    manager.wait_ready(&agent);
    agent.stop();
    assert!(manager.pings().is_empty());
}

/// A stage in an endless loop is named, and the manager restarts the agent.
#[test]
fn a_tailer_that_is_wedged_stops_the_pings_and_health_names_it() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "2000000"), ("KINETAIL_FAILPOINT", "tailing:1:spin")]);
    manager.wait_ready(&agent);
    place.append("a.log", &lines("a", 1));
    let health = agent.wait_health(503);
    assert!(health.contains(r#""status":"wedged""#) && health.contains("the tailer has been computing for"), "{health}");
    assert_eq!(agent.figures().sum("kinetail_wedged_stages"), 1);
    assert!(agent.stderr().contains("a part of the agent is wedged"), "{}", agent.stderr());
    manager.wait_silent(&agent, Duration::from_secs(2));
}

/// The same where the stage shares its thread with what answers `/health`, as on a small host: then the log names it.
#[test]
fn a_packer_that_waits_for_a_lock_for_ever_stops_the_pings_and_the_log_names_it() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "2000000"), ("KINETAIL_FAILPOINT", "packing:1:lock")]);
    manager.wait_ready(&agent);
    place.append("a.log", &lines("a", 1));
    agent.wait_for_log("the packer has been waiting for a lock for");
    manager.wait_silent(&agent, Duration::from_secs(2));
}

/// Pings come from among the stages: when none of their threads gets on, there are none.
#[test]
fn a_runtime_that_is_blocked_as_a_whole_stops_the_pings() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    let count = available_parallelism().unwrap().get();
    let names: Vec<String> = (0..count).map(|index| format!("f{index}")).collect();
    let flows: String = names.iter().map(|name| flow(name, &format!("LOGS/{name}.log"), "")).collect();
    place.configure(&kinesis, &flows);
    let manager = Manager::of(&place);
    // Longer than it takes to find the stages wedged one by one.
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "3000000"), ("KINETAIL_FAILPOINT", "packing:1:lock")]);
    manager.wait_ready(&agent);
    for name in &names {
        place.append(&format!("{name}.log"), &lines(name, 1));
    }
    manager.wait_silent(&agent, Duration::from_secs(3));
}

/// A restart mends no file system: the others go on, and the pings do.
#[test]
fn a_tailer_that_waits_for_a_file_system_is_reported_and_stops_no_pings() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "1000000"), ("KINETAIL_FAILPOINT", "tailing:1:read")]);
    manager.wait_ready(&agent);
    place.append("a.log", &lines("a", 1));
    let health = agent.wait_health(503);
    assert!(health.contains(r#""state":"hanging","reason":"the tailer has been waiting for a file system"#), "{health}");
    assert_eq!((agent.figures().sum("kinetail_hanging_stages"), agent.figures().sum("kinetail_wedged_stages")), (1, 0));
    manager.wait_pings(&agent, 4);
    manager.wait_for(&agent, "the status names the flow", |line| {
        line.contains("; flow a: the tailer has been waiting for a file system")
    });
    let log = agent.stderr();
    assert_eq!(log.matches("a file system hangs").count(), 1, "{log}");
}

/// A file system in user space of which nobody answers.
struct Hanging {
    folder: PathBuf,
    /// Holds it; without it everybody gets an error.
    holder: Child,
}

impl Hanging {
    /// None where that is not allowed.
    fn mount(folder: &Path) -> Option<Self> {
        fs::create_dir(folder).unwrap();
        let script = "exec 3<>/dev/fuse && mount -i -n -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hanging \"$0\" && echo mounted && read -r _";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut said).unwrap();
        if said.is_empty() {
            holder.wait().unwrap();
            return None;
        }
        Some(Self { folder: folder.to_owned(), holder })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.folder).stderr(Stdio::null()).status();
    }
}

/// A flow of files on a server that has died: others ship, the manager learns which it is, and when it is back all is well.
#[test]
fn a_file_system_that_hangs_holds_up_its_flow_alone() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    let Some(hanging) = Hanging::mount(&place.folder().join("remote")) else {
        skipped("a_file_system_that_hangs_holds_up_its_flow_alone", "no FUSE, or not as root");
        return;
    };
    let remote = format!("{}/*.log", hanging.folder.display());
    place.configure(&kinesis, &(flow("a", "LOGS/a.log", "") + &flow("b", &remote, "")));
    let sent = lines("a", 100);
    place.append("a.log", &sent);
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "1000000")]);
    let health = agent.wait_health(503);
    assert!(
        health.contains(r#"{"flow":"b","state":"hanging","#) && health.contains(r#"{"flow":"a","state":"delivering"}"#),
        "{health}"
    );
    agent.wait_settled(byte_count(&sent));
    manager.wait_pings(&agent, 4);
    assert!(manager.has_heard("STATUS=Starting: ") && !manager.has_heard(READY));
    drop(hanging);
    agent.wait_for_log("what did not go on goes on again");
    manager.wait_ready(&agent);
    agent.wait_health(200);
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// A reload is told when it begins and when it is over, be the configuration well or not.
#[test]
fn the_manager_hears_of_each_reload_and_of_its_end() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[]);
    manager.wait_ready(&agent);
    let told = |line: &str| manager.heard().iter().filter(|(_, heard)| heard == line).count();
    for (reload, flows) in [(1, flow("a", "LOGS/a.log", "") + &flow("b", "LOGS/b.log", "")), (2, "[[flow]]\n".to_owned())] {
        place.configure(&kinesis, &flows);
        agent.signal(Signal::HUP);
        wait_until_or(
            "it is ready again",
            || told(READY) == reload + 1,
            || format!("{:#?}\n{}", manager.heard(), agent.stderr()),
        );
        assert_eq!(told("RELOADING=1"), reload);
    }
    assert!(manager.has_heard("MONOTONIC_USEC="));
    let sent = lines("b", 10);
    place.append("b.log", &sent);
    agent.wait_settled(byte_count(&sent));
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// An end is told when it begins, with how much is still to be done, and the time that may take.
#[test]
fn the_manager_hears_that_it_stops_and_what_is_left_to_do() {
    let (mut kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure_agent(&kinesis, "drain_timeout = \"90 s\"", &flow("a", "LOGS/a.log", ""));
    let manager = Manager::of(&place);
    let agent = manager.start(&place, &[]);
    manager.wait_ready(&agent);
    kinesis.take_down();
    let sent = lines("a", 100);
    place.append("a.log", &sent);
    let is_read = || agent.figures().sum("kinetail_read_bytes_total") == byte_count(&sent);
    wait_until_or("all is read", is_read, || agent.stderr());
    agent.terminate();
    manager.wait_for(&agent, "it stops", |line| line == "STOPPING=1");
    let left = kinetail::command::human_bytes(byte_count(&sent) as u64);
    manager.wait_for(&agent, "what is left is told", |line| {
        line.starts_with(&format!("STATUS=Stopping: {left} still to be delivered"))
    });
    manager.wait_for(&agent, "it asks for time", |line| line == "EXTEND_TIMEOUT_USEC=115000000");
    kinesis.bring_up();
    agent.wait().well();
    verify(&sent, &kinesis.received("s"));
}

/// A manager that has gone, or was never there, is no reason not to ship.
#[test]
fn without_anybody_at_the_socket_it_ships_all_the_same() {
    let (kinesis, place) = (Kinesis::with_stream("s", 1), Place::new());
    place.configure(&kinesis, &flow("a", "LOGS/a.log", ""));
    let sent = lines("a", 100);
    place.append("a.log", &sent);
    let manager = Manager::of(&place);
    fs::remove_file(&manager.path).unwrap();
    File::create(&manager.path).unwrap();
    let agent = manager.start(&place, &[("WATCHDOG_USEC", "100000")]);
    agent.wait_settled(byte_count(&sent));
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}
