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
