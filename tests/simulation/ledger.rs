//! The books: what every life of the agent delivered, against the model and against what the store then says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use kinetail::config::{Config, Flow};
use kinetail::delivery_token::DeliveryToken;
use kinetail::limits::COMMIT_INTERVAL;
use kinetail::metrics::FlowMetrics;
use kinetail::offsets::Row;
use kinetail::settlement::{DropReason, Settlement};
use kinetail::span::FileKey;

use crate::doubles::{Doubled, Doubles, Kept};
use crate::kinesis::{LifeTally, Stored};
use crate::logs::LogFile;
use crate::model::{Decided, Fate, UserRecord};
use crate::received::received;
use crate::story::{Access, Story};

/// How a life of the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In an orderly way, with everything delivered that was read.
    Drained,
    /// In an orderly way, but the drain timeout was over first.
    TimedOut,
    /// The future was dropped; the last offsets were still committed.
    Aborted,
    /// As by `kill -9`: only what was on the disk then is left.
    Killed,
}

/// What one flow of one host has behind it.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    /// What was settled of each inode when the last life ended.
    settled: HashMap<(u64, u64), (FileKey, Settlement)>,
    /// The bytes of which the agent was ever told that they are stored.
    acknowledged: HashMap<FileKey, Settlement>,
    /// What must become of the bytes of each inode.
    decided: HashMap<(u64, u64), Decided>,
    /// How often what is not settled, or not any more, is stored.
    surplus: Counts,
    doubles: Doubles,
    /// Records that the agent has counted as possibly doubled.
    possibly_doubled_count: u64,
    /// Records that were doubled though the stream may be read, each for a reason that is none of the agent's.
    pub(crate) excused: BTreeMap<&'static str, u64>,
    pub(crate) received_count: u64,
    /// A reload has ended runs in the middle of lives.
    pub(crate) was_reloaded: bool,
}

/// One life of the agent, seen from outside.
pub(crate) struct Life<'a> {
    pub(crate) ended: Ended,
    pub(crate) ended_at: Duration,
    /// Every file was to be read to its end, unfinished last line included.
    pub(crate) complete: bool,
    pub(crate) rows: &'a [(FileKey, Row)],
    pub(crate) files: &'a [LogFile],
    pub(crate) story: &'a Story,
    pub(crate) commit_latency: Duration,
    pub(crate) stored: Vec<Stored>,
    /// What readers of its streams were shown that this host has sent.
    pub(crate) shown: Vec<(FileKey, Settlement)>,
    /// Readers got nothing but failures for long.
    pub(crate) has_been_unreadable: bool,
    pub(crate) tally: LifeTally,
    pub(crate) metrics: &'a FlowMetrics,
    /// Records that were in flight when lives before ended, as the store said, and of which it says nothing any more.
    pub(crate) carried_record_count: u64,
    /// `metrics` as the agent has left it, when it was killed.
    pub(crate) possibly_doubled_count: u64,
}

type Counts = BTreeMap<UserRecord, i64>;

/// Where in which file a line begins.
#[derive(Clone, Copy)]
struct Place {
    inode: (u64, u64),
    start: u64,
}

/// What a life should have brought about, told from the files and from what the store says is settled.
#[derive(Default)]
struct Expected {
    /// Settled in this life, so delivered in it.
    settled: Counts,
    /// Not settled yet.
    open: Counts,
    /// Not settled when the life began; where it stands, if there is only one like it.
    open_before: HashMap<UserRecord, Option<Place>>,
    settled_bytes: u64,
    dropped_bytes: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Bytes that are decided and were not settled when the last life ended: what a life that catches up reads.
    pub(crate) fn unread_bytes(&mut self, flow: &Flow, files: &[LogFile]) -> u64 {
        let mut unread = 0;
        for file in files {
            self.decide(flow, file, false);
            let end = self.decided[&file.inode].byte_count();
            unread += end - self.settled.get(&file.inode).map_or(0, |(_, settlement)| covered(settlement, &(0..end)));
        }
        unread
    }

    fn decide(&mut self, flow: &Flow, file: &LogFile, complete: bool) {
        self.decided.entry(file.inode).or_default().update(flow, &file.bytes, complete);
    }

