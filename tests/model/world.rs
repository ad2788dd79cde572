//! One seed: a host with programs that log and turn their files over, and an agent that lives several lives there.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetail::agent::{self, Ending, Reading, Setting, Way};
use kinetail::config::{Config, Flow};
use kinetail::health::Health;
use kinetail::metadata::Metadata;
use kinetail::metrics::{FlowMetrics, Metrics};
use kinetail::offsets::{Offsets, Row, Stored};
use kinetail::progress::Progress;
use kinetail::service_clock::ServiceClock;
use kinetail::span::FileKey;
use kinetail::tailer::Mode;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::actions::{Step, steps};
use crate::classes::drawn_class;
use crate::destination::{Connection, Stream};
use crate::features::{self, Feature, is_on};
use crate::host::{Deed, Globs, Host};
use crate::ideal::Ideal;
use crate::rules::Rules;
use crate::state::{copy_folder, folder_in_memory, open_store, wait_until};

/// How a life of the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With everything delivered that was there.
    Complete,
    /// In an orderly way, with everything delivered that was read.
    Drained,
    /// In an orderly way, but the drain timeout was over first.
    TimedOut,
    /// The future was dropped.
    Aborted,
    /// As by `kill -9`: only what was on the disk then is left.
    Killed,
}

/// What was done, over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) files: u64,
    pub(crate) reused_inodes: u64,
    pub(crate) lines: u64,
    pub(crate) arrived: u64,
    pub(crate) doubled: u64,
    pub(crate) fragments: u64,
    /// Lines that need not arrive and have not.
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) lost_bytes: u64,
    pub(crate) unreachable_bytes: u64,
    pub(crate) simulated: Duration,
    pub(crate) lives: BTreeMap<String, u64>,
    pub(crate) actions: BTreeMap<String, u64>,
}

struct World {
    rng: fastrand::Rng,
    /// Of the state.
    folder: TempDir,
    /// Of the logs.
    _logs: TempDir,
    config: Arc<Config>,
    host: Host,
    rules: Rules,
    stream: Arc<Stream>,
    /// The store as the last life has left it.
    opened: Option<(Offsets, Vec<(FileKey, Row)>)>,
    /// What was drawn and is still to be done.
    steps: VecDeque<Step>,
    blackout_until: Duration,
    actions_left: u64,
    is_told: bool,
    /// What lives here in place of the agent.
    ideal: Option<Ideal>,
    tally: Tally,
}

/// After a blackout, or when much was written: what was held up is delivered by then.
const CATCH_UP: Duration = Duration::from_secs(40);

/// Runs one seed; `is_told` writes every action to the standard error.
pub(crate) fn simulate(seed: u64, is_told: bool) -> Tally {
    features::set_all(false);
    World::new(seed, None, is_told).simulated()
}

/// As [`simulate`], with everything on, and an agent that can do it all.
pub(crate) fn simulate_ideal(seed: u64, is_told: bool) -> Tally {
    features::set_all(true);
    World::new(seed, Some(Ideal::default()), is_told).simulated()
}

impl World {
    fn new(seed: u64, ideal: Option<Ideal>, is_told: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = folder_in_memory();
        // Other than in memory, where numbers only grow, on a disk a new file often has the inode of one deleted.
        let is_on_disk = seed % 5 == 4;
        let logs = if is_on_disk { TempDir::new().unwrap() } else { folder_in_memory() };
        let globs = [Globs::Narrow, Globs::Wide, Globs::Deep][rng.usize(..3)];
        let is_compressed_read = is_on(Feature::CompressedRead) && rng.bool();
        // The key is not written as long as it is unknown.
        let compressed = if is_compressed_read && ideal.is_none() { "compressed = \"read\"\n" } else { "" };
        let config = Arc::new(drawn_config(folder.path(), &globs.pattern(logs.path()), compressed, &mut rng));
        let mut host = Host::new(logs.path().to_owned(), globs);
        for _ in 0..rng.usize(1..3) {
            host.add_program();
        }
        let mut rules = Rules::new(is_compressed_read && ideal.is_none());
        rules.changed(&host, Vec::new());
        let stream = Arc::new(Stream::new(rng.fork()));
        if is_told {
            eprintln!("{globs:?} {:?} on disk: {is_on_disk} {config:#?}", logs.path());
        }
        Self {
            folder,
            _logs: logs,
            config,
            host,
            rules,
            stream,
            opened: None,
            steps: VecDeque::new(),
            blackout_until: Duration::ZERO,
            actions_left: rng.u64(10..80),
            rng,
            is_told,
            ideal,
            tally: Tally { seeds: 1, ..Tally::default() },
        }
    }

