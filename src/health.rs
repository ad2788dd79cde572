//! Whether each flow can deliver, whether offsets can be committed, and if not, why: what `/health` says.
//!
//! Senders and the checkpointer write, the admin address reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The condition of the agent.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Conditions>>);

#[derive(Default)]
struct Conditions {
    flows: Vec<FlowHealth>,
    /// Why offsets cannot be committed, while they cannot.
    commit: Option<Pause>,
}

/// The condition of one flow.
#[derive(Clone, Debug)]
pub struct FlowHealth {
    /// Its name.
    pub flow: String,
    /// Why it cannot deliver, while it cannot.
    pub paused: Option<Pause>,
}

/// Something that cannot be done and is tried again from time to time.
#[derive(Clone, Debug)]
pub struct Pause {
    /// What is wrong and what the operator can do.
    pub reason: String,
    /// Since when.
    pub since: Instant,
}

/// Where the sender of one flow says how it fares.
#[derive(Clone)]
pub struct FlowReporter {
    health: Health,
    index: usize,
}

impl Health {
    /// A place for the flow `name`, which is well so far.
    pub fn flow(&self, name: &str) -> FlowReporter {
        let flows = &mut self.conditions().flows;
        flows.push(FlowHealth { flow: name.to_owned(), paused: None });
        FlowReporter { health: self.clone(), index: flows.len() - 1 }
    }

    /// The condition of every flow now.
    pub fn flows(&self) -> Vec<FlowHealth> {
        self.conditions().flows.clone()
    }

    /// Why offsets cannot be committed, if they cannot now.
    pub fn commit(&self) -> Option<Pause> {
        self.conditions().commit.clone()
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
    /// The flow cannot deliver.
    pub fn paused(&self, reason: &str) {
        pause(&mut self.health.conditions().flows[self.index].paused, reason);
    }

    /// The flow delivers.
    pub fn delivering(&self) {
        self.health.conditions().flows[self.index].paused = None;
    }
}

/// The moment of the first report since all was well stays.
fn pause(paused: &mut Option<Pause>, reason: &str) {
    let since = paused.as_ref().map_or_else(Instant::now, |pause| pause.since);
    *paused = Some(Pause { reason: reason.to_owned(), since });
}
