//! Reads every shard of every stream back, takes the aggregates apart as a consumer does, and counts.
//!
//! What has been counted is deleted from the emulator, and each read starts at the oldest record there is.
//! So memory does not grow with what is shipped, and a record that the emulator stores behind one with a
//! later sequence number is not missed.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::{AddAssign, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::DisplayErrorContext;
use aws_sdk_kinesis::types::{Record, Shard, ShardIteratorType};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::StartError;
use super::server::{Server, Shredder, refused};
use super::text;
use crate::deaggregator::{Deaggregated, deaggregate};
use crate::hash_key::HashRange;
use crate::limits::MIB;

/// How long an empty shard is left alone.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// What one `GetRecords` should bring: the emulator knows no limit but the number of records.
const READ_BYTES: u64 = 4 * MIB as u64;
/// The least and the most records that `GetRecords` may be asked for.
const READ_RECORDS: RangeInclusive<i32> = 1..=10_000;
/// How many records are asked for while their size is not known.
const FIRST_READ_RECORDS: i32 = 100;
/// Samples kept of each stream.
const SAMPLES: usize = 5;
/// Samples taken of one Kinesis record, so that not all are of one file.
const SAMPLES_PER_RECORD: usize = 2;
/// Characters of a sample.
const SAMPLE_CHARS: usize = 300;

/// What was read back of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamRead {
    pub(super) stream: String,
    /// In the order of their hash keys.
    pub(super) shards: Vec<ShardRead>,
    /// Some of the first user records, fit to be shown.
    pub(super) samples: Vec<String>,
}

/// What was read back of one shard, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShardRead {
    /// Kinesis records: aggregates, or user records sent singly.
    pub(super) records: u64,
    /// User records given out.
    pub(super) user_records: u64,
    /// Data of the Kinesis records.
    pub(super) bytes: u64,
    /// User records of aggregates that a consumer drops because they reach into another shard.
    pub(super) dropped_user_records: u64,
    /// User records that could not be understood.
    pub(super) malformed_user_records: u64,
    /// Reads that failed.
    pub(super) failed_reads: u64,
}

impl AddAssign for ShardRead {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.user_records += other.user_records;
        self.bytes += other.bytes;
        self.dropped_user_records += other.dropped_user_records;
        self.malformed_user_records += other.malformed_user_records;
        self.failed_reads += other.failed_reads;
    }
}

impl StreamRead {
    /// All shards together.
    pub(super) fn total(&self) -> ShardRead {
        let mut total = ShardRead::default();
        self.shards.iter().for_each(|shard| total += *shard);
        total
    }
}

/// What was read so far, in the order of the streams' names.
pub(super) type StreamReads = Arc<Vec<Mutex<StreamRead>>>;

/// A task for each shard of each stream.
pub(super) struct Consumer {
    streams: StreamReads,
    readers: Vec<JoinHandle<()>>,
    /// True when nothing more is put: readers end at the first empty answer.
    ending: watch::Sender<bool>,
}

impl Consumer {
    pub(super) async fn start(server: &Server, streams: &BTreeSet<String>) -> Result<Self, StartError> {
        let client = server.client();
        let mut shards_by_stream = Vec::new();
        for stream in streams {
            let listed = client.list_shards().stream_name(stream).send().await;
            let listed = listed.map_err(|error| refused("list the shards of a stream", stream, &error))?;
            shards_by_stream.push((stream, listed.shards.unwrap_or_default()));
        }
        let reads = shards_by_stream.iter().map(|(stream, shards)| {
            let shards = vec![ShardRead::default(); shards.len()];
            Mutex::new(StreamRead { stream: (*stream).clone(), shards, samples: Vec::new() })
        });
        let reads: StreamReads = Arc::new(reads.collect());
        let (ending, is_ending) = watch::channel(false);
        let mut readers = Vec::new();
        for (stream_index, (stream, shards)) in shards_by_stream.into_iter().enumerate() {
            for (shard_index, shard) in shards.into_iter().enumerate() {
                let reader = Reader {
                    client: client.clone(),
                    shredder: server.shredder(),
                    stream: stream.clone(),
                    range: range_of(&shard)?,
                    shard_id: shard.shard_id,
                    reads: reads.clone(),
                    stream_index,
                    shard_index,
                    iterator: None,
                    read_records: FIRST_READ_RECORDS,
                };
                readers.push(server.spawn(reader.run(is_ending.clone())));
            }
        }
        Ok(Self { streams: reads, readers, ending })
    }

    /// What was read so far, also while reading goes on.
    pub(super) fn streams(&self) -> StreamReads {
        self.streams.clone()
    }

    /// Reads what is left. The emulator stores a record before it acknowledges it, so an empty answer is the end.
    pub(super) async fn finish(self) {
        let _ = self.ending.send(true);
        for reader in self.readers {
            if let Err(error) = reader.await {
                tracing::error!(%error, "a reader of a shard has ended early");
            }
        }
    }
}

