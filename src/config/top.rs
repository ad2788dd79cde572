//! One file: which tables there are at its top level, and what they say.
//!
//! What depends on more than one file is left to [`whole`](super::whole).

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::mistakes::{Lines, Mistake};
use super::reader::{Findings, Table};
use super::{Aws, Prices, agent, aws, flow, prices};

/// What a file may say.
pub(super) enum Role<'a> {
    /// Everything.
    Main,
    /// Flows, and nothing else.
    Flows {
        /// The file in which all else belongs, for people.
        main: &'a str,
    },
}

/// What one file says.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What only the main file says.
    pub(super) process: Option<Process>,
    /// Each `[[flow]]`.
    pub(super) flows: Vec<flow::Written>,
    /// There is a `flow`, or what could be one and is not understood.
    pub(super) may_have_flows: bool,
    /// Lines with errors of syntax, from 1: what else is wrong there is only an effect of these.
    pub(super) torn_lines: BTreeSet<usize>,
}

/// `[agent]`, `[aws]` and `[prices]`
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) agent: agent::Written,
    pub(super) aws: Aws,
    pub(super) prices: Prices,
}

impl Part {
    /// What `source`, the text of a file, says, and what is wrong with it.
    pub(super) fn of(source: &str, role: &Role<'_>) -> (Self, Vec<Mistake>) {
        let (entries, syntax_errors) = DeTable::parse_recoverable(source);
        let findings = Findings::new(!syntax_errors.is_empty());
        let mut part = Table::read_top(&findings, entries.get_ref(), |table| read(table, source, role));
        let mut mistakes = findings.into_mistakes();
        if !syntax_errors.is_empty() {
            let lines = Lines::of(source);
            let torn: Vec<Mistake> = syntax_errors.iter().map(torn).collect();
            part.may_have_flows = true;
            part.torn_lines = torn.iter().map(|mistake| lines.line_of(mistake.place.start)).collect();
            mistakes.retain(|mistake| !part.torn_lines.contains(&lines.line_of(mistake.place.start)));
            mistakes.extend(torn);
        }
        (part, mistakes)
    }
}

fn torn(error: &toml::de::Error) -> Mistake {
    Mistake { place: error.span().unwrap_or_default(), message: error.message().to_owned(), help: None }
}

/// Reads the tables of a file with the text `source`.
pub(super) fn read(table: &mut Table<'_>, source: &str, role: &Role<'_>) -> Part {
    let process = match role {
        Role::Main => Some(Process {
            agent: table.section("agent", agent::read),
            aws: table.section("aws", aws::read),
            prices: table.section("prices", prices::read),
        }),
        Role::Flows { main } => {
            for key in ["agent", "aws", "prices"] {
                let message = format!("[{key}] cannot be written here");
                table.misplaced(key, &message, &format!("it belongs in {main}; here are [[flow]] tables only"));
            }
            None
        }
    };
    let may_have_flows = table.has("flow");
    let flows = table.sections("flow", |table| flow::read(table, source));
    Part { process, flows, may_have_flows, torn_lines: BTreeSet::new() }
}
