//! What the agent owes: which lines must have arrived by now, and what may not arrive at all.
//!
//! The rules are those of the test's documentation. They are told from what happened to files and when the agent
//! ran; what it was told or has stored is not asked. Where a rule cannot be sure whether the agent could know of
//! something, nothing is owed.

mod owed;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinetail::limits::{COMMIT_INTERVAL, FINGERPRINT_BYTES, RESCAN_DEFAULT, SHORT_COPY_WAIT};

use crate::destination::Stored;
use crate::host::{Body, BodyId, Change, Host, Origin, Place, Purpose};
use crate::lines::{LineId, Recognised};
use crate::world::Ended;

/// A file that matched for so long while the agent ran has been found.
const FOUND_AFTER: Duration = RESCAN_DEFAULT.saturating_add(Duration::from_secs(2));
/// A file that was there when the agent began has been found so soon.
const FOUND_AT_START_AFTER: Duration = Duration::from_secs(1);
/// A line that could be read for so long has arrived: `max_delay` and the latency are a part of it.
const ARRIVED_AFTER: Duration = RESCAN_DEFAULT.saturating_add(Duration::from_secs(10));
/// The same where it takes time to tell a copy from a file.
const COPY_ARRIVED_AFTER: Duration = Duration::from_secs(60);
/// So long after its last growth a file that is out of the globs is surely still read, and nothing that ends it is
/// taken for complete.
const OPEN_FOR: Duration = Duration::from_secs(20);
/// So long after its last growth the unfinished last line of a file that is gone has arrived.
const FRAGMENT_ARRIVED_AFTER: Duration = Duration::from_secs(75);
/// What was committed by then survives a kill.
const COMMITTED_AFTER: Duration = COMMIT_INTERVAL.saturating_mul(2);
/// An orderly ending whose time was over has committed all but this.
const LAST_MOMENT: Duration = Duration::from_millis(10);

pub(crate) struct Rules {
    is_compressed_read: bool,
    life: Option<Life>,
    ended_lives: Vec<(Ended, Duration)>,
    /// Backlog of before is delivered.
    calm_since: Duration,
    /// By body.
    seen: Vec<Seen>,
    arrivals: HashMap<Recognised, Vec<Arrival>>,
    may_double: HashSet<LineId>,
    /// Lines that an agent had seen when they were destroyed.
    destroyed_seen: Vec<Destroyed>,
    /// Lines that are in no file any more, and were in one that a glob had matched.
    destroyed_matched: HashSet<LineId>,
    /// Bytes that were destroyed or kept by truncations, and are of no line that was lost.
    destroyed_otherwise_bytes: u64,
    is_final: bool,
}

struct Life {
    begun: Duration,
}

struct Destroyed {
    line: LineId,
    byte_count: u64,
    life: usize,
}

/// What the agent may be expected to know of a body.
#[derive(Default)]
struct Seen {
    matched: Option<Matched>,
    /// A glob has matched it, or what it was made from.
    has_matched: bool,
    /// Since when no glob matches it.
    left_at: Duration,
    /// In this life of the agent it has been found, so it is open.
    is_open: bool,
    /// It, and where it was, is remembered through restarts.
    remembered: Option<Remembered>,
    /// Lines behind this were written when it may have been let go.
    promised_until: Option<u64>,
    /// What it was made from, where the agent knew that.
    made_from: Option<Remembered>,
}

#[derive(Clone)]
struct Matched {
    since: Duration,
    folder: PathBuf,
    in_folder_since: Duration,
}

#[derive(Clone)]
struct Remembered {
    at: Duration,
    folder: PathBuf,
    /// Since when how it begins is known too: what is made from it, and named after it, can be told by that.
    beginning_at: Option<Duration>,
    /// Since when so much of that is known that the name does not matter.
    long_beginning_at: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Arrival {
    at: Duration,
    life: usize,
}

impl Rules {
    /// `is_compressed_read`: compressed files never seen are asked for.
    pub(crate) fn new(is_compressed_read: bool) -> Self {
        Self {
            is_compressed_read,
            life: None,
            ended_lives: Vec::new(),
            calm_since: Duration::ZERO,
            seen: Vec::new(),
            arrivals: HashMap::new(),
            may_double: HashSet::new(),
            destroyed_seen: Vec::new(),
            destroyed_matched: HashSet::new(),
            destroyed_otherwise_bytes: 0,
            is_final: false,
        }
    }

