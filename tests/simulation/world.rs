//! One seed: hosts with programs that log, streams that fail, and agents that live several lives there.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetail::agent::{self, Ending, Reading, Setting, Way};
use kinetail::config::{Config, Destination, Flow};
use kinetail::health::Health;
use kinetail::limits::{MEMORY_PER_LINE_BYTE, SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};
use kinetail::metadata::Metadata;
use kinetail::metrics::{FlowMetrics, Metrics};
use kinetail::offsets::{Offsets, Row, RunKey, Sending, Stored};
use kinetail::progress::Progress;
use kinetail::service_clock::ServiceClock;
use kinetail::span::FileKey;
use kinetail::tailer::Mode;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::config::{drawn_config, logs_folder};
use crate::host::Host;
use crate::kinesis::{Connection, LifeId, LifeTally, Stream};
use crate::ledger::{Ended, Life};
use crate::logs::Logs;
use crate::state::{folder_in_memory, wait_until};
use crate::story::Story;
use crate::tally::Tally;
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
    /// Some flows have changed in the configuration.
    Reload,
    /// A flow is not in the configuration for so long.
    Remove(Duration),
    Stop,
    Abort,
    Kill,
    /// As soon as something is being sent, or was a moment ago.
    KillBusy,
}

/// Hosts that have the same logs, as if on a disk that they share, and the streams to which their agents send. One agent lives at a
/// time.
struct World {
    rng: fastrand::Rng,
    _folder: TempDir,
    config: Arc<Config>,
    story: Story,
    logs: Logs,
    /// Those to which flows send, and those to which they have sent before.
    streams: Vec<Arc<Stream>>,
    hosts: Vec<Host>,
    /// The one whose agent lives, or did last.
    host: usize,
    life_count: u64,
    /// So long commits take.
    commit_latency: Duration,
    /// The time since the beginning.
    now: Duration,
    actions_left: u64,
    /// What comes before anything else is drawn.
    planned: VecDeque<Action>,
    /// The agent is stopped and killed often; else rarely, so that it gets into trouble of other kinds.
    is_restless: bool,
    writes_much: bool,
    is_told: bool,
    tally: Tally,
}

/// What a life leaves beside the store.
struct Left {
    ended: Ended,
    /// Those of the life.
    runs: Runs,
    /// Of each flow, the records counted as possibly doubled: as the operator has seen it last.
    possibly_doubled: Vec<u64>,
}

/// Ids of runs.
type Runs = Arc<Mutex<Vec<u128>>>;

/// Draws ids and notes them.
fn run_ids(rng: &mut fastrand::Rng, runs: &Runs) -> Box<dyn Fn() -> u128 + Send + Sync> {
    let (rng, runs) = (Mutex::new(rng.fork()), Arc::clone(runs));
    Box::new(move || {
        let run_id = rng.lock().unwrap().u128(..);
        runs.lock().unwrap().push(run_id);
        run_id
    })
}

/// Longest that an agent without trouble needs to catch up: a request that hangs, the longest backoff, a rescan
/// and the longest `max_delay` drawn, and twice that.
const CATCH_UP: Duration = Duration::from_secs(150);

/// Runs one seed; `is_told` writes every action to the standard error.
pub(crate) fn simulate(seed: u64, is_told: bool) -> Tally {
    let mut world = World::new(seed, is_told);
    while world.actions_left > 0 {
        world.host = world.rng.usize(..world.hosts.len());
        world.live(Mode::Follow);
        world.meanwhile();
    }
    for stream in &world.streams {
        stream.set_weather(Weather::default());
    }
    for host in 0..world.hosts.len() {
        world.host = host;
        world.live(Mode::Once);
    }
    world.tallied()
}

impl World {
    fn new(seed: u64, is_told: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = folder_in_memory();
        let story = Story::drawn(&mut rng);
        let config = Arc::new(drawn_config(folder.path(), &story, &mut rng));
        let commit_latency = Duration::from_millis([0, 0, 2, 300, 2_400][rng.usize(..5)]);
        if is_told {
            eprintln!("{story:?}, commits take {commit_latency:?}");
        }
        let mut logs = Logs::new(logs_folder(folder.path()));
        for _ in 0..rng.usize(1..4) {
            logs.create();
        }
        let mut world = Self {
            hosts: vec![Host::new(folder.path(), &config)],
            _folder: folder,
            story,
            logs,
            streams: Vec::new(),
            host: 0,
            life_count: 0,
            commit_latency,
            now: Duration::ZERO,
            actions_left: rng.u64(10..100),
            planned: VecDeque::new(),
            is_restless: rng.bool(),
            writes_much: rng.u8(..6) == 0 && config.flows.iter().all(|flow| flow.line.max_bytes >= 1_000),
            is_told,
            tally: Tally { seeds: 1, ..Tally::default() },
            config,
            rng,
        };
        (0..world.config.flows.len()).for_each(|flow_index| world.add_stream(flow_index));
        world
    }

