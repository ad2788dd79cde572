//! What a run of a flow is made of: every arrow of the drawing is one line.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::beginning::{WaitingFlow, begin};
use super::flow::{FlowStored, Life, Rules};
use super::{Common, Reading, Way};
use crate::budget::Budget;
use crate::checkpointer::{Event, FlowAccount};
use crate::config::{Destination as Stream, Flow, ReadBack};
use crate::delivery_token::DeliveryTokens;
use crate::discovery::{Globs, Hints, Watch};
use crate::encryption::keys::DataKeys;
use crate::gate::Gate;
use crate::limits::{CHUNKS_WAITING, REQUEST_BYTES_MIN, REQUESTS_WAITING};
use crate::offsets::RunKey;
use crate::packer::{self, Packer};
use crate::progress::Stage;
use crate::readback::start;
use crate::sender::survey::{Doubt, Survey};
use crate::sender::{self, Destination, Sender, Unknown};
use crate::stream::{Load, StreamFacts};
use crate::tailer::{self, OpenFile, Tailer};

/// A run.
pub(super) struct Run {
    pub(super) stages: JoinSet<()>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) is_cut_short: Arc<AtomicBool>,
    /// What the tailer has left open when it has ended.
    pub(super) open_files: Arc<Mutex<Vec<OpenFile>>>,
    /// Gone when the tailer is, which may hang in a system call after everything else has ended.
    pub(super) tailer: watch::Receiver<()>,
    pub(super) unknown: Unknown,
    pub(super) flow_index: usize,
    pub(super) budget: Budget,
}

