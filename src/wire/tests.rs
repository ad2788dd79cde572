use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ciborium::Value as Cbor;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{ErrorSaid, NOTHING_SAID, Shape, ShardIds, Unreadable, error, name_of_error, read_json, results};
use super::*;
use crate::outcome::{Failure, RecordResult, Service};

/// What records are made of: data, partition key, explicit hash key.
type Owned = (Vec<u8>, String, Option<u128>);

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    let data = prop_oneof![data, Just(vec![b'x'; 70_000])];
    // A key is of any characters; those that JSON escapes are not left to chance.
    let key = prop_oneof!["\\PC{1,40}", "[\"\\\\\u{0}-\u{20}\u{7f}-\u{9f}a/é😀\u{2028}]{1,40}", "[a-z]{255,256}"];
    let hash_key = proptest::option::of(prop_oneof![any::<u128>(), Just(0), Just(u128::MAX)]);
    proptest::collection::vec((data, key, hash_key), 0..20)
}

fn body(wire: Wire, stream: &str, records: &[Owned]) -> Vec<u8> {
    let mut body = b"before".to_vec();
    let of = |(data, partition_key, hash_key): &'_ Owned| (data.clone(), partition_key.clone(), *hash_key);
    let owned: Vec<Owned> = records.iter().map(of).collect();
    let records = || owned.iter().map(|(data, partition_key, hash_key)| Record { data, partition_key, hash_key: *hash_key });
    put_records(wire, stream, records(), &mut body);
    let body = body.split_off(6);
    let has_escapes = owned.iter().any(|(_, key, _)| key.chars().any(|c| c < ' ' || c == '"' || c == '\\'));
    let bytes_max = put_records_bytes(wire, stream, records());
    assert!(has_escapes || body.len() <= bytes_max, "{} bytes, at most {bytes_max}", body.len());
    body
}

fn expected_body(stream: &str, records: &[Owned]) -> Value {
    let record = |(data, partition_key, hash_key): &Owned| {
        let mut record = json!({ "Data": BASE64.encode(data), "PartitionKey": partition_key });
        if let Some(hash_key) = hash_key {
            record["ExplicitHashKey"] = hash_key.to_string().into();
        }
        record
    };
    json!({ "StreamName": stream, "Records": records.iter().map(record).collect::<Vec<_>>() })
}

/// As JSON has it; bytes in base64.
fn in_json(value: &Cbor) -> Value {
    match value {
        Cbor::Text(text) => text.as_str().into(),
        Cbor::Bytes(bytes) => BASE64.encode(bytes).into(),
        Cbor::Array(items) => items.iter().map(in_json).collect(),
        Cbor::Map(members) => {
            members.iter().filter_map(|(name, value)| Some((name.as_text()?.to_owned(), in_json(value)))).collect()
        }
        Cbor::Bool(is_true) => (*is_true).into(),
        Cbor::Integer(number) => i64::try_from(*number).map_or(0.into(), Value::from),
        Cbor::Tag(_, value) => in_json(value),
        _ => Value::Null,
    }
}

/// All of `bytes` as one item of CBOR.
fn cbor_of(bytes: &[u8]) -> Option<Cbor> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

proptest! {
    #[test]
    fn a_body_is_what_was_put_in(stream in "[a-zA-Z0-9_.-]{1,128}", records in records()) {
        let expected = expected_body(&stream, &records);
        let json: Value = serde_json::from_slice(&body(Wire::Json, &stream, &records)).unwrap();
        prop_assert_eq!(&json, &expected);
        let cbor = cbor_of(&body(Wire::Cbor, &stream, &records)).unwrap();
        prop_assert_eq!(&in_json(&cbor), &expected);
        // Data are not text, and all lengths are known before.
        let of_record = cbor.as_map().unwrap()[1].1.as_array().unwrap();
        for record in of_record {
            prop_assert!(record.as_map().unwrap()[0].1.is_bytes());
        }
    }

    #[test]
    fn a_body_for_firehose_is_what_was_put_in(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..9)) {
        let data = || data.iter().map(Vec::as_slice);
        let mut body = Vec::new();
        put_record_batch("d", data(), &mut body);
        prop_assert!(body.len() <= put_record_batch_bytes("d", data()));
        let records: Vec<Value> = data().map(|data| json!({ "Data": BASE64.encode(data) })).collect();
        let expected = json!({ "DeliveryStreamName": "d", "Records": records });
        prop_assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}

