//! Expanding globs: the files that match now, and what matches and cannot be tailed.
//!
//! Nothing is opened: whether a file can be read is known to those who read it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::pattern::{Exclusion, FilePattern, PatternMistake};
use super::walk::{Match, walk};

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
    pub folders: BTreeSet<PathBuf>,
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
    /// When the file was made, in nanoseconds since 1970 (`stx_btime`), where the file system knows that.
    pub created: Option<u64>,
    /// When it was last written to.
    pub modified: SystemTime,
}

impl Found {
    fn new(path: PathBuf, metadata: &fs::Metadata) -> Self {
        let since_1970 = metadata.created().ok().and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
            byte_count: metadata.len(),
            created: since_1970.and_then(|since| u64::try_from(since.as_nanos()).ok()),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// All regular files in the folder of `path`, whatever the globs say; none when it cannot be listed. Symbolic links are
/// not followed.
pub fn siblings(path: &Path) -> Vec<Found> {
    let Some(entries) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
    let found = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Found::new(entry.path(), &metadata))
    };
    entries.filter_map(Result::ok).filter_map(found).collect()
}

/// A path that cannot be tailed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path.
    pub path: PathBuf,
    /// A word of the vocabulary of `kinetail_file_problems_total`: `directory`, `not_a_file`,
    /// `dangling_symlink`, `symlink_loop`, `permission_denied`, `unreadable`.
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
        let walked = walk(&self.files, &self.exclude);
        let mut problems = walked.problems;
        let mut matches: Vec<(PathBuf, Match)> = walked.matches.into_iter().collect();
        // Of several paths to one file, one without symbolic links is kept. Stable: the first by name.
        matches.sort_by_key(|(_, found)| found.is_linked);
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for (path, found) in matches {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    if seen.insert((metadata.dev(), metadata.ino())) {
                        files.push(Found::new(path, &metadata));
                    }
                }
                Ok(metadata) if metadata.is_dir() && !found.is_meant => {}
                Ok(metadata) => {
                    problems.insert(Problem::not_a_file(path, metadata.is_dir()));
                }
                Err(error) => problems.extend(Problem::unreachable(path, &error)),
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Scan { files, problems: problems.into_iter().collect(), folders: walked.folders }
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
        let is_link = || fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
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
