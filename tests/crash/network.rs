//! The way to the service, as it is in a bad network before a service in trouble: requests are late, lost, refused, carried out in
//! part; answers are late, lost, or say that something has failed that was done.
//!
//! A request is as late as `settle` allows at the most: it is stored soon after its sender has died or has given it up, or never.

#![allow(dead_code, reason = "each target uses a part")]

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use tokio::time::sleep;

use crate::common::{Kinesis, cbor, key_of};

/// A network on a port and on a thread of its own.
pub(crate) struct Network {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _server: Runtime,
}

/// Whether anybody may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Allowed,
    Denied,
}

/// How often it has happened.
#[derive(Default)]
pub(crate) struct Happened {
    /// Requests to put records.
    pub(crate) puts: AtomicU64,
    /// Of these, such that have not got the answer that the service gave.
    pub(crate) uncertain_puts: AtomicU64,
    /// Requests that came too late to be stored.
    pub(crate) late_puts: AtomicU64,
    /// Requests for records.
    pub(crate) reads: AtomicU64,
    /// Questions that were not answered.
    pub(crate) failed_questions: AtomicU64,
}

/// A request to put records that was carried out.
pub(crate) struct Put {
    /// Nothing of it was stored before, by the monotonic clock of the host.
    pub(crate) before: Duration,
    /// All of it was stored by then.
    pub(crate) after: Duration,
    /// When that was, in milliseconds since 1970.
    pub(crate) after_ms: i64,
    /// Partition keys and data of what was stored.
    pub(crate) records: Vec<(String, Vec<u8>)>,
}

struct Shared {
    random: Mutex<fastrand::Rng>,
    is_rough: AtomicBool,
    reading: Reading,
    late_max: Duration,
    /// When who signs with such a key has died.
    died: Mutex<HashMap<String, Instant>>,
    /// Who has sent records.
    senders: Mutex<HashSet<String>>,
    /// What is stored is seen by who reads afterwards: the emulator gives out numbers first, and stores under them later.
    store: RwLock<()>,
    happened: Arc<Happened>,
    ledger: Mutex<Vec<Put>>,
    /// Records of requests that have not got the answer that the service gave.
    uncertain_record_count: AtomicU64,
}

