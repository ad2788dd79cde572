//! What an agent has used of the machine: figures of `/proc`.

use std::fs;
use std::time::Duration;

use crate::common::Agent;

/// A figure of memory in `/proc/PID/status`, such as `VmRSS:`.
pub(crate) fn memory_mib(agent: &Agent, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    // A process that has ended has none.
    let figure = status.lines().find_map(|line| line.strip_prefix(name));
    figure.map_or(0.0, |figure| figure.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0)
}

/// What a process has used: all its threads, also those that have ended, and the child processes that it has waited for, in steps of
/// 10 ms. The sum of user and system time is exact but for the steps: the kernel scales both to the time that it has measured.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
pub(crate) fn cpu_of(process: u32) -> Duration {
    // Fields 14 to 17 of proc(5); the first here is the third.
    let ticks = stat(process)[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// Whether a process has ended, that nobody has waited for yet: its figures are still there.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
pub(crate) fn has_ended(process: u32) -> bool {
    stat(process)[0] == "Z"
}

/// The fields behind the name, which is in parentheses.
fn stat(process: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split_whitespace().map(str::to_owned).collect()
}
