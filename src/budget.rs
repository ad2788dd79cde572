//! The bound on bytes read and not settled, which keeps memory bounded whatever the backlog and the outage.
//!
//! The tailer asks for room before it reads, and takes what it has read; whoever settles gives back, and never
//! waits.

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

    /// Whether so much may be taken now. Nothing is too much when nothing else is taken.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let taken = self.0.taken.load(Ordering::Acquire);
        taken == 0 || taken + bytes <= self.0.bytes_max
    }

    /// Waits until so much may be taken. For one task only: the flow's tailer.
    pub async fn room_for(&self, bytes: usize) {
        loop {
            let given_back = self.0.given_back.notified();
            if self.has_room_for(bytes) {
                return;
            }
            given_back.await;
        }
    }

    /// Takes `bytes`. Who has asked for room and then finds a longer line takes more than there was room for.
    pub fn take(&self, bytes: usize) {
        self.0.taken.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives back bytes that are settled.
    pub fn give_back(&self, bytes: usize) {
        let taken = self.0.taken.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(taken >= bytes, "more was given back than taken");
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_again_when_enough_is_given_back() {
        let budget = Budget::new(100);
        assert!(budget.has_room_for(500), "nothing else is taken");
        budget.take(60);
        assert!(budget.has_room_for(40));
        assert!(!budget.has_room_for(41));
        let room = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room_for(50).await }
        });
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        budget.give_back(10);
        room.await.unwrap();
    }
}
