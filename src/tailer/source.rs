//! The bytes of a file by their offsets, whether or not the file is compressed.
//!
//! What the bytes mean is not known here.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use md5::{Digest, Md5};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::gzip::{GzipReader, is_gzip};
use crate::discovery::Found;
use crate::limits::MARK_BYTES;
use crate::offsets::{Fingerprint, Mark, Place};
use crate::progress;

/// A file that can be read.
pub(super) enum Source {
    /// Its bytes are its content.
    Plain(File),
    /// Its content is what its bytes decompress to.
    Gzip(Box<GzipReader>),
}

/// How long a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many bytes now; there may be more at any time.
    Growing(u64),
    /// So many bytes, for good.
    Final(u64),
    /// Not known before its end is reached.
    Unknown,
}

impl Source {
    /// Opens a file. A pipe that has taken its place since it was found would keep an ordinary `open` waiting.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        progress::goes_on();
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        Self::of(File::options().read(true).custom_flags(flags.cast_signed()).open(path)?)
    }

    fn of(handle: File) -> io::Result<Self> {
        Ok(if is_gzip(&handle)? { Self::Gzip(Box::new(GzipReader::new(handle))) } else { Self::Plain(handle) })
    }

    /// The same file, looked at as if for the first time.
    pub(super) fn anew(self) -> io::Result<Self> {
        match self {
            Self::Plain(handle) => Self::of(handle),
            Self::Gzip(reader) => Self::of(reader.into_handle()),
        }
    }

    /// What the file system knows of the file.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(handle) => handle.metadata(),
            Self::Gzip(reader) => reader.handle().metadata(),
        }
    }

    /// Whether it is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// The size of the content.
    pub(super) fn size(&self) -> io::Result<Size> {
        match self {
            Self::Plain(handle) => Ok(Size::Growing(handle.metadata()?.len())),
            Self::Gzip(reader) => Ok(reader.byte_count().map_or(Size::Unknown, Size::Final)),
        }
    }

    /// Size of the content as far as is known without reading all of it.
    pub(super) fn byte_count_told(&self) -> io::Result<u64> {
        match self {
            Self::Plain(handle) => Ok(handle.metadata()?.len()),
            Self::Gzip(reader) => reader.byte_count().map_or_else(|| reader.byte_count_told().map(u64::from), Ok),
        }
    }

    /// Sees to it that the content has an end. Of a compressed file the content has to be decompressed for that; from then
    /// on its size is known.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when it has none: it is still being written, or was cut.
    pub(super) fn see_end(&mut self) -> io::Result<()> {
        let mut nothing = Vec::new();
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(reader) => reader.read_at(&mut nothing, u64::MAX, u64::MAX),
        }
    }

    /// Whether the content may have exactly so many bytes, as far as is known without reading all of it.
    pub(super) fn may_have_byte_count(&self, byte_count: u64) -> io::Result<bool> {
        match self {
            Self::Plain(handle) => Ok(handle.metadata()?.len() == byte_count),
            Self::Gzip(reader) => Ok(u64::from(reader.byte_count_told()?) == byte_count & u64::from(u32::MAX)),
        }
    }

    /// Reads `start..end` into `buffer`, less where the content ends before.
    pub(super) fn read_at(&mut self, buffer: &mut Vec<u8>, start: u64, end: u64) -> io::Result<()> {
        progress::goes_on();
        match self {
            Self::Plain(handle) => read_at(handle, buffer, start, end),
            Self::Gzip(reader) => reader.read_at(buffer, start, end),
        }
    }

    /// The beginning, at most `byte_count_max` bytes of it.
    pub(super) fn beginning(&mut self, byte_count_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_at(&mut bytes, 0, byte_count_max as u64)?;
        Ok(bytes)
    }

    /// What is before `end`, as it is kept.
    pub(super) fn mark(&mut self, end: u64) -> io::Result<Mark> {
        let mut bytes = Vec::new();
        self.read_at(&mut bytes, end.saturating_sub(MARK_BYTES as u64), end)?;
        Ok(mark_of(&bytes, end))
    }

    /// Whether the content still has the bytes of the mark.
    pub(super) fn has(&mut self, mark: Mark) -> io::Result<bool> {
        let mut bytes = Vec::new();
        self.read_at(&mut bytes, mark.end.saturating_sub(u64::from(mark.byte_count)), mark.end)?;
        Ok(mark_of(&bytes, mark.end) == mark)
    }
}

/// A beginning, as it is kept.
pub(super) fn fingerprint_of(beginning: &[u8]) -> Fingerprint {
    Fingerprint { byte_count: u32::try_from(beginning.len()).unwrap_or(u32::MAX), hash: hash(beginning) }
}

/// The bytes before `end`, as they are kept: the last [`MARK_BYTES`] of `before`.
pub(super) fn mark_of(before: &[u8], end: u64) -> Mark {
    let last = &before[before.len().saturating_sub(MARK_BYTES)..];
    Mark { end, byte_count: u32::try_from(last.len()).unwrap_or(u32::MAX), hash: hash(last) }
}

/// That of nothing is 0, as in the defaults.
fn hash(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    let digest: [u8; 16] = Md5::digest(bytes).into();
    u64::from_be_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
}

/// Where an open file is, or one at a path.
pub(super) fn place_of(metadata: &Metadata) -> Place {
    let since_1970 = metadata.created().ok().and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok());
    let created = since_1970.and_then(|since| u64::try_from(since.as_nanos()).ok());
    Place { device: metadata.dev(), inode: metadata.ino(), created }
}

/// Where a file is that was found.
pub(super) fn place_of_found(found: &Found) -> Place {
    Place { device: found.device, inode: found.inode, created: found.created }
}

fn read_at(handle: &File, buffer: &mut Vec<u8>, start: u64, end: u64) -> io::Result<()> {
    let byte_count = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
    buffer.clear();
    if buffer.capacity() / 2 > byte_count {
        // What is read is as much as there is room for.
        *buffer = Vec::new();
    }
    buffer.reserve_exact(byte_count);
    while buffer.len() < byte_count {
        let filled = buffer.len() as u64;
        match rustix::io::pread(handle, spare_capacity(buffer), start + filled) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(byte_count);
    Ok(())
}
