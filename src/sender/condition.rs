//! Whether a flow delivers, and who is told when it does not: the log once and then rarely, `/health`, a gauge.
//!
//! When a flow counts as paused is the sender's decision.

use tokio::time::Instant;

use crate::health::FlowReporter;
use crate::limits::PAUSE_REMINDER;
use crate::metrics::FlowMetrics;
use crate::outcome::Failure;

/// The condition of one flow.
pub(super) struct Condition {
    metrics: FlowMetrics,
    health: FlowReporter,
    pause: Option<Paused>,
    /// Why single records are kept apart, while there are some.
    refusal: Option<String>,
}

/// The flow cannot deliver.
struct Paused {
    since: Instant,
    told_at: Instant,
    /// Of the failure that was told: its sentence may hold the time.
    code: String,
    reason: String,
}

impl Condition {
    /// A flow that is well so far.
    pub(super) fn new(metrics: FlowMetrics, health: FlowReporter) -> Self {
        Self { metrics, health, pause: None, refusal: None }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Nothing gets through.
    pub(super) fn paused(&mut self, failure: &Failure) {
        let now = Instant::now();
        let reason = failure.to_string();
        let flow = &self.metrics.name;
        match &mut self.pause {
            None => {
                tracing::error!(
                    flow,
                    reason,
                    "flow is paused: it cannot deliver, and goes on by itself when it can; no line is lost"
                );
                self.pause = Some(Paused { since: now, told_at: now, code: failure.code.clone(), reason });
            }
            Some(pause) => {
                pause.reason = reason;
                if pause.code != failure.code || now - pause.told_at >= PAUSE_REMINDER {
                    let seconds = (now - pause.since).as_secs();
                    tracing::error!(flow, reason = pause.reason, seconds, "flow is still paused");
                    pause.told_at = now;
                    pause.code.clone_from(&failure.code);
                }
            }
        }
        self.show();
    }

    /// Something gets through.
    pub(super) fn delivering(&mut self) {
        if let Some(pause) = self.pause.take() {
            tracing::info!(flow = self.metrics.name, seconds = pause.since.elapsed().as_secs(), "flow delivers again");
            self.show();
        }
    }

    /// A record by itself does not get through.
    pub(super) fn refused(&mut self, failure: &Failure) {
        let reason = format!("{failure}; of a single record, which is kept and tried again while the others go on");
        if self.refusal.is_none() {
            tracing::error!(flow = self.metrics.name, reason, "a record is refused");
        }
        self.refusal = Some(reason);
        self.show();
    }

    /// A record that was refused by itself got through.
    pub(super) fn accepted(&mut self) {
        tracing::info!(flow = self.metrics.name, "a record that was refused is delivered");
        self.none_is_refused();
    }

    /// No record is kept apart any more.
    pub(super) fn none_is_refused(&mut self) {
        self.refusal = None;
        self.show();
    }

    fn show(&self) {
        let reason = self.pause.as_ref().map(|pause| &pause.reason).or(self.refusal.as_ref());
        match reason {
            Some(reason) => self.health.paused(reason),
            None => self.health.delivering(),
        }
        self.metrics.paused.set(i64::from(self.health.is_paused()));
    }
}
