//! `kinetail offsets`: what of each file is settled, for people who want to see it or have it otherwise.
//!
//! It decides whose offsets are meant, who may change them, and what is said of a change. All but `list` is for an agent that is
//! stopped; how a store is kept is the business of [`crate::offsets`], which file a row is of that of the tailer.

mod ask;
mod document;
mod effect;
mod export;
mod forget;
mod import;
mod list;
mod listing;
mod mistakes;
mod set;
mod text;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::effect::Effect;
pub use self::forget::Forgotten;
pub use self::listing::page;
use super::{exit, human_bytes, run, with_causes};
use crate::config::{Config, STATE_DIR_DEFAULT, nearest, one_line};
use crate::offsets::{Changes, Content, Offsets, OpenError, Peeked};
use crate::tailer::Position;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose offsets.
    pub of: Of,
    /// What is done with them.
    pub action: Action,
}

/// Where the store is.
#[derive(Clone, Debug)]
pub enum Of {
    /// Where this configuration file says.
    Config(PathBuf),
    /// In this state folder; no configuration is read.
    StateDir(PathBuf),
}

/// A subcommand.
#[derive(Clone, Debug)]
pub enum Action {
    /// Shows them.
    List {
        /// Of this flow only.
        flow: Option<String>,
        /// As one JSON document.
        json: bool,
    },
    /// Writes all of it as a document.
    Export {
        /// Into this file; else to standard output.
        file: Option<PathBuf>,
    },
    /// Makes the store of such a document.
    Import {
        /// The file with it; `-` is standard input.
        file: PathBuf,
        /// Changes nothing, and says what it would do.
        dry_run: bool,
    },
    /// Lets the next start read a file from somewhere else.
    Set {
        /// The flow that tails it.
        flow: String,
        /// The file.
        path: PathBuf,
        /// From where.
        position: Position,
        /// As above.
        dry_run: bool,
    },
    /// Removes what is known of files.
    Forget {
        /// Of which.
        what: Forgotten,
        /// As above.
        dry_run: bool,
    },
}

/// Why nothing more is done.
#[derive(Debug)]
enum Stop {
    /// The sentence for people, and the exit code.
    Failed(String, u8),
    /// Standard output takes nothing more.
    Unwritable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error)
    }
}

fn wrong_usage(text: impl Into<String>) -> Stop {
    Stop::Failed(text.into(), exit::USAGE)
}

fn unreadable(text: impl Into<String>) -> Stop {
    Stop::Failed(text.into(), exit::IOERR)
}

/// `kinetail offsets` from the arguments to the exit code.
pub fn main(options: Options) -> u8 {
    let site = match Site::of(options.of) {
        Ok(site) => site,
        Err(code) => return code,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match options.action {
        Action::List { flow, json } => list::list(&site, flow.as_deref(), json, &mut out),
        Action::Export { file } => export::export(&site, file.as_deref(), &mut out),
        Action::Import { file, dry_run } => import::import(&site, &file, dry_run, &mut out),
        Action::Set { flow, path, position, dry_run } => {
            set::set(&site, &set::Setting { flow, path, position, dry_run }, &mut out)
        }
        Action::Forget { what, dry_run } => forget::forget(&site, &what, dry_run, &mut out),
    };
    match done.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => exit::OK,
        // A reader that has gone away has seen what it wanted.
        Err(Stop::Unwritable(error)) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(Stop::Unwritable(error)) => run::complain(&format!("cannot write: {error}"), exit::IOERR),
        Err(Stop::Failed(text, code)) => {
            // What was done before it is told first; nobody may be there any more.
            let _ = out.flush();
            run::complain(&text, code)
        }
    }
}

/// A state folder, and the configuration if there is one.
struct Site {
    state_dir: PathBuf,
    config: Option<Config>,
}

impl Site {
    /// What is wrong with the configuration is told; then the exit code.
    fn of(of: Of) -> Result<Self, u8> {
        Ok(match of {
            Of::StateDir(state_dir) => Self { state_dir, config: None },
            Of::Config(path) => {
                let config = run::load(&path)?;
                let state_dir = config.agent.state_dir.clone().unwrap_or_else(|| STATE_DIR_DEFAULT.into());
                Self { state_dir, config: Some(config) }
            }
        })
    }

    /// False when it is known that no flow of this name is configured: what is of it has no effect.
    fn may_have_flow(&self, name: &str) -> bool {
        self.config.as_ref().is_none_or(|config| config.flows.iter().any(|flow| flow.name == name))
    }

