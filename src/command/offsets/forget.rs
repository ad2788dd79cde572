//! `kinetail offsets forget`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::effect::Effect;
use super::listing::State;
use super::{DRY_RUN, Site, Stop, absolute, tell, unknown_path};
use crate::command::{counted, human_bytes};
use crate::config::{Compressed, Flow, StartAt, one_line};
use crate::offsets::{Changes, Held, Offsets, Peeked, Row};
use crate::span::FileKey;
use crate::tailer::{Wheres, is_compressed_name, is_row_of_file_at};

/// Of which files nothing is to be known any more.
#[derive(Clone, Debug)]
pub enum Forgotten {
    /// Of these of a flow, at least one. The flow counts as started as before: they are read from their beginning.
    Files(String, Vec<PathBuf>),
    /// Of all of a flow, which has not started any more: `start_at` decides again.
    Flow(String),
    /// Of those that are gone, of this flow or of all.
    Gone(Option<String>),
    /// Of all.
    All,
}

/// Removes rows, or all that there is.
pub(super) fn forget(site: &Site, what: &Forgotten, dry_run: bool, out: &mut impl Write) -> Result<(), Stop> {
    let held = site.hold()?;
    if dry_run {
        writeln!(out, "{DRY_RUN}")?;
    }
    if let Forgotten::All = what {
        return forget_all(site, held, dry_run, out);
    }
    let contents = held.peek().map_err(|error| site.not_opened(&error))?.unwrap_or_default();
    if let Forgotten::Files(flow, _) | Forgotten::Flow(flow) | Forgotten::Gone(Some(flow)) = what {
        site.check_flow(flow, &contents)?;
    }
    let mut wheres = Wheres::default();
    let forgotten: Vec<&(FileKey, Row)> = match what {
        Forgotten::Files(flow, paths) => of_paths(&contents, flow, paths)?,
        Forgotten::Flow(flow) => contents.rows.iter().filter(|(_, row)| row.flow == *flow).collect(),
        Forgotten::Gone(flow) => {
            let is_meant = |row: &Row| flow.as_ref().is_none_or(|flow| row.flow == *flow);
            let mut is_gone = |row: &Row| State::of(row, &wheres.of(row)).is_gone();
            contents.rows.iter().filter(|(_, row)| is_meant(row) && is_gone(row)).collect()
        }
        Forgotten::All => Vec::new(),
    };
    for (_, row) in &forgotten {
        writeln!(out, "forgotten: {}: {}", one_line(&row.flow), one_line(&row.path))?;
    }
    let anew = match what {
        Forgotten::Flow(flow) => Some(without_flow(&contents, flow)),
        _ => None,
    };
    let is_changed = !forgotten.is_empty() || anew.as_ref().is_some_and(|anew| anew.started_flows != contents.started_flows);
    if !is_changed {
        writeln!(out, "nothing is known of {}", if let Forgotten::Gone(_) = what { "files that are gone" } else { "its files" })?;
        return Ok(());
    }
    if !dry_run {
        let removed: Vec<FileKey> = forgotten.iter().map(|(key, _)| *key).collect();
        let is_empty = removed.len() == contents.rows.len() && contents.started_flows.is_empty();
        match anew {
            Some(anew) => _ = site.replace(held, &anew, out)?,
            // A store in which there is nothing any more is taken for damaged.
            None if is_empty => _ = site.replace(held, &Peeked::default(), out)?,
            None => site.commit(held, &Changes { removed, ..Changes::default() })?,
        }
    }
    let is_started_anew = matches!(what, Forgotten::Flow(_));
    tell_forgotten(site, forgotten.into_iter().map(|(_, row)| row), is_started_anew, out)
}

/// The whole store is set aside, whether or not it can be read.
fn forget_all(site: &Site, held: Held, dry_run: bool, out: &mut impl Write) -> Result<(), Stop> {
    let before = if dry_run {
        held.peek()
    } else {
        let aside = site.replace(held, &Peeked::default(), out)?;
        writeln!(out, "the next start with {} is as a first start", site.folder())?;
        // Opening it may end this process if it is damaged.
        out.flush()?;
        aside.map_or(Ok(None), |aside| Offsets::peek(&aside))
    };
    match before {
        Ok(Some(before)) => tell_forgotten(site, before.rows.iter().map(|(_, row)| row), true, out),
        Ok(None) => Ok(writeln!(out, "there were no offsets in {}", site.folder())?),
        Err(_) => Ok(writeln!(out, "what was there cannot be read, so nobody knows what the next start sends again")?),
    }
}

