//! Places at which a test kills the process: `KINETAIL_FAILPOINT=before_send:3` the third time that it comes by.
//!
//! Only in builds with debug assertions; in others there is nothing.

/// Kills the process as SIGKILL does, if the environment names this place and it was passed often enough.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_: &str) {}

/// Kills the process as SIGKILL does, if the environment names this place and it was passed often enough.
#[cfg(debug_assertions)]
pub fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let written = std::env::var("KINETAIL_FAILPOINT").ok()?;
        let (name, count) = written.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?)))
    });
    if let Some((chosen, count)) = chosen
        && chosen == name
        && count.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
