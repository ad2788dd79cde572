//! `[flow.multiline]`: which lines make one record together.

use std::time::Duration;

use super::pattern::{self, Pattern};
use super::reader::Table;
use crate::limits::{
    JOINED_LINES_DEFAULT, JOINED_LINES_MAX, JOINED_LINES_MIN, JOINING_TIMEOUT_DEFAULT, JOINING_TIMEOUT_MAX, JOINING_TIMEOUT_MIN,
    PARTS_TIMEOUT,
};

/// `[flow.multiline]`: which lines make one record together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// What belongs together.
    pub joining: Joining,
    /// How long the last record of a file waits for more lines after the file has last grown; from
    /// [`crate::limits::JOINING_TIMEOUT_MIN`] to [`crate::limits::JOINING_TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Most lines of one record, from [`crate::limits::JOINED_LINES_MIN`] to [`crate::limits::JOINED_LINES_MAX`].
    pub max_lines: usize,
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Lines that a container runtime has divided. Not to be chosen: it comes with the format, and instead of
    /// `[flow.multiline]`, of which it has the defaults.
    Parts(Container),
    /// `preset`: an error with its trace, as a runtime prints it.
    Preset(Preset),
    /// Patterns of the configuration's author, at least one. They are matched against lines without terminator.
    Patterns {
        /// `start`: a line that begins a record, whatever else it matches. Alone, all other lines continue one.
        start: Option<Pattern>,
        /// `continue`: a line that belongs to the record before it. With it, lines that do not match anything
        /// begin a record.
        goes_on: Option<Pattern>,
        /// `end`: a line that belongs to the record before it, and is its last.
        end: Option<Pattern>,
    },
}

/// The container runtimes whose logs are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Docker, which writes `docker_json`.
    Docker,
    /// Those of Kubernetes, which write `cri`.
    Cri,
}

/// `preset`: the runtime whose traces are joined, each with the line in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `"java"`: the JVM, whatever the language.
    Java,
    /// `"python"`
    Python,
    /// `"go"`
    Go,
    /// `"ruby"`
    Ruby,
    /// `"javascript"` or `"node"`
    JavaScript,
    /// `"dotnet"`
    DotNet,
    /// `"indented"`: a line that begins with a space or a tab belongs to the one before it.
    Indented,
}

const PRESETS: [(&str, Preset); 8] = [
    ("java", Preset::Java),
    ("python", Preset::Python),
    ("go", Preset::Go),
    ("ruby", Preset::Ruby),
    ("javascript", Preset::JavaScript),
    ("node", Preset::JavaScript),
    ("dotnet", Preset::DotNet),
    ("indented", Preset::Indented),
];
const PATTERNS: [&str; 3] = ["start", "continue", "end"];

/// What holds without `[flow.multiline]` where the files are the logs of containers.
pub(super) fn of_parts(container: Container) -> Multiline {
    Multiline { joining: Joining::Parts(container), timeout: PARTS_TIMEOUT, max_lines: JOINED_LINES_DEFAULT }
}

/// Reads `[flow.multiline]`; none when it does not say, or says twice, what belongs together. There is nothing to say where
/// the files are the logs of a `container`.
pub(super) fn read(table: &mut Table<'_>, source: &str, container: Option<Container>) -> Option<Multiline> {
    if let Some(container) = container {
        let format = match container {
            Container::Docker => "docker_json",
            Container::Cri => "cri",
        };
        let message = format!("[flow.multiline] and format = \"{format}\" exclude each other");
        let help = "leave [flow.multiline] out: what the container runtime has divided is joined without it";
        table.mistake(table.place(), message, help);
    }
    table.require_any(
        &["preset", "start", "continue", "end"],
        "write preset = \"java\", or start = '^\\d{4}-' with a pattern of the lines that begin a record",
    );
    let preset = table.choice("preset", &PRESETS);
    let [start, goes_on, end] = PATTERNS.map(|key| pattern::read(table, key, source).map(|pattern| pattern.value));
    let timeout = table.duration("timeout", JOINING_TIMEOUT_MIN..=JOINING_TIMEOUT_MAX);
    let max_lines = table.integer("max_lines", JOINED_LINES_MIN..=JOINED_LINES_MAX);

    let pattern_key = PATTERNS.into_iter().find(|key| table.has(key));
    let joining = match pattern_key {
        Some(key) if table.has("preset") => {
            let message = format!("`preset` and `{key}` exclude each other");
            table.mistake(table.place(), message, "leave one of them out: a preset has patterns of its own");
            return None;
        }
        Some(_) => Joining::Patterns { start, goes_on, end },
        None => Joining::Preset(preset?),
    };
    Some(Multiline {
        joining,
        timeout: timeout.map_or(JOINING_TIMEOUT_DEFAULT, |written| written.value),
        max_lines: max_lines.map_or(JOINED_LINES_DEFAULT, |written| written.value),
    })
}
