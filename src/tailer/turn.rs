//! A file's turn: the next pieces of it are read and sent on their way.
//!
//! Which file has its turn is decided here too: they go round. What is read of a file and how is the `reader`'s business.

use std::io;
use std::ops::{Bound, Range};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::file::{Content, Inode, Look, TailedFile};
use super::problems::problem_of;
use super::reader::{Complete, Piece};
use super::tailed::Standing;
use super::{Chunk, Parts, Tailer, send};
use crate::checkpointer::Event;
use crate::failpoint;
use crate::limits::{COMPLETE_AFTER, READ_BYTES, ROUND_BYTES};
use crate::offsets::{Fingerprint, Mark};
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{FileKey, Span};

/// How a file's turn ended, or that none had one.
#[derive(PartialEq, Eq)]
pub(super) enum Turn {
    /// It had its share, and may have more.
    Read,
    /// There is nothing more to read in it now.
    AtEnd,
    /// What is read would find no place: the next stage is busy, or the budget is used up.
    Blocked,
    /// Nothing is to be read in any file.
    Nothing,
}

/// Events that go with a piece: what was dropped of it, and that it was read.
const PIECE_EVENTS: usize = 2;

/// What the checkpointer learns of a file that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) fingerprint: Fingerprint,
    pub(super) mark: Mark,
    pub(super) byte_count: u64,
}

impl Tailer {
    /// Gives the next file with something to read its turn.
    pub(super) async fn next_turn(&mut self) -> Turn {
        let after_last = self.last_turn.and_then(|last| self.unread.range((Bound::Excluded(last), Bound::Unbounded)).next());
        let Some(inode) = after_last.or(self.unread.first()).copied() else { return Turn::Nothing };
        self.last_turn = Some(inode);
        self.has_new_figures = true;
        let turn = match self.turn(inode).await {
            Ok(turn) => turn,
            Err(error) => {
                self.read_failed(inode, &error);
                Turn::AtEnd
            }
        };
        if turn == Turn::AtEnd {
            self.unread.remove(&inode);
        }
        turn
    }

    pub(super) async fn turn(&mut self, inode: Inode) -> io::Result<Turn> {
        if !self.is_ready(inode).await? {
            return Ok(Turn::AtEnd);
        }
        let mut read_byte_count = 0;
        while read_byte_count < ROUND_BYTES {
            let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Turn::AtEnd) };
            if tailed.finish.is_some_and(|end| tailed.file.position() >= end) && !tailed.file.is_compressed() {
                return Ok(Turn::AtEnd);
            }
            // The places come first, so that nothing waits between reading and sending: an ending cannot come in
            // between and leave bytes counted and never settled.
            let events = self.parts.events.clone();
            let Ok(event_places) = events.reserve_many(PIECE_EVENTS).await else { return Ok(Turn::AtEnd) };
            let Ok(chunk_place) = self.parts.chunks.try_reserve() else { return Ok(Turn::Blocked) };
            if !self.parts.budget.has_room_for(READ_BYTES) {
                return Ok(Turn::Blocked);
            }
            failpoint::pass("tailing");
            let byte_count_before = tailed.file.byte_count();
            let complete = tailed.complete()?;
            let mut look = tailed.file.look(&mut self.buffer, complete)?;
            if std::mem::take(&mut tailed.is_failing) {
                tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), "file can be read again");
            }
            let has_grown = matches!(look, Look::Piece(..)) || tailed.file.byte_count() > byte_count_before;
            if has_grown && tailed.quiet_since.is_some() {
                tailed.quiet_since = Some(Instant::now());
            }
            let is_complete = tailed.quiet_since.is_some_and(|since| since.elapsed() >= COMPLETE_AFTER);
            if is_complete && matches!(look, Look::Waiting) {
                // Its unfinished last line will not be finished.
                look = tailed.file.look(&mut self.buffer, Complete::All)?;
            }
            if let Some(multiline) = &self.parts.flow.multiline {
                tailed.wait_for_record(inode, multiline.timeout, &mut self.due);
            }
            match look {
                Look::Piece(piece) => {
                    read_byte_count += piece.byte_count;
                    tailed.last_read = Instant::now();
                    if !piece.too_long.is_empty() && !std::mem::replace(&mut tailed.has_told_too_long, true) {
                        let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
                        let rule = self.parts.flow.line;
                        tracing::warn!(flow, %path, max_bytes = rule.max_bytes, too_long = ?rule.too_long, "a line is too long, the first in this file");
                    }
                    hand_on(piece, &tailed.file, &mut self.buffer, &self.parts, chunk_place, event_places);
                }
                Look::Waiting => {
                    drop((chunk_place, event_places));
                    if is_complete && tailed.is_gone {
                        self.let_go(inode).await;
                    } else if tailed.file.is_compressed() && tailed.file.is_at_end() {
                        tailed.file.close();
                    }
                    return Ok(Turn::AtEnd);
                }
                Look::Different => {
                    drop((chunk_place, event_places));
                    self.end_life(inode).await?;
                    let is_ready = self.try_establish(inode).await?;
                    return Ok(if is_ready { Turn::Read } else { Turn::AtEnd });
                }
            }
        }
        Ok(Turn::Read)
    }

    /// Opens a file if it is closed, and sees to it that it is known whose life is in it. False when it is not to be read.
    pub(super) async fn is_ready(&mut self, inode: Inode) -> io::Result<bool> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        if tailed.standing != Standing::Established {
            // To decide about a compressed file takes long: that is done in rescans, not with every notification.
            return if tailed.file.is_compressed() { Ok(false) } else { self.try_establish(inode).await };
        }
        if tailed.file.is_compressed() && tailed.file.is_at_end() {
            return Ok(false);
        }
        if !self.open(inode)? {
            // It was renamed or deleted.
            self.parts.hints.rescan();
            return Ok(false);
        }
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(false) };
        if tailed.file.content()? == Content::Different {
            self.end_life(inode).await?;
            return self.try_establish(inode).await;
        }
        self.report_seen(inode).await;
        Ok(true)
    }

    /// Reports what was seen of a file, if it is other than what was reported last.
    pub(super) async fn report_seen(&mut self, inode: Inode) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        let seen = tailed.file.seen();
        if tailed.reported.replace(seen) != Some(seen) {
            send(&self.parts.events, seen.event(tailed.file.key)).await;
        }
    }

    /// Waits until what is read would find a place.
    pub(super) async fn room(&self) {
        // A packer that is gone takes nothing any more.
        if self.parts.chunks.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.parts.budget.room_for(READ_BYTES).await;
    }

    pub(super) fn read_failed(&mut self, inode: Inode, error: &io::Error) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        if !std::mem::replace(&mut tailed.is_failing, true) {
            self.problems.add(problem_of(&tailed.file.path, error));
        }
    }
}

