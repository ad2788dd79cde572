//! A service whose answers a story writes: emulators only ever answer well, or refuse what is wrong. It speaks HTTP/1.1 as far
//! as the agent does, and keeps what it was told to store.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{Received, cbor};

/// The service, Kinesis or Firehose by what it is asked.
pub(crate) struct Scripted {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Answer>,
    /// What is answered when the script has ended.
    standing: Answer,
    reading: Reading,
    /// Everything that was ever stored, as it is read, and when it arrived, in seconds since 1970.
    readable: Vec<(f64, Value)>,
    /// Answers to what else is asked: status and body.
    questions: VecDeque<(u16, Value)>,
    /// What else was asked: the operation and the body.
    asked: Vec<(String, Value)>,
    /// Records of each request that was read as a whole.
    requests: Vec<usize>,
    /// Of these, how many were in CBOR.
    cbor_request_count: usize,
    /// What is answered to CBOR, status and body, instead of what the script says; nothing is stored then.
    to_cbor: Option<(u16, String)>,
    stored: Vec<Received>,
}

/// What becomes of a request, and what is said of it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Answer {
    /// All is stored, and that is the answer.
    #[default]
    Well,
    /// Nothing is stored; status and body.
    Refused(u16, String),
    /// All is stored; status and body.
    Stored(u16, String),
    /// By record, in turn.
    ByRecord(Vec<Fate>),
    /// All is stored; the answer has so many results more, or fewer.
    Results(isize),
    /// All is stored; the answer is shorter than it says.
    Cut,
    /// Nothing is stored: the connection is gone when the head was read.
    LostAfterHead,
    /// All is stored; the connection is gone when the body was read.
    LostAfterBody,
    /// Nothing is stored; the connection is gone when the body was read.
    LostWithBody,
    /// All is stored; there is no answer.
    Never,
    /// All is stored, and that is the answer, but not soon.
    Late(Duration),
}

/// What becomes of a record.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Stored,
    /// The code of an error, its message, and whether it was stored all the same.
    Failed(&'static str, &'static str, bool),
}

/// Who may read what is stored: one shard, which has everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Reading {
    /// No question about it is known.
    #[default]
    Unknown,
    /// The shard is listed, but its records are not for everybody.
    Denied,
    Allowed,
}

/// The body of an error that the services answer.
pub(crate) fn error(code: &str, message: &str) -> String {
    json!({ "__type": code, "message": message }).to_string()
}

impl Scripted {
    /// A service that answers the next requests for records by `script`, and well afterwards.
    pub(crate) fn start(script: Vec<Answer>) -> Self {
        let listener = listen().unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script: script.into(), ..State::default() }));
        let shared = Arc::clone(&state);
        // It ends with the process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let state = Arc::clone(&shared);
                // A client that goes away ends its connection.
                thread::spawn(move || serve(&connection.unwrap(), &state));
            }
        });
        Self { addr, state }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What is answered from now on, behind the script.
    pub(crate) fn stand(&self, answer: Answer) {
        lock(&self.state).standing = answer;
    }

    /// Who may read from now on.
    pub(crate) fn allow(&self, reading: Reading) {
        lock(&self.state).reading = reading;
    }

    /// What is answered to the next that asks for anything else, in turn. Without it no other operation is known.
    pub(crate) fn answer(&self, status: u16, body: Value) {
        lock(&self.state).questions.push_back((status, body));
    }

    /// What else was asked: operations and bodies.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        lock(&self.state).asked.clone()
    }

    /// How many records each request had that was read as a whole.
    pub(crate) fn requests(&self) -> Vec<usize> {
        lock(&self.state).requests.clone()
    }

    /// How many of these were in CBOR.
    pub(crate) fn cbor_request_count(&self) -> usize {
        lock(&self.state).cbor_request_count
    }

    /// From now on this is what is answered to CBOR, in JSON; nothing is stored then.
    pub(crate) fn refuse_cbor(&self, status: u16, body: String) {
        lock(&self.state).to_cbor = Some((status, body));
    }

    /// Everything that was stored.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.state).stored)
    }
}

