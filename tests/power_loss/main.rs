//! A host that loses power: what of the state folder was not flushed is lost, in whole or in part, in whatever order.
//!
//! The agent runs with a library before the C library that writes down what is done to the state folder. From that the folder is
//! rebuilt as a disk may have it that has lost power, for many moments and in many ways, and opened. Always it opens; what it says
//! is settled was stored; and of what was stored and is not settled it says where to look. After some losses of power, each time
//! with what was left of the state folder, every line is in the stream.
//!
//! `KINETAIL_LONG=1` looks at every moment, in ten ways each; `KINETAIL_TEST_SEED=1234` repeats the decisions of a run, though not
//! what the clock makes of them.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "../crash/balance.rs"]
mod balance;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod ledger;
#[path = "../crash/network.rs"]
mod network;
#[path = "../crash/program.rs"]
mod program;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kinetail::offsets::{Offsets, OpenError, read_with};
use kinetail::span::FileKey;
use md5::{Digest as _, Md5};
use tempfile::TempDir;

use balance::Balance;
use common::{Agent, Kinesis, PATIENCE, Place, installed};
use disk::{Disk, Luck, OfContent, OfNames};
use ledger::{Found, Ledger};
use network::{Network, Reading, monotonic};
use program::Program;
use recorder::{Event, What};

/// Requests arrive half of it after their sender has died, at the latest.
const SETTLE: Duration = Duration::from_millis(400);
/// `attempt_timeout`
const ATTEMPT: Duration = Duration::from_secs(1);
/// How often power is lost.
const LOSS_COUNT: usize = 4;
/// How many lines are written meanwhile.
const LINES_PER_LIFE: usize = 1_000;
/// How long states are tried in an ordinary test run.
const TRYING: Duration = Duration::from_secs(15);
/// In a long one, how often each of two threads tries every moment.
const LONG_TURNS: usize = 5;

/// One life of an agent: the disk as it was before, and what was done to it.
struct Recording {
    before: Disk,
    events: Vec<Event>,
}

