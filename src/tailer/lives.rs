//! Which files are tailed: found, found again under another name, gone, let go; and which of them are open.
//!
//! Whose life goes on in a file that was not tailed before is decided in `claims`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::claims::Standing;
use super::file::{Inode, TailedFile};
use super::identity::is_same_file;
use super::known::KnownLife;
use super::problems::problem_of;
use super::source::{Source, place_of, place_of_found};
use super::{Tailed, Tailer, send};
use crate::checkpointer::{Event, Opened, Remains};
use crate::config::StartAt;
use crate::discovery::{Found, siblings};
use crate::limits::COMPLETE_AFTER;
use crate::offsets::Identity;
use crate::settlement::Settlement;
use crate::span::FileKey;

impl Tailer {
    /// Looks which files there are: opens new ones, and notes which are gone.
    pub(super) async fn rescan(&mut self) {
        for file in std::mem::take(&mut self.forgotten) {
            send(&self.parts.events, Event::Forgotten(file)).await;
        }
        let scan = self.parts.globs.scan();
        let mut is_told_of_all = false;
        if let Some(watch) = &mut self.parts.watch {
            if watch.set(scan.folders) {
                // What has come into a folder between the scan and its watch is found by the next scan.
                self.parts.hints.rescan();
            }
            is_told_of_all = watch.is_complete() && !scan.has_other_names;
        }
        self.has_looked_through = false;
        let lost_before: HashSet<FileKey> = self.known.lost().iter().map(|life| life.key).collect();
        let mut problems = scan.problems;
        self.by_path.clear();
        for found in scan.files {
            let inode = Inode { device: found.device, inode: found.inode };
            let tailed = self.files.get_mut(&inode);
            let is_another = tailed.as_ref().is_some_and(|tailed| is_another(tailed, &found));
            if let Some(tailed) = tailed.filter(|tailed| !is_another && *tailed.file.path == *found.path) {
                // What most files are: those that were there before.
                tailed.file.saw(&found);
                tailed.is_found = true;
                self.by_path.insert(Arc::clone(&tailed.file.path), inode);
                continue;
            }
            if is_another {
                self.let_go(inode).await;
            }
            if !self.files.contains_key(&inode)
                && let Err(error) = self.insert(inode, &found)
            {
                problems.push(problem_of(&found.path, &error));
                continue;
            }
            self.found_again(inode, found).await;
        }
        self.note_absent().await;
        self.establish_all(&mut problems).await;
        self.find_lost(&lost_before).await;
        self.unread.extend(self.files.iter().filter(|(_, tailed)| tailed.is_worth_a_look()).map(|(inode, _)| *inode));
        self.close_idle(None);
        // Should a file become readable, nobody tells.
        self.is_calm = is_told_of_all && problems.is_empty() && !self.files.values().any(Tailed::is_waited_for);
        self.problems.update(problems);
        self.new_files_start_at = StartAt::Beginning;
        if std::mem::take(&mut self.parts.is_first_start) {
            send(&self.parts.events, Event::Started { flow_index: self.parts.flow_index }).await;
        }
        self.show_figures();
    }

    /// Opens a file that was not tailed before. Whose life goes on in it is not known yet.
    pub(super) fn insert(&mut self, inode: Inode, found: &Found) -> io::Result<()> {
        self.make_room(None);
        let source = Source::open(&found.path)?;
        let place = place_of(&source.metadata()?);
        if (Inode { device: place.device, inode: place.inode }) != inode {
            // Replaced since the scan: the next one finds what is there now.
            self.parts.hints.rescan();
            return Ok(());
        }
        let key = self.new_key();
        let file = TailedFile::new(key, Arc::from(found.path.as_path()), source, &self.rules)?;
        self.files.insert(inode, Tailed::new(file));
        self.open_count += 1;
        Ok(())
    }

