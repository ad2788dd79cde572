//! What it means that a stage has been in the middle of something for so long, or that nobody was: whether something is wrong, and
//! whether a restart would mend it.
//!
//! Pure.

use std::fmt;
use std::time::Duration;

use super::Stage;
use super::kernel::Doing;
use crate::limits::STALLED_AFTER;

/// How everything was at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) stages: Vec<StageSeen>,
    pub(super) flows: Vec<FlowSeen>,
}

/// One stage.
#[derive(Clone, Debug)]
pub(super) struct StageSeen {
    pub(super) stage: Stage,
    pub(super) flow: Option<String>,
    /// The kernel's name for the thread on which it was last.
    pub(super) thread: i32,
    /// It is in the middle of something.
    pub(super) is_busy: bool,
    /// How long ago that began or went on; when it is not, how long ago what it did last began.
    pub(super) marked: Duration,
}

/// One flow.
#[derive(Clone, Debug)]
pub(super) struct FlowSeen {
    pub(super) flow: String,
    /// How long its settings let it be quiet while something of it is not settled.
    pub(super) quiet_max: Duration,
    /// For how long something of it is read and not settled.
    pub(super) unsettled: Option<Duration>,
}

/// Something that does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The stage; none when it is the whole flow.
    pub stage: Option<Stage>,
    /// The flow that it belongs to, if it does.
    pub flow: Option<String>,
    /// In which way.
    pub how: How,
    /// For how long.
    pub duration: Duration,
}

/// In which way something does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It computes without an end.
    Computing,
    /// It waits for a lock.
    Locked,
    /// A file system does not answer. A restart would not mend that, and would take the other flows down with it.
    Hanging,
    /// Nobody has looked at what waits.
    Stalled,
}

impl How {
    /// Whether only a restart can mend it.
    pub fn is_wedged(self) -> bool {
        self != Self::Hanging
    }
}

impl Stuck {
    /// The same trouble, perhaps some time later.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (self.stage, &self.flow, self.how) == (other.stage, &other.flow, other.how)
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, seconds) = (self.stage.map_or("flow", Stage::as_str), self.duration.as_secs());
        match self.how {
            How::Computing => write!(f, "the {name} has been computing for {seconds} s without an end"),
            How::Locked => write!(f, "the {name} has been waiting for a lock for {seconds} s"),
            How::Hanging => write!(f, "the {name} has been waiting for a file system for {seconds} s"),
            How::Stalled => write!(f, "the {name} has not moved for {seconds} s, though something waits"),
        }
    }
}

/// What of this does not go on. In the middle of something one may be for `busy_max`; `doing` asks the kernel.
pub(super) fn stuck(picture: &Picture, busy_max: Duration, doing: impl Fn(&StageSeen) -> Option<Doing>) -> Vec<Stuck> {
    let too_long = picture.stages.iter().filter(|seen| seen.is_busy && seen.marked >= busy_max);
    let found = too_long.filter_map(|seen| {
        let how = match doing(seen)? {
            Doing::Computing => How::Computing,
            Doing::WaitingForLock => How::Locked,
            Doing::InFileSystem => How::Hanging,
        };
        Some(Stuck { stage: Some(seen.stage), flow: seen.flow.clone(), how, duration: seen.marked })
    });
    let mut found: Vec<Stuck> = found.collect();
    // Requests wait for commits: who waits for a disk that hangs has not lost its way.
    if !picture.stages.iter().any(|seen| seen.stage == Stage::Offsets && seen.is_busy && seen.marked >= busy_max) {
        found.extend(picture.stages.iter().filter_map(stalled_checkpointer));
        found.extend(picture.flows.iter().filter_map(|flow| stalled(flow, &picture.stages)));
    }
    found
}

/// It is woken every [`CHECKPOINTER_QUIET_MAX`](crate::limits::CHECKPOINTER_QUIET_MAX), whatever happens.
fn stalled_checkpointer(seen: &StageSeen) -> Option<Stuck> {
    let is_stalled = seen.stage == Stage::Checkpointer && !seen.is_busy && seen.marked >= STALLED_AFTER;
    is_stalled.then_some(Stuck { stage: Some(seen.stage), flow: None, how: How::Stalled, duration: seen.marked })
}

