//! Walking the folders once for all patterns of a flow.
//!
//! `glob`'s own walk passes over names that are not UTF-8 and follows a symbolic link into its own parent as
//! far as the system lets it; so only its matching of names is used, and the walk is here: each folder is
//! listed once, however many patterns lead there, and with its device and inode once for each of them.
//! Symbolic links to folders are followed after all real folders, so a path without links comes first.
//!
//! What the matching paths are (files, sockets, ...) is for the caller to look at.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pattern::{Component, Exclusion, FilePattern};
use super::scan::Problem;

/// What a walk finds.
#[derive(Default)]
pub(super) struct Walked {
    /// Paths that match.
    pub(super) matches: BTreeMap<PathBuf, Match>,
    /// Folders in which a match could appear.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Folders that cannot be listed, links that lead back.
    pub(super) problems: BTreeSet<Problem>,
}

/// How a path matches.
#[derive(Clone, Copy)]
pub(super) struct Match {
    /// By more than a bare `*`, so that somebody meant it to be a file.
    pub(super) is_meant: bool,
    /// It is a symbolic link, or was reached through one.
    pub(super) is_linked: bool,
}

/// How far along its components a pattern is, on arrival in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Progress {
    pattern: usize,
    component: usize,
}

/// A folder still to be looked at.
struct Pending {
    path: PathBuf,
    progress: Vec<Progress>,
    is_linked: bool,
}

/// What is known of an entry of a folder before anything is done about it.
#[derive(Default)]
struct Entry {
    /// As listed; none when it is named by a pattern and its folder was not listed.
    file_type: Option<FileType>,
    /// How the patterns go on if it is a folder.
    onward: Vec<Progress>,
    matches: bool,
    is_meant: bool,
}

struct Walk<'a> {
    patterns: &'a [FilePattern],
    exclusions: &'a [Exclusion],
    walked: Walked,
    /// Device and inode of the folders seen, by progress.
    seen: HashSet<(u64, u64, Progress)>,
    real: Vec<Pending>,
    linked: BTreeMap<PathBuf, Vec<Progress>>,
}

/// Walks from the root, along all patterns at once.
pub(super) fn walk(patterns: &[FilePattern], exclusions: &[Exclusion]) -> Walked {
    let progress = (0..patterns.len()).map(|pattern| Progress { pattern, component: 0 }).collect();
    let root = Pending { path: PathBuf::from("/"), progress, is_linked: false };
    let mut walk =
        Walk { patterns, exclusions, walked: Walked::default(), seen: HashSet::new(), real: vec![root], linked: BTreeMap::new() };
    let next_linked = |walk: &mut Walk<'_>| {
        let (path, progress) = walk.linked.pop_first()?;
        Some(Pending { path, progress, is_linked: true })
    };
    while let Some(folder) = walk.real.pop().or_else(|| next_linked(&mut walk)) {
        walk.visit(folder);
    }
    walk.walked
}

