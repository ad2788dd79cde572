//! `kinetail check`: whether the configuration is right, and what its globs match now.
//!
//! Nothing is sent and nothing but the files of the configuration is read: matching files are only opened, to see whether they can be.

mod advice;
mod pattern_cost;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use self::advice::advice;
use self::pattern_cost::{PatternCost, cost_of};
use super::{counted, exit, human_bytes};
use crate::config::{Flow, Format, Loaded, one_line};
use crate::discovery::{Found, Globs, Problem, Scan};

/// Paths listed of one kind; the others are counted.
const LISTED_MAX: usize = 20;

/// `kinetail check` from the arguments to the exit code.
pub fn main(config_path: &Path) -> u8 {
    let mut stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    // A reader that has gone away has seen what it wanted.
    check(config_path, &mut stdout, is_terminal).unwrap_or(exit::IOERR)
}

/// Checks the configuration file, with those of flows beside it, and returns the exit code; fails only when `out` does.
pub fn check(config_path: &Path, out: &mut impl Write, colour: bool) -> io::Result<u8> {
    let loaded = match Loaded::load(config_path) {
        Ok(loaded) => loaded,
        Err(error) => {
            out.write_all(error.render(colour).as_bytes())?;
            return Ok(exit::CONFIG);
        }
    };
    let flows = &loaded.config.flows;
    write!(out, "{}: no mistakes, {}", shown(config_path), counted(flows.len(), "flow"))?;
    let files = loaded.files();
    if files.len() > 1 {
        writeln!(out, " in {} files", files.len())?;
        list(out, files.map(|(path, flow_count)| format!("{}: {}", shown(path), counted(flow_count, "flow"))))?;
    } else {
        writeln!(out)?;
    }
    for flow in flows {
        check_flow(flow, out)?;
    }
    Ok(exit::OK)
}

fn check_flow(flow: &Flow, out: &mut impl Write) -> io::Result<()> {
    let globs = Globs::new(&flow.files, &flow.exclude).expect("patterns were compiled when the configuration was read");
    let Scan { files, problems, .. } = globs.scan();
    let mut readable = Vec::new();
    let mut unreadable = Vec::new();
    for found in files {
        match File::open(&found.path) {
            Ok(_) => readable.push(found),
            Err(error) => unreadable.push((found, error)),
        }
    }
    let byte_count = readable.iter().map(|found| found.byte_count).sum();

    writeln!(out, "\n{} to {}", flow.name, flow.delivery.destination)?;
    if readable.is_empty() && unreadable.is_empty() {
        writeln!(out, "  warning: no file matches now: {}", flow.files.join(", "))?;
    } else {
        writeln!(out, "  {}, {}", counted(readable.len(), "file"), human_bytes(byte_count))?;
    }
    let file = |found: &Found| format!("{:>10}  {}", human_bytes(found.byte_count), shown(&found.path));
    list(out, readable.iter().map(file))?;
    if !unreadable.is_empty() {
        writeln!(out, "  warning: {} cannot be read", counted(unreadable.len(), "file"))?;
    }
    list(out, unreadable.iter().map(|(found, error)| format!("{}: {error}", shown(&found.path))))?;
    if !problems.is_empty() {
        writeln!(out, "  warning: {} cannot be tailed", counted(problems.len(), "path"))?;
    }
    list(out, problems.iter().map(|Problem { path, message, .. }| format!("{}: {message}", shown(path))))?;
    for advice in advice(flow) {
        writeln!(out, "  warning: {}", one_line(&advice))?;
    }
    for name in flow.environment_variables().filter(|name| std::env::var_os(name).is_none()) {
        writeln!(out, "  note: the environment variable {} is not set here; where it is not, its value is null", one_line(name))?;
    }
    match flow.parse.as_ref().map(|parse| &parse.format) {
        Some(Format::Regex(patterns)) => patterns.iter().try_for_each(|pattern| tell_cost(pattern.as_str(), out)),
        _ => Ok(()),
    }
}

/// Says of a pattern that costs more than it could how to write it.
fn tell_cost(pattern: &str, out: &mut impl Write) -> io::Result<()> {
    let PatternCost::Several { instead } = cost_of(pattern) else { return Ok(()) };
    writeln!(
        out,
        "  note: this pattern is not one-pass, so that a line that cannot be matched straight on takes several times as long"
    )?;
    writeln!(out, "    {}", one_line(pattern))?;
    match instead {
        Some(instead) => {
            writeln!(
                out,
                "    this one is; it matches from the beginning of the line, and no field has the character in it that stands behind it:\n    try it with `kinetail preview`"
            )?;
            writeln!(out, "    {}", one_line(&instead))
        }
        None => writeln!(
            out,
            "    it may become so if it begins with `^`, and each field excludes the character behind it: [^ ]* instead of \\S+ or .*?"
        ),
    }
}

