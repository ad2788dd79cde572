//! Lines of a container that its runtime has divided, in its log: the parts that stand one behind the other.
//!
//! A line of the container's other stream between two parts ends the record, since a record is lines without a gap: what was
//! divided is then sent in two pieces. What is no line of such a log is a record by itself.

use super::presets::State;
use crate::config::Container;
use crate::processor::format::containers::{Part, Stream, part_of};

/// The state behind the first line of a record.
pub(super) fn begin(container: Container, text: &[u8]) -> State {
    part_of(container, text).map_or(State::End, behind)
}

/// The state behind a further line, [`State::Over`] when it does not belong to the record.
pub(super) fn go_on(container: Container, state: State, text: &[u8]) -> State {
    match part_of(container, text) {
        Some(part) if behind(Part { is_last: false, ..part }) == state => behind(part),
        _ => State::Over,
    }
}

fn behind(part: Part) -> State {
    match part {
        Part { is_last: true, .. } => State::End,
        Part { stream: Stream::Stdout, .. } => State::StdoutPart,
        Part { stream: Stream::Stderr, .. } => State::StderrPart,
    }
}
