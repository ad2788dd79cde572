//! Which of the two copies of the store is used, from what each of them says and what is known to have been written.
//!
//! | sled | snapshot | `written` | |
//! | --- | --- | --- | --- |
//! | of a later version, or the snapshot, or `written` | | | refused |
//! | good, and not older than the snapshot | any | | sled; rolled back when `written` knows of later commits |
//! | anything else | good | | the snapshot; rolled back unless it surely has the last commit |
//! | nothing there, or nothing in it | none | never | a new store |
//! | damaged | none | never | a new store: no commit was ever done |
//! | anything else | | | refused |

use super::written::Written;

/// What one copy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// It is not there.
    Missing,
    /// Nothing was ever committed to it.
    Empty,
    /// It is what this generation has left. Version 2 counted none: 0.
    Good(u64),
    /// It cannot be used.
    Damaged(String),
    /// It is of this later version.
    Later(u32),
}

impl Copy {
    fn generation(&self) -> Option<u64> {
        if let Self::Good(generation) = self { Some(*generation) } else { None }
    }
}

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Sled's folder.
    Store,
    /// The snapshot.
    Snapshot,
    /// Nothing: all begins anew.
    Nothing,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) source: Source,
    /// From which the store counts on: above all that were ever written, if some of these are lost.
    pub(super) generation: u64,
    /// There may have been later commits than what is used has.
    pub(super) is_rolled_back: bool,
    /// What is wrong with sled's folder, if anything is.
    pub(super) trouble: Option<String>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A later version.
    Later(u32),
    /// Nothing can be read, though there was something.
    Unreadable(String),
}

pub(super) fn decide(sled: &Copy, snapshot: &Copy, written: Written) -> Result<Decision, Refusal> {
    if let Some(version) = later(sled, snapshot, written) {
        return Err(Refusal::Later(version));
    }
    let known = [sled.generation(), snapshot.generation(), written.generation()].into_iter().flatten().max().unwrap_or_default();
    let used = |source, generation: u64, is_rolled_back, trouble| {
        let generation = if is_rolled_back { known.saturating_add(1) } else { generation.max(1) };
        Ok(Decision { source, generation, is_rolled_back, trouble })
    };
    match (sled.generation(), snapshot.generation()) {
        (Some(generation), of_snapshot) if of_snapshot.is_none_or(|of_snapshot| generation >= of_snapshot) => {
            let is_rolled_back = known > generation;
            let trouble = is_rolled_back.then(|| lacks(known - generation));
            used(Source::Store, generation, is_rolled_back, trouble)
        }
        (_, Some(generation)) => {
            let is_last = matches!(written, Written::Exactly(last) if last <= generation);
            used(Source::Snapshot, generation, !is_last, Some(trouble(sled, known)))
        }
        (_, None) if written == Written::Never && *snapshot == Copy::Missing => {
            let trouble = matches!(sled, Copy::Damaged(_)).then(|| trouble(sled, known));
            Ok(Decision { source: Source::Nothing, generation: 0, is_rolled_back: false, trouble })
        }
        (_, None) => {
            let of_snapshot = match snapshot {
                Copy::Damaged(what) => format!("nor can its snapshot: {what}"),
                _ => "and there is no snapshot of it".to_owned(),
            };
            Err(Refusal::Unreadable(format!("{}, {of_snapshot}", trouble(sled, known))))
        }
    }
}

fn later(sled: &Copy, snapshot: &Copy, written: Written) -> Option<u32> {
    let of_copies =
        [sled, snapshot].into_iter().find_map(|copy| if let Copy::Later(version) = copy { Some(*version) } else { None });
    if let Written::Later(version) = written { Some(version) } else { of_copies }
}

fn trouble(sled: &Copy, known: u64) -> String {
    match sled {
        Copy::Missing => "its folder is missing".to_owned(),
        Copy::Damaged(what) => what.clone(),
        Copy::Good(generation) => lacks(known.saturating_sub(*generation)),
        Copy::Empty | Copy::Later(_) => "there is nothing in it, though it was written before".to_owned(),
    }
}

