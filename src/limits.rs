//! Every bound of the service and of ours, each with its source or its reason.
//!
//! Relations between bounds are proved when the crate is compiled.

use std::time::Duration;

/// One kibibyte.
pub const KIB: usize = 1024;
/// One mebibyte.
pub const MIB: usize = 1024 * KIB;

// --- Kinesis Data Streams: API reference of PutRecords ---

/// Characters of the name of a shard, all of them ASCII.
pub const SHARD_ID_BYTES_MAX: usize = 128;
/// Records in one `PutRecords` request.
pub const REQUEST_RECORDS_MAX: usize = 500;
/// Bytes of a record, data and partition key together, on a stream whose `MaxRecordSizeInKiB` is the default.
pub const RECORD_BYTES_MAX: usize = MIB;
/// The same on a stream with the greatest `MaxRecordSizeInKiB`, 10240 (since 2025-10).
pub const RECORD_BYTES_LARGEST: usize = 10 * MIB;
/// Bytes of a request, data and partition keys together, that every region and emulator accepts.
pub const REQUEST_BYTES_DEFAULT: usize = 5 * MIB;
/// Bytes of a request in the regions that have the larger limit (since 2025-10).
pub const REQUEST_BYTES_MAX: usize = 10 * MIB;
/// Less than this a request cannot hold one record of the largest size.
pub const REQUEST_BYTES_MIN: usize = RECORD_BYTES_MAX + REQUEST_MARGIN_BYTES;
/// The service's way of counting a request is not documented to the byte: stay this far below the limit.
pub const REQUEST_MARGIN_BYTES: usize = 64 * KIB;
/// Unicode characters of a partition key; at least 1.
pub const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Shards in one answer of `ListShards`, as many as it gives when it is not asked.
pub const SHARDS_PER_PAGE: i32 = 1_000;
/// Answers that are asked for at most: five times the shards that an account may have where it may have most, 20,000.
pub const SHARD_PAGES_MAX: usize = 100;
/// Bytes a second that a shard takes, data and partition keys together: Developer Guide, "Quotas and limits".
pub const SHARD_BYTES_IN_MAX: usize = MIB;
/// Records a second that a shard takes.
pub const SHARD_RECORDS_IN_MAX: usize = 1_000;
/// Bytes a second that a shard gives to all consumers that share its throughput.
pub const SHARD_BYTES_OUT_MAX: usize = 2 * MIB;
/// Bytes of a PUT payload unit, by which provisioned streams are charged: the 25 KB of the price list, read as 25 KiB.
pub const PAYLOAD_UNIT_BYTES: usize = 25 * KIB;
/// Each record counts as a multiple of this where on-demand streams are charged for what comes in: the price list's 1 KB
/// (1,024 bytes).
pub const ON_DEMAND_RECORD_BYTES: usize = KIB;

// --- Data Firehose: API reference of PutRecordBatch ---

/// Bytes of a record: 1,000 KiB before base64.
pub const FIREHOSE_RECORD_BYTES_MAX: usize = 1000 * KIB;
/// Bytes of a request.
pub const FIREHOSE_REQUEST_BYTES_MAX: usize = 4 * MIB;
/// `record_bytes` when the configuration says nothing. Each record is charged as a multiple of 5 KB: of a record of this size at
/// most 1 % is charged for nothing, and several go into a request.
pub const FIREHOSE_RECORD_BYTES_DEFAULT: usize = 500 * KIB;

/// Each record is charged as a multiple of this: "5KB (5120 bytes)", Developer Guide, "Quota",
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>.
pub const FIREHOSE_CHARGED_BYTES: usize = 5 * KIB;
/// Where [`FIREHOSE_QUOTA_LARGE`] holds.
pub const FIREHOSE_LARGE_REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];
/// What a delivery stream takes in a second of direct puts, all writers together, until it is raised: same source.
pub const FIREHOSE_QUOTA_LARGE: FirehoseQuota = FirehoseQuota { records: 500_000, requests: 2_000, bytes: 5 * MIB };
/// The same in all other regions.
pub const FIREHOSE_QUOTA: FirehoseQuota = FirehoseQuota { records: 100_000, requests: 1_000, bytes: MIB };

