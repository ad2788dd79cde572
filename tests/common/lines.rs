//! Lines that tell on whoever loses, doubles, tears or merges them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use kinetail::deaggregator::{Deaggregated, deaggregate};

use super::{Kinesis, Record, ShardRecords};

/// A user record as a consumer gets it.
pub(crate) struct Received {
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) shard_id: String,
}

impl Received {
    /// The data as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.data.clone()).unwrap()
    }
}

impl Kinesis {
    /// The user records of `stream`, as a reader gets them that checks, as KCL does, that each belongs to the
    /// shard that it is read from; where KCL would drop records, this fails.
    #[track_caller]
    pub(crate) fn received(&self, stream: &str) -> Vec<Received> {
        let mut received = Vec::new();
        for ShardRecords { shard_id, hash_range, records } in self.read_all(stream) {
            for Record { partition_key, data, .. } in records {
                match deaggregate(&data, Some(hash_range)) {
                    Deaggregated::Raw => received.push(Received { partition_key, data, shard_id: shard_id.clone() }),
                    Deaggregated::Records(user_records) => {
                        let of_shard = user_records.into_iter().map(|user_record| Received {
                            partition_key: user_record.partition_key.into_owned(),
                            data: user_record.data.to_owned(),
                            shard_id: shard_id.clone(),
                        });
                        received.extend(of_shard);
                    }
                    lost => panic!("readers of {shard_id} lose records of the aggregate {partition_key:?}: {lost:?}"),
                }
            }
        }
        received
    }
}

/// The line `number` of the writer `from`, about `byte_count` long: the two, filling, and a checksum of it all.
/// No terminator.
pub(crate) fn line(from: &str, number: usize, byte_count: usize) -> String {
    let mut line = format!("{from}#{number} ");
    let filling = "abcdefghijklmnopqrstuvwxyz".chars().cycle().skip(number % 26);
    line.extend(filling.take(byte_count.saturating_sub(line.len() + CHECKSUM_LEN)));
    let checksum = checksum(&line);
    write!(line, " {checksum:016x}").unwrap();
    line
}

/// `count` lines of `from`, numbered from 0, of lengths from a few bytes to a few hundred.
pub(crate) fn lines(from: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| line(from, number, 40 + number * 37 % 300)).collect()
}

/// A space and 16 hexadecimal digits.
const CHECKSUM_LEN: usize = 17;

fn checksum(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn is_whole(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else { return false };
    text.rsplit_once(' ').is_some_and(|(body, sum)| u64::from_str_radix(sum, 16) == Ok(checksum(body)))
}

/// Every line of `sent` is in `received`, once, and nothing else is.
#[track_caller]
pub(crate) fn verify(sent: &[String], received: &[Received]) {
    let mut balance: BTreeMap<&[u8], i64> = BTreeMap::new();
    for line in sent {
        *balance.entry(line.as_bytes()).or_default() -= 1;
    }
    for record in received {
        *balance.entry(&record.data).or_default() += 1;
    }
    let (mut lost, mut doubled, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    for (&line, &surplus) in balance.iter().filter(|(_, surplus)| **surplus != 0) {
        match surplus {
            ..0 => lost.push(line),
            _ if is_whole(line) => doubled.push(line),
            _ => strange.push(line),
        }
    }
    let wrong = [("lost", lost), ("doubled or never sent", doubled), ("torn, merged or changed", strange)];
    let mut report = String::new();
    for (what, lines) in wrong.iter().filter(|(_, lines)| !lines.is_empty()) {
        writeln!(report, "{} {what}:", lines.len()).unwrap();
        for line in lines.iter().take(5) {
            writeln!(report, "    {}", line[..line.len().min(200)].escape_ascii()).unwrap();
        }
    }
    assert!(report.is_empty(), "{} lines sent, {} records received\n{report}", sent.len(), received.len());
}

/// For writers of whose lines the rotation itself loses some: what arrived was sent, and arrived once, and every line
/// of `kept`, which is in a file still, is among it. Sent is what arrived, and what is in no file.
#[track_caller]
pub(crate) fn verify_kept(sent: &[String], kept: &[String], received: &[Received]) {
    let sent: BTreeSet<&str> = sent.iter().map(String::as_str).collect();
    let kept: BTreeSet<&str> = kept.iter().map(String::as_str).collect();
    let arrived: BTreeSet<String> = received.iter().map(Received::text).collect();
    let expected = sent.into_iter().filter(|line| kept.contains(line) || arrived.contains(*line));
    verify(&expected.map(str::to_owned).collect::<Vec<_>>(), received);
}

/// The lines of `text`, which may be without a newline at its end.
pub(crate) fn texts(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
