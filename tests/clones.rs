//! Hosts that are copies of others: disks that were cloned, state folders that were copied, images that hosts are made from. What a
//! host writes for itself arrives, once, whatever its copy has sent.
//!
//! What was in the files when they were copied is another matter. What the stream had of it by then, or got from requests that were
//! on their way, is not sent again, as after any end. What was still to be sent each of the two sends, because neither knows of the
//! other: it is there twice. So it is where files were copied one by one, and are others to the file system: under their old paths
//! they are taken for new ones.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use kinetail::delivery_token::DeliveryToken;
use rustix::process::Signal;

use common::{Kinesis, Place, line, lines, wait_until};

/// Each line is a record, which says by whom it was sent.
const FLOW: &str = r#"
[[flow]]
name = "f"
files = ["LOGS/*.log"]
[flow.kinesis]
stream = "s"
aggregate = "none"
max_delay = "20 ms"
"#;

const NAMES: [&str; 2] = ["a.log", "b.log"];

/// What is on a disk: files by their paths, without the place.
struct Image {
    logs: BTreeMap<&'static str, Vec<u8>>,
    state: BTreeMap<String, Vec<u8>>,
}

/// How an image comes to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Block by block: to the file system they are the same files.
    AsDisk,
    /// File by file: to the file system they are others, made later.
    AsFiles,
}

/// A place that is one host after the other. Two of them at once would find each other's files.
struct Hosts {
    kinesis: Kinesis,
    place: Place,
}

impl Hosts {
    fn new() -> Self {
        let (kinesis, place) = (Kinesis::with_stream("s", 2), Place::new());
        place.configure_agent(&kinesis, "settle = \"300 ms\"\nread_back = \"auto\"", FLOW);
        Self { kinesis, place }
    }

    /// So many lines of `from` at the end of each log. Returns them.
    fn write(&self, from: &str, count: usize) -> Vec<String> {
        let mut written = Vec::new();
        for name in NAMES {
            let lines = lines(&format!("{from} {name}"), count);
            self.place.append(name, &lines);
            written.extend(lines);
        }
        written
    }

    /// What is on the disk now. Nothing may be written meanwhile.
    fn image(&self) -> Image {
        let logs = NAMES.iter().map(|name| (*name, fs::read(self.place.log(name)).unwrap())).collect();
        let mut state = BTreeMap::new();
        read_all(&self.place.state(), "", &mut state);
        Image { logs, state }
    }

    /// From now on the place is a host with this on its disk.
    fn become_clone(&self, image: &Image, way: Way) {
        for (name, content) in &image.logs {
            let path = self.place.log(name);
            if way == Way::AsFiles {
                // Made before the old one goes, so that it does not get its number.
                let copy = self.place.folder().join("copy");
                fs::write(&copy, content).unwrap();
                fs::rename(copy, path).unwrap();
            } else {
                File::options().write(true).truncate(true).open(path).unwrap().write_all(content).unwrap();
            }
        }
        self.restore_state(image);
    }

