//! Readers that this project did not write understand what is in the stream: boto3 with aws-kinesis-agg, and
//! the AWS command line.
//!
//! They are installed from the Python package index into an environment below the target folder, once. Where there is no Python or
//! no network these stories are skipped, which is said; not so in CI.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tempfile::TempDir;

use common::{Kinesis, Place, Received, lines, skipped, verify};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// The `bin` folder of an environment with the packages of `requirements.txt`, or why there is none.
fn environment() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let environment = target.join("interop-venv");
    // Stories run side by side; the first one installs.
    let lock = File::create(target.join("interop-venv.lock")).unwrap();
    lock.lock().unwrap();
    let bin = environment.join("bin");
    // Copied last, so it is there only if all went well.
    let installed = environment.join("requirements.txt");
    let wanted = fs::read(Path::new(FOLDER).join("requirements.txt")).unwrap();
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(bin);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut pip = Command::new(bin.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"]);
    run(pip.current_dir(FOLDER))?;
    fs::write(installed, wanted).unwrap();
    Ok(bin)
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// As [`environment`]; where there is none, `story` is skipped, but not in CI.
fn environment_for(story: &str) -> Option<PathBuf> {
    match environment() {
        Ok(bin) => Some(bin),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("in CI this has to run: {why}"),
        Err(why) => {
            skipped(story, &why);
            None
        }
    }
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
