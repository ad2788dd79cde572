use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use tokio::time::sleep;
use zeroize::Zeroizing;

use super::super::message::tests::open;
use super::super::message::{Context, DATA_KEY_BYTES};
use super::*;
use crate::health::Health;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};
use crate::metrics::Metrics;

/// What a source does at one attempt.
enum Deed {
    /// A key comes after so long.
    Key(Duration),
    Fail(&'static str),
    Hang,
}

/// A source that does what it is told, and then makes keys at once: each of the bytes of its number, from 1.
#[derive(Default)]
struct Fake {
    deeds: Mutex<VecDeque<Deed>>,
    attempts: Mutex<Vec<Instant>>,
    /// When each key came.
    keys: Mutex<Vec<Instant>>,
}

impl KeySource for Fake {
    fn generate(&self) -> Generating<'_> {
        Box::pin(async {
            self.attempts.lock().unwrap().push(Instant::now());
            let deed = self.deeds.lock().unwrap().pop_front();
            match deed {
                Some(Deed::Key(after)) => sleep(after).await,
                Some(Deed::Fail(code)) => {
                    return Err(KeyFailure { code: code.to_owned(), message: "no".to_owned() });
                }
                Some(Deed::Hang) => std::future::pending().await,
                None => {}
            }
            let mut keys = self.keys.lock().unwrap();
            keys.push(Instant::now());
            let number = u8::try_from(keys.len()).unwrap();
            let key = Zeroizing::new([number; DATA_KEY_BYTES]);
            Ok(DataKey::new(key, &[number], "arn:key", &Context::new()).unwrap())
        })
    }
}

/// A flow's keys, where they come from, and what is said of the flow.
struct Stage {
    fake: Arc<Fake>,
    keys: DataKeys,
    health: Health,
    metrics: FlowMetrics,
}

fn stage(max_age: Duration, max_messages: usize, max_bytes: usize, deeds: impl IntoIterator<Item = Deed>) -> Stage {
    let fake = Arc::new(Fake { deeds: Mutex::new(deeds.into_iter().collect()), ..Fake::default() });
    let rules = Encryption { kms_key: String::new(), context: BTreeMap::new(), max_age, max_messages, max_bytes };
    let (health, metrics) = (Health::default(), Metrics::default().flow("f"));
    let source = Arc::clone(&fake) as Arc<dyn KeySource>;
    let keys = DataKeys::new(&rules, source, metrics.clone(), health.flow("f"), fastrand::Rng::with_seed(1));
    Stage { fake, keys, health, metrics }
}

impl Stage {
    /// Seals `plaintext`, opens it again, and returns the number of its key.
    async fn seal(&mut self, plaintext: &[u8]) -> u8 {
        let mut message = Vec::new();
        self.keys.seal(plaintext, &mut message).await;
        // What was begun ahead gets its turn.
        tokio::task::yield_now().await;
        // A message says its key, and is opened with it.
        let number = (1..=u8::MAX).find(|number| open(&message, &[*number; DATA_KEY_BYTES]).is_ok()).expect("no key opens it");
        let opened = open(&message, &[number; DATA_KEY_BYTES]).unwrap();
        assert_eq!((opened.plaintext.as_slice(), opened.encrypted_key), (plaintext, vec![number]));
        number
    }

    fn attempt_count(&self) -> usize {
        self.fake.attempts.lock().unwrap().len()
    }

    fn pause(&self) -> Option<String> {
        let pause = self.health.flows()[0].paused().cloned().map(|pause| pause.reason);
        assert_eq!(self.metrics.paused.get(), i64::from(pause.is_some()));
        pause
    }
}

const LONG: Duration = Duration::from_secs(1_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// How many of `sealed` each key has.
fn by_key(sealed: &[u8]) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    for number in sealed {
        *counts.entry(number).or_insert(0) += 1;
    }
    counts.into_values().collect()
}

