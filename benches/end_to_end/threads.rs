//! What the threads of an idle agent use: too little for the figures of the process, which count in 10 ms.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::common::Agent;

/// What the threads of an agent have used so far. It is sampled each second, so that little is missed of a thread that
/// ends: `/proc/PID/stat` has them all, and counts in 10 ms, which is all that an idle agent uses in minutes.
#[derive(Default)]
pub(crate) struct Usage(HashMap<String, ThreadUsage>);

/// What one thread has used.
#[derive(Clone, Copy, Default)]
pub(crate) struct ThreadUsage {
    pub(crate) cpu: Duration,
    /// How often it waited for something.
    pub(crate) wakeup_count: u64,
}

impl Usage {
    pub(crate) fn sample(&mut self, agent: &Agent) {
        for thread in fs::read_dir(format!("/proc/{}/task", agent.id())).unwrap() {
            let thread = thread.unwrap();
            let read = |name: &str| fs::read_to_string(thread.path().join(name));
            // A thread may have ended meanwhile.
            let (Ok(schedule), Ok(status)) = (read("schedstat"), read("status")) else { continue };
            let usage = ThreadUsage {
                cpu: Duration::from_nanos(schedule.split(' ').next().unwrap().parse().unwrap()),
                wakeup_count: field(&status, "voluntary_ctxt_switches:").parse().unwrap(),
            };
            self.0.insert(thread.file_name().into_string().unwrap(), usage);
        }
    }

    pub(crate) fn total(&self) -> ThreadUsage {
        self.0.values().fold(ThreadUsage::default(), |total, thread| ThreadUsage {
            cpu: total.cpu + thread.cpu,
            wakeup_count: total.wakeup_count + thread.wakeup_count,
        })
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim()
}
