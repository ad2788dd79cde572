//! Whose life goes on in a file that was not tailed before, or has other content now.
//!
//! It is the life that was in this file; or one that has lost its file and of which this file has the content, because it
//! is a copy or was compressed. A copy of a file that is still there waits: when the other is truncated, the life goes on
//! in the copy, and when the two become different, it is a file of its own. `identity` has the rules, `known` the lives.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::file::{Content, Inode};
use super::identity::{Comparison, Relation, is_evidence, is_rotated_name, is_same_file, relation};
use super::known::{Fingerprints, KnownLife};
use super::problems::problem_of;
use super::reader::start_of_last_line;
use super::source::{Source, fingerprint_of};
use super::{Tailed, Tailer, send};
use crate::checkpointer::{Event, Remains};
use crate::config::{Compressed, StartAt};
use crate::discovery::{Problem, siblings};
use crate::limits::{FINGERPRINT_BYTES, SHORT_COPY_WAIT};
use crate::offsets::Identity;
use crate::settlement::Settlement;
use crate::span::FileKey;

/// Whether a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not yet: nothing is in it from which to tell whose life goes on in it.
    New,
    /// It is: a life goes on in it.
    Established,
    /// Not while it has the same content as another file that is tailed.
    Copy(CopyOf),
    /// Not at all: it is compressed, and what it holds was never seen.
    Ignored,
}

/// Of which file another is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyOf {
    original: Inode,
    /// The life in the original.
    key: FileKey,
    /// The size that the copy had when this was decided.
    file_byte_count: u64,
    since: Instant,
}

/// What is decided of a file.
enum Verdict {
    /// This life goes on in it.
    Continues(Box<KnownLife>),
    /// It is what it was taken for, or nothing can be said yet.
    NotYet,
    /// There is nothing in it yet.
    Empty,
    /// It has the same content as this other file.
    Copy(Inode),
    /// The life in this other file has ended: ask again.
    Ended(Inode),
    /// The life in this other file goes on in it, or may: ask again.
    LetGo(Inode),
    /// This life was in it, and it has other content now: ask again.
    Rewritten(Box<KnownLife>),
    /// It is not read.
    Ignored,
    /// A life begins in it.
    New,
    /// A life begins in it, and all that is in it was read in another file.
    Read,
}

