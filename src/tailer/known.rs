//! Lives of files that could go on: those of the store, and those let go since.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::file::{Inode, fingerprint};
use crate::offsets::{Fingerprint, Row};
use crate::settlement::Settlement;
use crate::span::FileKey;

/// Lives by the inode number that they were seen at.
pub(super) struct KnownLives(HashMap<u64, Vec<KnownLife>>);

/// A life that could go on.
pub(super) struct KnownLife {
    /// Its key.
    pub(super) key: FileKey,
    /// `st_dev` of its file.
    pub(super) device: u64,
    /// Where its file was last seen.
    pub(super) path: String,
    /// How its file began.
    pub(super) fingerprint: Fingerprint,
    /// What of it is settled.
    pub(super) settlement: Settlement,
}

/// What the lives at an inode come to, given the file that is there now.
#[derive(Default)]
pub(super) struct Claim {
    /// The one that goes on in this file.
    pub(super) life: Option<(FileKey, Settlement)>,
    /// Those that cannot go on anywhere.
    pub(super) forgotten: Vec<FileKey>,
}

impl KnownLives {
    /// The lives in the rows of one flow.
    pub(super) fn new(rows: Vec<(FileKey, Row)>) -> Self {
        let mut lives = Self(HashMap::new());
        for (key, row) in rows {
            let Row { path, device, inode, fingerprint, watermark, settled_above, .. } = row;
            let settlement = Settlement::new(watermark, settled_above);
            lives.add(Inode { device, inode }, KnownLife { key, device, path, fingerprint, settlement });
        }
        lives
    }

    /// Keeps a life for the case that its file comes back.
    pub(super) fn add(&mut self, inode: Inode, life: KnownLife) {
        self.0.entry(inode.inode).or_default().push(life);
    }

    /// Which of the lives at `inode` goes on in the file there: of those of which it has the beginning, and is
    /// not shorter than what was settled, the one of which most of the beginning is known.
    pub(super) fn claim(&self, inode: Inode, path: &Path, handle: &File) -> io::Result<Claim> {
        let mut claim = Claim::default();
        let byte_count = handle.metadata()?.len();
        let path = path.to_string_lossy();
        let lives = self.0.get(&inode.inode).map_or(&[][..], Vec::as_slice);
        // Device numbers may change with a reboot: then inode, path and a beginning that says something must do.
        let may_go_on = |life: &&KnownLife| life.device == inode.device || life.path == path && life.fingerprint.byte_count > 0;
        let mut candidates: Vec<&KnownLife> = lives.iter().filter(may_go_on).collect();
        candidates.sort_by_key(|life| (Reverse(life.fingerprint.byte_count), life.path != path));
        for life in candidates {
            let beginning = fingerprint(handle, life.fingerprint.byte_count as usize)?;
            let goes_on = beginning == life.fingerprint && life.settlement.end() <= byte_count;
            if goes_on && claim.life.is_none() {
                claim.life = Some((life.key, life.settlement.clone()));
            } else if life.path == path || !Path::new(&life.path).exists() {
                claim.forgotten.push(life.key);
            }
        }
        Ok(claim)
    }

    /// What a claim has decided about is no longer there to claim.
    pub(super) fn remove(&mut self, inode: Inode, decided: &Claim) {
        let claimed = decided.life.as_ref().map(|(key, _)| *key);
        if let Some(lives) = self.0.get_mut(&inode.inode) {
            lives.retain(|life| Some(life.key) != claimed && !decided.forgotten.contains(&life.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const INODE: Inode = Inode { device: 1, inode: 2 };

    fn life(key: u64, device: u64, path: &str, fingerprint: Fingerprint, watermark: u64) -> KnownLife {
        KnownLife { key: FileKey(key), device, path: path.to_owned(), fingerprint, settlement: Settlement::new(watermark, []) }
    }

    /// The lives, in the file `/a.log` with this content: which goes on, and which are forgotten.
    fn check(content: &str, lives: impl FnOnce(Fingerprint) -> Vec<KnownLife>, goes_on: Option<u64>, forgotten: &[u64]) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let mut known = KnownLives::new(Vec::new());
        for life in lives(fingerprint(&file, 4).unwrap()) {
            known.add(INODE, life);
        }
        let claim = known.claim(INODE, Path::new("/a.log"), &file).unwrap();
        assert_eq!(claim.life.map(|(key, _)| key.0), goes_on);
        assert_eq!(claim.forgotten.iter().map(|key| key.0).collect::<Vec<_>>(), forgotten);
    }

    #[test]
    fn the_life_of_which_most_is_known_goes_on() {
        let nothing = Fingerprint { byte_count: 0, ..fingerprint(&tempfile::tempfile().unwrap(), 0).unwrap() };
        check("abcdef", |four| vec![life(1, 1, "/a.log", nothing, 0), life(2, 1, "/a.log", four, 3)], Some(2), &[1]);
    }

    #[test]
    fn another_beginning_or_a_shorter_file_is_another_file() {
        check("abcdef", |four| vec![life(1, 1, "/a.log", Fingerprint { hash: four.hash ^ 1, ..four }, 3)], None, &[1]);
        check("abcdef", |four| vec![life(1, 1, "/a.log", four, 7)], None, &[1]);
    }

    #[test]
    fn after_a_reboot_that_renumbers_devices_the_path_must_do() {
        check("abcdef", |four| vec![life(1, 9, "/a.log", four, 3)], Some(1), &[]);
        check("abcdef", |four| vec![life(1, 9, "/b.log", four, 3)], None, &[]);
        // Two disks have changed numbers, and another file had this inode on the other.
        let here = env!("CARGO_MANIFEST_DIR");
        let other = |four: Fingerprint| Fingerprint { hash: four.hash ^ 1, ..four };
        check("abcdef", |four| vec![life(1, 9, "/a.log", four, 3), life(2, 1, here, other(four), 4)], Some(1), &[]);
    }
}
