//! `kinetail preview`: what it shows is what is sent, from where reading would start, and it changes nothing.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use common::{Ended, Kinesis, Place, Received, lines};

/// The stream "s", and a place whose logs go there, or to Firehose, by a flow with `settings`.
fn stage(settings: &str) -> (Kinesis, Place) {
    let kinesis = Kinesis::with_stream("s", 4);
    let place = Place::new();
    let settings = match settings {
        _ if settings.contains("[flow.firehose]") => settings.to_owned(),
        _ if settings.contains("[flow.kinesis]") => format!("{settings}\nstream = \"s\""),
        _ => format!("{settings}\n[flow.kinesis]\nstream = \"s\""),
    };
    place.configure(&kinesis, &format!("[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n{settings}\n"));
    (kinesis, place)
}

/// What the command says with these arguments.
fn preview(place: &Place, arguments: &[&str]) -> Ended {
    let config = place.config();
    let arguments = [&["preview", "--config", config.to_str().unwrap()], arguments].concat();
    place.start(&mut place.command(&arguments)).wait()
}

/// What it shows of lines, and the counts.
fn preview_json(place: &Place, arguments: &[&str]) -> (Vec<Value>, Value) {
    let ended = preview(place, &[&["--json"], arguments].concat()).well();
    let mut shown: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = shown.pop().unwrap();
    (shown, last["counts"].clone())
}

fn records(shown: &[Value]) -> Vec<&str> {
    shown.iter().filter_map(|line| line["record"].as_str()).collect()
}

