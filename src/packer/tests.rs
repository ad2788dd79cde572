#![allow(clippy::cast_possible_truncation, reason = "offsets in files that are in memory")]

mod any;
mod stories;

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;
use crate::budget::Share;
use crate::config::{Aggregate, Compression, Config, Destination, PartitionKey};
use crate::deaggregator::{Deaggregated, deaggregate};
use crate::hash_key::{HashRange, hash_of};
use crate::limits::{ENVELOPE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::metrics::Metrics;
use crate::settlement::{Outcome, Settled};
use crate::span::{Check, FileKey};
use crate::stream::{Shard, ShardMap};

const BUDGET_BYTES: usize = 1 << 20;

/// A packer, what it is told of the stream, and what it makes.
struct Stage {
    packer: Packer,
    flow: Arc<Flow>,
    facts: watch::Sender<StreamFacts>,
    load: Load,
    requests: mpsc::Receiver<Vec<Entry>>,
    events: mpsc::Receiver<Event>,
    /// What was written to each file.
    files: BTreeMap<FileKey, Vec<u8>>,
    /// All that was told of the stream, in order.
    told: Vec<StreamFacts>,
    /// Which of these held when the line was packed that begins here.
    told_at: BTreeMap<(FileKey, u64), usize>,
    entries: Vec<Entry>,
    dropped: Vec<(Span, DropReason)>,
}

/// A user record as a reader gets it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Received {
    /// None where lines are joined.
    key: Option<String>,
    data: Vec<u8>,
}

impl Stage {
    /// For a flow with these tables, of which the last is that of the destination.
    fn new(settings: &str) -> Self {
        Self::with(settings, None, 1)
    }

