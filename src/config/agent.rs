//! `[agent]`: the keys of the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Placed, Table};
use super::{ADMIN_DEFAULT, Agent, ReadBack};
use crate::limits::{
    DRAIN_TIMEOUT_DEFAULT, DRAIN_TIMEOUT_MAX, FORGET_AFTER_DEFAULT, FORGET_AFTER_MAX, FORGET_AFTER_MIN, MEMORY_DEFAULT,
    MEMORY_MAX, MEMORY_PER_FLOW_MIN, OPEN_FILES_DEFAULT, OPEN_FILES_MAX, OPEN_FILES_MIN, SETTLE_DEFAULT, SETTLE_MAX, SETTLE_MIN,
    THREADS_MAX,
};

/// `[agent]`, and where what depends on the number of flows is written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) agent: Agent,
    pub(super) memory_max: Option<Placed<usize>>,
    pub(super) max_open_files: Option<Placed<usize>>,
}

/// Reads `[agent]`.
pub(super) fn read(table: &mut Table<'_>) -> Written {
    let max_open_files = table.integer("max_open_files", OPEN_FILES_MIN..=OPEN_FILES_MAX);
    let memory_max = table.size("memory_max", MEMORY_PER_FLOW_MIN..=MEMORY_MAX);
    let read_back = [("auto", ReadBack::Auto), ("off", ReadBack::Off)];
    let agent = Agent {
        state_dir: state_dir(table),
        memory_max: memory_max.as_ref().map_or(MEMORY_DEFAULT, |written| written.value),
        admin: admin(table),
        drain_timeout: table
            .duration("drain_timeout", Duration::ZERO..=DRAIN_TIMEOUT_MAX)
            .map_or(DRAIN_TIMEOUT_DEFAULT, |written| written.value),
        read_back: table.choice("read_back", &read_back).unwrap_or(ReadBack::Auto),
        settle: table.duration("settle", SETTLE_MIN..=SETTLE_MAX).map_or(SETTLE_DEFAULT, |written| written.value),
        forget_after: table
            .duration("forget_after", FORGET_AFTER_MIN..=FORGET_AFTER_MAX)
            .map_or(FORGET_AFTER_DEFAULT, |written| written.value),
        max_open_files: max_open_files.as_ref().map_or(OPEN_FILES_DEFAULT, |written| written.value),
        threads: table.integer("threads", 1..=THREADS_MAX).map(|written| written.value),
    };
    Written { agent, memory_max, max_open_files }
}

fn state_dir(table: &mut Table<'_>) -> Option<PathBuf> {
    let written = table.string("state_dir")?;
    let path = PathBuf::from(written.value);
    if !path.is_absolute() {
        // Offsets of a service that is started elsewhere would be lost with a relative one.
        table.mistake(&written.place, "`state_dir` must be an absolute path", "begin it with `/`");
    }
    Some(path)
}

fn admin(table: &mut Table<'_>) -> Option<SocketAddr> {
    let Some(written) = table.string("admin") else { return Some(ADMIN_DEFAULT) };
    if written.value == "off" {
        return None;
    }
    let address = written.value.parse().ok();
    if address.is_none() {
        let help = format!("write an IP address and a port, for example \"{ADMIN_DEFAULT}\", or \"off\"");
        table.mistake(&written.place, format!("`admin` cannot be \"{}\"", written.value), help);
    }
    address
}
