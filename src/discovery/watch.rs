//! Notifications: hints that it is worth looking. They may come twice, late or never; nothing depends on them
//! but the time until a change is noticed.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::ModifyKind;
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
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

    fn add(&self, add: impl FnOnce(&mut Noticed)) {
        add(&mut self.0.noticed.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.wake.notify_one();
    }

    fn on_event(&self, event: Event) {
        match event.kind {
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) if !event.need_rescan() => {}
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) if !event.need_rescan() => self.add(|noticed| {
                if noticed.written.len() + event.paths.len() <= HINTS_MAX {
                    noticed.written.extend(event.paths);
                } else {
                    noticed.rescan = true;
                }
            }),
            _ => self.rescan(),
        }
    }
}

/// The folders that are watched for one flow.
pub struct Watch {
    /// `None` when the system gives no watcher: then rescans do all.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    is_degraded: bool,
}

impl Watch {
    /// Begins to watch nothing; changes will be told to `hints`.
    pub fn new(hints: &Hints) -> Self {
        let hints = hints.clone();
        let on_event = move |event: notify::Result<Event>| match event {
            Ok(event) => hints.on_event(event),
            Err(error) => {
                tracing::debug!(%error, "a notification failed, looking at everything instead");
                hints.rescan();
            }
        };
        let mut watch = Self { watcher: None, folders: BTreeSet::new(), is_degraded: false };
        match notify::recommended_watcher(on_event) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.degraded(&error, "fs.inotify.max_user_instances"),
        }
        watch
    }

    /// Watches these folders and no others; true when one of them was not watched before.
    pub fn set(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.folders.difference(&folders) {
            // A folder that is gone took its watch with it.
            let _ = watcher.unwatch(gone);
        }
        let mut failure = None;
        let mut watched = BTreeSet::new();
        for folder in folders {
            let is_watched = self.folders.contains(&folder)
                || match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                    Ok(()) => true,
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                };
            if is_watched {
                watched.insert(folder);
            }
        }
        let has_new = !watched.is_subset(&self.folders);
        self.folders = watched;
        match failure {
            Some(error) => self.degraded(&error, "fs.inotify.max_user_watches"),
            None => self.is_degraded = false,
        }
        has_new
    }

    fn degraded(&mut self, error: &notify::Error, sysctl: &'static str) {
        let is_told_by_the_scan = match &error.kind {
            ErrorKind::PathNotFound => true,
            ErrorKind::Io(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
            _ => false,
        };
        if is_told_by_the_scan || std::mem::replace(&mut self.is_degraded, true) {
            return;
        }
        let is_limit = match &error.kind {
            ErrorKind::MaxFilesWatch => true,
            // Of the instances of inotify there are too many.
            ErrorKind::Io(error) => error.raw_os_error() == Some(TOO_MANY_FILES),
            _ => false,
        };
        if is_limit {
            tracing::warn!(%error, sysctl, "cannot watch every folder, raise this sysctl; changes are noticed at the next rescan until then");
        } else {
            tracing::warn!(%error, "cannot watch every folder; changes there are noticed at the next rescan instead");
        }
    }
}

/// `EMFILE`, for which the standard library has no stable name.
const TOO_MANY_FILES: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_write_and_a_new_file_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.log");
        std::fs::write(&file, "x").unwrap();
        let hints = Hints::default();
        let mut watch = Watch::new(&hints);
        watch.set([folder.path().to_owned()].into());
        std::fs::write(&file, "xy").unwrap();
        wait_for(&hints, |noticed| noticed.written.contains(&file)).await;
        std::fs::write(folder.path().join("b.log"), "").unwrap();
        wait_for(&hints, |noticed| noticed.rescan).await;
    }

    async fn wait_for(hints: &Hints, wanted: impl Fn(&Noticed) -> bool) {
        let waiting = async {
            loop {
                hints.noticed().await;
                if wanted(&hints.take()) {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("a notification within ten seconds");
    }

    #[test]
    fn more_hints_than_can_be_kept_mean_a_rescan() {
        let hints = Hints::default();
        for index in 0..=HINTS_MAX {
            let path = PathBuf::from(format!("/{index}"));
            hints.on_event(Event::new(EventKind::Modify(ModifyKind::Any)).add_path(path));
        }
        let noticed = hints.take();
        assert!(noticed.rescan);
        assert_eq!(noticed.written.len(), HINTS_MAX);
    }
}
