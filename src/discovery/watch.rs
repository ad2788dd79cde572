//! Notifications: where hints come from. Which folders are watched follows from each scan, and so does whether a
//! watch is still good: the system drops one without a word when its folder is unmounted, and it stays with a
//! folder that was renamed.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use notify::event::ModifyKind;
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::hints::Hints;
use super::scan::FolderIdentity;
use crate::limits::NOTIFICATIONS_LOST_REMINDER;

/// The folders that are watched for one flow.
pub struct Watch {
    /// `None` while the system gives no watcher: then rescans do all.
    watcher: Option<RecommendedWatcher>,
    hints: Hints,
    watched: Watched,
    is_degraded: bool,
}

/// Folders as they were when they were last watched, shared with the thread that hears of changes; `None` for those
/// that have since been removed or renamed, perhaps, and whose watch may be gone or be elsewhere.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<BTreeMap<PathBuf, Option<FolderIdentity>>>>);

/// Makes notifications into hints.
struct Listener {
    hints: Hints,
    watched: Watched,
    loss_told_at: Option<Instant>,
}

impl Watch {
    /// Begins to watch nothing; changes will be told to `hints`.
    pub fn new(hints: &Hints) -> Self {
        let mut watch = Self { watcher: None, hints: hints.clone(), watched: Watched::default(), is_degraded: false };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        let mut listener = Listener { hints: self.hints.clone(), watched: self.watched.clone(), loss_told_at: None };
        match notify::recommended_watcher(move |event| listener.on_notification(event, Instant::now())) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.degraded(&error, "fs.inotify.max_user_instances"),
        }
    }

    /// Watches these folders and no others; true when one was not watched before, or was another folder then.
    pub fn set(&mut self, mut folders: BTreeMap<PathBuf, FolderIdentity>) -> bool {
        if self.watcher.is_none() {
            self.begin();
        }
        let Some(watcher) = &mut self.watcher else { return false };
        // A folder has one watch, whatever its paths are: ending it under one would end it under all.
        let mut seen = HashSet::new();
        folders.retain(|_, identity| seen.insert((identity.device, identity.inode)));
        // All ends come before all beginnings, for the same reason. A folder that is gone took its watch with it.
        for path in self.watched.take_all_but(&folders) {
            let _ = watcher.unwatch(&path);
        }
        let mut has_new = false;
        let mut failure = None;
        for (path, identity) in folders {
            // Before it is watched: were it gone again before this returns, nobody would be told.
            if !self.watched.add(&path, identity) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => has_new = true,
                Err(error) => {
                    self.watched.remove(&path);
                    let is_limit = is_limit(&error);
                    failure = failure.or(Some(error).filter(|error| !is_told_by_the_scan(error)));
                    if is_limit {
                        break; // For every other folder the answer would be the same.
                    }
                }
            }
        }
        match failure {
            Some(error) => self.degraded(&error, "fs.inotify.max_user_watches"),
            None if std::mem::take(&mut self.is_degraded) => tracing::info!("every folder is watched again"),
            None => {}
        }
        has_new
    }

    /// Whether every folder is watched that is to be.
    pub fn is_complete(&self) -> bool {
        self.watcher.is_some() && !self.is_degraded
    }

    fn degraded(&mut self, error: &notify::Error, sysctl: &'static str) {
        if std::mem::replace(&mut self.is_degraded, true) {
            return;
        }
        if is_limit(error) {
            tracing::warn!(%error, sysctl, "cannot watch every folder, raise this sysctl; changes are noticed at the next rescan until then");
        } else {
            tracing::warn!(%error, "cannot watch every folder; changes there are noticed at the next rescan instead");
        }
    }
}

fn is_told_by_the_scan(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
        _ => false,
    }
}

fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        // Of the instances of inotify there are too many.
        ErrorKind::Io(error) => error.raw_os_error() == Some(TOO_MANY_FILES),
        _ => false,
    }
}

/// `EMFILE`, for which the standard library has no stable name.
const TOO_MANY_FILES: i32 = 24;

impl Watched {
    /// Takes out, and returns, what is not to be watched any more, or not as it was.
    fn take_all_but(&self, folders: &BTreeMap<PathBuf, FolderIdentity>) -> Vec<PathBuf> {
        let is_over = |path: &PathBuf, identity: &mut Option<FolderIdentity>| folders.get(path) != identity.as_ref();
        self.lock().extract_if(.., is_over).map(|(path, _)| path).collect()
    }

    /// False when it is in already.
    fn add(&self, path: &Path, identity: FolderIdentity) -> bool {
        let mut watched = self.lock();
        let is_new = !watched.contains_key(path);
        if is_new {
            watched.insert(path.to_owned(), Some(identity));
        }
        is_new
    }

    fn remove(&self, path: &Path) {
        self.lock().remove(path);
    }

    /// What is at this path may be gone, or be somewhere else, with all below.
    fn doubt(&self, path: &Path) {
        let mut watched = self.lock();
        let from_here = watched.range_mut::<Path, _>((Bound::Included(path), Bound::Unbounded));
        for (_, identity) in from_here.take_while(|(folder, _)| folder.starts_with(path)) {
            *identity = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Option<FolderIdentity>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    fn on_notification(&mut self, event: notify::Result<Event>, now: Instant) {
        match event {
            Ok(event) if event.need_rescan() => {
                if self.is_loss_to_be_told(now) {
                    let sysctl = "fs.inotify.max_queued_events";
                    tracing::info!(
                        sysctl,
                        "notifications were lost, more came than this sysctl lets wait; looking at everything instead"
                    );
                }
                self.hints.rescan();
            }
            Ok(event) => self.on_event(event),
            Err(error) => {
                tracing::debug!(%error, "a notification failed, looking at everything instead");
                self.hints.rescan();
            }
        }
    }

    fn on_event(&self, event: Event) {
        match event.kind {
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => {}
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => self.hints.written(event.paths),
            kind => {
                if matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    // Should it be one of the folders, `notify` ends its watch right after this.
                    event.paths.iter().for_each(|path| self.watched.doubt(path));
                }
                self.hints.rescan();
            }
        }
    }

    fn is_loss_to_be_told(&mut self, now: Instant) -> bool {
        let is_due = self.loss_told_at.is_none_or(|told_at| now.duration_since(told_at) >= NOTIFICATIONS_LOST_REMINDER);
        if is_due {
            self.loss_told_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
