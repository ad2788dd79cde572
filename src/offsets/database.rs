//! sled: one tree, in which the store's content stands beside a record of its generation and of a check over all of it.
//!
//! A commit is one batch of sled's, the record included, so that what is read back after any end is either what a commit has
//! left, or seen not to be. The record, under the key `!`: u32 version, u64 generation, u8 1 when rolled back, and 16 bytes: the
//! [digests](digest) of all entries and of what is before, added up modulo 2^128; all little-endian. A commit takes away what the
//! entries that it changes have added, and adds what they add now.
//!
//! Sled's own checksums tell of a torn write, but it mends what it finds by leaving out pages, or all that was written behind.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use rustix::thread::{current_timer_slack, set_current_timer_slack};

use super::VERSION;
use super::content::{Entries, Image, check_of, digest, key_of_version_2};
use super::snapshot::{Encoder, Unfit, is_damage, sync_folder};
use crate::failpoint;
use crate::limits::{STORE_BATCH_ENTRIES, STORE_CACHE_BYTES, STORE_SEGMENT_BYTES, STORE_THREADS_SLACK};

const RECORD_KEY: &[u8] = b"!";
/// What sled calls its file.
pub(super) const SLED_FILE: &str = "db";
const BLOBS_FOLDER: &str = "blobs";
/// Sled's default, with which version 2 was written.
const SEGMENT_BYTES_OF_VERSION_2: usize = 512 * 1024;

/// What a folder of sled's holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// There is no folder.
    Missing,
    /// Nothing was ever committed to it.
    Empty,
    /// What some commit has left.
    Image(Image),
    /// Nothing that can be used.
    Unfit(Unfit),
}

/// Sled, open. After its first error of the disk it fails for ever.
pub(super) struct Database {
    folder: PathBuf,
    /// Sled's own file, to flush it: on Linux sled itself only asks for the pages to be written, not for the disk's
    /// cache to be flushed nor for the file's length to be kept.
    log: File,
    /// What sled has put into files of their own, which it never flushes, and is on the disk.
    blobs: HashSet<OsString>,
    db: sled::Db,
    generation: u64,
    is_rolled_back: bool,
    /// Over the entries alone.
    check: u128,
}

impl Database {
    /// Makes a new one in `folder`, which must not be there, and returns when all of it is on the disk.
    pub(super) fn create(folder: &Path, image: &Image) -> io::Result<Self> {
        with_patient_threads(|| Self::created(folder, image))
    }

    fn created(folder: &Path, image: &Image) -> io::Result<Self> {
        let db = open(folder, STORE_SEGMENT_BYTES).map_err(into_io)?;
        let entries: Vec<_> = image.entries.iter().collect();
        for entries in entries.chunks(STORE_BATCH_ENTRIES) {
            let mut batch = sled::Batch::default();
            for (key, value) in entries {
                batch.insert(key.as_slice(), value.as_slice());
            }
            db.apply_batch(batch).map_err(into_io)?;
        }
        let Image { generation, is_rolled_back, ref entries } = *image;
        let log = File::open(folder.join(SLED_FILE))?;
        let check = check_of(entries);
        let mut database = Self { folder: folder.to_owned(), log, blobs: HashSet::new(), db, generation, is_rolled_back, check };
        // Last: without it what is there is nothing.
        database.db.insert(RECORD_KEY, database.record()).map_err(into_io)?;
        database.flush()?;
        for entry in fs::read_dir(folder)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_folder(folder)?;
        Ok(database)
    }

    /// Number of the last commit.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// As [`Image::is_rolled_back`].
    pub(super) fn is_rolled_back(&self) -> bool {
        self.is_rolled_back
    }

    /// From the next commit on that is no more so.
    pub(super) fn mend_rollback(&mut self) {
        self.is_rolled_back = false;
    }

    /// All of these or none, on the disk when it returns. After a failure this must not be used any more.
    pub(super) fn commit(&mut self, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> io::Result<()> {
        failpoint::pass("before_commit");
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            if let Some(before) = self.db.get(key).map_err(into_io)? {
                self.check = self.check.wrapping_sub(digest(key, &before));
            }
            match value {
                Some(value) => {
                    self.check = self.check.wrapping_add(digest(key, value));
                    batch.insert(key.as_slice(), value.as_slice());
                }
                None => batch.remove(key.as_slice()),
            }
        }
        self.generation += 1;
        batch.insert(RECORD_KEY, self.record());
        self.db.apply_batch(batch).map_err(into_io)?;
        self.flush()
    }

    /// All that is in it.
    pub(super) fn image(&self) -> io::Result<Image> {
        match image(&self.db) {
            Ok(Held::Image(image)) if image.generation == self.generation => Ok(image),
            Ok(Held::Empty) => Ok(Image::default()),
            Ok(_) => Err(lost()),
            Err(error) => Err(into_io(error)),
        }
    }