/// The lengths at which heads of CBOR become longer.
#[test]
fn bodies_of_all_lengths_are_what_was_put_in() {
    for length in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
        let records = [(vec![7; length], "k".repeat(length.max(1)), None)];
        let cbor = cbor_of(&body(Wire::Cbor, "s", &records)).unwrap();
        assert_eq!(in_json(&cbor), expected_body("s", &records), "{length}");
    }
    for count in [23, 24, 255, 256, 500] {
        let records = vec![(vec![7], "k".to_owned(), Some(1)); count];
        let cbor = cbor_of(&body(Wire::Cbor, "s", &records)).unwrap();
        assert_eq!(in_json(&cbor), expected_body("s", &records), "{count}");
    }
}

fn read(service: Service, body: &[u8]) -> Result<Vec<RecordResult>, Unreadable> {
    results(service, body, 500, &mut ShardIds::default())
}

/// Without the way that is quick.
fn read_generally(service: Service, body: &[u8]) -> Option<Vec<RecordResult>> {
    let (mut results, mut shard_ids) = (Vec::new(), ShardIds::default());
    read_json(body, Shape::of(service), |said| results.push(said.result(&mut shard_ids)))?;
    Some(results)
}

fn is_usual(service: Service, body: &[u8]) -> bool {
    json::read_usual(body, Shape::of(service), |_| {}).is_some()
}

fn delivered(shard_id: Option<&str>) -> RecordResult {
    RecordResult::Delivered { shard_id: shard_id.map(Into::into) }
}

fn failed(code: &str, message: &str, shard_id: Option<&str>) -> RecordResult {
    RecordResult::Failed { code: code.to_owned(), message: message.to_owned(), shard_id: shard_id.map(str::to_owned) }
}

const THROTTLED: &str = "Rate exceeded for shard shardId-000000000001 in stream s under account 1.";

#[test]
fn each_record_of_kinesis_has_its_result_whatever_is_said_of_all() {
    let usual = format!(
        r#"{{"FailedRecordCount":0,"Records":[{{"SequenceNumber":"49","ShardId":"shardId-000000000000"}},{{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"{THROTTLED}"}},{{"ErrorCode":"InternalFailure","ErrorMessage":"Internal service failure."}},{{"SequenceNumber":"","ShardId":"x"}},{{"ShardId":"shardId-000000000000","SequenceNumber":"50"}}],"EncryptionType":"KMS"}}"#
    );
    let expected = [
        delivered(Some("shardId-000000000000")),
        failed("ProvisionedThroughputExceededException", THROTTLED, Some("shardId-000000000001")),
        failed("InternalFailure", "Internal service failure.", None),
        // Neither is said: it may have been stored.
        failed(Failure::NO_RESULT, NOTHING_SAID, None),
        delivered(Some("shardId-000000000000")),
    ];
    let value: Value = serde_json::from_str(&usual).unwrap();
    let mut in_cbor = Vec::new();
    ciborium::into_writer(&value, &mut in_cbor).unwrap();
    assert!(is_usual(Service::Kinesis, usual.as_bytes()));
    for body in [usual.as_bytes(), &serde_json::to_vec_pretty(&value).unwrap(), &in_cbor] {
        assert_eq!(read(Service::Kinesis, body).unwrap(), expected);
    }
    // Names of the other service are none.
    assert_eq!(read(Service::Firehose, usual.as_bytes()), Err(Unreadable));
}

#[test]
fn each_record_of_firehose_has_its_result_whatever_is_said_of_all() {
    let usual = br#"{"FailedPutCount":0,"Encrypted":false,"RequestResponses":[{"RecordId":"1"},{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."}]}"#;
    assert!(is_usual(Service::Firehose, usual));
    let expected = [delivered(None), failed("ServiceUnavailableException", "Slow down.", None)];
    assert_eq!(read(Service::Firehose, usual).unwrap(), expected);
    let empty = br#"{"FailedPutCount":0,"RequestResponses":[{}]}"#;
    assert_eq!(read(Service::Firehose, empty).unwrap(), [failed(Failure::NO_RESULT, NOTHING_SAID, None)]);
}

#[test]
fn results_of_a_shard_share_its_name() {
    let body = br#"{"Records":[{"SequenceNumber":"1","ShardId":"a"},{"SequenceNumber":"2","ShardId":"a"},{"SequenceNumber":"3","ShardId":"b"}]}"#;
    let mut shard_ids = ShardIds::default();
    let ids: Vec<_> = (0..2).flat_map(|_| results(Service::Kinesis, body, 3, &mut shard_ids).unwrap()).collect();
    let id = |index: usize| match &ids[index] {
        RecordResult::Delivered { shard_id: Some(id) } => id.clone(),
        other => panic!("{other:?}"),
    };
    assert!([1, 3, 4].iter().all(|index| std::ptr::eq(&*id(0), &*id(*index))));
    assert_eq!(&*id(2), "b");
}

