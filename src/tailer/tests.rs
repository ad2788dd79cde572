mod compressed;
mod copies;
mod files;
mod headers;
mod lines;
mod rotated;

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::budget::Share;
use crate::checkpointer::Remains;
use crate::config::Config;
use crate::gate::Gate;
use crate::limits::FORGET_AFTER_DEFAULT;
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
    task: tokio::task::JoinHandle<Vec<OpenFile>>,
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
            open_files: Vec::new(),
            is_first_start: self.starts == 1,
            chunks,
            events,
            gate: Gate::always_open(),
            forget_after: FORGET_AFTER_DEFAULT,
            budget: Budget::new(Share::new(1 << 30, 4)),
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
            Event::Begun { .. } | Event::Settled(_) | Event::Started { .. } | Event::Ended { .. } => {}
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
        let mut lines = Vec::new();
        for chunk in self.chunks_within(seconds).await {
            lines.extend(chunk.lines.iter().map(|line| {
                let span = chunk.span(line);
                (String::from_utf8_lossy(chunk.text(line)).into_owned(), span.start..span.end)
            }));
        }
        lines
    }

    async fn chunks_within(&mut self, seconds: u64) -> Vec<Chunk> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut chunks = Vec::new();
        while let Ok(chunk) = self.running.as_mut().unwrap().chunks.try_recv() {
            let end = chunk.span(chunk.lines.last().unwrap()).end;
            self.delivered.push((chunk.file, end));
            chunks.push(chunk);
        }
        chunks
    }

    /// The lines that come until a rescan has noticed everything, sorted, each behind the header of its file.
    async fn headed_lines(&mut self) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headed = |chunk: Chunk| {
            let header = chunk.header.as_deref().map_or("none".to_owned(), text);
            chunk.lines.iter().map(|line| format!("{header}: {}", text(chunk.text(line)))).collect::<Vec<_>>()
        };
        let mut lines: Vec<String> = self.chunks_within(25).await.into_iter().flat_map(headed).collect();
        lines.sort_unstable();
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
