//! One flow: its runs, one after the other. A run is made of stages, which end in their order, and ends when the agent does, or when
//! what it is made of has changed: then the next one goes on where it has come to.
//!
//! Between two runs the store knows everything of the first, as between two starts of the agent, so that nothing else is handed
//! from one to the other, but open files: should they be deleted, or moved away, there is no other way to them. What a run is made of is in `run`.

use std::future::pending;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Common;
use super::beginning::WaitingFlow;
use super::run::Run;
use crate::checkpointer::Event;
use crate::config::{Config, Flow, ReadBack};
use crate::health::FlowReporter;
use crate::limits::{BEGIN_RETRY_INTERVAL, COMMIT_INTERVAL, HAND_OVER_USUAL};
use crate::metrics::FlowMetrics;
use crate::offsets::{OpenError, Row, RunKey, Sending, Stored};
use crate::sender::Destination;
use crate::span::FileKey;
use crate::tailer::OpenFile;

/// What a run of a flow is made of; as long as it is the same, the run goes on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) flow: Flow,
    pub(super) read_back: ReadBack,
    pub(super) settle: Duration,
    pub(super) forget_after: Duration,
}

/// What is stored of one flow.
pub(super) struct FlowStored {
    pub(super) rows: Vec<(FileKey, Row)>,
    pub(super) runs: Vec<(RunKey, Sending)>,
    pub(super) is_first_start: bool,
    pub(super) is_rolled_back: bool,
}

/// The runs of one flow.
pub(super) struct Life<D> {
    pub(super) common: Arc<Common<D>>,
    pub(super) name: String,
    pub(super) configs: watch::Receiver<Arc<Config>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) random: fastrand::Rng,
    pub(super) metrics: FlowMetrics,
    pub(super) health: FlowReporter,
    /// Files that the run before has left open.
    pub(super) open_files: Vec<OpenFile>,
}

/// How the runs of a flow have ended.
pub(super) enum Ended {
    /// Everything is settled that was read, because everything that there was has been read (then `is_cut_short` is false), or
    /// because it was told to stop.
    Drained { is_cut_short: bool },
    /// The drain timeout has passed first.
    TimedOut { uncertain_record_count: u64 },
    /// It is not in the configuration any more.
    Removed,
}

/// Why a run ends.
enum Cause {
    ItsOwn,
    Stop,
    Change,
}

impl Rules {
    fn of(config: &Config, name: &str) -> Option<Self> {
        let flow = config.flows.iter().find(|flow| flow.name == name)?.clone();
        let (read_back, settle, forget_after) = (config.agent.read_back, config.agent.settle, config.agent.forget_after);
        Some(Self { flow, read_back, settle, forget_after })
    }

    fn has_files_of(&self, other: &Self) -> bool {
        (&self.flow.files, &self.flow.exclude) == (&other.flow.files, &other.flow.exclude)
    }
}

impl FlowStored {
    /// Takes what is stored of the flow `name`.
    pub(super) fn of(stored: &mut Stored, name: &str) -> Self {
        Self {
            rows: stored.rows.extract_if(.., |(_, row)| row.flow == name).collect(),
            runs: stored.sendings.extract_if(.., |(run, _)| run.flow == name).collect(),
            is_first_start: !stored.started_flows.contains(name),
            is_rolled_back: stored.is_rolled_back,
        }
    }
}