#[tokio::test(start_paused = true)]
async fn no_key_is_asked_for_before_there_is_a_record() {
    let stage = stage(LONG, 10, 1000, []);
    sleep(SECOND).await;
    assert_eq!(stage.attempt_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_encrypts_no_more_messages_than_it_may() {
    // The next one comes late, so that each is used to its end.
    let mut stage = stage(LONG, 10, usize::MAX, (0..9).map(|_| Deed::Key(SECOND)));
    let mut sealed = Vec::new();
    for _ in 0..25 {
        sealed.push(stage.seal(b"line").await);
    }
    assert_eq!((by_key(&sealed), sealed.is_sorted()), (vec![10, 10, 5], true));
    assert_eq!(stage.attempt_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_single_message_is_used_for_one() {
    let mut stage = stage(LONG, 1, usize::MAX, []);
    for number in 1..=5 {
        assert_eq!(stage.seal(b"line").await, number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_encrypts_no_more_bytes_than_it_may() {
    let mut stage = stage(LONG, 1000, 1000, (0..9).map(|_| Deed::Key(SECOND)));
    let mut sealed = Vec::new();
    for _ in 0..7 {
        sealed.push(stage.seal(&[b'x'; 300]).await);
    }
    assert_eq!(by_key(&sealed), [3, 3, 1]);
    // A record that is larger than all that a key may encrypt has one for itself.
    let number = stage.seal(&[b'x'; 1001]).await;
    assert!(number > sealed[6] && stage.seal(b"x").await > number);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_used_when_it_is_too_old() {
    let mut stage = stage(10 * SECOND, 1000, usize::MAX, []);
    for step in [1, 3, 5, 7, 9, 10, 11, 30, 2, 2, 2, 2, 2, 2] {
        sleep(step * SECOND).await;
        let number = stage.seal(b"line").await;
        let came = stage.fake.keys.lock().unwrap()[usize::from(number) - 1];
        assert!(came.elapsed() < 10 * SECOND, "{:?}", came.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_came_ahead_and_was_not_needed_is_not_used_when_it_is_too_old() {
    let mut stage = stage(10 * SECOND, 4, usize::MAX, []);
    for _ in 0..3 {
        assert_eq!(stage.seal(b"line").await, 1);
    }
    assert_eq!(stage.fake.keys.lock().unwrap().len(), 2, "the second comes ahead");
    sleep(10 * SECOND).await;
    assert_eq!(stage.seal(b"line").await, 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_key_but_the_first() {
    let mut stage = stage(10 * SECOND, 1000, usize::MAX, (0..100).map(|_| Deed::Key(SECOND / 2)));
    stage.seal(b"line").await;
    for _ in 0..100 {
        sleep(SECOND / 4).await;
        let before = Instant::now();
        stage.seal(b"line").await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
    let attempt_count = stage.attempt_count();
    assert!((3..=5).contains(&attempt_count), "{attempt_count} keys in 25 seconds");
}

#[tokio::test(start_paused = true)]
async fn failures_matter_only_when_the_key_has_come_to_its_end() {
    let failures = (0..40).map(|_| Deed::Fail("AccessDeniedException"));
    let mut stage = stage(100 * SECOND, 1000, usize::MAX, [Deed::Key(Duration::ZERO)].into_iter().chain(failures));
    let start = Instant::now();
    while start.elapsed() < 99 * SECOND {
        assert_eq!(stage.seal(b"line").await, 1);
        assert_eq!(stage.pause(), None);
        sleep(SECOND).await;
    }
    let asked_ahead = stage.attempt_count() - 1;
    assert!((4..=12).contains(&asked_ahead), "{asked_ahead} attempts while the key is good: neither none nor a storm");

    sleep(SECOND).await;
    let mut message = Vec::new();
    let sealing = stage.keys.seal(b"line", &mut message);
    assert!(timeout(60 * SECOND, sealing).await.is_err(), "there is no key");
    assert!(message.is_empty());
    assert_eq!(stage.pause().as_deref(), Some("no data key: AccessDeniedException: no"));

    stage.fake.deeds.lock().unwrap().clear();
    assert_eq!(stage.seal(b"line").await, 2);
    assert_eq!(stage.pause(), None);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_further_and_further_apart() {
    let mut stage = stage(LONG, 1000, usize::MAX, (0..12).map(|_| Deed::Fail("Http500")));
    stage.seal(b"line").await;
    let attempts = stage.fake.attempts.lock().unwrap();
    let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 12);
    for (index, wait) in waits.into_iter().enumerate() {
        let most = (BACKOFF_MIN * (1 << index)).min(BACKOFF_MAX);
        assert!(wait >= most / 2 && wait <= most + Duration::from_millis(1), "wait {index}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_is_told_and_asked_again() {
    let mut stage = stage(LONG, 1000, usize::MAX, [Deed::Hang]);
    let mut message = Vec::new();
    assert!(timeout(ATTEMPT_TIMEOUT + Duration::from_millis(10), stage.keys.seal(b"line", &mut message)).await.is_err());
    assert_eq!(stage.pause().as_deref(), Some("no data key: Timeout: no answer within 30 s"));
    assert_eq!(stage.seal(b"line").await, 1);
    assert_eq!((stage.pause(), stage.attempt_count()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_is_not_told() {
    let mut stage = stage(LONG, 1000, usize::MAX, [Deed::Fail("Http500"), Deed::Fail("Http500")]);
    let mut message = Vec::new();
    stage.keys.seal(b"line", &mut message).await;
    assert_eq!((stage.pause(), stage.attempt_count()), (None, 3));
}

#[tokio::test(start_paused = true)]
async fn each_message_has_an_id_of_its_own() {
    let mut stage = stage(LONG, 1000, usize::MAX, []);
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let mut message = Vec::new();
        stage.keys.seal(b"line", &mut message).await;
        assert!(ids.insert(open(&message, &[1; DATA_KEY_BYTES]).unwrap().message_id));
    }
}
