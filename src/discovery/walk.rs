//! Walking the folders once for all patterns of a flow.
//!
//! `glob`'s own walk passes over names that are not UTF-8 and follows a symbolic link into its own parent as
//! far as the system lets it; so only its matching of names is used, and the walk is here: each folder is
//! listed once, however many patterns lead there, and with its device and inode once for each of them.
//! Symbolic links to folders are followed after all real folders, so a path without links comes first.
//!
//! What to make of the matching paths (files, sockets, ...) is for the caller to decide.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{Folder, Kind, Listed, Status, kind_at, path_in};
use super::pattern::{Component, Exclusion, FilePattern};
use super::scan::{FolderIdentity, Problem};

/// What a walk finds.
#[derive(Default)]
pub(super) struct Walked {
    /// Paths that match, each once; those of one folder stand together, by name.
    pub(super) matches: Vec<Match>,
    /// Folders in which a match could appear.
    pub(super) folders: BTreeMap<PathBuf, FolderIdentity>,
    /// Paths that lead nowhere, folders that cannot be listed, links that lead back.
    pub(super) problems: BTreeSet<Problem>,
}

/// A path that matches.
pub(super) struct Match {
    pub(super) path: PathBuf,
    pub(super) status: Status,
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

/// What is known of an entry of a folder before anything is done about it.
#[derive(Default)]
struct Entry {
    /// As listed; none when it is named by a pattern and its folder was not listed.
    kind: Option<Kind>,
    /// How the patterns go on if it is a folder.
    onward: Vec<Progress>,
    matches: bool,
    is_meant: bool,
}

/// The entries of a folder that any pattern leads to.
struct Entries {
    /// None when it was not listed.
    listing: Option<Folder>,
    by_name: Vec<(OsString, Entry)>,
}

struct Walk<'a> {
    patterns: &'a [FilePattern],
    exclusions: &'a [Exclusion],
    walked: Walked,
    /// Device and inode of the folders seen, by progress.
    seen: HashSet<(u64, u64, Progress)>,
    /// Folders still to be looked at, and how the patterns go on there.
    real: BTreeMap<PathBuf, Vec<Progress>>,
    /// Those that are symbolic links, or were reached through one.
    linked: BTreeMap<PathBuf, Vec<Progress>>,
}

/// Walks from the root, along all patterns at once.
pub(super) fn walk(patterns: &[FilePattern], exclusions: &[Exclusion]) -> Walked {
    let progress = (0..patterns.len()).map(|pattern| Progress { pattern, component: 0 }).collect();
    let real = BTreeMap::from([(PathBuf::from("/"), progress)]);
    let mut walk = Walk { patterns, exclusions, walked: Walked::default(), seen: HashSet::new(), real, linked: BTreeMap::new() };
    loop {
        if let Some((folder, progress)) = walk.real.pop_first() {
            walk.visit(folder, &progress, false);
        } else if let Some((folder, progress)) = walk.linked.pop_first() {
            walk.visit(folder, &progress, true);
        } else {
            return walk.walked;
        }
    }
}

impl<'a> Walk<'a> {
    fn visit(&mut self, folder: PathBuf, progress: &[Progress], is_linked: bool) {
        let status = match Status::of(&folder) {
            Ok(status) => status,
            Err(error) => return self.unlistable(&folder, &error),
        };
        let mut progress = self.with_any_depth_as_none(progress);
        progress.retain(|progress| self.seen.insert((status.device, status.inode, *progress)));
        if progress.is_empty() {
            if is_linked && leads_back(&folder) {
                self.walked.problems.insert(Problem::link_leads_back(folder));
            }
            return;
        }
        let Entries { listing, by_name } = self.entries(&folder, &progress);
        let mut awaits_folder = false;
        for (name, entry) in by_name {
            let path = path_in(&folder, &name);
            let Some(kind) = entry.kind.or_else(|| self.kind_at(&path)) else {
                awaits_folder |= self.is_worth_waiting_for(&entry.onward);
                continue;
            };
            let is_linked = is_linked || kind == Kind::Link;
            if kind == Kind::Folder || kind == Kind::Link && !entry.onward.is_empty() && path.is_dir() {
                self.go_on(&path, is_linked, entry.onward);
            } else {
                awaits_folder |= self.is_worth_waiting_for(&entry.onward);
            }
            if entry.matches && !self.exclusions.iter().any(|exclusion| exclusion.leaves_out(&path)) {
                let status = listing.as_ref().map_or_else(|| Status::of(&path), |listing| listing.status(&name, &path));
                match status {
                    Ok(status) => self.walked.matches.push(Match { path, status, is_meant: entry.is_meant, is_linked }),
                    Err(error) => self.walked.problems.extend(Problem::unreachable(path, &error)),
                }
            }
        }
        if awaits_folder || self.could_have_a_match(&progress) {
            self.walked.folders.insert(folder, FolderIdentity::new(&status));
        }
    }