/// What a delivery stream takes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirehoseQuota {
    /// Records.
    pub records: usize,
    /// Requests.
    pub requests: usize,
    /// Bytes.
    pub bytes: usize,
}

// --- Records as kinetail makes them ---

/// Size at which an aggregate is sent, outer partition key included.
///
/// A PUT payload unit is 25 KB, read as 25,600 or as 25,000 bytes: two units in the stricter reading, less
/// a little. Larger aggregates cost no fewer units (200-byte lines: 8,163 units a million at 51,200 bytes,
/// 8,135 at 1 MiB), they only wait longer.
pub const AGGREGATE_BYTES_TARGET: usize = 49_900;
/// `max_record_bytes` when the configuration says nothing: as of aggregates.
pub const JOINED_RECORD_BYTES_DEFAULT: usize = AGGREGATE_BYTES_TARGET;
/// Least `max_record_bytes` and `record_bytes`: with less nothing is joined.
pub const JOINED_RECORD_BYTES_MIN: usize = KIB;
/// What one line costs in an aggregate or a record beside its own bytes, at the worst: magic, digest and
/// field headers (60), two partition keys of 256 characters of 4 bytes (2,048), an explicit hash key (41),
/// a tag of one span (80), a terminator (16), and what a record of the largest size grows by that cannot be compressed (823).
pub const ENVELOPE_BYTES_MAX: usize = 4 * KIB;
/// The longest line that surely fits a record.
pub const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX - ENVELOPE_BYTES_MAX;
/// Hash ranges over which keyed records are spread, each with an open aggregate of its own, while no shard
/// map is known. More ranges spread over more shards but fill more slowly.
pub const HASH_RANGES: u32 = 16;

// --- Parsing ---

/// Columns of a table: a place in a line, and a key in every record, for each.
pub const COLUMNS_MAX: usize = 1000;

/// Names in the name of a field that nests: readers of JSON have limits, and recursion of ours goes as deep.
pub const NESTED_NAMES_MAX: usize = 32;
/// Fields of a line that names them itself; one with more is of another format.
pub const FIELDS_MAX: usize = 10_000;
/// Memory for what is made of a line that is kept for the next ones, by flow. Longer lines with very many fields take more, for
/// a moment.
pub const ARENA_BYTES_KEPT: usize = 2 * MIB;
/// Longest `with` of a mask, in bytes.
pub const MASK_BYTES_MAX: usize = 100;
/// A value that would be longer with its masks becomes a mask as a whole: no record can hold it.
pub const MASKED_BYTES_MAX: usize = 2 * MIB;
/// The same where so much memory was taken for what is made of a line.
pub const MASKED_ARENA_BYTES_MAX: usize = 16 * MIB;
/// Longest `terminator`, in bytes; at least a line break.
pub const TERMINATOR_BYTES_MAX: usize = 16;

// --- Reading ---

