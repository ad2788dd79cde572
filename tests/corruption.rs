//! State folders that a disk, a power cut or somebody's hand has damaged: kinetail goes on with what some commit has left, and
//! says so when that may not be the last, or it refuses to start. It does not panic, hang, or take nothing for good.
//!
//! `KINETAIL_LONG=1` for every byte of every file; else a part of them.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, thread};

use kinetail::offsets::{Changes, Content, Identity, Offsets, OpenError, Row, RunKey, Sending, Source, read_with};
use kinetail::span::FileKey;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use common::{Kinesis, Place, lines, verify};

const STORE: &str = "offsets";
const SNAPSHOT: &str = "snapshot";
/// How many commits a store has of which every byte is damaged.
const FEW: usize = 9;
/// And one of which sled has used parts again, and keeps others in files of their own.
const MANY: usize = 700;

/// As the agent does, and so that no panic of sled's ends the test.
fn read_as_the_agent() {
    read_with(Path::new(env!("CARGO_BIN_EXE_kinetail")));
}

/// Where commits cost little.
fn folder_in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Some lives of files, one of which is settled in many pieces now and then, a run that sends, and one that is over.
fn changes(commit: u64) -> Changes {
    let (flow, path) = ("access".to_owned(), format!("/var/log/{}.log", commit % 3));
    let pieces = if commit % 100 == 99 { 5_000 } else { 1 };
    let settled_above = (0..pieces).map(|piece| ((commit + piece) * 100, (commit + piece) * 100 + 50)).collect();
    let row = Row { flow: flow.clone(), path, identity: Identity::default(), gone_at: None, watermark: commit, settled_above };
    let run = |run_id: u64| RunKey { run_id: run_id.into(), flow: flow.clone() };
    let sending = Sending {
        stream: Some("s".to_owned()),
        marked_at_ms: i64::try_from(commit).unwrap(),
        in_flight_since_ms: None,
        in_flight_record_count: commit,
        sent_record_count: commit * 10,
    };
    Changes {
        rows: vec![(FileKey(commit % 3), row.clone()), (FileKey(100 + commit), row)],
        removed: commit.checked_sub(4).map(|gone| FileKey(100 + gone)).into_iter().collect(),
        started_flows: (commit == 2).then(|| flow.clone()).into_iter().collect(),
        sendings: vec![(run(commit / 4), sending)],
        reconciled: (commit.is_multiple_of(4) && commit > 0).then(|| run(commit / 4 - 1)).into_iter().collect(),
        ..Changes::default()
    }
}

/// A state folder, and what was committed to it.
struct Base {
    folder: TempDir,
    committed: Vec<Content>,
}

impl Base {
    /// With so many commits, of which the snapshot has two thirds.
    fn new(commits: usize) -> Self {
        read_as_the_agent();
        let folder = folder_in_memory();
        let (state_dir, mut committed, mut snapshot) = (folder.path(), Vec::new(), Vec::new());
        let store = Offsets::open(state_dir).unwrap();
        for commit in 1..=commits {
            store.commit(&changes(commit as u64)).unwrap();
            committed.push(store.content().unwrap());
            if commit == in_snapshot(commits) {
                store.finish().unwrap();
                snapshot = fs::read(state_dir.join(SNAPSHOT)).unwrap();
            }
        }
        // What the process that is killed leaves.
        std::mem::forget(store);
        fs::write(state_dir.join(SNAPSHOT), snapshot).unwrap();
        let copy = folder_in_memory();
        copy_folder(state_dir, copy.path());
        Self { folder: copy, committed }
    }

    fn copied(&self) -> TempDir {
        let folder = folder_in_memory();
        copy_folder(self.folder.path(), folder.path());
        folder
    }

    /// The files of sled's, and what is in them.
    fn files_of_sled(&self) -> BTreeMap<String, Vec<u8>> {
        let folders = [STORE.to_owned(), format!("{STORE}/blobs")].map(|name| self.folder.path().join(name));
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned();
        entries.filter(|path| path.is_file()).map(|path| (name(&path), fs::read(&path).unwrap())).collect()
    }

    fn snapshot(&self) -> Vec<u8> {
        fs::read(self.folder.path().join(SNAPSHOT)).unwrap()
    }

