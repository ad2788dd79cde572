//! Expanding globs: the files that match now, and what matches and cannot be tailed.
//!
//! Nothing is opened: whether a file can be read is known to those who read it.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::folder::{Folder, Kind, Status, kind_at, path_in};
use super::pattern::{Exclusion, FilePattern, PatternMistake};
use super::walk::{Match, Walked, walk};

/// The patterns of one flow.
pub struct Globs {
    files: Vec<FilePattern>,
    exclude: Vec<Exclusion>,
}

/// What the patterns match now.
#[derive(Debug, Default)]
pub struct Scan {
    /// Regular files, each inode once, sorted by path.
    pub files: Vec<Found>,
    /// Paths that match and cannot be tailed, and folders that cannot be listed.
    pub problems: Vec<Problem>,
    /// The folders in which a matching file could appear: those to watch.
    pub folders: BTreeMap<PathBuf, FolderIdentity>,
    /// Some file was reached through a symbolic link, or has several names: it can be written to by a name that is in none
    /// of `folders`, and then no notification tells.
    pub has_other_names: bool,
}

/// A regular file that matches.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path, as the glob gave it.
    pub path: PathBuf,
    /// `st_dev`, behind symbolic links.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// `st_size`, bytes.
    pub byte_count: u64,
    /// When it came into being, nanoseconds since the epoch: two files that had one inode number after the other differ
    /// in it, unless both came within one tick of the kernel's clock (up to 10 ms). `None` where the file system does
    /// not keep it.
    pub created: Option<u64>,
    /// `st_mtime`.
    pub modified: SystemTime,
    /// `st_nlink`: under how many names it stands in its file system.
    pub link_count: u64,
}

/// Which folder it is, whatever it is called: a path may lead to one now and to another later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderIdentity {
    /// `st_dev`, behind symbolic links.
    pub device: u64,
    /// `st_ino`. The folder made next may have that of the one removed last.
    pub inode: u64,
    /// As [`Found::created`].
    pub created: Option<u64>,
    /// The mount that it is in: unmounted and mounted again it is the same folder, and not watched any more. `None` where
    /// the system does not say.
    pub mount: Option<u64>,
}

/// A path that cannot be tailed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path.
    pub path: PathBuf,
    /// A word of the vocabulary of `kinetail_file_problems_total`: `directory`, `not_a_file`,
    /// `dangling_symlink`, `symlink_loop`, `permission_denied`, `unreadable`, and `vanished` of one that was found and is gone when it is opened.
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
}

impl Globs {
    /// Compiles the patterns of a flow; see [`crate::config::Flow`].
    pub fn new(files: &[String], exclude: &[String]) -> Result<Self, PatternMistake> {
        Ok(Self {
            files: files.iter().map(|text| FilePattern::new(text)).collect::<Result<_, _>>()?,
            exclude: exclude.iter().map(|text| Exclusion::new(text)).collect::<Result<_, _>>()?,
        })
    }

    /// Expands the patterns.
    pub fn scan(&self) -> Scan {
        let Walked { mut matches, folders, mut problems } = walk(&self.files, &self.exclude);
        // Of several paths to one file, one without symbolic links is kept, and of those the first by name.
        matches.sort_by(|a, b| a.is_linked.cmp(&b.is_linked).then_with(|| a.path.cmp(&b.path)));
        let has_links = matches.last().is_some_and(|last| last.is_linked);
        let mut seen = HashSet::with_capacity(matches.len());
        let mut files = Vec::with_capacity(matches.len());
        for Match { path, status, is_meant, .. } in matches {
            match status.kind {
                Kind::File if seen.insert((status.device, status.inode)) => files.push(Found::new(path, &status)),
                Kind::File => {}
                Kind::Folder if !is_meant => {}
                kind => {
                    problems.insert(Problem::not_a_file(path, kind == Kind::Folder));
                }
            }
        }
        if has_links {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        }
        let has_other_names = has_links || files.iter().any(|file| file.link_count > 1);
        Scan { files, problems: problems.into_iter().collect(), folders, has_other_names }
    }
}

/// All regular files in the folder of `path`, which is absolute, whatever the globs say: among them is a file that
/// stood there and was renamed so that no glob matches it. Each inode once, in no order; symbolic links are not
/// followed, folders in it not looked into. A folder that cannot be listed has none.
pub fn siblings(path: &Path) -> Vec<Found> {
    path.parent().and_then(|folder| files_in(folder).ok()).unwrap_or_default()
}

fn files_in(folder: &Path) -> io::Result<Vec<Found>> {
    let mut listing = Folder::open(folder)?;
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for listed in listing.list()? {
        let path = path_in(folder, &listed.name);
        if listed.kind.or_else(|| kind_at(&path).ok()) != Some(Kind::File) {
            continue;
        }
        // One that is gone again is none.
        if let Ok(status) = listing.status(&listed.name, &path)
            && status.kind == Kind::File
            && seen.insert((status.device, status.inode))
        {
            files.push(Found::new(path, &status));
        }
    }
    Ok(files)
}

impl Found {
    fn new(path: PathBuf, status: &Status) -> Self {
        let Status { device, inode, byte_count, created, modified, link_count, .. } = *status;
        Self { path, device, inode, byte_count, created, modified, link_count }
    }
}

impl FolderIdentity {
    pub(super) fn new(status: &Status) -> Self {
        let Status { device, inode, created, mount, .. } = *status;
        Self { device, inode, created, mount }
    }
}

/// `ELOOP`, for which the standard library has no stable name.
const TOO_MANY_LINKS: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

impl Problem {
    fn new(path: PathBuf, reason: &'static str, message: impl Into<String>) -> Self {
        Self { path, reason, message: message.into() }
    }

    fn not_a_file(path: PathBuf, is_folder: bool) -> Self {
        if is_folder {
            Self::new(path, "directory", "a directory; only files are tailed")
        } else {
            Self::new(path, "not_a_file", "a socket, pipe or device; only regular files are tailed")
        }
    }

    /// None for what has vanished meanwhile.
    pub(super) fn unreachable(path: PathBuf, error: &io::Error) -> Option<Self> {
        let is_link = || kind_at(&path).is_ok_and(|kind| kind == Kind::Link);
        match error.kind() {
            _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => {
                Some(Self::new(path, "symlink_loop", "a symbolic link that leads to itself"))
            }
            io::ErrorKind::NotFound if is_link() => {
                Some(Self::new(path, "dangling_symlink", "a symbolic link to something that is not there"))
            }
            io::ErrorKind::NotFound => None,
            io::ErrorKind::PermissionDenied => Some(Self::new(path, "permission_denied", "permission denied")),
            _ => Some(Self::new(path, "unreadable", error.to_string())),
        }
    }

    pub(super) fn link_leads_back(path: PathBuf) -> Self {
        Self::new(path, "symlink_loop", "a symbolic link to a folder above it, not followed")
    }

    /// None for a folder that has vanished meanwhile.
    pub(super) fn unlistable(path: PathBuf, error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => None,
            io::ErrorKind::PermissionDenied => {
                Some(Self::new(path, "permission_denied", "a directory that cannot be listed: permission denied"))
            }
            _ => Some(Self::new(path, "unreadable", format!("a directory that cannot be listed: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
