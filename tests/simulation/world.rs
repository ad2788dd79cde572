//! One seed: a host with programs that log, a stream that fails, and an agent that lives several lives there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kinetail::agent::{self, Ending, Reading, Setting, Way};
use kinetail::config::{Config, Flow};
use kinetail::health::Health;
use kinetail::limits::{MEMORY_PER_LINE_BYTE, SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};
use kinetail::metadata::Metadata;
use kinetail::metrics::{FlowMetrics, Metrics};
use kinetail::offsets::{Offsets, Row, RunKey, Stored};
use kinetail::service_clock::ServiceClock;
use kinetail::span::FileKey;
use kinetail::tailer::Mode;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::kinesis::{Connection, LifeId, Stream};
use crate::ledger::{Ended, Ledger, Life, ledgers};
use crate::logs::Logs;
use crate::state::{copy_folder, folder_in_memory, open_store, wait_until};
use crate::story::Story;
use crate::weather::Weather;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Action {
    Append,
    AppendMuch,
    Create,
    Rotate,
    Pass(Duration),
    /// The faults cease for a while: the agent must catch up.
    Quiet,
    Stop,
    Abort,
    Kill,
}

/// What was done, over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) actions: u64,
    pub(crate) lines: u64,
    pub(crate) received: u64,
    pub(crate) doubled: u64,
    pub(crate) requests: u64,
    pub(crate) read_requests: u64,
    pub(crate) read_records: u64,
    pub(crate) excused: BTreeMap<String, u64>,
    pub(crate) simulated: Duration,
    pub(crate) lives: BTreeMap<String, u64>,
    pub(crate) faults: BTreeMap<String, u64>,
}

/// The host, and what is on it.
struct World {
    rng: fastrand::Rng,
    folder: TempDir,
    config: Arc<Config>,
    logs: Logs,
    story: Story,
    streams: Vec<Arc<Stream>>,
    ledgers: Vec<Ledger>,
    /// The store as the last life has left it.
    opened: Option<(Offsets, Vec<(FileKey, Row)>)>,
    life_count: u64,
    /// The time since the beginning.
    now: Duration,
    actions_left: u64,
    /// The agent is stopped and killed often; else rarely, so that it gets into trouble of other kinds.
    is_restless: bool,
    writes_much: bool,
    is_told: bool,
    tally: Tally,
}

/// Longest that an agent without trouble needs to catch up: a request that hangs, the longest backoff, a rescan
/// and the longest `max_delay` drawn, and twice that.
const CATCH_UP: Duration = Duration::from_secs(150);

/// Runs one seed; `is_told` writes every action to the standard error.
pub(crate) fn simulate(seed: u64, is_told: bool) -> Tally {
    let mut world = World::new(seed, is_told);
    while world.actions_left > 0 {
        world.live(Mode::Follow);
        world.meanwhile();
    }
    for stream in &world.streams {
        stream.set_weather(Weather::default());
    }
    world.live(Mode::Once);
    world.tallied()
}

