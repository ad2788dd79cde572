//! Patterns of the configuration's author, compiled.
//!
//! What a pattern must have beyond being sound is decided by those who read it.

use std::convert::Infallible;
use std::fmt;
use std::ops::{Deref, Range};

use regex::bytes::Regex;
use regex_syntax::ast::{Ast, GroupKind, Position, Span, Visitor, visit};

use super::reader::{Placed, Table};
use super::units::size_written;

/// A compiled pattern. Two are equal when they are written alike: flags are written in the pattern itself.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Deref for Pattern {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.0
    }
}

impl From<Regex> for Pattern {
    /// Of a regex without flags of its builder.
    fn from(regex: Regex) -> Self {
        Self(regex)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads the pattern `key` of `table`; `source` is the text of the whole file.
pub(super) fn read(table: &mut Table<'_>, key: &'static str, source: &str) -> Option<Placed<Pattern>> {
    let written = table.string(key)?;
    compile(table, key, written, source)
}

/// Reads the patterns `key` of `table`, one or a list of them; none when one of them is not sound.
pub(super) fn read_all(table: &mut Table<'_>, key: &'static str, source: &str) -> Option<Vec<Placed<Pattern>>> {
    let written = table.strings(key)?;
    let compiled: Vec<_> = written.into_iter().map(|written| compile(table, key, written, source)).collect();
    compiled.into_iter().collect()
}

/// Compiles `written`, a pattern that stands in `key` of `table`.
pub(super) fn compile(table: &Table<'_>, key: &str, written: Placed<&str>, source: &str) -> Option<Placed<Pattern>> {
    // The compiler of patterns says where its errors are only in the drawing of its message; their parser says it in numbers.
    if let Err(error) = regex_syntax::ParserBuilder::new().utf8(false).build().parse(written.value) {
        let (span, message) = match &error {
            regex_syntax::Error::Parse(error) => (*error.span(), error.kind().to_string()),
            regex_syntax::Error::Translate(error) => (*error.span(), error.kind().to_string()),
            _ => (Span::splat(Position::new(0, 1, 1)), error.to_string()),
        };
        let place = written.within(source, span.start.offset..span.end.offset);
        table.mistake(&place, format!("`{key}`: {message}"), "the syntax is that of the Rust crate regex");
        return None;
    }
    match Regex::new(written.value) {
        Ok(regex) => return Some(Placed { value: Pattern(regex), place: written.place }),
        Err(regex::Error::CompiledTooBig(limit)) => {
            let message = format!("`{key}` cannot be used: compiled, it is larger than {}", size_written(limit));
            table.mistake(&written.place, message, "repeat less: counts of repetitions multiply");
        }
        Err(error) => table.mistake(&written.place, format!("`{key}` cannot be used: {error}"), ""),
    }
    None
}

/// Where the groups of `pattern`, which is sound, begin that have no name and yet capture.
pub(super) fn groups_without_name(pattern: &str) -> Vec<Range<usize>> {
    let ast = regex_syntax::ast::parse::Parser::new().parse(pattern);
    ast.ok().and_then(|ast| visit(&ast, GroupsWithoutName(Vec::new())).ok()).unwrap_or_default()
}

struct GroupsWithoutName(Vec<Range<usize>>);

impl Visitor for GroupsWithoutName {
    type Output = Vec<Range<usize>>;
    type Err = Infallible;

    fn finish(self) -> Result<Self::Output, Infallible> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        if let Ast::Group(group) = ast
            && matches!(group.kind, GroupKind::CaptureIndex(_))
        {
            let start = group.span.start.offset;
            self.0.push(start..start + 1);
        }
        Ok(())
    }
}
