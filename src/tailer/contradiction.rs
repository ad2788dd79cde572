//! Whether a file has other content now than what was sent of it: for who has found in a stream what was sent before a crash.
//!
//! A system that loses power may lose the end of a file that was already read and sent, and when it runs again other lines are
//! written there. Those were never sent, so what the stream says must not settle them. A life whose content is another altogether
//! is not looked at here: whose life goes on in a file is decided when it is opened.

use std::io;
use std::path::Path;

use super::source::{Source, fingerprint_of};
use super::whereabouts::{Whereabouts, Wheres};
use crate::discovery::siblings;
use crate::offsets::Row;
use crate::span::{Check, Span};

/// Looks into the files of rows.
#[derive(Default)]
pub struct Contradictions {
    wheres: Wheres,
}

impl Contradictions {
    /// Whether the file of the row, where it is now, is the same up to what the row says, and ends before `span` does, or has
    /// something else at its end than that says. So it is, too, where the file is there and cannot be read: then its lines are sent
    /// again, which is better than not at all. Of one that is gone or has become another its copies tell, as copytruncate makes them:
    /// lines may have come to it before it was copied. Without a copy nobody can tell, and nobody writes there.
    pub fn of(&mut self, row: &Row, span: Span) -> bool {
        let contradicts = match self.wheres.of(row) {
            Whereabouts::There(_) | Whereabouts::Truncated(_) => contradicts(row, Path::new(&row.path), span),
            Whereabouts::Renamed(path, _) => contradicts(row, &path, span),
            Whereabouts::Replaced | Whereabouts::Gone => Ok(None),
            Whereabouts::Unknown(error) => Err(error),
        };
        match contradicts {
            Ok(Some(contradicts)) => contradicts,
            Ok(None) => copies_contradict(row, span),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Whether there are copies of the file next to where it was, and none of them has what was sent.
fn copies_contradict(row: &Row, span: Span) -> bool {
    let mut is_contradicted = false;
    for copy in siblings(Path::new(&row.path)) {
        match contradicts(row, &copy.path, span) {
            Ok(Some(false)) => return false,
            Ok(Some(true)) => is_contradicted = true,
            Ok(None) | Err(_) => {}
        }
    }
    is_contradicted
}

/// None where the file has another content altogether.
fn contradicts(row: &Row, path: &Path, span: Span) -> io::Result<Option<bool>> {
    let mut source = Source::open(path)?;
    if source.is_compressed() || !is_of(row, &mut source)? {
        return Ok(None);
    }
    if source.byte_count_told()? < span.end {
        return Ok(Some(true));
    }
    let Some(check) = span.last_line else { return Ok(Some(false)) };
    let mut bytes = Vec::new();
    source.read_at(&mut bytes, span.end.saturating_sub(u64::from(check.byte_count)), span.end)?;
    Ok(Some(Check::of(&bytes) != check))
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

    use super::super::source::place_of;
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
            let contradicts = |span| Contradictions::default().of(&row, span);
            assert_eq!(contradicts(sent), is_contradicted, "{content:?}");
            let is_too_short = is_contradicted && content.len() < 19;
            assert_eq!(contradicts(Span::new(FileKey(1), 6, 19)), is_too_short, "nothing says what it ends with");
            // Under another name it is the same.
            fs::rename(&path, folder.path().join("a.log.1")).unwrap();
            assert_eq!(contradicts(sent), is_contradicted, "{content:?}, renamed");
            fs::rename(folder.path().join("a.log.1"), &path).unwrap();
        }
        // Copied and truncated after other lines had come: the copy tells.
        let copy = folder.path().join("a.log.copy");
        for (content, is_contradicted) in
            [("first\nsecond\nthird\n", false), ("first\nsecond\nother\n", true), ("other\n", false)]
        {
            fs::write(&path, "").unwrap();
            fs::write(&copy, content).unwrap();
            assert_eq!(Contradictions::default().of(&row, sent), is_contradicted, "{content:?}, copied");
        }
        fs::remove_file(&copy).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!Contradictions::default().of(&row, sent));
    }
}
