//! The composition root: every arrow of the drawing is one line, and the order in which everything ends.

mod beginning;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::beginning::{Waiting, begin};
use crate::budget::Budget;
use crate::checkpointer::{Checkpointer, FlowAccount};
use crate::config::{self, Config, Flow, ReadBack};
use crate::delivery_token::DeliveryTokens;
use crate::discovery::{Globs, Hints, Watch};
use crate::encryption::keys::{DataKeys, KeySource};
use crate::gate::Gate;
use crate::health::Health;
use crate::limits::{
    CHUNKS_WAITING, EVENTS_WAITING, LAST_COMMIT_TIMEOUT, MEMORY_PER_LINE_BYTE, REQUEST_BYTES_MIN, REQUESTS_WAITING,
    SUMMARY_INTERVAL,
};
use crate::metadata::{Metadata, Wanted};
use crate::metrics::Metrics;
use crate::offsets::{Offsets, RunKey, Stored};
use crate::packer::{self, Packer};
use crate::processor::Surroundings;
use crate::progress::{Progress, Stage};
use crate::readback::start;
use crate::sender::survey::{Doubt, Survey};
use crate::sender::{self, Destination, Sender};
use crate::service_clock::ServiceClock;
use crate::span::FileKey;
use crate::stream::{Load, StreamFacts};
use crate::tailer::{self, Mode, Tailer};
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
    /// Names this run in delivery tokens; random.
    pub run_id: u128,
    /// For file keys and the jitter of retries; random.
    pub seed: u64,
    /// Where files are read.
    pub reading: Reading,
    /// What records may say of the host.
    pub surroundings: Arc<Surroundings>,
    /// What they may say of the instance.
    pub metadata: Metadata,
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

