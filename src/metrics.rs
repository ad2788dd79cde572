//! Every counter and gauge: its name, its unit, and the one fact that it counts.
//!
//! The other modules increment; nobody but [`Metrics::render`] and tests reads, except for the balance
//! `bytes read = delivered + in flight + dropped{reason} + released`, from which the bytes in flight follow. So that every page
//! balances, the counters of it that are shown are not those that are counted with, but what these were at one moment.

mod flow;

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use self::flow::{FlowCounters, FlowMetrics};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFlow {
    flow: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    flow: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    flow: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByError {
    flow: String,
    error: String,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    families: Families,
    flows: Mutex<Vec<FlowMetrics>>,
    /// Flows that have ended: what they counted stays.
    ended: Mutex<Vec<FlowMetrics>>,
    /// One page at a time, so that what it shows is of one moment.
    rendering: Mutex<()>,
}

/// A counter for each flow, and those that are also split by reason.
#[derive(Default)]
struct Families {
    read_bytes: Family<ByFlow, Counter>,
    read_lines: Family<ByFlow, Counter>,
    delivered_bytes: Family<ByFlow, Counter>,
    dropped_bytes: Family<ByReason, Counter>,
    dropped_lines: Family<ByReason, Counter>,
    in_flight_bytes: Family<ByFlow, Gauge>,
    released_bytes: Family<ByFlow, Counter>,
    unreachable_bytes: Family<ByFlow, Counter>,
    delivered_user_records: Family<ByFlow, Counter>,
    delivered_records: Family<ByFlow, Counter>,
    delivered_record_bytes: Family<ByFlow, Counter>,
    requests: Family<ByOutcome, Counter>,
    failed_records: Family<ByError, Counter>,
    possibly_doubled_records: Family<ByFlow, Counter>,
    looked_up_records: Family<ByOutcome, Counter>,
    mismatched_lines: Family<ByFlow, Counter>,
    type_mismatches: Family<ByFlow, Counter>,
    unknown_variables_lines: Family<ByFlow, Counter>,
    overwritten_fields: Family<ByFlow, Counter>,
    masked_places: Family<ByFlow, Counter>,
    partition_key_missing: Family<ByFlow, Counter>,
    replaced_characters_lines: Family<ByFlow, Counter>,
    file_problems: Family<ByReason, Counter>,
    skipped_bytes: Family<ByReason, Counter>,
    skipped_files: Family<ByReason, Gauge>,
    open_files: Family<ByFlow, Gauge>,
    tailed_files: Family<ByFlow, Gauge>,
    lag_bytes: Family<ByFlow, Gauge>,
    paused: Family<ByFlow, Gauge>,
    shards: Family<ByFlow, Gauge>,
    read_back_requests: Family<ByFlow, Counter>,
    read_back_records: Family<ByFlow, Counter>,
    read_back_bytes: Family<ByFlow, Counter>,
    read_back_settled_bytes: Family<ByFlow, Counter>,
    read_back_running: Family<ByFlow, Gauge>,
    commit_failing: Gauge,
    wedged_stages: Gauge,
    hanging_stages: Gauge,
    reloads: Family<ByResult, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kinetail");
        let families = Families::default();
        // The names as they are written out: counters end in `_total`.
        let f = &families;
        registry.register("read_bytes", "bytes of files read into spans", f.read_bytes.clone());
        registry.register("read_lines", "lines read, each piece of a split line counted", f.read_lines.clone());
        registry.register("delivered_bytes", "bytes of files that the service has acknowledged", f.delivered_bytes.clone());
        registry.register("dropped_bytes", "bytes of files read and not sent, by reason", f.dropped_bytes.clone());
        registry.register(
            "dropped_lines",
            "lines not sent because of what they are, or are made into, by reason",
            f.dropped_lines.clone(),
        );
        registry.register(
            "in_flight_bytes",
            "bytes of files read and neither delivered nor dropped yet",
            f.in_flight_bytes.clone(),
        );
        registry.register(
            "released_bytes",
            "bytes of files read and not settled when a reload ended the flow: they are read again, or found in the stream",
            f.released_bytes.clone(),
        );
        registry.register("unreachable_bytes", "bytes that were gone before they could be read", f.unreachable_bytes.clone());
        registry.register(
            "delivered_user_records",
            "user records acknowledged: lines, whether or not aggregated",
            f.delivered_user_records.clone(),
        );
        registry.register(
            "delivered_records",
            "Kinesis records acknowledged: aggregates, or lines sent singly",
            f.delivered_records.clone(),
        );
        registry.register(
            "delivered_record_bytes",
            "data bytes of the Kinesis records acknowledged",
            f.delivered_record_bytes.clone(),
        );
        registry.register(
            "requests",
            "PutRecords and PutRecordBatch requests answered or failed, by outcome",
            f.requests.clone(),
        );
        registry.register(
            "failed_records",
            "Kinesis records that a request failed to deliver, or of which it is not known, by error",
            f.failed_records.clone(),
        );
        registry.register(
            "possibly_doubled_records",
            "Kinesis records sent again though an earlier attempt may have been stored",
            f.possibly_doubled_records.clone(),
        );
        registry.register(
            "looked_up_records",
            "Kinesis records that an attempt may have stored, looked up in the stream, by whether it has",
            f.looked_up_records.clone(),
        );
        registry.register("mismatched_lines", "lines that were not of the format of their flow", f.mismatched_lines.clone());
        registry.register(
            "type_mismatches",
            "field values that did not fit their type and were kept as text",
            f.type_mismatches.clone(),
        );
        registry.register(
            "unknown_variables_lines",
            "lines sent without the value of a variable: of the environment, or of EC2 metadata that are not there",
            f.unknown_variables_lines.clone(),
        );
        registry.register("masked_places", "places in lines that were masked", f.masked_places.clone());
        registry.register(
            "overwritten_fields",
            "fields of lines that gave way to added or renamed ones of the same name",
            f.overwritten_fields.clone(),
        );
        registry.register(
            "partition_key_missing_lines",
            "lines of which a part of the partition key is missing, empty or masked, sent with a random key",
            f.partition_key_missing.clone(),
        );
        registry.register(
            "replaced_characters_lines",
            "lines of which some bytes became U+FFFD: malformed in the encoding of their file, or not UTF-8 and in JSON",
            f.replaced_characters_lines.clone(),
        );
        registry.register(
            "file_problems",
            "files that could not be read, by reason, once for each time they became so",
            f.file_problems.clone(),
        );
        registry.register(
            "skipped_bytes",
            "bytes of files passed over because reading begins behind them, by reason",
            f.skipped_bytes.clone(),
        );
        registry.register("skipped_files", "files that match and are not read, by reason", f.skipped_files.clone());
        registry.register("open_files", "files that are open now", f.open_files.clone());
        registry.register("tailed_files", "files that are tailed, open or not", f.tailed_files.clone());
        registry.register("lag_bytes", "bytes of the tailed files not read yet", f.lag_bytes.clone());
        registry.register(
            "paused",
            "1 while the flow, or a record that the service refuses, cannot be delivered and waits",
            f.paused.clone(),
        );
        registry.register("shards", "open shards of the stream, 0 while they are not known", f.shards.clone());
        registry.register(
            "read_back_requests",
            "requests made to read a stream back: ListShards, GetShardIterator and GetRecords",
            f.read_back_requests.clone(),
        );
        registry.register("read_back_records", "records looked at to read a stream back", f.read_back_records.clone());
        registry.register("read_back_bytes", "bytes of these records, data and partition keys", f.read_back_bytes.clone());
        registry.register(
            "read_back_settled_bytes",
            "bytes of files found to be in the stream already, which are not sent again",
            f.read_back_settled_bytes.clone(),
        );
        registry.register(
            "read_back_running",
            "1 while the stream is read back at the start; the files of the flow are read after that",
            f.read_back_running.clone(),
        );
        registry.register("commit_failing", "1 while offsets cannot be committed to the disk", f.commit_failing.clone());
        registry.register(
            "wedged_stages",
            "parts of the agent that do not go on, which only a restart mends",
            f.wedged_stages.clone(),
        );
        registry.register(
            "hanging_stages",
            "parts of the agent that wait for a file system that does not answer",
            f.hanging_stages.clone(),
        );
        registry.register("reloads", "how often the configuration was read anew while running, by outcome", f.reloads.clone());
        Self { registry, families, flows: Mutex::default(), ended: Mutex::default(), rendering: Mutex::default() }
    }
}

