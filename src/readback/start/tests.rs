use std::sync::Mutex;

use bytes::Bytes;

use super::super::tests::fake::{Fake, FakeShard, START_MS, shard};
use super::*;
use crate::aggregator::Aggregate;
use crate::delivery_token::{DeliveryTokens, naming};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::offsets::Identity;
use crate::outcome::Operation;
use crate::span::Spans;
use crate::tailer::{Position, row_at};

const RUN: u128 = 0xabc;

fn row(watermark: u64, settled_above: &[(u64, u64)], byte_count: u64) -> Row {
    Row {
        flow: "access".to_owned(),
        path: "/var/log/access.log".to_owned(),
        identity: Identity { byte_count, ..Identity::default() },
        gone_at: None,
        watermark,
        settled_above: settled_above.to_vec(),
    }
}

/// A run that had 3 records in flight when it was marked last, so many milliseconds after the start of the test.
fn run(run_id: u128, stream: Option<&str>, marked_at_ms: i64) -> (RunKey, Sending) {
    let sending = Sending {
        stream: stream.map(str::to_owned),
        marked_at_ms: START_MS + marked_at_ms,
        in_flight_since_ms: Some(START_MS + marked_at_ms - 1_000),
        in_flight_record_count: 3,
        sent_record_count: 100,
    };
    (RunKey { run_id, flow: "access".to_owned() }, sending)
}

fn span(file: u64, start: u64, end: u64) -> Span {
    Span::new(FileKey(file), start, end)
}

/// A record that arrived so many milliseconds after the start.
fn record(arrived_at_ms: i64, partition_key: String, data: impl Into<Bytes>) -> StoredRecord {
    StoredRecord {
        sequence_number: String::new(),
        arrived_at_ms: Some(START_MS + arrived_at_ms),
        partition_key,
        data: data.into(),
    }
}

/// An aggregate of these spans, as a run sends it.
fn aggregate(arrived_at_ms: i64, run_id: u128, spans: &[Span]) -> StoredRecord {
    let mut aggregate = Aggregate::new(5);
    for span in spans {
        assert!(aggregate.try_push("key", b"line", *span, 10_000));
    }
    record(arrived_at_ms, DeliveryTokens::new(run_id).draw(), aggregate.finish().data)
}

/// A line by itself, which says in its key what it is made of.
fn line(arrived_at_ms: i64, run_id: u128, spans: &[Span]) -> StoredRecord {
    let key = naming(&DeliveryTokens::new(run_id).draw(), &spans.iter().copied().collect::<Spans>());
    record(arrived_at_ms, key, "line\n")
}

fn stream(mut records: Vec<StoredRecord>) -> Fake {
    records.sort_by_key(|record| record.arrived_at_ms);
    for (index, record) in records.iter_mut().enumerate() {
        record.sequence_number = index.to_string();
    }
    Fake::new(vec![FakeShard { records, ..shard("a", 0, 1) }])
}

struct Stage {
    folder: tempfile::TempDir,
    store: Arc<Offsets>,
    streams: HashMap<&'static str, Arc<Fake>>,
    asked_for: Mutex<Vec<String>>,
    metrics: FlowMetrics,
    runs: Vec<(RunKey, Sending)>,
    read_back: ReadBack,
    has_tokens: bool,
    is_rolled_back: bool,
}

