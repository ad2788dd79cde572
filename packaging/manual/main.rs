//! Writes the manual pages and the completions that packages have: `cargo run --example manual -- FOLDER`.
//!
//! All of it is made of what is there already: the pages of commands and the completions of the arguments' types, the page of
//! the configuration of `agent.toml.example` (`configuration`). Only what neither says is written here: exit codes, files,
//! variables. The date of the pages is that of `SOURCE_DATE_EPOCH`, so that the same sources make the same pages.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::aot::{Bash, Fish, Zsh, generate_to};
use clap_mangen::Man;
use kinetail::command::arguments::Arguments;
use kinetail::command::exit;
use roff::{Roff, bold, italic, roman};

mod configuration;

/// Whose pages these are.
const SOURCE: &str = concat!("kinetail ", env!("CARGO_PKG_VERSION"));

/// What an exit code means to whoever starts kinetail, by its place in `command::exit`.
const EXIT_CODES: &[(u8, &str)] = &[
    (exit::OK, "All went well."),
    (exit::USAGE, "The command line is wrong."),
    (exit::DATAERR, "A file that is named on the command line is wrong."),
    (exit::SOFTWARE, "With --local --once: what was delivered was not read back."),
    (exit::OSERR, "The system gives no threads or signals."),
    (exit::IOERR, "Something could not be read or written, above all the offsets in the state folder."),
    (exit::TEMPFAIL, "Another agent uses the state folder."),
    (exit::NOPERM, "Only the user as whom the agent runs may do that."),
    (exit::CONFIG, "The configuration is wrong; what is wrong is said with its line."),
];

const FILES: &[(&str, &str)] = &[
    ("/etc/kinetail/agent.toml", "The configuration; see kinetail.toml(5). Ships nothing until a flow is written into it."),
    ("/etc/kinetail/conf.d", "A folder for further files of the configuration."),
    ("/var/lib/kinetail", "The state folder: how far each file was shipped. Whoever removes it ships everything again."),
    ("/etc/default/kinetail, /etc/sysconfig/kinetail", "Variables of the service's environment, on Debian and on Fedora."),
    ("/usr/share/doc/kinetail/agent.toml.example", "Every setting with its default and what it means."),
];

const VARIABLES: &[(&str, &str)] = &[
    ("KINETAIL_LOG", "What is logged, as debug or kinetail=debug,aws_config=info."),
    (
        "AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and others",
        "As for all programs for AWS, where the configuration says nothing.",
    ),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "The proxy, where the configuration names none."),
    ("NO_COLOR", "No colours in what commands show."),
];

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("name the folder to write to: cargo run --example manual -- FOLDER"));
    };
    let date = date().map_err(io::Error::other)?;
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;

    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &date, &pages)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.toml.example");
    let text = configuration::page(&fs::read_to_string(example)?, &date);
    fs::write(pages.join("kinetail.toml.5"), text)?;

    // Not the built one: building has given the subcommands names that the completions make for themselves.
    let mut command = Arguments::command();
    generate_to(Bash, &mut command, "kinetail", &completions)?;
    generate_to(Fish, &mut command, "kinetail", &completions)?;
    generate_to(Zsh, &mut command, "kinetail", &completions)?;
    Ok(())
}

/// The day of `SOURCE_DATE_EPOCH`, or today.
fn date() -> Result<String, String> {
    let time = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => {
            let seconds = seconds.parse().map_err(|error| format!("SOURCE_DATE_EPOCH is no number of seconds: {error}"))?;
            jiff::Timestamp::from_second(seconds).map_err(|error| format!("SOURCE_DATE_EPOCH: {error}"))?
        }
        Err(_) => jiff::Timestamp::now(),
    };
    Ok(time.strftime("%Y-%m-%d").to_string())
}

/// The page of `command`, and those of its subcommands.
fn write_pages(command: &Command, date: &str, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        write_pages(subcommand, date, folder)?;
    }
    let name = command.get_display_name().unwrap_or("kinetail");
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(date).source(SOURCE).manual("kinetail");
    let mut file = File::create(folder.join(man.get_filename()))?;
    man.render_title(&mut file)?;
    // Names and paths are not divided at the ends of lines.
    Roff::new().control("nh", []).control("ad", ["l"]).to_writer(&mut file)?;
    man.render_name_section(&mut file)?;
    man.render_synopsis_section(&mut file)?;
    man.render_description_section(&mut file)?;
    man.render_options_section(&mut file)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut file)?;
    }
    let mut roff = Roff::new();
    if name == "kinetail" {
        exit_status(&mut roff);
        terms(&mut roff, "ENVIRONMENT", VARIABLES);
        terms(&mut roff, "FILES", FILES);
    }
    see_also(&mut roff, name, command);
    roff.to_writer(&mut file)
}

/// The section of exit codes.
fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        roff.control("TP", []).text([bold(code.to_string())]).text([roman(*meaning)]);
    }
    let cut_short = format!("{} + N", exit::SIGNAL);
    roff.control("TP", []).text([bold(cut_short)]).text([roman("Signal N cut it short.")]);
}

/// A section of terms, each with its meaning.
fn terms(roff: &mut Roff, heading: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (term, meaning) in terms {
        roff.control("TP", []).text([italic(*term)]).text([roman(*meaning)]);
    }
}

/// The other pages that `command` leads to.
fn see_also(roff: &mut Roff, name: &str, command: &Command) {
    let mut pages: Vec<(String, char)> =
        command.get_subcommands().map(|subcommand| (format!("{name}-{}", subcommand.get_name()), '1')).collect();
    if let Some((above, _)) = name.rsplit_once('-') {
        pages.push((above.to_owned(), '1'));
    }
    pages.push(("kinetail.toml".to_owned(), '5'));
    roff.control("SH", ["SEE ALSO"]);
    for (index, (page, section)) in pages.iter().enumerate() {
        let end = if index + 1 < pages.len() { "," } else { "" };
        roff.text([bold(page), roman(format!("({section}){end}"))]);
    }
}
