//! Lines into requests: the task that runs processor, aggregator and collector.
//!
//! It decides which aggregate a record joins and when something that is not full is sent: when its oldest line
//! has waited `max_delay`, or when so much is waiting that the tailer may soon have to. What a record looks
//! like, and what fits, the three know.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::aggregator::{Aggregate, MAGIC};
use crate::checkpointer::Event;
use crate::collector::{Collector, Entry};
use crate::config::{self, Flow, PartitionKey};
use crate::hash_key::hash_of;
use crate::limits::{AGGREGATE_BYTES_TARGET, HASH_RANGES, LINE_BYTES_MAX, PACKER_SHARE, PARTITION_KEY_CHARS_MAX};
use crate::metrics::FlowMetrics;
use crate::processor::{Made, Processor};
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{Span, Spans};
use crate::tailer::Chunk;

/// Names of records that are unlike those of any other run: a random run id and a sequence number.
///
/// An aggregate, and a record with a random key, is sent with its token as the partition key; so a reader of
/// the stream can tell what of this run was stored.
#[derive(Clone, Debug)]
pub struct DeliveryTokens {
    run_id: u128,
    next: u64,
    step: u64,
}

impl DeliveryTokens {
    /// Tokens of this run for one of `flow_count` flows, different from those of the others.
    pub fn new(run_id: u128, flow_index: usize, flow_count: usize) -> Self {
        Self { run_id, next: flow_index as u64, step: flow_count as u64 }
    }

    fn draw(&mut self) -> String {
        let token = format!("{:032x}-{:x}", self.run_id, self.next);
        self.next += self.step;
        token
    }
}

/// The task.
pub struct Packer {
    flow: Arc<Flow>,
    processor: Processor,
    tokens: DeliveryTokens,
    /// Grows in golden steps: where the aggregate of a flow with random keys goes.
    hash_key: u128,
    /// Index in `filling` where the last record without a key of its own went.
    last_without_key: usize,
    /// Aggregates that are filling: one for random keys, or one for each hash range.
    filling: Vec<Option<Filling>>,
    collector: Collector,
    /// Bytes of files in `filling` and `collector`.
    waiting_byte_count: u64,
    /// With more of them, or more bytes of the records made of them, all that waits is sent.
    waiting_byte_count_max: u64,
    /// When the oldest line in `filling` and `collector` was read.
    waiting_since: Option<Instant>,
    requests: mpsc::Sender<Vec<Entry>>,
    events: mpsc::Sender<Event>,
    metrics: FlowMetrics,
    record: Vec<u8>,
    key: String,
}

struct Filling {
    aggregate: Aggregate,
    token: String,
}

