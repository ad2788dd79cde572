//! What the service has stored, and when; and whether what is found in a state folder says no more than that, and no less than a
//! restart needs.

use std::collections::HashMap;
use std::time::Duration;

use kinetail::aggregator::SPANS_TAG;
use kinetail::deaggregator::{Deaggregated, deaggregate};
use kinetail::delivery_token::DeliveryToken;
use kinetail::limits::MARK_AGE_MAX;
use kinetail::offsets::{Row, RunKey, Sending};
use kinetail::settlement::Settlement;
use kinetail::span::{FileKey, Span, Spans};

use crate::network::Put;

/// All that was stored.
#[derive(Default)]
pub(crate) struct Ledger {
    /// In the order in which it was.
    records: Vec<Stored>,
    spans_by_file: HashMap<FileKey, Vec<(Duration, u64, u64)>>,
    /// When files have lost what was behind some byte, which then is not what was stored.
    lost_ends: Vec<(FileKey, Duration, u64)>,
}

/// A record.
struct Stored {
    after: Duration,
    after_ms: i64,
    run_id: u128,
    spans: Spans,
}

/// What is found in a state folder.
pub(crate) struct Found {
    pub(crate) rows: Vec<(FileKey, Row)>,
    pub(crate) started_flow_count: usize,
    pub(crate) sendings: Vec<(RunKey, Sending)>,
    /// It lacks commits, and knows it.
    pub(crate) is_rolled_back: bool,
}

impl Found {
    /// As if nothing had ever been there.
    pub(crate) fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.started_flow_count == 0 && self.sendings.is_empty()
    }
}

/// How much clocks may differ: what is told of the service's is in whole seconds.
const CLOCK_MARGIN_MS: i64 = 2_000;

impl Ledger {
    pub(crate) fn enter(&mut self, puts: Vec<Put>) {
        for Put { before, after, after_ms, records } in puts {
            for (partition_key, data) in records {
                let (run_id, spans) = origin(&partition_key, &data);
                for span in spans.iter() {
                    self.spans_by_file.entry(span.file).or_default().push((before, span.start, span.end));
                }
                self.records.push(Stored { after, after_ms, run_id, spans });
            }
        }
    }

    /// The file has lost what was behind its first `byte_count` bytes.
    pub(crate) fn lost_end(&mut self, file: FileKey, at: Duration, byte_count: u64) {
        self.lost_ends.push((file, at, byte_count));
    }

    /// Whether anything was stored by then.
    pub(crate) fn is_something_stored(&self, by: Duration) -> bool {
        self.records.iter().any(|record| record.after <= by)
    }

    /// What `found` says that is not true: it is of a disk that has got something last at `last`, and lost power before `until`.
    pub(crate) fn contradictions(&self, found: &Found, last: Duration, until: Duration, attempt: Duration) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut settled: HashMap<FileKey, Settlement> = HashMap::new();
        for (file, row) in &found.rows {
            let mut stored = Settlement::default();
            // What a copy has passed over was stored as the file that it is a copy of.
            let is_same = |other: &&(FileKey, Row)| other.1.identity.fingerprint == row.identity.fingerprint;
            let spans = found.rows.iter().filter(is_same).filter_map(|(file, _)| self.spans_by_file.get(file)).flatten();
            for (_, start, end) in spans.filter(|(before, ..)| *before <= last) {
                stored.settle(*start, *end);
            }
            let is_stored = |start, end| start >= end || stored.settled_until(start).is_some_and(|until| until >= end);
            for (start, end) in [(0, row.watermark)].into_iter().chain(row.settled_above.iter().copied()) {
                if !is_stored(start, end) {
                    wrong.push(format!("{file:?}: {start}..{end} of {row:?} is not stored, but {stored:?}"));
                }
            }
            settled.insert(*file, Settlement::new(row.watermark, row.settled_above.iter().copied()));
        }
        for record in self.records.iter().filter(|record| record.after <= until) {
            let is_settled = record.spans.iter().all(|span| {
                let of_file = settled.get(&span.file);
                of_file.and_then(|settled| settled.settled_until(span.start)).is_some_and(|until| until >= span.end)
            });
            if !is_settled {
                wrong.extend(self.unknown(record, found, &settled, attempt));
            }
        }
        wrong
    }

    /// Why a restart would not find a record that is stored and not settled.
    fn unknown(
        &self,
        record: &Stored,
        found: &Found,
        settled: &HashMap<FileKey, Settlement>,
        attempt: Duration,
    ) -> Option<String> {
        let is_lost = |span: Span| {
            let mut of_file = self.lost_ends.iter().filter(|(file, ..)| *file == span.file);
            of_file.any(|(_, at, byte_count)| record.after < *at && span.end > *byte_count)
        };
        if record.spans.iter().any(is_lost) {
            return None;
        }
        if let Some(span) = record.spans.iter().find(|span| !settled.contains_key(&span.file)) {
            return Some(format!("{span:?} is stored, and nothing is known of its file"));
        }
        let Some((_, sending)) = found.sendings.iter().find(|(run, _)| run.run_id == record.run_id) else {
            return Some(format!("{:?} are stored and not settled, and nothing is known of the run", record.spans));
        };
        let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap();
        let from = sending.in_flight_since_ms.unwrap_or(sending.marked_at_ms).min(sending.marked_at_ms) - CLOCK_MARGIN_MS;
        let until = sending.marked_at_ms + milliseconds(MARK_AGE_MAX + attempt) + CLOCK_MARGIN_MS;
        let is_in = from <= record.after_ms && record.after_ms <= until;
        (!is_in).then(|| format!("{:?} are stored at {} and not settled, out of {sending:?}", record.spans, record.after_ms))
    }
}

/// Which run has sent a record, and what it is made of.
fn origin(partition_key: &str, data: &[u8]) -> (u128, Spans) {
    let token = DeliveryToken::parse(partition_key).unwrap_or_else(|| panic!("{partition_key:?} is no token"));
    let spans = token.spans.unwrap_or_else(|| {
        let Deaggregated::Records(records) = deaggregate(data, None) else { panic!("{partition_key:?} is no aggregate") };
        let tags = records.iter().flat_map(|record| &record.tags);
        let tag = tags.filter(|tag| tag.key == SPANS_TAG).find_map(|tag| tag.value.as_deref());
        Spans::from_tag(tag.unwrap()).unwrap()
    });
    (token.run_id, spans)
}
