//! Readers that this project did not write understand what is in the stream: boto3 with aws-kinesis-agg and with the AWS
//! Encryption SDK, and the AWS command line.
//!
//! They are installed from the Python package index, once; see `common/installed.rs`.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kinetail::config::{Encryption, Endpoints};
use kinetail::encryption::keys::DataKeys;
use kinetail::encryption::kms::Kms;
use kinetail::encryption::message::Context;
use kinetail::health::Health;
use kinetail::metrics::Metrics;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use common::installed::{self, run};
use common::wire::access;
use common::{Kinesis, Moto, Place, Received, kms_client, lines, skipped, verify};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// The `bin` folder of the environment; where there is none, `story` is skipped, but not in CI.
fn environment_for(story: &str) -> Option<PathBuf> {
    installed::or_skip(story, installed::python(Path::new(FOLDER)))
}

/// A program of the environment, set up for an emulator and nothing else.
fn reader(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_DEFAULT_REGION", "us-east-1");
    command
}

/// Ships `sent` by a flow with the settings `kinesis_settings`, as one file.
fn ship(sent: &[String], shard_count: u32, kinesis_settings: &str) -> Kinesis {
    let kinesis = Kinesis::with_stream("s", shard_count);
    let place = Place::new();
    let flow = "[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n[flow.kinesis]\nstream = \"s\"\n";
    place.configure(&kinesis, &format!("{flow}{kinesis_settings}\n"));
    place.append("a.log", sent);
    place.ship_once();
    kinesis
}

fn field<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_else(|| panic!("no {name} in {record}"))
}

fn data(record: &Value, name: &str) -> Vec<u8> {
    BASE64.decode(field(record, name)).unwrap()
}

/// boto3 reads the stream and aws-kinesis-agg takes the aggregates apart, to exactly the lines written.
#[test]
fn boto3_and_aws_kinesis_agg_read_exactly_the_lines() {
    let Some(bin) = environment_for("boto3_and_aws_kinesis_agg_read_exactly_the_lines") else { return };
    let mut sent = lines("a", 5_000);
    sent.push("ünïcödé and \u{1f980}".to_owned());
    let kinesis = ship(&sent, 4, "");
    let script = Path::new(FOLDER).join("read_back.py");
    let output = run(reader(bin.join("python")).arg(script).args([&kinesis.url(), "s"])).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    let records = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(Result::unwrap);
    let records: Vec<Value> = records.collect();
    assert!(records.iter().all(|record| record["aggregated"] == true), "some were not aggregated");
    let received = records.iter().map(|record| Received {
        partition_key: field(record, "partition_key").to_owned(),
        data: data(record, "data"),
        shard_id: field(record, "shard_id").to_owned(),
    });
    let received: Vec<Received> = received.collect();
    assert!(received.iter().all(|record| (1..=256).contains(&record.partition_key.chars().count())));
    verify(&sent, &received);
}

/// A plain `aws kinesis get-records`, which knows nothing of aggregates, reads the lines of a flow with
/// `aggregate = "none"`.
#[test]
fn the_aws_command_line_reads_lines_that_are_not_aggregated() {
    let Some(bin) = environment_for("the_aws_command_line_reads_lines_that_are_not_aggregated") else { return };
    let sent = lines("a", 700);
    let kinesis = ship(&sent, 1, "aggregate = \"none\"");
    let url = kinesis.url();
    let aws = |arguments: &[&str]| -> Value {
        let mut command = reader(bin.join("aws"));
        command.args(["--endpoint-url", &url, "--output", "json", "kinesis"]).args(arguments);
        serde_json::from_slice(&run(&mut command).unwrap().stdout).unwrap()
    };
    let position = ["--stream-name", "s", "--shard-id", "shardId-000000000000", "--shard-iterator-type", "TRIM_HORIZON"];
    let iterator = aws(&[&["get-shard-iterator"][..], &position].concat());
    let answer = aws(&["get-records", "--shard-iterator", field(&iterator, "ShardIterator")]);
    let received = answer["Records"].as_array().unwrap().iter().map(|record| Received {
        partition_key: field(record, "PartitionKey").to_owned(),
        data: data(record, "Data"),
        shard_id: "shardId-000000000000".to_owned(),
    });
    verify(&sent, &received.collect::<Vec<_>>());
}

/// A KMS with a key that has an alias, and what asks it.
struct KeyStage {
    bin: PathBuf,
    moto: Moto,
    runtime: Runtime,
    key_arn: String,
    alias_arn: String,
}

