//! Lines into requests: the task that runs processor, aggregator or joiner, compressor and collector.
//!
//! It decides what is made of a line that is longer than the stream takes, and when something that is not full is sent: when its
//! oldest line has waited `max_delay`, or when so much is waiting that the tailer may soon have to. How many threads process
//! lines is decided in `processing`, which lines share a record and where that goes in `records`, what is done to a record that
//! is complete in `outgoing`; what a record looks like, and what fits, the others know.

mod dropped;
mod layout;
mod made;
mod outgoing;
mod places;
mod processing;
mod records;
pub mod rules;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use self::dropped::Dropped;
use self::layout::Layout;
use self::outgoing::Outgoing;
use self::processing::{Counts, PLAIN, ProcessedChunk, ProcessedLine, Processing};
use self::records::{Newest, Records, UserRecord};
use crate::budget::Share;
use crate::checkpointer::Event;
use crate::collector::Entry;
use crate::config::{Encoding, Flow, OnMismatch, Order, Output, TooLong};
use crate::delivery_token::DeliveryTokens;
use crate::encryption::keys::DataKeys;
use crate::failpoint;
use crate::limits::{FACTS_WAIT, PACKER_SHARE, TERMINATOR_BYTES_MAX};
use crate::metadata::Metadata;
use crate::metrics::FlowMetrics;
use crate::processor::{Made, Surroundings};
use crate::settlement::DropReason;
use crate::span::Span;
use crate::stream::{Load, StreamFacts};
use crate::tailer::{Chunk, Line, utf_8_cut_before};

/// What a packer is made of.
pub struct Parts {
    /// The flow.
    pub flow: Arc<Flow>,
    /// What records may say of the host.
    pub surroundings: Arc<Surroundings>,
    /// What they may say of the instance; the first lines wait for it a little.
    pub metadata: Metadata,
    /// Names of records.
    pub tokens: DeliveryTokens,
    /// Most bytes of a request.
    pub request_bytes: usize,
    /// How many threads may process lines at once.
    pub thread_count: usize,
    /// What is known of the destination. Before the first lines are packed it is waited for a first change, a little.
    pub facts: watch::Receiver<StreamFacts>,
    /// Where records that may go anywhere are sent soonest.
    pub load: Load,
    /// What encrypts records; none: they are sent as they are.
    pub keys: Option<DataKeys>,
    /// What may be read and not settled, of which a part may be held back here.
    pub share: Share,
    /// Where requests go.
    pub requests: mpsc::Sender<Vec<Entry>>,
    /// Where dropped lines are reported.
    pub events: mpsc::Sender<Event>,
    /// Counts what cannot be done.
    pub metrics: FlowMetrics,
}

/// The task.
pub struct Packer {
    flow: Arc<Flow>,
    processing: Processing,
    metadata: Metadata,
    layout: Layout,
    records: Records,
    outgoing: Outgoing,
    /// With a certain part of it waiting, or so many bytes of the records made of that, something is sent.
    share: Share,
    /// When the oldest line in `records` and `outgoing` was read, or one before it.
    waiting_since: Option<Instant>,
    facts: watch::Receiver<StreamFacts>,
    events: mpsc::Sender<Event>,
    metrics: FlowMetrics,
    has_told_too_long: bool,
}