    /// Opens the store in `state_dir`, a copy of this one that was damaged, and sees to it that what it says is true.
    fn check(&self, state_dir: &Path, what: &str) -> Outcome {
        let last = &self.committed[self.committed.len() - 1];
        let in_snapshot = &self.committed[in_snapshot(self.committed.len()) - 1];
        let store = match Offsets::open(state_dir) {
            Ok(store) => store,
            Err(OpenError::Malformed(..)) => return Outcome::Refused,
            Err(error) => panic!("{what}: {error:?}"),
        };
        let content = store.content().unwrap();
        let is_rolled_back = store.is_rolled_back().unwrap();
        let Some(recovered) = store.recovered() else {
            assert!(content == *last && !is_rolled_back, "{what}: {content:?}");
            return Outcome::Unchanged;
        };
        assert_eq!(recovered.is_rolled_back, is_rolled_back, "{what}");
        assert!(recovered.set_aside.as_ref().is_none_or(|path| path.exists()), "{what}");
        match recovered.source {
            Source::Store => assert!(self.committed.contains(&content), "{what}: {content:?}"),
            Source::Snapshot => assert!(content == *in_snapshot, "{what}: {content:?}"),
            Source::Nothing => panic!("{what}: {recovered:?}"),
        }
        assert!(content == *last || is_rolled_back, "{what}: {recovered:?}");
        Outcome::Recovered
    }
}

fn in_snapshot(commits: usize) -> usize {
    commits * 2 / 3
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unchanged,
    Recovered,
    Refused,
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What is done to one file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A byte is changed by XOR with this.
    Changed(usize, u8),
    /// The file ends here.
    CutOff(usize),
}

impl Damage {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Changed(index, mask) => bytes[index] ^= mask,
            Self::CutOff(length) => bytes.truncate(length),
        }
        bytes
    }

    /// The same, of a file of another length.
    fn within(self, length: usize) -> Self {
        match self {
            Self::Changed(index, mask) => Self::Changed(index % length, mask),
            Self::CutOff(index) => Self::CutOff(index % length),
        }
    }
}

/// All places in `bytes` at which something is written, and some of the zeros with which sled fills its file, each with both kinds
/// of damage. Of `wanted` the part that is to be had in short runs.
fn damages(bytes: &[u8], wanted: usize) -> Vec<Damage> {
    const ZEROS: usize = 64;
    let is_written = |index: usize| bytes[index.saturating_sub(ZEROS)..bytes.len().min(index + 1)].iter().any(|byte| *byte != 0);
    let places = (0..bytes.len()).filter(|index| is_written(*index) || index % 4096 == 0);
    let bit = |index: usize| 1 << (index % 8);
    let all: Vec<_> =
        places.flat_map(|at| [Damage::Changed(at, bit(at)), Damage::Changed(at, 0xFF), Damage::CutOff(at)]).collect();
    if is_long() {
        return all;
    }
    // An odd step meets every kind.
    let step = (all.len() / wanted).max(1) | 1;
    all.into_iter().step_by(step).collect()
}

fn is_long() -> bool {
    env::var_os("KINETAIL_LONG").is_some()
}

/// Checks all of these, on all cores, and says how they ended.
fn outcomes<T: Sync>(title: &str, cases: &[T], check: impl Fn(&T) -> Outcome + Sync) -> BTreeMap<Outcome, usize> {
    let (begin, next) = (Instant::now(), AtomicUsize::new(0));
    let work = || {
        let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            *outcomes.entry(check(case)).or_default() += 1;
        }
        outcomes
    };
    let outcomes = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all: BTreeMap<Outcome, usize> = BTreeMap::new();
        for (outcome, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *all.entry(outcome).or_default() += count;
        }
        all
    });
    eprintln!("{title}: {} cases, {outcomes:?}, {:.1?}", cases.len(), begin.elapsed());
    outcomes
}

