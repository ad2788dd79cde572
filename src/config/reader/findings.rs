//! What reading one file finds out: mistakes, which keys there are, and which are written that are none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::Placed;
use crate::config::mistakes::{Mistake, listed, nearest};

/// What reading one file has found out so far.
#[derive(Default)]
pub(in crate::config) struct Findings {
    mistakes: RefCell<Vec<Mistake>>,
    asked: RefCell<Asked>,
    /// Keys that nobody asked for, with the heading of their table.
    unknown: RefCell<Vec<(String, Placed<String>)>>,
    /// The text has syntax errors: what is missing may be there and not understood.
    is_torn: bool,
}

/// The keys that somebody has asked for: those that exist.
#[derive(Default)]
struct Asked {
    /// Each once, by the heading of its table.
    by_table: HashMap<String, Vec<&'static str>>,
    /// The heading of the table in which it was asked for first.
    first_table: HashMap<&'static str, String>,
}

impl Findings {
    /// Nothing so far; `is_torn` when the text has syntax errors.
    pub(in crate::config) fn new(is_torn: bool) -> Self {
        Self { is_torn, ..Self::default() }
    }

    /// Notes a mistake; an empty `help` is none.
    pub(in crate::config) fn mistake(&self, place: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        self.mistakes.borrow_mut().push(Mistake { place: place.clone(), message: message.into(), help });
    }

    /// Whether the text has syntax errors: what is missing may be there and not understood.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Notes that `key` exists in `table`.
    pub(super) fn note_asked(&self, table: &str, key: &'static str) {
        self.asked.borrow_mut().note(table, key);
    }

    /// Notes that `key`, which is written in `table`, does not exist.
    pub(super) fn note_unknown(&self, table: &str, key: Placed<String>) {
        self.unknown.borrow_mut().push((table.to_owned(), key));
    }

    /// Everything found, unknown keys included, now that all known ones have been asked for.
    pub(in crate::config) fn into_mistakes(self) -> Vec<Mistake> {
        for (table, key) in self.unknown.borrow().iter() {
            let message = format!("unknown key `{}` {}", key.value, within(table));
            self.mistake(&key.place, message, self.known_instead(table, &key.value));
        }
        self.mistakes.into_inner()
    }

    fn known_instead(&self, table: &str, key: &str) -> String {
        let asked = self.asked.borrow();
        if let Some(elsewhere) = asked.first_table.get(key) {
            return format!("`{key}` belongs {}", within(elsewhere));
        }
        let mut here = asked.by_table.get(table).cloned().unwrap_or_default();
        here.sort_unstable();
        match nearest(key, here.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", listed(here, '`')),
        }
    }
}

/// `in [flow.kinesis]`, `at the top level`.
pub(super) fn within(table: &str) -> String {
    match table {
        "" => "at the top level".to_owned(),
        "flow" => "in [[flow]]".to_owned(),
        name => format!("in [{name}]"),
    }
}

impl Asked {
    fn note(&mut self, table: &str, key: &'static str) {
        match self.by_table.get_mut(table) {
            Some(keys) if keys.contains(&key) => return,
            Some(keys) => keys.push(key),
            None => drop(self.by_table.insert(table.to_owned(), vec![key])),
        }
        self.first_table.entry(key).or_insert_with(|| table.to_owned());
    }
}

#[cfg(test)]
impl Findings {
    /// The keys that exist, as far as this file's tables led to them.
    pub(in crate::config) fn known_keys(&self) -> std::collections::BTreeSet<&'static str> {
        self.asked.borrow().first_table.keys().copied().collect()
    }

    /// The same, each with the heading of its table.
    pub(in crate::config) fn known_settings(&self) -> std::collections::BTreeSet<(String, &'static str)> {
        let asked = self.asked.borrow();
        let of_table =
            |(table, keys): (&String, &Vec<&'static str>)| keys.iter().map(|key| (table.clone(), *key)).collect::<Vec<_>>();
        asked.by_table.iter().flat_map(of_table).collect()
    }
}