impl Seen {
    fn event(self, file: FileKey) -> Event {
        let Self { fingerprint, mark, byte_count } = self;
        Event::Seen { file, fingerprint, mark, byte_count }
    }
}

/// Sends a piece of `file`, with which `read` begins, on its way. Waits for nothing.
fn hand_on(
    piece: Piece,
    file: &TailedFile,
    read: &mut Vec<u8>,
    parts: &Parts,
    chunk_place: mpsc::Permit<'_, Chunk>,
    mut event_places: mpsc::PermitIterator<'_, Event>,
) {
    let Piece { start, byte_count, head, too_long, records, text, replaced_line_count } = piece;
    let mut report = |event| {
        if let Some(place) = event_places.next() {
            place.send(event);
        }
    };
    parts.budget.take(byte_count);
    parts.metrics.read_bytes.inc_by(byte_count as u64);
    parts.metrics.read_lines.inc_by(records.len() as u64);
    let span_of = |range: &Range<usize>| Span::new(file.key, start + range.start as u64, start + range.end as u64);
    let dropped = |spans, reason| Event::Settled(Settled { spans, outcome: Outcome::Dropped(reason) });
    // A piece has only one of the two, and so there is one report.
    if let Some((byte_count, reason)) = head {
        report(dropped([span_of(&(0..byte_count))].into_iter().collect(), reason));
    } else if !too_long.is_empty() {
        report(dropped(too_long.iter().map(span_of).collect(), DropReason::TooLong));
    }
    report(file.seen().event(file.key));
    if replaced_line_count > 0 && parts.metrics.replaced_characters_lines.inc_by(replaced_line_count) == 0 {
        let (flow, path, encoding) = (&parts.metrics.name, file.path.display(), parts.flow.line.encoding);
        tracing::warn!(flow, %path, ?encoding, "a line is malformed in its encoding, it is sent with U+FFFD instead; the first of this flow");
    }
    if !records.is_empty() {
        let (path, bytes) = (Arc::clone(&file.path), text.unwrap_or_else(|| beginning_of(read, byte_count)));
        let header = file.header().cloned();
        chunk_place.send(Chunk { file: file.key, path, offset: start, bytes, lines: records, header, read_at: Instant::now() });
    }
}

/// The first `byte_count` bytes of `read`: without copying them where there is not much else, so that nothing takes up much more
/// memory than it counts for.
fn beginning_of(read: &mut Vec<u8>, byte_count: usize) -> Vec<u8> {
    if byte_count < read.capacity() / 4 * 3 {
        return read[..byte_count].to_vec();
    }
    read.truncate(byte_count);
    std::mem::take(read)
}
