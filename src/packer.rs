//! Lines into requests: the task that runs processor, aggregator and collector.
//!
//! It decides which aggregate a record joins and when something that is not full is sent: when its oldest line
//! has waited `max_delay`, or when so much is waiting that the tailer may soon have to. What a record looks
//! like, and what fits, the three know.

mod aggregates;
pub mod rules;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::aggregates::Aggregates;
pub use self::tokens::DeliveryTokens;
use crate::aggregator::MAGIC;
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::config::{self, Flow};
use crate::hash_key::hash_of;
use crate::limits::PACKER_SHARE;
use crate::metadata::Metadata;
use crate::metrics::FlowMetrics;
use crate::processor::{Origin, Processed, Processor, Surroundings};
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{Span, Spans};
use crate::stream::{Load, StreamFacts};
use crate::tailer::Chunk;

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
    /// What is known of the destination. Before the first lines are packed it is waited for a first change, a little.
    pub facts: watch::Receiver<StreamFacts>,
    /// Where records that may go anywhere are sent soonest.
    pub load: Load,
    /// Bytes that may be read and not settled, of which a share may be held back here.
    pub budget_bytes: usize,
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
    processor: Processor,
    metadata: Metadata,
    tokens: DeliveryTokens,
    aggregates: Aggregates,
    collector: Collector,
    /// Bytes of files in `aggregates` and `collector`.
    waiting_byte_count: u64,
    /// With more of them, or more bytes of the records made of them, all that waits is sent.
    waiting_byte_count_max: u64,
    /// When the oldest line in `aggregates` and `collector` was read.
    waiting_since: Option<Instant>,
    facts: watch::Receiver<StreamFacts>,
    load: Load,
    requests: mpsc::Sender<Vec<Entry>>,
    events: mpsc::Sender<Event>,
    metrics: FlowMetrics,
    record: Vec<u8>,
    field_key: String,
}

