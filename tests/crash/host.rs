//! A host on which the agent is killed over and over again while its files grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{Agent, Ended, Place};
use crate::network::Network;
use crate::program::Program;

/// The host.
pub(crate) struct Host {
    name: String,
    place: Arc<Place>,
    random: fastrand::Rng,
    life_count: usize,
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
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (by, count) in &other.kills {
            *self.kills.entry(by).or_default() += count;
        }
        self.orderly_ends += other.orderly_ends;
        self.aborts += other.aborts;
    }

    pub(crate) fn kill_count(&self) -> u64 {
        self.kills.values().sum()
    }
}

/// Everywhere that a process may be killed by itself.
pub(crate) const FAILPOINTS: &[&str] = &["before_send", "after_answer"];
/// What kills by `kill -9`, at any moment.
const SOMEBODY: &str = "kill -9";

/// How long `settle` is in the configuration: requests arrive half of it after their sender has died, at the latest.
pub(crate) const SETTLE: Duration = Duration::from_millis(400);

impl Host {
    /// A host of this name on the way to the service.
    pub(crate) fn new(name: &str, network: &Network, mut random: fastrand::Rng) -> Self {
        let place = if random.bool() { Place::new() } else { Place::in_memory() };
        let settle = format!("settle = \"{} ms\"\nread_back = \"auto\"\ndrain_timeout = \"1 s\"", SETTLE.as_millis());
        let memory = ["", "\nmemory_max = \"4 MiB\""][random.usize(..2)];
        let aws = format!("endpoints.kinesis = {:?}\nattempt_timeout = \"1 s\"\n", network.url());
        let flow = flow(&mut random);
        let diary = format!("{name} at {:?}: {flow}\n", place.folder());
        place.configure_all(&format!("{settle}{memory}"), &aws, &flow);
        Self { name: name.to_owned(), place: Arc::new(place), random, life_count: 0, diary, tally: Tally::default() }
    }

    /// Something begins to log there.
    pub(crate) fn program(&mut self) -> Program {
        Program::start(&self.name, Arc::clone(&self.place), self.random.fork())
    }

    /// One life of the agent, which in most cases ends by violence.
    pub(crate) fn live(&mut self, network: &Network) {
        let failpoint = self.random.bool().then(|| FAILPOINTS[self.life_count % FAILPOINTS.len()]);
        let failpoint = failpoint.map(|name| (name, format!("{name}:{}", self.random.u32(1..6))));
        let mut variables = Vec::new();
        if let Some((_, when)) = &failpoint {
            variables.push(("KINETAIL_FAILPOINT", when.as_str()));
        }
        let (agent, key) = self.start(&[], &variables);
        let begun = Instant::now();
        // Some do not live to open their store, and some are to get somewhere.
        let (is_early, is_long) = (failpoint.is_none() && self.random.u32(..8) == 0, self.random.u32(..8) == 0);
        let Some(agent) = (if is_early || failpoint.is_some() { Some(agent) } else { agent.run_until_it_speaks() }) else {
            panic!("{key} has ended before it said anything\n{}", self.diary());
        };
        let span_ms = match failpoint {
            Some(_) => 3_000,
            None => self.random.u64(if is_long { 600..2_500 } else { 0..600 }),
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
        writeln!(self.diary, "--- {key}, {failpoint:?}: {code:?} {signal:?} after {after:?}\n{stderr}").unwrap();
    }
}

/// One of the ways to pack lines in which every record says what it is made of.
fn flow(random: &mut fastrand::Rng) -> String {
    let aggregate = ["kpl", "kpl", "lines", "none"][random.usize(..4)];
    let order = ["throughput", "throughput", "file"][random.usize(..3)];
    // Of a record by itself the key would be the line's.
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
"#
    )
}