    /// Checks a life that has ended.
    pub(crate) fn balance(&mut self, flow: &Flow, life: &Life<'_>) {
        let settled = settled_by_inode(flow, life);
        for stored in life.stored.iter().filter(|stored| stored.acknowledged_at.is_some()) {
            for span in stored.entry.spans.iter() {
                self.acknowledged.entry(span.file).or_default().settle(span.start, span.end);
            }
        }
        for (file, shown) in &life.shown {
            let known = self.acknowledged.entry(*file).or_default();
            known.settle(0, shown.watermark());
            shown.above().for_each(|(start, end)| _ = known.settle(start, end));
        }
        let mut expected = Expected::default();
        for file in life.files {
            self.decide(flow, file, life.complete);
            self.expect(file, settled.get(&file.inode), &mut expected);
        }
        self.check_received(flow, life, &expected);
        check_known(life);
        self.check_doubled(flow, life);
        check_committed_in_time(&settled, life);
        check_counters(flow, life, &expected);
        self.settled = settled;
    }

    /// Where the agent may read its streams nothing is there twice; elsewhere it is counted.
    fn check_doubled(&mut self, flow: &Flow, life: &Life<'_>) {
        self.possibly_doubled_count += life.possibly_doubled_count;
        let doubled: Vec<Doubled> = life.stored.iter().flat_map(|stored| self.doubles.add(stored)).collect();
        if life.story.access != Access::Always {
            return;
        }
        for doubled in doubled {
            let Some(excuse) = excuse(flow, life, &doubled) else { panic!("stored twice: {doubled:#?}") };
            *self.excused.entry(excuse).or_default() += 1;
        }
    }

    /// Adds what is expected of one file. No settled byte is passed that was not delivered or dropped, and none
    /// that was settled is given up.
    fn expect(&self, file: &LogFile, settled: Option<&(FileKey, Settlement)>, expected: &mut Expected) {
        let path = file.path.display();
        let nothing = Settlement::default();
        let (key, after) = settled.map_or((None, &nothing), |(key, settlement)| (Some(key), settlement));
        let (key_before, before) =
            self.settled.get(&file.inode).map_or((None, &nothing), |(key, settlement)| (Some(key), settlement));
        assert!(key_before.is_none() || key_before == key, "{path}: {key_before:?} became {key:?}");
        let acknowledged = key.and_then(|key| self.acknowledged.get(key)).unwrap_or(&nothing);
        let mut settled_bytes = 0;
        for piece in self.decided[&file.inode].pieces() {
            let byte_count = piece.bytes.end - piece.bytes.start;
            let [before, after] = [before, after].map(|settlement| covered(settlement, &piece.bytes));
            assert!(before <= after, "{path}: {:?} was settled and no longer is", piece.bytes);
            settled_bytes += after;
            expected.settled_bytes += after - before;
            match &piece.fate {
                Fate::Dropped(reason) => *expected.dropped_bytes.entry(reason.as_str()).or_default() += after - before,
                Fate::Sent(record) => {
                    let whole = |count| count == 0 || count == byte_count;
                    assert!(whole(before) && whole(after), "{path}: a part of {:?} is settled", piece.bytes);
                    let delivered = covered(acknowledged, &piece.bytes);
                    assert!(after <= delivered, "{path}: {:?} is committed and was not delivered", piece.bytes);
                    match (before > 0, after > 0) {
                        (false, true) => *expected.settled.entry(record.clone()).or_default() += 1,
                        (_, false) => *expected.open.entry(record.clone()).or_default() += 1,
                        (true, true) => {}
                    }
                    if before == 0 {
                        let place = Place { inode: file.inode, start: piece.bytes.start };
                        let others = expected.open_before.entry(record.clone());
                        others.and_modify(|place| *place = None).or_insert(Some(place));
                    }
                }
            }
        }
        assert_eq!(covered(after, &(0..u64::MAX)), settled_bytes, "{path}: {after:?} covers more than was there to read");
    }

