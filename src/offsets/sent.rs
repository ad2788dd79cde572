//! The file `sent`: how many records each run of a flow has sent, so that after a sudden end that is known exactly.
//!
//! Each counter is written without waiting for the disk: it survives the process, and after a power cut is an older one, or
//! nothing. What is in the file is only ever more than the store knows, never a reason not to start.
//!
//! ```text
//! 8 bytes   "ktsent\0\x02"
//! for each run, in the order in which they began:
//! u64       how many records it has sent
//! u128      run id
//! u32       length of the name of the flow
//!           the name
//! 16 bytes  MD5 of run id, length and name
//!           zeros up to a multiple of 8 bytes
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
const MAGIC: &[u8; 8] = b"ktsent\0\x02";
const CHECK_BYTES: usize = 16;
/// Of counters, so that one is written at once.
const ALIGNMENT: usize = 8;
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

/// The counters of the runs of a process that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    counters: Vec<(RunKey, u64)>,
}

impl Sent {
    /// The counters of the last process; none where they cannot be read.
    pub(super) fn read(state_dir: &Path) -> Self {
        let bytes = read_file(&state_dir.join(SENT_FILE), BYTES_MAX).unwrap_or_default();
        Self { counters: decode(&bytes) }
    }

    /// Adds what a run has sent after its last commit to what the store says of it; true when that was anything.
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

/// The counters of the runs of this process.
pub(super) struct Counting {
    file: Arc<File>,
    byte_count: u64,
}

impl Counting {
    /// Puts a file without runs in the place of that of the last process.
    pub(super) fn begin(state_dir: &Path) -> io::Result<Self> {
        let unfinished = state_dir.join(UNFINISHED_SENT);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(MAGIC)?;
        fs::rename(&unfinished, state_dir.join(SENT_FILE))?;
        Ok(Self { file: Arc::new(file), byte_count: MAGIC.len() as u64 })
    }

    /// A counter for this run.
    pub(super) fn add(&mut self, run: &RunKey) -> io::Result<SentCounter> {
        let (bytes, at) = (encode(run), self.byte_count);
        self.file.write_all_at(&bytes, at)?;
        self.byte_count += bytes.len() as u64;
        Ok(SentCounter { file: Arc::clone(&self.file), at })
    }
}

fn encode(run: &RunKey) -> Vec<u8> {
    let name = run.flow.as_bytes();
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let named = [&run.run_id.to_le_bytes()[..], &length.to_le_bytes(), name].concat();
    let mut bytes = [&0u64.to_le_bytes()[..], &named, &Md5::digest(&named)].concat();
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// What the file says, up to where it is damaged or ends.
fn decode(bytes: &[u8]) -> Vec<(RunKey, u64)> {
    let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
    let mut counters = Vec::new();
    while let Some((counter, behind)) = decode_one(rest) {
        counters.push(counter);
        rest = behind;
    }
    counters
}

fn decode_one(bytes: &[u8]) -> Option<((RunKey, u64), &[u8])> {
    let (count, named) = bytes.split_first_chunk()?;
    let (run_id, rest) = named.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let (check, rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let named = &named[..size_of::<u128>() + size_of::<u32>() + name.len()];
    if Md5::digest(named).as_slice() != check {
        return None;
    }
    let taken = bytes.len() - rest.len();
    let padding = (taken.next_multiple_of(ALIGNMENT) - taken).min(rest.len());
    let run = RunKey { run_id: u128::from_le_bytes(*run_id), flow: String::from_utf8_lossy(name).into_owned() };
    Some(((run, u64::from_le_bytes(*count)), &rest[padding..]))
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

    fn begun(folder: &Path) -> Vec<SentCounter> {
        let mut counting = Counting::begin(folder).unwrap();
        let run = |flow| RunKey { run_id: RUN, flow };
        flows().into_iter().map(|flow| counting.add(&run(flow)).unwrap()).collect()
    }

    #[test]
    fn counters_are_read_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        for (index, counter) in begun(folder.path()).iter().enumerate() {
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
        for counter in begun(folder.path()) {
            counter.set(5);
        }
        let bytes = fs::read(folder.path().join(SENT_FILE)).unwrap();
        let all = decode(&bytes);
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0xFF;
            // Counts have no check of their own.
            let runs: Vec<RunKey> = decode(&flipped).into_iter().map(|(run, _)| run).collect();
            assert!(all.iter().map(|(run, _)| run).zip(&runs).all(|(is, was)| is == was), "{index}");
        }
        for length in 0..bytes.len() {
            // Those that are there are what they were.
            assert!(all.starts_with(&decode(&bytes[..length])), "{length}");
        }
    }
}