impl World {
    fn new(seed: u64, is_told: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = folder_in_memory();
        let story = Story::drawn(&mut rng);
        let config = Arc::new(drawn_config(folder.path(), &story, &mut rng));
        let streams = config.flows.iter().map(|flow| Arc::new(Stream::new(flow, &story, is_told, rng.fork()))).collect();
        if is_told {
            eprintln!("{story:?}");
        }
        let mut logs = Logs::new(logs_folder(folder.path()));
        for _ in 0..rng.usize(1..4) {
            logs.create();
        }
        Self {
            folder,
            ledgers: ledgers(&config),
            opened: None,
            logs,
            story,
            streams,
            life_count: 0,
            now: Duration::ZERO,
            actions_left: rng.u64(10..100),
            is_restless: rng.bool(),
            writes_much: rng.u8(..6) == 0 && config.flows.iter().all(|flow| flow.line.max_bytes >= 1_000),
            is_told,
            tally: Tally { seeds: 1, ..Tally::default() },
            config,
            rng,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn drawn_action(&mut self) -> Action {
        self.actions_left -= 1;
        self.tally.actions += 1;
        let action = match self.rng.u8(..if self.is_restless { 100 } else { 91 }) {
            0..40 => Action::Append,
            40..45 if self.writes_much => Action::AppendMuch,
            45..48 => Action::Create,
            48..52 => Action::Rotate,
            52..55 => Action::Quiet,
            55..57 => Action::Pass(Duration::from_secs(self.rng.u64(60..600))),
            57..89 => Action::Pass(Duration::from_millis(self.rng.u64(1..20_000))),
            89 | 91..95 => Action::Stop,
            95..97 => Action::Abort,
            90 | 97.. => Action::Kill,
            _ => Action::Append,
        };
        if self.is_told {
            eprintln!("{:?} {action:?}", self.now);
        }
        action
    }

    /// What programs do, whether or not there is an agent.
    fn write(&mut self, action: Action) {
        let index = self.rng.usize(..self.logs.files.len());
        match action {
            Action::Append => {
                let flow = &self.config.flows[self.rng.usize(..self.config.flows.len())];
                self.logs.append(index, flow.line.max_bytes, &mut self.rng);
            }
            Action::AppendMuch => self.logs.append_much(index, &mut self.rng),
            Action::Create => self.logs.create(),
            Action::Rotate => self.logs.rotate(index),
            Action::Pass(_) | Action::Quiet | Action::Stop | Action::Abort | Action::Kill => {}
        }
    }

    /// Between two lives of the agent.
    fn meanwhile(&mut self) {
        for _ in 0..self.rng.u64(..4).min(self.actions_left) {
            let action = self.drawn_action();
            self.write(action);
        }
        self.now += Duration::from_secs(self.rng.u64(..100));
    }

    /// One life of the agent, from opening the store to what is in it afterwards.
    fn live(&mut self, mode: Mode) {
        let (store, rows) = self.opened.take().unwrap_or_else(|| open_store(&self.state()));
        let metrics = Arc::new(Metrics::default());
        let carried = store.sendings().unwrap();
        if self.is_told {
            carried.iter().for_each(|carried| eprintln!("{:?} not reconciled: {carried:?}", self.now));
        }
        let mut possibly_doubled = Vec::new();
        // A runtime of its own, so that when it is dropped no task of the life lives on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let ended = self.life(mode, store, rows, Arc::clone(&metrics), &mut possibly_doubled).await;
            self.streams.iter().for_each(|stream| stream.end_life(self.now));
            ended
        });
        drop(runtime);
        if self.is_told {
            eprintln!("{:?} {ended:?}", self.now);
        }
        if ended == Ended::Killed {
            fs::remove_dir_all(self.state()).unwrap();
            fs::rename(self.state_at_kill(), self.state()).unwrap();
        }
        let (store, rows) = open_store(&self.state());
        let left = store.sendings().unwrap();
        *self.tally.lives.entry(format!("{ended:?}")).or_default() += 1;
        for (index, flow) in self.config.flows.iter().enumerate() {
            let stream = &self.streams[index];
            let (stored, tally) = stream.take();
            self.tally.requests += tally.request_count;
            let metrics = flow_metrics(&metrics, flow);
            let is_reconciled = |run: &RunKey| left.iter().all(|(left, _)| left != run);
            let of_flow = carried.iter().filter(|(run, _)| run.flow == flow.name && is_reconciled(run));
            let life = Life {
                ended,
                ended_at: self.now,
                complete: mode == Mode::Once,
                rows: &rows,
                files: &self.logs.files,
                story: &self.story,
                stored,
                shown: stream.shown(),
                has_been_unreadable: stream.has_been_unreadable(),
                tally,
                metrics: &metrics,
                carried_record_count: of_flow.map(|(_, sending)| sending.in_flight_record_count).sum(),
                possibly_doubled_count: match ended {
                    Ended::Killed => possibly_doubled[index],
                    _ => metrics.possibly_doubled_records.get(),
                },
            };
            self.ledgers[index].balance(flow, &life);
        }
        self.opened = Some((store, rows));
    }