    /// What is settled is stored, what is read is as it should be, and what was acknowledged is settled now, or stored again.
    fn check_received(&mut self, flow: &Flow, life: &Life<'_>, expected: &Expected) {
        let mut acknowledged = Counts::default();
        for stored in &life.stored {
            let records = received(flow, stored);
            self.received_count += records.len() as u64;
            let mut newest = HashMap::new();
            for record in records {
                let Some(place) = expected.open_before.get(&record) else {
                    if self.was_reloaded && stored.acknowledged_at.is_none() {
                        // Left over from a run that a reload has ended; the next has sent it again since.
                        *self.surplus.entry(record).or_default() += 1;
                        continue;
                    }
                    panic!("torn, merged, changed, or sent though it was settled: {}", shown(&record));
                };
                if let Some(Place { inode, start }) = *place {
                    let before = newest.insert(inode, start);
                    assert!(before < Some(start), "behind a later line of its file: {}", shown(&record));
                }
                if stored.acknowledged_at.is_some() {
                    *acknowledged.entry(record.clone()).or_default() += 1;
                }
                *self.surplus.entry(record).or_default() += 1;
            }
        }
        for (record, count) in &expected.settled {
            let surplus = self.surplus.entry(record.clone()).or_default();
            *surplus -= count;
            assert!(*surplus >= 0, "{} lost: {}", -*surplus, shown(record));
        }
        self.surplus.retain(|_, surplus| *surplus > 0);
        for (record, acknowledged) in acknowledged {
            let of = |counts: &Counts| counts.get(&record).copied().unwrap_or_default();
            let again = acknowledged - of(&expected.settled);
            let allowed = if life.ended == Ended::Drained { 0 } else { of(&expected.open) };
            assert!(again <= allowed, "{} doubled: {}", again - allowed, shown(&record));
        }
        if life.complete && life.ended == Ended::Drained {
            let lost = expected.open.first_key_value();
            assert!(lost.is_none(), "never sent: {}", lost.map(|(record, _)| shown(record)).unwrap_or_default());
        }
    }

    /// User records that are stored once more than they were written, when everything is settled.
    pub(crate) fn doubled_count(&self) -> u64 {
        self.surplus.values().sum::<i64>().unsigned_abs()
    }

    /// When all is over: what is doubled was counted, and where nothing was, nothing is.
    pub(crate) fn close(&self) {
        let counted = self.possibly_doubled_count;
        let doubled = self.doubles.doubled_record_count;
        assert!(doubled <= counted, "{doubled} records are doubled, {counted} were counted");
        assert!(doubled > 0 || self.surplus.is_empty(), "doubled by another file: {:?}", self.surplus.keys().map(shown).next());
    }
}