/// Runs all flows until `stop` is true, or, with [`Mode::Once`], until everything is settled.
///
/// # Errors
/// A thread could not be started, a pattern that was checked with the configuration is none after all, or a flow whose records
/// are to be encrypted has no source of data keys.
pub async fn run<D: Destination>(
    config: &Config,
    setting: Setting,
    mut stop: watch::Receiver<bool>,
    way_of: impl Fn(&Flow) -> Way<D>,
) -> io::Result<Ending> {
    let budget_bytes = config.agent.memory_max / MEMORY_PER_LINE_BYTE / config.flows.len().max(1);
    let mut random = fastrand::Rng::with_seed(setting.seed);
    let (events, events_out) = mpsc::channel(EVENTS_WAITING);
    let (mut accounts, knocked) = (Vec::new(), Arc::new(Notify::new()));
    let mut stages = JoinSet::new();
    let mut tailers = Vec::new();
    let is_cut_short = Arc::new(AtomicBool::new(false));

    let Stored { mut rows, started_flows, mut sendings, is_rolled_back } = setting.stored;
    let writing = match setting.reading {
        Reading::OwnThreads => Writing::OwnThread,
        Reading::Here { commit_latency } => Writing::Here(commit_latency),
    };
    let waiting = Waiting::of(config.flows.len());
    let files: Vec<(FileKey, String)> = rows.iter().map(|(file, row)| (*file, row.flow.clone())).collect();
    let names: Vec<String> = config.flows.iter().map(|flow| flow.name.clone()).collect();
    let counters = setting.store.begin_run(setting.run_id, &names).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot keep count of what is sent: after a sudden end it is not known exactly how much that was");
        Vec::new()
    });
    for (flow_index, flow) in config.flows.iter().enumerate() {
        let flow = Arc::new(flow.clone());
        let metrics = setting.metrics.flow(&flow.name);
        let budget = Budget::new(budget_bytes);
        let attempt_timeout = flow.aws.over(&config.aws).attempt_timeout();
        let quiet_max = flow.delivery.max_delay.max(attempt_timeout).max(config.agent.settle);
        let progress = setting.progress.flow(metrics.clone(), quiet_max);
        let tokens = DeliveryTokens::new(setting.run_id, flow_index, config.flows.len());
        let health = setting.health.flow(&flow.name);
        let health_of_start = health.clone();
        let hints = Hints::default();
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_WAITING);
        let (requests, requests_out) = mpsc::channel(REQUESTS_WAITING);
        // Several requests in flight hold bytes beside those of lines: with little memory each of them is smaller.
        let request_bytes = flow.delivery.request_bytes.min(budget_bytes.max(REQUEST_BYTES_MIN));
        let Way { destination, key_source, clock } = way_of(&flow);
        let destination = Arc::new(destination);
        let gate = match counters.get(flow_index) {
            Some(counter) => Gate::counting(Arc::clone(&knocked), counter.clone()),
            None => Gate::new(Arc::clone(&knocked)),
        };
        let stream = flow.delivery.destination.readable_stream();
        let read_back = if stream.is_some() { config.agent.read_back } else { ReadBack::Off };
        accounts.push(FlowAccount {
            run: RunKey { run_id: setting.run_id, flow: flow.name.clone() },
            stream: stream.map(str::to_owned),
            gate: gate.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            budget: budget.clone(),
        });
        let keys = match (&flow.encryption, key_source) {
            (None, _) => None,
            (Some(rules), Some(source)) => {
                Some(DataKeys::new(rules, source, metrics.clone(), health.of_data_keys(), random.fork()))
            }
            (Some(_), None) => return Err(io::Error::other("records are to be encrypted, and there is no source of data keys")),
        };
        let (load, doubt) = (Load::default(), Doubt::default());
        let (learned, facts) = watch::channel(StreamFacts::before_asking(&flow.delivery.destination));
        let random_of_survey = random.fork();
        if let config::Destination::Kinesis(_) = flow.delivery.destination {
            let survey = Survey::new(Arc::clone(&destination), learned, doubt.clone(), metrics.clone(), random_of_survey);
            stages.spawn(progress.follow(Stage::Survey, survey.run()));
        }
        let sender = Sender::new(sender::Parts {
            destination: Arc::clone(&destination),
            facts: facts.clone(),
            load: load.clone(),
            doubt,
            gate: gate.clone(),
            clock: clock.clone(),
            read_back,
            settle: config.agent.settle,
            order: flow.delivery.order,
            request_bytes,
            held_byte_count_max: budget_bytes,
            events: events.clone(),
            metrics: metrics.clone(),
            health,
            random: random.fork(),
        });
        let packer = Packer::new(packer::Parts {
            flow: Arc::clone(&flow),
            surroundings: Arc::clone(&setting.surroundings),
            metadata: if Wanted::of(std::slice::from_ref(&*flow)).is_nothing() {
                Metadata::nothing()
            } else {
                setting.metadata.clone()
            },
            tokens,
            request_bytes,
            facts,
            load,
            keys,
            budget_bytes,
            requests,
            events: events.clone(),
            metrics: metrics.clone(),
        });
        let of_flow: Vec<_> = rows.extract_if(.., |(_, row)| row.flow == flow.name).collect();
        let runs: Vec<_> = sendings.extract_if(.., |(run, _)| run.flow == flow.name).collect();
        let streams = runs.iter().filter_map(|(_, sending)| sending.stream.clone());
        let readers: HashMap<String, Arc<D>> = streams.map(|name| (name.clone(), reader_of(&flow, name, &way_of))).collect();
        let unread = Arc::clone(&destination);
        let parts = start::Parts {
            runs,
            // There is one for each run.
            reader_of: move |name: &str| readers.get(name).map_or_else(|| Arc::clone(&unread), Arc::clone),
            clock: clock.clone(),
            settle: config.agent.settle,
            attempt_timeout,
            read_back: config.agent.read_back,
            has_tokens: flow.delivery.has_tokens(),
            is_rolled_back,
            files_of_others: Arc::new(files.iter().filter(|(_, of)| *of != flow.name).map(|(file, _)| *file).collect()),
            metrics: metrics.clone(),
            health: health_of_start,
            store: Arc::clone(&setting.store),
            writing,
        };
        let (begun, rows_of_flow) = oneshot::channel();
        let begins = begin(parts, of_flow, begun, waiting.clone(), stop.clone());
        stages.spawn(progress.follow(Stage::ReadBack, begins));
        let parts = tailer::Parts {
            flow_index,
            globs: Globs::new(&flow.files, &flow.exclude).map_err(|mistake| io::Error::other(mistake.message))?,
            watch: (setting.reading == Reading::OwnThreads && !flow.poll).then(|| Watch::new(&hints)),
            hints,
            is_first_start: !started_flows.contains(&flow.name),
            // They come when it begins.
            rows: Vec::new(),
            flow,
            chunks,
            events: events.clone(),
            gate,
            forget_after: config.agent.forget_after,
            budget,
            open_files_max: config.agent.max_open_files / config.flows.len().max(1),
            metrics,
            random: random.fork(),
        };
        stages.spawn(progress.follow(Stage::Packer, packer.run(chunks_out)));
        stages.spawn(progress.follow(Stage::Sender, sender.run(requests_out)));
        tailers.push((parts, rows_of_flow, progress));
    }
    drop(events);
    let (end, ended) = oneshot::channel();
    let commit_failing = setting.metrics.commit_failing();
    let checkpointer = Checkpointer::new(setting.store, writing, accounts, knocked, commit_failing, setting.health);
    let checkpointer = tokio::spawn(setting.progress.follow(Stage::Checkpointer, checkpointer.run(events_out, ended)));
    for (parts, rows, progress) in tailers {
        let (stop, is_cut_short) = (stop.clone(), Arc::clone(&is_cut_short));
        let tail = async move {
            // Told to stop before it has begun, it has none.
            if let Ok(rows) = rows.await {
                let tailer = Tailer::new(tailer::Parts { rows, ..parts });
                progress.follow(Stage::Tailer, tailer.run(setting.mode, stop.clone())).await;
            }
            is_cut_short.fetch_or(*stop.borrow(), Ordering::Relaxed);
        };
        match setting.reading {
            Reading::Here { .. } => _ = stages.spawn(tail),
            Reading::OwnThreads => _ = stages.spawn(on_own_thread(tail)?),
        }
    }

    let summary = tokio::spawn(log_summaries(Arc::clone(&setting.metrics)));
    let is_drained = drain(&mut stages, &mut stop, config.agent.drain_timeout).await;
    let uncertain_record_count = || setting.metrics.flows().iter().map(|flow| flow.possibly_doubled_records.get()).sum::<u64>();
    let uncertain_before = uncertain_record_count();
    stages.shutdown().await;
    let ending = match (is_drained, is_cut_short.load(Ordering::Relaxed)) {
        (true, false) => Ending::Complete,
        (true, true) => Ending::Drained,
        (false, _) => Ending::TimedOut { uncertain_record_count: uncertain_record_count() - uncertain_before },
    };
    // It is told, because a tailer that hangs in a system call keeps its sender of events open.
    let _ = end.send(());
    let is_committed = tokio::time::timeout(LAST_COMMIT_TIMEOUT, checkpointer).await;
    summary.abort();
    Ok(if matches!(is_committed, Ok(Ok(true))) { ending } else { Ending::NotCommitted })
}