/// Bytes read from a file in one piece; larger pieces measured no faster.
pub const READ_BYTES: usize = 256 * KIB;
/// Lines cut from a file in one piece: of empty lines, the places of the lines are many times as large as the lines.
pub const PIECE_LINES_MAX: usize = 8192;
/// `max_lines` of `[flow.multiline]` when the configuration says nothing: only traces of a stack that has overflowed
/// are longer.
pub const JOINED_LINES_DEFAULT: usize = 1000;
/// Least `max_lines`: with less nothing is joined.
pub const JOINED_LINES_MIN: usize = 2;
/// Greatest `max_lines`: a record is joined from the lines of one piece.
pub const JOINED_LINES_MAX: usize = 5000;
/// How long a record of several lines waits for more when the configuration says nothing: a trace is written at once.
pub const JOINING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// How long a line that a container runtime has divided waits for its next part: it comes when the line ends or is as long
/// again, and programs take their time to end a line.
pub const PARTS_TIMEOUT: Duration = Duration::from_secs(60);
/// Least such wait: a writer may be interrupted between two writes.
pub const JOINING_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Greatest such wait: so long what is waiting is not safe from the host's end.
pub const JOINING_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);
/// Most lines at the beginning of a file that can be its header.
pub const HEADER_LINES_MAX: usize = 1000;
/// Bytes of a line of it that names columns, kept for each file: [`COLUMNS_MAX`] names of 64 bytes.
pub const HEADER_LINE_BYTES_MAX: usize = 64 * COLUMNS_MAX;
/// How long after it has looked at files that were written to a tailer looks again: what is written meanwhile goes together. The
/// first write after a pause is looked at at once.
pub const HINTS_REST: Duration = Duration::from_millis(5);
/// Bytes read from one file before the next has its turn.
pub const ROUND_BYTES: usize = MIB;
/// Bytes of the beginning of a file that tell it from another with the same inode.
pub const FINGERPRINT_BYTES: usize = KIB;
/// With so many NULs a file begins only when it was truncated under a writer that does not append.
pub const HOLE_BYTES_MIN: usize = 512;
/// Bytes before a position that tell whether the file still has the content of which that is the position.
pub const MARK_BYTES: usize = 256;
/// Marks of one file that wait for the watermark to reach them. Beyond, fewer of them are kept.
pub const MARKS_WAITING: usize = 64;
/// Lives of a flow that are kept though their files are gone: one may come back, or as a copy, or compressed.
pub const GONE_LIVES_MAX: usize = 1000;
/// `forget_after` when the configuration says nothing: how long these are kept.
pub const FORGET_AFTER_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Least `forget_after`: a rotation is done in seconds, but compressing may come a minute later.
pub const FORGET_AFTER_MIN: Duration = Duration::from_secs(60);
/// Greatest `forget_after`.
pub const FORGET_AFTER_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// A file that no glob matches any more, or whose name another file has taken, is taken to be complete when nothing was
/// added to it for so long. Programs keep their log open for a while after it was rotated.
pub const COMPLETE_AFTER: Duration = Duration::from_secs(30);
/// A file shorter than [`FINGERPRINT_BYTES`] that has the same content as another may be a copy that is about to replace it.
/// After so long it is not.
pub const SHORT_COPY_WAIT: Duration = Duration::from_secs(60);
/// `rescan` when the configuration says nothing: how often all globs are expanded again, whether or not a notification came.
pub const RESCAN_DEFAULT: Duration = Duration::from_secs(10);
/// Least `rescan`.
pub const RESCAN_MIN: Duration = Duration::from_millis(100);
/// Greatest `rescan`.
pub const RESCAN_MAX: Duration = Duration::from_secs(60 * 60);
/// Descriptors that are left for sockets, the offset store and the like when the limit of the process is low.
pub const RESERVED_DESCRIPTORS: usize = 64;
/// `max_open_files` when the configuration says nothing.
pub const OPEN_FILES_DEFAULT: usize = 1024;
/// Least `max_open_files`, and the least share of a flow in it.
pub const OPEN_FILES_MIN: usize = 16;
/// Greatest `max_open_files`: `fs.nr_open` of Linux when nobody has raised it.
pub const OPEN_FILES_MAX: usize = 1 << 20;
/// How long notifications are gathered before the globs are expanded again.
pub const RESCAN_DEBOUNCE: Duration = Duration::from_millis(100);
/// Where folders never come to rest, a rescan is followed by so many times as long without one: at most 5 % of
/// a core goes into looking.
pub const RESCAN_REST: u32 = 19;
/// Where notifications tell of every change, rescans that take more processor time than this are rarer in proportion: with
/// [`RESCAN_DEFAULT`] they take at most half a thousandth of a core, until they are as rare as [`RESCAN_RARE`].
pub const RESCAN_CPU_MAX: Duration = Duration::from_millis(5);
/// Longest time between two rescans, unless `rescan` is longer: of a write to a mapped file, or a disk that is mounted,
/// no notification tells.
pub const RESCAN_RARE: Duration = Duration::from_secs(60);
/// How often figures that take a look at every file are made anew while files are read.
pub const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// Paths remembered from notifications; beyond, all files are looked at.
pub const HINTS_MAX: usize = 4096;
/// Notifications that were lost, because more came than the system keeps, are told of again this often at most: where
/// that happens once it happens all the time.
pub const NOTIFICATIONS_LOST_REMINDER: Duration = Duration::from_secs(60 * 60);