impl Metrics {
    /// The metrics of the flow `name`, which begins if it has not: those of the flow of this name that has ended, if there was one.
    pub fn flow(&self, name: &str) -> FlowMetrics {
        if let Some(running) = self.flows().into_iter().find(|flow| flow.name == name) {
            return running;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ended.iter().position(|flow| flow.name == name).map(|index| ended.swap_remove(index));
        let flow = before.unwrap_or_else(|| FlowMetrics::of(&self.families, name));
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).push(flow.clone());
        flow
    }

    /// The flow has ended, with so many bytes read and not settled. What it has counted stays; what it was like does not.
    pub fn end(&self, flow: &FlowMetrics, released_byte_count: u64) {
        flow.end(released_byte_count);
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).retain(|running| running.name != flow.name);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(flow.clone());
    }

    /// Counts that the configuration was read anew: `applied`, `partial` or `refused`.
    pub fn reloaded(&self, outcome: &str) {
        self.families.reloads.get_or_create(&ByResult { outcome: outcome.to_owned() }).inc();
    }

    /// The gauge of offsets that cannot be committed.
    pub fn commit_failing(&self) -> Gauge {
        self.families.commit_failing.clone()
    }

    /// So many parts of the agent are wedged, or wait for a file system that hangs.
    pub fn stuck_stages(&self, wedged_count: usize, hanging_count: usize) {
        self.families.wedged_stages.set(i64::try_from(wedged_count).unwrap_or(i64::MAX));
        self.families.hanging_stages.set(i64::try_from(hanging_count).unwrap_or(i64::MAX));
    }

    /// The flows that have begun and not ended.
    pub fn flows(&self) -> Vec<FlowMetrics> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything, in the text format that Prometheus scrapes (OpenMetrics 1.0).
    pub fn render(&self) -> String {
        let _one = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for flow in self.flows().iter().chain(&ended) {
            flow.show_balance();
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::settlement::{DropReason, Outcome};

    #[test]
    fn every_page_balances_while_others_count() {
        let metrics = Metrics::default();
        let flow = metrics.flow("access");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    flow.read_bytes.inc_by(3);
                    flow.settled(Outcome::Delivered, 1);
                    flow.settled(Outcome::Dropped(DropReason::Mismatch), 2);
                }
            });
            for _ in 0..500 {
                let text = metrics.render();
                let of = |name: &str| {
                    let values = text.lines().filter(|line| line.starts_with(name)).map(|line| line.rsplit_once(' ').unwrap().1);
                    values.map(|value| value.parse::<u64>().unwrap()).sum::<u64>()
                };
                let settled = of("kinetail_delivered_bytes_total") + of("kinetail_dropped_bytes_total");
                let read = of("kinetail_read_bytes_total");
                if read != settled + of("kinetail_in_flight_bytes{") {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("{text}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn the_text_has_the_names_that_dashboards_rely_on_and_the_balance() {
        let metrics = Metrics::default();
        let flow = metrics.flow("access");
        flow.read_bytes.inc_by(100);
        flow.settled(Outcome::Delivered, 60);
        flow.settled(Outcome::Dropped(DropReason::TooLong), 30);
        flow.request("ok");
        let text = metrics.render();
        for line in [
            "kinetail_read_bytes_total{flow=\"access\"} 100",
            "kinetail_delivered_bytes_total{flow=\"access\"} 60",
            "kinetail_dropped_bytes_total{flow=\"access\",reason=\"too_long\"} 30",
            "kinetail_dropped_bytes_total{flow=\"access\",reason=\"mismatch\"} 0",
            "kinetail_in_flight_bytes{flow=\"access\"} 10",
            "kinetail_requests_total{flow=\"access\",outcome=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }
}
