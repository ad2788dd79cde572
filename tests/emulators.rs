//! Services that this project did not write: ferrokinesis, kinesalite and moto. Every line arrives once, also while shards are
//! split and merged, what was put is read back, and what these services refuse is understood.
//!
//! kinesalite and moto are installed from their package indexes, once; see `common/installed.rs`.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::MultiGzDecoder;
use kinetail::deaggregator::{Deaggregated, deaggregate};
use kinetail::hash_key::HashRange;
use kinetail::limits::MIB;
use kinetail::outcome::{self, Verdict, is_about_size};
use kinetail::readback::{self, Shards, StoredRecord, Window};
use kinetail::sender::Destination as _;
use kinetail::service_clock::ServiceClock;
use kinetail::stream::ShardMap;
use serde_json::{Value, json};

use common::{Agent, Kinesis, Place, Received, installed, line, lines, verify, wait_until, wire};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulators");

/// A service that stands in for AWS.
struct Emulator {
    addr: SocketAddr,
    _server: Server,
}

/// Ends with it.
enum Server {
    Embedded { _kinesis: Box<Kinesis> },
    Process(Child),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Emulator {
    fn ferrokinesis(_: &str) -> Option<Self> {
        let kinesis = Kinesis::start();
        Some(Self {
            addr: kinesis.url().trim_start_matches("http://").parse().unwrap(),
            _server: Server::Embedded { _kinesis: Box::new(kinesis) },
        })
    }

    fn kinesalite(story: &str) -> Option<Self> {
        let packages = installed::or_skip(story, installed::node(Path::new(FOLDER)))?;
        let mut command = Command::new("node");
        command.arg(Path::new(FOLDER).join("kinesalite.js")).arg(packages);
        Some(Self::spawn(&mut command))
    }

    fn moto(story: &str) -> Option<Self> {
        let bin = installed::or_skip(story, installed::python(Path::new(FOLDER)))?;
        let mut command = Command::new(bin.join("python"));
        command.arg(Path::new(FOLDER).join("serve_moto.py"));
        Some(Self::spawn(&mut command))
    }

    fn spawn(command: &mut Command) -> Self {
        // Its log would stand between the results of tests.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let addr = (Ipv4Addr::LOCALHOST, port.trim().parse().unwrap()).into();
        Self { addr, _server: Server::Process(child) }
    }

    /// The answer of Kinesis to `operation`, which has to be a good one.
    #[track_caller]
    fn kinesis(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.try_kinesis(operation, body);
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    fn try_kinesis(&self, operation: &str, body: &Value) -> (u16, Value) {
        wire::ask(self.addr, "kinesis", &format!("Kinesis_20131202.{operation}"), body)
    }

    fn create_stream(&self, shard_count: usize) {
        self.kinesis("CreateStream", &json!({ "StreamName": "s", "ShardCount": shard_count }));
        self.wait_active();
    }

    fn wait_active(&self) {
        wait_until("the stream is active", || {
            let summary = self.kinesis("DescribeStreamSummary", &json!({ "StreamName": "s" }));
            summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        });
    }

    fn split(&self, shard_id: &str, at: u128) {
        let at = at.to_string();
        self.kinesis("SplitShard", &json!({ "StreamName": "s", "ShardToSplit": shard_id, "NewStartingHashKey": at }));
        self.wait_active();
    }

    fn merge(&self, shard_id: &str, with: &str) {
        let shards = json!({ "StreamName": "s", "ShardToMerge": shard_id, "AdjacentShardToMerge": with });
        self.kinesis("MergeShards", &shards);
        self.wait_active();
    }

    /// Every user record of the stream, as a reader gets them that checks, as KCL does, that each belongs to the shard that it
    /// is read from.
    fn received(&self) -> Vec<Received> {
        let mut received = Vec::new();
        let shards = self.kinesis("ListShards", &json!({ "StreamName": "s" }));
        for shard in shards["Shards"].as_array().unwrap() {
            let shard_id = text(&shard["ShardId"]);
            let range = &shard["HashKeyRange"];
            let range = HashRange::parse(text(&range["StartingHashKey"]), text(&range["EndingHashKey"])).unwrap();
            let at = json!({ "StreamName": "s", "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON" });
            let mut iterator = self.kinesis("GetShardIterator", &at)["ShardIterator"].clone();
            while iterator.is_string() {
                let page = self.kinesis("GetRecords", &json!({ "ShardIterator": iterator }));
                let records = page["Records"].as_array().unwrap();
                for record in records {
                    let data = data(&record["Data"]);
                    received.extend(user_records(text(&record["PartitionKey"]), data, shard_id, range));
                }
                iterator = if records.is_empty() { Value::Null } else { page["NextShardIterator"].clone() };
            }
        }
        received
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

/// Data of a record. What kinesalite was given in CBOR it gives who reads in JSON as Node writes its buffers.
fn data(value: &Value) -> Vec<u8> {
    match value["data"].as_array() {
        Some(bytes) => bytes.iter().map(|byte| byte.as_u64().unwrap().try_into().unwrap()).collect(),
        None => BASE64.decode(text(value)).unwrap(),
    }
}

fn user_records(partition_key: &str, data: Vec<u8>, shard_id: &str, range: HashRange) -> Vec<Received> {
    let received = |partition_key: &str, data: Vec<u8>| Received {
        partition_key: partition_key.to_owned(),
        data,
        shard_id: shard_id.to_owned(),
    };
    match deaggregate(&data, Some(range)) {
        Deaggregated::Raw => vec![received(partition_key, data)],
        Deaggregated::Records(records) => {
            records.into_iter().map(|record| received(&record.partition_key, record.data.to_owned())).collect()
        }
        lost => panic!("readers of {shard_id} lose records of {partition_key}: {lost:?}"),
    }
}

/// The lines of records of joined lines.
fn divided(received: &[Received]) -> Vec<Received> {
    let lines = received.iter().flat_map(|record| {
        let lines = record.data.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| Received {
            partition_key: record.partition_key.clone(),
            data: line.strip_suffix(b"\n").unwrap().to_vec(),
            shard_id: record.shard_id.clone(),
        })
    });
    lines.collect()
}

/// A place whose logs go to the emulator.
fn place(emulator: &Emulator, destination: &str) -> Place {
    place_with(emulator, "auto", destination)
}

/// The same in this format.
fn place_with(emulator: &Emulator, wire: &str, destination: &str) -> Place {
    let place = Place::new();
    let url = format!("http://{}", emulator.addr);
    let aws = format!("endpoints.kinesis = {url:?}\nendpoints.firehose = {url:?}\nwire = {wire:?}\n");
    let flow = "[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n";
    place.configure_aws(&aws, &format!("{flow}{destination}\nmax_delay = \"20 ms\"\n"));
    place
}

const KINESIS: &str = "[flow.kinesis]\nstream = \"s\"\n";

/// Every line of several files arrives once, however lines become records.
fn ships(emulator: Option<Emulator>) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(4);
    let mut sent = Vec::new();
    for aggregate in ["kpl", "none"] {
        let place = place(&emulator, &format!("{KINESIS}aggregate = \"{aggregate}\""));
        for name in ["a", "b", "c"] {
            let lines = lines(&format!("{aggregate} {name}"), 700);
            place.append(&format!("{name}.log"), &lines);
            sent.extend(lines);
        }
        place.ship_once();
    }
    verify(&sent, &emulator.received());
}

/// Every line arrives once in each format, whatever characters are in it and in its key.
fn ships_in_each_format(emulator: Option<Emulator>, formats: &[&str]) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(2);
    let mut sent = Vec::new();
    for wire in formats {
        let settings = "aggregate = \"none\"\npartition_key = \"fixed:a \\\"key\\\" \\\\ é 😀\"";
        let place = place_with(&emulator, wire, &format!("{KINESIS}{settings}"));
        let lines = lines(&format!("{wire} \"é\" 😀"), 100);
        place.append("a.log", &lines);
        sent.extend(lines);
        place.ship_once();
    }
    let received = emulator.received();
    assert!(received.iter().all(|record| record.partition_key == "a \"key\" \\ é 😀"));
    verify(&sent, &received);
}

/// moto answers CBOR with an error of its own, of which nobody can know what became of the records: they are looked up, and go in
/// JSON.
#[test]
fn moto_does_not_know_cbor() {
    let Some(emulator) = Emulator::moto("moto_does_not_know_cbor") else { return };
    emulator.create_stream(2);
    let place = place(&emulator, KINESIS);
    let agent = place.run(&[]);
    let mut sent = Vec::new();
    for turn in 0..6 {
        let more = lines(&format!("turn {turn}"), 100);
        place.append("a.log", &more);
        sent.extend(more);
        agent.wait_settled(place.byte_count("a.log"));
    }
    let log = agent.stop().stderr;
    assert_eq!(log.matches("records are sent in JSON from now on").count(), 1, "{log}");
    verify(&sent, &emulator.received());
}

/// kinesalite cuts answers in CBOR that are longer than 16 KiB: what they are about may be there twice, and all that follows goes in
/// JSON.
#[test]
fn kinesalite_cuts_answers_in_cbor() {
    let Some(emulator) = Emulator::kinesalite("kinesalite_cuts_answers_in_cbor") else { return };
    emulator.create_stream(1);
    let place = place(&emulator, &format!("{KINESIS}aggregate = \"none\"\npartition_key = \"fixed:a\""));
    let sent = lines("a", 900);
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    let log = agent.stop().stderr;
    assert_eq!(log.matches("records are sent in JSON from now on").count(), 1, "{log}");
    let received: BTreeSet<String> = emulator.received().iter().map(Received::text).collect();
    assert_eq!(received, sent.into_iter().collect());
}

/// Every line of records of joined lines arrives once.
fn ships_joined_lines(emulator: Option<Emulator>) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(2);
    let place = place(&emulator, &format!("{KINESIS}aggregate = \"lines\""));
    let sent = [lines("a", 1_500), lines("b", 1_500)];
    place.append("a.log", &sent[0]);
    place.append("b.log", &sent[1]);
    place.ship_once();
    let received = emulator.received();
    assert!(received.len() < 100, "{} records", received.len());
    verify(&sent.concat(), &divided(&received));
}

