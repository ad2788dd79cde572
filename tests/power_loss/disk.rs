//! A disk that loses power: what of a folder is surely on it, what may be, and one of the ways in which it may be found afterwards.
//!
//! What POSIX promises, and no more: the content of a file is on the disk when it was flushed, its name when its folder was. All
//! else is there or not, as chance will have it, and of what was written there may be some sectors and not others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::recorder::{Event, What};

/// The disk, as far as one folder is concerned.
#[derive(Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    /// All files and folders that ever were; the first is the root.
    nodes: Vec<Node>,
    /// Indexes of `nodes` by the numbers of their inodes now.
    by_inode: HashMap<u64, usize>,
    /// Changes of names that are not surely on the disk, the oldest first.
    names_on_their_way: Vec<(u64, Renamed)>,
    change_count: u64,
    /// How many changes there were when a flush began.
    flushes: HashMap<u32, u64>,
}

#[derive(Clone)]
enum Node {
    Folder {
        now: Names,
        /// What is surely in it after a loss of power.
        on_disk: Names,
    },
    File(Content),
}

/// What is in a folder.
type Names = BTreeMap<OsString, usize>;

/// A change of the names in a folder.
#[derive(Clone)]
struct Renamed {
    folder: usize,
    /// A name that is gone.
    gone: Option<OsString>,
    /// A name that is new, or leads to something else.
    new: Option<(OsString, usize)>,
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
    /// Each by itself, but those of one name in their order.
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
    /// One that holds what is in `root`, all of it surely.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            by_inode: HashMap::new(),
            names_on_their_way: Vec::new(),
            change_count: 0,
            flushes: HashMap::new(),
        };
        disk.add(root);
        disk
    }

    fn add(&mut self, path: &Path) -> usize {
        let index = self.nodes.len();
        if path.is_dir() {
            self.nodes.push(Node::new_folder());
            let names: Names = fs::read_dir(path)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    (entry.file_name(), self.add(&entry.path()))
                })
                .collect();
            self.nodes[index] = Node::Folder { now: names.clone(), on_disk: names };
        } else {
            self.nodes.push(Node::File(Content { on_disk: fs::read(path).unwrap(), on_its_way: Vec::new() }));
        }
        index
    }

    /// Something is done.
    pub(crate) fn take(&mut self, event: &Event) {
        self.change_count += 1;
        match &event.what {
            What::Opened { path, inode, is_truncated } => {
                let index = self.find(path).unwrap_or_else(|| self.make(path, Node::File(Content::default())));
                self.by_inode.insert(*inode, index);
                if *is_truncated {
                    self.change(*inode, Change::Truncated { byte_count: 0 });
                }
            }
            What::OpenedFolder { path, inode } => _ = self.by_inode.insert(*inode, self.find(path).unwrap()),
            What::Written { inode, offset, data } => self.change(*inode, Change::Written { offset: *offset, data: data.clone() }),
            What::Truncated { inode, byte_count } => self.change(*inode, Change::Truncated { byte_count: *byte_count }),
            What::Renamed { from, to } => {
                let node = self.find(from).unwrap();
                let (folder, gone) = self.place(from);
                let (to_folder, name) = self.place(to);
                assert_eq!(folder, to_folder, "from one folder to another, which is not known here");
                self.rename(Renamed { folder, gone: Some(gone), new: Some((name, node)) });
            }
            What::Removed { path } => {
                let (folder, gone) = self.place(path);
                self.rename(Renamed { folder, gone: Some(gone), new: None });
            }
            What::MadeFolder { path } => _ = self.make(path, Node::new_folder()),
            What::FlushBegins { flush } => _ = self.flushes.insert(*flush, self.change_count),
            What::FlushEnds { inode, flush } => self.flushed(*inode, *flush),
        }
    }

    /// What a path leads to now.
    fn find(&self, path: &Path) -> Option<usize> {
        path.strip_prefix(&self.root).unwrap().iter().try_fold(0, |folder, name| match &self.nodes[folder] {
            Node::Folder { now, .. } => now.get(name).copied(),
            Node::File(_) => None,
        })
    }

    /// The folder and the name of a path.
    fn place(&self, path: &Path) -> (usize, OsString) {
        (self.find(path.parent().unwrap()).unwrap(), path.file_name().unwrap().to_owned())
    }

    fn make(&mut self, path: &Path, node: Node) -> usize {
        let (folder, name) = self.place(path);
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.rename(Renamed { folder, gone: None, new: Some((name, index)) });
        index
    }

    fn change(&mut self, inode: u64, change: Change) {
        if let Node::File(content) = &mut self.nodes[self.by_inode[&inode]] {
            content.on_its_way.push((self.change_count, change));
        }
    }

    fn rename(&mut self, renamed: Renamed) {
        if let Node::Folder { now, .. } = &mut self.nodes[renamed.folder] {
            renamed.apply(now);
        }
        self.names_on_their_way.push((self.change_count, renamed));
    }

    /// What was done before the flush began is on the disk.
    fn flushed(&mut self, inode: u64, flush: u32) {
        let begun = self.flushes.remove(&flush).unwrap();
        let index = self.by_inode[&inode];
        match &mut self.nodes[index] {
            Node::File(Content { on_disk, on_its_way }) => {
                on_its_way.extract_if(.., |(at, _)| *at < begun).for_each(|(_, change)| change.apply(on_disk));
            }
            Node::Folder { on_disk, .. } => {
                let of_folder = self.names_on_their_way.extract_if(.., |(at, renamed)| *at < begun && renamed.folder == index);
                of_folder.for_each(|(_, renamed)| renamed.apply(on_disk));
            }
        }
    }

    /// Puts what is found after a loss of power into the folder `target`, in place of the root.
    pub(crate) fn rebuild(&self, target: &Path, luck: Luck, random: &mut fastrand::Rng) {
        let on_disk = |node: &Node| if let Node::Folder { on_disk, .. } = node { on_disk.clone() } else { Names::new() };
        let mut names: Vec<Names> = self.nodes.iter().map(on_disk).collect();
        let some = random.usize(..=self.names_on_their_way.len());
        let mut lost = HashSet::new();
        for (index, (_, renamed)) in self.names_on_their_way.iter().enumerate() {
            let is_there = match luck.of_names {
                OfNames::Nothing => false,
                OfNames::All => true,
                OfNames::Beginning => index < some,
                OfNames::Some => random.bool(),
            };
            // Of a name nothing is there that was done after what is lost.
            if is_there && !renamed.names().any(|name| lost.contains(&(renamed.folder, name))) {
                renamed.apply(&mut names[renamed.folder]);
            } else {
                lost.extend(renamed.names().map(|name| (renamed.folder, name)));
            }
        }
        self.rebuild_folder(0, &names, target, luck, random);
    }

    fn rebuild_folder(&self, folder: usize, names: &[Names], target: &Path, luck: Luck, random: &mut fastrand::Rng) {
        for (name, node) in &names[folder] {
            let path = target.join(name);
            match &self.nodes[*node] {
                Node::Folder { .. } => {
                    fs::create_dir(&path).unwrap();
                    self.rebuild_folder(*node, names, &path, luck, random);
                }
                Node::File(content) => fs::write(path, content.found(luck.of_content, random)).unwrap(),
            }
        }
    }
}

impl Node {
    fn new_folder() -> Self {
        Self::Folder { now: Names::new(), on_disk: Names::new() }
    }
}

impl Renamed {
    fn names(&self) -> impl Iterator<Item = &OsString> {
        self.gone.iter().chain(self.new.iter().map(|(name, _)| name))
    }

    fn apply(&self, names: &mut Names) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, node)) = &self.new {
            names.insert(name.clone(), *node);
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