/// What leads to the stream `name` in the way of `flow`, which may send to another one now.
fn reader_of<D>(flow: &Flow, name: String, way_of: impl Fn(&Flow) -> Way<D>) -> Arc<D> {
    let mut flow = flow.clone();
    flow.delivery.destination = config::Destination::Kinesis(name);
    Arc::new(way_of(&flow).destination)
}

/// Waits for the stages to end, each after the one before it; after `stop` not longer than `timeout`, then false.
async fn drain(stages: &mut JoinSet<()>, stop: &mut watch::Receiver<bool>, timeout: Duration) -> bool {
    let deadline = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(timeout).await;
    };
    let ended = async {
        while let Some(stage) = stages.join_next().await {
            if let Err(error) = stage
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    };
    tokio::select! {
        biased;
        () = ended => true,
        () = deadline => false,
    }
}

/// Runs `tail` on a thread of its own, which ends when the future that is returned does, or later.
fn on_own_thread(tail: impl Future<Output = ()> + Send + 'static) -> io::Result<impl Future<Output = ()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (ended, has_ended) = oneshot::channel();
    std::thread::Builder::new().name("tailer".to_owned()).spawn(move || {
        runtime.block_on(tail);
        // Nobody waits for it after the drain timeout.
        let _ = ended.send(());
    })?;
    // In a thread that panics nothing is sent, which ends it too.
    Ok(async { _ = has_ended.await })
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
