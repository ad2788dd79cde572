//! What is kept of each life of a file, until all of it is settled, and the row that is made of it.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::event::{FlowAccount, Opened, Remains};
use crate::limits::MARKS_WAITING;
use crate::offsets::{Identity, Mark, Row};

/// One life of a file.
pub(super) struct FileAccount {
    pub(super) opened: Opened,
    /// Something has changed since the last commit.
    pub(super) dirty: bool,
    /// No more will be read than this.
    read_until: Option<u64>,
    /// Those before the watermark but the last are of no use any more.
    marks: VecDeque<Mark>,
    /// Since when its file is gone, in seconds since 1970.
    gone_at: Option<u64>,
    pub(super) has_row: bool,
}

impl FileAccount {
    /// A life that begins or goes on.
    pub(super) fn new(opened: Opened) -> Self {
        let marks = VecDeque::from([opened.identity.mark]);
        Self { opened, dirty: true, read_until: None, marks, gone_at: None, has_row: true }
    }

    pub(super) fn add_mark(&mut self, mark: Mark) {
        if self.marks.len() >= MARKS_WAITING {
            // The one that is reached first and the one that is reached last say most.
            self.marks.pop_back();
        }
        self.marks.push_back(mark);
    }

    pub(super) fn close(&mut self, read_until: u64, remains: Remains) {
        self.read_until = Some(read_until);
        self.has_row = remains != Remains::Nothing;
        self.gone_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        if remains == Remains::Content {
            self.opened.identity.place = None;
        }
    }

    /// Nothing more will be settled of it.
    pub(super) fn is_over(&self) -> bool {
        self.read_until.is_some_and(|end| self.opened.settlement.watermark() >= end)
    }

    /// The last mark that the watermark has reached.
    fn mark(&mut self) -> Mark {
        let watermark = self.opened.settlement.watermark();
        while self.marks.get(1).is_some_and(|next| next.end <= watermark) {
            self.marks.pop_front();
        }
        self.marks.front().copied().filter(|mark| mark.end <= watermark).unwrap_or_default()
    }

    pub(super) fn row(&mut self, flow: &FlowAccount) -> Row {
        let mark = self.mark();
        let opened = &self.opened;
        Row {
            flow: flow.metrics.name.clone(),
            path: opened.path.to_string_lossy().into_owned(),
            identity: Identity { mark, ..opened.identity },
            gone_at: self.gone_at,
            watermark: opened.settlement.watermark(),
            settled_above: opened.settlement.above().collect(),
        }
    }
}
