//! The snapshot: the whole store in one file of our own, for when sled cannot read its own.
//!
//! ```text
//! 8 bytes   "ktoffset"
//! u32       version
//! u64       generation
//! u8        1 when rolled back, else 0
//! u64       how many entries follow, in the order of their keys
//!           u32 length and bytes of the key, u32 length and bytes of the value, for each
//! 16 bytes  MD5 of everything before, in every version
//! ```
//!
//! Numbers are little-endian. It is also what a child that reads a store writes to its parent.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use md5::{Digest as _, Md5};
use rustix::fs::OFlags;

use super::VERSION;
use super::content::Image;
use crate::failpoint;
use crate::limits::STORE_SNAPSHOT_BYTES_MAX;

/// Its name in the state folder.
pub(super) const SNAPSHOT_FILE: &str = "snapshot";
/// Its name while it is written.
pub(super) const UNFINISHED_SNAPSHOT: &str = "snapshot.new";
const MAGIC: &[u8; 8] = b"ktoffset";
/// Where the number of entries is.
const ENTRY_COUNT_AT: usize = 21;
const CHECK_BYTES: usize = 16;

/// Why something cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is of this later version.
    Later(u32),
    /// It is not what was written.
    Damaged(String),
}

/// A snapshot that is being put together.
pub(super) struct Encoder {
    bytes: Vec<u8>,
    entry_count: u64,
}

impl Encoder {
    pub(super) fn new(generation: u64, is_rolled_back: bool) -> Self {
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &generation.to_le_bytes()].concat();
        bytes.push(u8::from(is_rolled_back));
        debug_assert_eq!(bytes.len(), ENTRY_COUNT_AT);
        bytes.extend(0_u64.to_le_bytes());
        Self { bytes, entry_count: 0 }
    }

    /// The next entry, in the order of keys.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        self.entry_count += 1;
        for part in [key, value] {
            // None is longer: a row of 4 GiB does not fit into any of the other bounds.
            self.bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            self.bytes.extend(part);
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.splice(ENTRY_COUNT_AT..ENTRY_COUNT_AT + 8, self.entry_count.to_le_bytes());
        let check = Md5::digest(&self.bytes);
        self.bytes.extend(check);
        self.bytes
    }
}

/// The bytes of it.
pub(super) fn encode(image: &Image) -> Vec<u8> {
    let mut encoder = Encoder::new(image.generation, image.is_rolled_back);
    for (key, value) in &image.entries {
        encoder.push(key, value);
    }
    encoder.finish()
}

/// What was encoded, if these are exactly the bytes of it.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, Unfit> {
    let damaged = |what: &str| Unfit::Damaged(what.to_owned());
    let (mut rest, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| damaged("it is too short"))?;
    if Md5::digest(rest).as_slice() != check {
        return Err(damaged("its checksum does not fit"));
    }
    let rest = &mut rest;
    let mut version = || (take(rest)? == *MAGIC).then(|| take(rest).map(u32::from_le_bytes))?;
    match version() {
        Some(VERSION) => {}
        Some(version) if version > VERSION => return Err(Unfit::Later(version)),
        _ => return Err(damaged("it is not a snapshot")),
    }
    decode_content(rest).ok_or_else(|| damaged("it ends too early or too late"))
}

fn decode_content(rest: &mut &[u8]) -> Option<Image> {
    let generation = u64::from_le_bytes(take(rest)?);
    let [is_rolled_back] = take(rest)?;
    let mut image = Image { generation, is_rolled_back: is_rolled_back != 0, ..Image::default() };
    for _ in 0..u64::from_le_bytes(take(rest)?) {
        let key = take_bytes(rest)?;
        image.entries.insert(key, take_bytes(rest)?);
    }
    rest.is_empty().then_some(image)
}

fn take<const COUNT: usize>(rest: &mut &[u8]) -> Option<[u8; COUNT]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let byte_count = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (taken, behind) = rest.split_at_checked(byte_count)?;
    *rest = behind;
    Some(taken.to_vec())
}

