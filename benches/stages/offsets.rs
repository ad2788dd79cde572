//! Which bytes are on their way, and which are settled.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kinetail::settlement::Settlement;
use kinetail::span::{FileKey, Span, Spans};

const COUNT: u64 = 1_000;
const LINE_BYTES: u64 = 246;

/// The spans of an aggregate whose lines are of so many files in turn, and the tag that says them. An item is a line.
#[divan::bench(args = [1, 4, 100])]
fn spans(bencher: Bencher<'_, '_>, file_count: u64) {
    let line = |index: u64| {
        let start = index / file_count * LINE_BYTES;
        Span::new(FileKey(index % file_count), start, start + LINE_BYTES)
    };
    let lines: Vec<Span> = (0..COUNT).map(line).collect();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        let mut spans = Spans::default();
        for line in black_box(&lines) {
            spans.push(*line);
        }
        spans.to_tag()
    });
}

/// What a reader of the stream makes of a tag. An item is a tag.
#[divan::bench(args = [1, 100])]
fn spans_from_tag(bencher: Bencher<'_, '_>, span_count: u64) {
    let mut spans = Spans::default();
    for index in 0..span_count {
        spans.push(Span::new(FileKey(index), index, index + LINE_BYTES));
    }
    let tag = spans.to_tag();
    assert!(Spans::from_tag(&tag).is_some());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| Spans::from_tag(black_box(&tag)));
}

/// Settles ranges of one file in their order, or in turns of so many that come in any order. An item is a range.
#[divan::bench(args = [1, 16, 1_000])]
fn settle(bencher: Bencher<'_, '_>, mixed: usize) {
    let mut ranges: Vec<u64> = (0..COUNT).map(|index| index * LINE_BYTES).collect();
    let mut random = fastrand::Rng::with_seed(1);
    ranges.chunks_mut(mixed).for_each(|turn| random.shuffle(turn));
    bencher.counter(ItemsCount::new(ranges.len())).bench_local(|| {
        let mut settlement = Settlement::new(0, []);
        for start in black_box(&ranges) {
            settlement.settle(*start, start + LINE_BYTES);
        }
        assert_eq!(settlement.watermark(), COUNT * LINE_BYTES);
        settlement
    });
}
