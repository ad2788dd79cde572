//! Arguments are parsed, the command is called, and its exit code returned; nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use kinetail::command::arguments::{Arguments, Command};
use kinetail::command::{check, estimate, exit, offsets, preview, run};
use kinetail::limits::ESTIMATE_DEFAULT;

fn main() -> ExitCode {
    if kinetail::offsets::read_for_parent(std::env::args_os()) {
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
        Command::Offsets(command) => offsets::main(command.options()),
        Command::Preview { config, flows, lines, json } => preview::main(&preview::Options { config, flows, lines, json }),
    })
}
