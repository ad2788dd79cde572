//! How long to wait before something that has failed is tried again.
//!
//! Pure. What is tried again, and what counts as a failure, is decided by those who wait.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};

/// How long to wait after so many failures in a row: doubling, between half of it and all of it by `random`
/// in `0..1`.
pub fn backoff(failure_count: u32, random: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failure_count.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_greatest_and_are_spread() {
        let longest: Vec<_> = [1, 2, 3, 8, 9, 100].map(|count| backoff(count, 1.0).as_millis()).to_vec();
        assert_eq!(longest, [100, 200, 400, 12_800, 20_000, 20_000]);
        assert_eq!(backoff(1, 0.0), BACKOFF_MIN / 2);
    }
}
