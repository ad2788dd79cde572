//! Hints: what is worth a look. They may come twice, late or never; nothing depends on them but the time until a
//! change is noticed.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::limits::HINTS_MAX;

/// What was noticed since the last look; a clone is the same.
#[derive(Clone, Default)]
pub struct Hints(Arc<Inner>);

#[derive(Default)]
struct Inner {
    noticed: Mutex<Noticed>,
    wake: Notify,
}

/// What there is to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Files that were written to.
    pub written: HashSet<PathBuf>,
    /// Files or folders have come, gone or moved, or too much has happened to say what.
    pub rescan: bool,
}

impl Hints {
    /// Waits until there is something to look at.
    pub async fn noticed(&self) {
        self.0.wake.notified().await;
    }

    /// Takes what there is to look at.
    pub fn take(&self) -> Noticed {
        std::mem::take(&mut *self.0.noticed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything may have changed.
    pub fn rescan(&self) {
        self.add(|noticed| noticed.rescan = true);
    }

    /// These files were written to.
    pub(super) fn written(&self, paths: Vec<PathBuf>) {
        self.add(|noticed| {
            if noticed.written.len() + paths.len() <= HINTS_MAX {
                noticed.written.extend(paths);
            } else {
                noticed.rescan = true;
            }
        });
    }

    fn add(&self, add: impl FnOnce(&mut Noticed)) {
        add(&mut self.0.noticed.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_hints_than_can_be_kept_mean_a_rescan() {
        let hints = Hints::default();
        for index in 0..HINTS_MAX {
            hints.written(vec![PathBuf::from(format!("/{index}"))]);
        }
        assert!(!hints.0.noticed.lock().unwrap().rescan);
        hints.written(vec![PathBuf::from("/one/more")]);
        let noticed = hints.take();
        assert!(noticed.rescan);
        assert_eq!(noticed.written.len(), HINTS_MAX);
    }
}
