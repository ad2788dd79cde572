//! What each stage is in the middle of, since when, and on which thread; whether each flow watches its files yet.
//!
//! A stage that is [followed](FlowProgress::follow) leaves a mark at the beginning and at the end of each of its polls, and in the middle
//! of long work when that [goes on](goes_on). Nothing waits for these marks, and leaving one costs some tens of nanoseconds. What
//! follows from them is decided in [`verdict`], who is told in [`overseer`].

pub mod kernel;
pub mod overseer;
pub mod verdict;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use self::verdict::{FlowSeen, Picture, StageSeen};
use crate::metrics::FlowMetrics;

/// What is followed; a clone is the same.
#[derive(Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    /// Something is as only a restart can mend it.
    is_wedged: AtomicBool,
    /// How many flows have begun to watch their files so far.
    begun_count: AtomicUsize,
    /// Rung when a flow begins to watch its files.
    has_begun: Notify,
}

#[derive(Default)]
struct Known {
    stages: Vec<Weak<Cell>>,
    flows: Vec<Weak<FlowCell>>,
}

/// What is followed of one flow; a clone is the same. When it and all that it has followed are gone, so is the flow.
#[derive(Clone)]
pub struct FlowProgress {
    progress: Progress,
    flow: Arc<FlowCell>,
}

struct FlowCell {
    metrics: FlowMetrics,
    quiet_max: Duration,
    is_watching: AtomicBool,
    /// Since when something is read and not settled, as far as was seen; 0 when nothing is.
    unsettled_since_ms: AtomicU64,
}

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finds out what the run before has sent.
    ReadBack,
    /// Reads files.
    Tailer,
    /// Makes requests of lines.
    Packer,
    /// Sends them.
    Sender,
    /// One of them, from when it waits to be let out until its answer is there.
    Request,
    /// Finds out which of them are stored.
    Lookup,
    /// Asks about the stream.
    Survey,
    /// Keeps account of what is settled.
    Checkpointer,
    /// Reads and writes what is kept of files, on a thread of its own.
    Offsets,
}

/// A mark in time and a thread.
struct Cell {
    shared: Weak<Shared>,
    stage: Stage,
    flow: Option<Arc<FlowCell>>,
    /// When it began, or last went on with, what it did last: milliseconds of [`now_ms`], times two; plus one while it is at it.
    mark: AtomicU64,
    /// On which thread.
    thread: AtomicI32,
}

impl Stage {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadBack => "read-back",
            Self::Tailer => "tailer",
            Self::Packer => "packer",
            Self::Sender => "sender",
            Self::Request => "request",
            Self::Lookup => "lookup",
            Self::Survey => "survey",
            Self::Checkpointer => "checkpointer",
            Self::Offsets => "offset store",
        }
    }
}

impl Progress {
    /// A flow, which is quiet no longer than `quiet_max`, and a little, while something of it is not settled.
    pub fn flow(&self, metrics: FlowMetrics, quiet_max: Duration) -> FlowProgress {
        let (is_watching, unsettled_since_ms) = (AtomicBool::new(false), AtomicU64::new(0));
        let flow = Arc::new(FlowCell { metrics, quiet_max, is_watching, unsettled_since_ms });
        let flows = &mut self.known().flows;
        flows.retain(|flow| flow.strong_count() > 0);
        flows.push(Arc::downgrade(&flow));
        FlowProgress { progress: self.clone(), flow }
    }

    /// Follows `future`, which belongs to no flow.
    pub fn follow<F: Future>(&self, stage: Stage, future: F) -> Followed<F> {
        Followed { cell: Some(self.cell(stage, None)), future: Box::pin(future) }
    }

    /// The flows that do not watch their files yet.
    pub fn beginning(&self) -> Vec<String> {
        let flows = self.flows();
        let beginning = flows.iter().filter(|flow| !flow.is_watching.load(Ordering::Acquire));
        beginning.map(|flow| flow.metrics.name.clone()).collect()
    }

