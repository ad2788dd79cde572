//! Files that are renamed, replaced, moved and deleted while they are tailed: one that is open is read to its end.

use std::fs;

use crate::common::{Agent, Kinesis, Stage, wait_until_or};

/// Two files that are written to at the same time under one glob, each rotated again and again to names that no glob
/// matches: both are read side by side, each to its end.
#[test]
fn two_live_files_under_one_glob() {
    let mut stage = Stage::of("LOGS/*.log");
    let agent = stage.start();
    let writers = ["a", "b"].map(|from| (from, stage.writer(from, &format!("{from}.log"))));
    for rotation in 0..3 {
        for (from, writer) in &writers {
            stage.fill(&agent, from, writer);
            stage.rename(&format!("{from}.log"), &format!("{from}.log.{rotation}"));
            // It goes on writing to the file that it has open until it is told.
            writer.say_first(500, 10_000);
            writer.reopen();
        }
    }
    for (_, writer) in writers {
        stage.sent.extend(writer.stop());
    }
    stage.finish(agent);
}

/// Names that are handed on from file to file (a.log to a.1.log, a.1.log to a.2.log), all of which match: a file is
/// what it was, by whatever name.
#[test]
fn names_that_are_handed_on_within_the_globs() {
    let mut stage = Stage::of("LOGS/*.log");
    let agent = stage.start();
    let writer = stage.writer("a", "a.log");
    for rotation in 0..4 {
        stage.fill(&agent, "a", &writer);
        for number in (1..=rotation).rev() {
            stage.rename(&format!("a.{number}.log"), &format!("a.{}.log", number + 1));
        }
        stage.rename("a.log", "a.1.log");
        writer.say_first(500, 10_000);
        writer.reopen();
    }
    stage.sent.extend(writer.stop());
    stage.finish(agent);
}

/// Rotates `a.log` thrice, to names that no glob matches, and deletes what was rotated; each was opened before.
fn rotate_and_delete(stage: &mut Stage, agent: &Agent) {
    for rotation in 0..3 {
        stage.write("a.log", &format!("rotation {rotation}"), 4_000);
        stage.wait_tailed(agent, rotation + 2);
        let rotated = format!("a.log.{rotation}");
        stage.rename("a.log", &rotated);
        stage.delete(&rotated);
    }
    stage.write("a.log", "after", 100);
}

/// Files that are renamed and deleted during an outage, more of them than find a place in memory, are read to their ends
/// when it is over: they are open.
#[test]
fn deleted_during_an_outage() {
    let kinesis = Kinesis::with_stream("s", 2);
    let mut stage = Stage::with(kinesis, "LOGS/*.log", "memory_max = \"2 MiB\"", "");
    stage.kinesis.take_down();
    stage.write("backlog.log", "backlog", 10_000);
    let agent = stage.start();
    agent.wait_health(503);
    rotate_and_delete(&mut stage, &agent);
    stage.kinesis.bring_up();
    stage.finish(agent);
}

/// Files that are renamed and deleted while the service takes less than is written are read to their ends.
#[test]
fn deleted_while_throttled() {
    let mut stage = Stage::with(Kinesis::throttling("s", 1), "LOGS/*.log", "memory_max = \"2 MiB\"", "");
    stage.write("backlog.log", "backlog", 5_000);
    let agent = stage.start();
    rotate_and_delete(&mut stage, &agent);
    stage.settle(&agent);
    let throttled = agent.figures().sum_where("kinetail_failed_records_total", "ProvisionedThroughputExceeded");
    assert!(throttled > 0, "it was never throttled: this proves little");
    stage.finish(agent);
}

/// A file that is deleted and created again, again and again, is a new one each time; the old one is read to its end.
#[test]
fn deleted_and_created_again() {
    let mut stage = Stage::of("LOGS/*.log");
    let agent = stage.start();
    for round in 0..6 {
        // Less than the one before as well as more, so that no size tells the two apart.
        stage.write("a.log", &format!("round {round}"), [300, 20, 500, 500, 1, 40][round]);
        // All of it in half of the rounds, else whatever it has come to when the new one is there.
        match round % 2 {
            0 => stage.settle(&agent),
            _ => wait_until_read(&stage, &format!("round {round}")),
        }
        stage.write("a.log", &format!("more of {round}"), 2_000);
        stage.delete("a.log");
    }
    stage.write("a.log", "last", 10);
    stage.finish(agent);
}

fn wait_until_read(stage: &Stage, from: &str) {
    wait_until_or("the file is read", || stage.newest(from).is_some(), || from.to_owned());
}

/// A file that is replaced by renaming another over it: the new one is read from its beginning, the old one to its end.
#[test]
fn replaced_atomically() {
    let mut stage = Stage::of("LOGS/*.log");
    let agent = stage.start();
    for round in 0..5 {
        stage.write("next", &format!("round {round}"), 50 + round);
        if round > 0 {
            stage.write("a.log", &format!("end of {round}"), 2_000);
        }
        stage.rename("next", "a.log");
        wait_until_read(&stage, &format!("round {round}"));
    }
    stage.finish(agent);
}

/// A file that moves to another folder goes on there, if a glob matches it there; if none does it is read to its end.
#[test]
fn moved_to_another_folder() {
    let mut stage = Stage::of("LOGS/**/*.log");
    fs::create_dir(stage.place.folder().join("elsewhere")).unwrap();
    let agent = stage.start();
    for name in ["within.log", "out.log"] {
        stage.write(name, name, 500);
        wait_until_read(&stage, name);
        stage.write(name, &format!("more of {name}"), 5_000);
    }
    stage.place.log("archive/2026/within.log");
    stage.rename("within.log", "archive/2026/within.log");
    stage.rename("out.log", "../elsewhere/out.log");
    for name in ["archive/2026/within.log", "../elsewhere/out.log"] {
        stage.write(name, &format!("yet more of {name}"), 500);
    }
    stage.write("within.log", "new file", 50);
    stage.finish(agent);
}

/// A file of several names is one file, whichever of its names is written to, added or taken away, also between two runs.
#[test]
fn hard_links() {
    let mut stage = Stage::of("LOGS/*.log");
    let link = |from: &str, to: &str| fs::hard_link(stage.place.log(from), stage.place.log(to)).unwrap();
    stage.place.append_bytes("b.log", b"");
    link("b.log", "a.log");
    link("b.log", "c.log");
    stage.write("b.log", "first", 500);
    let agent = stage.start();
    stage.settle(&agent);
    stage.write("c.log", "by another name", 500);
    stage.settle(&agent);
    // The name that it is tailed by, most likely.
    stage.delete("a.log");
    stage.write("b.log", "without its first name", 500);
    stage.settle(&agent);
    agent.stop();
    stage.delete("b.log");
    stage.write("c.log", "its last name", 500);
    let agent = stage.start();
    stage.settle(&agent);
    fs::hard_link(stage.place.log("c.log"), stage.place.log("a.log")).unwrap();
    stage.write("a.log", "its first name again", 500);
    stage.finish(agent);
}