    fn with(settings: &str, request_bytes: Option<usize>, thread_count: usize) -> Self {
        let stream = if settings.contains("[flow.firehose]") { "delivery_stream" } else { "stream" };
        let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}\n{stream} = 's'\n");
        let config = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let flow = Arc::new(config.flows[0].clone());
        let (requests_in, requests) = mpsc::channel(10_000);
        let (events_in, events) = mpsc::channel(10_000);
        let known = StreamFacts::before_asking(&flow.delivery.destination);
        let (facts, facts_out) = watch::channel(known.clone());
        let load = Load::default();
        let packer = Packer::new(Parts {
            flow: Arc::clone(&flow),
            surroundings: Arc::default(),
            metadata: Metadata::nothing(),
            tokens: DeliveryTokens::new(1),
            request_bytes: request_bytes.unwrap_or(flow.delivery.request_bytes),
            thread_count,
            facts: facts_out,
            load: load.clone(),
            keys: None,
            share: Share::new(BUDGET_BYTES, 1),
            requests: requests_in,
            events: events_in,
            metrics: Metrics::default().flow("f"),
        });
        Self {
            packer,
            flow,
            facts,
            load,
            requests,
            events,
            files: BTreeMap::new(),
            told: vec![known],
            told_at: BTreeMap::new(),
            entries: Vec::new(),
            dropped: Vec::new(),
        }
    }

    fn tell(&mut self, facts: &StreamFacts) {
        self.told.push(facts.clone());
        self.facts.send_replace(facts.clone());
    }

    /// A piece of a file with these lines, which end in newlines there.
    fn chunk(&mut self, file: u64, lines: &[Vec<u8>]) -> Chunk {
        let file = FileKey(file);
        let content = self.files.entry(file).or_default();
        let (offset, mut bytes, mut places) = (content.len() as u64, Vec::new(), Vec::new());
        for line in lines {
            self.told_at.insert((file, offset + bytes.len() as u64), self.told.len() - 1);
            let start = bytes.len();
            bytes.extend(line);
            bytes.push(b'\n');
            places.push(Line { text: start..bytes.len() - 1, whole: start..bytes.len() });
        }
        content.extend(&bytes);
        let path: Arc<Path> = Path::new(&format!("/{}.log", file.0)).into();
        Chunk { file, path, offset, bytes, lines: places, header: None, read_at: Instant::now() }
    }

    async fn pack(&mut self, file: u64, lines: &[Vec<u8>]) {
        let chunk = self.chunk(file, lines);
        let processed = self.packer.processing.begin(chunk, &Arc::default(), false).unwrap();
        self.packer.pack(processed).await;
        self.gather();
    }

    async fn flush(&mut self) {
        self.packer.flush().await;
        self.gather();
    }

    fn gather(&mut self) {
        while let Ok(entries) = self.requests.try_recv() {
            self.entries.extend(entries);
        }
        while let Ok(event) = self.events.try_recv() {
            let Event::Settled(Settled { spans, outcome: Outcome::Dropped(reason) }) = event else { panic!("not a drop") };
            self.dropped.extend(spans.iter().map(|span| (span, reason)));
        }
    }

    /// Sends everything, and checks what holds whatever the flow is. Gives what a reader gets of each record.
    async fn check(&mut self) -> Vec<Vec<Received>> {
        self.flush().await;
        assert_eq!((self.packer.outgoing.packed_byte_count(), self.packer.built_byte_count()), (0, 0));
        let all = self.entries.iter().flat_map(|entry| entry.spans.iter()).chain(self.dropped.iter().map(|(span, _)| *span));
        let mut all: Vec<Span> = all.collect();
        all.sort();
        for (file, content) in &self.files {
            let of_file = all.iter().filter(|span| span.file == *file);
            let end = of_file.fold(0, |end, span| {
                assert_eq!(span.start, end, "bytes of {file:?} are missing, or there twice");
                span.end
            });
            assert_eq!(end, content.len() as u64, "the end of {file:?} is missing");
        }
        self.entries.iter().map(|entry| self.check_entry(entry)).collect()
    }

    /// A record is within the limits, every reader gets what is in it, and that is what its spans say.
    fn check_entry(&self, entry: &Entry) -> Vec<Received> {
        let record_bytes_max = self.told.iter().map(|facts| facts.record_bytes_max).max().unwrap();
        assert!(entry.byte_count() <= record_bytes_max, "{} bytes in a record", entry.byte_count());
        assert!((1..=256).contains(&entry.partition_key.chars().count()));
        assert!(entry.is_hash_key_explicit || entry.hash_key == hash_of(&entry.partition_key));
        let received = self.received(entry);
        let terminator = &*self.flow.record.terminator;
        let mut expected = Vec::new();
        for span in entry.spans.iter() {
            let bytes = &self.files[&span.file][span.start as usize..span.end as usize];
            let last_line = bytes.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
            assert!(span.last_line.is_none_or(|check| check == Check::of(last_line)), "the check is that of another line");
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                expected.push([text, terminator.as_bytes()].concat());
            }
        }
        assert_eq!(entry.user_record_count as usize, expected.len());
        if let Some(too_long) = entry.too_long {
            let span = entry.spans.iter().next().unwrap();
            assert_eq!(too_long, self.flow.line.too_long);
            assert_eq!(entry.spans.count(), 1);
            assert!(self.files[&span.file][span.start as usize..].starts_with(&entry.data));
        }
        let is_joined = received.iter().any(|record| record.key.is_none());
        let mut data: Vec<Vec<u8>> = received.iter().map(|record| record.data.clone()).collect();
        if is_joined && terminator.is_empty() {
            data.iter_mut().for_each(|data| assert_eq!(data.pop(), Some(b'\n')));
        }
        // Spans of files that alternate are sorted by file.
        if self.flow.delivery.order != Order::File {
            data.sort();
            expected.sort();
        }
        assert!(data == expected, "what is in a record is not what its spans say");
        received
    }

    fn received(&self, entry: &Entry) -> Vec<Received> {
        let data = match self.flow.delivery.compress {
            Compression::None => entry.data.to_vec(),
            Compression::Gzip => {
                let mut out = Vec::new();
                GzDecoder::new(&entry.data[..]).read_to_end(&mut out).unwrap();
                out
            }
            Compression::Zstd => zstd::decode_all(&entry.data[..]).unwrap(),
        };
        let has_kpl_readers = matches!(self.flow.delivery.destination, Destination::Kinesis(_));
        let of_shards = self.told.iter().map(|facts| {
            let range = facts.shards.ranges()[facts.shards.index_of(entry.hash_key)];
            // Over such a stream nobody knows which shard a record is in.
            let range = if facts.is_auto { HashRange::ALL } else { range };
            if has_kpl_readers { deaggregate(&data, Some(range)) } else { Deaggregated::Raw }
        });
        let mut of_shards: Vec<Deaggregated<'_>> = of_shards.collect();
        of_shards.dedup();
        assert_eq!(of_shards.len(), 1, "readers of different shards get different records");
        let is_auto = |of: Span| self.told[*self.told_at.range(..=(of.file, of.start)).next_back().unwrap().1].is_auto;
        let is_joined = match self.flow.delivery.aggregate {
            Aggregate::Lines => true,
            Aggregate::Kpl => entry.spans.iter().any(is_auto),
            Aggregate::None => false,
        };
        match of_shards.remove(0) {
            Deaggregated::Records(records) => {
                assert!(!is_joined || records.len() == 1, "an aggregate where there should be joined lines");
                let record = |record: crate::deaggregator::UserRecord<'_>| Received {
                    key: Some(record.partition_key.into_owned()),
                    data: record.data.to_vec(),
                };
                records.into_iter().map(record).collect()
            }
            Deaggregated::Raw if is_joined => {
                let lines = data.split_inclusive(|byte| *byte == b'\n');
                lines.map(|line| Received { key: None, data: line.to_vec() }).collect()
            }
            Deaggregated::Raw => vec![Received { key: Some(entry.partition_key.to_string()), data }],
            lost => panic!("readers lose {lost:?}"),
        }
    }
}

/// Shards that begin at these sixteenths of all hash keys, and at 0.
fn shards(sixteenths: &[u128]) -> Arc<ShardMap> {
    let starts: Vec<u128> = [0].into_iter().chain(sixteenths.iter().map(|start| start << 124)).collect();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([u128::MAX]);
    let shard = |(index, (start, end)): (usize, (&u128, u128))| Shard {
        id: format!("{index}").into(),
        range: HashRange { start: *start, end },
    };
    Arc::new(ShardMap::of(starts.iter().zip(ends).enumerate().map(shard).collect()).unwrap())
}

fn facts(shards: &Arc<ShardMap>) -> StreamFacts {
    StreamFacts { shards: Arc::clone(shards), is_auto: false, record_bytes_max: RECORD_BYTES_MAX }
}

/// `count` lines of about so many bytes, each with one of `key_count` keys in front, from the `first` number on.
fn lines(first: usize, count: usize, key_count: usize, byte_count: usize) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|number| {
            let mut line = format!("k{} #{number} ", number % key_count).into_bytes();
            line.resize(line.len().max(byte_count), b'x');
            line
        })
        .collect()
}
