use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::listing::{Listing, per_cent};
use super::*;
use crate::offsets::{Content, Fingerprint, Identity, Mark, Place, Row, RunKey, Sending};
use crate::span::FileKey;

fn row(path: &str, watermark: u64, settled_above: &[(u64, u64)], byte_count: u64) -> Row {
    let identity = Identity {
        place: Some(Place { device: u64::MAX, inode: 7, created: Some(1_795_226_130_000_000_000) }),
        fingerprint: Fingerprint { byte_count: 100, hash: u64::MAX },
        mark: Mark { end: watermark, byte_count: u32::try_from(watermark.min(256)).unwrap(), hash: watermark },
        byte_count,
        is_superseded: false,
    };
    let settled_above = settled_above.to_vec();
    Row { flow: "access".to_owned(), path: path.to_owned(), identity, gone_at: None, watermark, settled_above }
}

fn sending() -> (RunKey, Sending) {
    let sending = Sending {
        stream: Some("logs".to_owned()),
        marked_at_ms: 1_795_226_130_500,
        in_flight_since_ms: Some(1_795_226_129_000),
        in_flight_record_count: 12,
        sent_record_count: 40,
    };
    (RunKey { run_id: 0xabc, flow: "access".to_owned() }, sending)
}

fn content() -> Content {
    Content {
        rows: vec![
            (FileKey(2), row("/nowhere/b.log", 100, &[(200, 300)], 1000)),
            (FileKey(1), Row { gone_at: Some(1_795_226_130), ..row("/nowhere/a\u{1b}[2J\u{9b}.log", 50, &[], 60) }),
        ],
        started_flows: ["access".to_owned(), "empty".to_owned()].into(),
        sendings: vec![sending()],
    }
}

#[test]
fn the_document_is_read_back_and_written_the_same() {
    let document = document::of(&content());
    assert!(!document.contains(|character: char| character.is_control() && character != '\n'), "{document}");
    let read = mistakes::read(document.as_bytes()).unwrap();
    assert_eq!(document::of(&read), document);
    assert_eq!(read.sendings, content().sendings);
    assert_eq!(read.rows, [content().rows[1].clone(), content().rows[0].clone()]);
    let empty = document::of(&Content::default());
    assert_eq!(mistakes::read(empty.as_bytes()).unwrap(), Content::default());
}

