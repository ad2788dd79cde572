//! Chunks processed: what is made of their lines, by this thread or, where one does not suffice, by several at once.
//!
//! They come out in the order in which they went in, so that nobody behind can tell how many worked on them. What is done with
//! what is made is decided elsewhere; here is only counted what could not be done.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::config::Flow;
use crate::limits::PROCESSED_BYTES_KEPT;
use crate::metadata::Ec2;
use crate::processor::{Made, Origin, Processed, Processor, Surroundings};
use crate::progress::{Stage, alongside};
use crate::tailer::Chunk;

/// Processors of one flow, and the chunks that they have.
pub(super) struct Processing {
    flow: Arc<Flow>,
    surroundings: Arc<Surroundings>,
    /// Lines go as they are, with the terminator: there is nothing to do.
    is_plain: bool,
    thread_count: usize,
    /// Those that work on nothing now.
    idle: Vec<Worker>,
    /// In the order in which they came.
    begun: VecDeque<JoinHandle<(Worker, ProcessedChunk)>>,
}

/// A processor, and what it writes into.
struct Worker {
    processor: Processor,
    /// Of the newest line.
    key: String,
    made: ProcessedLines,
}

/// A chunk, and what was made of it.
pub(super) struct ProcessedChunk {
    pub(super) chunk: Chunk,
    /// None: its lines go as they are, with the terminator.
    pub(super) made: Option<ProcessedLines>,
}

/// What was made of the lines of one chunk.
#[derive(Default)]
pub(super) struct ProcessedLines {
    /// One for each line.
    pub(super) lines: Vec<ProcessedLine>,
    records: Vec<u8>,
    keys: String,
    pub(super) counts: Counts,
}

/// What was made of one line.
pub(super) struct ProcessedLine {
    pub(super) made: Made,
    /// It is not of the format.
    pub(super) is_mismatched: bool,
    /// Something in it was masked.
    pub(super) is_masked: bool,
    record: Range<usize>,
    key: Range<usize>,
}

/// A line that goes as it is, with the terminator.
pub(super) const PLAIN: ProcessedLine =
    ProcessedLine { made: Made::Record, is_mismatched: false, is_masked: false, record: 0..0, key: 0..0 };

/// What processing could not do, or did, in how many lines or places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) mismatched_lines: u64,
    pub(super) replaced_characters_lines: u64,
    pub(super) unknown_variables_lines: u64,
    pub(super) partition_key_missing_lines: u64,
    pub(super) type_mismatches: u64,
    pub(super) masked_places: u64,
    pub(super) overwritten_fields: u64,
}

impl Processing {
    /// By the rules of `flow`, on at most so many threads.
    pub(super) fn new(flow: &Arc<Flow>, surroundings: &Arc<Surroundings>, thread_count: usize) -> Self {
        let worker = Worker::new(flow, surroundings);
        Self {
            flow: Arc::clone(flow),
            surroundings: Arc::clone(surroundings),
            is_plain: worker.processor.is_plain(),
            thread_count,
            idle: vec![worker],
            begun: VecDeque::new(),
        }
    }

    /// Whether another chunk may begin.
    pub(super) fn has_room(&self) -> bool {
        self.begun.len() < self.thread_count
    }