impl Tailer {
    /// Decides about all files of which nothing was decided yet, and again about copies. Those that are where a known life
    /// was come first: a life that has its file is in no other.
    pub(super) async fn establish_all(&mut self, problems: &mut Vec<Problem>) {
        // What files have now, not what they had: also when it is long until they have their turn.
        for inode in self.those(Tailed::is_worth_a_look) {
            self.end_if_rewritten(inode).await;
        }
        let mut undecided: Vec<Inode> = self.those(Tailed::is_undecided);
        // A copy is made after its original.
        undecided
            .sort_by_key(|inode| self.files.get(inode).map(|tailed| (tailed.file.place.created, Arc::clone(&tailed.file.path))));
        let (at_known, others): (Vec<Inode>, Vec<Inode>) =
            undecided.into_iter().partition(|inode| self.is_where_known_life_was(*inode));
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
        let Some(file) = self.files.get(&inode).map(|tailed| &tailed.file) else { return false };
        let is_here = |life: &KnownLife| {
            let known_place = life.identity.place.map(|place| (place, life.path.as_path()));
            known_place.is_some_and(|known| is_same_file(known, (file.place, &file.path), life.identity.fingerprint))
        };
        self.known.at_inode(inode.inode).iter().any(is_here)
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
        let is_meant = |tailed: &&mut Tailed| tailed.standing == Standing::Established && tailed.is_worth_a_look();
        let Some(tailed) = self.files.get_mut(&inode).filter(is_meant) else { return Ok(false) };
        if tailed.file.is_compressed() || !tailed.file.open()? || tailed.file.content()? == Content::Different {
            return Ok(!tailed.file.is_compressed() && tailed.file.is_open());
        }
        Ok(tailed.file.byte_count_now()? < tailed.file.position())
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
                Verdict::Read => {
                    self.begin_at_end(inode).await?;
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

    fn verdict(&mut self, inode: Inode) -> io::Result<Verdict> {
        if self.is_still_copy(inode) {
            return Ok(Verdict::NotYet);
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Verdict::NotYet) };
        if !tailed.file.open()? {
            return Ok(Verdict::NotYet);
        }
        tailed.file.find_out_kind()?;
        let (path, place) = (Arc::clone(&tailed.file.path), tailed.file.place);
        let source = tailed.file.opened()?;
        let mut blank = None;
        for life in self.known.at_inode(inode.inode) {
            let known_place = life.identity.place.map(|known_place| (known_place, life.path.as_path()));
            if !known_place.is_some_and(|known| is_same_file(known, (place, &path), life.identity.fingerprint)) {
                continue;
            }
            let has_content = life.is_content_of(source)?;
            if life.is_blank() {
                blank = Some(life.key);
                break;
            }
            let life = Box::new(life);
            match relation(Comparison { is_same_file: true, has_content, is_tailed_elsewhere: false, is_evidence: false }) {
                Relation::Continues => return Ok(Verdict::Continues(life)),
                Relation::Rewritten => return Ok(Verdict::Rewritten(life)),
                Relation::Copy | Relation::Stranger => {}
            }
        }
        let beginning = source.beginning(FINGERPRINT_BYTES)?;
        if let Some(key) = blank {
            self.known.remove(key);
            (tailed.file.key, tailed.is_announced) = (key, true);
        }
        if let Some(remounted) = self.tailed_before_remount(inode) {
            return Ok(Verdict::LetGo(remounted));
        }
        let is_first_look = self.new_files_start_at == StartAt::End;
        let is_too_short =
            beginning.is_empty() && !is_first_look || is_compressed_name(&path) && beginning.len() < GZIP_MAGIC_BYTES;
        if is_too_short {
            return Ok(Verdict::Empty);
        }
        if let Some(verdict) = self.compare_with_known(inode, &path, &beginning)? {
            return Ok(verdict);
        }
        if let Some(verdict) = self.compare_with_tailed(inode, &path, &beginning)? {
            return Ok(verdict);
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Verdict::NotYet) };
        let is_compressed = tailed.file.is_compressed();
        let is_ignored = is_compressed && (self.parts.flow.compressed == Compressed::Ignore || is_first_look);
        if is_ignored {
            return Ok(Verdict::Ignored);
        }
        tailed.file.opened()?.see_end()?;
        Ok(Verdict::New)
    }

