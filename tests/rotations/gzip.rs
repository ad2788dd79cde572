//! Files that are compressed when they are rotated: what was not read of them is read, nothing is doubled, and no
//! compressed bytes are taken for lines.

use std::fs::{self, File};
use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::{Kinesis, Stage, lines};

/// `gzip NAME`: what is in the log `name` is in `name.gz`, which has its name when it is complete, or earlier.
fn gzip(stage: &Stage, name: &str) {
    let compressed = File::create(stage.place.log(&format!("{name}.gz"))).unwrap();
    let mut encoder = GzEncoder::new(compressed, Compression::fast());
    io::copy(&mut File::open(stage.place.log(name)).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    stage.delete(name);
}

/// Renamed and compressed at once, before more than a part of it was read, again and again.
fn renamed_and_compressed_at_once(pattern: &str) {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), pattern, "memory_max = \"2 MiB\"", "");
    let agent = stage.start();
    for rotation in 0..4 {
        stage.write("app.log", &format!("rotation {rotation}"), 500);
        stage.settle(&agent);
        stage.write("app.log", &format!("more of {rotation}"), 5_000);
        let rotated = format!("app.log.{rotation}");
        stage.rename("app.log", &rotated);
        gzip(&stage, &rotated);
    }
    stage.finish(agent);
}

/// A file that is renamed and compressed at once is read to its end, for it is open; the compressed one does not match.
#[test]
fn compressed_out_of_the_globs() {
    renamed_and_compressed_at_once("LOGS/app.log");
}

/// A file that is renamed and compressed at once is read to its end, for it is open; the compressed one matches, is known
/// by its content, and nothing of it is sent again.
#[test]
fn compressed_within_the_globs() {
    renamed_and_compressed_at_once("LOGS/app.log*");
}

/// As above, when nothing can be sent while it happens.
#[test]
fn compressed_during_an_outage() {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/app.log*", "memory_max = \"2 MiB\"", "");
    stage.kinesis.take_down();
    stage.write("app.log", "backlog", 10_000);
    let agent = stage.start();
    agent.wait_health(503);
    for rotation in 0..2 {
        stage.wait_seen(&agent, stage.sent.iter().map(|line| line.len() + 1).sum());
        let rotated = format!("app.log.{rotation}");
        stage.rename("app.log", &rotated);
        gzip(&stage, &rotated);
        stage.write("app.log", &format!("rotation {rotation}"), 3_000);
    }
    stage.kinesis.bring_up();
    stage.finish(agent);
}

/// A file of which a part was shipped, and which is compressed while the agent is down: the rest of it is shipped.
#[test]
fn compressed_while_the_agent_is_down() {
    let mut stage = Stage::of("LOGS/app.log*");
    let agent = stage.start();
    stage.write("app.log", "shipped", 2_000);
    stage.settle(&agent);
    agent.stop();
    stage.write("app.log", "while it was down", 2_000);
    stage.rename("app.log", "app.log.1");
    gzip(&stage, "app.log.1");
    stage.write("app.log", "new", 100);
    let agent = stage.start();
    stage.finish(agent);
}

/// A file that was shipped whole, and is compressed while the agent is down: nothing of it is sent again.
#[test]
fn compressed_when_all_was_shipped() {
    let mut stage = Stage::of("LOGS/app.log*");
    stage.write("app.log", "shipped", 2_000);
    stage.place.ship_once();
    stage.rename("app.log", "app.log.1");
    gzip(&stage, "app.log.1");
    stage.write("app.log", "new", 100);
    let agent = stage.start();
    stage.finish(agent);
}

/// A compressed file of which nothing was ever shipped is left alone, unless the flow says otherwise.
#[test]
fn never_seen_it_is_ignored() {
    let mut stage = Stage::of("LOGS/app.log*");
    stage.place.append("app.log.1", &lines("never seen", 2_000));
    gzip(&stage, "app.log.1");
    stage.write("app.log", "new", 100);
    let agent = stage.start();
    stage.finish(agent);
}

/// With `compressed = "read"` a compressed file of which nothing was ever shipped is shipped, once, like any other; one
/// that is damaged harms no other.
#[test]
fn never_seen_it_is_read_on_demand() {
    let mut stage = Stage::with(Kinesis::with_stream("s", 2), "LOGS/app.log*", "", "compressed = \"read\"");
    for name in ["app.log.1", "app.log.2"] {
        stage.write(name, name, 5_000);
        gzip(&stage, name);
    }
    // A header as it should be, then a block of a type that there is none of.
    fs::write(stage.place.log("app.log.3.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\n").unwrap();
    stage.write("app.log", "new", 100);
    let agent = stage.start();
    stage.finish(agent);
}
