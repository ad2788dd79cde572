//! `--local`: what is put into the embedded Kinesis is read back, counted, and what a consumer loses is said.
#![cfg(feature = "local")]

mod encoding;

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use encoding::unhex;
use kinetail::local::{Local, REGION, Report, Route, Screen, credentials};
use kinetail::metrics::Metrics;
use serde_json::Value;

/// The exit code and what is complained of by `run --local --once` with some lines and a flow with these settings.
fn run_once(settings: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("there is room");
    let (log, config) = (folder.path().join("a.log"), folder.path().join("agent.toml"));
    std::fs::write(&log, "one\ntwo\nthree\n").expect("it is written");
    let flow = format!("[agent]\nadmin = \"off\"\n[[flow]]\nname = \"f\"\nfiles = [{log:?}]\n{settings}");
    std::fs::write(&config, flow).expect("it is written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinetail"));
    let output = command.args(["run", "--local", "--once", "--config"]).arg(&config).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn lines_that_are_joined_are_read_back() {
    for settings in [
        "[flow.kinesis]\nstream = \"s\"\n",
        "[flow.kinesis]\nstream = \"s\"\naggregate = \"lines\"\ncompress = \"gzip\"\n",
        "[flow.firehose]\ndelivery_stream = \"s\"\n",
    ] {
        let (code, text) = run_once(settings);
        assert_eq!(code, Some(0), "{settings}{text}");
    }
}

#[test]
fn a_flow_that_is_to_be_encrypted_is_refused() {
    let key = "[flow.encryption]\nkms_key = \"arn:aws:kms:us-east-1:111122223333:alias/logs\"\n";
    let (code, text) = run_once(&format!("[flow.kinesis]\nstream = \"s\"\naggregate = \"lines\"\n{key}"));
    assert!(code == Some(64) && text.contains("there is no KMS for --local"), "{code:?} {text}");
}

/// The explicit hash keys in the aggregates of the same name; both belong to the third of four shards.
const HASH_KEY_OF_ABC: &str = "191415658344158766168031473277922803570";
const HASH_KEY_OF_UNIFORM: &str = "170141183460469231731687303715884118073";

#[tokio::test]
async fn what_is_put_is_read_back() {
    let records = [
        (vector("abc_alphabet_100"), HASH_KEY_OF_ABC),
        (vector("uniform_ehk_3"), HASH_KEY_OF_UNIFORM),
        (b"a line by itself\x1b[2J\n".to_vec(), "0"),
    ];
    let report = report_of(104, &[&records]).await;
    assert!(report.is_all_read_back());
    let text = console(&report);
    for line in [
        "f → stream s",
        "  shard 0               1                  1         21 B",
        "  shard 2             103                  2      3.5 KiB",
        "  read back           104                  3      3.5 KiB",
        "  │ a line by itself\\u{1b}[2J",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
}

#[tokio::test]
async fn an_aggregate_over_several_shards_is_lost_and_the_report_says_so() {
    let records = [(vector("kpl_generated_rec_with_ehks"), "0"), (vector("uniform_ehk_3"), HASH_KEY_OF_UNIFORM)];
    let report = report_of(7, &[&records]).await;
    assert!(!report.is_all_read_back());
    let text = console(&report);
    assert!(text.contains("lost 4 lines in aggregates that reach into another shard"), "{text}");
    assert!(text.ends_with("✗ s: 4 lines delivered and not read back (7 delivered, 3 read back)\n"), "{text}");
}

#[tokio::test]
async fn the_largest_requests_are_taken_and_read_back() {
    let record = || (vec![b'x'; 1024 * 1024 - 16], "0");
    let request = [record(), record(), record(), record(), record()];
    let report = report_of(20, &[&request, &request, &request, &request]).await;
    assert!(report.is_all_read_back(), "{}", report.text());
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_an_error() {
    let routes = vec![Route { flow: "f".into(), stream: "no spaces".into(), is_joined: false }];
    let Err(error) = Local::start(routes, Arc::default(), Screen::default()).await else { panic!("it has started") };
    assert_eq!(error.to_string(), "embedded Kinesis: cannot create a stream");
    let why = std::error::Error::source(&error).expect("it says why").to_string();
    assert!(why.starts_with("no spaces: "), "{why}");
}

/// Puts these requests, of records with an explicit hash key, and says that so many user records were delivered.
async fn report_of(delivered: u64, requests: &[&[(Vec<u8>, &str)]]) -> Report {
    let metrics = Arc::new(Metrics::default());
    let flow = metrics.flow("f");
    let routes = vec![Route { flow: "f".into(), stream: "s".into(), is_joined: false }];
    let local = Local::start(routes, metrics, Screen::default()).await.expect("it starts");
    let client = client(local.endpoint());
    for request in requests {
        let entries = request.iter().map(|(data, hash_key)| {
            let entry = PutRecordsRequestEntry::builder().data(Blob::new(data.clone())).partition_key("a");
            entry.explicit_hash_key(*hash_key).build().expect("a whole entry")
        });
        let put = client.put_records().stream_name("s").set_records(Some(entries.collect())).send().await;
        assert_eq!(put.expect("it is put").failed_record_count(), Some(0));
    }
    flow.delivered_user_records.inc_by(delivered);
    local.finish().await
}

fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(credentials())
        .http_client(kinetail::aws::direct_http_client())
        .build();
    Client::from_conf(config)
}

fn vector(name: &str) -> Vec<u8> {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/kpl_vectors.json")).expect("vectors");
    let vector = vectors.iter().find(|vector| vector["name"] == name).expect(name);
    unhex(vector["hex"].as_str().expect("hex"))
}

/// The report without colours, which a terminal would get.
fn console(report: &Report) -> String {
    console::strip_ansi_codes(&report.text()).into_owned()
}
