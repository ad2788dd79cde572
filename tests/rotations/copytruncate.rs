//! Files that are copied and truncated, or written anew in place: what the copy has and was not read yet is read from
//! it, nothing is doubled, and what is in no file any more is counted.

use std::fs::{self, File};

use crate::common::{Kinesis, Stage, line, lines, texts, wait_until_or};

/// Rotates as logrotate's `copytruncate` does: app.log.1 becomes app.log.2 and so on, app.log is copied to app.log.1,
/// then truncated.
fn copy_and_truncate(stage: &Stage) {
    let name = |number: usize| format!("app.log.{number}");
    let count = (1..).take_while(|number| stage.place.log(&name(*number)).exists()).count();
    for number in (1..=count).rev() {
        stage.rename(&name(number), &name(number + 1));
    }
    fs::copy(stage.place.log("app.log"), stage.place.log(&name(1))).unwrap();
    truncate(stage, "app.log");
}

fn truncate(stage: &Stage, name: &str) {
    File::options().write(true).truncate(true).open(stage.place.log(name)).unwrap();
}

/// The lines of app.log and its copies.
fn kept(stage: &Stage) -> Vec<String> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(stage.place.log("")).unwrap() {
        kept.extend(texts(&fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    kept
}

/// Whether the writer stops for as long as a rotation takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Then nothing may be lost.
    Paused,
    /// What is written between the copy and the truncation is lost by the rotation itself.
    GoesOn,
}

/// Rotates app.log five times under a writer at full speed.
fn check(pattern: &str, writing: Writing) {
    let mut stage = Stage::of(pattern);
    let agent = stage.start();
    let writer = stage.writer("w", "app.log");
    for _ in 0..5 {
        // A copy that no glob matches can only continue what has been seen.
        stage.fill(&agent, "w", &writer);
        let held = (writing == Writing::Paused).then(|| writer.hold());
        copy_and_truncate(&stage);
        drop(held);
    }
    let written = writer.stop();
    if writing == Writing::Paused {
        stage.sent = written;
        return stage.finish(agent);
    }
    stage.finish_kept(agent, &written, &kept(&stage));
}

/// Under a writer that pauses for the rotation, copies that no glob matches: nothing is lost, nothing doubled.
#[test]
fn copies_out_of_the_globs_under_a_writer_that_pauses() {
    check("LOGS/app.log", Writing::Paused);
}

/// Under a writer that does not pause, copies that no glob matches: everything arrives once but what is in no file.
#[test]
fn copies_out_of_the_globs_under_a_writer_that_does_not_pause() {
    check("LOGS/app.log", Writing::GoesOn);
}

/// Under a writer that pauses for the rotation, copies that match: nothing is lost, nothing doubled.
#[test]
fn copies_within_the_globs_under_a_writer_that_pauses() {
    check("LOGS/app.log*", Writing::Paused);
}

/// Under a writer that does not pause, copies that match: everything arrives once but what is in no file.
#[test]
fn copies_within_the_globs_under_a_writer_that_does_not_pause() {
    check("LOGS/app.log*", Writing::GoesOn);
}

/// A file that had been read to its end before it was copied and truncated begins anew, as often as it happens.
#[test]
fn truncated_when_all_was_read() {
    let mut stage = Stage::of("LOGS/app.log");
    let agent = stage.start();
    for round in 0..5 {
        // As much as before, less, and more.
        stage.write("app.log", &format!("round {round}"), [100, 100, 10, 11, 500][round]);
        stage.settle(&agent);
        copy_and_truncate(&stage);
    }
    assert_eq!(agent.figures().sum("kinetail_unreachable_bytes_total"), 0);
    stage.finish(agent);
}

/// A backlog that is copied and truncated during an outage is read from the copy, which no glob matches.
#[test]
fn a_backlog_is_read_from_the_copy() {
    let mut stage = backlog("LOGS/app.log");
    let agent = stage.start();
    agent.wait_health(503);
    copy_and_truncate(&stage);
    stage.write("app.log", "after", 1_000);
    stage.kinesis.bring_up();
    stage.finish(agent);
}

/// A backlog that is copied and truncated several times during an outage is read from the copies, which match.
#[test]
fn a_backlog_is_read_from_several_copies() {
    let mut stage = backlog("LOGS/app.log*");
    let agent = stage.start();
    agent.wait_health(503);
    for rotation in 0..3 {
        copy_and_truncate(&stage);
        stage.write("app.log", &format!("rotation {rotation}"), 3_000);
    }
    stage.kinesis.bring_up();
    stage.finish(agent);
}

/// More in app.log than finds a place in memory, and a service that takes nothing.
fn backlog(pattern: &str) -> Stage {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), pattern, "memory_max = \"2 MiB\"", "");
    stage.kinesis.take_down();
    stage.write("app.log", "backlog", 10_000);
    stage
}

