//! `kinetail offsets`: it shows what is shipped, and what it promises of the next start is what the next start does.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use common::{Ended, Kinesis, Place, line, lines, verify, wait_until};

/// A stream "s", a place whose logs go there by the flow "f" with `settings`, and an admin address that is known.
fn stage(settings: &str) -> (Kinesis, Place, SocketAddr) {
    let kinesis = Kinesis::with_stream("s", 2);
    let place = Place::new();
    let admin = free_address();
    configure(&place, &kinesis, &format!("\"{admin}\""), settings);
    (kinesis, place, admin)
}

fn configure(place: &Place, kinesis: &Kinesis, admin: &str, settings: &str) {
    place.configure_verbatim(&format!(
        "[agent]\nstate_dir = {:?}\nadmin = {admin}\n[aws]\nregion = \"us-east-1\"\nendpoints.kinesis = {:?}\n\
         [[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n{settings}\n[flow.kinesis]\nstream = \"s\"\nmax_delay = \"20 ms\"\n",
        place.state(),
        kinesis.url(),
    ));
}

/// Nobody listens there a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What `kinetail offsets` says with these arguments, the first of which is the subcommand.
fn offsets(place: &Place, arguments: &[&str]) -> Ended {
    let config = place.config();
    let arguments = [&["offsets", arguments[0], "--config", config.to_str().unwrap()], &arguments[1..]].concat();
    let ended = place.start(&mut place.command(&arguments)).wait();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

fn listing(place: &Place) -> Value {
    serde_json::from_str(&offsets(place, &["list", "--json"]).well().stdout).unwrap()
}

/// State and lag of the file `name`.
fn state_of(listing: &Value, path: &Path) -> (String, u64) {
    let file = file_of(listing, path);
    (file["state"].as_str().unwrap().to_owned(), file["lag_bytes"].as_u64().unwrap())
}

#[track_caller]
fn file_of<'l>(listing: &'l Value, path: &Path) -> &'l Value {
    let files = listing["files"].as_array().unwrap();
    files.iter().find(|file| file["path"] == path.to_str().unwrap()).unwrap_or_else(|| panic!("{path:?} is not in {listing:#}"))
}

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, what: &str) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(what), "{}", ended.stderr);
}

#[track_caller]
fn assert_says(ended: Ended, what: &str) {
    let ended = ended.well();
    assert!(ended.stdout.contains(what), "{}", ended.stdout);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn bytes(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 1).sum()
}

