//! `kinetail offsets import`

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use super::effect::Effect;
use super::{DRY_RUN, Site, Stop, mistakes, shown, tell, unreadable};
use crate::command::{counted, exit};
use crate::config::one_line;
use crate::offsets::{Content, Offsets, OpenError, Row};
use crate::span::FileKey;
use crate::tailer::Wheres;

/// Longest document: some hundreds of thousands of files.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;
/// Mistakes that are shown; the others are counted.
const SHOWN_MAX: usize = 50;

/// Makes the store of the document in `file`; what is there is set aside, whether or not it can be read.
pub(super) fn import(site: &Site, file: &Path, dry_run: bool, out: &mut impl Write) -> Result<(), Stop> {
    let document = read(file).map_err(|error| unreadable(format!("cannot read {}: {error}", shown(file))))?;
    let content = mistakes::read(&document).map_err(|mistakes| told(file, &mistakes))?;
    site.check_owner()?;
    let before = match Offsets::peek(&site.state_dir) {
        Err(error @ OpenError::InUse(_)) => return Err(site.not_opened(&error)),
        before => before,
    };
    if dry_run {
        writeln!(out, "{DRY_RUN}")?;
    } else {
        site.replace(&content, out)?;
    }
    writeln!(
        out,
        "{}: {}, {}, {}",
        shown(file),
        counted(content.rows.len(), "file"),
        counted(content.started_flows.len(), "started flow"),
        counted(content.sendings.len(), "unreconciled run"),
    )?;
    for name in strangers(site, &content) {
        writeln!(out, "note: no flow is configured that is called `{}`: what is of it has no effect", one_line(name))?;
    }
    match before {
        Ok(before) => {
            let [before, after] = [before.unwrap_or_default().rows, content.rows]
                .map(|rows| rows.into_iter().filter(|(_, row)| site.may_have_flow(&row.flow)).collect::<Vec<_>>());
            tell(effect_of(&before, &after), out)
        }
        Err(_) => Ok(writeln!(out, "what was there cannot be read, so nobody knows what the next start sends again")?),
    }
}

/// What the rows `after` are instead of those `before`, of the files that are there.
fn effect_of(before: &[(FileKey, Row)], after: &[(FileKey, Row)]) -> Effect {
    let mut wheres = Wheres::default();
    let mut sum = Effect::default();
    let mut by_key: HashMap<(&str, FileKey), &Row> = before.iter().map(|(key, row)| ((row.flow.as_str(), *key), row)).collect();
    let mut by_place: HashMap<(&str, u64, u64), FileKey> = HashMap::new();
    for (key, row) in before {
        if let Some(place) = row.identity.place {
            by_place.insert((&row.flow, place.device, place.inode), *key);
        }
    }
    for (key, row) in after {
        let same_place = row.identity.place.and_then(|place| by_place.get(&(row.flow.as_str(), place.device, place.inode)));
        let of_key = by_key.remove(&(row.flow.as_str(), *key));
        let row_before = of_key.or_else(|| by_key.remove(&(row.flow.as_str(), *same_place?)));
        if let Some(byte_count) = wheres.of(row).byte_count() {
            sum.add(Effect::of(row_before, Some(row), byte_count));
        }
    }
    for row in by_key.into_values() {
        if let Some(byte_count) = wheres.of(row).byte_count() {
            sum.add(Effect::of(Some(row), None, byte_count));
        }
    }
    sum
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn io::Read> = match file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(file)?),
    };
    let mut document = Vec::new();
    source.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut document)?;
    if document.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {DOCUMENT_BYTES_MAX} bytes")));
    }
    Ok(document)
}

fn told(file: &Path, mistakes: &[String]) -> Stop {
    let mut text = format!("{}: {}, and nothing was changed", shown(file), counted(mistakes.len(), "mistake"));
    for mistake in mistakes.iter().take(SHOWN_MAX) {
        text += &format!("\n  {}", one_line(mistake));
    }
    if mistakes.len() > SHOWN_MAX {
        text += &format!("\n  and {} more", mistakes.len() - SHOWN_MAX);
    }
    Stop::Failed(text, exit::DATAERR)
}

/// Flows of the document that are not configured.
fn strangers<'a>(site: &Site, content: &'a Content) -> Vec<&'a str> {
    let mut names: Vec<&str> = content.rows.iter().map(|(_, row)| row.flow.as_str()).collect();
    names.extend(content.started_flows.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !site.may_have_flow(name));
    names
}