/// While a shard is split, and its children are merged again, every line arrives once, in a shard that it belongs to.
fn ships_while_shards_change(emulator: Option<Emulator>) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(2);
    let place = place(&emulator, KINESIS);
    let mut sent = Vec::new();
    let mut write = |agent: &Agent, count| {
        let written: Vec<String> = (sent.len()..sent.len() + count).map(|number| line("a", number, 100)).collect();
        place.append("a.log", &written);
        sent.extend(written);
        if count > 0 {
            let some = sent.len() - count / 2;
            wait_until("some of it is delivered", || agent.figures().sum("kinetail_delivered_user_records_total") >= some);
        }
        sent.clone()
    };
    let agent = place.run(&[]);
    write(&agent, 3_000);
    emulator.split("shardId-000000000000", 1 << 125);
    write(&agent, 3_000);
    emulator.merge("shardId-000000000002", "shardId-000000000003");
    let sent = write(&agent, 3_000);
    agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    verify(&sent, &emulator.received());
    // What is open now, of all that there were.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (shards, summary) = runtime.block_on(async {
        let stream = wire::stream(format!("http://{}", emulator.addr), "s");
        (stream.shards().await.unwrap(), stream.summary().await.unwrap())
    });
    let map = ShardMap::of(shards).expect("the open shards have all hash keys");
    let ids: Vec<&str> = (0..map.range_count()).map(|index| &**map.id_of(index).unwrap()).collect();
    assert_eq!(ids, ["shardId-000000000004", "shardId-000000000001"]);
    assert!(!summary.is_auto);
}