    /// How many have begun to so far, those that have ended counted.
    pub fn begun_count(&self) -> usize {
        self.0.begun_count.load(Ordering::Acquire)
    }

    /// Waits until a flow begins to watch its files. For one task only.
    pub async fn has_begun(&self) {
        self.0.has_begun.notified().await;
    }

    /// Whether something is as only a restart can mend it, as far as was seen at the last look.
    pub fn is_wedged(&self) -> bool {
        self.0.is_wedged.load(Ordering::Relaxed)
    }

    /// How everything is now.
    fn picture(&self) -> Picture {
        let now_ms = now_ms();
        let since = |at_ms: u64| Duration::from_millis(now_ms.saturating_sub(at_ms));
        let stages: Vec<Arc<Cell>> = self.known().stages.iter().filter_map(Weak::upgrade).collect();
        let seen_of = |cell: &Arc<Cell>| {
            let mark = cell.mark.load(Ordering::Acquire);
            StageSeen {
                stage: cell.stage,
                flow: cell.flow.as_ref().map(|flow| flow.metrics.name.clone()),
                thread: cell.thread.load(Ordering::Relaxed),
                is_busy: mark & 1 == 1,
                marked: since(mark >> 1),
            }
        };
        let flow_of = |flow: Arc<FlowCell>| {
            let unsettled_since_ms = flow.look_at_unsettled(now_ms);
            FlowSeen {
                flow: flow.metrics.name.clone(),
                quiet_max: flow.quiet_max,
                unsettled: (unsettled_since_ms > 0).then(|| since(unsettled_since_ms)),
            }
        };
        Picture { stages: stages.iter().map(seen_of).collect(), flows: self.flows().into_iter().map(flow_of).collect() }
    }

    fn cell(&self, stage: Stage, flow: Option<Arc<FlowCell>>) -> Arc<Cell> {
        Shared::cell(&self.0, stage, flow)
    }

    fn flows(&self) -> Vec<Arc<FlowCell>> {
        self.known().flows.iter().filter_map(Weak::upgrade).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known()
    }
}

impl Shared {
    fn cell(self: &Arc<Self>, stage: Stage, flow: Option<Arc<FlowCell>>) -> Arc<Cell> {
        let (mark, thread) = (AtomicU64::new(now_ms() << 1), AtomicI32::new(0));
        let cell = Arc::new(Cell { shared: Arc::downgrade(self), stage, flow, mark, thread });
        let stages = &mut self.known().stages;
        stages.retain(|cell| cell.strong_count() > 0);
        stages.push(Arc::downgrade(&cell));
        cell
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowProgress {
    /// Follows `future`, which is a stage of this flow.
    pub fn follow<F: Future>(&self, stage: Stage, future: F) -> Followed<F> {
        Followed { cell: Some(self.progress.cell(stage, Some(Arc::clone(&self.flow)))), future: Box::pin(future) }
    }
}

impl FlowCell {
    fn look_at_unsettled(&self, now_ms: u64) -> u64 {
        let since_ms = match (self.metrics.in_flight(), self.unsettled_since_ms.load(Ordering::Relaxed)) {
            (0, _) => 0,
            (_, 0) => now_ms.max(1),
            (_, since_ms) => since_ms,
        };
        self.unsettled_since_ms.store(since_ms, Ordering::Relaxed);
        since_ms
    }
}

/// A future that is followed.
pub struct Followed<F> {
    /// None where nobody is followed.
    cell: Option<Arc<Cell>>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Followed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { cell, future } = self.get_mut();
        let _at_it = cell.as_ref().map(AtIt::begin);
        future.as_mut().poll(context)
    }
}

/// Lets `work`, which another thread is to do for the stage that is polled here, be followed too.
pub fn elsewhere<T>(stage: Stage, work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let beside = beside(stage);
    move || {
        let cell = beside();
        let _at_it = cell.as_ref().map(AtIt::begin);
        work()
    }
}

/// Lets `future`, a task that the stage spawns that is polled here, be followed too.
pub fn alongside<F: Future>(stage: Stage, future: F) -> Followed<F> {
    Followed { cell: beside(stage)(), future: Box::pin(future) }
}

/// Makes a cell for what works for the stage that is polled here, if one is.
fn beside(stage: Stage) -> impl FnOnce() -> Option<Arc<Cell>> {
    let here = CURRENT.with_borrow(|cell| cell.as_ref().map(|cell| (Weak::clone(&cell.shared), cell.flow.clone())));
    move || here.and_then(|(shared, flow)| Some(shared.upgrade()?.cell(stage, flow)))
}

/// What the stage does that is polled here takes long, but goes on.
pub fn goes_on() {
    with_current(|cell| cell.mark.store(now_ms() << 1 | 1, Ordering::Release));
}

/// The flow of the stage that is polled here has opened the files that are there, and watches for more.
pub fn watches_files() {
    with_current(|cell| {
        let Some(flow) = &cell.flow else { return };
        if !flow.is_watching.swap(true, Ordering::AcqRel)
            && let Some(shared) = cell.shared.upgrade()
        {
            shared.begun_count.fetch_add(1, Ordering::AcqRel);
            shared.has_begun.notify_one();
        }
    });
}

fn with_current(work: impl FnOnce(&Cell)) {
    CURRENT.with_borrow(|cell| {
        if let Some(cell) = cell {
            work(cell);
        }
    });
}

thread_local! {
    /// What is at it on this thread.
    static CURRENT: RefCell<Option<Arc<Cell>>> = const { RefCell::new(None) };
    /// What the kernel calls it. Asking is a system call.
    static THREAD: i32 = gettid().as_raw_nonzero().get();
}

/// Somebody is at it for as long as this lives.
struct AtIt<'a> {
    cell: &'a Arc<Cell>,
    before: Option<Arc<Cell>>,
}

