//! Reading a folder of sled's that may be damaged, without any harm to this process.
//!
//! Sled panics on some bytes that it did not write, and release builds end with a panic; on others it may wait for ever, or take
//! all memory. So a child reads, of a copy of the folder: this program once more, with limits of time and memory. It gives back
//! what is in the store, as a snapshot, so that sled never opens anything in the agent that it has not written
//! there itself. Where the program cannot be started once more (in tests, which are another program), the same is done here, and
//! a panic is caught if the build allows that.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::database::{self, Held};
use super::snapshot::{self, Unfit};
use crate::limits::{
    STORE_READER_CPU_SECONDS, STORE_READER_MEMORY_BYTES, STORE_READER_MEMORY_FACTOR, STORE_READER_TIMEOUT,
    STORE_SNAPSHOT_BYTES_MAX,
};

/// The first argument of a child; not for people, and not in the help.
const ARGUMENT: &str = "read-store-for-parent";
/// This program, whatever has become of its file.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// What a child says first: another program does not, and is no child. A loader may be what runs here, and is started then.
const GREETING: &[u8] = b"kinetail";
/// How much of a child's last words is kept.
const WORDS_BYTES_MAX: u64 = 2048;

// The first byte of an answer.
const EMPTY: u8 = b'E';
const IMAGE: u8 = b'I';
const DAMAGED: u8 = b'D';
const LATER: u8 = b'L';
/// The system did not let it read: an error number follows.
const FAILED: u8 = b'F';

static READER: OnceLock<PathBuf> = OnceLock::new();

/// For the beginning of `main`: where these arguments are those of a child, does its work and returns true. Else notes that this
/// program can be one.
pub fn read_for_parent(mut arguments: impl Iterator<Item = OsString>) -> bool {
    if arguments.nth(1).is_some_and(|argument| argument == ARGUMENT)
        && let Some(folder) = arguments.next()
    {
        answer(Path::new(&folder));
        return true;
    }
    read_with(Path::new(THIS_PROGRAM));
    false
}

/// From now on stores are read by this program, a kinetail.
pub fn read_with(program: &Path) {
    READER.get_or_init(|| program.to_owned());
}

/// What is in a folder of sled's, which may change meanwhile: a copy.
pub(super) fn read(copy: &Path) -> io::Result<Held> {
    match READER.get().map(|program| read_by(program, copy)) {
        // Without /proc, or with a program there that is another: a panic is better than no start at all.
        None => read_here(copy),
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => read_here(copy),
        Some(held) => held,
    }
}

fn read_here(copy: &Path) -> io::Result<Held> {
    let read = panic::catch_unwind(|| database::read(copy).map(|(held, _)| held));
    read.unwrap_or_else(|_| Ok(damaged("sled cannot read it".to_owned())))
}

fn damaged(what: String) -> Held {
    Held::Unfit(Unfit::Damaged(what))
}

/// The work of a child.
fn answer(folder: &Path) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(GREETING).and_then(|()| out.flush());
    let limit = |current: u64| Rlimit { current: Some(current), maximum: Some(current.saturating_add(1)) };
    let memory_bytes = STORE_READER_MEMORY_FACTOR.saturating_mul(bytes_in(folder)).saturating_add(STORE_READER_MEMORY_BYTES);
    // Where the system has none of these, the parent's limit of time is left. Not the address space: threads and the allocator
    // reserve much more than they use.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let _ = setrlimit(Resource::Data, limit(memory_bytes));
    let _ = setrlimit(Resource::Cpu, limit(STORE_READER_CPU_SECONDS));
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("no reason given");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        let _ = writeln!(io::stderr(), "{what}{}", place.unwrap_or_default());
    }));
    let read = database::read(folder);
    let (kind, content) = match &read {
        Ok((held, _)) => encode(held),
        Err(error) => (FAILED, error.raw_os_error().unwrap_or_default().to_le_bytes().to_vec()),
    };
    let _ = out.write_all(&[kind]).and_then(|()| out.write_all(&content)).and_then(|()| out.flush());
    // Closing sled would write to the copy once more, and panic if it cannot.
    std::mem::forget(read);
}

/// Of the files in a folder and in those below it.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.fold(0, u64::saturating_add)
}

/// The first byte of an answer, and the rest.
fn encode(held: &Held) -> (u8, Vec<u8>) {
    match held {
        Held::Missing | Held::Empty => (EMPTY, Vec::new()),
        Held::Image(image) => (IMAGE, snapshot::encode(image)),
        Held::Unfit(Unfit::Damaged(what)) => (DAMAGED, what.as_bytes().to_vec()),
        Held::Unfit(Unfit::Later(version)) => (LATER, version.to_le_bytes().to_vec()),
    }
}

fn decode(answer: &[u8]) -> Option<io::Result<Held>> {
    Some(match answer.split_first()? {
        (&EMPTY, []) => Ok(Held::Empty),
        (&IMAGE, bytes) => Ok(Held::Image(snapshot::decode(bytes).ok()?)),
        (&DAMAGED, what) => Ok(damaged(String::from_utf8_lossy(what).into_owned())),
        (&LATER, version) => Ok(Held::Unfit(Unfit::Later(u32::from_le_bytes(version.try_into().ok()?)))),
        (&FAILED, errno) => Err(io::Error::from_raw_os_error(i32::from_le_bytes(errno.try_into().ok()?))),
        _ => return None,
    })
}

