//! What was written against what is in the stream.

#![allow(dead_code, reason = "each target uses a part")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use kinetail::deaggregator::{Deaggregated, deaggregate};

use crate::common::{Kinesis, Record, ShardRecords};
use crate::network::Put;

/// How what was written and what is in the stream differ.
#[derive(Default)]
pub(crate) struct Balance {
    pub(crate) line_count: usize,
    pub(crate) lost: Vec<String>,
    /// How often lines are there beyond the first time.
    pub(crate) doubled_count: usize,
    /// Lines that are there more than once, and where.
    pub(crate) doubled: Vec<(String, Vec<String>)>,
    /// Lines that are there more than once because they were in one record with lines that their file has lost.
    pub(crate) beside_gone_count: usize,
    /// What nobody wrote.
    pub(crate) strange: Vec<String>,
}

impl Balance {
    /// Of the lines of `written` and the records of `stream`, in which lines may be joined. Those of `gone` need not be there, because
    /// their files have lost them.
    pub(crate) fn of(written: &[String], gone: &BTreeSet<String>, kinesis: &Kinesis, stream: &str) -> Self {
        let arrived = arrived(kinesis, stream);
        let mut balance = Self { line_count: written.len(), ..Self::default() };
        let mut by_line: BTreeMap<&[u8], Vec<&str>> = written.iter().map(|line| (line.as_bytes(), Vec::new())).collect();
        for (line, place) in &arrived {
            match by_line.get_mut(line.as_slice()) {
                Some(places) => places.push(place),
                None => balance.strange.push(format!("{} in {place}", line.escape_ascii())),
            }
        }
        let of_gone = by_line.iter().filter(|(line, _)| gone.contains(&*String::from_utf8_lossy(line)));
        let beside_gone: BTreeSet<&str> = of_gone.flat_map(|(_, places)| places.iter().copied()).collect();
        for (line, places) in by_line {
            let line = || String::from_utf8_lossy(line).into_owned();
            match places.len() {
                0 if gone.contains(&line()) => {}
                0 => balance.lost.push(line()),
                1 => {}
                _ if places.iter().filter(|place| !beside_gone.contains(*place)).count() <= 1 => balance.beside_gone_count += 1,
                count => {
                    balance.doubled_count += count - 1;
                    balance.doubled.push((line(), places.into_iter().map(str::to_owned).collect()));
                }
            }
        }
        balance
    }

    /// Nothing is lost, nor is anything there that nobody wrote.
    pub(crate) fn nothing_is_lost(&self) -> bool {
        self.lost.is_empty() && self.strange.is_empty()
    }

    /// What is wrong, in short.
    pub(crate) fn report(&self) -> String {
        let mut report = format!(
            "of {} lines {} are lost, {} are there more than once, {} times too often; {} are strange\n",
            self.line_count,
            self.lost.len(),
            self.doubled.len(),
            self.doubled_count,
            self.strange.len()
        );
        let short = |line: &str| line[..line.len().min(60)].to_owned();
        for line in self.lost.iter().take(8) {
            writeln!(report, "    lost: {}", short(line)).unwrap();
        }
        for (line, places) in self.doubled.iter().take(8) {
            writeln!(report, "    doubled: {}\n        {}", short(line), places.join("\n        ")).unwrap();
        }
        for line in self.strange.iter().take(8) {
            writeln!(report, "    strange: {line}").unwrap();
        }
        report
    }
}

/// How many records have lines that are also in records which were stored later. Each of them was sent again because nobody knew that
/// it was stored.
pub(crate) fn sent_again_count(puts: &[Put]) -> u64 {
    let (mut later, mut count) = (HashSet::new(), 0);
    for (_, data) in puts.iter().rev().flat_map(|put| put.records.iter().rev()) {
        let mut lines = Vec::new();
        match deaggregate(data, None) {
            Deaggregated::Records(records) => records.iter().for_each(|record| lines.extend(lines_of(record.data))),
            _ => lines.extend(lines_of(data)),
        }
        count += u64::from(lines.iter().any(|line| later.contains(line)));
        later.extend(lines);
    }
    count
}

fn lines_of(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec)
}

/// Every line of `stream`, and in which record it is.
fn arrived(kinesis: &Kinesis, stream: &str) -> Vec<(Vec<u8>, String)> {
    let mut arrived = Vec::new();
    for ShardRecords { shard_id, hash_range, records } in kinesis.read_all(stream) {
        for Record { partition_key, data, sequence_number } in records {
            let place = format!("{shard_id} {sequence_number} {partition_key:?}");
            let mut add = |data: &[u8]| {
                arrived.extend(lines_of(data).map(|line| (line, place.clone())));
            };
            match deaggregate(&data, Some(hash_range)) {
                Deaggregated::Raw => add(&data),
                Deaggregated::Records(records) => records.iter().for_each(|record| add(record.data)),
                lost => panic!("readers of {place} lose records: {lost:?}"),
            }
        }
    }
    arrived
}