fn list(out: &mut impl Write, lines: impl ExactSizeIterator<Item = String>) -> io::Result<()> {
    let more = lines.len().saturating_sub(LISTED_MAX);
    for line in lines.take(LISTED_MAX) {
        writeln!(out, "    {line}")?;
    }
    if more > 0 {
        writeln!(out, "    and {more} more")?;
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn output(root: &Path, config: &str) -> (u8, String) {
        let path = root.join("agent.toml");
        fs::write(&path, config.replace("ROOT", &root.to_string_lossy())).unwrap();
        let mut out = Vec::new();
        let code = check(&path, &mut out, false).unwrap();
        (code, String::from_utf8(out).unwrap().replace(&*root.to_string_lossy(), "ROOT"))
    }

    const CONFIG: &str = "[[flow]]\nname = 'app'\nfiles = 'ROOT/*.log'\n[flow.kinesis]\nstream = 'logs'\n";

    #[test]
    fn it_tells_what_the_globs_match_now() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.log"), vec![b'\n'; 3 << 20]).unwrap();
        fs::write(root.path().join("b\n\x1b[2J.log"), "b\n").unwrap();
        symlink("gone", root.path().join("c.log")).unwrap();
        let other = CONFIG.replace("'app'", "'other'").replace("*.log", "*.txt");
        let expected = "\
ROOT/agent.toml: no mistakes, 2 flows

app to stream logs
  2 files, 3.0 MiB
       3.0 MiB  ROOT/a.log
           2 B  ROOT/b\u{fffd}\u{fffd}[2J.log
  warning: 1 path cannot be tailed
    ROOT/c.log: a symbolic link to something that is not there

other to stream logs
  warning: no file matches now: ROOT/*.txt
";
        assert_eq!(output(root.path(), &format!("{CONFIG}{other}")), (exit::OK, expected.to_owned()));
    }

    #[test]
    fn it_tells_where_each_flow_goes_and_what_would_be_better() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.log"), "\n").unwrap();
        let (to_firehose, settings) =
            ("[flow.firehose]\ndelivery_stream = 'd'\nrecord_bytes = ", "[flow.record]\nterminator = ''\n");
        let config = CONFIG.replace("[flow.kinesis]\nstream = 'logs'\n", &format!("{to_firehose}'1 KiB'\n{settings}"));
        let expected = "\
ROOT/agent.toml: no mistakes, 1 flow

app to delivery stream d
  1 file, 1 B
           1 B  ROOT/a.log
  warning: lines are joined with nothing between them: write terminator = \"\\n\" in [flow.record]
  warning: each record is charged as a multiple of 5.0 KiB, which for record_bytes of 1.0 KiB makes 80.0 % of the charge or more: \
leave it out, so that it is 500.0 KiB, or a multiple of that
";
        assert_eq!(output(root.path(), &config), (exit::OK, expected.to_owned()));
    }

    #[test]
    fn it_lists_the_files_that_were_read_when_there_are_several() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("conf.d")).unwrap();
        let flow = |name: &str| CONFIG.replace("'app'", name).replace("ROOT/*.log", "/nonexistent");
        fs::write(root.path().join("conf.d/b.toml"), flow("'b'")).unwrap();
        fs::write(root.path().join("conf.d/a.toml"), format!("{}{}", flow("'a'"), flow("'c'"))).unwrap();
        let expected = "\
ROOT/agent.toml: no mistakes, 3 flows in 3 files
    ROOT/agent.toml: 0 flows
    ROOT/conf.d/a.toml: 2 flows
    ROOT/conf.d/b.toml: 1 flow

a to stream logs
";
        let (code, text) = output(root.path(), "");
        assert!(code == exit::OK && text.starts_with(expected), "{text}");
    }

    #[test]
    fn files_that_cannot_be_read_are_told() {
        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed.log");
        fs::write(&closed, "\n").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        if File::open(&closed).is_ok() {
            return; // Run by root, for whom nothing is closed.
        }
        let (_, text) = output(root.path(), CONFIG);
        assert!(
            text.contains("  0 files, 0 B\n  warning: 1 file cannot be read\n    ROOT/closed.log: Permission denied"),
            "{text}"
        );
    }

    #[test]
    fn many_files_are_counted_and_not_all_listed() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..23 {
            fs::write(root.path().join(format!("{index}.log")), "\n").unwrap();
        }
        let (_, text) = output(root.path(), CONFIG);
        assert!(text.contains("  23 files, 23 B\n") && text.ends_with("    and 3 more\n"), "{text}");
    }

    #[test]
    fn a_wrong_configuration_is_told_with_all_its_mistakes() {
        let root = tempfile::tempdir().unwrap();
        let (code, text) = output(root.path(), "[agnet]\n");
        assert_eq!(code, exit::CONFIG);
        assert!(text.contains("did you mean `agent`?") && text.ends_with("error: ROOT/agent.toml: 2 mistakes\n"), "{text}");
        let mut out = Vec::new();
        assert_eq!(check(&root.path().join("gone.toml"), &mut out, false).unwrap(), exit::CONFIG);
    }
}
