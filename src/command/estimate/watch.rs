//! Watches the files of flows for a while: the real tailer reads them, from their ends, and a real packer for each way of packing
//! makes of every chunk what would be sent. Nothing is sent, and nothing is stored.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use super::tally::{Measure, Packed, Seconds, UserRecords};
use super::ways::{facts_of_new, packed_as};
use crate::budget::{Budget, Share};
use crate::checkpointer::Event;
use crate::collector::Entry;
use crate::command::run::surroundings;
use crate::config::{Aggregate, Compression, Config, Destination, Flow, StartAt};
use crate::delivery_token::DeliveryTokens;
use crate::discovery::{Globs, Hints, Watch};
use crate::gate::Gate;
use crate::limits::{
    CHUNKS_WAITING, ESTIMATE_PEAK_SECONDS, EVENTS_WAITING, FORGET_AFTER_DEFAULT, REQUEST_BYTES_MIN, REQUESTS_WAITING,
};
use crate::metadata::{Metadata, Wanted};
use crate::metrics::{FlowMetrics, Metrics};
use crate::packer::{self, Packer};
use crate::processor::Surroundings;
use crate::settlement::Settled;
use crate::stream::Load;
use crate::tailer::{self, Chunk, Mode, Tailer};

/// A flow that is being watched.
pub(super) struct Watching {
    flow: Flow,
    begun: Begun,
    metrics: FlowMetrics,
    lines: JoinHandle<Seconds>,
    kpl: Option<Packing>,
    joined: Packing,
    none: Packing,
    metrics_of_packing: FlowMetrics,
}

/// What a packer makes.
type Packing = JoinHandle<(Packed, Option<UserRecords>)>;

/// What was seen of a flow.
pub(super) struct Seen {
    pub(super) flow: Flow,
    /// Seconds since its files were found; more than none.
    pub(super) elapsed: f64,
    /// Files in which there is something, whether or not it was added now.
    pub(super) tailed_file_count: u64,
    /// Lines, and bytes of files.
    pub(super) lines: Seconds,
    /// In aggregates; those are not for Firehose.
    pub(super) kpl: Option<Packed>,
    /// Line behind line.
    pub(super) joined: Packed,
    /// Line by line.
    pub(super) none: Packed,
    /// As they were before they were compressed or encrypted.
    pub(super) records: UserRecords,
    pub(super) mismatched_line_count: u64,
    pub(super) keyless_line_count: u64,
    pub(super) dropped_bytes: u64,
    /// Bytes that are in the files and were not read.
    pub(super) lag_bytes: u64,
}

/// When a flow had found its files, and so when its first second began.
#[derive(Clone, Default)]
struct Begun(Arc<OnceLock<Instant>>);

/// What records may say of the host.
struct Host {
    surroundings: Arc<Surroundings>,
    metadata: Metadata,
}

impl Begun {
    /// The first second begins now, unless it has.
    fn at_last(&self) -> Instant {
        *self.0.get_or_init(Instant::now)
    }

    /// Whole seconds since.
    fn second(&self) -> usize {
        usize::try_from(self.at_last().elapsed().as_secs()).unwrap_or(usize::MAX)
    }
}

impl Watching {
    /// Begins to watch each of `flows` of `config`, in tasks of this runtime, until `stop` is true. The lines of all of them
    /// are also counted in `line_count`.
    pub(super) fn all(
        config: &Config,
        flows: &[Flow],
        stop: &watch::Receiver<bool>,
        line_count: &Arc<AtomicU64>,
    ) -> io::Result<Vec<Self>> {
        let share = Share::of(&config.agent, flows.len());
        let host = Host {
            surroundings: Arc::new(surroundings()),
            metadata: Metadata::ask(Wanted::of(flows), config.aws.endpoints.ec2_metadata.as_deref()),
        };
        let start = |flow| Self::one(flow, &host, &share, stop, line_count);
        flows.iter().map(start).collect()
    }