    fn go_on(&mut self, folder: &Path, is_linked: bool, onward: Vec<Progress>) {
        if onward.is_empty() || self.exclusions.iter().any(|exclusion| exclusion.leaves_out_all_of(folder)) {
            return;
        }
        let pending = if is_linked { &mut self.linked } else { &mut self.real };
        pending.entry(folder.to_owned()).or_default().extend(onward);
    }

    /// `**` is any number of folders: also none.
    fn with_any_depth_as_none(&self, progress: &[Progress]) -> Vec<Progress> {
        let beyond = |progress: &Progress| match self.component(*progress) {
            Component::AnyDepth => Some(Progress { component: progress.component + 1, ..*progress }),
            _ => None,
        };
        let mut progress: Vec<Progress> = progress.iter().copied().chain(progress.iter().filter_map(beyond)).collect();
        progress.sort_unstable();
        progress.dedup();
        progress
    }

    /// The entries of the folder that any pattern leads to.
    fn entries(&mut self, folder: &Path, progress: &[Progress]) -> Entries {
        let mut named: BTreeMap<&OsStr, Entry> = BTreeMap::new();
        let mut wild = Vec::new();
        for progress in progress {
            match self.component(*progress) {
                Component::Name(name) => self.lead(named.entry(OsStr::new(name)).or_default(), *progress),
                component => wild.push((*progress, component)),
            }
        }
        let mut by_name = Vec::new();
        let mut listing = None;
        if !wild.is_empty() {
            match Folder::open(folder).and_then(|mut folder| Ok((folder.list()?, folder))) {
                Ok((listed, opened)) => {
                    listing = Some(opened);
                    for Listed { name, kind } in listed {
                        let mut entry = named.remove(&*name).unwrap_or_default();
                        for (progress, _) in wild.iter().filter(|(_, component)| component.matches(&name)) {
                            self.lead(&mut entry, *progress);
                        }
                        if entry.matches || !entry.onward.is_empty() {
                            by_name.push((name, Entry { kind, ..entry }));
                        }
                    }
                }
                Err(error) => self.unlistable(folder, &error),
            }
        }
        by_name.extend(named.into_iter().map(|(name, entry)| (name.to_owned(), entry)));
        by_name.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Entries { listing, by_name }
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
            entry.is_meant |= !component.is_bare_star();
        }
    }

    /// More of a pattern than plain names of folders that exist is matched in it.
    fn could_have_a_match(&self, progress: &[Progress]) -> bool {
        progress.iter().any(|progress| progress.component >= self.patterns[progress.pattern].plain_count)
    }

    /// A plainly named folder is awaited where it is not there yet.
    fn is_worth_waiting_for(&self, onward: &[Progress]) -> bool {
        onward.iter().any(|progress| progress.component <= self.patterns[progress.pattern].plain_count)
    }

    fn kind_at(&mut self, path: &Path) -> Option<Kind> {
        kind_at(path).map_err(|error| self.walked.problems.extend(Problem::unreachable(path.to_owned(), &error))).ok()
    }

    fn unlistable(&mut self, folder: &Path, error: &io::Error) {
        self.walked.problems.extend(Problem::unlistable(folder.to_owned(), error));
    }

    fn component(&self, progress: Progress) -> &'a Component {
        &self.patterns[progress.pattern].components[progress.component]
    }
}

/// Whether the link leads to a folder above itself.
fn leads_back(link: &Path) -> bool {
    let parent = link.parent().and_then(|parent| parent.canonicalize().ok());
    parent.zip(link.canonicalize().ok()).is_some_and(|(parent, target)| parent.starts_with(target))
}