/// What becomes of a request, and what is said of it.
#[derive(Debug)]
struct Fate {
    /// Before anything happens.
    delay: Duration,
    stored: Stored,
    answer: Answer,
    /// What has no good answer may be carried out when that is already given.
    is_answered_first: bool,
    answer_delay: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Stored {
    All,
    Nothing,
    /// Of the records some, by chance.
    Part,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// What the service says; of records that it did not get, that they have failed.
    Well,
    /// The same, but of some that are stored it says that they have failed.
    Misled,
    Error(u16, &'static str),
    /// The connection ends.
    Cut,
    /// Nothing, for longer than anybody waits.
    Never,
}

/// Longer than `attempt_timeout`.
const NEVER: Duration = Duration::from_secs(20);

impl Network {
    /// A rough way to `kinesis` for who has `settle` in the configuration.
    pub(crate) fn start(
        kinesis: &Kinesis,
        reading: Reading,
        settle: Duration,
        random: fastrand::Rng,
        happened: Arc<Happened>,
    ) -> Self {
        let shared = Arc::new(Shared {
            random: Mutex::new(random),
            is_rough: AtomicBool::new(true),
            reading,
            late_max: settle / 2,
            died: Mutex::default(),
            senders: Mutex::default(),
            store: RwLock::default(),
            happened,
            ledger: Mutex::default(),
            uncertain_record_count: AtomicU64::new(0),
        });
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = server.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let router: Router =
            kinesis.router().layer(from_fn_with_state(Arc::clone(&shared), pass)).layer(from_fn(cbor::translate));
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, shared, _server: server }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on all goes well.
    pub(crate) fn calm(&self) {
        self.shared.is_rough.store(false, Ordering::Relaxed);
    }

    /// What was stored since the last time.
    pub(crate) fn take_stored(&self) -> Vec<Put> {
        std::mem::take(&mut self.shared.ledger.lock().unwrap())
    }

    /// How many records were in requests that have not got the answer that the service gave.
    pub(crate) fn uncertain_record_count(&self) -> u64 {
        self.shared.uncertain_record_count.load(Ordering::Relaxed)
    }

    /// Whether who signs with `key` has sent records.
    pub(crate) fn has_got_records_from(&self, key: &str) -> bool {
        self.shared.senders.lock().unwrap().contains(key)
    }

    /// Who signs with `key` has died just now.
    pub(crate) fn died(&self, key: &str) {
        self.shared.died.lock().unwrap().insert(key.to_owned(), Instant::now());
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let operation = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()?.rsplit('.').next());
    let operation = operation.unwrap_or_default().to_owned();
    if shared.reading == Reading::Denied && matches!(operation.as_str(), "GetRecords" | "GetShardIterator") {
        return error(StatusCode::BAD_REQUEST, "AccessDeniedException");
    }
    if operation == "PutRecords" {
        return put(&shared, request, next).await;
    }
    if operation == "GetRecords" {
        shared.happened.reads.fetch_add(1, Ordering::Relaxed);
    }
    let (delay, answer) = shared.fate_of_question(&operation);
    sleep(delay).await;
    let answered = async {
        let _stored = shared.store.read().await;
        next.run(request).await
    };
    match answer {
        Answer::Well | Answer::Misled => answered.await,
        other => {
            shared.happened.failed_questions.fetch_add(1, Ordering::Relaxed);
            other.give().await
        }
    }
}

async fn put(shared: &Arc<Shared>, request: Request, next: Next) -> Response {
    shared.happened.puts.fetch_add(1, Ordering::Relaxed);
    let key = key_of(&request).unwrap_or_default();
    shared.senders.lock().unwrap().insert(key.clone());
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        // It was cut off with who sent it.
        return Answer::Cut.give().await;
    };
    let fate = shared.fate_of_put();
    let whole: Value = serde_json::from_slice(&body).unwrap();
    let record_count = whole["Records"].as_array().unwrap().len() as u64;
    // Set when who sent it does not wait any more, by its own will or because it was answered.
    let given_up = Arc::new(Mutex::new(None));
    let mut waiting = Waiting { given_up: Arc::clone(&given_up), shared: Arc::clone(shared), record_count };
    let carried_out = {
        let (shared, is_misled) = (Arc::clone(shared), fate.answer == Answer::Misled);
        let arrived = Arrived { head, body, whole, next };
        tokio::spawn(async move {
            sleep(fate.delay).await;
            carry_out(&shared, &fate.stored, is_misled, arrived, || {
                let died = shared.died.lock().unwrap().get(&key).copied();
                let too_late = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > shared.late_max);
                too_late(died) || too_late(*given_up.lock().unwrap())
            })
            .await
        })
    };
    let answer = match fate.is_answered_first {
        true => None,
        false => Some(carried_out.await.unwrap()),
    };
    sleep(fate.answer_delay).await;
    match (fate.answer, answer) {
        (Answer::Well, Some(answer)) => {
            waiting.record_count = 0;
            answer
        }
        (Answer::Misled, Some(answer)) => answer,
        (answer, _) => {
            if is_sure(&answer) {
                waiting.record_count = 0;
            }
            answer.give().await
        }
    }
}

/// A request, its body also as it is understood, and the way on.
struct Arrived {
    head: request::Parts,
    body: Bytes,
    whole: Value,
    next: Next,
}

struct Waiting {
    given_up: Arc<Mutex<Option<Instant>>>,
    shared: Arc<Shared>,
    /// Of those of which the answer does not say, or not truly, what became of them.
    record_count: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.given_up.lock().unwrap() = Some(Instant::now());
        if self.record_count > 0 {
            self.shared.happened.uncertain_puts.fetch_add(1, Ordering::Relaxed);
            self.shared.uncertain_record_count.fetch_add(self.record_count, Ordering::Relaxed);
        }
    }
}

/// Stores of a request what is to be stored, unless it is too late, and returns the answer.
async fn carry_out(
    shared: &Shared,
    stored: &Stored,
    is_misled: bool,
    arrived: Arrived,
    is_too_late: impl Fn() -> bool,
) -> Response {
    let Arrived { mut head, body, mut whole, next } = arrived;
    let records = whole["Records"].as_array().unwrap().clone();
    let chosen: Vec<bool> = {
        let mut random = shared.random.lock().unwrap();
        let mut is_chosen = || match stored {
            Stored::All => true,
            Stored::Nothing => false,
            Stored::Part => random.bool(),
        };
        records.iter().map(|_| is_chosen()).collect()
    };
    let some: Vec<&Value> = records.iter().zip(&chosen).filter(|(_, is_chosen)| **is_chosen).map(|(record, _)| record).collect();
    let mut results: Vec<Value> = Vec::new();
    if !some.is_empty() {
        whole["Records"] = json!(some);
        let body = if some.len() == records.len() { body } else { Bytes::from(whole.to_string()) };
        head.headers.remove("content-length");
        let _alone = shared.store.write().await;
        if is_too_late() {
            shared.happened.late_puts.fetch_add(1, Ordering::Relaxed);
            return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure");
        }
        let before = monotonic();
        let answer = next.run(Request::from_parts(head, Body::from(body))).await;
        if answer.status() == StatusCode::OK {
            shared.enter(before, &some);
        }
        if !is_misled && some.len() == records.len() || answer.status() != StatusCode::OK {
            return answer;
        }
        let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), usize::MAX).await.unwrap()).unwrap();
        results.extend(answer["Records"].as_array().unwrap().iter().cloned());
    }
    let mut results = results.into_iter();
    let mut random = shared.random.lock().unwrap();
    let results: Vec<Value> = chosen
        .into_iter()
        .map(|is_stored| match is_stored.then(|| results.next().unwrap()) {
            Some(result) if !is_misled || random.bool() => result,
            None if random.bool() => failed("ProvisionedThroughputExceededException", "Rate exceeded"),
            _ => failed("InternalFailure", "Internal service failure."),
        })
        .collect();
    let failed_count = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
    let answer = json!({ "FailedRecordCount": failed_count, "Records": results });
    ([("content-type", "application/x-amz-json-1.1")], answer.to_string()).into_response()
}

