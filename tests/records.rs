//! What records are made of, on the real binary: fields, filters, masks, what is known of the host, partition keys.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;

use common::{Figures, Imds, Kinesis, Place, Received};
use serde_json::{Value, json};

/// A place whose logs go to the stream "s" by a flow with `settings`.
fn stage(settings: &str) -> (Kinesis, Place) {
    stage_with_imds("http://127.0.0.1:1", settings)
}

fn stage_with_imds(imds: &str, settings: &str) -> (Kinesis, Place) {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    let flow = "[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n";
    let kinesis_settings = if settings.contains("[flow.kinesis]") { "" } else { "\n[flow.kinesis]" };
    let aws = format!("endpoints.ec2_metadata = {imds:?}\n");
    place.configure(&kinesis, &format!("{aws}{flow}{settings}{kinesis_settings}\nstream = \"s\"\n"));
    (kinesis, place)
}

/// Ships what is in the logs; returns what arrived, in the order of texts, and the figures of the end.
fn ship(kinesis: &Kinesis, place: &Place, byte_count: usize) -> (Vec<Received>, Figures) {
    let agent = place.run(&[]);
    let figures = agent.wait_settled(byte_count);
    agent.stop();
    let mut received = kinesis.received("s");
    received.sort_by_key(|received| received.data.clone());
    (received, figures)
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(Received::text).collect()
}

fn json_of(received: &Received) -> Value {
    serde_json::from_slice(&received.data).unwrap()
}