/// What was put since a moment is read back, all of it and in the order of each shard, also where shards were split and merged
/// meanwhile; nothing of what was put long before.
fn reads_back(emulator: Option<Emulator>, splits: bool) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(2);
    let mut expected = Vec::new();
    let put = |name: &str, expected: &mut Vec<String>| {
        let names: Vec<String> = (0..200).map(|number| format!("{name} {number}")).collect();
        // To all quarters of the hash keys in turn.
        let record = |(index, name): (usize, &String)| {
            let hash_key = (u128::MAX / 4 * (index as u128 % 4) + 7).to_string();
            json!({ "PartitionKey": name, "ExplicitHashKey": hash_key, "Data": BASE64.encode(name) })
        };
        let records: Vec<Value> = names.iter().enumerate().map(record).collect();
        let answer = emulator.kinesis("PutRecords", &json!({ "StreamName": "s", "Records": records }));
        assert_eq!(answer["FailedRecordCount"], 0);
        expected.extend(names);
    };
    put("before", &mut Vec::new());
    // Times of arrival may be in whole seconds.
    let from = Instant::now() + Duration::from_secs(2);
    wait_until("what was put before is old", || Instant::now() >= from);
    let from_ms = since_1970_ms();
    wait_until("a second passes", || Instant::now() >= from + Duration::from_secs(1));
    put("first", &mut expected);
    if splits {
        emulator.split("shardId-000000000000", u128::MAX / 4 + 1);
        put("second", &mut expected);
        emulator.merge("shardId-000000000002", "shardId-000000000003");
        put("third", &mut expected);
    }
    let window = Window { from_ms, until_ms: since_1970_ms() };
    let read = |shards: Shards| {
        let stream = wire::stream(format!("http://{}", emulator.addr), "s");
        let clock = ServiceClock::new(since_1970_ms());
        let mut seen = Vec::new();
        let look = |record: &StoredRecord| {
            assert_eq!(record.data, record.partition_key.as_bytes());
            seen.push(record.partition_key.clone());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let taken = runtime.block_on(readback::read(&stream, &clock, window, &shards, look)).unwrap();
        assert_eq!(taken.record_count, seen.len() as u64);
        seen
    };
    let mut seen = read(Shards::All);
    for (time, quarter) in ["first", "second", "third"].into_iter().flat_map(|time| (0..4).map(move |quarter| (time, quarter))) {
        let of_both = |name: &&String| {
            let (of, number) = name.split_once(' ').unwrap();
            of == time && number.parse::<usize>().unwrap() % 4 == quarter
        };
        let in_order: Vec<&String> = seen.iter().filter(of_both).collect();
        assert_eq!(in_order, expected.iter().filter(of_both).collect::<Vec<_>>());
    }
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    // Of one shard only: two quarters are in the other, and its descendants.
    assert_eq!(read(Shards::With(vec![u128::MAX])).len(), expected.len() / 2);
}

