//! The file `sent`: how many records each flow of this run has sent, so that after a sudden end that is known exactly.
//!
//! Each counter is written without waiting for the disk: it survives the process, and after a power cut is an older one, or
//! nothing. What is in the file is only ever more than the store knows, never a reason not to start.
//!
//! ```text
//! 8 bytes   "ktsent\0\x01"
//! u128      run id
//! u32       how many flows follow
//!           u32 length and bytes of the name, for each
//! 16 bytes  MD5 of everything before
//!           zeros up to a multiple of 8 bytes
//! u64       how many records the flow has sent, for each
//! ```
//!
//! Numbers are little-endian.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::snapshot::read_file;
use super::{RunKey, Sending};

const SENT_FILE: &str = "sent";
const UNFINISHED_SENT: &str = "sent.new";
const MAGIC: &[u8; 8] = b"ktsent\0\x01";
const CHECK_BYTES: usize = 16;
const COUNTER_BYTES: usize = 8;
/// More than the flows of any configuration take.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a flow says how many records it has sent.
#[derive(Clone, Debug)]
pub struct SentCounter {
    file: Arc<File>,
    at: u64,
}

impl SentCounter {
    /// So many were sent so far, counted as [`Sending::sent_record_count`]. Costs a system call and does not wait for the disk;
    /// a failure is of no account.
    pub fn set(&self, sent_record_count: u64) {
        let _ = self.file.write_all_at(&sent_record_count.to_le_bytes(), self.at);
    }
}

/// The counters of a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    counters: Vec<(RunKey, u64)>,
}

impl Sent {
    /// The counters of the last run; none where they cannot be read.
    pub(super) fn read(state_dir: &Path) -> Self {
        let bytes = read_file(&state_dir.join(SENT_FILE), BYTES_MAX).unwrap_or_default();
        Self { counters: decode(&bytes).unwrap_or_default() }
    }

    /// Adds what that run has sent after its last commit to what the store says of it; true when that was anything.
    pub(super) fn fold_into(&self, sendings: &mut [(RunKey, Sending)]) -> bool {
        let mut has_changed = false;
        for (run, sending) in sendings {
            let counter = self.counters.iter().find(|(of, _)| of == run).map_or(0, |(_, count)| *count);
            let more = counter.saturating_sub(sending.sent_record_count);
            if more > 0 {
                sending.in_flight_record_count = sending.in_flight_record_count.saturating_add(more);
                sending.sent_record_count = counter;
                has_changed = true;
            }
        }
        has_changed
    }
}

/// Puts a file for this run in the place of the last one's.
pub(super) fn begin(state_dir: &Path, run_id: u128, flows: &[String]) -> io::Result<Vec<SentCounter>> {
    let head = encode_head(run_id, flows);
    let unfinished = state_dir.join(UNFINISHED_SENT);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&head)?;
    file.write_all(&vec![0; flows.len() * COUNTER_BYTES])?;
    fs::rename(&unfinished, state_dir.join(SENT_FILE))?;
    let file = Arc::new(file);
    let counter = |index: usize| SentCounter { file: Arc::clone(&file), at: (head.len() + index * COUNTER_BYTES) as u64 };
    Ok((0..flows.len()).map(counter).collect())
}

fn encode_head(run_id: u128, flows: &[String]) -> Vec<u8> {
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    let mut head = [&MAGIC[..], &run_id.to_le_bytes(), &length(flows.len())].concat();
    for flow in flows {
        head.extend(length(flow.len()));
        head.extend(flow.as_bytes());
    }
    let check = Md5::digest(&head);
    head.extend(check);
    head.resize(head.len().next_multiple_of(COUNTER_BYTES), 0);
    head
}

