//! Lives of files that are not tailed now and could go on: those of the store, and those that were let go since.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::source::{Source, fingerprint_of};
use crate::limits::{FINGERPRINT_BYTES, GONE_LIVES_MAX};
use crate::offsets::{Fingerprint, Identity, Row};
use crate::settlement::Settlement;
use crate::span::FileKey;

/// Lives by their keys.
pub(super) struct KnownLives {
    lives: HashMap<FileKey, KnownLife>,
    by_inode: HashMap<u64, Vec<FileKey>>,
}

/// A life that could go on.
#[derive(Clone, Debug)]
pub(super) struct KnownLife {
    /// Its key.
    pub(super) key: FileKey,
    /// Where its file was last seen.
    pub(super) path: PathBuf,
    /// By what it is known again.
    pub(super) identity: Identity,
    /// What of it is settled, or on its way.
    pub(super) settlement: Settlement,
    /// Since when its file is gone, in seconds since 1970; none when it was there when the agent ended.
    pub(super) gone_at: Option<u64>,
    /// Its file was looked for and is not there, and what was not read of it is to be looked for in others.
    pub(super) is_lost: bool,
}

impl KnownLife {
    /// Bytes of it that were seen, and neither settled nor on their way.
    pub(super) fn unread_byte_count(&self) -> u64 {
        let above: u64 = self.settlement.above().map(|(start, end)| end - start).sum();
        self.identity.byte_count.saturating_sub(self.settlement.watermark() + above)
    }

    /// Nothing is known of its content, because there was none.
    pub(super) fn is_blank(&self) -> bool {
        self.identity.fingerprint.byte_count == 0 && self.settlement.end() == 0
    }

    /// Whether `source` has all that is known of its content.
    pub(super) fn is_content_of(&self, source: &mut Source) -> io::Result<bool> {
        let fingerprint = self.identity.fingerprint;
        if fingerprint_of(&source.beginning(fingerprint.byte_count as usize)?) != fingerprint {
            return Ok(false);
        }
        let end = self.settlement.end();
        // Of a compressed file more is only known by decompressing all of it.
        if source.is_compressed() && end > 0 && source.may_have_byte_count(end)? {
            return Ok(true);
        }
        // In this order, because a compressed file is read forwards.
        if !source.has(self.identity.mark)? {
            return Ok(false);
        }
        let mut last = Vec::new();
        source.read_at(&mut last, end.saturating_sub(1), end)?;
        Ok(last.len() as u64 == end.min(1))
    }
}

impl KnownLife {
    /// Whether `source`, which begins as it, is a copy of it made before it was read further and truncated.
    pub(super) fn is_ahead_of(&self, source: &Source) -> io::Result<bool> {
        Ok(self.identity.place.is_none() && source.byte_count_told()? < self.settlement.end())
    }
}

impl KnownLives {
    /// The lives in the rows of one flow, and those that were gone for so long before `now`, the time since 1970, that they
    /// are forgotten.
    pub(super) fn new(rows: Vec<(FileKey, Row)>, now: Duration, forget_after: Duration) -> (Self, Vec<FileKey>) {
        let mut known = Self { lives: HashMap::new(), by_inode: HashMap::new() };
        let mut forgotten = Vec::new();
        for (key, row) in rows {
            let Row { path, identity, gone_at, watermark, settled_above, .. } = row;
            if gone_at.is_some_and(|gone_at| now > Duration::from_secs(gone_at) + forget_after) {
                forgotten.push(key);
                continue;
            }
            let settlement = Settlement::new(watermark, settled_above);
            // The agent ended between the two reports of a life that has lost its file.
            let gone_at = gone_at.or(identity.place.is_none().then_some(now.as_secs()));
            let mut life = KnownLife { key, path: path.into(), identity, settlement, gone_at, is_lost: false };
            // What was on its way when the agent ended has to be read again, from wherever it is.
            life.is_lost = gone_at.is_some() && identity.place.is_none() && life.unread_byte_count() > 0;
            forgotten.extend(known.add(life));
        }
        (known, forgotten)
    }

    /// Keeps a life for the case that it goes on; returns one that has to be forgotten for it, if there are too many.
    pub(super) fn add(&mut self, life: KnownLife) -> Option<FileKey> {
        if let Some(place) = life.identity.place {
            self.by_inode.entry(place.inode).or_default().push(life.key);
        }
        let is_gone = life.gone_at.is_some();
        self.lives.insert(life.key, life);
        if !is_gone {
            return None;
        }
        let gone = self.lives.values().filter(|life| life.gone_at.is_some());
        if gone.clone().count() <= GONE_LIVES_MAX {
            return None;
        }
        let oldest = gone.min_by_key(|life| (life.unread_byte_count() > 0, life.gone_at, life.key)).map(|life| life.key)?;
        self.remove(oldest).map(|life| life.key)
    }

    /// A life.
    pub(super) fn get(&self, key: FileKey) -> Option<&KnownLife> {
        self.lives.get(&key)
    }

