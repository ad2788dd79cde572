//! `kinetail offsets forget`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::effect::Effect;
use super::listing::State;
use super::{DRY_RUN, Site, Stop, absolute, tell, unknown_path};
use crate::command::{counted, human_bytes};
use crate::config::{Compressed, Flow, StartAt, one_line};
use crate::offsets::{Changes, Content, Offsets, OpenError, Peeked, Row};
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
    site.check_owner()?;
    if dry_run {
        writeln!(out, "{DRY_RUN}")?;
    }
    if let Forgotten::All = what {
        return forget_all(site, dry_run, out);
    }
    let contents = site.peek()?.unwrap_or_default();
    if let Forgotten::Files(flow, _) | Forgotten::Flow(flow) | Forgotten::Gone(Some(flow)) = what {
        site.check_flow(flow, &contents)?;
    }
    let (forgotten, changes) = changes(&contents, what)?;
    if changes.is_empty() {
        let of = if let Forgotten::Gone(_) = what { "files that are gone" } else { "its files" };
        return Ok(writeln!(out, "nothing is known of {of}")?);
    }
    if !dry_run {
        site.commit(&changes)?;
    }
    for row in &forgotten {
        writeln!(out, "forgotten: {}: {}", one_line(&row.flow), one_line(&row.path))?;
    }
    tell_forgotten(site, &forgotten, matches!(what, Forgotten::Flow(_)), out)
}

/// The rows that go, and all that changes with them.
fn changes<'c>(contents: &'c Peeked, what: &Forgotten) -> Result<(Vec<&'c Row>, Changes), Stop> {
    let mut changes = Changes::default();
    let forgotten: Vec<&(FileKey, Row)> = match what {
        Forgotten::Files(flow, paths) => of_paths(contents, flow, paths)?,
        Forgotten::Gone(flow) => {
            let mut wheres = Wheres::default();
            let is_meant = |row: &Row| flow.as_ref().is_none_or(|flow| row.flow == *flow);
            let mut is_gone = |row: &Row| State::of(row, &wheres.of(row)).is_gone();
            contents.rows.iter().filter(|(_, row)| is_meant(row) && is_gone(row)).collect()
        }
        Forgotten::Flow(flow) => {
            changes.forgotten_flows.extend(contents.started_flows.get(flow).cloned());
            let runs = contents.sendings.iter().map(|(run, _)| run);
            changes.reconciled = runs.filter(|run| run.flow == *flow).cloned().collect();
            contents.rows.iter().filter(|(_, row)| row.flow == *flow).collect()
        }
        Forgotten::All => contents.rows.iter().collect(),
    };
    changes.removed = forgotten.iter().map(|(key, _)| *key).collect();
    Ok((forgotten.into_iter().map(|(_, row)| row).collect(), changes))
}

/// The whole store is set aside, whether or not it can be read.
fn forget_all(site: &Site, dry_run: bool, out: &mut impl Write) -> Result<(), Stop> {
    let before = match Offsets::peek(&site.state_dir) {
        Err(error @ OpenError::InUse(_)) => return Err(site.not_opened(&error)),
        Ok(None) => return Ok(writeln!(out, "there are no offsets in {}", site.folder())?),
        before => before,
    };
    if !dry_run {
        site.replace(&Content::default(), out)?;
    }
    writeln!(out, "the next start with {} is as a first start", site.folder())?;
    match before {
        Ok(before) => {
            let before = before.unwrap_or_default();
            let rows: Vec<&Row> = before.rows.iter().map(|(_, row)| row).collect();
            tell_forgotten(site, &rows, true, out)
        }
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

/// Says what the next start does with files of which nothing is known any more.
fn tell_forgotten(site: &Site, rows: &[&Row], is_started_anew: bool, out: &mut impl Write) -> Result<(), Stop> {
    let flow_of = |row: &Row| site.config.iter().flat_map(|config| &config.flows).find(|flow| flow.name == row.flow);
    let mut wheres = Wheres::default();
    let (mut effect, mut at_end, mut lost) = (Effect::default(), 0, 0);
    let mut flows: BTreeSet<&str> = BTreeSet::new();
    for row in rows.iter().filter(|row| site.may_have_flow(&row.flow)) {
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
    writeln!(out, "{} forgotten", counted(rows.len(), "file"))?;
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
