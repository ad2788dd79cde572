//! The metrics of one flow. What each is called, and in what unit it counts, is said [where they are registered](super).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{ByError, ByFlow, ByOutcome, ByReason, Families};
use crate::settlement::{DropReason, Outcome};

/// Why files are not read that match.
const SKIPPED_FILES: [&str; 2] = ["copy", "compressed"];

/// The metrics of one flow; a clone counts into the same counters.
#[derive(Clone)]
pub struct FlowMetrics(Arc<FlowCounters>);

impl std::ops::Deref for FlowMetrics {
    type Target = FlowCounters;
    fn deref(&self) -> &FlowCounters {
        &self.0
    }
}

/// The counters of one flow; what each means is said where it is registered.
#[expect(missing_docs, reason = "the help text of each is in `Metrics::default`")]
pub struct FlowCounters {
    pub name: String,
    pub read_bytes: Counter,
    pub read_lines: Counter,
    pub delivered_bytes: Counter,
    pub unreachable_bytes: Counter,
    pub released_bytes: Counter,
    pub delivered_user_records: Counter,
    pub delivered_records: Counter,
    pub delivered_record_bytes: Counter,
    pub possibly_doubled_records: Counter,
    pub looked_up_stored: Counter,
    pub looked_up_not_stored: Counter,
    pub mismatched_lines: Counter,
    pub type_mismatches: Counter,
    pub unknown_variables_lines: Counter,
    pub overwritten_fields: Counter,
    pub masked_places: Counter,
    pub partition_key_missing_lines: Counter,
    pub replaced_characters_lines: Counter,
    pub open_files: Gauge,
    pub tailed_files: Gauge,
    pub lag_bytes: Gauge,
    pub paused: Gauge,
    pub shards: Gauge,
    pub read_back_requests: Counter,
    pub read_back_records: Counter,
    pub read_back_bytes: Counter,
    pub read_back_settled_bytes: Counter,
    pub read_back_running: Gauge,
    dropped_bytes: Vec<(DropReason, Counter)>,
    dropped_lines: Vec<(DropReason, Counter)>,
    shown: Balance,
    requests: Family<ByOutcome, Counter>,
    failed_records: Family<ByError, Counter>,
    file_problems: Family<ByReason, Counter>,
    skipped_bytes: Family<ByReason, Counter>,
    skipped_files: Family<ByReason, Gauge>,
}

/// What is read, and what of it is what: as it was shown last.
struct Balance {
    read_bytes: Counter,
    delivered_bytes: Counter,
    released_bytes: Counter,
    dropped_bytes: Vec<(DropReason, Counter)>,
    in_flight_bytes: Gauge,
}

impl FlowMetrics {
    /// Those of the flow `name`, in these families.
    pub(super) fn of(f: &Families, name: &str) -> Self {
        let by_flow = ByFlow { flow: name.to_owned() };
        let of = |family: &Family<ByFlow, Counter>| family.get_or_create(&by_flow).clone();
        // Not more than one of a family below: each holds its lock to the end of the expression.
        let looked_up = |outcome| f.looked_up_records.get_or_create(&by_outcome(name, outcome)).clone();
        Self(Arc::new(FlowCounters {
            name: name.to_owned(),
            read_bytes: Counter::default(),
            read_lines: of(&f.read_lines),
            delivered_bytes: Counter::default(),
            unreachable_bytes: of(&f.unreachable_bytes),
            released_bytes: Counter::default(),
            delivered_user_records: of(&f.delivered_user_records),
            delivered_records: of(&f.delivered_records),
            delivered_record_bytes: of(&f.delivered_record_bytes),
            possibly_doubled_records: of(&f.possibly_doubled_records),
            looked_up_stored: looked_up("stored"),
            looked_up_not_stored: looked_up("not_stored"),
            mismatched_lines: of(&f.mismatched_lines),
            type_mismatches: of(&f.type_mismatches),
            unknown_variables_lines: of(&f.unknown_variables_lines),
            overwritten_fields: of(&f.overwritten_fields),
            masked_places: of(&f.masked_places),
            partition_key_missing_lines: of(&f.partition_key_missing),
            replaced_characters_lines: of(&f.replaced_characters_lines),
            open_files: f.open_files.get_or_create(&by_flow).clone(),
            tailed_files: f.tailed_files.get_or_create(&by_flow).clone(),
            lag_bytes: f.lag_bytes.get_or_create(&by_flow).clone(),
            paused: f.paused.get_or_create(&by_flow).clone(),
            shards: f.shards.get_or_create(&by_flow).clone(),
            read_back_requests: of(&f.read_back_requests),
            read_back_records: of(&f.read_back_records),
            read_back_bytes: of(&f.read_back_bytes),
            read_back_settled_bytes: of(&f.read_back_settled_bytes),
            read_back_running: f.read_back_running.get_or_create(&by_flow).clone(),
            dropped_bytes: DropReason::ALL.map(|reason| (reason, Counter::default())).to_vec(),
            dropped_lines: DropReason::OF_LINES
                .map(|reason| (reason, f.dropped_lines.get_or_create(&by_reason(name, reason.as_str())).clone()))
                .to_vec(),
            shown: Balance {
                read_bytes: of(&f.read_bytes),
                delivered_bytes: of(&f.delivered_bytes),
                released_bytes: of(&f.released_bytes),
                dropped_bytes: DropReason::ALL
                    .map(|reason| (reason, f.dropped_bytes.get_or_create(&by_reason(name, reason.as_str())).clone()))
                    .to_vec(),
                in_flight_bytes: f.in_flight_bytes.get_or_create(&by_flow).clone(),
            },
            requests: f.requests.clone(),
            failed_records: f.failed_records.clone(),
            file_problems: f.file_problems.clone(),
            skipped_bytes: f.skipped_bytes.clone(),
            skipped_files: f.skipped_files.clone(),
        }))
    }
}