// --- Memory ---

/// The part of `memory_max` that may be bytes of lines, read and not settled. The rest is for what such a line becomes on its way: its
/// record, the body of its request, and what is kept of these for the next. In an outage the process has 5 bytes for each that was read,
/// and some 14 MiB (`end_to_end -- memory`).
pub const MEMORY_PER_LINE_BYTE: usize = 6;
/// `memory_max` when the configuration says nothing; more when there are so many flows that they need more.
pub const MEMORY_DEFAULT: usize = 32 * MIB;
/// The least that `memory_max` can be for each flow.
pub const MEMORY_PER_FLOW_MIN: usize = 4 * FLOW_BYTES_MIN;
/// The least that a flow needs for bytes read and not settled: two pieces, one on its way while the next is
/// read. A longer line is read when nothing else of its flow is on the way.
pub const FLOW_BYTES_MIN: usize = 2 * READ_BYTES;
/// The most that `memory_max` can be, so that products of it fit a `usize`.
pub const MEMORY_MAX: usize = usize::MAX >> 20;
/// The part of a flow's bytes that may wait in the packer, so that sending goes on while it fills.
pub const PACKER_SHARE: usize = 4;

/// Greatest `threads`: more cores than any instance of EC2 has.
pub const THREADS_MAX: usize = 1024;
/// Bytes of the buffer of what was made of a chunk that are kept for the next: JSON is seldom four times as long as its lines.
pub const PROCESSED_BYTES_KEPT: usize = 4 * READ_BYTES;
/// Chunks between tailer and packer: one being packed, one waiting; where several threads process lines they have one each
/// besides. The bound that counts is the budget.
pub const CHUNKS_WAITING: usize = 2;
/// Requests between packer and sender.
pub const REQUESTS_WAITING: usize = 1;
/// Reports on the road back. They wait there while the checkpointer waits for the disk, and then the road out waits too:
/// enough for some seconds of chunks dropped, files opened and requests answered.
pub const EVENTS_WAITING: usize = 1024;

// --- Configuration ---

/// Bytes of all files of the configuration together: some 10,000 flows. What is mistaken for a configuration (a log, a disk) is not
/// read into memory, and its mistakes are told within seconds.
pub const CONFIG_BYTES_MAX: usize = 4 * MIB;
/// Files in `conf.d`: flows have memory of their own, so that there are never so many.
pub const CONFIG_FILES_MAX: usize = 1_000;
/// Mistakes of one file that are shown; the others are counted.
pub const MISTAKES_SHOWN_MAX: usize = 100;

// --- Sending ---