/// The snapshot in `state_dir`; none where there is none.
pub(super) fn read(state_dir: &Path) -> io::Result<Option<Result<Image, Unfit>>> {
    let bytes = match read_file(&state_dir.join(SNAPSHOT_FILE), STORE_SNAPSHOT_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_damage(&error) => return Ok(Some(Err(Unfit::Damaged(error.to_string())))),
        bytes => bytes?,
    };
    Ok(Some(decode(&bytes)))
}

/// Whether this comes from what is stored, and not from the state of the system or the permissions of the process.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    use rustix::io::Errno;
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR].map(|errno| Some(errno.raw_os_error()));
    let of_the_system = [
        Kind::StorageFull,
        Kind::QuotaExceeded,
        Kind::FileTooLarge,
        Kind::ReadOnlyFilesystem,
        Kind::PermissionDenied,
        Kind::ResourceBusy,
        Kind::OutOfMemory,
    ];
    !of_the_system.contains(&error.kind()) && !passing.contains(&error.raw_os_error())
}

/// A file, if it is a file and not larger than this: a pipe of its name would be waited for without end.
pub(super) fn read_file(path: &Path, byte_count_max: u64) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(nonblocking()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
    }
    if metadata.len() > byte_count_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has {} bytes", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(byte_count_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// So that opening a pipe does not wait for its other end.
pub(super) fn nonblocking() -> i32 {
    OFlags::NONBLOCK.bits().cast_signed()
}

/// Puts these bytes of a snapshot in the place of the one that is there, and returns when that is on the disk.
pub(super) fn write(state_dir: &Path, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 > STORE_SNAPSHOT_BYTES_MAX {
        let what = format!("the snapshot would have {} bytes, the limit is {STORE_SNAPSHOT_BYTES_MAX}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    failpoint::pass("before_snapshot");
    let unfinished = state_dir.join(UNFINISHED_SNAPSHOT);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    failpoint::pass("before_rename");
    fs::rename(&unfinished, state_dir.join(SNAPSHOT_FILE))?;
    failpoint::pass("after_rename");
    sync_folder(state_dir)
}

/// What was made, renamed or removed in it is so after a power cut too.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let entry = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let entries = [entry("f1", "a row"), entry("s", ""), entry("", "without a key")].into();
        Image { generation: 7, is_rolled_back: true, entries }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for image in [Image::default(), image()] {
            assert_eq!(decode(&encode(&image)), Ok(image));
        }
    }

    #[test]
    fn no_damage_is_taken_for_a_snapshot() {
        let bytes = encode(&image());
        let check = |bytes: &[u8]| assert!(matches!(decode(bytes), Err(Unfit::Damaged(_))), "{bytes:?}");
        for index in 0..bytes.len() {
            check(&bytes[..index]);
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[index] ^= 1 << bit;
                check(&bytes);
            }
        }
        check(&[&bytes[..], b"more"].concat());
    }

    /// Whatever stands where lengths and counts are, though the checksum fits.
    #[test]
    fn no_length_is_believed() {
        let bytes = encode(&image());
        let content = &bytes[..bytes.len() - CHECK_BYTES];
        for index in MAGIC.len() + 4..content.len() {
            let mut content = content.to_vec();
            content[index] = 0xFF;
            let check = Md5::digest(&content);
            let _ = decode(&[&content[..], &check].concat());
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let content = [&MAGIC[..], &9_u32.to_le_bytes(), b"whatever that may be"].concat();
        let check = Md5::digest(&content);
        assert_eq!(decode(&[&content[..], &check].concat()), Err(Unfit::Later(9)));
    }

    #[test]
    fn what_is_no_file_is_damage_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let path = folder.path().join(SNAPSHOT_FILE);
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        assert!(matches!(read(folder.path()).unwrap(), Some(Err(Unfit::Damaged(_)))));
        fs::remove_file(&path).unwrap();
        // A file without blocks that seems to be larger than any memory.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read(folder.path()).unwrap(), Some(Err(Unfit::Damaged(_)))));
    }

    #[test]
    fn one_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &encode(&Image::default())).unwrap();
        write(folder.path(), &encode(&image())).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(Ok(image())));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
