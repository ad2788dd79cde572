//! Which files are tailed: found, found again under another name, gone, let go; and which of them are open.
//!
//! Whose life goes on in a file that was not tailed before is decided in `claims`.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::file::{Inode, OpenFile, TailedFile};
use super::known::KnownLife;
use super::problems::problem_of;
use super::source::{Source, place_of};
use super::tailed::{Standing, Tailed};
use super::{Tailer, send};
use crate::checkpointer::{Event, Opened, Remains};
use crate::config::StartAt;
use crate::discovery::{Found, siblings};
use crate::span::FileKey;

impl Tailer {
    /// Looks which files there are: opens new ones, and notes which are gone.
    pub(super) async fn rescan(&mut self) {
        for file in std::mem::take(&mut self.forgotten) {
            send(&self.parts.events, Event::Forgotten(file)).await;
        }
        for file in std::mem::take(&mut self.parts.open_files) {
            self.take_over(file).await;
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

    /// Goes on in a file that the run before had open. If that cannot be, it is looked for by its name, as after a restart.
    async fn take_over(&mut self, OpenFile { key, source }: OpenFile) {
        let Some(life) = self.known.get(key).cloned() else { return };
        let new_key = self.new_key();
        let opened = source.anew().and_then(|source| {
            let place = place_of(&source.metadata()?);
            let file = TailedFile::new(new_key, Arc::from(life.path.as_path()), source, &self.rules)?;
            Ok((Inode { device: place.device, inode: place.inode }, file))
        });
        let Ok((inode, file)) = opened else { return };
        let tailed = Tailed { is_gone: true, quiet_since: Some(Instant::now()), ..Tailed::new(file) };
        self.files.insert(inode, tailed);
        self.open_count += 1;
        if self.resume(inode, life).await.is_err() {
            self.files.remove(&inode);
        }
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
        self.has_gone = self.files.values().any(|tailed| tailed.is_gone);
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

    /// Reports a life that begins or goes on.
    pub(super) async fn announce(&self, life: &KnownLife) {
        self.announce_after(life, None).await;
    }

    /// The same, of a life that passes over what was read as another.
    pub(super) async fn announce_after(&self, life: &KnownLife, after: Option<FileKey>) {
        let KnownLife { key: file, ref path, identity, ref settlement, .. } = *life;
        // A life that waits for another is not in the store before that is settled; its lines do not wait so long.
        if after.is_none() {
            self.parts.gate.begins(file);
        }
        let (flow_index, path, settlement) = (self.parts.flow_index, Arc::from(path.as_path()), settlement.clone());
        send(&self.parts.events, Event::Opened(Opened { file, flow_index, path, identity, settlement, after })).await;
    }

    pub(super) fn new_key(&mut self) -> FileKey {
        FileKey(self.parts.random.u64(..))
    }
}

/// Whether `found` is another file than the one tailed, which was deleted while it was closed, and its inode reused.
fn is_another(tailed: &Tailed, found: &Found) -> bool {
    matches!((tailed.file.place.created, found.created), (Some(tailed), Some(found)) if tailed != found)
}

fn is_at(inode: Inode, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| Inode::of(&metadata) == inode)
}
