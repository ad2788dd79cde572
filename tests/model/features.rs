//! What the agent can do, and what it cannot do yet.

use std::cell::Cell;
use std::env;
use std::sync::OnceLock;

/// What is asked of the agent beyond following files that are appended to, renamed, truncated and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// A file that was renamed out of the globs, and stays in its folder, is read to its end after a restart.
    SameFolder,
    /// Copies are told from files: copytruncate.
    Copies,
    /// A file that begins as before, and is another behind that, is told from one that has grown.
    KeptHead,
    /// A file that was truncated and is then as long again as what was read of it is looked at, without a notification.
    SameSize,
    /// What a compressed file has that its original had not delivered is sent.
    Compressed,
    /// Bytes that were destroyed count as unreachable also when they were only seen by a rescan, as in an outage.
    SeenCounted,
    /// `compressed = "read"` of `[[flow]]`, which sends compressed files never seen.
    CompressedRead,
}

/// What is tested by everyone. The others are tried with `KINETAIL_FEATURES=Copies,Compressed`, or `all`.
const ON: &[Feature] = &ALL;

const ALL: [Feature; 7] = [
    Feature::SameFolder,
    Feature::Copies,
    Feature::KeptHead,
    Feature::SameSize,
    Feature::Compressed,
    Feature::SeenCounted,
    Feature::CompressedRead,
];

thread_local! {
    static ARE_ALL_ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether everything is on in this thread, whatever else is said.
pub(crate) fn set_all(are_on: bool) {
    ARE_ALL_ON.set(are_on);
}

/// Whether it is tested.
pub(crate) fn is_on(feature: Feature) -> bool {
    static TRIED: OnceLock<Vec<Feature>> = OnceLock::new();
    ARE_ALL_ON.get() || ON.contains(&feature) || TRIED.get_or_init(tried).contains(&feature)
}

fn tried() -> Vec<Feature> {
    let Ok(names) = env::var("KINETAIL_FEATURES") else { return Vec::new() };
    let is_named = |feature: &Feature| names.split(',').any(|name| name == "all" || name == format!("{feature:?}"));
    ALL.into_iter().filter(is_named).collect()
}
