//! One agent that ships what is there, and ends.

use std::time::Duration;

use crate::blackhole::{Blackhole, Settings, Tally, now};
use crate::common::{Agent, PATIENCE, Place};
use crate::host::pause;
use crate::input::Input;
use crate::usage::{cpu_of, has_ended, memory_mib};

pub(crate) const GIB: f64 = (1u64 << 30) as f64;

/// What it took.
pub(crate) struct Shipped {
    pub(crate) byte_count: u64,
    /// From the start of the process to the last answer.
    pub(crate) time: Duration,
    /// Of the agent from its start to its end: all threads and child processes, also those that have ended.
    pub(crate) cpu: Duration,
    pub(crate) blackhole_cpu: Duration,
    /// The most memory that it had, by `VmHWM`.
    pub(crate) peak_mib: f64,
    pub(crate) tally: Tally,
}

impl Shipped {
    pub(crate) fn mb_per_second(&self) -> f64 {
        self.byte_count as f64 / 1e6 / self.time.as_secs_f64()
    }

    /// Processor seconds for each GiB that was shipped.
    pub(crate) fn per_gib(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.byte_count as f64 * GIB
    }
}

/// A configuration with one flow of `glob`, of which `flow` has the tables.
pub(crate) fn configure(place: &Place, blackhole: &Blackhole, agent: &str, glob: &str, flow: &str) {
    let (state, aws) = (place.state(), blackhole.aws());
    place.configure_verbatim(&format!(
        "[agent]\nstate_dir = {state:?}\n{agent}\n[aws]\nregion = \"us-east-1\"\n{aws}\n\
         [[flow]]\nname = \"bench\"\nfiles = [{glob:?}]\n{flow}\n"
    ));
}

/// Ships `input` by a flow of these tables.
pub(crate) fn ship(input: &Input, flow: &str, settings: Settings) -> Shipped {
    ship_with("", input, flow, settings)
}

/// The same, with these settings of `[agent]` too.
pub(crate) fn ship_with(agent: &str, input: &Input, flow: &str, settings: Settings) -> Shipped {
    let place = Place::new();
    let mut blackhole = Blackhole::start(settings);
    configure(&place, &blackhole, &format!("admin = \"off\"\n{agent}"), &input.glob(), flow);
    let blackhole_before = cpu_of(blackhole.id());
    let begun = now();
    let agent = place.run(&["--once"]);
    let (cpu, peak_mib) = watch(&agent);
    let tally = blackhole.tally();
    let blackhole_cpu = cpu_of(blackhole.id()) - blackhole_before;
    agent.wait().well();
    Shipped { byte_count: input.byte_count, time: tally.last_answer - begun, cpu, blackhole_cpu, peak_mib, tally }
}

/// Looks at an agent, which does not notice, until it has ended: its processor time, and the most memory.
fn watch(agent: &Agent) -> (Duration, f64) {
    let mut peak_mib: f64 = 0.0;
    let deadline = now() + 10 * PATIENCE;
    while !has_ended(agent.id()) {
        assert!(now() < deadline, "the agent does not end:\n{}", agent.stderr());
        peak_mib = peak_mib.max(memory_mib(agent, "VmHWM:"));
        pause(Duration::from_millis(5));
    }
    (cpu_of(agent.id()), peak_mib)
}
