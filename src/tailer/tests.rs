use std::fs::File;
use std::io::Write as _;

use super::*;
use crate::config::Config;
use crate::metrics::Metrics;

/// A tailer of `*.log` in a folder, without notifications, on paused time.
struct Running {
    folder: tempfile::TempDir,
    chunks: mpsc::Receiver<Chunk>,
    _events: mpsc::Receiver<Event>,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("*.log");
        let text = format!("[[flow]]\nname = 'f'\nfiles = {files:?}\n[flow.kinesis]\nstream = 's'\n");
        let config = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let flow = Arc::new(config.flows[0].clone());
        let (chunks, chunks_out) = mpsc::channel(100);
        let (events, events_out) = mpsc::channel(1_000);
        let (stop, stopped) = watch::channel(false);
        let tailer = Tailer::new(Parts {
            flow_index: 0,
            globs: Globs::new(&flow.files, &flow.exclude).unwrap(),
            flow,
            hints: Hints::default(),
            watch: None,
            rows: Vec::new(),
            is_first_start: true,
            chunks,
            events,
            budget: Budget::new(1 << 20),
            metrics: Metrics::default().flow("f"),
            random: fastrand::Rng::with_seed(1),
        });
        tokio::spawn(tailer.run(Mode::Follow, stopped));
        Self { folder, chunks: chunks_out, _events: events_out, _stop: stop }
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The lines that come within so many seconds.
    async fn lines_within(&mut self, seconds: u64) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut lines = Vec::new();
        while let Ok(chunk) = self.chunks.try_recv() {
            lines.extend(chunk.lines.iter().map(|line| String::from_utf8_lossy(chunk.text(line)).into_owned()));
        }
        lines
    }
}

/// A file renamed out of the globs is let go 30 s after its last growth, not 30 s after the renaming.
#[tokio::test(start_paused = true)]
async fn a_file_out_of_the_globs_is_read_as_long_as_it_grows() {
    let mut running = Running::start();
    running.append("a.log", "first\n");
    assert_eq!(running.lines_within(15).await, ["first"]);
    std::fs::rename(running.folder.path().join("a.log"), running.folder.path().join("a.old")).unwrap();
    for number in 0..5 {
        running.append("a.old", &format!("{number}\nha"));
        let expected = if number == 0 { "0".to_owned() } else { format!("ha{number}") };
        assert_eq!(running.lines_within(20).await, [expected]);
    }
    assert_eq!(running.lines_within(60).await, ["ha"], "its unfinished last line will not be finished");
    running.append("a.old", "later\n");
    assert_eq!(running.lines_within(60).await, [""; 0]);
}
