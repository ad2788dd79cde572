//! Files into chunks of lines, each with its span.
//!
//! One tailer reads all files of a flow side by side, each in turn, never more than the flow's budget ahead of
//! what is settled. Notifications are hints that bring a file's turn forward; stat and read are the truth, and
//! a rescan finds whatever no hint told of. What is settled it learns once, when a file is opened; from then on
//! it only reads forward. What becomes of a line is not its business.

mod file;
mod lines;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::file::{Inode, Look, TailedFile};
pub use self::lines::Line;
use crate::budget::Budget;
use crate::checkpointer::{Event, Opened};
use crate::config::{Flow, StartAt};
use crate::discovery::{Found, Globs, Hints, Problem, Watch};
use crate::limits::{FINGERPRINT_BYTES, RESCAN_DEBOUNCE, RESCAN_INTERVAL, ROUND_BYTES};
use crate::metrics::FlowMetrics;
use crate::offsets::{Fingerprint, Row};
use crate::settlement::{DropReason, Outcome, Settled, Settlement};
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
    /// Where in the file `bytes` begin.
    pub offset: u64,
    /// What was read.
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
    /// Lives that could go on, by inode: of the store, and those let go since.
    known: HashMap<Inode, Vec<Known>>,
    files: BTreeMap<Inode, Tailed>,
    by_path: HashMap<PathBuf, Inode>,
    /// Problems already reported that are still there.
    reported: BTreeSet<Problem>,
    /// No file of this flow was ever seen: those there now start at `start_at`.
    is_first_start: bool,
    buffer: Vec<u8>,
}

struct Known {
    key: FileKey,
    fingerprint: Fingerprint,
    settlement: Settlement,
}

struct Tailed {
    file: TailedFile,
    /// With [`Mode::Once`]: where it ended at the beginning.
    finish: Option<u64>,
    /// Size when last looked at.
    byte_count: u64,
    /// Greatest size seen in this life.
    byte_count_max: u64,
    /// The last attempt to read it failed, and that was told.
    is_failing: bool,
    /// Since when no glob matches it, or since it last grew after that.
    gone_since: Option<Instant>,
}

#[derive(PartialEq, Eq)]
enum Turn {
    MoreToRead,
    AtEnd,
}

