//! Making a store anew, in the place of one that is there: that is set aside, and never deleted.
//!
//! It need not be possible to open the one that is there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::peek::peek_locked;
use super::{Changes, LOCK_FILE, MARK_FILE, Offsets, OpenError, Peeked, STORE_FOLDER, Store, in_use_or, take_lock};

/// A state folder that nobody else can use meanwhile; its store is not open.
pub struct Held {
    state_dir: PathBuf,
    /// As in [`Offsets`].
    lock: File,
}

/// In it a store is made before it takes its place.
const MAKING: &str = "making";

impl Held {
    /// Takes the lock of a state folder, which is there.
    pub fn take(state_dir: &Path) -> Result<Self, OpenError> {
        let mut options = File::options();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let lock = options.open(state_dir.join(LOCK_FILE));
        let lock = lock.map_err(|error| OpenError::Unreadable(state_dir.to_owned(), error))?;
        take_lock(&lock).map_err(|error| in_use_or(state_dir, error))?;
        Ok(Self { state_dir: state_dir.to_owned(), lock })
    }

    /// As [`Offsets::peek`].
    pub fn peek(&self) -> Result<Option<Peeked>, OpenError> {
        peek_locked(&self.state_dir)
    }

    /// Makes a store that has this and nothing else. The one that was there, if one was, is from then on in a folder of the
    /// state folder that begins with `aside`, which is returned; given as a state folder it is that store.
    ///
    /// However this is interrupted, the state folder has the one store or the other, or one that is refused.
    pub fn replace(self, contents: &Peeked, aside: &str) -> io::Result<Option<PathBuf>> {
        let state_dir = &self.state_dir;
        let making = state_dir.join(MAKING);
        remove_folder(&making)?;
        let is_empty = contents.rows.is_empty() && contents.started_flows.is_empty();
        if !is_empty {
            make(&making, contents)?;
        }
        let aside = self.set_aside(aside)?;
        // A store of which only the mark is there is refused: that is so from the first step until the last.
        if is_empty {
            remove_file(&state_dir.join(MARK_FILE))?;
        } else {
            fs::rename(making.join(STORE_FOLDER), state_dir.join(STORE_FOLDER))?;
            File::create(state_dir.join(MARK_FILE))?.sync_all()?;
        }
        File::open(state_dir)?.sync_all()?;
        remove_folder(&making)?;
        drop(self.lock);
        Ok(aside)
    }

    /// Moves the store out of the way; its mark stays.
    fn set_aside(&self, name: &str) -> io::Result<Option<PathBuf>> {
        let (store, mark) = (self.state_dir.join(STORE_FOLDER), self.state_dir.join(MARK_FILE));
        if !store.try_exists()? {
            return Ok(None);
        }
        let aside = new_folder(&self.state_dir, name)?;
        File::create(aside.join(LOCK_FILE))?;
        if mark.try_exists()? {
            File::create(aside.join(MARK_FILE))?;
        }
        fs::rename(store, aside.join(STORE_FOLDER))?;
        File::open(&aside)?.sync_all()?;
        Ok(Some(aside))
    }
}

/// Makes a store in a folder of its own, all of it on the disk.
fn make(folder: &Path, contents: &Peeked) -> io::Result<()> {
    let state_dir = folder.to_owned();
    DirBuilder::new().mode(0o700).create(folder)?;
    let lock = File::create(folder.join(LOCK_FILE))?;
    let store = Offsets { store: Mutex::new(Some(Store::open(folder)?)), state_dir, _lock: lock };
    let Peeked { rows, started_flows, sendings } = contents.clone();
    let started_flows = started_flows.into_iter().collect();
    let committed = store.commit(&Changes { rows, started_flows, sendings, ..Changes::default() });
    // Closing sled would write once more, when its file is elsewhere.
    std::mem::forget(store);
    committed
}

/// Makes the folder `name`, or with a number behind it if that is there.
fn new_folder(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    for path in names.map(|name| parent.join(name)) {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn remove_folder(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_dir_all(path))
}

fn remove_file(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_file(path))
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::{Identity, Row, RunKey, Sending};
    use crate::span::FileKey;

    fn contents(watermark: u64) -> Peeked {
        let (flow, path) = ("access".to_owned(), "/var/log/access.log".to_owned());
        let row = Row { flow, path, identity: Identity::default(), gone_at: None, watermark, settled_above: Vec::new() };
        let sending =
            Sending { stream: None, marked_at_ms: 1, in_flight_since_ms: None, in_flight_record_count: 2, sent_record_count: 3 };
        Peeked {
            rows: vec![(FileKey(1), row)],
            started_flows: ["access".to_owned()].into(),
            sendings: vec![(RunKey { run_id: 1, flow: "access".to_owned() }, sending)],
        }
    }

    fn watermarks(state_dir: &Path) -> Vec<u64> {
        let peeked = Offsets::peek(state_dir).unwrap().unwrap();
        assert_eq!((peeked.started_flows.len(), peeked.sendings.len()), (1, 1));
        peeked.rows.iter().map(|(_, row)| row.watermark).collect()
    }

    #[test]
    fn what_was_there_is_set_aside_and_is_a_store_itself() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Held::take(folder.path()).unwrap().replace(&contents(1), "aside").unwrap(), None);
        assert_eq!(watermarks(folder.path()), [1]);
        let first = Held::take(folder.path()).unwrap().replace(&contents(2), "aside").unwrap().unwrap();
        let second = Held::take(folder.path()).unwrap().replace(&contents(3), "aside").unwrap().unwrap();
        assert_eq!((first.as_path(), second.as_path()), (&*folder.path().join("aside"), &*folder.path().join("aside-2")));
        assert_eq!([&first, &second, &folder.path().to_owned()].map(|of| watermarks(of)), [[1], [2], [3]]);
    }

    #[test]
    fn a_store_of_nothing_is_as_before_the_first_start() {
        let folder = tempfile::tempdir().unwrap();
        Held::take(folder.path()).unwrap().replace(&contents(1), "aside").unwrap();
        let aside = Held::take(folder.path()).unwrap().replace(&Peeked::default(), "aside").unwrap().unwrap();
        assert!(Offsets::peek(folder.path()).unwrap().is_none());
        assert_eq!(watermarks(&aside), [1]);
        assert!(Offsets::open(folder.path()).unwrap().load().unwrap().is_empty());
    }

    #[test]
    fn a_store_that_cannot_be_opened_is_set_aside_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(STORE_FOLDER)).unwrap();
        fs::write(folder.path().join(STORE_FOLDER).join("db"), "rubbish").unwrap();
        fs::write(folder.path().join(MARK_FILE), "").unwrap();
        let held = Held::take(folder.path()).unwrap();
        held.peek().unwrap_err();
        let aside = held.replace(&contents(1), "aside").unwrap().unwrap();
        assert_eq!(watermarks(folder.path()), [1]);
        assert_eq!(fs::read(aside.join(STORE_FOLDER).join("db")).unwrap(), b"rubbish");
    }

    #[test]
    fn nobody_else_has_it_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let held = Held::take(folder.path()).unwrap();
        assert!(matches!(Offsets::open(folder.path()), Err(OpenError::InUse(_))));
        assert!(matches!(Held::take(folder.path()), Err(OpenError::InUse(_))));
        drop(held);
        assert!(Held::take(folder.path()).is_ok());
    }
}
