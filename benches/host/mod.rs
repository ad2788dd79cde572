//! A host with many small files, of which an agent tails all.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::blackhole::{Blackhole, Settings, Telling};
use crate::common::{Agent, Place};

const FILES_PER_FOLDER: usize = 100;
const LINES_PER_FILE: usize = 3;

/// Files, a configuration of which they are the only flow, and what takes their lines.
pub(crate) struct Host {
    pub(crate) place: Place,
    #[allow(dead_code, reason = "not every benchmark looks at it")]
    pub(crate) kinesis: Blackhole,
    /// Of all files as they were made.
    pub(crate) byte_count: usize,
}

impl Host {
    pub(crate) fn new(file_count: usize, max_delay: &str, telling: Telling) -> Self {
        let place = Place::new();
        let mut byte_count = 0;
        for file in 0..file_count {
            let lines: String = (0..LINES_PER_FILE).map(|line| line_of(line, file)).collect();
            byte_count += lines.len();
            append(&place.log(&name_of(file)), &lines);
        }
        let kinesis = Blackhole::start(Settings { shard_count: 1, latency: Duration::ZERO, telling });
        let (state, aws) = (place.state(), kinesis.aws());
        place.configure_verbatim(&format!(
            "[agent]\nstate_dir = {state:?}\nadmin = \"127.0.0.1:0\"\n[aws]\nregion = \"us-east-1\"\n{aws}\
             [[flow]]\nname = \"bench\"\nfiles = [\"LOGS/**/*.log\"]\n\
             [flow.kinesis]\nstream = \"bench\"\nmax_delay = \"{max_delay}\"\n"
        ));
        Self { place, kinesis, byte_count }
    }

    pub(crate) fn start(&self) -> Agent {
        self.place.run(&[])
    }
}

pub(crate) fn name_of(file: usize) -> String {
    format!("service-{:03}/part-{file:05}.log", file / FILES_PER_FOLDER)
}

pub(crate) fn line_of(line: usize, file: usize) -> String {
    format!(
        "{file:05} {line:06} GET /articles/{line}/comments?page={file} 200 took {} us, cache miss, 1 upstream\n",
        line * 7 + file
    )
}

pub(crate) fn append(path: &Path, text: &str) {
    File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "time that passes is what is measured")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
