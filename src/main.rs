//! Arguments, logging, and the exit code; nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use kinetail::command::{check, exit, run};

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
}

fn main() -> ExitCode {
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
    })
}