impl Packer {
    /// A packer that has nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { flow, surroundings, metadata, tokens, request_bytes, facts, load, budget_bytes, requests, events, metrics } =
            parts;
        Self {
            processor: Processor::new(&flow, &surroundings),
            metadata,
            collector: Collector::new(request_bytes),
            aggregates: Aggregates::new(&flow.delivery.partition_key, tokens.run_id()),
            tokens,
            waiting_byte_count: 0,
            waiting_byte_count_max: (budget_bytes / PACKER_SHARE) as u64,
            waiting_since: None,
            facts,
            load,
            requests,
            events,
            metrics,
            record: Vec::new(),
            field_key: String::new(),
            flow,
        }
    }

    /// Works until the tailer has ended and everything is sent on.
    pub async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        self.metadata.ready().await;
        loop {
            let flush_at = self.waiting_since.map(|since| since + self.flow.delivery.max_delay);
            tokio::select! {
                biased;
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => self.flush().await,
                chunk = chunks.recv() => match chunk {
                    Some(chunk) => self.pack(chunk).await,
                    None => break,
                },
            }
        }
        self.flush().await;
    }

    async fn pack(&mut self, chunk: Chunk) {
        let mut dropped = Dropped::default();
        let file_key = rules::file_key(&self.flow.delivery.partition_key, &chunk.path);
        self.waiting_since.get_or_insert(chunk.read_at);
        let (mut record, mut field_key) = (std::mem::take(&mut self.record), std::mem::take(&mut self.field_key));
        let ec2 = self.metadata.current();
        let (now, header) = (Timestamp::now(), chunk.header.as_deref());
        for line in &chunk.lines {
            let (span, text) = (chunk.span(line), chunk.text(line));
            let origin = Origin { path: &chunk.path, file: chunk.file, offset: span.start, header, now, ec2: &ec2 };
            let processed = self.processor.process(text, &origin, &mut record, &mut field_key);
            self.count(&processed, &chunk.path);
            match rules::data_of(processed.made, text, &record) {
                Ok(data) => {
                    let partition_key = rules::key_of(&self.flow.delivery.partition_key, &file_key, &field_key);
                    self.push(partition_key, data, span).await;
                }
                Err(reason) => dropped.push(reason, span),
            }
        }
        (self.record, self.field_key) = (record, field_key);
        dropped.report(&self.events, &self.metrics).await;
        if self.waiting_byte_count.max(self.built_byte_count()) >= self.waiting_byte_count_max {
            self.flush().await;
        }
        if self.waiting_byte_count == 0 {
            self.waiting_since = None;
        }
    }

    /// Bytes of the records in `aggregates` and `collector`: JSON may be larger than its line.
    fn built_byte_count(&self) -> u64 {
        (self.collector.byte_count() + self.aggregates.byte_count_max()) as u64
    }

    /// Counts what parsing could not do, and tells it the first time.
    fn count(&mut self, processed: &Processed, path: &Path) {
        let (flow, path) = (&self.metrics.name, path.display());
        if processed.mismatched && self.metrics.mismatched_lines.inc() == 0 {
            tracing::warn!(flow, %path, "a line is not of the format of [flow.parse], the first of this flow");
        }
        if processed.replaced && self.metrics.replaced_characters_lines.inc() == 0 {
            tracing::warn!(flow, %path, "a line is not UTF-8, in JSON it has U+FFFD instead; the first of this flow");
        }
        if processed.unknown_variables && self.metrics.unknown_variables_lines.inc() == 0 {
            tracing::warn!(flow, %path, "a variable of [flow.record] is not known, its value is null; the first line of this flow");
        }
        if processed.key_missing {
            self.metrics.partition_key_missing_lines.inc();
        }
        self.metrics.type_mismatches.inc_by(u64::from(processed.type_mismatches));
        self.metrics.masked_places.inc_by(u64::from(processed.masks));
        self.metrics.overwritten_fields.inc_by(u64::from(processed.overwritten_fields));
    }

    async fn push(&mut self, partition_key: Option<&str>, data: &[u8], span: Span) {
        self.waiting_byte_count += span.byte_count();
        // Sent as it is, a line that begins like an aggregate would be taken for one.
        let is_aggregated = self.flow.delivery.aggregate == config::Aggregate::Kpl || data.starts_with(&MAGIC);
        if !is_aggregated {
            let partition_key = partition_key.map_or_else(|| self.tokens.draw(), str::to_owned);
            let spans = [span].into_iter().collect();
            self.collect(Entry {
                hash_key: hash_of(&partition_key),
                is_hash_key_explicit: false,
                partition_key,
                data: Bytes::copy_from_slice(data),
                spans,
                user_record_count: 1,
                too_long: None,
            })
            .await;
            return;
        }
        for full in self.aggregates.push(partition_key, data, span, &mut self.tokens) {
            self.collect(full).await;
        }
    }

    async fn collect(&mut self, entry: Entry) {
        if let Err(entry) = self.collector.try_push(entry) {
            self.send_request().await;
            // An empty request takes any entry.
            let _ = self.collector.try_push(entry);
        }
    }

    async fn flush(&mut self) {
        while let Some(entry) = self.aggregates.take_any() {
            self.collect(entry).await;
        }
        self.send_request().await;
        self.waiting_since = None;
    }

    async fn send_request(&mut self) {
        let entries = self.collector.take();
        if entries.is_empty() {
            return;
        }
        let byte_count: u64 = entries.iter().map(|entry| entry.spans.byte_count()).sum();
        self.waiting_byte_count -= byte_count;
        // What still waits in aggregates was read later than what is sent now, but not much.
        if self.requests.send(entries).await.is_err() {
            // The sender is only gone when an ending has run out of time; what was read stays unsettled.
            tracing::debug!(flow = self.metrics.name, "nobody takes requests any more");
        }
    }
}

/// What of a chunk is not sent, by reason.
#[derive(Default)]
struct Dropped([(Spans, u64); DropReason::OF_LINES.len()]);

