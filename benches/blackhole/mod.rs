//! A Kinesis, and a Firehose, that takes every record and keeps none: a process of its own, over TLS 1.3 on loopback.
//!
//! It must cost less than what is measured with it. So a body is not gathered but looked through as it comes, for no more than
//! its records and their hash keys, and answers are made of prepared pieces. The process is the benchmark itself, started again with a hidden argument;
//! it ends with its standard input, on which it is also told to go dark.

mod answers;
mod cbor;
mod clock;
mod json;
mod lines;
mod records;
mod server;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

#[allow(unused_imports, reason = "each benchmark has its own use of it")]
pub(crate) use clock::now;
#[allow(unused_imports, reason = "each benchmark has its own use of it")]
pub(crate) use lines::MARK;

/// The hidden first argument of the process.
const ROLE: &str = "serve-blackhole";

/// More than come before somebody looks.
const EVENTS_WAITING: usize = 1 << 16;

/// What it is like.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Equal shards of its one stream.
    pub(crate) shard_count: u32,
    /// From the last byte of a request to the first of its answer.
    pub(crate) latency: Duration,
    pub(crate) telling: Telling,
}

/// What it tells of by itself.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    /// Of each request with records.
    Requests,
    /// Of the lines in them too, which costs it much more.
    Lines,
}

/// How it treats those who come.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything.
    Bright,
    /// Nobody listens; connections that are open are reset.
    Refused,
    /// Takes connections and requests, and answers none.
    Silent,
    /// Answers status 500.
    Failing,
}

/// What was told. Times are those of [`now`].
#[allow(dead_code, reason = "each benchmark has its own use of it")]
pub(crate) enum Event {
    /// A request with records was answered.
    Answered(Duration),
    /// So was one in which these lines are, by the numbers behind their [`MARK`].
    Lines(Duration, Vec<(u64, u64)>),
}

/// What it has taken so far.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) request_count: u64,
    pub(crate) record_count: u64,
    /// Of the bodies of requests with records, as they are sent.
    pub(crate) body_bytes: u64,
    /// When the last answer to such a request was given.
    pub(crate) last_answer: Duration,
}

/// The service. What uses it may look at only a part.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
pub(crate) struct Blackhole {
    pub(crate) url: String,
    pub(crate) events: Receiver<Event>,
    child: Child,
    orders: ChildStdin,
    tallies: Receiver<Tally>,
    folder: TempDir,
}

/// Whether this process was started to be a blackhole; then it has been one until now.
pub(crate) fn has_served() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, shard_count, latency_us, telling, certificate] = &arguments[..] else { return false };
    if role != ROLE {
        return false;
    }
    let settings = Settings {
        shard_count: shard_count.parse().unwrap(),
        latency: Duration::from_micros(latency_us.parse().unwrap()),
        telling: [Telling::Nothing, Telling::Requests, Telling::Lines]
            .into_iter()
            .find(|one| format!("{one:?}") == *telling)
            .unwrap(),
    };
    server::serve(settings, Path::new(certificate));
    true
}

#[allow(dead_code, reason = "each benchmark has its own use of it")]
impl Blackhole {
    pub(crate) fn start(settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        let Settings { shard_count, latency, telling } = settings;
        let words = [shard_count.to_string(), latency.as_micros().to_string(), format!("{telling:?}")];
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ROLE).args(words).arg(certificate_in(&folder)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (orders, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut said = BufReader::new(said).lines().map_while(Result::ok);
        let port = said.next().unwrap();
        let (event_in, events) = sync_channel(EVENTS_WAITING);
        let (tally_in, tallies) = sync_channel(1);
        std::thread::spawn(move || said.for_each(|line| hear(&line, &event_in, &tally_in)));
        Self { url: format!("https://127.0.0.1:{port}"), events, child, orders, tallies, folder }
    }

    /// Lines of `[aws]` that lead there.
    pub(crate) fn aws(&self) -> String {
        let (url, certificate) = (&self.url, certificate_in(&self.folder));
        format!("endpoints.kinesis = {url:?}\nendpoints.firehose = {url:?}\nca_file = {certificate:?}\n")
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tally(&mut self) -> Tally {
        writeln!(self.orders, "tally").unwrap();
        self.tallies.recv().unwrap()
    }

    /// It is so when this returns.
    pub(crate) fn set_mood(&mut self, mood: Mood) {
        writeln!(self.orders, "{mood:?}").unwrap();
        self.tallies.recv().unwrap();
    }
}

impl Drop for Blackhole {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certificate_in(folder: &TempDir) -> PathBuf {
    folder.path().join("certificate.pem")
}

fn hear(line: &str, events: &SyncSender<Event>, tallies: &SyncSender<Tally>) {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |index: usize| words[index].parse().unwrap();
    let time = |index: usize| Duration::from_nanos(number(index));
    // Nobody may be interested any more.
    let _ = match words[0] {
        "answered" => events.send(Event::Answered(time(1))).is_ok(),
        "lines" => {
            let numbers: Vec<u64> = (2..words.len()).map(number).collect();
            let ranges = numbers.chunks(2).map(|range| (range[0], range[1])).collect();
            events.send(Event::Lines(time(1), ranges)).is_ok()
        }
        _ => {
            let [request_count, record_count, body_bytes] = [1, 2, 3].map(number);
            tallies.send(Tally { request_count, record_count, body_bytes, last_answer: time(4) }).is_ok()
        }
    };
}
