use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::checkpointer::Remains;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::offsets::Row;
use crate::settlement::DropReason;

/// A host on paused time: a folder of logs, and an agent's tailer of it that comes and goes, without notifications.
struct Host {
    folder: tempfile::TempDir,
    settings: String,
    rows: Vec<(FileKey, Row)>,
    starts: u64,
    all_metrics: Metrics,
    metrics: FlowMetrics,
    /// Until where of each file lines have come since the start.
    delivered: Vec<(FileKey, u64)>,
    running: Option<Running>,
}

struct Running {
    chunks: mpsc::Receiver<Chunk>,
    events: mpsc::Receiver<Event>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    /// With these settings of `[[flow]]`, which tails `*.log*`.
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (all_metrics, settings) = (Metrics::default(), settings.to_owned());
        let metrics = all_metrics.flow("f");
        Self { folder, settings, rows: Vec::new(), starts: 0, all_metrics, metrics, delivered: Vec::new(), running: None }
    }

    fn running(settings: &str) -> Self {
        let mut host = Self::new(settings);
        host.start();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn flow(&self) -> Flow {
        let patterns =
            if self.settings.contains("files =") { String::new() } else { format!("files = {:?}\n", self.path("*.log*")) };
        let settings = self.settings.replace("LOGS", self.folder.path().to_str().unwrap());
        let text = format!("[[flow]]\nname = 'f'\n{patterns}{settings}\n[flow.kinesis]\nstream = 's'\n");
        Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0)
    }

    fn start(&mut self) {
        let flow = Arc::new(self.flow());
        let (chunks, chunks_out) = mpsc::channel(1_000);
        let (events, events_out) = mpsc::channel(100_000);
        let (stop, stopped) = watch::channel(false);
        self.starts += 1;
        let tailer = Tailer::new(Parts {
            flow_index: 0,
            globs: Globs::new(&flow.files, &flow.exclude).unwrap(),
            flow,
            hints: Hints::default(),
            watch: None,
            rows: self.rows.clone(),
            is_first_start: self.starts == 1,
            chunks,
            events,
            budget: Budget::new(1 << 30),
            open_files_max: 4,
            metrics: self.metrics.clone(),
            random: fastrand::Rng::with_seed(self.starts),
        });
        let task = tokio::spawn(tailer.run(Mode::Follow, stopped));
        self.running = Some(Running { chunks: chunks_out, events: events_out, stop, task });
    }

    /// Ends it, and keeps what a checkpointer would have committed when everything that was read is delivered.
    async fn stop(&mut self) {
        assert_eq!(self.lines_within(0).await, [""; 0], "everything was looked at");
        let mut running = self.running.take().unwrap();
        running.stop.send_replace(true);
        running.task.await.unwrap();
        while let Ok(event) = running.events.try_recv() {
            self.commit(event);
        }
        for (file, end) in self.delivered.drain(..) {
            self.rows.iter_mut().filter(|(key, _)| *key == file).for_each(|(_, row)| row.watermark = row.watermark.max(end));
        }
    }

    fn commit(&mut self, event: Event) {
        let row = |rows: &mut Vec<(FileKey, Row)>, file: FileKey, change: &dyn Fn(&mut Row)| {
            rows.iter_mut().filter(|(key, _)| *key == file).for_each(|(_, row)| change(row));
        };
        match event {
            Event::Opened(opened) => {
                self.rows.retain(|(key, _)| *key != opened.file);
                let path = opened.path.to_string_lossy().into_owned();
                let (flow, watermark) = ("f".to_owned(), opened.settlement.watermark());
                let row = Row { flow, path, identity: opened.identity, gone_at: None, watermark, settled_above: Vec::new() };
                self.rows.push((opened.file, row));
            }
            Event::Seen { file, fingerprint, mark, byte_count } => row(&mut self.rows, file, &|row| {
                (row.identity.fingerprint, row.identity.mark, row.identity.byte_count) = (fingerprint, mark, byte_count);
            }),
            Event::Moved { file, path, is_superseded } => row(&mut self.rows, file, &|row| {
                (row.path, row.identity.is_superseded) = (path.to_string_lossy().into_owned(), is_superseded);
            }),
            Event::Closed { file, remains, .. } => {
                self.rows.retain(|(key, _)| *key != file || remains != Remains::Nothing);
                row(&mut self.rows, file, &|row| {
                    row.gone_at = Some(since_1970().as_secs());
                    row.identity.place = row.identity.place.filter(|_| remains == Remains::Place);
                });
            }
            Event::Forgotten(file) => self.rows.retain(|(key, _)| *key != file),
            Event::Settled(_) | Event::Started { .. } => {}
        }
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        File::options().create(true).append(true).open(self.path(name)).unwrap().write_all(text.as_ref()).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn delete(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// As gzip does: the file is replaced by a compressed one.
    fn gzip(&self, name: &str) {
        let compressed = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = GzEncoder::new(compressed, Compression::default());
        encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
        encoder.finish().unwrap();
        self.delete(name);
    }

    /// As logrotate's `copytruncate` does.
    fn copytruncate(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        self.write(from, "");
    }

    /// The lines that come within so many seconds, sorted.
    async fn lines_within(&mut self, seconds: u64) -> Vec<String> {
        let mut lines: Vec<String> = self.spanned_lines_within(seconds).await.into_iter().map(|(line, _)| line).collect();
        lines.sort_unstable();
        lines
    }

    /// The same, each with the bytes of its file that it takes up.
    async fn spanned_lines_within(&mut self, seconds: u64) -> Vec<(String, Range<u64>)> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut lines = Vec::new();
        while let Ok(chunk) = self.running.as_mut().unwrap().chunks.try_recv() {
            let end = chunk.span(chunk.lines.last().unwrap()).end;
            self.delivered.push((chunk.file, end));
            lines.extend(chunk.lines.iter().map(|line| {
                let span = chunk.span(line);
                (String::from_utf8_lossy(chunk.text(line)).into_owned(), span.start..span.end)
            }));
        }
        lines
    }

    /// What comes until a rescan has noticed everything.
    async fn lines(&mut self) -> Vec<String> {
        self.lines_within(25).await
    }

    /// Restarts the agent; meanwhile this happens.
    async fn while_down(&mut self, happens: impl FnOnce(&Self)) {
        self.stop().await;
        happens(self);
        self.start();
    }
}

/// Lines of which there are enough for a file to be known by them.
fn many(what: &str) -> String {
    (0..200).map(|number| format!("{what} {number:04}\n")).collect()
}

fn count(lines: &[String]) -> (usize, usize) {
    let distinct: BTreeSet<&String> = lines.iter().collect();
    (lines.len(), distinct.len())
}

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

/// Wherever the end of the file is when it is looked at: before the header's end, in a character, in a newline.
#[tokio::test(start_paused = true)]
async fn a_utf_16_file_may_grow_byte_by_byte() {
    let mut running = Host::running("[flow.line]\nencoding = 'utf-16'\nskip_header_lines = 1");
    let mut lines = Vec::new();
    for byte in "\u{feff}#\u{a0a}\nab\u{10a}\u{a00}\n\nc\n".encode_utf16().flat_map(u16::to_be_bytes) {
        running.append("a.log", [byte]);
        lines.extend(running.spanned_lines_within(15).await);
    }
    assert_eq!(lines, [("ab\u{10a}\u{a00}".to_owned(), 8..18), (String::new(), 18..20), ("c".to_owned(), 20..24)]);
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
