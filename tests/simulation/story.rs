//! What holds for all of a seed: whether the agent may read its streams, how long it waits for them, and how its host's clock goes.

use std::fmt::Write as _;
use std::time::Duration;

/// Drawn once for a seed.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) access: Access,
    /// What the agent is told to wait.
    pub(crate) settle: Duration,
    /// The service says what time it is; else the host's clock goes about right.
    is_time_told: bool,
    /// How far the service's times of arrival are off at most, in milliseconds.
    pub(crate) jitter_ms_max: i64,
}

/// Whether streams may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Always,
    /// The configuration says that they are not.
    Off,
    Never(Denied),
    /// In every second of these periods.
    AtTimes(Denied, Duration),
}

/// What is denied, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// None: all of it.
    question: Option<Question>,
    pub(crate) code: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Shards,
    Iterator,
    Records,
}

/// The host's clock is wrong by so much at most where the service tells what time it is; and where it does not.
const SKEW_TOLD_MS_MAX: i64 = 300_000;
const SKEW_UNTOLD_MS_MAX: i64 = 2_500;

impl Story {
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let access = match rng.u8(..10) {
            0 => Access::Off,
            1 => Access::Never(Denied::drawn(rng)),
            2 => Access::AtTimes(Denied::drawn(rng), Duration::from_secs(rng.u64(20..600))),
            _ => Access::Always,
        };
        let settle = Duration::from_millis([10, 2_000, 5_000, 20_000][rng.usize(..4)]);
        Self { access, settle, is_time_told: rng.u8(..4) > 0, jitter_ms_max: [0, 500][rng.usize(..2)] }
    }

    /// What of it is written in `[agent]`.
    pub(crate) fn config(&self) -> String {
        let mut text = format!("settle = \"{} ms\"\n", self.settle.as_millis());
        if self.access == Access::Off {
            let _ = writeln!(text, "read_back = \"off\"");
        }
        text
    }

    /// Whether the service says what time it is.
    pub(crate) fn is_time_told(&self) -> bool {
        self.is_time_told
    }

    /// How much the host's clock is ahead of the service's, in one life of the agent.
    pub(crate) fn drawn_skew_ms(&self, rng: &mut fastrand::Rng) -> i64 {
        let most = if self.is_time_told { SKEW_TOLD_MS_MAX } else { SKEW_UNTOLD_MS_MAX };
        rng.i64(-most..=most)
    }

    /// The error with which a question is answered.
    pub(crate) fn refusal(&self, question: Question, now: Duration) -> Option<&'static str> {
        let denied = match &self.access {
            Access::Always | Access::Off => return None,
            Access::Never(denied) => denied,
            Access::AtTimes(denied, period) => {
                let periods = now.as_millis() / period.as_millis();
                Some(denied).filter(|_| !periods.is_multiple_of(2))?
            }
        };
        denied.question.is_none_or(|denied| denied == question).then_some(denied.code)
    }

    /// So long it takes at most until a request that has left is accepted though nobody waits for it any more, or until what was
    /// accepted can be read. Both together are less than what the agent waits.
    pub(crate) fn delay_max(&self) -> Duration {
        self.settle * 9 / 20
    }
}

impl Denied {
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        let question = [None, Some(Question::Shards), Some(Question::Iterator), Some(Question::Records)][rng.usize(..4)];
        let code = match question {
            // Other than the shards, records are encrypted.
            None | Some(Question::Records) => ["AccessDeniedException", "KMSAccessDeniedException"][rng.usize(..2)],
            _ => "AccessDeniedException",
        };
        Self { question, code }
    }
}
