//! Opening: what is there is read, decided upon, and made into a store that this process has written all of.
//!
//! Sled's folder is copied, and the copy [read](super::reading) by a child. From what is [decided](super::decision) a new folder
//! is written in place of it, at every start, so that going on from a snapshot after damage is no other way than going on. What
//! was damaged is set aside, as `offsets.damaged-` and the time. The order of the steps makes each of them repeatable: the
//! snapshot has everything before the folder is touched, and while `offsets.old` is there, it and not `offsets` is the store.

use std::fmt;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::content::{Content, Image};
use super::database::{Database, Held, SLED_FILE};
use super::decision::{Copy, Decision, Refusal, Source, decide};
use super::snapshot::{self, SNAPSHOT_FILE, UNFINISHED_SNAPSHOT, Unfit, is_damage, nonblocking, sync_folder};
use super::written::{Written, WrittenFile};
use super::{OpenError, reading};
use crate::limits::{STORE_CLOSE_TIMEOUT, STORE_FOLDER_BYTES_MAX};

pub(super) const STORE_FOLDER: &str = "offsets";
/// The folder, while another is made in its place.
const OLD_FOLDER: &str = "offsets.old";
/// How names begin of what can be removed.
const TRASH: &str = "offsets.trash-";
const CLOSE_PAUSE: Duration = Duration::from_millis(1);

/// That a store was not as it was left, and what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What was wrong.
    pub trouble: String,
    /// What is used instead.
    pub source: Source,
    /// Where the damaged folder is now; none when there was none.
    pub set_aside: Option<PathBuf>,
    /// What is used may be older than the last commit: files may have been read further, and sent, and runs not be known that
    /// have sent. See [`Offsets::is_rolled_back`](super::Offsets::is_rolled_back).
    pub is_rolled_back: bool,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source, self.is_rolled_back) {
            (Source::Store, _) => write!(f, "the offset store lacks its last commits, and is used as it is"),
            (Source::Snapshot, false) => write!(f, "the offset store is recovered from its snapshot, which has every commit"),
            (Source::Snapshot, true) => {
                write!(f, "the offset store is recovered from its snapshot, which may lack the last commits")
            }
            (Source::Nothing, _) => write!(f, "the offset store is made anew; no commit to the one before was ever done"),
        }
    }
}

/// What was found in a state folder, and what follows.
pub(super) struct Looked {
    pub(super) image: Image,
    pub(super) content: Content,
    pub(super) recovered: Option<Recovered>,
    /// What is wrong with the snapshot, where it is not needed.
    pub(super) snapshot_trouble: Option<String>,
    /// The snapshot is of that image.
    pub(super) has_snapshot: bool,
}

/// What becomes of a folder when another takes its place.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It goes.
    Removed,
    /// It is kept, under a name with this word and the time.
    SetAside(&'static str),
}

/// A store that is made from something.
pub(super) struct Established {
    pub(super) database: Database,
    /// None before the first commit.
    pub(super) written: Option<WrittenFile>,
    /// Where the one before is now.
    pub(super) set_aside: Option<PathBuf>,
    /// Generation of the snapshot.
    pub(super) snapshot_generation: u64,
}

/// What is read of a state folder, before it is decided upon.
pub(super) struct Sources {
    sled: Held,
    snapshot: Option<Result<Image, Unfit>>,
    written: Written,
}

impl Sources {
    /// What is in files of our own.
    pub(super) fn read(state_dir: &Path) -> io::Result<Self> {
        let (snapshot, written) = (snapshot::read(state_dir)?, Written::read(state_dir)?);
        Ok(Self { sled: Held::Missing, snapshot, written })
    }

    /// With what is in sled's folder, of which a copy was made.
    pub(super) fn with_sled(self, copied: Result<Option<PathBuf>, Unfit>) -> io::Result<Self> {
        let sled = match copied {
            Ok(None) => Held::Missing,
            Ok(Some(copy)) => reading::read(&copy)?,
            Err(unfit) => Held::Unfit(unfit),
        };
        Ok(Self { sled, ..self })
    }