fn since_1970_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_millis()).unwrap()
}

/// A stream that is not there pauses the flow, which goes on when there is one.
fn waits_for_a_stream(emulator: Option<Emulator>, wire: &str) {
    let Some(emulator) = emulator else { return };
    let place = place_with(&emulator, wire, KINESIS);
    let sent = lines("a", 500);
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    let health = agent.wait_health(503);
    assert!(health.contains("check `stream` and `region`, or create the stream"), "{health}");
    emulator.create_stream(2);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    assert_eq!(figures.sum("kinetail_possibly_doubled_records_total"), 0);
    verify(&sent, &emulator.received());
}

/// What is refused for its size is understood so: a record, and where it is checked a request.
fn refuses_what_is_too_large(emulator: Option<Emulator>, checks_requests: bool) {
    let Some(emulator) = emulator else { return };
    emulator.create_stream(1);
    let put = |sizes: &[usize]| {
        let record = |size: &usize| json!({ "PartitionKey": "k", "Data": BASE64.encode(vec![b'x'; *size]) });
        let records: Vec<Value> = sizes.iter().map(record).collect();
        emulator.try_kinesis("PutRecords", &json!({ "StreamName": "s", "Records": records }))
    };
    assert_eq!(put(&[MIB - 1]).0, 200);
    let too_large = [vec![MIB + 1], vec![MIB - 1; 6]];
    for sizes in &too_large[..if checks_requests { 2 } else { 1 }] {
        let (status, answer) = put(sizes);
        let code = text(&answer["__type"]).rsplit('#').next().unwrap().to_owned();
        let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
        assert_eq!(outcome::of_request(outcome::Service::Kinesis, &code, status), Verdict::Split, "{answer}");
        assert!(is_about_size(&code, message), "{answer}");
    }
}

/// A delivery stream of moto, the objects of which are in the bucket `bucket`.
fn with_delivery_stream(emulator: &Emulator) {
    assert_eq!(wire::plain(emulator.addr, "s3", "PUT", "/bucket").0, 200);
    let to = json!({ "RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::bucket" });
    let body = json!({ "DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": to });
    let (status, answer) = wire::ask(emulator.addr, "firehose", "Firehose_20150804.CreateDeliveryStream", &body);
    assert_eq!(status, 200, "{answer}");
}

/// Everything in the bucket, object by object.
fn objects(emulator: &Emulator) -> Vec<Vec<u8>> {
    let (_, list) = wire::plain(emulator.addr, "s3", "GET", "/bucket?list-type=2");
    let list = String::from_utf8(list).unwrap();
    let keys = list.split("<Key>").skip(1).map(|rest| rest.split_once("</Key>").unwrap().0);
    keys.map(|key| wire::plain(emulator.addr, "s3", "GET", &format!("/bucket/{key}")).1).collect()
}

