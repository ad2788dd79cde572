//! Which of the tailed files are open: no more than may be, as far as that can be without losing a file.

use std::io;

use tokio::time::Instant;

use super::Tailer;
use super::file::Inode;
use super::tailed::Tailed;

impl Tailer {
    /// Opens a tailed file if it is closed. False when it is not at its path any more.
    pub(super) fn open(&mut self, inode: Inode) -> io::Result<bool> {
        match self.files.get(&inode) {
            Some(tailed) if tailed.file.is_open() => return Ok(true),
            Some(_) => self.make_room(Some(inode)),
            None => return Ok(false),
        }
        let is_here = self.files.get_mut(&inode).map_or(Ok(false), |tailed| tailed.file.open())?;
        self.open_count += usize::from(is_here);
        Ok(is_here)
    }

    /// So that one more file can be opened; `keep` is not closed for it.
    pub(super) fn make_room(&mut self, keep: Option<Inode>) {
        if self.open_count >= self.parts.budget.share().open_files_max() {
            self.close_idle(keep);
        }
    }

    /// Closes files when too many are open: those first in which there is nothing to read, and for longest. A file that is
    /// gone is kept open, because there is no way back to it; and so are the one that has its turn, and `keep`.
    pub(super) fn close_idle(&mut self, keep: Option<Inode>) {
        let is_open = |tailed: &&mut Tailed| tailed.file.is_open();
        self.open_count = self.files.values_mut().filter(is_open).count();
        // Read once: a reload may change it at any moment.
        let open_files_max = self.parts.budget.share().open_files_max();
        if self.open_count < open_files_max {
            return;
        }
        // Some more, so that it is not done again for the next file.
        let excess = self.open_count - open_files_max * 3 / 4;
        let unread = &self.unread;
        let mut closable: Vec<(bool, Instant, Inode)> = (self.files.iter())
            .filter(|(_, tailed)| tailed.file.is_open() && !tailed.is_gone && !tailed.file.is_compressed())
            .filter(|(inode, _)| ![self.last_turn, keep].contains(&Some(**inode)))
            .map(|(inode, tailed)| (unread.contains(inode), tailed.last_read, *inode))
            .collect();
        closable.sort_unstable();
        for (.., inode) in closable.into_iter().take(excess) {
            if let Some(tailed) = self.files.get_mut(&inode) {
                tailed.file.close();
                self.open_count -= 1;
            }
        }
    }
}
