//! Glob patterns, compiled component by component, and whether a name or a path matches.
//!
//! Pure: what is in the folders, and in which order they are walked, is not known here.

use std::ffi::OsStr;
use std::path::Path;

use glob::{MatchOptions, Pattern};

/// A pattern of `files`.
pub(super) struct FilePattern {
    /// At least one; the last is not [`Component::AnyDepth`].
    pub(super) components: Vec<Component>,
    /// How many of the leading ones are plain names of folders.
    pub(super) plain_count: usize,
}

/// What stands between two slashes.
pub(super) enum Component {
    /// A name as it is.
    Name(String),
    /// A name with wildcards; `ending` is what stands behind its `*` when that is the first and only one.
    Wild { pattern: Pattern, ending: Option<String> },
    /// `**`: this folder and all below.
    AnyDepth,
}

/// A pattern of `exclude`.
pub(super) enum Exclusion {
    /// Of file names, wherever they are.
    Name(Pattern),
    /// Of whole paths; `folder` are the folders of which nothing is left when it ends in `/**`.
    Path { path: Pattern, folder: Option<Pattern> },
}

/// A pattern that cannot be used.
#[derive(Debug)]
pub struct PatternMistake {
    /// Where in the pattern, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, or empty.
    pub help: &'static str,
}

/// As in a shell: `*` and `?` do not match the dot of a hidden file.
const SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
/// What is left out is left out hidden, too.
const HIDDEN_TOO: MatchOptions = MatchOptions { require_literal_leading_dot: false, ..SHELL };

impl FilePattern {
    pub(super) fn new(text: &str) -> Result<Self, PatternMistake> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(mistake(0, "not an absolute path", "begin it with `/`"));
        };
        if rest.is_empty() || rest.ends_with('/') {
            return Err(mistake(text.len(), "names a folder", "for all files in it and below write `**/*` at the end"));
        }
        let mut components = Vec::new();
        let mut offset = 1;
        for part in rest.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(mistake(offset, "`..` is not followed", "write the path that is meant")),
                "**" if matches!(components.last(), Some(Component::AnyDepth)) => {}
                "**" => components.push(Component::AnyDepth),
                _ if part.contains(['*', '?', '[']) => {
                    let ending = part.strip_prefix('*').filter(|ending| !ending.contains(['*', '?', '[']));
                    components.push(Component::Wild { pattern: compile(part, offset)?, ending: ending.map(str::to_owned) });
                }
                _ => components.push(Component::Name(part.to_owned())),
            }
            offset += part.len() + 1;
        }
        if let Some(Component::AnyDepth) | None = components.last() {
            components.push(Component::Wild { pattern: compile("*", 0)?, ending: Some(String::new()) });
        }
        let folders = &components[..components.len() - 1];
        let plain_count = folders.iter().take_while(|component| matches!(component, Component::Name(_))).count();
        Ok(Self { components, plain_count })
    }
}

impl Component {
    /// Whether an entry of that name matches. A name that is not UTF-8 matches as if U+FFFD stood for what is not.
    pub(super) fn matches(&self, name: &OsStr) -> bool {
        let is_hidden = || name.as_encoded_bytes().starts_with(b".");
        match (self, name.to_str()) {
            (Self::Name(own), _) => OsStr::new(own) == name,
            // Most patterns are such, and have to be asked about each name of large folders.
            (Self::Wild { ending: Some(ending), .. }, Some(name)) => name.ends_with(ending) && (!is_hidden() || name == ending),
            (Self::Wild { pattern, .. }, _) => pattern.matches_with(&name.to_string_lossy(), SHELL),
            (Self::AnyDepth, _) => !is_hidden(),
        }
    }

    /// Whether it is `*`: what it matches need not be meant.
    pub(super) fn is_bare_star(&self) -> bool {
        matches!(self, Self::Wild { ending: Some(ending), .. } if ending.is_empty())
    }
}

impl Exclusion {
    pub(super) fn new(text: &str) -> Result<Self, PatternMistake> {
        if text.is_empty() {
            return Err(mistake(0, "is empty", ""));
        }
        if !text.contains('/') {
            return Ok(Self::Name(compile(text, 0)?));
        }
        if !text.starts_with('/') {
            return Err(mistake(0, "matches no path", "begin it with `/`, or with `/**/` for any folder"));
        }
        let folder = text.strip_suffix("/**").or_else(|| text.strip_suffix("/**/*"));
        let folder = folder.filter(|folder| !folder.is_empty()).map(|folder| compile(folder, 0)).transpose()?;
        Ok(Self::Path { path: compile(text, 0)?, folder })
    }