/// `max_delay` when the configuration says nothing.
pub const MAX_DELAY_DEFAULT: Duration = Duration::from_secs(1);
/// Least `max_delay`: with less, every line is a request.
pub const MAX_DELAY_MIN: Duration = Duration::from_millis(10);
/// Greatest `max_delay`, that of the Java agent's `maxBufferAgeMillis`.
pub const MAX_DELAY_MAX: Duration = Duration::from_secs(15 * 60);
/// Requests of one flow in flight at once. A request of 500 single lines is some 100 KB: over a round trip of 100 ms so many
/// of them are 16 MB/s. Of large ones the memory of the flow bounds the number.
pub const REQUESTS_IN_FLIGHT: usize = 16;
/// How often the sender says at most how long what waits will take.
pub const LOAD_INTERVAL: Duration = Duration::from_millis(20);
/// A flow of which everything is throttled for so long counts as paused.
pub const THROTTLED_UNTIL_PAUSED: Duration = Duration::from_secs(30);
/// How long the first lines wait for what the service says of the stream: no record in the KPL's format should be made for a
/// stream of which readers lose it.
pub const FACTS_WAIT: Duration = Duration::from_secs(5);
/// How often, about, the shards of a stream and the rest are asked for while nothing contradicts what is known: in a fleet of
/// 10,000 hosts 6 times a second, of the 20 `DescribeStreamSummary` that an account may ask.
pub const SURVEY_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// First wait before they are asked for again after a failure, doubling up to `SURVEY_RETRY_MAX`.
pub const SURVEY_RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest such wait.
pub const SURVEY_RETRY_MAX: Duration = Duration::from_secs(60);
/// Least time between two `ListShards`; it doubles, up to `DOUBT_INTERVAL_MAX`, while the shards are the same as before though
/// answers contradict them.
pub const DOUBT_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest such time, and about the least between two `DescribeStreamSummary`.
pub const DOUBT_INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);
/// First wait before a retry; doubles up to `BACKOFF_MAX`, each spread over its upper half.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait before a retry, also while a flow is paused.
pub const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// Longest answer of a service: 10 MiB of records in base64 with their keys, and something more. What is longer is none.
pub const ANSWER_BYTES_MAX: usize = 20 * MIB;
/// Buffers of bodies that are kept while no request needs them: enough for those that follow each other closely.
pub const BODIES_KEPT_MAX: usize = 4;
/// Bytes of these together: one of the longest bodies, 10 MiB in base64, or several of the usual ones.
pub const BODY_BYTES_KEPT_MAX: usize = 16 * MIB;
/// Name, TCP, proxy and TLS together, when the configuration says nothing.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Least `connect_timeout`: round trips through a proxy add up.
pub const CONNECT_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Greatest `connect_timeout`.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// From the first byte sent to the last received; a request of 5 MiB, 6.7 MiB in base64, in that time is 227 KiB/s.
/// Over slower lines requests become smaller. It holds when the configuration says nothing.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Least `attempt_timeout`: a record of the largest size needs its time.
pub const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Greatest `attempt_timeout`.
pub const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);
/// Credentials that the service refuses are loaded anew at most so often.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of the answer of a proxy to CONNECT, headers included.
pub const PROXY_ANSWER_BYTES_MAX: usize = 16 * KIB;
/// The service drops idle connections earlier than the SDK's default of 90 s, which shows as resets
/// (aws-sdk-rust issues 1106 and 440).
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// A record that the service refuses by itself is sent again so rarely.
pub const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(20);
/// Characters of a message of the service or of the SDK that are repeated to the operator.
pub const MESSAGE_CHARS_MAX: usize = 500;
/// A flow that cannot deliver says so again this often.
pub const PAUSE_REMINDER: Duration = Duration::from_secs(300);

// --- Encryption ---

/// Bytes of one frame of an encrypted record: a record of the largest size is of few frames, and each of them costs little.
pub const FRAME_BYTES: usize = 512 * KIB;
/// Bytes of an encryption context as it is written. It is part of every record; KMS takes up to 8,192 characters.
pub const CONTEXT_BYTES_MAX: usize = 2 * KIB;
/// Bytes of the ARN of a key of KMS; that of a key is some 80 bytes long.
pub const KEY_ARN_BYTES_MAX: usize = 256;
/// Bytes of an encrypted data key. KMS makes 184 of one of 32 bytes; its API reference allows for 6,144.
pub const ENCRYPTED_KEY_BYTES_MAX: usize = KIB;
/// What KMS makes of a data key of 32 bytes, as far as was seen: its API reference promises nothing.
pub const ENCRYPTED_KEY_BYTES_USUAL: usize = 184;
/// What encryption adds to a record at the worst, whatever the key and the context.
pub const SEALED_OVERHEAD_BYTES_MAX: usize = 4 * KIB;
/// `max_age` of a data key when the configuration says nothing: some 8,600 calls of KMS a month for a flow.
pub const DATA_KEY_AGE_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Least `max_age`: a call takes some tens of milliseconds.
pub const DATA_KEY_AGE_MIN: Duration = Duration::from_secs(1);
/// Greatest `max_age`.
pub const DATA_KEY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// `max_messages` of a data key when the configuration says nothing.
pub const DATA_KEY_MESSAGES_DEFAULT: usize = 1_000_000;
/// Greatest `max_messages`: the specification of the caching materials manager has 2^32.
pub const DATA_KEY_MESSAGES_MAX: usize = u32::MAX as usize;
/// `max_bytes` of a data key when the configuration says nothing.
pub const DATA_KEY_BYTES_DEFAULT: usize = 1024 * MIB;
/// Least `max_bytes`: some records of the largest size.
pub const DATA_KEY_BYTES_MIN: usize = 16 * MIB;
/// Greatest `max_bytes`; the specification would allow for 2^63 - 1.
pub const DATA_KEY_BYTES_MAX: usize = MIB * MIB;

