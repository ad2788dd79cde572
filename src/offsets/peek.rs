//! Looking into a store that is somebody else's: a copy of it is opened, and nothing of it is changed.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::{LOCK_FILE, MARK_FILE, Offsets, OpenError, Row, RunKey, STORE_FOLDER, Sending};
use crate::span::FileKey;

/// What a store says.
#[derive(Clone, Debug, Default)]
pub struct Peeked {
    /// Every row.
    pub rows: Vec<(FileKey, Row)>,
    /// As [`Offsets::started_flows`].
    pub started_flows: BTreeSet<String>,
    /// As [`Offsets::sendings`].
    pub sendings: Vec<(RunKey, Sending)>,
}

impl Offsets {
    /// What the store in `state_dir` says; none when nothing was ever kept there. In the folder nothing is made or changed,
    /// and while it is copied an agent that starts waits.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while an agent runs: what it writes just now could be copied in part.
    pub fn peek(state_dir: &Path) -> Result<Option<Peeked>, OpenError> {
        let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
        let lock = match File::open(state_dir.join(LOCK_FILE)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        lock.try_lock_shared().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(state_dir.to_owned()),
            TryLockError::Error(error) => unreadable(error),
        })?;
        peek_locked(state_dir)
    }
}

/// The same, by whoever has the lock.
pub(super) fn peek_locked(state_dir: &Path) -> Result<Option<Peeked>, OpenError> {
    let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
    let copy = tempfile::Builder::new().prefix("kinetail-").tempdir().map_err(unreadable)?;
    if !copy_store(state_dir, copy.path()).map_err(unreadable)? {
        return Ok(None);
    }
    let peeked = Offsets::open(copy.path()).and_then(|store| {
        let peeked = Peeked { rows: store.load()?, started_flows: store.started_flows()?, sendings: store.sendings()? };
        // Closing sled would write to the copy once more, and panic if it cannot.
        std::mem::forget(store);
        Ok(peeked)
    });
    peeked.map(Some).map_err(|error| match error {
        OpenError::InUse(_) => OpenError::InUse(state_dir.to_owned()),
        OpenError::Unreadable(_, source) => OpenError::Unreadable(state_dir.to_owned(), source),
        OpenError::Malformed(_, what) => OpenError::Malformed(state_dir.to_owned(), what),
    })
}

/// Copies what belongs to a store; false when there is none.
fn copy_store(state_dir: &Path, to: &Path) -> io::Result<bool> {
    let (store, mark) = (state_dir.join(STORE_FOLDER), state_dir.join(MARK_FILE));
    if !store.try_exists()? && !mark.try_exists()? {
        return Ok(false);
    }
    if mark.try_exists()? {
        copy_file(&mark, &to.join(MARK_FILE))?;
    }
    if store.try_exists()? {
        copy_folder(&store, &to.join(STORE_FOLDER))?;
    }
    Ok(true)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &path)?;
        } else if kind.is_file() {
            copy_file(&entry.path(), &path)?;
        }
    }
    Ok(())
}

/// Without the permissions of the original, which need not let anybody write.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut File::open(from)?, &mut File::create(to)?).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::offsets::{Changes, Identity};

    fn committed(state_dir: &Path) -> Offsets {
        let store = Offsets::open(state_dir).unwrap();
        let (flow, path) = ("access".to_owned(), "/var/log/access.log".to_owned());
        let row = Row { flow, path, identity: Identity::default(), gone_at: None, watermark: 5, settled_above: Vec::new() };
        let started_flows = vec!["access".to_owned()];
        store.commit(&Changes { rows: vec![(FileKey(1), row)], started_flows, ..Changes::default() }).unwrap();
        store
    }

    #[test]
    fn where_no_store_is_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        assert!(Offsets::peek(&state_dir).unwrap().is_none());
        assert!(!state_dir.exists());
        fs::create_dir(&state_dir).unwrap();
        assert!(Offsets::peek(&state_dir).unwrap().is_none());
        assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 0);
    }

    #[test]
    fn what_was_committed_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = committed(folder.path());
        assert!(matches!(Offsets::peek(folder.path()), Err(OpenError::InUse(of)) if of == folder.path()));
        drop(store);
        let peeked = Offsets::peek(folder.path()).unwrap().unwrap();
        assert_eq!(peeked.rows.iter().map(|(key, row)| (*key, row.watermark)).collect::<Vec<_>>(), [(FileKey(1), 5)]);
        assert_eq!(peeked.started_flows, ["access".to_owned()].into());
    }

    #[test]
    fn a_store_that_has_lost_everything_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(committed(folder.path()));
        fs::remove_dir_all(folder.path().join(STORE_FOLDER)).unwrap();
        let error = Offsets::peek(folder.path()).unwrap_err();
        assert!(matches!(&error, OpenError::Malformed(of, _) if of == folder.path()), "{error}");
    }

    #[test]
    fn who_only_looks_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let lock = File::create(folder.path().join(LOCK_FILE)).unwrap();
        lock.try_lock_shared().unwrap();
        let state_dir = folder.path().to_owned();
        let opening = thread::spawn(move || Offsets::open(&state_dir).is_ok());
        thread::yield_now();
        drop(lock);
        assert!(opening.join().unwrap());
    }
}
