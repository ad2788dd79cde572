//! From records to the body of their request, and from the answer to what became of each.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kinetail::outcome::Service;
use kinetail::wire::answer::{ShardIds, results};
use kinetail::wire::{Record, Wire, put_record_batch, put_records};

/// Numbers of records, and their bytes: single lines, and aggregates.
const SHAPES: [(usize, usize); 2] = [(500, 250), (100, 49_900)];
const PARTITION_KEY: &str = "00000000000000000000000000000abc-1-0123456789abcdef:10000+fa!f0123456";

/// The body for Kinesis, into the memory of the one before. An item is a record.
#[divan::bench(args = SHAPES)]
fn json(bencher: Bencher<'_, '_>, (count, byte_count): (usize, usize)) {
    for_kinesis(bencher, Wire::Json, count, byte_count);
}

/// The same in CBOR.
#[divan::bench(args = SHAPES)]
fn cbor(bencher: Bencher<'_, '_>, (count, byte_count): (usize, usize)) {
    for_kinesis(bencher, Wire::Cbor, count, byte_count);
}

fn for_kinesis(bencher: Bencher<'_, '_>, wire: Wire, count: usize, byte_count: usize) {
    let (data, mut body) = (vec![b'x'; byte_count], Vec::new());
    let record = |_| Record { data: &data, partition_key: PARTITION_KEY, hash_key: Some(u128::MAX / 3) };
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        body.clear();
        put_records(wire, "bench", (0..count).map(record), &mut body);
        black_box(&body).len()
    });
}

/// The body for Firehose.
#[divan::bench(args = SHAPES)]
fn firehose(bencher: Bencher<'_, '_>, (count, byte_count): (usize, usize)) {
    let (data, mut body) = (vec![b'x'; byte_count], Vec::new());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        body.clear();
        put_record_batch("bench", (0..count).map(|_| data.as_slice()), &mut body);
        black_box(&body).len()
    });
}

/// An answer of Kinesis in JSON that says of 500 records that they are stored.
#[divan::bench]
fn answer(bencher: Bencher<'_, '_>) {
    let of_record = |index| format!(r#"{{"SequenceNumber":"4966610{index:049}","ShardId":"shardId-{:012}"}}"#, index % 16);
    let records: Vec<String> = (0..500).map(of_record).collect();
    let answer = format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, records.join(","));
    let mut shard_ids = ShardIds::default();
    bencher
        .counter(ItemsCount::new(500usize))
        .bench_local(|| results(Service::Kinesis, black_box(answer.as_bytes()), 500, &mut shard_ids).unwrap());
}
