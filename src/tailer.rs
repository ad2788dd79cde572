//! Files into chunks of lines, each with its span.
//!
//! One tailer reads all files of a flow side by side, each in turn, never more than the flow's budget ahead of
//! what is settled. Notifications are hints that bring a file's turn forward; stat and read are the truth, and
//! a rescan finds whatever no hint told of. What is settled it learns once, when a file is opened; from then on
//! it only reads forward. What becomes of a line is not its business.

mod charset;
mod claims;
mod encoding;
mod file;
mod gzip;
mod identity;
mod known;
mod lines;
mod lives;
mod multiline;
mod problems;
mod reader;
mod source;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::claims::Standing;
use self::file::{Content, Inode, Look, TailedFile};
use self::known::KnownLives;
pub use self::lines::Line;
use self::problems::{Problems, problem_of};
use self::reader::{Complete, Piece, Rules};
use crate::budget::Budget;
use crate::checkpointer::Event;
use crate::config::{Flow, StartAt};
use crate::discovery::{Globs, Hints, Watch};
use crate::limits::{
    COMPLETE_AFTER, FIGURES_INTERVAL, READ_BYTES, RESCAN_CPU_MAX, RESCAN_DEBOUNCE, RESCAN_RARE, RESCAN_REST, ROUND_BYTES,
};
use crate::metrics::FlowMetrics;
use crate::offsets::{Fingerprint, Mark, Row};
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{FileKey, Span};

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
    /// Files that may be open at once.
    pub open_files_max: usize,
    /// Counts what is read.
    pub metrics: FlowMetrics,
    /// Draws file keys.
    pub random: fastrand::Rng,
}

/// The task.
pub struct Tailer {
    parts: Parts,
    rules: Arc<Rules>,
    known: KnownLives,
    /// Rows of lives that were gone for too long.
    forgotten: Vec<FileKey>,
    files: BTreeMap<Inode, Tailed>,
    /// Files by where the last rescan has found them.
    by_path: HashMap<Arc<Path>, Inode>,
    /// Files in which there may be something to read.
    unread: BTreeSet<Inode>,
    /// Files with a record that may still go on, by when it is complete if nothing comes.
    due: BTreeSet<(Instant, Inode)>,
    /// The file that had its turn last: turns go round.
    last_turn: Option<Inode>,
    /// Files that are open, or a few more: it is counted anew at each rescan.
    open_count: usize,
    problems: Problems,
    /// Where a file that was never seen starts: those that come after the first look at their beginning.
    new_files_start_at: StartAt,
    /// The globs were not expanded yet.
    is_first_scan: bool,
    /// A compressed file never seen was looked through in this rescan: that takes long, and others wait.
    has_looked_through: bool,
    /// Only what is there at the beginning is read.
    is_once: bool,
    /// As far as the last rescan knows, notifications tell of all that will happen, and nothing is waited for.
    is_calm: bool,
    /// A file had its turn since the figures were made.
    has_new_figures: bool,
    figures_made_at: Instant,
    buffer: Vec<u8>,
}