fn ships_to_firehose(story: &str, settings: &str, decode: impl Fn(Vec<u8>) -> Vec<u8>) {
    let Some(emulator) = Emulator::moto(story) else { return };
    with_delivery_stream(&emulator);
    let place = place(&emulator, &format!("[flow.firehose]\ndelivery_stream = \"s\"\n{settings}"));
    let mut sent = Vec::new();
    for name in ["a", "b", "c"] {
        let lines = lines(name, 5_000);
        place.append(&format!("{name}.log"), &lines);
        sent.extend(lines);
    }
    place.ship_once();
    let objects = objects(&emulator).into_iter().map(|object| Received {
        partition_key: String::new(),
        data: decode(object),
        shard_id: String::new(),
    });
    verify(&sent, &divided(&objects.collect::<Vec<_>>()));
}

/// What Firehose delivers to S3 is every line, once, each with its newline.
#[test]
fn firehose_of_moto_delivers_every_line() {
    ships_to_firehose("firehose_of_moto_delivers_every_line", "", |object| object);
}

/// The same with records that are compressed by themselves: an object of them is one file of gzip.
#[test]
fn firehose_of_moto_delivers_every_compressed_line() {
    ships_to_firehose("firehose_of_moto_delivers_every_compressed_line", "compress = \"gzip\"\n", |object| {
        let mut lines = Vec::new();
        MultiGzDecoder::new(object.as_slice()).read_to_end(&mut lines).unwrap();
        lines
    });
}

/// A delivery stream that is not there pauses the flow, which goes on when there is one.
#[test]
fn a_delivery_stream_that_is_created_later() {
    let Some(emulator) = Emulator::moto("a_delivery_stream_that_is_created_later") else { return };
    let place = place(&emulator, "[flow.firehose]\ndelivery_stream = \"s\"");
    place.append("a.log", &lines("a", 100));
    let agent = place.run(&[]);
    let health = agent.wait_health(503);
    assert!(health.contains("check `delivery_stream` and `region`"), "{health}");
    with_delivery_stream(&emulator);
    agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    assert_eq!(objects(&emulator).len(), 1);
}

macro_rules! stories {
    ($($(#[$attribute:meta])* $name:ident: $story:ident($emulator:ident $(, $more:expr)*);)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            $story(Emulator::$emulator(stringify!($name)) $(, $more)*);
        }
    )*};
}

stories! {
    ferrokinesis_gets_every_line: ships(ferrokinesis);
    kinesalite_gets_every_line: ships(kinesalite);
    moto_gets_every_line: ships(moto);
    ferrokinesis_gets_every_format: ships_in_each_format(ferrokinesis, &["auto", "cbor", "json"]);
    kinesalite_gets_every_format: ships_in_each_format(kinesalite, &["auto", "cbor", "json"]);
    moto_gets_every_format: ships_in_each_format(moto, &["auto", "json"]);
    ferrokinesis_gets_joined_lines: ships_joined_lines(ferrokinesis);
    kinesalite_gets_joined_lines: ships_joined_lines(kinesalite);
    moto_gets_joined_lines: ships_joined_lines(moto);
    ferrokinesis_is_read_back: reads_back(ferrokinesis, true);
    kinesalite_is_read_back: reads_back(kinesalite, true);
    moto_is_read_back: reads_back(moto, false);
    ferrokinesis_splits_and_merges_shards: ships_while_shards_change(ferrokinesis);
    kinesalite_splits_and_merges_shards: ships_while_shards_change(kinesalite);
    ferrokinesis_without_the_stream: waits_for_a_stream(ferrokinesis, "auto");
    kinesalite_without_the_stream: waits_for_a_stream(kinesalite, "auto");
    // Where it is not, nothing can be looked up of what moto answers to CBOR.
    moto_without_the_stream: waits_for_a_stream(moto, "json");
    ferrokinesis_refuses_what_is_too_large: refuses_what_is_too_large(ferrokinesis, true);
    kinesalite_refuses_what_is_too_large: refuses_what_is_too_large(kinesalite, false);
    moto_refuses_what_is_too_large: refuses_what_is_too_large(moto, true);
}
