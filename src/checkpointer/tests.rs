use std::future::Future as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::budget::{Budget, Share};
use crate::gate::Gate;
use crate::limits::STALLED_AFTER;
use crate::metrics::Metrics;
use crate::offsets::Identity;
use crate::service_clock::ServiceClock;
use crate::settlement::Outcome;
use crate::settlement::Settlement;
use crate::span::Span;

const FILE: FileKey = FileKey(1);

fn opened() -> Event {
    Event::Opened(Opened {
        file: FILE,
        flow_index: 0,
        path: Path::new("/var/log/a.log").into(),
        identity: Identity::default(),
        settlement: Settlement::default(),
        after: None,
    })
}

fn delivered(start: u64, end: u64) -> Event {
    Event::Settled(Settled { spans: [Span::new(FILE, start, end)].into_iter().collect(), outcome: Outcome::Delivered })
}

/// A checkpointer, where it commits to, and the event with which its flow begins.
struct New {
    folder: tempfile::TempDir,
    store: Arc<Offsets>,
    checkpointer: Checkpointer,
    begun: Event,
}

impl New {
    fn of(writing: Writing) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Offsets::open(folder.path()).unwrap());
        let metrics = Metrics::default();
        let (commit_failing, metrics) = (metrics.commit_failing(), metrics.flow("access"));
        let budget = Budget::new(Share::new(1_000, 1));
        budget.take(1_000);
        let knocked = Arc::new(Notify::new());
        let run = RunKey { run_id: 1, flow: "access".to_owned() };
        let (stream, gate, clock) = (Some("s".to_owned()), Gate::new(Arc::clone(&knocked)), ServiceClock::new(0));
        let account = Box::new(FlowAccount { run, stream, gate, clock, metrics, budget });
        let checkpointer = Checkpointer::new(Arc::clone(&store), writing, knocked, commit_failing, Health::default());
        Self { folder, store, checkpointer, begun: Event::Begun { flow_index: 0, account } }
    }
}

/// Runs a checkpointer over `reported` and returns the watermarks that are then in the store.
async fn committed(reported: impl IntoIterator<Item = Event>) -> Vec<u64> {
    let New { folder: _folder, store, checkpointer, begun } = New::of(Writing::OwnThread);
    // The sender of events lives on to the end.
    let (events, events_out) = mpsc::channel(16);
    let (end, ended) = oneshot::channel();
    for event in std::iter::once(begun).chain(reported) {
        events.send(event).await.unwrap();
    }
    end.send(()).unwrap();
    checkpointer.run(events_out, ended).await;
    store.load().unwrap().into_iter().map(|(_, row)| row.watermark).collect()
}

#[tokio::test]
async fn it_ends_when_told_with_all_that_was_reported_though_a_sender_of_events_lives_on() {
    assert_eq!(committed([opened(), delivered(0, 10), delivered(10, 30)]).await, [30]);
}

/// What it passes over is on its way as the other life: were that not delivered, it would be read again.
#[tokio::test]
async fn a_life_that_comes_after_another_has_no_row_before_that_is_settled() {
    let copy = |after| match opened() {
        Event::Opened(opened) => {
            let settlement = Settlement::new(20, []);
            Event::Opened(Opened { file: FileKey(2), settlement, after, ..opened })
        }
        other => other,
    };
    let closed = || Event::Closed { file: FILE, read_until: 30, remains: Remains::Content };
    assert_eq!(committed([opened(), delivered(0, 10), closed(), copy(Some(FILE))]).await, [10]);
    assert_eq!(committed([opened(), delivered(0, 30), closed(), copy(Some(FILE))]).await, [30, 20]);
}

#[tokio::test]
async fn what_is_settled_of_a_forgotten_life_does_not_bring_its_row_back() {
    let closed = Event::Closed { file: FILE, read_until: 30, remains: Remains::Place };
    assert!(committed([opened(), closed, Event::Forgotten(FILE), delivered(0, 10)]).await.is_empty());
}

/// What a running one has, and how often it was polled.
struct Running {
    store: Arc<Offsets>,
    events: mpsc::Sender<Event>,
    poll_count: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
    _end: oneshot::Sender<()>,
}

impl Running {
    async fn new() -> Self {
        let New { folder, store, checkpointer, begun } = New::of(Writing::Here(Duration::ZERO));
        let (events, events_out) = mpsc::channel(16);
        let (end, ended) = oneshot::channel();
        for event in [begun, opened()] {
            events.send(event).await.unwrap();
        }
        let poll_count = Arc::<AtomicUsize>::default();
        let mut working = Box::pin(checkpointer.run(events_out, ended));
        let count = Arc::clone(&poll_count);
        tokio::spawn(std::future::poll_fn(move |context| {
            count.fetch_add(1, Ordering::Relaxed);
            working.as_mut().poll(context)
        }));
        Self { store, events, poll_count, _folder: folder, _end: end }
    }

    fn watermark(&self) -> Option<u64> {
        self.store.load().unwrap().first().map(|(_, row)| row.watermark)
    }
}

#[tokio::test(start_paused = true)]
async fn with_nothing_to_do_it_wakes_up_as_often_as_is_needed_to_be_known_alive() {
    let running = Running::new().await;
    sleep(Duration::from_secs(10)).await;
    let before = running.poll_count.load(Ordering::Relaxed);
    for minutes in 1..=60 {
        sleep(STALLED_AFTER / 2).await;
        let count = running.poll_count.load(Ordering::Relaxed) - before;
        assert!((minutes..=6 * minutes).contains(&count), "{count} polls in {minutes} times 5 minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_after_a_rest_is_committed_with_what_follows_within_a_second() {
    let running = Running::new().await;
    for round in 1..=3 {
        sleep(Duration::from_secs(3_600)).await;
        for part in 0..4 {
            assert_eq!(running.watermark(), Some(40 * (round - 1)));
            let start = 40 * (round - 1) + 10 * part;
            running.events.send(delivered(start, start + 10)).await.unwrap();
            sleep(COMMIT_INTERVAL / 5).await;
        }
        sleep(COMMIT_INTERVAL / 4).await;
        assert_eq!(running.watermark(), Some(40 * round));
    }
}
