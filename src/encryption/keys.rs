//! The data key of a flow: how long it is used, when the next one is asked for, and what happens while there is none.
//!
//! A key is used until it is too old or has encrypted too much, as `[flow.encryption]` says. Well before that the next one is
//! asked for, so that nobody waits for it. A failure matters only when the current key has come to its end: then whoever seals
//! waits, and the files are the buffer. How a key is made is left to the [`KeySource`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::message::{DataKey, MESSAGE_ID_BYTES, MessageId};
use crate::backoff::backoff;
use crate::config::Encryption;
use crate::health::FlowReporter;
use crate::limits::{ATTEMPT_TIMEOUT, PAUSE_REMINDER};
use crate::metrics::FlowMetrics;

/// Where data keys come from. KMS, or in tests a fake that fails as told.
pub trait KeySource: Send + Sync {
    /// Makes one attempt to get a new data key.
    fn generate(&self) -> Generating<'_>;
}

/// An attempt to get a data key.
pub type Generating<'a> = Pin<Box<dyn Future<Output = Result<DataKey, KeyFailure>> + Send + 'a>>;

/// Why there is no data key. It is asked for again, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFailure {
    /// The service's name of the error, or one of ours: `Timeout`, `Connection`, ...
    pub code: String,
    /// What went wrong, and perhaps what the operator can do.
    pub message: String,
}

/// The data keys of one flow.
pub struct DataKeys {
    source: Arc<dyn KeySource>,
    bounds: Bounds,
    /// The key that is used; it is dropped as soon as somebody finds that it has come to its end.
    current: Option<InUse>,
    /// At most one attempt to get the next one.
    attempt: JoinSet<Answer>,
    /// Attempts in a row that have failed.
    failure_count: u32,
    /// No attempt before.
    retry_at: Instant,
    told: Option<Told>,
    metrics: FlowMetrics,
    health: FlowReporter,
    random: fastrand::Rng,
}

/// How much one key is used.
#[derive(Clone, Copy)]
struct Bounds {
    age: Duration,
    message_count: u64,
    byte_count: u64,
}

/// A key from the moment at which it came.
struct InUse {
    key: DataKey,
    since: Instant,
    /// At this age the next one is asked for.
    renewal_age: Duration,
    message_count: u64,
    byte_count: u64,
}

/// A key and when it came.
type Answer = Result<(DataKey, Instant), KeyFailure>;

/// The operator knows that no key is to be had.
struct Told {
    at: Instant,
    code: String,
    /// It was told as something that holds up the flow.
    is_pause: bool,
}

/// `code` of an attempt that took too long.
pub(super) const TIMEOUT: &str = "Timeout";
/// With so many failures in a row, and no key that can be used, a flow counts as paused.
const FAILURES_UNTIL_PAUSED: u32 = 3;
/// The next key is asked for at this part of the greatest age of the current one, and up to `RENEWAL_JITTER` later: hosts that
/// were started together spread out.
const RENEWAL_AGE: f64 = 0.7;
const RENEWAL_JITTER: f64 = 0.2;
/// The same for messages and bytes: when less than this part of the bound is left.
const RENEWAL_REST: u64 = 4;

impl DataKeys {
    /// The data keys of a flow, of which none is asked for yet.
    pub fn new(
        rules: &Encryption,
        source: Arc<dyn KeySource>,
        metrics: FlowMetrics,
        health: FlowReporter,
        random: fastrand::Rng,
    ) -> Self {
        let bounds = Bounds { age: rules.max_age, message_count: rules.max_messages as u64, byte_count: rules.max_bytes as u64 };
        Self {
            source,
            bounds,
            current: None,
            attempt: JoinSet::new(),
            failure_count: 0,
            retry_at: Instant::now(),
            told: None,
            metrics,
            health,
            random,
        }
    }

