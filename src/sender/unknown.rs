//! How many records may be stored without anybody knowing, for whoever comes after the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many records there are of which nobody knows whether their last attempt has stored them, and that are not counted for it. A
/// clone counts the same.
#[derive(Clone, Default)]
pub struct Unknown(Arc<UnknownRecords>);

#[derive(Default)]
struct UnknownRecords {
    count: AtomicUsize,
    is_found_out: AtomicBool,
}

impl Unknown {
    /// How many.
    pub fn record_count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// What became of them is found out after the sender, or counted then.
    pub fn is_found_out_later(&self) {
        self.0.is_found_out.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_found_out(&self) -> bool {
        self.0.is_found_out.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, record_count: usize) {
        self.0.count.fetch_add(record_count, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, record_count: usize) {
        self.0.count.fetch_sub(record_count, Ordering::Relaxed);
    }
}
