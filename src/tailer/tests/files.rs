//! Many files, few descriptors, folders that come and go.

use super::*;

/// More files than may be open: the idle ones are closed, and all are read.
#[tokio::test(start_paused = true)]
async fn more_files_than_may_be_open() {
    let mut host = Host::running("");
    for round in 0..3 {
        for file in 0..20 {
            host.append(&format!("{file}.log"), format!("{round} {file}\n"));
        }
        assert_eq!(count(&host.lines().await), (20, 20));
        assert!(host.metrics.open_files.get() <= 4, "{} files are open", host.metrics.open_files.get());
        assert_eq!(host.metrics.tailed_files.get(), 20);
    }
    host.append("3.log", "renamed\n");
    host.rename("3.log", "3.log.1");
    host.append("4.log", "renamed out of the globs\n");
    host.rename("4.log", "4.old");
    host.append("3.log", "new\n");
    assert_eq!(host.lines_within(60).await, ["new", "renamed", "renamed out of the globs"]);
    assert_eq!(host.metrics.unreachable_bytes.get(), 0);
}

/// A file that was not written to for long before it was first seen begins at its end.
/// Regression: a file that was opened for its turn could be the one that was closed again for it, when none of the open ones
/// had been read, and then it waited for the next rescan.
#[tokio::test(start_paused = true)]
async fn each_of_more_files_than_may_be_open_is_read_in_its_first_turn() {
    let mut host = Host::new("rescan = '1 h'");
    for file in 0..40 {
        host.append(&format!("{file}.log"), format!("the only line of {file}\n"));
    }
    host.start();
    assert_eq!(host.lines_within(1).await.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn older_files_begin_at_their_end() {
    let mut host = Host::new("ignore_older = '1 h'");
    host.append("old.log", "old\n");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_700);
    File::options().append(true).open(host.path("old.log")).unwrap().set_modified(an_hour_ago).unwrap();
    host.append("new.log", "new\n");
    host.start();
    assert_eq!(host.lines().await, ["new"]);
    host.append("old.log", "again\n");
    assert_eq!(host.lines().await, ["again"]);
}

/// A folder that is away for a moment, as when a disk is mounted anew: nothing of it counts as out of reach.
#[tokio::test(start_paused = true)]
async fn a_folder_that_comes_back() {
    let mut host = Host::running("files = 'LOGS/d/*.log'");
    fs::create_dir(host.path("d")).unwrap();
    for file in 0..12 {
        host.append(&format!("d/{file}.log"), "one\nhalf ");
    }
    assert_eq!(host.lines().await.len(), 12);
    host.rename("d", "away");
    let lines = host.lines_within(100).await;
    host.rename("away", "d");
    for file in 0..12 {
        host.append(&format!("d/{file}.log"), "of it\n");
    }
    assert_eq!(lines.len() + host.lines_within(100).await.len(), 12 + lines.len(), "each once, whole or in two");
    assert_eq!(host.metrics.unreachable_bytes.get(), 0);
}

/// Files that come and go empty, and copies that are deleted, cost nothing, and nothing keeps the others from their turn.
#[tokio::test(start_paused = true)]
async fn files_that_come_and_go_keep_nobody_from_being_read() {
    let mut host = Host::running("");
    host.append("a.log", many("a"));
    host.append("b.log", many("b"));
    assert_eq!(host.lines().await.len(), 400);
    for file in 0..10 {
        host.append(&format!("empty {file}.log"), "");
        fs::copy(host.path("a.log"), host.path(&format!("copy {file}.log"))).unwrap();
        assert_eq!(host.lines_within(12).await, [""; 0]);
        host.delete(&format!("empty {file}.log"));
        host.delete(&format!("copy {file}.log"));
        host.append("a.log", "a\n");
        host.append("b.log", "b\n");
        assert_eq!(host.lines_within(12).await, ["a", "b"]);
    }
    host.lines_within(100).await;
    assert_eq!(host.metrics.open_files.get(), 2);
}

/// More files are full than may be open, and each has its turn: nothing is told of files that were closed.
#[tokio::test(start_paused = true)]
async fn more_full_files_than_may_be_open() {
    let mut host = Host::new("");
    for file in 0..12 {
        host.append(&format!("{file}.log"), format!("{file:01000}\n").repeat(1_200));
    }
    host.start();
    assert_eq!(host.lines_within(5).await.len(), 12 * 1_200);
    assert_eq!(host.metrics.tailed_files.get(), 12);
}
