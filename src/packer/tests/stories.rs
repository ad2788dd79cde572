use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::delivery_token::DeliveryToken;
use crate::limits::{
    AGGREGATE_BYTES_TARGET, FIREHOSE_RECORD_BYTES_DEFAULT, FIREHOSE_RECORD_BYTES_MAX, HASH_RANGES, KIB, MIB, PACKER_SHARE,
    REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MIN,
};
use crate::stream::Wait;

const BY_KEY: &str =
    "[flow.parse]\nregex = '^(?<key>[^ ]*) '\n[flow.record]\noutput = 'raw'\n[flow.kinesis]\npartition_key = '${key}'";

/// What a packer makes of `lines`, each read by itself, for a flow with `settings`; with a budget of [`BUDGET_BYTES`].
async fn requests(settings: &str, request_bytes: usize, lines: &[Vec<u8>]) -> Vec<Vec<Entry>> {
    let mut stage = Stage::with(settings, Some(request_bytes), 1);
    let (chunks, chunks_out) = mpsc::channel(lines.len());
    for line in lines {
        let chunk = stage.chunk(1, std::slice::from_ref(line));
        chunks.send(chunk).await.unwrap();
    }
    drop((chunks, stage.facts));
    stage.packer.run(chunks_out).await;
    std::iter::from_fn(|| stage.requests.try_recv().ok()).collect()
}

/// Chunks that take very different times on four threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_threads_make_the_same_requests_as_one() {
    let settings = "[flow.parse]\nregex = '^(?<a>.*?)-(?<b>.*?)$'\n[flow.kinesis]\norder = 'file'\nmax_delay = '10 min'";
    let mut random = fastrand::Rng::with_seed(1);
    let pieces: Vec<Vec<Vec<u8>>> = (0..40).map(|piece| lines(piece * 100, random.usize(1..100), 1, 2_000)).collect();
    let mut made = Vec::new();
    for thread_count in [1, 4] {
        let mut stage = Stage::with(settings, None, thread_count);
        let (chunks, chunks_out) = mpsc::channel(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            chunks.send(stage.chunk(index as u64 % 3, piece)).await.unwrap();
        }
        drop((chunks, stage.facts));
        stage.packer.run(chunks_out).await;
        made.push(std::iter::from_fn(|| stage.requests.try_recv().ok()).collect::<Vec<_>>());
    }
    assert!(made[0].len() > 1, "{} requests", made[0].len());
    assert_eq!(made[0], made[1]);
}

#[tokio::test(start_paused = true)]
async fn lines_without_their_key_are_spread_over_all_ranges() {
    let settings = "[flow.parse]\nregex = '^(?<key>[^ ]*) (?<rest>.*)$'\n[flow.kinesis]\npartition_key = '${key}'";
    let lines: Vec<_> = (0..64).map(|_| [b" ".as_slice(), &[b'x'; 40_000]].concat()).collect();
    let requests = requests(settings, REQUEST_BYTES_DEFAULT, &lines).await;
    let range = |entry: &Entry| entry.hash_key >> 124;
    let ranges: HashSet<u128> = requests.iter().flatten().map(range).collect();
    assert_eq!(ranges.len(), HASH_RANGES as usize, "{ranges:?}");
}

#[tokio::test(start_paused = true)]
async fn records_much_larger_than_their_lines_do_not_wait_for_a_full_request() {
    // In JSON a control character is six bytes.
    let settings = "[flow.parse]\nregex = '(?s-u)^(?<all>.*)$'\n[flow.kinesis]";
    let lines = vec![vec![1; 10_000]; 60];
    for entries in requests(settings, REQUEST_BYTES_MIN, &lines).await {
        let byte_count: usize = entries.iter().map(Entry::byte_count).sum();
        assert!(byte_count < BUDGET_BYTES / PACKER_SHARE + 100_000, "{byte_count} bytes in a request");
    }
}