    /// A stream for what this flow sends from now on.
    fn add_stream(&mut self, flow_index: usize) {
        let name = format!("s{}", self.streams.len());
        let config = Arc::make_mut(&mut self.config);
        config.flows[flow_index].delivery.destination = Destination::Kinesis(name);
        let stream = Stream::new(flow_index, &config.flows[flow_index], &self.story, self.is_told, self.rng.fork());
        self.streams.push(Arc::new(stream));
    }

    fn drawn_action(&mut self) -> Action {
        if let Some(planned) = self.planned.pop_front() {
            return self.told(planned);
        }
        self.actions_left -= 1;
        let action = match self.rng.u8(..if self.is_restless { 114 } else { 91 }) {
            0..40 => Action::Append,
            40..45 if self.writes_much => Action::AppendMuch,
            45..48 => Action::Create,
            48..52 => Action::Rotate,
            52..55 => Action::Quiet,
            55..57 => Action::Pass(Duration::from_secs(self.rng.u64(60..600))),
            57..89 => Action::Pass(Duration::from_millis(self.rng.u64(1..20_000))),
            89 | 91..95 => Action::Stop,
            95..97 => Action::Abort,
            90 | 97 => Action::Kill,
            98..108 => Action::KillBusy,
            108..112 => Action::Reload,
            112.. => Action::Remove(Duration::from_millis(self.rng.u64(1..20_000))),
            _ => Action::Append,
        };
        self.told(action)
    }

