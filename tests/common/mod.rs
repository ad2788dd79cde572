//! What the stories share: a Kinesis to deliver to, the agent as its users run it, and lines that show
//! whether one of them was lost, doubled, torn or merged.

#![allow(dead_code, unused_imports, reason = "each story uses a part")]

mod agent;
pub(crate) mod cbor;
mod door;
mod front;
mod imds;
pub(crate) mod installed;
mod issuer;
mod kinesis;
mod lines;
mod moto;
mod scripted;
mod stage;
pub(crate) mod wire;
mod writer;

pub(crate) use agent::{Agent, Ended, Figures, Place};
pub(crate) use door::{Door, key_of};
pub(crate) use front::TlsFront;
pub(crate) use imds::Imds;
pub(crate) use issuer::{Issuer, SECRET};
pub(crate) use kinesis::{Kinesis, Record, ShardRecords};
pub(crate) use lines::{Received, line, lines, texts, verify, verify_kept};
pub(crate) use moto::{Moto, kms_client};
pub(crate) use scripted::{Answer, Fate, Reading, Scripted, error};
pub(crate) use stage::Stage;
pub(crate) use writer::Writer;

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Longest that anything is waited for; a healthy machine needs a hundredth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds, and fails with the words of `what` when it does not within [`PATIENCE`].
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_or(what, condition, String::new);
}

/// As [`wait_until`]; what is known of the state of affairs is added to the failure.
pub(crate) fn wait_until_or(what: &str, mut condition: impl FnMut() -> bool, state: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", state());
        poll_pause();
    }
}

/// What is observed here lives in another process, which has no way to wake us.
#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, never instead of one")]
fn poll_pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Says that `story` was not run. Past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn skipped(story: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {story}: {why}");
}
