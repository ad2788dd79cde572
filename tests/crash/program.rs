//! A program that logs to several files at the pace of its users, in whatever pieces its buffers happen to have. Its logs are
//! rotated now and then: renamed, written to for a while longer, and made anew.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::{Place, line};

/// The running program.
pub(crate) struct Program {
    stop: Arc<AtomicBool>,
    wanted_count: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

const NAMES: [&str; 3] = ["a.log", "b.log", "c.log"];

impl Program {
    /// A program that logs at `place`; lines begin with `name`. It has nothing to say yet.
    pub(crate) fn start(name: &str, place: Arc<Place>, random: fastrand::Rng) -> Self {
        let (stop, wanted_count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let logs = NAMES.map(|log| Log::open(&place, log));
        let program = Running { name: name.to_owned(), place, random, logs, written: Vec::new() };
        let (stopped, wanted) = (Arc::clone(&stop), Arc::clone(&wanted_count));
        Self { stop, wanted_count, thread: thread::spawn(move || program.run(&stopped, &wanted)) }
    }

    /// It has so many more lines to say.
    pub(crate) fn say(&self, count: usize) {
        self.wanted_count.fetch_add(count, Ordering::Relaxed);
    }

    /// Ends it, and returns what it has written.
    pub(crate) fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Running {
    name: String,
    place: Arc<Place>,
    random: fastrand::Rng,
    logs: [Log; NAMES.len()],
    written: Vec<String>,
}

struct Log {
    name: &'static str,
    file: File,
    rotation_count: usize,
    /// It is renamed: so many more batches go to it.
    reopens_after: Option<usize>,
}

impl Log {
    fn open(place: &Place, name: &'static str) -> Self {
        Self { name, file: append_to(place, name), rotation_count: 0, reopens_after: None }
    }
}

fn append_to(place: &Place, name: &str) -> File {
    File::options().create(true).append(true).open(place.log(name)).unwrap()
}

impl Running {
    fn run(mut self, stop: &AtomicBool, wanted_count: &AtomicUsize) -> Vec<String> {
        while !stop.load(Ordering::Relaxed) {
            if self.written.len() >= wanted_count.load(Ordering::Relaxed) {
                self.pause(20);
                continue;
            }
            let index = self.random.usize(..self.logs.len());
            self.write(index);
            self.rotate(index);
            self.pause(20);
        }
        self.written
    }

    fn write(&mut self, index: usize) {
        let log = &mut self.logs[index];
        let from = format!("{} {}", self.name, log.name);
        let first = self.written.len();
        let batch: Vec<String> =
            (0..self.random.usize(1..15)).map(|index| line(&from, first + index, self.random.usize(30..600))).collect();
        let text = batch.join("\n") + "\n";
        let (begin, rest) = text.as_bytes().split_at(self.random.usize(..text.len()));
        log.file.write_all(begin).unwrap();
        self.pause(10);
        self.logs[index].file.write_all(rest).unwrap();
        self.written.extend(batch);
    }

    fn rotate(&mut self, index: usize) {
        let log = &mut self.logs[index];
        match log.reopens_after {
            Some(0) => {
                log.file = append_to(&self.place, log.name);
                log.reopens_after = None;
            }
            Some(count) => log.reopens_after = Some(count - 1),
            None if self.random.u32(..40) == 0 => {
                log.rotation_count += 1;
                let renamed = format!("{}.{}.{}", log.name, self.name, log.rotation_count);
                // Of short files it takes more than their content to know a copy.
                if self.random.bool() && log.file.metadata().unwrap().len() > 8_192 {
                    fs::copy(self.place.log(log.name), self.place.log(&renamed)).unwrap();
                    log.file.set_len(0).unwrap();
                    return;
                }
                fs::rename(self.place.log(log.name), self.place.log(&renamed)).unwrap();
                log.reopens_after = Some(self.random.usize(..5));
            }
            None => {}
        }
    }

    /// The pace of its users.
    fn pause(&mut self, ms_max: u64) {
        thread::park_timeout(Duration::from_millis(self.random.u64(..ms_max)));
    }
}
