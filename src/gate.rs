//! No request leaves before the store knows of it what a restart has to know.
//!
//! That is: to which lives the files belong that it is made of, and since when something may be in the stream of which the rows
//! of the store say nothing. The former never changes for a file; the latter is a moment, which a commit a few seconds old
//! bounds well enough. So the tailer tells the gate of its flow which lives it begins, the checkpointer which of them are in the
//! store and when it has last committed, and requests wait there until all is well. With each commit the checkpointer asks what
//! is in flight; and while something is, what the store says of it is never older than a few seconds, so that a restart knows
//! until when what was on its way can have arrived.
//!
//! A cell between the three: only a request waits, for a commit, which it brings about.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{COMMIT_INTERVAL, MARK_AGE_MAX};
use crate::offsets::SentCounter;
use crate::span::FileKey;

/// The gate of one flow; a clone is the same.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    flight: Mutex<Flight>,
    /// For those who wait, who leave in the order in which they came.
    marked: Notify,
    /// Somebody waits at this gate, or at another one.
    knocked: Arc<Notify>,
    /// Where it is said how many records were sent.
    sent_counter: Option<SentCounter>,
    is_always_open: bool,
}

#[derive(Default)]
struct Flight {
    /// When what the last commit says was so; none when it says that nothing is in flight, and nothing may leave.
    marked_at: Option<Instant>,
    /// How many records may be stored since when, without anybody knowing.
    records: BTreeMap<Instant, usize>,
    record_count: usize,
    sent_record_count: u64,
    last_sent_at: Option<Instant>,
    /// Lives of which the store does not know yet.
    unknown: HashSet<FileKey>,
    is_knocked: bool,
    /// When it was opened last for somebody who waited, and has perhaps not had a turn since.
    opened_at: Option<Instant>,
}

/// What is in flight of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// The first time that the oldest record in flight was sent.
    pub since: Option<Instant>,
    /// How many records are.
    pub record_count: usize,
    /// Records sent by this run so far, each as often as it was sent when it was not in flight already.
    pub sent_record_count: u64,
    /// When something was sent last.
    pub last_sent_at: Option<Instant>,
    /// The sender waits for a commit.
    pub is_waited_for: bool,
    /// Something is in flight, and what the last commit says of it will soon be too old.
    pub is_mark_old: bool,
}

impl Gate {
    /// A gate that is shut. Who opens it listens to `knocked`.
    pub fn new(knocked: Arc<Notify>) -> Self {
        Self::of(knocked, None, false)
    }

    /// The same, of a flow that says how much it has sent, before it does.
    pub fn counting(knocked: Arc<Notify>, sent_counter: SentCounter) -> Self {
        Self::of(knocked, Some(sent_counter), false)
    }

    /// A gate of which nobody keeps account.
    pub fn always_open() -> Self {
        Self::of(Arc::default(), None, true)
    }

