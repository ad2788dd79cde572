//! Whose life goes on in a file that was not tailed before, or has other content now.
//!
//! It is the life that was in this file; or one that has lost its file and of which this file has the content, because it
//! is a copy or was compressed. A copy of a file that is still there waits: when the other is truncated, the life goes on
//! in the copy, and when the two become different, it is a file of its own. `identity` has the rules, `known` the lives.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::file::{Content, Inode};
use super::identity::is_same_file;
use super::known::KnownLife;
use super::problems::problem_of;
use super::reader::start_of_last_line;
use super::tailed::{CopyOf, Standing, Tailed};
use super::verdict::Verdict;
use super::{Tailer, send};
use crate::checkpointer::{Event, Remains};
use crate::config::StartAt;
use crate::discovery::Problem;
use crate::offsets::Identity;
use crate::settlement::Settlement;
use crate::span::FileKey;

impl Tailer {
    /// Decides about all files of which nothing was decided yet, and again about copies. Those that are where a known life
    /// was come first: a life that has its file is in no other.
    pub(super) async fn establish_all(&mut self, problems: &mut Vec<Problem>) {
        // What files have now, not what they had: also when it is long until they have their turn. Those that are closed are
        // many.
        for inode in self.those(|tailed| tailed.file.is_compressed_anew() || tailed.file.is_open() && tailed.is_worth_a_look()) {
            self.end_if_rewritten(inode).await;
            self.report_seen_if_established(inode).await;
        }
        let mut undecided: Vec<Inode> = self.those(Tailed::is_undecided);
        // A copy is made after its original.
        undecided
            .sort_by_key(|inode| self.files.get(inode).map(|tailed| (tailed.file.place.created, Arc::clone(&tailed.file.path))));
        let (mut at_known, others): (Vec<Inode>, Vec<Inode>) =
            undecided.into_iter().partition(|inode| self.is_where_known_life_was(*inode));
        // A file that was empty may be found to have the content of another life: of one that has lost its file by then.
        at_known.sort_by_key(|inode| !self.is_where_content_was(*inode));
        for inode in at_known {
            self.establish_or_tell(inode, problems).await;
        }
        if std::mem::take(&mut self.is_first_scan) {
            self.find_missing().await;
        }
        for inode in others {
            self.establish_or_tell(inode, problems).await;
        }
    }

    fn is_where_known_life_was(&self, inode: Inode) -> bool {
        !self.lives_that_were_in(inode).is_empty()
    }

    fn is_where_content_was(&self, inode: Inode) -> bool {
        self.lives_that_were_in(inode).iter().any(|life| !life.is_blank())
    }

    fn lives_that_were_in(&self, inode: Inode) -> Vec<KnownLife> {
        let Some(file) = self.files.get(&inode).map(|tailed| &tailed.file) else { return Vec::new() };
        let mut lives = self.known.at_inode(inode.inode);
        lives.retain(|life| {
            let known_place = life.identity.place.map(|place| (place, life.path.as_path()));
            known_place.is_some_and(|known| is_same_file(known, (file.place, &file.path), life.identity.fingerprint))
        });
        lives
    }

    fn those(&self, are_meant: impl Fn(&Tailed) -> bool) -> Vec<Inode> {
        self.files.iter().filter(|(_, tailed)| are_meant(tailed)).map(|(inode, _)| *inode).collect()
    }

    /// Ends the life in a file that has other content now. What cannot be read is told when the file has its turn.
    pub(super) async fn end_if_rewritten(&mut self, inode: Inode) {
        if self.has_other_content(inode).unwrap_or(false) {
            let _ = self.end_life(inode).await;
        }
    }

