//! Expanding globs: the files that match now, and what matches and cannot be tailed.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The patterns of one flow.
pub struct Globs {}

/// A pattern that cannot be used.
#[derive(Debug)]
pub struct PatternMistake {
    /// Where in the pattern, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, or empty.
    pub help: &'static str,
}

/// What the patterns match now.
#[derive(Debug, Default)]
pub struct Scan {
    /// Regular files, each inode once, sorted by path.
    pub files: Vec<Found>,
    /// Paths that match and cannot be tailed, and folders that cannot be listed.
    pub problems: Vec<Problem>,
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
    pub fn new(_files: &[String], _exclude: &[String]) -> Result<Self, PatternMistake> {
        Ok(Self {})
    }

    /// Expands the patterns.
    pub fn scan(&self) -> Scan {
        unimplemented!()
    }

    /// The folders in which a matching file could appear: those to watch.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        unimplemented!()
    }
}