impl KeyStage {
    fn new(bin: PathBuf) -> Self {
        let moto = Moto::start(&bin.join("python"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = kms_client(moto.url());
        let key_arn = runtime.block_on(async {
            let key_arn = client.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap();
            client.create_alias().alias_name("alias/logs").target_key_id(&key_arn).send().await.unwrap();
            key_arn
        });
        let alias_arn = format!("{}:alias/logs", key_arn.split_once(":key/").unwrap().0);
        Self { bin, moto, runtime, key_arn, alias_arn }
    }

    /// Seals `lines`, seven with each data key.
    fn seal(&self, lines: &[String], context: &Context) -> Vec<Vec<u8>> {
        let rules = Encryption {
            kms_key: self.alias_arn.clone(),
            context: context.clone(),
            max_age: Duration::from_secs(60),
            max_messages: 7,
            max_bytes: 16 << 20,
        };
        let access = access(Endpoints { kms: Some(self.moto.url().to_owned()), ..Endpoints::default() });
        let source = Arc::new(Kms::new(rules.kms_key.clone(), context.clone(), access));
        let (metrics, health) = (Metrics::default().flow("f"), Health::default().flow("f"));
        self.runtime.block_on(async {
            let mut keys = DataKeys::new(&rules, source, metrics, health, fastrand::Rng::with_seed(1));
            let mut messages = Vec::new();
            for line in lines {
                let mut message = Vec::new();
                keys.seal(line.as_bytes(), &mut message).await;
                messages.push(message);
            }
            messages
        })
    }

    /// What the example of a reader makes of what `source` names: what it prints, or what it complains of.
    fn decrypt(&self, kinesis: &Kinesis, source: &[&str], pairs: &[&str]) -> Result<String, String> {
        let mut command = reader(self.bin.join("python"));
        command.env("AWS_ENDPOINT_URL_KINESIS", kinesis.url()).env("AWS_ENDPOINT_URL_KMS", self.moto.url());
        command.arg(Path::new(FOLDER).join("decrypt.py")).args(source).arg(&self.key_arn).args(pairs);
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false if output.stdout.is_empty() => Err(String::from_utf8(output.stderr).unwrap()),
            false => panic!("it prints what it refuses"),
        }
    }
}

fn context(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The AWS Encryption SDK decrypts what was sealed with data keys of KMS, the longest record too; and nothing that was altered,
/// or is of elsewhere.
#[test]
fn the_aws_encryption_sdk_reads_encrypted_records() {
    let Some(bin) = environment_for("the_aws_encryption_sdk_reads_encrypted_records") else { return };
    let stage = KeyStage::new(bin);
    let kinesis = Kinesis::with_stream("s", 1);
    let mut sent = lines("a", 40);
    sent.push("ünïcödé and \u{1f980}".to_owned());
    sent.push(String::new());
    // As long as a record may be, in two frames.
    sent.push("x".repeat((1 << 20) - 4096));
    let pairs = context(&[("stream", "s"), ("app", "x"), ("ünïcödé", "\u{1f980}")]);
    let messages = stage.seal(&sent, &pairs);
    for message in &messages {
        kinesis.put("s", "k", message);
    }
    let received = stage.decrypt(&kinesis, &["s"], &["app=x", "ünïcödé=\u{1f980}"]).unwrap();
    assert!(received.lines().eq(&sent), "other lines than were sent");
    // One behind the other, as Firehose writes them.
    let object = tempfile::NamedTempFile::new().unwrap();
    fs::write(object.path(), messages.concat()).unwrap();
    let source = ["--file", object.path().to_str().unwrap()];
    assert!(stage.decrypt(&kinesis, &source, &["app=x"]).unwrap().lines().eq(&sent), "other lines than were sent");
    let refused = stage.decrypt(&kinesis, &["s"], &["app=y"]).unwrap_err();
    assert!(refused.contains("the encryption context has not app=y"), "{refused}");

    let [mut message] = <[Vec<u8>; 1]>::try_from(stage.seal(&["line".to_owned()], &Context::new())).unwrap();
    kinesis.create_stream("without-context", 1);
    kinesis.put("without-context", "k", &message);
    assert_eq!(stage.decrypt(&kinesis, &["without-context"], &[]).unwrap(), "line\n");
    *message.last_mut().unwrap() ^= 1;
    kinesis.create_stream("altered", 1);
    kinesis.put("altered", "k", &message);
    let refused = stage.decrypt(&kinesis, &["altered"], &[]).unwrap_err();
    assert!(refused.contains("InvalidTag"), "{refused}");
}

/// Ships lines that are joined and compressed, each record to a file of its own.
fn ship_compressed(sent: &[String], compress: &str) -> TempDir {
    let kinesis = ship(sent, 2, &format!("aggregate = \"lines\"\ncompress = \"{compress}\""));
    let folder = tempfile::tempdir().unwrap();
    let records = kinesis.read_all("s").into_iter().flat_map(|shard| shard.records);
    let record_count =
        records.enumerate().map(|(index, record)| fs::write(folder.path().join(index.to_string()), record.data).unwrap()).count();
    assert!(record_count > 1, "all lines are in one record");
    folder
}

/// What a program that prints what is in the files of a folder makes of them are the lines.
fn verify_decompressed(sent: &[String], folder: &TempDir, story: &str, program: &mut Command) {
    for record in fs::read_dir(folder.path()).unwrap() {
        program.arg(record.unwrap().path());
    }
    let output = match run(program) {
        Ok(output) => output,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("in CI this has to run: {why}"),
        Err(why) => return skipped(story, &why),
    };
    assert!(output.stdout.ends_with(b"\n"));
    let lines = String::from_utf8(output.stdout).unwrap();
    let received = lines.lines().map(|line| Received {
        partition_key: String::new(),
        data: line.as_bytes().to_vec(),
        shard_id: String::new(),
    });
    verify(sent, &received.collect::<Vec<_>>());
}

/// Python's `gzip` reads each record of a flow with `compress = "gzip"`, to exactly the lines written.
#[test]
fn python_reads_records_that_are_compressed_by_gzip() {
    let sent = lines("a", 5_000);
    let folder = ship_compressed(&sent, "gzip");
    let script = "import gzip, sys\nfor path in sys.argv[1:]: sys.stdout.buffer.write(gzip.open(path).read())";
    let mut python = Command::new("python3");
    verify_decompressed(&sent, &folder, "python_reads_records_that_are_compressed_by_gzip", python.args(["-c", script]));
}

/// `zstd` reads each record of a flow with `compress = "zstd"`, to exactly the lines written.
#[test]
fn zstd_reads_records_that_are_compressed_by_it() {
    let sent = lines("a", 5_000);
    let folder = ship_compressed(&sent, "zstd");
    let mut zstd = Command::new("zstd");
    verify_decompressed(&sent, &folder, "zstd_reads_records_that_are_compressed_by_it", zstd.args(["--decompress", "--stdout"]));
}