/// Takes in little of what is not read, so that what is not read was not sent as a whole.
fn listen() -> io::Result<TcpListener> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(64)?.into_std()?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request after the other, until one is not answered.
fn serve(connection: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut from = BufReader::new(connection);
    loop {
        let (mut target, mut length, mut is_cbor) = (String::new(), 0, false);
        let mut line = String::new();
        while from.read_line(&mut line)? > 0 && line != "\r\n" {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => target = value.trim().to_owned(),
                "content-type" => is_cbor = cbor::is_cbor(value.trim()),
                "content-length" => length = value.trim().parse().unwrap(),
                _ => {}
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let to_cbor = lock(state).to_cbor.clone().filter(|_| is_cbor);
        let answer = match (to_cbor, target.rsplit_once('.')) {
            (Some((status, body)), _) => Answer::Refused(status, body),
            (None, Some((_, "PutRecords" | "PutRecordBatch"))) => lock(state).next(),
            _ => Answer::Well,
        };
        if matches!(answer, Answer::LostAfterHead) {
            return Ok(());
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        let carried_out = {
            let mut state = lock(state);
            state.cbor_request_count += usize::from(is_cbor);
            let body = if is_cbor { cbor::in_json(&body) } else { serde_json::from_slice(&body).unwrap() };
            let speaks_cbor = is_cbor && state.to_cbor.is_none();
            state.carry_out(&answer, &target, &body).map(|(status, body)| {
                let in_cbor = cbor::in_cbor(body.as_bytes()).filter(|_| speaks_cbor);
                (status, in_cbor.unwrap_or_else(|| body.into_bytes()))
            })
        };
        let Some((status, mut body)) = carried_out else {
            if matches!(answer, Answer::Never) {
                // Until the other side goes away.
                from.read_exact(&mut [0])?;
            }
            return Ok(());
        };
        if let Answer::Late(delay) = answer {
            thread::park_timeout(delay);
        }
        let kind = match body.first() {
            Some(b'<') => "text/html",
            Some(0x80..) => "application/x-amz-cbor-1.1",
            _ => "application/x-amz-json-1.1",
        };
        let (length, is_cut) = (body.len(), matches!(answer, Answer::Cut));
        if is_cut {
            body.truncate(length / 2);
        }
        let mut to = connection;
        write!(to, "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n")?;
        to.write_all(&body)?;
        if is_cut {
            return Ok(());
        }
    }
}

const SHARD: &str = "shardId-000000000000";

impl State {
    /// Status and body of what is answered to who reads. An iterator is the place of a record among all.
    fn read(&self, operation: &str, question: &Value) -> (u16, Value) {
        let answer = match (operation, self.reading) {
            ("ListShards", Reading::Denied | Reading::Allowed) => json!({ "Shards": [{
                "ShardId": SHARD,
                "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() },
                "SequenceNumberRange": { "StartingSequenceNumber": "1" },
            }]}),
            ("GetShardIterator" | "GetRecords", Reading::Denied) => return (400, json!({ "__type": "AccessDeniedException" })),
            ("GetShardIterator", Reading::Allowed) => {
                let place = match question["ShardIteratorType"].as_str() {
                    Some("AT_TIMESTAMP") => {
                        let from = question["Timestamp"].as_f64().unwrap();
                        self.readable.partition_point(|(arrived_at, _)| *arrived_at < from)
                    }
                    Some("AFTER_SEQUENCE_NUMBER") => question["StartingSequenceNumber"].as_str().unwrap().parse().unwrap(),
                    other => panic!("an iterator {other:?}"),
                };
                json!({ "ShardIterator": place.to_string() })
            }
            ("GetRecords", Reading::Allowed) => {
                let place: usize = question["ShardIterator"].as_str().unwrap().parse().unwrap();
                let count_max = usize::try_from(question["Limit"].as_u64().unwrap()).unwrap();
                let records: Vec<&Value> = self.readable.iter().skip(place).take(count_max).map(|(_, record)| record).collect();
                let (next, left) = (place + records.len(), self.readable.len() - place - records.len());
                json!({ "Records": records, "NextShardIterator": next.to_string(), "MillisBehindLatest": left })
            }
            _ => return (400, json!({ "__type": "UnknownOperationException" })),
        };
        (200, answer)
    }

    fn next(&mut self) -> Answer {
        self.script.pop_front().unwrap_or_else(|| self.standing.clone())
    }

    /// Stores what is to be stored. Status and body of the answer; none when there is no answer.
    fn carry_out(&mut self, answer: &Answer, target: &str, body: &Value) -> Option<(u16, String)> {
        let refused = |status: u16, body: &str| Some((status, body.to_owned()));
        let Some(records) = body["Records"].as_array() else {
            let operation = target.rsplit('.').next().unwrap_or_default();
            self.asked.push((operation.to_owned(), body.clone()));
            let (status, body) = self.questions.pop_front().unwrap_or_else(|| self.read(operation, body));
            return refused(status, &body.to_string());
        };
        self.requests.push(records.len());
        let fates = match answer {
            Answer::Refused(status, body) => return refused(*status, body),
            Answer::LostWithBody => return None,
            Answer::ByRecord(fates) => fates.iter().cycle().take(records.len()).cloned().collect(),
            _ => vec![Fate::Stored; records.len()],
        };
        let mut results: Vec<Value> = Vec::new();
        for (record, fate) in records.iter().zip(fates) {
            if matches!(fate, Fate::Stored | Fate::Failed(_, _, true)) {
                self.stored.push(Received {
                    partition_key: record["PartitionKey"].as_str().unwrap_or_default().to_owned(),
                    data: BASE64.decode(record["Data"].as_str().unwrap()).unwrap(),
                    shard_id: SHARD.to_owned(),
                });
                let arrived_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
                let mut stored = record.clone();
                stored["SequenceNumber"] = (self.readable.len() + 1).to_string().into();
                stored["ApproximateArrivalTimestamp"] = arrived_at.into();
                self.readable.push((arrived_at, stored));
            }
            let number = self.readable.len().to_string();
            results.push(match fate {
                Fate::Stored => json!({ "SequenceNumber": number, "RecordId": number, "ShardId": SHARD }),
                Fate::Failed(code, message, _) => json!({ "ErrorCode": code, "ErrorMessage": message }),
            });
        }
        if let Answer::Results(more) = answer {
            results = results.iter().cycle().take(results.len().saturating_add_signed(*more)).cloned().collect();
        }
        let list = if target.ends_with("PutRecordBatch") { "RequestResponses" } else { "Records" };
        let well = json!({ list: results, "FailedRecordCount": 0, "FailedPutCount": 0 }).to_string();
        match answer {
            Answer::LostAfterHead | Answer::LostAfterBody | Answer::LostWithBody | Answer::Never => None,
            Answer::Stored(status, body) => refused(*status, body),
            _ => Some((200, well)),
        }
    }
}
