//! Files into chunks of lines, each with its span.
//!
//! One tailer reads all files of a flow side by side, each in turn, never more than the flow's budget ahead of
//! what is settled. Notifications are hints that bring a file's turn forward; stat and read are the truth, and
//! a rescan finds whatever no hint told of. What is settled it learns once, when a file is opened; from then on
//! it only reads forward. What becomes of a line is not its business.

mod charset;
mod encoding;
mod file;
mod known;
mod lines;
mod lives;
mod problems;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::encoding::{Utf8, to_utf_8};
use self::file::{Beginning, Inode, Look, TailedFile};
use self::known::KnownLives;
pub use self::lines::Line;
use self::problems::{Problems, problem_of};
use crate::budget::Budget;
use crate::checkpointer::Event;
use crate::config::{Flow, StartAt};
use crate::discovery::{Globs, Hints, Watch};
use crate::limits::{READ_BYTES, RESCAN_DEBOUNCE, RESCAN_INTERVAL, RESCAN_REST, ROUND_BYTES};
use crate::metrics::FlowMetrics;
use crate::offsets::Row;
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{FileKey, Span};

/// A file that no glob matches any more is let go when nothing was added to it for so long.
const LET_GO_AFTER: Duration = Duration::from_secs(30);

/// Some lines of one file, in order.
#[derive(Debug)]
pub struct Chunk {
    /// The file.
    pub file: FileKey,
    /// Where it was last seen.
    pub path: Arc<Path>,
    /// Where in the file what was read begins.
    pub offset: u64,
    /// What was read, as UTF-8 when the flow says what it is.
    pub bytes: Vec<u8>,
    /// The lines in `bytes`.
    pub lines: Vec<Line>,
    /// When.
    pub read_at: Instant,
}

impl Chunk {
    /// The text of a line of this chunk.
    pub fn text(&self, line: &Line) -> &[u8] {
        &self.bytes[line.text.clone()]
    }

    /// The bytes of the file that a line of this chunk takes up.
    pub fn span(&self, line: &Line) -> Span {
        Span::new(self.file, self.offset + line.whole.start as u64, self.offset + line.whole.end as u64)
    }
}

/// How long to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until told to stop.
    Follow,
    /// Until everything that is there at the beginning has been read, unfinished last lines included.
    Once,
}

/// What a tailer is made of.
pub struct Parts {
    /// Index of the flow in the configuration.
    pub flow_index: usize,
    /// The flow.
    pub flow: Arc<Flow>,
    /// Its patterns, compiled.
    pub globs: Globs,
    /// Where changes are told.
    pub hints: Hints,
    /// What tells them; without it rescans do all.
    pub watch: Option<Watch>,
    /// The rows of this flow in the store.
    pub rows: Vec<(FileKey, Row)>,
    /// This flow has never looked at its files before.
    pub is_first_start: bool,
    /// Where chunks go.
    pub chunks: mpsc::Sender<Chunk>,
    /// Where lives of files and dropped bytes are reported.
    pub events: mpsc::Sender<Event>,
    /// What may be read and not settled.
    pub budget: Budget,
    /// Counts what is read.
    pub metrics: FlowMetrics,
    /// Draws file keys.
    pub random: fastrand::Rng,
}

/// The task.
pub struct Tailer {
    parts: Parts,
    known: KnownLives,
    files: BTreeMap<Inode, Tailed>,
    by_path: HashMap<PathBuf, Inode>,
    /// Files in which there may be something to read.
    unread: BTreeSet<Inode>,
    /// The file that had its turn last: turns go round.
    last_turn: Option<Inode>,
    problems: Problems,
    /// Where a file that was never seen starts: those that come after the first look at their beginning.
    new_files_start_at: StartAt,
    buffer: Vec<u8>,
}

struct Tailed {
    file: TailedFile,
    /// With [`Mode::Once`]: where it ended at the beginning.
    finish: Option<u64>,
    /// The last attempt to read it failed, and that was told.
    is_failing: bool,
    /// That it has a line which is too long was told.
    has_told_too_long: bool,
    /// No glob matches it any more; since when nothing was added to it.
    gone_since: Option<Instant>,
}

/// How a file's turn ended, or that none had one.
#[derive(PartialEq, Eq)]
enum Turn {
    /// It had its share, and may have more.
    Read,
    /// There is nothing more to read in it now.
    AtEnd,
    /// What is read would find no place: the next stage is busy, or the budget is used up.
    Blocked,
    /// Nothing is to be read in any file.
    Nothing,
}

impl Tailer {
    /// A tailer that has opened nothing yet.
    pub fn new(mut parts: Parts) -> Self {
        let rows = std::mem::take(&mut parts.rows);
        let new_files_start_at = if parts.is_first_start { parts.flow.start_at } else { StartAt::Beginning };
        Self {
            known: KnownLives::new(rows),
            problems: Problems::new(parts.metrics.clone()),
            parts,
            files: BTreeMap::new(),
            by_path: HashMap::new(),
            unread: BTreeSet::new(),
            last_turn: None,
            new_files_start_at,
            buffer: Vec::new(),
        }
    }

