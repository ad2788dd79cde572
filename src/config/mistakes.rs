//! What is wrong with a configuration file, each mistake with its place, and how that is shown.
//!
//! What counts as a mistake is decided by those who read the file.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::aws::without_passwords;
use super::{Trouble, one_line};
use crate::limits::MISTAKES_SHOWN_MAX;

/// All mistakes of one file, in the order of their places.
#[derive(Clone, Debug)]
pub struct Mistakes {
    file: String,
    /// The text of the file, passwords left out.
    source: String,
    lines: Lines,
    /// At least one.
    all: Vec<Mistake>,
}

/// Something that the file says wrongly, or fails to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The offending text: bytes of the file, on boundaries of characters.
    pub place: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Mistakes {
    /// `all` of them, found in the text `source` of `file`; in any order.
    pub(super) fn new(file: &str, source: &str, mut all: Vec<Mistake>) -> Self {
        all.sort_by_key(|mistake| (mistake.place.start, mistake.place.end));
        for mistake in &mut all {
            mistake.message = without_passwords(&mistake.message);
        }
        Self { file: file.to_owned(), source: without_passwords(source), lines: Lines::of(source), all }
    }

    /// The file, for people.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.all.iter()
    }

    /// Line and column of a mistake, from 1, columns in characters.
    pub fn position(&self, mistake: &Mistake) -> (usize, usize) {
        self.lines.position(&self.source, mistake.place.start)
    }

    /// Those that are shown, each as data, and how many there are more.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let trouble = |mistake: &Mistake| Trouble {
            file: self.file.clone(),
            position: Some(self.position(mistake)),
            message: one_line(&mistake.message),
            help: mistake.help.as_deref().map(one_line),
        };
        let mut troubles: Vec<Trouble> = self.all.iter().take(MISTAKES_SHOWN_MAX).map(trouble).collect();
        if let more @ 1.. = self.all.len().saturating_sub(MISTAKES_SHOWN_MAX) {
            let message = format!("there are {more} more mistakes");
            troubles.push(Trouble { file: self.file.clone(), position: None, message, help: None });
        }
        troubles
    }

    /// The text for people: each mistake under the other, and how many there are.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for mistake in self.all.iter().take(MISTAKES_SHOWN_MAX) {
            text.push_str(&renderer.render(&[self.group(mistake)]));
            text.push_str("\n\n");
        }
        let count = self.all.len();
        let mut summary = format!("{}: {count} {}", self.file, if count == 1 { "mistake" } else { "mistakes" });
        if count > MISTAKES_SHOWN_MAX {
            summary.push_str(&format!(", the first {MISTAKES_SHOWN_MAX} are shown"));
        }
        text.push_str(&renderer.render(&[Group::with_title(Level::ERROR.primary_title(summary))]));
        text.push('\n');
        text
    }

    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let snippet = Snippet::source(self.source.as_str())
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(mistake.place.clone()));
        let group = Level::ERROR.primary_title(mistake.message.as_str()).element(snippet);
        match &mistake.help {
            Some(help) => group.element(Level::HELP.message(annotate_snippets::normalize_untrusted_str(help))),
            None => group,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Mistakes {}

/// Where the lines of a text begin.
#[derive(Clone, Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(source: &str) -> Self {
        let newlines = memchr::memchr_iter(b'\n', source.as_bytes());
        Self(std::iter::once(0).chain(newlines.map(|newline| newline + 1)).collect())
    }

    /// Line of a byte, from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    /// Line and column of a byte of `source`, of which these are the lines; from 1, columns in characters.
    fn position(&self, source: &str, offset: usize) -> (usize, usize) {
        let line = self.line_of(offset);
        let before = source.get(self.0[line - 1]..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// The candidate that was most likely meant.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let near = |candidate: &'a str| {
        let distance = strsim::osa_distance(&written, &candidate.to_lowercase());
        let is_part = written.len() >= 3 && (candidate.contains(&written) || written.contains(candidate));
        // One slip of the finger in four letters; more is another word.
        (is_part || distance <= 1 + candidate.chars().count() / 4).then_some((distance, candidate))
    };
    candidates.into_iter().filter_map(near).min().map(|(_, candidate)| candidate)
}

/// `"a"`, `"b"` and so on, for a help line.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, quote: char) -> String {
    names.into_iter().map(|name| format!("{quote}{name}{quote}")).collect::<Vec<_>>().join(", ")
}