#[test]
fn what_is_unusual_says_the_same() {
    let stored = || vec![delivered(Some("shardId-000000000000"))];
    for body in [
        r#"{ "Records": [ { "ShardId": "shardId-000000000000", "SequenceNumber": "1" } ] }"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"shardId-00000000000\u0030"}]}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000","ErrorCode":null,"ErrorMessage":null}]}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000","More":[{"SequenceNumber":""}]}]}"#,
        r#"{"More":{"Records":[]},"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}],"FailedRecordCount":1e3}"#,
        r#"{"Records":[],"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#,
        r#"{"Records":[{"SequenceNumber":"","SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#,
    ] {
        assert!(!is_usual(Service::Kinesis, body.as_bytes()), "{body}");
        assert_eq!(read(Service::Kinesis, body.as_bytes()).unwrap(), stored(), "{body}");
    }
    // Without lengths, in pieces, with tags and with members that nobody knows.
    let text = |text: &str| [&[0x60 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let unusual = [
        &[0xbf][..],
        &text("More"),
        &[0x9f, 0xbf, 0xff, 0x82, 0xf9, 0, 0, 0x5f, 0x41, 1, 0xff, 0xff],
        &[0x05, 0xf5],
        &text("Records"),
        &[0x9f, 0xbf],
        &text("ErrorCode"),
        &[0xf6],
        &text("SequenceNumber"),
        &[0xc1, 0x61, b'1'],
        &text("ShardId"),
        &[0x7f],
        &text("shardId-"),
        &text("000000000000"),
        &[0xff, 0xff, 0xff, 0xff],
    ];
    assert!(cbor_of(&unusual.concat()).is_some());
    assert_eq!(read(Service::Kinesis, &unusual.concat()).unwrap(), stored());
}

#[test]
fn what_is_no_answer_is_none() {
    for body in [
        &b""[..],
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        br#"{"Records":{}}"#,
        br#"{"Records":[null]}"#,
        br#"{"Records":[[]]}"#,
        br#"{"Records":[{"SequenceNumber":1}]}"#,
        br#"{"Records":[{"SequenceNumber":"1"}]"#,
        br#"{"Records":[{"SequenceNumber":"1"}]} {}"#,
        br#"{"FailedRecordCount":00,"Records":[]}"#,
        b"{\"Records\":[{\"SequenceNumber\":\"\x01\"}]}",
        b"{\"Records\":[{\"SequenceNumber\":\"\xff\"}]}",
        // No list; a list of something else; not whole; more than one item; a break where none can be; far too long.
        &[0xa0],
        &[0xa1, 0x67, b'R', b'e', b'c', b'o', b'r', b'd', b's', 0x81, 0x00],
        &[0xa1, 0x67, b'R', b'e', b'c', b'o', b'r', b'd', b's'],
        &[0xa1, 0x67, b'R', b'e', b'c', b'o', b'r', b'd', b's', 0x80, 0x00],
        &[0xa1, 0x67, b'R', b'e', b'c', b'o', b'r', b'd', b's', 0xff],
        &[0xa1, 0x67, b'R', b'e', b'c', b'o', b'r', b'd', b's', 0x9b, 255, 255, 255, 255, 255, 255, 255, 255],
        &[0xbb, 255, 255, 255, 255, 255, 255, 255, 255],
        &[0x9f; 100_000],
    ] {
        assert_eq!(read(Service::Kinesis, body), Err(Unreadable), "{:?}", String::from_utf8_lossy(&body[..body.len().min(99)]));
    }
}

fn some_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-zA-Z0-9-]{0,60}".prop_map(Value::from),
        1 => "\\PC{0,9}".prop_map(Value::from),
        1 => Just(Value::from(THROTTLED)),
        1 => Just(Value::from("a \"quoted\" \\ text\n")),
        1 => Just(Value::Null),
    ]
}

/// Members of these names, in any order, some of them wrong.
fn some_object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let other = prop_oneof![9 => Just(None), 1 => any::<u8>().prop_map(Value::from).prop_map(Some)];
    proptest::collection::vec((proptest::sample::select(names), some_text(), other), 0..5)
        .prop_map(|members| members.into_iter().map(|(name, text, other)| (name.to_owned(), other.unwrap_or(text))).collect())
}

const NAMES: &[&str] = &["SequenceNumber", "RecordId", "ShardId", "ErrorCode", "ErrorMessage", "More"];