    /// Whether nothing has changed since a file was found to be a copy.
    fn is_still_copy(&self, inode: Inode) -> bool {
        let Some(tailed) = self.files.get(&inode) else { return false };
        let Standing::Copy(copy) = tailed.standing else { return false };
        let is_original_there = self.files.get(&copy.original).is_some_and(|original| original.file.key == copy.key);
        let is_short = copy.file_byte_count < FINGERPRINT_BYTES as u64 && !tailed.file.is_compressed();
        is_original_there
            && tailed.file.file_byte_count() == copy.file_byte_count
            && !(is_short && copy.since.elapsed() >= SHORT_COPY_WAIT)
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

    /// Whether a life that has lost its file goes on in this one.
    fn compare_with_known(&mut self, inode: Inode, path: &Path, beginning: &[u8]) -> io::Result<Option<Verdict>> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(None) };
        let source = tailed.file.opened()?;
        for life in self.known.beginning_with(beginning) {
            let comparison = Comparison {
                is_same_file: false,
                has_content: life.is_content_of(source)?,
                is_tailed_elsewhere: false,
                is_evidence: is_evidence(&life.path, path, life.identity.fingerprint),
            };
            if relation(comparison) == Relation::Continues {
                return Ok(Some(Verdict::Continues(Box::new(life))));
            }
            if !tailed.is_rewritten && is_rotated_name(&life.path, path) && life.is_ahead_of(source)? {
                return Ok(Some(Verdict::Read));
            }
        }
        Ok(None)
    }

    /// A tailed file that is this one, seen on a disk that was unmounted meanwhile and has another number now.
    fn tailed_before_remount(&self, inode: Inode) -> Option<Inode> {
        let seen = self.files.get(&inode)?;
        let is_it = |(other, tailed): &(&Inode, &Tailed)| {
            **other != inode
                && tailed.is_gone
                && tailed.standing == Standing::Established
                && is_same_file(
                    (tailed.file.place, &tailed.file.path),
                    (seen.file.place, &seen.file.path),
                    tailed.file.fingerprint(),
                )
        };
        self.files.iter().find(is_it).map(|(other, _)| *other)
    }

    /// Whether a file has the same content as one that is tailed.
    fn compare_with_tailed(&mut self, inode: Inode, path: &Path, beginning: &[u8]) -> io::Result<Option<Verdict>> {
        let has_waited = self
            .files
            .get(&inode)
            .is_some_and(|tailed| tailed.copy_since().is_some_and(|since| since.elapsed() >= SHORT_COPY_WAIT));
        let is_short = beginning.len() < FINGERPRINT_BYTES;
        // Nobody compresses by chance what is in the file beside.
        let is_compressed = self.files.get(&inode).is_some_and(|tailed| tailed.file.is_compressed());
        if is_short && !is_compressed && (has_waited || self.is_once) {
            return Ok(None);
        }
        let mut fingerprints = Fingerprints::of(beginning);
        let own = fingerprint_of(beginning);
        let mut may_be_original = |(other, tailed): &(&Inode, &Tailed)| {
            let fingerprint = tailed.file.fingerprint();
            // Of a copy that is still being made less may be there than is known of the original.
            let begins_the_same = fingerprints.contains(fingerprint) || fingerprint.byte_count > own.byte_count;
            **other != inode
                && tailed.standing == Standing::Established
                && fingerprint.byte_count > 0
                && begins_the_same
                && (!is_short || is_rotated_name(&tailed.file.path, path))
        };
        let originals: Vec<Inode> = self.files.iter().filter(&mut may_be_original).map(|(other, _)| *other).collect();
        for original in originals {
            let Some(tailed) = self.files.get_mut(&original) else { continue };
            let has_kept_content = tailed.file.is_compressed() || tailed.file.open()? && tailed.file.content()? == Content::Same;
            if !has_kept_content {
                return Ok(Some(Verdict::Ended(original)));
            }
            if self.goes_beyond_compressed(inode, original)? {
                return Ok(Some(Verdict::LetGo(original)));
            }
            let comparison = Comparison {
                is_same_file: false,
                has_content: self.have_same_content(inode, original)?,
                is_tailed_elsewhere: true,
                is_evidence: true,
            };
            if relation(comparison) == Relation::Copy {
                return Ok(Some(Verdict::Copy(original)));
            }
        }
        Ok(None)
    }

    /// Whether a compressed file, to which nobody adds, has all its content in another that has more.
    fn goes_beyond_compressed(&mut self, inode: Inode, original: Inode) -> io::Result<bool> {
        let Some(known) = self.files.get(&original).filter(|tailed| tailed.file.is_compressed()).map(Tailed::as_known) else {
            return Ok(false);
        };
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        let source = tailed.file.opened()?;
        Ok(!source.is_compressed() && known.is_content_of(source)? && source.byte_count_told()? > known.settlement.end())
    }

    /// Whether everything that is in `copy` is in `original`, too, as far as their beginnings, and the ends of what is in
    /// both, tell.
    fn have_same_content(&mut self, copy: Inode, original: Inode) -> io::Result<bool> {
        // Both are needed at once, and a map lends only one of its values.
        let Some(mut tailed) = self.files.remove(&copy) else { return Ok(false) };
        let same = self.files.get_mut(&original).map(|original| tailed.file.is_beginning_of(&mut original.file));
        self.files.insert(copy, tailed);
        same.unwrap_or(Ok(false))
    }

    /// In this file a known life goes on.
    async fn resume(&mut self, inode: Inode, life: KnownLife) -> io::Result<()> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        if std::mem::take(&mut tailed.is_announced) {
            let closed = Event::Closed { file: tailed.file.key, read_until: 0, remains: Remains::Nothing };
            send(&self.parts.events, closed).await;
        }
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
        self.begin_at(inode, start).await
    }

    /// A life begins in this file, of which all was read elsewhere.
    async fn begin_at_end(&mut self, inode: Inode) -> io::Result<()> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let end = tailed.file.opened()?.byte_count_told()?;
        tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), "file is a copy of one that was read further");
        self.begin_at(inode, end).await
    }

    async fn begin_at(&mut self, inode: Inode, start: u64) -> io::Result<()> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        tailed.file.begin_at(start)?;
        (tailed.standing, tailed.is_announced) = (Standing::Established, true);
        let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
        tracing::debug!(flow, %path, inode = inode.inode, position = start, "tailing file");
        let life = KnownLife { settlement: Settlement::new(start, []), identity: tailed.identity(), ..tailed.as_known() };
        self.announce(&life).await;
        self.unread.insert(inode);
        Ok(())
    }

    /// The file has other content now, or is somewhere else: the life in it has ended, and another may begin.
    pub(super) async fn end_life(&mut self, inode: Inode) -> io::Result<()> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let path = &tailed.file.path;
        let (read_until, unread) = (tailed.file.position(), tailed.file.unread_byte_count());
        tracing::info!(flow = self.parts.metrics.name, path = %path.display(), read_until, unread, "file was truncated, reading from its beginning");
        let key = FileKey(self.parts.random.u64(..));
        let anew = tailed.file.anew(key)?;
        let Tailed { finish, is_gone, is_superseded, .. } = *tailed;
        let (quiet_since, matched_path) = (tailed.quiet_since.map(|_| Instant::now()), Arc::clone(&tailed.matched_path));
        let next = Tailed { is_rewritten: true, matched_path, finish, is_gone, is_superseded, quiet_since, ..Tailed::new(anew) };
        if let Some(ended) = self.files.insert(inode, next) {
            self.close_life(&ended, Remains::Content).await;
        }
        // What was not read may be in a copy.
        self.parts.hints.rescan();
        Ok(())
    }

    /// Looks for a copy of a life that was lost next to where its file was, whether or not a glob matches it.
    pub(super) async fn adopt_copy_of(&mut self, life: &KnownLife) -> bool {
        let unread_byte_count = life.unread_byte_count();
        // Without something that is not read yet there is nothing to do for it.
        let may_have_more = |byte_count| unread_byte_count > 0 || byte_count > life.settlement.end();
        for found in siblings(&life.path) {
            let inode = Inode { device: found.device, inode: found.inode };
            // How much a compressed file holds is not told by its size.
            let may_be_copy = may_have_more(found.byte_count) || is_compressed_name(&found.path);
            if self.files.contains_key(&inode) || !may_be_copy || !is_evidence(&life.path, &found.path, life.identity.fingerprint)
            {
                continue;
            }
            let is_copy = Source::open(&found.path).and_then(|mut source| {
                let is_it = Inode::of(&source.metadata()?) == inode && may_have_more(source.byte_count_told()?);
                Ok(is_it && self.life_read_furthest(&mut source, &found.path)? == Some(life.key))
            });
            if !is_copy.unwrap_or(false) || self.insert(inode, &found).is_err() {
                continue;
            }
            if let Some(tailed) = self.files.get_mut(&inode) {
                (tailed.is_gone, tailed.quiet_since) = (true, Some(Instant::now()));
            }
            if self.resume(inode, life.clone()).await.is_ok() {
                return true;
            }
            self.files.remove(&inode);
        }
        false
    }

    /// Of the lives of which this file has the content, that of which most was read.
    fn life_read_furthest(&self, source: &mut Source, path: &Path) -> io::Result<Option<FileKey>> {
        for life in self.known.beginning_with(&source.beginning(FINGERPRINT_BYTES)?) {
            if is_evidence(&life.path, path, life.identity.fingerprint) && life.is_content_of(source)? {
                return Ok(Some(life.key));
            }
        }
        Ok(None)
    }
}

impl Tailed {
    fn is_undecided(&self) -> bool {
        match self.standing {
            Standing::New => !self.file.is_compressed() || self.file.has_changed(),
            Standing::Copy(_) => true,
            Standing::Established => false,
            Standing::Ignored => self.file.has_changed(),
        }
    }

    fn copy_since(&self) -> Option<Instant> {
        match self.standing {
            Standing::Copy(copy) => Some(copy.since),
            _ => None,
        }
    }

    fn identity(&self) -> Identity {
        Identity { is_superseded: self.is_superseded, ..self.file.identity() }
    }
}

/// Bytes of a compressed file that say that it is one.
const GZIP_MAGIC_BYTES: usize = 3;

fn is_compressed_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