    fn has_other_content(&mut self, inode: Inode) -> io::Result<bool> {
        let is_meant = |tailed: &&Tailed| tailed.standing == Standing::Established && tailed.is_worth_a_look();
        if self.files.get(&inode).filter(is_meant).is_none() || !self.open(inode)? {
            return Ok(false);
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        if tailed.file.is_compressed() {
            return Ok(tailed.file.is_compressed_anew());
        }
        Ok(tailed.file.content()? == Content::Different || tailed.file.byte_count_now()? < tailed.file.position())
    }

    /// So that it is known after a restart how much there was to read, also when it is long until it is read.
    async fn report_seen_if_established(&mut self, inode: Inode) {
        if self.files.get(&inode).is_some_and(|tailed| tailed.standing == Standing::Established) {
            self.report_seen(inode).await;
        }
    }

    async fn establish_or_tell(&mut self, inode: Inode, problems: &mut Vec<Problem>) {
        if let Err(error) = self.try_establish(inode).await
            && let Some(tailed) = self.files.get(&inode)
        {
            problems.push(problem_of(&tailed.file.path, &error));
        }
    }

    /// As [`Tailer::try_establish`]; what cannot be read is told when it has its turn.
    pub(super) async fn establish(&mut self, inode: Inode) {
        if let Err(error) = self.try_establish(inode).await {
            self.read_failed(inode, &error);
        }
    }

    /// Decides whose life goes on in a file; true when it may be read.
    pub(super) async fn try_establish(&mut self, inode: Inode) -> io::Result<bool> {
        loop {
            let verdict = self.verdict(inode).or_else(|error| self.put_aside_compressed(inode, error))?;
            let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
            match verdict {
                Verdict::Continues(life) => {
                    self.resume(inode, *life).await?;
                    // A compressed file of which nothing is left to read is closed.
                    return Ok(self.files.get(&inode).is_some_and(|tailed| tailed.file.is_open()));
                }
                Verdict::New => {
                    self.begin(inode).await?;
                    return Ok(true);
                }
                Verdict::Read(life) => {
                    self.begin_at_end(inode, life).await?;
                    return Ok(false);
                }
                Verdict::Ended(other) => {
                    self.end_life(other).await?;
                    // Of two with the same content the original comes first.
                    Box::pin(self.establish(other)).await;
                }
                Verdict::LetGo(other) => self.let_go(other).await,
                Verdict::Rewritten(life) => {
                    self.known.remove(life.key);
                    let identity = Identity { place: None, ..life.identity };
                    self.lose(KnownLife { identity, is_lost: true, gone_at: Some(self.now()), ..*life }).await;
                }
                Verdict::Copy(original) => {
                    self.put_aside_as_copy(inode, original);
                    return Ok(false);
                }
                Verdict::Ignored => {
                    tailed.file.put_aside();
                    if tailed.standing != Standing::Ignored {
                        tailed.standing = Standing::Ignored;
                        let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
                        tracing::info!(flow, %path, "file is compressed and its content was never seen, it is not read");
                    }
                    return Ok(false);
                }
                Verdict::Empty => {
                    if !std::mem::replace(&mut tailed.is_announced, true) {
                        let life = tailed.as_known();
                        self.announce(&life).await;
                    }
                    return Ok(false);
                }
                Verdict::NotYet => return Ok(false),
            }
        }
    }

    /// A compressed file that cannot be read is looked at again when it has changed: it may be still being written.
    fn put_aside_compressed(&mut self, inode: Inode, error: io::Error) -> io::Result<Verdict> {
        if let Some(tailed) = self.files.get_mut(&inode).filter(|tailed| tailed.file.is_compressed()) {
            tailed.file.put_aside();
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Ok(Verdict::NotYet);
            }
        }
        Err(error)
    }

    fn put_aside_as_copy(&mut self, inode: Inode, original: Inode) {
        let Some(of) = self.files.get(&original).map(|original| (original.file.key, original.file.path.display().to_string()))
        else {
            return;
        };
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        let (key, original_path) = of;
        let since = match tailed.standing {
            Standing::Copy(copy) => copy.since,
            _ => {
                let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
                tracing::info!(flow, %path, original = original_path, "file is a copy of another that is tailed, it is not read while that is so");
                Instant::now()
            }
        };
        tailed.standing = Standing::Copy(CopyOf { original, key, file_byte_count: tailed.file.file_byte_count(), since });
    }

    /// What was announced while nothing was in the file is not what begins in it.
    async fn take_back_announcement(&mut self, inode: Inode) {
        let key = self.new_key();
        let Some(tailed) = self.files.get_mut(&inode).filter(|tailed| tailed.is_announced) else { return };
        tailed.is_announced = false;
        let file = std::mem::replace(&mut tailed.file.key, key);
        send(&self.parts.events, Event::Closed { file, read_until: 0, remains: Remains::Nothing }).await;
    }

