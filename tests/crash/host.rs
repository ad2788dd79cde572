//! A host on which the agent is killed over and over again while its files grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{Agent, Ended, Place};
use crate::network::Network;
use crate::program::Program;

/// The host.
pub(crate) struct Host {
    name: String,
    place: Arc<Place>,
    /// Logs all the time.
    program: Option<Program>,
    random: fastrand::Rng,
    life_count: usize,
    /// Settings of `[agent]` and of `[aws]` and flows for an agent that waits longer for answers.
    patient: [String; 3],
    /// What the agents have said, and how they ended.
    diary: String,
    pub(crate) tally: Tally,
}

/// How often what has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By what: a failpoint, or somebody.
    pub(crate) kills: BTreeMap<&'static str, u64>,
    pub(crate) orderly_ends: u64,
    pub(crate) aborts: u64,
    /// Records of which agents have said that they may be there twice.
    pub(crate) admitted: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (by, count) in &other.kills {
            *self.kills.entry(by).or_default() += count;
        }
        self.orderly_ends += other.orderly_ends;
        self.aborts += other.aborts;
        self.admitted += other.admitted;
    }

    pub(crate) fn kill_count(&self) -> u64 {
        self.kills.values().sum()
    }
}

/// Everywhere that a process may be killed by itself.
pub(crate) const FAILPOINTS: &[&str] = &[
    "before_send",
    "after_answer",
    "before_commit",
    "before_flush",
    "after_flush",
    "after_commit",
    "before_snapshot",
    "before_rename",
    "after_rename",
    "after_report",
    "looked_up",
    "read_back",
    "before_reconciled",
    "after_reconciled",
];
/// What kills by `kill -9`, at any moment.
const SOMEBODY: &str = "kill -9";

/// How long `settle` is in the configuration: requests arrive half of it after their sender has died, at the latest.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

/// At most, so that agents which are killed all the time do not fall behind for ever.
const LINES_PER_LIFE: usize = 600;

impl Host {
    /// A host of this name on the way to the service.
    pub(crate) fn new(name: &str, network: &Network, mut random: fastrand::Rng) -> Self {
        let place = if random.bool() { Place::new() } else { Place::in_memory() };
        let settle = format!("settle = \"{} ms\"\nread_back = \"auto\"\ndrain_timeout = \"1 s\"", SETTLE.as_millis());
        let memory = ["", "\nmemory_max = \"2 MiB\""][random.usize(..2)];
        let (agent, flow) = (format!("{settle}{memory}"), flow(&mut random));
        let diary = format!("{name} at {:?}: {flow}\n", place.folder());
        let aws = format!("endpoints.kinesis = {:?}\n", network.url());
        place.configure_all(&agent, &format!("{aws}attempt_timeout = \"1 s\"\n"), &flow);
        let patient = [agent, aws, flow.clone()];
        let place = Arc::new(place);
        let program = Some(Program::start(name, Arc::clone(&place), random.fork()));
        Self { patient, name: name.to_owned(), place, program, random, life_count: 0, diary, tally: Tally::default() }
    }

    /// What logs there is ended; what it has written.
    pub(crate) fn stop_program(&mut self) -> Vec<String> {
        self.program.take().map(Program::stop).unwrap_or_default()
    }

    /// One life of the agent, which in most cases ends by violence.
    pub(crate) fn live(&mut self, network: &Network) {
        let failpoint = self.random.bool().then(|| FAILPOINTS[self.life_count % FAILPOINTS.len()]);
        let failpoint = failpoint.map(|name| (name, format!("{name}:{}", self.random.u32(1..4))));
        let mut variables = Vec::new();
        if let Some((_, when)) = &failpoint {
            variables.push(("KINETAIL_FAILPOINT", when.as_str()));
        }
        if let Some(program) = &self.program {
            program.say(self.random.usize(..LINES_PER_LIFE));
        }
        let (agent, key) = self.start(&[], &variables);
        let begun = Instant::now();
        let span_ms = match failpoint {
            Some(_) => 3_500,
            None => {
                self.wait_for_some_moment(&agent, &key, network);
                self.random.u64(..600)
            }
        };
        let deadline = Instant::now() + Duration::from_millis(span_ms);
        let by = failpoint.as_ref().map_or(SOMEBODY, |(name, _)| name);
        let ended = if failpoint.is_none() && self.random.u32(..10) == 0 {
            self.end(agent, deadline)
        } else {
            let (ended, is_killed) = agent.live_until(deadline);
            *self.tally.kills.entry(if is_killed { SOMEBODY } else { by }).or_default() += 1;
            ended
        };
        network.died(&key);
        self.write_down(&key, &ended, begun.elapsed(), failpoint.as_ref().map(|(_, when)| when.as_str()));
        let is_well = match ended.signal {
            // By the latter before it has come to listen to it.
            Some(signal) => matches!(signal, Signal::KILL | Signal::TERM),
            None => matches!(ended.code, Some(0 | 143)),
        };
        assert!(is_well && !ended.stderr.contains("panicked"), "{key} did not end well\n{}", self.diary());
    }

