//! Compressed files, and what they were made of.

use super::*;

/// Also when the copy is compressed at once where no glob looks, and so is smaller than what was read.
#[tokio::test(start_paused = true)]
async fn after_copytruncate_the_compressed_copy_continues_the_file() {
    let mut host = Host::running("files = 'LOGS/*.log'");
    host.append("a.log", many("first"));
    assert_eq!(host.lines().await.len(), 200);
    host.append("a.log", "not read\n");
    host.copytruncate("a.log", "a.log.1");
    host.gzip("a.log.1");
    assert_eq!(host.lines_within(60).await, ["not read"]);
    assert_eq!(host.metrics.unreachable_bytes.get(), 0);
}

/// A compressed file made of one that was read is recognised; of one that was read in part the rest is read.
#[tokio::test(start_paused = true)]
async fn rotated_and_compressed() {
    let mut host = Host::running("");
    host.append("a.log", many("one"));
    assert_eq!(host.lines().await.len(), 200);
    host.append("a.log", "last\n");
    host.rename("a.log", "a.log.1");
    host.append("a.log", many("two"));
    host.gzip("a.log.1");
    assert_eq!(count(&host.lines_within(200).await), (201, 201));
    host.while_down(|host| {
        host.append("a.log", "not read\n");
        host.append("a.log", many("three"));
        host.rename("a.log.1.gz", "a.log.2.gz");
        host.rename("a.log", "a.log.1");
        host.gzip("a.log.1");
    })
    .await;
    assert_eq!(count(&host.lines_within(200).await), (201, 201));
    host.while_down(|_| {}).await;
    assert_eq!(host.lines_within(200).await, [""; 0]);
    assert_eq!(host.metrics.unreachable_bytes.get(), 0);
}

/// A compressed file that was there beside its original, of which all was read, goes on as that when it is gone.
#[tokio::test(start_paused = true)]
async fn compressed_before_the_original_is_deleted() {
    for content in [many("one"), "short\n".to_owned()] {
        let mut host = Host::running("compressed = 'read'");
        host.append("a.log", &content);
        assert_eq!(host.lines().await.len(), content.lines().count());
        fs::hard_link(host.path("a.log"), host.path("hidden")).unwrap();
        host.gzip("a.log");
        host.rename("hidden", "a.log");
        assert_eq!(host.lines_within(200).await, [""; 0]);
        host.delete("a.log");
        assert_eq!(host.lines_within(100).await, [""; 0]);
        assert!(!host.all_metrics.render().contains("file_problems_total{"), "nothing is wrong with it");
    }
}

/// A compressed file of which nothing is known is read only if that is wished.
#[tokio::test(start_paused = true)]
async fn compressed_and_never_seen() {
    for (settings, expected) in [("", 0), ("compressed = 'read'", 201)] {
        let mut host = Host::new(settings);
        host.append("a.log", format!("{}half", many("one")));
        host.gzip("a.log");
        host.start();
        assert_eq!(host.lines_within(100).await.len(), expected);
        host.while_down(|_| {}).await;
        assert_eq!(host.lines_within(100).await.len(), 0);
    }
}

/// A compressed file that is read while it is still being written waits for its rest.
#[tokio::test(start_paused = true)]
async fn a_compressed_file_that_is_being_written() {
    let mut host = Host::running("compressed = 'read'");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(many("one").as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    host.append("b.log.gz", "");
    let mut lines = host.lines().await;
    for part in compressed.chunks(700) {
        File::options().append(true).open(host.path("b.log.gz")).unwrap().write_all(part).unwrap();
        lines.extend(host.lines().await);
    }
    assert_eq!(count(&lines), (200, 200));
}

/// Rotated and compressed while the agent is down, under a name that no glob matches.
#[tokio::test(start_paused = true)]
async fn compressed_out_of_the_globs_while_the_agent_is_down() {
    let mut host = Host::running("files = 'LOGS/*.log'");
    host.append("a.log", many("one"));
    assert_eq!(host.lines().await.len(), 200);
    host.while_down(|host| {
        host.append("a.log", many("two"));
        host.rename("a.log", "a.log.1");
        host.gzip("a.log.1");
        host.append("a.log", "new\n");
    })
    .await;
    assert_eq!(count(&host.lines_within(200).await), (201, 201));
}

/// As `gzip --stdout a.log > a.log.gz; : > a.log` does, again and again.
#[tokio::test(start_paused = true)]
async fn a_compressed_file_that_is_written_anew() {
    let mut host = Host::running("");
    for round in 0..3 {
        let [first, second] = ["first", "second"].map(|part| many(&format!("{round} {part}")));
        host.append("a.log", &first);
        assert_eq!(host.lines().await.len(), 200);
        host.append("a.log", &second);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all((first + &second).as_bytes()).unwrap();
        fs::write(host.path("a.log.gz"), encoder.finish().unwrap()).unwrap();
        host.write("a.log", "");
        assert_eq!(count(&host.lines_within(100).await), (200, 200), "round {round}");
    }
    assert_eq!(host.metrics.unreachable_bytes.get(), 0);
}