fn decode(bytes: &[u8]) -> Option<Vec<(RunKey, u64)>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let (run_id, behind) = rest.split_first_chunk()?;
    let run_id = u128::from_le_bytes(*run_id);
    rest = behind;
    let number = |rest: &mut &[u8]| {
        let (number, behind) = rest.split_first_chunk()?;
        *rest = behind;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    let mut flows = Vec::new();
    for _ in 0..number(&mut rest)? {
        let byte_count = number(&mut rest)?;
        let (name, behind) = rest.split_at_checked(byte_count)?;
        flows.push(String::from_utf8_lossy(name).into_owned());
        rest = behind;
    }
    let head_bytes = bytes.len() - rest.len();
    let check = rest.first_chunk::<CHECK_BYTES>()?;
    if Md5::digest(bytes.get(..head_bytes)?).as_slice() != check {
        return None;
    }
    let counters = bytes.get((head_bytes + CHECK_BYTES).next_multiple_of(COUNTER_BYTES)..)?;
    let (counters, _) = counters.as_chunks();
    let counters = flows.into_iter().zip(counters.iter().map(|counter| u64::from_le_bytes(*counter)));
    Some(counters.map(|(flow, count)| (RunKey { run_id, flow }, count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u128 = 0x1234_5678_9abc_def0_1234_5678_9abc_def0;

    fn flows() -> Vec<String> {
        vec!["access".to_owned(), "errors of everything".to_owned(), String::new()]
    }

    fn sending(run_id: u128, flow: &str) -> (RunKey, Sending) {
        let (stream, in_flight_since_ms) = (None, None);
        let sending = Sending { stream, marked_at_ms: 5, in_flight_since_ms, in_flight_record_count: 3, sent_record_count: 10 };
        (RunKey { run_id, flow: flow.to_owned() }, sending)
    }

    #[test]
    fn counters_are_read_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let counters = begin(folder.path(), RUN, &flows()).unwrap();
        for (index, counter) in counters.iter().enumerate() {
            counter.set(7);
            counter.clone().set(100 + index as u64);
        }
        let counted = Sent::read(folder.path()).counters;
        let is: Vec<_> = counted.iter().map(|(run, count)| (run.run_id, run.flow.as_str(), *count)).collect();
        assert_eq!(is, [(RUN, "access", 100), (RUN, "errors of everything", 101), (RUN, "", 102)]);
    }

    #[test]
    fn what_was_sent_after_the_last_commit_was_in_flight() {
        let sent = |count| Sent { counters: vec![(RunKey { run_id: RUN, flow: "access".to_owned() }, count)] };
        for (counted, in_flight, sent_in_all) in
            [(0, 3, 10), (10, 3, 10), (11, 4, 11), (50, 43, 50), (u64::MAX, u64::MAX - 7, u64::MAX)]
        {
            let mut sendings = [sending(RUN, "access"), sending(RUN, "errors"), sending(RUN + 1, "access")];
            assert_eq!(sent(counted).fold_into(&mut sendings), counted > 10);
            let is = (sendings[0].1.in_flight_record_count, sendings[0].1.sent_record_count);
            assert_eq!(is, (in_flight, sent_in_all), "{counted}");
            assert_eq!(sendings[1..], [sending(RUN, "errors"), sending(RUN + 1, "access")]);
            assert!(!sent(counted).fold_into(&mut sendings), "counted twice");
        }
    }

    #[test]
    fn what_is_damaged_counts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Sent::read(folder.path()), Sent::default());
        begin(folder.path(), RUN, &flows()).unwrap();
        let bytes = fs::read(folder.path().join(SENT_FILE)).unwrap();
        let all = decode(&bytes).unwrap();
        for index in 0..encode_head(RUN, &flows()).len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0xFF;
            // The padding may be anything.
            assert!(decode(&flipped).is_none_or(|counters| counters == all), "{index}");
        }
        for length in 0..bytes.len() {
            // Those that are there are what they were.
            assert!(all.starts_with(&decode(&bytes[..length]).unwrap_or_default()), "{length}");
        }
    }
}