    /// Whether the file is left out.
    pub(super) fn leaves_out(&self, file: &Path) -> bool {
        match self {
            Self::Name(pattern) => file.file_name().is_some_and(|name| pattern.matches_with(&name.to_string_lossy(), HIDDEN_TOO)),
            Self::Path { path, .. } => path.matches_with(&file.to_string_lossy(), HIDDEN_TOO),
        }
    }

    /// Whether everything in the folder and below is left out.
    pub(super) fn leaves_out_all_of(&self, folder: &Path) -> bool {
        match self {
            Self::Path { folder: Some(pattern), .. } => pattern.matches_with(&folder.to_string_lossy(), HIDDEN_TOO),
            _ => false,
        }
    }
}

fn mistake(offset: usize, message: &str, help: &'static str) -> PatternMistake {
    PatternMistake { offset, message: message.to_owned(), help }
}

/// `text` stands at `offset` of the pattern.
fn compile(text: &str, offset: usize) -> Result<Pattern, PatternMistake> {
    Pattern::new(text).map_err(|error| {
        let within = text.char_indices().nth(error.pos).map_or(text.len(), |(index, _)| index);
        let help = if text.contains("**") { "write `**` alone between two `/`" } else { "for a `[` as it is write `[[]`" };
        mistake(offset + within, error.msg, help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_pattern_is_told_with_its_place() {
        let told = |result: Result<(), PatternMistake>| result.map_err(|mistake| (mistake.offset, mistake.message)).unwrap_err();
        for (pattern, offset, message) in [
            ("var/log/*.log", 0, "not an absolute path"),
            ("", 0, "not an absolute path"),
            ("/var/log/", 9, "names a folder"),
            ("/", 1, "names a folder"),
            ("/var/../log", 5, "`..` is not followed"),
            ("/vär/a[b", 7, "invalid range pattern"),
            ("/var/***", 7, "wildcards are either regular `*` or recursive `**`"),
            ("/var/**.log", 7, "recursive wildcards must form a single path component"),
        ] {
            assert_eq!(told(FilePattern::new(pattern).map(drop)), (offset, message.to_owned()), "{pattern}");
        }
        for (pattern, offset, message) in
            [("old/*.log", 0, "matches no path"), ("", 0, "is empty"), ("/a/[", 3, "invalid range pattern")]
        {
            assert_eq!(told(Exclusion::new(pattern).map(drop)), (offset, message.to_owned()), "{pattern}");
        }
    }

    /// What is decided without `glob` is decided as by it.
    #[test]
    fn a_star_and_an_ending_match_what_glob_says() {
        for part in ["*", "*.log", "*g", "*.", "*\u{e4}"] {
            let component = FilePattern::new(&format!("/{part}")).unwrap().components.remove(0);
            assert!(matches!(&component, Component::Wild { ending: Some(_), .. }));
            for name in ["a.log", ".log", ".a.log", "log", "g", "a.", ".", "\u{e4}", "a.log\n", "a\nb.log"] {
                let expected = Pattern::new(part).unwrap().matches_with(name, SHELL);
                assert_eq!(component.matches(OsStr::new(name)), expected, "{part} {name}");
            }
        }
    }

    #[test]
    fn what_is_left_out() {
        for (pattern, path, is_left_out) in [
            ("*.gz", "/a/b.gz", true),
            ("*.gz", "/a/.b.gz", true),
            ("*.gz", "/a.gz/b", false),
            ("/a/*.log", "/a/x.log", true),
            ("/a/*.log", "/a/b/x.log", false),
            ("/a/**", "/a/b/x.log", true),
            ("/a/**", "/ab/x.log", false),
            ("/a/**/*", "/a/x.log", true),
            ("/**/old/*.log", "/a/b/old/x.log", true),
            ("/**/old/*.log", "/old/x.log", true),
            ("/a/.hidden/**", "/a/.hidden/x.log", true),
        ] {
            assert_eq!(Exclusion::new(pattern).unwrap().leaves_out(Path::new(path)), is_left_out, "{pattern} {path}");
        }
    }
}
