//! Copies: those that replace their original, and those that do not.

use super::*;

/// A copy is recognised whether or not a glob matches it, and what was not read of the original is read from it.
#[tokio::test(start_paused = true)]
async fn after_copytruncate_the_copy_continues_the_file() {
    for (copy, is_short) in [("a.log.1", false), ("a.old", false), ("a.log.1", true)] {
        let mut host = Host::running(if copy == "a.old" { "files = 'LOGS/*.log'" } else { "" });
        let first = if is_short { "first\n".to_owned() } else { many("first") };
        host.append("a.log", &first);
        assert_eq!(host.lines().await.len(), first.lines().count());
        host.append("a.log", "not read\n");
        host.copytruncate("a.log", copy);
        host.append("a.log", "next\n");
        assert_eq!(host.lines_within(60).await, ["next", "not read"], "{copy} {is_short}");
        assert_eq!(host.metrics.unreachable_bytes.get(), 0);
        host.while_down(|host| host.append("a.log", "last\n")).await;
        assert_eq!(host.lines_within(60).await, ["last"]);
    }
}

/// A copy may have less than was read: what was written between the copying and the truncation is not in it.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_overtaken_is_not_read() {
    let mut host = Host::running("");
    host.append("a.log", many("first"));
    assert_eq!(host.lines().await.len(), 200);
    fs::copy(host.path("a.log"), host.path("hidden")).unwrap();
    host.append("a.log", "only read by the agent\n");
    assert_eq!(host.lines().await.len(), 1);
    host.rename("hidden", "a.log.1");
    host.write("a.log", "next\n");
    assert_eq!(host.lines_within(60).await, ["next"]);
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(60).await, [""; 0]);
}

/// So it is when both happened while the agent was down.
#[tokio::test(start_paused = true)]
async fn copytruncate_while_the_agent_is_down() {
    for copy in ["a.log.1", "a.log.copy"] {
        let mut host = Host::running(if copy == "a.log.1" { "" } else { "files = 'LOGS/*.log'" });
        host.append("a.log", many("first"));
        assert_eq!(host.lines().await.len(), 200);
        host.while_down(|host| {
            host.append("a.log", "not read\n");
            host.copytruncate("a.log", copy);
            host.append("a.log", many("next"));
        })
        .await;
        let lines = host.lines_within(60).await;
        assert_eq!(count(&lines), (201, 201), "{copy}");
        assert!(lines.contains(&"not read".to_owned()));
        assert_eq!(host.metrics.unreachable_bytes.get(), 0);
    }
}

/// A copy of a file that is still there is not read; when the two become different, it is a file of its own.
#[tokio::test(start_paused = true)]
async fn a_copy_is_not_read_until_it_is_different() {
    let mut host = Host::running("");
    host.append("a.log", many("same"));
    assert_eq!(host.lines().await.len(), 200);
    fs::copy(host.path("a.log"), host.path("b.log")).unwrap();
    assert_eq!(host.lines_within(600).await, [""; 0]);
    host.append("a.log", "of the original\n");
    assert_eq!(host.lines_within(600).await, ["of the original"]);
    host.append("b.log", "of the copy\n");
    assert_eq!(count(&host.lines().await), (201, 201));
}

/// Of a file and a copy of it that are both gone, the one that was read further goes on in what the file became.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_gone_does_not_go_on_in_the_original() {
    let mut host = Host::running("files = 'LOGS/*.log'");
    host.append("a.log", many("same"));
    assert_eq!(host.lines().await.len(), 200);
    fs::copy(host.path("a.log"), host.path("b.log")).unwrap();
    assert_eq!(host.lines().await, [""; 0]);
    host.append("a.log", "of the original\n");
    assert_eq!(host.lines().await, ["of the original"]);
    host.rename("a.log", "a.log.1");
    assert_eq!(host.lines_within(100).await.len(), 200, "the copy is a file of its own now");
    host.delete("b.log");
    host.gzip("a.log.1");
    assert_eq!(host.lines_within(200).await, [""; 0]);
}

/// Two programs that begin their logs with the same few words are two programs.
#[tokio::test(start_paused = true)]
async fn short_files_with_the_same_content_are_two_files() {
    let mut host = Host::running("");
    host.append("a.log", "started\n");
    assert_eq!(host.lines().await, ["started"]);
    host.append("b.log", "started\n");
    assert_eq!(host.lines().await, ["started"]);
    host.append("a.log.err", "started\n");
    assert_eq!(host.lines_within(100).await, ["started"], "one with such a name may be a copy, but not for ever");
}

/// A copy that was seen while it was still empty, and has less than was read: a restart knows that all of it was read.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_seen_empty_and_overtaken() {
    let mut host = Host::running("");
    host.append("a.log", many("one"));
    assert_eq!(host.lines().await.len(), 200);
    host.append("a.log.1", "");
    host.lines().await;
    host.append("a.log.1", &many("one")[..1_350]);
    host.write("a.log", "");
    assert_eq!(host.lines_within(100).await, [""; 0]);
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(100).await, [""; 0]);
}