    /// In this file a known life goes on.
    pub(super) async fn resume(&mut self, inode: Inode, life: KnownLife) -> io::Result<()> {
        self.take_back_announcement(inode).await;
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        tailed.file.resume(&life)?;
        // From here on nothing fails: what was known is used up.
        self.known.remove(life.key);
        let (path, position) = (tailed.file.path.display(), tailed.file.position());
        let is_elsewhere = life.identity.place.is_none_or(|place| place != tailed.file.place);
        if is_elsewhere && life.path != *tailed.file.path {
            tracing::info!(flow = self.parts.metrics.name, from = %life.path.display(), to = %path, position, "file has the content of another, and continues it");
        } else {
            tracing::debug!(flow = self.parts.metrics.name, %path, position, "tailing file");
        }
        let is_renamed = life.path != *tailed.file.path;
        if is_renamed {
            tailed.renamed_from = Some(Arc::from(life.path.as_path()));
        }
        tailed.is_superseded = life.identity.is_superseded;
        (tailed.standing, tailed.is_announced) = (Standing::Established, true);
        if tailed.is_gone {
            tailed.matched_path = Arc::from(life.path.as_path());
        }
        let resumed = KnownLife { path: tailed.matched_path.to_path_buf(), identity: tailed.identity(), ..life.clone() };
        let missing =
            if tailed.file.is_compressed() { 0 } else { life.identity.byte_count.saturating_sub(tailed.file.byte_count()) };
        self.announce(&resumed).await;
        if life.is_lost && missing > 0 {
            let (flow, path) = (&self.parts.metrics.name, life.path.display());
            self.parts.metrics.unreachable_bytes.inc_by(missing);
            tracing::warn!(flow, %path, unreachable = missing, "bytes of this file were overwritten after it was copied and before they were read");
        }
        self.unread.insert(inode);
        Ok(())
    }

    /// A life begins in this file.
    async fn begin(&mut self, inode: Inode) -> io::Result<()> {
        let (is_first_look, rules) = (self.new_files_start_at == StartAt::End, self.parts.flow.line);
        let ignore_older = self.parts.flow.ignore_older;
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let modified = tailed.file.opened()?.metadata()?.modified()?;
        let is_old = ignore_older.is_some_and(|limit| modified.elapsed().is_ok_and(|age| age > limit));
        let passes_over = (is_first_look || is_old) && !tailed.file.is_compressed();
        let start = if passes_over { start_of_last_line(tailed.file.opened()?, rules)? } else { 0 };
        if start > 0 {
            self.parts.metrics.skipped_bytes(if is_old { "ignore_older" } else { "start_at" }, start);
        }
        self.begin_at(inode, start, None).await
    }

    /// A life begins in this file, of which all was read elsewhere.
    async fn begin_at_end(&mut self, inode: Inode, after: FileKey) -> io::Result<()> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let end = tailed.file.opened()?.byte_count_told()?;
        tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), "file is a copy of one that was read further");
        self.parts.metrics.skipped_bytes("copy", end);
        self.begin_at(inode, end, Some(after)).await
    }

    async fn begin_at(&mut self, inode: Inode, start: u64, after: Option<FileKey>) -> io::Result<()> {
        if start > 0 {
            self.take_back_announcement(inode).await;
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        tailed.file.begin_at(start)?;
        (tailed.standing, tailed.is_announced) = (Standing::Established, true);
        let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
        tracing::debug!(flow, %path, inode = inode.inode, position = start, "tailing file");
        let life = KnownLife { settlement: Settlement::new(start, []), identity: tailed.identity(), ..tailed.as_known() };
        self.announce_after(&life, after).await;
        self.unread.insert(inode);
        Ok(())
    }

    /// The file has other content now, or is somewhere else: the life in it has ended, and another may begin.
    pub(super) async fn end_life(&mut self, inode: Inode) -> io::Result<()> {
        let key = self.new_key();
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let (read_until, unread) = (tailed.file.position(), tailed.file.unread_byte_count());
        // Whether a compressed file goes on where it was, or is another, is found out as after a restart.
        let remains = if tailed.file.is_compressed() { Remains::Place } else { Remains::Content };
        let anew = tailed.file.anew(key)?;
        tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), read_until, unread, "file was truncated or rewritten, reading from its beginning");
        let Tailed { finish, is_gone, has_told_too_long, .. } = *tailed;
        let (quiet_since, matched_path) = (tailed.quiet_since.map(|_| Instant::now()), Arc::clone(&tailed.matched_path));
        let next =
            Tailed { is_rewritten: true, matched_path, finish, is_gone, has_told_too_long, quiet_since, ..Tailed::new(anew) };
        if let Some(ended) = self.files.insert(inode, next) {
            self.close_life(&ended, remains).await;
        }
        // What was not read may be in a copy.
        self.parts.hints.rescan();
        Ok(())
    }
}