    fn simulated(mut self) -> Tally {
        while self.actions_left > 0 || !self.steps.is_empty() {
            self.live(Mode::Follow);
            self.meanwhile();
        }
        self.live(Mode::Once);
        self.concluded()
    }

    /// None when nothing is left to do.
    fn next_step(&mut self) -> Option<Step> {
        while self.steps.is_empty() {
            self.actions_left = self.actions_left.checked_sub(1)?;
            let class = drawn_class(&mut self.rng);
            *self.tally.actions.entry(format!("{class:?}")).or_default() += 1;
            self.steps.extend(steps(class, &self.host, &mut self.rng));
        }
        let step = self.steps.pop_front();
        if self.is_told {
            eprintln!("{:?} {step:?}", self.host.now);
        }
        step
    }

    /// What happens whether or not there is an agent.
    fn act(&mut self, step: &Step) {
        let changes = match step {
            Step::Do(deed) => self.host.do_it(deed, &mut self.rng),
            Step::NewProgram => {
                self.host.add_program();
                Vec::new()
            }
            Step::BlackOut(duration) => {
                self.blackout_until = self.host.now + *duration;
                self.stream.black_out(self.blackout_until);
                self.rules.calm_at(self.blackout_until + CATCH_UP);
                return;
            }
            Step::Pass(_) | Step::Stop | Step::Abort | Step::Kill => return,
        };
        if matches!(step, Step::Do(Deed::AppendLong { .. })) {
            self.rules.calm_at(self.host.now + CATCH_UP);
        }
        self.rules.changed(&self.host, changes);
    }

    /// Between two lives of the agent.
    fn meanwhile(&mut self) {
        for _ in 0..self.rng.u64(..6) {
            let Some(step) = self.next_step() else { return };
            if let Step::Pass(duration) = step {
                self.host.now += duration;
            }
            self.act(&step);
        }
        self.host.now += Duration::from_secs(self.rng.u64(..100));
    }

    /// One life of the agent.
    fn live(&mut self, mode: Mode) {
        let begun = self.host.now;
        self.rules.life_begins(&self.host, mode == Mode::Once);
        let ended = match self.ideal.take() {
            Some(mut ideal) => {
                let ended = self.live_ideally(&mut ideal, mode);
                self.ideal = Some(ideal);
                self.rules.life_ends(&self.host, ended);
                ended
            }
            None => self.live_really(mode),
        };
        if self.is_told {
            eprintln!("{:?} {ended:?}", self.host.now);
        }
        *self.tally.lives.entry(format!("{ended:?}")).or_default() += 1;
        self.tally.simulated += self.host.now - begun;
    }

    /// From opening the store to what is in it afterwards.
    fn live_really(&mut self, mode: Mode) -> Ended {
        let (store, rows) = self.opened.take().unwrap_or_else(|| open_store(&self.state()));
        let metrics = Arc::new(Metrics::default());
        // A runtime of its own, so that when it is dropped no task of the life lives on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(self.life(mode, store, rows, Arc::clone(&metrics)));
        drop(runtime);
        self.take_arrivals();
        self.rules.life_ends(&self.host, ended);
        self.balance(ended, &metrics);
        if ended == Ended::Killed {
            fs::remove_dir_all(self.state()).unwrap();
            fs::rename(self.state_at_kill(), self.state()).unwrap();
        }
        self.opened = Some(open_store(&self.state()));
        ended
    }

