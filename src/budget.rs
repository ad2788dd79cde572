//! What a flow may use: the bound on bytes read and not settled, which keeps memory bounded whatever the backlog and the outage,
//! and that on open files.
//!
//! The tailer asks for room before it reads, and takes what it has read; whoever settles gives back, and never
//! waits. All flows have the same [`Share`], which changes when flows come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::config::Agent;
use crate::limits::{FLOW_BYTES_MIN, MEMORY_PER_LINE_BYTE};

/// What each flow may use. A clone is the same share.
#[derive(Clone)]
pub struct Share(Arc<Bounds>);

struct Bounds {
    byte_count_max: AtomicUsize,
    open_files_max: AtomicUsize,
}

impl Share {
    /// So many bytes read and not settled, and so many files open.
    pub fn new(byte_count_max: usize, open_files_max: usize) -> Self {
        let (byte_count_max, open_files_max) = (AtomicUsize::new(byte_count_max), AtomicUsize::new(open_files_max));
        Self(Arc::new(Bounds { byte_count_max, open_files_max }))
    }

    /// That of each of so many flows: what it needs at least, if `memory_max` is the least that it can be.
    pub fn of(agent: &Agent, flow_count: usize) -> Self {
        let flow_count = flow_count.max(1);
        let byte_count_max = (agent.memory_max / MEMORY_PER_LINE_BYTE / flow_count).max(FLOW_BYTES_MIN);
        Self::new(byte_count_max, agent.max_open_files / flow_count)
    }

    /// From now on it is what `other` is now.
    pub fn become_equal_to(&self, other: &Self) {
        self.0.byte_count_max.store(other.byte_count_max(), Ordering::Relaxed);
        self.0.open_files_max.store(other.open_files_max(), Ordering::Relaxed);
    }

    /// Bytes that may be read and not settled.
    pub fn byte_count_max(&self) -> usize {
        self.0.byte_count_max.load(Ordering::Relaxed)
    }

    /// Files that may be open at once.
    pub fn open_files_max(&self) -> usize {
        self.0.open_files_max.load(Ordering::Relaxed)
    }
}

/// The budget of one flow; a clone is the same budget.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    share: Share,
    taken: AtomicUsize,
    given_back: Notify,
}

impl Budget {
    /// A budget of which nothing is taken.
    pub fn new(share: Share) -> Self {
        Self(Arc::new(Inner { share, taken: AtomicUsize::new(0), given_back: Notify::new() }))
    }

    /// What may be taken in all.
    pub fn share(&self) -> &Share {
        &self.0.share
    }

    /// What is taken, in bytes.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Acquire)
    }

    /// Whether so much may be taken now. Nothing is too much when nothing else is taken.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let taken = self.taken();
        taken == 0 || taken.saturating_add(bytes) <= self.0.share.byte_count_max()
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
        let budget = Budget::new(Share::new(100, 1));
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

    #[test]
    fn a_share_that_changes_changes_every_budget_of_it() {
        let share = Share::new(100, 4);
        let budget = Budget::new(share.clone());
        budget.take(60);
        share.become_equal_to(&Share::new(80, 2));
        assert!(budget.has_room_for(20) && !budget.has_room_for(21));
        assert_eq!(budget.share().open_files_max(), 2);
    }
}
