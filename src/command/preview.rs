//! `kinetail preview`: what would be sent, line by line, from where reading would start. Nothing is sent, stored or changed.
//!
//! Files are read by the tailer, and lines made into records by the processor and the rules of the packer, as in the agent.
//! Decided here is what is read when nothing is left to read, how much, and how it is shown.

mod json;
mod members;
mod reading;
mod shown;
mod start;
mod text;
mod viewer;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::shown::Counts;
use self::start::Start;
use self::text::Paint;
use self::viewer::Viewer;
use super::{exit, run};
use crate::config::{Config, STATE_DIR_DEFAULT, nearest, one_line};
use crate::metadata::{Ec2, Metadata, Wanted};

/// How long the metadata of the instance are waited for: on EC2 they take milliseconds.
const EC2_WAIT: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Names of the flows; all when there is none.
    pub flows: Vec<String>,
    /// How many lines of each are shown.
    pub lines: Lines,
    /// As lines of JSON.
    pub json: bool,
}

/// How many lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// At most so many of each flow, at least 1.
    Some(usize),
    /// All that there are.
    All,
}

impl FromStr for Lines {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(0) | Err(_) => Err("write a number from 1, or `all`"),
            Ok(count) => Ok(Self::Some(count)),
        }
    }
}

impl Lines {
    fn max(self) -> Option<usize> {
        match self {
            Self::Some(count) => Some(count),
            Self::All => None,
        }
    }
}

/// `kinetail preview` from the arguments to the exit code.
pub fn main(options: &Options) -> u8 {
    let mut config = match run::load(&options.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(message) = choose(&mut config, &options.flows) {
        return run::complain(&message, exit::USAGE);
    }
    // Only for whoever wants to know how the files are told apart.
    if std::env::var_os("KINETAIL_LOG").is_some() {
        run::log_to(io::stderr, "off");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return run::complain(&format!("cannot start threads: {error}"), exit::OSERR),
    };
    let stdout = io::stdout();
    let is_coloured = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen =
        Screen { out: BufWriter::new(stdout.lock()), notes: io::stderr(), is_json: options.json, paint: Paint { is_coloured } };
    let shown = runtime.block_on(preview(&config, options.lines, &mut screen)).and_then(|()| screen.out.flush());
    match shown {
        Ok(()) => exit::OK,
        // A reader that has gone away has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(error) => run::complain(&format!("cannot write: {error}"), exit::IOERR),
    }
}

/// Leaves the flows called `names` in the configuration, all when there is none.
fn choose(config: &mut Config, names: &[String]) -> Result<(), String> {
    let known: Vec<&str> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let help = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", known.join(", ")),
        };
        return Err(format!("no flow is called `{}`; {help}", one_line(unknown)));
    }
    config.flows.retain(|flow| names.is_empty() || names.contains(&flow.name));
    Ok(())
}

/// Where records and notes go, and how.
struct Screen<O: Write, N: Write> {
    out: O,
    notes: N,
    is_json: bool,
    paint: Paint,
}

impl<O: Write, N: Write> Screen<O, N> {
    fn note(&mut self, text: &str) -> io::Result<()> {
        // So that on a terminal it stands where it belongs.
        self.out.flush()?;
        // Without a standard error there is nobody to tell.
        let _ = writeln!(self.notes, "note: {text}");
        Ok(())
    }
}

/// Shows what there is of each flow, and the counts.
async fn preview<O: Write, N: Write>(config: &Config, lines: Lines, screen: &mut Screen<O, N>) -> io::Result<()> {
    let state_dir = config.agent.state_dir.clone().unwrap_or_else(|| STATE_DIR_DEFAULT.into());
    let (start, note) = Start::of(&state_dir);
    if let Some(note) = note {
        screen.note(&note)?;
    }
    let ec2 = ask_ec2(config, screen).await?;
    let surroundings = run::surroundings();
    let mut of_flows = Vec::new();
    let mut total = Counts::default();
    for flow in &config.flows {
        let flow = Arc::new(flow.clone());
        if !screen.is_json && !of_flows.is_empty() {
            writeln!(screen.out)?;
        }
        if !screen.is_json {
            text::write_heading(&flow, screen.paint, &mut screen.out)?;
        }
        let mut viewer = Viewer::new(flow, &surroundings, Arc::clone(&ec2), lines, screen, &mut total);
        viewer.show(&start).await?;
        let (flow, counts) = viewer.conclude()?;
        of_flows.push((flow, counts));
    }
    if screen.is_json {
        let of_flows = of_flows.iter().map(|(flow, counts)| (flow.name.as_str(), counts)).collect();
        return json::write_counts(of_flows, &total, &mut screen.out);
    }
    if of_flows.len() > 1 {
        writeln!(screen.out)?;
        text::write_counts("all flows", None, &total, screen.paint, &mut screen.out)?;
    }
    Ok(())
}

/// What is known of the instance, if somebody asks for it.
async fn ask_ec2<O: Write, N: Write>(config: &Config, screen: &mut Screen<O, N>) -> io::Result<Arc<Ec2>> {
    let wanted = Wanted::of(&config.flows);
    if wanted.is_nothing() {
        return Ok(Arc::default());
    }
    let metadata = Metadata::ask(wanted, config.aws.endpoints.ec2_metadata.as_deref());
    // What is not known then is shown as it is sent when it is not known.
    let _ = timeout(EC2_WAIT, metadata.ready()).await;
    let ec2 = metadata.current();
    if *ec2 == Ec2::default() {
        screen.note("no EC2 instance metadata here: what is taken from there is null")?;
    }
    Ok(ec2)
}

#[cfg(test)]
mod tests;