/// On a stopped agent files are shown as they are now, and nothing is changed.
#[test]
fn a_stopped_agents_offsets_are_shown_beside_what_is_in_the_files_now() {
    let (_kinesis, place, _) = stage("");
    assert_refused(&offsets(&place, &["list"]), 74, "cannot use the state folder");
    let names = ["grown.log", "renamed.log", "replaced.log", "deleted.log", "truncated.log", "evil\u{1b}[2J\u{9b}\n.log"];
    for name in names {
        place.append(name, &lines(name, 10));
    }
    place.ship_once();
    place.append("grown.log", &lines("more", 5));
    fs::rename(place.log("renamed.log"), place.log("renamed.log.1")).unwrap();
    fs::rename(place.log("replaced.log"), place.folder().join("elsewhere")).unwrap();
    place.append("replaced.log", &lines("other", 10));
    fs::remove_file(place.log("deleted.log")).unwrap();
    fs::write(place.log("truncated.log"), "new\n").unwrap();
    let before = fs::read_dir(place.state()).unwrap().count();
    let listing = listing(&place);
    assert_eq!(fs::read_dir(place.state()).unwrap().count(), before);
    let added = bytes(&lines("more", 5));
    for (name, state, lag) in [
        ("grown", "tailed", added),
        ("renamed", "renamed", 0),
        ("replaced", "replaced", 0),
        ("deleted", "gone", 0),
        ("truncated", "truncated", 4),
    ] {
        let path = place.log(&format!("{name}.log"));
        assert_eq!(state_of(&listing, &path), (state.to_owned(), lag), "{name}");
    }
    assert_eq!(file_of(&listing, &place.log("renamed.log"))["renamed_to"], text(&place.log("renamed.log.1")));
    assert_eq!(listing["flows"][0]["flow"], "f");
    assert_eq!((&listing["running"], &listing["flows"][0]["started"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!((&listing["total"]["files"], &listing["total"]["gone_files"]), (&4.into(), &2.into()));
    assert_eq!(listing["total"]["lag_bytes"], added + 4);
    let of_flow = offsets(&place, &["list", "--flow", "f"]).well().stdout;
    assert!(of_flow.contains("f: 4 files, ") && of_flow.contains("evil\u{fffd}[2J\u{fffd}\u{fffd}.log"), "{of_flow}");
    for arguments in [&["list"][..], &["list", "--json"], &["export"]] {
        let shown = offsets(&place, arguments).well().stdout;
        assert!(!shown.contains(|character: char| character.is_control() && character != '\n'), "{shown:?}");
    }
    assert_refused(&offsets(&place, &["list", "--flow", "web"]), 64, "no flow is called `web`; there are: f");
    let state = place.state();
    let without = place.start(&mut place.command(&["offsets", "list", "--state-dir", text(&state)])).wait().well();
    assert!(without.stdout.contains("grown.log"), "{}", without.stdout);
}

/// On a running agent the offsets come from its admin address, everything else is refused; and nobody waits for ever.
#[test]
fn a_running_agent_tells_its_offsets_and_keeps_them() {
    let (kinesis, place, admin) = stage("");
    place.append("a.log", &lines("a", 100));
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    let path = place.log("a.log");
    wait_until("the last commit is shown", || state_of(&listing(&place), &path) == ("tailed".to_owned(), 0));
    let listing = listing(&place);
    assert_eq!((&listing["running"], &listing["unreconciled"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    assert_eq!(listing["state_dir"], text(&place.state()));
    assert_says(offsets(&place, &["list"]), "as of the last commit of the agent that is running");
    let (code, page) = agent.page("/offsets");
    assert_eq!((code, serde_json::from_str::<Value>(&page).unwrap()["files"].clone()), (200, listing["files"].clone()));
    let document = place.folder().join("document");
    fs::write(&document, "{\"kinetail_offsets\":1,\"started_flows\":[],\"files\":[],\"sendings\":[]}").unwrap();
    for arguments in [
        &["export"][..],
        &["import", text(&document)],
        &["set", "--flow", "f", text(&path), "end"],
        &["forget", "--flow", "f", text(&path)],
        &["forget", "--gone"],
        &["forget", "--all"],
        &["forget", "--all", "--dry-run"],
    ] {
        assert_refused(&offsets(&place, arguments), 75, "an agent is running with the state folder");
    }
    // It is another agent's address, there is none, or it is anybody's.
    let other = Place::new();
    configure(&other, &kinesis, "\"off\"", "");
    let other_agent = other.run(&[]);
    other_agent.wait_for_log("kinetail starts");
    assert_refused(&offsets(&other, &["list"]), 75, "its admin address is off");
    configure(&other, &kinesis, &format!("\"{admin}\""), "");
    assert_refused(&offsets(&other, &["list"]), 75, "another answers, with the state folder");
    configure(&other, &kinesis, &format!("\"{}\"", free_address()), "");
    assert_refused(&offsets(&other, &["list"]), 75, "cannot be asked: Connection refused");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(&other, &kinesis, &format!("\"{}\"", silent.local_addr().unwrap()), "");
    assert_refused(&offsets(&other, &["list"]), 75, "does not answer within 5 s");
    other_agent.stop();
    agent.stop();
    assert_says(offsets(&place, &["list"]), "the agent is stopped");
}

/// A file that is set goes on exactly there: what is behind is sent, again if it was, and what is before is not.
#[test]
fn a_file_that_is_set_goes_on_there() {
    let (kinesis, place, _) = stage("");
    let all = lines("a", 100);
    place.append("a.log", &all);
    place.append("b.log", &lines("b", 10));
    place.ship_once();
    let mut sent = [all.clone(), lines("b", 10)].concat();
    verify(&sent, &kinesis.received("s"));
    let path = place.log("a.log");
    let key_before = file_of(&listing(&place), &path)["key"].clone();

    let offset = bytes(&all[..60]);
    let within = (offset + 3).to_string();
    let set = ["set", "--flow", "f", text(&path), &within];
    let dry = offsets(&place, &[&set[..], &["--dry-run"]].concat()).well().stdout;
    assert_eq!(file_of(&listing(&place), &path)["key"], key_before);
    let done = offsets(&place, &set).well().stdout;
    assert_eq!(dry, format!("dry run: nothing is changed\n{done}"));
    assert!(done.contains(&format!("is read from offset {offset} on, where the line begins that has byte {within}")), "{done}");
    assert_ne!(file_of(&listing(&place), &path)["key"], key_before);
    assert_eq!(state_of(&listing(&place), &path).1, bytes(&all[60..]));
    place.ship_once();
    sent.extend_from_slice(&all[60..]);
    verify(&sent, &kinesis.received("s"));

    offsets(&place, &["set", "--flow", "f", text(&path), "beginning"]).well();
    place.ship_once();
    sent.extend_from_slice(&all);
    verify(&sent, &kinesis.received("s"));

    place.append("a.log", &lines("skipped", 10));
    let skipped = offsets(&place, &["set", "--flow", "f", text(&path), "end"]).well().stdout;
    assert!(skipped.contains("sends nothing again") && skipped.contains("that were not sent yet are skipped"), "{skipped}");
    place.append("a.log", &lines("new", 10));
    // One that has no row yet.
    place.append("c.log", &lines("c", 20));
    let middle = bytes(&lines("c", 20)[..5]).to_string();
    offsets(&place, &["set", "--flow", "f", text(&place.log("c.log")), &middle]).well();
    place.ship_once();
    sent.extend(lines("new", 10));
    sent.extend_from_slice(&lines("c", 20)[5..]);
    verify(&sent, &kinesis.received("s"));
    assert_eq!(listing(&place)["total"]["lag_bytes"], 0);
}

/// Before the first start too: then only what is behind is ever sent.
#[test]
fn a_file_can_be_set_before_the_first_start() {
    let (kinesis, place, _) = stage("");
    let all = lines("a", 20);
    place.append("a.log", &all);
    let set = ["set", "--flow", "f", text(&place.log("a.log")), &bytes(&all[..7]).to_string()].map(str::to_owned);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    assert_refused(&offsets(&place, &set), 74, "it is made by the first start");
    fs::create_dir(place.state()).unwrap();
    offsets(&place, &set).well();
    assert_says(offsets(&place, &["list"]), "it has not started yet");
    place.ship_once();
    verify(&all[7..], &kinesis.received("s"));
}

#[test]
fn what_cannot_be_set_or_forgotten_is_told_with_what_may_have_been_meant() {
    let (_kinesis, place, _) = stage("");
    place.append("access.log", &lines("a", 10));
    place.ship_once();
    place.append("access.txt", &lines("a", 10));
    fs::write(place.log("packed.log"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0").unwrap();
    let (path, folder) = (place.log("access.log"), place.log(""));
    let [other, missing, packed] = ["access.txt", "acces.log", "packed.log"].map(|name| place.log(name));
    let meant = format!("did you mean {}?", text(&path));
    for (arguments, what) in [
        (&["set", "--flow", "web", text(&path), "end"][..], "no flow is called `web`; there are: f"),
        (&["set", "--flow", "f", text(&path), "99999"], "the offset is behind its end: it has "),
        (&["set", "--flow", "f", text(&path), "-1"], "unexpected argument"),
        (&["set", "--flow", "f", text(&path), "middle"], "write `beginning`, `end`, or a number of bytes"),
        (&["set", "--flow", "f", text(&path), "18446744073709551616"], "write `beginning`, `end`, or a number of bytes"),
        (&["set", "--flow", "f", text(&missing), "end"], &meant),
        (&["set", "--flow", "f", text(&other), "end"], "no pattern of the flow `f` matches it"),
        (&["set", "--flow", "f", text(&packed), "beginning"], "it is compressed"),
        (&["set", "--flow", "f", text(&folder), "end"], "cannot read it: Is a directory"),
        (&["set", text(&path), "end"], "--flow <NAME>"),
        (&["forget", "--flow", "g"], "no flow is called `g`; did you mean `f`?"),
        (&["forget", "--flow", "f", text(&missing)], &meant),
        (&["forget"], "--flow <NAME>"),
        (&["forget", "--all", "--flow", "f"], "cannot be used with"),
        (&["forget", "--gone", text(&path)], "cannot be used with"),
        (&["forget", text(&path)], "--flow <NAME>"),
    ] {
        let before = offsets(&place, &["export"]).well().stdout;
        assert_refused(&offsets(&place, arguments), 64, what);
        assert_eq!(offsets(&place, &["export"]).well().stdout, before, "{arguments:?}");
    }
    let neither = place.start(&mut place.command(&["offsets", "list"])).wait();
    assert_refused(&neither, 64, "--config <FILE>");
}

/// A file that is forgotten is read from its beginning, and no other is.
#[test]
fn forgotten_files_are_sent_again() {
    let (kinesis, place, _) = stage("start_at = \"end\"");
    for name in ["a.log", "b.log", "gone.log"] {
        place.append(name, &lines(name, 20));
    }
    place.ship_once();
    let mut sent = ["a.log", "b.log", "gone.log"].map(|name| lines(name, 20)).concat();
    fs::remove_file(place.log("gone.log")).unwrap();

    let again = format!("the next start sends {} B again", bytes(&lines("a.log", 20)));
    let size = bytes(&lines("a.log", 20));
    let again = if size >= 1024 { format!("the next start sends {:.1} KiB again", size as f64 / 1024.0) } else { again };
    let path = place.log("a.log");
    let forget = ["forget", "--flow", "f", text(&path)];
    assert_says(offsets(&place, &[&forget[..], &["--dry-run"]].concat()), &again);
    assert_eq!(listing(&place)["files"].as_array().unwrap().len(), 3);
    assert_says(offsets(&place, &forget), &again);
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    agent.stop();
    sent.extend(lines("a.log", 20));
    verify(&sent, &kinesis.received("s"));

    let gone = offsets(&place, &["forget", "--gone"]).well().stdout;
    assert!(gone.contains("gone.log") && gone.contains("1 file forgotten") && !gone.contains("a.log"), "{gone}");
    assert_says(offsets(&place, &["forget", "--gone"]), "nothing is known of files that are gone");
    assert_eq!(listing(&place)["files"].as_array().unwrap().len(), 2);
    place.ship_once();
    verify(&sent, &kinesis.received("s"));

    // All of a flow: it has never started then, and begins at the ends.
    place.append("b.log", &lines("unsent", 5));
    let all = offsets(&place, &["forget", "--flow", "f"]).well().stdout;
    assert!(all.contains("2 files forgotten") && all.contains("`start_at = \"end\"` decides again"), "{all}");
    assert_eq!(listing(&place)["files"].as_array().unwrap().len(), 0);
    let agent = place.run(&[]);
    agent.admin();
    wait_until("it has started", || listing(&place)["flows"][0]["started"] == true);
    place.append("b.log", &lines("new", 5));
    agent.wait_settled(usize::try_from(bytes(&lines("new", 5))).unwrap());
    agent.stop();
    sent.extend(lines("new", 5));
    verify(&sent, &kinesis.received("s"));
}

/// Damages the store so that an agent does not start.
fn damage(place: &Place) {
    for entry in fs::read_dir(place.state()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "snapshot" {
            fs::write(path, "rubbish").unwrap();
        } else if name == "offsets" {
            fs::write(path.join("db"), "rubbish".repeat(1000)).unwrap();
        }
    }
    assert_eq!(place.run(&["--once"]).wait().code, Some(74));
}

/// Two ways out of a store that cannot be read: everything from the beginning, or what an export says.
#[test]
fn a_store_that_cannot_be_read_is_set_aside() {
    let (kinesis, place, _) = stage("");
    let first = lines("a", 100);
    place.append("a.log", &first);
    place.ship_once();
    let document = place.folder().join("offsets.json");
    assert_says(offsets(&place, &["export", text(&document)]), "1 file, 1 started flow, 0 unreconciled runs");
    let second = lines("b", 100);
    place.append("a.log", &second);

    damage(&place);
    for arguments in [&["list"][..], &["export"], &["forget", "--gone"], &["forget", "--flow", "f"]] {
        assert_refused(&offsets(&place, arguments), 74, "kinetail offsets import FILE");
    }
    let imported = offsets(&place, &["import", text(&document)]).well().stdout;
    assert!(imported.contains("what was there is in ") && imported.contains("cannot be read"), "{imported}");
    let exported = offsets(&place, &["export"]).well().stdout;
    assert_eq!(exported, fs::read_to_string(&document).unwrap());
    place.ship_once();
    let mut sent = [first.clone(), second.clone()].concat();
    verify(&sent, &kinesis.received("s"));

    damage(&place);
    assert_says(offsets(&place, &["forget", "--all"]), "is as a first start");
    place.ship_once();
    sent.extend_from_slice(&first);
    sent.extend_from_slice(&second);
    verify(&sent, &kinesis.received("s"));
    assert_says(offsets(&place, &["forget", "--all"]), "1 file forgotten");
    let aside = fs::read_dir(place.state()).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    assert_eq!(aside.filter(|name| name.starts_with("offsets.replaced-")).count(), 3);
    place.ship_once();
    verify(&[sent, first, second].concat(), &kinesis.received("s"));
}

/// What is exported is imported and exported the same, and what an import makes the next start do is what it says.
#[test]
fn an_export_brings_back_what_was() {
    let (kinesis, place, _) = stage("");
    let mut sent = lines("a", 50);
    place.append("a.log", &sent);
    place.append("b.log", &lines("b", 50));
    sent.extend(lines("b", 50));
    place.ship_once();
    let document = place.folder().join("offsets.json");
    offsets(&place, &["export", text(&document)]).well();
    assert_eq!(fs::metadata(&document).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&document).unwrap();
    assert_eq!(offsets(&place, &["export"]).well().stdout, before);

    let later = lines("later", 50);
    place.append("a.log", &later);
    place.ship_once();
    sent.extend_from_slice(&later);
    verify(&sent, &kinesis.received("s"));
    let again = format!("the next start sends {:.1} KiB again", bytes(&later) as f64 / 1024.0);
    assert_says(offsets(&place, &["import", "--dry-run", text(&document)]), &again);
    assert_ne!(offsets(&place, &["export"]).well().stdout, before);
    assert_says(offsets(&place, &["import", text(&document)]), &again);
    assert_eq!(offsets(&place, &["export"]).well().stdout, before);
    place.ship_once();
    sent.extend_from_slice(&later);
    verify(&sent, &kinesis.received("s"));

    // Beside another configuration, by the state folder alone, from standard input.
    let state = place.state();
    let mut command = place.command(&["offsets", "import", "--state-dir", text(&state), "-"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), before.replace("\"f\"", "\"g\"").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_says(offsets(&place, &["import", "--dry-run", text(&document)]), "nothing again");
    assert_refused(&offsets(&place, &["set", "--flow", "g", text(&place.log("a.log")), "end"]), 64, "is not configured any more");
}

/// Rubbish is told, and nothing is changed.
#[test]
fn rubbish_is_not_imported() {
    let (_kinesis, place, _) = stage("");
    place.append("a.log", &lines("a", 10));
    place.ship_once();
    let good = offsets(&place, &["export"]).well().stdout;
    let document = place.folder().join("offsets.json");
    let mut rng = seeded();
    let mut cut: Vec<Vec<u8>> = (0..8).map(|_| good.as_bytes()[..rng.usize(..good.len() - 1)].to_vec()).collect();
    cut.push(good.replace("\"watermark\":", "\"watermark\":-").into_bytes());
    cut.push(good.replace("\"files\":", "\"fils\":").into_bytes());
    cut.push(vec![0; 100_000]);
    cut.push(b"\x1b[2J".to_vec());
    for bytes in cut {
        fs::write(&document, &bytes).unwrap();
        let refused = offsets(&place, &["import", text(&document)]);
        assert_refused(&refused, 65, "and nothing was changed");
        assert!(!refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
        assert_eq!(offsets(&place, &["export"]).well().stdout, good);
    }
    assert_refused(&offsets(&place, &["import", text(&place.folder().join("nowhere"))]), 74, "No such file");
    assert_refused(&offsets(&place, &["import", text(place.folder())]), 74, "Is a directory");
    let within = place.folder().join("nowhere/offsets.json");
    assert_refused(&offsets(&place, &["export", text(&within)]), 74, "cannot write");
}

fn seeded() -> fastrand::Rng {
    let seed = std::env::var("KINETAIL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("KINETAIL_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// A run that was killed is told until a start has found out what of it is stored, or the flow is forgotten.
#[test]
fn a_run_that_was_killed_is_told() {
    let (kinesis, place, _) = stage("");
    place.append("a.log", &lines("a", 10));
    let agent = place.run(&[]);
    agent.wait_settled(place.byte_count("a.log"));
    let mut kinesis = kinesis;
    kinesis.take_down();
    place.append("a.log", &lines("b", 10));
    agent.wait_health(503);
    agent.signal(Signal::KILL);
    agent.wait();
    let listing = listing(&place);
    let unreconciled = &listing["unreconciled"][0];
    assert_eq!((&unreconciled["flow"], &unreconciled["stream"]), (&"f".into(), &"s".into()));
    assert_says(offsets(&place, &["list"]), "flow f is not reconciled: its run ");
    let document = offsets(&place, &["export"]).well().stdout;
    assert!(document.contains(unreconciled["run"].as_str().unwrap()), "{document}");
    offsets(&place, &["set", "--flow", "f", text(&place.log("a.log")), "end"]).well();
    assert!(offsets(&place, &["list"]).well().stdout.contains("is not reconciled"));
    offsets(&place, &["forget", "--flow", "f"]).well();
    assert!(!offsets(&place, &["list"]).well().stdout.contains("is not reconciled"));
}

/// Files of root's in the state folder would keep an agent that is not root from starting.
#[test]
fn only_the_user_of_the_state_folder_changes_it() {
    let (_kinesis, place, _) = stage("");
    place.append("a.log", &[line("a", 0, 50)]);
    place.ship_once();
    if chown(place.state(), Some(65_534), None).is_err() {
        return common::skipped("only_the_user_of_the_state_folder_changes_it", "this takes root");
    }
    let path: PathBuf = place.log("a.log");
    for arguments in [&["set", "--flow", "f", text(&path), "end"][..], &["forget", "--all"]] {
        assert_refused(&offsets(&place, arguments), 77, "belongs to the user 65534; run this as that user: sudo -u '#65534'");
    }
    offsets(&place, &["list"]).well();
}

/// A reader that has gone away has seen what it wanted.
#[test]
fn a_closed_pipe_is_no_error() {
    let (_kinesis, place, _) = stage("");
    for number in 0..200 {
        place.append(&format!("{number}-{}.log", "x".repeat(200)), &[line("a", number, 50)]);
    }
    place.ship_once();
    let config = place.config();
    let mut command = place.command(&["offsets", "list", "--json", "--config", text(&config)]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
