//! A program that logs to one file at full speed, as much as it has to say, and opens it anew when it is told.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{line, wait_until};

/// Bytes of each line with its newline. A divisor of the page size: what is copied while it is written ends between
/// two lines, because files grow by whole pages or whole writes.
const LINE_BYTES: usize = 128;

/// Lines written by one system call.
const BATCH_LINES: usize = 32;

/// The running program.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<String>>,
}

struct Shared {
    /// Where it logs to.
    path: PathBuf,
    /// When this file is there it is told to open its log anew. It deletes it when that is done.
    told: PathBuf,
    stop: AtomicBool,
    /// How many lines it has to say in all.
    wanted_count: AtomicUsize,
    /// Somebody wants it to hold its breath, and waits for `writing`.
    is_hold_wanted: AtomicBool,
    /// Held while it writes a batch.
    writing: Mutex<()>,
    line_count: AtomicUsize,
}

/// While this lives nothing is written.
pub(crate) struct Held<'a> {
    shared: &'a Shared,
    _writing: MutexGuard<'a, ()>,
}

impl Writer {
    /// Opens `path` to log to it as `from`, but has nothing to say yet; the file `told` is its command to open `path` anew.
    pub(crate) fn start(from: &str, path: PathBuf, told: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            path,
            told,
            stop: AtomicBool::new(false),
            wanted_count: AtomicUsize::new(0),
            is_hold_wanted: AtomicBool::new(false),
            writing: Mutex::new(()),
            line_count: AtomicUsize::new(0),
        });
        let (from, of_thread) = (from.to_owned(), shared.clone());
        Self { shared, thread: thread::spawn(move || of_thread.write(&from)) }
    }

    /// Lines written so far.
    pub(crate) fn line_count(&self) -> usize {
        self.shared.line_count.load(Ordering::Relaxed)
    }

    /// It has `count` more lines to say than it has written, and begins at once.
    pub(crate) fn say(&self, count: usize) {
        self.shared.wanted_count.store(self.line_count() + count, Ordering::Relaxed);
    }

    /// As [`Writer::say`]; waits until `first_count` of them are written.
    pub(crate) fn say_first(&self, first_count: usize, count: usize) {
        let wanted = self.line_count() + first_count;
        self.say(count);
        wait_until("more lines are written", || self.line_count() >= wanted);
    }

    /// Nothing is written as long as the result lives.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.shared.is_hold_wanted.store(true, Ordering::Relaxed);
        Held { shared: &self.shared, _writing: self.shared.writing.lock().unwrap() }
    }

    /// Tells it to open its log anew, and waits until it has done so.
    pub(crate) fn reopen(&self) {
        File::create(&self.shared.told).unwrap();
        self.wait_reopened();
    }

    /// Waits until it has done what it was told.
    pub(crate) fn wait_reopened(&self) {
        wait_until("the log is opened anew", || !self.shared.told.exists());
    }

    /// Waits until it has said what it had to say, ends it, and returns what it has written.
    pub(crate) fn stop(self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Shared {
    fn write(&self, from: &str) -> Vec<String> {
        let mut written = Vec::new();
        let mut log = open(&self.path);
        loop {
            let first = written.len();
            let is_quiet = || first >= self.wanted_count.load(Ordering::Relaxed);
            while is_quiet() && !self.stop.load(Ordering::Relaxed) && !self.told.exists() {
                thread::park_timeout(Duration::from_millis(1));
            }
            if self.told.exists() {
                log = open(&self.path);
                fs::remove_file(&self.told).unwrap();
            }
            if is_quiet() {
                // Told to stop, or to open its log, while it had nothing to say.
                match self.stop.load(Ordering::Relaxed) {
                    true => return written,
                    false => continue,
                }
            }
            let batch: Vec<String> = (first..first + BATCH_LINES).map(|number| line(from, number, LINE_BYTES - 1)).collect();
            while self.is_hold_wanted.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let _writing = self.writing.lock().unwrap();
            log.write_all((batch.join("\n") + "\n").as_bytes()).unwrap();
            written.extend(batch);
            self.line_count.store(written.len(), Ordering::Relaxed);
        }
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.is_hold_wanted.store(false, Ordering::Relaxed);
    }
}