impl FlowCounters {
    /// Counts bytes of files that are settled for the first time.
    pub fn settled(&self, outcome: Outcome, byte_count: u64) {
        match outcome {
            Outcome::Delivered => self.delivered_bytes.inc_by(byte_count),
            Outcome::Dropped(reason) => self.dropped(reason).inc_by(byte_count),
        };
    }

    /// The counter of bytes dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> &Counter<u64, AtomicU64> {
        let (_, counter) = self.dropped_bytes.iter().find(|(of, _)| *of == reason).expect("there is a counter for every reason");
        counter
    }

    /// Counts lines that are not sent for `reason`, one of [`DropReason::OF_LINES`].
    pub fn dropped_lines(&self, reason: DropReason, line_count: u64) {
        if let Some((_, counter)) = self.dropped_lines.iter().find(|(of, _)| *of == reason) {
            counter.inc_by(line_count);
        }
    }

    /// Bytes dropped for any reason.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.iter().map(|(_, counter)| counter.get()).sum()
    }

    /// Bytes read and neither delivered nor dropped yet, nor released.
    pub fn in_flight(&self) -> u64 {
        // Settled is looked at first: a byte is read before it is settled, so the difference is never negative.
        let settled = self.delivered_bytes.get() + self.dropped_bytes() + self.released_bytes.get();
        self.read_bytes.get().saturating_sub(settled)
    }

    /// With so many bytes read and not settled. What was counted stays; what the flow was like does not.
    pub(super) fn end(&self, released_byte_count: u64) {
        self.released_bytes.inc_by(released_byte_count);
        for gauge in [&self.open_files, &self.tailed_files, &self.lag_bytes, &self.paused, &self.shards, &self.read_back_running]
        {
            gauge.set(0);
        }
        for reason in SKIPPED_FILES {
            self.skipped_files(reason, 0);
        }
    }

    /// Makes what is shown what is counted now.
    pub(super) fn show_balance(&self) {
        let shown = &self.shown;
        let mut settled = self.delivered_bytes.get();
        shown.delivered_bytes.inner().store(settled, Ordering::Relaxed);
        let released = self.released_bytes.get();
        shown.released_bytes.inner().store(released, Ordering::Relaxed);
        settled += released;
        for ((_, counted), (_, shown)) in self.dropped_bytes.iter().zip(&shown.dropped_bytes) {
            let dropped = counted.get();
            shown.inner().store(dropped, Ordering::Relaxed);
            settled += dropped;
        }
        // As in `in_flight`: settled was looked at first.
        let read = self.read_bytes.get().max(settled);
        shown.read_bytes.inner().store(read, Ordering::Relaxed);
        shown.in_flight_bytes.set(i64::try_from(read - settled).unwrap_or(i64::MAX));
    }

    /// Counts a request by what became of it: `ok`, `partial`, or the name of the error.
    pub fn request(&self, outcome: &str) {
        self.requests.get_or_create(&by_outcome(&self.name, outcome)).inc();
    }

    /// Counts Kinesis records that were not delivered by an attempt and are sent again.
    pub fn failed_records(&self, error: &str, count: u64) {
        let labels = ByError { flow: self.name.clone(), error: error.to_owned() };
        self.failed_records.get_or_create(&labels).inc_by(count);
    }

    /// Counts bytes of a file behind which reading begins: `start_at`, `ignore_older`.
    pub fn skipped_bytes(&self, reason: &str, byte_count: u64) {
        self.skipped_bytes.get_or_create(&by_reason(&self.name, reason)).inc_by(byte_count);
    }

    /// So many files that match are not read: `copy`, `compressed`.
    pub fn skipped_files(&self, reason: &str, count: i64) {
        self.skipped_files.get_or_create(&by_reason(&self.name, reason)).set(count);
    }

    /// Counts a file that cannot be read.
    pub fn file_problem(&self, reason: &str) {
        self.file_problems.get_or_create(&by_reason(&self.name, reason)).inc();
    }
}

fn by_outcome(flow: &str, outcome: &str) -> ByOutcome {
    ByOutcome { flow: flow.to_owned(), outcome: outcome.to_owned() }
}

fn by_reason(flow: &str, reason: &str) -> ByReason {
    ByReason { flow: flow.to_owned(), reason: reason.to_owned() }
}
