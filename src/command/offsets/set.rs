//! `kinetail offsets set`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::effect::{Effect, settled_byte_count};
use super::{DRY_RUN, Site, Stop, absolute, shown, tell, unknown_path, wrong_usage};
use crate::command::{human_bytes, run};
use crate::config::{Flow, one_line};
use crate::discovery::{Found, Globs};
use crate::offsets::{Changes, Identity, Peeked, Row};
use crate::span::FileKey;
use crate::tailer::{Position, UnfitPosition, is_row_of_file_at, row_at};

/// What the command line says.
pub(super) struct Setting {
    /// Name of the flow.
    pub(super) flow: String,
    /// The file.
    pub(super) path: PathBuf,
    /// From where it is read.
    pub(super) position: Position,
    /// Changes nothing.
    pub(super) dry_run: bool,
}

/// Gives a file a row with which it is read from a position on.
///
/// The row has a new key: what an unreconciled run has sent of the file it has sent under the old one, and finding that in the
/// stream settles nothing of what is to be sent again.
pub(super) fn set(site: &Site, setting: &Setting, out: &mut impl Write) -> Result<(), Stop> {
    let Setting { flow: name, position, dry_run, .. } = setting;
    site.check_owner()?;
    let contents = site.peek()?.unwrap_or_default();
    site.check_flow(name, &contents)?;
    let flow = site.config.iter().flat_map(|config| &config.flows).find(|flow| flow.name == *name);
    if site.config.is_some() && flow.is_none() {
        return Err(wrong_usage(format!("the flow `{}` is not configured any more: nothing reads its files", one_line(name))));
    }
    let path = absolute(&setting.path)?;
    let found = flow.map(found_by).transpose()?;
    let own = |row: &Row| row.flow == *name;
    let row = row_at(name, flow.map(|flow| flow.line.encoding), &path, *position).map_err(|error| match error {
        UnfitPosition::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
            let of_rows = contents.rows.iter().filter(|(_, row)| own(row)).map(|(_, row)| row.path.as_str());
            let of_globs = found.iter().flatten().filter_map(|found| found.path.to_str());
            unknown_path(&path, "there is no such file", of_rows.chain(of_globs))
        }
        error => wrong_usage(format!("{}: {}", shown(&path), one_line(&error.to_string()))),
    })?;
    let is_it = |row: &Row| own(row) && is_row_of_file_at(row, &path).unwrap_or(false);
    let before: Vec<&(FileKey, Row)> = contents.rows.iter().filter(|(_, row)| is_it(row)).collect();
    let known = before.first().map(|(_, row)| row);
    let row = Row { path: path_of_row(&row, known, found.as_deref(), &path)?, ..row };
    let row =
        Row { identity: Identity { is_superseded: known.is_some_and(|row| row.identity.is_superseded), ..row.identity }, ..row };

    let effect = Effect::of(known, Some(&row), row.identity.byte_count);
    let changes = Changes {
        removed: before.iter().map(|(key, _)| *key).collect(),
        rows: vec![(new_key(&contents), row.clone())],
        ..Changes::default()
    };
    if *dry_run {
        writeln!(out, "{DRY_RUN}")?;
    } else {
        site.commit(&changes)?;
    }
    tell_row(&row, *position, out)?;
    tell(effect, out)
}

/// The files that the patterns of a flow match now.
fn found_by(flow: &Flow) -> Result<Vec<Found>, Stop> {
    let globs = Globs::new(&flow.files, &flow.exclude).map_err(|mistake| wrong_usage(mistake.message))?;
    Ok(globs.scan().files)
}

/// Where the agent sees the file: a path that leads to it may be another.
fn path_of_row(row: &Row, known: Option<&Row>, found: Option<&[Found]>, path: &Path) -> Result<String, Stop> {
    if let Some(known) = known {
        return Ok(known.path.clone());
    }
    let Some(found) = found else { return Ok(row.path.clone()) };
    let place = row.identity.place;
    let seen = found.iter().find(|found| place.is_some_and(|place| (place.device, place.inode) == (found.device, found.inode)));
    match seen {
        Some(found) => Ok(found.path.to_string_lossy().into_owned()),
        None => {
            let candidates = found.iter().filter_map(|found| found.path.to_str());
            Err(unknown_path(path, &format!("no pattern of the flow `{}` matches it", one_line(&row.flow)), candidates))
        }
    }
}

/// As random as those that the agent draws.
fn new_key(contents: &Peeked) -> FileKey {
    loop {
        let key = FileKey(u64::from_be_bytes(run::random_bytes()));
        if contents.rows.iter().all(|(other, _)| *other != key) {
            return key;
        }
    }
}

fn tell_row(row: &Row, position: Position, out: &mut impl Write) -> Result<(), Stop> {
    let (start, end) = (row.watermark, row.identity.byte_count);
    let moved = match position {
        Position::Offset(offset) if offset != start => format!(", where the line begins that has byte {offset}"),
        Position::End if end != start => ", where its unfinished last line begins".to_owned(),
        _ => String::new(),
    };
    let (flow, path) = (one_line(&row.flow), one_line(&row.path));
    writeln!(out, "{flow}: {path} is read from offset {start} on{moved}")?;
    let left = end - settled_byte_count(row, end);
    writeln!(out, "{} of its {} are behind that", human_bytes(left), human_bytes(end))?;
    Ok(())
}
