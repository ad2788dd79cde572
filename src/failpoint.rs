//! Places at which a test kills the process, or lets whoever comes by never get any further: `KINETAIL_FAILPOINT=before_send:3` the
//! third time that somebody comes by; `packing:1:spin` all from the first time on.
//!
//! `spin` is an endless loop, `lock` a lock that nobody opens, `read` a read of what never comes, as from a file system that hangs.
//! Only in builds with debug assertions; in others there is nothing.

/// Does what the environment says of this place.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_: &str) {}

/// Does what the environment says of this place, if it was passed often enough.
#[cfg(debug_assertions)]
pub fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(String, AtomicU64, String)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let written = std::env::var("KINETAIL_FAILPOINT").ok()?;
        let (name, rest) = written.split_once(':')?;
        let (count, deed) = rest.split_once(':').unwrap_or((rest, "kill"));
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?), deed.to_owned()))
    });
    if let Some((chosen, count, deed)) = chosen
        && chosen == name
    {
        // Once it is 0 it stays so.
        let left = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        let (is_first, is_passed) = (left == Ok(1), !left.is_ok_and(|left| left > 1));
        match deed.as_str() {
            "spin" if is_passed => loop {
                std::hint::spin_loop();
            },
            "lock" if is_passed => loop {
                std::thread::park();
            },
            "read" if is_passed => read_for_ever(),
            "kill" if is_first => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
            _ => {}
        }
    }
}

#[cfg(debug_assertions)]
fn read_for_ever() {
    use std::io::Read as _;

    if let Ok((mut reader, _writer)) = std::io::pipe() {
        let _ = reader.read(&mut [0]);
    }
}
