//! What a run of the agent may have sent of which the rows say nothing: where to look for it, and when.

use serde::{Deserialize, Serialize};

/// A run of a flow: from when it begins, with the agent or a new configuration, to when it ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// In its [delivery tokens](crate::delivery_token).
    pub run_id: u128,
    /// Name of the flow.
    pub flow: String,
}

/// What one run of one flow may have sent without the rows saying so. There is one from before the first request leaves until
/// nothing is in flight any more; one that is there at a start is of a run that did not end in an orderly way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The stream that it was sent to; none for a delivery stream, which cannot be read.
    pub stream: Option<String>,
    /// When the rows were what they are, in milliseconds since 1970 by the service's clock.
    pub marked_at_ms: i64,
    /// When the oldest record that was in flight then was sent first, by the same clock.
    pub in_flight_since_ms: Option<i64>,
    /// How many records were in flight then.
    pub in_flight_record_count: u64,
    /// How many were ever sent by then, each counted whenever it surely had not been stored before.
    pub sent_record_count: u64,
}
