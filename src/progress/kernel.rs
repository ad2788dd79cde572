//! What the kernel says that a thread of this process is doing.
//!
//! `/proc/self/task/TID/syscall` begins with the number of the system call in which a thread is blocked, with `running` while it
//! computes, and with -1 when it is blocked elsewhere, as for a page of a file. A process may always read it of its own threads:
//! no capability is needed, and `ProtectProc=invisible` and `ProcSubset=pid` leave it there. It tells more than the state in
//! `stat`, which is D for a dead NFS server, but S both for a lock and for a file system in user space (FUSE).

use std::fs;

use super::Stage;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs, or would if there was a processor for it.
    Computing,
    /// It waits for another thread.
    WaitingForLock,
    /// It is in a system call for which a restart of this process is no help: threads that are followed make no others that wait
    /// than those on files.
    InFileSystem,
}

/// `futex`, `futex_waitv` and `futex_wait`. Of other processors it is not known: there whoever waits is taken to wait for a file,
/// which is told and does no harm.
const LOCKS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["202", "449", "455"]
} else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
    &["98", "449", "455"]
} else {
    &[]
};

/// How the names of the threads begin on which the offset store writes.
const WRITERS: [&str; 2] = ["sled-io", "snapshots"];

/// What the thread of a stage is doing; none when there is no such thread any more, or nothing is said of it.
pub(super) fn doing(stage: Stage, thread: i32) -> Option<Doing> {
    let doing = of_thread(thread)?;
    let is_writer_waited_for = doing == Doing::WaitingForLock && stage == Stage::Offsets && is_writer_in_file_system();
    Some(if is_writer_waited_for { Doing::InFileSystem } else { doing })
}

fn of_thread(thread: i32) -> Option<Doing> {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{name}"));
    match read("syscall") {
        Ok(text) => of_syscall(&text),
        // Some sandboxes emulate /proc, and not all of it.
        Err(_) => of_stat(&read("stat").ok()?),
    }
}

/// sled lets threads of its own write and flush, and whoever commits waits for them.
fn is_writer_in_file_system() -> bool {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ids = threads.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut writers = ids.filter(|id| {
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        WRITERS.iter().any(|writer| name.starts_with(writer))
    });
    writers.any(|id| of_thread(id) == Some(Doing::InFileSystem))
}

fn of_syscall(text: &str) -> Option<Doing> {
    match text.split_ascii_whitespace().next()? {
        "running" => Some(Doing::Computing),
        number if LOCKS.contains(&number) => Some(Doing::WaitingForLock),
        _ => Some(Doing::InFileSystem),
    }
}

fn of_stat(text: &str) -> Option<Doing> {
    // Behind the name, which is in parentheses and may have any in it.
    match text.rsplit_once(") ")?.1.bytes().next()? {
        b'R' => Some(Doing::Computing),
        b'S' | b'D' => Some(Doing::InFileSystem),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, mpsc};
    use std::thread;

    use rustix::thread::gettid;

    use super::*;

    /// What a thread is doing, once it does what is expected, that `work` keeps it at.
    #[track_caller]
    fn check(expected: Doing, work: impl FnOnce() + Send + 'static) {
        let (tell, told) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("sled-io-test".to_owned())
            .spawn(move || {
                tell.send(gettid().as_raw_nonzero().get()).unwrap();
                work();
            })
            .unwrap();
        let thread = told.recv().unwrap();
        // It takes a moment until it is there.
        for _ in 0..10_000 {
            if of_thread(thread) == Some(expected) {
                return;
            }
            thread::yield_now();
        }
        panic!("{:?} instead of {expected:?}", of_thread(thread));
    }

    #[test]
    fn a_thread_that_reads_what_does_not_come_is_in_the_file_system() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        check(Doing::InFileSystem, move || _ = reader.read(&mut [0]));
        assert!(is_writer_in_file_system());
        drop(writer);
    }

    #[test]
    fn a_thread_that_waits_for_another_waits_for_a_lock() {
        let lock = Arc::new(Mutex::new(()));
        let of_thread = Arc::clone(&lock);
        let held = lock.lock().unwrap();
        check(Doing::WaitingForLock, move || drop(of_thread.lock()));
        drop(held);
    }

    #[test]
    fn a_thread_in_an_endless_loop_computes() {
        let is_over = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&is_over);
        check(Doing::Computing, move || {
            while !of_thread.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        is_over.store(true, Ordering::Relaxed);
    }

    #[test]
    fn of_a_thread_that_has_ended_nothing_is_said() {
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || tell.send(gettid().as_raw_nonzero().get()).unwrap()).join().unwrap();
        let thread = told.recv().unwrap();
        for _ in 0..10_000 {
            if doing(Stage::Tailer, thread).is_none() {
                return;
            }
            thread::yield_now();
        }
        panic!("{:?}", doing(Stage::Tailer, thread));
    }

    #[test]
    fn states_stand_in_for_system_calls() {
        for (text, expected) in [
            ("12 (a (b) c) R 1 2", Some(Doing::Computing)),
            ("12 (tailer) D 1 2", Some(Doing::InFileSystem)),
            ("12 (tailer) S 1 2", Some(Doing::InFileSystem)),
            ("12 (tailer) T 1 2", None),
            ("", None),
        ] {
            assert_eq!(of_stat(text), expected, "{text:?}");
        }
        assert_eq!(of_syscall("-1 0x7ffd 0x7f12\n"), Some(Doing::InFileSystem), "a page of a file");
        assert_eq!(of_syscall(""), None);
    }
}