/// Whatever becomes of sled's files, the snapshot is there.
#[test]
fn damage_to_the_store_is_mended() {
    let base = Base::new(FEW);
    for (name, bytes) in base.files_of_sled() {
        let cases = damages(&bytes, 40);
        let outcomes = outcomes(&name, &cases, |damage| {
            let folder = base.copied();
            fs::write(folder.path().join(&name), damage.of(&bytes)).unwrap();
            base.check(folder.path(), &format!("{name}, {damage:?}"))
        });
        assert!(!outcomes.contains_key(&Outcome::Refused), "{name}: {outcomes:?}");
        assert!(outcomes.contains_key(&Outcome::Recovered), "{name}: {outcomes:?}");
    }
}

/// Whatever becomes of the snapshot, the store is there.
#[test]
fn damage_to_the_snapshot_is_mended() {
    let base = Base::new(FEW);
    let bytes = base.snapshot();
    let outcomes = outcomes(SNAPSHOT, &damages(&bytes, 20), |damage| {
        let folder = base.copied();
        fs::write(folder.path().join(SNAPSHOT), damage.of(&bytes)).unwrap();
        let outcome = base.check(folder.path(), &format!("{damage:?}"));
        assert!(fs::read(folder.path().join(SNAPSHOT)).unwrap() != damage.of(&bytes), "{damage:?}");
        outcome
    });
    assert_eq!(outcomes.into_keys().collect::<Vec<_>>(), [Outcome::Unchanged]);
}

/// With neither, what is left is not touched, and nothing begins anew.
#[test]
fn damage_to_both_is_refused_or_harmless() {
    let base = Base::new(FEW);
    let snapshot = base.snapshot();
    for (name, bytes) in base.files_of_sled() {
        let cases = damages(&bytes, 30);
        let outcomes = outcomes(&format!("{name} and {SNAPSHOT}"), &cases, |damage| {
            let folder = base.copied();
            fs::write(folder.path().join(&name), damage.of(&bytes)).unwrap();
            fs::write(folder.path().join(SNAPSHOT), damage.within(snapshot.len()).of(&snapshot)).unwrap();
            let outcome = base.check(folder.path(), &format!("{name}, {damage:?}"));
            if outcome == Outcome::Refused {
                assert_eq!(fs::read(folder.path().join(&name)).unwrap(), damage.of(&bytes));
            }
            outcome
        });
        assert!(!name.ends_with("db") || outcomes.contains_key(&Outcome::Refused), "{name}: {outcomes:?}");
    }
}

/// Files that are gone, or something else than files, or endless.
#[test]
fn whatever_is_in_the_folder_the_store_opens() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 6] = [
        ("gone", |_| {}),
        ("empty", |path| drop(File::create(path).unwrap())),
        ("zeros", |path| fs::write(path, [0; 8192]).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a pipe", |path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()),
        ("endless", |path| File::create(path).unwrap().set_len(1 << 42).unwrap()),
    ];
    let base = Base::new(FEW);
    let mut names: Vec<String> = base.files_of_sled().into_keys().collect();
    names.extend([STORE, SNAPSHOT, "written"].map(str::to_owned));
    let cases: Vec<_> = names.iter().flat_map(|name| spoils.iter().map(move |spoil| (name, spoil))).collect();
    let outcomes = outcomes("whole files", &cases, |(name, (how, spoil))| {
        let folder = base.copied();
        let path = folder.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        spoil(&path);
        // What is in the way of a file of ours is not removed.
        if matches!((name.as_str(), *how), ("written" | SNAPSHOT, "a folder") | ("written", "a pipe")) {
            let error = Offsets::open(folder.path()).map(drop).unwrap_err();
            assert!(matches!(error, OpenError::Unreadable(..)), "{error:?}");
            return Outcome::Refused;
        }
        base.check(folder.path(), &format!("{name} is {how}"))
    });
    assert_eq!(outcomes.get(&Outcome::Refused), Some(&3), "{outcomes:?}");
}