/// The rows of a flow that are of the files at these paths; of a path at which there is no such file, those that were there.
fn of_paths<'c>(contents: &'c Peeked, flow: &str, paths: &[PathBuf]) -> Result<Vec<&'c (FileKey, Row)>, Stop> {
    let own = || contents.rows.iter().filter(|(_, row)| row.flow == flow);
    let mut all: Vec<&(FileKey, Row)> = Vec::new();
    for path in paths {
        let path = absolute(path)?;
        let mut of_path: Vec<_> = own().filter(|(_, row)| is_row_of_file_at(row, &path).unwrap_or(false)).collect();
        if of_path.is_empty() {
            of_path = own().filter(|(_, row)| Path::new(&row.path) == path).collect();
        }
        if of_path.is_empty() {
            let what = format!("nothing is known of it in the flow `{}`", one_line(flow));
            return Err(unknown_path(&path, &what, own().map(|(_, row)| row.path.as_str())));
        }
        all.extend(of_path);
    }
    all.sort_by_key(|(key, _)| *key);
    all.dedup_by_key(|(key, _)| *key);
    Ok(all)
}

/// Everything but what is of a flow.
fn without_flow(contents: &Peeked, flow: &str) -> Peeked {
    let mut contents = contents.clone();
    contents.rows.retain(|(_, row)| row.flow != flow);
    contents.started_flows.remove(flow);
    contents.sendings.retain(|(run, _)| run.flow != flow);
    contents
}

/// Says what the next start does with files of which nothing is known any more.
fn tell_forgotten<'r>(
    site: &Site,
    rows: impl Iterator<Item = &'r Row>,
    is_started_anew: bool,
    out: &mut impl Write,
) -> Result<(), Stop> {
    let flow_of = |row: &Row| site.config.iter().flat_map(|config| &config.flows).find(|flow| flow.name == row.flow);
    let mut wheres = Wheres::default();
    let (mut effect, mut at_end, mut count, mut lost) = (Effect::default(), 0, 0, 0);
    let mut flows: BTreeSet<&str> = BTreeSet::new();
    for row in rows {
        count += 1;
        let Some(byte_count) = wheres.of(row).byte_count() else {
            lost += Effect::of(Some(row), Some(&all_of(row)), row.identity.byte_count).skipped;
            continue;
        };
        let flow = flow_of(row);
        flows.extend(flow.filter(|flow| flow.ignore_older.is_some()).map(|flow| flow.name.as_str()));
        if is_started_anew && flow.is_some_and(|flow| flow.start_at == StartAt::End) {
            at_end += Effect::of(Some(row), Some(&all_of(row)), byte_count).skipped;
        } else if !is_compressed_name(Path::new(&row.path)) || flow.is_some_and(reads_compressed) {
            effect.add(Effect::of(Some(row), None, byte_count));
        }
    }
    writeln!(out, "{} forgotten", counted(count, "file"))?;
    tell(effect, out)?;
    if at_end > 0 {
        writeln!(out, "`start_at = \"end\"` decides again: {} that were not sent yet are skipped", human_bytes(at_end))?;
    }
    if lost > 0 {
        writeln!(out, "{} of files that are gone were not sent yet, and are not looked for any more", human_bytes(lost))?;
    }
    for flow in flows {
        writeln!(out, "note: in the flow {}, files that are older than `ignore_older` begin at their end", one_line(flow))?;
    }
    if is_started_anew && site.config.is_none() {
        writeln!(out, "note: that is so unless `start_at` is \"end\"")?;
    }
    Ok(())
}

fn reads_compressed(flow: &Flow) -> bool {
    flow.compressed == Compressed::Read
}

/// The same file, all of it settled.
fn all_of(row: &Row) -> Row {
    Row { watermark: u64::MAX, settled_above: Vec::new(), ..row.clone() }
}
