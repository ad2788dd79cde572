//! The files of a host, and the programs that write to them: real files, and the facts about them. What is done to
//! them is in `deeds`; what an agent owes is not known here.

mod deeds;

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
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
    /// It was moved from one folder to another.
    pub(crate) has_moved: bool,
    /// When another file had first taken a name that it had.
    pub(crate) superseded_at: Option<Duration>,
    /// The names that it has had, without their folders.
    pub(crate) file_names: HashSet<OsString>,
    /// So long it, or what it was made from, was before some of it was written anew behind a beginning that was left.
    pub(crate) overwritten_until: u64,
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
        from: BodyId,
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
    /// Where each path has led last.
    led_to: BTreeMap<PathBuf, BodyId>,
    changes: Vec<Change>,
    inodes: HashSet<u64>,
    /// Files that have the inode of one that is gone.
    pub(crate) reused_inode_count: u64,
}

impl Body {
    pub(crate) fn made_from(&self) -> Option<BodyId> {
        match self.origin {
            Origin::Written => None,
            Origin::Copied { from, .. } | Origin::Compressed { from, .. } => Some(from),
        }
    }

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
            led_to: BTreeMap::new(),
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
        let mut path = path;
        // As many links as there may be, unless they lead round.
        for _ in 0..self.names.len() {
            match self.names.get(path)? {
                Name::File(body) => return Some(*body),
                Name::Link(target) => path = target,
            }
        }
        None
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

    /// Whether the names of a body say that it was made from `from`, whichever of the names of that is known.
    pub(crate) fn is_named_after(&self, body: &Body, from: BodyId) -> bool {
        let original = &self.bodies[from.0];
        let is_like = |name: &OsString| original.file_names.iter().all(|of| is_rotated_name(of, name));
        body.file_names.iter().all(is_like) && original.made_from().is_none_or(|earlier| self.is_named_after(body, earlier))
    }

    pub(crate) fn is_free(&self, path: &Path) -> bool {
        !self.names.contains_key(path)
    }

    pub(crate) fn add_program(&mut self) {
        let path = self.logs().join(format!("{}.log", char::from(b'a' + u8::try_from(self.programs.len()).unwrap())));
        let (body, writer) = self.create(&path);
        self.programs.push(Program { path, writer: Some(writer), body });
        self.note_names();
    }

    /// Notes the names that files have now, and had before.
    fn note_names(&mut self) {
        let leads: Vec<(PathBuf, BodyId)> =
            self.names.keys().filter_map(|path| Some((path.clone(), self.body_at(path)?))).collect();
        for (path, body) in leads {
            self.bodies[body.0].file_names.insert(path.file_name().unwrap().to_owned());
            if let Some(before) = self.led_to.insert(path, body).filter(|before| *before != body) {
                self.bodies[before.0].superseded_at.get_or_insert(self.now);
            }
        }
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
            has_moved: false,
            superseded_at: None,
            file_names: HashSet::new(),
            overwritten_until: 0,
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

/// `a.log` becomes `a.log.1` or `a.log.1.gz`, and that `a.log.2.gz`.
fn is_rotated_name(from: &OsStr, to: &OsStr) -> bool {
    let [from, to] = [from, to].map(|name| name.to_str().unwrap());
    let stem = from.rsplit_once('.').map_or(from, |(stem, _)| stem);
    let is_number = |rest: &str| rest.strip_prefix(['.', '-']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    to.starts_with(from) || to.strip_prefix(stem).is_some_and(is_number)
}
