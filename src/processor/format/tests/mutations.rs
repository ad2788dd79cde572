//! Lines that are almost of a format: what a splitter finds in them, and what its specification says.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use regex::bytes::{Captures, Regex};

use super::*;

type Parse = for<'l> fn(&'l [u8], &'l Arena, &mut Fields<'l>) -> Option<()>;

/// The values of a line, in the order of the format's fields; none when it is not of the format.
pub(in crate::processor::format) type Values<'l> = Option<Vec<Value<'l>>>;

/// One change of a line.
#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, u8),
    Replace(Index, u8),
    Remove(Index),
    /// A piece goes away, so that others come together.
    Cut(Index, Index),
    /// A piece stands twice.
    Repeat(Index, Index),
}

/// The bytes that lines are made of, those that structure them above all, and all others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![6 => select(br#" "\[]-:,#()*019aclT"#.to_vec()), 1 => any::<u8>()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        4 => (at(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => at().prop_map(Mutation::Remove),
        1 => (at(), at()).prop_map(|(start, end)| Mutation::Cut(start, end)),
        1 => (at(), at()).prop_map(|(start, end)| Mutation::Repeat(start, end)),
    ]
}

/// `lines`, of which half have a few changes.
pub(in crate::processor::format) fn mutated(lines: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let mutations = prop_oneof![Just(Vec::new()), proptest::collection::vec(mutation(), 1..4)];
    (lines, mutations).prop_map(|(line, mutations)| mutations.iter().fold(line.into_bytes(), apply))
}

fn apply(mut line: Vec<u8>, mutation: &Mutation) -> Vec<u8> {
    let length = line.len();
    let range = |start: &Index, end: &Index| {
        let (start, end) = (start.index(length + 1), end.index(length + 1));
        start.min(end)..start.max(end)
    };
    match mutation {
        Mutation::Insert(at, byte) => line.insert(at.index(length + 1), *byte),
        Mutation::Replace(at, byte) if length > 0 => line[at.index(length)] = *byte,
        Mutation::Remove(at) if length > 0 => _ = line.remove(at.index(length)),
        Mutation::Replace(..) | Mutation::Remove(_) => {}
        Mutation::Cut(start, end) => _ = line.drain(range(start, end)),
        Mutation::Repeat(start, end) => {
            let range = range(start, end);
            let again = line[range.clone()].to_vec();
            line.splice(range.end..range.end, again);
        }
    }
    line
}

/// That `parse` finds in `line` what `specification` does.
pub(in crate::processor::format) fn agree(
    parse: Parse,
    specification: for<'l> fn(&'l [u8], &'l Arena) -> Values<'l>,
    line: &[u8],
) -> Result<(), TestCaseError> {
    let arena = Arena::new();
    let mut fields = Fields::new(&arena);
    let found = parse(line, &arena, &mut fields).map(|()| fields.iter().map(|field| field.value).collect::<Vec<_>>());
    let specified = specification(line, &arena);
    prop_assert!(found == specified, "{}\n{}\n{}", line.escape_ascii(), shown(&found), shown(&specified));
    Ok(())
}

fn shown(values: &Values<'_>) -> String {
    let shown = |value: &Value<'_>| match value {
        Value::Text(text) => format!("\"{}\"", text.escape_ascii()),
        value => format!("{value:?}"),
    };
    values.as_ref().map_or("no match".to_owned(), |values| values.iter().map(shown).collect::<Vec<_>>().join(" "))
}

/// What `pattern` matches in `text`; each pattern is compiled once.
pub(in crate::processor::format) fn captures<'l>(pattern: &'static str, text: &'l [u8]) -> Option<Captures<'l>> {
    thread_local! {
        static COMPILED: RefCell<HashMap<&'static str, Regex>> = RefCell::default();
    }
    let compile = || Regex::new(pattern).unwrap();
    COMPILED.with_borrow_mut(|compiled| compiled.entry(pattern).or_insert_with(compile).clone()).captures(text)
}

/// What a group matched; `otherwise` when it took no part.
pub(in crate::processor::format) fn group<'l>(captures: &Captures<'l>, name: &str, otherwise: Value<'l>) -> Value<'l> {
    captures.name(name).map_or(otherwise, |group| Value::Text(group.as_bytes()))
}
