//! The composition root: what all flows have in common, which of them there are, and the order in which everything ends. How one
//! flow lives is in `flow`, and every arrow of the drawing one line of `run`.

mod beginning;
mod flow;
mod run;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::beginning::{Waiting, WaitingFlow};
use self::flow::{Ended, FlowStored, Life, changed};
use crate::budget::Share;
use crate::checkpointer::{Checkpointer, Event};
use crate::config::{Config, Flow};
use crate::encryption::keys::KeySource;
use crate::health::Health;
use crate::limits::{EVENTS_WAITING, LAST_COMMIT_TIMEOUT, SUMMARY_INTERVAL};
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::offsets::{Offsets, Stored};
use crate::processor::Surroundings;
use crate::progress::{Progress, Stage};
use crate::sender::Destination;
use crate::service_clock::ServiceClock;
use crate::tailer::Mode;
use crate::writing::Writing;

/// What a run needs beside the configuration.
pub struct Setting {
    /// Where offsets are kept.
    pub store: Arc<Offsets>,
    /// What was in it.
    pub stored: Stored,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What tells whether flows deliver.
    pub health: Health,
    /// How long to go on.
    pub mode: Mode,
    /// Draws a random number that names a run of a flow in delivery tokens.
    pub new_run_id: Box<dyn Fn() -> u128 + Send + Sync>,
    /// For file keys and the jitter of retries; random.
    pub seed: u64,
    /// Where files are read.
    pub reading: Reading,
    /// What records may say of the host.
    pub surroundings: Arc<Surroundings>,
    /// What those of a flow may say of the instance.
    pub metadata_of: Of<Metadata>,
    /// Where it is seen that everything goes on.
    pub progress: Progress,
}

/// The way out of one flow.
pub struct Way<D> {
    /// Where records go.
    pub destination: D,
    /// Where data keys come from, if records are encrypted.
    pub key_source: Option<Arc<dyn KeySource>>,
    /// What time it is there.
    pub clock: ServiceClock,
}

impl<D> Way<D> {
    /// A way for records that are not encrypted.
    pub fn plain(destination: D, clock: ServiceClock) -> Self {
        Self { destination, key_source: None, clock }
    }
}

/// Where files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Each flow on a thread of its own, with notifications: a file system that hangs holds up its own flow only.
    OwnThreads,
    /// On the caller's runtime, without notifications, so that a simulation is repeatable. Offsets are [written](Writing::Here)
    /// there too, which takes so long.
    Here {
        /// On the runtime's clock.
        commit_latency: Duration,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With [`Mode::Once`]: everything that was there is settled and committed.
    Complete,
    /// Told to stop: everything that was read by then is settled and committed.
    Drained,
    /// The drain timeout passed first. What was settled is committed, the rest will be read again.
    TimedOut {
        /// Records that were sent, and nobody knows whether they were stored: unless the next start finds out, they are sent again.
        uncertain_record_count: u64,
    },
    /// The last offsets could not be written: what was delivered since the last commit will be sent again.
    NotCommitted,
}

/// What there is for each flow.
pub type Of<T> = Box<dyn Fn(&Flow) -> T + Send + Sync>;

/// What all flows have in common.
struct Common<D> {
    store: Arc<Offsets>,
    metrics: Arc<Metrics>,
    health: Health,
    mode: Mode,
    reading: Reading,
    writing: Writing,
    surroundings: Arc<Surroundings>,
    metadata_of: Of<Metadata>,
    progress: Progress,
    new_run_id: Box<dyn Fn() -> u128 + Send + Sync>,
    way_of: Of<Way<D>>,
    share: Share,
    /// How many threads may process the lines of one flow at once.
    thread_count: usize,
    /// The road back.
    events: mpsc::Sender<Event>,
    knocked: Arc<Notify>,
    next_flow_index: AtomicUsize,
}

/// The flows that there are.
struct Flows<D> {
    common: Arc<Common<D>>,
    configs: watch::Receiver<Arc<Config>>,
    stop: watch::Receiver<bool>,
    random: fastrand::Rng,
    lives: JoinSet<(String, io::Result<Ended>)>,
    names: BTreeSet<String>,
}