    /// Leaves in `possibly_doubled` what each flow has counted, if it is killed.
    async fn life(
        &mut self,
        mode: Mode,
        store: Offsets,
        rows: Vec<(FileKey, Row)>,
        metrics: Arc<Metrics>,
        possibly_doubled: &mut Vec<u64>,
    ) -> Ended {
        let (begun, begun_at) = (Instant::now(), self.now);
        let config = Arc::clone(&self.config);
        let budget_bytes = config.agent.memory_max / MEMORY_PER_LINE_BYTE / config.flows.len();
        for stream in &self.streams {
            let life_id = LifeId { host: 0, number: self.life_count };
            stream.begin_life(begun_at, life_id, Arc::clone(&metrics), budget_bytes);
        }
        self.life_count += 1;
        let store = Arc::new(store);
        let released = Arc::downgrade(&store);
        let health = Health::default();
        let stored = Stored { rows, ..store.stored().unwrap() };
        let setting = Setting {
            stored,
            store,
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            mode,
            run_id: self.rng.u128(..),
            seed: self.rng.u64(..),
            reading: Reading::Here { commit_latency: Duration::ZERO },
            surroundings: Arc::default(),
            metadata: Metadata::nothing(),
        };
        let (stop, stopped) = watch::channel(false);
        let (streams, is_time_told) = (self.streams.clone(), self.story.is_time_told());
        let clock = ServiceClock::new(Stream::clock_ms(begun_at, self.story.drawn_skew_ms(&mut self.rng)));
        let connect = |flow: &Flow| {
            let name = flow.delivery.destination.stream();
            let stream = Arc::clone(streams.iter().find(|stream| stream.name == name).unwrap());
            Way::plain(Connection { stream, clock: clock.clone(), is_time_told }, clock.clone())
        };
        let mut agent = Box::pin(agent::run(&config, setting, stopped, connect));
        let at_once = timeout(Duration::ZERO, &mut agent).await;
        assert!(at_once.is_err(), "the agent ends at once: {at_once:?}");
        let ended = loop {
            if mode == Mode::Once {
                let ended = timeout(Duration::from_secs(3_600), &mut agent).await.expect("all is delivered within an hour");
                assert_eq!(ended.unwrap(), Ending::Complete);
                break Ended::Drained;
            }
            self.now = begun_at + begun.elapsed();
            let action = if self.actions_left == 0 { Action::Stop } else { self.drawn_action() };
            match action {
                Action::Append | Action::AppendMuch | Action::Create | Action::Rotate => self.write(action),
                Action::Pass(duration) => {
                    let ended = timeout(duration, &mut agent).await;
                    assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                }
                Action::Quiet => {
                    let weather: Vec<Weather> =
                        self.streams.iter().map(|stream| stream.set_weather(Weather::default())).collect();
                    let mut before = None;
                    while before.is_none() || self.flows_behind(&metrics, before.as_deref().unwrap_or_default()) {
                        before = Some(self.delivered_seconds(&metrics));
                        let ended = timeout(CATCH_UP, &mut agent).await;
                        assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                    }
                    self.check_caught_up(&metrics, &health);
                    for (stream, weather) in self.streams.iter().zip(weather) {
                        stream.set_weather(weather);
                    }
                }
                Action::Stop => {
                    stop.send_replace(true);
                    let longest = config.agent.drain_timeout + Duration::from_millis(10);
                    let ended = timeout(longest, &mut agent).await.expect("the agent ends when the drain timeout is over");
                    break match ended.unwrap() {
                        Ending::Complete | Ending::Drained => Ended::Drained,
                        Ending::TimedOut { .. } => Ended::TimedOut,
                        Ending::NotCommitted => panic!("the last offsets were not committed"),
                    };
                }
                Action::Abort => {
                    self.now = begun_at + begun.elapsed();
                    drop(agent);
                    let ended = wait_until(|| released.strong_count() == 0).await;
                    assert!(ended, "the store is held after the agent was dropped");
                    return Ended::Aborted;
                }
                Action::Kill => {
                    let of_flow = |flow: &Flow| flow_metrics(&metrics, flow).possibly_doubled_records.get();
                    possibly_doubled.extend(config.flows.iter().map(of_flow));
                    copy_folder(&self.state(), &self.state_at_kill());
                    break Ended::Killed;
                }
            }
            for stream in &self.streams {
                stream.check_budget();
            }
        };
        self.now = begun_at + begun.elapsed();
        ended
    }

