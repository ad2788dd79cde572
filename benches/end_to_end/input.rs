//! Logs to ship: access logs, different from each other line by line, the same in every run.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::access::long_access;

/// Files in the page cache.
pub(crate) struct Input {
    folder: PathBuf,
    pub(crate) file_count: usize,
    pub(crate) byte_count: u64,
    pub(crate) line_count: u64,
}

impl Input {
    /// At least so many bytes, spread evenly over so many files. What an earlier run has left is used again.
    pub(crate) fn new(byte_count: u64, file_count: usize) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("access-logs-{byte_count}-{file_count}"));
        if !is_current(&folder) {
            let _ = fs::remove_dir_all(&folder);
            let unfinished = folder.with_extension("unfinished");
            let _ = fs::remove_dir_all(&unfinished);
            fs::create_dir_all(&unfinished).unwrap();
            generate(&unfinished, byte_count, file_count);
            fs::rename(unfinished, &folder).unwrap();
        }
        let (mut byte_count, mut line_count) = (0, 0);
        for entry in fs::read_dir(&folder).unwrap() {
            let (bytes, lines) = read_through(&entry.unwrap().path());
            byte_count += bytes;
            line_count += lines;
        }
        Self { folder, file_count, byte_count, line_count }
    }

    /// What matches its files.
    pub(crate) fn glob(&self) -> String {
        self.folder.join("*.log").to_str().unwrap().to_owned()
    }

    pub(crate) fn first_file(&self) -> PathBuf {
        first_file(&self.folder)
    }
}

fn first_file(folder: &Path) -> PathBuf {
    folder.join("access-00000.log")
}

/// Whether it begins as it would now.
fn is_current(folder: &Path) -> bool {
    let mut begun = String::new();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..10 {
        long_access(&mut random, &mut begun);
        begun.push('\n');
    }
    let mut found = vec![0; begun.len()];
    let read = File::open(first_file(folder)).and_then(|mut file| file.read_exact(&mut found));
    read.is_ok() && found == begun.as_bytes()
}

fn generate(folder: &Path, byte_count: u64, file_count: usize) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut line = String::new();
    for index in 0..file_count {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(folder.join(format!("access-{index:05}.log"))).unwrap());
        let mut left = (byte_count / file_count as u64) as i64;
        while left > 0 {
            line.clear();
            long_access(&mut random, &mut line);
            line.push('\n');
            file.write_all(line.as_bytes()).unwrap();
            left -= line.len() as i64;
        }
        file.flush().unwrap();
    }
}

/// Bytes and lines of a file, which is in the page cache then.
fn read_through(path: &Path) -> (u64, u64) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let (mut byte_count, mut line_count) = (0, 0);
    loop {
        let length = file.read(&mut buffer).unwrap();
        if length == 0 {
            return (byte_count, line_count);
        }
        byte_count += length as u64;
        line_count += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64;
    }
}
