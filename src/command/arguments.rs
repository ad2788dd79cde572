//! The command line: what may be written, as clap reads it, and the help that it shows.
//!
//! Alone knows clap. The manual and the completions of packages are made of these types too (`packaging/manual/`).
//! What a command does is its module's business.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::{offsets, preview};
use crate::config::{Prices, parse_duration};
use crate::limits::{ESTIMATE_MAX, ESTIMATE_MIN};
use crate::tailer::Position;

/// Ships log files to Amazon Kinesis: no line lost, a restart sends none twice.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What a person can ask for.
#[derive(Subcommand)]
pub enum Command {
    /// Watch the configured files and ship whatever is appended
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Ship everything that is there now, unfinished last lines included, and exit when all of it is delivered
        #[arg(long)]
        once: bool,
        /// Ship into a Kinesis embedded in this process, and show what a consumer reads back (builds with the feature `local`)
        #[arg(long)]
        local: bool,
    },
    /// Say everything that is wrong with a configuration, or which files it matches now
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Watch the configured files for a while, sending nothing, and say how many shards shipping them takes and what it costs
    Estimate {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How long to watch, as "90 s" or "10 min"; Ctrl-C ends it early [default: 60 s]
        #[arg(long = "for", value_name = "DURATION", value_parser = watching_duration)]
        duration: Option<Duration>,
        /// Only this flow
        #[arg(long, value_name = "NAME")]
        flow: Option<String>,
        /// Report as one JSON document
        #[arg(long)]
        json: bool,
        /// A price, over that of the configuration; can be given several times
        #[arg(long = "price", value_name = "KEY=VALUE", value_parser = Prices::parse_setting)]
        prices: Vec<(&'static str, f64)>,
    },
    /// Show what would be sent, line by line, from where `run` would start; nothing is sent, and no offset changes
    Preview {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only the flow of this name; may be given several times
        #[arg(long = "flow", value_name = "NAME")]
        flows: Vec<String>,
        /// How many lines of each flow: a number from 1, or `all` (which ends with the lines that are there now)
        #[arg(long, value_name = "N", default_value = "10")]
        lines: preview::Lines,
        /// One JSON object a line, whole: records are not cut; the last one has the counts
        #[arg(long)]
        json: bool,
    },
    /// Show, save, restore and change how far files were shipped
    #[command(subcommand)]
    Offsets(OffsetsCommand),
}