/// Runs the flows of the configuration, which may change, until `stop` is true, or, with [`Mode::Once`], until everything is settled.
/// A flow that is the same in a new configuration goes on untouched; others end, begin, or end and go on from there.
///
/// # Errors
/// A thread could not be started, a pattern that was checked with the configuration is none after all, or a flow whose records
/// are to be encrypted has no source of data keys; after the start that is told, and the flow tries again.
pub async fn run<D: Destination>(
    mut configs: watch::Receiver<Arc<Config>>,
    setting: Setting,
    mut stop: watch::Receiver<bool>,
    way_of: impl Fn(&Flow) -> Way<D> + Send + Sync + 'static,
) -> io::Result<Ending> {
    let config = Arc::clone(&configs.borrow_and_update());
    let writing = match setting.reading {
        Reading::OwnThreads => Writing::OwnThread,
        Reading::Here { commit_latency } => Writing::Here(commit_latency),
    };
    let (events, events_out) = mpsc::channel(EVENTS_WAITING);
    let (end, ended) = oneshot::channel();
    let knocked = Arc::new(Notify::new());
    let Setting { store, metrics, health, mut stored, .. } = setting;
    let checkpointer =
        Checkpointer::new(Arc::clone(&store), writing, Arc::clone(&knocked), metrics.commit_failing(), health.clone());
    let checkpointer = tokio::spawn(setting.progress.follow(Stage::Checkpointer, checkpointer.run(events_out, ended)));
    let summary = tokio::spawn(log_summaries(Arc::clone(&metrics)));
    let common = Common {
        store,
        metrics,
        health,
        mode: setting.mode,
        reading: setting.reading,
        writing,
        surroundings: setting.surroundings,
        metadata_of: setting.metadata_of,
        progress: setting.progress,
        new_run_id: setting.new_run_id,
        way_of: Box::new(way_of),
        share: Share::of(&config.agent, config.flows.len()),
        thread_count: config.agent.thread_count(),
        events,
        knocked,
        next_flow_index: AtomicUsize::new(0),
    };
    let mut flows = Flows {
        common: Arc::new(common),
        configs: configs.clone(),
        stop: stop.clone(),
        random: fastrand::Rng::with_seed(setting.seed),
        lives: JoinSet::new(),
        names: BTreeSet::new(),
    };
    let waiting = Waiting::of(config.flows.len());
    for flow in &config.flows {
        let stored = FlowStored::of(&mut stored, &flow.name);
        flows.begin(&flow.name, Some((stored, waiting.of_flow())));
    }

    let (mut is_cut_short, mut has_timed_out, mut uncertain_record_count) = (false, false, 0);
    loop {
        let is_ending = setting.mode == Mode::Once || *stop.borrow();
        if is_ending && flows.lives.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            Some(ended) = flows.next_ended() => match ended {
                Ok(Ended::Drained { is_cut_short: is_cut }) => is_cut_short |= is_cut,
                Ok(Ended::TimedOut { uncertain_record_count: count }) => {
                    has_timed_out = true;
                    uncertain_record_count += count;
                }
                Ok(Ended::Removed) => flows.apply(&configs.borrow()),
                Err(error) => return Err(error),
            },
            () = changed(&mut configs), if !is_ending => flows.apply(&configs.borrow_and_update()),
            Ok(_) = stop.wait_for(|stop| *stop), if !is_ending => {}
        }
    }
    let ending = match (has_timed_out, is_cut_short) {
        (false, false) => Ending::Complete,
        (false, true) => Ending::Drained,
        (true, _) => Ending::TimedOut { uncertain_record_count },
    };
    // It is told, because a tailer that hangs in a system call keeps its sender of events open.
    let _ = end.send(());
    let is_committed = tokio::time::timeout(LAST_COMMIT_TIMEOUT, checkpointer).await;
    summary.abort();
    Ok(if matches!(is_committed, Ok(Ok(true))) { ending } else { Ending::NotCommitted })
}

impl<D: Destination> Flows<D> {
    /// Lets those begin that are new in `config`. Of the others each sees for itself what becomes of it.
    fn apply(&mut self, config: &Config) {
        if *self.stop.borrow() {
            return;
        }
        let new = config.flows.iter().filter(|flow| !self.names.contains(&flow.name));
        let new: Vec<&str> = new.map(|flow| flow.name.as_str()).collect();
        // Those that are ending have one too.
        self.common.share.become_equal_to(&Share::of(&config.agent, self.names.len() + new.len()));
        new.into_iter().for_each(|name| self.begin(name, None));
    }

    /// Begins the life of a flow with what is stored of it; what that is is found out for one that comes later.
    fn begin(&mut self, name: &str, stored: Option<(FlowStored, WaitingFlow)>) {
        let life = Life {
            common: Arc::clone(&self.common),
            name: name.to_owned(),
            configs: self.configs.clone(),
            stop: self.stop.clone(),
            random: self.random.fork(),
            metrics: self.common.metrics.flow(name),
            health: self.common.health.flow(name),
            open_files: Vec::new(),
        };
        self.names.insert(name.to_owned());
        let name = name.to_owned();
        self.lives.spawn(async move { (name, life.run(stored).await) });
    }

    /// Waits for a flow to end; none when there is none.
    async fn next_ended(&mut self) -> Option<io::Result<Ended>> {
        let (name, ended) = match self.lives.join_next().await? {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => std::panic::resume_unwind(panicked),
                // Nobody cancels them but who drops all of this.
                Err(_) => return None,
            },
        };
        self.names.remove(&name);
        Some(ended)
    }
}

async fn log_summaries(metrics: Arc<Metrics>) {
    let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for flow in metrics.flows() {
            tracing::info!(
                flow = flow.name,
                read_lines = flow.read_lines.get(),
                read_bytes = flow.read_bytes.get(),
                delivered_bytes = flow.delivered_bytes.get(),
                dropped_bytes = flow.dropped_bytes(),
                in_flight_bytes = flow.in_flight(),
                lag_bytes = flow.lag_bytes.get(),
                open_files = flow.open_files.get(),
                "so far"
            );
        }
    }
}
