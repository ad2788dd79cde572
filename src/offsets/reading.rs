//! Reading a folder of sled's that may be damaged, without any harm to this process.
//!
//! Sled panics on some bytes that it did not write, and release builds end with a panic; on others it may wait for ever, or take
//! all memory. So a child reads, of a copy of the folder: this program once more, with limits of time and memory. It gives back
//! what is in the store, as a [snapshot](super::snapshot), so that sled never opens anything in the agent that it has not written
//! there itself. Where the program cannot be started once more (in tests, which are another program), the same is done here, and
//! a panic is caught if the build allows that.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::database::{self, Held};
use super::snapshot::{self, Unfit};
use crate::limits::{STORE_READER_CPU_SECONDS, STORE_READER_MEMORY_BYTES, STORE_READER_TIMEOUT, STORE_SNAPSHOT_BYTES_MAX};

/// The first argument of a child; not for people, and not in the help.
const ARGUMENT: &str = "read-store-for-parent";
/// This program, whatever has become of its file.
const THIS_PROGRAM: &str = "/proc/self/exe";
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
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> bool {
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
        // Without /proc: a panic is better than no start at all.
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
    let limit = |maximum| Rlimit { current: Some(maximum), maximum: Some(maximum) };
    // Where the system has none of these, the parent's limit of time is left.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let _ = setrlimit(Resource::As, limit(STORE_READER_MEMORY_BYTES));
    let _ = setrlimit(Resource::Cpu, limit(STORE_READER_CPU_SECONDS));
    let _ = setrlimit(Resource::Core, limit(0));
    panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("no reason given");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        let _ = writeln!(io::stderr(), "{what}{}", place.unwrap_or_default());
    }));
    let read = database::read(folder);
    let bytes = match &read {
        Ok((held, _)) => encode(held),
        Err(error) => [&[FAILED][..], &error.raw_os_error().unwrap_or_default().to_le_bytes()].concat(),
    };
    let mut out = io::stdout().lock();
    let _ = out.write_all(&bytes).and_then(|()| out.flush());
    // Closing sled would write to the copy once more, and panic if it cannot.
    std::mem::forget(read);
}

fn encode(held: &Held) -> Vec<u8> {
    let (kind, content) = match held {
        Held::Missing | Held::Empty => (EMPTY, Vec::new()),
        Held::Image(image) => (IMAGE, snapshot::encode(image)),
        Held::Unfit(Unfit::Damaged(what)) => (DAMAGED, what.as_bytes().to_vec()),
        Held::Unfit(Unfit::Later(version)) => (LATER, version.to_le_bytes().to_vec()),
    };
    [&[kind][..], &content].concat()
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
    let mut child = command.spawn()?;
    let answer = collect(child.stdout.take(), STORE_SNAPSHOT_BYTES_MAX.saturating_add(1));
    let words = collect(child.stderr.take(), WORDS_BYTES_MAX);
    let Ok(answer) = answer.recv_timeout(STORE_READER_TIMEOUT) else {
        child.kill()?;
        child.wait()?;
        return Ok(damaged(format!("sled did not come to an end with it in {} s", STORE_READER_TIMEOUT.as_secs())));
    };
    // It has closed its standard output: it ends now, whatever sled's threads do.
    let status = child.wait()?;
    if let Some(held) = decode(&answer) {
        return held;
    }
    if status.signal() == Some(Signal::KILL.as_raw()) {
        return Err(io::Error::other("the process that reads the offset store was killed"));
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
