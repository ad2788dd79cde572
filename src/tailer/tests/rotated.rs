//! Renamed, truncated, deleted, made again: live, and while the agent is down.

use super::*;

/// A file renamed out of the globs is let go 30 s after its last growth, not 30 s after the renaming.
#[tokio::test(start_paused = true)]
async fn a_file_out_of_the_globs_is_read_as_long_as_it_grows() {
    let mut host = Host::running("");
    host.append("a.log", "first\n");
    assert_eq!(host.lines_within(15).await, ["first"]);
    host.rename("a.log", "a.old");
    for number in 0..5 {
        host.append("a.old", format!("{number}\nha"));
        let expected = if number == 0 { "0".to_owned() } else { format!("ha{number}") };
        assert_eq!(host.lines_within(20).await, [expected]);
    }
    assert_eq!(host.lines_within(60).await, ["ha"], "its unfinished last line will not be finished");
    host.append("a.old", "later\n");
    assert_eq!(host.lines_within(60).await, [""; 0]);
}

/// The last line of a rotated file that does not end is sent when nobody is expected to write to it any more, also after
/// a restart, and also when the file is still among those that match.
#[tokio::test(start_paused = true)]
async fn the_last_line_of_a_rotated_file_needs_no_end() {
    let mut host = Host::running("");
    host.append("a.log", "one\nhalf");
    assert_eq!(host.lines().await, ["one"]);
    host.rename("a.log", "a.log.1");
    host.append("a.log", "two\nwaits");
    assert_eq!(host.lines_within(20).await, ["two"]);
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(60).await, ["half"]);
    host.append("a.log", " for its end\n");
    assert_eq!(host.lines().await, ["waits for its end"]);
}

/// A copy is named after its original, also when that has another name by the time its truncation is noticed, and even
/// when that is the name that the copy had.
#[tokio::test(start_paused = true)]
async fn copied_and_truncated_and_renamed_at_once() {
    let mut host = Host::running("");
    host.append("a.log", "first\n");
    assert_eq!(host.lines().await, ["first"]);
    host.append("a.log", "not read\n");
    host.copytruncate("a.log", "a.log.1");
    host.rename("a.log", "b.log");
    assert_eq!(host.lines_within(60).await, ["not read"]);

    let mut host = Host::running("");
    host.append("a.log", many("same"));
    fs::copy(host.path("a.log"), host.path("a.log.1")).unwrap();
    assert_eq!(host.lines().await.len(), 200);
    host.write("a.log", "next\n");
    host.rename("a.log.1", "a.log.2");
    host.gzip("a.log.2");
    host.rename("a.log", "a.log.1");
    assert_eq!(host.lines_within(60).await, ["next"]);
}

#[tokio::test(start_paused = true)]
async fn truncated_and_grown_again() {
    let beginning = "the same line\n".repeat(100);
    for (before, after) in [
        ("one\n".to_owned(), "new\n".to_owned()),
        (many("one"), format!("{}more\n", many("two"))),
        (format!("{beginning}one\n"), format!("{beginning}two\nthree\n")),
    ] {
        let mut host = Host::running("");
        host.append("a.log", &before);
        assert_eq!(host.lines().await.len(), before.lines().count());
        host.write("a.log", &after);
        assert_eq!(host.lines().await.len(), after.lines().count());
        host.while_down(|host| host.write("a.log", &before)).await;
        assert_eq!(host.lines().await.len(), before.lines().count());
        assert_eq!(host.metrics.unreachable_bytes.get(), 0, "all was read");
    }
}

/// A writer that does not append goes on where it was when its file is truncated: what is before that is a hole, and the
/// first line behind it is read as it is.
#[tokio::test(start_paused = true)]
async fn truncated_under_a_writer_that_does_not_append() {
    for byte_count in [600_000, 1_000] {
        let mut host = Host::running("");
        let mut writer = File::create(host.path("a.log")).unwrap();
        writer.write_all("x\n".repeat(byte_count / 2).as_bytes()).unwrap();
        assert_eq!(host.lines().await.len(), byte_count / 2);
        host.write("a.log", "");
        writer.write_all(b"first\nsecond\n").unwrap();
        assert_eq!(host.lines().await, ["first", "second"]);
        host.while_down(|_| {}).await;
        writer.write_all(b"third\n").unwrap();
        assert_eq!(host.lines().await, ["third"]);
    }
}