impl Stage {
    fn new(streams: impl IntoIterator<Item = (&'static str, Fake)>, runs: Vec<(RunKey, Sending)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Offsets::open(folder.path()).unwrap());
        store.commit(&Changes { sendings: runs.clone(), ..Changes::default() }).unwrap();
        Self {
            folder,
            store,
            streams: streams.into_iter().map(|(name, fake)| (name, Arc::new(fake))).collect(),
            asked_for: Mutex::default(),
            metrics: Metrics::default().flow("access"),
            runs,
            read_back: ReadBack::Auto,
            has_tokens: true,
            is_rolled_back: false,
        }
    }

    /// What the rows say then of each file: watermark, what is settled above it, size. And how many runs are reconciled.
    async fn reconcile(&self, rows: Vec<(FileKey, Row)>) -> (Vec<(u64, Vec<(u64, u64)>, u64)>, usize) {
        let reader_of = |stream: &str| {
            self.asked_for.lock().unwrap().push(stream.to_owned());
            Arc::clone(&self.streams[stream])
        };
        let parts = Parts {
            runs: self.runs.clone(),
            reader_of,
            clock: ServiceClock::new(START_MS),
            settle: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(30),
            read_back: self.read_back,
            has_tokens: self.has_tokens,
            is_rolled_back: self.is_rolled_back,
            metrics: self.metrics.clone(),
            health: Health::default().flow("access"),
            store: Arc::clone(&self.store),
            writing: Writing::OwnThread,
        };
        let (rows, reconciled) = reconcile(parts, rows).await;
        assert_eq!(self.metrics.read_back_running.get(), 0);
        let row = |(_, row): (FileKey, Row)| (row.watermark, row.settled_above, row.identity.byte_count);
        (rows.into_iter().map(row).collect(), reconciled.len())
    }

    fn is_asked(&self) -> bool {
        self.streams.values().any(|fake| !fake.asked.lock().unwrap().is_empty())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_stream_is_settled() {
    let fake = stream(vec![
        aggregate(-61_000, RUN, &[span(1, 100, 150), span(1, 150, 200), span(2, 0, 10)]),
        line(-60_500, RUN, &[span(1, 300, 400)]),
        // Again, as after a request without an answer.
        line(-60_400, RUN, &[span(1, 300, 400)]),
        // Of another run, of another producer, and rubbish.
        aggregate(-60_000, 0xdef, &[span(1, 200, 300)]),
        record(-60_000, "user-17".to_owned(), "line"),
        record(-60_000, DeliveryTokens::new(RUN).draw(), "no aggregate"),
        record(-60_000, format!("{}-zz", DeliveryTokens::new(RUN).draw()), ""),
        // Of the same run, but a file of which nothing is known, and one of another flow.
        line(-60_000, RUN, &[span(9, 0, 50)]),
        line(-60_000, RUN, &[span(77, 0, 50)]),
    ]);
    let stage = Stage::new([("s", fake)], vec![run(RUN, Some("s"), -60_000)]);
    let rows = vec![(FileKey(1), row(100, &[(380, 390)], 350)), (FileKey(2), row(0, &[], 10)), (FileKey(3), row(7, &[], 9))];
    let (rows, reconciled_count) = stage.reconcile(rows).await;
    assert_eq!(rows, [(200, vec![(300, 400)], 400), (10, vec![], 10), (7, vec![], 9)]);
    assert_eq!(reconciled_count, 1);
    assert_eq!(stage.store.sendings().unwrap(), []);
    let stored: Vec<_> = stage.store.load().unwrap().into_iter().map(|(file, row)| (file, row.watermark)).collect();
    assert_eq!(stored, [(FileKey(1), 200), (FileKey(2), 10)], "rows that have not changed are not written");
    let metrics = &stage.metrics;
    assert_eq!(metrics.read_back_settled_bytes.get(), 100 + 90 + 10);
    assert_eq!(metrics.read_back_records.get(), 9);
    let asked = stage.streams["s"].asked.lock().unwrap().len();
    assert_eq!(metrics.read_back_requests.get(), asked as u64);
    assert!(metrics.read_back_bytes.get() > 0);
    assert_eq!(metrics.possibly_doubled_records.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_a_run_can_have_sent_counts() {
    // A copy of the state folder was taken while the run went on, on another host.
    for (is_rolled_back, watermark) in [(false, 200), (true, 300)] {
        let fake = stream(vec![
            line(-70_000, RUN, &[span(1, 300, 400)]),
            line(-60_000, RUN, &[span(1, 100, 200)]),
            // No longer than 3 + 30 + 2 s after the mark, and twice 5 s for the clocks.
            line(-10_000, RUN, &[span(1, 200, 300)]),
        ]);
        let stage = Stage { is_rolled_back, ..Stage::new([("s", fake)], vec![run(RUN, Some("s"), -60_000)]) };
        let (rows, _) = stage.reconcile(vec![(FileKey(1), row(100, &[], 400))]).await;
        assert_eq!(rows[0].0, watermark, "{is_rolled_back}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_still_on_its_way_is_waited_for() {
    let fake = stream(vec![line(1_900, RUN, &[span(1, 0, 10)])]);
    let stage = Stage::new([("s", fake)], vec![run(RUN, Some("s"), -500)]);
    let start = Instant::now();
    assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await.0[0].0, 10);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_time_are_looked_for_in_one_reading() {
    let lines = || vec![line(-60_000, 1, &[span(1, 0, 10)]), line(-50_000, 2, &[span(1, 10, 20)])];
    for (marked_at_ms, list_count) in [(-51_000, 2), (-600_000, 3)] {
        // One more asks what time it is.
        let runs = vec![run(1, Some("s"), marked_at_ms), run(2, Some("s"), -50_000)];
        let stage = Stage::new([("s", stream(lines()))], runs);
        assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 20))]).await.1, 2);
        assert_eq!(stage.streams["s"].count("list"), list_count);
    }
    let streams = [("a", stream(lines())), ("b", stream(lines()))];
    let stage = Stage::new(streams, vec![run(1, Some("a"), -60_000), run(2, Some("b"), -50_000)]);
    let (rows, reconciled_count) = stage.reconcile(vec![(FileKey(1), row(0, &[], 20))]).await;
    assert_eq!((rows[0].0, reconciled_count), (20, 2));
    assert_eq!(*stage.asked_for.lock().unwrap(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_sent_again_and_counted() {
    let lines = || stream(vec![line(-60_000, RUN, &[span(1, 0, 10)])]);
    let of = |stream_name| Stage::new([("s", lines())], vec![run(RUN, stream_name, -60_000)]);
    for stage in [of(None), Stage { read_back: ReadBack::Off, ..of(Some("s")) }, Stage { has_tokens: false, ..of(Some("s")) }] {
        assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await, (vec![(0, vec![], 10)], 1));
        assert!(!stage.is_asked());
        assert_eq!(stage.metrics.possibly_doubled_records.get(), 3);
        assert_eq!(stage.store.sendings().unwrap(), []);
    }
    for operation in ["list", "iterator", "records"] {
        let denied = Failure::answered(Operation::GetRecords, "AccessDeniedException", 400, "no");
        let runs = vec![run(RUN, Some("s"), -60_000), run(7, Some("s"), -600_000)];
        let stage = Stage::new([("s", lines().failing(operation, vec![denied; 3]))], runs);
        assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await, (vec![(0, vec![], 10)], 2));
        assert_eq!(stage.metrics.possibly_doubled_records.get(), 6);
        assert_eq!(stage.store.sendings().unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_before_reading_failed_is_settled_all_the_same() {
    let fake = stream(vec![line(-60_000, RUN, &[span(1, 0, 10)])]);
    let denied = Failure::answered(Operation::GetRecords, "KMSAccessDeniedException", 400, "no");
    fake.failures.lock().unwrap().insert("records", [None, Some(denied)].into());
    let stage = Stage::new([("s", fake)], vec![run(RUN, Some("s"), -60_000)]);
    assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await, (vec![(10, vec![], 10)], 1));
    assert_eq!(stage.metrics.possibly_doubled_records.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_service_is_waited_for() {
    let failure = Failure { verdict: crate::outcome::Verdict::Retry, code: Failure::DNS.to_owned(), message: String::new() };
    let fake = stream(vec![line(-500, RUN, &[span(1, 0, 10)])]).failing("list", vec![failure; 50]);
    let stage = Stage::new([("s", fake)], vec![run(RUN, Some("s"), -500)]);
    assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await.0[0].0, 10);
    assert_eq!(stage.metrics.possibly_doubled_records.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_keeps_the_runs() {
    let stage = Stage::new([("s", stream(vec![line(-60_000, RUN, &[span(1, 0, 10)])]))], vec![run(RUN, Some("s"), -60_000)]);
    // A commit fails where a folder of sled's is missing.
    std::fs::remove_dir(stage.folder.path().join("offsets/blobs")).unwrap();
    assert_eq!(stage.reconcile(vec![(FileKey(1), row(0, &[], 10))]).await, (vec![(10, vec![], 10)], 0));
}

#[tokio::test(start_paused = true)]
async fn without_runs_nothing_is_asked() {
    let stage = Stage::new([("s", stream(Vec::new()))], Vec::new());
    assert_eq!(stage.reconcile(vec![(FileKey(1), row(5, &[], 10))]).await, (vec![(5, vec![], 10)], 0));
    assert!(!stage.is_asked());
}

/// When the power is lost a file may lose its end, and be renamed before the agent starts again.
#[test]
fn lines_in_the_place_of_lost_ones_are_not_settled_whatever_the_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    // By its beginning, which is longer than what is looked at, it is the same file.
    let write = |line: &str| std::fs::write(&path, "x".repeat(1_999) + "\n" + line).unwrap();
    write("second\n");
    let row = row_at("access", None, &path, Position::Offset(2_000)).unwrap();
    let found = HashMap::from([(FileKey(1), BTreeSet::from([span(1, 2_000, 2_007).ending_in(b"second\n")]))]);
    let check = |contradicted_byte_count, watermark| {
        let mut rows = vec![(FileKey(1), row.clone())];
        let settling = settle(&mut rows, &found);
        assert_eq!((settling.contradicted_byte_count, rows[0].1.watermark), (contradicted_byte_count, watermark));
    };
    check(0, 2_007);
    write("other!\n");
    check(7, 2_000);
    std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
    write("second\n");
    check(7, 2_000);
}
