//! What keeps files of the configuration from being used, as text for people and as data.

use std::path::PathBuf;
use std::{fmt, io};

use super::mistakes::Mistakes;
use super::one_line;

/// What keeps one file from being used.
#[derive(Debug)]
pub enum FileError {
    /// The file, or the folder `conf.d`, cannot be read.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read and is wrong.
    Mistaken(Mistakes),
}

/// Why there is no configuration.
#[derive(Debug)]
pub struct LoadError {
    /// What is wrong, at least one file; the main one first.
    pub files: Vec<FileError>,
}

/// One of the troubles with a configuration, as data: for a line of the log. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file, for people.
    pub file: String,
    /// Line and column, from 1, columns in characters; none where it is about the file as a whole.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl FileError {
    /// The text for people, on lines of its own.
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("error: {}: {source}\n", one_line(&self.to_string())),
            Self::Mistaken(mistakes) => mistakes.render(colour),
        }
    }

    /// Each mistake; of very many the first [`MISTAKES_SHOWN_MAX`](crate::limits::MISTAKES_SHOWN_MAX), and how many more there are.
    pub fn troubles(&self) -> Vec<Trouble> {
        match self {
            Self::Unreadable { path, source } => vec![Trouble {
                file: one_line(&path.to_string_lossy()),
                position: None,
                message: format!("cannot be read: {source}"),
                help: None,
            }],
            Self::Mistaken(mistakes) => mistakes.troubles(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, .. } => write!(f, "cannot read the configuration {}", path.display()),
            Self::Mistaken(mistakes) => mistakes.fmt(f),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Mistaken(_) => None,
        }
    }
}

impl LoadError {
    /// The text for people, on lines of its own, one file after the other.
    pub fn render(&self, colour: bool) -> String {
        self.files.iter().map(|file| file.render(colour)).collect::<Vec<_>>().join("\n")
    }

    /// Each mistake of each file.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.files.iter().flat_map(FileError::troubles).collect()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for LoadError {}