/// 2^128 divided by the golden ratio: its multiples spread evenly over any number of shards.
const GOLDEN_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Packer {
    /// A packer for `flow` that makes requests of `request_bytes` and may hold back a share of `budget_bytes`.
    pub fn new(
        flow: Arc<Flow>,
        tokens: DeliveryTokens,
        request_bytes: usize,
        budget_bytes: usize,
        requests: mpsc::Sender<Vec<Entry>>,
        events: mpsc::Sender<Event>,
        metrics: FlowMetrics,
    ) -> Self {
        let key_field = match &flow.kinesis.partition_key {
            PartitionKey::Field(name) => Some(name.as_str()),
            PartitionKey::Random | PartitionKey::File => None,
        };
        let range_count = if flow.kinesis.partition_key == PartitionKey::Random { 1 } else { HASH_RANGES as usize };
        Self {
            processor: Processor::new(flow.parse.as_ref(), key_field),
            collector: Collector::new(request_bytes),
            hash_key: tokens.run_id,
            last_without_key: 0,
            tokens,
            filling: (0..range_count).map(|_| None).collect(),
            waiting_byte_count: 0,
            waiting_byte_count_max: (budget_bytes / PACKER_SHARE) as u64,
            waiting_since: None,
            requests,
            events,
            metrics,
            record: Vec::new(),
            key: String::new(),
            flow,
        }
    }

    /// Works until the tailer has ended and everything is sent on.
    pub async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        loop {
            let flush_at = self.waiting_since.map(|since| since + self.flow.kinesis.max_delay);
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
        let mut dropped: [Spans; DropReason::ALL.len()] = std::array::from_fn(|_| Spans::default());
        let file_key = match self.flow.kinesis.partition_key {
            PartitionKey::File => file_partition_key(&chunk.path),
            PartitionKey::Random | PartitionKey::Field(_) => String::new(),
        };
        self.waiting_since.get_or_insert(chunk.read_at);
        for line in &chunk.lines {
            let span = chunk.span(line);
            let text = chunk.text(line);
            let mut record = std::mem::take(&mut self.record);
            let mut key = std::mem::take(&mut self.key);
            let processed = self.processor.process(text, &mut record, &mut key);
            self.metrics.mismatched_lines.inc_by(u64::from(processed.mismatched));
            self.metrics.type_mismatches.inc_by(u64::from(processed.type_mismatches));
            self.metrics.replaced_characters_lines.inc_by(u64::from(processed.replaced));
            let data = match processed.made {
                Made::Raw => Some(text),
                // JSON may be several times as long as the line that it is made of.
                Made::Record if record.len() > LINE_BYTES_MAX => {
                    dropped[drop_index(DropReason::RecordTooLarge)].push(span);
                    None
                }
                Made::Record => Some(record.as_slice()),
                Made::Dropped(reason) => {
                    dropped[drop_index(reason)].push(span);
                    None
                }
            };
            if let Some(data) = data {
                let partition_key = match &self.flow.kinesis.partition_key {
                    PartitionKey::Random => None,
                    PartitionKey::File => Some(file_key.as_str()),
                    PartitionKey::Field(_) if key.is_empty() => {
                        self.metrics.partition_key_missing_lines.inc();
                        None
                    }
                    PartitionKey::Field(_) => Some(key.as_str()),
                };
                self.push(partition_key, data, span).await;
            }
            self.record = record;
            self.key = key;
        }
        self.report_dropped(dropped).await;
        if self.waiting_byte_count.max(self.built_byte_count()) >= self.waiting_byte_count_max {
            self.flush().await;
        }
        if self.waiting_byte_count == 0 {
            self.waiting_since = None;
        }
    }

    /// Bytes of the records in `filling` and `collector`: JSON may be larger than its line.
    fn built_byte_count(&self) -> u64 {
        let filling = self.filling.iter().flatten().map(|filling| filling.aggregate.byte_count_max());
        (self.collector.byte_count() + filling.sum::<usize>()) as u64
    }

    async fn push(&mut self, partition_key: Option<&str>, data: &[u8], span: Span) {
        self.waiting_byte_count += span.byte_count();
        // Sent as it is, a line that begins like an aggregate would be taken for one.
        let is_aggregated = self.flow.kinesis.aggregate == config::Aggregate::Kpl || data.starts_with(&MAGIC);
        if !is_aggregated {
            let partition_key = partition_key.map_or_else(|| self.tokens.draw(), str::to_owned);
            let spans = [span].into_iter().collect();
            self.collect(Entry {
                partition_key,
                explicit_hash_key: None,
                data: Bytes::copy_from_slice(data),
                spans,
                user_record_count: 1,
            })
            .await;
            return;
        }
        // An aggregate that has just begun takes any record.
        loop {
            let index = match partition_key {
                Some(key) => self.range_of(hash_of(key)),
                None => self.range_without_key(),
            };
            let mut filling = match self.filling[index].take() {
                Some(filling) => filling,
                None => self.new_filling(index),
            };
            if filling.try_push(partition_key, data, span) {
                self.filling[index] = Some(filling);
                return;
            }
            self.collect(filling.finish()).await;
        }
    }

    /// Index in `filling` of the range in which a hash lies: its first bits.
    fn range_of(&self, hash: u128) -> usize {
        if self.filling.len() > 1 { (hash >> (u128::BITS - HASH_RANGES.ilog2())) as usize } else { 0 }
    }

    /// Index in `filling` for a record without a key of its own, which may go anywhere: where the last one went,
    /// until that is full or sent. Then to the next range in golden steps, so that all get their share; or, rather
    /// than begin another aggregate there, to the first after it in which one is filling.
    fn range_without_key(&mut self) -> usize {
        if self.filling[self.last_without_key].is_none() {
            self.hash_key = self.hash_key.wrapping_add(GOLDEN_STEP);
            let next = self.range_of(self.hash_key);
            let range_count = self.filling.len();
            let mut ranges = (0..range_count).map(|step| (next + step) % range_count);
            self.last_without_key = ranges.find(|index| self.filling[*index].is_some()).unwrap_or(next);
        }
        self.last_without_key
    }

    fn new_filling(&mut self, index: usize) -> Filling {
        let hash_key = if self.filling.len() > 1 {
            let range_width_log2 = u128::BITS - HASH_RANGES.ilog2();
            ((index as u128) << range_width_log2) + (1 << (range_width_log2 - 1))
        } else {
            self.hash_key
        };
        Filling { aggregate: Aggregate::new(hash_key), token: self.tokens.draw() }
    }

    async fn collect(&mut self, entry: Entry) {
        if let Err(entry) = self.collector.try_push(entry) {
            self.send_request().await;
            // An empty request takes any entry.
            let _ = self.collector.try_push(entry);
        }
    }

    async fn flush(&mut self) {
        for index in 0..self.filling.len() {
            if let Some(filling) = self.filling[index].take() {
                self.collect(filling.finish()).await;
            }
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

    async fn report_dropped(&self, dropped: [Spans; DropReason::ALL.len()]) {
        for (reason, spans) in DropReason::ALL.into_iter().zip(dropped) {
            if !spans.is_empty() {
                let settled = Settled { spans, outcome: Outcome::Dropped(reason) };
                if self.events.send(Event::Settled(settled)).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Filling {
    fn try_push(&mut self, partition_key: Option<&str>, data: &[u8], span: Span) -> bool {
        let bytes_max = AGGREGATE_BYTES_TARGET - self.token.len();
        self.aggregate.try_push(partition_key.unwrap_or(&self.token), data, span, bytes_max)
    }

    fn finish(self) -> Entry {
        let finished = self.aggregate.finish();
        Entry {
            partition_key: self.token,
            explicit_hash_key: Some(finished.explicit_hash_key),
            data: finished.data.into(),
            spans: finished.spans,
            user_record_count: finished.user_record_count,
        }
    }
}

fn drop_index(reason: DropReason) -> usize {
    DropReason::ALL.iter().position(|of| *of == reason).unwrap_or_default()
}

/// The path of a file as a partition key: its last 256 characters.
fn file_partition_key(path: &Path) -> String {
    let path = path.to_string_lossy();
    let excess = path.chars().count().saturating_sub(PARTITION_KEY_CHARS_MAX);
    path.chars().skip(excess).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::Config;
    use crate::limits::{REQUEST_BYTES_DEFAULT, REQUEST_BYTES_MIN};
    use crate::metrics::Metrics;
    use crate::span::FileKey;
    use crate::tailer::Line;

    #[test]
    fn tokens_of_flows_do_not_meet() {
        let mut flows = [DeliveryTokens::new(0xab, 0, 2), DeliveryTokens::new(0xab, 1, 2)];
        let drawn: Vec<String> = (0..4).map(|turn| flows[turn % 2].draw()).collect();
        assert_eq!(drawn[0], "000000000000000000000000000000ab-0");
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn the_key_of_a_file_is_the_end_of_its_path() {
        assert_eq!(file_partition_key(Path::new("/var/log/é.log")), "/var/log/é.log");
        let long = format!("/{}", "é".repeat(300));
        assert_eq!(file_partition_key(Path::new(&long)), "é".repeat(256));
    }

    #[test]
    fn golden_steps_reach_every_one_of_some_shards_soon() {
        for shard_count in [4u128, 10, 100] {
            let width = u128::MAX / shard_count;
            let mut hash_key = 12_345u128;
            let mut reached = HashSet::new();
            for _ in 0..2 * shard_count {
                hash_key = hash_key.wrapping_add(GOLDEN_STEP);
                reached.insert(hash_key / width);
            }
            assert!(reached.len() as u128 >= shard_count, "{} of {shard_count}", reached.len());
        }
    }

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
                read_at: Instant::now(),
            };
            offset += line.len() as u64;
            chunks.send(chunk).await.unwrap();
        }
        drop(chunks);
        let tokens = DeliveryTokens::new(1, 0, 1);
        let metrics = Metrics::default().flow("f");
        Packer::new(flow, tokens, request_bytes, BUDGET_BYTES, requests, events, metrics).run(chunks_out).await;
        std::iter::from_fn(|| requests_out.try_recv().ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_without_their_key_are_spread_over_all_ranges() {
        let settings = "[flow.parse]\nregex = '^(?<key>[^ ]*) (?<rest>.*)$'\n[flow.kinesis]\npartition_key = '${key}'";
        let lines: Vec<_> = (0..64).map(|_| [b" ".as_slice(), &[b'x'; 40_000]].concat()).collect();
        let requests = requests(settings, REQUEST_BYTES_DEFAULT, &lines).await;
        let range = |entry: &Entry| entry.explicit_hash_key.as_ref().unwrap().parse::<u128>().unwrap() >> 124;
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
