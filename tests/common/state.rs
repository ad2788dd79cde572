//! The state folder of an agent that lives several lives in one process.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use kinetail::offsets::{Offsets, Row};
use kinetail::span::FileKey;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// In memory where there is such a file system: every commit waits for the disk.
pub(crate) fn folder_in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// The store, which nobody holds any more however the life before ended. A thread of sled's may hold its lock
/// for a moment after the store is closed, which in another process nobody would see.
pub(crate) fn open_store(state: &Path) -> (Offsets, Vec<(FileKey, Row)>) {
    let mut attempts = (0..5_000).map(|_| {
        let opened = Offsets::open(state);
        if opened.is_err() {
            thread::park_timeout(Duration::from_millis(1));
        }
        opened
    });
    let store = attempts.find_map(Result::ok).unwrap_or_else(|| Offsets::open(state).unwrap());
    let rows = store.load().unwrap();
    (store, rows)
}

/// Waits on simulated time for what other threads do; false when it does not come.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waiting = pin!(waiting);
    timeout(Duration::from_secs(60), waiting).await.is_ok()
}

/// Copies what is there. A snapshot that is being written meanwhile may have its final name before it is copied.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            match fs::copy(entry.path(), target) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => _ = copied.unwrap(),
            }
        }
    }
}
