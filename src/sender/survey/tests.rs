use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::time::sleep;

use super::*;
use crate::collector::Entry;
use crate::config;
use crate::hash_key::HashRange;
use crate::metrics::Metrics;
use crate::outcome::{RecordResult, Verdict};
use crate::readback::Reader;

/// A service that answers what it is told to.
#[derive(Default)]
struct Service {
    /// None may not be asked for.
    shards: Mutex<Option<Vec<Shard>>>,
    summary: Mutex<Option<Summary>>,
    listed_count: AtomicU32,
    /// Too many ask for shards.
    is_throttled: AtomicBool,
}

impl Reader for Service {}

impl Destination for Service {
    async fn put(&self, _: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        Ok(Vec::new())
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        self.listed_count.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        if self.is_throttled.load(Ordering::Relaxed) {
            return Err(throttled());
        }
        self.shards.lock().unwrap().clone().ok_or_else(denied)
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        self.summary.lock().unwrap().ok_or_else(denied)
    }
}

fn denied() -> Failure {
    Failure { verdict: Verdict::Pause, code: "AccessDeniedException".to_owned(), message: String::new() }
}

fn throttled() -> Failure {
    Failure { verdict: Verdict::SlowDown, code: "LimitExceededException".to_owned(), message: String::new() }
}

const HALF: u128 = u128::MAX / 2;

fn one() -> Vec<Shard> {
    vec![Shard { id: "s-1".into(), range: HashRange::ALL }]
}

fn two() -> Vec<Shard> {
    let shard = |id: &str, start, end| Shard { id: id.into(), range: HashRange { start, end } };
    vec![shard("s-2", 0, HALF), shard("s-3", HALF + 1, u128::MAX)]
}

struct Running {
    service: Arc<Service>,
    facts: watch::Receiver<StreamFacts>,
    doubt: Doubt,
}

impl Running {
    /// A survey that has had its first answers.
    async fn of(shards: Option<Vec<Shard>>, summary: Option<Summary>) -> Self {
        let service = Arc::new(Service { shards: Mutex::new(shards), summary: Mutex::new(summary), ..Service::default() });
        let before = StreamFacts::before_asking(&config::Destination::Kinesis("s".to_owned()));
        let ((learned, mut facts), doubt) = (watch::channel(before), Doubt::default());
        let random = fastrand::Rng::with_seed(1);
        let survey = Survey::new(Arc::clone(&service), learned, doubt.clone(), Metrics::default().flow("f"), random);
        tokio::spawn(survey.run());
        facts.changed().await.unwrap();
        Self { service, facts, doubt }
    }

    /// An answer to a request that was sent a moment ago; then some time passes.
    async fn answered(&self, hash_key: u128, shard_id: &str, then: Duration) {
        self.doubt.raise(hash_key, shard_id, Instant::now() - Duration::from_millis(20));
        sleep(then).await;
    }

    fn ids(&self) -> Vec<String> {
        let map = Arc::clone(&self.facts.borrow().shards);
        (0..map.range_count()).filter_map(|index| map.id_of(index).map(ToString::to_string)).collect()
    }

    fn is_auto(&self) -> bool {
        self.facts.borrow().is_auto
    }
}

const USUAL: Option<Summary> = Some(Summary { is_auto: false, record_bytes_max: None });

#[tokio::test(start_paused = true)]
async fn answers_are_believed_before_a_list_that_is_late_and_the_list_when_it_is_not() {
    let running = Running::of(Some(one()), USUAL).await;
    assert_eq!(running.ids(), ["s-1"]);
    for _ in 0..20 {
        running.answered(7, "s-2", Duration::from_millis(100)).await;
        running.answered(u128::MAX, "s-3", Duration::from_millis(100)).await;
    }
    assert_eq!(running.ids(), ["s-2", "s-3"]);
    let listed_count = running.service.listed_count.load(Ordering::Relaxed);
    assert!((2..6).contains(&listed_count), "{listed_count}");
    *running.service.shards.lock().unwrap() = Some(two());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*running.facts.borrow().shards, ShardMap::of(two()).unwrap());
    sleep(Duration::from_secs(60)).await;
    let listed_count = running.service.listed_count.load(Ordering::Relaxed);
    assert!(listed_count < 8, "{listed_count}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_list_shards_is_not_asking_for_them_all_the_time() {
    let running = Running::of(None, None).await;
    assert!(running.ids().is_empty());
    for turn in 0..1_000u128 {
        running.answered(turn << 100, "s-2", Duration::from_millis(10)).await;
        running.answered(u128::MAX - (turn << 100), "s-3", Duration::from_millis(10)).await;
    }
    assert_eq!(running.ids(), ["s-2", "s-3"]);
    assert_eq!(running.service.listed_count.load(Ordering::Relaxed), 1);
    assert!(!running.is_auto());
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_throttled_becomes_rare_whatever_answers_say() {
    let running = Running::of(Some(one()), USUAL).await;
    running.service.is_throttled.store(true, Ordering::Relaxed);
    for _ in 0..600 {
        running.answered(7, "s-2", Duration::from_millis(100)).await;
    }
    let listed_count = running.service.listed_count.load(Ordering::Relaxed);
    assert!(listed_count < 12, "{listed_count}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_becomes_auto_is_noticed_by_its_answers() {
    for summary in [None, USUAL] {
        let running = Running::of(Some(two()), summary).await;
        sleep(Duration::from_secs(60)).await;
        running.answered(HALF + 7, "s-2", Duration::from_millis(10)).await;
        running.answered(7, "s-3", Duration::from_secs(1)).await;
        assert!(running.is_auto());
        // Where the summary can be asked for it has the last word.
        sleep(Duration::from_secs(120)).await;
        assert_eq!(running.is_auto(), summary.is_none());
        assert_eq!(running.facts.borrow().shards.range_count(), if summary.is_none() { 1 } else { 2 });
    }
}
