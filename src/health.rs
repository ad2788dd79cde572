//! Whether each flow can deliver, whether offsets can be committed, and if not, why: what `/health` says.
//!
//! Senders, the checkpointer and the overseer write, the admin address and what the service manager is told read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::progress::verdict::Stuck;

/// The condition of the agent.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Conditions>>);

#[derive(Default)]
struct Conditions {
    /// By the order in which they began.
    flows: BTreeMap<usize, FlowHealth>,
    begun_count: usize,
    /// Why offsets cannot be committed, while they cannot.
    commit: Option<Pause>,
    /// Why no snapshot of the offset store can be written, while none can.
    snapshot: Option<Pause>,
    /// What does not go on.
    stuck: Vec<Stuck>,
}

/// The condition of one flow.
#[derive(Clone, Debug)]
pub struct FlowHealth {
    /// Its name.
    pub flow: String,
    /// Why the service does not take its records, while it does not.
    pub delivery: Option<Pause>,
    /// Why there is no data key to encrypt its records with, while there is none.
    pub data_keys: Option<Pause>,
}

impl FlowHealth {
    /// Why it cannot deliver, while it cannot.
    pub fn paused(&self) -> Option<&Pause> {
        self.delivery.as_ref().or(self.data_keys.as_ref())
    }
}

/// Something that cannot be done and is tried again from time to time.
#[derive(Clone, Debug)]
pub struct Pause {
    /// What is wrong and what the operator can do.
    pub reason: String,
    /// Since when.
    pub since: Instant,
}

/// Where one who has to do with a flow says how it fares; after the flow has ended nobody listens.
#[derive(Clone)]
pub struct FlowReporter {
    health: Health,
    index: usize,
    of: fn(&mut FlowHealth) -> &mut Option<Pause>,
}

impl Health {
    /// A place for the flow `name`, which begins and is well so far: for what the service says of its records. Of a flow of this
    /// name that has ended nothing is said any more.
    pub fn flow(&self, name: &str) -> FlowReporter {
        self.forget(name);
        let mut conditions = self.conditions();
        let index = conditions.begun_count;
        conditions.begun_count += 1;
        conditions.flows.insert(index, FlowHealth { flow: name.to_owned(), delivery: None, data_keys: None });
        FlowReporter { health: self.clone(), index, of: |flow| &mut flow.delivery }
    }

    /// The flow `name` has ended.
    pub fn forget(&self, name: &str) {
        self.conditions().flows.retain(|_, flow| flow.flow != name);
    }

    /// The condition of every flow now.
    pub fn flows(&self) -> Vec<FlowHealth> {
        self.conditions().flows.values().cloned().collect()
    }

    /// Why offsets cannot be committed, or their snapshot not be written, if that is so now.
    pub fn commit(&self) -> Option<Pause> {
        let conditions = self.conditions();
        conditions.commit.as_ref().or(conditions.snapshot.as_ref()).cloned()
    }

    /// What does not go on, all of it.
    pub fn stuck(&self, stuck: Vec<Stuck>) {
        self.conditions().stuck = stuck;
    }

    /// What did not go on at the last look.
    pub fn found_stuck(&self) -> Vec<Stuck> {
        self.conditions().stuck.clone()
    }

    /// No snapshot of the offset store can be written.
    pub fn snapshots_fail(&self, reason: &str) {
        pause(&mut self.conditions().snapshot, reason);
    }

    /// Snapshots of the offset store are written.
    pub fn snapshots_work(&self) {
        self.conditions().snapshot = None;
    }

    /// Offsets cannot be committed.
    pub fn commits_fail(&self, reason: &str) {
        pause(&mut self.conditions().commit, reason);
    }

    /// Offsets are committed.
    pub fn commits_work(&self) {
        self.conditions().commit = None;
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowReporter {
    /// The same flow, for what is said of its data keys.
    #[must_use]
    pub fn of_data_keys(&self) -> Self {
        Self { of: |flow| &mut flow.data_keys, ..self.clone() }
    }

    /// The flow cannot deliver.
    pub fn paused(&self, reason: &str) {
        if let Some(flow) = self.health.conditions().flows.get_mut(&self.index) {
            pause((self.of)(flow), reason);
        }
    }

    /// The flow can, as far as one knows here.
    pub fn delivering(&self) {
        if let Some(flow) = self.health.conditions().flows.get_mut(&self.index) {
            *(self.of)(flow) = None;
        }
    }

    /// Whether anything keeps the flow from delivering.
    pub fn is_paused(&self) -> bool {
        self.health.conditions().flows.get(&self.index).is_some_and(|flow| flow.paused().is_some())
    }
}

/// The moment of the first report since all was well stays.
fn pause(paused: &mut Option<Pause>, reason: &str) {
    let since = paused.as_ref().map_or_else(Instant::now, |pause| pause.since);
    *paused = Some(Pause { reason: reason.to_owned(), since });
}