fn lacks(commit_count: u64) -> String {
    format!("it lacks the last commits, {commit_count} of them")
}

#[cfg(test)]
mod tests {
    use super::Copy::{Damaged, Empty, Good, Later, Missing};
    use super::Written::{AtLeast, Exactly, Never, Somewhat};
    use super::*;

    fn damaged() -> Copy {
        Damaged("damaged".to_owned())
    }

    #[test]
    fn the_best_that_is_there_is_used() {
        use Source::{Nothing, Snapshot, Store};
        for (sled, snapshot, written, source, generation, is_rolled_back, is_in_trouble) in [
            // A first start, and one that did not get far.
            (Missing, Missing, Never, Nothing, 0, false, false),
            (Empty, Missing, Never, Nothing, 0, false, false),
            (damaged(), Missing, Never, Nothing, 0, false, true),
            // All is well.
            (Good(7), Missing, Exactly(7), Store, 7, false, false),
            (Good(7), Good(5), Exactly(7), Store, 7, false, false),
            (Good(7), Good(7), AtLeast(6), Store, 7, false, false),
            (Good(7), damaged(), Somewhat, Store, 7, false, false),
            (Good(7), Good(7), Never, Store, 7, false, false),
            // Version 2.
            (Good(0), Missing, Somewhat, Store, 1, false, false),
            (Good(0), Missing, Never, Store, 1, false, false),
            // Sled has lost commits.
            (Good(7), Good(5), Exactly(9), Store, 10, true, true),
            (Good(7), Good(7), AtLeast(9), Store, 10, true, true),
            (Good(7), Good(9), Exactly(9), Snapshot, 9, false, true),
            (Good(7), Good(9), AtLeast(9), Snapshot, 10, true, true),
            (Good(7), Good(8), Exactly(9), Snapshot, 10, true, true),
            // It has lost everything.
            (Missing, Good(9), Exactly(9), Snapshot, 9, false, true),
            (Empty, Good(9), Exactly(8), Snapshot, 9, false, true),
            (damaged(), Good(9), Exactly(9), Snapshot, 9, false, true),
            (damaged(), Good(9), Exactly(10), Snapshot, 11, true, true),
            (damaged(), Good(9), AtLeast(9), Snapshot, 10, true, true),
            (damaged(), Good(9), Somewhat, Snapshot, 10, true, true),
            (damaged(), Good(9), Never, Snapshot, 10, true, true),
        ] {
            let decision = decide(&sled, &snapshot, written).unwrap();
            let is = (decision.source, decision.generation, decision.is_rolled_back, decision.trouble.is_some());
            assert_eq!(is, (source, generation, is_rolled_back, is_in_trouble), "{sled:?}, {snapshot:?}, {written:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (sled, snapshot, written, what) in [
            (Missing, Missing, Somewhat, "its folder is missing, and there is no snapshot of it"),
            (Empty, Missing, Exactly(3), "there is nothing in it, though it was written before, and there is no snapshot of it"),
            (damaged(), Missing, AtLeast(3), "damaged, and there is no snapshot of it"),
            (damaged(), damaged(), Exactly(3), "damaged, nor can its snapshot: damaged"),
            (Missing, damaged(), Never, "its folder is missing, nor can its snapshot: damaged"),
            (Empty, damaged(), Never, "there is nothing in it, though it was written before, nor can its snapshot: damaged"),
        ] {
            assert_eq!(decide(&sled, &snapshot, written), Err(Refusal::Unreadable(what.to_owned())));
        }
    }

    #[test]
    fn what_is_of_a_later_version_is_refused_whatever_else_is_there() {
        for (sled, snapshot, written) in [
            (Later(4), Good(3), Exactly(3)),
            (Good(3), Later(4), Exactly(3)),
            (damaged(), Good(3), Written::Later(4)),
            (Missing, Missing, Written::Later(4)),
        ] {
            assert_eq!(decide(&sled, &snapshot, written), Err(Refusal::Later(4)));
        }
    }
}