// --- Settling ---

/// How often settled offsets are committed and flushed to the disk.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How soon it is committed that a file is tailed from now on; several that come at once share a commit.
pub const OPENED_COMMIT_DELAY: Duration = Duration::from_millis(50);
/// How long an ending waits for the last commit; a disk that hangs longer costs lines sent twice.
pub const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How old the last commit may be when a request leaves. With the age of that commit it is known until when a process that has
/// died can have sent something.
pub const MARK_AGE_MAX: Duration = Duration::from_secs(3);
/// Memory that sled may use for its pages.
pub const STORE_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How much later than they would the idle threads of sled may look whether there is something to do.
pub const STORE_THREADS_SLACK: Duration = Duration::from_secs(60);
/// In what portions sled's file grows and is used again.
pub const STORE_SEGMENT_BYTES: usize = 256 * KIB;
/// How many entries are written at once to a new store.
pub const STORE_BATCH_ENTRIES: usize = 1000;
/// Greatest snapshot of the store: some 600,000 rows. A larger one is not written, nor read.
pub const STORE_SNAPSHOT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How often a snapshot of a store that changes is written at most.
pub const STORE_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(5);
/// How much is written for snapshots on average at most, in bytes a second: those of more than 640 KiB (some 1500 rows) are rarer
/// than every 5 s, those of 10,000 rows come every half minute.
pub const STORE_SNAPSHOT_RATE: u64 = 128 * 1024;
/// Greatest folder of sled's that is looked at.
pub const STORE_FOLDER_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Memory of the process that reads a store, beside what the store takes.
pub const STORE_READER_MEMORY_BYTES: u64 = 128 * 1024 * 1024;
/// How much memory it may take for each byte of sled's files.
pub const STORE_READER_MEMORY_FACTOR: u64 = 8;
/// CPU time of that process, in seconds; what is not read by then is taken for an endless loop.
pub const STORE_READER_CPU_SECONDS: u64 = 30;
/// How long that process is waited for on a busy host.
pub const STORE_READER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sled's threads of a store that was closed in this process are waited for.
pub const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// What must fit on the disk before the offset store is opened again after a failure: a segment of sled's.
pub const STORE_PROBE_BYTES: u64 = 512 * 1024;
/// `drain_timeout` when the configuration says nothing.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Greatest `drain_timeout`: service managers wait for minutes at most.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);
/// How often a line of figures is logged.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);

/// A flow that has changed has usually ended after so long, once its lines are delivered; else it says why it waits.
pub const HAND_OVER_USUAL: Duration = Duration::from_secs(3);

/// How long a flow waits that cannot begin while the agent runs, as without threads.
pub const BEGIN_RETRY_INTERVAL: Duration = Duration::from_secs(10);

// --- Reading back ---

