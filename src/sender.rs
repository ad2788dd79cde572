//! Requests to the service until every entry is delivered.
//!
//! The sender decides how many requests are in flight, what is sent again and when, and when a flow counts as
//! paused. What an answer means is decided in [`outcome`], how a request is made in [`kinesis`]. Per-record
//! results are the only interpretation of a response; only failed entries are sent again, the same bytes,
//! ahead of new ones; nothing expires.

pub mod kinesis;
pub mod outcome;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::outcome::{Failure, RecordResult, Verdict};
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::health::FlowReporter;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, PAUSE_REMINDER, REQUESTS_IN_FLIGHT};
use crate::metrics::FlowMetrics;
use crate::settlement::{Outcome, Settled};
use crate::span::Spans;

/// Where entries go. Kinesis, or in tests a fake that fails as told.
pub trait Destination: Send + Sync + 'static {
    /// Makes one attempt to put `entries`, and returns what became of each, in order.
    fn put(&self, entries: &[Entry]) -> impl Future<Output = Result<Vec<RecordResult>, Failure>> + Send;
}

/// The task.
pub struct Sender<D> {
    destination: Arc<D>,
    request_bytes: usize,
    events: mpsc::Sender<Event>,
    metrics: FlowMetrics,
    health: FlowReporter,
    random: fastrand::Rng,
    in_flight: JoinSet<Answered>,
    /// Entries that an attempt did not deliver.
    retry: VecDeque<Entry>,
    /// Nothing is sent before.
    wait_until: Option<Instant>,
    /// Attempts in a row that did not deliver all.
    failure_count: u32,
    pause: Option<Paused>,
}

/// What was sent, and what became of it.
struct Answered {
    entries: Vec<Entry>,
    answer: Result<Vec<RecordResult>, Failure>,
}

/// The flow cannot deliver.
struct Paused {
    since: Instant,
    told_at: Instant,
    reason: String,
}

/// Failures in a row after which a flow that cannot reach the service counts as paused.
const FAILURES_UNTIL_PAUSED: u32 = 3;
/// With part of a request delivered the flow is not paused: waits double no further than this often.
const PARTIAL_FAILURES_MAX: u32 = 4;

