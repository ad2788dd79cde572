//! What can go wrong with a stream, and how likely it is.

use std::time::Duration;

/// How likely each trouble is at each request, or each record.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) latency_ms_max: u64,
    pub(crate) requests: Vec<(RequestFault, f64)>,
    pub(crate) record_throttled: f64,
    pub(crate) record_failed: f64,
    /// Records that the service refuses, each with the whole of its request, while the weather lasts.
    pub(crate) record_refused: f64,
    /// Changes of the shards.
    pub(crate) reshard: f64,
    /// Other producers that take a part of a shard for a while.
    pub(crate) others: f64,
    /// Questions about the stream that are not answered as they should be.
    pub(crate) unanswered: f64,
    pub(crate) listing: Listing,
    /// Questions by which the stream is read that are throttled, or fail.
    pub(crate) read_throttled: f64,
    pub(crate) read_failed: f64,
    /// Records in an answer.
    pub(crate) page_records_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestFault {
    Throttled,
    ServerError,
    Unavailable,
    ResetBeforeBody,
    ResetAfterBody,
    Timeout,
    /// The same, and what was sent is accepted some time after nobody waits for an answer any more.
    AcceptedLate,
    TooFewResults,
    TooManyResults,
    EmptyAnswer,
    /// Nobody answers for minutes.
    Blackout,
    /// Access is denied for a while, or the credentials are too old.
    Denied,
}

/// What `ListShards` answers when it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Listing {
    #[default]
    Fresh,
    /// The shards of so long ago.
    Stale(Duration),
    /// Not all of them, now and then.
    Incomplete,
    /// It may not be asked, or there is no such question.
    Refused,
}

const REQUEST_FAULTS: [RequestFault; 12] = [
    RequestFault::Throttled,
    RequestFault::ServerError,
    RequestFault::Unavailable,
    RequestFault::ResetBeforeBody,
    RequestFault::ResetAfterBody,
    RequestFault::Timeout,
    RequestFault::AcceptedLate,
    RequestFault::TooFewResults,
    RequestFault::TooManyResults,
    RequestFault::EmptyAnswer,
    RequestFault::Blackout,
    RequestFault::Denied,
];

impl Default for Weather {
    /// No trouble at all.
    fn default() -> Self {
        Self {
            latency_ms_max: 0,
            requests: Vec::new(),
            record_throttled: 0.0,
            record_failed: 0.0,
            record_refused: 0.0,
            reshard: 0.0,
            others: 0.0,
            unanswered: 0.0,
            listing: Listing::Fresh,
            read_throttled: 0.0,
            read_failed: 0.0,
            page_records_max: usize::MAX,
        }
    }
}

impl Weather {
    /// From calm to a storm.
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let latency_ms_max = [1, 20, 200, 2_000][rng.usize(..4)];
        let severity = [0.0, 0.02, 0.1, 0.4][rng.usize(..4)];
        let mut chance = |scale: f64| if rng.bool() { 0.0 } else { rng.f64() * severity * scale };
        let requests = REQUEST_FAULTS.map(|fault| match fault {
            RequestFault::Blackout | RequestFault::Denied => (fault, chance(0.3)),
            _ => (fault, chance(0.5)),
        });
        Self {
            latency_ms_max,
            requests: requests.to_vec(),
            record_throttled: chance(1.0),
            record_failed: chance(1.0),
            record_refused: chance(0.05),
            reshard: chance(1.0),
            others: chance(1.0),
            unanswered: chance(1.0),
            read_throttled: chance(1.0),
            read_failed: chance(0.5),
            listing: match rng.u8(..6) {
                0 => Listing::Stale(Duration::from_millis(rng.u64(..20_000))),
                1 => Listing::Incomplete,
                2 => Listing::Refused,
                _ => Listing::Fresh,
            },
            page_records_max: [3, 40, 1_000, usize::MAX][rng.usize(..4)],
        }
    }
}
