//! `kinetail offsets export`

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::{Site, Stop, document, shown, unreadable};
use crate::command::counted;

/// Writes the document of the store to `file`, or to `out`.
pub(super) fn export(site: &Site, file: Option<&Path>, out: &mut impl Write) -> Result<(), Stop> {
    let Some(contents) = site.peek()? else {
        return Err(unreadable(format!("there are no offsets in {}: no agent has run with it yet", site.folder())));
    };
    let document = document::of(&contents);
    let Some(file) = file else { return Ok(out.write_all(document.as_bytes())?) };
    write_whole(file, document.as_bytes()).map_err(|error| unreadable(format!("cannot write {}: {error}", shown(file))))?;
    writeln!(
        out,
        "{}: {}, {}, {}",
        shown(file),
        counted(contents.rows.len(), "file"),
        counted(contents.started_flows.len(), "started flow"),
        counted(contents.sendings.len(), "unreconciled run"),
    )?;
    Ok(())
}

/// All of it or nothing, for the eyes of its owner: names of files are in it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".kinetail-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
