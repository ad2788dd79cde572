//! Lines into records: which lines belong together.
//!
//! Pure, and without memory of what was grouped before: the lines of a call always begin with those of a new record,
//! and whether a record is over depends on its own lines and the one behind them alone. So it makes no difference in
//! which pieces a file is read. How long a record waits for lines that may still come is decided by the caller;
//! [`presets`] has what is known of runtimes, and [`parts`] joins what container runtimes have divided.

use std::ops::Range;

use regex::bytes::Regex;

use self::presets::{Machine, State};
use super::lines::Line;
use crate::config::{Container, Joining, Multiline};

mod parts;
mod presets;

/// Lines that wait at most for one that shows that they belong to the record: as many as the message of an error may
/// have. They are looked at again when it does not come, so the number also bounds how often.
const UNCERTAIN_LINES_MAX: usize = 32;

/// The rules of one flow, compiled.
#[derive(Clone, Debug)]
pub(super) struct Grouper {
    rules: Rules,
    /// Most lines of a record.
    max_lines: usize,
}

/// Whether lines may follow those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// More may come.
    MoreToCome,
    /// The record was waited for long enough, or the file has come to its end: the last one is complete.
    Complete,
}

/// Lines, grouped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grouped {
    /// The records that are over. Each is a line of several: its text reaches from the first one's to the last one's,
    /// terminators between them included.
    pub(super) records: Vec<Line>,
    /// Where the record begins that may still go on, if one may: the start of its `whole`.
    pub(super) open_from: Option<usize>,
}

#[derive(Clone, Debug)]
enum Rules {
    Patterns { start: Option<Regex>, goes_on: Option<Regex>, end: Option<Regex> },
    Preset(Machine),
    Parts(Container),
}

/// How far a record reaches.
struct Reach {
    line_count: usize,
    /// Nothing that follows can belong to it.
    is_over: bool,
}

impl Grouper {
    /// Compiles the rules.
    pub(super) fn new(multiline: &Multiline) -> Self {
        let rules = match &multiline.joining {
            Joining::Preset(preset) => Rules::Preset(Machine::new(*preset)),
            Joining::Parts(container) => Rules::Parts(*container),
            Joining::Patterns { start, goes_on, end } => {
                let [start, goes_on, end] = [start, goes_on, end].map(|pattern| pattern.as_deref().cloned());
                Rules::Patterns { start, goes_on, end }
            }
        };
        Self { rules, max_lines: multiline.max_lines }
    }

    /// Joins those of `lines`, places in `bytes` and in order, that belong together; the first one begins a record.
    ///
    /// No record of several lines has a text longer than `max_bytes`. Where something between two lines was dropped
    /// the record is over. Lines of the record at [`Grouped::open_from`] are to be given again, with those behind them.
    pub(super) fn group(&self, bytes: &[u8], lines: Vec<Line>, max_bytes: usize, ending: Ending) -> Grouped {
        // Records take the places of their lines: there are never more of them.
        let mut records = lines;
        let (mut record_count, mut first) = (0, 0);
        let mut open_from = None;
        while first < records.len() {
            let Reach { line_count, is_over } = self.reach(bytes, &records[first..], max_bytes);
            if !is_over && ending == Ending::MoreToCome {
                open_from = Some(records[first].whole.start);
                break;
            }
            let last = first + line_count - 1;
            records[record_count] = Line {
                text: records[first].text.start..records[last].text.end,
                whole: records[first].whole.start..records[last].whole.end,
            };
            record_count += 1;
            first = last + 1;
        }
        records.truncate(record_count);
        Grouped { records, open_from }
    }

    /// How far the record reaches that begins with the first of `lines`.
    fn reach(&self, bytes: &[u8], lines: &[Line], max_bytes: usize) -> Reach {
        let text_start = lines[0].text.start;
        let mut state = self.rules.begin(text_of(bytes, &lines[0].text));
        // The last of these may still turn out not to belong to it.
        let mut line_count = 1;
        let mut certain_line_count = 1;
        loop {
            let reach = |is_over| Reach { line_count: certain_line_count, is_over };
            if line_count == self.max_lines || line_count - certain_line_count > UNCERTAIN_LINES_MAX || self.rules.is_end(state) {
                return reach(true);
            }
            let Some(next) = lines.get(line_count) else { return reach(false) };
            if next.whole.start != lines[line_count - 1].whole.end || next.text.end - text_start > max_bytes {
                return reach(true);
            }
            state = self.rules.go_on(state, text_of(bytes, &next.text));
            if state == State::Over {
                return reach(true);
            }
            line_count += 1;
            if state.is_certain() {
                certain_line_count = line_count;
            }
        }
    }
}

/// What patterns are matched against: nobody who writes one thinks of the CR.
fn text_of<'a>(bytes: &'a [u8], text: &Range<usize>) -> &'a [u8] {
    let text = &bytes[text.clone()];
    text.strip_suffix(b"\r").unwrap_or(text)
}

impl Rules {
    /// The state behind the first line of a record.
    fn begin(&self, text: &[u8]) -> State {
        match self {
            Self::Patterns { end: Some(end), .. } if end.is_match(text) => State::End,
            Self::Patterns { .. } => State::Plain,
            Self::Preset(machine) => machine.begin(text),
            Self::Parts(container) => parts::begin(*container, text),
        }
    }

    /// The state behind a further line, [`State::Over`] when it does not belong to the record.
    fn go_on(&self, state: State, text: &[u8]) -> State {
        let (start, goes_on, end) = match self {
            Self::Patterns { start, goes_on, end } => (start, goes_on, end),
            Self::Preset(machine) => return machine.go_on(state, text),
            Self::Parts(container) => return parts::go_on(*container, state, text),
        };
        let matches = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
        if matches(start) {
            State::Over
        } else if matches(end) {
            State::End
        } else if goes_on.is_none() || matches(goes_on) {
            State::Plain
        } else {
            State::Over
        }
    }

    /// Whether a record in this state is over whatever follows.
    fn is_end(&self, state: State) -> bool {
        match self {
            Self::Patterns { .. } | Self::Parts(_) => state == State::End,
            Self::Preset(machine) => machine.is_end(state),
        }
    }
}

#[cfg(test)]
mod tests;
