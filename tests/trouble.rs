//! Bad input, a service that does not answer, mistakes of operators: said once and counted, nothing lost.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use kinetail::limits::{MEMORY_DEFAULT, MIB};

use common::{Agent, Ended, Kinesis, Place, lines, skipped, verify};

const FLOW: &str = r#"
[[flow]]
name = "f"
files = ["LOGS/*.log"]
[flow.kinesis]
stream = "s"
"#;

/// An agent of root would leave files that the service cannot open.
#[test]
fn a_state_folder_of_another_user_is_refused() {
    let (_kinesis, place) = stage();
    fs::create_dir(place.state()).unwrap();
    if chown(place.state(), Some(65_534), None).is_err() {
        return skipped("a_state_folder_of_another_user_is_refused", "only root gives folders away");
    }
    let refused = place.run(&["--once"]).wait();
    assert_eq!(refused.code, Some(77), "{}", refused.stderr);
    assert!(refused.stderr.contains("owner=65534"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(place.state()).unwrap().count(), 0);
}

fn stage() -> (Kinesis, Place) {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    (kinesis, place)
}

fn byte_count(lines: &[String]) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

fn mentions(agent: &Agent, text: &str) -> usize {
    agent.stderr().lines().filter(|line| line.contains(text)).count()
}

/// What matches and is no readable file is reported once, with its path and the reason, and counted; the
/// others go on.
#[test]
fn what_is_no_file_is_reported_once() {
    let (kinesis, place) = stage();
    fs::create_dir(place.log("folder.log")).unwrap();
    let _socket = UnixListener::bind(place.log("socket.log")).unwrap();
    symlink(place.log("nothing"), place.log("dangling.log")).unwrap();
    symlink(place.log("loop_b.log"), place.log("loop_a.log")).unwrap();
    symlink(place.log("loop_a.log"), place.log("loop_b.log")).unwrap();
    let mut sent = lines("good", 100);
    place.append("good.log", &sent);
    let agent = place.run(&[]);
    agent.wait_settled(byte_count(&sent));
    // A new file: the folder is looked through again.
    let new = lines("new", 100);
    place.append("new.log", &new);
    sent.extend(new);
    let figures = agent.wait_settled(byte_count(&sent));
    for (name, reason, count) in [
        ("folder.log", "directory", 1),
        ("socket.log", "not_a_file", 1),
        ("dangling.log", "dangling_symlink", 1),
        ("loop_a.log", "symlink_loop", 2),
        ("loop_b.log", "symlink_loop", 2),
    ] {
        assert_eq!(mentions(&agent, name), 1, "{name} in\n{}", agent.stderr());
        let problems = figures.sum_where("kinetail_file_problems_total", &format!("reason=\"{reason}\""));
        assert_eq!(problems, count, "{reason}");
    }
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// A file that may not be read is reported once, and is read when it may be.
#[test]
fn a_file_without_permission_is_read_when_it_has_it() {
    let (kinesis, place) = stage();
    let (secret, good) = (lines("secret", 10), lines("good", 10));
    place.append("secret.log", &secret);
    fs::set_permissions(place.log("secret.log"), fs::Permissions::from_mode(0o000)).unwrap();
    place.append("good.log", &good);
    let config = place.config();
    let mut command = place.command(&["run", "--config", config.to_str().unwrap()]);
    if rustix::process::geteuid().is_root() {
        // Root may read everything, so the agent runs as somebody else.
        if place.command(&["--version"]).uid(NOBODY).gid(NOBODY).output().is_err() {
            return skipped("a_file_without_permission_is_read_when_it_has_it", "nobody else than root may run the binary");
        }
        command.uid(NOBODY).gid(NOBODY);
        for path in [place.folder(), &place.log(""), &config, &place.log("secret.log"), &place.log("good.log")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let agent = place.start(&mut command);
    let figures = agent.wait_settled(byte_count(&good));
    assert_eq!(figures.sum_where("kinetail_file_problems_total", "reason=\"permission_denied\""), 1);
    assert_eq!(mentions(&agent, "secret.log"), 1, "{}", agent.stderr());
    fs::set_permissions(place.log("secret.log"), fs::Permissions::from_mode(0o400)).unwrap();
    let sent = [secret, good].concat();
    agent.wait_settled(byte_count(&sent));
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// A file that vanishes harms neither what was read of it nor the others.
#[test]
fn a_file_that_vanishes_harms_nobody() {
    let (kinesis, place) = stage();
    let mut sent = lines("short-lived", 500);
    place.append("short-lived.log", &sent);
    let agent = place.run(&[]);
    agent.wait_settled(byte_count(&sent));
    fs::remove_file(place.log("short-lived.log")).unwrap();
    let good = lines("good", 500);
    place.append("good.log", &good);
    sent.extend(good);
    agent.wait_settled(byte_count(&sent));
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// Without `[flow.parse]` the bytes of a line are nobody's business: invalid UTF-8 and NUL go as they are, and
/// an empty file is no trouble.
#[test]
fn any_bytes_arrive_as_they_are() {
    let (kinesis, place) = stage();
    let strange: [&[u8]; 4] = [b"\xff\xfe\x00\xc3", b"\0\0\0\0", b"\xf3\x89\x9a\xc2 as aggregates begin", b"\xe2\x82"];
    place.append_bytes("strange.log", &strange.map(|line| [line, b"\n"].concat()).concat());
    place.append_bytes("empty.log", b"");
    place.ship_once();
    let mut received: Vec<Vec<u8>> = kinesis.received("s").into_iter().map(|record| record.data).collect();
    received.sort_unstable();
    let mut expected = strange.map(<[u8]>::to_vec).to_vec();
    expected.sort_unstable();
    assert_eq!(received, expected);
}

/// In JSON, which knows only text, invalid UTF-8 becomes U+FFFD, and the line is counted.
#[test]
fn in_json_invalid_utf_8_is_replaced_and_counted() {
    let kinesis = Kinesis::with_stream("s", 1);
    let place = Place::new();
    place.configure(&kinesis, &FLOW.replace("[flow.kinesis]", "[flow.parse]\nregex = '(?s-u)^(?<all>.*)$'\n[flow.kinesis]"));
    place.append_bytes("a.log", b"caf\xe9\nfine\n");
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    let mut received: Vec<String> = kinesis.received("s").iter().map(common::Received::text).collect();
    received.sort_unstable();
    assert_eq!(received, ["{\"all\":\"caf\u{fffd}\"}", "{\"all\":\"fine\"}"]);
    assert_eq!(figures.sum("kinetail_replaced_characters_lines_total"), 1);
}

/// The flow pauses and says why; when the cause is gone it goes on by itself, and every line arrives once.
fn pauses_and_goes_on(agent: &Agent, reason: &str, sent: &[String], kinesis: &mut Kinesis, mend: impl FnOnce(&mut Kinesis)) {
    let health = agent.wait_health(503);
    assert!(health.contains("\"state\":\"paused\"") && health.contains(reason), "no {reason:?} in {health}");
    let figures = agent.figures();
    assert_eq!(figures.sum("kinetail_paused"), 1);
    assert_eq!(figures.sum("kinetail_delivered_bytes_total") + figures.sum("kinetail_dropped_bytes_total"), 0);
    mend(kinesis);
    agent.wait_settled(byte_count(sent));
    let health = agent.wait_health(200);
    assert!(health.contains("\"state\":\"delivering\""), "{health}");
    assert_eq!(agent.figures().sum("kinetail_dropped_bytes_total"), 0);
    assert_eq!(mentions(agent, "paused"), 1, "a pause is said once:\n{}", agent.stderr());
    verify(sent, &kinesis.received("s"));
}

/// A stream that is not there pauses the flow, and lets it go on when it is created.
#[test]
fn a_stream_that_is_created_later() {
    let mut kinesis = Kinesis::start();
    let place = Place::new();
    place.configure(&kinesis, FLOW);
    let sent = lines("a", 2_000);
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    pauses_and_goes_on(&agent, "stream", &sent, &mut kinesis, |kinesis| kinesis.create_stream("s", 2));
    agent.stop();
}

/// An endpoint that nobody answers at pauses the flow, and lets it go on when it comes back.
#[test]
fn an_endpoint_that_comes_back() {
    let (mut kinesis, place) = stage();
    kinesis.take_down();
    let sent = lines("a", 2_000);
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    let url = kinesis.url();
    pauses_and_goes_on(&agent, &url, &sent, &mut kinesis, Kinesis::bring_up);
    agent.stop();
}

/// Without credentials the flow pauses, and goes on when there are some.
#[test]
fn credentials_that_come_later() {
    let (mut kinesis, place) = stage();
    let sent = lines("a", 2_000);
    place.append("a.log", &sent);
    let credentials = place.log("credentials.json");
    let profile = format!("[default]\ncredential_process = /bin/cat {}\n", credentials.display());
    let profile_path = place.log("profile");
    fs::write(&profile_path, profile).unwrap();
    let config = place.config();
    let mut command = place.command(&["run", "--config", config.to_str().unwrap()]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("AWS_CONFIG_FILE", profile_path);
    let agent = place.start(&mut command);
    pauses_and_goes_on(&agent, "credentials", &sent, &mut kinesis, |_| {
        fs::write(&credentials, r#"{"Version":1,"AccessKeyId":"test","SecretAccessKey":"test"}"#).unwrap();
    });
    agent.stop();
}

/// A backlog during an outage stays in the files: memory does not grow with it.
#[test]
fn a_backlog_stays_in_the_files() {
    let (mut kinesis, place) = stage();
    kinesis.take_down();
    let sent: Vec<String> = (0..60_000).map(|number| common::line("a", number, 1_500)).collect();
    place.append("a.log", &sent);
    let agent = place.run(&[]);
    agent.wait_health(503);
    let in_flight = agent.figures().sum("kinetail_in_flight_bytes");
    assert!(in_flight < 32 << 20, "{in_flight} bytes of {} were read without being sent", byte_count(&sent));
    kinesis.bring_up();
    agent.wait_settled(byte_count(&sent));
    let peak = agent.peak_memory();
    let bound = MEMORY_DEFAULT + 16 * MIB;
    assert!(peak < bound, "{peak} bytes of memory, {bound} are the bound");
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// A file that is rewritten in place, and is as long as before or longer when it is looked at again, is read from its
/// beginning: no line of it is missing, and none is torn.
#[test]
fn a_file_rewritten_in_place() {
    let (kinesis, place) = stage();
    let agent = place.run(&[]);
    let mut sent = Vec::new();
    for round in 0..5 {
        let rewritten = lines(&format!("round {round}"), 20 + round);
        let text = rewritten.iter().fold(String::new(), |text, line| text + line + "\n");
        fs::write(place.log("a.log"), text).unwrap();
        sent.extend(rewritten);
        agent.wait_settled(byte_count(&sent));
    }
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// Files that are rotated away during an outage, to names that no glob matches, are read when it is over, however
/// little memory there is to read them into before.
#[test]
fn rotations_during_an_outage() {
    let (mut kinesis, place) = stage();
    place.configure_agent(&kinesis, "memory_max = \"2 MiB\"", FLOW);
    kinesis.take_down();
    let mut sent: Vec<String> = (0..2_000).map(|number| common::line("backlog", number, 1_500)).collect();
    place.append("backlog.log", &sent);
    let agent = place.run(&[]);
    agent.wait_health(503);
    for rotation in 0..3 {
        let rotated = lines(&format!("rotation {rotation}"), 500);
        place.append("a.log", &rotated);
        sent.extend(rotated);
        common::wait_until("the new file is opened", || agent.figures().sum("kinetail_open_files") == rotation + 2);
        fs::rename(place.log("a.log"), place.log(&format!("a.log.{rotation}"))).unwrap();
    }
    kinesis.bring_up();
    agent.wait_settled(byte_count(&sent));
    agent.stop();
    verify(&sent, &kinesis.received("s"));
}

/// A disk that takes nothing more is told of at `/health` and in the metrics; delivery goes on, and when the disk
/// takes something again offsets are committed, so that a restart sends nothing twice.
#[test]
fn a_disk_that_is_full_for_a_while() {
    let (kinesis, place) = stage();
    let config = place.config();
    // The limit of file sizes stands in for the disk. Its signal would end the process.
    let binary = place.command(&[]).get_program().to_owned();
    let mut command = place.command(&[]);
    let environment: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    command = Command::new("/bin/sh");
    command.env_clear().envs(environment).current_dir(place.folder());
    command.args(["-c", "trap '' XFSZ; exec \"$0\" run --config \"$1\""]).arg(binary).arg(&config);
    let mut sent = lines("before", 100);
    place.append("a.log", &sent);
    let agent = place.start(&mut command);
    agent.wait_settled(byte_count(&sent));
    agent.limit_file_sizes(Some(0));
    let during = lines("during", 100);
    place.append("a.log", &during);
    sent.extend(during);
    let health = agent.wait_health(503);
    assert!(health.contains("cannot commit offsets"), "{health}");
    assert_eq!(agent.figures().sum("kinetail_commit_failing"), 1);
    agent.wait_settled(byte_count(&sent));
    agent.limit_file_sizes(None);
    agent.wait_health(200);
    assert_eq!(agent.figures().sum("kinetail_commit_failing"), 0);
    let Ended { stderr, .. } = agent.stop();
    assert!(stderr.contains("committed again"), "{stderr}");
    place.ship_once();
    verify(&sent, &kinesis.received("s"));
}

/// A second agent on the same state folder ends at once with exit code 75 and says whose the folder is.
#[test]
fn a_second_agent_on_the_same_state_folder() {
    let (_kinesis, place) = stage();
    let first = place.run(&[]);
    first.wait_health(200);
    let Ended { code, stderr, .. } = place.run(&[]).wait();
    assert_eq!(code, Some(75), "{stderr}");
    assert!(stderr.contains(place.state().to_str().unwrap()), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    first.stop();
}

/// A bad configuration: exit code 78, and every mistake at once, each with its line, by `run` and by `check`.
#[test]
fn a_bad_configuration_has_all_its_mistakes_reported() {
    let place = Place::new();
    place.configure_verbatim(
        "[agent]\nmemory_maximum = \"64 MiB\"\n\n[[flow]]\nname = \"f\"\nfiles = [\"relative/*.log\"]\n\
         [flow.line]\ntoo_long = \"trunkate\"\n[flow.parse]\nregex = '('\n[flow.kinesis]\nstream = \"s\"\nmax_delay = \"1 parsec\"\n",
    );
    let config = place.config();
    for command in ["run", "check"] {
        let mut command = place.command(&[command, "--config", config.to_str().unwrap()]);
        let Ended { code, stdout, stderr, .. } = place.start(&mut command).wait();
        let said = stdout + &stderr;
        assert_eq!(code, Some(78), "{command:?}: {said}");
        for text in ["memory_maximum", "memory_max", "relative/*.log", "trunkate", "truncate", "parsec"] {
            assert!(said.contains(text), "{command:?}: no {text:?} in\n{said}");
        }
        for line in [2, 6, 8, 10, 13] {
            assert!(said.contains(&format!(":{line}:")), "{command:?}: nothing about line {line} in\n{said}");
        }
    }
}

/// A command line that is none: exit code 64.
#[test]
fn a_bad_command_line() {
    let place = Place::new();
    for arguments in [&["frobnicate"][..], &["run", "--no-such-option"], &[]] {
        let Ended { code, stderr, .. } = place.start(&mut place.command(arguments)).wait();
        assert_eq!(code, Some(64), "{arguments:?}: {stderr}");
        assert!(stderr.contains("Usage"), "{arguments:?}: {stderr}");
    }
    let help = place.start(&mut place.command(&["--help"])).wait().well();
    assert!(help.stdout.contains("check"), "{}", help.stdout);
}
