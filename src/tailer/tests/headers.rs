//! The line at the beginning of a file that names its columns goes with each of its lines.

use super::*;

const CSV: &str = "parse = { format = 'csv', header = true }";

/// From the first line on, wherever a restart goes on, and of each file its own.
#[tokio::test(start_paused = true)]
async fn a_header_goes_with_the_lines_of_its_file() {
    let mut host = Host::running(CSV);
    host.append("a.log", "\u{feff}a,b\r\n1,2\r\n");
    host.append("b.log", "c\n3\n");
    assert_eq!(host.headed_lines().await, ["a,b: 1,2", "c: 3"]);
    host.append("a.log", "4,5\n");
    assert_eq!(host.headed_lines().await, ["a,b: 4,5"]);
    host.while_down(|host| host.append("a.log", "6,7\n")).await;
    assert_eq!(host.headed_lines().await, ["a,b: 6,7"]);
    host.append("b.log", "8\n");
    assert_eq!(host.headed_lines().await, ["c: 8"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_header_lines_is_kept() {
    for (skip, expected) in [(0, "#1: #2"), (1, "#1: #2"), (2, "#2: a"), (3, "a: b")] {
        let mut host = Host::running(&format!("{CSV}\nline.skip_header_lines = {skip}"));
        host.append("a.log", "#1\n#2\na\nb\n");
        assert_eq!(host.headed_lines().await.first().map(String::as_str), Some(expected));
        host.while_down(|host| host.append("a.log", "c\n")).await;
        let header = expected.split_once(':').unwrap().0;
        assert_eq!(host.headed_lines().await, [format!("{header}: c")]);
    }
    let mut host = Host::running("parse = { format = 'csv', columns = ['x'] }\nline.skip_header_lines = 1");
    host.append("a.log", "#1\na\n");
    assert_eq!(host.headed_lines().await, ["none: a"], "this format has no use for it");
}

/// A file without a header line yet, and one in which it grows byte by byte; also when the agent is restarted meanwhile.
#[tokio::test(start_paused = true)]
async fn a_header_that_is_not_complete_is_waited_for() {
    let bom_and_text: Vec<u8> = "\u{feff}#\na\u{a0a},é\r\n1\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (settings, file) in [
        ("line = { skip_header_lines = 2 }", "#\na\u{a0a},é\r\n1\n".as_bytes()),
        ("line = { skip_header_lines = 2, encoding = 'utf-16' }", &bom_and_text),
    ] {
        for restarts in [false, true] {
            let mut host = Host::running(&format!("{CSV}\n{settings}"));
            let mut lines = Vec::new();
            for byte in file {
                host.append("a.log", [*byte]);
                lines.extend(host.headed_lines().await);
                if restarts {
                    host.while_down(|_| {}).await;
                }
            }
            assert_eq!(lines, ["a\u{a0a},é: 1"], "{settings}, restarts: {restarts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_life_has_a_header_of_its_own() {
    let mut host = Host::running(CSV);
    host.append("a.log", "a,b\n1,2\n3,4\n");
    assert_eq!(host.headed_lines().await, ["a,b: 1,2", "a,b: 3,4"]);
    host.write("a.log", "c\n5\n");
    assert_eq!(host.headed_lines().await, ["c: 5"]);
    host.append("a.log", "6\n");
    host.rename("a.log", "a.log.1");
    host.append("a.log", "d\n7\n");
    assert_eq!(host.headed_lines().await, ["c: 6", "d: 7"]);
    host.append("a.log", "8\n");
    host.while_down(|host| {
        host.write("a.log", "e\n");
        host.append("a.log.1", "9\n");
    })
    .await;
    assert_eq!(host.headed_lines().await, ["c: 9"]);
    host.append("a.log", "10\n");
    assert_eq!(host.headed_lines().await, ["e: 10"]);
}

/// Also behind the hole that a truncation leaves under a writer that does not append.
#[tokio::test(start_paused = true)]
async fn a_header_behind_a_hole() {
    let mut host = Host::running(CSV);
    host.append("a.log", [[0; 600].as_slice(), b"a,b\n1,2\n"].concat());
    assert_eq!(host.headed_lines().await, ["a,b: 1,2"]);
    host.while_down(|host| host.append("a.log", "3,4\n")).await;
    assert_eq!(host.headed_lines().await, ["a,b: 3,4"]);
}

/// One longer than a line may be is none, for its names would not be those of all columns.
#[tokio::test(start_paused = true)]
async fn a_header_that_is_too_long_is_none() {
    let mut host = Host::running(&format!("{CSV}\nline.max_bytes = '8 B'"));
    host.append("a.log", "a,b,c,d,e\n1\n");
    host.append("b.log", "a,b,c,de\n2\n");
    assert_eq!(host.headed_lines().await, ["a,b,c,de: 2", "none: 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_file_has_a_header() {
    let mut host = Host::running(&format!("{CSV}\ncompressed = 'read'"));
    host.append("old.log", "a,b\n1,2\n");
    host.gzip("old.log");
    assert_eq!(host.headed_lines().await, ["a,b: 1,2"]);
    let numbers: String = (0..400).map(|number| format!("{number}\n")).collect();
    host.append("b.log", format!("c\n{numbers}"));
    assert_eq!(host.headed_lines().await.len(), 400);
    host.while_down(|host| {
        host.append("b.log", "behind\n");
        host.gzip("b.log");
    })
    .await;
    assert_eq!(host.headed_lines().await, ["c: behind"]);
}
