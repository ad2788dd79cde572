//! From files to a stream: what is read, and what of it arrives.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use common::{Kinesis, Place, Received, line, lines, verify};
use kinetail::limits::{LINE_BYTES_MAX, MIB};

/// The stream "s", and a place whose logs go there by a flow with `settings`.
fn stage(settings: &str) -> (Kinesis, Place) {
    let kinesis = Kinesis::with_stream("s", 4);
    let place = Place::new();
    let flow = "[[flow]]\nname = \"f\"\nfiles = [\"LOGS/**/*.log\"]\n";
    let settings = settings.to_owned() + if settings.contains("[flow.kinesis]") { "" } else { "\n[flow.kinesis]" };
    place.configure(&kinesis, &format!("{flow}{settings}\nstream = \"s\"\n"));
    (kinesis, place)
}

fn texts(received: &[Received]) -> Vec<String> {
    let mut texts: Vec<String> = received.iter().map(Received::text).collect();
    texts.sort_unstable();
    texts
}

/// Every line of every file that a pattern matches, in whatever folder, arrives once, and as it was written.
#[test]
fn every_line_of_every_matching_file_arrives_once() {
    let (kinesis, place) = stage("");
    let mut sent = Vec::new();
    for name in ["a.log", "web/a.log", "web/deep/er/a.log", "web/deep/er/b.log"] {
        let lines = lines(name, 2_000);
        place.append(name, &lines);
        sent.extend(lines);
    }
    place.append("web/a.txt", &lines("not matched", 10));
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
    let record_count = kinesis.record_count("s");
    assert!(record_count < sent.len() / 50, "{record_count} Kinesis records for {} lines", sent.len());
}

