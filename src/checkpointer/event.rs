//! What travels on the road back, and what the checkpointer needs of each flow.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::gate::{Gate, InFlight};
use crate::metrics::FlowMetrics;
use crate::offsets::{Fingerprint, Identity, Mark, RunKey, Sending};
use crate::service_clock::ServiceClock;
use crate::settlement::{Settled, Settlement};
use crate::span::FileKey;

/// What tailers, packers and senders report, and that they begin and have ended.
#[derive(Debug)]
pub enum Event {
    /// A run of a flow begins; comes before everything else about it.
    Begun {
        /// Its index, which no other run of any flow has had.
        flow_index: usize,
        /// What is kept for it.
        account: Box<FlowAccount>,
    },
    /// A run of a flow has ended, and reports nothing more.
    Ended {
        /// Its index.
        flow_index: usize,
        /// Told when the store has everything that was reported.
        committed: oneshot::Sender<()>,
    },
    /// A tailer has begun a life of a file; comes before everything else about that life.
    Opened(Opened),
    /// A file that is tailed was looked at.
    Seen {
        /// The life.
        file: FileKey,
        /// How its content begins; of a short file more is known now.
        fingerprint: Fingerprint,
        /// Bytes before the first that was not read.
        mark: Mark,
        /// Its size in bytes.
        byte_count: u64,
    },
    /// A file that is tailed was seen under another name, or another has taken its name.
    Moved {
        /// The life.
        file: FileKey,
        /// Its path now.
        path: Arc<Path>,
        /// Nobody is expected to write to it any more.
        is_superseded: bool,
    },
    /// Spans need no more care.
    Settled(Settled),
    /// No more will be read of this life than `read_until`.
    Closed {
        /// The life.
        file: FileKey,
        /// First byte not read.
        read_until: u64,
        /// What becomes of its row.
        remains: Remains,
    },
    /// A row of the store belongs to no life that can go on.
    Forgotten(FileKey),
    /// A flow has opened the files that were there at its first start.
    Started {
        /// Index of its run.
        flow_index: usize,
    },
}

/// What is kept of a life that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// All that is known: its file is somewhere else, and may come back.
    Place,
    /// What its content was: the file is deleted or was rewritten, but there may be a copy.
    Content,
    /// Nothing.
    Nothing,
}

/// A life of a file that begins or goes on.
#[derive(Debug)]
pub struct Opened {
    /// Its key.
    pub file: FileKey,
    /// Index of the run of its flow.
    pub flow_index: usize,
    /// Where it was found.
    pub path: Arc<Path>,
    /// By what it is known again.
    pub identity: Identity,
    /// What of it is settled.
    pub settlement: Settlement,
    /// What it passes over was read as this other life, and is perhaps still on its way: until all of that is settled, it
    /// has no row, so that after a restart it is looked at again.
    pub after: Option<FileKey>,
}

/// What the checkpointer needs of each flow.
pub struct FlowAccount {
    /// The run, as far as it concerns this flow.
    pub run: RunKey,
    /// The stream that it sends to; none for a delivery stream.
    pub stream: Option<String>,
    /// Where its requests wait for commits.
    pub gate: Gate,
    /// What time it is for the service.
    pub clock: ServiceClock,
    /// Counts what is settled.
    pub metrics: FlowMetrics,
    /// Gets back what is settled.
    pub budget: Budget,
}

impl fmt::Debug for FlowAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowAccount").field("run", &self.run).finish_non_exhaustive()
    }
}

impl FlowAccount {
    /// What the store has to say of it from now on, `in_flight` being what was at that moment.
    pub(super) fn sending(&self, at: Instant, in_flight: &InFlight) -> Sending {
        Sending {
            stream: self.stream.clone(),
            marked_at_ms: self.clock.at_ms(at),
            in_flight_since_ms: in_flight.since.map(|since| self.clock.at_ms(since)),
            in_flight_record_count: in_flight.record_count as u64,
            sent_record_count: in_flight.sent_record_count,
        }
    }
}
