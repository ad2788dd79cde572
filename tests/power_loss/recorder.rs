//! What a process has done to the files of a folder, and when: by `shim.c`, which is compiled here and preloaded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs};

use crate::common::installed::run;

/// Something that was done, in the order in which it was.
#[derive(Debug)]
pub(crate) struct Event {
    /// By the monotonic clock; it was done by then.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What. Files are known by the numbers of their inodes, which are given out anew after a while.
#[derive(Debug)]
pub(crate) enum What {
    /// A file was opened, and perhaps made.
    Opened {
        path: PathBuf,
        inode: u64,
        is_truncated: bool,
    },
    OpenedFolder {
        path: PathBuf,
        inode: u64,
    },
    Written {
        inode: u64,
        offset: usize,
        data: Vec<u8>,
    },
    Truncated {
        inode: u64,
        byte_count: usize,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    /// A file or an empty folder.
    Removed {
        path: PathBuf,
    },
    MadeFolder {
        path: PathBuf,
    },
    FlushBegins {
        flush: u32,
    },
    FlushEnds {
        inode: u64,
        flush: u32,
    },
}

/// Without the data.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { inode, offset, data } => write!(f, "{} bytes written at {offset} of {inode}", data.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The shim as a library, or why there is none.
pub(crate) fn compile() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power_loss/shim.c"), folder.join("power-loss-shim.so"));
    // Another run may have it loaded.
    let made = folder.join(format!("power-loss-shim-{}.so", std::process::id()));
    let mut compiler = Command::new("cc");
    run(compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&made).arg(source).arg("-pthread"))?;
    fs::rename(&made, &library).unwrap();
    Ok(library)
}

/// Bytes of what comes before names and data, as `struct head` of the shim has it.
const HEAD_BYTES: usize = 48;

/// The events of the log at `path`; one that was not written to its end is left out.
pub(crate) fn read(path: &Path) -> Vec<Event> {
    let log = fs::read(path).unwrap();
    let mut rest = log.as_slice();
    let mut events = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(HEAD_BYTES) {
        let long = |index: usize| u64::from_ne_bytes(head[index..index + 8].try_into().unwrap());
        let short = |index: usize| u32::from_ne_bytes(head[index..index + 4].try_into().unwrap());
        let (inode, offset, byte_count) = (long(8), long(16), usize::try_from(long(24)).unwrap());
        let (kind, name_bytes, flags, flush) = (short(32), short(36) as usize, short(40), short(44));
        let data_bytes = if kind == 2 { byte_count } else { 0 };
        let Some((names, behind)) = behind.split_at_checked(name_bytes) else { break };
        let Some((data, behind)) = behind.split_at_checked(data_bytes) else { break };
        rest = behind;
        let path = |name: &[u8]| PathBuf::from(OsStr::from_bytes(name));
        let what = match kind {
            1 if flags & 2 != 0 => What::OpenedFolder { path: path(names), inode },
            1 => What::Opened { path: path(names), inode, is_truncated: flags & 1 != 0 },
            2 => What::Written { inode, offset: usize::try_from(offset).unwrap(), data: data.to_vec() },
            3 => What::Truncated { inode, byte_count },
            4 => {
                let end = names.iter().position(|byte| *byte == 0).unwrap();
                What::Renamed { from: path(&names[..end]), to: path(&names[end + 1..]) }
            }
            5 => What::Removed { path: path(names) },
            6 => What::MadeFolder { path: path(names) },
            7 => What::FlushBegins { flush },
            8 => What::FlushEnds { inode, flush },
            other => panic!("an event of kind {other}"),
        };
        events.push(Event { at: Duration::from_nanos(long(0)), what });
    }
    events
}