fn failed(code: &str, message: &str) -> Value {
    json!({ "ErrorCode": code, "ErrorMessage": message })
}

/// The answer says that nothing is stored.
fn is_sure(answer: &Answer) -> bool {
    matches!(answer, Answer::Error(400.., "ProvisionedThroughputExceededException" | "ThrottlingException"))
}

/// The clock by which what happens in several processes can be put in order.
pub(crate) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

impl Shared {
    fn enter(&self, before: Duration, records: &[&Value]) {
        let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        let records = records.iter().map(|record| {
            let data = BASE64.decode(text(record, "Data")).unwrap();
            (text(record, "PartitionKey"), data)
        });
        let records = records.collect();
        let after_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
        self.ledger.lock().unwrap().push(Put { before, after: monotonic(), after_ms, records });
    }

    fn fate_of_put(&self) -> Fate {
        let mut random = self.random.lock().unwrap();
        if !self.is_rough.load(Ordering::Relaxed) {
            let (delay, answer_delay) = (Duration::ZERO, Duration::ZERO);
            return Fate { delay, stored: Stored::All, answer: Answer::Well, is_answered_first: false, answer_delay };
        }
        let answer = match random.u32(..100) {
            0..62 => Answer::Well,
            62..70 => Answer::Misled,
            70..80 => Answer::Error([500, 502, 503][random.usize(..3)], "InternalFailure"),
            80..93 => Answer::Cut,
            93..95 => Answer::Never,
            _ => Answer::Error(400, "ProvisionedThroughputExceededException"),
        };
        let stored = match random.u32(..10) {
            _ if is_sure(&answer) => Stored::Nothing,
            0 => Stored::Nothing,
            1 | 2 => Stored::Part,
            _ => Stored::All,
        };
        let mut delay = |ms_max: u64| Duration::from_millis(if random.bool() { 0 } else { random.u64(..ms_max) });
        let (delay, answer_delay) = (delay(60), delay(120));
        let is_answered_first = !matches!(answer, Answer::Well | Answer::Misled) && random.bool();
        Fate { delay, stored, answer, is_answered_first, answer_delay }
    }

    /// Also what a process needs to know before it sends anything: so most are answered.
    fn fate_of_question(&self, operation: &str) -> (Duration, Answer) {
        let mut random = self.random.lock().unwrap();
        if !self.is_rough.load(Ordering::Relaxed) {
            return (Duration::ZERO, Answer::Well);
        }
        let delay = Duration::from_millis(if random.u32(..4) > 0 { 0 } else { random.u64(..40) });
        let answer = match random.u32(..100) {
            0 => Answer::Cut,
            1 => Answer::Error(500, "InternalFailure"),
            2 => Answer::Error(400, "LimitExceededException"),
            3..6 if operation == "GetRecords" => Answer::Error(400, "ProvisionedThroughputExceededException"),
            6 if operation == "GetRecords" => Answer::Error(400, "ExpiredIteratorException"),
            _ => Answer::Well,
        };
        (delay, answer)
    }
}

impl Answer {
    async fn give(self) -> Response {
        match self {
            Self::Error(status, code) => error(StatusCode::from_u16(status).unwrap(), code),
            Self::Never => {
                sleep(NEVER).await;
                cut()
            }
            Self::Well | Self::Misled | Self::Cut => cut(),
        }
    }
}

/// Ends the task of the connection, and the connection with it; nothing is said of it as of a panic.
fn cut() -> ! {
    std::panic::resume_unwind(Box::new("cut"))
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = json!({ "__type": code, "message": "by chance" }).to_string();
    (status, [("x-amzn-errortype", code), ("content-type", "application/x-amz-json-1.1")], body).into_response()
}
