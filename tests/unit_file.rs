//! The unit file: systemd takes it, it shuts what it can, and its times fit those of the agent.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use kinetail::command::exit;
use kinetail::limits::{DRAIN_TIMEOUT_DEFAULT, ENDING_MARGIN, LAST_COMMIT_TIMEOUT};

use common::installed::{or_skip, run};

/// Greatest exposure by the reckoning of `systemd-analyze security`.
const EXPOSURE_MAX: f64 = 2.0;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/kinetail.service")
}

/// The values of a setting, in order.
fn values(name: &str) -> Vec<String> {
    let text = fs::read_to_string(unit()).unwrap();
    let settings = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    settings.map(str::to_owned).collect()
}

/// The only value of a setting that is a number of seconds.
#[track_caller]
fn seconds(name: &str) -> Duration {
    let [value] = &values(name)[..] else { panic!("{name} is not there once") };
    Duration::from_secs(value.parse().unwrap())
}

/// How `systemd-analyze` ends, and what it says; none where there is no such program.
fn analyze(story: &str, arguments: &[&str]) -> Option<(Output, String)> {
    or_skip(story, run(Command::new("systemd-analyze").arg("--version")))?;
    let output = Command::new("systemd-analyze").args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output, text))
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("kinetail.service");
    // The program is looked for, too.
    let text = fs::read_to_string(unit()).unwrap().replace("/usr/bin/kinetail", env!("CARGO_BIN_EXE_kinetail"));
    fs::write(&here, text).unwrap();
    let verify = ["verify", "--man=no", here.to_str().unwrap()];
    let Some((output, text)) = analyze("systemd_finds_nothing_wrong_with_it", &verify) else { return };
    assert!(output.status.success() && text.trim().is_empty(), "{text}");
}

#[test]
fn it_shuts_what_it_can() {
    let unit = unit();
    let security = ["security", "--offline=true", "--no-pager", unit.to_str().unwrap()];
    let Some((output, text)) = analyze("it_shuts_what_it_can", &security) else { return };
    let exposure = text.lines().find_map(|line| line.split_once("Overall exposure level for kinetail.service: "));
    let (_, exposure) = exposure.unwrap_or_else(|| panic!("{:?}\n{text}", output.status));
    let exposure: f64 = exposure.split_whitespace().next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{text}");
}

#[test]
fn a_stop_has_the_time_that_it_takes() {
    assert!(seconds("TimeoutStopSec") >= DRAIN_TIMEOUT_DEFAULT + 2 * LAST_COMMIT_TIMEOUT);
    assert!(seconds("TimeoutStopSec") >= DRAIN_TIMEOUT_DEFAULT + ENDING_MARGIN);
}

/// What only a person can mend is not tried again and again, and nothing else is given up.
#[test]
fn it_is_restarted_but_for_what_only_a_person_can_mend() {
    assert_eq!(values("RestartPreventExitStatus"), [format!("{} {}", exit::USAGE, exit::CONFIG)]);
    assert_eq!((values("Restart"), values("StartLimitIntervalSec")), (vec!["always".to_owned()], vec!["0".to_owned()]));
    assert!(seconds("RestartSec") >= Duration::from_secs(5));
}

/// The state folder, and what the offset store and the tailers need of the system.
#[test]
fn what_the_agent_needs_is_left_to_it() {
    assert_eq!(values("StateDirectory"), ["kinetail"]);
    assert_eq!(kinetail::config::STATE_DIR_DEFAULT, "/var/lib/kinetail");
    assert_eq!(values("AmbientCapabilities"), values("CapabilityBoundingSet"));
    for absent in ["ProcSubset", "PrivateTmp", "PrivateUsers", "PrivateNetwork"] {
        assert!(values(absent).is_empty(), "{absent}");
    }
}