    fn live_ideally(&mut self, ideal: &mut Ideal, mode: Mode) -> Ended {
        ideal.begin(self.host.now);
        if mode == Mode::Once {
            self.host.now = self.host.now.max(self.blackout_until);
            self.look_ideally(ideal, true);
            return Ended::Complete;
        }
        let ended = loop {
            let step = self.next_step().unwrap_or(Step::Stop);
            match step {
                Step::Pass(duration) => {
                    let until = self.host.now + duration;
                    while ideal.next_look_at() <= until {
                        self.host.now = ideal.next_look_at();
                        self.look_ideally(ideal, false);
                    }
                    self.host.now = until;
                    self.rules.passed(&mut self.host);
                }
                Step::Stop => break Ended::Drained,
                Step::Abort => break Ended::Aborted,
                Step::Kill => break Ended::Killed,
                Step::Do(_) | Step::NewProgram | Step::BlackOut(_) => self.act(&step),
            }
        };
        ideal.end();
        ended
    }

    fn look_ideally(&mut self, ideal: &mut Ideal, is_last: bool) {
        let can_deliver = self.host.now >= self.blackout_until;
        for stored in ideal.look(&self.host, can_deliver, is_last) {
            self.rules.arrive(&self.host, &stored);
        }
    }

    async fn life(&mut self, mode: Mode, store: Offsets, rows: Vec<(FileKey, Row)>, metrics: Arc<Metrics>) -> Ended {
        let (begun, begun_at) = (Instant::now(), self.host.now);
        let config = Arc::clone(&self.config);
        self.stream.begin_life(begun_at);
        let store = Arc::new(store);
        let released = Arc::downgrade(&store);
        let stored = Stored { rows, ..store.stored().unwrap() };
        let setting = Setting {
            stored,
            store,
            metrics,
            health: Health::default(),
            mode,
            new_run_id: run_ids(&mut self.rng),
            seed: self.rng.u64(..),
            reading: Reading::Here { commit_latency: Duration::ZERO },
            surroundings: Arc::default(),
            metadata_of: Box::new(|_| Metadata::nothing()),
            progress: Progress::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let stream = Arc::clone(&self.stream);
        let drain_timeout = config.agent.drain_timeout;
        let mut agent = Box::pin(agent::run(watch::channel(config).1, setting, stopped, move |_: &Flow| {
            Way::plain(Connection(Arc::clone(&stream)), ServiceClock::new(0))
        }));
        let at_once = timeout(Duration::ZERO, &mut agent).await;
        assert!(at_once.is_err(), "the agent ends at once: {at_once:?}");
        if mode == Mode::Once {
            let ended = timeout(Duration::from_secs(3_600), &mut agent).await.expect("all is delivered within an hour");
            assert_eq!(ended.unwrap(), Ending::Complete);
            self.host.now = begun_at + begun.elapsed();
            return Ended::Complete;
        }
        loop {
            let step = self.next_step().unwrap_or(Step::Stop);
            match step {
                Step::Pass(duration) => {
                    let ended = timeout(duration, &mut agent).await;
                    assert!(ended.is_err(), "the agent ends by itself: {ended:?}");
                    self.host.now = begun_at + begun.elapsed();
                    self.take_arrivals();
                    self.rules.passed(&mut self.host);
                }
                Step::Stop => {
                    stop.send_replace(true);
                    let longest = drain_timeout + Duration::from_millis(10);
                    let ended = timeout(longest, &mut agent).await.expect("the agent ends when the drain timeout is over");
                    self.host.now = begun_at + begun.elapsed();
                    break match ended.unwrap() {
                        Ending::Complete | Ending::Drained => Ended::Drained,
                        Ending::TimedOut { .. } => Ended::TimedOut,
                        Ending::NotCommitted => panic!("the last offsets were not committed"),
                    };
                }
                Step::Abort => {
                    drop(agent);
                    assert!(wait_until(|| released.strong_count() == 0).await, "the store is held after the agent was dropped");
                    break Ended::Aborted;
                }
                Step::Kill => {
                    self.host.now = begun_at + begun.elapsed();
                    copy_folder(&self.state(), &self.state_at_kill());
                    break Ended::Killed;
                }
                Step::Do(_) | Step::NewProgram | Step::BlackOut(_) => self.act(&step),
            }
        }
    }

    fn take_arrivals(&mut self) {
        for stored in self.stream.take() {
            self.rules.arrive(&self.host, &stored);
        }
    }

    /// Bytes read = delivered + dropped + in flight, and nothing is in flight after an orderly end.
    fn balance(&mut self, ended: Ended, metrics: &Metrics) {
        let metrics: FlowMetrics = metrics.flows().remove(0);
        self.tally.unreachable_bytes += metrics.unreachable_bytes.get();
        assert_eq!(metrics.dropped_bytes(), 0, "nothing was to be dropped");
        if matches!(ended, Ended::Complete | Ended::Drained) {
            assert_eq!(metrics.in_flight(), 0, "bytes in flight after the end");
            assert_eq!(metrics.read_bytes.get(), metrics.delivered_bytes.get(), "bytes read, and bytes delivered");
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn state_at_kill(&self) -> PathBuf {
        self.folder.path().join("state-at-kill")
    }

    fn concluded(self) -> Tally {
        let Self { host, rules, ideal, mut tally, .. } = self;
        let outcome = rules.conclude(&host);
        if ideal.is_none() {
            rules.check_unreachable(tally.unreachable_bytes, &outcome);
        }
        (tally.files, tally.lines) = (host.bodies.len() as u64, host.lines.count() as u64);
        (tally.arrived, tally.doubled, tally.fragments) = (outcome.arrived, outcome.doubled, outcome.fragments);
        tally.reused_inodes = host.reused_inode_count;
        tally.lost_bytes = outcome.lost_bytes;
        tally.lost = outcome.lost.into_iter().map(|(what, count)| (what.to_owned(), count)).collect();
        tally
    }
}

impl Tally {
    /// Adds what another seed did.
    pub(crate) fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.files += other.files;
        self.reused_inodes += other.reused_inodes;
        self.lines += other.lines;
        self.arrived += other.arrived;
        self.doubled += other.doubled;
        self.fragments += other.fragments;
        self.lost_bytes += other.lost_bytes;
        self.unreachable_bytes += other.unreachable_bytes;
        self.simulated += other.simulated;
        for (mine, others) in [(&mut self.lives, other.lives), (&mut self.actions, other.actions), (&mut self.lost, other.lost)] {
            for (what, count) in others {
                *mine.entry(what).or_default() += count;
            }
        }
    }
}

fn run_ids(rng: &mut fastrand::Rng) -> Box<dyn Fn() -> u128 + Send + Sync> {
    let rng = Mutex::new(rng.fork());
    Box::new(move || rng.lock().unwrap().u128(..))
}

fn drawn_config(folder: &Path, files: &Path, compressed: &str, rng: &mut fastrand::Rng) -> Config {
    let state = folder.join("state");
    let memory = [2, 8, 64][rng.usize(..3)];
    let drain_timeout = ["0 s", "30 s", "10 min"][rng.usize(..3)];
    let aggregate = ["kpl", "kpl", "none"][rng.usize(..3)];
    let max_delay = ["10 ms", "1 s", "3 s"][rng.usize(..3)];
    let text = format!(
        "[agent]\nstate_dir = {state:?}\nadmin = \"off\"\nmemory_max = \"{memory} MiB\"\ndrain_timeout = \"{drain_timeout}\"\n\
         [[flow]]\nname = \"flow\"\nfiles = [{files:?}]\n{compressed}\
         [flow.kinesis]\nstream = \"s\"\naggregate = \"{aggregate}\"\nmax_delay = \"{max_delay}\"\n"
    );
    Config::parse(&text, "drawn").unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}
