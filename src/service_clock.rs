//! What time it is for the service, by which it says when records arrived.
//!
//! The host's clock, as it was at the start, and what the `Date` of answers has shown of its error. Pure but for the cell.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A clock; a clone is the same.
#[derive(Clone, Debug)]
pub struct ServiceClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started_at: Instant,
    /// By the host's clock, in milliseconds since 1970.
    started_at_ms: i64,
    /// How much the service's clock is ahead of the host's; [`UNKNOWN`] until somebody has learned it.
    skew_ms: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;
/// Answers that took longer say less.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);

impl ServiceClock {
    /// A clock of which the host says that it is now so many milliseconds since 1970.
    pub fn new(host_now_ms: i64) -> Self {
        let shared = Shared { started_at: Instant::now(), started_at_ms: host_now_ms, skew_ms: AtomicI64::new(UNKNOWN) };
        Self(Arc::new(shared))
    }

    /// Learns from an answer that says it was made in this second since 1970, to a question that was asked at `asked_at`.
    pub fn learn(&self, answered_in_second: i64, asked_at: Instant) {
        let now = Instant::now();
        let is_first = self.0.skew_ms.load(Ordering::Relaxed) == UNKNOWN;
        if is_first || now.duration_since(asked_at) <= ROUND_TRIP_MAX {
            let middle = asked_at + now.duration_since(asked_at) / 2;
            let answered_at_ms = answered_in_second.saturating_mul(1000).saturating_add(500);
            self.0.skew_ms.store(answered_at_ms.saturating_sub(self.by_host(middle)), Ordering::Relaxed);
        }
    }

    /// That time, in milliseconds since 1970.
    pub fn at_ms(&self, at: Instant) -> i64 {
        let skew_ms = Some(self.0.skew_ms.load(Ordering::Relaxed)).filter(|skew_ms| *skew_ms != UNKNOWN).unwrap_or(0);
        self.by_host(at).saturating_add(skew_ms)
    }

    /// Now, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.at_ms(Instant::now())
    }

    fn by_host(&self, at: Instant) -> i64 {
        let since = |later: Instant, earlier: Instant| i64::try_from((later - earlier).as_millis()).unwrap_or(i64::MAX);
        let elapsed = if at >= self.0.started_at { since(at, self.0.started_at) } else { -since(self.0.started_at, at) };
        self.0.started_at_ms.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_by_the_host_until_the_service_says_otherwise() {
        let clock = ServiceClock::new(1_000_000);
        let start = Instant::now();
        advance(Duration::from_millis(1_500)).await;
        assert_eq!((clock.now_ms(), clock.at_ms(start)), (1_001_500, 1_000_000));
        clock.learn(2_000, start);
        // Half way between question and answer it was in the middle of that second.
        assert_eq!(clock.at_ms(start + Duration::from_millis(750)), 2_000_500);
        let late = Instant::now();
        advance(ROUND_TRIP_MAX + Duration::from_millis(1)).await;
        clock.learn(9_000, late);
        assert_eq!(clock.at_ms(start + Duration::from_millis(750)), 2_000_500);
    }
}
