//! What becomes of the bytes of a file: lines in any encoding, records of several lines.

use super::*;

/// Lines are UTF-8 when they are handed on, and their spans are bytes of the file.
#[tokio::test(start_paused = true)]
async fn lines_of_any_encoding_come_as_utf_8_with_the_bytes_they_take_up() {
    for (settings, file, expected) in [
        ("encoding = 'shift_jis'", b"\x93\xfa\x96\x7b\n\xb1\x83\x5c\n".as_slice(), [("日本", 0..5), ("ｱソ", 5..9)]),
        ("encoding = 'euc-kr'", b"\xc7\xd1\xb1\xb9\na\xb0\xa1\n", [("한국", 0..5), ("a가", 5..9)]),
        ("encoding = 'gb18030'", b"\xd6\xd0\xce\xc4\n\x94\x39\xda\x33\n", [("中文", 0..5), ("\u{1f4a9}", 5..10)]),
        ("encoding = 'latin-1'", b"caf\xe9\n\xff\n", [("café", 0..5), ("ÿ", 5..7)]),
        ("encoding = 'utf-16le'", b"\xff\xfea\0\n\0\xe9\0\r\0\n\0", [("a", 0..6), ("é\r", 6..12)]),
        ("encoding = 'utf-16'", b"\xfe\xff\0a\0\n\0\xe9\0\r\0\n", [("a", 0..6), ("é\r", 6..12)]),
        ("encoding = 'utf-16be'\nstrip_cr = true", b"\0a\0\n\0\xe9\0\r\0\n", [("a", 0..4), ("é", 4..10)]),
        ("skip_header_lines = 2", b"#\n##\na\nb\n", [("a", 5..7), ("b", 7..9)]),
        ("skip_header_lines = 1\nencoding = 'utf-16'", b"\xfe\xff\0#\0\n\0a\0\n\0b\0\n", [("a", 6..10), ("b", 10..14)]),
    ] {
        let mut running = Host::running(&format!("[flow.line]\n{settings}"));
        running.append("a.log", file);
        let expected = expected.map(|(text, span)| (text.to_owned(), span));
        assert_eq!(running.spanned_lines_within(15).await, expected, "{settings}");
    }
}

/// Wherever the end of the file is when it is looked at: in the byte order mark, before the header's end, in a character, in a
/// newline.
#[tokio::test(start_paused = true)]
async fn a_utf_16_file_may_grow_byte_by_byte() {
    let mut running = Host::running("[flow.line]\nencoding = 'utf-16'\nskip_header_lines = 1");
    let mut lines = Vec::new();
    for byte in "\u{feff}#\u{a0a}\nab\u{10a}\n\nc\n".encode_utf16().flat_map(u16::to_be_bytes) {
        running.append("a.log", [byte]);
        lines.extend(running.spanned_lines_within(15).await);
    }
    assert_eq!(lines, [("ab\u{10a}".to_owned(), 8..16), (String::new(), 16..18), ("c".to_owned(), 18..22)]);
}

/// A record of several lines that is written in two goes is one; when nothing more comes it is complete, and what comes
/// then is another. None is lost or doubled by a restart in between.
#[tokio::test(start_paused = true)]
async fn records_of_several_lines() {
    let mut host = Host::running("multiline = { preset = 'java', timeout = '20 s' }");
    host.append("a.log", "zero\none\njava.lang.Error: x\n\tat a.b(C.java:1)\n\tat a");
    assert_eq!(host.lines_within(15).await, ["zero"]);
    host.append("a.log", ".c(C.java:2)\n");
    assert_eq!(host.lines_within(15).await, [""; 0], "more may come");
    host.append("a.log", "Caused by: y\n\tat d.e(F.java:3)\ntwo\n");
    let trace = "one\njava.lang.Error: x\n\tat a.b(C.java:1)\n\tat a.c(C.java:2)\nCaused by: y\n\tat d.e(F.java:3)";
    assert_eq!(host.lines_within(15).await, [trace]);
    assert_eq!(host.lines_within(30).await, ["two"]);
    host.append("a.log", "three\n\tat a.b(C.java:1)\n");
    assert_eq!(host.lines_within(15).await, [""; 0]);
    host.while_down(|host| host.append("a.log", "\tat a.c(C.java:2)\n")).await;
    assert_eq!(host.lines_within(15).await, [""; 0]);
    assert_eq!(host.lines_within(30).await, ["three\n\tat a.b(C.java:1)\n\tat a.c(C.java:2)"]);
    host.append("a.log", "last\n\tat a.b(C.java:1)\n\tunfinished");
    host.rename("a.log", "old");
    let expected = ["\tunfinished", "last\n\tat a.b(C.java:1)"];
    assert_eq!(host.lines_within(90).await, expected, "the record was waited for, and then the end of the file");
}