impl<'a> AtIt<'a> {
    fn begin(cell: &'a Arc<Cell>) -> Self {
        cell.thread.store(THREAD.with(|thread| *thread), Ordering::Relaxed);
        cell.mark.store(now_ms() << 1 | 1, Ordering::Release);
        Self { cell, before: CURRENT.replace(Some(Arc::clone(cell))) }
    }
}

impl Drop for AtIt<'_> {
    fn drop(&mut self) {
        // When it began is near enough to when it ended for everything that is asked of one that is not at it.
        let mark = self.cell.mark.load(Ordering::Relaxed);
        self.cell.mark.store(mark & !1, Ordering::Release);
        CURRENT.set(self.before.take());
    }
}

/// Milliseconds since the machine was started, to some four of them: that clock is read without a system call, and fastest.
fn now_ms() -> u64 {
    let time = Duration::try_from(clock_gettime(ClockId::MonotonicCoarse)).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::metrics::Metrics;

    fn stages(progress: &Progress) -> Vec<(Stage, bool)> {
        progress.picture().stages.iter().map(|seen| (seen.stage, seen.is_busy)).collect()
    }

    fn poll(future: Pin<&mut impl Future<Output = ()>>) {
        assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn a_stage_is_at_it_while_it_is_polled_and_forgotten_when_it_is_gone() {
        let progress = Progress::default();
        let within = progress.clone();
        let looks = poll_fn(move |_| {
            assert_eq!(stages(&within), [(Stage::Checkpointer, true)]);
            assert_eq!(within.picture().stages[0].thread, gettid().as_raw_nonzero().get());
            Poll::<()>::Pending
        });
        {
            let mut followed = pin!(progress.follow(Stage::Checkpointer, looks));
            assert_eq!(stages(&progress), [(Stage::Checkpointer, false)]);
            poll(followed.as_mut());
            assert_eq!(stages(&progress), [(Stage::Checkpointer, false)]);
        }
        assert!(stages(&progress).is_empty());
    }

    #[test]
    fn work_on_another_thread_is_followed_while_it_lasts_and_belongs_to_the_flow_that_wants_it() {
        let (progress, metrics) = (Progress::default(), Metrics::default());
        let flow = progress.flow(metrics.flow("access"), Duration::ZERO);
        let looking = progress.clone();
        let starts = poll_fn(move |_| {
            let looking = looking.clone();
            let work = elsewhere(Stage::Offsets, move || looking.picture().stages);
            let seen = std::thread::spawn(work).join().unwrap();
            let of_work = seen.iter().find(|seen| seen.stage == Stage::Offsets).unwrap();
            assert!(of_work.is_busy && of_work.flow.as_deref() == Some("access"));
            assert_ne!(of_work.thread, gettid().as_raw_nonzero().get());
            Poll::<()>::Pending
        });
        let mut followed = pin!(flow.follow(Stage::ReadBack, starts));
        poll(followed.as_mut());
        assert_eq!(stages(&progress), [(Stage::ReadBack, false)]);
        assert_eq!(elsewhere(Stage::Offsets, || 7)(), 7, "nobody is followed here");
    }

    #[test]
    fn a_task_that_a_stage_spawns_is_followed_as_one_of_its_flow() {
        let (progress, metrics) = (Progress::default(), Metrics::default());
        let flow = progress.flow(metrics.flow("access"), Duration::ZERO);
        let looking = progress.clone();
        let spawns = poll_fn(move |_| {
            let task = alongside(Stage::Lookup, std::future::pending::<()>());
            let of_task = looking.picture().stages.into_iter().find(|seen| seen.stage == Stage::Lookup).unwrap();
            assert!(of_task.flow.as_deref() == Some("access") && !of_task.is_busy);
            poll(pin!(task));
            Poll::<()>::Pending
        });
        poll(pin!(flow.follow(Stage::Sender, spawns)));
        assert!(stages(&progress).is_empty());
    }

    #[test]
    fn long_work_that_goes_on_is_as_if_it_had_just_begun() {
        let progress = Progress::default();
        let looking = progress.clone();
        let works = poll_fn(move |_| {
            let cell = looking.known().stages[0].upgrade().unwrap();
            cell.mark.store(1, Ordering::Relaxed);
            assert!(looking.picture().stages[0].marked >= Duration::from_millis(now_ms() - 1_000));
            goes_on();
            assert!(looking.picture().stages[0].marked < Duration::from_secs(60) && looking.picture().stages[0].is_busy);
            Poll::<()>::Pending
        });
        poll(pin!(progress.follow(Stage::Tailer, works)));
    }

    #[tokio::test]
    async fn a_flow_is_beginning_until_its_tailer_says_that_it_watches() {
        let (progress, metrics) = (Progress::default(), Metrics::default());
        let (first, second) =
            (progress.flow(metrics.flow("a"), Duration::ZERO), progress.flow(metrics.flow("b"), Duration::ZERO));
        assert_eq!((progress.beginning(), progress.begun_count()), (vec!["a".to_owned(), "b".to_owned()], 0));
        first.follow(Stage::Tailer, async { watches_files() }).await;
        progress.has_begun().await;
        assert_eq!((progress.beginning(), progress.begun_count()), (vec!["b".to_owned()], 1));
        drop((first, second));
        watches_files();
        assert_eq!((progress.beginning(), progress.begun_count()), (Vec::new(), 1));
    }

    /// A line that has just come was not looked at by anybody yet, however long the flow was idle.
    #[test]
    fn since_when_something_is_not_settled_is_known_from_the_first_look_at_it() {
        let (progress, metrics) = (Progress::default(), Metrics::default());
        let of_flow = metrics.flow("a");
        let _flow = progress.flow(of_flow.clone(), Duration::ZERO);
        assert_eq!(progress.picture().flows[0].unsettled, None);
        of_flow.read_bytes.inc_by(3);
        assert!(progress.picture().flows[0].unsettled.is_some_and(|since| since < Duration::from_secs(60)));
        of_flow.delivered_bytes.inc_by(3);
        assert_eq!(progress.picture().flows[0].unsettled, None);
    }
}
