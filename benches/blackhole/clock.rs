//! A clock that processes share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The monotonic time, the same in all processes of a host.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