/// What was truncated before it could be read, and is in no copy, is counted to the byte, and the log names the file.
#[test]
fn truncated_before_it_was_read() {
    let mut stage = backlog("LOGS/app.log");
    let agent = stage.start();
    agent.wait_health(503);
    let byte_count = stage.place.byte_count("app.log");
    truncate(&stage, "app.log");
    let after = lines("after", 100);
    stage.place.append("app.log", &after);
    stage.kinesis.bring_up();
    // Another rescan looks for what was not read in other files, and gives it up then.
    let is_over = || {
        let figures = agent.figures();
        let is_given_up = figures.sum("kinetail_unreachable_bytes_total") > 0;
        is_given_up && stage.newest("after") == Some(99) && figures.sum("kinetail_in_flight_bytes") == 0
    };
    wait_until_or("the new lines arrive", is_over, || agent.stderr());
    let figures = agent.figures();
    let unreachable = figures.sum("kinetail_unreachable_bytes_total");
    let read = figures.sum("kinetail_read_bytes_total") - after.iter().map(|line| line.len() + 1).sum::<usize>();
    assert_eq!(read + unreachable, byte_count, "of {byte_count} bytes {read} were read, {unreachable} were not");
    let stderr = agent.stderr();
    let is_told = |line: &str| line.contains("app.log") && line.contains(&unreachable.to_string());
    assert!(stderr.lines().any(is_told), "nothing about {unreachable} bytes of app.log:\n{stderr}");
    // What was read is the beginning of the backlog, whole lines of it.
    let mut read_until = 0;
    let is_read = |line: &String| {
        read_until += line.len() + 1;
        read_until <= read
    };
    let expected: Vec<String> = stage.sent.iter().cloned().take_while(is_read).collect();
    stage.sent = [expected, after].concat();
    stage.finish(agent);
}

/// A file that is truncated and has grown beyond the old offset when it is looked at again is read from its beginning.
#[test]
fn regrown_past_the_old_offset() {
    regrown(|round| format!("header of round {round}\n"));
}

/// A file that is truncated, and begins with the same KiB and more, and has grown beyond the old offset when it is looked at
/// again, is read from its beginning: what was read of it is compared, not how it begins.
#[test]
fn regrown_past_the_old_offset_with_the_same_beginning() {
    regrown(|_| (0..20).map(|number| line("header", number, 120) + "\n").collect());
}

/// A header, some lines, then in place of them the header, and more lines.
fn regrown(header: impl Fn(usize) -> String) {
    let mut stage = Stage::of("LOGS/app.log");
    let agent = stage.start();
    for round in 0..5 {
        let rewritten = lines(&format!("round {round}"), 50 + 10 * round);
        let text = rewritten.iter().fold(header(round), |text, line| text + line + "\n");
        stage.sent.extend(texts(&text));
        // Truncates it and writes all of it at once.
        fs::write(stage.place.log("app.log"), text).unwrap();
        stage.settle(&agent);
    }
    stage.finish(agent);
}