impl<D: Destination> Sender<D> {
    /// A sender with nothing to send.
    pub fn new(
        destination: D,
        request_bytes: usize,
        events: mpsc::Sender<Event>,
        metrics: FlowMetrics,
        health: FlowReporter,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            destination: Arc::new(destination),
            request_bytes,
            events,
            metrics,
            health,
            random,
            in_flight: JoinSet::new(),
            retry: VecDeque::new(),
            wait_until: None,
            failure_count: 0,
            pause: None,
        }
    }

    /// Works until the packer has ended and everything is delivered.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Vec<Entry>>) {
        let mut is_ended = false;
        while !(is_ended && self.retry.is_empty() && self.in_flight.is_empty()) {
            while self.may_send() && !self.retry.is_empty() {
                self.send_again();
            }
            let may_send = self.may_send();
            tokio::select! {
                // Answers first: what failed goes ahead of what is new.
                biased;
                Some(answer) = self.in_flight.join_next(), if !self.in_flight.is_empty() => match answer {
                    Ok(answered) => self.answered(answered).await,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                () = sleep_until(self.wait_until.unwrap_or_else(Instant::now)), if self.wait_until.is_some() => self.wait_until = None,
                request = requests.recv(), if may_send && !is_ended => match request {
                    Some(entries) => self.send(entries),
                    None => is_ended = true,
                },
            }
        }
    }

    /// While nothing gets through, one request at a time finds out when it does.
    fn may_send(&self) -> bool {
        let in_flight_max = if self.pause.is_some() { 1 } else { REQUESTS_IN_FLIGHT };
        self.wait_until.is_none() && self.in_flight.len() < in_flight_max
    }

    fn send(&mut self, entries: Vec<Entry>) {
        let destination = Arc::clone(&self.destination);
        self.in_flight.spawn(async move {
            let answer = destination.put(&entries).await;
            Answered { entries, answer }
        });
    }

    fn send_again(&mut self) {
        let mut request = Collector::new(self.request_bytes);
        while let Some(entry) = self.retry.pop_front() {
            if let Err(entry) = request.try_push(entry) {
                self.retry.push_front(entry);
                break;
            }
        }
        self.send(request.take());
    }

    async fn answered(&mut self, Answered { entries, answer }: Answered) {
        match answer {
            Ok(results) if results.len() == entries.len() => self.by_record(entries, results).await,
            Ok(results) => {
                let failure = Failure::wrong_result_count(entries.len(), results.len());
                self.request_failed(entries, &failure);
            }
            Err(failure) => self.request_failed(entries, &failure),
        }
    }

    async fn by_record(&mut self, entries: Vec<Entry>, results: Vec<RecordResult>) {
        let mut delivered = Spans::default();
        let mut failed_count = 0;
        for (entry, result) in entries.into_iter().zip(results) {
            match result {
                RecordResult::Delivered => {
                    self.metrics.delivered_records.inc();
                    self.metrics.delivered_record_bytes.inc_by(entry.data.len() as u64);
                    self.metrics.delivered_user_records.inc_by(u64::from(entry.user_record_count));
                    delivered.extend(&entry.spans);
                }
                RecordResult::Failed { code, message } => {
                    failed_count += 1;
                    self.record_failed(entry, &code, &message);
                }
            }
        }
        let some_delivered = !delivered.is_empty();
        if some_delivered {
            let settled = Settled { spans: delivered, outcome: Outcome::Delivered };
            // The checkpointer ends last; without it there is nobody to tell.
            let _ = self.events.send(Event::Settled(settled)).await;
            self.delivering();
        }
        if failed_count == 0 {
            self.metrics.request("ok");
            self.failure_count = 0;
        } else {
            self.metrics.request("partial");
            if some_delivered {
                self.failure_count = self.failure_count.min(PARTIAL_FAILURES_MAX - 1);
            }
            self.back_off();
        }
    }

    fn record_failed(&mut self, entry: Entry, code: &str, message: &str) {
        self.metrics.failed_records(code, 1);
        if outcome::of_record(code) == Verdict::Uncertain {
            self.metrics.possibly_doubled_records.inc();
        }
        tracing::debug!(flow = self.metrics.name, code, message, "a record was not delivered, sending it again");
        self.retry.push_back(entry);
    }

    fn request_failed(&mut self, entries: Vec<Entry>, failure: &Failure) {
        self.metrics.request(&failure.code);
        self.metrics.failed_records(&failure.code, entries.len() as u64);
        if failure.verdict == Verdict::Uncertain {
            self.metrics.possibly_doubled_records.inc_by(entries.len() as u64);
        }
        tracing::debug!(
            flow = self.metrics.name,
            code = failure.code,
            message = failure.message,
            "a request failed, sending it again"
        );
        self.retry.extend(entries);
        self.back_off();
        let is_pause = match failure.verdict {
            Verdict::Pause => true,
            Verdict::Retry | Verdict::Uncertain => self.failure_count >= FAILURES_UNTIL_PAUSED,
            Verdict::SlowDown => false,
        };
        if is_pause {
            self.paused(failure);
        }
    }

    /// Waits a little longer after each failure in a row. Requests that were in flight together fail together
    /// and count once.
    fn back_off(&mut self) {
        if self.wait_until.is_some() {
            return;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        let wait = backoff(self.failure_count, self.random.f64());
        self.wait_until = Some(Instant::now() + wait);
    }

    fn paused(&mut self, failure: &Failure) {
        let now = Instant::now();
        let reason = failure.to_string();
        self.health.paused(&reason);
        self.metrics.paused.set(1);
        let flow = &self.metrics.name;
        match &mut self.pause {
            None => {
                tracing::error!(
                    flow,
                    reason,
                    "flow is paused: it cannot deliver, and goes on by itself when it can; no line is lost"
                );
                self.pause = Some(Paused { since: now, told_at: now, reason });
            }
            Some(pause) if pause.reason != reason || now - pause.told_at >= PAUSE_REMINDER => {
                let seconds = (now - pause.since).as_secs();
                tracing::error!(flow, reason, seconds, "flow is still paused");
                pause.told_at = now;
                pause.reason = reason;
            }
            Some(_) => {}
        }
    }

    fn delivering(&mut self) {
        if let Some(pause) = self.pause.take() {
            self.health.delivering();
            self.metrics.paused.set(0);
            tracing::info!(flow = self.metrics.name, seconds = pause.since.elapsed().as_secs(), "flow delivers again");
        }
    }
}

/// How long to wait after so many failures in a row: doubling, between half of it and all of it by `random`
/// in `0..1`.
fn backoff(failure_count: u32, random: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failure_count.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_greatest_and_are_spread() {
        let longest: Vec<_> = [1, 2, 3, 8, 9, 100].map(|count| backoff(count, 1.0).as_millis()).to_vec();
        assert_eq!(longest, [100, 200, 400, 12_800, 20_000, 20_000]);
        assert_eq!(backoff(1, 0.0), BACKOFF_MIN / 2);
    }
}
