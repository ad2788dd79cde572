//! Names, kinds, permissions and mounts of all sorts under a glob: none harms another, and no file is taken for another.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::common::{Agent, Kinesis, Stage, lines, skipped, verify, wait_until_or};

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// Starts an agent that may not read everything; none when that cannot be.
fn start_unprivileged(stage: &Stage, story: &str) -> Option<Agent> {
    let config = stage.place.config();
    let mut command = stage.place.command(&["run", "--config", config.to_str().unwrap()]);
    if rustix::process::geteuid().is_root() {
        // Root may read everything, so the agent runs as somebody else.
        if stage.place.command(&["--version"]).uid(NOBODY).gid(NOBODY).output().is_err() {
            skipped(story, "nobody else than root may run the binary");
            return None;
        }
        command.uid(NOBODY).gid(NOBODY);
        for path in [stage.place.folder(), &config] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        own_all(&stage.place.log(""));
    }
    stage.count_received();
    Some(stage.place.start(&mut command))
}

/// Everything in `folder`, and the folder, belongs to nobody.
fn own_all(folder: &Path) {
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => own_all(&entry.path()),
            kind if kind.is_file() => chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap(),
            _ => {}
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A folder, a symbolic link to a file, one to nothing, one to a device, a FIFO, a device and a file that may not be read
/// under a glob: what can be tailed is, the others are told of once each and counted, and none holds up the rest.
#[test]
fn what_is_no_readable_file_holds_nobody_up() {
    let mut stage = Stage::of("LOGS/*.log");
    let log = |name: &str| stage.place.log(name);
    fs::create_dir(log("folder.log")).unwrap();
    symlink(log("nowhere"), log("dangling.log")).unwrap();
    symlink("/dev/zero", log("zero.log")).unwrap();
    symlink(log("target.txt"), log("link.log")).unwrap();
    mknodat(CWD, log("pipe.log"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut problems = vec![
        ("folder.log", "directory", 1),
        ("dangling.log", "dangling_symlink", 1),
        ("zero.log", "not_a_file", 3),
        ("pipe.log", "not_a_file", 3),
        ("secret.log", "permission_denied", 1),
    ];
    let device = mknodat(CWD, log("device.log"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 5));
    match device {
        Ok(()) => problems.push(("device.log", "not_a_file", 3)),
        Err(_) => {
            skipped("a device", "only root may make one");
            problems.iter_mut().filter(|(_, reason, _)| *reason == "not_a_file").for_each(|(_, _, count)| *count = 2);
        }
    }
    stage.place.append("secret.log", &lines("secret", 10));
    set_mode(&stage.place.log("secret.log"), 0o000);
    stage.write("good.log", "good", 500);
    stage.write("target.txt", "behind a link", 500);
    let Some(agent) = start_unprivileged(&stage, "what_is_no_readable_file_holds_nobody_up") else { return };
    stage.settle(&agent);
    // A new file, a renamed link: the folder is looked through again, twice at least.
    stage.write("new.log", "new", 500);
    stage.settle(&agent);
    stage.rename("link.log", "another link.log");
    stage.write("target.txt", "behind another link", 500);
    stage.write("newer.log", "newer", 500);
    stage.settle(&agent);
    let figures = agent.figures();
    for (name, reason, count) in problems {
        let mentions = agent.stderr().lines().filter(|line| line.contains(name) && line.contains(reason)).count();
        assert_eq!(mentions, 1, "{name} in\n{}", agent.stderr());
        let counted = figures.sum_where("kinetail_file_problems_total", &format!("reason=\"{reason}\""));
        assert_eq!(counted, count, "{reason}");
    }
    agent.stop();
    verify(&stage.sent, &stage.kinesis.received("s"));
}

/// Permissions that are taken away while a file is tailed: it is open and goes on; a restart tells that it may not be read, and
/// goes on where it was when it may be again.
#[test]
fn permission_lost_in_the_middle() {
    let story = "permission_lost_in_the_middle";
    let mut stage = Stage::of("LOGS/**/*.log");
    let (file, folder) = (stage.place.log("a.log"), stage.place.log("folder"));
    for name in ["a.log", "folder/b.log", "good.log"] {
        stage.write(name, name, 500);
    }
    let [mut a, mut b] = ["a.log", "folder/b.log"].map(|name| File::options().append(true).open(stage.place.log(name)).unwrap());
    let text = |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let Some(agent) = start_unprivileged(&stage, story) else { return };
    stage.settle(&agent);
    set_mode(&file, 0o000);
    set_mode(&folder, 0o000);
    for (log, from) in [(&mut a, "a without permission"), (&mut b, "b without permission")] {
        let written = lines(from, 500);
        log.write_all(text(&written).as_bytes()).unwrap();
        stage.sent.extend(written);
    }
    // So that all is looked through again, and what was written there is noticed whatever notifications tell.
    stage.write("new.log", "new", 100);
    stage.settle(&agent);
    agent.stop();

    let later = ["a later", "b later"].map(|from| lines(from, 500));
    a.write_all(text(&later[0]).as_bytes()).unwrap();
    b.write_all(text(&later[1]).as_bytes()).unwrap();
    stage.write("good.log", "good later", 100);
    let Some(agent) = start_unprivileged(&stage, story) else { return };
    stage.settle(&agent);
    for name in ["a.log", "folder"] {
        let is_told = |line: &str| line.contains(name) && line.contains("permission_denied");
        wait_until_or("it is told", || agent.stderr().lines().any(is_told), || agent.stderr());
    }
    set_mode(&file, 0o600);
    set_mode(&folder, 0o700);
    // A permission that is given is not always notified of, a new file is.
    stage.write("newer.log", "newer", 100);
    stage.sent.extend(later.concat());
    stage.settle(&agent);
    assert_eq!(agent.figures().sum("kinetail_unreachable_bytes_total"), 0);
    agent.stop();
    // The next agent is that of whoever runs the tests.
    chown(stage.place.state(), Some(rustix::process::geteuid().as_raw()), None).unwrap();
    stage.verify_with_restart();
}

/// Names are bytes: those that are not UTF-8, and differ in such bytes only, are files of their own, also after a restart and
/// when they are handed on.
#[test]
fn names_that_are_not_utf_8() {
    let mut stage = Stage::of("LOGS/*.log");
    let log = |stage: &Stage, name: &[u8]| stage.place.log("").join(OsStr::from_bytes(name));
    let names: [&[u8]; 4] = [b"\xff.log", b"\xfe.log", b"caf\xe9 \xc3\xa9.log", b"new\nline\t\".log"];
    let write = |stage: &mut Stage, name: &[u8], from: &str, count: usize| {
        let written = lines(from, count);
        let text = written.iter().fold(String::new(), |text, line| text + line + "\n");
        let mut file = File::options().create(true).append(true).open(log(stage, name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        stage.sent.extend(written);
    };
    for (index, name) in names.iter().enumerate() {
        write(&mut stage, name, &format!("first {index}"), 100 + index);
    }
    let agent = stage.start();
    stage.settle(&agent);
    for (index, name) in names.iter().enumerate() {
        write(&mut stage, name, &format!("second {index}"), 100 + index);
    }
    stage.settle(&agent);
    agent.stop();
    for (index, name) in names.iter().enumerate() {
        write(&mut stage, name, &format!("third {index}"), 100 + index);
    }
    fs::rename(log(&stage, names[0]), log(&stage, b"\xfd.log")).unwrap();
    fs::rename(log(&stage, names[1]), log(&stage, names[0])).unwrap();
    write(&mut stage, names[1], "new", 50);
    let agent = stage.start();
    stage.settle(&agent);
    fs::rename(log(&stage, b"\xfd.log"), log(&stage, b"\xfc.log")).unwrap();
    write(&mut stage, b"\xfc.log", "renamed", 50);
    stage.finish(agent);
}

/// A symbolic link that is turned from file to file, as container runtimes do: each is read to its end, also when the link has
/// moved on, and while the agent is down.
#[test]
fn a_link_that_is_turned_to_another_file() {
    let mut stage = Stage::of("LOGS/current.log");
    let turn = |stage: &Stage, target: &str| {
        symlink(stage.place.log(target), stage.place.log("next")).unwrap();
        stage.rename("next", "current.log");
    };
    stage.write("data.0", "first", 500);
    turn(&stage, "data.0");
    let agent = stage.start();
    for round in 0..4 {
        stage.settle(&agent);
        let (old, new) = (format!("data.{round}"), format!("data.{}", round + 1));
        stage.write(&old, &format!("before {round}"), 5_000);
        stage.write(&new, &format!("new {round}"), 100);
        turn(&stage, &new);
        // Its writer has not noticed yet.
        stage.write(&old, &format!("behind {round}"), 500);
    }
    stage.settle(&agent);
    agent.stop();
    stage.write("data.5", "while it was down", 500);
    turn(&stage, "data.5");
    let agent = stage.start();
    stage.finish(agent);
}

/// Times of change before 1970, and in the far future, and going backwards: nothing is decided by them.
#[test]
fn times_of_change_that_jump() {
    let mut stage = Stage::of("LOGS/*.log");
    let (long_ago, far_future) =
        (SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 30), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33));
    let names = ["past.log", "future.log", "equal.log"];
    let times = [long_ago, far_future, SystemTime::UNIX_EPOCH];
    let set = |stage: &Stage, name: &str, time: SystemTime| {
        File::options().append(true).open(stage.place.log(name)).unwrap().set_modified(time).unwrap();
    };
    for round in 0..2 {
        let agent = stage.start();
        for step in 0..4 {
            for (index, name) in names.iter().enumerate() {
                stage.write(name, &format!("{name} {round} {step}"), 100);
                set(&stage, name, times[(index + step) % 3]);
            }
            stage.settle(&agent);
        }
        agent.stop();
        for (index, name) in names.iter().enumerate() {
            stage.write(name, &format!("{name} {round} between"), 100);
            set(&stage, name, times[(index + round + 1) % 3]);
        }
    }
    stage.verify_with_restart();
}

/// In a file of more than 4 GiB, beyond what 32 bits can count, lines are read where they are, also after a restart.
#[test]
fn more_than_4_gib() {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/*.log", "", "start_at = \"end\"");
    let path = stage.place.log("a.log");
    // A hole, which takes no place on the disk, and a newline.
    let mut file = File::create(&path).unwrap();
    if let Err(error) = file.seek(SeekFrom::Start((4 << 30) + 5)).and_then(|_| file.write_all(b"\n")) {
        return skipped("more_than_4_gib", &format!("this file system has no files so large: {error}"));
    }
    let agent = stage.start();
    stage.wait_tailed(&agent, 1);
    stage.write("a.log", "first", 1_000);
    stage.settle(&agent);
    agent.stop();
    stage.write("a.log", "while it was down", 1_000);
    let agent = stage.start();
    stage.settle(&agent);
    stage.write("a.log", "at last", 1_000);
    stage.settle(&agent);
    stage.rename("a.log", "b.log");
    stage.write("b.log", "renamed", 1_000);
    stage.finish(agent);
}

/// What is mounted at a path; taken away when dropped.
struct Mount {
    path: PathBuf,
}

impl Mount {
    /// None where the process may not mount.
    fn new(arguments: &[&OsStr], path: &Path) -> Option<Self> {
        let output = Command::new("mount").args(arguments).arg(path).output().ok()?;
        output.status.success().then(|| Self { path: path.to_owned() })
    }

    fn tmpfs(path: &Path) -> Option<Self> {
        Self::new(&["-t", "tmpfs", "none"].map(OsStr::new), path)
    }

    fn bind(folder: &Path, path: &Path) -> Option<Self> {
        Self::new(&[OsStr::new("--bind"), folder.as_os_str()], path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The agent has files open in it.
        let status = Command::new("umount").arg("--lazy").arg(&self.path).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking(), "cannot unmount {:?}", self.path);
    }
}

const NO_MOUNT: &str = "this process may not mount";

/// A folder that is unmounted for a while: its files are read on where they were when it is back, also what was written to them
/// meanwhile.
#[test]
fn unmounted_and_mounted_again() {
    let mut stage = Stage::of("LOGS/**/*.log");
    let store = stage.place.folder().join("store");
    fs::create_dir(&store).unwrap();
    let mounted = stage.place.log("mounted/a.log").parent().unwrap().to_owned();
    let Some(mut mount) = Mount::bind(&store, &mounted) else {
        return skipped("unmounted_and_mounted_again", NO_MOUNT);
    };
    let agent = stage.start();
    for round in 0..3 {
        stage.write("mounted/a.log", &format!("mounted {round}"), 500);
        stage.settle(&agent);
        drop(mount);
        // That all is looked through while it is not there is known by a new file that is found.
        stage.write(&format!("new {round}.log"), &format!("new {round}"), 10);
        stage.settle(&agent);
        stage.write("../store/a.log", &format!("not mounted {round}"), 500);
        mount = Mount::bind(&store, &mounted).unwrap();
        stage.write(&format!("newer {round}.log"), &format!("newer {round}"), 10);
        stage.settle(&agent);
    }
    agent.stop();
    drop(mount);
    // Nor is anything sent twice by a run that does not find it, and one that does.
    stage.place.ship_once();
    mount = Mount::bind(&store, &mounted).unwrap();
    stage.verify_with_restart();
    drop(mount);
}

/// Another file system in place of the one that was mounted, whose files have the names, the inodes, and perhaps the device
/// number of the others: they are other files, for an agent that runs and for one that is started.
#[test]
fn another_file_system_in_its_place() {
    let mut stage = Stage::of("LOGS/**/*.log");
    let mounted = stage.place.log("mounted/a.log").parent().unwrap().to_owned();
    let mount = || Mount::tmpfs(&mounted);
    let Some(mut mount_now) = mount() else {
        return skipped("another_file_system_in_its_place", NO_MOUNT);
    };
    let agent = stage.start();
    for round in 0..3 {
        stage.write("mounted/a.log", &format!("running {round}"), 100 + 50 * round);
        // A file system that comes is not always notified of.
        stage.write(&format!("new {round}.log"), &format!("new {round}"), 10);
        stage.settle(&agent);
        drop(mount_now);
        mount_now = mount().unwrap();
    }
    agent.stop();
    for round in 0..3 {
        drop(mount_now);
        mount_now = mount().unwrap();
        stage.write("mounted/a.log", &format!("down {round}"), 500 + 50 * round);
        stage.place.ship_once();
    }
    stage.verify_with_restart();
}