impl Walk<'_> {
    fn visit(&mut self, folder: Pending) {
        let metadata = match fs::metadata(&folder.path) {
            Ok(metadata) => metadata,
            Err(error) => return self.unlistable(folder.path, &error),
        };
        let mut progress = self.with_any_depth_as_none(folder.progress);
        progress.retain(|progress| self.seen.insert((metadata.dev(), metadata.ino(), *progress)));
        if progress.is_empty() {
            if folder.is_linked && leads_back(&folder.path) {
                self.walked.problems.insert(Problem::link_leads_back(folder.path));
            }
            return;
        }
        for (name, entry) in self.entries(&folder.path, &progress) {
            let path = folder.path.join(&name);
            let file_type = entry.file_type.or_else(|| self.file_type(&path));
            let is_link = file_type.is_some_and(|file_type| file_type.is_symlink());
            let is_linked = folder.is_linked || is_link;
            if entry.matches && file_type.is_some() && !self.exclusions.iter().any(|exclusion| exclusion.leaves_out(&path)) {
                self.walked.matches.insert(path.clone(), Match { is_meant: entry.is_meant, is_linked });
            }
            if entry.onward.is_empty() {
                continue;
            }
            let is_folder = file_type.is_some_and(|file_type| file_type.is_dir()) || (is_link && path.is_dir());
            if !is_folder {
                self.watch_for(&folder.path, &entry.onward);
            } else if self.exclusions.iter().any(|exclusion| exclusion.leaves_out_all_of(&path)) {
                continue;
            } else if is_linked {
                self.linked.entry(path).or_default().extend(entry.onward);
            } else {
                self.real.push(Pending { path, progress: entry.onward, is_linked });
            }
        }
        self.watch(folder.path, &progress);
    }

    /// `**` is any number of folders: also none.
    fn with_any_depth_as_none(&self, mut progress: Vec<Progress>) -> Vec<Progress> {
        let beyond = |progress: &Progress| match self.component(*progress) {
            Component::AnyDepth => Some(Progress { component: progress.component + 1, ..*progress }),
            _ => None,
        };
        progress.extend(progress.iter().filter_map(beyond).collect::<Vec<_>>());
        progress.sort_unstable();
        progress.dedup();
        progress
    }

    /// The entries of the folder that any pattern leads to, by name.
    fn entries(&mut self, folder: &Path, progress: &[Progress]) -> BTreeMap<OsString, Entry> {
        let mut entries = BTreeMap::new();
        for progress in progress {
            if let Component::Name(name) = self.component(*progress) {
                self.lead(entries.entry(OsString::from(name)).or_insert_with(Entry::default), *progress);
            }
        }
        let wild: Vec<Progress> =
            progress.iter().copied().filter(|progress| !matches!(self.component(*progress), Component::Name(_))).collect();
        if wild.is_empty() {
            return entries;
        }
        match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(listed) => {
                for listed in listed {
                    let name = listed.file_name();
                    for progress in wild.iter().filter(|progress| self.component(**progress).matches(&name)) {
                        let entry = entries.entry(name.clone()).or_default();
                        entry.file_type = listed.file_type().ok();
                        self.lead(entry, *progress);
                    }
                }
            }
            Err(error) => self.unlistable(folder.to_owned(), &error),
        }
        entries
    }

    /// `entry` matches the component at which `progress` is.
    fn lead(&self, entry: &mut Entry, progress: Progress) {
        let component = self.component(progress);
        let next = Progress { component: progress.component + 1, ..progress };
        if matches!(component, Component::AnyDepth) {
            entry.onward.push(progress);
        } else if next.component < self.patterns[progress.pattern].components.len() {
            entry.onward.push(next);
        } else {
            entry.matches = true;
            entry.is_meant |= !matches!(component, Component::Wild { is_any: true, .. });
        }
    }

    /// A folder is watched when more of a pattern than plain names of folders that exist is matched in it.
    fn watch(&mut self, folder: PathBuf, progress: &[Progress]) {
        if progress.iter().any(|progress| progress.component >= self.patterns[progress.pattern].plain_count) {
            self.walked.folders.insert(folder);
        }
    }

    /// A folder is watched also for a plainly named folder that is not there yet.
    fn watch_for(&mut self, folder: &Path, onward: &[Progress]) {
        if onward.iter().any(|progress| progress.component <= self.patterns[progress.pattern].plain_count) {
            self.walked.folders.insert(folder.to_owned());
        }
    }

    fn file_type(&mut self, path: &Path) -> Option<FileType> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) => {
                self.walked.problems.extend(Problem::unreachable(path.to_owned(), &error));
                None
            }
        }
    }

    fn unlistable(&mut self, folder: PathBuf, error: &io::Error) {
        self.walked.problems.extend(Problem::unlistable(folder, error));
    }

    fn component(&self, progress: Progress) -> &Component {
        &self.patterns[progress.pattern].components[progress.component]
    }
}

/// Whether the link leads to a folder above itself.
fn leads_back(link: &Path) -> bool {
    let parent = link.parent().and_then(|parent| parent.canonicalize().ok());
    parent.zip(link.canonicalize().ok()).is_some_and(|(parent, target)| parent.starts_with(target))
}
