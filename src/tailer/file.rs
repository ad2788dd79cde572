//! One life of one file: where it is, whether it is open, and whether it still has the content that it had.
//!
//! Where in the content to read, and how much, is the `reader`'s decision; which file has its turn, and when the file's life
//! ends, is the tailer's.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::known::KnownLife;
use super::reader::{Complete, Piece, Reader, Rules};
use super::source::{Size, Source, fingerprint_of, mark_of, place_of};
use super::turn::Seen;
use crate::discovery::Found;
use crate::limits::{FINGERPRINT_BYTES, MARK_BYTES};
use crate::offsets::{Fingerprint, Identity, Mark, Place};
use crate::settlement::Settlement;
use crate::span::FileKey;

/// A file by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl Inode {
    /// Of an open file, or of a path.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// One life of one file while it is tailed.
pub(super) struct TailedFile {
    /// Its key.
    pub key: FileKey,
    /// Where it was last seen.
    pub path: Arc<Path>,
    /// The file that it is in.
    pub place: Place,
    /// How its content begins, as far as it was looked at.
    fingerprint: Fingerprint,
    /// What was before some position up to which it was read.
    mark: Mark,
    /// What was before its end when this life began in the file.
    end_mark: Mark,
    /// None while the file is closed.
    source: Option<Source>,
    is_compressed: bool,
    reader: Reader,
    /// Size of the content when last looked at.
    byte_count: u64,
    /// Greatest size seen in this life.
    byte_count_max: u64,
    /// Size of the file when last seen, which is another than that of the content if it is compressed.
    file_byte_count: u64,
    /// Its size when this life began in it.
    begun_at_file_byte_count: u64,
    /// When the file was last written to, as far as it was seen.
    modified: Option<SystemTime>,
    /// It was written to since it was last looked at.
    is_written_to: bool,
    /// The size of the compressed file at which its content had no end yet.
    unended_at: Option<u64>,
}

/// Whether a file still has the content that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It has, and more of its beginning may be known now.
    Same,
    /// It was truncated, or written anew.
    Different,
}

/// What a look at a file gave.
pub(super) enum Look {
    /// Lines.
    Piece(Piece),
    /// Nothing that can be handed on now: at its end, or in an unfinished line.
    Waiting,
    /// It has not the content any more that it had.
    Different,
}

/// A file that a tailer has left open when it ended: should it be deleted or moved away, there is no other way to it.
pub struct OpenFile {
    /// The life that goes on in it.
    pub(super) key: FileKey,
    pub(super) source: Source,
}

impl OpenFile {
    /// No name leads to it any more.
    pub fn is_deleted(&self) -> bool {
        is_deleted(&self.source)
    }
}