    /// A snapshot of all that is in it.
    pub(super) fn snapshot(&self) -> io::Result<Vec<u8>> {
        let mut encoder = Encoder::new(self.generation, self.is_rolled_back);
        let mut check = 0_u128;
        for item in self.db.iter() {
            let (key, value) = item.map_err(into_io)?;
            if key != RECORD_KEY {
                check = check.wrapping_add(digest(&key, &value));
                encoder.push(&key, &value);
            }
        }
        if check == self.check { Ok(encoder.finish()) } else { Err(lost()) }
    }

    fn record(&self) -> Vec<u8> {
        let mut record = VERSION.to_le_bytes().to_vec();
        record.extend(self.generation.to_le_bytes());
        record.push(u8::from(self.is_rolled_back));
        let check = self.check.wrapping_add(digest(RECORD_KEY, &record));
        record.extend(check.to_le_bytes());
        record
    }

    fn flush(&mut self) -> io::Result<()> {
        failpoint::pass("before_flush");
        self.db.flush().map_err(into_io)?;
        self.flush_blobs()?;
        self.log.sync_data()?;
        failpoint::pass("after_flush");
        Ok(())
    }

    /// Values that do not fit into a quarter of a segment are in files of their own.
    fn flush_blobs(&mut self) -> io::Result<()> {
        let folder = self.folder.join(BLOBS_FOLDER);
        let mut there = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if !self.blobs.contains(&name) {
                match File::open(folder.join(&name)) {
                    // Sled removes them at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    blob => blob?.sync_all()?,
                }
            }
            there.insert(name);
        }
        if there.iter().any(|name| !self.blobs.contains(name)) {
            sync_folder(&folder)?;
        }
        self.blobs = there;
        Ok(())
    }
}

/// What a folder of sled's holds, and what is to be closed, or forgotten: closing writes to the folder. Sled may do anything with
/// bytes that it did not write: panic, wait for ever, take all memory.
pub(super) fn read(folder: &Path) -> io::Result<(Held, Option<sled::Db>)> {
    let opened = match open(folder, STORE_SEGMENT_BYTES) {
        Err(sled::Error::Unsupported(_)) => open(folder, SEGMENT_BYTES_OF_VERSION_2),
        opened => opened,
    };
    let held = opened.and_then(|db| Ok((image(&db)?, Some(db))));
    held.or_else(|error| match into_io(error) {
        error if is_damage(&error) => Ok((Held::Unfit(Unfit::Damaged(error.to_string())), None)),
        error => Err(error),
    })
}

fn open(folder: &Path, segment_bytes: usize) -> sled::Result<sled::Db> {
    sled::Config::default()
        .path(folder)
        .cache_capacity(STORE_CACHE_BYTES)
        .segment_size(segment_bytes)
        // Every commit is flushed explicitly; sled's own flusher would only add wake-ups.
        .flush_every_ms(None)
        .open()
}

/// Sled's idle threads look once a second for work, of which they are told anyway. Those that `begin` starts, by its first flush, do so as
/// late as [`STORE_THREADS_SLACK`] allows; without that they are most of what an idle agent costs.
fn with_patient_threads<T>(begin: impl FnOnce() -> T) -> T {
    // Where the system does not know it, it costs what it costs.
    let _usual = UsualSlack(current_timer_slack().ok().and_then(NonZeroU64::new));
    let _ = set_current_timer_slack(u64::try_from(STORE_THREADS_SLACK.as_nanos()).ok().and_then(NonZeroU64::new));
    begin()
}

/// How late timers of this thread may be, which is so again when this is dropped: sled may panic.
struct UsualSlack(Option<NonZeroU64>);

impl Drop for UsualSlack {
    fn drop(&mut self) {
        // As above.
        let _ = set_current_timer_slack(self.0);
    }
}

fn image(db: &sled::Db) -> sled::Result<Held> {
    let mut record = None;
    let mut entries = Entries::new();
    for item in db.iter() {
        let (key, value) = item?;
        if key == RECORD_KEY {
            record = Some(value);
        } else {
            entries.insert(key.to_vec(), value.to_vec());
        }
    }
    let damaged = |what: &str| Held::Unfit(Unfit::Damaged(what.to_owned()));
    let Some(record) = record else {
        return if entries.is_empty() { image_of_version_2(db) } else { Ok(damaged("its last commit is not whole")) };
    };
    let Some((head, check)) = record.split_last_chunk() else { return Ok(damaged("its record is cut off")) };
    if u128::from_le_bytes(*check) != check_of(&entries).wrapping_add(digest(RECORD_KEY, head)) {
        // Of a later version the check may be another.
        let later = head.first_chunk().map(|version| u32::from_le_bytes(*version)).filter(|version| *version > VERSION);
        return Ok(later.map_or_else(|| damaged("its checksum does not fit"), |version| Held::Unfit(Unfit::Later(version))));
    }
    let Some((version, [generation @ .., is_rolled_back])) = head.split_first_chunk() else {
        return Ok(damaged("its record is cut off"));
    };
    match (u32::from_le_bytes(*version), generation.try_into().map(u64::from_le_bytes)) {
        (VERSION, Ok(0)) if entries.is_empty() => Ok(Held::Empty),
        (VERSION, Ok(generation)) => Ok(Held::Image(Image { generation, is_rolled_back: *is_rolled_back != 0, entries })),
        (version, _) if version > VERSION => Ok(Held::Unfit(Unfit::Later(version))),
        _ => Ok(damaged("its record is of no known kind")),
    }
}