    /// The agent begins to live; `is_final`: to deliver everything.
    pub(crate) fn life_begins(&mut self, host: &Host, is_final: bool) {
        self.life = Some(Life { begun: host.now });
        self.forget_what_is_elsewhere(host);
        self.calm_since = self.calm_since.max(host.now);
        self.is_final = is_final;
    }

    /// What is not where it was, nor beside that, is looked for once.
    fn forget_what_is_elsewhere(&mut self, host: &Host) {
        for (index, seen) in self.seen.iter_mut().enumerate() {
            let is_beside =
                |remembered: &Remembered| host.paths(BodyId(index)).any(|path| path.parent() == Some(&remembered.folder));
            seen.remembered.take_if(|remembered| !is_beside(remembered));
            let is_matched = host.paths(BodyId(index)).any(|path| host.is_matched(path));
            seen.made_from.take_if(|remembered| !is_matched && !is_beside(remembered));
        }
    }

    pub(crate) fn life_ends(&mut self, host: &Host, ended: Ended) {
        self.life = None;
        self.ended_lives.push((ended, host.now));
        let survives = |at: Duration| ended != Ended::Killed || at + COMMITTED_AFTER < host.now;
        for seen in &mut self.seen {
            seen.is_open = false;
            seen.remembered.take_if(|remembered| !survives(remembered.at));
            seen.made_from.take_if(|from| from.beginning_at.is_none_or(|at| !survives(at)));
            for remembered in [&mut seen.remembered, &mut seen.made_from].into_iter().flatten() {
                remembered.beginning_at.take_if(|at| !survives(*at));
                remembered.long_beginning_at.take_if(|at| !survives(*at));
            }
        }
    }

    /// What there is to deliver is delivered by `at`, if nothing else happens.
    pub(crate) fn calm_at(&mut self, at: Duration) {
        self.calm_since = self.calm_since.max(at);
    }

    /// Something was done to files.
    pub(crate) fn changed(&mut self, host: &Host, changes: Vec<Change>) {
        self.seen.resize_with(host.bodies.len(), Seen::default);
        for change in changes {
            match change {
                Change::Grown { body, before, unchanged_since } => {
                    self.touched(host, body, before, unchanged_since);
                    self.copies_differ(host, body);
                }
                Change::Truncated { body, kept, lost, lost_bytes, unchanged_since } => {
                    self.touched(host, body, 0, unchanged_since);
                    if kept > 0 {
                        self.copies_differ(host, body);
                        self.may_double.extend(host.bodies[body.0].places.iter().map(|place| place.line));
                        self.destroyed_otherwise_bytes += kept;
                    }
                    self.destroyed(host, body, &lost, lost_bytes, kept);
                    self.seen[body.0].remembered = None;
                }
                Change::Derived { from, to } => {
                    let from = &self.seen[from.0];
                    let has_matched = from.has_matched;
                    let remembered = from.remembered.clone().filter(|remembered| remembered.beginning_at.is_some());
                    let earlier = from.made_from.clone();
                    self.seen[to.0].has_matched = has_matched;
                    self.seen[to.0].made_from = remembered.or(earlier);
                }
            }
        }
        for index in 0..host.bodies.len() {
            self.look_at(host, BodyId(index));
        }
        if self.life.as_ref().is_some_and(|life| host.now - life.begun < FOUND_AT_START_AFTER) {
            self.forget_what_is_elsewhere(host);
        }
    }

    /// A file that has been out of sight for long may have been let go; what it has from `offset` on is then not
    /// promised.
    fn touched(&mut self, host: &Host, body: BodyId, offset: u64, unchanged_since: Duration) {
        let out_of_sight = self.out_of_sight(body, unchanged_since, host.now);
        let seen = &mut self.seen[body.0];
        if out_of_sight.is_some_and(|duration| duration > OPEN_FOR) {
            seen.promised_until = Some(seen.promised_until.map_or(offset, |promised| promised.min(offset)));
        }
    }

    /// For how long the agent could see a file that no glob matches not growing.
    fn quiet_out_of_sight(&self, host: &Host, body: BodyId, at: Duration) -> Option<Duration> {
        self.out_of_sight(body, host.bodies[body.0].last_growth, at)
    }

    fn out_of_sight(&self, body: BodyId, unchanged_since: Duration, at: Duration) -> Option<Duration> {
        let (life, seen) = (self.life.as_ref()?, &self.seen[body.0]);
        let since = seen.left_at.max(unchanged_since).max(life.begun);
        seen.matched.is_none().then(|| at.saturating_sub(since))
    }