    fn one(
        flow: &Flow,
        host: &Host,
        share: &Share,
        stop: &watch::Receiver<bool>,
        line_count: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let metrics = Metrics::default();
        // Mismatches and the like are counted by one of the packers; the others count the same, elsewhere.
        let (of_tailer, of_packing, of_other) = (metrics.flow(&flow.name), metrics.flow("packing"), metrics.flow("other"));
        let begun = Begun::default();
        let budget = Budget::new(share.clone());
        let (events, events_out) = mpsc::channel(EVENTS_WAITING);
        tokio::spawn(follow_events(events_out, budget.clone(), begun.clone()));

        let hints = Hints::default();
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_WAITING);
        let tailer = Tailer::new(tailer::Parts {
            flow_index: 0,
            globs: Globs::new(&flow.files, &flow.exclude).map_err(|mistake| io::Error::other(mistake.message))?,
            watch: (!flow.poll).then(|| Watch::new(&hints)),
            hints,
            is_first_start: true,
            rows: Vec::new(),
            open_files: Vec::new(),
            flow: Arc::new(Flow { start_at: StartAt::End, ..flow.clone() }),
            chunks,
            events,
            gate: Gate::always_open(),
            forget_after: FORGET_AFTER_DEFAULT,
            budget: budget.clone(),
            metrics: of_tailer.clone(),
            random: fastrand::Rng::new(),
        });
        tokio::spawn(tailer.run(Mode::Follow, stop.clone()));

        let is_kinesis = matches!(flow.delivery.destination, Destination::Kinesis(_));
        // What is compressed does not show how large it was; aggregates are not compressed.
        let is_told_by_kpl = is_kinesis && flow.delivery.compress != Compression::None;
        let mut packers = Vec::new();
        let mut pack = |aggregate, tells_records, metrics: &FlowMetrics| {
            let way = Way { flow: packed_as(aggregate, flow), tells_records };
            let (chunks, packing) = way.pack(host, share, metrics.clone(), begun.clone());
            packers.push(chunks);
            packing
        };
        let kpl = is_kinesis.then(|| pack(Aggregate::Kpl, is_told_by_kpl, &of_other));
        let joined = pack(Aggregate::Lines, false, &of_other);
        let none = pack(Aggregate::None, !is_told_by_kpl, &of_packing);
        let fork = Fork { chunks: chunks_out, packers, budget, begun: begun.clone() };
        let lines = tokio::spawn(fork.run(stop.clone(), Arc::clone(line_count)));
        Ok(Self { flow: flow.clone(), begun, metrics: of_tailer, lines, kpl, joined, none, metrics_of_packing: of_packing })
    }

    /// Whether its files were found, so that whatever is added to them is seen.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.0.get().is_some()
    }

    /// What was seen until `ended_at`, which is now; `stop` has been told. Waits for no tailer, which may hang in a system call.
    pub(super) async fn end(self, ended_at: Instant) -> Option<Seen> {
        let elapsed = ended_at.saturating_duration_since(self.begun.at_last()).max(Duration::from_millis(1)).as_secs_f64();
        let lines = self.lines.await.ok()?;
        let (kpl, told_by_kpl) = match self.kpl {
            Some(packing) => packing.await.ok().map(|(packed, records)| (Some(packed), records))?,
            None => (None, None),
        };
        let (joined, _) = self.joined.await.ok()?;
        let (none, told_by_none) = self.none.await.ok()?;
        let (read, packed) = (&self.metrics, &self.metrics_of_packing);
        let figure = |gauge: i64| u64::try_from(gauge).unwrap_or_default();
        Some(Seen {
            elapsed,
            tailed_file_count: figure(read.tailed_files.get()),
            lines,
            kpl,
            joined,
            none,
            records: told_by_kpl.or(told_by_none)?,
            mismatched_line_count: packed.mismatched_lines.get(),
            keyless_line_count: packed.partition_key_missing_lines.get(),
            dropped_bytes: packed.dropped_bytes() + read.dropped_bytes(),
            lag_bytes: figure(read.lag_bytes.get()),
            flow: self.flow,
        })
    }
}

/// Does what the checkpointer does for the tailer: what is dropped needs no more room.
async fn follow_events(mut events: mpsc::Receiver<Event>, budget: Budget, begun: Begun) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Started { .. } => _ = begun.at_last(),
            Event::Settled(settled) => give_back(&budget, settled.spans.byte_count()),
            _ => {}
        }
    }
}

fn give_back(budget: &Budget, byte_count: u64) {
    budget.give_back(usize::try_from(byte_count).unwrap_or(usize::MAX));
}

