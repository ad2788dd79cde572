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
        Self::start_with("")
    }

    /// With these settings of `[flow.line]`.
    fn start_with(line: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("*.log");
        let text = format!("[[flow]]\nname = 'f'\nfiles = {files:?}\n[flow.line]\n{line}\n[flow.kinesis]\nstream = 's'\n");
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

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        File::options().create(true).append(true).open(path).unwrap().write_all(text.as_ref()).unwrap();
    }

    /// The lines that come within so many seconds.
    async fn lines_within(&mut self, seconds: u64) -> Vec<String> {
        self.spanned_lines_within(seconds).await.into_iter().map(|(line, _)| line).collect()
    }

    /// The same, each with the bytes of its file that it takes up.
    async fn spanned_lines_within(&mut self, seconds: u64) -> Vec<(String, Range<u64>)> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut lines = Vec::new();
        while let Ok(chunk) = self.chunks.try_recv() {
            lines.extend(chunk.lines.iter().map(|line| {
                let span = chunk.span(line);
                (std::str::from_utf8(chunk.text(line)).unwrap().to_owned(), span.start..span.end)
            }));
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
        running.append("a.old", format!("{number}\nha"));
        let expected = if number == 0 { "0".to_owned() } else { format!("ha{number}") };
        assert_eq!(running.lines_within(20).await, [expected]);
    }
    assert_eq!(running.lines_within(60).await, ["ha"], "its unfinished last line will not be finished");
    running.append("a.old", "later\n");
    assert_eq!(running.lines_within(60).await, [""; 0]);
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
        let mut running = Running::start_with(settings);
        running.append("a.log", file);
        let expected = expected.map(|(text, span)| (text.to_owned(), span));
        assert_eq!(running.spanned_lines_within(15).await, expected, "{settings}");
    }
}

/// Wherever the end of the file is when it is looked at: before the header's end, in a character, in a newline.
#[tokio::test(start_paused = true)]
async fn a_utf_16_file_may_grow_byte_by_byte() {
    let mut running = Running::start_with("encoding = 'utf-16'\nskip_header_lines = 1");
    let mut lines = Vec::new();
    for byte in "\u{feff}#\u{a0a}\nab\u{10a}\u{a00}\n\nc\n".encode_utf16().flat_map(u16::to_be_bytes) {
        running.append("a.log", [byte]);
        lines.extend(running.spanned_lines_within(15).await);
    }
    assert_eq!(lines, [("ab\u{10a}\u{a00}".to_owned(), 8..18), (String::new(), 18..20), ("c".to_owned(), 20..24)]);
}