/// Why a record is doubled though the stream may be read.
fn excuse(flow: &Flow, life: &Life<'_>, doubled: &Doubled) -> Option<&'static str> {
    let Doubled { first, second, .. } = doubled;
    // Nobody can tell such a record from another one with the same key.
    if !first.is_token {
        return Some("no token");
    }
    // The start of a run does not look for the few that have one.
    let run_of = |kept: &Kept| DeliveryToken::parse(&kept.partition_key).map(|token| token.run_id);
    if !flow.delivery.has_tokens() && run_of(first) != run_of(second) {
        return Some("no tokens in most records");
    }
    // Who waits for ever sends nothing.
    if life.has_been_unreadable {
        return Some("reading failed for long");
    }
    None
}

/// Nothing is sent of a file of which the store does not know.
fn check_known(life: &Life<'_>) {
    let known: HashSet<FileKey> = life.rows.iter().map(|(file, _)| *file).collect();
    for stored in &life.stored {
        let is_known = stored.entry.spans.iter().all(|span| known.contains(&span.file));
        assert!(is_known, "{} is of a file of which the store does not know", stored.entry.partition_key);
    }
}

/// What was acknowledged is committed, unless the life ended too soon after for that.
fn check_committed_in_time(settled: &HashMap<(u64, u64), (FileKey, Settlement)>, life: &Life<'_>) {
    let by_key: HashMap<FileKey, &Settlement> = settled.values().map(|(key, settlement)| (*key, settlement)).collect();
    let tolerated = match life.ended {
        Ended::Drained => return,
        Ended::TimedOut | Ended::Aborted => Duration::from_millis(1),
        // One commit was on its way, and the next not begun.
        Ended::Killed => COMMIT_INTERVAL + 2 * life.commit_latency + Duration::from_millis(2),
    };
    for stored in &life.stored {
        let Some(acknowledged_at) = stored.acknowledged_at else { continue };
        let is_committed = stored.entry.spans.iter().all(|span| {
            let of_file = by_key.get(&span.file).map_or(0, |settlement| covered(settlement, &(span.start..span.end)));
            of_file == span.byte_count()
        });
        let age = life.ended_at - acknowledged_at;
        assert!(is_committed || age <= tolerated, "acknowledged {age:?} before the end ({:?}) and not committed", life.ended);
    }
}

/// Bytes read = delivered + in flight + dropped, and each of them is what it says.
fn check_counters(flow: &Flow, life: &Life<'_>, expected: &Expected) {
    if life.ended != Ended::Drained {
        return;
    }
    let metrics = life.metrics;
    assert_eq!(metrics.in_flight(), 0, "in flight after the end");
    let settled_bytes = expected.settled_bytes - metrics.read_back_settled_bytes.get();
    assert_eq!(metrics.read_bytes.get() - metrics.released_bytes.get(), settled_bytes, "bytes read, and bytes settled");
    for reason in DropReason::ALL {
        let dropped = expected.dropped_bytes.get(reason.as_str()).copied().unwrap_or_default();
        assert_eq!(metrics.dropped(reason).get(), dropped, "bytes dropped as {}", reason.as_str());
    }
    assert_eq!(metrics.delivered_bytes.get(), settled_bytes - metrics.dropped_bytes(), "bytes delivered");
    if metrics.read_back_settled_bytes.get() == 0 {
        let user_record_count: i64 = expected.settled.values().sum();
        assert_eq!(metrics.delivered_user_records.get(), user_record_count.unsigned_abs(), "user records delivered");
    }
    let delivered_count = life.tally.acknowledged_record_count + metrics.looked_up_stored.get();
    assert_eq!(metrics.delivered_records.get(), delivered_count, "records delivered");
    // Each that was uncertain was looked up or counted; and what the lives before had in flight, where that was not looked for.
    let looked_up = metrics.looked_up_stored.get() + metrics.looked_up_not_stored.get();
    let counted = metrics.possibly_doubled_records.get() + looked_up;
    let uncertain = life.tally.uncertain_record_count;
    let is_looked_for = flow.delivery.has_tokens() && life.story.access != Access::Off;
    let least = if is_looked_for { 0 } else { life.carried_record_count };
    let most = if is_looked_for && life.story.access == Access::Always && !life.has_been_unreadable {
        0
    } else {
        life.carried_record_count
    };
    // What was on its way when a reload ended a run, the network does not know to be uncertain.
    let range = if metrics.released_bytes.get() == 0 { uncertain + least..=uncertain + most } else { 0..=u64::MAX };
    assert!(range.contains(&counted), "{counted} records possibly doubled or looked up, not {range:?}");
    assert_eq!(metrics.unreachable_bytes.get(), 0, "nothing was out of reach");
}

fn settled_by_inode(flow: &Flow, life: &Life<'_>) -> HashMap<(u64, u64), (FileKey, Settlement)> {
    let mut settled = HashMap::new();
    for (key, row) in life.rows.iter().filter(|(_, row)| row.flow == flow.name) {
        let place = row.identity.place.expect("no file is truncated or deleted here");
        let inode = (place.device, place.inode);
        assert!(life.files.iter().any(|file| file.inode == inode), "a row of no file: {row:?}");
        let settlement = Settlement::new(row.watermark, row.settled_above.clone());
        let other = settled.insert(inode, (*key, settlement));
        assert!(other.is_none(), "two rows of one file: {row:?}");
    }
    settled
}

/// How many bytes of `range` are settled.
fn covered(settlement: &Settlement, range: &Range<u64>) -> u64 {
    let below = settlement.watermark().min(range.end).saturating_sub(range.start);
    let above = settlement.above().map(|(start, end)| end.min(range.end).saturating_sub(start.max(range.start)));
    below + above.sum::<u64>()
}

fn shown(record: &UserRecord) -> String {
    let data = &record.data;
    format!("{:?} {} bytes {}", record.key, data.len(), data[..data.len().min(200)].escape_ascii())
}

/// The ledgers of all flows, in the order of the configuration.
pub(crate) fn ledgers(config: &Config) -> Vec<Ledger> {
    config.flows.iter().map(|_| Ledger::default()).collect()
}
