//! What a file that is seen is to a life that is known: the same, the same rewritten, a copy, or nothing.
//!
//! Pure. Who compares their contents, and what follows, is decided elsewhere.

use std::ffi::OsStr;
use std::path::Path;

use crate::limits::FINGERPRINT_BYTES;
use crate::offsets::{Fingerprint, Place};

/// What a file that is seen is to a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The life goes on in it.
    Continues,
    /// It is where the life was, and has other content now.
    Rewritten,
    /// It has the content of the life, and so has the file that the life is in.
    Copy,
    /// None.
    Stranger,
}

/// What is found out by comparing a file with a life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// The file is where the life was: see [`is_same_file`].
    pub(super) is_same_file: bool,
    /// The file has all that is known of the content of the life.
    pub(super) has_content: bool,
    /// Another file has it, too: that in which the life is tailed.
    pub(super) is_tailed_elsewhere: bool,
    /// That the contents agree cannot be by chance: see [`is_evidence`].
    pub(super) is_evidence: bool,
}

/// The decision.
pub(super) fn relation(comparison: Comparison) -> Relation {
    let Comparison { is_same_file, has_content, is_tailed_elsewhere, is_evidence } = comparison;
    match (is_same_file, has_content, is_tailed_elsewhere) {
        (true, true, _) => Relation::Continues,
        (true, false, _) => Relation::Rewritten,
        (false, true, true) if is_evidence => Relation::Copy,
        (false, true, false) if is_evidence => Relation::Continues,
        (false, ..) => Relation::Stranger,
    }
}

/// Whether the file seen at `seen_path` is the one in which a life was.
///
/// An inode is reused when its file is deleted, but not with the same time of creation. The number of a device may change
/// with a reboot; without a time of creation the path stands in for it then, if the content says anything.
pub(super) fn is_same_file(
    (known, known_path): (Place, &Path),
    (seen, seen_path): (Place, &Path),
    fingerprint: Fingerprint,
) -> bool {
    if known.inode != seen.inode {
        return false;
    }
    match (known.created, seen.created) {
        (Some(known), Some(seen)) => known == seen,
        _ => known.device == seen.device || (known_path == seen_path && fingerprint.byte_count > 0),
    }
}

/// Whether the same content in two files cannot be by chance, as it may be when two programs begin their logs with the
/// same words: so much of it is known, or the name says so. At the same path it is never taken for evidence: programs
/// that make a file anew may well write what they wrote before.
pub(super) fn is_evidence(known_path: &Path, seen_path: &Path, fingerprint: Fingerprint) -> bool {
    known_path != seen_path
        && fingerprint.byte_count > 0
        && (fingerprint.byte_count as usize >= FINGERPRINT_BYTES || is_rotated_name(known_path, seen_path))
}

/// Whether a rotation may have made the second name out of the first: `a.log` becomes `a.log.1`, `a.log-20261121.gz`,
/// `a-20261121.log` or `a.1.log`.
pub(super) fn is_rotated_name(from: &Path, to: &Path) -> bool {
    let (Some(from), Some(to)) = (from.file_name(), to.file_name()) else { return false };
    let [from, to] = [from, to].map(OsStr::as_encoded_bytes);
    let stem = from.iter().rposition(|byte| *byte == b'.').map_or(from, |dot| &from[..dot]);
    let is_longer = |rest: &[u8]| !rest.is_empty();
    let is_numbered = |rest: &[u8]| matches!(rest, [b'.' | b'-' | b'_', digit, ..] if digit.is_ascii_digit());
    to.strip_prefix(from).is_some_and(is_longer) || (!stem.is_empty() && to.strip_prefix(stem).is_some_and(is_numbered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_to_a_life() {
        use Relation::{Continues, Copy, Rewritten, Stranger};
        // The file of the life, its content, tailed elsewhere, evidence.
        for (is_same_file, has_content, is_tailed_elsewhere, is_evidence, expected) in [
            (true, true, false, false, Continues),
            (true, false, false, true, Rewritten),
            (false, true, true, true, Copy),
            (false, true, false, true, Continues),
            (false, true, true, false, Stranger),
            (false, true, false, false, Stranger),
            (false, false, true, true, Stranger),
        ] {
            let comparison = Comparison { is_same_file, has_content, is_tailed_elsewhere, is_evidence };
            assert_eq!(relation(comparison), expected, "{comparison:?}");
        }
    }

    fn fingerprint(byte_count: u32) -> Fingerprint {
        Fingerprint { byte_count, hash: 1 }
    }

    #[test]
    fn a_file_is_known_by_its_inode_and_by_when_it_was_made() {
        let place = |device, inode, created| Place { device, inode, created };
        for (known, seen, seen_path, byte_count, expected) in [
            (place(1, 2, Some(3)), place(1, 2, Some(3)), "/other", 0, true),
            (place(1, 2, Some(3)), place(1, 2, Some(4)), "/a", 1024, false),
            (place(1, 2, Some(3)), place(9, 2, Some(3)), "/other", 0, true),
            (place(1, 2, Some(3)), place(1, 3, Some(3)), "/a", 1024, false),
            (place(1, 2, None), place(1, 2, Some(3)), "/other", 0, true),
            (place(1, 2, None), place(9, 2, None), "/a", 1, true),
            (place(1, 2, None), place(9, 2, None), "/a", 0, false),
            (place(1, 2, None), place(9, 2, None), "/other", 1024, false),
        ] {
            let is_same = is_same_file((known, Path::new("/a")), (seen, Path::new(seen_path)), fingerprint(byte_count));
            assert_eq!(is_same, expected, "{known:?} {seen:?} {seen_path} {byte_count}");
        }
    }

    #[test]
    fn the_same_content_is_evidence_when_there_is_much_of_it_or_the_name_says_so() {
        for (seen, byte_count, expected) in [
            ("/l/app.log.1", 1, true),
            ("/l/app.log.1", 0, false),
            ("/l/other.log", 1023, false),
            ("/l/other.log", 1024, true),
            ("/l/app.log", 1024, false),
            ("/old/app.log-20261121.gz", 1, true),
            ("/l/app-20261121.log", 1, true),
            ("/l/app.1.log", 1, true),
            ("/l/app_2.log", 1, true),
            ("/l/app2.log", 1, false),
            ("/l/app-error.log", 1, false),
            ("/old/app.log", 1, false),
        ] {
            assert_eq!(
                is_evidence(Path::new("/l/app.log"), Path::new(seen), fingerprint(byte_count)),
                expected,
                "{seen} {byte_count}"
            );
        }
        assert!(!is_rotated_name(Path::new("/.log"), Path::new("/1")));
    }
}
