//! The real logrotate rotates, the way it is configured on servers, under a writer at full speed: every line arrives, once.
//!
//! Where logrotate is not installed these stories are skipped, which is said; not so in CI.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;

use common::{Stage, Writer, skipped, texts, wait_until};

/// Rotations in each story. Fewer than are kept: what logrotate deletes is another story.
const ROTATIONS: usize = 4;

/// A glob that matches the log only, and one that matches what becomes of it, too.
const LIVE_ONLY: &str = "LOGS/app.log";
const ROTATED_TOO: &str = "LOGS/app.log*";

/// How the writer takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// It writes to the file that it has open until `postrotate` tells it to open the log anew, as daemons do.
    Reopens,
    /// It knows nothing of rotations, and holds its breath while logrotate is at work, so that nothing may be lost.
    Pauses,
    /// It knows nothing of rotations. What it writes between logrotate's copy and its truncation is lost by logrotate.
    GoesOn,
}

/// The program, or why there is none.
fn logrotate() -> Result<PathBuf, &'static str> {
    // Where it is may be left out of the path of those who are not root.
    let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    folders.split(':').map(|folder| Path::new(folder).join("logrotate")).find(|path| path.exists()).ok_or("there is no logrotate")
}

/// logrotate with `directives` for app.log, and what it keeps for itself in the place of `stage`.
struct Rotation {
    program: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Rotation {
    fn new(program: PathBuf, stage: &Stage, directives: &str, writing: Writing) -> Self {
        let folder = stage.place.folder();
        let (config, state) = (folder.join("logrotate.conf"), folder.join("logrotate.state"));
        let told = stage.told("app.log");
        let postrotate = match writing {
            Writing::Reopens => format!("postrotate\n: > '{}'\nendscript\n", told.display()),
            Writing::Pauses | Writing::GoesOn => String::new(),
        };
        let log = stage.place.log("app.log");
        fs::write(&config, format!("\"{}\" {{\nrotate 20\nmissingok\n{directives}\n{postrotate}}}\n", log.display())).unwrap();
        // What others may write to it does not trust.
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(stage.place.log(""), fs::Permissions::from_mode(0o755)).unwrap();
        Self { program, config, state }
    }

    fn run(&self) {
        let mut command = Command::new(&self.program);
        command.arg("--verbose").arg("--force").arg("--state").arg(&self.state).arg(&self.config);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Rotates by `directives` again and again under a writer at full speed.
fn check(story: &str, pattern: &str, directives: &str, writing: Writing) {
    let program = match logrotate() {
        Ok(program) => program,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("in CI this has to run: {why}"),
        Err(why) => return skipped(story, why),
    };
    let mut stage = Stage::of(pattern);
    let rotation = Rotation::new(program, &stage, directives, writing);
    let agent = stage.start();
    let writer = stage.writer("w", "app.log");
    for number in 0..ROTATIONS {
        stage.fill(&agent, "w", &writer);
        rotate(&rotation, &writer, writing);
        let rotated = rotated(&stage);
        assert!(rotated.len() > number, "logrotate did nothing, or twice the same: {rotated:?}");
        if directives.contains("dateext") {
            // Names have seconds: two rotations in one would have the same.
            let second = unix_second();
            wait_until("the next second", || unix_second() > second);
        }
    }
    let written = writer.stop();
    if writing == Writing::GoesOn {
        let files = rotated(&stage).into_iter().chain([stage.place.log("app.log")]);
        let kept: Vec<String> = files.flat_map(|path| texts(&content(&path))).collect();
        return stage.finish_kept(agent, &written, &kept);
    }
    stage.sent = written;
    stage.finish(agent);
}

fn rotate(rotation: &Rotation, writer: &Writer, writing: Writing) {
    let held = (writing == Writing::Pauses).then(|| writer.hold());
    rotation.run();
    drop(held);
    if writing == Writing::Reopens {
        writer.wait_reopened();
    }
}

fn unix_second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What app.log has become.
fn rotated(stage: &Stage) -> Vec<PathBuf> {
    let folder = fs::read_dir(stage.place.log("")).unwrap();
    folder.map(|entry| entry.unwrap().path()).filter(|path| *path != stage.place.log("app.log")).collect()
}

/// What is in a file, compressed or not.
fn content(path: &Path) -> String {
    let mut content = String::new();
    let mut file = File::open(path).unwrap();
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => GzDecoder::new(file).read_to_string(&mut content).unwrap(),
        false => file.read_to_string(&mut content).unwrap(),
    };
    content
}

/// A story: the words of it, its name, and its pattern, directives and writer.
macro_rules! stories {
    ($($(#[$attribute:meta])* $name:ident($pattern:expr, $directives:expr, $writing:expr);)*) => {
        $($(#[$attribute])* #[test] fn $name() {
            check(stringify!($name), $pattern, $directives, $writing);
        })*
    };
}

stories! {
    /// `create`: the log is renamed, and read to its end under a name that no glob matches.
    renamed_out_of_the_globs(LIVE_ONLY, "create", Writing::Reopens);

    /// `create`: the log is renamed to a name that matches, and renamed again at each rotation.
    renamed_within_the_globs(ROTATED_TOO, "create", Writing::Reopens);

    /// `dateext`: names that are given for good.
    dated(ROTATED_TOO, "create\ndateext\ndateformat -%Y%m%d-%s", Writing::Reopens);

    /// `copytruncate` under a writer that pauses meanwhile: nothing is lost.
    copied_out_of_the_globs(LIVE_ONLY, "copytruncate", Writing::Pauses);

    /// `copytruncate` under a writer that pauses meanwhile: nothing is lost, and copies that match double nothing.
    copied_within_the_globs(ROTATED_TOO, "copytruncate", Writing::Pauses);

    /// `copytruncate` under a writer that does not pause: what has arrived and what logrotate has lost, which is in no file,
    /// are what was written.
    copied_out_of_the_globs_under_a_writer_that_does_not_pause(LIVE_ONLY, "copytruncate", Writing::GoesOn);

    /// The same, with copies that match.
    copied_within_the_globs_under_a_writer_that_does_not_pause(ROTATED_TOO, "copytruncate", Writing::GoesOn);

    /// `compress`: the renamed log is compressed at once, and deleted. It is open, and read to its end.
    compressed_out_of_the_globs(LIVE_ONLY, "create\ncompress", Writing::Reopens);

    /// `compress`: compressed files that match are known by what is in them.
    compressed_within_the_globs(ROTATED_TOO, "create\ncompress", Writing::Reopens);

    /// `compress`, `delaycompress`: compressed at the next rotation.
    compressed_later_out_of_the_globs(LIVE_ONLY, "create\ncompress\ndelaycompress", Writing::Reopens);

    /// `compress`, `delaycompress`: compressed files that match are known by what is in them.
    compressed_later_within_the_globs(ROTATED_TOO, "create\ncompress\ndelaycompress", Writing::Reopens);

    /// `copytruncate`, `compress`: the copy is there for a moment only.
    copied_and_compressed(ROTATED_TOO, "copytruncate\ncompress", Writing::Pauses);

    /// `dateext`, `copytruncate`, `compress`, `delaycompress`, as many distributions have it.
    copied_dated_and_compressed_later(
        ROTATED_TOO, "copytruncate\ncompress\ndelaycompress\ndateext\ndateformat -%Y%m%d-%s", Writing::Pauses
    );
}