impl Dropped {
    fn push(&mut self, reason: DropReason, span: Span) {
        let of_reason = DropReason::OF_LINES.iter().zip(&mut self.0).find(|(of, _)| **of == reason);
        if let Some((_, (spans, line_count))) = of_reason {
            spans.push(span);
            *line_count += 1;
        }
    }

    async fn report(self, events: &mpsc::Sender<Event>, metrics: &FlowMetrics) {
        for (reason, (spans, line_count)) in DropReason::OF_LINES.into_iter().zip(self.0) {
            if line_count > 0 {
                metrics.dropped_lines(reason, line_count);
                let settled = Settled { spans, outcome: Outcome::Dropped(reason) };
                // The checkpointer ends last; without it there is nobody to tell.
                let _ = events.send(Event::Settled(settled)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::{Config, Destination};
    use crate::limits::{HASH_RANGES, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MIN};
    use crate::metrics::Metrics;
    use crate::span::FileKey;
    use crate::tailer::Line;

    const BUDGET_BYTES: usize = 1 << 20;

    /// What a packer makes of `lines`, each read by itself, for a flow with `settings` of `[flow.parse]` and
    /// `[flow.kinesis]`; with a budget of [`BUDGET_BYTES`].
    async fn requests(settings: &str, request_bytes: usize, lines: &[Vec<u8>]) -> Vec<Vec<Entry>> {
        let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}\nstream = 's'\n");
        let config = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let flow = Arc::new(config.flows[0].clone());
        let (requests, mut requests_out) = mpsc::channel(1_000);
        let (events, _events_out) = mpsc::channel(1);
        let (chunks, chunks_out) = mpsc::channel(lines.len());
        let mut offset = 0;
        for line in lines {
            let (text, whole) = (0..line.len(), 0..line.len());
            let chunk = Chunk {
                file: FileKey(1),
                path: Path::new("/a").into(),
                offset,
                bytes: line.clone(),
                lines: vec![Line { text, whole }],
                header: None,
                read_at: Instant::now(),
            };
            offset += line.len() as u64;
            chunks.send(chunk).await.unwrap();
        }
        drop(chunks);
        let parts = Parts {
            flow,
            surroundings: Arc::default(),
            metadata: Metadata::nothing(),
            tokens: DeliveryTokens::new(1, 0, 1),
            request_bytes,
            facts: watch::channel(StreamFacts::before_asking(&Destination::Kinesis("s".to_owned()))).1,
            load: Load::default(),
            budget_bytes: BUDGET_BYTES,
            requests,
            events,
            metrics: Metrics::default().flow("f"),
        };
        Packer::new(parts).run(chunks_out).await;
        std::iter::from_fn(|| requests_out.try_recv().ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_without_their_key_are_spread_over_all_ranges() {
        let settings = "[flow.parse]\nregex = '^(?<key>[^ ]*) (?<rest>.*)$'\n[flow.kinesis]\npartition_key = '${key}'";
        let lines: Vec<_> = (0..64).map(|_| [b" ".as_slice(), &[b'x'; 40_000]].concat()).collect();
        let requests = requests(settings, REQUEST_BYTES_DEFAULT, &lines).await;
        let range = |entry: &Entry| entry.hash_key >> 124;
        let ranges: HashSet<u128> = requests.iter().flatten().map(range).collect();
        assert_eq!(ranges.len(), HASH_RANGES as usize, "{ranges:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn records_much_larger_than_their_lines_do_not_wait_for_a_full_request() {
        // In JSON a control character is six bytes.
        let settings = "[flow.parse]\nregex = '(?s-u)^(?<all>.*)$'\n[flow.kinesis]";
        let lines = vec![vec![1; 10_000]; 60];
        for entries in requests(settings, REQUEST_BYTES_MIN, &lines).await {
            let byte_count: usize = entries.iter().map(Entry::byte_count).sum();
            assert!(byte_count < BUDGET_BYTES / PACKER_SHARE + 100_000, "{byte_count} bytes in a request");
        }
    }
}
