//! What is asked about the stream, and what is answered.

use std::time::Duration;

use kinetail::limits::ATTEMPT_TIMEOUT;
use kinetail::outcome::{Failure, Verdict};
use kinetail::sender::Summary;
use kinetail::stream::Shard;

use super::{State, service, transport};
use crate::weather::Listing;

/// When a question about the stream is answered, and whether.
pub(super) struct PlanOfAnswer {
    pub(super) after: Duration,
    pub(super) answer: Result<(), Failure>,
}

impl State {
    pub(super) fn plan_answer(&mut self) -> PlanOfAnswer {
        let plan = self.drawn_answer();
        self.is_map_sure &= plan.answer.is_ok();
        plan
    }

    fn drawn_answer(&mut self) -> PlanOfAnswer {
        let now = self.now();
        let after = Duration::from_millis(self.rng.u64(..=self.weather.latency_ms_max));
        let failed = |after, failure| PlanOfAnswer { after, answer: Err(failure) };
        if now < self.blackout_until && self.is_hanging {
            return failed(ATTEMPT_TIMEOUT, transport(Verdict::Uncertain, Failure::TIMEOUT));
        }
        if now < self.blackout_until {
            return failed(after, transport(Verdict::Retry, "Connection"));
        }
        if now < self.denied_until {
            return failed(after, service("AccessDeniedException", 400));
        }
        if self.rng.f64() >= self.weather.unanswered {
            return PlanOfAnswer { after, answer: Ok(()) };
        }
        self.note("question not answered");
        match self.rng.u8(..3) {
            0 => failed(after, service("LimitExceededException", 400)),
            1 => failed(after, service("InternalFailure", 500)),
            _ => failed(ATTEMPT_TIMEOUT, transport(Verdict::Uncertain, Failure::TIMEOUT)),
        }
    }

    /// The answer to `ListShards`.
    pub(super) fn listed(&mut self) -> Result<Vec<Shard>, Failure> {
        let now = self.now();
        match self.weather.listing {
            Listing::Fresh => Ok(self.shards.list(now)),
            Listing::Stale(age) => {
                self.note("stale list");
                Ok(self.shards.list(now.saturating_sub(age)))
            }
            Listing::Incomplete => {
                let mut shards = self.shards.list(now);
                if self.rng.bool() {
                    self.note("incomplete list");
                    shards.remove(self.rng.usize(..shards.len()));
                }
                Ok(shards)
            }
            Listing::Refused => Err(service("AccessDeniedException", 400)),
        }
    }

    /// The answer to `DescribeStreamSummary`.
    pub(super) fn summarized(&self) -> Result<Summary, Failure> {
        if self.weather.listing == Listing::Refused {
            return Err(Failure::unsupported("DescribeStreamSummary"));
        }
        Ok(Summary { is_auto: self.auto_since.is_some(), record_bytes_max: self.record_bytes_max })
    }
}
