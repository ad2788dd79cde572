//! Deciding whose life goes on in a file: the comparisons, in the order in which they decide.
//!
//! What follows from a verdict is done in `claims`; the rules are in `identity`.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Tailer;
use super::file::{Content, Inode};
use super::identity::{Comparison, Relation, is_evidence, is_rotated_name, is_same_file, relation};
use super::known::{Fingerprints, KnownLife};
use super::source::fingerprint_of;
use super::tailed::{Standing, Tailed};
use crate::config::{Compressed, StartAt};
use crate::limits::{FINGERPRINT_BYTES, SHORT_COPY_WAIT};
use crate::offsets::Mark;
use crate::span::FileKey;

/// What is decided of a file.
pub(super) enum Verdict {
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
    /// A life begins in it, and all that is in it was read as this other one.
    Read(FileKey),
}

impl Tailer {
    pub(super) fn verdict(&mut self, inode: Inode) -> io::Result<Verdict> {
        if self.is_still_copy(inode) {
            return Ok(Verdict::NotYet);
        }
        if !self.open(inode)? {
            return Ok(Verdict::NotYet);
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Verdict::NotYet) };
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
            tailed.file.key = key;
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
        if is_compressed && !self.is_once && std::mem::replace(&mut self.has_looked_through, true) {
            self.parts.hints.rescan();
            return Ok(Verdict::NotYet);
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

    /// Whether a life that has lost its file goes on in this one.
    fn compare_with_known(&mut self, inode: Inode, path: &Path, beginning: &[u8]) -> io::Result<Option<Verdict>> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(None) };
        let source = tailed.file.opened()?;
        for life in self.known.beginning_with(beginning) {
            let comparison = Comparison {
                is_same_file: false,
                has_content: life.is_content_of(source)?,
                is_tailed_elsewhere: false,
                is_evidence: is_evidence(&life.path, path, life.identity.fingerprint) && is_worth_a_risk(&life, path),
            };
            if relation(comparison) == Relation::Continues {
                return Ok(Some(Verdict::Continues(Box::new(life))));
            }
            if !tailed.is_rewritten && is_rotated_name(&life.path, path) && life.is_ahead_of(source)? {
                return Ok(Some(Verdict::Read(life.key)));
            }
        }
        Ok(None)
    }

    /// A tailed file that is this one, seen on a disk that was unmounted meanwhile and has another number now.
    fn tailed_before_remount(&self, inode: Inode) -> Option<Inode> {
        let seen = self.files.get(&inode).filter(|_| self.has_gone)?;
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
            **other != inode && fingerprint.byte_count > 0 && begins_the_same
        };
        // What costs least first: there may be very many files.
        let may_be_named_so = |(_, tailed): &(&Inode, &Tailed)| {
            tailed.standing == Standing::Established && (!is_short || is_rotated_name(&tailed.file.path, path))
        };
        let originals: Vec<Inode> =
            self.files.iter().filter(may_be_named_so).filter(&mut may_be_original).map(|(other, _)| *other).collect();
        let mut marks = HashMap::new();
        for original in originals {
            if !self.has_mark_of(inode, original, &mut marks)? {
                continue;
            }
            let is_compressed = self.files.get(&original).is_some_and(|tailed| tailed.file.is_compressed());
            if !is_compressed && !self.open(original)? {
                return Ok(Some(Verdict::LetGo(original)));
            }
            if !self.has_kept_content(original)? {
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
            if !self.has_kept_content(original)? {
                // It was truncated while they were compared.
                return Ok(Some(Verdict::Ended(original)));
            }
        }
        Ok(None)
    }

    fn has_kept_content(&mut self, inode: Inode) -> io::Result<bool> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        Ok(tailed.file.is_compressed() || tailed.file.content()? == Content::Same)
    }

    /// Whether a file has what is before the place up to which another was read, if it is as long. There may be many files
    /// that begin the same and are as long; so the other is not opened for that, and `marks` has those of this one by their
    /// ends.
    fn has_mark_of(&mut self, inode: Inode, original: Inode, marks: &mut HashMap<u64, Mark>) -> io::Result<bool> {
        let Some(mark) = self.files.get(&original).map(|tailed| tailed.file.telling_mark()) else { return Ok(false) };
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        let source = tailed.file.opened()?;
        if source.is_compressed() || source.byte_count_told()? < mark.end || mark.byte_count == 0 {
            return Ok(true);
        }
        let own = match marks.get(&mark.end) {
            Some(own) => *own,
            None => *marks.entry(mark.end).or_insert(source.mark(mark.end)?),
        };
        Ok(if own.byte_count == mark.byte_count { own == mark } else { source.has(mark)? })
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
}

/// Programs may write the same again to another file. Of a life that was read to its end only a name as rotations make them,
/// or the same in another folder, says that a file has its content; else lines would be taken for sent that are not.
fn is_worth_a_risk(life: &KnownLife, path: &Path) -> bool {
    life.unread_byte_count() > 0 || is_rotated_name(&life.path, path) || life.path.file_name() == path.file_name()
}

/// Bytes of a compressed file that say that it is one.
const GZIP_MAGIC_BYTES: usize = 3;

pub(crate) fn is_compressed_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