fn is_deleted(source: &Source) -> bool {
    source.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

impl TailedFile {
    /// The file behind `source`, of which nothing is known.
    pub(super) fn new(key: FileKey, path: Arc<Path>, source: Source, rules: &Arc<Rules>) -> io::Result<Self> {
        let metadata = source.metadata()?;
        let mut file = Self {
            key,
            path,
            place: place_of(&metadata),
            fingerprint: Fingerprint::default(),
            mark: Mark::default(),
            end_mark: Mark::default(),
            is_compressed: source.is_compressed(),
            source: Some(source),
            reader: Reader::new(Arc::clone(rules)),
            byte_count: 0,
            byte_count_max: 0,
            file_byte_count: metadata.len(),
            begun_at_file_byte_count: metadata.len(),
            modified: metadata.modified().ok(),
            is_written_to: false,
            unended_at: None,
        };
        file.look_at_size()?;
        Ok(file)
    }

    /// The same file, as one of which nothing is known; should a life begin in it, this is its key.
    pub(super) fn anew(&mut self, key: FileKey) -> io::Result<Self> {
        let source = self.source.take().ok_or(io::ErrorKind::NotFound)?.anew()?;
        Self::new(key, Arc::clone(&self.path), source, self.reader.rules())
    }

    /// Of a file in which nothing was read yet: whether it is compressed, and its size.
    pub(super) fn find_out_kind(&mut self) -> io::Result<()> {
        if let Some(source) = self.source.take() {
            let source = self.source.insert(source.anew()?);
            self.is_compressed = source.is_compressed();
            self.file_byte_count = source.metadata()?.len();
        }
        self.look_at_size().map(drop)
    }

    /// In this file the life `known` goes on.
    pub(super) fn resume(&mut self, known: &KnownLife) -> io::Result<()> {
        self.begin(known.key, known.settlement.clone(), known.identity)
    }

    /// In this file a life begins of which everything before `start` is passed over.
    pub(super) fn begin_at(&mut self, start: u64) -> io::Result<()> {
        self.begin(self.key, Settlement::new(start, []), Identity::default())
    }

    fn begin(&mut self, key: FileKey, settled_before: Settlement, identity: Identity) -> io::Result<()> {
        let position = settled_before.watermark();
        self.begun_at_file_byte_count = self.file_byte_count;
        (self.fingerprint, self.mark) = (identity.fingerprint, identity.mark);
        // What was to be read in the file before, and is not in this one, is known to the tailer.
        self.byte_count_max = 0;
        if self.is_compressed && settled_before.above().len() == 0 && self.has_ended_at(position)? {
            // Without decompressing it.
            (self.byte_count, self.byte_count_max, self.source) = (position, position, None);
            self.reader.resume_at_end(settled_before);
            self.key = key;
            return Ok(());
        }
        self.look_at_size()?;
        let source = self.source.as_mut().ok_or(io::ErrorKind::NotFound)?;
        self.reader.resume(source, settled_before)?;
        if !self.is_compressed {
            self.mark = if position > 0 { source.mark(position)? } else { self.mark };
            self.end_mark = source.mark(self.byte_count)?;
        }
        self.content()?;
        self.key = key;
        Ok(())
    }

    fn has_ended_at(&self, position: u64) -> io::Result<bool> {
        match &self.source {
            Some(source) => Ok(position > 0 && source.may_have_byte_count(position)?),
            None => Ok(true),
        }
    }

    /// First byte not handed on.
    pub(super) fn position(&self) -> u64 {
        self.reader.position()
    }

    /// The line before the position that names the columns, if one does.
    pub(super) fn header(&self) -> Option<&Arc<[u8]>> {
        self.reader.header()
    }

    /// Size of the content when last looked at.
    pub(super) fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Bytes that were seen and not handed on.
    pub(super) fn unread_byte_count(&self) -> u64 {
        self.byte_count_max.saturating_sub(self.position())
    }

    /// How its content begins.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What the checkpointer learns when it was looked at.
    pub(super) fn seen(&self) -> Seen {
        Seen { fingerprint: self.fingerprint, mark: self.mark, byte_count: self.byte_count_max }
    }

    /// Whether all of it was handed on, as far as is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.byte_count_max == self.position() && self.byte_count == self.position()
    }

    /// Bytes by which it is told from a file that begins the same.
    pub(super) fn telling_mark(&self) -> Mark {
        if self.mark.byte_count > 0 { self.mark } else { self.end_mark }
    }

    /// By what it is known again.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            place: Some(self.place),
            fingerprint: self.fingerprint,
            mark: self.mark,
            byte_count: self.byte_count_max,
            is_superseded: false,
        }
    }

    /// How far the content reached when a record was found that may still go on; none when there is no such record.
    pub(super) fn open_record_at(&self) -> Option<u64> {
        self.reader.open_record_at()
    }

    /// Whether it is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Size of the file when last seen, which is another than that of the content if it is compressed.
    pub(super) fn file_byte_count(&self) -> u64 {
        self.file_byte_count
    }

    /// Closes a compressed file, which is of interest again when it has changed.
    pub(super) fn put_aside(&mut self) {
        self.source = None;
        self.unended_at = Some(self.file_byte_count);
    }

    /// Whether it has changed since it was put aside, or was found to have no end.
    pub(super) fn has_changed(&self) -> bool {
        self.unended_at != Some(self.file_byte_count)
    }

    /// A compressed file, to which nobody adds, has another size now than when its life began.
    pub(super) fn is_compressed_anew(&self) -> bool {
        self.is_compressed && self.file_byte_count != self.begun_at_file_byte_count
    }

    /// The ranges behind the position that were settled before.
    pub(super) fn settled_above(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.reader.settled_above()
    }

    /// Whether all of its content is in `other`, too, as far as the beginnings, and the ends of what is in both, tell.
    pub(super) fn is_beginning_of(&mut self, other: &mut Self) -> io::Result<bool> {
        if other.is_compressed {
            // Nobody reads it again for that: what is known of its life must do.
            let known = KnownLife {
                key: other.key,
                path: other.path.to_path_buf(),
                identity: other.identity(),
                settlement: Settlement::new(other.position(), []),
                gone_at: None,
                is_lost: false,
            };
            return known.is_content_of(self.opened()?);
        }
        let beginning = self.opened()?.beginning(FINGERPRINT_BYTES)?;
        if other.opened()?.beginning(beginning.len())? != beginning {
            return Ok(false);
        }
        let other_byte_count = other.opened()?.byte_count_told()?;
        if self.is_compressed && self.opened()?.may_have_byte_count(other_byte_count)? {
            return Ok(true);
        }
        self.opened()?.see_end()?;
        // In this order: while one is copied, the other may grow.
        let byte_count = self.opened()?.byte_count_told()?;
        if byte_count > other.opened()?.byte_count_told()? {
            return Ok(false);
        }
        let last = self.opened()?.mark(byte_count)?;
        other.opened()?.has(last)
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Closes it; what was read of it is kept.
    pub(super) fn close(&mut self) {
        self.source = None;
    }

    /// Opens it again if it is closed. False when it is not at its path any more.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        if self.source.is_some() {
            return Ok(true);
        }
        let source = match Source::open(&self.path) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let place = place_of(&source.metadata()?);
        let is_here = (place.device, place.inode, place.created) == (self.place.device, self.place.inode, self.place.created);
        if is_here {
            self.is_compressed = source.is_compressed();
            self.source = Some(source);
        }
        Ok(is_here)
    }

    /// The open file.
    pub(super) fn opened(&mut self) -> io::Result<&mut Source> {
        self.source.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What is left of it when its tailer ends, if it is open.
    pub(super) fn into_open_file(self) -> Option<OpenFile> {
        let Self { key, source, .. } = self;
        source.map(|source| OpenFile { key, source })
    }

    /// No name leads to it any more, as far as the open file tells.
    pub(super) fn is_deleted(&self) -> bool {
        self.source.as_ref().is_some_and(is_deleted)
    }

    /// A rescan has seen the file; whether it has the same content, the next look tells.
    pub(super) fn saw(&mut self, found: &Found) {
        if !self.is_compressed {
            self.byte_count = found.byte_count;
        }
        self.file_byte_count = found.byte_count;
        self.is_written_to |= self.modified.replace(found.modified) != Some(found.modified);
    }

    fn look_at_size(&mut self) -> io::Result<Size> {
        let size = self.opened()?.size()?;
        match size {
            Size::Growing(byte_count) | Size::Final(byte_count) => self.byte_count = byte_count,
            Size::Unknown => {
                let told = self.opened()?.byte_count_told()?;
                self.byte_count = told.max(self.position());
                return Ok(size);
            }
        }
        self.byte_count_max = self.byte_count_max.max(self.byte_count);
        Ok(size)
    }

    /// Size of the content now.
    pub(super) fn byte_count_now(&mut self) -> io::Result<u64> {
        self.look_at_size()?;
        Ok(self.byte_count)
    }

    /// Whether there may be something to read.
    pub(super) fn is_worth_a_look(&self) -> bool {
        if self.is_compressed {
            self.is_compressed_anew() || self.source.is_some() && self.has_changed()
        } else {
            self.byte_count != self.position() || self.is_written_to
        }
    }

    /// The next piece, read into `buffer`; see [`Reader::next`].
    pub(super) fn look(&mut self, buffer: &mut Vec<u8>, complete: Complete) -> io::Result<Look> {
        match self.next_piece(buffer, complete) {
            Err(error) if self.is_compressed && error.kind() == io::ErrorKind::UnexpectedEof => {
                self.unended_at = Some(self.file_byte_count);
                Ok(Look::Waiting)
            }
            look => look,
        }
    }

    fn next_piece(&mut self, buffer: &mut Vec<u8>, complete: Complete) -> io::Result<Look> {
        let (reader, mark) = (self.reader.clone(), self.mark);
        let look = self.read_piece(buffer, complete);
        if matches!(look, Err(_) | Ok(Look::Different)) {
            // Nothing is handed on, so nothing was read: after an error it is read again, or it is of another content.
            (self.reader, self.mark) = (reader, mark);
        }
        look
    }

    fn read_piece(&mut self, buffer: &mut Vec<u8>, complete: Complete) -> io::Result<Look> {
        let size = self.look_at_size()?;
        let position = self.position();
        if size != Size::Unknown && self.byte_count < position {
            return Ok(Look::Different);
        }
        let source = self.source.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let piece = self.reader.next(source, size, buffer, complete)?;
        // Behind the reading: what was read is that of this life only if what is before it still is.
        let is_of_this_life = self.is_compressed
            || source.has(self.mark)? && (self.mark.byte_count > 0 || has_beginning(source, self.fingerprint)?);
        if !is_of_this_life {
            return Ok(Look::Different);
        }
        let Some(piece) = piece else {
            self.look_at_size()?;
            return Ok(Look::Waiting);
        };
        self.set_mark(&buffer[..piece.byte_count])?;
        self.byte_count_max = self.byte_count_max.max(self.position());
        Ok(Look::Piece(piece))
    }

    /// Whether the file still has the content that it had: one that was truncated, and has grown again since the last
    /// look, is told by its beginning, and by what is before the position. Of a short file more of the beginning may be
    /// known now.
    pub(super) fn content(&mut self) -> io::Result<Content> {
        let (known, mark, is_compressed) = (self.fingerprint, self.mark, self.is_compressed);
        self.is_written_to = false;
        if is_compressed && known.byte_count > 0 {
            // Nobody adds to it, and to look at its beginning again is to begin anew.
            return Ok(Content::Same);
        }
        let source = self.opened()?;
        let beginning = source.beginning(FINGERPRINT_BYTES)?;
        let has_beginning =
            beginning.get(..known.byte_count as usize).is_some_and(|known_part| fingerprint_of(known_part) == known);
        if !has_beginning || !(is_compressed || source.has(mark)?) {
            return Ok(Content::Different);
        }
        if beginning.len() > known.byte_count as usize {
            self.fingerprint = fingerprint_of(&beginning);
        }
        Ok(Content::Same)
    }

    /// `read` are the last bytes before the position.
    fn set_mark(&mut self, read: &[u8]) -> io::Result<()> {
        let position = self.position();
        if read.len() >= MARK_BYTES {
            self.mark = mark_of(read, position);
        } else if !self.is_compressed {
            self.mark = self.opened()?.mark(position)?;
        }
        Ok(())
    }
}

fn has_beginning(source: &mut Source, fingerprint: Fingerprint) -> io::Result<bool> {
    Ok(fingerprint_of(&source.beginning(fingerprint.byte_count as usize)?) == fingerprint)
}

#[cfg(test)]
mod tests;
