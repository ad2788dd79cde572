//! What is stored of a life of a file. A change to any of these is a change to the store's format.

use serde::{Deserialize, Serialize};

/// What is known of one life of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the flow that tails it.
    pub flow: String,
    /// Where a glob led to it last; for people, and where it is looked for. The identity decides.
    pub path: String,
    /// By what it is known again.
    pub identity: Identity,
    /// Since when it is not tailed any more because its file is gone, in seconds since 1970.
    pub gone_at: Option<u64>,
    /// First byte not settled.
    pub watermark: u64,
    /// Settled ranges above the watermark, (start, end).
    pub settled_above: Vec<(u64, u64)>,
}

/// By what a life of a file is known again: where its content was, and what that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The file that has the content; none when that is deleted, or has other content now.
    pub place: Option<Place>,
    /// How the content begins.
    pub fingerprint: Fingerprint,
    /// Bytes somewhere before the first byte not settled, or not read.
    pub mark: Mark,
    /// Size of the content when last seen, in bytes.
    pub byte_count: u64,
    /// The file was renamed, and another has taken its name: nobody is expected to write to it any more.
    pub is_superseded: bool,
}

/// A file as its file system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `st_dev`; may change with a reboot.
    pub device: u64,
    /// `st_ino`; may be another file's when this one is deleted.
    pub inode: u64,
    /// When the file was made, in nanoseconds since 1970 (`stx_btime`), where the file system knows that.
    pub created: Option<u64>,
}

/// The first `byte_count` bytes of a file, hashed. One of 0 bytes fits any file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// At most [`crate::limits::FINGERPRINT_BYTES`].
    pub byte_count: u32,
    /// The first 8 bytes of their MD5.
    pub hash: u64,
}

/// The `byte_count` bytes of a file before `end`, hashed. One of 0 bytes fits any file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Offset behind the last of them.
    pub end: u64,
    /// At most [`crate::limits::MARK_BYTES`].
    pub byte_count: u32,
    /// The first 8 bytes of their MD5.
    pub hash: u64,
}