impl Tailer {
    /// A tailer that has opened nothing yet.
    pub fn new(mut parts: Parts) -> Self {
        let rows = std::mem::take(&mut parts.rows);
        let is_first_start = rows.is_empty();
        let mut known: HashMap<Inode, Vec<Known>> = HashMap::new();
        for (key, row) in rows {
            let settlement = Settlement::new(row.watermark, row.settled_above);
            let inode = Inode { device: row.device, inode: row.inode };
            known.entry(inode).or_default().push(Known { key, fingerprint: row.fingerprint, settlement });
        }
        Self {
            parts,
            known,
            files: BTreeMap::new(),
            by_path: HashMap::new(),
            reported: BTreeSet::new(),
            is_first_start,
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
        self.rescan().await;
        for tailed in self.files.values_mut() {
            tailed.finish = Some(tailed.byte_count);
        }
        let mut unread: BTreeSet<Inode> = self.files.keys().copied().collect();
        while !unread.is_empty() {
            self.turns(&mut unread).await;
        }
    }

    async fn follow(&mut self) {
        let hints = self.parts.hints.clone();
        let mut rescan_at = Instant::now();
        let mut unread = BTreeSet::new();
        loop {
            if Instant::now() >= rescan_at {
                self.rescan().await;
                unread.extend(self.files.iter().filter(|(_, tailed)| tailed.is_worth_a_look()).map(|(inode, _)| *inode));
                rescan_at = Instant::now() + RESCAN_INTERVAL;
            }
            self.turns(&mut unread).await;
            if unread.is_empty() {
                tokio::select! {
                    () = hints.noticed() => {}
                    () = sleep_until(rescan_at) => {}
                }
            }
            let noticed = hints.take();
            unread.extend(noticed.written.iter().filter_map(|path| self.inode_at(path)));
            if noticed.rescan {
                rescan_at = rescan_at.min(Instant::now() + RESCAN_DEBOUNCE);
            }
        }
    }

    /// Gives each of the files a turn; those with nothing more to read are taken out.
    async fn turns(&mut self, unread: &mut BTreeSet<Inode>) {
        for inode in unread.clone() {
            let turn = match self.turn(inode).await {
                Ok(turn) => turn,
                Err(error) => {
                    self.read_failed(inode, &error);
                    Turn::AtEnd
                }
            };
            if turn == Turn::AtEnd {
                unread.remove(&inode);
            }
            // Chunks are sent without waiting while there is room: let the other stages in.
            tokio::task::yield_now().await;
        }
        self.show_lag();
    }

    async fn turn(&mut self, inode: Inode) -> io::Result<Turn> {
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Turn::AtEnd) };
        if let Some(fingerprint) = tailed.file.grown_fingerprint()? {
            send(&self.parts.events, Event::Identified(tailed.file.key, fingerprint)).await;
        }
        let mut read_byte_count = 0;
        while read_byte_count < ROUND_BYTES {
            let Some(tailed) = self.files.get_mut(&inode) else { return Ok(Turn::AtEnd) };
            let is_let_go = tailed.gone_since.is_some_and(|since| since.elapsed() >= LET_GO_AFTER);
            let finish = if is_let_go { Some(u64::MAX) } else { tailed.finish };
            let byte_count_before = tailed.byte_count;
            let look = tailed.file.look(&mut self.buffer, finish)?;
            let byte_count = tailed.file.byte_count()?;
            tailed.saw(byte_count);
            if std::mem::take(&mut tailed.is_failing) {
                tracing::info!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), "file can be read again");
            }
            match look {
                Look::Piece(offset, pieces) => {
                    read_byte_count += pieces.consumed;
                    if tailed.finish.is_none() && is_let_go && tailed.byte_count > byte_count_before {
                        tailed.gone_since = Some(Instant::now());
                    }
                    self.hand_on(inode, offset, pieces).await;
                }
                Look::Waiting if is_let_go => {
                    self.let_go(inode).await;
                    return Ok(Turn::AtEnd);
                }
                Look::Waiting => return Ok(Turn::AtEnd),
                Look::Truncated { read_until } => self.begin_new_life(inode, read_until).await?,
            }
        }
        Ok(Turn::MoreToRead)
    }

    /// Sends what was read on its way. Between taking the budget and the last send nothing waits, so that an
    /// ending in between cannot leave bytes counted and not sent.
    async fn hand_on(&mut self, inode: Inode, offset: u64, pieces: lines::Pieces) {
        let Some(tailed) = self.files.get(&inode) else { return };
        let file = tailed.file.key;
        let parts = &self.parts;
        let (Ok(chunk_place), Ok(event_place)) = (parts.chunks.reserve().await, parts.events.reserve().await) else {
            return std::future::pending().await;
        };
        parts.budget.take(pieces.consumed).await;
        parts.metrics.read_bytes.inc_by(pieces.consumed as u64);
        parts.metrics.read_lines.inc_by(pieces.lines.len() as u64);
        if !pieces.too_long.is_empty() {
            let span_of =
                |range: &std::ops::Range<usize>| Span::new(file, offset + range.start as u64, offset + range.end as u64);
            let spans = pieces.too_long.iter().map(span_of).collect();
            event_place.send(Event::Settled(Settled { spans, outcome: Outcome::Dropped(DropReason::TooLong) }));
        }
        if !pieces.lines.is_empty() {
            let bytes = self.buffer[..pieces.consumed].to_vec();
            let path = Arc::clone(&tailed.file.path);
            chunk_place.send(Chunk { file, path, offset, bytes, lines: pieces.lines, read_at: Instant::now() });
        }
    }

    /// The tailed file that was written to under this name, which may be another than the one it is tailed by.
    fn inode_at(&self, path: &Path) -> Option<Inode> {
        let known = self.by_path.get(path).copied();
        known
            .or_else(|| std::fs::metadata(path).ok().map(|metadata| Inode::of(&metadata)))
            .filter(|inode| self.files.contains_key(inode))
    }

    async fn rescan(&mut self) {
        let scan = self.parts.globs.scan();
        if let Some(watch) = &mut self.parts.watch
            && watch.set(scan.folders)
        {
            // What has come into a folder between the scan and its watch is found by the next scan.
            self.parts.hints.rescan();
        }
        let mut problems = scan.problems;
        let mut seen = BTreeSet::new();
        self.by_path.clear();
        for found in scan.files {
            let inode = Inode { device: found.device, inode: found.inode };
            if !self.files.contains_key(&inode)
                && let Err(error) = self.open(inode, &found).await
            {
                problems.push(problem_of(&found.path, &error));
                continue;
            }
            self.by_path.insert(found.path.clone(), inode);
            seen.insert(inode);
            self.found_again(inode, found).await;
        }
        for (inode, tailed) in &mut self.files {
            tailed.gone_since = if seen.contains(inode) { None } else { tailed.gone_since.or_else(|| Some(Instant::now())) };
        }
        self.report(problems);
        self.is_first_start = false;
        self.parts.metrics.open_files.set(i64::try_from(self.files.len()).unwrap_or(i64::MAX));
        self.show_lag();
    }

    async fn found_again(&mut self, inode: Inode, found: Found) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        tailed.saw(found.byte_count);
        if *tailed.file.path != *found.path {
            tracing::info!(flow = self.parts.metrics.name, from = %tailed.file.path.display(), to = %found.path.display(), "file was renamed");
            tailed.file.path = Arc::from(found.path);
            let event = Event::Renamed(tailed.file.key, Arc::clone(&tailed.file.path));
            send(&self.parts.events, event).await;
        }
    }

    async fn open(&mut self, inode: Inode, found: &Found) -> io::Result<()> {
        let handle = File::open(&found.path)?;
        if Inode::of(&handle.metadata()?) != inode {
            // Replaced since the scan: the next one finds what is there now.
            self.parts.hints.rescan();
            return Ok(());
        }
        let fingerprint = file::fingerprint(&handle, FINGERPRINT_BYTES)?;
        let (key, settlement) = match self.known_life(inode, &handle).await? {
            Some(life) => life,
            None => (self.new_key(), self.start_of_unknown(&handle)?),
        };
        let path: Arc<Path> = Arc::from(found.path.as_path());
        let position = settlement.watermark();
        let file = TailedFile::resume(key, Arc::clone(&path), handle, fingerprint, self.parts.flow.line, settlement.clone())?;
        tracing::debug!(flow = self.parts.metrics.name, path = %path.display(), position, "tailing file");
        let Inode { device, inode: number } = inode;
        let flow_index = self.parts.flow_index;
        let opened = Opened { file: key, flow_index, path, device, inode: number, fingerprint, settlement };
        send(&self.parts.events, Event::Opened(opened)).await;
        self.files.insert(inode, Tailed::new(file, found.byte_count));
        Ok(())
    }

    /// The life that goes on in this file, if one does; lives of the same inode that cannot are forgotten.
    async fn known_life(&mut self, inode: Inode, handle: &File) -> io::Result<Option<(FileKey, Settlement)>> {
        let mut life = None;
        let byte_count = handle.metadata()?.len();
        for known in self.known.remove(&inode).unwrap_or_default() {
            let beginning = file::fingerprint(handle, known.fingerprint.byte_count as usize)?;
            let goes_on = beginning == known.fingerprint && known.settlement.watermark() <= byte_count;
            if goes_on && life.is_none() {
                life = Some((known.key, known.settlement));
            } else {
                send(&self.parts.events, Event::Forgotten(known.key)).await;
            }
        }
        Ok(life)
    }

    fn start_of_unknown(&self, handle: &File) -> io::Result<Settlement> {
        let is_skipped = self.is_first_start && self.parts.flow.start_at == StartAt::End;
        let start = if is_skipped { file::start_of_last_line(handle, self.parts.flow.line.max_bytes)? } else { 0 };
        Ok(Settlement::new(start, []))
    }

    async fn begin_new_life(&mut self, inode: Inode, read_until: u64) -> io::Result<()> {
        let key = self.new_key();
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let unreachable = tailed.byte_count_max.saturating_sub(read_until);
        tailed.byte_count_max = 0;
        self.parts.metrics.unreachable_bytes.inc_by(unreachable);
        let path = Arc::clone(&tailed.file.path);
        tracing::info!(flow = self.parts.metrics.name, path = %path.display(), read_until, unreachable, "file was truncated, reading from its beginning");
        let ended = tailed.file.begin_again(key)?;
        let Inode { device, inode: number } = inode;
        let fingerprint = tailed.file.fingerprint;
        let flow_index = self.parts.flow_index;
        let settlement = Settlement::default();
        send(&self.parts.events, Event::Closed { file: ended, read_until, keep: false }).await;
        send(
            &self.parts.events,
            Event::Opened(Opened { file: key, flow_index, path, device, inode: number, fingerprint, settlement }),
        )
        .await;
        Ok(())
    }

    async fn let_go(&mut self, inode: Inode) {
        let Some(tailed) = self.files.remove(&inode) else { return };
        let read_until = tailed.file.position();
        tracing::debug!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), read_until, "file is gone, letting it go");
        send(&self.parts.events, Event::Closed { file: tailed.file.key, read_until, keep: true }).await;
        let settlement = Settlement::new(read_until, []);
        let known = Known { key: tailed.file.key, fingerprint: tailed.file.fingerprint, settlement };
        self.known.entry(inode).or_default().push(known);
    }

    fn new_key(&mut self) -> FileKey {
        FileKey(self.parts.random.u64(..))
    }

    fn read_failed(&mut self, inode: Inode, error: &io::Error) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        if !std::mem::replace(&mut tailed.is_failing, true) {
            let problem = problem_of(&tailed.file.path, error);
            self.log(&problem);
        }
    }

    /// Each problem is told once, and again when it comes back after it was gone.
    fn report(&mut self, problems: Vec<Problem>) {
        let reported = std::mem::take(&mut self.reported);
        for problem in problems {
            if !reported.contains(&problem) {
                self.log(&problem);
            }
            self.reported.insert(problem);
        }
    }

    fn log(&self, problem: &Problem) {
        self.parts.metrics.file_problem(problem.reason);
        tracing::warn!(flow = self.parts.metrics.name, path = %problem.path.display(), reason = problem.reason, "cannot tail: {}", problem.message);
    }

    fn show_lag(&self) {
        let lag: u64 = self.files.values().map(Tailed::lag).sum();
        self.parts.metrics.lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }
}

impl Tailed {
    fn new(file: TailedFile, byte_count: u64) -> Self {
        Self { file, finish: None, byte_count, byte_count_max: byte_count, is_failing: false, gone_since: None }
    }

    fn saw(&mut self, byte_count: u64) {
        self.byte_count = byte_count;
        self.byte_count_max = self.byte_count_max.max(byte_count);
    }

    /// It has grown, or was truncated, or may be let go.
    fn is_worth_a_look(&self) -> bool {
        self.byte_count != self.file.position() || self.gone_since.is_some()
    }

    fn lag(&self) -> u64 {
        self.byte_count.saturating_sub(self.file.position())
    }
}

/// The checkpointer outlives the tailers; should it be gone, there is nothing left to tail for.
async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        std::future::pending().await
    }
}

fn problem_of(path: &Path, error: &io::Error) -> Problem {
    let reason = match error.kind() {
        io::ErrorKind::PermissionDenied => "permission_denied",
        io::ErrorKind::NotFound => "vanished",
        _ => "unreadable",
    };
    Problem { path: path.to_owned(), reason, message: error.to_string() }
}
