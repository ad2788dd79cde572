//! What the system says of folders and of what is in them, in as few calls as it takes: a flow of ten thousand
//! files asks this of each of them in every rescan.
//!
//! What is asked for, and what the answers mean, is for the callers to decide.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Dir, Mode, OFlags};

use crate::progress::goes_on;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link, where these are not followed.
    Link,
    /// A socket, pipe or device.
    Other,
}

/// What the system says of a file or folder, behind symbolic links.
pub(super) struct Status {
    pub(super) kind: Kind,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Of the mount that it was reached by; none where the kernel (before 6.8) does not say.
    pub(super) mount: Option<u64>,
    pub(super) byte_count: u64,
    pub(super) link_count: u64,
    /// When it came into being, nanoseconds since the epoch; none where the file system does not keep it.
    pub(super) created: Option<u64>,
    pub(super) modified: SystemTime,
}

/// An entry of a folder.
pub(super) struct Listed {
    pub(super) name: OsString,
    /// None where the file system does not say while it lists.
    pub(super) kind: Option<Kind>,
}

/// A folder that can be listed.
pub(super) struct Folder(Dir);

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        goes_on();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(Self(Dir::new(rustix::fs::open(path, flags, Mode::empty())?)?))
    }

    /// Its entries but itself and the one above, in no order.
    pub(super) fn list(&mut self) -> io::Result<Vec<Listed>> {
        self.0.rewind();
        let mut entries = Vec::new();
        for entry in &mut self.0 {
            goes_on();
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push(Listed { name: OsStr::from_bytes(name).to_owned(), kind: kind_listed(entry.file_type()) });
            }
        }
        Ok(entries)
    }

    /// What `name` in it, `path` when written in full, leads to. Costs two thirds of asking by the path.
    pub(super) fn status(&self, name: &OsStr, path: &Path) -> io::Result<Status> {
        let asked = self.0.fd().ok().and_then(|folder| extended_status(folder, name));
        asked.map_or_else(|| Ok(Status::from(&fs::metadata(path)?)), Ok)
    }
}

impl Status {
    /// What `path` leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        extended_status(rustix::fs::CWD, path.as_os_str()).map_or_else(|| Ok(Self::from(&fs::metadata(path)?)), Ok)
    }
}

/// The path of `name` in `folder`: as by `join`, which makes it in two pieces of memory.
pub(super) fn path_in(folder: &Path, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::with_capacity(folder.as_os_str().len() + 1 + name.len());
    path.push(folder);
    path.push(name);
    path
}

/// What stands at `path` itself, be it a symbolic link.
pub(super) fn kind_at(path: &Path) -> io::Result<Kind> {
    Ok(Kind::from(fs::symlink_metadata(path)?.file_type()))
}

/// By `statx`. None when that fails, also because kernels before 4.11 and some sandboxes do not have it: what the
/// standard library says then, it says for good.
#[cfg(target_os = "linux")]
fn extended_status(folder: impl std::os::fd::AsFd, name: &OsStr) -> Option<Status> {
    use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp, makedev, statx};
    use std::time::Duration;

    /// `STATX_MNT_ID_UNIQUE`: unlike those of `STATX_MNT_ID` these are never used again.
    const MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);

    goes_on();
    let status = statx(folder, name, AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::BTIME | MOUNT).ok()?;
    let known = StatxFlags::from_bits_retain(status.stx_mask);
    let time = |timestamp: StatxTimestamp| {
        let seconds = Duration::from_secs(timestamp.tv_sec.unsigned_abs());
        let time = if timestamp.tv_sec < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        time?.checked_add(Duration::from_nanos(timestamp.tv_nsec.into()))
    };
    Some(Status {
        kind: kind_listed(rustix::fs::FileType::from_raw_mode(status.stx_mode.into())).unwrap_or(Kind::Other),
        device: makedev(status.stx_dev_major, status.stx_dev_minor),
        inode: status.stx_ino,
        mount: known.contains(MOUNT).then_some(status.stx_mnt_id),
        byte_count: status.stx_size,
        link_count: status.stx_nlink.into(),
        created: time(status.stx_btime).filter(|_| known.contains(StatxFlags::BTIME)).and_then(since_epoch),
        modified: time(status.stx_mtime).unwrap_or(UNIX_EPOCH),
    })
}

#[cfg(not(target_os = "linux"))]
fn extended_status(_: impl std::os::fd::AsFd, _: &OsStr) -> Option<Status> {
    None
}

impl From<&Metadata> for Status {
    fn from(metadata: &Metadata) -> Self {
        Self {
            kind: metadata.file_type().into(),
            device: metadata.dev(),
            inode: metadata.ino(),
            mount: None,
            byte_count: metadata.len(),
            link_count: metadata.nlink(),
            created: metadata.created().ok().and_then(since_epoch),
            modified: metadata.modified().unwrap_or(UNIX_EPOCH),
        }
    }
}

impl From<fs::FileType> for Kind {
    fn from(file_type: fs::FileType) -> Self {
        match file_type {
            _ if file_type.is_file() => Self::File,
            _ if file_type.is_dir() => Self::Folder,
            _ if file_type.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}

fn kind_listed(file_type: rustix::fs::FileType) -> Option<Kind> {
    match file_type {
        rustix::fs::FileType::RegularFile => Some(Kind::File),
        rustix::fs::FileType::Directory => Some(Kind::Folder),
        rustix::fs::FileType::Symlink => Some(Kind::Link),
        rustix::fs::FileType::Unknown => None,
        _ => Some(Kind::Other),
    }
}

/// In nanoseconds; none outside of the years 1970 to 2554.
fn since_epoch(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However it was asked, the answer is that of the standard library.
    #[test]
    fn every_way_of_asking_says_the_same() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.log");
        fs::write(&file, "abc").unwrap();
        fs::hard_link(&file, root.path().join("b.log")).unwrap();
        std::os::unix::fs::symlink("a.log", root.path().join("c.log")).unwrap();
        let before_epoch = UNIX_EPOCH - std::time::Duration::from_millis(1500);
        fs::File::options().write(true).open(&file).unwrap().set_modified(before_epoch).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        for (name, kind) in [("a.log", Kind::File), ("c.log", Kind::File), (".", Kind::Folder)] {
            let path = root.path().join(name);
            let metadata = fs::metadata(&path).unwrap();
            let expected = (metadata.dev(), metadata.ino(), metadata.len(), metadata.nlink(), metadata.modified().unwrap());
            for status in [folder.status(OsStr::new(name), &path).unwrap(), Status::of(&path).unwrap(), Status::from(&metadata)] {
                let Status { device, inode, byte_count, link_count, modified, .. } = status;
                assert_eq!((device, inode, byte_count, link_count, modified), expected, "{name}");
                assert_eq!((status.kind, status.created), (kind, metadata.created().ok().and_then(since_epoch)), "{name}");
            }
        }
        let error = folder.status(OsStr::new("gone"), &root.path().join("gone")).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