/// Something waits in a flow, and none of those through whose hands it goes was woken for longer than anything takes. The tailer does
/// not count: it looks at its files all the time, whatever becomes of their lines.
fn stalled(flow: &FlowSeen, stages: &[StageSeen]) -> Option<Stuck> {
    let is_on_the_way = |seen: &&StageSeen| {
        let is_on_the_way = matches!(seen.stage, Stage::Packer | Stage::Sender | Stage::Request | Stage::Lookup);
        is_on_the_way && seen.flow.as_deref() == Some(flow.flow.as_str())
    };
    let mut on_the_way = stages.iter().filter(is_on_the_way).peekable();
    on_the_way.peek()?;
    let quiet = on_the_way.map(|seen| if seen.is_busy { Duration::ZERO } else { seen.marked }).min()?.min(flow.unsettled?);
    let is_stalled = quiet >= flow.quiet_max + STALLED_AFTER;
    is_stalled.then(|| Stuck { stage: None, flow: Some(flow.flow.clone()), how: How::Stalled, duration: quiet })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY_MAX: Duration = Duration::from_secs(60);
    const LONG: Duration = Duration::from_secs(61);
    const SHORT: Duration = Duration::from_secs(59);
    const QUIET_MAX: Duration = Duration::from_secs(30);

    fn seen(stage: Stage, is_busy: bool, marked: Duration) -> StageSeen {
        let flow = (!matches!(stage, Stage::Checkpointer | Stage::Offsets)).then(|| "access".to_owned());
        StageSeen { stage, flow, thread: 7, is_busy, marked }
    }

    fn judged(stages: &[StageSeen], unsettled: Option<Duration>, doing: Option<Doing>) -> Vec<(Option<Stage>, How)> {
        let flows = vec![FlowSeen { flow: "access".to_owned(), quiet_max: QUIET_MAX, unsettled }];
        let found = stuck(&Picture { stages: stages.to_vec(), flows }, BUSY_MAX, |_| doing);
        found.iter().map(|stuck| (stuck.stage, stuck.how)).collect()
    }

    #[test]
    fn what_the_kernel_says_of_a_stage_that_is_at_it_for_too_long_decides() {
        for (doing, how) in
            [(Doing::Computing, How::Computing), (Doing::WaitingForLock, How::Locked), (Doing::InFileSystem, How::Hanging)]
        {
            assert_eq!(judged(&[seen(Stage::Tailer, true, LONG)], None, Some(doing)), [(Some(Stage::Tailer), how)]);
            assert!(judged(&[seen(Stage::Tailer, true, SHORT)], None, Some(doing)).is_empty());
            assert!(judged(&[seen(Stage::Tailer, false, LONG)], None, Some(doing)).is_empty());
        }
        assert!(judged(&[seen(Stage::Tailer, true, LONG)], None, None).is_empty(), "the thread has ended meanwhile");
        assert!(How::Computing.is_wedged() && How::Locked.is_wedged() && How::Stalled.is_wedged() && !How::Hanging.is_wedged());
    }

    #[test]
    fn a_flow_is_stalled_when_something_waits_and_neither_packer_nor_sender_was_woken() {
        let at_limit = QUIET_MAX + STALLED_AFTER;
        let less = at_limit.checked_sub(Duration::from_secs(1)).unwrap();
        let stages = |packer, sender| {
            [seen(Stage::Packer, false, packer), seen(Stage::Sender, false, sender), seen(Stage::Tailer, false, Duration::ZERO)]
        };
        assert_eq!(judged(&stages(at_limit, at_limit), Some(at_limit), None), [(None, How::Stalled)]);
        assert!(judged(&stages(less, at_limit), Some(at_limit), None).is_empty());
        assert!(judged(&stages(at_limit, less), Some(at_limit), None).is_empty());
        assert!(judged(&stages(at_limit, at_limit), Some(less), None).is_empty(), "the line has just come");
        assert!(judged(&stages(at_limit, at_limit), None, None).is_empty(), "nothing waits");
        assert!(judged(&[], Some(at_limit), None).is_empty(), "its stages have ended");
        let with_lookup = [&stages(at_limit, at_limit)[..], &[seen(Stage::Lookup, false, less)]].concat();
        assert!(judged(&with_lookup, Some(at_limit), None).is_empty(), "the stream is read for it, which takes long");
    }

    #[test]
    fn a_checkpointer_that_was_not_woken_is_stalled() {
        assert_eq!(
            judged(&[seen(Stage::Checkpointer, false, STALLED_AFTER)], None, None),
            [(Some(Stage::Checkpointer), How::Stalled)]
        );
        assert!(judged(&[seen(Stage::Checkpointer, false, LONG)], None, None).is_empty());
    }

    #[test]
    fn who_waits_for_a_disk_that_hangs_is_not_stalled() {
        let long = QUIET_MAX + STALLED_AFTER;
        let of_flow = [Stage::Checkpointer, Stage::Packer, Stage::Sender].map(|stage| seen(stage, false, long));
        let stages = [&of_flow[..], &[seen(Stage::Offsets, true, long)]].concat();
        assert_eq!(judged(&stages, Some(long), Some(Doing::InFileSystem)), [(Some(Stage::Offsets), How::Hanging)]);
    }

    #[test]
    fn what_is_told_names_the_stage_and_the_time() {
        let stuck = Stuck { stage: Some(Stage::Packer), flow: Some("access".to_owned()), how: How::Locked, duration: LONG };
        assert_eq!(stuck.to_string(), "the packer has been waiting for a lock for 61 s");
    }
}