impl<D: Destination> Life<D> {
    /// Runs the flow as the configuration says, until it is told to stop or the flow is in the configuration no more. What is stored
    /// of it is read from the store where it is not given.
    ///
    /// # Errors
    /// A thread could not be started, a pattern that was checked with the configuration is none after all, or records are to be
    /// encrypted and there is no source of data keys.
    pub(super) async fn run(mut self, given: Option<(FlowStored, WaitingFlow)>) -> io::Result<Ended> {
        let (mut is_at_start, mut rules_before) = (given.is_some(), None::<Rules>);
        let (mut stored, waiting) = given.unzip();
        loop {
            let stored = match stored.take() {
                Some(stored) => stored,
                None => match self.stored().await {
                    Some(stored) => stored,
                    None => return Ok(Ended::Drained { is_cut_short: true }),
                },
            };
            // It may have changed since.
            let Some(rules) = self.rules() else {
                self.forget(0);
                return Ok(Ended::Removed);
            };
            if rules_before.as_ref().is_some_and(|before| !before.has_files_of(&rules)) {
                // What no pattern matches any more is left alone; what is deleted, nobody can say of.
                self.open_files.retain(OpenFile::is_deleted);
            }
            let mut stop = self.stop.clone();
            let begun = tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => return Ok(Ended::Drained { is_cut_short: true }),
                begun = self.begin(&rules, stored, waiting.clone()) => begun,
            };
            let mut run = match begun {
                Ok(run) => run,
                Err(error) if is_at_start => return Err(error),
                Err(error) => {
                    self.wait_to_begin(&error).await;
                    continue;
                }
            };
            is_at_start = false;
            let cause = self.until_it_ends(&mut run, &rules).await;
            if matches!(cause, Cause::Change) {
                tracing::info!(
                    flow = self.name,
                    "the flow has changed: what it has read is delivered first, or drain_timeout passes"
                );
            }
            let ended = self.end(&mut run, &cause).await;
            if !matches!(cause, Cause::Change) || !self.is_handed_over(&run).await {
                return Ok(ended);
            }
            // Held from now on, and through the read-back: in an outage that is when logs are rotated and deleted.
            self.open_files = std::mem::take(&mut *run.open_files.lock().unwrap_or_else(PoisonError::into_inner));
            rules_before = Some(rules);
            self.forget(run.budget.taken() as u64);
            if self.rules().is_none() {
                tracing::info!(flow = self.name, "the flow is not in the configuration any more: it has ended");
                return Ok(Ended::Removed);
            }
            tracing::info!(flow = self.name, "the flow goes on with what has changed in the configuration");
            self.metrics = self.common.metrics.flow(&self.name);
            self.health = self.common.health.flow(&self.name);
        }
    }

    /// The others go on, and this flow tries again.
    async fn wait_to_begin(&mut self, error: &io::Error) {
        self.health.paused(&format!("it cannot begin: {error}"));
        tracing::error!(flow = self.name, %error, "the flow cannot begin; trying again");
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => {}
            () = changed(&mut self.configs) => {}
            () = sleep(BEGIN_RETRY_INTERVAL) => {}
        }
    }

    fn forget(&self, released_byte_count: u64) {
        self.common.metrics.end(&self.metrics, released_byte_count);
        self.common.health.forget(&self.name);
    }

    fn rules(&mut self) -> Option<Rules> {
        Rules::of(&self.configs.borrow_and_update(), &self.name)
    }

    async fn until_it_ends(&mut self, run: &mut Run, rules: &Rules) -> Cause {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => return Cause::Stop,
                () = all_of(&mut run.stages) => return Cause::ItsOwn,
                () = changed(&mut self.configs) => {
                    if self.rules().as_ref() != Some(rules) {
                        return Cause::Change;
                    }
                }
            }
        }
    }

    /// Lets the stages end, each after the one before it, for as long as the configuration says.
    async fn end(&mut self, run: &mut Run, cause: &Cause) -> Ended {
        run.stop.send_replace(true);
        let drain_timeout = self.configs.borrow().agent.drain_timeout;
        let is_drained = tokio::select! {
            biased;
            () = all_of(&mut run.stages) => true,
            () = sleep(drain_timeout) => false,
        };
        if matches!(cause, Cause::Change) {
            // By the next run.
            run.unknown.is_found_out_later();
        }
        run.stages.shutdown().await;
        if is_drained {
            return Ended::Drained { is_cut_short: run.is_cut_short.load(Ordering::Relaxed) };
        }
        Ended::TimedOut { uncertain_record_count: run.unknown.record_count() as u64 }
    }

    /// Waits until nothing of the run is left and the store has everything that it has reported; false when the agent ends before.
    async fn is_handed_over(&mut self, run: &Run) -> bool {
        let (mut tailer, mut stop) = (run.tailer.clone(), self.stop.clone());
        let handed_over = async {
            if tailer.has_changed().is_ok() {
                tracing::warn!(flow = self.name, "the files of the flow do not answer: it goes on when they do");
            }
            while tailer.changed().await.is_ok() {}
            let (committed, is_committed) = oneshot::channel();
            let ended = Event::Ended { flow_index: run.flow_index, committed };
            // Without a checkpointer the agent has ended.
            self.common.events.send(ended).await.is_ok() && is_committed.await.is_ok()
        };
        let tell = async {
            sleep(HAND_OVER_USUAL).await;
            let reason = "it has changed, and waits until its files answer and its offsets are committed";
            self.health.paused(reason);
            tracing::warn!(flow = self.name, reason, "the flow cannot go on yet");
            pending().await
        };
        tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => false,
            is_handed_over = handed_over => is_handed_over,
            never = tell => never,
        }
    }

    /// What the store says now; none when the agent ends before it can be read.
    async fn stored(&mut self) -> Option<FlowStored> {
        loop {
            let (store, mut stop) = (Arc::clone(&self.common.store), self.stop.clone());
            let stored = tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => return None,
                stored = self.common.writing.run(move || store.stored()) => stored,
            };
            match stored {
                Ok(Ok(mut stored)) => return Some(FlowStored::of(&mut stored, &self.name)),
                Ok(Err(error)) => self.tell(&error),
                // The runtime is going down.
                Err(_) => return None,
            }
            sleep(COMMIT_INTERVAL).await;
        }
    }

    fn tell(&self, error: &OpenError) {
        tracing::error!(flow = self.name, %error, "cannot read the offsets of the flow, which has to begin anew; trying again");
    }
}

/// Waits for all of them.
async fn all_of(stages: &mut JoinSet<()>) {
    while let Some(stage) = stages.join_next().await {
        if let Err(error) = stage
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Waits for another configuration; for ever where nobody has one.
pub(super) async fn changed(configs: &mut watch::Receiver<Arc<Config>>) {
    if configs.changed().await.is_err() {
        pending::<()>().await;
    }
}
