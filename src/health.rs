//! Whether each flow can deliver, and if not, why: what `/health` says.
//!
//! Senders write, the admin address reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The condition of all flows.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Vec<FlowHealth>>>);

/// The condition of one flow.
#[derive(Clone, Debug)]
pub struct FlowHealth {
    /// Its name.
    pub flow: String,
    /// Why it cannot deliver, while it cannot.
    pub paused: Option<Pause>,
}

/// A flow that cannot deliver and tries again from time to time.
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
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flows.push(FlowHealth { flow: name.to_owned(), paused: None });
        FlowReporter { health: self.clone(), index: flows.len() - 1 }
    }

    /// The condition of every flow now.
    pub fn flows(&self) -> Vec<FlowHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FlowReporter {
    /// The flow cannot deliver. The moment of the first report since it last could stays.
    pub fn paused(&self, reason: &str) {
        let mut flows = self.health.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = &mut flows[self.index].paused;
        let since = paused.as_ref().map_or_else(Instant::now, |pause| pause.since);
        *paused = Some(Pause { reason: reason.to_owned(), since });
    }

    /// The flow delivers.
    pub fn delivering(&self) {
        self.health.0.lock().unwrap_or_else(PoisonError::into_inner)[self.index].paused = None;
    }
}