/// Whose offsets.
#[derive(Args)]
pub struct OffsetsOf {
    /// The configuration file, which says where the offsets are
    #[arg(long, value_name = "FILE", required_unless_present = "state_dir", conflicts_with = "state_dir")]
    config: Option<PathBuf>,
    /// The state folder itself; no configuration is read
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// What can be done with offsets.
#[derive(Subcommand)]
pub enum OffsetsCommand {
    /// Show of each file what is shipped, and how much is not
    ///
    /// On a stopped agent nothing is changed, and files are looked at as they are now. On a running one it asks the admin address
    /// and shows what was committed last, which is a second ago at most.
    ///
    /// States: tailed (the next start goes on there), renamed (the same, under another name in its folder), truncated (shorter
    /// than what was shipped: read from its beginning), replaced (another file is at its path), gone, unknown (it cannot be looked
    /// at). Bytes "above" are shipped, behind others that are not yet.
    List {
        /// Whose offsets
        #[command(flatten)]
        of: OffsetsOf,
        /// Only this flow
        #[arg(long, value_name = "NAME")]
        flow: Option<String>,
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Write all offsets of a stopped agent as one JSON document
    Export {
        /// Whose offsets
        #[command(flatten)]
        of: OffsetsOf,
        /// The file to write, which only its owner may read; standard output without
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make the offsets of a stopped agent those of an exported document
    ///
    /// Everything in it is checked first. What was there is set aside in the state folder, also when it cannot be read: this is a
    /// way out of exit code 74. Flows and files that the document does not name are as never seen.
    Import {
        /// Whose offsets
        #[command(flatten)]
        of: OffsetsOf,
        /// Change nothing, and say what would be done
        #[arg(long)]
        dry_run: bool,
        /// The document; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Let the next start of a stopped agent read one file from somewhere else
    ///
    /// An offset within a line is moved back to its beginning, and `end` to that of an unfinished last line; records of several
    /// lines ([flow.multiline]) are not known here. Says how much is sent again, or skipped.
    ///
    /// With --state-dir lines are taken to be of UTF-8 or the like, unless the file begins with a byte order mark.
    Set {
        /// Whose offsets
        #[command(flatten)]
        of: OffsetsOf,
        /// The flow that tails the file
        #[arg(long, value_name = "NAME")]
        flow: String,
        /// Change nothing, and say what would be done
        #[arg(long)]
        dry_run: bool,
        /// The file
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Where to read from: `beginning`, `end`, or a number of bytes
        #[arg(value_name = "POSITION", value_parser = position)]
        position: Position,
    },
    /// Let a stopped agent forget files, so that they are as never seen
    ///
    /// With --flow and paths: these files, which the next start reads from their beginning if they are still there. With --flow
    /// alone: all of the flow, which counts as never started, so that `start_at` decides again. With --gone: files that are not
    /// where they were, of all flows or of one. With --all: everything, also when the offsets cannot be read; the next start is as
    /// a first start.
    ///
    /// With --all what was there is set aside in the state folder; before the others, `export` keeps it.
    Forget {
        /// Whose offsets
        #[command(flatten)]
        of: OffsetsOf,
        /// The flow
        #[arg(long, value_name = "NAME", required_unless_present_any = ["gone", "all"])]
        flow: Option<String>,
        /// All files that are gone
        #[arg(long, conflicts_with_all = ["all", "paths"])]
        gone: bool,
        /// All files of all flows
        #[arg(long, conflicts_with_all = ["flow", "paths"])]
        all: bool,
        /// Change nothing, and say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Files of the flow; all without
        #[arg(value_name = "PATH", requires = "flow")]
        paths: Vec<PathBuf>,
    },
}

impl OffsetsOf {
    /// One of them is there: clap sees to that.
    fn of(self) -> offsets::Of {
        match self.state_dir {
            Some(state_dir) => offsets::Of::StateDir(state_dir),
            None => offsets::Of::Config(self.config.unwrap_or_default()),
        }
    }
}

impl OffsetsCommand {
    /// What the command is called with.
    pub fn options(self) -> offsets::Options {
        let (of, action) = match self {
            Self::List { of, flow, json } => (of, offsets::Action::List { flow, json }),
            Self::Export { of, file } => (of, offsets::Action::Export { file }),
            Self::Import { of, dry_run, file } => (of, offsets::Action::Import { file, dry_run }),
            Self::Set { of, flow, dry_run, path, position } => (of, offsets::Action::Set { flow, path, position, dry_run }),
            Self::Forget { of, flow, gone, dry_run, paths, .. } => {
                let what = match flow {
                    flow if gone => offsets::Forgotten::Gone(flow),
                    Some(flow) if paths.is_empty() => offsets::Forgotten::Flow(flow),
                    Some(flow) => offsets::Forgotten::Files(flow, paths),
                    None => offsets::Forgotten::All,
                };
                (of, offsets::Action::Forget { what, dry_run })
            }
        };
        offsets::Options { of: of.of(), action }
    }
}

fn position(text: &str) -> Result<Position, &'static str> {
    match text {
        "beginning" => Ok(Position::Beginning),
        "end" => Ok(Position::End),
        _ => text.parse().map(Position::Offset).map_err(|_| "write `beginning`, `end`, or a number of bytes"),
    }
}

fn watching_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let bounds = ESTIMATE_MIN..=ESTIMATE_MAX;
    bounds.contains(&duration).then_some(duration).ok_or_else(|| "write a time from 1 s to 1 d".to_owned())
}