    /// Whether a file that was turned over may be taken for one that will not grow any more.
    fn may_be_over(&self, host: &Host, id: BodyId, at: Duration) -> bool {
        let Some(life) = &self.life else { return false };
        let body = &host.bodies[id.0];
        let superseded = body.superseded_at.map(|since| at.saturating_sub(since.max(body.last_growth).max(life.begun)));
        self.quiet_out_of_sight(host, id, at).max(superseded).is_some_and(|duration| duration > OPEN_FOR)
    }

    /// A copy that somebody keeps is told by its being like its original.
    fn copies_differ(&mut self, host: &Host, original: BodyId) {
        for copy in &host.bodies {
            if matches!(copy.origin, Origin::Copied { from, purpose: Purpose::Keeping, .. } if from == original) {
                self.may_double.extend(copy.places.iter().map(|place| place.line));
            }
        }
    }

    fn destroyed(&mut self, host: &Host, body: BodyId, lost: &[Place], lost_bytes: u64, kept: u64) {
        let mut start = kept;
        for place in lost {
            let byte_count = place.end - start;
            start = place.end;
            let seen_for = self.life.as_ref().map_or(Duration::ZERO, |life| host.now.saturating_sub(place.at.max(life.begun)));
            if self.seen[body.0].is_open && seen_for >= FOUND_AFTER {
                self.destroyed_seen.push(Destroyed { line: place.line, byte_count, life: self.ended_lives.len() });
            }
            if self.seen[body.0].has_matched {
                self.destroyed_matched.insert(place.line);
            }
        }
        self.destroyed_otherwise_bytes += lost_bytes - (start - kept);
    }

    fn look_at(&mut self, host: &Host, body: BodyId) {
        let folder = host.paths(body).find(|path| host.is_matched(path)).and_then(Path::parent).map(Path::to_owned);
        let now = host.now;
        let seen = &mut self.seen[body.0];
        let was_matched = seen.matched.is_some();
        seen.matched = match (folder, seen.matched.take()) {
            (None, _) => None,
            (Some(folder), None) => Some(Matched { since: now, folder, in_folder_since: now }),
            (Some(folder), Some(matched)) if folder == matched.folder => Some(matched),
            (Some(folder), Some(matched)) => {
                seen.remembered = None;
                Some(Matched { folder, in_folder_since: now, ..matched })
            }
        };
        seen.has_matched |= seen.matched.is_some();
        if seen.matched.is_some() {
            seen.promised_until = None;
        } else if was_matched {
            seen.left_at = now;
        }
    }

    /// The agent has lived through the time until now.
    pub(crate) fn passed(&mut self, host: &mut Host) {
        let Some(begun) = self.life.as_ref().map(|life| life.begun) else { return };
        let now = host.now;
        for index in 0..host.bodies.len() {
            if host.bodies[index].unfinished.is_some() && self.may_be_over(host, BodyId(index), now) {
                host.bodies[index].is_closed = true;
            }
            let unchanged_since = host.bodies[index].begun_at.max(self.calm_since);
            if self.seen[index].is_open && now.saturating_sub(unchanged_since) >= FOUND_AFTER {
                host.bodies[index].is_held_back = false;
            }
            let body = &host.bodies[index];
            let seen = &mut self.seen[index];
            let Some(matched) = &seen.matched else { continue };
            let is_found = |since: Duration| match body.origin {
                Origin::Written if since <= begun => now - begun >= FOUND_AT_START_AFTER,
                Origin::Written => now - since >= FOUND_AFTER,
                Origin::Copied { truncated_at, .. } => {
                    truncated_at.is_some_and(|at| now.saturating_sub(since.max(begun).max(at)) >= COPY_ARRIVED_AFTER)
                }
                Origin::Compressed { .. } => false,
            };
            seen.is_open |= is_found(matched.since);
            if seen.is_open && is_found(matched.in_folder_since.max(body.begun_at)) && seen.remembered.is_none() {
                seen.remembered =
                    Some(Remembered { at: now, folder: matched.folder.clone(), beginning_at: None, long_beginning_at: None });
            }
            let Some(remembered) = &mut seen.remembered else { continue };
            let is_known = |place: &Place| is_found(matched.in_folder_since.max(place.at));
            if body.places.first().is_some_and(is_known) {
                remembered.beginning_at.get_or_insert(now);
            }
            if body.places.iter().find(|place| place.end >= FINGERPRINT_BYTES as u64).is_some_and(is_known) {
                remembered.long_beginning_at.get_or_insert(now);
            }
        }
        self.check_due(host);
    }