/// A record says where it comes from: of the host, the file, the instance and its tags.
#[test]
fn records_say_where_they_come_from() {
    let imds = Imds::start();
    imds.say("/latest/dynamic/instance-identity/document", r#"{"instanceId":"i-7","availabilityZone":"eu-west-1b"}"#);
    imds.say("/latest/meta-data/tags/instance", "Name");
    imds.say("/latest/meta-data/tags/instance/Name", "web");
    let add = "[flow.record]\nadd = { host = '${host.name}', file = { path = '${file.path}', at = '${file.offset}' }, \
               ec2 = { id = '${ec2.instance_id}', zone = '${ec2.availability_zone}', name = '${ec2.tags.Name}' }, env = 'test' }";
    let (kinesis, place) = stage_with_imds(&imds.url(), add);
    place.append_bytes("a.log", b"first\nsecond\n");
    let (received, figures) = ship(&kinesis, &place, 13);
    let record = |message: &str, at: u64| {
        json!({
            "message": message,
            "host": kinetail::metadata::host_name(),
            "file": { "path": place.log("a.log"), "at": at },
            "ec2": { "id": "i-7", "zone": "eu-west-1b", "name": "web" },
            "env": "test",
        })
    };
    assert_eq!(received.iter().map(json_of).collect::<Vec<_>>(), [record("first", 0), record("second", 6)]);
    assert_eq!(figures.sum("kinetail_unknown_variables_lines_total"), 0);
}

/// Where nobody answers for EC2, lines go without, are counted, and the log says it clearly.
#[test]
fn elsewhere_than_on_ec2_lines_go_without() {
    let (kinesis, place) = stage("[flow.record]\nadd = { id = '${ec2.instance_id}', none = '${env.KINETAIL_TEST_NONE}' }");
    place.append_bytes("a.log", b"line\n");
    let agent = place.run(&[]);
    let figures = agent.wait_settled(5);
    let ended = agent.stop();
    assert_eq!(texts(&kinesis.received("s")), [r#"{"message":"line","id":null,"none":null}"#]);
    assert_eq!(figures.sum("kinetail_unknown_variables_lines_total"), 1);
    assert!(ended.stderr.contains("EC2 instance metadata"), "{}", ended.stderr);
}

/// Every line left out is counted by reason, and what is read is still delivered, dropped or in flight.
#[test]
fn what_is_left_out_is_counted_by_reason() {
    let settings = "[flow.parse]\nregex = '^(?<level>[A-Z]+) (?<status>[0-9]+) (?<path>.*)$'\non_mismatch = 'drop'\n\
                    [flow.filter]\nkeep = ['/shop', { field = 'level', is = 'ERROR' }]\n\
                    drop = [{ field = 'status', at_least = 200, below = 300 }]\nsample = { rate = 1.0, key = '${path}' }";
    let (kinesis, place) = stage(settings);
    let lines = [
        ("INFO 404 /shop/a", None),
        ("ERROR 500 /b", None),
        ("INFO 404 /b", Some("not_kept")),
        ("INFO 200 /shop", Some("filtered")),
        ("what /shop is", Some("mismatch")),
    ];
    place.append("a.log", &lines.map(|(line, _)| line.to_owned()));
    let (received, figures) = ship(&kinesis, &place, place.byte_count("a.log"));
    assert_eq!(
        texts(&received),
        [r#"{"level":"ERROR","status":"500","path":"/b"}"#, r#"{"level":"INFO","status":"404","path":"/shop/a"}"#]
    );
    figures.assert_balanced();
    for (line, reason) in lines.iter().filter_map(|(line, reason)| Some((line, (*reason)?))) {
        let dropped = figures.sum_where("kinetail_dropped_bytes_total", &format!("reason=\"{reason}\""));
        assert_eq!(dropped, line.len() + 1, "{reason}");
        let line_count = figures.sum_where("kinetail_dropped_lines_total", &format!("reason=\"{reason}\""));
        assert_eq!(line_count, 1, "{reason}");
    }
}

/// Lines of one key are on one shard; one without a field of its key is sent all the same, and counted.
#[test]
fn a_line_without_its_key_is_sent_all_the_same() {
    let settings = "[flow.parse]\nformat = 'logfmt'\n[flow.kinesis]\npartition_key = '${user}-${app.name}'";
    let (kinesis, place) = stage(settings);
    let lines: Vec<String> = (0..100).map(|number| format!("user=ann app.name=shop n={number}")).collect();
    place.append("a.log", &lines);
    place.append_bytes("a.log", b"user=bob\n");
    let (received, figures) = ship(&kinesis, &place, place.byte_count("a.log"));
    let (keyed, keyless): (Vec<_>, Vec<_>) = received.iter().partition(|received| received.text().contains("ann"));
    assert_eq!((keyed.len(), keyless.len()), (100, 1));
    assert!(keyed.iter().all(|received| received.partition_key == "ann-shop" && received.shard_id == keyed[0].shard_id));
    assert_eq!(figures.sum("kinetail_partition_key_missing_lines_total"), 1);
}

/// What a mask finds does not leave the process: not in records, in partition keys, or in lines that do not match.
#[test]
fn nothing_that_is_masked_leaves_the_process() {
    let secrets = ["ann@example.com", "203.0.113.9", "4111111111111111", "AKIAQYLPMN5HIHGFEDCB"];
    let settings = "[flow.parse]\nformat = 'json'\n\
                    [flow.record]\nmask = ['email', 'ipv4', 'card', 'aws_keys']\nadd = { line = '${line.text}', key = '${user}' }\n\
                    [flow.kinesis]\npartition_key = '${user}-${nested.ip}'";
    let (kinesis, place) = stage(settings);
    let [user, ip, card, key] = secrets;
    place
        .append_bytes("a.log", format!(r#"{{"user":"{user}","nested":{{"ip":"{ip}","list":[{card}]}},"x":"{key}"}}"#).as_bytes());
    place.append_bytes("a.log", format!("\nnot of the format: {user} {ip} {card} {key}\n").as_bytes());
    let (received, figures) = ship(&kinesis, &place, place.byte_count("a.log"));
    assert_eq!(received.len(), 2);
    assert_eq!(figures.sum("kinetail_partition_key_missing_lines_total"), 2);
    for record in kinesis.read_all("s").iter().flat_map(|shard| &shard.records) {
        let sent = [record.partition_key.as_bytes(), &record.data].concat();
        let sent = String::from_utf8_lossy(&sent);
        assert!(secrets.iter().all(|secret| !sent.contains(secret)), "{sent}");
    }
    assert_eq!(figures.sum("kinetail_masked_places_total"), 8);
}

/// The names of columns are those of each file's own first line, also after a restart in the middle of it.
#[test]
fn tables_are_read_by_their_header() {
    let (kinesis, place) = stage("[flow.parse]\nformat = 'csv'\nheader = true\ntypes = { n = 'integer' }");
    place.append_bytes("a.log", b"n,what\r\n1,\"a, b\"\r\n");
    place.append_bytes("b.log", b"what,n\nc,2\n");
    place.ship_once();
    place.append_bytes("a.log", b"3,d\n");
    place.ship_once();
    let mut received = texts(&kinesis.received("s"));
    received.sort();
    assert_eq!(received, [r#"{"n":1,"what":"a, b"}"#, r#"{"n":3,"what":"d"}"#, r#"{"what":"c","n":2}"#]);
}

/// What a container runtime has divided is one record again, also when it is written at different times.
#[test]
fn partial_lines_of_containers_are_joined() {
    let (kinesis, place) = stage("[flow.parse]\nformat = 'cri'\n[flow.record]\nkeep_only = ['message']");
    let line = |tag: &str, text: &str| format!("2026-11-21T10:00:00.000000001Z stdout {tag} {text}\n");
    place.append_bytes("a.log", (line("F", "whole") + &line("P", "a lo")).as_bytes());
    let agent = place.run(&[]);
    agent.wait_settled(line("F", "whole").len());
    place.append_bytes("a.log", (line("P", "ng li") + &line("F", "ne")).as_bytes());
    agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    let mut received = texts(&kinesis.received("s"));
    received.sort();
    assert_eq!(received, [r#"{"message":"a long line"}"#, r#"{"message":"whole"}"#]);
}

/// An object over several lines becomes a record of one.
#[test]
fn pretty_json_becomes_a_line() {
    let settings = "[flow.multiline]\nstart = '^\\{'\n[flow.parse]\nformat = 'json'\n[flow.record]\nterminator = \"\\n\"";
    let (kinesis, place) = stage(settings);
    place.append_bytes("a.log", b"{\n  \"a\": [1,\n    2.50],\n  \"b\": \"x y\"\n}\n{ \"a\": 1 }\n");
    place.ship_once();
    let mut received = texts(&kinesis.received("s"));
    received.sort();
    assert_eq!(received, ["{\"a\":1}\n", "{\"a\":[1,2.50],\"b\":\"x y\"}\n"]);
}

/// `check` says when a pattern costs more than it could, and how to write it.
#[test]
fn check_tells_of_patterns_that_are_slow() {
    let (_kinesis, place) = stage("[flow.parse]\nregex = '^(?<ip>.+?) (?<rest>.*)$'");
    fs::write(place.log("a.log"), "x\n").unwrap();
    let output = place.command(&["check", "--config", place.config().to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("is not one-pass") && text.contains("^(?<ip>[^ ]+) (?<rest>.*)$"), "{text}");
}