/// Each mistake that is made in a good document is told with its place, and no other.
#[test]
fn every_mistake_is_told_with_its_place() {
    for (written, instead, mistake) in [
        (
            r#""kinetail_offsets":1"#,
            r#""kinetail_offsets":2"#,
            "kinetail_offsets: this kinetail reads version 1; use the kinetail",
        ),
        (r#""kinetail_offsets":1"#, r#""offsets":1"#, "this is not a document of `kinetail offsets export`"),
        (
            r#""started_flows":["access","empty"]"#,
            r#""started_flows":["empty","empty"]"#,
            "started_flows[1]: is the same as started_flows[0]",
        ),
        (r#""started_flows":["access","empty"]"#, r#""started_flows":[""]"#, "started_flows[0]: must not be empty"),
        (r#""started_flows":["access","empty"]"#, r#""started_flows":{}"#, "started_flows: must be a list, not an object"),
        (r#""started_flows":["access","empty"],"#, "", "`started_flows` is missing"),
        (r#""key":"0000000000000002""#, r#""key":"0000000000000001""#, "files[1]: is the same as files[0]"),
        (r#""key":"0000000000000002""#, r#""key":"2""#, "files[1].key: must be 16 hexadecimal digits"),
        (r#""key":"0000000000000002""#, r#""key":"+000000000000002""#, "files[1].key: must be 16 hexadecimal digits"),
        (r#""key":"0000000000000002""#, r#""key":2"#, "files[1].key: must be a string, not a number"),
        (r#""path":"/nowhere/b.log""#, r#""path":"b.log""#, "files[1].path: must be an absolute path"),
        (r#""path":"/nowhere/b.log""#, r#""pth":"/nowhere/b.log""#, "files[1]: `pth` is not known; did you mean `path`?"),
        (
            r#""watermark":100"#,
            r#""watermark":-1"#,
            "files[1].watermark: must be a whole number from 0 to 9223372036854775807, not -1",
        ),
        (r#""watermark":100"#, r#""watermark":1e3"#, "files[1].watermark: must be a whole number from 0 to"),
        (r#""watermark":100"#, r#""watermark":9223372036854775808"#, "files[1].watermark: must be a whole number from 0 to"),
        (r#""watermark":100"#, r#""watermark":null"#, "files[1].watermark: must be a number, not null"),
        (r#""watermark":100"#, r#""watermark":250"#, "files[1].settled_above[0]: begins at 200, where all is settled up to 250"),
        ("[[200,300]]", "[[300,300]]", "files[1].settled_above[0]: ends at 300, and begins at 300"),
        ("[[200,300]]", "[[200,300],[299,400]]", "files[1].settled_above[1]: begins at 299, where all is settled up to 300"),
        ("[[200,300]]", "[[200]]", "files[1].settled_above[0]: must be [start, end]"),
        ("[[200,300]]", "7", "files[1].settled_above: must be a list, not a number"),
        (r#""end":100"#, r#""end":1001"#, "files[1].mark.end: is behind all that was seen of the file"),
        (r#""end":100"#, r#""end":99"#, "files[1].mark.byte_count: there are only 99 bytes before `end`"),
        (
            r#"{"byte_count":100,"end":100"#,
            r#"{"byte_count":257,"end":500"#,
            "files[1].mark.byte_count: must be a whole number from 0 to 256",
        ),
        (r#""hash":"0000000000000064""#, r#""hash":"xx""#, "files[1].mark.hash: must be 16 hexadecimal digits"),
        (
            r#""gone_at":1795226130"#,
            r#""gone_at":18446744073709551615"#,
            "files[0].gone_at: must be a whole number from 0 to 253402300799",
        ),
        (r#""is_superseded":false"#, r#""is_superseded":0"#, "files[0].is_superseded: must be true or false, not a number"),
        (r#""inode":"7""#, r#""inode":"-7""#, "files[0].place.inode: must be a whole number of 64 bits, in quotes"),
        (r#""inode":"7""#, r#""inode":7"#, "files[0].place.inode: must be a string, not a number"),
        (
            r#""device":"18446744073709551615""#,
            r#""device":"18446744073709551616""#,
            "files[0].place.device: must be a whole number",
        ),
        (r#""sendings":["#, r#""sendings":[null,"#, "sendings[0]: must be an object, not null"),
        (r#""stream":"logs""#, r#""stream":7"#, "sendings[0].stream: must be a string, not a number"),
        (r#""marked_at_ms":1795226130500"#, r#""marked_at_ms":-1"#, "sendings[0].marked_at_ms: must be a whole number"),
    ] {
        let document = document::of(&content());
        assert!(document.contains(written), "{written} is not in {document}");
        let mistakes = mistakes::read(document.replacen(written, instead, 1).as_bytes()).unwrap_err();
        assert!(mistakes[0].starts_with(mistake), "{instead}: {mistakes:?}");
        let is_renamed = instead.contains("pth");
        assert_eq!(mistakes.len(), 1 + usize::from(is_renamed), "{instead}: {mistakes:?}");
    }
    let two = document::of(&content()).replace(r#""gone_at":null"#, r#""gone_at":"x""#).replace(r#""logs""#, "[]");
    assert_eq!(mistakes::read(two.as_bytes()).unwrap_err().len(), 2);
}

#[test]
fn what_is_no_document_is_told() {
    for (document, mistake) in [
        (&b""[..], "no JSON: EOF while parsing a value at line 1 column 0"),
        (b"\xff", "no JSON: "),
        (b"{\"kinetail_offsets\":1,\n\"files\":[}", "no JSON: expected value at line 2 column 10"),
        (b"[1]", "this is not a document"),
        (b"7", "this is not a document"),
        (b"{}", "this is not a document"),
        ("[".repeat(100_000).as_bytes(), "no JSON: recursion limit"),
    ] {
        let mistakes = mistakes::read(document).unwrap_err();
        assert!(mistakes[0].starts_with(mistake), "{mistakes:?}");
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let ranges = proptest::collection::vec((1u64..1000, 1u64..1000), 0..5);
    let place = proptest::option::of((any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>())));
    (
        ".{1,8}",
        ".{0,20}",
        place,
        (0u32..=1024, any::<u64>()),
        0u64..1 << 60,
        ranges,
        proptest::option::of(0u64..1 << 37),
        any::<bool>(),
    )
        .prop_map(|(flow, name, place, (byte_count, hash), watermark, ranges, gone_at, is_superseded)| {
            let mut settled_above = Vec::new();
            let mut end = watermark;
            for (gap, length) in ranges {
                settled_above.push((end + gap, end + gap + length));
                end += gap + length;
            }
            let mark =
                Mark { end: watermark, byte_count: byte_count.min(256).min(u32::try_from(watermark).unwrap_or(256)), hash: 0 };
            Row {
                flow,
                path: format!("/{name}"),
                identity: Identity {
                    place: place.map(|(device, inode, created)| Place { device, inode, created }),
                    fingerprint: Fingerprint { byte_count, hash: if byte_count == 0 { 0 } else { hash } },
                    mark,
                    byte_count: end,
                    is_superseded,
                },
                gone_at,
                watermark,
                settled_above,
            }
        })
}

proptest! {
    #[test]
    fn whatever_a_store_holds_is_read_back(rows in proptest::collection::btree_map(any::<u64>(), any_row(), 0..5)) {
        let rows: Vec<(FileKey, Row)> = rows.into_iter().map(|(key, row)| (FileKey(key), row)).collect();
        let started_flows = rows.iter().map(|(_, row)| row.flow.clone()).collect();
        let content = Content { rows, started_flows, sendings: vec![sending()] };
        let mut read = mistakes::read(document::of(&content).as_bytes()).unwrap();
        read.rows.sort_by_key(|(key, _)| *key);
        prop_assert_eq!(read, content);
    }

    /// Never a panic, and what is taken is a document again.
    #[test]
    fn whatever_becomes_of_a_document_it_is_taken_or_told(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..3), 1..6)) {
        let mut document = document::of(&content()).into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(document.len());
            match kind {
                0 => document[at] = byte,
                1 => document.insert(at, b"0123456789-[]{},\":e"[usize::from(byte) % 19]),
                _ => _ = document.remove(at),
            }
        }
        match mistakes::read(&document) {
            Ok(content) => prop_assert!(mistakes::read(document::of(&content).as_bytes()).is_ok()),
            Err(mistakes) => prop_assert!(!mistakes.is_empty()),
        }
    }
}

fn listed(listing: &Listing) -> String {
    let mut out = Vec::new();
    text::write(listing, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_has_one_line_for_each_file_and_nothing_of_a_name_that_a_terminal_obeys() {
    let Content { rows, started_flows, sendings } = content();
    let contents = Peeked { rows, started_flows, sendings, ..Peeked::default() };
    let mut listing = Listing::of_stopped(Path::new("/state"), &contents, Some(Duration::from_secs(3600)));
    let expected = "\
offsets in /state; the agent is stopped

access: 0 files, 0 B, lag 0 B (0.0 %); 2 files gone, 810 B of which are not sent
        size    settled up to   and above         lag           state      path
        60 B               50         0 B        10 B   16.7 %  gone       /nowhere/a\u{fffd}[2J\u{fffd}.log, \
since 2026-11-21T01:55:30Z, forgotten by a start after 2026-11-21T02:55:30Z
      1000 B              100       100 B       800 B   80.0 %  gone       /nowhere/b.log

empty: 0 files, 0 B, lag 0 B (0.0 %)

total: 0 files, 0 B, lag 0 B (0.0 %); 2 files gone, 810 B of which are not sent

flow access is not reconciled: its run 00000000000000000000000000000abc ended without telling what of the last moments was \
stored; at the last commit, 2026-11-21T01:55:30Z, 12 records were in flight since 2026-11-21T01:55:29Z; the next start reads \
the stream logs back, if it may
";
    assert_eq!(listed(&listing), expected);
    let json = listing.to_json().unwrap();
    assert!(json.contains(r"a\u001b[2J\u009b.log"), "{json}");
    let again: Listing = serde_json::from_str(&json).unwrap();
    assert_eq!(again.to_json().unwrap(), json);
    listing.keep("empty");
    let expected = "offsets in /state; the agent is stopped\n\nempty: 0 files, 0 B, lag 0 B (0.0 %)\n";
    assert_eq!(listed(&listing), expected);
}

#[test]
fn a_lag_is_shown_as_none_or_as_all_only_when_it_is() {
    for (part, whole, expected) in
        [(0, 0, 0.0), (0, 9, 0.0), (1, 1_000_000, 0.1), (1, 3, 33.3), (999_999, 1_000_000, 99.9), (5, 5, 100.0)]
    {
        assert_eq!(per_cent(part, whole), expected, "{part} of {whole}");
    }
}

/// What is said of an address that answers this to whatever it is asked.
fn asked(answer: &'static [u8], patience: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]).unwrap();
        // It may have gone away.
        let _ = stream.write_all(answer);
        stream
    });
    let error = ask::ask_within(address, patience).unwrap_err();
    drop(answering.join().unwrap());
    error
}

#[test]
fn an_address_that_does_not_answer_as_an_agent_is_not_waited_for() {
    for (answer, expected) in [
        (&b""[..], "does not answer within 0.1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "does not answer within 0.1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "answers something else than offsets"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "has no /offsets: it is of an earlier version, or no agent"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nwhy.\n", "answers 503: why."),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "cannot be asked: invalid HTTP version parsed"),
    ] {
        // Who will not answer is not waited for in a test either.
        let patience = Duration::from_millis(if expected.starts_with("does not") { 100 } else { 60_000 });
        assert_eq!(asked(answer, patience), expected, "{}", answer.escape_ascii());
    }
}
