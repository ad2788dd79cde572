//! Whether a file has other content now than what was sent of it: for who has found in a stream what was sent before a crash.
//!
//! A system that loses power may lose the end of a file that was already read and sent, and when it runs again other lines are
//! written there. Those were never sent, so what the stream says must not settle them. A life whose content is another altogether
//! is not looked at here: whose life goes on in a file is decided when it is opened.

use std::io;
use std::path::Path;

use super::identity::is_same_file;
use super::source::{Source, fingerprint_of, place_of};
use crate::offsets::Row;
use crate::span::{Check, Span};

/// Whether the file of the row, which is at `path` now, is still the same up to what the row says, and does not end `span` as that
/// says. False where nobody can tell.
pub fn contradicts(row: &Row, path: &Path, span: Span) -> bool {
    try_contradicts(row, path, span).unwrap_or(false)
}

fn try_contradicts(row: &Row, path: &Path, span: Span) -> io::Result<bool> {
    let (Some(check), Some(place)) = (span.last_line, row.identity.place) else { return Ok(false) };
    let mut source = Source::open(path)?;
    let seen = place_of(&source.metadata()?);
    let is_same_file = is_same_file((place, Path::new(&row.path)), (seen, path), row.identity.fingerprint);
    if source.is_compressed() || !is_same_file || !is_of(row, &mut source)? {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    source.read_at(&mut bytes, span.end.saturating_sub(u64::from(check.byte_count)), span.end)?;
    Ok(Check::of(&bytes) != check)
}

/// What the row knows of the content is still there.
fn is_of(row: &Row, source: &mut Source) -> io::Result<bool> {
    let fingerprint = row.identity.fingerprint;
    let beginning = source.beginning(fingerprint.byte_count as usize)?;
    Ok(fingerprint_of(&beginning) == fingerprint && source.has(row.identity.mark)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::offsets::Identity;
    use crate::span::FileKey;

    #[test]
    fn lines_in_the_place_of_lost_ones_were_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "first\nsecond\nthird\n").unwrap();
        let mut source = Source::open(&path).unwrap();
        let identity = Identity {
            place: Some(place_of(&source.metadata().unwrap())),
            fingerprint: fingerprint_of(&source.beginning(6).unwrap()),
            mark: source.mark(6).unwrap(),
            byte_count: 6,
            is_superseded: false,
        };
        let path_text = path.to_string_lossy().into_owned();
        let row = Row { flow: "f".to_owned(), path: path_text, identity, gone_at: None, watermark: 6, settled_above: Vec::new() };
        let sent = Span::new(FileKey(1), 6, 19).ending_in(b"third\n");
        for (content, is_contradicted) in [
            ("first\nsecond\nthird\n", false),
            ("first\nsecond\nthird\nmore\n", false),
            ("first\nsecond\nother\n", true),
            ("first\nsecond\n", true),
            ("first\n", true),
            // Another content: it is not for this to say.
            ("other\nsecond\nthink\n", false),
            ("", false),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(contradicts(&row, &path, sent), is_contradicted, "{content:?}");
            assert!(!contradicts(&row, &path, Span::new(FileKey(1), 6, 19)), "nothing says what it ends with");
        }
        fs::remove_file(&path).unwrap();
        assert!(!contradicts(&row, &path, sent));
    }
}