    /// True when there never was a store.
    pub(super) fn is_nothing(&self) -> bool {
        self.sled == Held::Missing && self.snapshot.is_none() && self.written == Written::Never
    }

    /// The greatest generation that anything here knows of.
    pub(super) fn generation(&self) -> u64 {
        let of_sled = if let Held::Image(image) = &self.sled { Some(image.generation) } else { None };
        let of_snapshot = self.snapshot.as_ref().and_then(|image| image.as_ref().ok()).map(|image| image.generation);
        [of_sled, of_snapshot, self.written.generation()].into_iter().flatten().max().unwrap_or_default()
    }

    /// What is used, and what it says.
    pub(super) fn judge(self, state_dir: &Path) -> Result<Looked, OpenError> {
        let of_sled = match &self.sled {
            Held::Missing => Copy::Missing,
            Held::Empty => Copy::Empty,
            Held::Image(image) => Copy::Good(image.generation),
            Held::Unfit(unfit) => Copy::of(unfit),
        };
        let of_snapshot = match &self.snapshot {
            None => Copy::Missing,
            Some(Ok(image)) => Copy::Good(image.generation),
            Some(Err(unfit)) => Copy::of(unfit),
        };
        let malformed = |what| OpenError::Malformed(state_dir.to_owned(), what);
        let decision = decide(&of_sled, &of_snapshot, self.written).map_err(|refusal| match refusal {
            Refusal::Later(version) => OpenError::Later(state_dir.to_owned(), version),
            Refusal::Unreadable(what) => malformed(what),
        })?;
        let Decision { source, generation, is_rolled_back, trouble } = decision;
        // Numbers are not used twice: with the same one it says the same.
        let has_snapshot = matches!(&self.snapshot, Some(Ok(snapshot)) if snapshot.generation == generation);
        let image = match (source, self.sled, self.snapshot) {
            (Source::Store, Held::Image(image), _) | (Source::Snapshot, _, Some(Ok(image))) => image,
            _ => Image::default(),
        };
        let image = Image { generation, is_rolled_back: image.is_rolled_back || is_rolled_back, ..image };
        let content = Content::decode(&image.entries).map_err(malformed)?;
        let recovered = trouble.map(|trouble| Recovered { trouble, source, set_aside: None, is_rolled_back });
        let snapshot_trouble = if let Copy::Damaged(what) = of_snapshot { Some(what) } else { None };
        Ok(Looked { image, content, recovered, snapshot_trouble, has_snapshot })
    }
}

impl Copy {
    fn of(unfit: &Unfit) -> Self {
        match unfit {
            Unfit::Damaged(what) => Self::Damaged(what.clone()),
            Unfit::Later(version) => Self::Later(*version),
        }
    }
}

/// Copies sled's folder to `into`, which nobody else has; the copy, if there is something to copy.
pub(super) fn copy_store(state_dir: &Path, into: &Path) -> io::Result<Result<Option<PathBuf>, Unfit>> {
    let old = state_dir.join(OLD_FOLDER);
    let folder = if is_there(&old)? { old } else { state_dir.join(STORE_FOLDER) };
    if !is_there(&folder)? {
        return Ok(Ok(None));
    }
    let (copy, mut bytes_left) = (into.join(STORE_FOLDER), STORE_FOLDER_BYTES_MAX);
    let copied = wait_until_closed(&folder).and_then(|()| copy_folder(&folder, &copy, &mut bytes_left));
    match copied {
        Err(error) if is_damage(&error) => Ok(Err(Unfit::Damaged(format!("it cannot be copied: {error}")))),
        Err(error) => Err(error),
        Ok(()) => Ok(Ok(Some(copy))),
    }
}