    /// The state folder, as it is shown.
    fn folder(&self) -> String {
        shown(&self.state_dir)
    }

    /// What is there; none when nothing was ever kept there. Changes nothing.
    fn peek(&self) -> Result<Option<Peeked>, Stop> {
        Offsets::peek(&self.state_dir).map_err(|error| self.not_opened(&error))
    }

    /// Sees to it that the store may be changed: its files have to stay those of the user whom the agent runs as, or the agent
    /// could not open it any more.
    fn check_owner(&self) -> Result<(), Stop> {
        let folder = self.folder();
        let metadata = fs::metadata(&self.state_dir).map_err(|error| {
            unreadable(format!("cannot use the state folder {folder}: {error}; it is made by the first start"))
        })?;
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != own {
            let text = format!(
                "the state folder {folder} belongs to the user {owner}; run this as that user: sudo -u '#{owner}' kinetail offsets ..."
            );
            return Err(Stop::Failed(text, exit::NOPERM));
        }
        Ok(())
    }

    /// Writes some changes into the store that is there.
    fn commit(&self, changes: &Changes) -> Result<(), Stop> {
        let store = Offsets::open(&self.state_dir).map_err(|error| self.not_opened(&error))?;
        let committed = store.commit(changes).and_then(|()| store.finish());
        // Closing sled would write once more, and panic if it cannot.
        std::mem::forget(store);
        committed.map_err(|error| unreadable(format!("cannot write the offsets in {}: {error}", self.folder())))
    }

    /// Makes the store anew, and says where the one before is now.
    fn replace(&self, content: &Content, out: &mut impl Write) -> Result<(), Stop> {
        let aside = Offsets::replace_all(&self.state_dir, content).map_err(|error| self.not_opened(&error))?;
        if let Some(aside) = aside {
            writeln!(out, "what was there is in {} now", shown(&aside))?;
        }
        Ok(())
    }

    fn not_opened(&self, error: &OpenError) -> Stop {
        match error {
            OpenError::InUse(_) => Stop::Failed(
                format!(
                    "an agent is running with the state folder {}; stop it first, and start it again afterwards",
                    self.folder()
                ),
                exit::TEMPFAIL,
            ),
            OpenError::Unreadable(..) | OpenError::Malformed(..) | OpenError::Later(..) => {
                unreadable(one_line(&with_causes(error)))
            }
        }
    }

    /// Sees to it that a flow of this name is configured, or that there is something of it in the store.
    fn check_flow(&self, name: &str, contents: &Peeked) -> Result<(), Stop> {
        let configured = self.config.iter().flat_map(|config| &config.flows).map(|flow| flow.name.as_str());
        let stored = contents.started_flows.iter().map(String::as_str);
        let of_rows = contents.rows.iter().map(|(_, row)| row.flow.as_str());
        known_flow(name, configured.chain(stored).chain(of_rows))
    }
}

fn known_flow<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Stop> {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&name) {
        return Ok(());
    }
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{}`?", one_line(near)),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("there are: {}", one_line(&known.join(", "))),
    };
    Err(wrong_usage(format!("no flow is called `{}`; {help}", one_line(name))))
}

/// Said where nothing is done.
const DRY_RUN: &str = "dry run: nothing is changed";

/// Says what a change makes the next start do.
fn tell(effect: Effect, out: &mut impl Write) -> Result<(), Stop> {
    match effect.again {
        0 => writeln!(out, "the next start sends nothing again")?,
        again => writeln!(out, "the next start sends {} again", human_bytes(again))?,
    }
    if effect.skipped > 0 {
        writeln!(out, "{} that were not sent yet are skipped", human_bytes(effect.skipped))?;
    }
    Ok(())
}

/// What is wrong with a path that leads to no file that is known, and which may have been meant.
fn unknown_path<'a>(path: &Path, what: &str, known: impl Iterator<Item = &'a str>) -> Stop {
    let written = path.to_string_lossy();
    let help = nearest(&written, known).map(|near| format!("; did you mean {}?", one_line(near))).unwrap_or_default();
    wrong_usage(format!("{}: {what}{help}", one_line(&written)))
}

/// A path as rows have it. Symbolic links are left as they are.
fn absolute(path: &Path) -> Result<PathBuf, Stop> {
    std::path::absolute(path).map_err(|error| wrong_usage(format!("{}: {error}", shown(path))))
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// A time in seconds since 1970, as it is written.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

/// JSON that terminals take for nothing but text: of the control characters JSON itself only forbids some.
fn for_terminals(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' => text.push('\n'),
            character if character.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests;