/// Whatever is lost with the power, the store opens and knows what a restart has to know.
#[test]
fn a_store_that_has_lost_power_knows_what_a_restart_has_to_know() {
    let Some(shim) = installed::or_skip("power_loss", recorder::compile()) else { return };
    let seed = std::env::var("KINETAIL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    say(&format!("power loss: KINETAIL_TEST_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let kinesis = Kinesis::with_stream("s", 2);
    let network = Network::start(&kinesis, Reading::Allowed, SETTLE, random.fork(), Arc::default());
    let place = Arc::new(Place::in_memory());
    configure(&place, &network, &mut random);
    fs::create_dir(place.state()).unwrap();
    let (mut written, mut gone, mut recordings, mut diary) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
    let mut ledger = Ledger::default();
    for turn in 0..=LOSS_COUNT {
        let program = Program::start(&format!("p{turn}"), Arc::clone(&place), random.fork());
        program.say(LINES_PER_LIFE);
        recordings.push(match turn {
            0 => record_an_orderly_life(&place, &shim, &mut diary),
            _ => record_until_power_is_lost(&place, &shim, &mut random, &mut diary),
        });
        written.extend(program.stop());
        if turn > 0 {
            lose_ends_of_logs(&place, &mut random, &mut gone, &mut ledger, &mut diary);
        }
    }
    network.calm();
    diary.push(place.ship_once().stderr);
    let balance = Balance::of(&written, &gone, &kinesis, "s");
    let is_well = balance.nothing_is_lost() && balance.doubled_count == 0;
    assert!(is_well, "KINETAIL_TEST_SEED={seed}\n{}\n{}", balance.report(), diary.join("\n"));
    ledger.enter(network.take_stored());

    listen_to_panics();
    read_with(Path::new(env!("CARGO_BIN_EXE_kinetail")));
    let begun = Instant::now();
    let outcomes = try_states(&recordings, &ledger, &mut random);
    let event_count: usize = recordings.iter().map(|recording| recording.events.len()).sum();
    let Outcomes { true_count, as_at_first_count, rolled_back_count, failures, more_failures_count } = outcomes;
    let failure_count = failures.len() as u64 + more_failures_count;
    say(&format!(
        "power loss: {} of {} lines too often after {LOSS_COUNT} losses; of {event_count} moments {} states tried in {:?}: \
         {true_count} are well, {as_at_first_count} as at a first start, {rolled_back_count} rolled back, {failure_count} are not well",
        balance.doubled_count,
        balance.line_count,
        true_count + as_at_first_count + rolled_back_count + failure_count,
        begun.elapsed(),
    ));
    assert!(failure_count == 0, "KINETAIL_TEST_SEED={seed}, {failure_count} states are not well\n{}", failures.join("\n"));
}

fn configure(place: &Place, network: &Network, random: &mut fastrand::Rng) {
    let agent = format!("settle = \"{} ms\"\nread_back = \"auto\"\ndrain_timeout = \"1 s\"", SETTLE.as_millis());
    let aws = format!("endpoints.kinesis = {:?}\nattempt_timeout = \"{} s\"\n", network.url(), ATTEMPT.as_secs());
    let aggregate = ["kpl", "lines", "none"][random.usize(..3)];
    let flow = "[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*\"]\n[flow.kinesis]\nstream = \"s\"\nmax_delay = \"20 ms\"\n";
    place.configure_all(&agent, &aws, &format!("{flow}aggregate = \"{aggregate}\"\n"));
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn start(place: &Place, shim: &Path, log: &Path) -> Agent {
    let state = place.state();
    let [shim, state, log] = [shim, &state, log].map(|path| path.to_str().unwrap());
    place.run_with(&[], &[("LD_PRELOAD", shim), ("KINETAIL_SHIM_FOLDER", state), ("KINETAIL_SHIM_LOG", log)])
}

/// One life that ends in an orderly way, after which the folder is as it would be rebuilt with everything: so nothing that is
/// done to it is missed.
fn record_an_orderly_life(place: &Place, shim: &Path, diary: &mut Vec<String>) -> Recording {
    let (before, log) = (Disk::of(&place.state()), place.folder().join("shim-0.log"));
    let deadline = Instant::now() + Duration::from_secs(3);
    diary.push(start(place, shim, &log).run_until(deadline).expect("it has ended by itself").stop().stderr);
    let recording = Recording { before, events: recorder::read(&log) };
    let mut disk = recording.before.clone();
    recording.events.iter().for_each(|event| disk.take(event));
    let rebuilt = TempDir::new_in(place.folder()).unwrap();
    let all = Luck { of_content: OfContent::All, of_names: OfNames::All };
    disk.rebuild(rebuilt.path(), all, &mut fastrand::Rng::with_seed(0));
    let (actual, expected) = (contents(&place.state()), contents(rebuilt.path()));
    assert!(actual.keys().eq(expected.keys()), "{:?} is there, not {:?}", actual.keys(), expected.keys());
    assert!(actual == expected, "something was written that the library has missed");
    recording
}

/// One life that ends with the power, and what is found afterwards in place of the state folder.
fn record_until_power_is_lost(place: &Place, shim: &Path, random: &mut fastrand::Rng, diary: &mut Vec<String>) -> Recording {
    let (before, log) = (Disk::of(&place.state()), place.folder().join("shim.log"));
    let deadline = Instant::now() + Duration::from_millis(random.u64(500..4_000));
    let (ended, is_killed) = start(place, shim, &log).live_until(deadline);
    assert!(is_killed, "it has ended by itself:\n{}", ended.stderr);
    diary.push(ended.stderr);
    let recording = Recording { before, events: recorder::read(&log) };
    fs::remove_file(log).unwrap();
    let mut disk = recording.before.clone();
    recording.events.iter().for_each(|event| disk.take(event));
    fs::remove_dir_all(place.state()).unwrap();
    fs::create_dir(place.state()).unwrap();
    let luck = Luck::draw(random);
    disk.rebuild(&place.state(), luck, random);
    diary.push(format!("--- power lost, {luck:?}"));
    boot_again(&place.state());
    recording
}

/// What of the logs was not flushed is lost too: of some, lines behind what the state folder says is settled, which may have been
/// sent. When more is lost the agent takes the file for a new one.
fn lose_ends_of_logs(
    place: &Place,
    random: &mut fastrand::Rng,
    gone: &mut BTreeSet<String>,
    ledger: &mut Ledger,
    diary: &mut Vec<String>,
) {
    let mut settled: BTreeMap<u64, (FileKey, u64)> = BTreeMap::new();
    for (file, row) in Offsets::peek(&place.state()).unwrap().into_iter().flat_map(|peeked| peeked.rows) {
        let end = row.settled_above.iter().map(|(_, end)| *end).max().unwrap_or(row.watermark);
        if let Some(place) = row.identity.place {
            settled.insert(place.inode, (file, end));
        }
    }
    for (name, content) in contents(place.log("").as_path()) {
        let path = place.log(name.to_str().unwrap());
        let known = settled.get(&fs::metadata(&path).unwrap().ino());
        let settled = known.map_or(0, |(_, end)| usize::try_from(*end).unwrap()).min(content.len());
        let ends = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
        let ends: Vec<usize> = ends.filter(|end| *end >= settled).collect();
        if random.bool() || ends.is_empty() {
            continue;
        }
        let end = ends[random.usize(..ends.len())];
        if let Some((file, _)) = known {
            ledger.lost_end(*file, monotonic(), end.try_into().unwrap());
        }
        diary.push(format!("{} had {} bytes, of which {settled} are settled, and has {end}", path.display(), content.len()));
        gone.extend(String::from_utf8(content[end..].to_vec()).unwrap().lines().map(str::to_owned));
        File::options().write(true).open(path).unwrap().set_len(end.try_into().unwrap()).unwrap();
    }
}

/// What the agent knows a start of the machine by is in the file `written`, behind a name of 8 bytes and two numbers, as an MD5;
/// one of all of it follows. After a loss of power it is another.
fn boot_again(state: &Path) {
    let path = state.join("written");
    let Ok(mut bytes) = fs::read(&path) else { return };
    let Some((content, check)) = bytes.split_last_chunk_mut::<16>() else { return };
    // One that is damaged stays so. Zeros are of an orderly end.
    if Md5::digest(&*content).as_slice() == check && content.len() == 36 && content[20..] != [0; 16] {
        content[20..].fill(0xbb);
        check.copy_from_slice(&Md5::digest(&*content));
        fs::write(path, bytes).unwrap();
    }
}

/// All files below `folder` and what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                contents.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(path).unwrap());
            }
        }
    }
    contents
}