    /// Tails until `stop` is true, or, with [`Mode::Once`], until all is read.
    pub async fn run(mut self, mode: Mode, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            // A sender of `stop` that is gone means the same.
            _ = stop.wait_for(|stop| *stop) => {}
            () = async {
                match mode {
                    Mode::Follow => self.follow().await,
                    Mode::Once => self.read_once().await,
                }
            } => {}
        }
    }

    async fn read_once(&mut self) {
        // Everything that is there was asked for, whatever `start_at` says.
        self.new_files_start_at = StartAt::Beginning;
        self.rescan().await;
        if self.parts.hints.take().rescan {
            // Something was replaced while it was looked at.
            self.rescan().await;
        }
        for (inode, tailed) in &mut self.files {
            tailed.finish = Some(tailed.file.byte_count());
            self.unread.insert(*inode);
        }
        loop {
            match self.next_turn().await {
                Turn::Nothing => return self.problems.conclude(),
                Turn::Blocked => self.room().await,
                Turn::Read | Turn::AtEnd => tokio::task::yield_now().await,
            }
        }
    }

    async fn follow(&mut self) {
        let hints = self.parts.hints.clone();
        let mut rescan_at = Instant::now();
        let mut rescan_took = Duration::ZERO;
        loop {
            if Instant::now() >= rescan_at {
                let begun = Instant::now();
                self.rescan().await;
                rescan_took = begun.elapsed();
                rescan_at = Instant::now() + RESCAN_INTERVAL;
            }
            let noticed = hints.take();
            self.unread.extend(noticed.written.iter().filter_map(|path| inode_at(path, &self.by_path, &self.files)));
            if noticed.rescan {
                rescan_at = rescan_at.min(Instant::now() + RESCAN_DEBOUNCE.max(rescan_took * RESCAN_REST));
            }
            match self.next_turn().await {
                Turn::Read | Turn::AtEnd => tokio::task::yield_now().await,
                Turn::Nothing => {
                    self.show_lag();
                    tokio::select! {
                        biased;
                        () = hints.noticed() => {}
                        () = sleep_until(rescan_at) => {}
                    }
                }
                // However long an outage is, new files are opened, so that they can be read when they are gone.
                Turn::Blocked => {
                    self.show_lag();
                    tokio::select! {
                        biased;
                        () = self.room() => {}
                        () = sleep_until(rescan_at.min(Instant::now() + RESCAN_DEBOUNCE)) => {}
                    }
                }
            }
        }
    }

    /// Gives the next file with something to read its turn.
    async fn next_turn(&mut self) -> Turn {
        let after_last = self.last_turn.and_then(|last| self.unread.range((Bound::Excluded(last), Bound::Unbounded)).next());
        let Some(inode) = after_last.or(self.unread.first()).copied() else { return Turn::Nothing };
        self.last_turn = Some(inode);
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

    async fn turn(&mut self, inode: Inode) -> io::Result<Turn> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Turn::AtEnd) };
        match tailed.file.beginning()? {
            Beginning::Same => {}
            Beginning::Grown(fingerprint) => send(&self.parts.events, Event::Identified(tailed.file.key, fingerprint)).await,
            Beginning::Different => self.begin_new_life(inode).await?,
        }
        let mut read_byte_count = 0;
        while read_byte_count < ROUND_BYTES {
            let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Turn::AtEnd) };
            if tailed.finish.is_some_and(|end| tailed.file.position() >= end) {
                return Ok(Turn::AtEnd);
            }
            // The places come first, so that nothing waits between reading and sending: an ending cannot come in
            // between and leave bytes counted and never settled.
            let events = self.parts.events.clone();
            let Ok(event_place) = events.reserve().await else { return Ok(Turn::AtEnd) };
            let Ok(chunk_place) = self.parts.chunks.try_reserve() else { return Ok(Turn::Blocked) };
            if !self.parts.budget.has_room_for(READ_BYTES) {
                return Ok(Turn::Blocked);
            }
            let byte_count_before = tailed.file.byte_count();
            let mut look = tailed.file.look(&mut self.buffer, tailed.finish.is_some())?;
            if std::mem::take(&mut tailed.is_failing) {
                tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), "file can be read again");
            }
            let has_grown = matches!(look, Look::Piece(..)) || tailed.file.byte_count() > byte_count_before;
            if has_grown && tailed.gone_since.is_some() {
                tailed.gone_since = Some(Instant::now());
            }
            let is_let_go = tailed.gone_since.is_some_and(|since| since.elapsed() >= LET_GO_AFTER);
            if is_let_go && matches!(look, Look::Waiting) {
                // Its unfinished last line will not be finished.
                look = tailed.file.look(&mut self.buffer, true)?;
            }
            match look {
                Look::Piece(offset, pieces) => {
                    read_byte_count += pieces.consumed;
                    if !pieces.too_long.is_empty() && !std::mem::replace(&mut tailed.has_told_too_long, true) {
                        let (flow, path) = (&self.parts.metrics.name, tailed.file.path.display());
                        let rule = self.parts.flow.line;
                        tracing::warn!(flow, %path, max_bytes = rule.max_bytes, too_long = ?rule.too_long, "a line is too long, the first in this file");
                    }
                    let piece = Piece { file: &tailed.file, offset, bytes: &self.buffer[..pieces.consumed], pieces };
                    piece.hand_on(&self.parts, chunk_place, event_place);
                }
                Look::Waiting if is_let_go => {
                    drop((chunk_place, event_place));
                    self.let_go(inode).await;
                    return Ok(Turn::AtEnd);
                }
                Look::Waiting => return Ok(Turn::AtEnd),
                Look::Truncated => {
                    drop((chunk_place, event_place));
                    self.begin_new_life(inode).await?;
                }
            }
        }
        Ok(Turn::Read)
    }

    /// Waits until what is read would find a place.
    async fn room(&self) {
        // A packer that is gone takes nothing any more.
        if self.parts.chunks.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.parts.budget.room_for(READ_BYTES).await;
    }

    fn read_failed(&mut self, inode: Inode, error: &io::Error) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        if !std::mem::replace(&mut tailed.is_failing, true) {
            self.problems.add(problem_of(&tailed.file.path, error));
        }
    }

    fn show_lag(&self) {
        let lag: u64 = self.files.values().map(Tailed::lag).sum();
        self.parts.metrics.lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }
}

