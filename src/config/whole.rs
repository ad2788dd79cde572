//! All files together: what depends on more than one of them.
//!
//! What each says by itself was found out before ([`top`](super::top)).

use std::collections::HashMap;
use std::path::PathBuf;

use super::Config;
use super::mistakes::{Lines, Mistake};
use super::reader::Placed;
use super::top::{Part, Process};
use super::units::size_written;
use crate::limits::{MEMORY_PER_FLOW_MIN, OPEN_FILES_MIN};

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    /// The path, for people.
    pub(super) name: String,
    /// What is written in it, passwords left out.
    pub(super) source: String,
    pub(super) lines: Lines,
    pub(super) part: Part,
    pub(super) age: Age,
}

/// How a text relates to what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It is not in force yet.
    New,
    /// It is in force, and the file has it still.
    Same,
    /// It is in force, and the file has another by now, which is refused.
    Kept,
}

/// A mistake, and in which of the texts.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) text_index: usize,
    pub(super) mistake: Mistake,
}

/// What `texts` say together, and what is wrong with that; none when one of them alone could not be understood. `flows_folder` is
/// where there may be more, for people; `is_complete` when all files could be read.
pub(super) fn join(texts: &[Text], flows_folder: &str, is_complete: bool) -> (Option<Config>, Vec<Found>) {
    let mut found = taken_names(texts);
    let main = texts.iter().enumerate().find_map(|(index, text)| Some((index, text.part.process.as_ref()?)));
    let mut agent = None;
    if let Some((text_index, process)) = main {
        let (of_all, mistakes) = agent_of_all(texts, process);
        agent = Some(of_all);
        found.extend(mistakes.into_iter().map(|mistake| Found { text_index, mistake }));
        if is_complete && !texts.iter().any(|text| text.part.may_have_flows) {
            let message = "`flow` is missing at the top level".to_owned();
            let help = format!(
                "write [[flow]], and below it name, files and [flow.kinesis]; here, or in a file {flows_folder}/NAME.toml"
            );
            found.push(Found { text_index, mistake: Mistake { place: 0..0, message, help: Some(help) } });
        }
    }
    found.retain(|found| {
        let text = &texts[found.text_index];
        !text.part.torn_lines.contains(&text.lines.line_of(found.mistake.place.start))
    });
    let flows = texts.iter().flat_map(|text| &text.part.flows).map(|written| written.flow.clone()).collect::<Option<Vec<_>>>();
    let config = main.zip(agent).zip(flows).map(|(((_, Process { aws, prices, .. }), agent), mut flows)| {
        for flow in &mut flows {
            flow.aws = flow.aws.over(aws);
        }
        Config { agent, aws: aws.clone(), prices: *prices, flows }
    });
    (config, found)
}

/// Offsets and metrics of two flows of one name would be mixed up.
fn taken_names(texts: &[Text]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut first_by_name: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut indexes: Vec<usize> = (0..texts.len()).collect();
    // At fault is who came later.
    indexes.sort_by_key(|index| texts[*index].age == Age::New);
    for text_index in indexes {
        for Placed { value: name, place } in texts[text_index].part.flows.iter().filter_map(|written| written.name.as_ref()) {
            let Some(&(first_index, start)) = first_by_name.get(name.as_str()) else {
                first_by_name.insert(name, (text_index, place.start));
                continue;
            };
            let first = &texts[first_index];
            let line = first.lines.line_of(start);
            let of_file = match first.age {
                _ if first_index == text_index => String::new(),
                Age::New | Age::Same => format!("{}, ", first.name),
                Age::Kept => format!("what was read of {} before, ", first.name),
            };
            let help = format!("{of_file}line {line} has it already; offsets and metrics are kept by it");
            let message = format!("`name` is taken: \"{name}\"");
            found.push(Found { text_index, mistake: Mistake { place: place.clone(), message, help: Some(help) } });
        }
    }
    found
}

/// `[agent]`, with room for all flows.
fn agent_of_all(texts: &[Text], process: &Process) -> (super::Agent, Vec<Mistake>) {
    let super::agent::Written { mut agent, memory_max, max_open_files } = process.agent.clone();
    let mut mistakes = Vec::new();
    let mut mistake = |place, message, help| mistakes.push(Mistake { place, message, help: Some(help) });
    let flow_count: usize = texts.iter().map(|text| text.part.flows.len()).sum();
    let flows = match texts.iter().filter(|text| !text.part.flows.is_empty()).count() {
        0 | 1 => format!("{flow_count} flows"),
        file_count => format!("{flow_count} flows in {file_count} files"),
    };

    let memory_needed = flow_count * MEMORY_PER_FLOW_MIN;
    match memory_max {
        Some(Placed { value, place }) if value < memory_needed => {
            let message = format!("`memory_max` of {} does not suffice for {flows}", size_written(value));
            mistake(place, message, format!("write memory_max = \"{}\", or more", size_written(memory_needed)));
        }
        Some(_) => {}
        None => agent.memory_max = agent.memory_max.max(memory_needed),
    }
    let open_files_needed = flow_count * OPEN_FILES_MIN;
    match max_open_files {
        Some(Placed { value, place }) if value < open_files_needed => {
            let message = format!("`max_open_files` of {value} does not suffice for {flows}");
            mistake(place, message, format!("write max_open_files = {open_files_needed}, or more"));
        }
        Some(_) => {}
        None => agent.max_open_files = agent.max_open_files.max(open_files_needed),
    }
    (agent, mistakes)
}
