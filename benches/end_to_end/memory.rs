//! What an outage takes while a long backlog waits: no more than is configured.

use std::fs::{self, File};
use std::io::{Write as _, copy};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::access::long_access;
use crate::blackhole::{Blackhole, Mood, Settings, Telling};
use crate::choice::Choice;
use crate::common::{PATIENCE, Place};
use crate::host::pause;
use crate::input::Input;
use crate::run::configure;
use crate::usage::memory_mib;

const FLOW: &str = "[flow.kinesis]\nstream = \"bench\"";
/// In MiB; the default is the first.
const MEMORY_MAXES: [u32; 2] = [64, 32];
/// What the program takes beside that, in MiB.
const BESIDE: u32 = 16;
const WAYS: [(&str, Mood); 3] = [("nobody listens", Mood::Refused), ("no answer", Mood::Silent), ("answers 500", Mood::Failing)];
const FILES: usize = 10;

/// Files in a folder of their own, which is removed with it.
struct Backlog(PathBuf);

/// How long what is watched lasts.
struct Times {
    /// Before the outage.
    before: Duration,
    dark: Duration,
    /// From the first answer on.
    after: Duration,
}

pub(crate) fn measure(choice: &Choice) {
    let backlog = Backlog::new(&Input::new(choice.full_or_quick(1 << 30, 512 << 10), 1));
    let (full, quick) = ((2_000, 60_000, 10_000), (100, 300, 100));
    let (before, dark, after) = choice.full_or_quick(full, quick);
    let [before, dark, after] = [before, dark, after].map(Duration::from_millis);
    println!(
        "| memory_max | the service | dark: VmRSS MiB | RssAnon | VmHWM | after: VmRSS | VmHWM | aim | kept | records after |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |");
    for memory_max in MEMORY_MAXES {
        for (name, mood) in WAYS.into_iter().filter(|(name, _)| choice.has_case(name)) {
            outage(&backlog, memory_max, name, mood, &Times { before, dark, after });
        }
    }
}

fn outage(backlog: &Backlog, memory_max: u32, name: &str, mood: Mood, times: &Times) {
    let place = Place::new();
    let settings = Settings { shard_count: 1_024, latency: Duration::ZERO, telling: Telling::Nothing };
    let mut blackhole = Blackhole::start(settings);
    let agent = format!("admin = \"off\"\nmemory_max = \"{memory_max} MiB\"");
    configure(&place, &blackhole, &agent, backlog.0.join("*.log").to_str().unwrap(), FLOW);
    let agent = place.run(&[]);
    // The most of what it has at any moment, and its own account of the most.
    let most_for = |time: Duration| {
        let end = Instant::now() + time;
        let mut most: [f64; 2] = [0.0; 2];
        while Instant::now() < end {
            let current = ["VmRSS:", "RssAnon:"].map(|name| memory_mib(&agent, name));
            most = [0, 1].map(|figure| most[figure].max(current[figure]));
            pause(Duration::from_millis(20));
        }
        // The kernel brings its account up to date now and then.
        (most, memory_mib(&agent, "VmHWM:").max(most[0]))
    };
    most_for(times.before);
    blackhole.set_mood(mood);
    let ([dark, dark_anonymous], dark_peak) = most_for(times.dark);
    let before = blackhole.tally();
    blackhole.set_mood(Mood::Bright);
    let deadline = Instant::now() + PATIENCE;
    while blackhole.tally().request_count == before.request_count {
        assert!(Instant::now() < deadline, "nothing comes after an outage:\n{}", agent.stderr());
        pause(Duration::from_millis(20));
    }
    let ([after, _], after_peak) = most_for(times.after);
    let record_count = blackhole.tally().record_count - before.record_count;
    let aim = memory_max + BESIDE;
    let is_kept = if after_peak <= f64::from(aim) { "yes" } else { "**no**" };
    println!(
        "| {memory_max} MiB | {name} | {dark:.1} | {dark_anonymous:.1} | {dark_peak:.1} | {after:.1} | {after_peak:.1} | {aim} | \
         {is_kept} | {record_count} |"
    );
}

impl Backlog {
    /// Files with the content of `input`, each behind lines of its own: else they would be taken for copies of one file.
    fn new(input: &Input) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("outage");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let backlog = Self(folder);
        for index in 0..FILES {
            let mut random = fastrand::Rng::with_seed(100 + index as u64);
            let mut head = String::new();
            for _ in 0..100 {
                long_access(&mut random, &mut head);
                head.push('\n');
            }
            let mut file = File::create(backlog.0.join(format!("access-{index}.log"))).unwrap();
            file.write_all(head.as_bytes()).unwrap();
            copy(&mut File::open(input.first_file()).unwrap(), &mut file).unwrap();
        }
        backlog
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        // What is left is removed by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}
