//! What readers make of a stored record.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use kinetail::config::{Aggregate, Compression, Flow, Order, PartitionKey};
use kinetail::deaggregator::{Deaggregated, deaggregate};
use kinetail::delivery_token::DeliveryToken;
use kinetail::hash_key::hash_of;

use crate::kinesis::Stored;
use crate::model::UserRecord;

/// So long after a stream has become AUTO no aggregates of the KPL are made for it any more, or still on their way.
const AUTO_KNOWN_AFTER: Duration = Duration::from_secs(60 * 60);

/// The user records of a stored record, as a reader of its shard gets them.
pub(crate) fn received(flow: &Flow, stored: &Stored) -> Vec<UserRecord> {
    let entry = &stored.entry;
    // Readers that use the KCL drop aggregates that shards store without regard to hash keys.
    let range = if stored.auto_for.is_some_and(|auto_for| auto_for < AUTO_KNOWN_AFTER) { None } else { Some(stored.shard) };
    let data = decompressed(flow.delivery.compress, &entry.data);
    let record = |partition_key: &str, data: &[u8]| UserRecord { key: key(flow, partition_key), data: data.to_vec() };
    let records = match deaggregate(&data, range) {
        Deaggregated::Raw if flow.delivery.aggregate == Aggregate::Lines => {
            assert!(is_token(&entry.partition_key), "{} is no delivery token", entry.partition_key);
            data.split_inclusive(|byte| *byte == b'\n').map(|line| UserRecord { key: None, data: line.to_vec() }).collect()
        }
        Deaggregated::Raw => vec![record(&entry.partition_key, &data)],
        Deaggregated::Records(records) => {
            // By itself each would be in the same shard, unless it goes where its file does.
            let keeps_to_shards = stored.is_map_sure && flow.delivery.order == Order::Throughput;
            for inner in records.iter().filter(|inner| keeps_to_shards && !is_token(&inner.partition_key)) {
                let hash_key = hash_of(&*inner.partition_key);
                assert!(stored.shard.contains(hash_key), "{} is not in the shard of its key", inner.partition_key);
            }
            records.iter().map(|inner| record(&inner.partition_key, inner.data)).collect::<Vec<UserRecord>>()
        }
        lost => panic!("readers lose records of {}: {lost:?}", entry.partition_key),
    };
    assert_eq!(records.len(), entry.user_record_count as usize, "user records in {}", entry.partition_key);
    if flow.delivery.order == Order::File {
        let mut files = entry.spans.iter().map(|span| span.file);
        let first = files.next();
        assert!(
            files.all(|file| Some(file) == first) && entry.is_hash_key_explicit,
            "{} is not of one file",
            entry.partition_key
        );
    }
    records
}

fn decompressed(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => data.to_vec(),
        Compression::Gzip => {
            let mut out = Vec::new();
            GzDecoder::new(data).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Zstd => zstd::decode_all(data).unwrap(),
    }
}

/// The partition key as far as the configuration decides it: not where it is a delivery token or a path, nor where lines are joined.
fn key(flow: &Flow, partition_key: &str) -> Option<String> {
    match &flow.delivery.partition_key {
        _ if flow.delivery.aggregate == Aggregate::Lines => None,
        PartitionKey::Template(_) => (!is_token(partition_key)).then(|| partition_key.to_owned()),
        PartitionKey::Random => {
            assert!(is_token(partition_key), "{partition_key} is no delivery token");
            None
        }
        PartitionKey::File => {
            assert!(partition_key.contains(".log"), "{partition_key} is no path of a log");
            None
        }
    }
}

/// No key of the logs here looks like that.
pub(crate) fn is_token(partition_key: &str) -> bool {
    DeliveryToken::parse(partition_key).is_some()
}
