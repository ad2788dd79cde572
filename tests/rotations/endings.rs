//! Last lines without newline: sent when they can be finished no more, 30 s after the last growth of a file that was
//! rotated away, deleted or renamed out of the globs, and not before.
//!
//! All in one story, because it takes 30 s. That they are counted from the last growth is shown on paused time, where
//! the tailer is.

use std::fs::{self, File};
use std::io::Write as _;

use crate::common::{Stage, line, verify};

#[test]
fn last_lines_without_newline() {
    let mut stage = Stage::of("LOGS/**/*.log");
    let agent = stage.start();
    let names = ["within", "out", "moved", "deleted", "copied", "finished", "live"];
    let log = |name: &str| format!("{name}.log");
    for name in names {
        stage.write(&log(name), name, 10);
    }
    stage.settle(&agent);
    let ending = |name: &str| line(&format!("ending of {name}"), 0, 200);
    for name in names {
        stage.place.append_bytes(&log(name), &ending(name).as_bytes()[..100]);
    }
    // Held open by those who write, too: a name is not needed to write.
    let open = |name: &str| File::options().append(true).open(stage.place.log(&log(name))).unwrap();
    let [mut finished, mut deleted] = ["finished", "deleted"].map(open);

    stage.rename("within.log", "within.1.log");
    stage.rename("out.log", "out.log.1");
    fs::create_dir(stage.place.folder().join("elsewhere")).unwrap();
    stage.rename("moved.log", "../elsewhere/moved.log");
    stage.delete("deleted.log");
    fs::copy(stage.place.log("copied.log"), stage.place.log("copied.log.1")).unwrap();
    File::options().write(true).truncate(true).open(stage.place.log("copied.log")).unwrap();
    stage.rename("finished.log", "finished.log.1");
    for name in ["within", "out", "moved", "deleted", "copied", "finished"] {
        stage.write(&log(name), &format!("new {name}"), 10);
    }
    // It was only not finished yet.
    finished.write_all(&ending("finished").as_bytes()[100..]).unwrap();
    finished.write_all(b"\n").unwrap();
    stage.sent.push(ending("finished"));
    stage.settle(&agent);
    verify(&stage.sent, &stage.kinesis.received("s"));
    deleted.write_all(&ending("deleted").as_bytes()[100..]).unwrap();
    stage.sent.push(ending("deleted"));
    for name in ["within", "out", "moved", "copied"] {
        stage.sent.push(ending(name)[..100].to_owned());
    }
    stage.settle(&agent);
    verify(&stage.sent, &stage.kinesis.received("s"));

    // The one that is where it was can go on for ever.
    stage.place.append_bytes("live.log", &[&ending("live").as_bytes()[100..], b"\n"].concat());
    stage.sent.push(ending("live"));
    stage.finish(agent);
}