    /// Of each flow how many seconds a shard takes for what is delivered so far, at least.
    fn delivered_seconds(&self, metrics: &Metrics) -> Vec<f64> {
        let seconds_of = |flow: &Flow| {
            let metrics = flow_metrics(metrics, flow);
            let by_bytes = metrics.delivered_record_bytes.get() as f64 / SHARD_BYTES_IN_MAX as f64;
            by_bytes.max(metrics.delivered_records.get() as f64 / SHARD_RECORDS_IN_MAX as f64)
        };
        self.config.flows.iter().map(seconds_of).collect()
    }

    /// Whether some flow has more to deliver than a shard could take in [`CATCH_UP`]; then it has at least used one most of the
    /// time since `before`.
    fn flows_behind(&self, metrics: &Metrics, before: &[f64]) -> bool {
        let is_used = |(before, now): (&f64, f64)| now - before > CATCH_UP.as_secs_f64() / 2.0;
        let used = before.iter().zip(self.delivered_seconds(metrics)).map(is_used);
        self.config.flows.iter().zip(used).any(|(flow, is_used)| is_used && flow_metrics(metrics, flow).in_flight() > 0)
    }

    /// Every line that is there has been read and is settled, and every gauge says so.
    fn check_caught_up(&mut self, metrics: &Metrics, health: &Health) {
        for flow in health.flows() {
            assert!(flow.paused().is_none(), "{} is still paused: {:?}", flow.flow, flow.paused());
        }
        for (flow, ledger) in self.config.flows.iter().zip(&mut self.ledgers) {
            let metrics = flow_metrics(metrics, flow);
            assert_eq!(metrics.in_flight(), 0, "{}: bytes in flight after {CATCH_UP:?} without trouble", flow.name);
            let unread = ledger.unread_bytes(flow, &self.logs.files) - metrics.read_back_settled_bytes.get();
            assert_eq!(metrics.read_bytes.get(), unread, "{}: bytes read, and bytes that were there to read", flow.name);
        }
    }

    fn state_at_kill(&self) -> PathBuf {
        self.folder.path().join("state-at-kill")
    }

    fn tallied(mut self) -> Tally {
        self.tally.lines = self.logs.line_count;
        self.tally.simulated = self.now;
        for ledger in &self.ledgers {
            self.tally.received += ledger.received_count;
            ledger.close();
            self.tally.doubled += ledger.doubled_count();
            for (excuse, count) in &ledger.excused {
                *self.tally.excused.entry((*excuse).to_owned()).or_default() += count;
            }
        }
        for stream in &self.streams {
            let (read_request_count, read_record_count) = stream.read_counts();
            self.tally.read_requests += read_request_count;
            self.tally.read_records += read_record_count;
            for (fault, count) in stream.faults() {
                *self.tally.faults.entry(fault).or_default() += count;
            }
        }
        self.tally
    }
}

impl Tally {
    /// Adds what another seed did.
    pub(crate) fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.actions += other.actions;
        self.lines += other.lines;
        self.received += other.received;
        self.doubled += other.doubled;
        self.requests += other.requests;
        self.read_requests += other.read_requests;
        self.read_records += other.read_records;
        self.simulated += other.simulated;
        let maps = [(&mut self.lives, other.lives), (&mut self.faults, other.faults), (&mut self.excused, other.excused)];
        for (mine, others) in maps {
            for (what, count) in others {
                *mine.entry(what).or_default() += count;
            }
        }
    }
}