    /// Whether none has begun that has not come out.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.is_empty()
    }

    /// Processes `chunk`: at once, or, if `more` are waiting and there is room for these, on another thread; then it comes out of
    /// [`Self::next`].
    pub(super) fn begin(&mut self, chunk: Chunk, ec2: &Arc<Ec2>, more: bool) -> Option<ProcessedChunk> {
        if self.is_plain {
            return Some(ProcessedChunk { chunk, made: None });
        }
        let mut worker = self.idle.pop().unwrap_or_else(|| Worker::new(&self.flow, &self.surroundings));
        if self.begun.is_empty() && (self.thread_count == 1 || !more) {
            // What the others hold is not needed while one suffices.
            self.idle.clear();
            let processed = worker.process(chunk, ec2);
            self.idle.push(worker);
            return Some(processed);
        }
        let ec2 = Arc::clone(ec2);
        self.begun.push_back(tokio::spawn(alongside(Stage::Packer, async move {
            let processed = worker.process(chunk, &ec2);
            (worker, processed)
        })));
        None
    }

    /// Waits for the first of those that have begun; for ever if there is none. Nothing is lost if this is dropped.
    pub(super) async fn next(&mut self) -> ProcessedChunk {
        let Some(first) = self.begun.front_mut() else { return std::future::pending().await };
        let (worker, processed) = match first.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => std::panic::resume_unwind(panicked),
                // The runtime is going down.
                Err(_) => return std::future::pending().await,
            },
        };
        self.begun.pop_front();
        self.idle.push(worker);
        processed
    }

    /// What was made of a chunk is not needed any more: another can be written where it stands.
    pub(super) fn take_back(&mut self, made: ProcessedLines) {
        if let Some(worker) = self.idle.last_mut()
            && made.allocated_byte_count() <= PROCESSED_BYTES_KEPT
        {
            worker.made = made;
        }
    }
}

impl Worker {
    fn new(flow: &Flow, surroundings: &Surroundings) -> Self {
        Self { processor: Processor::new(flow, surroundings), key: String::new(), made: ProcessedLines::default() }
    }

    fn process(&mut self, chunk: Chunk, ec2: &Ec2) -> ProcessedChunk {
        let mut made = std::mem::take(&mut self.made);
        made.clear();
        made.lines.reserve(chunk.lines.len());
        let (now, header) = (Timestamp::now(), chunk.header.as_deref());
        for line in &chunk.lines {
            let origin = Origin { path: &chunk.path, file: chunk.file, offset: chunk.span(line).start, header, now, ec2 };
            let record_start = made.records.len();
            let processed = self.processor.process(chunk.text(line), &origin, &mut made.records, &mut self.key);
            made.push(processed, record_start, &self.key);
        }
        ProcessedChunk { chunk, made: Some(made) }
    }
}

impl ProcessedLines {
    fn clear(&mut self) {
        self.lines.clear();
        self.records.clear();
        self.keys.clear();
        self.counts = Counts::default();
    }

    /// Adds a line of which the record is what stands at the end.
    fn push(&mut self, processed: Processed, record_start: usize, key: &str) {
        let key_start = self.keys.len();
        self.keys.push_str(key);
        self.lines.push(ProcessedLine {
            made: processed.made,
            is_mismatched: processed.mismatched,
            is_masked: processed.masks > 0,
            record: record_start..self.records.len(),
            key: key_start..self.keys.len(),
        });
        self.counts.add(processed);
    }

    fn allocated_byte_count(&self) -> usize {
        self.records.capacity() + self.keys.capacity() + self.lines.capacity() * size_of::<ProcessedLine>()
    }

    /// The record that was made of a line; empty where none was.
    pub(super) fn record(&self, line: &ProcessedLine) -> &[u8] {
        &self.records[line.record.clone()]
    }

    /// The partition key that a line has of its own; empty where it has none.
    pub(super) fn key(&self, line: &ProcessedLine) -> &str {
        &self.keys[line.key.clone()]
    }
}

impl Counts {
    fn add(&mut self, processed: Processed) {
        let Processed { mismatched, replaced, unknown_variables, key_missing, .. } = processed;
        self.mismatched_lines += u64::from(mismatched);
        self.replaced_characters_lines += u64::from(replaced);
        self.unknown_variables_lines += u64::from(unknown_variables);
        self.partition_key_missing_lines += u64::from(key_missing);
        self.type_mismatches += u64::from(processed.type_mismatches);
        self.masked_places += u64::from(processed.masks);
        self.overwritten_fields += u64::from(processed.overwritten_fields);
    }
}
