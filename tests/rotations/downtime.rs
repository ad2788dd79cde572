//! What becomes of files while the agent is down: they are what they were when it comes back.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use crate::common::{Agent, Kinesis, Stage, line, lines, skipped, texts, wait_until_or};

/// A part of app.log is shipped; while the agent is down it grows, `rotate` happens, and a new app.log is written.
fn check(pattern: &str, rotate: impl FnOnce(&Stage)) {
    let mut stage = Stage::of(pattern);
    let agent = stage.start();
    stage.write("app.log", "shipped", 2_000);
    stage.settle(&agent);
    agent.stop();
    stage.write("app.log", "while it was down", 2_000);
    rotate(&stage);
    stage.write("app.log", "new", 100);
    let agent = stage.start();
    stage.settle(&agent);
    stage.write("app.log", "newer", 100);
    stage.finish(agent);
}

/// A file renamed within the globs is read on where it was.
#[test]
fn renamed_within_the_globs() {
    check("LOGS/app*", |stage| stage.rename("app.log", "app.log.1"));
}

/// A file renamed out of the globs, in its folder, is read to its end.
#[test]
fn renamed_out_of_the_globs() {
    check("LOGS/app.log", |stage| stage.rename("app.log", "app.log.1"));
}

/// A file renamed out of the globs, in its folder, to a name that has nothing of its own, is read to its end; another
/// with a likelier name is left alone.
#[test]
fn renamed_to_any_name_in_its_folder() {
    check("LOGS/app.log", |stage| {
        stage.rename("app.log", "2026-11-21.old");
        fs::write(stage.place.log("app.log.1"), "not a log of ours\n").unwrap();
    });
}

/// A file moved to another folder that the globs match is read on where it was.
#[test]
fn moved_to_another_folder() {
    check("LOGS/**/*.log", |stage| {
        stage.place.log("archive/app.log");
        stage.rename("app.log", "archive/app.log");
    });
}

fn copy_and_truncate(stage: &Stage) {
    fs::copy(stage.place.log("app.log"), stage.place.log("app.log.1")).unwrap();
    File::options().write(true).truncate(true).open(stage.place.log("app.log")).unwrap();
}

/// A file copied and truncated, of which the copy matches no glob: what was not read is read from the copy.
#[test]
fn copied_out_of_the_globs_and_truncated() {
    check("LOGS/app.log", copy_and_truncate);
}

/// A file copied and truncated, of which the copy matches: what was not read is read from the copy, and nothing else.
#[test]
fn copied_within_the_globs_and_truncated() {
    check("LOGS/app.log*", copy_and_truncate);
}

