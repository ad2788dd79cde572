//! Why a store cannot be used, and what an operator can do.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a store cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds it.
    InUse(PathBuf),
    /// It, or its folder, cannot be read or written.
    Unreadable(PathBuf, io::Error),
    /// Neither it nor its snapshot can be made sense of, though it was written before.
    Malformed(PathBuf, String),
    /// A later version of kinetail has written it.
    Later(PathBuf, u32),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(folder) => write!(
                f,
                "state folder {} is in use by another kinetail; give each agent a `state_dir` of its own, or stop the other one",
                folder.display()
            ),
            Self::Unreadable(folder, _) => write!(
                f,
                "cannot open the offset store in {}; see to it that the folder can be written to and its disk has room, \
                 or set another `state_dir`",
                folder.display()
            ),
            Self::Malformed(folder, what) => write!(
                f,
                "the offset store in {} cannot be read: {what}; nothing was changed; go on from an export with \
                 `kinetail offsets import FILE`, or begin anew, as at a first start, with `kinetail offsets forget --all`",
                folder.display()
            ),
            Self::Later(folder, version) => write!(
                f,
                "the offset store in {} is of version {version}, this kinetail reads up to version {}; nothing was changed; \
                 use the kinetail that wrote it",
                folder.display(),
                super::VERSION
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::InUse(_) | Self::Malformed(..) | Self::Later(..) => None,
        }
    }
}