/// What was not read before it was deleted or overwritten is counted.
#[tokio::test(start_paused = true)]
async fn what_is_out_of_reach_is_counted() {
    let mut host = Host::running("");
    host.append("a.log", "one\nun");
    host.append("b.log", "one\nfinished");
    host.append("c.log", "one\n");
    assert_eq!(host.lines().await.len(), 3);
    host.while_down(|host| {
        host.write("a.log", "");
        host.delete("b.log");
        host.delete("c.log");
        host.append("d.log", "in a folder that is there\n");
    })
    .await;
    assert_eq!(host.lines_within(60).await.len(), 1);
    assert_eq!(host.metrics.unreachable_bytes.get(), ("un".len() + "finished".len()) as u64);
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(60).await.len(), 0);
    assert_eq!(host.metrics.unreachable_bytes.get(), ("un".len() + "finished".len()) as u64, "once");
}

/// A deleted file that is open is read to its end; another file at its path, or at its inode, is another file.
#[tokio::test(start_paused = true)]
async fn deleted_and_made_again() {
    let mut host = Host::running("");
    host.append("a.log", "started\n");
    assert_eq!(host.lines().await, ["started"]);
    for _ in 0..3 {
        host.append("a.log", "last\n");
        host.delete("a.log");
        host.append("a.log", "started\n");
        assert_eq!(host.lines_within(60).await, ["last", "started"]);
    }
    for _ in 0..3 {
        host.while_down(|host| {
            host.delete("a.log");
            host.append("a.log", "started\n");
        })
        .await;
        assert_eq!(host.lines_within(60).await, ["started"]);
    }
}

/// A file replaced by another under its name is another file, even when all that was in the first is in it.
#[tokio::test(start_paused = true)]
async fn replaced_at_once() {
    let mut host = Host::running("");
    host.append("a.log", many("same"));
    assert_eq!(host.lines().await.len(), 200);
    host.write("temporary", &many("same"));
    host.rename("temporary", "a.log");
    assert_eq!(host.lines_within(100).await.len(), 200);
}

/// Renamed while the agent is down: also out of the globs, if it stays in its folder.
#[tokio::test(start_paused = true)]
async fn renamed_while_the_agent_is_down() {
    for to in ["a.log.1", "old"] {
        let mut host = Host::running("");
        host.append("a.log", "one\n");
        assert_eq!(host.lines().await, ["one"]);
        host.while_down(|host| {
            host.append("a.log", "two\n");
            host.rename("a.log", to);
            host.append("a.log", "three\n");
        })
        .await;
        assert_eq!(host.lines_within(100).await, ["three", "two"], "{to}");
    }
}

/// A file that no glob matches any more because the configuration has changed is left alone.
#[tokio::test(start_paused = true)]
async fn a_file_left_out_by_a_new_configuration_is_not_read() {
    let mut host = Host::running("");
    host.append("a.log", "one\n");
    host.append("b.log", "one\n");
    assert_eq!(host.lines().await, ["one", "one"]);
    host.settings = "exclude = ['b.log']".to_owned();
    host.while_down(|host| {
        host.append("a.log", "two\n");
        host.append("b.log", "secret\n");
    })
    .await;
    assert_eq!(host.lines_within(100).await, ["two"]);
    host.settings.clear();
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(100).await, ["secret"]);
}

/// What is out of the globs stays so, wherever it was found: its last line is sent, and it is let go.
#[tokio::test(start_paused = true)]
async fn a_file_found_out_of_the_globs_is_let_go() {
    for successor in ["", "three\n"] {
        let mut host = Host::running("");
        host.append("a.log", "one\n");
        assert_eq!(host.lines().await, ["one"]);
        host.while_down(|host| {
            host.append("a.log", "two\nunfinished");
            host.rename("a.log", "old");
            if !successor.is_empty() {
                host.append("a.log", successor);
            }
        })
        .await;
        let expected: Vec<&str> = successor.lines().chain(["two", "unfinished"]).collect();
        assert_eq!(host.lines_within(200).await, expected);
        assert_eq!(host.metrics.tailed_files.get(), successor.lines().count() as i64);
    }
}
