//! One file that is tailed: what of it was handed on, and the next piece of it.
//!
//! This module decides where in the file to read and how much; which file has its turn, and when the file's
//! life ends, is the tailer's decision.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use md5::{Digest, Md5};

use super::charset::Charset;
use super::lines::{Pieces, Splitter};
use crate::config::LineRules;
use crate::limits::{FINGERPRINT_BYTES, READ_BYTES};
use crate::offsets::Fingerprint;
use crate::settlement::Settlement;
use crate::span::FileKey;

/// A file by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl Inode {
    /// Of an open file, or of a path.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// One life of one file while it is open.
pub(super) struct TailedFile {
    /// Its key.
    pub key: FileKey,
    /// Where it was last seen.
    pub path: Arc<Path>,
    /// Its beginning.
    pub fingerprint: Fingerprint,
    handle: File,
    splitter: Splitter,
    /// First byte not handed on: the beginning of a line, or of the rest of one that is too long.
    position: u64,
    /// No newline is in `position..scanned`; at least `position`.
    scanned: u64,
    /// What was settled before this life was opened.
    settled_before: Settlement,
    /// Size when last looked at.
    byte_count: u64,
    /// Greatest size seen by a look in this life.
    byte_count_max: u64,
}

/// How a file begins now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// As it did.
    Same,
    /// As it did, and more of it is known.
    Grown(Fingerprint),
    /// Otherwise: its content is not that of this life.
    Different,
}

/// The end of a life by truncation.
pub(super) struct Ended {
    /// The life.
    pub(super) key: FileKey,
    /// First byte not read.
    pub(super) read_until: u64,
    /// Bytes from there that were seen and are gone.
    pub(super) unreachable_byte_count: u64,
}

/// What a look at a file gave.
pub(super) enum Look {
    /// Lines, read from this offset.
    Piece(u64, Pieces),
    /// Nothing that can be handed on now: at its end, or in an unfinished line.
    Waiting,
    /// It is shorter than what was read of it.
    Truncated,
}

impl TailedFile {
    /// A life of the file behind `handle` of which `settled_before` is settled.
    pub(super) fn resume(
        key: FileKey,
        path: Arc<Path>,
        handle: File,
        fingerprint: Fingerprint,
        rules: LineRules,
        settled_before: Settlement,
    ) -> io::Result<Self> {
        let position = settled_before.watermark();
        let byte_count = handle.metadata()?.len();
        let mut file = Self {
            key,
            path,
            fingerprint,
            handle,
            splitter: Splitter::new(rules),
            position,
            scanned: position,
            settled_before,
            byte_count,
            byte_count_max: byte_count,
        };
        file.go_to(position)?;
        Ok(file)
    }

    /// The file was truncated: a new life begins at its first byte. Returns what ended.
    pub(super) fn begin_again(&mut self, key: FileKey) -> io::Result<Ended> {
        let fingerprint = fingerprint(&self.handle, FINGERPRINT_BYTES)?;
        let byte_count = self.handle.metadata()?.len();
        let unreachable_byte_count = self.byte_count_max.saturating_sub(self.position);
        let ended = Ended { key: self.key, read_until: self.position, unreachable_byte_count };
        self.key = key;
        self.fingerprint = fingerprint;
        self.settled_before = Settlement::default();
        self.position = 0;
        self.scanned = 0;
        self.byte_count = byte_count;
        self.byte_count_max = byte_count;
        self.splitter = self.splitter.anew();
        Ok(ended)
    }

    /// First byte not handed on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Size when last looked at.
    pub(super) fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// A rescan has seen this size; whether of the same content, the next look tells.
    pub(super) fn saw(&mut self, byte_count: u64) {
        self.byte_count = byte_count;
    }

    /// The next piece, at most [`READ_BYTES`] unless a line is longer, read into `buffer`. With `finish` an
    /// unfinished last line is a line, when nothing else is left.
    pub(super) fn look(&mut self, buffer: &mut Vec<u8>, finish: bool) -> io::Result<Look> {
        self.byte_count = self.handle.metadata()?.len();
        self.byte_count_max = self.byte_count_max.max(self.byte_count);
        if self.byte_count < self.position {
            return Ok(Look::Truncated);
        }
        self.skip_settled()?;
        if self.byte_count < self.scanned {
            self.scanned = self.position;
        }
        let next_settled = self.settled_before.above().map(|(start, _)| start).find(|start| *start > self.position);
        let end = next_settled.map_or(self.byte_count, |start| start.min(self.byte_count));
        let is_finishing = finish || next_settled == Some(end);
        if !is_finishing && self.nothing_new_ends_a_line(buffer, end)? {
            return Ok(Look::Waiting);
        }
        let mut length = READ_BYTES as u64;
        loop {
            let read_until = end.min(self.position + length);
            read_at(&self.handle, buffer, self.position, read_until)?;
            // Truncated meanwhile, or a file that yields less than its size: the next look sees what is there.
            let is_short = self.position + (buffer.len() as u64) < read_until;
            let is_all = read_until == end;
            let mut pieces = self.splitter.split(self.position, buffer, false);
            if pieces.consumed == 0 && is_all && is_finishing && !is_short {
                pieces = self.splitter.split(self.position, buffer, true);
            }
            if pieces.consumed > 0 {
                let start = self.position;
                self.position += pieces.consumed as u64;
                self.scanned = self.scanned.max(self.position);
                return Ok(Look::Piece(start, pieces));
            }
            if is_all || is_short {
                self.scanned = self.position + buffer.len() as u64;
                return Ok(Look::Waiting);
            }
            length = (length * 2).min(self.splitter.undecided_bytes_max() as u64 + 1);
        }
    }

