//! `kinetail offsets export`

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::{Site, Stop, document, shown, unreadable};
use crate::command::{counted, run};
use crate::offsets::{Content, Peeked};

/// Writes the document of the store to `file`, or to `out`.
pub(super) fn export(site: &Site, file: Option<&Path>, out: &mut impl Write) -> Result<(), Stop> {
    let Some(Peeked { rows, started_flows, sendings, is_rolled_back, .. }) = site.peek()? else {
        return Err(unreadable(format!("there are no offsets in {}: no agent has run with it yet", site.folder())));
    };
    let content = Content { rows, started_flows, sendings };
    if is_rolled_back {
        // Not to standard output, where the document may go.
        run::warn("the store has lost its last commits: what was sent since is not in the document");
    }
    let document = document::of(&content);
    let Some(file) = file.filter(|file| *file != Path::new("-")) else { return Ok(out.write_all(document.as_bytes())?) };
    write_whole(file, document.as_bytes()).map_err(|error| unreadable(format!("cannot write {}: {error}", shown(file))))?;
    writeln!(
        out,
        "{}: {}, {}, {}",
        shown(file),
        counted(content.rows.len(), "file"),
        counted(content.started_flows.len(), "started flow"),
        counted(content.sendings.len(), "unreconciled run"),
    )?;
    Ok(())
}

/// All of it or nothing, for the eyes of its owner: names of files are in it. What is there and no file (a pipe, a device, a link) is
/// written to, not replaced.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        return File::options().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".kinetail-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