/// Each key's lines go to the shard that its MD5 names on the newest map, also after a split and a merge, and no reader drops them.
#[tokio::test(start_paused = true)]
async fn keys_stay_on_the_shard_of_their_md5() {
    let maps = [&[4, 8, 12][..], &[2, 4, 8, 12], &[2, 8, 12], &[], &[8], &[4, 8], &[8]];
    let mut stage = Stage::new(BY_KEY);
    for (index, map) in maps.iter().enumerate() {
        stage.tell(&facts(&shards(map)));
        stage.pack(1, &lines(index * 1_000, 1_000, 100, 300)).await;
    }
    let received = stage.check().await;
    for (entry, records) in stage.entries.iter().zip(&received) {
        for record in records {
            let text = std::str::from_utf8(&record.data).unwrap();
            let number: usize = text.split(['#', ' ']).nth(2).unwrap().parse().unwrap();
            let shards = shards(maps[number / 1_000]);
            let key = record.key.as_ref().unwrap();
            assert!(text.starts_with(&format!("{key} ")));
            assert_eq!(shards.index_of(entry.hash_key), shards.index_of(hash_of(key)), "{key}, line {number}");
        }
    }
    assert_eq!(received.iter().flatten().count(), 7_000);
    assert!(stage.entries.len() < 7_000 * 330 / AGGREGATE_BYTES_TARGET + 30, "{} records", stage.entries.len());
}

#[tokio::test(start_paused = true)]
async fn a_line_with_a_key_that_is_large_is_an_aggregate_of_one() {
    let mut stage = Stage::new(BY_KEY);
    stage.pack(1, &lines(0, 5, 10, 100)).await;
    stage.pack(1, &lines(5, 1, 10, 100_000)).await;
    stage.pack(1, &lines(6, 3, 10, 100)).await;
    let received = stage.check().await;
    let at = received.iter().position(|records| records[0].data.len() == 100_000).unwrap();
    assert_eq!((received[at].len(), received[at][0].key.as_deref()), (1, Some("k5")));
    assert!(stage.entries[at].is_token && stage.entries[at].is_hash_key_explicit);
    assert_eq!(received.iter().flatten().count(), 9);
}

/// What some streams do not take has to be shortened perhaps, which an aggregate cannot be.
#[tokio::test(start_paused = true)]
async fn one_that_not_every_stream_takes_is_a_record_with_its_own_key() {
    let mut stage = Stage::new(&format!("[flow.line]\nmax_bytes = '4 MiB'\n{BY_KEY}"));
    stage.tell(&StreamFacts { record_bytes_max: 10 * MIB, ..facts(&shards(&[8])) });
    stage.pack(1, &lines(5, 1, 10, 2_000_000)).await;
    let received = stage.check().await;
    let entry = &stage.entries[0];
    assert_eq!((&*entry.partition_key, entry.is_token, entry.is_hash_key_explicit), ("k5", false, false));
    assert_eq!(entry.too_long, Some(TooLong::Truncate));
    assert_eq!(received.iter().flatten().count(), 1);
}