    /// Whether the file still begins as it did: one that was truncated, and has grown again since the last look,
    /// is told by that. Of a short file more of the beginning may be known now.
    pub(super) fn beginning(&mut self) -> io::Result<Beginning> {
        let known = self.fingerprint;
        let mut bytes = Vec::new();
        read_at(&self.handle, &mut bytes, 0, FINGERPRINT_BYTES as u64)?;
        let is_same = bytes.get(..known.byte_count as usize).is_some_and(|bytes| hash(bytes) == known);
        if !is_same {
            return Ok(Beginning::Different);
        }
        if bytes.len() == known.byte_count as usize {
            return Ok(Beginning::Same);
        }
        self.fingerprint = hash(&bytes);
        Ok(Beginning::Grown(self.fingerprint))
    }

    /// Looks only at bytes not looked at before, so that a long line written in small pieces costs no more
    /// than its length.
    fn nothing_new_ends_a_line(&mut self, buffer: &mut Vec<u8>, end: u64) -> io::Result<bool> {
        while self.scanned < end
            && self.scanned > self.position
            && end - self.position <= self.splitter.undecided_bytes_max() as u64
        {
            let start = self.splitter.unit_start(self.scanned);
            read_at(&self.handle, buffer, start, end.min(start + READ_BYTES as u64))?;
            let scanned = start + buffer.len() as u64;
            if scanned <= self.scanned {
                return Ok(true);
            }
            if self.splitter.has_line_end(buffer) {
                return Ok(false);
            }
            self.scanned = scanned;
        }
        Ok(self.scanned >= end)
    }

    fn skip_settled(&mut self) -> io::Result<()> {
        while let Some(end) = self.settled_before.settled_until(self.position) {
            self.go_to(end)?;
        }
        Ok(())
    }

    fn go_to(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        self.scanned = self.scanned.max(position);
        let mut before = Vec::new();
        self.pass_beginning(&mut before)?;
        read_at(&self.handle, &mut before, position.saturating_sub(2), position)?;
        if !self.splitter.is_line_start(position, &before) {
            let context_start = position.saturating_sub(self.splitter.context_bytes() as u64);
            read_at(&self.handle, &mut before, context_start, position)?;
        }
        self.splitter.resume_behind(position, &before);
        Ok(())
    }

    /// What can only be told from the beginning of the file: how many lines of its header are still to come, and the
    /// order of bytes.
    fn pass_beginning(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if !self.splitter.needs_beginning() {
            return Ok(());
        }
        self.splitter = self.splitter.anew();
        let mut passed = 0;
        while passed < self.position && self.splitter.needs_beginning() {
            read_at(&self.handle, buffer, passed, self.position.min(passed + READ_BYTES as u64))?;
            if buffer.is_empty() {
                break;
            }
            self.splitter.pass(passed, buffer);
            passed += buffer.len() as u64;
        }
        Ok(())
    }
}

/// The beginning of a file, at most `byte_count_max` bytes of it.
pub(super) fn fingerprint(handle: &File, byte_count_max: usize) -> io::Result<Fingerprint> {
    let mut bytes = Vec::new();
    read_at(handle, &mut bytes, 0, byte_count_max as u64)?;
    Ok(hash(&bytes))
}

fn hash(beginning: &[u8]) -> Fingerprint {
    let digest: [u8; 16] = Md5::digest(beginning).into();
    let hash = u64::from_be_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]]);
    Fingerprint { byte_count: u32::try_from(beginning.len()).unwrap_or(u32::MAX), hash }
}

/// Where the unfinished last line of a file begins, looking back as far as a line may be long; the end of the
/// file when its last byte is a newline.
pub(super) fn start_of_last_line(handle: &File, rules: LineRules) -> io::Result<u64> {
    let mut bytes = Vec::new();
    read_at(handle, &mut bytes, 0, 2)?;
    let charset = Charset::of(rules.encoding, &bytes);
    let whole_units = |offset: u64| offset - offset % charset.unit_bytes() as u64;
    let end = whole_units(handle.metadata()?.len());
    let context_start = whole_units(end.saturating_sub(rules.max_bytes as u64));
    read_at(handle, &mut bytes, context_start, end)?;
    Ok(match charset.rfind_newline(&bytes) {
        Some(at) => context_start + (at + charset.unit_bytes()) as u64,
        None if context_start == 0 => 0,
        None => end,
    })
}

