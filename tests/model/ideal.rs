//! An agent that knows what it reads: to see that the rules can be kept by one that looks no oftener than the agent
//! does, and so that none of them asks for what nobody could know.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinetail::limits::RESCAN_DEFAULT;

use crate::destination::Stored;
use crate::host::{BodyId, Host, Origin};
use crate::lines::LineId;

/// A file that is gone, or out of the globs, is let go when it has not grown for so long.
const LET_GO_AFTER: Duration = Duration::from_secs(30);

/// What it knows, and has done.
#[derive(Default)]
pub(crate) struct Ideal {
    sent: HashSet<LineId>,
    sent_beginnings: HashSet<LineId>,
    /// Where each file was last seen that a glob has matched.
    known: HashMap<BodyId, PathBuf>,
    /// And where a file was that began with this line.
    beginnings: HashMap<LineId, PathBuf>,
    next_look_at: Duration,
    /// By the files that are open: how long they were, and since when.
    open: HashMap<BodyId, (u64, Duration)>,
    let_go: HashSet<BodyId>,
}

impl Ideal {
    pub(crate) fn begin(&mut self, now: Duration) {
        self.next_look_at = now;
    }

    pub(crate) fn end(&mut self) {
        self.open.clear();
        self.let_go.clear();
    }

    /// When it looks next.
    pub(crate) fn next_look_at(&self) -> Duration {
        self.next_look_at
    }

    /// Looks at everything; what is then stored, unless nothing can be delivered just now.
    pub(crate) fn look(&mut self, host: &Host, can_deliver: bool, is_last: bool) -> Vec<Stored> {
        self.next_look_at = host.now + RESCAN_DEFAULT;
        let mut stored = Vec::new();
        for (index, body) in host.bodies.iter().enumerate() {
            let id = BodyId(index);
            let is_matched = self.find(host, id);
            if is_matched || self.may_be_read(host, id) {
                self.open.entry(id).or_insert((body.byte_count, host.now));
            }
            let Some((byte_count, since)) = self.open.get_mut(&id) else { continue };
            if is_matched || *byte_count != body.byte_count {
                (*byte_count, *since) = (body.byte_count, host.now);
            }
            let is_over = is_last || host.now - *since >= LET_GO_AFTER;
            if !can_deliver {
                continue;
            }
            let unsent = body.places.iter().filter(|place| self.sent.insert(place.line));
            stored.extend(unsent.map(|place| Stored { at: host.now, data: host.lines.text(place.line) }));
            if !is_over {
                continue;
            }
            if let Some(last) = body.unfinished
                && !self.sent.contains(&last.line)
                && self.sent_beginnings.insert(last.line)
            {
                stored.push(Stored { at: host.now, data: host.lines.text(last.line)[..last.byte_count].to_vec() });
            }
            self.open.remove(&id);
            self.let_go.insert(id);
        }
        stored
    }

    /// Notes what is there to see of a file; whether a glob matches it.
    fn find(&mut self, host: &Host, id: BodyId) -> bool {
        let body = &host.bodies[id.0];
        let folder = host.paths(id).find(|path| host.is_matched(path)).and_then(Path::parent);
        let Some(folder) = folder.filter(|_| !matches!(body.origin, Origin::Compressed { .. })) else { return false };
        self.known.insert(id, folder.to_owned());
        if let Some(first) = body.places.first() {
            self.beginnings.insert(first.line, folder.to_owned());
        }
        self.let_go.remove(&id);
        true
    }

    fn may_be_read(&self, host: &Host, id: BodyId) -> bool {
        let body = &host.bodies[id.0];
        let is_in = |folder: &PathBuf| host.paths(id).any(|path| path.parent() == Some(folder));
        let begins_as_known = || {
            let folder = body.places.first().and_then(|first| self.beginnings.get(&first.line));
            folder.is_some_and(|folder| is_in(folder) || host.paths(id).any(|path| host.is_matched(path)))
        };
        let is_made_from_known = match &body.origin {
            Origin::Written => false,
            Origin::Copied { truncated_at, .. } => truncated_at.is_some() && begins_as_known(),
            Origin::Compressed { is_complete, .. } => *is_complete && begins_as_known(),
        };
        (self.known.get(&id).is_some_and(is_in) || is_made_from_known) && !self.let_go.contains(&id)
    }
}