fn range_of(shard: &Shard) -> Result<HashRange, StartError> {
    let range = shard.hash_key_range().and_then(|range| HashRange::parse(range.starting_hash_key(), range.ending_hash_key()));
    range.ok_or_else(|| StartError::new("list the shards of a stream", "a shard has no range of hash keys"))
}

/// Reads one shard.
struct Reader {
    client: Client,
    shredder: Shredder,
    stream: String,
    shard_id: String,
    range: HashRange,
    reads: StreamReads,
    stream_index: usize,
    shard_index: usize,
    /// Points to the oldest record, whatever has been read: see the head of the module.
    iterator: Option<String>,
    /// How many records the next read asks for.
    read_records: i32,
}

impl Reader {
    async fn run(mut self, mut is_ending: watch::Receiver<bool>) {
        loop {
            // Looked at before the read: what is acknowledged before the ending is then in the answer.
            let ending = *is_ending.borrow_and_update();
            match self.read().await {
                Ok(0) if ending => return,
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => {
                    self.iterator = None;
                    self.add(ShardRead { failed_reads: 1, ..ShardRead::default() }, Vec::new());
                    let (stream, shard) = (&self.stream, &self.shard_id);
                    tracing::error!(stream, shard, error = %DisplayErrorContext(&*error), "cannot read a shard back");
                    if ending {
                        return;
                    }
                }
            }
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                changed = is_ending.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Reads, counts and deletes some of the oldest records; returns how many.
    async fn read(&mut self) -> Result<usize, Box<dyn Error + Send + Sync>> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => self.oldest().await?,
        };
        self.iterator = Some(iterator.clone());
        let answer = self.client.get_records().shard_iterator(iterator).limit(self.read_records).send().await?;
        let records = answer.records;
        if records.is_empty() {
            return Ok(0);
        }
        let (read, samples) = taken_apart(&records, self.range);
        if read.dropped_user_records + read.malformed_user_records > 0 {
            let (stream, shard) = (&self.stream, &self.shard_id);
            let (dropped, malformed) = (read.dropped_user_records, read.malformed_user_records);
            tracing::error!(stream, shard, dropped, malformed, "a consumer of this stream loses user records");
        }
        self.add(read, samples);
        self.read_records = records_for(READ_BYTES, read.bytes, records.len());
        let sequence_numbers = records.iter().map(Record::sequence_number);
        self.shredder.forget(&self.stream, &self.shard_id, sequence_numbers).await;
        Ok(records.len())
    }

    /// An iterator that points to the oldest record.
    async fn oldest(&self) -> Result<String, Box<dyn Error + Send + Sync>> {
        let request = self.client.get_shard_iterator().stream_name(&self.stream).shard_id(&self.shard_id);
        let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        answer.shard_iterator.ok_or_else(|| "there is no iterator in the answer".into())
    }

    fn add(&self, read: ShardRead, samples: Vec<String>) {
        let mut stream = lock(&self.reads[self.stream_index]);
        stream.shards[self.shard_index] += read;
        let room = SAMPLES.saturating_sub(stream.samples.len());
        stream.samples.extend(samples.into_iter().take(room));
    }
}

/// What a consumer of the shard gets out of these records, and some of it to show.
fn taken_apart(records: &[Record], range: HashRange) -> (ShardRead, Vec<String>) {
    let mut read = ShardRead { records: records.len() as u64, ..ShardRead::default() };
    let mut samples = Vec::new();
    for record in records {
        let data = record.data().as_ref();
        read.bytes += data.len() as u64;
        let given_out = match deaggregate(data, Some(range)) {
            Deaggregated::Raw => vec![data],
            Deaggregated::Records(records) => records.iter().map(|record| record.data).collect(),
            Deaggregated::Dropped { record_count } => {
                read.dropped_user_records += record_count as u64;
                Vec::new()
            }
            Deaggregated::Malformed { readable, lost_count } => {
                read.malformed_user_records += lost_count as u64;
                readable.iter().map(|record| record.data).collect()
            }
        };
        read.user_records += given_out.len() as u64;
        let wanted = SAMPLES_PER_RECORD.min(SAMPLES.saturating_sub(samples.len()));
        samples.extend(given_out.iter().take(wanted).map(|data| text::visible(data, SAMPLE_CHARS)));
    }
    (read, samples)
}

/// The counters of one stream, which stay right if a reader panics: each is added to in one go.
pub(super) fn lock(read: &Mutex<StreamRead>) -> MutexGuard<'_, StreamRead> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many records of the mean size of those seen make up `wanted_bytes`.
fn records_for(wanted_bytes: u64, seen_bytes: u64, seen_records: usize) -> i32 {
    let mean_bytes = (seen_bytes / seen_records.max(1) as u64).max(1);
    let records = i32::try_from(wanted_bytes / mean_bytes).unwrap_or(i32::MAX);
    records.clamp(*READ_RECORDS.start(), *READ_RECORDS.end())
}
