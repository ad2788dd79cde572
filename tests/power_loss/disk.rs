//! A disk that loses power: what of a folder is surely on it, what may be, and one of the ways in which it may be found afterwards.
//!
//! What POSIX promises, and no more: the content of a file is on the disk when it was flushed, its name when its folder was. All
//! else is there or not, as chance will have it, and of what was written there may be some sectors and not others.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::recorder::{Event, What};

/// The disk, as far as the folder is concerned.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: Vec<Content>,
    /// Indexes of `files` by the numbers of their inodes now.
    by_inode: HashMap<u64, usize>,
    folders_by_inode: HashMap<u64, PathBuf>,
    /// What names lead to now.
    names: Names,
    /// What they surely lead to after a loss of power.
    names_on_disk: Names,
    /// Changes of names that are not surely on the disk, the oldest first.
    names_on_their_way: Vec<(u64, Rename)>,
    change_count: u64,
    /// How many changes there were when a flush began.
    flushes: HashMap<u32, u64>,
}

type Names = BTreeMap<PathBuf, Target>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Folder,
    /// Index of `files`.
    File(usize),
}

#[derive(Clone, Debug)]
enum Rename {
    Made(PathBuf, Target),
    Moved(PathBuf, PathBuf),
    Removed(PathBuf),
}

#[derive(Clone, Default)]
struct Content {
    on_disk: Vec<u8>,
    on_its_way: Vec<(u64, Change)>,
}

#[derive(Clone)]
enum Change {
    Written { offset: usize, data: Vec<u8> },
    Truncated { byte_count: usize },
}

/// What becomes of what is not surely on the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck {
    pub(crate) of_content: OfContent,
    pub(crate) of_names: OfNames,
}

/// Of the content of each file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfContent {
    /// It is lost.
    Nothing,
    /// It is there.
    All,
    /// It is there up to some sector.
    Beginning,
    /// Each sector by itself, with this probability; what lies before a sector that is there is as long as it was, but zero.
    Sectors { probability: f64, sector_bytes: usize },
    /// As before, and all files are as long as they were to be.
    SectorsOfWholeLength { probability: f64, sector_bytes: usize },
}

/// Of names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfNames {
    Nothing,
    All,
    /// They are there up to some change, as a journal has them.
    Beginning,
    /// Each by itself.
    Some,
}

impl Luck {
    /// Of some kind.
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let (probability, sector_bytes) = ([0.1, 0.5, 0.9][random.usize(..3)], [512, 4096][random.usize(..2)]);
        let of_content = match random.u32(..10) {
            0 | 1 => OfContent::Nothing,
            2 => OfContent::All,
            3..6 => OfContent::Beginning,
            6..9 => OfContent::Sectors { probability, sector_bytes },
            _ => OfContent::SectorsOfWholeLength { probability, sector_bytes },
        };
        let of_names = [OfNames::Nothing, OfNames::All, OfNames::Beginning, OfNames::Some][random.usize(..4)];
        Self { of_content, of_names }
    }
}

impl Disk {
    /// One that holds what is in `folder`, and under the paths there; all of it surely.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut disk = Self::default();
        disk.names.insert(folder.to_owned(), Target::Folder);
        disk.add_all(folder);
        disk.names_on_disk = disk.names.clone();
        disk
    }

    fn add_all(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.names.insert(path.clone(), Target::Folder);
                self.add_all(&path);
            } else {
                self.names.insert(path.clone(), Target::File(self.files.len()));
                self.files.push(Content { on_disk: fs::read(path).unwrap(), on_its_way: Vec::new() });
            }
        }
    }

    /// Something is done.
    pub(crate) fn take(&mut self, event: &Event) {
        self.change_count += 1;
        match &event.what {
            What::Opened { path, inode, is_truncated } => {
                let index = match self.names.get(path) {
                    Some(Target::File(index)) => *index,
                    _ => {
                        self.files.push(Content::default());
                        self.rename(Rename::Made(path.clone(), Target::File(self.files.len() - 1)));
                        self.files.len() - 1
                    }
                };
                self.by_inode.insert(*inode, index);
                if *is_truncated {
                    self.change(*inode, Change::Truncated { byte_count: 0 });
                }
            }
            What::OpenedFolder { path, inode } => _ = self.folders_by_inode.insert(*inode, path.clone()),
            What::Written { inode, offset, data } => self.change(*inode, Change::Written { offset: *offset, data: data.clone() }),
            What::Truncated { inode, byte_count } => self.change(*inode, Change::Truncated { byte_count: *byte_count }),
            What::Renamed { from, to } => self.rename(Rename::Moved(from.clone(), to.clone())),
            What::Removed { path } => self.rename(Rename::Removed(path.clone())),
            What::MadeFolder { path } => self.rename(Rename::Made(path.clone(), Target::Folder)),
            What::FlushBegins { flush } => _ = self.flushes.insert(*flush, self.change_count),
            What::FlushEnds { inode, flush } => self.flushed(*inode, *flush),
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        // What is written to a file that has no name any more is of no interest, but it has an inode still.
        let index = self.by_inode[&inode];
        self.files[index].on_its_way.push((self.change_count, change));
    }

    fn rename(&mut self, rename: Rename) {
        rename.apply(&mut self.names);
        self.names_on_their_way.push((self.change_count, rename));
    }

    /// What was done before the flush began is on the disk.
    fn flushed(&mut self, inode: u64, flush: u32) {
        let begun = self.flushes.remove(&flush).unwrap();
        if let Some(index) = self.by_inode.get(&inode) {
            let Content { on_disk, on_its_way } = &mut self.files[*index];
            for (_, change) in on_its_way.extract_if(.., |(at, _)| *at < begun) {
                change.apply(on_disk);
            }
        }
        if let Some(folder) = self.folders_by_inode.get(&inode) {
            for (_, rename) in self.names_on_their_way.extract_if(.., |(at, rename)| *at < begun && rename.is_in(folder)) {
                rename.apply(&mut self.names_on_disk);
            }
        }
    }

    /// Puts what is found after a loss of power into `target`, which stands for the folder `of`.
    pub(crate) fn rebuild(&self, of: &Path, target: &Path, luck: Luck, random: &mut fastrand::Rng) {
        let mut names = self.names_on_disk.clone();
        let some = random.usize(..=self.names_on_their_way.len());
        for (index, (_, rename)) in self.names_on_their_way.iter().enumerate() {
            let is_there = match luck.of_names {
                OfNames::Nothing => false,
                OfNames::All => true,
                OfNames::Beginning => index < some,
                OfNames::Some => random.bool(),
            };
            if is_there {
                rename.apply(&mut names);
            }
        }
        for (path, what) in names {
            let path = target.join(path.strip_prefix(of).unwrap());
            // A folder without which there is no way to it is not there.
            match what {
                _ if !path.parent().unwrap().exists() => {}
                Target::Folder if path.exists() => {}
                Target::Folder => fs::create_dir(path).unwrap(),
                Target::File(index) => fs::write(path, self.files[index].found(luck.of_content, random)).unwrap(),
            }
        }
    }
}

