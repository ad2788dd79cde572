//! The offset store: what of each file is settled, kept through restarts. The only module that knows sled.
//!
//! A commit is one atomic batch, flushed to the disk before it is reported done. When to commit, and what,
//! is the checkpointer's decision; which file a row belongs to is the tailer's.
//!
//! Sled is not trusted: it may lose the last commits, or rows, and on damaged files it may do anything. So each commit is
//! numbered, and there is a check over all of the content (`database`); all of it is also in a snapshot of our own
//! (`snapshot`), and the number in a third file (`written`). A start compares the three (`decision`), reads sled's files in
//! a process of their own (`reading`), and writes them anew (`opening`). When neither copy can be read, nothing is changed, and
//! an operator decides.
//!
//! # The state folder
//!
//! | | |
//! | --- | --- |
//! | `lock` | held by the agent that uses the folder |
//! | `offsets` | sled's folder |
//! | `snapshot` | all of the store, a few seconds old at most while it changes |
//! | `written` | how far it was committed |
//! | `sent` | how many records the runs of this process have sent (`sent`) |
//! | `offsets.damaged-20261122T013000Z` | what sled could not read, or had lost something of; nobody needs it but who looks for the reason |
//! | `offsets.replaced-20261122T013000Z` | what was there before [`Offsets::replace_all`], with its snapshot |
//! | `offsets.old`, `offsets.trash-*`, `snapshot.new`, `sent.new`, `probe` | there for a moment |

mod content;
mod database;
mod decision;
mod error;
mod keeper;
mod opening;
mod peek;
mod reading;
mod row;
mod sending;
mod sent;
mod snapshot;
mod written;

use std::collections::{BTreeSet, HashSet};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use self::content::Content;
pub use self::decision::Source;
pub use self::error::OpenError;
pub use self::opening::Recovered;
pub use self::peek::Peeked;
pub use self::reading::{read_for_parent, read_with};
pub use self::row::{Fingerprint, Identity, Mark, Place, Row};
pub use self::sending::{RunKey, Sending};
pub use self::sent::SentCounter;

use self::content::{Image, encode_changes};
use self::database::Database;
use self::keeper::Keeper;
use self::opening::{Fate, establish};
use self::sent::{Counting, Sent};
use crate::health::Health;
use crate::span::FileKey;

/// Of the store. 2 had no generations and no snapshot; a store of a later version is refused rather than misread.
const VERSION: u32 = 3;
const LOCK_FILE: &str = "lock";
/// How often the lock is tried while it is shared, and how long after: copying the store takes milliseconds.
const LOCK_ATTEMPTS: usize = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// An open store; nobody else has it open.
pub struct Offsets {
    state_dir: PathBuf,
    keeper: Keeper,
    recovered: Option<Recovered>,
    counting: Mutex<Counters>,
    /// Held, not read: the lock ends with the process, however it ends.
    _lock: File,
}

/// What is counted beside the store.
#[derive(Default)]
struct Counters {
    /// Of the last process, until the counters of this one take their place.
    before: Sent,
    counters: Option<Counting>,
    /// Those of this process.
    runs: HashSet<RunKey>,
}

/// What a run begins with.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Every row.
    pub rows: Vec<(FileKey, Row)>,
    /// As [`Offsets::started_flows`].
    pub started_flows: BTreeSet<String>,
    /// As [`Offsets::sendings`].
    pub sendings: Vec<(RunKey, Sending)>,
    /// As [`Offsets::is_rolled_back`].
    pub is_rolled_back: bool,
}

/// What a commit changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Rows that are new or have changed.
    pub rows: Vec<(FileKey, Row)>,
    /// Rows that go.
    pub removed: Vec<FileKey>,
    /// Flows that have looked at their files for the first time.
    pub started_flows: Vec<String>,
    /// Flows that have not looked at their files from now on.
    pub forgotten_flows: Vec<String>,
    /// What may be sent from now on of which the rows say nothing.
    pub sendings: Vec<(RunKey, Sending)>,
    /// Runs of which the rows say everything.
    pub reconciled: Vec<RunKey>,
}

impl Changes {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self { rows, removed, started_flows, forgotten_flows, sendings, reconciled } = self;
        let flows_are_the_same = started_flows.is_empty() && forgotten_flows.is_empty();
        rows.is_empty() && removed.is_empty() && flows_are_the_same && sendings.is_empty() && reconciled.is_empty()
    }
}

