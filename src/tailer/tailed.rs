//! One file that matches, or did: whether it is read, whether more is expected of it, and what was told and reported of it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::file::{Inode, TailedFile};
use super::known::KnownLife;
use super::reader::Complete;
use super::turn::Seen;
use crate::checkpointer::Event;
use crate::limits::COMPLETE_AFTER;
use crate::offsets::Identity;
use crate::settlement::Settlement;
use crate::span::FileKey;

pub(super) struct Tailed {
    pub(super) file: TailedFile,
    pub(super) standing: Standing,
    /// Its life was reported; also before anything is in it, so that after a restart it is looked for where it is then.
    pub(super) is_announced: bool,
    /// It has other content now than it once had.
    pub(super) is_rewritten: bool,
    /// With [`Mode::Once`](super::Mode::Once): where it ended at the beginning.
    pub(super) finish: Option<u64>,
    /// The last attempt to read it failed, and that was told.
    pub(super) is_failing: bool,
    /// That it has a line which is too long was told.
    pub(super) has_told_too_long: bool,
    /// No glob matches it any more.
    pub(super) is_gone: bool,
    /// Where a glob has led to it last.
    pub(super) matched_path: Arc<Path>,
    /// The rescan that goes on just now has found it.
    pub(super) is_found: bool,
    /// The name that it had before, until it is known whether another file has taken that.
    pub(super) renamed_from: Option<Arc<Path>>,
    /// Another file has.
    pub(super) is_superseded: bool,
    /// Since when nothing was added to a file that is gone or superseded.
    pub(super) quiet_since: Option<Instant>,
    /// What of it was reported last.
    pub(super) reported: Option<Seen>,
    /// When it was read last.
    pub(super) last_read: Instant,
    /// A record in it may still go on: how far the file reached when that was found, and until when it is waited for.
    pub(super) open_record: Option<(u64, Instant)>,
}

/// Whether a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not yet: nothing is in it from which to tell whose life goes on in it.
    New,
    /// It is: a life goes on in it.
    Established,
    /// Not while it has the same content as another file that is tailed.
    Copy(CopyOf),
    /// Not at all: it is compressed, and what it holds was never seen.
    Ignored,
}

/// Of which file another is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyOf {
    pub(super) original: Inode,
    /// The life in the original.
    pub(super) key: FileKey,
    /// The size that the copy had when this was decided.
    pub(super) file_byte_count: u64,
    pub(super) since: Instant,
}

impl Tailed {
    pub(super) fn new(file: TailedFile) -> Self {
        Self {
            matched_path: Arc::clone(&file.path),
            file,
            standing: Standing::New,
            is_announced: false,
            is_rewritten: false,
            finish: None,
            is_failing: false,
            has_told_too_long: false,
            is_gone: false,
            is_found: false,
            renamed_from: None,
            is_superseded: false,
            quiet_since: None,
            reported: None,
            last_read: Instant::now(),
            open_record: None,
        }
    }

    pub(super) fn is_undecided(&self) -> bool {
        match self.standing {
            Standing::New => !self.file.is_compressed() || self.file.has_changed(),
            Standing::Copy(_) => true,
            Standing::Established => false,
            Standing::Ignored => self.file.has_changed(),
        }
    }

    /// It has grown, or was truncated, or may be let go.
    pub(super) fn is_worth_a_look(&self) -> bool {
        match self.standing {
            Standing::Established => self.file.is_worth_a_look() || self.is_gone,
            Standing::New | Standing::Copy(_) => !self.file.is_compressed() && self.file.byte_count() > 0,
            Standing::Ignored => false,
        }
    }

    /// What becomes of it is decided in a rescan, and no notification will bring that forward.
    pub(super) fn is_waited_for(&self) -> bool {
        let is_unfinished = self.quiet_since.is_some() && !self.file.is_at_end();
        self.is_gone || self.is_failing || is_unfinished || matches!(self.standing, Standing::Copy(_))
    }

    /// A record that may still go on is waited for as long as the file grows, and `timeout` longer.
    pub(super) fn wait_for_record(&mut self, inode: Inode, timeout: Duration, due: &mut BTreeSet<(Instant, Inode)>) {
        let before = self.open_record.take();
        self.open_record = self.file.open_record_at().map(|reach| match before {
            Some((reach_before, until)) if reach_before == reach && until > Instant::now() => (reach, until),
            _ => (reach, Instant::now() + timeout),
        });
        if let Some((_, until)) = before {
            due.remove(&(until, inode));
        }
        if let Some((_, until)) = self.open_record {
            due.insert((until, inode));
        }
    }

    /// How much of what has no end is taken to be complete.
    pub(super) fn complete(&mut self) -> io::Result<Complete> {
        let waited_for = self.open_record.filter(|(_, until)| *until <= Instant::now());
        Ok(match waited_for {
            _ if self.finish.is_some() => Complete::All,
            // Unless there is more of it by now.
            Some((reach, _)) if self.file.byte_count_now()? <= reach => Complete::Record,
            _ => Complete::Nothing,
        })
    }

    pub(super) fn lag(&self) -> u64 {
        match self.standing {
            Standing::New if self.file.is_compressed() => 0,
            Standing::Established | Standing::New => self.file.byte_count().saturating_sub(self.file.position()),
            Standing::Copy(_) | Standing::Ignored => 0,
        }
    }

    /// Nobody has read it, and there is nothing in it that could be, or it was not to be read.
    pub(super) fn has_nothing_to_read(&mut self) -> bool {
        match self.standing {
            Standing::Established => false,
            Standing::Copy(_) | Standing::Ignored => true,
            Standing::New => {
                let is_quiet = self.quiet_since.is_some_and(|since| since.elapsed() >= COMPLETE_AFTER);
                is_quiet && self.file.byte_count_now().is_ok_and(|byte_count| byte_count == 0)
            }
        }
    }

    /// Since when it is known to be a copy.
    pub(super) fn copy_since(&self) -> Option<Instant> {
        match self.standing {
            Standing::Copy(copy) => Some(copy.since),
            _ => None,
        }
    }

    /// By what its life is known again.
    pub(super) fn identity(&self) -> Identity {
        Identity { is_superseded: self.is_superseded, ..self.file.identity() }
    }

    /// This life, as it is known when it is not tailed any more.
    pub(super) fn as_known(&self) -> KnownLife {
        let identity = self.identity();
        let settlement = Settlement::new(self.file.position(), self.file.settled_above());
        let path = self.matched_path.to_path_buf();
        KnownLife { key: self.file.key, path, identity, settlement, gone_at: None, is_lost: false }
    }

    /// The report of where it is now, and whether another has its name.
    pub(super) fn moved(&self) -> Event {
        Event::Moved { file: self.file.key, path: Arc::clone(&self.matched_path), is_superseded: self.is_superseded }
    }
}