impl Rename {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Made(path, _) | Self::Moved(_, path) | Self::Removed(path)) = self;
        path.parent() == Some(folder)
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(path, target) => _ = names.insert(path.clone(), *target),
            Self::Moved(from, to) => {
                // Of a folder with all that is in it; what never got there is not moved.
                let moved: Vec<(PathBuf, Target)> = names.extract_if(.., |path, _| path.starts_with(from)).collect();
                names.extend(moved.into_iter().map(|(path, target)| match path.strip_prefix(from).unwrap() {
                    rest if rest.as_os_str().is_empty() => (to.clone(), target),
                    rest => (to.join(rest), target),
                }));
            }
            Self::Removed(path) => _ = names.remove(path),
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Written { offset, data } => write_at(content, *offset, data),
            Self::Truncated { byte_count } => content.resize(*byte_count, 0),
        }
    }
}

fn write_at(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if content.len() < offset + data.len() {
        content.resize(offset + data.len(), 0);
    }
    content[offset..offset + data.len()].copy_from_slice(data);
}

impl Content {
    fn found(&self, luck: OfContent, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut found = self.on_disk.clone();
        let mut whole_bytes = found.len();
        let some = random.usize(..=self.on_its_way.len());
        for (index, (_, change)) in self.on_its_way.iter().enumerate() {
            whole_bytes = match change {
                Change::Written { offset, data } => whole_bytes.max(offset + data.len()),
                Change::Truncated { byte_count } => *byte_count,
            };
            match (luck, change) {
                (OfContent::Nothing, _) => {}
                (OfContent::All, change) => change.apply(&mut found),
                (OfContent::Beginning, change) if index < some => change.apply(&mut found),
                (OfContent::Beginning, Change::Written { offset, data }) if index == some => {
                    let sector_count = random.usize(..=data.len() / 512);
                    let end = (offset / 512 + sector_count) * 512;
                    write_at(&mut found, *offset, &data[..end.saturating_sub(*offset).min(data.len())]);
                }
                (OfContent::Beginning, _) => {}
                (
                    OfContent::Sectors { probability, sector_bytes }
                    | OfContent::SectorsOfWholeLength { probability, sector_bytes },
                    change,
                ) => match change {
                    Change::Written { offset, data } => {
                        for (start, sector) in sectors(*offset, data, sector_bytes) {
                            if random.f64() < probability {
                                write_at(&mut found, start, sector);
                            }
                        }
                    }
                    Change::Truncated { .. } if random.f64() < probability => change.apply(&mut found),
                    Change::Truncated { .. } => {}
                },
            }
        }
        if matches!(luck, OfContent::SectorsOfWholeLength { .. }) && found.len() < whole_bytes {
            found.resize(whole_bytes, 0);
        }
        found
    }
}

/// The parts of `data` at `offset` that are in one sector each, and where they are.
fn sectors(offset: usize, data: &[u8], sector_bytes: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = offset;
    std::iter::from_fn(move || {
        let end = ((start / sector_bytes + 1) * sector_bytes).min(offset + data.len());
        let part = &data[start - offset..end - offset];
        let at = std::mem::replace(&mut start, end);
        (!part.is_empty()).then_some((at, part))
    })
}