impl Tailed {
    fn new(file: TailedFile) -> Self {
        Self { file, finish: None, is_failing: false, has_told_too_long: false, gone_since: None }
    }

    /// It has grown, or was truncated, or may be let go.
    fn is_worth_a_look(&self) -> bool {
        self.file.byte_count() != self.file.position() || self.gone_since.is_some()
    }

    fn lag(&self) -> u64 {
        self.file.byte_count().saturating_sub(self.file.position())
    }
}

/// What was read of a file in one piece.
struct Piece<'a> {
    file: &'a TailedFile,
    offset: u64,
    bytes: &'a [u8],
    pieces: lines::Pieces,
}

impl Piece<'_> {
    /// Sends it on its way. Waits for nothing.
    fn hand_on(self, parts: &Parts, chunk_place: mpsc::Permit<'_, Chunk>, event_place: mpsc::Permit<'_, Event>) {
        let Self { file: &TailedFile { key: file, ref path, .. }, offset, bytes, pieces } = self;
        parts.budget.take(bytes.len());
        parts.metrics.read_bytes.inc_by(bytes.len() as u64);
        parts.metrics.read_lines.inc_by(pieces.lines.len() as u64);
        // A piece has only one of the two, and so there is one report.
        if pieces.header_byte_count > 0 {
            let span = Span::new(file, offset, offset + pieces.header_byte_count as u64);
            let spans = [span].into_iter().collect();
            event_place.send(Event::Settled(Settled { spans, outcome: Outcome::Dropped(DropReason::Header) }));
        } else if !pieces.too_long.is_empty() {
            let span_of = |range: &Range<usize>| Span::new(file, offset + range.start as u64, offset + range.end as u64);
            let spans = pieces.too_long.iter().map(span_of).collect();
            event_place.send(Event::Settled(Settled { spans, outcome: Outcome::Dropped(DropReason::TooLong) }));
        }
        if !pieces.lines.is_empty() {
            let Utf8 { bytes, lines, replaced_line_count } = to_utf_8(pieces.charset, bytes, pieces.lines);
            if replaced_line_count > 0 && parts.metrics.replaced_characters_lines.inc_by(replaced_line_count) == 0 {
                let (flow, path, encoding) = (&parts.metrics.name, path.display(), parts.flow.line.encoding);
                tracing::warn!(flow, %path, ?encoding, "a line is malformed in its encoding, it is sent with U+FFFD instead; the first of this flow");
            }
            let (path, bytes) = (Arc::clone(path), bytes.into_owned());
            chunk_place.send(Chunk { file, path, offset, bytes, lines, read_at: Instant::now() });
        }
    }
}

/// The tailed file that was written to under this name, which may be another than the one it is tailed by.
fn inode_at(path: &Path, by_path: &HashMap<PathBuf, Inode>, files: &BTreeMap<Inode, Tailed>) -> Option<Inode> {
    let known = by_path.get(path).copied();
    known.or_else(|| std::fs::metadata(path).ok().map(|metadata| Inode::of(&metadata))).filter(|inode| files.contains_key(inode))
}

/// The checkpointer outlives the tailers; should it be gone, there is nothing left to tail for.
async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
