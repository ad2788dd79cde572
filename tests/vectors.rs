//! Aggregates that the KPL and other writers made, and those that go wrong, de-aggregate as the Kinesis
//! Client Library de-aggregates them.

mod encoding;

use encoding::{hex, unbase64, unhex};
use kinetail::deaggregator::{Deaggregated, deaggregate};
use serde::Deserialize;

/// An aggregate and what is in it.
#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    records: Vec<Expected>,
}

/// A user record; without `sub` it is a record that was never aggregated.
#[derive(Deserialize)]
struct Expected {
    pk: Option<String>,
    ehk: Option<String>,
    sub: Option<usize>,
    data_b64: String,
}

#[test]
fn aggregates_of_the_kpl_give_back_what_was_put_in() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors/kpl_vectors.json")).unwrap();
    assert_eq!(vectors.len(), 8);
    for Vector { name, hex, records: expected } in vectors {
        let data = unhex(&hex);
        match deaggregate(&data, None) {
            Deaggregated::Raw => {
                assert!(matches!(expected[..], [Expected { sub: None, .. }]), "{name} is an aggregate");
                assert_eq!(data, unbase64(&expected[0].data_b64), "{name}");
            }
            Deaggregated::Records(records) => {
                assert_eq!(records.len(), expected.len(), "{name}");
                for (index, (record, expected)) in records.iter().zip(&expected).enumerate() {
                    assert_eq!(expected.sub, Some(index), "{name}");
                    assert_eq!(Some(&*record.partition_key), expected.pk.as_deref(), "{name}");
                    assert_eq!(record.explicit_hash_key.as_deref(), expected.ehk.as_deref(), "{name}");
                    assert_eq!(record.data, unbase64(&expected.data_b64), "{name}");
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn edge_cases_come_out_as_in_the_client_library() {
    let table: &[(&str, &str)] = &[
        ("two_no_ehk", "k:A k:B"),
        ("mixed_ehk", "k/5:A j:B"),
        ("single_inner", "k:A"),
        ("empty_data", "k: k:B"),
        ("tags", "k:A[id=42] k:B[x]"),
        ("unknown_fields", "k:A k:B"),
        ("zero_records", ""),
        ("empty_msg20", "raw"),
        ("bad_md5", "raw"),
        ("trailing", "raw"),
        ("pk_oob", "k:A, 1 lost"),
        ("ehk_oob", "k/5:A, 1 lost"),
        ("tables_after_records", "k:A"),
        // The inner aggregate is data: readers do not look inside.
        ("nested", "k:f3899ac20a01711a0608001a02696e59e14c2ab6a5c616947d2b69e1d91cce k:B"),
        ("nonutf8_pk", "\u{FFFD}\u{FFFD}:A"),
        ("missing_required", "raw"),
        ("short3", "raw"),
        ("just_magic", "raw"),
        ("plain", "raw"),
        ("field_order_data_first", "k:A"),
    ];
    let vectors: std::collections::BTreeMap<String, String> =
        serde_json::from_str(include_str!("vectors/edge_vectors.json")).unwrap();
    assert_eq!(vectors.len(), table.len());
    for (name, expected) in table {
        assert_eq!(written_out(&deaggregate(&unhex(&vectors[*name]), None)), *expected, "{name}");
    }
}

/// One word for a user record: partition key, explicit hash key, data (in hex if it is not text), tags.
fn written_out(deaggregated: &Deaggregated) -> String {
    let (records, lost) = match deaggregated {
        Deaggregated::Raw => return "raw".into(),
        Deaggregated::Dropped { record_count } => return format!("{record_count} dropped"),
        Deaggregated::Records(records) => (records, String::new()),
        Deaggregated::Malformed { readable, lost_count } => (readable, format!(", {lost_count} lost")),
    };
    let words = records.iter().map(|record| {
        let hash_key = record.explicit_hash_key.as_ref().map_or(String::new(), |hash_key| format!("/{hash_key}"));
        let tags = record.tags.iter().map(|tag| match &tag.value {
            Some(value) => format!("[{}={value}]", tag.key),
            None => format!("[{}]", tag.key),
        });
        let tags: String = tags.collect();
        let data = str::from_utf8(record.data).map_or_else(|_| hex(record.data), str::to_owned);
        format!("{}{hash_key}:{data}{tags}", record.partition_key)
    });
    words.collect::<Vec<_>>().join(" ") + &lost
}
