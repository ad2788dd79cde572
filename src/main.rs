//! Arguments, logging, and the exit code; nothing else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use kinetail::command::{check, estimate, exit, preview, run};
use kinetail::config::{Prices, parse_duration};
use kinetail::limits::{ESTIMATE_DEFAULT, ESTIMATE_MAX, ESTIMATE_MIN};
use kinetail::offsets;

/// Ships log files to Amazon Kinesis: no line lost, a restart sends none twice.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
}

fn watching_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let bounds = ESTIMATE_MIN..=ESTIMATE_MAX;
    bounds.contains(&duration).then_some(duration).ok_or_else(|| "write a time from 1 s to 1 d".to_owned())
}

fn main() -> ExitCode {
    if offsets::read_for_parent(std::env::args_os()) {
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Without a terminal or a pipe there is nobody to tell.
            let _ = error.print();
            let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if is_answer { exit::OK } else { exit::USAGE });
        }
    };
    ExitCode::from(match arguments.command {
        Command::Run { config, once, local } => run::main(&run::Options { config, once, local }),
        Command::Check { config } => check::main(&config),
        Command::Estimate { config, duration, flow, json, prices } => {
            let duration = duration.unwrap_or(ESTIMATE_DEFAULT);
            estimate::main(&estimate::Options { config, duration, flow, json, prices })
        }
        Command::Preview { config, flows, lines, json } => preview::main(&preview::Options { config, flows, lines, json }),
    })
}