/// What a record is made of stands in its key: where that is full, another record begins.
#[tokio::test(start_paused = true)]
async fn lines_of_many_files_are_joined_as_far_as_a_key_can_name_their_places() {
    for (settings, fewest, most) in [
        ("[flow.kinesis]\naggregate = 'lines'", 5, 50),
        ("[flow.kinesis]\naggregate = 'none'", 200, 200),
        ("[flow.kinesis]", 1, 1),
        ("[flow.firehose]", 1, 1),
    ] {
        let mut stage = Stage::new(settings);
        for file in 0..40 {
            stage.pack(u64::MAX - file, &lines(0, 5, 1, 50)).await;
        }
        stage.check().await;
        assert!((fewest..=most).contains(&stage.entries.len()), "{settings}: {} records", stage.entries.len());
        for entry in &stage.entries {
            let token = DeliveryToken::parse(&entry.partition_key).unwrap();
            assert!(entry.is_token && entry.partition_key.len() <= 256);
            match token.spans {
                Some(spans) => assert_eq!(spans, entry.spans),
                None => assert_eq!(stage.entries.len(), 1, "{settings}: a key says nothing of {:?}", entry.spans),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_go_anywhere_avoids_a_busy_shard() {
    for settings in ["[flow.kinesis]", "[flow.kinesis]\naggregate = 'none'", "[flow.kinesis]\naggregate = 'lines'"] {
        let mut stage = Stage::new(settings);
        let map = shards(&[4, 8, 12]);
        stage.tell(&facts(&map));
        let wait = |seconds| Wait { seconds, seconds_per_byte: 1e-6 };
        stage.load.set(&map, vec![wait(0.0), wait(1_000.0), wait(0.0), wait(0.0)]);
        stage.pack(1, &lines(0, 1_000, 1, 200)).await;
        stage.check().await;
        let mut byte_counts = [0; 4];
        for entry in &stage.entries {
            byte_counts[map.index_of(entry.hash_key)] += entry.byte_count();
            assert!(entry.is_hash_key_explicit);
        }
        assert_eq!(byte_counts[1], 0, "{settings}");
        assert!(byte_counts.iter().filter(|byte_count| **byte_count > 0).count() == 3, "{byte_counts:?}");
    }
}

/// The lines of a file have one hash key, and stand in order behind each other there.
#[tokio::test(start_paused = true)]
async fn the_lines_of_a_file_stay_in_order() {
    for aggregate in ["kpl", "lines", "none"] {
        for partition_key in ["random", "${key}"] {
            let settings = BY_KEY.replace("${key}", partition_key);
            let mut stage = Stage::new(&format!("{settings}\norder = 'file'\naggregate = '{aggregate}'"));
            for round in 0..60 {
                if round == 30 {
                    stage.tell(&facts(&shards(&[3, 9])));
                }
                // Now and then one that is a record by itself.
                let byte_count = if round % 7 == 0 { 60_000 } else { 500 };
                stage.pack(round as u64 % 3, &lines(round * 10, 10, 20, byte_count)).await;
            }
            stage.check().await;
            let mut ends: BTreeMap<u128, Span> = BTreeMap::new();
            for entry in &stage.entries {
                assert!(entry.is_hash_key_explicit);
                for span in entry.spans.iter() {
                    let before = ends.insert(entry.hash_key, span);
                    assert_eq!(before.map_or((span.file, 0), |before| (before.file, before.end)), (span.file, span.start));
                }
            }
            assert_eq!(ends.len(), 3);
        }
    }
}

/// No reader of a stream over which the service spreads records as it likes meets an aggregate.
#[tokio::test(start_paused = true)]
async fn where_readers_would_drop_aggregates_lines_are_joined() {
    for terminator in ["", "\\n"] {
        let mut stage =
            Stage::new(&format!("[flow.record]\nterminator = \"{terminator}\"\n[flow.kinesis]\npartition_key = 'file'"));
        let auto = StreamFacts { is_auto: true, ..facts(&shards(&[8])) };
        let mut kinds = Vec::new();
        for round in 0..6 {
            stage.tell(&if round % 2 == 1 { auto.clone() } else { facts(&shards(&[8])) });
            stage.pack(1, &lines(round * 400, 400, 1, 200)).await;
            stage.pack(1, &[[&crate::aggregator::MAGIC[..], b" is how it begins"].concat()]).await;
        }
        for records in stage.check().await {
            assert!(records.iter().all(|record| record.key.is_some() == records[0].key.is_some()), "aggregates and lines mixed");
            kinds.push(records[0].key.is_some());
        }
        kinds.dedup();
        assert_eq!(kinds, [true, false, true, false, true, false]);
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_joined_up_to_the_size_of_a_record() {
    for (settings, full_bytes) in [
        ("[flow.kinesis]\naggregate = 'lines'", AGGREGATE_BYTES_TARGET),
        ("[flow.kinesis]\naggregate = 'lines'\nmax_record_bytes = '10 KiB'", 10 * KIB),
        ("[flow.kinesis]\naggregate = 'lines'\nmax_record_bytes = '10 MiB'", MIB - ENVELOPE_BYTES_MAX),
        ("[flow.firehose]", FIREHOSE_RECORD_BYTES_DEFAULT),
        ("[flow.firehose]\nrecord_bytes = '1000 KiB'", FIREHOSE_RECORD_BYTES_MAX - ENVELOPE_BYTES_MAX),
    ] {
        let mut stage = Stage::new(settings);
        for round in 0..6 {
            stage.pack(1, &lines(round * 10_000, 10_000, 1, 199)).await;
        }
        stage.pack(1, &[vec![b'l'; full_bytes], b"short".to_vec()]).await;
        let received = stage.check().await;
        let by_itself = stage.entries.iter().position(|entry| entry.data.len() > full_bytes).unwrap();
        assert_eq!(received[by_itself].len(), 1, "{settings}");
        let full = stage.entries.iter().filter(|entry| (full_bytes - 199..=full_bytes).contains(&entry.data.len())).count();
        // Some are sent sooner because much is waiting.
        assert!(full + 8 >= 6 * 10_000 * 200 / full_bytes && full > 0, "{settings}: {full} full records");
    }
}

/// What a stream takes is asked of it: lines that are longer are cut, dropped, or sent in pieces, as configured.
#[tokio::test(start_paused = true)]
async fn lines_longer_than_the_stream_takes_are_what_is_configured() {
    let text = "é".repeat(1_500_000).into_bytes();
    for (aggregate, terminator) in [("kpl", ""), ("kpl", "\\n"), ("lines", "\\n"), ("none", ""), ("none", "\\n")] {
        for (too_long, record_bytes_max, expected) in [
            ("truncate", MIB, &[MIB - ENVELOPE_BYTES_MAX][..]),
            ("split", MIB, &[MIB - ENVELOPE_BYTES_MAX, MIB - ENVELOPE_BYTES_MAX, 3_000_000 - 2 * (MIB - ENVELOPE_BYTES_MAX)]),
            ("drop", MIB, &[]),
            ("truncate", 100_001, &[100_000 - ENVELOPE_BYTES_MAX]),
            ("truncate", 10 * MIB, &[3_000_000]),
            ("split", 10 * MIB, &[3_000_000]),
            ("drop", 10 * MIB, &[3_000_000]),
        ] {
            let line = format!("[flow.line]\nmax_bytes = '4 MiB'\ntoo_long = '{too_long}'");
            let record = format!("[flow.record]\nterminator = \"{terminator}\"");
            let mut stage = Stage::new(&format!("{line}\n{record}\n[flow.kinesis]\naggregate = '{aggregate}'"));
            stage.tell(&StreamFacts { record_bytes_max, ..facts(&shards(&[8])) });
            stage.pack(1, &[b"before".to_vec(), text.clone(), b"behind".to_vec()]).await;
            let received = stage.check().await;
            let terminator_bytes = stage.flow.record.terminator.len();
            let long = received.iter().flatten().map(|record| record.data.len() - terminator_bytes).filter(|length| *length > 6);
            assert_eq!(long.collect::<Vec<_>>(), expected, "{aggregate}, {too_long}, {record_bytes_max}");
            let sent: usize = expected.iter().sum();
            let dropped: u64 = stage.dropped.iter().map(|(span, _)| span.byte_count()).sum();
            assert_eq!(dropped as usize, if sent == text.len() { 0 } else { text.len() + 1 - sent });
            assert!(stage.dropped.iter().all(|(_, reason)| *reason == DropReason::TooLong));
            for entry in stage.entries.iter().filter(|entry| entry.data.len() > 50_000) {
                assert_eq!(entry.too_long.is_some(), terminator.is_empty(), "{aggregate}");
            }
        }
    }
}

/// What is made of fields cannot be cut.
#[tokio::test(start_paused = true)]
async fn json_larger_than_the_stream_takes_is_dropped() {
    for settings in ["[flow.record]\noutput = 'json'\n[flow.kinesis]", "[flow.line]\nencoding = 'latin-1'\n[flow.kinesis]"] {
        let mut stage = Stage::new(settings);
        stage.tell(&StreamFacts { record_bytes_max: 100_000, ..facts(&shards(&[8])) });
        stage.pack(1, &[vec![b'x'; 200_000]]).await;
        stage.flush().await;
        assert_eq!(stage.dropped, [(Span::new(FileKey(1), 0, 200_001), DropReason::RecordTooLarge)]);
        assert!(stage.entries.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_records_are_small_and_whole() {
    for aggregate in ["lines", "none"] {
        for compress in ["gzip", "zstd"] {
            let mut stage = Stage::new(&format!("[flow.kinesis]\naggregate = '{aggregate}'\ncompress = '{compress}'"));
            stage.pack(1, &lines(0, 2_000, 10, 200)).await;
            // Nobody takes that for an aggregate.
            stage.pack(1, &[[&crate::aggregator::MAGIC[..], b" is how it begins"].concat()]).await;
            let received = stage.check().await;
            assert_eq!(received.iter().flatten().count(), 2_001);
            let byte_count: usize = stage.entries.iter().map(|entry| entry.data.len()).sum();
            assert!(byte_count < 2_000 * 200 / 2, "{byte_count} bytes, {aggregate}, {compress}");
        }
    }
}

/// The first lines wait to learn of the stream, but not for long, and not when nobody asks.
#[tokio::test(start_paused = true)]
async fn the_first_lines_wait_for_what_is_known_of_the_stream() {
    for (told_after, waited, is_aggregated) in
        [(Some(2), Duration::from_secs(2), false), (Some(60), FACTS_WAIT, true), (None, Duration::ZERO, true)]
    {
        let mut stage = Stage::new("[flow.kinesis]");
        let (chunks, chunks_out) = mpsc::channel(1);
        let chunk = stage.chunk(1, &lines(0, 3, 1, 10));
        chunks.send(chunk).await.unwrap();
        drop(chunks);
        let begun = Instant::now();
        let telling = async {
            if let Some(seconds) = told_after {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                stage.facts.send_replace(StreamFacts { is_auto: true, ..facts(&shards(&[8])) });
            }
            drop(stage.facts);
        };
        let packing = async {
            stage.packer.run(chunks_out).await;
            begun.elapsed()
        };
        let ((), elapsed) = tokio::join!(telling, packing);
        assert!(elapsed >= waited && elapsed < waited + Duration::from_millis(10), "{elapsed:?}");
        let entries = stage.requests.recv().await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].data.starts_with(&crate::aggregator::MAGIC), is_aggregated);
    }
}

/// Of what goes to different records in turn, and of what ends a chunk or a record, too.
#[tokio::test(start_paused = true)]
async fn every_span_has_the_check_of_its_last_line() {
    for settings in ["[flow.kinesis]", "[flow.kinesis]\naggregate = 'none'", "[flow.kinesis]\naggregate = 'lines'", BY_KEY] {
        let mut stage = Stage::new(settings);
        stage.tell(&facts(&shards(&[4, 8, 12])));
        for (number, file) in [1, 2, 1, 1, 3].into_iter().enumerate() {
            stage.pack(file, &lines(number * 500, 500, 10, 300)).await;
        }
        stage.check().await;
        assert!(stage.entries.iter().flat_map(|entry| entry.spans.iter()).all(|span| span.last_line.is_some()), "{settings}");
    }
}

/// While too much waits what is complete is sent, and what is filling is filled; it is not forgotten how long that waits.
#[tokio::test(start_paused = true)]
async fn when_too_much_waits_only_what_is_complete_is_sent() {
    let mut stage = Stage::new("[flow.kinesis]");
    let begun = Instant::now();
    for round in 0..20 {
        stage.pack(1, &lines(round * 100, 100, 1, 1_000)).await;
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(stage.packer.built_byte_count() < BUDGET_BYTES as u64 / 4);
    }
    assert!(stage.entries.len() > 30);
    assert!(stage.entries.iter().all(|entry| entry.byte_count() > 48_000));
    let rest = stage.packer.outgoing.packed_byte_count();
    let sent: u64 = stage.entries.iter().map(|entry| entry.spans.byte_count()).sum();
    assert_eq!(rest + sent, stage.files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    assert!(rest > 0 && stage.packer.waiting_since == Some(begun));
    stage.check().await;
}

/// Where much is filling and little is complete, all of it goes in one request.
#[tokio::test(start_paused = true)]
async fn when_too_much_waits_that_is_not_complete_all_is_sent_at_once() {
    let mut stage = Stage::new(&BY_KEY.replace("[flow.kinesis]", "[flow.kinesis]\norder = 'file'"));
    let mut request_count = 0;
    for file in 0..100 {
        let chunk = stage.chunk(file, &lines(file as usize * 10, 3, 3, 1_000));
        let processed = stage.packer.processing.begin(chunk, &Arc::default(), false).unwrap();
        stage.packer.pack(processed).await;
        request_count += stage.requests.len();
        stage.gather();
    }
    assert_eq!(request_count, 1);
    assert!(stage.entries.len() > 70, "{} records", stage.entries.len());
    stage.check().await;
}

/// Records that wait for others to go on with go when nothing else does: in order, and counted until then.
#[tokio::test(start_paused = true)]
async fn records_that_wait_for_others_count_and_go_when_all_does() {
    let mut stage = Stage::new("[flow.kinesis]\naggregate = 'none'\norder = 'throughput'");
    stage.pack(1, &lines(0, 1, 1, 1_000)).await;
    assert!(stage.entries.is_empty() && stage.packer.built_byte_count() > 1_000);
    stage.pack(1, &lines(1, 600, 1, 100)).await;
    assert_eq!(stage.entries.len(), 500);
    let received = stage.check().await;
    let numbers = received.iter().map(|records| {
        let text = std::str::from_utf8(&records[0].data).unwrap();
        text.split(['#', ' ']).nth(2).unwrap().parse::<usize>().unwrap()
    });
    assert!(numbers.eq(0..601));
}