/// `settle` when the configuration says nothing: how long after a request can last have been accepted its records are readable.
pub const SETTLE_DEFAULT: Duration = Duration::from_secs(5);
/// Least `settle`: for emulators.
pub const SETTLE_MIN: Duration = Duration::from_millis(10);
/// Greatest `settle`.
pub const SETTLE_MAX: Duration = Duration::from_secs(10 * 60);
/// So much may the clocks of the host and of the service, corrected by what the service says, and its times of arrival differ.
/// `Date` is in whole seconds, and times of arrival have no accuracy that is documented.
pub const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// Requests of one reading that are on their way at once, whatever the number of shards: each may bring [`READ_ANSWER_BYTES`],
/// which take some 6 MiB until they are looked at.
pub const READ_REQUESTS_IN_FLIGHT: usize = 4;
/// `GetRecords` and `GetShardIterator` may be asked of a shard 5 times a second each, by all readers together: API references.
pub const SHARD_READ_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes that an answer to `GetRecords` should have at most: what a shard gives in a second.
pub const READ_ANSWER_BYTES: usize = SHARD_BYTES_OUT_MAX;
/// Records in an answer to `GetRecords`.
pub const READ_ANSWER_RECORDS_MAX: u32 = 10_000;
/// How often a shard of which everything is read is asked for more, until the end of the window is there.
pub const SHARD_TIP_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait after a throttle: other readers take what this one leaves.
pub const READ_THROTTLED_MAX: Duration = Duration::from_secs(5);
/// Reading is given up when for so long the service has answered nothing but failures.
pub const READ_BACK_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How often it is said how far a reading at the start is.
pub const READ_BACK_LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Answers in a row of one shard that have nothing new and still are not the end. The service gives some where there are gaps in
/// time; so many of them are 17 minutes.
pub const READ_EMPTY_ANSWERS_MAX: u32 = 5_000;
/// How long a stream that may not be read is not asked for again while the agent runs: people change that, if anybody does.
pub const READ_BACK_REFUSED_INTERVAL: Duration = Duration::from_secs(15 * 60);

// --- Metadata of the host ---

/// How long the first lines wait for instance metadata. On EC2 the answer takes milliseconds, but early in a boot the
/// service or the network may not be there yet, and a record that went without stays without.
pub const METADATA_WAIT: Duration = Duration::from_secs(10);
/// First wait before instance metadata are asked for again; doubles up to `METADATA_RETRY_MAX`.
pub const METADATA_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait before they are asked for again while something is not known.
pub const METADATA_RETRY_MAX: Duration = Duration::from_secs(60);
/// How often tags are asked for again: they change while the instance runs, by hand.
pub const METADATA_TAGS_INTERVAL: Duration = Duration::from_secs(5 * 60);

// --- Estimates ---

/// How long `kinetail estimate` watches when `--for` says nothing.
pub const ESTIMATE_DEFAULT: Duration = Duration::from_secs(60);
/// Least `--for`: rates are by the second.
pub const ESTIMATE_MIN: Duration = Duration::from_secs(1);
/// Greatest `--for`: figures of each second are kept.
pub const ESTIMATE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Shards are reckoned for the busiest so many seconds. Shorter bursts are levelled out by the agent, which sends again what
/// a shard refuses, and by `max_delay`; over longer times lines would wait noticeably.
pub const ESTIMATE_PEAK_SECONDS: usize = 10;
/// Partition keys that are counted at a time to find those that most bytes have: a key with more than a thousandth of all
/// bytes is never missed.
pub const ESTIMATE_KEYS: usize = 1_000;

// --- Being looked after ---

/// A stage that is in the middle of something for so long is wedged, or a file system hangs; less when the service manager's
/// watchdog has less patience. What takes long and goes on says so: the longest between two such marks is a piece of a file, or a
/// folder.
pub const BUSY_MAX: Duration = Duration::from_secs(60);
/// Something waits in a flow, and nobody was woken for it for so long beyond what its settings allow (`max_delay`,
/// `attempt_timeout`, `settle`): then nobody will be. All that waits without a setting is shorter.
pub const STALLED_AFTER: Duration = Duration::from_secs(10 * 60);
/// The checkpointer is woken so often when it has nothing to do.
pub const CHECKPOINTER_QUIET_MAX: Duration = Duration::from_secs(2 * 60);
/// How often that is looked at; four times in the time of the service manager's watchdog, when that is less.
pub const OVERSIGHT_INTERVAL: Duration = Duration::from_secs(10);
/// How often the service manager is told at most how the agent fares.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// How much longer than it would have waited the service manager is asked to wait for a start; asked again every `STATUS_INTERVAL`.
pub const START_EXTENSION: Duration = Duration::from_secs(60);
/// What an ending takes beyond `drain_timeout` at most: the last commit, the end of the run in the store, and a little.
pub const ENDING_MARGIN: Duration = Duration::from_secs(2 * LAST_COMMIT_TIMEOUT.as_secs() + 5);
/// Bytes of what the service manager is told of the state of affairs: it is a line for people.
pub const STATUS_BYTES_MAX: usize = 600;