    /// Takes a life out.
    pub(super) fn remove(&mut self, key: FileKey) -> Option<KnownLife> {
        let life = self.lives.remove(&key)?;
        if let Some(place) = life.identity.place
            && let Some(keys) = self.by_inode.get_mut(&place.inode)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_inode.remove(&place.inode);
            }
        }
        Some(life)
    }

    /// The lives that were in files of this inode number, those of which most is known first.
    pub(super) fn at_inode(&self, inode: u64) -> Vec<KnownLife> {
        let keys = self.by_inode.get(&inode).map_or(&[][..], Vec::as_slice);
        let mut lives: Vec<KnownLife> = keys.iter().filter_map(|key| self.lives.get(key)).cloned().collect();
        lives.sort_by_key(|life| (Reverse(life.identity.fingerprint.byte_count), life.key));
        lives
    }

    /// The lives that begin as `beginning`, those of which most was read first.
    pub(super) fn beginning_with(&self, beginning: &[u8]) -> Vec<KnownLife> {
        let mut fingerprints = Fingerprints::of(beginning);
        let has_beginning = |life: &&KnownLife| fingerprints.contains(life.identity.fingerprint);
        let mut lives: Vec<KnownLife> = self.lives.values().filter(has_beginning).cloned().collect();
        lives.sort_by_key(|life| (Reverse(life.settlement.end()), life.key));
        lives
    }

    /// Those that were in a file when the agent ended, or of which not all was settled then, and that were not met since.
    pub(super) fn missing(&self) -> Vec<KnownLife> {
        let is_missing =
            |life: &&KnownLife| life.identity.place.is_some() && (life.gone_at.is_none() || life.unread_byte_count() > 0);
        let mut lives: Vec<KnownLife> = self.lives.values().filter(is_missing).cloned().collect();
        lives.sort_by_key(|life| life.key);
        lives
    }

    /// Those that were lost and not looked for yet.
    pub(super) fn lost(&self) -> Vec<KnownLife> {
        let mut lives: Vec<KnownLife> = self.lives.values().filter(|life| life.is_lost).cloned().collect();
        lives.sort_by_key(|life| life.key);
        lives
    }
}

/// The fingerprints of all beginnings of some bytes, each made when it is asked for.
pub(super) struct Fingerprints<'a> {
    beginning: &'a [u8],
    made: HashMap<u32, Fingerprint>,
}

impl<'a> Fingerprints<'a> {
    /// Of the beginning of a file.
    pub(super) fn of(beginning: &'a [u8]) -> Self {
        Self { beginning: &beginning[..beginning.len().min(FINGERPRINT_BYTES)], made: HashMap::new() }
    }

    /// Whether it is one of them. That of nothing says nothing.
    pub(super) fn contains(&mut self, fingerprint: Fingerprint) -> bool {
        let Some(beginning) = self.beginning.get(..fingerprint.byte_count as usize) else { return false };
        fingerprint.byte_count > 0
            && *self.made.entry(fingerprint.byte_count).or_insert_with(|| fingerprint_of(beginning)) == fingerprint
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::limits::FORGET_AFTER_DEFAULT as FORGET_AFTER;
    use crate::offsets::{Mark, Place};

    const NOW: Duration = Duration::from_secs(1_000_000_000);

    fn row(inode: u64, gone_at: Option<u64>, watermark: u64, byte_count: u64) -> Row {
        let place = Some(Place { device: 1, inode, created: None });
        let identity = Identity { place, byte_count, ..Identity::default() };
        Row { flow: "f".to_owned(), path: "/a.log".to_owned(), identity, gone_at, watermark, settled_above: vec![(30, 40)] }
    }

    #[test]
    fn what_is_gone_for_too_long_is_forgotten_and_so_is_the_oldest_of_too_many() {
        let age = |age: u64| Some(NOW.as_secs() - age);
        let rows = vec![
            (FileKey(1), row(1, age(FORGET_AFTER.as_secs() + 1), 0, 0)),
            (FileKey(2), row(2, age(FORGET_AFTER.as_secs()), 0, 0)),
            (FileKey(3), row(3, None, 0, 0)),
        ];
        let (mut known, forgotten) = KnownLives::new(rows, NOW, FORGET_AFTER);
        assert_eq!(forgotten, [FileKey(1)]);
        assert_eq!(known.missing().iter().map(|life| life.key).collect::<Vec<_>>(), [FileKey(3)]);
        let forgotten: Vec<FileKey> = (0..GONE_LIVES_MAX as u64)
            .filter_map(|index| {
                known.add(KnownLife { key: FileKey(100 + index), gone_at: age(0), ..known.at_inode(3).remove(0) })
            })
            .collect();
        assert_eq!(forgotten, [FileKey(2)]);
    }

    #[test]
    fn what_was_not_read_is_what_is_neither_below_the_watermark_nor_settled_above_it() {
        let (known, _) = KnownLives::new(vec![(FileKey(1), row(1, None, 20, 100))], NOW, FORGET_AFTER);
        assert_eq!(known.at_inode(1)[0].unread_byte_count(), 100 - 20 - 10);
    }

    #[test]
    fn a_content_is_known_by_its_beginning_its_length_and_what_is_before_the_watermark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let content = "0123456789".repeat(200);
        fs::write(&path, &content).unwrap();
        let mut source = Source::open(&path).unwrap();
        let identity = Identity {
            fingerprint: fingerprint_of(&content.as_bytes()[..FINGERPRINT_BYTES]),
            mark: source.mark(1_500).unwrap(),
            ..Identity::default()
        };
        let mut check = |identity: Identity, end: u64, expected: bool| {
            let settlement = Settlement::new(end, []);
            let life = KnownLife { key: FileKey(1), path: path.clone(), identity, settlement, gone_at: None, is_lost: false };
            assert_eq!(life.is_content_of(&mut source).unwrap(), expected, "{identity:?} {end}");
        };
        check(identity, 1_600, true);
        check(identity, 2_000, true);
        check(identity, 2_001, false);
        check(Identity { mark: Mark { hash: 1, ..identity.mark }, ..identity }, 1_600, false);
        check(Identity { fingerprint: Fingerprint { hash: 1, ..identity.fingerprint }, ..identity }, 1_600, false);
        check(Identity::default(), 0, true);
    }
}
