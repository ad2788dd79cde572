//! The file `written`: that there is a store, of which version, and how far it was committed.
//!
//! It is there from the first commit on, so that a store that has lost everything is not taken for a new one; and each commit
//! writes its number, so that one that has lost the last commits is noticed. That is not waited for: after a power cut the number
//! may be an older one, and says only what must be there at least.
//!
//! ```text
//! 8 bytes   "kinetail"
//! u32       version of the store
//! u64       generation of the last commit
//! 16 bytes  MD5 of the kernel's boot id; zeros: an orderly end, the number is the last one
//! 16 bytes  MD5 of everything before, in every version
//! ```
//!
//! Numbers are little-endian. Version 2 had an empty file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use md5::{Digest as _, Md5};

use super::VERSION;
use super::snapshot::{is_damage, nonblocking, read_file, sync_folder};

const WRITTEN_FILE: &str = "written";
const MAGIC: &[u8; 8] = b"kinetail";
const CHECK_BYTES: usize = 16;
/// More than any version has.
const BYTES_MAX: u64 = 4096;
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing was ever committed.
    Never,
    /// Something was, nobody knows how much.
    Somewhat,
    /// At least this generation.
    AtLeast(u64),
    /// This generation was the last.
    Exactly(u64),
    /// By a kinetail of this later version.
    Later(u32),
}

impl Written {
    /// Reads it.
    pub(super) fn read(state_dir: &Path) -> io::Result<Self> {
        match read_file(&state_dir.join(WRITTEN_FILE), BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Never),
            Err(error) if is_damage(&error) => Ok(Self::Somewhat),
            bytes => Ok(Self::decode(&bytes?, &boot())),
        }
    }

    fn decode(bytes: &[u8], boot_now: &[u8; 16]) -> Self {
        let decoded = || {
            let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
            let (version, rest) = content.strip_prefix(MAGIC)?.split_first_chunk()?;
            (Md5::digest(content).as_slice() == check).then_some((u32::from_le_bytes(*version), rest))
        };
        match decoded() {
            Some((VERSION, rest)) => match rest.split_first_chunk() {
                Some((generation, boot)) if boot == [0; 16] || boot == boot_now => Self::Exactly(u64::from_le_bytes(*generation)),
                Some((generation, _)) => Self::AtLeast(u64::from_le_bytes(*generation)),
                None => Self::Somewhat,
            },
            Some((version, _)) if version > VERSION => Self::Later(version),
            _ => Self::Somewhat,
        }
    }

    /// The greatest generation that it knows of.
    pub(super) fn generation(self) -> Option<u64> {
        match self {
            Self::AtLeast(generation) | Self::Exactly(generation) => Some(generation),
            Self::Never | Self::Somewhat | Self::Later(_) => None,
        }
    }
}

/// The file, open to be written.
pub(super) struct WrittenFile {
    file: File,
    boot: [u8; 16],
}

impl WrittenFile {
    /// Makes the file, or opens it, and writes this generation so that it stays.
    pub(super) fn create(state_dir: &Path, generation: u64) -> io::Result<Self> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true).mode(0o600).custom_flags(nonblocking());
        let written = Self { file: options.open(state_dir.join(WRITTEN_FILE))?, boot: boot() };
        written.write(generation, &written.boot)?;
        written.file.sync_all()?;
        sync_folder(state_dir)?;
        Ok(written)
    }

    /// A commit is done. What is wrong with the file must not undo it: without the number less is noticed.
    pub(super) fn set(&self, generation: u64) {
        let _ = self.write(generation, &self.boot);
    }

    /// No commit follows. Returns when that is on the disk.
    pub(super) fn set_last(&self, generation: u64) -> io::Result<()> {
        self.write(generation, &[0; 16])?;
        self.file.sync_all()
    }

    fn write(&self, generation: u64, boot: &[u8; 16]) -> io::Result<()> {
        self.file.write_all_at(&encode(generation, boot), 0)
    }
}

fn encode(generation: u64, boot: &[u8; 16]) -> Vec<u8> {
    let content = [&MAGIC[..], &VERSION.to_le_bytes(), &generation.to_le_bytes(), boot].concat();
    let check = Md5::digest(&content);
    [content.as_slice(), check.as_slice()].concat()
}

/// Names this boot: what the page cache has of it is what was written. Where it cannot be had, nothing was written in the same.
fn boot() -> [u8; 16] {
    match read_file(Path::new(BOOT_ID_FILE), BYTES_MAX) {
        Ok(id) if !id.is_empty() => Md5::digest(id).into(),
        _ => std::array::from_fn(|_| fastrand::u8(1..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let is = |written| assert_eq!(Written::read(folder.path()).unwrap(), written);
        is(Written::Never);
        let file = WrittenFile::create(folder.path(), 1).unwrap();
        is(Written::Exactly(1));
        file.set(2);
        is(Written::Exactly(2));
        file.set_last(3).unwrap();
        is(Written::Exactly(3));
        // As version 2 left it.
        File::create(folder.path().join(WRITTEN_FILE)).unwrap();
        is(Written::Somewhat);
        std::fs::remove_file(folder.path().join(WRITTEN_FILE)).unwrap();
        std::fs::create_dir(folder.path().join(WRITTEN_FILE)).unwrap();
        is(Written::Somewhat);
    }

    /// What was not flushed may be lost with a power cut, and the file be as it was before.
    #[test]
    fn after_another_boot_there_may_have_been_more_unless_the_end_was_orderly() {
        let (this, other) = ([1; 16], [2; 16]);
        assert_eq!(Written::decode(&encode(5, &this), &this), Written::Exactly(5));
        assert_eq!(Written::decode(&encode(5, &other), &this), Written::AtLeast(5));
        assert_eq!(Written::decode(&encode(5, &[0; 16]), &this), Written::Exactly(5));
    }

    #[test]
    fn damage_leaves_that_something_was_written() {
        let bytes = encode(5, &[1; 16]);
        for index in 0..bytes.len() {
            assert_eq!(Written::decode(&bytes[..index], &[1; 16]), Written::Somewhat);
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[index] ^= 1 << bit;
                assert_eq!(Written::decode(&bytes, &[1; 16]), Written::Somewhat);
            }
        }
    }

    #[test]
    fn a_later_version_is_known_whatever_else_it_says() {
        let content = [&MAGIC[..], &4_u32.to_le_bytes(), b"more"].concat();
        let check = Md5::digest(&content);
        assert_eq!(Written::decode(&[&content[..], &check].concat(), &[1; 16]), Written::Later(4));
    }
}
