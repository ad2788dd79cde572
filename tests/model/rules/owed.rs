//! What must have arrived by now, and what failures say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{ARRIVED_AFTER, COPY_ARRIVED_AFTER, Destroyed, FRAGMENT_ARRIVED_AFTER, Remembered, Rules};
use crate::features::{Feature, is_on};
use crate::host::{BodyId, Host, Origin};
use crate::lines::{LineId, Recognised};
use crate::world::Ended;

/// Why a line that is in a file must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Matched,
    WasOpen,
    RenamedInItsFolder,
    CopyOfKnown,
    CompressedFromKnown,
}

/// What became of the lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) arrived: u64,
    pub(crate) doubled: u64,
    pub(crate) fragments: u64,
    /// Lines that need not arrive and have not, by where they were.
    pub(crate) lost: BTreeMap<&'static str, u64>,
    pub(crate) lost_bytes: u64,
}

impl Rules {
    /// Why what ends at `end` in a body must arrive, if it must.
    fn reason(&self, host: &Host, id: BodyId, end: u64) -> Option<Reason> {
        let (body, seen) = (&host.bodies[id.0], &self.seen[id.0]);
        if !matches!(body.origin, Origin::Written) && body.byte_count < body.overwritten_until {
            // It begins as a file of which the agent may have read more, and so looks as if it had nothing else.
            return None;
        }
        let is_promised = seen.promised_until.is_none_or(|promised| end <= promised);
        let is_in_folder = |folder: &Path| host.paths(id).any(|path| path.parent() == Some(folder));
        // What a file was made from is told by how that began, if enough of it was known, or by the name.
        let is_told = |remembered: &Remembered| {
            remembered.long_beginning_at.is_some() || body.made_from().is_some_and(|from| host.is_named_after(body, from))
        };
        // What was lost is looked for once: what comes beside it later is not found.
        let is_beside = |remembered: &Remembered| is_told(remembered) && is_in_folder(&remembered.folder) && !body.has_moved;
        if let Origin::Compressed { is_complete, .. } = body.origin {
            let is_seen = |from: &Remembered| is_beside(from) || seen.matched.is_some() && is_told(from);
            let is_known = seen.made_from.as_ref().is_some_and(is_seen);
            let is_read = is_known || seen.matched.is_some() && self.is_compressed_read;
            return (is_complete && is_read && is_on(Feature::Compressed)).then_some(Reason::CompressedFromKnown);
        }
        if seen.matched.is_some() {
            return Some(Reason::Matched);
        }
        if seen.is_open && is_promised {
            return Some(Reason::WasOpen);
        }
        let is_remembered = seen.remembered.as_ref().is_some_and(|remembered| is_in_folder(&remembered.folder));
        if is_remembered && is_promised && is_on(Feature::SameFolder) {
            return Some(Reason::RenamedInItsFolder);
        }
        let is_copy = matches!(body.origin, Origin::Copied { truncated_at: Some(_), .. });
        if is_copy && seen.made_from.as_ref().is_some_and(is_beside) && is_on(Feature::Copies) {
            return Some(Reason::CopyOfKnown);
        }
        None
    }

    /// Lines that had time enough have arrived.
    pub(super) fn check_due(&self, host: &Host) {
        for (index, body) in host.bodies.iter().enumerate() {
            let id = BodyId(index);
            let seen = &self.seen[index];
            let (wait, told_since) = match body.origin {
                Origin::Copied { truncated_at, .. } => (COPY_ARRIVED_AFTER, truncated_at.unwrap_or_default()),
                Origin::Written | Origin::Compressed { .. } => (ARRIVED_AFTER, Duration::ZERO),
            };
            for place in body.places.iter().filter(|place| !self.has_arrived(place.line)) {
                let since = match self.reason(host, id, place.end) {
                    Some(Reason::Matched) => seen.matched.as_ref().map_or(Duration::ZERO, |matched| matched.since),
                    Some(Reason::WasOpen) => Duration::ZERO,
                    _ => continue,
                };
                let since = since.max(place.at).max(self.calm_since).max(told_since);
                if host.now.saturating_sub(since) >= wait {
                    let reason = self.reason(host, id, place.end);
                    self.fail(host, "OVERDUE", place.line, &format!("could be read since {since:?}, because {reason:?}"));
                }
            }
            let Some(unfinished) = body.unfinished.filter(|_| seen.is_open && seen.promised_until.is_none()) else { continue };
            let quiet =
                self.quiet_out_of_sight(host, id, host.now).map(|quiet| quiet.min(host.now.saturating_sub(self.calm_since)));
            if quiet.is_some_and(|quiet| quiet >= FRAGMENT_ARRIVED_AFTER) {
                self.check_fragment(host, unfinished.line, unfinished.byte_count);
            }
        }
    }

