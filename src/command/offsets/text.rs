//! What of each file is settled, as a table for people.

use std::io::{self, Write};

use super::listing::{Listing, OfFile, OfFlow, State, Sums, Unreconciled, per_cent};
use crate::command::{counted, human_bytes};
use crate::config::one_line;

/// Writes all of it.
pub(super) fn write(listing: &Listing, out: &mut impl Write) -> io::Result<()> {
    let folder = one_line(&listing.state_dir);
    if listing.running {
        writeln!(out, "offsets in {folder}, as of the last commit of the agent that is running")?;
    } else {
        writeln!(out, "offsets in {folder}; the agent is stopped")?;
    }
    for OfFlow { flow, started, sums } in &listing.flows {
        writeln!(out, "\n{}: {}", one_line(flow), summed_up(sums))?;
        if !started {
            writeln!(out, "  it has not started yet: `start_at` says where its other files begin")?;
        }
        let files: Vec<&OfFile> = listing.files.iter().filter(|file| file.flow == *flow).collect();
        if !files.is_empty() {
            let heads = ["size", "settled up to", "and above", "lag"];
            writeln!(
                out,
                "  {:>10}  {:>15}  {:>10}  {:>10}  {:>7}  {:9}  path",
                heads[0], heads[1], heads[2], heads[3], "", "state"
            )?;
        }
        for file in files {
            write_file(file, out)?;
        }
    }
    if listing.flows.len() != 1 {
        writeln!(out, "\ntotal: {}", summed_up(&listing.total))?;
    }
    if let Some(recovered) = &listing.recovered {
        writeln!(out, "\nat the next start {}", one_line(recovered))?;
    }
    if listing.rolled_back {
        writeln!(out, "\nthe store has lost its last commits: files may have been shipped further than this says")?;
    }
    for of in &listing.unreconciled {
        writeln!(out, "\n{}", told(of))?;
    }
    Ok(())
}

fn write_file(file: &OfFile, out: &mut impl Write) -> io::Result<()> {
    let state = match file.state {
        State::Tailed => "tailed",
        State::Truncated => "truncated",
        State::Renamed => "renamed",
        State::Replaced => "replaced",
        State::Gone => "gone",
        State::Unknown => "unknown",
    };
    write!(
        out,
        "  {:>10}  {:>15}  {:>10}  {:>10}  {:>5.1} %  {state:9}  {}",
        human_bytes(file.size_bytes),
        file.settled_until,
        human_bytes(file.settled_above_bytes),
        human_bytes(file.lag_bytes),
        file.lag_percent,
        one_line(&file.path),
    )?;
    if let Some(path) = &file.renamed_to {
        write!(out, ", now {}", one_line(path))?;
    }
    if let Some(problem) = &file.problem {
        write!(out, ": {}", one_line(problem))?;
    }
    if let Some(since) = &file.gone_since {
        write!(out, ", since {}", one_line(since))?;
    }
    if let Some(at) = &file.forgotten_at {
        write!(out, ", forgotten by a start after {}", one_line(at))?;
    }
    writeln!(out)
}

fn summed_up(sums: &Sums) -> String {
    let count = |count: u64, noun| counted(usize::try_from(count).unwrap_or(usize::MAX), noun);
    let mut text = format!(
        "{}, {}, lag {} ({:.1} %)",
        count(sums.files, "file"),
        human_bytes(sums.size_bytes),
        human_bytes(sums.lag_bytes),
        per_cent(sums.lag_bytes, sums.size_bytes),
    );
    if sums.gone_files > 0 {
        text += &format!("; {} gone", count(sums.gone_files, "file"));
        if sums.gone_lag_bytes > 0 {
            text += &format!(", {} of which are not sent", human_bytes(sums.gone_lag_bytes));
        }
    }
    text
}

fn told(of: &Unreconciled) -> String {
    let Unreconciled { run, flow, stream, committed_at, in_flight_since, in_flight_records } = of;
    let count = counted(usize::try_from(*in_flight_records).unwrap_or(usize::MAX), "record");
    let since = in_flight_since.as_ref().map(|since| format!(" since {}", one_line(since))).unwrap_or_default();
    let text = format!(
        "flow {} is not reconciled: its run {} ended without telling what of the last moments was stored; at the last commit, {}, {count} \
         were in flight{since}",
        one_line(flow),
        one_line(run),
        one_line(committed_at),
    );
    match stream {
        Some(stream) => text + &format!("; the next start reads the stream {} back, if it may", one_line(stream)),
        None => text + "; a delivery stream cannot be read back, so they are sent again",
    }
}
