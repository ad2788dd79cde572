//! The offset store: what of each file is settled, kept through restarts. The only module that knows sled.
//!
//! A commit is one atomic batch, flushed to the disk before it is reported done. When to commit, and what,
//! is the checkpointer's decision; which file a row belongs to is the tailer's.

mod anew;
mod peek;
mod row;
mod sending;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use sled::Transactional as _;

pub use self::anew::Held;
pub use self::peek::Peeked;
pub use self::row::{Fingerprint, Identity, Mark, Place, Row};
pub use self::sending::{RunKey, Sending};
use crate::limits::{STORE_CACHE_BYTES, STORE_PROBE_BYTES};
use crate::span::FileKey;

/// First byte of every value; a store of a later version is refused rather than misread.
const VALUE_VERSION: u8 = 2;
/// What sled calls its file.
const SLED_FILE: &str = "db";
/// How sled's names of snapshots end that are being written.
const UNFINISHED_SNAPSHOT: &str = "generating";
const FILES_TREE: &str = "files";
const FLOWS_TREE: &str = "flows";
const SENDINGS_TREE: &str = "sendings";
const LOCK_FILE: &str = "lock";
/// There since the first commit: sled takes a file that it cannot make sense of for a new one.
const MARK_FILE: &str = "written";
const STORE_FOLDER: &str = "offsets";
const PROBE_FILE: &str = "probe";
/// How often the lock is tried while it is shared, and how long after: copying the store takes milliseconds.
const LOCK_ATTEMPTS: usize = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// An open store; nobody else has it open.
pub struct Offsets {
    state_dir: PathBuf,
    /// Closed by a commit that fails, until one can be tried again.
    store: Mutex<Option<Store>>,
    /// Held, not read: the lock ends with the process, however it ends.
    _lock: File,
}

/// sled, open. After its first error of the disk it fails for ever: only opening it again mends that.
struct Store {
    /// Sled's own file, to flush it: on Linux sled itself only asks for the pages to be written, not for the disk's
    /// cache to be flushed nor for the file's length to be kept.
    log: File,
    db: sled::Db,
    files: sled::Tree,
    flows: sled::Tree,
    sendings: sled::Tree,
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
    /// What may be sent from now on of which the rows say nothing.
    pub sendings: Vec<(RunKey, Sending)>,
    /// Runs of which the rows say everything.
    pub reconciled: Vec<RunKey>,
}

impl Changes {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self { rows, removed, started_flows, sendings, reconciled } = self;
        rows.is_empty() && removed.is_empty() && started_flows.is_empty() && sendings.is_empty() && reconciled.is_empty()
    }
}

/// Why a store cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds it.
    InUse(PathBuf),
    /// It, or its folder, cannot be read or written.
    Unreadable(PathBuf, io::Error),
    /// A row is not of this version's making.
    Malformed(PathBuf, String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(folder) => write!(
                f,
                "state folder {} is in use by another kinetail; give each agent a `state_dir` of its own, or stop the other one",
                folder.display()
            ),
            Self::Unreadable(folder, _) => write!(
                f,
                "cannot open the offset store in {}; see to it that the folder can be written to and its disk has room, \
                 or set another `state_dir`",
                folder.display()
            ),
            Self::Malformed(folder, what) => write!(
                f,
                "the offset store in {} cannot be read: {what}; use the kinetail that wrote it, or move the folder away to \
                 begin anew, as at a first start",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::InUse(_) | Self::Malformed(..) => None,
        }
    }
}