    /// The beginning of a line has arrived, or more of it, as from a file of which this one is a copy.
    fn check_fragment(&self, host: &Host, line: LineId, byte_count: usize) {
        let is_longer =
            |arrived: &Recognised| matches!(arrived, Recognised::Beginning(of, bytes) if *of == line && *bytes >= byte_count);
        if !self.has_arrived(line) && !self.arrivals.keys().any(is_longer) {
            self.fail(host, "LOST", line, &format!("its first {byte_count} bytes, the last of a file that is gone"));
        }
    }

    /// Everything that must arrive has arrived.
    pub(crate) fn conclude(&self, host: &Host) -> Outcome {
        for (index, body) in host.bodies.iter().enumerate() {
            for place in &body.places {
                if let Some(reason) = self.reason(host, BodyId(index), place.end)
                    && !self.has_arrived(place.line)
                {
                    self.fail(host, "LOST", place.line, &format!("it is in a file that counts: {reason:?}"));
                }
            }
            if let Some(last) = body.unfinished
                && self.reason(host, BodyId(index), body.byte_count).is_some()
            {
                self.check_fragment(host, last.line, last.byte_count);
            }
        }
        let mut outcome = Outcome::default();
        for (recognised, arrivals) in &self.arrivals {
            outcome.doubled += arrivals.len() as u64 - 1;
            match recognised {
                Recognised::Whole(_) => outcome.arrived += 1,
                Recognised::Beginning(..) => outcome.fragments += 1,
            }
        }
        for line in (0..host.lines.count()).map(LineId).filter(|line| !self.has_arrived(*line)) {
            *outcome.lost.entry(whereabouts(host, line)).or_default() += 1;
            outcome.lost_bytes += host.lines.text(line).len() as u64 + 1;
        }
        outcome
    }

    /// What was destroyed before it was read is accounted for: all of it that the agent has seen, and nothing else.
    pub(crate) fn check_unreachable(&self, counted: u64, outcome: &Outcome) {
        // Where a life has not ended in an orderly way, what it had read and not delivered was lost with it.
        let has_delivered = |life: usize| matches!(self.ended_lives[life].0, Ended::Complete | Ended::Drained);
        let is_owed = |destroyed: &&Destroyed| has_delivered(destroyed.life) && !self.has_arrived(destroyed.line);
        let owed: u64 = self.destroyed_seen.iter().filter(is_owed).map(|destroyed| destroyed.byte_count).sum();
        assert!(
            counted >= owed || !is_on(Feature::SeenCounted),
            "UNCOUNTED {owed} bytes were destroyed that the agent had seen, {counted} are counted"
        );
        let is_counted_once = self.ended_lives.iter().all(|(ended, _)| matches!(ended, Ended::Complete | Ended::Drained));
        let most = outcome.lost_bytes + self.destroyed_otherwise_bytes;
        assert!(!is_counted_once || counted <= most, "MISCOUNTED {counted} bytes are counted as unreachable, at most {most} are");
    }

    pub(super) fn fail(&self, host: &Host, what: &str, line: LineId, why: &str) -> ! {
        let mut text = format!("{what} line {line} at {:?}: {why}", host.now);
        for (index, body) in host.bodies.iter().enumerate() {
            let place = body.places.iter().find(|place| place.line == line);
            let cut = body.unfinished.filter(|last| last.line == line);
            if place.is_none() && cut.is_none() {
                continue;
            }
            let seen = &self.seen[index];
            let at = place.map(|place| (place.at, place.end));
            let paths: Vec<&Path> = host.paths(BodyId(index)).collect();
            text += &format!("\n  in file {index} of {} bytes, now at {paths:?}: complete at {at:?}", body.byte_count);
            let matched = seen.matched.as_ref().map(|matched| matched.since);
            text += &format!(
                "\n    matched since {matched:?}, left at {:?}, open {}, remembered {}, {:?}",
                seen.left_at,
                seen.is_open,
                seen.remembered.is_some(),
                body.origin
            );
            for event in &body.history {
                text += &format!("\n    {event}");
            }
        }
        panic!("{text}\n  ended lives {:?}, calm since {:?}", self.ended_lives, self.calm_since);
    }
}

/// What has become of a line.
fn whereabouts(host: &Host, line: LineId) -> &'static str {
    let has_line = |id: &BodyId| host.bodies[id.0].places.iter().any(|place| place.line == line);
    let mut bodies = (0..host.bodies.len()).map(BodyId).filter(has_line).peekable();
    if bodies.peek().is_none() {
        "truncated, or unfinished"
    } else if bodies.all(|id| host.paths(id).next().is_none()) {
        "deleted"
    } else {
        "out of the globs"
    }
}
