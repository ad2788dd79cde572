//! The configuration as its files had it when they were read, and reading them anew while it is used.
//!
//! What follows from a change is for the caller to decide.

use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use super::aws::without_passwords;
use super::errors::{FileError, LoadError};
use super::files::{self, flows_folder};
use super::mistakes::{Lines, Mistake, Mistakes};
use super::top::{Part, Role};
use super::whole::{self, Age, Text};
use super::{Config, one_line};

/// A configuration that was read from files.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What they say together.
    pub config: Config,
    /// The main file.
    path: PathBuf,
    /// What was read, the main file first, then by name. No passwords.
    texts: Vec<Text>,
}

/// What has come of reading all files anew.
#[derive(Debug)]
pub struct Reloaded {
    /// What holds from now on; none when everything stays as it was, because the files cannot stand together.
    pub loaded: Option<Loaded>,
    /// Files of which nothing new holds, the main one first.
    pub refused: Vec<Refused>,
}

/// A file of which nothing new holds.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: FileError,
    /// What was read of it before stays in force; else it is left out.
    pub is_kept: bool,
}

/// A file as it was found.
struct Found {
    path: PathBuf,
    text: Result<(Text, Vec<Mistake>), FileError>,
}

impl Loaded {
    /// Reads the configuration file `path`, and `conf.d/*.toml` beside it. A mistake in any of them refuses all.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let found = find(path, false);
        let (mut texts, mut mistakes, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (index, Found { text, .. }) in found.into_iter().enumerate() {
            match text {
                Ok((text, own)) => {
                    texts.push(text);
                    mistakes.push((index, own));
                }
                Err(error) => errors.push((index, error)),
            }
        }
        let (config, common) = whole::join(&texts, &shown(&flows_folder(path)), errors.is_empty());
        for found in common {
            mistakes[found.text_index].1.push(found.mistake);
        }
        let mistaken = mistakes.into_iter().zip(&texts).filter(|((_, mistakes), _)| !mistakes.is_empty());
        errors.extend(mistaken.map(|((index, mistakes), text)| (index, text.mistaken(mistakes))));
        errors.sort_by_key(|(index, _)| *index);
        match config {
            Some(config) if errors.is_empty() => Ok(Self { config, path: path.to_owned(), texts }),
            _ => Err(LoadError { files: errors.into_iter().map(|(_, error)| error).collect() }),
        }
    }

    /// Reads all files anew. Of one that is mistaken what was read before stays in force, and so does the main file when it is
    /// gone; of any other that is gone the flows are gone. When what results cannot stand together, nothing changes.
    #[must_use]
    pub fn again(&self) -> Reloaded {
        let (mut texts, mut refused) = (Vec::new(), Vec::new());
        for Found { path, text } in find(&self.path, true) {
            let error = match text {
                Ok((mut text, mistakes)) if mistakes.is_empty() => {
                    let is_same = self.texts.iter().any(|before| before.path == path && before.source == text.source);
                    text.age = if is_same { Age::Same } else { Age::New };
                    texts.push(text);
                    continue;
                }
                Ok((text, mistakes)) => text.mistaken(mistakes),
                Err(error) => error,
            };
            // Of a folder that cannot be read, all files.
            let before = self.texts.iter().filter(|text| text.path == path || text.path.parent() == Some(&path));
            let kept: Vec<Text> = before.map(|text| Text { age: Age::Kept, ..text.clone() }).collect();
            refused.push(Refused { error, is_kept: !kept.is_empty() });
            texts.extend(kept);
        }
        let (config, found) = whole::join(&texts, &shown(&flows_folder(&self.path)), true);
        for (index, text) in texts.iter().enumerate() {
            let of_text = found.iter().filter(|found| found.text_index == index);
            let mistakes: Vec<Mistake> = of_text.map(|found| found.mistake.clone()).collect();
            if !mistakes.is_empty() {
                refused.push(Refused { error: text.mistaken(mistakes), is_kept: true });
            }
        }
        let config = config.filter(|_| found.is_empty());
        Reloaded { loaded: config.map(|config| Self { config, path: self.path.clone(), texts }), refused }
    }

    /// Each file that was read, and how many flows are in it; the main one first.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&Path, usize)> {
        self.texts.iter().map(|text| (text.path.as_path(), text.part.flows.len()))
    }
}

impl Text {
    /// What `source`, the text of the file `path`, says, and what is wrong with it.
    pub(super) fn of(path: PathBuf, source: &str, role: &Role<'_>) -> (Self, Vec<Mistake>) {
        let (part, mistakes) = Part::of(source, role);
        let name = shown(&path);
        (Self { path, name, source: without_passwords(source), lines: Lines::of(source), part, age: Age::New }, mistakes)
    }

    fn mistaken(&self, mistakes: Vec<Mistake>) -> FileError {
        FileError::Mistaken(Mistakes::new(&self.name, &self.source, mistakes))
    }
}

/// Reads all files that there are now, as different as they may be from what was read before.
fn find(main: &Path, again: bool) -> Vec<Found> {
    let main_name = shown(main);
    let text = |(index, files::Read { path, bytes }): (usize, files::Read)| {
        let role = if index == 0 { Role::Main } else { Role::Flows { main: &main_name } };
        let text = match bytes.map(String::from_utf8) {
            Ok(Ok(source)) => Ok(Text::of(path.clone(), &source, &role)),
            Ok(Err(error)) => Err(FileError::Mistaken(not_utf8(&error, &shown(&path)))),
            Err(source) => Err(FileError::Unreadable { path: path.clone(), source }),
        };
        Found { path, text }
    };
    files::read(main, again).into_iter().enumerate().map(text).collect()
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

fn not_utf8(error: &FromUtf8Error, file: &str) -> Mistakes {
    let start = error.utf8_error().valid_up_to();
    let message = "the file is not UTF-8 text".to_owned();
    // Up to the first invalid byte, of which one U+FFFD is made, the text is as it was.
    let mistake = Mistake { place: start..start + char::REPLACEMENT_CHARACTER.len_utf8(), message, help: None };
    Mistakes::new(file, &String::from_utf8_lossy(error.as_bytes()), vec![mistake])
}