    /// Some do not live to open their store, others die before they send anything, but most afterwards.
    fn wait_for_some_moment(&mut self, agent: &Agent, key: &str, network: &Network) {
        let deadline = Instant::now() + Duration::from_secs(4);
        let moment = self.random.u32(..8);
        let is_there = || match moment {
            0 => true,
            1 | 2 => !agent.stderr().is_empty(),
            _ => network.has_got_records_from(key),
        };
        while !is_there() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// It ends in an orderly way, or is aborted.
    fn end(&mut self, agent: Agent, deadline: Instant) -> Ended {
        let is_abort = self.random.bool();
        let Some(agent) = agent.run_until(deadline) else { panic!("it has ended by itself\n{}", self.diary()) };
        agent.terminate();
        if is_abort {
            self.tally.aborts += 1;
            agent.abort()
        } else {
            self.tally.orderly_ends += 1;
            agent.wait()
        }
    }

    /// Ships what is left; all goes well.
    pub(crate) fn ship_the_rest(&mut self) {
        let [agent, aws, flow] = &self.patient;
        self.place.configure_all(agent, aws, flow);
        let (agent, key) = self.start(&["--once"], &[]);
        let begun = Instant::now();
        let ended = agent.wait();
        self.write_down(&key, &ended, begun.elapsed(), None);
        assert!(ended.code == Some(0) && !ended.stderr.contains("panicked"), "{key} did not end well\n{}", self.diary());
    }

    /// What has happened there so far.
    pub(crate) fn diary(&self) -> &str {
        &self.diary
    }

    /// By its key the service knows this life.
    fn start(&mut self, arguments: &[&str], variables: &[(&str, &str)]) -> (Agent, String) {
        let key = format!("{}-{}", self.name, self.life_count);
        self.life_count += 1;
        let variables = [&[("AWS_ACCESS_KEY_ID", key.as_str())], variables].concat();
        (self.place.run_with(arguments, &variables), key)
    }

    fn write_down(&mut self, key: &str, ended: &Ended, after: Duration, failpoint: Option<&str>) {
        let Ended { code, signal, stderr, .. } = ended;
        self.tally.admitted += stderr.lines().map(admitted).sum::<u64>();
        writeln!(self.diary, "--- {key}, {failpoint:?}: {code:?} {signal:?} after {after:?}\n{stderr}").unwrap();
    }
}

/// How many records may be there twice, by a line of the log.
fn admitted(line: &str) -> u64 {
    let field = match line {
        _ if line.contains("what it sent last cannot be looked up") => " records=",
        _ if line.contains("the drain timeout has passed") => " uncertain_record_count=",
        _ => return 0,
    };
    let (_, rest) = line.split_once(field).unwrap_or_else(|| panic!("no{field} in {line:?}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// One of the ways to pack lines in which every record says what it is made of.
fn flow(random: &mut fastrand::Rng) -> String {
    let aggregate = ["kpl", "kpl", "lines", "none"][random.usize(..4)];
    // One line of a file at a time is slow.
    let order = if aggregate == "none" { "throughput" } else { ["throughput", "throughput", "file"][random.usize(..3)] };
    // Of a record by itself the key would be the line's.
    let record_bytes = if aggregate == "none" { "" } else { ["", "max_record_bytes = \"4 KiB\""][random.usize(..2)] };
    let partition_key = if aggregate == "none" { "random" } else { ["random", "file"][random.usize(..2)] };
    format!(
        r#"
[[flow]]
name = "f"
files = ["LOGS/*"]
[flow.kinesis]
stream = "s"
max_delay = "20 ms"
aggregate = "{aggregate}"
order = "{order}"
partition_key = "{partition_key}"
{record_bytes}
"#
    )
}