/// Every file and folder in a folder, with what is in it and when it was changed last.
fn snapshot(folder: &Path) -> Vec<(PathBuf, SystemTime, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        all.push((folder.clone(), fs::metadata(&folder).unwrap().modified().unwrap(), Vec::new()));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push((path.clone(), fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

const PARSE: &str = r#"
[flow.line]
skip_header_lines = 1
max_bytes = "200 B"
[flow.parse]
regex = '^(?<user>\S*) (?<status>\S+) (?<text>.*)$'
types = { status = "integer" }
[flow.filter]
drop = [{ field = "text", matches = "noise" }]
[flow.record]
add = { "meta.file" = "${file.name}", offset = "${file.offset}" }
mask = [{ preset = "email" }]
[flow.kinesis]
partition_key = "${user}"
"#;

/// Records, keys, and what is dropped are those of the agent, to the byte.
#[test]
fn what_is_shown_is_what_is_sent() {
    let (kinesis, place) = stage(PARSE);
    let texts: [&[u8]; 7] = [
        b"a 1 mail to x@example.com\n",
        b"b x text\n",
        b"? \n",
        b" 2 no key\n",
        b"a 3 noise\n",
        b"\xffb 4 \xe9\r\n",
        b"mismatch \xff\n",
    ];
    for name in ["a.log", "b.log"] {
        place.append_bytes(name, b"header\n");
        place.append_bytes(name, &texts.concat());
        place.append_bytes(name, &[b"c 5 ".as_slice(), &[b'x'; 300], b"\nd 6 unfinished"].concat());
    }
    let (shown, counts) = preview_json(&place, &["--lines", "all"]);
    let agent = place.run(&["--once"]);
    agent.wait().well();

    let mut expected: Vec<(Vec<u8>, Option<&str>)> = Vec::new();
    for line in shown.iter().filter(|line| line["outcome"] == "sent") {
        let base64 = || BASE64.decode(line["record_base64"].as_str().unwrap()).unwrap();
        expected
            .push((line["record"].as_str().map_or_else(base64, |text| text.as_bytes().to_vec()), line["partition_key"].as_str()));
    }
    expected.sort_unstable();
    let received = kinesis.received("s");
    let keys = ["a", "b", "c", "d", "\u{fffd}b"];
    let mut sent: Vec<(Vec<u8>, Option<&str>)> = (received.iter())
        .map(|record| (record.data.clone(), keys.into_iter().find(|key| *key == record.partition_key)))
        .collect();
    sent.sort_unstable();
    assert_eq!(expected, sent);
    assert_eq!(sent.len(), 16);

    let total = &counts["total"];
    let read: u64 = shown.iter().map(|line| line["read_bytes"].as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(read).unwrap(), place.byte_count("a.log") + place.byte_count("b.log"));
    for (name, expected) in [
        ("read_bytes", read),
        ("read_lines", 18),
        ("matched_lines", 12),
        ("mismatched_lines", 4),
        ("user_records", 16),
        ("user_record_bytes", sent.iter().map(|(data, _)| data.len() as u64).sum()),
        ("type_mismatches", 2),
        ("replaced_characters_lines", 2),
        ("partition_key_missing_lines", 6),
        ("masked_places", 2),
    ] {
        assert_eq!(total[name], expected, "{name}");
    }
    assert_eq!(total["dropped_bytes"], serde_json::json!({ "header": 14, "filtered": 20, "too_long": 2 * 105 }));
    assert_eq!(&counts["flows"]["f"], total);
    let unfit = shown.iter().find(|line| line["type_mismatches"] == 1).unwrap();
    assert_eq!(unfit["unfit_fields"], serde_json::json!(["status"]));
}

/// So are those of tables whose columns the first line of each file names.
#[test]
fn columns_are_those_of_the_header() {
    let (kinesis, place) = stage("[flow.line]\nskip_header_lines = 1\n[flow.parse]\nformat = \"csv\"\nheader = true\n");
    place.append_bytes("a.log", b"x,y\n1,2\n3,4\n");
    let (shown, _) = preview_json(&place, &["--lines", "all"]);
    place.ship_once();
    let mut sent: Vec<String> = kinesis.received("s").iter().map(Received::text).collect();
    sent.sort_unstable();
    assert_eq!(records(&shown), sent);
    assert_eq!(sent, [r#"{"x":"1","y":"2"}"#, r#"{"x":"3","y":"4"}"#]);
}

/// Lines on their way to Firehose have no key, and end as they are sent.
#[test]
fn lines_for_firehose_are_shown() {
    let (_kinesis, place) = stage("[flow.firehose]\ndelivery_stream = \"d\"\ncompress = \"gzip\"\n");
    place.append("a.log", &lines("a", 3));
    let (shown, counts) = preview_json(&place, &[]);
    let expected: Vec<String> = lines("a", 3).iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(records(&shown), expected);
    assert!(shown.iter().all(|line| line["partition_key"].is_null()), "{shown:?}");
    assert_eq!(counts["total"]["user_records"], 3);
    let ended = preview(&place, &[]).well();
    let heading = "f to delivery stream d\nrecords are joined, each joined one is compressed (gzip) on its way\n\n";
    assert!(ended.stdout.starts_with(heading) && !ended.stdout.contains("key="), "{}", ended.stdout);
}

/// Before the first start all is shown from the beginning, and no state folder is made.
#[test]
fn before_the_first_start() {
    let (_kinesis, place) = stage("");
    place.append("a.log", &lines("a", 30));
    let ended = preview(&place, &[]).well();
    assert!(ended.stderr.contains("as at a first start"), "{}", ended.stderr);
    assert!(ended.stdout.contains(&lines("a", 10)[9]) && ended.stdout.contains("the first 10"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\x1b'), "colours where there is no terminal");
    assert!(!place.state().exists());
}

/// After a run what comes next is shown, and when that is nothing the newest lines; the state folder stays as it is.
#[test]
fn after_a_run() {
    let (_kinesis, place) = stage("");
    let all = lines("a", 50);
    place.append("a.log", &all[..40]);
    place.ship_once();
    let before = snapshot(&place.state());
    let (shown, _) = preview_json(&place, &["--lines", "3"]);
    assert_eq!(records(&shown), &all[37..40], "the newest");

    place.append("b.log", &all[..2]);
    place.append("a.log", &all[40..]);
    let ended = preview(&place, &["--json"]).well();
    assert_eq!(ended.stderr, "");
    let (shown, counts) = preview_json(&place, &["--lines", "all"]);
    let mut shown = records(&shown);
    shown.sort_by_key(|record| all.iter().position(|line| line == record));
    let mut expected: Vec<&String> = all[..2].iter().chain(&all[40..]).collect();
    expected.sort_by_key(|record| all.iter().position(|line| line == *record));
    assert_eq!(shown, expected);
    assert_eq!(counts["total"]["read_lines"], 12);
    assert_eq!(snapshot(&place.state()), before);
}

/// With `start_at = "end"` nothing would be read at a first start; shown are the newest lines of the newest file.
#[test]
fn the_newest_records_are_shown_where_reading_would_start_at_the_end() {
    let (_kinesis, place) = stage("start_at = \"end\"\n[flow.multiline]\npreset = \"indented\"\n");
    place.append("a.log", &lines("a", 30));
    File::open(place.log("a.log")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let records_of = |count: usize| (0..count).map(|number| format!("record {number}\n  of two lines"));
    let all: Vec<String> = records_of(1_000).collect();
    place.append("b.log", &all);
    let (shown, _) = preview_json(&place, &["--lines", "5"]);
    assert_eq!(records(&shown), &all[995..]);
    let (shown, _) = preview_json(&place, &["--lines", "all"]);
    assert_eq!(records(&shown), all);
}

/// A running agent is not disturbed, and the newest lines are shown.
#[test]
fn while_an_agent_runs() {
    let (_kinesis, place) = stage("");
    let all = lines("a", 30);
    place.append("a.log", &all[..20]);
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    let ended = preview(&place, &["--json", "--lines", "2"]).well();
    assert!(ended.stderr.contains("an agent is running"), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 3);
    assert!(ended.stdout.contains(&all[19]), "{}", ended.stdout);
    place.append("a.log", &all[20..]);
    agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
}

/// A state folder that cannot be read is no reason to show nothing.
#[test]
fn without_a_state_folder_that_can_be_read() {
    let (_kinesis, place) = stage("");
    place.append("a.log", &lines("a", 3));
    // Also for root, for whom no folder is closed.
    fs::write(place.state(), "no folder").unwrap();
    let ended = preview(&place, &[]).well();
    assert!(ended.stderr.contains("cannot read the offsets"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stdout.contains(&lines("a", 3)[2]), "{}", ended.stdout);
}

/// However large a file is, a few lines of it cost nothing.
#[test]
fn it_ends_with_the_lines_that_were_asked_for() {
    let (_kinesis, place) = stage("");
    place.append("a.log", &lines("a", 20_000));
    File::options().write(true).open(place.log("a.log")).unwrap().set_len(1 << 40).unwrap();
    let (shown, counts) = preview_json(&place, &["--lines", "7"]);
    assert_eq!(shown.len(), 7);
    assert_eq!(counts["total"]["read_lines"], 7);
}

/// A reader that has seen enough ends it without a word.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (_kinesis, place) = stage("");
    place.append("a.log", &lines("a", 20_000));
    place.ship_once();
    place.append("a.log", &lines("b", 20_000));
    let config = place.config();
    let mut command = place.command(&["preview", "--config", config.to_str().unwrap(), "--lines", "all"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}

/// A pattern that matches nothing is told with the first line that it does not match, and flows can be chosen.
#[test]
fn a_pattern_that_matches_nothing_is_told() {
    let (_kinesis, place) = stage("[flow.parse]\nregex = '^(?<a>never)$'\n");
    place.append_bytes("a.log", b"this line\n\x1b[2Jother\n");
    let ended = preview(&place, &["--flow", "f"]).well();
    assert!(ended.stderr.contains("no line matched") && ended.stderr.contains("a.log:0  this line\n"), "{}", ended.stderr);
    assert!(ended.stdout.contains("no match: sent as it is") && !ended.stdout.contains('\x1b'), "{}", ended.stdout);

    let ended = preview(&place, &["--flow", "g"]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("no flow is called `g`; did you mean `f`?"), "{}", ended.stderr);
    fs::write(place.config(), "[agnet]\n").unwrap();
    assert_eq!(preview(&place, &[]).code, Some(78));
}