impl Offsets {
    /// Opens the store in `state_dir`, which is made if it is not there.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
        // Whoever may open the lock can hold it.
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(unreadable)?;
        let mut options = File::options();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let lock = options.open(state_dir.join(LOCK_FILE)).map_err(unreadable)?;
        take_lock(&lock).map_err(|error| in_use_or(state_dir, error))?;
        let opened = probe(state_dir).and_then(|()| Store::open(state_dir));
        let store = opened.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => OpenError::Malformed(state_dir.to_owned(), error.to_string()),
            _ => unreadable(error),
        })?;
        Ok(Self { state_dir: state_dir.to_owned(), store: Mutex::new(Some(store)), _lock: lock })
    }

    /// Every row.
    pub fn load(&self) -> Result<Vec<(FileKey, Row)>, OpenError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error| OpenError::Unreadable(self.state_dir.clone(), error);
        let load = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item.map_err(|error| unreadable(into_io(error)))?;
            decode(&key, &value).map_err(|what| OpenError::Malformed(self.state_dir.clone(), what))
        };
        self.opened(&mut store).map_err(unreadable)?.files.iter().map(load).collect()
    }

    /// The flows that have looked at their files before, so that those there now are not there at a first start.
    pub fn started_flows(&self) -> Result<BTreeSet<String>, OpenError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error| OpenError::Unreadable(self.state_dir.clone(), error);
        let names = self.opened(&mut store).map_err(unreadable)?.flows.iter().keys();
        let name = |name: sled::Result<sled::IVec>| Ok(String::from_utf8_lossy(&name?).into_owned());
        names.map(name).collect::<sled::Result<_>>().map_err(|error| unreadable(into_io(error)))
    }

    /// What runs before may have sent of which the rows say nothing, that of the oldest run first.
    pub fn sendings(&self) -> Result<Vec<(RunKey, Sending)>, OpenError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error| OpenError::Unreadable(self.state_dir.clone(), error);
        let load = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item.map_err(|error| unreadable(into_io(error)))?;
            decode_sending(&key, &value).map_err(|what| OpenError::Malformed(self.state_dir.clone(), what))
        };
        let sendings = self.opened(&mut store).map_err(unreadable)?.sendings.iter().map(load);
        let mut sendings: Vec<_> = sendings.collect::<Result<_, _>>()?;
        sendings.sort_by_key(|(_, sending)| sending.marked_at_ms);
        Ok(sendings)
    }

    /// Writes the rows and removes rows, all or nothing, and returns when that is on the disk. After a failure it is
    /// not known what of the commits before is on it.
    pub fn commit(&self, changes: &Changes) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in &changes.removed {
            batch.remove(&key.0.to_be_bytes());
        }
        for (key, row) in &changes.rows {
            batch.insert(&key.0.to_be_bytes(), encode(row)?);
        }
        let mut of_runs = sled::Batch::default();
        for key in &changes.reconciled {
            of_runs.remove(encode_run(key));
        }
        for (key, sending) in &changes.sendings {
            of_runs.insert(encode_run(key), encode(sending)?);
        }
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = self.opened(&mut store)?.commit(&batch, &of_runs, &changes.started_flows).and_then(|()| self.mark());
        if committed.is_err() {
            // After an error sled closes without touching the disk again; else it would panic if it failed to.
            *store = None;
        }
        committed
    }

    fn mark(&self) -> io::Result<()> {
        let path = self.state_dir.join(MARK_FILE);
        if path.exists() { Ok(()) } else { File::create(path)?.sync_all() }
    }

    /// The open store, which is opened again after a failure, once there is a disk to write to: opening sled on one
    /// that fails may panic.
    fn opened<'s>(&self, store: &'s mut Option<Store>) -> io::Result<&'s Store> {
        match store {
            Some(store) => Ok(store),
            None => {
                probe(&self.state_dir)?;
                Ok(store.insert(Store::open(&self.state_dir)?))
            }
        }
    }
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

fn in_use_or(state_dir: &Path, error: TryLockError) -> OpenError {
    match error {
        TryLockError::WouldBlock => OpenError::InUse(state_dir.to_owned()),
        TryLockError::Error(error) => OpenError::Unreadable(state_dir.to_owned(), error),
    }
}

/// Whether a file can be written and flushed in the state folder.
fn probe(state_dir: &Path) -> io::Result<()> {
    let path = state_dir.join(PROBE_FILE);
    let probed = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; STORE_PROBE_BYTES])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    probed.and(removed)
}

/// Removes what a sled that could not write has left of a snapshot: it takes that for a damaged store.
fn remove_unfinished_snapshots(folder: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED_SNAPSHOT) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl Store {
    fn open(state_dir: &Path) -> io::Result<Self> {
        remove_unfinished_snapshots(&state_dir.join(STORE_FOLDER))?;
        let db = sled::Config::default()
            .path(state_dir.join(STORE_FOLDER))
            .cache_capacity(STORE_CACHE_BYTES)
            // Every commit is flushed explicitly; sled's own flusher would only add wake-ups.
            .flush_every_ms(None)
            .open()
            .map_err(into_io)?;
        let files = db.open_tree(FILES_TREE).map_err(into_io)?;
        let flows = db.open_tree(FLOWS_TREE).map_err(into_io)?;
        let sendings = db.open_tree(SENDINGS_TREE).map_err(into_io)?;
        let log = File::open(state_dir.join(STORE_FOLDER).join(SLED_FILE))?;
        if state_dir.join(MARK_FILE).exists() && flows.is_empty() && files.is_empty() {
            let what = "there is nothing in it, though it was written before";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self { log, db, files, flows, sendings })
    }

    fn commit(&self, rows: &sled::Batch, sendings: &sled::Batch, started_flows: &[String]) -> io::Result<()> {
        // Both or neither: what is settled and from when on it is not known belong together.
        (&self.files, &self.sendings)
            .transaction(|(files, of_runs)| {
                files.apply_batch(rows)?;
                of_runs.apply_batch(sendings)?;
                Ok::<_, sled::transaction::ConflictableTransactionError<std::convert::Infallible>>(())
            })
            .map_err(|error| match error {
                sled::transaction::TransactionError::Storage(error) => into_io(error),
                sled::transaction::TransactionError::Abort(never) => match never {},
            })?;
        // After the rows: a flow has not started before its files are known.
        for flow in started_flows {
            self.flows.insert(flow, &[VALUE_VERSION]).map_err(into_io)?;
        }
        self.db.flush().map_err(into_io)?;
        self.log.sync_data()
    }
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut encoded = vec![VALUE_VERSION];
    serde_json::to_writer(&mut encoded, value)?;
    Ok(encoded)
}