struct Tailed {
    file: TailedFile,
    standing: Standing,
    /// Its life was reported; also before anything is in it, so that after a restart it is looked for where it is then.
    is_announced: bool,
    /// It has other content now than it once had.
    is_rewritten: bool,
    /// With [`Mode::Once`]: where it ended at the beginning.
    finish: Option<u64>,
    /// The last attempt to read it failed, and that was told.
    is_failing: bool,
    /// That it has a line which is too long was told.
    has_told_too_long: bool,
    /// No glob matches it any more.
    is_gone: bool,
    /// Where a glob has led to it last.
    matched_path: Arc<Path>,
    /// The rescan that goes on just now has found it.
    is_found: bool,
    /// The name that it had before, until it is known whether another file has taken that.
    renamed_from: Option<Arc<Path>>,
    /// Another file has.
    is_superseded: bool,
    /// Since when nothing was added to a file that is gone or superseded.
    quiet_since: Option<Instant>,
    /// What of it was reported last.
    reported: Option<Seen>,
    /// When it was read last.
    last_read: Instant,
    /// A record in it may still go on: how far the file reached when that was found, and until when it is waited for.
    open_record: Option<(u64, Instant)>,
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
        let (known, forgotten) = KnownLives::new(rows, since_1970());
        Self {
            rules: Arc::new(Rules::of(&parts.flow)),
            known,
            forgotten,
            problems: Problems::new(parts.metrics.clone()),
            parts,
            files: BTreeMap::new(),
            by_path: HashMap::new(),
            unread: BTreeSet::new(),
            due: BTreeSet::new(),
            last_turn: None,
            open_count: 0,
            new_files_start_at,
            is_first_scan: true,
            has_looked_through: false,
            is_once: false,
            is_calm: false,
            has_new_figures: false,
            figures_made_at: Instant::now(),
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
        self.is_once = true;
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
                Turn::Nothing => {
                    self.give_up_all().await;
                    return self.problems.conclude();
                }
                Turn::Blocked => self.room().await,
                Turn::Read | Turn::AtEnd => tokio::task::yield_now().await,
            }
        }
    }

    async fn follow(&mut self) {
        let hints = self.parts.hints.clone();
        let mut rescan_at = Instant::now();
        let mut rest_until = Instant::now();
        loop {
            if Instant::now() >= rescan_at {
                let (begun, cpu_time_before) = (Instant::now(), thread_cpu_time());
                self.rescan().await;
                let interval = self.parts.flow.rescan;
                rest_until = Instant::now() + interval.min(begun.elapsed() * RESCAN_REST);
                let cpu_time = thread_cpu_time().saturating_sub(cpu_time_before);
                rescan_at = Instant::now() + if self.is_calm { rare(interval, cpu_time) } else { interval };
            }
            let noticed = hints.take();
            self.unread.extend(noticed.written.iter().filter_map(|path| inode_at(path, &self.by_path, &self.files)));
            if noticed.rescan {
                rescan_at = rescan_at.min((Instant::now() + RESCAN_DEBOUNCE).max(rest_until));
            }
            while let Some((_, inode)) = self.due.first().copied().filter(|(until, _)| *until <= Instant::now()) {
                self.due.pop_first();
                self.unread.insert(inode);
            }
            match self.next_turn().await {
                Turn::Read | Turn::AtEnd => tokio::task::yield_now().await,
                Turn::Nothing => {
                    let due = [self.due.first().map(|(until, _)| *until), self.show_new_figures()];
                    let until = due.into_iter().flatten().fold(rescan_at, Instant::min);
                    tokio::select! {
                        biased;
                        () = hints.noticed() => {}
                        () = sleep_until(until) => {}
                    }
                }
                // However long an outage is, new files are opened, so that they can be read when they are gone.
                Turn::Blocked => {
                    self.show_new_figures();
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

    async fn turn(&mut self, inode: Inode) -> io::Result<Turn> {
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
                    let read = &self.buffer[..piece.byte_count];
                    hand_on(piece, &tailed.file, read, &self.parts, chunk_place, event_places);
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
    async fn is_ready(&mut self, inode: Inode) -> io::Result<bool> {
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
    async fn report_seen(&mut self, inode: Inode) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        let seen = tailed.file.seen();
        if tailed.reported.replace(seen) != Some(seen) {
            send(&self.parts.events, seen.event(tailed.file.key)).await;
        }
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

    /// Shows the figures if files had their turns and that was not done a moment ago; else returns when it is to be done.
    fn show_new_figures(&mut self) -> Option<Instant> {
        let due_at = self.has_new_figures.then_some(self.figures_made_at + FIGURES_INTERVAL)?;
        if Instant::now() < due_at {
            return Some(due_at);
        }
        self.show_figures();
        None
    }

    fn show_figures(&mut self) {
        (self.has_new_figures, self.figures_made_at) = (false, Instant::now());
        let (mut lag_bytes, mut open, mut tailed_files, mut copies, mut compressed) = (0, 0, 0, 0, 0);
        for tailed in self.files.values() {
            lag_bytes += tailed.lag();
            open += u64::from(tailed.file.is_open());
            match tailed.standing {
                Standing::Established => tailed_files += 1,
                Standing::Copy(_) => copies += 1,
                Standing::Ignored => compressed += 1,
                Standing::New => {}
            }
        }
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.parts.metrics;
        metrics.lag_bytes.set(gauge(lag_bytes));
        metrics.open_files.set(gauge(open));
        metrics.tailed_files.set(gauge(tailed_files));
        metrics.skipped_files("copy", gauge(copies));
        metrics.skipped_files("compressed", gauge(compressed));
    }

    /// The time, in seconds since 1970.
    fn now(&self) -> u64 {
        since_1970().as_secs()
    }
}

/// Events that go with a piece: what was dropped of it, and that it was read.
const PIECE_EVENTS: usize = 2;

/// What the checkpointer learns of a file that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    fingerprint: Fingerprint,
    mark: Mark,
    byte_count: u64,
}

impl Seen {
    fn event(self, file: FileKey) -> Event {
        let Self { fingerprint, mark, byte_count } = self;
        Event::Seen { file, fingerprint, mark, byte_count }
    }
}

impl Tailed {
    fn new(file: TailedFile) -> Self {
        Self {
            matched_path: Arc::clone(&file.path),
            file,
            standing: Standing::New,
            is_announced: false,
            is_rewritten: false,
            finish: None,
            is_failing: false,
            has_told_too_long: false,
            is_gone: false,
            is_found: false,
            renamed_from: None,
            is_superseded: false,
            quiet_since: None,
            reported: None,
            last_read: Instant::now(),
            open_record: None,
        }
    }

    /// A record that may still go on is waited for as long as the file grows, and `timeout` longer.
    fn wait_for_record(&mut self, inode: Inode, timeout: Duration, due: &mut BTreeSet<(Instant, Inode)>) {
        let before = self.open_record.take();
        self.open_record = self.file.open_record_at().map(|reach| match before {
            Some((reach_before, until)) if reach_before == reach && until > Instant::now() => (reach, until),
            _ => (reach, Instant::now() + timeout),
        });
        if let Some((_, until)) = before {
            due.remove(&(until, inode));
        }
        if let Some((_, until)) = self.open_record {
            due.insert((until, inode));
        }
    }

    /// How much of what has no end is taken to be complete.
    fn complete(&mut self) -> io::Result<Complete> {
        let waited_for = self.open_record.filter(|(_, until)| *until <= Instant::now());
        Ok(match waited_for {
            _ if self.finish.is_some() => Complete::All,
            // Unless there is more of it by now.
            Some((reach, _)) if self.file.byte_count_now()? <= reach => Complete::Record,
            _ => Complete::Nothing,
        })
    }

    /// It has grown, or was truncated, or may be let go.
    fn is_worth_a_look(&self) -> bool {
        match self.standing {
            Standing::Established => self.file.is_worth_a_look() || self.is_gone,
            Standing::New | Standing::Copy(_) => !self.file.is_compressed() && self.file.byte_count() > 0,
            Standing::Ignored => false,
        }
    }

    /// What becomes of it is decided in a rescan, and no notification will bring that forward.
    fn is_waited_for(&self) -> bool {
        let is_unfinished = self.quiet_since.is_some() && !self.file.is_at_end();
        self.is_gone || self.is_failing || is_unfinished || matches!(self.standing, Standing::Copy(_))
    }

    fn lag(&self) -> u64 {
        match self.standing {
            Standing::New if self.file.is_compressed() => 0,
            Standing::Established | Standing::New => self.file.byte_count().saturating_sub(self.file.position()),
            Standing::Copy(_) | Standing::Ignored => 0,
        }
    }
}

/// Sends a piece of `file`, of which `read` are the bytes, on its way. Waits for nothing.
fn hand_on(
    piece: Piece,
    file: &TailedFile,
    read: &[u8],
    parts: &Parts,
    chunk_place: mpsc::Permit<'_, Chunk>,
    mut event_places: mpsc::PermitIterator<'_, Event>,
) {
    let Piece { start, head, too_long, records, text, replaced_line_count, .. } = piece;
    let mut report = |event| {
        if let Some(place) = event_places.next() {
            place.send(event);
        }
    };
    parts.budget.take(read.len());
    parts.metrics.read_bytes.inc_by(read.len() as u64);
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
        let (path, bytes) = (Arc::clone(&file.path), text.unwrap_or_else(|| read.to_vec()));
        chunk_place.send(Chunk { file: file.key, path, offset: start, bytes, lines: records, read_at: Instant::now() });
    }
}

/// The interval between rescans that take so much processor time each: longer when there are very many files.
fn rare(interval: Duration, cpu_time: Duration) -> Duration {
    let growth = cpu_time.div_duration_f64(RESCAN_CPU_MAX).max(1.0);
    interval.mul_f64(growth).min(RESCAN_RARE).max(interval)
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The tailed file that was written to under this name, which may be another than the one it is tailed by.
fn inode_at(path: &Path, by_path: &HashMap<Arc<Path>, Inode>, files: &BTreeMap<Inode, Tailed>) -> Option<Inode> {
    let known = by_path.get(path).copied();
    known.or_else(|| std::fs::metadata(path).ok().map(|metadata| Inode::of(&metadata))).filter(|inode| files.contains_key(inode))
}

/// The checkpointer outlives the tailers; should it be gone, there is nothing left to tail for.
async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