    fn restore_state(&self, image: &Image) {
        let state = self.place.state();
        fs::remove_dir_all(&state).unwrap();
        for (name, content) in &image.state {
            let path = state.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Ships until it is killed, with requests in flight and more to send.
    fn ship_until_it_is_killed(&self) {
        let ended = self.place.run_with(&["--once"], &[("KINETAIL_FAILPOINT", "after_answer:3")]).wait();
        assert_eq!(ended.signal, Some(Signal::KILL), "{}", ended.stderr);
    }

    /// The runs that each line of the stream was sent by, in no order.
    fn senders(&self) -> BTreeMap<String, Vec<u128>> {
        let mut senders: BTreeMap<String, Vec<u128>> = BTreeMap::new();
        for record in self.kinesis.received("s") {
            let run_id = DeliveryToken::parse(&record.partition_key).unwrap().run_id;
            senders.entry(record.text()).or_default().push(run_id);
        }
        senders
    }
}

fn read_all(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_all(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// Each of `lines` was sent by exactly so many runs, once by each.
#[track_caller]
fn verify_sent(senders: &BTreeMap<String, Vec<u128>>, lines: &[String], run_count: usize) {
    for line in lines {
        let runs = senders.get(line).map_or(&[][..], Vec::as_slice);
        let distinct: BTreeSet<&u128> = runs.iter().collect();
        assert!(runs.len() == run_count && distinct.len() == run_count, "{line:?} was sent by {runs:x?}, not {run_count} runs");
    }
}

/// Copied after an orderly end: of a disk nothing is sent again, of files everything.
#[test]
fn a_copy_after_an_orderly_end() {
    for (way, count_of_before) in [(Way::AsDisk, 1), (Way::AsFiles, 2)] {
        let hosts = Hosts::new();
        let before = hosts.write("before", 500);
        hosts.place.ship_once();
        let image = hosts.image();
        let of_first = hosts.write("of the first", 300);
        hosts.place.ship_once();
        hosts.become_clone(&image, way);
        let of_second = hosts.write("of the other", 300);
        hosts.place.ship_once();
        let senders = hosts.senders();
        verify_sent(&senders, &of_first, 1);
        verify_sent(&senders, &of_second, 1);
        verify_sent(&senders, &before, count_of_before);
    }
}

/// Copied after a sudden end, with requests in flight and more to send: what the stream has by then is not sent again by either, the
/// rest is sent by both.
#[test]
fn a_copied_disk_after_a_sudden_end() {
    for is_first_first in [true, false] {
        let hosts = Hosts::new();
        let before = hosts.write("before", 5_000);
        hosts.ship_until_it_is_killed();
        let image = hosts.image();
        let of_hosts = if is_first_first { ["of the first", "of the other"] } else { ["of the other", "of the first"] };
        let own = of_hosts.map(|host| {
            hosts.become_clone(&image, Way::AsDisk);
            let own = hosts.write(host, 300);
            hosts.place.ship_once();
            own
        });
        let senders = hosts.senders();
        own.iter().for_each(|own| verify_sent(&senders, own, 1));
        let (once, twice): (Vec<_>, Vec<_>) = before.into_iter().partition(|line| senders[line].len() == 1);
        verify_sent(&senders, &twice, 2);
        let runs = |lines: &[String]| lines.iter().flat_map(|line| senders[line].clone()).collect::<BTreeSet<u128>>();
        assert!(!once.is_empty() && runs(&once).len() == 1, "what was stored before the end is by {:x?}", runs(&once));
        assert!(!twice.is_empty() && runs(&twice).is_disjoint(&runs(&once)), "what was to be sent is by {:x?}", runs(&twice));
    }
}

/// Copied while the agent runs: it goes on and sends other lines under the same names, of which the copy has others in the same
/// place, as long as those. None of these is taken for sent.
#[test]
fn a_disk_that_is_copied_while_the_agent_runs() {
    let hosts = Hosts::new();
    let before = hosts.write("before", 500);
    let agent = hosts.place.run(&[]);
    agent.wait_settled(NAMES.iter().map(|name| hosts.place.byte_count(name)).sum());
    agent.signal(Signal::STOP);
    wait_until("it has stopped", || agent.is_stopped());
    let image = hosts.image();
    agent.signal(Signal::CONT);
    // Names are equally long, so that lines begin and end in the same places.
    let of_first = hosts.write("of the first", 2_000);
    agent.wait_settled(NAMES.iter().map(|name| hosts.place.byte_count(name)).sum());
    agent.stop();
    hosts.become_clone(&image, Way::AsDisk);
    let of_second = hosts.write("of the other", 2_000);
    let ended = hosts.place.ship_once();
    assert!(ended.stderr.contains("reading the stream back"), "{}", ended.stderr);
    let senders = hosts.senders();
    for lines in [&before, &of_first, &of_second] {
        verify_sent(&senders, lines, 1);
    }
}

/// Hosts that are made from one image, which has a state folder and no logs: all lines of each arrive, also where they begin as those
/// of the host did from which the image was taken.
#[test]
fn a_state_folder_without_its_logs() {
    for is_orderly in [true, false] {
        let hosts = Hosts::new();
        let count = if is_orderly { 500 } else { 5_000 };
        let begin = || NAMES.iter().for_each(|name| hosts.place.append(name, &beginning(name)));
        begin();
        let before = hosts.write("before", count);
        if is_orderly {
            hosts.place.ship_once();
        } else {
            hosts.ship_until_it_is_killed();
        }
        let image = hosts.image();
        let own = ["first", "second"].map(|host| {
            NAMES.iter().for_each(|name| fs::remove_file(hosts.place.log(name)).unwrap());
            hosts.restore_state(&image);
            begin();
            let own = hosts.write(host, count);
            hosts.place.ship_once();
            own
        });
        let senders = hosts.senders();
        own.iter().for_each(|own| verify_sent(&senders, own, 1));
        for line in NAMES.iter().flat_map(|name| beginning(name)) {
            let runs = &senders[&line];
            assert!(runs.len() == 3 || (!is_orderly && runs.len() == 2), "{line:?} of three hosts was sent by {runs:x?}");
        }
        assert!(!is_orderly || before.iter().all(|line| senders[line].len() == 1));
    }
}

/// What a program writes to this log whenever it starts: more than is looked at to tell files apart.
fn beginning(name: &str) -> Vec<String> {
    (0..50).map(|number| line(&format!("welcome to {name}"), number, 100)).collect()
}
