//! Keeping an open store: commits, and the snapshots that follow them.
//!
//! Snapshots are written by a thread of their own: the first right after the first commit, the next ones while something changes,
//! at most every [`STORE_SNAPSHOT_INTERVAL`]. A commit waits only while what is in the store is looked through in memory; and the
//! thread sleeps while nothing is committed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::OpenError;
use super::database::Database;
use super::opening::{self, Established, Fate, Looked, Recovered, Sources};
use super::snapshot;
use super::written::WrittenFile;
use crate::failpoint;
use crate::health::Health;
use crate::limits::{STORE_PROBE_BYTES, STORE_SNAPSHOT_INTERVAL, STORE_SNAPSHOT_RATE};

const PROBE_FILE: &str = "probe";

/// The store of one state folder, and the thread that writes its snapshots.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state_dir: PathBuf,
    state: Mutex<State>,
    /// Something was committed, or all is at an end.
    has_changed: Condvar,
    /// Held while a snapshot is written.
    writing: Mutex<()>,
    health: OnceLock<Health>,
}

struct State {
    /// Closed by a commit that fails, until one can be tried again.
    open: Option<Open>,
    /// Generation of the snapshot that is on the disk.
    snapshot_generation: u64,
    /// No snapshot is written before.
    next_snapshot_at: Instant,
    is_snapshot_failing: bool,
    is_ending: bool,
}

struct Open {
    database: Database,
    /// None before the first commit.
    written: Option<WrittenFile>,
}

impl Keeper {
    /// Opens what is in `state_dir`, which is locked.
    pub(super) fn open(state_dir: &Path) -> Result<(Self, Option<Recovered>), OpenError> {
        let (established, recovered) = open(state_dir)?;
        let Established { database, written, snapshot_generation, .. } = established;
        let state = State {
            open: Some(Open { database, written }),
            snapshot_generation,
            next_snapshot_at: Instant::now(),
            is_snapshot_failing: false,
            is_ending: false,
        };
        let shared = Arc::new(Shared {
            state_dir: state_dir.to_owned(),
            state: Mutex::new(state),
            has_changed: Condvar::new(),
            writing: Mutex::new(()),
            health: OnceLock::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("snapshots".to_owned()).spawn(move || of_thread.write_snapshots());
        let thread = thread.map_err(|error| OpenError::Unreadable(state_dir.to_owned(), error))?;
        Ok((Self { shared, thread: Some(thread) }, recovered))
    }

    /// Where it is said that snapshots cannot be written.
    pub(super) fn report_to(&self, health: Health) {
        self.shared.health.get_or_init(|| health);
    }

    /// Looks at the open database.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Database) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state();
        look(&self.shared.opened(&mut state)?.database)
    }

    /// As [`Database::commit`]; what was rolled back may be mended with it.
    pub(super) fn commit(&self, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, is_mended: bool) -> io::Result<()> {
        let mut state = self.shared.state();
        let open = self.shared.opened(&mut state)?;
        if is_mended {
            open.database.mend_rollback();
        }
        let committed = open.database.commit(changes).and_then(|()| {
            let generation = open.database.generation();
            match &open.written {
                Some(written) => written.set(generation),
                None => open.written = Some(WrittenFile::create(&self.shared.state_dir, generation)?),
            }
            Ok(())
        });
        if committed.is_err() {
            // After an error sled closes without touching the disk again; else it would panic if it failed to.
            state.open = None;
        }
        drop(state);
        failpoint::pass("after_commit");
        self.shared.has_changed.notify_all();
        committed
    }

    /// Writes what is to be written after the last commit: a snapshot of it, and that there was no other.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.shared.write_snapshot()?;
        let state = self.shared.state();
        match &state.open {
            Some(Open { database, written: Some(written) }) => written.set_last(database.generation()),
            _ => Ok(()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.state().is_ending = true;
        self.shared.has_changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // What it had to say it has said.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open store, which is opened again after a failure, once there is a disk to write to.
    fn opened<'s>(&self, state: &'s mut State) -> io::Result<&'s mut Open> {
        match state.open {
            Some(ref mut open) => Ok(open),
            None => {
                let (established, recovered) = open(&self.state_dir).map_err(io::Error::other)?;
                if let Some(recovered) = recovered {
                    let Recovered { trouble, set_aside, is_rolled_back, .. } = &recovered;
                    tracing::error!(trouble, ?set_aside, is_rolled_back, "{recovered}");
                }
                let Established { database, written, snapshot_generation, .. } = established;
                state.snapshot_generation = snapshot_generation;
                Ok(state.open.insert(Open { database, written }))
            }
        }
    }

    /// The thread.
    fn write_snapshots(&self) {
        let mut state = self.state();
        while !state.is_ending {
            let wait = state.next_snapshot_at.saturating_duration_since(Instant::now());
            if !state.is_snapshot_old() {
                state = self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if wait > Duration::ZERO {
                state = self.has_changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                drop(state);
                // Said by the one who writes it.
                let _ = self.write_snapshot();
                state = self.state();
            }
        }
    }

    /// Writes a snapshot, if there is none of the last commit.
    fn write_snapshot(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, bytes) = {
            let state = self.state();
            let open = state.open.as_ref().filter(|_| state.is_snapshot_old());
            let Some(open) = open else { return Ok(()) };
            (open.database.generation(), open.database.snapshot())
        };
        let byte_count = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let written = bytes.and_then(|bytes| snapshot::write(&self.state_dir, &bytes));
        let mut state = self.state();
        state.next_snapshot_at = Instant::now() + pause_after(byte_count);
        let has_failed = std::mem::replace(&mut state.is_snapshot_failing, written.is_err());
        if written.is_ok() {
            state.snapshot_generation = state.snapshot_generation.max(generation);
        }
        drop(state);
        self.tell(written.as_ref().err(), has_failed);
        written
    }

    fn tell(&self, error: Option<&io::Error>, has_failed: bool) {
        match (error, self.health.get()) {
            (Some(error), Some(health)) => health.snapshots_fail(&format!(
                "cannot write the snapshot of the offset store: {error}; offsets are committed all the same"
            )),
            (None, Some(health)) => health.snapshots_work(),
            (_, None) => {}
        }
        match error {
            Some(error) if !has_failed => {
                tracing::error!(%error, "cannot write the snapshot of the offset store; offsets are committed all the same");
            }
            None if has_failed => tracing::info!("snapshots of the offset store are written again"),
            _ => {}
        }
    }
}

impl State {
    fn is_snapshot_old(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.database.generation() > self.snapshot_generation)
    }
}