impl<D: Destination> Life<D> {
    /// Begins a run: its stages work from now on.
    pub(super) async fn begin(&mut self, rules: &Rules, stored: FlowStored, waiting: Option<WaitingFlow>) -> io::Result<Run> {
        let common = &*self.common;
        let flow = Arc::new(rules.flow.clone());
        let run_key = RunKey { run_id: (common.new_run_id)(), flow: flow.name.clone() };
        let gate = match common.store.begin_run(&run_key) {
            Ok(counter) => Gate::counting(Arc::clone(&common.knocked), counter),
            Err(error) => {
                let flow = &flow.name;
                tracing::warn!(flow, %error, "cannot keep count of what is sent: after a sudden end it is not known exactly");
                Gate::new(Arc::clone(&common.knocked))
            }
        };
        let metrics = self.metrics.clone();
        let quiet_max = flow.delivery.max_delay.max(flow.aws.attempt_timeout()).max(rules.settle);
        let progress = common.progress.flow(metrics.clone(), quiet_max);
        let budget = Budget::new(common.share.clone());
        let tokens = DeliveryTokens::new(run_key.run_id);
        let hints = Hints::default();
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_WAITING);
        let (requests, requests_out) = mpsc::channel(REQUESTS_WAITING);
        // Several requests in flight hold bytes beside those of lines: with little memory each of them is smaller.
        let request_bytes = flow.delivery.request_bytes.min(common.share.byte_count_max().max(REQUEST_BYTES_MIN));
        let Way { destination, key_source, clock } = (common.way_of)(&flow);
        let destination = Arc::new(destination);
        let stream = flow.delivery.destination.readable_stream();
        let read_back = if stream.is_some() { rules.read_back } else { ReadBack::Off };
        let keys = match (&flow.encryption, key_source) {
            (None, _) => None,
            (Some(rules), Some(source)) => {
                Some(DataKeys::new(rules, source, metrics.clone(), self.health.of_data_keys(), self.random.fork()))
            }
            (Some(_), None) => return Err(io::Error::other("records are to be encrypted, and there is no source of data keys")),
        };
        let globs = Globs::new(&flow.files, &flow.exclude).map_err(|mistake| io::Error::other(mistake.message))?;
        let flow_index = common.next_flow_index.fetch_add(1, Ordering::Relaxed);
        let FlowStored { rows, runs, is_first_start, is_rolled_back } = stored;
        let mut stages = JoinSet::new();
        let (stop, stopped) = watch::channel(false);
        let (begun, rows_of_flow) = oneshot::channel();
        let own_threads = common.reading == Reading::OwnThreads;
        let parts = tailer::Parts {
            flow_index,
            globs,
            watch: (own_threads && !flow.poll).then(|| Watch::new(&hints)),
            hints,
            is_first_start,
            // They come when it begins.
            rows: Vec::new(),
            open_files: std::mem::take(&mut self.open_files),
            flow: Arc::clone(&flow),
            chunks,
            events: common.events.clone(),
            gate: gate.clone(),
            forget_after: rules.forget_after,
            budget: budget.clone(),
            metrics: metrics.clone(),
            random: self.random.fork(),
        };
        let (alive, tailer) = watch::channel(());
        let (is_cut_short, open_files) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<OpenFile>>>::default());
        let tail = {
            let (mode, is_cut_short, left) = (common.mode, Arc::clone(&is_cut_short), Arc::clone(&open_files));
            let (progress, stopped) = (progress.clone(), stopped.clone());
            async move {
                let _alive = alive;
                let open_files = match rows_of_flow.await {
                    Ok(rows) => {
                        let tailer = Tailer::new(tailer::Parts { rows, ..parts });
                        progress.follow(Stage::Tailer, tailer.run(mode, stopped.clone())).await
                    }
                    // Told to stop before it has begun.
                    Err(_) => parts.open_files,
                };
                *left.lock().unwrap_or_else(PoisonError::into_inner) = open_files;
                is_cut_short.fetch_or(*stopped.borrow(), Ordering::Relaxed);
            }
        };
        if own_threads {
            on_own_thread(tail)?;
            let mut tailer = tailer.clone();
            stages.spawn(async move { while tailer.changed().await.is_ok() {} });
        } else {
            stages.spawn(tail);
        }
        let account = FlowAccount {
            run: run_key,
            stream: stream.map(str::to_owned),
            gate: gate.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            budget: budget.clone(),
        };
        // Without a checkpointer the agent has ended.
        let _ = common.events.send(Event::Begun { flow_index, account: Box::new(account) }).await;

        let (load, doubt) = (Load::default(), Doubt::default());
        let (learned, facts) = watch::channel(StreamFacts::before_asking(&flow.delivery.destination));
        let random_of_survey = self.random.fork();
        if let Stream::Kinesis(_) = flow.delivery.destination {
            let survey = Survey::new(Arc::clone(&destination), learned, doubt.clone(), metrics.clone(), random_of_survey);
            stages.spawn(progress.follow(Stage::Survey, survey.run()));
        }
        let unknown = Unknown::default();
        let sender = Sender::new(sender::Parts {
            destination: Arc::clone(&destination),
            facts: facts.clone(),
            load: load.clone(),
            doubt,
            gate: gate.clone(),
            clock: clock.clone(),
            read_back,
            settle: rules.settle,
            order: flow.delivery.order,
            request_bytes,
            share: common.share.clone(),
            events: common.events.clone(),
            metrics: metrics.clone(),
            health: self.health.clone(),
            unknown: unknown.clone(),
            random: self.random.fork(),
        });
        let packer = Packer::new(packer::Parts {
            flow: Arc::clone(&flow),
            surroundings: Arc::clone(&common.surroundings),
            metadata: (common.metadata_of)(&flow),
            tokens,
            request_bytes,
            thread_count: common.thread_count,
            facts,
            load,
            keys,
            share: common.share.clone(),
            requests,
            events: common.events.clone(),
            metrics: metrics.clone(),
        });
        let streams = runs.iter().filter_map(|(_, sending)| sending.stream.clone());
        let readers: HashMap<String, Arc<D>> = streams.map(|name| (name.clone(), common.reader_of(&flow, name))).collect();
        let unread = Arc::clone(&destination);
        let parts = start::Parts {
            runs,
            // There is one for each run.
            reader_of: move |name: &str| readers.get(name).map_or_else(|| Arc::clone(&unread), Arc::clone),
            clock,
            settle: rules.settle,
            attempt_timeout: flow.aws.attempt_timeout(),
            read_back: rules.read_back,
            has_tokens: flow.delivery.has_tokens(),
            is_rolled_back,
            metrics: metrics.clone(),
            health: self.health.clone(),
            store: Arc::clone(&common.store),
            writing: common.writing,
        };
        stages.spawn(progress.follow(Stage::ReadBack, begin(parts, rows, begun, waiting, stopped.clone())));
        stages.spawn(progress.follow(Stage::Packer, packer.run(chunks_out)));
        stages.spawn(progress.follow(Stage::Sender, sender.run(requests_out)));

        Ok(Run { stages, stop, is_cut_short, open_files, tailer, unknown, flow_index, budget })
    }
}

impl<D> Common<D> {
    /// What leads to the stream `name` in the way of `flow`, which may send to another one now.
    fn reader_of(&self, flow: &Flow, name: String) -> Arc<D> {
        let mut flow = flow.clone();
        flow.delivery.destination = Stream::Kinesis(name);
        Arc::new((self.way_of)(&flow).destination)
    }
}

/// Runs `tail` on a thread of its own.
fn on_own_thread(tail: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("tailer".to_owned()).spawn(move || runtime.block_on(tail))?;
    Ok(())
}