/// Files that appear and folders that appear are found without a restart.
#[test]
fn files_that_appear_later_are_found() {
    let (kinesis, place) = stage("");
    let agent = place.run(&[]);
    agent.wait_health(200);
    let mut sent = Vec::new();
    for name in ["new.log", "folder/new.log", "folder/in/folder/new.log"] {
        let lines = lines(name, 100);
        place.append(name, &lines);
        sent.extend(lines);
        let byte_count = sent.iter().map(|line| line.len() + 1).sum();
        agent.wait_settled(byte_count);
    }
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// With `start_at = "end"` a file that was there before the agent counts from its end, one that appears later
/// from its beginning.
#[test]
fn start_at_end_skips_what_was_there_before() {
    let (kinesis, place) = stage("start_at = \"end\"");
    place.append("old.log", &lines("before", 100));
    let agent = place.run(&[]);
    common::wait_until("the old file is open", || agent.figures().sum("kinetail_open_files") == 1);
    let (appended, new) = (lines("appended", 50), lines("new", 50));
    place.append("old.log", &appended);
    place.append("new.log", &new);
    let sent = [appended, new].concat();
    agent.wait_settled(sent.iter().map(|line| line.len() + 1).sum());
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// With `start_at = "end"` only what is there at the very first start is skipped: a file that has appeared while the
/// agent was down is new.
#[test]
fn start_at_end_is_for_the_first_start_only() {
    let (kinesis, place) = stage("start_at = \"end\"");
    let agent = place.run(&[]);
    agent.wait_health(200);
    agent.stop();
    let new = lines("new", 50);
    place.append("new.log", &new);
    let agent = place.run(&[]);
    agent.wait_settled(new.iter().map(|line| line.len() + 1).sum());
    agent.stop();
    verify(&new, &kinesis.received("s"));
}

/// A last line without a newline waits for the rest of it; `--once` sends it as it is.
#[test]
fn an_unfinished_last_line_waits_except_with_once() {
    let (kinesis, place) = stage("");
    place.append_bytes("a.log", b"whole\nunfin");
    let agent = place.run(&[]);
    agent.wait_settled("whole\n".len());
    place.append_bytes("a.log", b"ished\nand mo");
    agent.wait_settled("whole\nunfinished\n".len());
    agent.stop();
    assert_eq!(texts(&kinesis.received("s")), ["unfinished", "whole"]);

    place.append_bytes("a.log", b"re");
    place.ship_once();
    assert_eq!(texts(&kinesis.received("s")), ["and more", "unfinished", "whole"]);
}

/// With `aggregate = "none"` each line is a Kinesis record, which a plain reader understands.
#[test]
fn without_aggregation_each_line_is_a_record() {
    let (kinesis, place) = stage("[flow.kinesis]\naggregate = \"none\"");
    // More than fit one request.
    let sent = lines("a", 1_200);
    place.append("a.log", &sent);
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
    assert_eq!(kinesis.record_count("s"), sent.len());
}

/// Empty lines are records too, and a CR is part of the line unless `strip_cr` says otherwise.
#[test]
fn empty_lines_and_carriage_returns() {
    for (settings, expected) in [("", ["", "\r", "a\r"]), ("[flow.line]\nstrip_cr = true", ["", "", "a"])] {
        let (kinesis, place) = stage(settings);
        place.append_bytes("a.log", b"\n\r\na\r\n");
        place.ship_once();
        assert_eq!(texts(&kinesis.received("s")), expected, "{settings}");
    }
}

/// Ships a line of 3 MiB between two others. Returns what arrived between the two, and the bytes dropped.
fn ship_long_line(too_long: &str) -> (String, Vec<Received>, usize) {
    let (kinesis, place) = stage(&format!("[flow.line]\ntoo_long = \"{too_long}\"\n[flow.kinesis]\naggregate = \"none\""));
    let neighbours = lines("neighbour", 2);
    let long = line("long", 0, 3 * MIB);
    place.append("a.log", &[neighbours[0].clone(), long.clone(), neighbours[1].clone()]);
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    let (near, between): (Vec<_>, Vec<_>) =
        kinesis.received("s").into_iter().partition(|record| neighbours.iter().any(|line| line.as_bytes() == record.data));
    verify(&neighbours, &near);
    let dropped = figures.sum_where("kinetail_dropped_bytes_total", "reason=\"too_long\"");
    assert_eq!(dropped, figures.sum("kinetail_dropped_bytes_total"));
    (long, between, dropped)
}

/// A line that no record can hold is cut (`truncate`), and what is cut off is counted.
#[test]
fn a_line_too_long_is_truncated() {
    let (long, between, dropped) = ship_long_line("truncate");
    assert_eq!(between.len(), 1);
    assert!(between[0].data == long.as_bytes()[..LINE_BYTES_MAX], "not the beginning of the line");
    assert_eq!(dropped, long.len() + "\n".len() - LINE_BYTES_MAX);
}

/// A line that no record can hold is sent in pieces (`split`), of which none is missing.
#[test]
fn a_line_too_long_is_split() {
    let (long, between, dropped) = ship_long_line("split");
    let mut missing: Vec<&[u8]> = long.as_bytes().chunks(LINE_BYTES_MAX).collect();
    for piece in &between {
        let index = missing.iter().position(|expected| *expected == piece.data).expect("a piece that is none");
        missing.remove(index);
    }
    assert!(missing.is_empty(), "{} pieces are missing", missing.len());
    assert_eq!(dropped, 0);
}

/// A line that no record can hold is dropped whole (`drop`), and counted.
#[test]
fn a_line_too_long_is_dropped() {
    let (long, between, dropped) = ship_long_line("drop");
    assert!(between.is_empty());
    assert_eq!(dropped, long.len() + "\n".len());
}

/// A line of 100 MiB takes no more memory than any other.
#[test]
fn a_line_of_100_mib_does_not_fill_the_memory() {
    let (kinesis, place) = stage("");
    let neighbours = lines("neighbour", 2);
    place.append("a.log", &neighbours[..1]);
    place.append_bytes("a.log", &[vec![b'x'; 100 * MIB], b"\n".to_vec()].concat());
    place.append("a.log", &neighbours[1..]);
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    let peak = agent.peak_memory();
    agent.stop();
    let (long, near): (Vec<_>, Vec<_>) = kinesis.received("s").into_iter().partition(|record| record.data.len() > MIB / 2);
    verify(&neighbours, &near);
    assert_eq!(long.iter().map(|record| record.data.len()).collect::<Vec<_>>(), [LINE_BYTES_MAX]);
    let dropped = figures.sum_where("kinetail_dropped_bytes_total", "reason=\"too_long\"");
    assert_eq!(dropped, 100 * MIB + "\n".len() - LINE_BYTES_MAX);
    assert!(peak < 64 * MIB, "{peak} bytes of memory");
}

const PARSE: &str = r#"
[flow.parse]
regex = '^(?<path>\S+) (?<status>\d+|-) (?<took>\S+) (?<ok>\S+)$'
types = { status = "integer", took = "float", ok = "boolean" }
"#;

/// A pattern with named groups makes a line a JSON object, its fields typed as `types` says; a value that does
/// not fit its type stays text and is counted.
#[test]
fn a_pattern_makes_typed_json() {
    let (kinesis, place) = stage(PARSE);
    place.append_bytes("a.log", b"/a\"b\\c 200 0.25 true\r\n/\xc3\xa9 - 1 FALSE\n");
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    let expected =
        [r#"{"path":"/a\"b\\c","status":200,"took":0.25,"ok":true}"#, r#"{"path":"/é","status":"-","took":1.0,"ok":false}"#];
    assert_eq!(texts(&kinesis.received("s")), expected);
    assert_eq!(figures.sum("kinetail_type_mismatches_total"), 1);
    assert_eq!(figures.sum("kinetail_mismatched_lines_total"), 0);
}

/// A line that the pattern does not match is sent as it is, dropped, or wrapped, and counted in any case.
#[test]
fn a_line_that_does_not_match() {
    for (on_mismatch, expected, dropped) in [
        ("send_raw", Some("what is this?"), 0),
        ("drop", None, "what is this?\n".len()),
        ("wrap", Some(r#"{"message":"what is this?","#), 0),
    ] {
        let (kinesis, place) = stage(&format!("{PARSE}on_mismatch = \"{on_mismatch}\"\n"));
        place.append_bytes("a.log", b"what is this?\n/ 200 0.5 true\n");
        let agent = place.run(&[]);
        let figures = agent.wait_settled(place.byte_count("a.log"));
        agent.stop();
        let texts = texts(&kinesis.received("s"));
        let others: Vec<&String> = texts.iter().filter(|text| !text.contains("\"status\":200")).collect();
        assert_eq!(texts.len() - others.len(), 1, "{on_mismatch}");
        assert_eq!(others.len(), usize::from(expected.is_some()), "{on_mismatch}");
        assert!(others.iter().all(|text| text.starts_with(expected.unwrap())), "{on_mismatch}: {others:?}");
        assert_eq!(figures.sum("kinetail_mismatched_lines_total"), 1, "{on_mismatch}");
        let mismatched = figures.sum_where("kinetail_dropped_bytes_total", "reason=\"mismatch\"");
        assert_eq!(mismatched, dropped, "{on_mismatch}");
    }
}

/// A line that is short enough, but whose JSON no record can hold, is dropped and counted, and the flow goes on.
///
/// Regression: it was sent all the same, so that the service refused its request, and the flow with it, for good.
#[test]
fn json_too_large_for_a_record_is_dropped() {
    for (on_mismatch, begin) in [("send_raw", b"".as_slice()), ("wrap", b"/")] {
        let (kinesis, place) = stage(&format!("[flow.parse]\nregex = '^(?<text>[^/]*)$'\non_mismatch = \"{on_mismatch}\"\n"));
        // Each of these takes six characters in JSON.
        let control_characters = vec![1; LINE_BYTES_MAX / 5];
        let large = [begin, &control_characters, b"\n"].concat();
        place.append_bytes("a.log", &[large.as_slice(), b"small\n"].concat());
        let agent = place.run(&[]);
        let figures = agent.wait_settled(place.byte_count("a.log"));
        agent.stop();
        assert_eq!(texts(&kinesis.received("s")), [r#"{"text":"small"}"#], "{on_mismatch}");
        let dropped = figures.sum_where("kinetail_dropped_bytes_total", "reason=\"record_too_large\"");
        assert_eq!(dropped, large.len(), "{on_mismatch}");
    }
}

/// Lines with the same partition key go to the same shard, aggregated or not, and keep their key.
#[test]
fn a_field_can_be_the_partition_key() {
    for aggregate in ["kpl", "none"] {
        let kinesis = format!("[flow.kinesis]\naggregate = \"{aggregate}\"\npartition_key = \"${{path}}\"");
        let (kinesis, place) = stage(&(PARSE.to_owned() + &kinesis));
        let sent: Vec<String> = (0..600).map(|number| format!("/{} {number} 1 true", number % 20)).collect();
        place.append("a.log", &sent);
        place.ship_once();
        let received = kinesis.received("s");
        assert_eq!(received.len(), sent.len(), "{aggregate}");
        for record in &received {
            let start = format!("{{\"path\":\"{}\",", record.partition_key);
            assert!(record.text().starts_with(&start), "{aggregate}: {:?} of {}", record.partition_key, record.text());
            let first = received.iter().find(|other| other.partition_key == record.partition_key).unwrap();
            assert_eq!(first.shard_id, record.shard_id, "{aggregate}: {}", record.partition_key);
        }
        assert!(received.iter().any(|record| record.shard_id != received[0].shard_id), "{aggregate}: all in one shard");
    }
}

/// With `partition_key = "file"` the lines of a file stay together, under its path.
#[test]
fn the_file_can_be_the_partition_key() {
    let (kinesis, place) = stage("[flow.kinesis]\npartition_key = \"file\"");
    for name in ["a.log", "b.log"] {
        place.append(name, &lines(name, 10));
    }
    place.ship_once();
    let received = kinesis.received("s");
    assert_eq!(received.len(), 20);
    for record in received {
        let name = record.text().split('#').next().unwrap().to_owned();
        assert_eq!(record.partition_key, place.log(&name).to_str().unwrap());
    }
}

/// Ships a file in `encoding` in two runs: its header of so many bytes and the first line, then the second line.
fn ship_encoded(encoding: &str, header_byte_count: usize, first: &[u8], second: &[u8], expected: [&str; 2]) {
    let settings = format!("[flow.line]\nencoding = \"{encoding}\"\nskip_header_lines = 1\nstrip_cr = true\n");
    let (kinesis, place) = stage(&settings);
    place.append_bytes("a.log", first);
    let agent = place.run(&[]);
    let figures = agent.wait_settled(first.len());
    assert_eq!(figures.sum_where("kinetail_dropped_bytes_total", "reason=\"header\""), header_byte_count, "{encoding}");
    agent.stop();
    assert_eq!(texts(&kinesis.received("s")), expected[..1], "{encoding}");

    place.append_bytes("a.log", second);
    let agent = place.run(&[]);
    let figures = agent.wait_settled(second.len());
    agent.stop();
    assert_eq!(figures.sum("kinetail_delivered_bytes_total"), second.len(), "{encoding}");
    let mut received = texts(&kinesis.received("s"));
    received.sort_unstable_by_key(|text| expected.iter().position(|line| line == text));
    assert_eq!(received, expected, "{encoding}");
}

/// Files in other encodings arrive as UTF-8, and what is settled is bytes of the file: a restart goes on where it was.
#[test]
fn files_in_other_encodings_arrive_as_utf_8() {
    let (first, second) = (b"\x96\xbc\x91\x4f\r\n\x93\xfa\x96\x7b\r\n", b"\xb1\x83\x5c\r\n");
    ship_encoded("shift_jis", 6, first, second, ["日本", "ｱソ"]);
    ship_encoded("euc-kr", 6, b"\xc0\xcc\xb8\xa7\r\n\xc7\xd1\xb1\xb9\r\n", b"\xb0\xa1\r\n", ["한국", "가"]);
    let [first, second] = ["\u{feff}名前,値\r\n日本,1\r\n", "🦀,2\r\n"].map(|text| text.encode_utf16().collect::<Vec<_>>());
    let bytes = |text: &[u16], of: fn(u16) -> [u8; 2]| text.iter().copied().flat_map(of).collect::<Vec<u8>>();
    for (encoding, of) in [("utf-16le", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("utf-16", u16::to_be_bytes)] {
        ship_encoded(encoding, 14, &bytes(&first, of), &bytes(&second, of), ["日本,1", "🦀,2"]);
    }
}

/// What is malformed in the file's encoding becomes U+FFFD; such lines are counted, and told of once.
#[test]
fn malformed_characters_are_replaced_and_counted() {
    let (kinesis, place) = stage("[flow.line]\nencoding = \"shift_jis\"\n");
    place.append_bytes("a.log", b"\xfd\nfine\n\x93\n");
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    let log = agent.stop().stderr;
    assert_eq!(texts(&kinesis.received("s")), ["fine", "\u{fffd}", "\u{fffd}"]);
    assert_eq!(figures.sum("kinetail_replaced_characters_lines_total"), 2);
    assert_eq!(log.matches("malformed").count(), 1, "{log}");
}