// --- Admin address ---

/// Connections served at once: a scraper or two, a health check, a person.
pub const ADMIN_CONNECTIONS: usize = 16;
/// From the accepted connection to the last byte of the answer. An answer takes milliseconds; who dawdles makes
/// room for others.
pub const ADMIN_CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long no connection is accepted after one could not be.
pub const ADMIN_ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

const _: () = assert!(AGGREGATE_BYTES_TARGET < RECORD_BYTES_MAX);
const _: () = assert!(MASKED_BYTES_MAX > RECORD_BYTES_MAX && MASK_BYTES_MAX < MASKED_BYTES_MAX);
const _: () = assert!(MASKED_ARENA_BYTES_MAX > ARENA_BYTES_KEPT + 2 * MASKED_BYTES_MAX);
const _: () = assert!(LINE_BYTES_MAX + ENVELOPE_BYTES_MAX <= RECORD_BYTES_MAX);
const ENVELOPE_BYTES_AT_WORST: usize = 60 + 2 * 4 * PARTITION_KEY_CHARS_MAX + 41 + 80 + TERMINATOR_BYTES_MAX + 823;
const _: () = assert!(ENVELOPE_BYTES_MAX >= ENVELOPE_BYTES_AT_WORST);
const _: () = assert!(REQUEST_BYTES_MIN <= REQUEST_BYTES_DEFAULT && REQUEST_BYTES_DEFAULT <= REQUEST_BYTES_MAX);
const _: () = assert!(BODY_BYTES_KEPT_MAX >= REQUEST_BYTES_MAX.div_ceil(3) * 4 + MIB);
const _: () = assert!(READ_BYTES <= ROUND_BYTES);
const _: () = assert!(FINGERPRINT_BYTES <= READ_BYTES && MARK_BYTES <= READ_BYTES);
const _: () = assert!(OPEN_FILES_MIN <= OPEN_FILES_DEFAULT && OPEN_FILES_DEFAULT <= OPEN_FILES_MAX);
const _: () = assert!(JOINED_LINES_MIN <= JOINED_LINES_DEFAULT && JOINED_LINES_DEFAULT <= JOINED_LINES_MAX);
const _: () = assert!(JOINED_LINES_MAX < PIECE_LINES_MAX);
const _: () = assert!(MEMORY_DEFAULT >= MEMORY_PER_FLOW_MIN);
const _: () = assert!(FRAME_BYTES > 0 && FRAME_BYTES <= u32::MAX as usize);
const _: () = assert!(DATA_KEY_BYTES_MIN >= REQUEST_BYTES_MAX);
const _: () = assert!(METADATA_RETRY_MIN.as_secs() < METADATA_WAIT.as_secs());
const LONGEST_QUIET: [Duration; 9] = [
    CHECKPOINTER_QUIET_MAX,
    BACKOFF_MAX,
    REFUSED_RETRY_INTERVAL,
    FACTS_WAIT,
    METADATA_WAIT,
    CONNECT_TIMEOUT_MAX,
    READ_BACK_PATIENCE,
    SURVEY_RETRY_MAX,
    STORE_READER_TIMEOUT,
];
const _: () = {
    let mut index = 0;
    while index < LONGEST_QUIET.len() {
        assert!(STALLED_AFTER.as_secs() >= 2 * LONGEST_QUIET[index].as_secs());
        index += 1;
    }
};
const _: () = assert!(STALLED_AFTER.as_secs() > BUSY_MAX.as_secs() && START_EXTENSION.as_secs() > 2 * STATUS_INTERVAL.as_secs());