/// Bytes that somebody has made up, in place of some that were written.
#[test]
fn scattered_damage_is_mended() {
    let base = Base::new(MANY);
    let files = base.files_of_sled();
    let seeds: Vec<u64> = (0..if is_long() { 5_000 } else { 20 }).collect();
    let outcomes = outcomes("scattered", &seeds, |seed| {
        let mut rng = fastrand::Rng::with_seed(*seed);
        let folder = base.copied();
        for (name, bytes) in &files {
            let mut bytes = bytes.clone();
            let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() + 1;
            for _ in 0..rng.usize(..4) {
                let start = rng.usize(..written);
                let end = (start + rng.usize(..200)).min(bytes.len());
                if bytes.is_empty() {
                    break;
                }
                match rng.u8(..3) {
                    0 => rng.fill(&mut bytes[start..end]),
                    1 => bytes[start..end].fill(0),
                    _ => {
                        let target = rng.usize(..=bytes.len() - (end - start));
                        bytes.copy_within(start..end, target);
                    }
                }
            }
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        base.check(folder.path(), &format!("seed {seed}"))
    });
    assert!(!outcomes.contains_key(&Outcome::Refused), "{outcomes:?}");
}

const FLOW: &str = r#"
[[flow]]
name = "f"
files = ["LOGS/*.log"]
[flow.kinesis]
stream = "s"
max_delay = "20 ms"
"#;

fn damage_all_of(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::write(&entry, vec![0xA5; usize::try_from(fs::metadata(&entry).unwrap().len()).unwrap()]).unwrap();
    }
}

fn set_aside(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().contains("offsets.damaged-")).collect()
}

/// The agent goes on from the snapshot of an orderly end, sends nothing twice, and says where the damaged store is.
#[test]
fn an_agent_whose_store_is_damaged_goes_on() {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    let (first, second) = (lines("first", 200), lines("second", 200));
    place.append("a.log", &first);
    assert!(!place.ship_once().stderr.contains("ERROR"));
    damage_all_of(&place.state().join(STORE));
    place.append("a.log", &second);
    let ended = place.ship_once();
    let told = ended.stderr.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(told.contains("the offset store is recovered from its snapshot, which has every commit"), "{told}");
    let [folder] = &set_aside(&place.state())[..] else { panic!("{:?}", set_aside(&place.state())) };
    assert!(told.contains(folder.to_str().unwrap()) && folder.join("db").exists(), "{told}");
    verify(&[first, second].concat(), &kinesis.received("s"));
    assert!(!place.ship_once().stderr.contains("recovered"));
}

/// Without a snapshot that can be read either, it does not start, says what decides that, and changes nothing.
#[test]
fn an_agent_that_can_read_neither_refuses_to_start() {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    place.append("a.log", &lines("a", 200));
    place.ship_once();
    damage_all_of(&place.state().join(STORE));
    fs::write(place.state().join(SNAPSHOT), "no snapshot").unwrap();
    let ended = place.run(&[]).wait();
    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
    for text in ["cannot be read", "`kinetail offsets import FILE`", "`kinetail offsets forget --all`"] {
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(set_aside(&place.state()), [] as [PathBuf; 0]);
    assert_eq!(fs::read(place.state().join(SNAPSHOT)).unwrap(), b"no snapshot");
}

/// Killed at any step of a commit or of a snapshot, the agent finds all that was committed.
#[test]
fn an_agent_that_is_killed_while_it_commits_finds_its_store() {
    // Others have no such places.
    if !cfg!(debug_assertions) {
        return;
    }
    let places =
        ["before_commit", "before_flush", "after_flush", "after_commit", "before_snapshot", "before_rename", "after_rename"];
    for (place_name, count) in places.iter().flat_map(|place_name| [(place_name, 1), (place_name, 2)]) {
        let kinesis = Kinesis::with_stream("s", 2);
        let place = Place::new();
        place.configure(&kinesis, FLOW);
        let sent = lines("a", 100);
        place.append("a.log", &sent);
        let config = place.config();
        let mut command = place.command(&["run", "--config", config.to_str().unwrap(), "--once"]);
        let ended = place.start(command.env("KINETAIL_FAILPOINT", format!("{place_name}:{count}"))).wait();
        assert!(ended.code.is_none() || count == 2, "{place_name} is not passed:\n{}", ended.stderr);
        let ended = place.ship_once();
        assert!(!ended.stderr.contains("ERROR"), "{place_name}:{count}\n{}", ended.stderr);
        let received = kinesis.received("s");
        assert!(sent.iter().all(|line| received.iter().any(|received| received.text() == *line)), "{place_name}:{count}");
    }
}
