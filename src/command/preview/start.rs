//! Where reading would start: what the offset store says, and where it says nothing, the newest lines.

use std::fs::File;
use std::path::Path;

use crate::command::counted;
use crate::config::{Compressed, Flow, StartAt, one_line};
use crate::discovery::Scan;
use crate::offsets::{Offsets, OpenError, Peeked, Row};
use crate::span::FileKey;
use crate::tailer::row_before_newest;

/// What is known of where the agent would go on.
pub(super) enum Start {
    /// The offsets; none are there before the first start.
    Known(Peeked),
    /// They cannot be had while an agent runs, which has read nearly everything.
    Running,
}

/// The newest lines of one file.
pub(super) struct Newest {
    /// The life of that file.
    pub(super) file: FileKey,
    /// Rows with which nothing but they is left to read.
    pub(super) rows: Vec<(FileKey, Row)>,
    /// The flow, if need be changed so that nothing else is read.
    pub(super) flow: Flow,
}

impl Start {
    /// What can be had of the state folder, and a note where that is not all.
    pub(super) fn of(state_dir: &Path) -> (Self, Option<String>) {
        let nothing = || Self::Known(Peeked::default());
        let folder = one_line(&state_dir.to_string_lossy());
        match Offsets::peek(state_dir) {
            Ok(Some(peeked)) => (Self::Known(peeked), None),
            Ok(None) => (nothing(), Some(format!("no offsets in {folder} yet: files are read as at a first start"))),
            Err(OpenError::InUse(_)) => (
                Self::Running,
                Some(format!("an agent is running with {folder}: these are the newest lines, not what comes next")),
            ),
            Err(OpenError::Unreadable(_, error)) => {
                (nothing(), Some(format!("cannot read the offsets in {folder} ({error}): files are read as at a first start")))
            }
            Err(OpenError::Later(..)) => (
                nothing(),
                Some(format!("the offsets in {folder} are of a later kinetail's: files are read as at a first start")),
            ),
            Err(OpenError::Malformed(_, what)) => {
                (nothing(), Some(format!("cannot read the offsets in {folder} ({what}): files are read as at a first start")))
            }
        }
    }

    /// The rows of `flow` with which it goes on; none when all of its files would be begun at their ends.
    pub(super) fn rows(&self, flow: &Flow) -> Option<Vec<(FileKey, Row)>> {
        let Self::Known(Peeked { rows, started_flows, .. }) = self else { return None };
        let is_at_end = flow.start_at == StartAt::End && !started_flows.contains(&flow.name);
        (!is_at_end).then(|| rows.iter().filter(|(_, row)| row.flow == flow.name).cloned().collect())
    }
}

/// What is wrong with the files of a flow that were found, in one line.
pub(super) fn problems(flow: &Flow, scan: &Scan) -> Option<String> {
    let path = |path: &Path| one_line(&path.to_string_lossy());
    let unreadable = scan.files.iter().filter_map(|found| File::open(&found.path).err().map(|error| (&found.path, error)));
    let unreadable = unreadable.map(|(of, error)| format!("{}: {error}", path(of)));
    let others = scan.problems.iter().map(|problem| format!("{}: {}", path(&problem.path), problem.message));
    let mut all = unreadable.chain(others);
    let Some(first) = all.next() else {
        return scan.files.is_empty().then(|| format!("no file matches now: {}", one_line(&flow.files.join(", "))));
    };
    Some(match all.count() {
        0 => first,
        more => format!("{first}; and {} more, which `kinetail check` lists", counted(more, "problem")),
    })
}

/// The `line_count` newest lines, or all, of the file that was written to last; none where there is no such file.
pub(super) fn newest(flow: &Flow, mut scan: Scan, line_count: Option<usize>) -> Option<Newest> {
    scan.files.sort_by_key(|found| found.modified);
    let mut file = None;
    let mut rows = Vec::new();
    for (found, key) in scan.files.iter().rev().zip((0..).map(FileKey)) {
        let line_count = if file.is_none() { line_count } else { Some(0) };
        // What cannot be read was told.
        if let Ok(Some(row)) = row_before_newest(flow, found, line_count) {
            file.get_or_insert(key);
            rows.push((key, row));
        }
    }
    let flow = Flow { compressed: Compressed::Ignore, ..flow.clone() };
    file.map(|file| Newest { file, rows, flow })
}
