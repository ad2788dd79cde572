//! Files into chunks of lines, each with its span.
//!
//! One tailer reads all files of a flow side by side, each in turn, never more than the flow's budget ahead of
//! what is settled. Notifications are hints that bring a file's turn forward; stat and read are the truth, and
//! a rescan finds whatever no hint told of. What is settled it learns once, when a file is opened; from then on
//! it only reads forward. What becomes of a line is not its business.

mod charset;
mod claims;
mod contradiction;
mod encoding;
mod file;
mod gzip;
mod header;
mod identity;
mod known;
mod lines;
mod lives;
mod lost;
mod multiline;
mod newest;
mod open;
mod problems;
mod reader;
mod source;
mod tailed;
mod turn;
mod verdict;
mod whereabouts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use self::charset::utf_8_cut_before;
pub use self::contradiction::Contradictions;
use self::file::Inode;
pub use self::file::OpenFile;
use self::known::KnownLives;
pub use self::lines::{Line, first_lines};
pub use self::newest::{Position, UnfitPosition, row_at, row_before_newest};
use self::problems::Problems;
use self::reader::Rules;
use self::tailed::{Standing, Tailed};
use self::turn::Turn;
pub(crate) use self::verdict::is_compressed_name;
pub use self::whereabouts::{Whereabouts, Wheres, is_row_of_file_at};
use crate::budget::Budget;
use crate::checkpointer::Event;
use crate::config::{Flow, StartAt};
use crate::discovery::{Globs, Hints, Watch};
use crate::gate::Gate;
use crate::limits::{FIGURES_INTERVAL, HINTS_REST, RESCAN_CPU_MAX, RESCAN_DEBOUNCE, RESCAN_RARE, RESCAN_REST};
use crate::metrics::FlowMetrics;
use crate::offsets::Row;
use crate::progress;
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
    /// The last line of the file's header, if that names the columns: as UTF-8, without terminator. None where the format has no
    /// use for it, and where it is too long.
    pub header: Option<Arc<[u8]>>,
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
    /// Files that the run before had open.
    pub open_files: Vec<OpenFile>,
    /// This flow has never looked at its files before.
    pub is_first_start: bool,
    /// Where chunks go.
    pub chunks: mpsc::Sender<Chunk>,
    /// Where lives of files and dropped bytes are reported.
    pub events: mpsc::Sender<Event>,
    /// Where it says which lives begin.
    pub gate: Gate,
    /// How long it is known what was sent of a file that is gone.
    pub forget_after: Duration,
    /// What may be read and not settled, and how many files may be open at once.
    pub budget: Budget,
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
    /// Some tailed file was not found by the last rescan.
    has_gone: bool,
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

impl Tailer {
    /// A tailer that has opened nothing yet.
    pub fn new(mut parts: Parts) -> Self {
        let rows = std::mem::take(&mut parts.rows);
        let new_files_start_at = if parts.is_first_start { parts.flow.start_at } else { StartAt::Beginning };
        let (known, forgotten) = KnownLives::new(rows, since_1970(), parts.forget_after);
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
            has_gone: false,
            has_looked_through: false,
            is_once: false,
            is_calm: false,
            has_new_figures: false,
            figures_made_at: Instant::now(),
            buffer: Vec::new(),
        }
    }

    /// Tails until `stop` is true, or, with [`Mode::Once`], until all is read. Returns the files that are open.
    pub async fn run(mut self, mode: Mode, mut stop: watch::Receiver<bool>) -> Vec<OpenFile> {
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
        self.files.into_values().filter_map(|tailed| tailed.file.into_open_file()).collect()
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
        progress::watches_files();
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
        let mut hints_taken_at = Instant::now();
        loop {
            if Instant::now() >= rescan_at {
                let (begun, cpu_time_before) = (Instant::now(), thread_cpu_time());
                self.rescan().await;
                progress::watches_files();
                let interval = self.parts.flow.rescan;
                rest_until = Instant::now() + interval.min(begun.elapsed() * RESCAN_REST);
                let cpu_time = thread_cpu_time().saturating_sub(cpu_time_before);
                rescan_at = Instant::now() + if self.is_calm { rare(interval, cpu_time) } else { interval };
            }
            let noticed = hints.take();
            if !noticed.written.is_empty() {
                hints_taken_at = Instant::now();
            }
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
                        // Who writes line by line is not looked at with each of them.
                        () = hints.noticed() => sleep_until((hints_taken_at + HINTS_REST).min(until)).await,
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
