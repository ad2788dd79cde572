//! Pieces of files from the real tailer, each with what the tailer itself dropped before it.
//!
//! Nothing is settled, stored or sent. The tailer is never more than a chunk ahead.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::budget::{Budget, Share};
use crate::checkpointer::Event;
use crate::config::Flow;
use crate::discovery::{Globs, Hints};
use crate::gate::Gate;
use crate::limits::{EVENTS_WAITING, FORGET_AFTER_DEFAULT};
use crate::metrics::Metrics;
use crate::offsets::Row;
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{FileKey, Span};
use crate::tailer::{Chunk, Line, Mode, Parts, Tailer};

/// Files that are open at once: far below the limit that shells give.
const OPEN_FILES_MAX: usize = 128;

/// What the tailer of a flow reads.
pub(super) struct Reading {
    chunks: mpsc::Receiver<Chunk>,
    events: mpsc::Receiver<Event>,
    /// Of all files that were opened.
    paths: HashMap<FileKey, Arc<Path>>,
    dropped: Vec<Dropped>,
    /// The tailer ends when this is gone.
    _stop: watch::Sender<bool>,
}

/// Bytes that never became a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) path: Arc<Path>,
    pub(super) span: Span,
    pub(super) reason: DropReason,
}

/// Some lines of one file, and what was dropped before or between them.
pub(super) struct Piece {
    dropped: Vec<Dropped>,
    chunk: Option<Chunk>,
}

/// One of them.
pub(super) enum Item<'p> {
    Line(&'p Chunk, &'p Line),
    Dropped(&'p Dropped),
}

impl Reading {
    /// Begins to read the files of `flow` in a task of this runtime, which must have a single thread: then what is dropped
    /// comes before the lines behind it. `rows` say where.
    pub(super) fn begin(flow: Arc<Flow>, globs: Globs, rows: Vec<(FileKey, Row)>) -> Self {
        let (chunks, chunks_out) = mpsc::channel(1);
        let (events, events_out) = mpsc::channel(EVENTS_WAITING);
        let (stop, stopped) = watch::channel(false);
        let tailer = Tailer::new(Parts {
            flow_index: 0,
            globs,
            hints: Hints::default(),
            watch: None,
            rows,
            open_files: Vec::new(),
            is_first_start: false,
            chunks,
            events,
            gate: Gate::always_open(),
            forget_after: FORGET_AFTER_DEFAULT,
            // The one chunk that waits is the bound.
            budget: Budget::new(Share::new(usize::MAX, OPEN_FILES_MAX)),
            metrics: Metrics::default().flow(&flow.name),
            random: fastrand::Rng::new(),
            flow,
        });
        tokio::spawn(tailer.run(Mode::Once, stopped));
        Self { chunks: chunks_out, events: events_out, paths: HashMap::new(), dropped: Vec::new(), _stop: stop }
    }

    /// What is read next; none when all that there is was read.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.take(event),
                chunk = self.chunks.recv() => {
                    // What was dropped of the piece of the chunk was reported before it, and nothing since.
                    while let Ok(event) = self.events.try_recv() {
                        self.take(event);
                    }
                    let piece = Piece { dropped: std::mem::take(&mut self.dropped), chunk };
                    return (piece.chunk.is_some() || !piece.dropped.is_empty()).then_some(piece);
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened(opened) => _ = self.paths.insert(opened.file, opened.path),
            Event::Moved { file, path, .. } => _ = self.paths.insert(file, path),
            Event::Settled(Settled { spans, outcome: Outcome::Dropped(reason) }) => {
                let paths = &self.paths;
                let dropped = |span: Span| {
                    let path = paths.get(&span.file).cloned().unwrap_or_else(|| Path::new("").into());
                    Dropped { path, span, reason }
                };
                self.dropped.extend(spans.iter().map(dropped));
            }
            Event::Settled(_) | Event::Seen { .. } | Event::Closed { .. } | Event::Forgotten(_) | Event::Started { .. } => {}
            // There is no run.
            Event::Begun { .. } | Event::Ended { .. } => {}
        }
    }
}

impl Piece {
    /// The file that it is of.
    pub(super) fn file(&self) -> Option<FileKey> {
        self.chunk.as_ref().map(|chunk| chunk.file).or(self.dropped.first().map(|dropped| dropped.span.file))
    }

    /// How many lines there are.
    pub(super) fn line_count(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| chunk.lines.len())
    }

    /// Lines and what was dropped, in the order of their places.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let chunk = self.chunk.as_ref();
        let lines = chunk.into_iter().flat_map(|chunk| chunk.lines.iter().map(move |line| (chunk, line)));
        let mut lines = lines.peekable();
        let mut dropped = self.dropped.iter().peekable();
        std::iter::from_fn(move || {
            let is_dropped_next = match (dropped.peek(), lines.peek()) {
                (Some(dropped), Some((chunk, line))) => {
                    dropped.span.file != chunk.file || dropped.span.start < chunk.span(line).start
                }
                (dropped, _) => dropped.is_some(),
            };
            if is_dropped_next {
                return dropped.next().map(Item::Dropped);
            }
            lines.next().map(|(chunk, line)| Item::Line(chunk, line))
        })
    }
}