/// How long no other snapshot is written after one of so many bytes.
fn pause_after(byte_count: u64) -> Duration {
    STORE_SNAPSHOT_INTERVAL.max(Duration::from_secs(byte_count / STORE_SNAPSHOT_RATE))
}

fn open(state_dir: &Path) -> Result<(Established, Option<Recovered>), OpenError> {
    let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
    probe(state_dir).map_err(unreadable)?;
    let Looked { image, recovered, snapshot_trouble, has_snapshot, .. } =
        look(state_dir).map_err(unreadable)?.judge(state_dir)?;
    if let (Some(trouble), None) = (&snapshot_trouble, &recovered) {
        tracing::warn!(trouble, "the snapshot of the offset store is damaged, and written anew; the store itself is not");
    }
    let fate = if recovered.is_some() { Fate::SetAside("damaged") } else { Fate::Removed };
    let mut established = opening::establish(state_dir, &image, has_snapshot, fate).map_err(unreadable)?;
    let set_aside = established.set_aside.take();
    Ok((established, recovered.map(|recovered| Recovered { set_aside, ..recovered })))
}

/// All that is in a state folder, of which nothing is changed.
pub(super) fn look(state_dir: &Path) -> io::Result<Sources> {
    let folder = opening::folder_for_copy(state_dir)?;
    let sources = Sources::read(state_dir)?;
    sources.with_sled(opening::copy_store(state_dir, folder.path())?)
}

/// Whether a file can be written and flushed in the state folder.
fn probe(state_dir: &Path) -> io::Result<()> {
    let path = state_dir.join(PROBE_FILE);
    let probed = File::create(&path).and_then(|mut file| {
        // In small pieces: after glibc has given back one that is as large as the tables of sled, it makes these, most of which are
        // never used, of memory that it clears, some 5 MiB.
        io::copy(&mut io::repeat(0).take(STORE_PROBE_BYTES), &mut file)?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    probed.and(removed)
}