/// Sled's threads of this process may hold its file for a moment after it is closed.
fn wait_until_closed(folder: &Path) -> io::Result<()> {
    let file = match File::options().read(true).custom_flags(nonblocking()).open(folder.join(SLED_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let until = Instant::now() + STORE_CLOSE_TIMEOUT;
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::park_timeout(CLOSE_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            // A file system without locks: sled had none either.
            Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

fn copy_folder(from: &Path, to: &Path, bytes_left: &mut u64) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &path, bytes_left)?;
        } else if kind.is_file() && !is_unfinished(&path) {
            let too_large = || io::Error::new(io::ErrorKind::InvalidData, "it is too large");
            if entry.metadata()?.len() > *bytes_left {
                return Err(too_large());
            }
            // Without the permissions of the original, which need not let anybody write.
            let mut from = File::open(entry.path())?.take(bytes_left.saturating_add(1));
            let copied = io::copy(&mut from, &mut File::create(path)?)?;
            *bytes_left = bytes_left.checked_sub(copied).ok_or_else(too_large)?;
        }
    }
    Ok(())
}

/// What a sled that could not write has left of a snapshot of its own: it takes that for a damaged store.
fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "generating")
}

/// Makes a store of `image`, of which there is a snapshot already or not, in place of what is there.
pub(super) fn establish(state_dir: &Path, image: &Image, has_snapshot: bool, fate: Fate) -> io::Result<Established> {
    remove_leftovers(state_dir)?;
    let is_written = image.generation > 0;
    let (folder, old) = (state_dir.join(STORE_FOLDER), state_dir.join(OLD_FOLDER));
    if let Fate::SetAside(_) = fate {
        // For a person who wants to go back, if it can be had.
        let kept = if is_there(&old)? { &old } else { &folder };
        let _ = fs::copy(state_dir.join(SNAPSHOT_FILE), kept.join(SNAPSHOT_FILE));
    }
    if is_written && !has_snapshot {
        snapshot::write(state_dir, &snapshot::encode(image))?;
    }
    let written = is_written.then(|| WrittenFile::create(state_dir, image.generation)).transpose()?;
    if is_there(&old)? {
        remove(&folder)?;
    } else if is_there(&folder)? {
        fs::rename(&folder, &old)?;
    }
    DirBuilder::new().mode(0o700).create(&folder)?;
    let database = Database::create(&folder, image)?;
    sync_folder(state_dir)?;
    let mut set_aside = None;
    if is_there(&old)? {
        let target = match fate {
            Fate::Removed => unused(state_dir, TRASH)?,
            Fate::SetAside(word) => unused(state_dir, &format!("{STORE_FOLDER}.{word}-"))?,
        };
        fs::rename(&old, &target)?;
        sync_folder(state_dir)?;
        match fate {
            // What is left of it is removed at the next start.
            Fate::Removed => drop(remove(&target)),
            Fate::SetAside(_) => set_aside = Some(target),
        }
    }
    Ok(Established { database, written, set_aside, snapshot_generation: if is_written { image.generation } else { 0 } })
}

fn remove_leftovers(state_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state_dir)? {
        let entry = entry?;
        if entry.file_name() == UNFINISHED_SNAPSHOT || entry.file_name().to_string_lossy().starts_with(TRASH) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if !metadata.is_dir() => fs::remove_file(path),
        _ => fs::remove_dir_all(path),
    }
}

/// A path that begins so and is nobody's.
fn unused(state_dir: &Path, beginning: &str) -> io::Result<PathBuf> {
    let beginning = format!("{beginning}{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let mut path = state_dir.join(&beginning);
    for number in 2_u64.. {
        if !is_there(&path)? {
            break;
        }
        path = state_dir.join(format!("{beginning}-{number}"));
    }
    Ok(path)
}

/// Whether there is anything of this name, be it a link that leads nowhere.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        metadata => metadata.map(|_| true),
    }
}

/// A folder for the copy of a store, which goes with it; what one that was killed has left is removed as other leftovers.
pub(super) fn folder_for_copy(state_dir: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(TRASH).tempdir_in(state_dir)
}