    async fn found_again(&mut self, inode: Inode, found: Found) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        tailed.file.saw(&found);
        tailed.is_found = true;
        if *tailed.file.path == *found.path {
            self.by_path.insert(Arc::clone(&tailed.file.path), inode);
            return;
        }
        let before = std::mem::replace(&mut tailed.file.path, Arc::from(found.path));
        // A life that has ended had the name from before: a copy is named after that.
        self.end_if_rewritten(inode).await;
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        self.by_path.insert(Arc::clone(&tailed.file.path), inode);
        tailed.matched_path = Arc::clone(&tailed.file.path);
        tailed.renamed_from = Some(Arc::clone(&before));
        if tailed.is_announced {
            tracing::info!(flow = self.parts.metrics.name, from = %before.display(), to = %tailed.file.path.display(), "file was renamed");
            send(&self.parts.events, tailed.moved()).await;
        }
    }

    /// Notes which files no glob matches any more, and of which another has taken the name.
    async fn note_absent(&mut self) {
        let (mut missing, mut over) = (Vec::new(), Vec::new());
        for (inode, tailed) in &mut self.files {
            // In a folder that cannot be listed just now it may still be there, unless it is out of the globs anyway.
            let was_matched_here = tailed.matched_path == tailed.file.path;
            let is_there = std::mem::take(&mut tailed.is_found) || was_matched_here && is_at(*inode, &tailed.file.path);
            tailed.is_gone = !is_there;
            let successor = tailed.renamed_from.as_ref().and_then(|path| self.by_path.get(&**path));
            if successor.is_some_and(|successor| successor != inode) {
                (tailed.renamed_from, tailed.is_superseded) = (None, true);
                if tailed.is_announced {
                    send(&self.parts.events, tailed.moved()).await;
                }
            }
            let is_expected_to_grow = is_there && !tailed.is_superseded;
            tailed.quiet_since = if is_expected_to_grow { None } else { tailed.quiet_since.or_else(|| Some(Instant::now())) };
            if tailed.is_gone && !tailed.file.is_open() {
                missing.push(*inode);
            } else if tailed.is_gone && tailed.has_nothing_to_read() {
                over.push(*inode);
            }
        }
        for inode in missing {
            self.follow_missing(inode).await;
        }
        for inode in over {
            self.let_go(inode).await;
        }
    }

    /// A file that is closed and not at its path: under another name in the same folder it is still read to its end.
    async fn follow_missing(&mut self, inode: Inode) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        let renamed =
            siblings(&tailed.file.path).into_iter().find(|found| (found.device, found.inode) == (inode.device, inode.inode));
        if let Some(found) = renamed.filter(|found| !is_another(tailed, found)) {
            tailed.file.saw(&found);
            tailed.file.path = Arc::from(found.path);
            if matches!(self.open(inode), Ok(true)) {
                return;
            }
        }
        self.let_go(inode).await;
    }

    /// Ends the life of a file that is gone; should it come back, or a copy of it, it goes on where it was.
    pub(super) async fn let_go(&mut self, inode: Inode) {
        let Some(tailed) = self.files.remove(&inode) else { return };
        self.unread.remove(&inode);
        if !tailed.is_announced {
            return;
        }
        let read_until = tailed.file.position();
        let path = tailed.file.path.display();
        tracing::debug!(flow = self.parts.metrics.name, %path, read_until, "file is gone, letting it go");
        let remains = match tailed.standing {
            Standing::Established if tailed.file.is_deleted() => Remains::Content,
            Standing::Established => Remains::Place,
            Standing::New | Standing::Copy(_) | Standing::Ignored => Remains::Nothing,
        };
        self.close_life(&tailed, remains).await;
    }

    /// The life of a tailed file has ended, and is known from now on.
    pub(super) async fn close_life(&mut self, tailed: &Tailed, remains: Remains) {
        let mut life = tailed.as_known();
        life.gone_at = Some(self.now());
        life.is_lost = remains == Remains::Content || life.unread_byte_count() > 0;
        if remains == Remains::Content {
            life.identity.place = None;
        }
        let (file, read_until) = (life.key, tailed.file.position());
        send(&self.parts.events, Event::Closed { file, read_until, remains }).await;
        if remains != Remains::Nothing {
            self.remember(life).await;
        }
    }

    /// Keeps a life for the case that it goes on.
    pub(super) async fn remember(&mut self, life: KnownLife) {
        if let Some(forgotten) = self.known.add(life) {
            send(&self.parts.events, Event::Forgotten(forgotten)).await;
        }
    }

    /// Lives that were in a file when the agent ended, and which no glob has led to: the file may have been renamed.
    pub(super) async fn find_missing(&mut self) {
        let mut folders: Vec<(PathBuf, Vec<Found>)> = Vec::new();
        for life in self.known.missing() {
            let Some(folder) = life.path.parent().map(Path::to_owned) else { continue };
            if !folders.iter().any(|(listed, _)| *listed == folder) {
                folders.push((folder.clone(), siblings(&life.path)));
            }
            let here = folders.iter().find(|(listed, _)| *listed == folder).map_or(&[][..], |(_, found)| found);
            let Some(place) = life.identity.place else { continue };
            let is_it = |found: &&Found| {
                is_same_file((place, &life.path), (place_of_found(found), &found.path), life.identity.fingerprint)
            };
            if let Some(found) = here.iter().find(is_it) {
                if found.path == life.path {
                    // No glob matches it any more: the configuration has changed.
                    continue;
                }
                let inode = Inode { device: found.device, inode: found.inode };
                if self.files.contains_key(&inode) || self.insert(inode, found).is_err() {
                    continue;
                }
                if let Some(tailed) = self.files.get_mut(&inode) {
                    (tailed.is_gone, tailed.quiet_since) = (true, Some(Instant::now()));
                    tailed.matched_path = Arc::from(life.path.as_path());
                }
                self.establish(inode).await;
            }
            // That it was deleted is only known where others are: a disk that is not mounted has an empty folder.
            let is_lost = !here.is_empty();
            if self.known.remove(life.key).is_some() {
                self.lose(KnownLife { is_lost, gone_at: Some(self.now()), ..life }).await;
            }
        }
    }

    /// Keeps a life of which the file was deleted, or has other content now.
    pub(super) async fn lose(&mut self, life: KnownLife) {
        let remains = if life.identity.place.is_some() { Remains::Place } else { Remains::Content };
        self.announce(&life).await;
        let read_until = life.settlement.watermark();
        send(&self.parts.events, Event::Closed { file: life.key, read_until, remains }).await;
        self.remember(life).await;
    }

    /// What was lost before this rescan, and in none of the files that match, may be in a copy next to where it was. What
    /// is not there either is out of reach.
    async fn find_lost(&mut self, lost_before: &HashSet<FileKey>) {
        for mut life in self.known.lost() {
            if !lost_before.contains(&life.key) {
                // What has come meanwhile is found by the next rescan.
                self.parts.hints.rescan();
                continue;
            }
            if self.adopt_copy_of(&life).await {
                continue;
            }
            if life.identity.place.is_some() && siblings(&life.path).is_empty() {
                // As above: it may come back with its disk.
                continue;
            }
            self.give_up(&mut life).await;
        }
    }

    /// What was not read of this life cannot be read any more.
    pub(super) async fn give_up(&mut self, life: &mut KnownLife) {
        let unreachable = life.unread_byte_count();
        self.known.remove(life.key);
        if unreachable == 0 {
            return self.remember(KnownLife { is_lost: false, ..life.clone() }).await;
        }
        self.parts.metrics.unreachable_bytes.inc_by(unreachable);
        let (flow, path) = (&self.parts.metrics.name, life.path.display());
        tracing::warn!(flow, %path, unreachable, "bytes of this file were deleted or overwritten before they were read");
        life.identity.byte_count -= unreachable;
        self.lose(KnownLife { is_lost: false, ..life.clone() }).await;
    }

    /// What is lost now is not waited for.
    pub(super) async fn give_up_all(&mut self) {
        for mut life in self.known.lost() {
            self.give_up(&mut life).await;
        }
    }

    /// Reports a life that begins or goes on.
    pub(super) async fn announce(&self, life: &KnownLife) {
        let KnownLife { key: file, ref path, identity, ref settlement, .. } = *life;
        let (flow_index, path, settlement) = (self.parts.flow_index, Arc::from(path.as_path()), settlement.clone());
        send(&self.parts.events, Event::Opened(Opened { file, flow_index, path, identity, settlement })).await;
    }

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
    fn make_room(&mut self, keep: Option<Inode>) {
        if self.open_count >= self.parts.open_files_max {
            self.close_idle(keep);
        }
    }

    /// Closes files when too many are open: those first in which there is nothing to read, and for longest. A file that is
    /// gone is kept open, because there is no way back to it; and so are the one that has its turn, and `keep`.
    fn close_idle(&mut self, keep: Option<Inode>) {
        let is_open = |tailed: &&mut Tailed| tailed.file.is_open();
        self.open_count = self.files.values_mut().filter(is_open).count();
        if self.open_count < self.parts.open_files_max {
            return;
        }
        // Some more, so that it is not done again for the next file.
        let excess = self.open_count - self.parts.open_files_max * 3 / 4;
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

    pub(super) fn new_key(&mut self) -> FileKey {
        FileKey(self.parts.random.u64(..))
    }
}