/// Counts lines, and passes each chunk on to all packers.
struct Fork {
    chunks: mpsc::Receiver<Chunk>,
    packers: Vec<mpsc::Sender<Chunk>>,
    budget: Budget,
    begun: Begun,
}

impl Fork {
    async fn run(mut self, mut stop: watch::Receiver<bool>, line_count: Arc<AtomicU64>) -> Seconds {
        let mut lines = Seconds::default();
        loop {
            let chunk = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop), if !self.chunks.is_closed() => {
                    // What was read by now counts.
                    self.chunks.close();
                    continue;
                }
                chunk = self.chunks.recv() => chunk,
            };
            let Some(chunk) = chunk else { return lines };
            let byte_count: usize = chunk.lines.iter().map(|line| line.whole.len()).sum();
            lines.add(self.begun.second(), chunk.lines.len() as u64, byte_count as u64);
            line_count.fetch_add(chunk.lines.len() as u64, Ordering::Relaxed);
            for packer in &self.packers {
                // Packers end after this task.
                let _ = packer.send(copy_of(&chunk)).await;
            }
            self.budget.give_back(byte_count);
        }
    }
}

fn copy_of(chunk: &Chunk) -> Chunk {
    Chunk {
        file: chunk.file,
        path: Arc::clone(&chunk.path),
        offset: chunk.offset,
        bytes: chunk.bytes.clone(),
        lines: chunk.lines.clone(),
        header: chunk.header.clone(),
        read_at: chunk.read_at,
    }
}

/// A way of packing that is tried.
struct Way {
    /// Packed in this way.
    flow: Flow,
    /// What there is to know of the user records is found in what it makes.
    tells_records: bool,
}

impl Way {
    /// Begins to pack what comes by the channel; the records go no further than into the result.
    fn pack(mut self, host: &Host, share: &Share, metrics: FlowMetrics, begun: Begun) -> (mpsc::Sender<Chunk>, Packing) {
        let measure = Measure::of(&self.flow);
        // It is reckoned what encryption adds: no key is asked for.
        self.flow.encryption = None;
        let delivery = &mut self.flow.delivery;
        // Who waits longer sends in bursts that the watching may be too short to see.
        delivery.max_delay = delivery.max_delay.min(Duration::from_secs(ESTIMATE_PEAK_SECONDS as u64));
        let request_bytes = delivery.request_bytes.min(share.byte_count_max().max(REQUEST_BYTES_MIN));
        let destination = delivery.destination.clone();
        let run_id = fastrand::u128(..);
        let (facts, facts_out) = watch::channel(facts_of_new(&destination, 1));
        let (events, mut events_out) = mpsc::channel(EVENTS_WAITING);
        let (requests, mut requests_out) = mpsc::channel::<Vec<Entry>>(REQUESTS_WAITING);
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_WAITING);
        let dropped = metrics.clone();
        let packer = Packer::new(packer::Parts {
            flow: Arc::new(self.flow),
            surroundings: Arc::clone(&host.surroundings),
            metadata: host.metadata.clone(),
            tokens: DeliveryTokens::new(run_id),
            request_bytes,
            thread_count: 1,
            facts: facts_out,
            load: Load::default(),
            keys: None,
            share: share.clone(),
            requests,
            events,
            metrics,
        });
        // This is all there is to know, so that it is not waited for more.
        facts.send_modify(|_| {});
        tokio::spawn(packer.run(chunks_out));
        tokio::spawn(async move {
            while let Some(event) = events_out.recv().await {
                if let Event::Settled(Settled { spans, outcome }) = event {
                    dropped.settled(outcome, spans.byte_count());
                }
            }
        });
        let count = async move {
            let mut packed = Packed::new(measure);
            let mut records = self.tells_records.then(|| UserRecords::new(run_id));
            let mut shard_count = 1;
            while let Some(entries) = requests_out.recv().await {
                packed.add(begun.second(), &entries);
                if let Some(records) = &mut records {
                    records.add(&entries);
                }
                // Records with keys are packed as for a stream with as many shards as they need.
                let needed = packed.shards_so_far();
                if needed > shard_count {
                    shard_count = needed;
                    facts.send_replace(facts_of_new(&destination, shard_count));
                }
            }
            (packed, records)
        };
        (chunks, tokio::spawn(count))
    }
}
