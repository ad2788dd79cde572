//! The files that the simulated programs write, and what is in them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kinetail::aggregator::{Aggregate, MAGIC};
use kinetail::span::{FileKey, Span};

/// A folder of log files.
pub(crate) struct Logs {
    folder: PathBuf,
    pub(crate) files: Vec<LogFile>,
    pub(crate) line_count: u64,
    change_count: u64,
}

/// One file, whatever its name is now.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) inode: (u64, u64),
    pub(crate) bytes: Vec<u8>,
    /// The last line of a rotated file needs no end for long; that story is told elsewhere, so here it always has one.
    is_rotated: bool,
    handle: File,
}

/// What is longer than anything that fits into a record.
const LONGEST_LINE_BYTES: usize = 1_300_000;

impl Logs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        Self { folder, files: Vec::new(), line_count: 0, change_count: 0 }
    }

    pub(crate) fn create(&mut self) {
        let path = self.folder.join(format!("{}.log", self.files.len()));
        self.create_at(path);
    }

    /// Renames a file within the globs; a new file takes its name.
    pub(crate) fn rotate(&mut self, index: usize) {
        if !self.files[index].bytes.ends_with(b"\n") {
            self.write(index, b"\n");
        }
        self.files[index].is_rotated = true;
        let rotated = self.folder.join(format!("rotated.log.{}", self.files.len()));
        let path = std::mem::replace(&mut self.files[index].path, rotated);
        fs::rename(&path, &self.files[index].path).unwrap();
        self.create_at(path);
    }

    fn create_at(&mut self, path: PathBuf) {
        let handle = File::options().create_new(true).append(true).open(&path).unwrap();
        handle.set_modified(self.next_time()).unwrap();
        let metadata = handle.metadata().unwrap();
        self.files.push(LogFile { path, inode: (metadata.dev(), metadata.ino()), bytes: Vec::new(), is_rotated: false, handle });
    }

    /// Some lines of all kinds to the end of a file, perhaps without the end of the last one.
    pub(crate) fn append(&mut self, index: usize, max_bytes: usize, rng: &mut fastrand::Rng) {
        let mut text = Vec::new();
        for _ in 0..rng.usize(1..12) {
            text.extend(self.line(index, max_bytes, rng));
        }
        if rng.u8(..4) == 0 && !self.files[index].is_rotated {
            text.truncate(rng.usize(..text.len()));
        }
        self.write(index, &text);
    }

    /// More than an agent may hold in memory at once, or a part of that.
    pub(crate) fn append_much(&mut self, index: usize, rng: &mut fastrand::Rng) {
        let byte_count = rng.usize(100_000..3_000_000);
        let line_bytes = [100, 2_000, 60_000, LONGEST_LINE_BYTES][rng.usize(..4)].max(byte_count / 2_000);
        let mut text = Vec::new();
        while text.len() < byte_count {
            let length = rng.usize(..line_bytes);
            text.extend(self.numbered(index, length, rng));
            text.push(b'\n');
        }
        self.write(index, &text);
    }

    fn write(&mut self, index: usize, text: &[u8]) {
        let time = self.next_time();
        let file = &mut self.files[index];
        file.handle.write_all(text).unwrap();
        file.handle.set_modified(time).unwrap();
        file.bytes.extend(text);
    }

    /// Files are looked at in the order of these times, which the kernel would tell apart at one time and not at another.
    fn next_time(&mut self) -> SystemTime {
        self.change_count += 1;
        UNIX_EPOCH + Duration::from_secs(self.change_count)
    }

    fn line(&mut self, index: usize, max_bytes: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
        let length = rng.usize(..max_bytes.min(400));
        let mut line = match rng.u8(..16) {
            0 => Vec::new(),
            1 => [self.numbered(index, length, rng), b"\0\0 nul".to_vec()].concat(),
            2 => [self.numbered(index, length, rng), b" \xff\xfe\x80 not UTF-8 \xe6\x97".to_vec()].concat(),
            3 => [MAGIC.to_vec(), self.numbered(index, length, rng)].concat(),
            4 => aggregate(&self.numbered(index, length, rng)),
            5 => [b" no key ".to_vec(), self.numbered(index, length, rng)].concat(),
            6 => [vec![b'k'; rng.usize(250..600)], b" ".to_vec(), self.numbered(index, length, rng)].concat(),
            7 => b"\r".to_vec(),
            8 => [self.numbered(index, length, rng), "\u{1}é日本🦀".repeat(rng.usize(..20)).into_bytes()].concat(),
            // About as long as a line may be, and longer.
            9 | 10 if max_bytes < 100_000 => self.numbered(index, (max_bytes - max_bytes.min(4)) + rng.usize(..8), rng),
            11 if max_bytes < 100_000 => {
                let longer = max_bytes + rng.usize(..3 * max_bytes);
                [self.numbered(index, rng.usize(..20), rng), "日é".repeat(longer / 5).into_bytes()].concat()
            }
            _ => self.numbered(index, length, rng),
        };
        line.retain(|byte| *byte != b'\n');
        line.extend(if rng.u8(..5) == 0 { b"\r\n".as_slice() } else { b"\n" });
        line
    }

    /// A line unlike any other, of about `length` bytes.
    fn numbered(&mut self, index: usize, length: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
        self.line_count += 1;
        let mut line = format!("f{index} #{} ", self.line_count).into_bytes();
        let filling = rng.u8(b'a'..=b'z');
        line.resize(line.len().max(length), filling);
        line
    }
}

/// A line that is itself an aggregate, as when somebody logs what they read from a stream.
fn aggregate(data: &[u8]) -> Vec<u8> {
    let mut aggregate = Aggregate::new(1);
    aggregate.try_push("key", data, Span::new(FileKey(1), 0, 1), usize::MAX);
    aggregate.finish().data.to_vec()
}
