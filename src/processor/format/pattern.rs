//! Patterns with named groups, tried in order.

mod straight;

use regex::bytes::{CaptureLocations, Regex};
use regex_syntax::ParserBuilder;

use crate::config;
use crate::processor::fields::{Fields, Value};

use self::straight::Straight;

/// Patterns, and what their groups are.
pub(in crate::processor) struct Patterns {
    /// The names of all groups of all patterns, each once, in the order in which they come first.
    names: Vec<String>,
    patterns: Vec<Pattern>,
    /// None of them matches bytes that are not UTF-8, so that one that is not anchored would match what stands before such a byte.
    are_of_text: bool,
}

struct Pattern {
    /// What most patterns of logs are matched by, several times faster than by the regex, which decides where this cannot.
    straight: Option<Straight>,
    regex: Regex,
    groups: CaptureLocations,
    /// The newest line was matched straight on, so that its groups are there.
    is_straight: bool,
    /// For each of the names the group that is called so.
    group_by_slot: Vec<Option<usize>>,
}

/// The names of all groups of all patterns, each once, in the order in which they come first.
pub(super) fn names(patterns: &[config::Pattern]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in patterns.iter().flat_map(|regex| regex.capture_names().flatten()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl Patterns {
    pub(super) fn new(patterns: &[config::Pattern]) -> Self {
        let names = names(patterns);
        let pattern = |regex: &config::Pattern| Pattern {
            straight: Straight::new(regex.as_str()),
            groups: regex.capture_locations(),
            is_straight: false,
            group_by_slot: names
                .iter()
                .map(|name| regex.capture_names().position(|group| group == Some(name.as_str())))
                .collect(),
            regex: Regex::clone(regex),
        };
        let are_of_text = patterns.iter().all(|pattern| is_of_text(pattern.as_str()));
        Self { patterns: patterns.iter().map(pattern).collect(), names, are_of_text }
    }

    /// A group that takes no part in a match is null; one that only other patterns have is absent. Where the patterns are of text, a
    /// line that is not UTF-8 matches none.
    pub(super) fn parse<'l>(&'l mut self, line: &'l [u8], fields: &mut Fields<'l>) -> Option<()> {
        let Self { names, patterns, are_of_text } = self;
        if *are_of_text && !line.is_ascii() && str::from_utf8(line).is_err() {
            return None;
        }
        let pattern = &*patterns.iter_mut().find_map(|pattern| pattern.matches(line).then_some(pattern))?;
        for (name, group) in names.iter().zip(&pattern.group_by_slot) {
            let value = match group.map(|group| pattern.group(group)) {
                Some(Some((start, end))) => Value::Text(&line[start..end]),
                Some(None) => Value::Null,
                None => Value::Absent,
            };
            fields.push(name, value);
        }
        Some(())
    }
}

/// Without `(?-u)`, that is.
fn is_of_text(pattern: &str) -> bool {
    let hir = ParserBuilder::new().utf8(false).build().parse(pattern);
    hir.is_ok_and(|hir| hir.properties().is_utf8())
}

impl Pattern {
    fn matches(&mut self, line: &[u8]) -> bool {
        self.is_straight = self.straight.as_mut().is_some_and(|straight| straight.matches(line));
        self.is_straight || self.regex.captures_read(&mut self.groups, line).is_some()
    }

    /// Where a group is in the newest line, which matched.
    fn group(&self, index: usize) -> Option<(usize, usize)> {
        match &self.straight {
            Some(straight) if self.is_straight => straight.group(index),
            _ => self.groups.get(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::config::Format;

    /// Versions of regex-automata get some of these wrong: to 0.4.15 the last, from 0.4.16 on the others where full DFAs are
    /// built in, which Cargo.toml leaves out.
    #[test]
    fn a_literal_between_other_things_is_found() {
        let of = |pattern: &str| Format::Regex(vec![Regex::new(pattern).expect("the pattern is sound").into()]);
        check(&of(r#"(?-u) (?<name>\w+)="(?<value>[^"]*)""#), r#"a b="c" d"#, r#"name="b" value="c""#);
        check(&of("(?-u)(?<all>[a-z]=[^=]*=)"), "b=0=", r#"all="b=0=""#);
        check(&of("(?<all>.bb|b)"), "zabb", r#"all="abb""#);
    }
}