impl Packer {
    /// A packer that has nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { flow, surroundings, metadata, tokens, request_bytes, thread_count, facts, load, .. } = parts;
        let Parts { keys, share, requests, events, metrics, .. } = parts;
        let known = facts.borrow().clone();
        let layout = Layout::new(&flow, &known);
        Self {
            processing: Processing::new(&flow, &surroundings, thread_count),
            metadata,
            layout,
            records: Records::new(&flow.delivery.partition_key, layout, &known, &load, tokens),
            outgoing: Outgoing::new(&flow, request_bytes, keys, requests),
            share,
            waiting_since: None,
            facts,
            events,
            metrics,
            has_told_too_long: false,
            flow,
        }
    }

    /// Works until the tailer has ended and everything is sent on.
    pub async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        // An error says that nobody asks, and a time that is over that nobody answers: then it is guessed.
        let facts = timeout(FACTS_WAIT, self.facts.changed());
        let _ = tokio::join!(self.metadata.ready(), facts);
        // The sender is told at the same time, and in no certain order: it comes first, so that a simulation is repeatable.
        yield_now().await;
        // To have waited for them is not to have looked at them.
        self.facts.mark_changed();
        let mut is_ended = false;
        while !(is_ended && self.processing.is_idle()) {
            let flush_at = self.waiting_since.map(|since| since + self.flow.delivery.max_delay);
            tokio::select! {
                biased;
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => self.flush().await,
                processed = self.processing.next(), if !self.processing.is_idle() => self.pack(processed).await,
                chunk = chunks.recv(), if !is_ended && self.processing.has_room() => match chunk {
                    Some(chunk) => {
                        let ec2 = self.metadata.current();
                        if let Some(processed) = self.processing.begin(chunk, &ec2, !chunks.is_empty()) {
                            self.pack(processed).await;
                        }
                    }
                    None => is_ended = true,
                },
            }
        }
        self.flush().await;
    }

    async fn pack(&mut self, processed: ProcessedChunk) {
        failpoint::pass("packing");
        self.look_at_facts().await;
        let ProcessedChunk { chunk, made } = processed;
        self.waiting_since.get_or_insert(chunk.read_at);
        let mut packing = Packing {
            chunk: &chunk,
            file_key: rules::file_key(&self.flow.delivery.partition_key, &chunk.path),
            hash_key: (self.flow.delivery.order == Order::File).then(|| places::of_file(chunk.file)),
            newest: Newest::default(),
            dropped: Dropped::default(),
        };
        if let Some(made) = &made {
            self.count(&made.counts, &chunk.path);
        }
        let flow = Arc::clone(&self.flow);
        let (terminator, mut buffer) = (flow.record.terminator.as_bytes(), Vec::new());
        for (index, line) in chunk.lines.iter().enumerate() {
            match made.as_ref().map(|made| (made, &made.lines[index])) {
                None => self.pack_line(&mut packing, line, &PLAIN, (terminated(&chunk, line, terminator, &mut buffer), "")),
                Some((made, of_line)) => self.pack_line(&mut packing, line, of_line, (made.record(of_line), made.key(of_line))),
            }
            if self.outgoing.is_collection_due() {
                self.outgoing.collect().await;
            }
        }
        self.records.close(&mut packing.newest);
        packing.dropped.report(&self.events, &self.metrics).await;
        if let Some(made) = made {
            self.processing.take_back(made);
        }
        if self.is_too_much() {
            self.send_complete().await;
        }
        if self.is_too_much() {
            self.flush().await;
        }
        if self.outgoing.packed_byte_count() == 0 {
            self.waiting_since = None;
        }
    }

    /// Packs what was made of a line: its `record`, or its text, and the key of its own that it has, if any.
    fn pack_line<'c>(
        &mut self,
        packing: &mut Packing<'c>,
        line: &Line,
        processed: &ProcessedLine,
        (record, field_key): (&[u8], &str),
    ) {
        let Packing { chunk, ref file_key, hash_key, .. } = *packing;
        let (span, text) = (chunk.span(line), chunk.text(line));
        let partition_key = rules::key_of(&self.flow.delivery.partition_key, file_key, field_key);
        match rules::data_of(processed.made, text, record, self.layout.data_bytes_max) {
            Ok(data) => {
                let too_long = self.is_text_alone(processed).then_some(self.flow.line.too_long);
                let is_as_in_file = self.flow.line.encoding == Encoding::Utf8;
                let whole = is_as_in_file.then(|| &chunk.bytes[line.whole.clone()]);
                let span = if is_as_in_file { span.ending_in_a_line() } else { span };
                let record = UserRecord { partition_key, data, span, too_long, hash_key };
                self.push(&record, whole, &mut packing.newest);
            }
            Err(DropReason::RecordTooLarge) if self.is_text_sent(processed) => {
                let too_large = UserRecord { partition_key, data: text, span, too_long: None, hash_key };
                self.pack_too_long(chunk, line, &too_large, &mut packing.newest, &mut packing.dropped);
            }
            Err(reason) => packing.dropped.push(reason, span),
        }
    }

    /// Goes by what is known of the stream now.
    async fn look_at_facts(&mut self) {
        if self.facts.has_changed().is_ok_and(|has_changed| !has_changed) {
            return;
        }
        let facts = self.facts.borrow_and_update().clone();
        self.layout = Layout::new(&self.flow, &facts);
        self.records.set(self.layout, &facts, &mut self.outgoing.made);
        if self.outgoing.is_collection_due() {
            self.outgoing.collect().await;
        }
    }

    /// What is sent is the text of the line, as it is in the file, and the terminator.
    fn is_text_sent(&self, processed: &ProcessedLine) -> bool {
        let is_sent_raw = match self.flow.record.output {
            Output::Raw => true,
            Output::Json | Output::Template(_) => {
                processed.is_mismatched && self.flow.parse.as_ref().is_some_and(|parse| parse.on_mismatch == OnMismatch::SendRaw)
            }
        };
        let is_as_in_file = !processed.is_masked && self.flow.line.encoding == Encoding::Utf8;
        (processed.made == Made::Raw || is_sent_raw) && is_as_in_file
    }

    /// To the text of a line nothing is added, and it will not be made into anything else.
    fn is_sent_as_is(&self) -> bool {
        self.flow.record.terminator.is_empty() && self.outgoing.is_as_made()
    }

    /// What is sent is nothing but that.
    fn is_text_alone(&self, processed: &ProcessedLine) -> bool {
        self.is_sent_as_is() && self.is_text_sent(processed)
    }

    /// Makes of a line of which the stream takes the beginning only what the configuration says of one that is too long.
    fn pack_too_long<'c>(
        &mut self,
        chunk: &Chunk,
        line: &Line,
        whole: &UserRecord<'_>,
        newest: &mut Newest<'c>,
        dropped: &mut Dropped,
    ) {
        let (too_long, text_bytes_max) = (self.flow.line.too_long, self.layout.data_bytes_max - TERMINATOR_BYTES_MAX);
        if !std::mem::replace(&mut self.has_told_too_long, true) {
            let (flow, path) = (&self.metrics.name, chunk.path.display());
            tracing::warn!(flow, %path, max_bytes = text_bytes_max, ?too_long, "a line is longer than a record of the stream, the first of this flow");
        }
        let mut rest = line.text.clone();
        let mut start = whole.span.start;
        while too_long != TooLong::Drop && start < whole.span.end {
            let text = &chunk.bytes[rest.clone()];
            let is_last = text.len() <= text_bytes_max;
            let cut = if is_last { text.len() } else { utf_8_cut_before(text, text_bytes_max) };
            rest.start += cut;
            let end = if is_last { whole.span.end } else { chunk.offset + rest.start as u64 };
            let piece = [&text[..cut], self.flow.record.terminator.as_bytes()].concat();
            let too_long = self.is_sent_as_is().then_some(too_long);
            let span = Span::new(whole.span.file, start, end);
            self.push(&UserRecord { data: &piece, span, too_long, ..*whole }, None, newest);
            start = end;
            if self.flow.line.too_long == TooLong::Truncate {
                break;
            }
        }
        if start < whole.span.end {
            dropped.push_too_long(Span::new(whole.span.file, start, whole.span.end));
        }
    }

    /// With so many bytes waiting the tailer may soon have to wait too.
    fn waiting_byte_count_max(&self) -> u64 {
        (self.share.byte_count_max() / PACKER_SHARE) as u64
    }

    fn is_too_much(&self) -> bool {
        self.outgoing.packed_byte_count().max(self.built_byte_count()) >= self.waiting_byte_count_max()
    }

    /// Bytes of the records in `records` and `outgoing`: JSON may be larger than its line.
    fn built_byte_count(&self) -> u64 {
        (self.outgoing.byte_count() + self.records.byte_count_max()) as u64
    }

    /// Counts what processing could not do, and tells it the first time.
    fn count(&mut self, counts: &Counts, path: &Path) {
        let (flow, path, metrics) = (&self.metrics.name, path.display(), &self.metrics);
        let is_first = |count_before: u64, count: u64| count_before == 0 && count > 0;
        if is_first(metrics.mismatched_lines.inc_by(counts.mismatched_lines), counts.mismatched_lines) {
            tracing::warn!(flow, %path, "a line is not of the format of [flow.parse], the first of this flow");
        }
        if is_first(metrics.replaced_characters_lines.inc_by(counts.replaced_characters_lines), counts.replaced_characters_lines)
        {
            tracing::warn!(flow, %path, "a line is not UTF-8, in JSON it has U+FFFD instead; the first of this flow");
        }
        if is_first(metrics.unknown_variables_lines.inc_by(counts.unknown_variables_lines), counts.unknown_variables_lines) {
            tracing::warn!(flow, %path, "a variable of [flow.record] is not known, its value is null; the first line of this flow");
        }
        metrics.partition_key_missing_lines.inc_by(counts.partition_key_missing_lines);
        metrics.type_mismatches.inc_by(counts.type_mismatches);
        metrics.masked_places.inc_by(counts.masked_places);
        metrics.overwritten_fields.inc_by(counts.overwritten_fields);
    }

    fn push<'c>(&mut self, record: &UserRecord<'_>, line: Option<&'c [u8]>, newest: &mut Newest<'c>) {
        self.outgoing.packed(record.span.byte_count());
        self.records.push(record, line, newest, &mut self.outgoing.made);
    }

    /// Sends what is complete, so that what is filling is filled, if that suffices; where that is most of it, without what lacks a digest,
    /// so that as many of these are made at once as can be.
    async fn send_complete(&mut self) {
        let enough = self.waiting_byte_count_max() / 2;
        if (self.outgoing.collected_byte_count() as u64) < enough {
            self.outgoing.collect().await;
        }
        if (self.outgoing.collected_byte_count() as u64) >= enough {
            self.outgoing.send_request().await;
        }
    }

    async fn flush(&mut self) {
        self.records.take_all(&mut self.outgoing.made);
        self.outgoing.collect().await;
        self.outgoing.send_request().await;
        self.waiting_since = None;
    }
}

/// A chunk that is being packed.
struct Packing<'c> {
    chunk: &'c Chunk,
    /// The partition key of its lines, where that is the file's.
    file_key: String,
    /// Where all of it goes, where the order of files is kept.
    hash_key: Option<u128>,
    newest: Newest<'c>,
    dropped: Dropped,
}

/// The text of a line with the terminator behind it: where that stands there in the file, without copying.
fn terminated<'a>(chunk: &'a Chunk, line: &Line, terminator: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let with_terminator = chunk.bytes.get(line.text.start..line.text.end + terminator.len());
    match with_terminator {
        Some(bytes) if terminator.is_empty() || bytes.ends_with(terminator) => bytes,
        _ => {
            buffer.clear();
            buffer.extend_from_slice(chunk.text(line));
            buffer.extend_from_slice(terminator);
            buffer
        }
    }
}

#[cfg(test)]
mod tests;