/// Reads `start..end` into `buffer`, less where the file ends before.
fn read_at(handle: &File, buffer: &mut Vec<u8>, start: u64, end: u64) -> io::Result<()> {
    buffer.clear();
    buffer.resize(usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX), 0);
    let mut filled = 0;
    while filled < buffer.len() {
        match handle.read_at(&mut buffer[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encoding, TooLong};

    struct Opened {
        _folder: tempfile::TempDir,
        path: std::path::PathBuf,
        file: TailedFile,
        buffer: Vec<u8>,
    }

    impl Opened {
        fn with(content: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.log");
            std::fs::write(&path, content).unwrap();
            let file = tailed(&path);
            Self { _folder: folder, path, file, buffer: Vec::new() }
        }

        /// The lines of the next piece, none when there is none yet, or `["truncated"]`.
        fn look(&mut self, finish: bool) -> Vec<String> {
            match self.file.look(&mut self.buffer, finish).unwrap() {
                Look::Piece(_, pieces) => {
                    let text = |line: &super::super::Line| String::from_utf8_lossy(&self.buffer[line.text.clone()]).into_owned();
                    pieces.lines.iter().map(text).collect()
                }
                Look::Waiting => Vec::new(),
                Look::Truncated => vec!["truncated".to_owned()],
            }
        }
    }

    fn tailed(path: &Path) -> TailedFile {
        let handle = File::open(path).unwrap();
        let fingerprint = fingerprint(&handle, FINGERPRINT_BYTES).unwrap();
        TailedFile::resume(FileKey(1), path.into(), handle, fingerprint, rules(Encoding::Utf8), Settlement::default()).unwrap()
    }

    fn rules(encoding: Encoding) -> LineRules {
        LineRules { encoding, skip_header_lines: 0, max_bytes: 1000, too_long: TooLong::Truncate, strip_cr: false }
    }

    #[test]
    fn the_last_line_begins_behind_the_last_newline() {
        for (encoding, content, start) in [
            (Encoding::Utf8, b"one\ntwo".as_slice(), 4),
            (Encoding::Utf8, b"one\n", 4),
            (Encoding::Utf8, b"one", 0),
            (Encoding::Utf16, b"\xfe\xff\0a\0\n\n\0\0b\0", 6),
            (Encoding::Utf16, b"\xff\xfea\0\n\0\0\nb", 6),
            (Encoding::Utf16, b"a\0\0\n\0", 0),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let found = start_of_last_line(file.as_file(), rules(encoding)).unwrap();
            assert_eq!(found, start, "{encoding:?} {content:?}");
        }
    }

    #[test]
    fn an_unfinished_line_waits_and_is_a_line_of_its_own_only_at_the_finish() {
        let mut opened = Opened::with("one\ntwo\nhalf");
        assert_eq!(opened.look(true), ["one", "two"]);
        assert_eq!(opened.look(false), [""; 0]);
        assert_eq!(opened.look(true), ["half"]);
        assert_eq!(opened.look(true), [""; 0]);
    }

    #[test]
    fn a_line_that_was_cut_short_and_written_anew_is_read() {
        let mut opened = Opened::with("one\nabcdef");
        assert_eq!(opened.look(false), ["one"]);
        assert_eq!(opened.look(false), [""; 0]);
        std::fs::write(&opened.path, "one\nx\n").unwrap();
        assert_eq!(opened.look(false), ["x"]);
    }

    #[test]
    fn a_file_shorter_than_what_was_read_begins_again() {
        let mut opened = Opened::with("one\ntwo\n");
        assert_eq!(opened.look(false), ["one", "two"]);
        std::fs::write(&opened.path, "new\n").unwrap();
        assert_eq!(opened.look(false), ["truncated"]);
        let ended = opened.file.begin_again(FileKey(2)).unwrap();
        assert_eq!((ended.key, ended.read_until, ended.unreachable_byte_count), (FileKey(1), 8, 0));
        assert_eq!(opened.look(false), ["new"]);
    }

    #[test]
    fn a_file_rewritten_past_the_old_position_is_told_by_its_beginning() {
        let mut opened = Opened::with("one\n");
        assert_eq!(opened.look(false), ["one"]);
        assert_eq!(opened.file.beginning().unwrap(), Beginning::Same);
        std::fs::write(&opened.path, "one\ntwo\n").unwrap();
        assert!(matches!(opened.file.beginning().unwrap(), Beginning::Grown(_)));
        std::fs::write(&opened.path, "other\nlines\n").unwrap();
        assert_eq!(opened.file.beginning().unwrap(), Beginning::Different);
        std::fs::write(&opened.path, "on").unwrap();
        assert_eq!(opened.file.beginning().unwrap(), Beginning::Different);
    }

    /// A file that yields less than its size, as those of sysfs do, is waited for, not read for ever.
    #[test]
    fn a_file_that_yields_less_than_its_size_is_waited_for() {
        let path = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
        if !path.exists() {
            return;
        }
        let mut file = tailed(path);
        file.saw(1 << 20);
        let mut buffer = Vec::new();
        for finish in [false, true, false, true] {
            assert!(!matches!(file.look(&mut buffer, finish).unwrap(), Look::Truncated));
        }
    }
}
