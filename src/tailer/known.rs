//! Lives of files that could go on: those of the store, and those let go since.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::file::{Inode, fingerprint};
use crate::offsets::{Fingerprint, Row};
use crate::settlement::Settlement;
use crate::span::FileKey;

/// Lives by the inode that they were seen at.
pub(super) struct KnownLives(HashMap<Inode, Vec<KnownLife>>);

/// A life that could go on.
pub(super) struct KnownLife {
    /// Its key.
    pub(super) key: FileKey,
    /// How the file began.
    pub(super) fingerprint: Fingerprint,
    /// What of it is settled.
    pub(super) settlement: Settlement,
}

/// What the lives at an inode come to, given the file that is there now.
#[derive(Default)]
pub(super) struct Claim {
    /// The one that goes on in this file.
    pub(super) life: Option<KnownLife>,
    /// Those that cannot go on anywhere.
    pub(super) forgotten: Vec<FileKey>,
}

impl KnownLives {
    /// The lives in the rows of one flow.
    pub(super) fn new(rows: Vec<(FileKey, Row)>) -> Self {
        let mut lives = Self(HashMap::new());
        for (key, row) in rows {
            let settlement = Settlement::new(row.watermark, row.settled_above);
            let inode = Inode { device: row.device, inode: row.inode };
            lives.add(inode, KnownLife { key, fingerprint: row.fingerprint, settlement });
        }
        lives
    }

    /// Keeps a life for the case that its file comes back.
    pub(super) fn add(&mut self, inode: Inode, life: KnownLife) {
        self.0.entry(inode).or_default().push(life);
    }

    /// Takes out the lives at `inode`. One goes on if the file begins as it did then and is not shorter than
    /// what was settled of it.
    pub(super) fn claim(&mut self, inode: Inode, handle: &File) -> io::Result<Claim> {
        let mut claim = Claim::default();
        let byte_count = handle.metadata()?.len();
        for life in self.0.remove(&inode).unwrap_or_default() {
            let beginning = fingerprint(handle, life.fingerprint.byte_count as usize)?;
            let goes_on = beginning == life.fingerprint && life.settlement.watermark() <= byte_count;
            if goes_on && claim.life.is_none() {
                claim.life = Some(life);
            } else {
                claim.forgotten.push(life.key);
            }
        }
        Ok(claim)
    }
}
