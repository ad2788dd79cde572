//! What of a host's files is in the streams more than once: of which records, and whether anybody could know that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use kinetail::span::FileKey;

use crate::kinesis::{LifeId, Stored};

/// The records of one flow of one host, by the bytes that they are made of.
#[derive(Clone, Default)]
pub(crate) struct Doubles {
    records: Vec<Kept>,
    /// Of each file the pieces that are stored, each with the last record that has it.
    pieces: HashMap<FileKey, BTreeMap<u64, Piece>>,
    /// Records that were stored, and whose bytes were then stored again.
    pub(crate) doubled_record_count: u64,
}

#[derive(Clone, Copy)]
struct Piece {
    end: u64,
    record: usize,
}

/// A record that is stored.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what is not looked at is shown when an assertion fails")]
pub(crate) struct Kept {
    pub(crate) partition_key: String,
    /// No other record has its partition key.
    pub(crate) is_token: bool,
    pub(crate) life: LifeId,
    pub(crate) accepted_at: Duration,
    pub(crate) acknowledged_at: Option<Duration>,
    is_doubled: bool,
}

/// A record, and what it has stored again.
#[derive(Debug)]
#[expect(dead_code, reason = "as above")]
pub(crate) struct Doubled {
    pub(crate) first: Kept,
    pub(crate) second: Kept,
    pub(crate) file: FileKey,
    pub(crate) bytes: Range<u64>,
}

impl Doubles {
    /// Adds a record, the next that was accepted. Returns those that were there before with some of its bytes, each once.
    pub(crate) fn add(&mut self, stored: &Stored) -> Vec<Doubled> {
        let record = self.records.len();
        self.records.push(Kept {
            partition_key: stored.entry.partition_key.to_string(),
            is_token: stored.entry.is_token,
            life: stored.life,
            accepted_at: stored.accepted_at,
            acknowledged_at: stored.acknowledged_at,
            is_doubled: false,
        });
        let mut found = Vec::new();
        for span in stored.entry.spans.iter() {
            let pieces = self.pieces.entry(span.file).or_default();
            for (bytes, first) in put(pieces, span.start..span.end, record) {
                if first != record && !std::mem::replace(&mut self.records[first].is_doubled, true) {
                    self.doubled_record_count += 1;
                    let [first, second] = [first, record].map(|index| self.records[index].clone());
                    found.push(Doubled { first, second, file: span.file, bytes });
                }
            }
        }
        found
    }
}

/// Puts a piece in the place of what was there; returns that.
fn put(pieces: &mut BTreeMap<u64, Piece>, bytes: Range<u64>, record: usize) -> Vec<(Range<u64>, usize)> {
    let before = pieces.range(..bytes.start).next_back().filter(|(_, piece)| piece.end > bytes.start).map(|(start, _)| *start);
    let starts: Vec<u64> = before.into_iter().chain(pieces.range(bytes.clone()).map(|(start, _)| *start)).collect();
    let mut replaced = Vec::new();
    for start in starts {
        let Some(piece) = pieces.remove(&start) else { continue };
        replaced.push((start.max(bytes.start)..piece.end.min(bytes.end), piece.record));
        if start < bytes.start {
            pieces.insert(start, Piece { end: bytes.start, ..piece });
        }
        if piece.end > bytes.end {
            pieces.insert(bytes.end, piece);
        }
    }
    pieces.insert(bytes.start, Piece { end: bytes.end, record });
    replaced
}

#[test]
fn pieces_take_the_place_of_others() {
    let mut pieces = BTreeMap::new();
    let mut check = |bytes, record, expected: &[(Range<u64>, usize)]| assert_eq!(put(&mut pieces, bytes, record), expected);
    check(10..20, 0, &[]);
    check(30..40, 1, &[]);
    check(15..35, 2, &[(15..20, 0), (30..35, 1)]);
    check(0..100, 3, &[(10..15, 0), (15..35, 2), (35..40, 1)]);
    check(40..50, 4, &[(40..50, 3)]);
    check(45..55, 5, &[(45..50, 4), (50..55, 3)]);
    check(40..41, 6, &[(40..41, 4)]);
}