    fn has_arrived(&self, line: LineId) -> bool {
        self.arrivals.contains_key(&Recognised::Whole(line))
    }

    /// The stream has stored a record.
    pub(crate) fn arrive(&mut self, host: &Host, stored: &Stored) {
        let recognised = host.lines.recognise(&stored.data).unwrap_or_else(|what| panic!("{:?} {what}", stored.at));
        let life = self.ended_lives.len();
        let (line, has_place) = match recognised {
            Recognised::Whole(line) => (line, self.may_come_from(host, line)),
            Recognised::Beginning(line, byte_count) => {
                self.check_may_be_cut(host, line, byte_count, stored.at);
                (line, true)
            }
        };
        if !has_place {
            self.fail(host, "STRAY", line, "no glob has ever matched a file that it was in");
        }
        let earlier = self.arrivals.entry(recognised).or_default();
        let last = earlier.last().copied();
        earlier.push(Arrival { at: stored.at, life });
        if let Some(last) = last
            && !self.may_come_again(line, last, life)
            && !self.is_in_copy_that_cannot_be_told(host, line, stored.at)
        {
            let again = stored.at - last.at;
            self.fail(host, "DOUBLED", line, &format!("{recognised:?} at {:?} and again {again:?} later", last.at));
        }
    }

    fn may_come_from(&self, host: &Host, line: LineId) -> bool {
        let has_line = |body: &Body| body.places.iter().any(|place| place.line == line);
        let mut bodies = host.bodies.iter().zip(&self.seen).filter(|(body, _)| has_line(body));
        self.destroyed_matched.contains(&line) || bodies.any(|(_, seen)| seen.has_matched)
    }

    fn check_may_be_cut(&self, host: &Host, line: LineId, byte_count: usize, at: Duration) {
        let ends_so = |body: &&Body| body.unfinished.is_some_and(|last| last.line == line && last.byte_count == byte_count);
        let mut bodies = (0..host.bodies.len()).map(BodyId).filter(|id| ends_so(&&host.bodies[id.0])).peekable();
        if bodies.peek().is_none() {
            self.fail(host, "TORN", line, &format!("only its first {byte_count} bytes, with which no file ends"));
        }
        if !self.is_final && !bodies.any(|id| host.bodies[id.0].is_closed || self.may_be_over(host, id, at)) {
            self.fail(host, "TORN", line, &format!("its first {byte_count} bytes, though the rest may still be written"));
        }
    }

    fn may_come_again(&self, line: LineId, last: Arrival, life: usize) -> bool {
        if self.may_double.contains(&line) {
            return true;
        }
        let Some((ended, ended_at)) = self.ended_lives.get(last.life).filter(|_| last.life < life) else { return false };
        let forgotten = match ended {
            Ended::Complete | Ended::Drained => return false,
            Ended::TimedOut => LAST_MOMENT,
            Ended::Aborted | Ended::Killed => COMMITTED_AFTER,
        };
        last.at + forgotten >= *ended_at
    }

    /// Whether the line is in a copy, compressed or not, of which it cannot be told that it is one: it is not named after
    /// its original, and somebody may have written the same again. Or in a copy shorter than 1 KiB which is not about to replace its original: it has been there for long, nobody waits, or one of the two has another
    /// name by now.
    fn is_in_copy_that_cannot_be_told(&self, host: &Host, line: LineId, at: Duration) -> bool {
        let is_it = |body: &Body| {
            let Some(from) = body.made_from() else { return false };
            let has_line = body.places.iter().any(|place| place.line == line)
                || body.unfinished.as_ref().is_some_and(|unfinished| unfinished.line == line);
            let is_short = body.byte_count < FINGERPRINT_BYTES as u64;
            let is_copy = matches!(body.origin, Origin::Copied { .. });
            let is_over = self.is_final
                || at.saturating_sub(body.begun_at) >= SHORT_COPY_WAIT
                || body.renamed_at.or(host.bodies[from.0].renamed_at).is_some();
            let may_be_chance = !host.is_named_after(body, from);
            has_line && (may_be_chance || is_copy && is_short && is_over)
        };
        host.bodies.iter().any(is_it)
    }
}
