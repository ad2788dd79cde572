//! What is known of runtimes: how errors and their traces look, as small state machines.
//!
//! A preset joins a trace and the line directly in front of it, which is the log's line about the error; a line that
//! is no part of a trace begins a record. Rules are tried in the order in which they stand. Where a line alone does
//! not tell whether it belongs to the trace (an empty one, one of a message of several lines), it waits in an uncertain
//! state for one that does.

use regex::bytes::{Regex, RegexBuilder};

use crate::config::Preset;

mod dotnet;
mod go;
mod java;
mod javascript;
mod python;
mod ruby;

/// What the newest line of a record is. No way of joining has every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// None yet.
    Begin,
    /// A line like any other.
    Plain,
    /// The first line of an entry that the logger itself writes in several.
    Entry,
    /// What stands in front of the line that tells the error.
    Prelude,
    /// The line that tells the error, frames to follow.
    Head,
    /// Perhaps a further line of its message.
    Message,
    /// What else is told of the error.
    Details,
    /// A frame, or a part of one.
    Frames,
    /// Perhaps a frame: a function, the place in the file to follow.
    Call,
    /// A frame, where another error was being handled.
    HandlerFrames,
    /// A frame of a trace of which the beginning is not here.
    OtherFrames,
    /// Where in the source it happened.
    Location,
    /// Perhaps a line of the source.
    Source,
    /// The `^` below a line of the source.
    Marker,
    /// Perhaps the empty line between two parts of a trace.
    Gap,
    /// The same, where other parts may follow.
    OtherGap,
    /// The line that leads over from one error to another.
    Link,
    /// Perhaps the empty line behind that.
    LinkGap,
    /// The line that tells the error, frames in front of it.
    Conclusion,
    /// A quotation mark around the trace of another process.
    Quotation,
    /// A line in the frame of a group of errors.
    Group,
    /// A property of the error, in brackets.
    Properties,
    /// A part of a line that a container has written to its standard output, the rest to follow.
    StdoutPart,
    /// The same of its standard error.
    StderrPart,
    /// The last line.
    End,
    /// A line that does not belong to it.
    Over,
}

/// The number of states.
const STATES: usize = State::Over as usize + 1;

impl State {
    /// Whether the line surely belongs to the record. Else it does when one follows of which that is certain.
    pub(super) fn is_certain(self) -> bool {
        !matches!(self, Self::Prelude | Self::Message | Self::Call | Self::Source | Self::Gap | Self::OtherGap | Self::LinkGap)
    }
}

/// In one of these states, a line that matches leads to that state.
type Rule = (&'static [State], &'static str, State);

/// The rules of a preset, compiled.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// None where nothing can follow.
    by_state: Vec<Option<Transitions>>,
}

/// What may follow in one state.
#[derive(Clone, Debug)]
struct Transitions {
    /// Whether any of them matches: most lines of a log match none.
    any: Regex,
    each: Vec<(Regex, State)>,
}

/// What lines of logs begin with, for those places where a trace could go on with any text: a time, a level, a field.
const LOG_LINE: &str = r#"(?x)^(?:
      \[?\d{1,4}[-/.:]\d
    | \[?[A-Z][a-z]{2},?\x20+(?:\d|[A-Z][a-z]{2}\b)
    | <\d+>
    | \{"
    | [A-Z],\x20\[
    | [DIWEF]\d{4}\x20
    | \[?(?i:trace|debug|info|information|notice|warn|warning|error|severe|fatal|critical|panic)\b
    | (?i:time|timestamp|ts|level|msg)=
)"#;

/// An empty line is not about what follows it.
const EMPTY: Rule = (&[State::Begin], r"^[ \t]*$", State::End);

const INDENTED: &[Rule] = &[(&[State::Plain], r"^[ \t]", State::Plain)];

fn rules(preset: Preset) -> &'static [Rule] {
    match preset {
        Preset::Java => java::RULES,
        Preset::Python => python::RULES,
        Preset::Go => go::RULES,
        Preset::Ruby => ruby::RULES,
        Preset::JavaScript => javascript::RULES,
        Preset::DotNet => dotnet::RULES,
        Preset::Indented => INDENTED,
    }
}

impl Machine {
    /// Compiles the rules of `preset`.
    pub(super) fn new(preset: Preset) -> Self {
        let of_state = |index| {
            let is_of_state = |rule: &&Rule| rule.0.iter().any(|state| *state as usize == index);
            let rules: Vec<&Rule> = rules(preset).iter().filter(is_of_state).collect();
            let alternatives: Vec<String> = rules.iter().map(|(_, pattern, _)| format!("(?:{pattern})")).collect();
            let each = || rules.iter().map(|(_, pattern, to)| (compile(pattern), *to)).collect();
            (!rules.is_empty()).then(|| Transitions { any: compile(&alternatives.join("|")), each: each() })
        };
        Self { by_state: (0..STATES).map(of_state).collect() }
    }

    /// The state behind the first line of a record.
    pub(super) fn begin(&self, text: &[u8]) -> State {
        match self.go_on(State::Begin, text) {
            State::Over => State::Plain,
            state => state,
        }
    }

    /// The state behind a further line, [`State::Over`] when it does not belong to the record.
    pub(super) fn go_on(&self, state: State, text: &[u8]) -> State {
        let transitions = self.by_state[state as usize].as_ref().filter(|transitions| transitions.any.is_match(text));
        let each = transitions.map_or([].as_slice(), |transitions| &transitions.each);
        each.iter().find(|(pattern, _)| pattern.is_match(text)).map_or(State::Over, |(_, to)| *to)
    }

    /// Whether nothing can follow in this state.
    pub(super) fn is_end(&self, state: State) -> bool {
        self.by_state[state as usize].is_none()
    }
}

/// Without Unicode: runtimes write ASCII around what is anybody's text, and that may be any bytes.
fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().expect("the patterns of all presets are compiled by a test")
}

#[cfg(test)]
mod tests;
