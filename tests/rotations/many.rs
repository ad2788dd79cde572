//! Much of everything: many files, files as like as can be, a line that never ends.

use std::fs::File;
use std::time::{Duration, SystemTime};

use kinetail::limits::{LINE_BYTES_MAX, MIB};

use crate::common::{Kinesis, Received, Stage, line, lines, texts, verify, wait_until_or};

/// A thousand files of the same size and time of change, which begin with the same KiB and more: each is a file of its own,
/// also after a restart, and when all change their names.
#[test]
fn a_thousand_files_as_like_as_can_be() {
    let mut stage = Stage::of("LOGS/*.log");
    let header: String = (0..12).map(|number| line("header", number, 120) + "\n").collect();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let name = |number: usize| format!("{number:04}.log");
    let line_of = |number: usize, index: usize| line(&format!("file {number:04}"), index, 100) + "\n";
    let write = |stage: &mut Stage, number: usize, text: &str| {
        stage.place.append_bytes(&name(number), text.as_bytes());
        stage.sent.extend(texts(text));
        File::options().append(true).open(stage.place.log(&name(number))).unwrap().set_modified(time).unwrap();
    };
    for number in 0..1_000 {
        write(&mut stage, number, &(header.clone() + &line_of(number, 0)));
    }
    let agent = stage.start();
    stage.settle(&agent);
    agent.stop();
    for number in 0..1_000 {
        write(&mut stage, number, &line_of(number, 1));
    }
    // Each has the name of another.
    stage.rename(&name(999), "last");
    for number in (1..1_000).rev() {
        stage.rename(&name(number - 1), &name(number));
    }
    stage.rename("last", &name(0));
    let agent = stage.start();
    stage.settle(&agent);
    stage.finish(agent);
}

/// Two thousand files, a few of them busy: the busy ones do not starve the others, nor the others them.
#[test]
fn many_files_of_which_few_are_busy() {
    let mut stage = Stage::of("LOGS/**/*.log");
    let idle = |number: usize| format!("{:02}/{number:04}.log", number % 20);
    for number in 0..2_000 {
        stage.write(&idle(number), &format!("idle {number}"), 1);
    }
    let agent = stage.start();
    stage.settle(&agent);
    stage.wait_tailed(&agent, 2_000);
    let writers = ["a", "b", "c"].map(|from| stage.writer(from, &format!("{from}.log")));
    for round in 0..3 {
        // What the idle ones have to say arrives while the busy ones go on.
        writers.iter().for_each(|writer| writer.say_first(500, 4_000));
        let from = format!("roused {round}");
        let roused = lines(&from, 50);
        for (number, line) in roused.iter().enumerate() {
            stage.place.append(&idle(round + 37 * number), std::slice::from_ref(line));
        }
        let count = || stage.kinesis.received("s").iter().filter(|record| record.data.starts_with(from.as_bytes())).count();
        wait_until_or("the idle ones are heard", || count() == roused.len(), || agent.stderr());
        stage.sent.extend(roused);
    }
    for writer in writers {
        stage.sent.extend(writer.stop());
    }
    stage.settle(&agent);
    agent.stop();
    stage.place.ship_once();
    verify(&stage.sent, &stage.kinesis.received("s"));
}

/// More files than may be open at once are all read, and go on after they were closed.
#[test]
fn more_files_than_may_be_open() {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/*.log", "max_open_files = 64", "");
    let agent = stage.start();
    for round in 0..3 {
        for number in 0..300 {
            stage.write(&format!("{number}.log"), &format!("{round} of {number}"), 5);
        }
        let mut open_max = 0;
        let is_settled = || {
            let figures = agent.figures();
            open_max = open_max.max(figures.sum("kinetail_open_files"));
            figures.sum("kinetail_delivered_user_records_total") >= stage.sent.len()
        };
        wait_until_or("all is delivered", is_settled, || agent.stderr());
        assert!(open_max <= 64, "{open_max} files open");
    }
    stage.finish(agent);
}

/// Ships a line of 12 MiB, written in pieces, of which the next comes when what can be read of those before has been.
/// Returns the line, what arrived of it, and the bytes dropped.
fn ship_pieces(too_long: &str) -> (String, Vec<Received>, usize) {
    let flow = format!("[flow.line]\ntoo_long = \"{too_long}\"");
    let stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/*.log", "", &flow);
    let neighbours = lines("neighbour", 2);
    let long = line("long", 0, 12 * MIB);
    let agent = stage.start();
    stage.place.append("a.log", &neighbours[..1]);
    let before = stage.place.byte_count("a.log");
    let mut written = 0;
    for piece in long.as_bytes().chunks(MIB / 2 + 7) {
        stage.place.append_bytes("a.log", piece);
        written += piece.len();
        // What is shorter than the longest line may be a line; a line of that length may have its end yet.
        let readable = match too_long {
            "split" => (written - 1) / LINE_BYTES_MAX * LINE_BYTES_MAX,
            _ if written <= LINE_BYTES_MAX => 0,
            _ => written,
        };
        let is_read = || agent.figures().sum("kinetail_read_bytes_total") >= before + readable;
        wait_until_or("what can be read is read", is_read, || agent.stderr());
        assert_eq!(agent.figures().sum("kinetail_read_bytes_total"), before + readable, "after {written} bytes");
    }
    stage.place.append_bytes("a.log", b"\n");
    stage.place.append("a.log", &neighbours[1..]);
    let figures = agent.wait_settled(stage.place.byte_count("a.log"));
    agent.stop();
    stage.place.ship_once();
    let (near, of_long): (Vec<_>, Vec<_>) =
        stage.kinesis.received("s").into_iter().partition(|record| record.data.starts_with(b"neighbour"));
    verify(&neighbours, &near);
    let dropped = figures.sum("kinetail_dropped_bytes_total");
    assert_eq!(figures.sum_where("kinetail_dropped_bytes_total", "reason=\"too_long\""), dropped);
    (long, of_long, dropped)
}

/// With `poll` no notification is asked for, and new files, new lines and rotations are noticed by rescans alone.
#[test]
fn without_notifications() {
    let flow = "poll = true\nrescan = \"200 ms\"";
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/**/*.log*", "", flow);
    stage.write("a.log", "first", 10);
    let agent = stage.start();
    stage.settle(&agent);
    assert!(agent.open_paths().iter().all(|path| !path.to_string_lossy().contains("inotify")));
    stage.write("a.log", "second", 10);
    stage.write("new/b.log", "new", 10);
    stage.settle(&agent);
    stage.rename("a.log", "a.log.1");
    stage.write("a.log.1", "third", 10);
    stage.write("a.log", "fourth", 10);
    stage.settle(&agent);
    stage.finish(agent);
}

/// A line of 12 MiB that is written in pieces is sent in pieces of the greatest length, of which none is missing.
#[test]
fn a_line_of_12_mib_in_pieces_is_split() {
    let (long, received, dropped) = ship_pieces("split");
    let pieces: Vec<String> =
        long.as_bytes().chunks(LINE_BYTES_MAX).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
    assert!(pieces.len() > 12);
    verify(&pieces, &received);
    assert_eq!(dropped, 0);
}

/// A line of 12 MiB that is written in pieces is cut, and each byte that is cut off is counted.
#[test]
fn a_line_of_12_mib_in_pieces_is_truncated() {
    let (long, received, dropped) = ship_pieces("truncate");
    verify(&[long[..LINE_BYTES_MAX].to_owned()], &received);
    assert_eq!(dropped, long.len() + "\n".len() - LINE_BYTES_MAX);
}
