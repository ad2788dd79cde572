//! The bound on bytes read and not settled, which keeps memory bounded whatever the backlog and the outage.
//!
//! The tailer takes before it hands a chunk on, and waits when there is nothing to take; whoever settles
//! gives back, and never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The budget of one flow; a clone is the same budget.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    bytes_max: usize,
    taken: AtomicUsize,
    given_back: Notify,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { bytes_max, taken: AtomicUsize::new(0), given_back: Notify::new() }))
    }

    /// Waits until `bytes` may be taken, and takes them. More than the whole budget is granted when nothing
    /// else is taken. For one task only: the flow's tailer.
    pub async fn take(&self, bytes: usize) {
        loop {
            let given_back = self.0.given_back.notified();
            let taken = self.0.taken.load(Ordering::Acquire);
            if taken == 0 || taken + bytes <= self.0.bytes_max {
                self.0.taken.fetch_add(bytes, Ordering::AcqRel);
                return;
            }
            given_back.await;
        }
    }

    /// Gives back bytes that are settled.
    pub fn give_back(&self, bytes: usize) {
        let taken = self.0.taken.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(taken >= bytes, "more was given back than taken");
        self.0.given_back.notify_one();
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_room_and_grants_an_oversized_piece_alone() {
        let budget = Budget::new(100);
        budget.take(60).await;
        let more = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(500).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(budget.taken(), 60);
        budget.give_back(60);
        more.await.unwrap();
        assert_eq!(budget.taken(), 500);
    }
}
