//! When has what a run may have sent arrived, and which runs are looked for in one reading?
//!
//! Pure.

use std::time::Duration;

use super::Window;
use crate::limits::{CLOCK_MARGIN, MARK_AGE_MAX};
use crate::offsets::{RunKey, Sending};

/// What is known of the times at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Now, in milliseconds since 1970 by the service's clock.
    pub(super) now_ms: i64,
    /// How long after a request was last accepted its records can be read.
    pub(super) settle: Duration,
    /// How long a request lives.
    pub(super) attempt_timeout: Duration,
    /// The store says what was so at an earlier time than it did before.
    pub(super) is_rolled_back: bool,
}

/// A run, and when what it may have sent has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) key: RunKey,
    pub(super) in_flight_record_count: u64,
    pub(super) window: Window,
}

/// One reading of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) stream: String,
    pub(super) window: Window,
    pub(super) runs: Vec<Run>,
}

impl Times {
    /// When the records can have arrived that a run has sent of which the rows say nothing.
    ///
    /// From the first request on that was in flight when the rows were what they are; without one, from that moment, since what
    /// was sent before is in them. Less what the clocks may differ.
    ///
    /// The last request has left at most [`MARK_AGE_MAX`] after that moment, for the gate lets none out later without another
    /// commit, unless commits take long or fail. It has lived no longer than `attempt_timeout`, and what it brought can be read `settle` later. All of that is by the
    /// clock of a process that has ended, so that what the clocks may differ is added.
    ///
    /// That process has ended by now, so that nothing of it is accepted from now on but what the network still had, for which
    /// `settle` allows too. This is by the clock that decides when the reading ends, without a margin. Of a store that was rolled
    /// back it is the only bound: the run went on after the moment that the store knows of.
    fn window(&self, sending: &Sending) -> Window {
        let settled_ms = self.now_ms.saturating_add(millis(self.settle));
        let from_ms = sending.in_flight_since_ms.map_or(sending.marked_at_ms, |since_ms| since_ms.min(sending.marked_at_ms));
        let last_sent = MARK_AGE_MAX + self.attempt_timeout + self.settle + CLOCK_MARGIN;
        let until_ms =
            if self.is_rolled_back { settled_ms } else { sending.marked_at_ms.saturating_add(millis(last_sent)).min(settled_ms) };
        let from_ms = from_ms.saturating_sub(millis(CLOCK_MARGIN)).min(until_ms);
        Window { from_ms, until_ms }
    }
}

/// The readings for these runs, each with the stream that it has sent to. Runs of which the windows overlap or touch are looked for
/// in one.
pub(super) fn passes(runs: impl IntoIterator<Item = (String, RunKey, Sending)>, times: &Times) -> Vec<Pass> {
    let of_run = |(stream, key, sending): (String, RunKey, Sending)| {
        let window = times.window(&sending);
        let run = Run { key, in_flight_record_count: sending.in_flight_record_count, window };
        Pass { stream, window, runs: vec![run] }
    };
    let mut passes: Vec<Pass> = runs.into_iter().map(of_run).collect();
    passes.sort_by(|a, b| (&a.stream, a.window.from_ms).cmp(&(&b.stream, b.window.from_ms)));
    let mut merged: Vec<Pass> = Vec::new();
    for pass in passes {
        match merged.last_mut() {
            Some(last) if last.stream == pass.stream && last.window.until_ms >= pass.window.from_ms => {
                last.window.until_ms = last.window.until_ms.max(pass.window.until_ms);
                last.runs.extend(pass.runs);
            }
            _ => merged.push(pass),
        }
    }
    merged
}

impl Run {
    /// Whether a record that arrived then can be one that this run has sent: a copy of the state folder may have come to another
    /// host while the run went on.
    pub(super) fn may_have_sent(&self, arrived_at_ms: Option<i64>) -> bool {
        let last_ms = self.window.until_ms.saturating_add(millis(CLOCK_MARGIN));
        arrived_at_ms.is_none_or(|at_ms| (self.window.from_ms..=last_ms).contains(&at_ms))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(marked_at_ms: i64, in_flight_since_ms: Option<i64>) -> Sending {
        Sending {
            stream: Some("access".to_owned()),
            marked_at_ms,
            in_flight_since_ms,
            in_flight_record_count: 1,
            sent_record_count: 1,
        }
    }

    fn times(now_ms: i64) -> Times {
        Times { now_ms, settle: Duration::from_secs(2), attempt_timeout: Duration::from_secs(30), is_rolled_back: false }
    }

    #[test]
    fn a_window_is_bounded_by_the_mark_and_by_now() {
        // A mark is good for 3 s, clocks may differ by 5 s.
        for (now_ms, is_rolled_back, sending, expected) in [
            (9_000_000, false, sending(100_000, None), (95_000, 140_000)),
            (9_000_000, false, sending(100_000, Some(70_000)), (65_000, 140_000)),
            (101_000, false, sending(100_000, None), (95_000, 103_000)),
            (9_000_000, true, sending(100_000, Some(99_000)), (94_000, 9_002_000)),
            // By a clock that was wrong.
            (50_000, false, sending(100_000, None), (52_000, 52_000)),
            (50_000, false, sending(i64::MAX, Some(i64::MIN)), (i64::MIN, 52_000)),
            (i64::MAX, true, sending(i64::MIN, None), (i64::MIN, i64::MAX)),
        ] {
            let window = Times { is_rolled_back, ..times(now_ms) }.window(&sending);
            assert_eq!((window.from_ms, window.until_ms), expected, "{sending:?}");
        }
    }

    #[test]
    fn runs_share_a_reading_where_their_windows_touch() {
        let of = |stream: &str, run_id, marked_at_ms| {
            (stream.to_owned(), RunKey { run_id, flow: "f".to_owned() }, sending(marked_at_ms, None))
        };
        let runs = [of("b", 1, 100_000), of("a", 2, 300_000), of("a", 3, 100_000), of("a", 4, 145_000), of("a", 5, 190_001)];
        let passes: Vec<_> = passes(runs, &times(9_000_000))
            .into_iter()
            .map(|pass| {
                let runs: Vec<u128> = pass.runs.iter().map(|run| run.key.run_id).collect();
                (pass.stream, pass.window.from_ms, pass.window.until_ms, runs)
            })
            .collect();
        let expected = [
            ("a".to_owned(), 95_000, 185_000, vec![3, 4]),
            ("a".to_owned(), 185_001, 230_001, vec![5]),
            ("a".to_owned(), 295_000, 340_000, vec![2]),
            ("b".to_owned(), 95_000, 140_000, vec![1]),
        ];
        assert_eq!(passes, expected);
    }

    #[test]
    fn what_arrived_at_another_time_was_sent_by_another() {
        let passes =
            passes([("a".to_owned(), RunKey { run_id: 1, flow: "f".to_owned() }, sending(100_000, None))], &times(9_000_000));
        let run = &passes[0].runs[0];
        for (arrived_at_ms, expected) in
            [(Some(94_999), false), (Some(95_000), true), (Some(145_000), true), (Some(145_001), false), (None, true)]
        {
            assert_eq!(run.may_have_sent(arrived_at_ms), expected, "{arrived_at_ms:?}");
        }
    }
}
