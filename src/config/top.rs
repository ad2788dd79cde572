//! The top level: which tables there are, and what depends on more than one of them.

use super::mistakes::line_of;
use super::reader::{Placed, Table};
use super::units::size_written;
use super::{Config, agent, aws, flow, prices};
use crate::limits::{MEMORY_PER_FLOW_MIN, OPEN_FILES_MIN};

/// Reads the whole file; none when a flow could not be understood.
pub(super) fn read(table: &mut Table<'_>, source: &str) -> Option<Config> {
    let agent::Written { mut agent, memory_max, max_open_files } = table.section("agent", agent::read);
    let aws = table.section("aws", aws::read);
    let prices = table.section("prices", prices::read);
    table.require("flow", "write [[flow]], and below it name, files and [flow.kinesis]");
    let flows = table.sections("flow", |table| flow::read(table, source));

    for (index, flow) in flows.iter().enumerate() {
        check_name(table, flow, &flows[..index], source);
    }
    let memory_needed = flows.len() * MEMORY_PER_FLOW_MIN;
    match memory_max {
        Some(Placed { value, place }) if value < memory_needed => {
            let message = format!("`memory_max` of {} does not suffice for {} flows", size_written(value), flows.len());
            table.mistake(&place, message, format!("write memory_max = \"{}\", or more", size_written(memory_needed)));
        }
        Some(_) => {}
        None => agent.memory_max = agent.memory_max.max(memory_needed),
    }
    let open_files_needed = flows.len() * OPEN_FILES_MIN;
    match max_open_files {
        Some(Placed { value, place }) if value < open_files_needed => {
            let message = format!("`max_open_files` of {value} does not suffice for {} flows", flows.len());
            table.mistake(&place, message, format!("write max_open_files = {open_files_needed}, or more"));
        }
        Some(_) => {}
        None => agent.max_open_files = agent.max_open_files.max(open_files_needed),
    }
    Some(Config { agent, aws, prices, flows: flows.into_iter().map(|written| written.flow).collect::<Option<_>>()? })
}

fn check_name(table: &Table<'_>, flow: &flow::Written, earlier: &[flow::Written], source: &str) {
    let Some(Placed { value: name, place }) = &flow.name else { return };
    let mut taken = earlier.iter().filter_map(|earlier| earlier.name.as_ref()).filter(|taken| taken.value == *name);
    if let Some(first) = taken.next() {
        let line = line_of(source, first.place.start);
        let help = format!("line {line} has it already; offsets and metrics are kept by it");
        table.mistake(place, format!("`name` is taken: \"{name}\""), help);
    }
}
