//! The files of a host, and the programs that write to them: real files, and the facts about them. What is done to
//! them is in `deeds`; what an agent owes is not known here.

mod deeds;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use self::deeds::{Change, Deed, Keep};
use crate::lines::{LineId, Lines};

/// Index of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BodyId(pub(crate) usize);

/// What an inode is to users: one file, whatever its names are.
pub(crate) struct Body {
    pub(crate) origin: Origin,
    /// The lines that are complete in it, in order.
    pub(crate) places: Vec<Place>,
    /// What stands behind them.
    pub(crate) unfinished: Option<Unfinished>,
    /// Of its lines: of a compressed file, those of its content.
    pub(crate) byte_count: u64,
    pub(crate) last_growth: Duration,
    /// When it was created, or last lost content.
    pub(crate) begun_at: Duration,
    pub(crate) renamed_at: Option<Duration>,
    /// Were it written to, nobody could tell that it was truncated before.
    pub(crate) is_held_back: bool,
    /// Where lines ended that are there no more.
    former_ends: HashSet<u64>,
    /// Its unfinished line may have been taken for complete: nobody writes to it any more.
    pub(crate) is_closed: bool,
    /// For whoever looks into a failure.
    pub(crate) history: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Written,
    Copied {
        from: BodyId,
        purpose: Purpose,
        /// When what was copied was then emptied.
        truncated_at: Option<Duration>,
    },
    Compressed {
        is_complete: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// copytruncate: the original is emptied next.
    Truncation,
    /// Somebody wanted a copy.
    Keeping,
}

/// A line that is complete in a file.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) line: LineId,
    /// Behind its newline.
    pub(crate) end: u64,
    /// Since when.
    pub(crate) at: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Unfinished {
    pub(crate) line: LineId,
    pub(crate) byte_count: usize,
}

/// Which names are tailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Globs {
    /// Files as programs name them; a rotated one is out of the globs.
    Narrow,
    /// Rotated files in the same folder as well.
    Wide,
    /// And those in the folders below.
    Deep,
}

/// A program that logs.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// None while it changes from one file to another.
    writer: Option<File>,
    pub(crate) body: BodyId,
}

enum Name {
    File(BodyId),
    Link(PathBuf),
}

pub(crate) struct Host {
    root: PathBuf,
    pub(crate) globs: Globs,
    pub(crate) now: Duration,
    pub(crate) lines: Lines,
    pub(crate) bodies: Vec<Body>,
    pub(crate) programs: Vec<Program>,
    names: BTreeMap<PathBuf, Name>,
    changes: Vec<Change>,
    inodes: HashSet<u64>,
    /// Files that have the inode of one that is gone.
    pub(crate) reused_inode_count: u64,
}

impl Body {
    fn is_writable(&self) -> bool {
        !self.is_closed && !self.is_held_back
    }
}

impl Globs {
    pub(crate) fn pattern(self, root: &Path) -> PathBuf {
        let logs = root.join(LOGS);
        match self {
            Self::Narrow => logs.join("*.log"),
            Self::Wide => logs.join("*.log*"),
            Self::Deep => logs.join("**/*.log*"),
        }
    }
}

const LOGS: &str = "logs";

impl Host {
    pub(crate) fn new(root: PathBuf, globs: Globs) -> Self {
        for folder in ["logs", "logs/old", "away"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self {
            root,
            globs,
            now: Duration::ZERO,
            lines: Lines::default(),
            bodies: Vec::new(),
            programs: Vec::new(),
            names: BTreeMap::new(),
            changes: Vec::new(),
            inodes: HashSet::new(),
            reused_inode_count: 0,
        }
    }

    /// The folder that all globs look into.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join(LOGS)
    }

    /// A folder in which only the deepest globs look.
    pub(crate) fn old(&self) -> PathBuf {
        self.root.join("logs/old")
    }

    /// A folder in which no glob looks.
    pub(crate) fn away(&self) -> PathBuf {
        self.root.join("away")
    }

    pub(crate) fn is_matched(&self, path: &Path) -> bool {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return false };
        let is_in = if self.globs == Globs::Deep { folder.starts_with(self.logs()) } else { folder == self.logs() };
        let fits = if self.globs == Globs::Narrow { name.ends_with(".log") } else { name.contains(".log") };
        is_in && fits && !name.starts_with('.')
    }

    /// The paths that lead to a body, those of symbolic links too.
    pub(crate) fn paths(&self, body: BodyId) -> impl Iterator<Item = &Path> {
        self.names.iter().filter(move |(path, _)| self.body_at(path) == Some(body)).map(|(path, _)| path.as_path())
    }

    pub(crate) fn body_at(&self, path: &Path) -> Option<BodyId> {
        match self.names.get(path)? {
            Name::File(body) => Some(*body),
            Name::Link(target) => match self.names.get(target)? {
                Name::File(body) => Some(*body),
                Name::Link(_) => None,
            },
        }
    }

    /// The names by which no program knows its file.
    pub(crate) fn others(&self) -> Vec<PathBuf> {
        let is_of_program = |path: &Path| self.programs.iter().any(|program| program.path == path);
        self.names.keys().filter(|path| !is_of_program(path)).cloned().collect()
    }

    /// As gzip wants a file to be: no link, and without another name.
    fn has_one_name(&self, path: &Path) -> bool {
        let is_file = matches!(self.names.get(path), Some(Name::File(_)));
        is_file && self.body_at(path).is_some_and(|body| self.paths(body).count() == 1)
    }

    pub(crate) fn is_copy(&self, path: &Path) -> bool {
        self.body_at(path).is_some_and(|body| matches!(self.bodies[body.0].origin, Origin::Copied { .. }))
    }

    pub(crate) fn is_free(&self, path: &Path) -> bool {
        !self.names.contains_key(path)
    }

    pub(crate) fn add_program(&mut self) {
        let path = self.logs().join(format!("{}.log", char::from(b'a' + u8::try_from(self.programs.len()).unwrap())));
        let (body, writer) = self.create(&path);
        self.programs.push(Program { path, writer: Some(writer), body });
    }

    fn create(&mut self, path: &Path) -> (BodyId, File) {
        let writer = File::options().create_new(true).append(true).open(path).unwrap();
        (self.add_body(path, Origin::Written, &format!("created as {}", path.display())), writer)
    }

    fn add_body(&mut self, path: &Path, origin: Origin, history: &str) -> BodyId {
        let id = BodyId(self.bodies.len());
        let is_new = self.inodes.insert(fs::metadata(path).unwrap().ino());
        self.reused_inode_count += u64::from(!is_new);
        self.bodies.push(Body {
            is_closed: !matches!(origin, Origin::Written),
            origin,
            places: Vec::new(),
            unfinished: None,
            byte_count: 0,
            last_growth: self.now,
            begun_at: self.now,
            renamed_at: None,
            is_held_back: false,
            former_ends: HashSet::new(),
            history: Vec::new(),
        });
        self.names.insert(path.to_owned(), Name::File(id));
        self.note(id, history);
        id
    }

    fn note(&mut self, body: BodyId, what: &str) {
        let now = self.now;
        self.bodies[body.0].history.push(format!("{now:?} {what}"));
    }
}