/// Version 2 had a tree for each kind, and no record.
fn image_of_version_2(db: &sled::Db) -> sled::Result<Held> {
    let mut entries = Entries::new();
    for tree in db.tree_names() {
        let name = String::from_utf8_lossy(&tree);
        if key_of_version_2(&name, &[]).is_none() {
            continue;
        }
        for item in &db.open_tree(&tree)? {
            let (key, value) = item?;
            entries.extend(key_of_version_2(&name, &key).map(|key| (key, value.to_vec())));
        }
    }
    Ok(if entries.is_empty() { Held::Empty } else { Held::Image(Image { entries, ..Image::default() }) })
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the offset store has lost what was committed")
}

fn into_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot;
    use super::*;

    fn changes(changes: &[(&str, Option<&str>)]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect()
    }

    fn created(folder: &Path) -> Database {
        let entries = [(b"fa".to_vec(), b"1".to_vec()), (b"fb".to_vec(), b"2".to_vec())].into();
        Database::create(folder, &Image { generation: 5, is_rolled_back: true, entries }).unwrap()
    }

    /// What is in a folder that was just closed: sled's threads may hold its file for a moment longer.
    fn read_closed(folder: &Path) -> Held {
        let is_closed = || File::open(folder.join(SLED_FILE)).unwrap().try_lock_shared().is_ok();
        while !is_closed() {
            std::thread::yield_now();
        }
        read(folder).unwrap().0
    }

    #[test]
    fn what_was_committed_is_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("store");
        let mut database = created(&folder);
        database.commit(&changes(&[("fa", Some("3")), ("fb", None), ("fc", Some("4")), ("fd", None)])).unwrap();
        database.mend_rollback();
        database.commit(&changes(&[("fa", Some("3"))])).unwrap();
        let entries = [(b"fa".to_vec(), b"3".to_vec()), (b"fc".to_vec(), b"4".to_vec())].into();
        let image = Image { generation: 7, is_rolled_back: false, entries };
        assert_eq!(database.image().unwrap(), image);
        assert_eq!(snapshot::decode(&database.snapshot().unwrap()), Ok(image.clone()));
        drop(database);
        assert_eq!(read_closed(&folder), Held::Image(image));
    }

    #[test]
    fn a_row_that_was_changed_or_lost_is_noticed() {
        let later = [&4_u32.to_le_bytes()[..], &[0; 25]].concat();
        for (key, value, what) in [
            (&b"fa"[..], Some(&b"2"[..]), Unfit::Damaged("its checksum does not fit".to_owned())),
            (b"fa", None, Unfit::Damaged("its checksum does not fit".to_owned())),
            (b"fc", Some(b"1"), Unfit::Damaged("its checksum does not fit".to_owned())),
            (RECORD_KEY, None, Unfit::Damaged("its last commit is not whole".to_owned())),
            (RECORD_KEY, Some(b"short"), Unfit::Damaged("its record is cut off".to_owned())),
            (RECORD_KEY, Some(&[0; 29]), Unfit::Damaged("its checksum does not fit".to_owned())),
            (RECORD_KEY, Some(&later), Unfit::Later(4)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("store");
            let database = created(&folder);
            match value {
                Some(value) => database.db.insert(key, value).unwrap(),
                None => database.db.remove(key).unwrap(),
            };
            assert!(database.image().is_err(), "{what:?}");
            assert_eq!(database.snapshot().is_err(), key != RECORD_KEY, "{what:?}");
            drop(database);
            assert_eq!(read_closed(&folder), Held::Unfit(what));
        }
    }

    #[test]
    fn values_of_any_size_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("store");
        let mut database = created(&folder);
        let large = "x".repeat(2 * STORE_SEGMENT_BYTES);
        database.commit(&changes(&[("fa", Some(&large))])).unwrap();
        assert!(!database.blobs.is_empty());
        let image = database.image().unwrap();
        assert_eq!(image.entries[&b"fa"[..]].len(), large.len());
        drop(database);
        assert_eq!(read_closed(&folder), Held::Image(image));
    }
}
