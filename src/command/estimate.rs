//! `kinetail estimate`: watches the configured files for a while, and says what shipping them takes and costs.
//!
//! Nothing is sent, and no offset is stored or changed. It decides how long is watched and for whom the report is; what is
//! seen is the business of `watch` and `tally`, what it comes to of `sums` and `report`.

mod keys;
mod needs;
mod report;
mod sums;
mod tally;
mod text;
mod watch;
mod ways;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::report::Report;
use self::watch::{Seen, Watching};
use super::run::{allow_all_descriptors, complain, load, log_to, respect_descriptor_limit};
use super::{counted, exit};
use crate::config::{Config, Flow, one_line};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// How long to watch, from [`crate::limits::ESTIMATE_MIN`] to [`crate::limits::ESTIMATE_MAX`].
    pub duration: Duration,
    /// The only flow to watch; all without.
    pub flow: Option<String>,
    /// The report is one JSON document.
    pub json: bool,
    /// Prices, over those of the configuration: names of [`crate::config::Prices::KEYS`] with their values.
    pub prices: Vec<(&'static str, f64)>,
}

/// `kinetail estimate` from the arguments to the exit code.
pub fn main(options: &Options) -> u8 {
    let mut config = match load(&options.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let flows = match flows_of(&config, options.flow.as_deref()) {
        Ok(flows) => flows,
        Err(message) => return complain(&message, exit::USAGE),
    };
    for (key, value) in &options.prices {
        config.prices.set(key, *value);
    }
    // What is only worth a warning, `kinetail check` tells.
    log_to(io::stderr, "error");
    allow_all_descriptors();
    respect_descriptor_limit(&mut config.agent, flows.len());
    // A tailer may wait for a disk: the others and the clock go on.
    let worker_count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(2);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(worker_count).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start threads: {error}"), exit::OSERR),
    };
    let watched = runtime.block_on(watch_for(options.duration, &config, &flows));
    // A tailer that hangs in a system call is left behind.
    runtime.shutdown_background();
    let (seen, watched) = match watched {
        Ok(watched) => watched,
        Err(error) => return complain(&format!("cannot watch: {error}"), exit::OSERR),
    };
    let report = Report::of(&seen, watched.as_secs_f64(), &config.prices);
    let mut stdout = io::stdout();
    let text = match options.json {
        true => serde_json::to_string_pretty(&report).map_or_else(|error| error.to_string(), |json| json + "\n"),
        false => text::text_of(&report, stdout.is_terminal()),
    };
    // A reader that has gone away has seen what it wanted.
    stdout.write_all(text.as_bytes()).map_or(exit::IOERR, |()| exit::OK)
}

fn flows_of(config: &Config, name: Option<&str>) -> Result<Vec<Flow>, String> {
    let flows: Vec<Flow> = config.flows.iter().filter(|flow| name.is_none_or(|name| flow.name == name)).cloned().collect();
    if flows.is_empty() {
        let names: Vec<String> = config.flows.iter().map(|flow| format!("`{}`", one_line(&flow.name))).collect();
        return Err(format!("there is no flow `{}`; flows are {}", name.unwrap_or_default(), names.join(", ")));
    }
    Ok(flows)
}

/// Watches until all flows were watched for `duration`, or somebody interrupts. Returns what was seen, and how long that was.
async fn watch_for(duration: Duration, config: &Config, flows: &[Flow]) -> io::Result<(Vec<Seen>, Duration)> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let line_count = Arc::new(AtomicU64::new(0));
    let watching = Watching::all(config, flows, &stopped, &line_count)?;
    let mut progress = Progress::new(duration);
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Only when all have begun the time runs.
    let mut begun_at = None;
    let ended_at = loop {
        let end_at = begun_at.map(|begun_at: Instant| begun_at + duration);
        tokio::select! {
            biased;
            _ = interrupt.recv() => break Instant::now(),
            _ = terminate.recv() => break Instant::now(),
            () = sleep_until(end_at.unwrap_or_else(Instant::now)), if end_at.is_some() => break Instant::now(),
            _ = looks.tick() => {}
        }
        if begun_at.is_none() && watching.iter().all(Watching::has_begun) {
            begun_at = Some(Instant::now());
        }
        progress.show(begun_at.map(|begun_at| begun_at.elapsed()), line_count.load(Ordering::Relaxed));
    };
    stop.send_replace(true);
    progress.clear();
    let mut seen = Vec::with_capacity(watching.len());
    for watching in watching {
        seen.extend(watching.end(ended_at).await);
    }
    Ok((seen, begun_at.map_or(Duration::ZERO, |begun_at| ended_at - begun_at)))
}

/// How often is looked whether all flows have begun, and the progress shown.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A line on the terminal that is overwritten.
struct Progress {
    duration: Duration,
    is_shown: bool,
}

impl Progress {
    fn new(duration: Duration) -> Self {
        Self { duration, is_shown: io::stderr().is_terminal() }
    }

    fn show(&mut self, elapsed: Option<Duration>, line_count: u64) {
        let lines = counted(usize::try_from(line_count).unwrap_or(usize::MAX), "line");
        let text = match elapsed {
            Some(elapsed) => {
                format!("watching: {} of {} s, {lines} (Ctrl-C ends it)", elapsed.as_secs(), self.duration.as_secs())
            }
            None => "looking for files".to_owned(),
        };
        self.write(&text);
    }

    fn clear(&mut self) {
        self.write("");
    }

    fn write(&mut self, text: &str) {
        if self.is_shown {
            // To the beginning of the line, and what was there before is erased. Nobody may be there any more.
            let _ = write!(io::stderr(), "\r{text}\x1b[K").and_then(|()| io::stderr().flush());
        }
    }
}