fn read_by(program: &Path, copy: &Path) -> io::Result<Held> {
    let mut command = Command::new(program);
    let command = command.arg(ARGUMENT).arg(copy).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What is typed at the terminal is not for it.
    let command = command.process_group(0);
    let mut child = command.spawn()?;
    let answer = collect(child.stdout.take(), STORE_SNAPSHOT_BYTES_MAX.saturating_add(GREETING.len() as u64 + 1));
    let words = collect(child.stderr.take(), WORDS_BYTES_MAX);
    let Ok(answer) = answer.recv_timeout(STORE_READER_TIMEOUT) else {
        child.kill()?;
        child.wait()?;
        return Ok(damaged(format!("sled did not come to an end with it in {} s", STORE_READER_TIMEOUT.as_secs())));
    };
    // It has closed its standard output: it ends now, whatever sled's threads do.
    let status = child.wait()?;
    // Any other was sent to it by somebody.
    let of_its_own = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP, Signal::XCPU];
    if status.signal().is_some_and(|signal| !of_its_own.map(Signal::as_raw).contains(&signal)) {
        return Err(io::Error::other(format!("the process that reads the offset store was ended: {status}")));
    }
    let answer = answer.strip_prefix(GREETING).ok_or(io::ErrorKind::NotFound)?;
    if let Some(held) = decode(answer) {
        return held;
    }
    let words = words.recv_timeout(STORE_READER_TIMEOUT).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    Ok(damaged(match words.lines().next() {
        Some(first) => format!("sled cannot read it: {first}"),
        None => format!("sled cannot read it: {status}"),
    }))
}

/// Reads to the end, and keeps the beginning.
fn collect(from: Option<impl Read + Send + 'static>, byte_count_max: u64) -> mpsc::Receiver<Vec<u8>> {
    let (collected, result) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.by_ref().take(byte_count_max).read_to_end(&mut bytes);
            let _ = io::copy(&mut from, &mut io::sink());
        }
        // Nobody listens any more when it took too long.
        let _ = collected.send(bytes);
    });
    result
}

#[cfg(test)]
mod tests {
    use super::super::content::Image;
    use super::*;

    #[test]
    fn what_is_answered_is_understood() {
        let image = Image { generation: 3, is_rolled_back: true, entries: [(b"f".to_vec(), b"row".to_vec())].into() };
        for held in [Held::Empty, Held::Image(image), damaged("why".to_owned()), Held::Unfit(Unfit::Later(9))] {
            let (kind, content) = encode(&held);
            let answer = [&[kind][..], &content].concat();
            assert_eq!(decode(&answer).unwrap().unwrap(), held);
            // One that was cut off is not, but for the words that say what is wrong.
            let cut_off = decode(&answer[..answer.len() - 1]);
            assert!(cut_off.is_none() || kind == DAMAGED, "{held:?}");
        }
        let failed = [&[FAILED][..], &28_i32.to_le_bytes()].concat();
        assert_eq!(decode(&failed).unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    /// A program that does this, whatever its arguments are.
    fn program(folder: &Path, script: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = folder.join("program");
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o700).open(&path).unwrap();
        writeln!(file, "#!/bin/sh\nprintf kinetail\n{script}").unwrap();
        path
    }

    #[test]
    fn however_the_child_ends_it_is_known_whose_fault_that_is() {
        let folder = tempfile::tempdir().unwrap();
        for (script, what) in [
            ("printf E", Ok("")),
            ("printf Dwhy", Ok("why")),
            ("echo 'assertion failed' >&2; kill -ABRT $$", Ok("sled cannot read it: assertion failed")),
            ("kill -SEGV $$", Ok("sled cannot read it: signal: 11 (SIGSEGV)")),
            ("kill -XCPU $$", Ok("sled cannot read it: signal: 24 (SIGXCPU)")),
            ("exit 101", Ok("sled cannot read it: exit status: 101")),
            ("printf I; exit 0", Ok("sled cannot read it: exit status: 0")),
            ("kill -KILL $$", Err("was ended: signal: 9 (SIGKILL)")),
            ("kill -TERM $$", Err("was ended: signal: 15 (SIGTERM)")),
            ("printf 'F\\034\\000\\000\\000'", Err("No space left on device")),
        ] {
            let program = program(folder.path(), script);
            let read = loop {
                match read_by(&program, folder.path()) {
                    // A thread of another test has inherited the descriptor that it was written by.
                    Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::yield_now(),
                    read => break read,
                }
            };
            match (read, what) {
                (Ok(Held::Empty), Ok(expected)) => assert_eq!(expected, ""),
                (Ok(Held::Unfit(Unfit::Damaged(what))), Ok(expected)) => assert!(what.contains(expected), "{what}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                other => panic!("{script}: {other:?}"),
            }
        }
        // Nobody that reads stores.
        for program in ["/bin/true", "/bin/no such program"] {
            assert_eq!(read_by(Path::new(program), folder.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
