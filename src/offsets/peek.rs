//! Looking into a store that is somebody else's: a copy of it is read, and nothing of it is changed.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::content::Content;
use super::opening::{Looked, Recovered, Sources, copy_store};
use super::sent::Sent;
use super::{LOCK_FILE, Offsets, OpenError, Row, RunKey, Sending};
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
    /// What opening it would report: that is not as it was left.
    pub recovered: Option<Recovered>,
    /// As [`Offsets::is_rolled_back`].
    pub is_rolled_back: bool,
}

impl Offsets {
    /// What the store in `state_dir` says; none when nothing was ever kept there. In the folder nothing is made or changed,
    /// and while it is copied an agent that starts waits.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while an agent runs: what it writes just now could be copied in part. Else as [`Offsets::open`].
    pub fn peek(state_dir: &Path) -> Result<Option<Peeked>, OpenError> {
        let unreadable = |error| OpenError::Unreadable(state_dir.to_owned(), error);
        let lock = match File::open(state_dir.join(LOCK_FILE)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let folder = tempfile::Builder::new().prefix("kinetail-").tempdir().map_err(unreadable)?;
        lock.try_lock_shared().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(state_dir.to_owned()),
            TryLockError::Error(error) => unreadable(error),
        })?;
        let sent = Sent::read(state_dir);
        let sources = Sources::read(state_dir).and_then(|sources| Ok((sources, copy_store(state_dir, folder.path())?)));
        drop(lock);
        let sources = sources.and_then(|(sources, copied)| sources.with_sled(copied)).map_err(unreadable)?;
        if sources.is_nothing() {
            return Ok(None);
        }
        let Looked { image, content, recovered, .. } = sources.judge(state_dir)?;
        let Content { rows, started_flows, mut sendings } = content;
        sent.fold_into(&mut sendings);
        Ok(Some(Peeked { rows, started_flows, sendings, recovered, is_rolled_back: image.is_rolled_back }))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::offsets::opening::STORE_FOLDER;
    use crate::offsets::snapshot::SNAPSHOT_FILE;
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
        let _ = fs::remove_file(folder.path().join(SNAPSHOT_FILE));
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