/// Several rotations, of which every file matches.
#[test]
fn rotated_several_times() {
    let mut stage = Stage::of("LOGS/app.log*");
    stage.write("app.log", "shipped", 500);
    stage.place.ship_once();
    for rotation in 0..3 {
        stage.write("app.log", &format!("rotation {rotation}"), 500);
        for number in (1..=rotation).rev() {
            stage.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
        stage.rename("app.log", "app.log.1");
    }
    stage.write("app.log", "new", 500);
    let agent = stage.start();
    stage.finish(agent);
}

/// Stopped and started again and again in the middle of it all, with rotations while it runs and while it does not, under a
/// writer at full speed.
#[test]
fn rotated_between_restarts() {
    let mut stage = Stage::of("LOGS/app.log*");
    let writer = stage.writer("w", "app.log");
    let mut rotation_count = 0;
    let mut rotate = |stage: &Stage| {
        for number in (1..=rotation_count).rev() {
            stage.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
        stage.rename("app.log", "app.log.1");
        rotation_count += 1;
        writer.say_first(500, 5_000);
        writer.reopen();
    };
    for _ in 0..4 {
        let agent = stage.start();
        stage.fill(&agent, "w", &writer);
        rotate(&stage);
        // Whatever it has read by now.
        agent.stop();
        writer.say_first(1_000, 5_000);
        rotate(&stage);
    }
    stage.sent = writer.stop();
    let agent = stage.start();
    stage.finish(agent);
}

/// A file that was deleted before all of it could be read: what was seen of it and not delivered is counted as
/// unreachable, and the log names it.
#[test]
fn deleted_before_it_was_read() {
    let kinesis = Kinesis::with_stream("s", 2);
    let mut stage = Stage::with(kinesis, "LOGS/*.log", "drain_timeout = \"200 ms\"", "");
    stage.write("good.log", "good", 100);
    stage.place.append("app.log", &lines("delivered", 100));
    stage.sent.extend(lines("delivered", 100));
    let agent = stage.start();
    stage.settle(&agent);
    stage.kinesis.take_down();
    let undelivered = lines("undelivered", 1_000);
    stage.place.append("app.log", &undelivered);
    stage.wait_seen(&agent, stage.place.byte_count("app.log") + stage.place.byte_count("good.log"));
    agent.wait_health(503);
    agent.stop();
    stage.delete("app.log");
    stage.kinesis.bring_up();
    stage.write("good.log", "more of good", 100);
    let agent = stage.start();
    stage.settle(&agent);
    let byte_count: usize = undelivered.iter().map(|line| line.len() + 1).sum();
    wait_until_or("it is counted", || unreachable(&agent) > 0, || agent.stderr());
    assert_eq!(unreachable(&agent), byte_count);
    assert!(agent.stderr().contains("app.log"), "{}", agent.stderr());
    agent.stop();
    // It is told once, not at every start.
    let agent = stage.start();
    stage.write("good.log", "yet more of good", 100);
    stage.settle(&agent);
    assert_eq!(unreachable(&agent), 0);
    stage.finish(agent);
}

fn unreachable(agent: &Agent) -> usize {
    agent.figures().sum("kinetail_unreachable_bytes_total")
}

/// A file that was shipped whole and deleted is not spoken of.
#[test]
fn deleted_when_all_was_shipped() {
    let mut stage = Stage::of("LOGS/*.log");
    stage.write("app.log", "shipped", 500);
    stage.place.ship_once();
    stage.delete("app.log");
    stage.write("good.log", "good", 100);
    let agent = stage.start();
    stage.settle(&agent);
    assert_eq!(unreachable(&agent), 0);
    stage.finish(agent);
}

/// Deletes the log app.log and creates it with this text, so that it has the same inode; false when the file system
/// gives it another.
fn reuse_inode(stage: &Stage, text: &str) -> bool {
    let inode = || fs::metadata(stage.place.log("app.log")).unwrap().ino();
    let before = inode();
    stage.delete("app.log");
    // Others create files, too: of those created here one is most likely where it was.
    let spares: Vec<String> = (0..50).map(|number| format!("spare.{number}")).collect();
    for spare in &spares {
        fs::write(stage.place.log(spare), text).unwrap();
    }
    let inode_of = |name: &String| fs::metadata(stage.place.log(name)).unwrap().ino();
    let reused = spares.iter().find(|name| inode_of(name) == before);
    if let Some(reused) = reused {
        stage.rename(reused, "app.log");
    }
    reused.is_some()
}

/// Another file at the place and with the inode of one that was shipped is read from its beginning, also when it is
/// longer and begins alike.
fn inode_reused(story: &str, header: &str) {
    let mut stage = Stage::of("LOGS/*.log");
    stage.place.append_bytes("app.log", header.as_bytes());
    stage.sent.extend(texts(header));
    stage.write("app.log", "old", 100);
    stage.place.ship_once();
    let new = lines("new", 200);
    let text = new.iter().fold(header.to_owned(), |text, line| text + line + "\n");
    if !reuse_inode(&stage, &text) {
        return skipped(story, "this file system does not use the inode again");
    }
    stage.sent.extend(texts(&text));
    let agent = stage.start();
    stage.finish(agent);
}

#[test]
fn an_inode_that_is_used_again() {
    inode_reused("an_inode_that_is_used_again", "");
}

/// As above, with the same KiB and more at the beginning.
#[test]
fn an_inode_that_is_used_again_by_a_file_that_begins_alike() {
    let header: String = (0..20).map(|number| line("header", number, 120) + "\n").collect();
    inode_reused("an_inode_that_is_used_again_by_a_file_that_begins_alike", &header);
}

/// Truncated and grown beyond the old offset, with the same KiB at the beginning.
#[test]
fn regrown_past_the_old_offset_with_the_same_beginning() {
    let mut stage = Stage::of("LOGS/app.log");
    let header: Vec<String> = (0..20).map(|number| line("header", number, 120)).collect();
    let write = |stage: &mut Stage, from: &str, count: usize| {
        File::create(stage.place.log("app.log")).unwrap();
        stage.place.append("app.log", &header);
        stage.sent.extend_from_slice(&header);
        stage.write("app.log", from, count);
    };
    write(&mut stage, "old", 100);
    stage.place.ship_once();
    write(&mut stage, "new", 200);
    let agent = stage.start();
    stage.finish(agent);
}

/// Replaced while the agent is down by a file with another inode that begins alike.
#[test]
fn replaced_by_a_file_that_begins_alike() {
    let mut stage = Stage::of("LOGS/app.log");
    let header: Vec<String> = (0..20).map(|number| line("header", number, 120)).collect();
    let write = |stage: &mut Stage, name: &str, from: &str, count: usize| {
        stage.place.append(name, &header);
        stage.sent.extend_from_slice(&header);
        stage.write(name, from, count);
    };
    write(&mut stage, "app.log", "old", 100);
    stage.place.ship_once();
    write(&mut stage, "next", "new", 200);
    stage.rename("next", "app.log");
    let agent = stage.start();
    stage.finish(agent);
}