    fn of(knocked: Arc<Notify>, sent_counter: Option<SentCounter>, is_always_open: bool) -> Self {
        let (flight, marked) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { flight, marked, knocked, sent_counter, is_always_open }))
    }

    /// A life of a file begins, of which the store has to know before anything of it is sent.
    pub fn begins(&self, file: FileKey) {
        self.flight().unknown.insert(file);
    }

    /// The store knows of the lives of which `is_known` says so, or never will.
    pub fn known(&self, is_known: impl Fn(FileKey) -> bool) {
        self.flight().unknown.retain(|file| !is_known(*file));
    }

    /// Waits until a request made of these lives may leave, and says when it does. `record_count` of its records surely have not
    /// been stored so far; they are in flight from then on.
    pub async fn depart(&self, files: impl Iterator<Item = FileKey> + Clone, record_count: usize) -> Instant {
        loop {
            // From here on it is told of every mark.
            let mut marked = pin!(self.0.marked.notified());
            marked.as_mut().enable();
            if let Some(now) = self.try_depart(files.clone(), record_count) {
                return now;
            }
            marked.await;
        }
    }

    fn try_depart(&self, mut files: impl Iterator<Item = FileKey>, record_count: usize) -> Option<Instant> {
        let now = Instant::now();
        let mut flight = self.flight();
        let is_fresh = flight.marked_at.is_some_and(|at| now.duration_since(at) < MARK_AGE_MAX);
        let is_known = flight.unknown.is_empty() || !files.any(|file| flight.unknown.contains(&file));
        let is_open = self.0.is_always_open || (is_fresh && is_known);
        if !is_open {
            flight.is_knocked = true;
            self.0.knocked.notify_one();
            return None;
        }
        flight.last_sent_at = Some(now);
        flight.record_count += record_count;
        if record_count > 0 {
            flight.sent_record_count += record_count as u64;
            *flight.records.entry(now).or_default() += record_count;
            if let Some(counter) = &self.0.sent_counter {
                // Under the lock, so that the last one to say it says most.
                counter.set(flight.sent_record_count);
            }
        }
        Some(now)
    }

    /// It is known of so many records whether they are stored, that may have been since then.
    pub fn land(&self, in_flight_since: Instant, record_count: usize) {
        let mut flight = self.flight();
        if let Some(count) = flight.records.get_mut(&in_flight_since) {
            *count -= record_count;
            if *count == 0 {
                flight.records.remove(&in_flight_since);
            }
            flight.record_count -= record_count;
        }
    }

    /// What is in flight. What is so now of records that landed before was reported before.
    pub fn in_flight(&self) -> InFlight {
        let flight = self.flight();
        let is_young = |at: Instant| at.elapsed() + COMMIT_INTERVAL < MARK_AGE_MAX;
        InFlight {
            since: flight.records.first_key_value().map(|(since, _)| *since),
            record_count: flight.record_count,
            sent_record_count: flight.sent_record_count,
            last_sent_at: flight.last_sent_at,
            is_waited_for: flight.is_knocked,
            is_mark_old: flight.record_count > 0 && !flight.marked_at.is_some_and(is_young),
        }
    }

    /// A commit says what was so at this time, or could not: then sending goes on all the same, and a restart has less to go by.
    ///
    /// One that took longer than usual counts as younger than it is: else nothing would ever leave where each takes so long that
    /// it is too old when it is done.
    pub fn marked(&self, at: Instant) {
        let earliest = Instant::now().checked_sub(COMMIT_INTERVAL);
        let mut flight = self.flight();
        if std::mem::take(&mut flight.is_knocked) {
            flight.opened_at = Some(Instant::now());
        }
        flight.marked_at = Some(earliest.map_or(at, |earliest| at.max(earliest)));
        self.0.marked.notify_waiters();
    }

    /// Shuts the gate if nothing is in flight, nor was anything sent or let out for so long as a commit is good for. Then the store
    /// need not say anything of this flow.
    pub fn shut_if_idle(&self) -> bool {
        let now = Instant::now();
        let mut flight = self.flight();
        let is_idle = flight.record_count == 0
            && !flight.is_knocked
            && [flight.last_sent_at, flight.opened_at].iter().flatten().all(|at| now.duration_since(*at) >= MARK_AGE_MAX);
        if is_idle {
            flight.marked_at = None;
        }
        is_idle
    }

    /// Shuts it for good if nothing is in flight: what the last commit of a run does.
    pub fn shut_at_end(&self) -> bool {
        let mut flight = self.flight();
        let is_idle = flight.record_count == 0;
        if is_idle {
            flight.marked_at = None;
        }
        is_idle
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.0.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;
    use crate::offsets::{Changes, Offsets, RunKey, Sending};

    fn gate() -> Gate {
        Gate::new(Arc::default())
    }

    async fn is_shut(gate: &Gate, files: impl Iterator<Item = FileKey> + Clone) -> bool {
        timeout(Duration::ZERO, gate.depart(files, 1)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_open_for_a_while_after_a_commit_for_lives_that_are_in_it() {
        let gate = gate();
        assert!(is_shut(&gate, empty()).await);
        gate.begins(FileKey(1));
        gate.marked(Instant::now());
        let since = gate.depart(once(FileKey(2)), 2).await;
        assert!(is_shut(&gate, [FileKey(2), FileKey(1)].into_iter()).await);
        gate.known(|file| file == FileKey(1));
        assert_eq!(gate.depart(once(FileKey(1)), 0).await, since);
        advance(MARK_AGE_MAX).await;
        assert!(is_shut(&gate, empty()).await);
        let in_flight = gate.in_flight();
        assert_eq!((in_flight.since, in_flight.record_count, in_flight.sent_record_count), (Some(since), 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_knocks_and_is_let_out_by_the_next_commit() {
        let knocked = Arc::new(Notify::new());
        let gate = Gate::new(Arc::clone(&knocked));
        let opens = async {
            knocked.notified().await;
            assert!(gate.in_flight().is_waited_for);
            gate.marked(Instant::now());
            assert!(!gate.shut_if_idle(), "it is shut before who waits has a turn");
        };
        tokio::join!(gate.depart(empty(), 1), opens);
        assert!(!gate.in_flight().is_waited_for);
    }

    /// Neither is nothing sent while the disk is slow.
    #[tokio::test(start_paused = true)]
    async fn a_commit_that_takes_long_opens_it_too() {
        let gate = gate();
        let begun = Instant::now();
        advance(MARK_AGE_MAX * 2).await;
        gate.marked(begun);
        assert!(!is_shut(&gate, empty()).await);
        advance(MARK_AGE_MAX - COMMIT_INTERVAL).await;
        assert!(is_shut(&gate, empty()).await);
    }

    /// A request that has been let out may take its time before it leaves, and nothing else need happen meanwhile.
    #[tokio::test(start_paused = true)]
    async fn while_something_is_in_flight_the_mark_is_renewed_in_time() {
        let gate = gate();
        gate.marked(Instant::now());
        advance(MARK_AGE_MAX).await;
        assert!(!gate.in_flight().is_mark_old);
        gate.marked(Instant::now());
        let since = gate.depart(empty(), 1).await;
        assert!(!gate.in_flight().is_mark_old);
        advance(MARK_AGE_MAX - COMMIT_INTERVAL).await;
        assert!(gate.in_flight().is_mark_old);
        gate.marked(Instant::now());
        assert!(!gate.in_flight().is_mark_old);
        advance(MARK_AGE_MAX).await;
        gate.land(since, 1);
        assert!(!gate.in_flight().is_mark_old);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_counted_in_the_store_before() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunKey { run_id: 7, flow: "f".to_owned() };
        let store = Offsets::open(folder.path()).unwrap();
        let counter = store.begin_run(&run).unwrap();
        let sending =
            Sending { stream: None, marked_at_ms: 0, in_flight_since_ms: None, in_flight_record_count: 0, sent_record_count: 0 };
        store.commit(&Changes { sendings: vec![(run, sending)], ..Changes::default() }).unwrap();
        let gate = Gate::counting(Arc::default(), counter);
        assert!(is_shut(&gate, empty()).await);
        gate.marked(Instant::now());
        gate.depart(empty(), 3).await;
        gate.depart(empty(), 0).await;
        gate.depart(empty(), 2).await;
        drop(store);
        let sendings = Offsets::open(folder.path()).unwrap().sendings().unwrap();
        assert_eq!(sendings[0].1.sent_record_count, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_in_flight_is_told_and_an_idle_gate_is_shut() {
        let gate = gate();
        gate.marked(Instant::now());
        let first = gate.depart(empty(), 2).await;
        advance(Duration::from_secs(1)).await;
        let second = gate.depart(empty(), 1).await;
        gate.land(first, 1);
        assert_eq!(gate.in_flight().since, Some(first));
        gate.land(first, 1);
        assert_eq!(gate.in_flight().since, Some(second));
        advance(MARK_AGE_MAX).await;
        assert!(!gate.shut_if_idle());
        gate.land(second, 1);
        assert!(gate.shut_if_idle());
        gate.marked(Instant::now());
        gate.depart(empty(), 0).await;
        assert!(!gate.shut_if_idle() && gate.shut_at_end());
        assert!(is_shut(&gate, empty()).await);
    }
}