/// Records as long as they may be, and longer, across the pieces in which a file is read.
#[tokio::test(start_paused = true)]
async fn long_records_of_several_lines() {
    for too_long in ["truncate", "split", "drop"] {
        let mut host = Host::running(&format!(
            "multiline = {{ start = '^\\S' }}\nline = {{ max_bytes = '600 KiB', too_long = '{too_long}' }}"
        ));
        let trace = |lines: usize, length: usize| "start\n".to_owned() + &format!("\t{}\n", "x".repeat(length)).repeat(lines);
        host.append("a.log", trace(900, 600) + &trace(1_500, 600) + &trace(3, 1 << 20) + &trace(5_000, 0) + &trace(1, 1));
        let lines = host.lines_within(25).await;
        let (starts, bytes) = lines.iter().fold((0, 0), |(starts, bytes), record| {
            assert!(record.len() <= 600 << 10, "{} bytes", record.len());
            (starts + usize::from(record.starts_with("start")), bytes + record.len() + 1)
        });
        let written = fs::read(host.path("a.log")).unwrap().len();
        let dropped = host.metrics.dropped(DropReason::TooLong).get();
        assert_eq!((starts, dropped), (5, 0), "what is dropped is counted when it is settled");
        match too_long {
            "split" => assert!((written..written + 100).contains(&bytes), "{bytes} of {written}"),
            _ => assert!(bytes < written, "{bytes} of {written}"),
        }
    }
}

/// A record that may go on, and an unfinished line behind it: the record is waited for as long as the file grows, and then
/// it is complete without what is unfinished.
#[tokio::test(start_paused = true)]
async fn a_record_with_an_unfinished_line_behind_it() {
    let mut host = Host::running("multiline = { preset = 'java', timeout = '20 s' }");
    host.append("a.log", "one\n");
    assert_eq!(host.lines_within(15).await, [""; 0]);
    host.append("a.log", "part");
    assert_eq!(host.lines_within(60).await, ["one"]);
    host.append("a.log", " of the next\n");
    assert_eq!(host.lines_within(60).await, ["part of the next"]);
}

/// A line that a container runtime has divided is one record, also when a part of it comes later, or the agent is restarted in
/// between; one of which no more comes is not waited for for ever.
#[tokio::test(start_paused = true)]
async fn divided_lines_of_containers() {
    let mut host = Host::running("parse = { format = 'cri' }");
    host.append("a.log", "1 stdout F one\n2 stdout P two\n");
    host.append("b.log", "1 stderr P not finished\n");
    tokio::time::sleep(Duration::from_millis(500)).await;
    host.append("a.log", "3 stdout P , three\n");
    assert_eq!(host.lines_within(0).await, ["1 stdout F one"]);
    host.while_down(|host| host.append("a.log", "4 stdout F , four\n5 stdout P five\n6 stderr F six\n")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let expected =
        ["1 stderr P not finished", "2 stdout P two\n3 stdout P , three\n4 stdout F , four", "5 stdout P five", "6 stderr F six"];
    assert_eq!(host.lines().await, expected);
}