    fn told(&mut self, action: Action) -> Action {
        self.tally.actions += 1;
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
            Action::Pass(_) | Action::Quiet | Action::Stop | Action::Abort | Action::Kill | Action::KillBusy => {}
            // There is no agent that could be told.
            Action::Reload | Action::Remove(_) => {}
        }
    }

    /// Between two lives of agents.
    fn meanwhile(&mut self) {
        for _ in 0..self.rng.u64(..4).min(self.actions_left) {
            let action = self.drawn_action();
            self.write(action);
        }
        if self.rng.u8(..20) == 0 {
            let flow_index = self.rng.usize(..self.config.flows.len());
            self.add_stream(flow_index);
            self.tally.note("another stream");
        }
        // Sometimes what was under way when the last life ended is still under way, or has just arrived.
        let most = [Duration::from_secs(100), self.story.settle, self.story.settle / 2, Duration::ZERO][self.rng.usize(..4)];
        self.now += most.mul_f64(self.rng.f64());
    }

    /// After an end that was not an orderly one the next comes soon, sometimes, or there is another host which has a copy.
    fn plan(&mut self, ended: Ended, life: LifeId) {
        if matches!(ended, Ended::Drained) || self.actions_left == 0 {
            return;
        }
        if self.hosts.len() < 3 && self.rng.u8(..12) == 0 {
            let index = self.hosts.len();
            let copied = self.hosts[self.host].copied(index, life);
            self.hosts.push(copied);
            self.tally.note("host copied");
        }
        if self.rng.u8(..3) == 0 {
            let most = [Duration::from_millis(1_500), self.story.settle * 2][self.rng.usize(..2)];
            let after = most.mul_f64(self.rng.f64());
            let end = [Action::Kill, Action::Kill, Action::Stop, Action::Abort][self.rng.usize(..4)];
            self.planned.extend([Action::Pass(after), end]);
        }
    }

    /// One life of an agent, from opening the store to what is in it afterwards.
    fn live(&mut self, mode: Mode) {
        let (store, rows) = self.hosts[self.host].open();
        let life = LifeId { host: self.host, number: self.life_count };
        self.life_count += 1;
        let carried = store.sendings().unwrap();
        if self.is_told {
            eprintln!("{:?} {life:?} begins", self.now);
            carried.iter().for_each(|carried| eprintln!("    not reconciled: {carried:?}"));
        }
        let metrics = Arc::new(Metrics::default());
        // A runtime of its own, so that when it is dropped no task of the life lives on.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let left = runtime.block_on(async {
            let left = self.life(mode, life, store, rows, Arc::clone(&metrics)).await;
            self.streams.iter().for_each(|stream| stream.end_life(self.now));
            left
        });
        drop(runtime);
        *self.tally.lives.entry(format!("{:?}", left.ended)).or_default() += 1;
        if self.is_told {
            eprintln!("{:?} {:?}", self.now, left.ended);
        }
        if left.ended == Ended::Killed {
            self.hosts[self.host].restore();
        }
        let (store, rows) = self.hosts[self.host].open();
        self.balance(mode, &left, &carried, &store.sendings().unwrap(), &rows, &metrics);
        self.hosts[self.host].opened = Some((store, rows));
        self.plan(left.ended, life);
    }

    /// What was stored goes to those who have sent it; the host whose agent has lived is asked to account for it.
    fn balance(
        &mut self,
        mode: Mode,
        left: &Left,
        carried: &[(RunKey, Sending)],
        sendings: &[(RunKey, Sending)],
        rows: &[(FileKey, Row)],
        metrics: &Metrics,
    ) {
        let is_left = |run: &RunKey| sendings.iter().any(|(left, _)| left == run);
        let config = Arc::clone(&self.config);
        for (index, flow) in config.flows.iter().enumerate() {
            let is_own = |run: &RunKey| run.flow == flow.name && left.runs.lock().unwrap().contains(&run.run_id);
            // One that a reload has ended before all was delivered may have to be looked for still.
            let was_reloaded = self.hosts[self.host].ledgers[index].was_reloaded;
            let is_cut_short = |sending: &Sending| was_reloaded && sending.in_flight_record_count > 0;
            let own_left: Vec<_> = sendings.iter().filter(|(run, sending)| is_own(run) && !is_cut_short(sending)).collect();
            assert!(
                left.ended != Ended::Drained || own_left.is_empty(),
                "{own_left:?} have ended in an orderly way, of {:x?}",
                left.runs
            );
            let (mut stored, mut tally) = (Vec::new(), LifeTally::default());
            let (mut shown, mut has_been_unreadable) = (Vec::new(), false);
            for stream in self.streams.iter().filter(|stream| stream.flow_index == index) {
                let (of_stream, tally_of_stream) = stream.take();
                stored.extend(of_stream);
                tally.add(tally_of_stream);
                shown.extend(self.hosts[self.host].own(&stream.shown()));
                has_been_unreadable |= stream.has_been_unreadable();
            }
            // Some of it to the stream of before.
            stored.sort_by_key(|stored| stored.accepted_at);
            for stored in stored {
                for host in self.hosts.iter_mut().filter(|host| host.has_lived(stored.life)) {
                    host.unseen[index].push(stored.clone());
                }
            }
            self.tally.requests += tally.request_count;
            let metrics = flow_metrics(metrics, flow);
            let of_flow = carried.iter().filter(|(run, _)| run.flow == flow.name && !is_left(run));
            let host = &mut self.hosts[self.host];
            let life = Life {
                ended: left.ended,
                ended_at: self.now,
                complete: mode == Mode::Once,
                rows,
                files: &self.logs.files,
                story: &self.story,
                commit_latency: self.commit_latency,
                stored: mem::take(&mut host.unseen[index]),
                shown,
                has_been_unreadable,
                tally,
                metrics: &metrics,
                carried_record_count: of_flow.map(|(_, sending)| sending.in_flight_record_count).sum(),
                possibly_doubled_count: left.possibly_doubled[index],
            };
            host.ledgers[index].balance(flow, &life);
        }
    }

    async fn life(&mut self, mode: Mode, life: LifeId, store: Offsets, rows: Vec<(FileKey, Row)>, metrics: Arc<Metrics>) -> Left {
        let (begun, begun_at) = (Instant::now(), self.now);
        let config = Arc::clone(&self.config);
        let budget_bytes = config.agent.memory_max / MEMORY_PER_LINE_BYTE / config.flows.len();
        for stream in &self.streams {
            stream.begin_life(begun_at, life, Arc::clone(&metrics), budget_bytes);
        }
        let store = Arc::new(store);
        let released = Arc::downgrade(&store);
        let (health, runs) = (Health::default(), Runs::default());
        let stored = Stored { rows, ..store.stored().unwrap() };
        let setting = Setting {
            stored,
            store,
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            mode,
            new_run_id: run_ids(&mut self.rng, &runs),
            seed: self.rng.u64(..),
            reading: Reading::Here { commit_latency: self.commit_latency },
            surroundings: Arc::default(),
            metadata_of: Box::new(|_| Metadata::nothing()),
            progress: Progress::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let (configs, config_in_force) = watch::channel(Arc::clone(&config));
        let (streams, is_time_told) = (self.streams.clone(), self.story.is_time_told());
        let clock = ServiceClock::new(Stream::clock_ms(begun_at, self.story.drawn_skew_ms(&mut self.rng)));
        let connect = move |flow: &Flow| {
            let name = flow.delivery.destination.stream();
            let stream = Arc::clone(streams.iter().find(|stream| stream.name == name).unwrap());
            Way::plain(Connection { stream, clock: clock.clone(), is_time_told }, clock.clone())
        };
        let possibly_doubled =
            || config.flows.iter().map(|flow| flow_metrics(&metrics, flow).possibly_doubled_records.get()).collect();
        let mut agent = Box::pin(agent::run(config_in_force, setting, stopped, connect));
        let at_once = timeout(Duration::ZERO, &mut agent).await;
        assert!(at_once.is_err(), "the agent ends at once: {at_once:?}");
        let ended = loop {
            if mode == Mode::Once {
                let ended = timeout(Duration::from_secs(3_600), &mut agent).await.expect("all is delivered within an hour");
                assert_eq!(ended.unwrap(), Ending::Complete);
                break Ended::Drained;
            }
            self.now = begun_at + begun.elapsed();
            let is_over = self.actions_left == 0 && self.planned.is_empty();
            let action = if is_over { Action::Stop } else { self.drawn_action() };
            match action {
                Action::Append | Action::AppendMuch | Action::Create | Action::Rotate => self.write(action),
                Action::Pass(duration) => {
                    let ended = timeout(duration, &mut agent).await;
                    assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                }
                Action::Reload => {
                    self.note_reload();
                    let mut changed = Config::clone(&configs.borrow());
                    for flow in changed.flows.iter_mut().filter(|_| self.rng.bool()) {
                        flow.rescan += Duration::from_millis(1);
                    }
                    configs.send_replace(Arc::new(changed));
                }
                Action::Remove(duration) => {
                    self.note_reload();
                    let before = Arc::clone(&configs.borrow());
                    for stream in &self.streams {
                        stream.widen_budget(before.agent.memory_max / MEMORY_PER_LINE_BYTE);
                    }
                    let mut changed = Config::clone(&before);
                    changed.flows.remove(self.rng.usize(..before.flows.len()));
                    configs.send_replace(Arc::new(changed));
                    let ended = timeout(duration, &mut agent).await;
                    assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                    configs.send_replace(before);
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
                    // One commit is on its way, perhaps, and the last comes after it.
                    let longest = config.agent.drain_timeout + 2 * self.commit_latency + Duration::from_millis(20);
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
                    return Left { ended: Ended::Aborted, runs, possibly_doubled: possibly_doubled() };
                }
                Action::Kill | Action::KillBusy => {
                    let is_busy = |world: &Self| world.streams.iter().any(|stream| stream.is_busy());
                    for _ in 0..100 {
                        if matches!(action, Action::Kill) || is_busy(self) {
                            break;
                        }
                        let step = Duration::from_millis(self.rng.u64(1..100));
                        let ended = timeout(step, &mut agent).await;
                        assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                    }
                    self.hosts[self.host].kill();
                    self.now = begun_at + begun.elapsed();
                    return Left { ended: Ended::Killed, runs, possibly_doubled: possibly_doubled() };
                }
            }
            for stream in &self.streams {
                stream.check_budget();
            }
        };
        self.now = begun_at + begun.elapsed();
        Left { ended, runs, possibly_doubled: possibly_doubled() }
    }

    fn note_reload(&mut self) {
        self.tally.note("reload");
        self.hosts.iter_mut().flat_map(|host| &mut host.ledgers).for_each(|ledger| ledger.was_reloaded = true);
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
        for (flow, ledger) in self.config.flows.iter().zip(&mut self.hosts[self.host].ledgers) {
            let metrics = flow_metrics(metrics, flow);
            assert_eq!(metrics.in_flight(), 0, "{}: bytes in flight after {CATCH_UP:?} without trouble", flow.name);
            let unread = ledger.unread_bytes(flow, &self.logs.files) - metrics.read_back_settled_bytes.get();
            let read = metrics.read_bytes.get() - metrics.released_bytes.get();
            assert_eq!(read, unread, "{}: bytes read, and bytes that were there to read", flow.name);
        }
    }

    fn tallied(mut self) -> Tally {
        self.tally.lines = self.logs.line_count;
        self.tally.simulated = self.now;
        self.hosts.iter().flat_map(|host| &host.ledgers).for_each(|ledger| self.tally.close(ledger));
        self.streams.iter().for_each(|stream| self.tally.count(stream));
        self.tally
    }
}

fn flow_metrics(metrics: &Metrics, flow: &Flow) -> FlowMetrics {
    metrics.flow(&flow.name)
}
