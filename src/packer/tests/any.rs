use proptest::prelude::*;

use super::*;
use crate::stream::Wait;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Lines { file: u64, lines: Vec<AnyLine> },
    Facts { sixteenths: Vec<u128>, is_auto: bool, record_bytes_max: usize },
    Waits(Vec<f64>),
    Flush,
}

#[derive(Clone, Debug)]
struct AnyLine {
    beginning: &'static [u8],
    byte_count: usize,
    filling: &'static str,
}

fn line() -> impl Strategy<Value = AnyLine> {
    let beginning: Vec<&[u8]> = vec![b"", b"key ", b"other ", b" ", &crate::aggregator::MAGIC, b"\xff\xfe "];
    let byte_count = prop_oneof![8 => 0usize..300, 1 => 300usize..30_000, 1 => 45_000usize..250_000];
    let parts = (prop::sample::select(beginning), byte_count, prop::sample::select(vec!["x", "é", "日本", "🦀a"]));
    parts.prop_map(|(beginning, byte_count, filling)| AnyLine { beginning, byte_count, filling })
}

fn step() -> impl Strategy<Value = Step> {
    let facts =
        (prop::collection::btree_set(1u128..16, 0..6), any::<bool>(), prop_oneof![1 => 8_000usize..200_000, 1 => Just(MOST)]);
    prop_oneof![
        6 => (0u64..3, prop::collection::vec(line(), 1..40)).prop_map(|(file, lines)| Step::Lines { file, lines }),
        2 => facts.prop_map(|(sixteenths, is_auto, record_bytes_max)| {
            Step::Facts { sixteenths: sixteenths.into_iter().collect(), is_auto, record_bytes_max }
        }),
        1 => prop::collection::vec(0.0f64..10.0, 16).prop_map(Step::Waits),
        1 => Just(Step::Flush),
    ]
}

const MOST: usize = 200_000;

fn settings() -> impl Strategy<Value = String> {
    let destinations = vec![
        "[flow.kinesis]",
        "[flow.kinesis]\norder = 'file'",
        "[flow.kinesis]\naggregate = 'none'",
        "[flow.kinesis]\naggregate = 'none'\ncompress = 'zstd'\norder = 'file'",
        "[flow.kinesis]\naggregate = 'lines'",
        "[flow.kinesis]\naggregate = 'lines'\ncompress = 'gzip'\nmax_record_bytes = '200 KiB'",
        "[flow.kinesis]\naggregate = 'lines'\nmax_record_bytes = '1 KiB'\norder = 'file'",
        "[flow.firehose]\ncompress = 'zstd'",
        "[flow.firehose]\nrecord_bytes = '30 KiB'",
    ];
    let keys = vec!["random", "file", "${key}"];
    let parts = (
        prop::sample::select(destinations),
        prop::sample::select(keys),
        prop::sample::select(vec!["truncate", "split", "drop"]),
        any::<bool>(),
    );
    parts.prop_map(|(destination, key, too_long, is_ended)| {
        let is_joined = destination.contains("lines") || destination.contains("firehose");
        let terminator = if is_joined || is_ended { "\\n" } else { "" };
        let key = if destination.contains("firehose") { String::new() } else { format!("partition_key = '{key}'") };
        format!(
            "[flow.line]\ntoo_long = '{too_long}'\n[flow.parse]\nregex = '(?s-u)^(?<key>[^ ]*) '\n\
             [flow.record]\noutput = 'raw'\nterminator = \"{terminator}\"\n{destination}\n{key}"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the lines, the flow, and what is told of the stream: every byte is in one record, or is said to be dropped; records
    /// are within limits, and readers get out of them what is said to be in them.
    #[test]
    fn every_byte_is_in_one_record_or_dropped(settings in settings(), steps in prop::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut stage = Stage::new(&settings);
            stage.told[0].record_bytes_max = MOST;
            stage.facts.send_replace(stage.told[0].clone());
            for step in steps {
                match step {
                    Step::Lines { file, lines } => {
                        let lines: Vec<Vec<u8>> = lines.iter().map(|line| {
                            let filling = line.filling.bytes().cycle().take(line.byte_count);
                            line.beginning.iter().copied().chain(filling).collect()
                        }).collect();
                        stage.pack(file, &lines).await;
                    }
                    Step::Facts { sixteenths, is_auto, record_bytes_max } => {
                        stage.tell(&StreamFacts { shards: shards(&sixteenths), is_auto, record_bytes_max });
                    }
                    Step::Waits(seconds) => {
                        let map = Arc::clone(&stage.told.last().unwrap().shards);
                        let waits = seconds.iter().take(map.range_count()).map(|seconds| Wait { seconds: *seconds, seconds_per_byte: 1e-6 });
                        stage.load.set(&map, waits.collect());
                    }
                    Step::Flush => stage.flush().await,
                }
            }
            let received = stage.check().await;
            for (entry, records) in stage.entries.iter().zip(received) {
                check_keys(&stage, entry, &records);
            }
        });
    }
}

/// Of each user record the key is the one that its line or its file has, or a token; and that goes to the shard that its hash
/// names, on the map that was known when it was packed.
fn check_keys(stage: &Stage, entry: &Entry, records: &[Received]) {
    let is_token = |key: &str| key.starts_with(&format!("{:032x}-", 1));
    for record in records {
        let Some(key) = &record.key else { continue };
        match &stage.flow.delivery.partition_key {
            PartitionKey::Random => assert!(is_token(key)),
            PartitionKey::File => assert!(key.ends_with(".log")),
            // Of pieces of a line only the first begins with it.
            PartitionKey::Template(_) => assert!(is_token(key) || ["key", "other"].contains(&&**key) || key.contains('\u{fffd}')),
        }
        if is_token(key) || stage.flow.delivery.order == Order::File {
            continue;
        }
        let told = entry.spans.iter().map(|span| {
            let (first, _) = stage.told_at.range(..=(span.file, span.start)).next_back().unwrap();
            let of_span = stage.told_at.range(*first..(span.file, span.end));
            of_span.map(|(_, told)| *told).collect::<Vec<_>>()
        });
        let is_on_its_shard = |told: usize| {
            let shards = &stage.told[told].shards;
            shards.index_of(entry.hash_key) == shards.index_of(hash_of(key))
        };
        // Which of its lines it is, is not known here.
        assert!(told.flatten().any(is_on_its_shard), "{key} is on the shard of another");
    }
}
