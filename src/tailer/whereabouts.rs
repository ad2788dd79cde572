//! Where the file of a row is now, as far as that is told without opening it: for people who look at rows, and for who has to look
//! into the file before it is tailed.
//!
//! The rules are those by which a start knows files again (`identity`), without the comparisons of content.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::is_same_file;
use super::source::{place_of, place_of_found};
use super::verdict::is_compressed_name;
use crate::discovery::{Found, siblings};
use crate::offsets::{Place, Row};

/// Where a file is.
#[derive(Debug)]
pub enum Whereabouts {
    /// At the path of the row, with so many bytes.
    There(u64),
    /// There, and shorter than what is settled of it: it has other content now, of so many bytes.
    Truncated(u64),
    /// In the same folder under this name, with so many bytes.
    Renamed(PathBuf, u64),
    /// Neither, and there is another at the path of the row.
    Replaced,
    /// Nowhere.
    Gone,
    /// The path cannot be looked at.
    Unknown(io::Error),
}

impl Whereabouts {
    /// Bytes of the file, if it is there.
    pub fn byte_count(&self) -> Option<u64> {
        match self {
            Self::There(byte_count) | Self::Truncated(byte_count) | Self::Renamed(_, byte_count) => Some(*byte_count),
            Self::Replaced | Self::Gone | Self::Unknown(_) => None,
        }
    }
}

/// Looks for the files of rows; each folder is listed once at most.
#[derive(Default)]
pub struct Wheres {
    listed: HashMap<PathBuf, Vec<Found>>,
}

impl Wheres {
    /// Where the file of `row` is now. What a compressed file holds does not become more, and is not looked at.
    pub fn of(&mut self, row: &Row) -> Whereabouts {
        let path = Path::new(&row.path);
        let at_path = match fs::metadata(path) {
            Ok(metadata) => Some((place_of(&metadata), metadata.len())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(error) => return Whereabouts::Unknown(error),
        };
        let size = |path: &Path, byte_count| if is_compressed_name(path) { row.identity.byte_count } else { byte_count };
        if let Some((place, byte_count)) = at_path
            && is_file_of(row, place, path)
        {
            let byte_count = size(path, byte_count);
            let settled_until = row.settled_above.last().map_or(row.watermark, |(_, end)| *end);
            return if byte_count < settled_until { Whereabouts::Truncated(byte_count) } else { Whereabouts::There(byte_count) };
        }
        let folder = path.parent().unwrap_or(path);
        let beside = self.listed.entry(folder.to_owned()).or_insert_with(|| siblings(path));
        match beside.iter().find(|found| is_file_of(row, place_of_found(found), &found.path)) {
            Some(found) => Whereabouts::Renamed(found.path.clone(), size(&found.path, found.byte_count)),
            None if at_path.is_some() => Whereabouts::Replaced,
            None => Whereabouts::Gone,
        }
    }
}

impl Whereabouts {
    /// Its path now, of the file of this row, if it is there.
    pub fn path(&self, row: &Row) -> Option<PathBuf> {
        match self {
            Self::There(_) | Self::Truncated(_) => Some(row.path.clone().into()),
            Self::Renamed(path, _) => Some(path.clone()),
            Self::Replaced | Self::Gone | Self::Unknown(_) => None,
        }
    }
}

/// Whether the file that is at `place`, seen at `path`, is the one of `row`.
fn is_file_of(row: &Row, place: Place, path: &Path) -> bool {
    row.identity.place.is_some_and(|known| is_same_file((known, Path::new(&row.path)), (place, path), row.identity.fingerprint))
}

/// Whether the row is of the file that is at `path` now.
///
/// # Errors
/// There is none, or it cannot be looked at.
pub fn is_row_of_file_at(row: &Row, path: &Path) -> io::Result<bool> {
    Ok(is_file_of(row, place_of(&fs::metadata(path)?), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tailer::{Position, row_at};

    #[test]
    fn a_file_is_where_its_inode_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "one\ntwo\n").unwrap();
        let row = row_at("f", None, &path, Position::End).unwrap();
        let of = |row: &Row| match Wheres::default().of(row) {
            Whereabouts::There(byte_count) => format!("there {byte_count}"),
            Whereabouts::Truncated(byte_count) => format!("truncated {byte_count}"),
            Whereabouts::Renamed(path, byte_count) => {
                format!("renamed {} {byte_count}", path.file_name().unwrap().to_string_lossy())
            }
            Whereabouts::Replaced => "replaced".to_owned(),
            Whereabouts::Gone => "gone".to_owned(),
            Whereabouts::Unknown(error) => error.to_string(),
        };
        assert_eq!(of(&row), "there 8");
        assert!(is_row_of_file_at(&row, &path).unwrap());
        fs::write(&path, "one\n").unwrap();
        assert_eq!(of(&row), "truncated 4");
        fs::rename(&path, folder.path().join("b.log")).unwrap();
        assert_eq!(of(&row), "renamed b.log 4");
        assert!(is_row_of_file_at(&row, &path).is_err());
        fs::write(&path, "other\n").unwrap();
        assert_eq!(of(&row), "renamed b.log 4");
        assert!(!is_row_of_file_at(&row, &path).unwrap());
        fs::remove_file(folder.path().join("b.log")).unwrap();
        assert_eq!(of(&row), "replaced");
        fs::remove_file(&path).unwrap();
        assert_eq!(of(&row), "gone");
        fs::remove_dir(folder.path()).unwrap();
        assert_eq!(of(&row), "gone");
        let path = format!("/{}", "x".repeat(5000));
        assert!(of(&Row { path, ..row }).contains("too long"));
    }
}