    /// Appends to `out` the message that `plaintext` becomes, once there is a key for it.
    ///
    /// What cannot be done is told and tried again: nothing is dropped, and nothing goes unencrypted.
    pub async fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        loop {
            let key = self.current(plaintext.len()).await;
            match seal_with(key, plaintext, out) {
                Ok(()) => break,
                Err(failure) => self.failed(&failure, true),
            }
            sleep_until(self.retry_at).await;
        }
        if self.told.as_ref().is_some_and(|told| told.is_pause) {
            self.recovered();
        }
    }

    /// The key for the next message, which has `byte_count` bytes of plaintext, and is counted.
    pub async fn current(&mut self, byte_count: usize) -> &DataKey {
        let byte_count = byte_count as u64;
        if let Some(answer) = self.attempt.try_join_next() {
            self.current = self.answered(answer).or(self.current.take());
        }
        let usable = self.current.take().filter(|current| current.takes(byte_count, &self.bounds));
        let mut current = match usable {
            Some(current) => current,
            None => self.next().await,
        };
        current.message_count += 1;
        current.byte_count += byte_count;
        if current.is_to_be_renewed(&self.bounds) && self.attempt.is_empty() && Instant::now() >= self.retry_at {
            self.start_attempt();
        }
        &self.current.insert(current).key
    }

    /// Waits for the next key.
    async fn next(&mut self) -> InUse {
        loop {
            if self.attempt.is_empty() {
                sleep_until(self.retry_at).await;
                self.start_attempt();
            }
            if let Some(answer) = self.attempt.join_next().await
                && let Some(next) = self.answered(answer)
            {
                return next;
            }
        }
    }

    fn start_attempt(&mut self) {
        let source = Arc::clone(&self.source);
        self.attempt.spawn(async move {
            let timed_out =
                |_| KeyFailure { code: TIMEOUT.to_owned(), message: format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs()) };
            let key = timeout(ATTEMPT_TIMEOUT, source.generate()).await.map_err(timed_out).flatten()?;
            Ok((key, Instant::now()))
        });
    }

    fn answered(&mut self, answer: Result<Answer, JoinError>) -> Option<InUse> {
        match answer {
            Ok(Ok((key, since))) => {
                self.succeeded(&key);
                let renewal_age = self.bounds.age.mul_f64(RENEWAL_AGE + RENEWAL_JITTER * self.random.f64());
                Some(InUse { key, since, renewal_age, message_count: 0, byte_count: 0 })
            }
            Ok(Err(failure)) => {
                let is_usable = self.current.as_ref().is_some_and(|current| current.takes(0, &self.bounds));
                self.failed(&failure, !is_usable);
                None
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Nobody cancels it but our own end.
            Err(_) => None,
        }
    }

    fn succeeded(&mut self, key: &DataKey) {
        tracing::debug!(flow = self.metrics.name, key_arn = key.key_arn(), "a new data key");
        (self.failure_count, self.retry_at) = (0, Instant::now());
        self.recovered();
    }

    fn recovered(&mut self) {
        let Some(told) = self.told.take() else { return };
        tracing::info!(flow = self.metrics.name, "there are data keys to encrypt with again");
        if told.is_pause {
            self.health.delivering();
            self.metrics.paused.set(i64::from(self.health.is_paused()));
        }
    }

    /// Notes a failure, and when it is tried again; `is_waiting` when nothing can be encrypted meanwhile.
    fn failed(&mut self, failure: &KeyFailure, is_waiting: bool) {
        self.failure_count = self.failure_count.saturating_add(1);
        self.retry_at = Instant::now() + backoff(self.failure_count, self.random.f64());
        // A timeout is long enough to be told the first time.
        let is_pause = is_waiting && (self.failure_count >= FAILURES_UNTIL_PAUSED || failure.code == TIMEOUT);
        if is_waiting && !is_pause {
            return;
        }
        let is_known = self
            .told
            .as_ref()
            .is_some_and(|told| told.is_pause == is_pause && told.code == failure.code && told.at.elapsed() < PAUSE_REMINDER);
        let (flow, reason) = (&self.metrics.name, failure.to_string());
        match (is_known, is_pause) {
            (true, _) => {}
            (false, false) => tracing::warn!(flow, reason, "no new data key, the current one is used until its end"),
            (false, true) => tracing::error!(
                flow,
                reason,
                "flow is paused: it has no data key to encrypt with, and goes on by itself when it has; no line is lost"
            ),
        }
        if is_pause {
            self.health.paused(&format!("no data key: {reason}"));
            self.metrics.paused.set(i64::from(self.health.is_paused()));
        }
        if !is_known {
            self.told = Some(Told { at: Instant::now(), code: failure.code.clone(), is_pause });
        }
    }
}

impl InUse {
    /// Whether the next message, of so many bytes, may be encrypted with it. Its first may have any size.
    fn takes(&self, byte_count: u64, bounds: &Bounds) -> bool {
        let has_room = self.message_count == 0 || self.byte_count.saturating_add(byte_count) <= bounds.byte_count;
        has_room && self.message_count < bounds.message_count && self.since.elapsed() < bounds.age
    }

    fn is_to_be_renewed(&self, bounds: &Bounds) -> bool {
        let share = |bound: u64| bound - bound / RENEWAL_REST;
        self.since.elapsed() >= self.renewal_age
            || self.message_count >= share(bounds.message_count)
            || self.byte_count >= share(bounds.byte_count)
    }
}

fn seal_with(key: &DataKey, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), KeyFailure> {
    let mut id: MessageId = [0; MESSAGE_ID_BYTES];
    let failure = |code: &str, message: String| KeyFailure { code: code.to_owned(), message };
    getrandom::fill(&mut id).map_err(|error| failure("Random", format!("the system gives no random numbers: {error}")))?;
    key.seal(&id, plaintext, out)
        .map_err(|_| failure("TooLong", format!("a record of {} bytes cannot be encrypted", plaintext.len())))
}

impl fmt::Display for KeyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests;