impl Offsets {
    /// Opens the store in `state_dir`, which is made if it is not there.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let lock = locked(state_dir)?;
        let (keeper, recovered) = Keeper::open(state_dir)?;
        let counting = Mutex::new(Counters { before: Sent::read(state_dir), ..Counters::default() });
        Ok(Self { state_dir: state_dir.to_owned(), keeper, recovered, counting, _lock: lock })
    }

    /// That the store was not as it was left, if so, and what it was opened from.
    pub fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_ref()
    }

    /// What the store says may be older than the last commit, by what was found at this start or at one before: files may have
    /// been read further, and sent, and there may be runs that have sent of which [`Offsets::sendings`] says nothing. It stays so
    /// until [`Offsets::mend_rollback`].
    pub fn is_rolled_back(&self) -> Result<bool, OpenError> {
        self.keeper.look(|database| Ok(database.is_rolled_back())).map_err(|error| self.unreadable(error))
    }

    /// What the commits that are lost may have said is known again, or given up: commits that.
    pub fn mend_rollback(&self) -> io::Result<()> {
        self.keeper.commit(&encode_changes(&Changes::default())?, true)
    }

    /// Where it is said, from now on, that snapshots cannot be written.
    pub fn report_to(&self, health: Health) {
        self.keeper.report_to(health);
    }

    /// Every row.
    pub fn load(&self) -> Result<Vec<(FileKey, Row)>, OpenError> {
        self.content().map(|content| content.rows)
    }

    /// All that a run has to know.
    pub fn stored(&self) -> Result<Stored, OpenError> {
        let Content { rows, started_flows, mut sendings } = self.content()?;
        self.counting().before.fold_into(&mut sendings);
        Ok(Stored { rows, started_flows, sendings, is_rolled_back: self.is_rolled_back()? })
    }

    /// The flows that have looked at their files before, so that those there now are not there at a first start.
    pub fn started_flows(&self) -> Result<BTreeSet<String>, OpenError> {
        self.content().map(|content| content.started_flows)
    }

    /// What runs before may have sent of which the rows say nothing, that of the oldest run first. What the last run has sent
    /// after its last commit is counted as in flight then.
    pub fn sendings(&self) -> Result<Vec<(RunKey, Sending)>, OpenError> {
        self.content().map(|content| content.sendings)
    }

    /// All of that at once.
    pub fn content(&self) -> Result<Content, OpenError> {
        let mut content = self.committed()?;
        self.counting().before.fold_into(&mut content.sendings);
        Ok(content)
    }

    fn committed(&self) -> Result<Content, OpenError> {
        let image = self.keeper.look(Database::image).map_err(|error| self.unreadable(error))?;
        Content::decode(&image.entries).map_err(|what| OpenError::Malformed(self.state_dir.clone(), what))
    }

    /// Writes the rows and removes rows, all or nothing, and returns when that is on the disk. After a failure it is
    /// not known what of the commits before is on it.
    pub fn commit(&self, changes: &Changes) -> io::Result<()> {
        self.keeper.commit(&encode_changes(changes)?, false)
    }

    /// A counter for a run of a flow that begins. Before the first one, what the last process has counted is committed.
    pub fn begin_run(&self, run: &RunKey) -> io::Result<SentCounter> {
        let mut counting = self.counting();
        counting.runs.insert(run.clone());
        if let Some(counting) = &mut counting.counters {
            return counting.add(run);
        }
        let mut sendings = self.committed().map_err(io::Error::other)?.sendings;
        if counting.before.fold_into(&mut sendings) {
            self.commit(&Changes { sendings, ..Changes::default() })?;
        }
        counting.before = Sent::default();
        counting.counters.insert(Counting::begin(&self.state_dir)?).add(run)
    }

    /// Whether this process has begun that run.
    pub fn has_begun(&self, run: &RunKey) -> bool {
        self.counting().runs.contains(run)
    }

    /// After the last commit of a run that ends in an orderly way: writes a snapshot of it, and that it is the last. It waits for
    /// the disk.
    pub fn finish(&self) -> io::Result<()> {
        self.keeper.finish()
    }

    /// Makes a store with this content in `state_dir`, in place of the one that is there, if any, readable or not. That one is set
    /// aside, with its snapshot; returned is where.
    pub fn replace_all(state_dir: &Path, content: &Content) -> Result<Option<PathBuf>, OpenError> {
        let _lock = locked(state_dir)?;
        let replace = || {
            let generation = keeper::look(state_dir)?.generation() + 1;
            let image = Image { generation, is_rolled_back: false, entries: content.encode()? };
            let established = establish(state_dir, &image, false, Fate::SetAside("replaced"))?;
            Ok(established.set_aside)
        };
        replace().map_err(|error| OpenError::Unreadable(state_dir.to_owned(), error))
    }

    fn counting(&self) -> MutexGuard<'_, Counters> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, error: io::Error) -> OpenError {
        OpenError::Unreadable(self.state_dir.clone(), error)
    }
}

/// The lock of a state folder, which is made if it is not there.
fn locked(state_dir: &Path) -> Result<File, OpenError> {
    let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
    // Whoever may open the lock can hold it.
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(unreadable)?;
    let mut options = File::options();
    let options = options.create(true).truncate(true).write(true).mode(0o600).custom_flags(snapshot::nonblocking());
    let lock = options.open(state_dir.join(LOCK_FILE)).map_err(unreadable)?;
    take_lock(&lock).map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse(state_dir.to_owned()),
        TryLockError::Error(error) => unreadable(error),
    })?;
    Ok(lock)
}

/// Takes the lock for this process alone. Who only looks into the store shares it for a moment, and is waited for.
fn take_lock(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            taken => return taken,
        }
        // Another agent does not share it.
        lock.try_lock_shared()?;
        lock.unlock().map_err(TryLockError::Error)?;
        thread::park_timeout(LOCK_PAUSE);
    }
    Err(TryLockError::WouldBlock)
}

#[cfg(test)]
mod tests;