impl Tailed {
    fn moved(&self) -> Event {
        Event::Moved { file: self.file.key, path: Arc::clone(&self.matched_path), is_superseded: self.is_superseded }
    }

    /// Nobody has read it, and there is nothing in it that could be, or it was not to be read.
    fn has_nothing_to_read(&mut self) -> bool {
        match self.standing {
            Standing::Established => false,
            Standing::Copy(_) | Standing::Ignored => true,
            Standing::New => {
                let is_quiet = self.quiet_since.is_some_and(|since| since.elapsed() >= COMPLETE_AFTER);
                is_quiet && self.file.byte_count_now().is_ok_and(|byte_count| byte_count == 0)
            }
        }
    }

    /// This life, as it is known when it is not tailed any more.
    pub(super) fn as_known(&self) -> KnownLife {
        let identity = Identity { is_superseded: self.is_superseded, ..self.file.identity() };
        let settlement = Settlement::new(self.file.position(), self.file.settled_above());
        let path = self.matched_path.to_path_buf();
        KnownLife { key: self.file.key, path, identity, settlement, gone_at: None, is_lost: false }
    }
}

/// Whether `found` is another file than the one tailed, which was deleted while it was closed, and its inode reused.
fn is_another(tailed: &Tailed, found: &Found) -> bool {
    matches!((tailed.file.place.created, found.created), (Some(tailed), Some(found)) if tailed != found)
}

fn is_at(inode: Inode, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| Inode::of(&metadata) == inode)
}