fn some_answer() -> impl Strategy<Value = Value> {
    let records = proptest::collection::vec(some_object(NAMES), 0..8);
    let more = proptest::collection::vec(
        prop_oneof![
            Just(("FailedRecordCount", json!(3))),
            Just(("FailedRecordCount", json!(-1.5))),
            Just(("FailedPutCount", json!(0))),
            Just(("EncryptionType", json!("NONE"))),
            Just(("Encrypted", json!(true))),
            Just(("More", json!([{ "a": [null] }]))),
        ],
        0..3,
    );
    (records, more, proptest::sample::select(&["Records", "RequestResponses"][..])).prop_map(|(records, more, list)| {
        let mut answer: serde_json::Map<String, Value> = more.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        answer.insert(list.to_owned(), records.into());
        answer.into()
    })
}

const SERVICES: [Service; 2] = [Service::Kinesis, Service::Firehose];

proptest! {
    #[test]
    fn an_answer_is_read_the_same_in_every_way(answer in some_answer(), is_pretty in any::<bool>(), at in any::<(usize, usize, u8)>()) {
        let mut in_cbor = Vec::new();
        ciborium::into_writer(&answer, &mut in_cbor).unwrap();
        let in_json = if is_pretty { serde_json::to_vec_pretty(&answer) } else { serde_json::to_vec(&answer) }.unwrap();
        for service in SERVICES {
            let expected = read_generally(service, &in_json);
            prop_assert_eq!(&read(service, &in_json).ok(), &expected);
            prop_assert_eq!(&read(service, &in_cbor).ok(), &expected);
            check_any(service, &in_json[..at.0 % (in_json.len() + 1)]);
            check_any(service, &in_cbor[..at.0 % (in_cbor.len() + 1)]);
            for body in [&in_json, &in_cbor] {
                let mut body = body.clone();
                let (from, to) = (at.0 % body.len(), at.1 % body.len());
                body[from] = at.2;
                check_any(service, &body);
                body[to] ^= 1 << (at.2 % 8);
                check_any(service, &body);
                body.remove(from);
                check_any(service, &body);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for service in SERVICES {
            check_any(service, &bytes);
        }
        let _ = error(&bytes);
    }
}

/// Whatever the bytes are, the quick way says what the general one says, and CBOR what another decoder says.
fn check_any(service: Service, body: &[u8]) {
    let said = read(service, body).ok();
    if wire_of_is_cbor(body) {
        // The other one wants valid texts also where nobody reads them.
        if let (Some(said), Some(value)) = (said, cbor_of(body)) {
            let general = serde_json::to_vec(&in_json(&value)).unwrap();
            assert_eq!(Some(said), read_generally(service, &general), "{value:?}");
        }
    } else {
        assert_eq!(said, read_generally(service, body));
    }
}

fn wire_of_is_cbor(body: &[u8]) -> bool {
    answer::wire_of(body) == Some(Wire::Cbor)
}

#[test]
fn errors_have_the_same_names_and_sentences_in_both_formats() {
    let said = |code: Option<&str>, message: Option<&str>| ErrorSaid {
        code: code.map(str::to_owned),
        message: message.map(str::to_owned),
    };
    for (body, expected) in [
        (json!({ "__type": "ResourceNotFoundException", "message": "no" }), said(Some("ResourceNotFoundException"), Some("no"))),
        (json!({ "message": "no", "__type": "com.amazonaws.kinesis.v20131202#Slow" }), said(Some("Slow"), Some("no"))),
        (json!({ "__type": "Slow:http://internal.amazon.com/", "Message": "No" }), said(Some("Slow"), Some("No"))),
        (json!({ "code": "One", "__type": "Other", "errorMessage": "e" }), said(Some("One"), Some("e"))),
        (json!({ "__type": null, "message": 1, "More": [1, { "a": [] }] }), said(None, None)),
        (json!({}), said(None, None)),
    ] {
        let mut in_cbor = Vec::new();
        ciborium::into_writer(&body, &mut in_cbor).unwrap();
        assert_eq!(error(body.to_string().as_bytes()).as_ref(), Ok(&expected), "{body}");
        assert_eq!(error(&in_cbor), Ok(expected), "{body}");
        for end in 1..in_cbor.len() {
            assert_eq!(error(&in_cbor[..end]), Err(Unreadable));
        }
    }
    assert_eq!(error(b""), Ok(said(None, None)), "its name may be in the head");
    assert_eq!(error(b"<html>"), Err(Unreadable));
    assert_eq!(name_of_error("a#b#c:d:e"), "b#c");
}
