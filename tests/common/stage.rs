//! One flow from a place to a stream, and what was written for it: all of it is to arrive, once.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::{Agent, Kinesis, Place, Writer, lines, verify, verify_kept, wait_until_or};

/// The stream "s", a place whose logs go there, and the lines that are to arrive.
pub(crate) struct Stage {
    pub(crate) kinesis: Kinesis,
    pub(crate) place: Place,
    /// Every line that is to arrive.
    pub(crate) sent: Vec<String>,
    /// Lines that were in the stream when the newest agent was started.
    received_before: Cell<usize>,
}

impl Stage {
    /// The flow of the files `pattern`, in which `LOGS` stands for the folder for logs.
    pub(crate) fn of(pattern: &str) -> Self {
        Self::with(Kinesis::with_stream("s", 2), pattern, "", "")
    }

    /// As [`Stage::of`], to this service, with further settings of `[agent]`, and of `[[flow]]` and its sections.
    pub(crate) fn with(kinesis: Kinesis, pattern: &str, agent: &str, flow: &str) -> Self {
        let stage = Self { kinesis, place: Place::new(), sent: Vec::new(), received_before: Cell::new(0) };
        let flow = format!(
            "[[flow]]\nname = \"f\"\nfiles = [\"{pattern}\"]\n{flow}\n[flow.kinesis]\nstream = \"s\"\nmax_delay = \"20 ms\"\n"
        );
        stage.place.configure_agent(&stage.kinesis, agent, &flow);
        stage
    }

    /// Adds `count` lines of `from`, who has written none yet, to the end of the log `name`.
    pub(crate) fn write(&mut self, name: &str, from: &str, count: usize) {
        let written = lines(from, count);
        self.place.append(name, &written);
        self.sent.extend(written);
    }

    /// The log `name` becomes `to`, which is in the folder for logs, too.
    pub(crate) fn rename(&self, name: &str, to: &str) {
        fs::rename(self.place.log(name), self.place.log(to)).unwrap();
    }

    /// Deletes the log `name`.
    pub(crate) fn delete(&self, name: &str) {
        fs::remove_file(self.place.log(name)).unwrap();
    }

    /// A program that logs to the log `name` as `from`.
    pub(crate) fn writer(&self, from: &str, name: &str) -> Writer {
        Writer::start(from, self.place.log(name), self.told(name))
    }

    /// The file that tells the writer of the log `name` to open it anew.
    pub(crate) fn told(&self, name: &str) -> PathBuf {
        self.place.folder().join(format!("told-{name}"))
    }

    /// Lets `writer`, which writes as `from`, fill a new file: returns when the agent has sent some of it, and the writer is
    /// writing more, at full speed.
    pub(crate) fn fill(&self, agent: &Agent, from: &str, writer: &Writer) {
        let first = writer.line_count();
        writer.say(2_000);
        let is_read = || self.newest(from).is_some_and(|number| number >= first);
        wait_until_or("the new file is read", is_read, || agent.stderr());
        writer.say_first(4_000, 10_000);
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        self.count_received();
        self.place.run(&[])
    }

    /// An agent is about to be started in another way than [`Stage::start`].
    pub(crate) fn count_received(&self) {
        self.received_before.set(self.kinesis.received("s").len());
    }

    /// The greatest number of a line of `from` in the stream.
    pub(crate) fn newest(&self, from: &str) -> Option<usize> {
        let number_of = |record: super::Received| {
            // What should not have come at all may be anything.
            let text = std::str::from_utf8(&record.data).ok()?;
            let (writer, rest) = text.split_once('#')?;
            let (number, _) = rest.split_once(' ')?;
            (writer == from).then(|| number.parse().unwrap())
        };
        self.kinesis.received("s").into_iter().filter_map(number_of).max()
    }

    /// Waits until `agent`, the newest, has delivered as many lines as are to arrive, and has none on their way.
    #[track_caller]
    pub(crate) fn settle(&self, agent: &Agent) {
        let wanted = self.sent.len() - self.received_before.get().min(self.sent.len());
        let is_settled = || {
            let figures = agent.figures();
            figures.sum("kinetail_delivered_user_records_total") >= wanted && figures.sum("kinetail_in_flight_bytes") == 0
        };
        let state = || format!("{}\n{}", agent.page("/metrics").1, agent.stderr());
        wait_until_or(&format!("{wanted} lines are delivered"), is_settled, state);
        agent.figures().assert_balanced();
    }

    /// Waits until the agent has read, or has seen in its files, `byte_count` bytes since it was started.
    pub(crate) fn wait_seen(&self, agent: &Agent, byte_count: usize) {
        let is_seen = || {
            let figures = agent.figures();
            figures.sum("kinetail_read_bytes_total") + figures.sum("kinetail_lag_bytes") >= byte_count
        };
        wait_until_or(&format!("{byte_count} bytes are seen"), is_seen, || agent.stderr());
    }

    /// Waits until the agent tails `count` files.
    pub(crate) fn wait_tailed(&self, agent: &Agent, count: usize) {
        let state = || format!("{}\n{}", agent.page("/metrics").1, agent.stderr());
        wait_until_or(&format!("{count} files are tailed"), || agent.figures().sum("kinetail_tailed_files") == count, state);
    }

    /// Everything has arrived, once, and a restart sends nothing more.
    #[track_caller]
    pub(crate) fn finish(&self, agent: Agent) {
        self.settle(&agent);
        agent.stop();
        self.verify_with_restart();
    }

    /// For lines `written` of which the rotation itself loses some: every one of `kept`, which are in files, has arrived, none
    /// twice, and a restart sends nothing more.
    #[track_caller]
    pub(crate) fn finish_kept(&self, agent: Agent, written: &[String], kept: &[String]) {
        let has_all = || {
            let received = self.kinesis.received("s");
            let arrived: BTreeSet<&[u8]> = received.iter().map(|record| record.data.as_slice()).collect();
            kept.iter().all(|line| arrived.contains(line.as_bytes()))
        };
        wait_until_or("every line that is in a file has arrived", has_all, || agent.stderr());
        agent.stop();
        self.place.ship_once();
        verify_kept(written, kept, &self.kinesis.received("s"));
    }

    /// A further run finds nothing to send, and everything is in the stream, once.
    #[track_caller]
    pub(crate) fn verify_with_restart(&self) {
        self.place.ship_once();
        verify(&self.sent, &self.kinesis.received("s"));
    }
}
