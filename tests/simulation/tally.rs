//! What was done, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kinesis::Stream;
use crate::ledger::Ledger;

/// What was done, over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) actions: u64,
    pub(crate) lines: u64,
    pub(crate) received: u64,
    pub(crate) doubled: u64,
    pub(crate) requests: u64,
    pub(crate) read_requests: u64,
    pub(crate) read_records: u64,
    pub(crate) excused: BTreeMap<String, u64>,
    pub(crate) simulated: Duration,
    pub(crate) lives: BTreeMap<String, u64>,
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Tally {
    /// Something happens that is worth counting.
    pub(crate) fn note(&mut self, what: &str) {
        *self.faults.entry(what.to_owned()).or_default() += 1;
    }

    /// Adds what one flow has come to.
    pub(crate) fn close(&mut self, ledger: &Ledger) {
        ledger.close();
        self.received += ledger.received_count;
        self.doubled += ledger.doubled_count();
        for (excuse, count) in &ledger.excused {
            *self.excused.entry((*excuse).to_owned()).or_default() += count;
        }
    }

    /// Adds what one stream has seen.
    pub(crate) fn count(&mut self, stream: &Stream) {
        let (read_request_count, read_record_count) = stream.read_counts();
        self.read_requests += read_request_count;
        self.read_records += read_record_count;
        for (fault, count) in stream.faults() {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    /// Adds what another seed did.
    pub(crate) fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.actions += other.actions;
        self.lines += other.lines;
        self.received += other.received;
        self.doubled += other.doubled;
        self.requests += other.requests;
        self.read_requests += other.read_requests;
        self.read_records += other.read_records;
        self.simulated += other.simulated;
        let maps = [(&mut self.lives, other.lives), (&mut self.faults, other.faults), (&mut self.excused, other.excused)];
        for (mine, others) in maps {
            for (what, count) in others {
                *mine.entry(what).or_default() += count;
            }
        }
    }
}