fn encode_run(key: &RunKey) -> Vec<u8> {
    [&key.run_id.to_be_bytes(), key.flow.as_bytes()].concat()
}

fn decode_sending(key: &[u8], value: &[u8]) -> Result<(RunKey, Sending), String> {
    let (run_id, flow) = key.split_first_chunk().ok_or_else(|| format!("the key of a run has {} bytes", key.len()))?;
    let key = RunKey { run_id: u128::from_be_bytes(*run_id), flow: String::from_utf8_lossy(flow).into_owned() };
    match value.split_first() {
        Some((&VALUE_VERSION, json)) => {
            let sending = serde_json::from_slice(json).map_err(|error| format!("{key:?}: {error}"))?;
            Ok((key, sending))
        }
        _ => Err(format!("{key:?} is not of version {VALUE_VERSION}")),
    }
}

fn decode(key: &[u8], value: &[u8]) -> Result<(FileKey, Row), String> {
    let key = key.try_into().map_err(|_| format!("a key has {} bytes, not 8", key.len()))?;
    let key = FileKey(u64::from_be_bytes(key));
    match value.split_first() {
        Some((&VALUE_VERSION, json)) => {
            let row = serde_json::from_slice(json).map_err(|error| format!("row {key:?}: {error}"))?;
            Ok((key, row))
        }
        Some((version, _)) => Err(format!("row {key:?} is of version {version}, this kinetail reads version {VALUE_VERSION}")),
        None => Err(format!("row {key:?} is empty")),
    }
}

fn into_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(watermark: u64) -> Row {
        Row {
            flow: "access".to_owned(),
            path: "/var/log/access.log".to_owned(),
            identity: Identity {
                place: Some(Place { device: 1, inode: 2, created: Some(3) }),
                fingerprint: Fingerprint { byte_count: 3, hash: 4 },
                mark: Mark { end: 4, byte_count: 4, hash: 5 },
                byte_count: 30,
                is_superseded: false,
            },
            gone_at: None,
            watermark,
            settled_above: vec![(watermark + 10, watermark + 20)],
        }
    }

    /// Opens a store that was just closed: within one process sled's threads may hold its file for a moment longer.
    fn opened_again(folder: &Path) -> Offsets {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match Offsets::open(folder) {
                Ok(store) => return store,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}: {:?}", std::error::Error::source(&error)),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Offsets::open(folder.path()).unwrap();
        let started_flows = vec!["access".to_owned()];
        let rows = vec![(FileKey(1), row(5)), (FileKey(2), row(6))];
        store.commit(&Changes { rows, started_flows, ..Changes::default() }).unwrap();
        let (rows, removed) = (vec![(FileKey(1), row(7))], vec![FileKey(2)]);
        store.commit(&Changes { rows, removed, ..Changes::default() }).unwrap();
        drop(store);
        let store = opened_again(folder.path());
        assert_eq!(store.load().unwrap(), [(FileKey(1), row(7))]);
        assert_eq!(store.started_flows().unwrap(), ["access".to_owned()].into());
    }

    #[test]
    fn a_second_opening_is_refused_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let _store = Offsets::open(folder.path()).unwrap();
        let Err(error) = Offsets::open(folder.path()) else { panic!("opened twice") };
        assert!(matches!(error, OpenError::InUse(_)));
        assert!(error.to_string().contains("in use by another kinetail"), "{error}");
    }

    /// Sled opens a damaged file as an empty one; to go on with that would send everything again, or skip lines.
    #[test]
    fn a_store_that_has_lost_everything_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Offsets::open(folder.path()).unwrap();
        store.commit(&Changes { rows: vec![(FileKey(1), row(5))], ..Changes::default() }).unwrap();
        drop(store);
        std::fs::remove_dir_all(folder.path().join(STORE_FOLDER)).unwrap();
        let Err(error) = Offsets::open(folder.path()) else { panic!("opened") };
        assert!(error.to_string().contains("nothing in it, though it was written before"), "{error}");
    }

    #[test]
    fn what_sled_leaves_on_a_full_disk_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let store = Offsets::open(folder.path()).unwrap();
        store.commit(&Changes { rows: vec![(FileKey(1), row(5))], ..Changes::default() }).unwrap();
        drop(store);
        File::create(folder.path().join(STORE_FOLDER).join("snap.0000000000000042.generating")).unwrap();
        assert_eq!(opened_again(folder.path()).load().unwrap(), [(FileKey(1), row(5))]);
    }

    #[test]
    fn a_row_of_a_later_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Offsets::open(folder.path()).unwrap();
        store.store.lock().unwrap().as_ref().unwrap().files.insert(1u64.to_be_bytes(), vec![9, b'{', b'}']).unwrap();
        let error = store.load().unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
    }
}