/// Rebuilds states and opens them, and returns how often what came of it.
fn try_states(recordings: &[Recording], ledger: &Ledger, random: &mut fastrand::Rng) -> Outcomes {
    let is_long = std::env::var_os("KINETAIL_LONG").is_some();
    let begun = Instant::now();
    let outcomes = Mutex::new(Outcomes::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (mut random, outcomes) = (random.fork(), &outcomes);
            scope.spawn(move || {
                // In an ordinary test run turns are short, and as many as there is time for.
                let mut turn = 0;
                while if is_long { turn < LONG_TURNS } else { begun.elapsed() < TRYING } {
                    turn += 1;
                    for recording in recordings {
                        try_moments(recording, ledger, is_long, &mut random, outcomes);
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// Tries every moment of a recording, or some.
fn try_moments(recording: &Recording, ledger: &Ledger, is_each: bool, random: &mut fastrand::Rng, outcomes: &Mutex<Outcomes>) {
    let mut disk = recording.before.clone();
    let probability = 3.0 / recording.events.len() as f64;
    for (index, event) in recording.events.iter().enumerate() {
        disk.take(event);
        let is_flushed = matches!(event.what, What::FlushEnds { .. });
        if !is_each && random.f64() >= probability * if is_flushed { 3.0 } else { 1.0 } {
            continue;
        }
        let until = recording.events.get(index + 1).map_or(event.at, |next| next.at);
        let luck = Luck::draw(random);
        let dice = random.fork();
        let rebuilt = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        disk.rebuild(rebuilt.path(), luck, &mut dice.clone());
        boot_again(rebuilt.path());
        let outcome = try_state(rebuilt.path(), ledger, event.at, until);
        let mut outcomes = outcomes.lock().unwrap();
        match outcome {
            Ok(Outcome::AsAtFirst) => outcomes.as_at_first_count += 1,
            Ok(Outcome::True) => outcomes.true_count += 1,
            Ok(Outcome::RolledBack) => outcomes.rolled_back_count += 1,
            Err(_) if outcomes.failures.len() >= FAILURES_TOLD => outcomes.more_failures_count += 1,
            Err(why) => {
                // As it was before it was opened.
                let kept = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
                disk.rebuild(&kept, luck, &mut dice.clone());
                boot_again(&kept);
                let what = format!("event {index} of {}, {}", recording.events.len(), event.what);
                let kept = kept.display();
                outcomes.failures.push(format!("power lost behind {what}, {luck:?}:\n{why}\nthe state folder is kept: {kept}\n"));
            }
        }
    }
}

/// What came of opening states.
#[derive(Debug, Default)]
struct Outcomes {
    true_count: u64,
    as_at_first_count: u64,
    rolled_back_count: u64,
    failures: Vec<String>,
    more_failures_count: u64,
}

/// So many are told.
const FAILURES_TOLD: usize = 10;

/// What comes of opening a state that is not wrong.
enum Outcome {
    /// What it says is true, and enough.
    True,
    /// It says nothing, and nothing was sent.
    AsAtFirst,
    /// It says that it lacks commits.
    RolledBack,
}

/// What comes of opening a state folder that has got something last at `last` and lost power before `until`.
fn try_state(state: &Path, ledger: &Ledger, last: Duration, until: Duration) -> Result<Outcome, String> {
    let (to, from) = mpsc::sync_channel(1);
    let folder = state.to_owned();
    // Beside this thread, because there may be no end to it.
    thread::spawn(move || _ = to.send(panic::catch_unwind(|| look(&folder))));
    let found = from.recv_timeout(PATIENCE).map_err(|_| format!("it is not open after {PATIENCE:?}"))?;
    // Of threads of sled's too.
    let panics = std::mem::take(&mut *PANICS.lock().unwrap());
    if !panics.is_empty() {
        return Err(panics.join("\n"));
    }
    let found = found.map_err(|_| "it has panicked".to_owned())??;
    if found.is_rolled_back {
        return Ok(Outcome::RolledBack);
    }
    if found.is_nothing() {
        return match ledger.is_something_stored(until) {
            true => Err("there is nothing in it, and something was sent".to_owned()),
            false => Ok(Outcome::AsAtFirst),
        };
    }
    let wrong = ledger.contradictions(&found, last, until, ATTEMPT);
    if wrong.is_empty() { Ok(Outcome::True) } else { Err(wrong.join("\n")) }
}

fn look(state: &Path) -> Result<Found, String> {
    let told = |error: OpenError| format!("{error} {:?}", error.source());
    let store = Offsets::open(state).map_err(told)?;
    let (rows, sendings) = (store.load().map_err(told)?, store.sendings().map_err(told)?);
    let is_rolled_back = store.is_rolled_back().map_err(told)?;
    Ok(Found { rows, sendings, started_flow_count: store.started_flows().map_err(told)?.len(), is_rolled_back })
}

/// What threads have said that have panicked.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Listens to threads that panic.
fn listen_to_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panicked.to_string());
        before(panicked);
    }));
}
