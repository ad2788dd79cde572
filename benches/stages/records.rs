//! From lines to records, and from records to requests.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kinetail::aggregator::Aggregate;
use kinetail::collector::{Collector, Entry};
use kinetail::joiner::Joined;
use kinetail::limits::REQUEST_BYTES_DEFAULT;
use kinetail::span::{FileKey, Span, Spans};

use crate::access_log;

/// What a record has by default.
const RECORD_BYTES: usize = 49_900;

/// Fills one aggregate and finishes it, MD5 included.
#[divan::bench]
fn aggregate(bencher: Bencher<'_, '_>) {
    let text = access_log(RECORD_BYTES * 9 / 10);
    let lines = with_spans(&text);
    counted(bencher, &text, lines.len()).bench_local(|| {
        let mut aggregate = Aggregate::new(u128::MAX / 3);
        for (line, span) in &lines {
            assert!(aggregate.try_push("key", black_box(line), *span, RECORD_BYTES));
        }
        aggregate.finish()
    });
}

/// Joins lines into one record, for `aggregate = "lines"`.
#[divan::bench]
fn join(bencher: Bencher<'_, '_>) {
    let text = access_log(RECORD_BYTES * 9 / 10);
    let lines = with_spans(&text);
    counted(bencher, &text, lines.len()).bench_local(|| {
        let mut joined = Joined::default();
        for (line, span) in &lines {
            assert!(joined.try_push(black_box(line), b"\n", *span, RECORD_BYTES, |_| true));
        }
        joined.take()
    });
}

/// Collects one request of records of so many bytes. An item is a record.
#[divan::bench(args = [246, RECORD_BYTES])]
fn collect(bencher: Bencher<'_, '_>, record_bytes: usize) {
    let entry = |start: u64| {
        let mut spans = Spans::default();
        spans.push(Span::new(FileKey(1), start, start + 1));
        Entry {
            partition_key: "00000000000000000000000000000abc-0000000000000001".into(),
            hash_key: 0,
            is_hash_key_explicit: true,
            data: Bytes::from(vec![b'x'; record_bytes]),
            spans,
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long: None,
        }
    };
    let entries = || (0..500).map(entry).collect::<Vec<_>>();
    let fill = |entries: Vec<Entry>| {
        let mut collector = Collector::new(REQUEST_BYTES_DEFAULT);
        for entry in entries {
            if collector.try_push(entry).is_err() {
                break;
            }
        }
        collector.take()
    };
    let count = fill(entries()).len();
    bencher.counter(ItemsCount::new(count)).with_inputs(|| entries().into_iter().take(count).collect()).bench_local_values(fill);
}

/// Lines without their newlines, and the spans with them.
fn with_spans(text: &str) -> Vec<(&[u8], Span)> {
    let mut start = 0;
    let with_span = |line: &'_ str| {
        let span = Span::new(FileKey(1), start, start + line.len() as u64);
        start += line.len() as u64;
        span
    };
    let spans: Vec<Span> = text.split_inclusive('\n').map(with_span).collect();
    text.lines().map(str::as_bytes).zip(spans).collect()
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, text: &str, line_count: usize) -> Bencher<'a, 'b> {
    bencher.counter(BytesCount::new(text.len())).counter(ItemsCount::new(line_count))
}