/// The folder of the logs. So long that the part of a path that fits into a partition key is the same at each run
/// of a seed.
fn logs_folder(folder: &Path) -> PathBuf {
    folder.join("l".repeat(255))
}

/// One or two flows over the same files.
fn drawn_config(folder: &Path, story: &Story, rng: &mut fastrand::Rng) -> Config {
    let state = folder.join("state");
    let flow_count = if rng.u8(..4) == 0 { 2 } else { 1 };
    let memory = flow_count * [8, 8, 64][rng.usize(..3)];
    let drain_timeout = ["0 s", "2 s", "30 s", "10 min"][rng.usize(..4)];
    let mut text = format!(
        "[agent]\nstate_dir = {state:?}\nadmin = \"off\"\nmemory_max = \"{memory} MiB\"\ndrain_timeout = \"{drain_timeout}\"\n{}",
        story.config()
    );
    for index in 0..flow_count {
        text += &drawn_flow(index, folder, rng);
    }
    Config::parse(&text, "drawn").unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn drawn_flow(index: usize, folder: &Path, rng: &mut fastrand::Rng) -> String {
    let files = logs_folder(folder).join("*.log*");
    let max_bytes = ["4 B", "30 B", "100 B", "1000 B", "50 KiB", ""][rng.usize(..6)];
    let max_bytes = if max_bytes.is_empty() { String::new() } else { format!("max_bytes = \"{max_bytes}\"\n") };
    let too_long = ["truncate", "split", "drop"][rng.usize(..3)];
    let strip_cr = rng.bool();
    let skip_header_lines = [0, 0, 1, 5][rng.usize(..4)];
    let on_mismatch = ["send_raw", "drop", "wrap"][rng.usize(..3)];
    let (parse, keys): (String, &[&str]) = if rng.bool() {
        let regex = r"(?s-u)^(?<key>[^ ]*) (?<rest>.*)$";
        (format!("[flow.parse]\nregex = '{regex}'\non_mismatch = \"{on_mismatch}\"\n"), &["random", "file", "${key}", "${key}"])
    } else {
        (String::new(), &["random", "file"])
    };
    let partition_key = keys[rng.usize(..keys.len())];
    let filter = ["", "[flow.filter]\ndrop = ['7']\n"][rng.usize(..2)];
    let record = ["", "", "terminator = \"\\n\"\n", "terminator = \"\\n\"\nadd = { n = 7, ok = true }\n"][rng.usize(..4)];
    let aggregate = ["kpl", "kpl", "none", "lines"][rng.usize(..4)];
    let compress = if aggregate == "kpl" { "none" } else { ["none", "gzip", "zstd"][rng.usize(..3)] };
    let max_record_bytes = ["1 KiB", "", "1 MiB"][rng.usize(..3)];
    let max_record_bytes = match max_record_bytes {
        written if aggregate == "lines" && !written.is_empty() => format!("max_record_bytes = \"{written}\"\n"),
        _ => String::new(),
    };
    let order = ["throughput", "throughput", "file"][rng.usize(..3)];
    let max_delay = ["10 ms", "1 s", "10 s"][rng.usize(..3)];
    let request_bytes = ["10 MiB", "5 MiB", "1200 KiB"][rng.usize(..3)];
    format!(
        "[[flow]]\nname = \"flow {index}\"\nfiles = [{files:?}]\n\
         [flow.line]\n{max_bytes}too_long = \"{too_long}\"\nstrip_cr = {strip_cr}\nskip_header_lines = {skip_header_lines}\n{parse}{filter}\
         [flow.record]\n{record}\
         [flow.kinesis]\nstream = \"s{index}\"\naggregate = \"{aggregate}\"\npartition_key = \"{partition_key}\"\n\
         max_delay = \"{max_delay}\"\nrequest_bytes = \"{request_bytes}\"\n\
         compress = \"{compress}\"\norder = \"{order}\"\n{max_record_bytes}"
    )
}

fn flow_metrics(metrics: &Metrics, flow: &Flow) -> FlowMetrics {
    metrics.flows().into_iter().find(|metrics| metrics.name == flow.name).unwrap()
}
