//! Reading a TOML table key by key: what is not as it should be is noted, with its place, and reading goes on.
//!
//! The keys that are asked for are the keys that exist: a table needs no list of its own, and whatever was
//! written and never asked for is unknown. What keys there are, and what they mean, is decided by those who ask.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes::{listed, nearest};
use super::units::{duration_written, parse_duration, parse_size, size_written};

mod findings;
mod mixed;

use findings::within;

pub(super) use findings::Findings;
pub(super) use mixed::{Leaf, json_of};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Range<usize>,
}

impl Placed<&str> {
    /// Where `part` of the value, in bytes, is written; the whole value where escapes keep that from being told.
    pub(super) fn within(&self, source: &str, part: Range<usize>) -> Range<usize> {
        let written = source.get(self.place.clone()).unwrap_or_default();
        match written.find(self.value) {
            Some(start) if !self.value.is_empty() => {
                let start = self.place.start + start;
                start + part.start.min(self.value.len())..start + part.end.min(self.value.len())
            }
            _ => self.place.clone(),
        }
    }
}

/// A table being read; one that is not written at all reads as empty.
pub(super) struct Table<'a> {
    findings: &'a Findings,
    /// As its header is written, without the brackets: `flow.kinesis`; empty at the top level.
    name: String,
    entries: Option<&'a DeTable<'a>>,
    /// Its header.
    place: Range<usize>,
    asked: Vec<&'static str>,
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'a> Table<'a> {
    /// Reads a whole file.
    pub(super) fn read_top<T>(findings: &'a Findings, entries: &'a DeTable<'a>, read: impl FnOnce(&mut Self) -> T) -> T {
        Self { findings, name: String::new(), entries: Some(entries), place: 0..0, asked: Vec::new() }.read(read)
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let result = read(&mut self);
        let unknown = self.entries.into_iter().flatten().filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()));
        for (key, _) in unknown {
            self.findings.note_unknown(&self.name, Placed { value: key.get_ref().to_string(), place: key.span() });
        }
        result
    }

    /// The header of this table.
    pub(super) fn place(&self) -> &Range<usize> {
        &self.place
    }

    /// Notes a mistake; an empty `help` is none.
    pub(super) fn mistake(&self, place: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.findings.mistake(place, message, help);
    }

    /// Notes that something which must be in this table is not; to be asked before the key is read.
    pub(super) fn require(&mut self, key: &'static str, help: &str) {
        if !self.has(key) && !self.findings.is_torn() {
            let what = format!("`{key}` is missing {}", within(&self.name));
            self.mistake(&self.place, what, help);
        }
    }

    /// The same where any of `keys` would do.
    pub(super) fn require_any(&mut self, keys: &[&str], help: &str) {
        if !keys.iter().any(|key| self.has(key)) && !self.findings.is_torn() {
            let what = format!("one of {} is missing {}", listed(keys.iter().copied(), '`'), within(&self.name));
            self.mistake(&self.place, what, help);
        }
    }

    /// Whether the key is written, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Notes a mistake if `key` is written, which is known and belongs elsewhere.
    pub(super) fn misplaced(&mut self, key: &'static str, message: &str, help: &str) {
        if let Some(value) = self.ask(key) {
            self.mistake(&value.span(), message, help);
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.findings.note_asked(&self.name, key);
        self.entries?.get(key)
    }

    fn wrong_kind(&self, key: &str, wanted: &str, value: &Spanned<DeValue<'_>>, help: &str) {
        self.mistake(&value.span(), format!("`{key}` must be {wanted}, not {}", kind(value.get_ref())), help);
    }

    /// A string.
    pub(super) fn string(&mut self, key: &'static str) -> Option<Placed<&'a str>> {
        let value = self.ask(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_kind(key, "a string", value, "write it in quotes");
        }
        text.map(|text| Placed { value: text, place: value.span() })
    }

    /// A list of strings, or a single one.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<Placed<&'a str>>> {
        let value = self.ask(key)?;
        let elements = match value.get_ref() {
            DeValue::Array(elements) => elements.iter().collect(),
            DeValue::String(_) => vec![value],
            _ => {
                self.wrong_kind(key, "a list of strings", value, "write [\"…\", \"…\"]");
                return None;
            }
        };
        let strings = elements.into_iter().filter_map(|element| {
            let text = element.get_ref().as_str();
            if text.is_none() {
                self.wrong_kind(key, "a list of strings", element, "write it in quotes");
            }
            text.map(|text| Placed { value: text, place: element.span() })
        });
        Some(strings.collect())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.ask(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_kind(key, "true or false", value, "write true or false, without quotes");
        }
        boolean
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let written = self.string(key)?;
        self.chosen(key, &written, choices)
    }

    /// What `written`, the value of `key`, means by `choices`.
    pub(super) fn chosen<T: Copy>(&self, key: &str, written: &Placed<&str>, choices: &[(&'static str, T)]) -> Option<T> {
        let chosen = choices.iter().find(|(word, _)| *word == written.value).map(|(_, meaning)| *meaning);
        if chosen.is_none() {
            let words = || choices.iter().map(|(word, _)| *word);
            let meant = nearest(written.value, words()).map(|word| format!("did you mean \"{word}\"? "));
            let help = format!("{}valid are {}", meant.unwrap_or_default(), listed(words(), '"'));
            self.mistake(&written.place, format!("`{key}` cannot be \"{}\"", written.value), help);
        }
        chosen
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, key: &'static str, bounds: RangeInclusive<usize>) -> Option<Placed<usize>> {
        let value = self.ask(key)?;
        let DeValue::Integer(written) = value.get_ref() else {
            self.wrong_kind(key, "a whole number", value, "write it in digits, without quotes");
            return None;
        };
        let number = usize::from_str_radix(written.as_str(), written.radix()).ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let help = format!("from {} to {}", bounds.start(), bounds.end());
            self.mistake(&value.span(), format!("`{key}` is out of range: {}", written.as_str()), help);
        }
        Some(Placed { value: number?, place: value.span() })
    }

    /// A size within bounds.
    pub(super) fn size(&mut self, key: &'static str, bounds: RangeInclusive<usize>) -> Option<Placed<usize>> {
        self.size_because(key, bounds, "")
    }

    /// A size within bounds; `why` is added to these where a mistake tells them.
    pub(super) fn size_because(&mut self, key: &'static str, bounds: RangeInclusive<usize>, why: &str) -> Option<Placed<usize>> {
        self.measure(key, "a size with a unit", (bounds, why), "B", parse_size, |bytes| size_written(*bytes))
    }

    /// A duration within bounds.
    pub(super) fn duration(&mut self, key: &'static str, bounds: RangeInclusive<Duration>) -> Option<Placed<Duration>> {
        self.measure(key, "a duration with a unit", (bounds, ""), "s", parse_duration, |duration| duration_written(*duration))
    }

    fn measure<T: PartialOrd>(
        &mut self,
        key: &'static str,
        wanted: &str,
        (bounds, why): (RangeInclusive<T>, &str),
        usual_unit: &str,
        parse: fn(&str) -> Result<T, String>,
        written: fn(&T) -> String,
    ) -> Option<Placed<T>> {
        let value = self.ask(key)?;
        let place = value.span();
        let Some(text) = value.get_ref().as_str() else {
            let help = match value.get_ref() {
                DeValue::Integer(number) => {
                    format!("write a string with the unit, for example \"{} {usual_unit}\"", number.as_str())
                }
                _ => format!("write for example \"{}\"", written(bounds.start())),
            };
            self.wrong_kind(key, wanted, value, &help);
            return None;
        };
        match parse(text) {
            Err(help) => self.mistake(&place, format!("`{key}` must be {wanted}"), help),
            Ok(value) if bounds.contains(&value) => return Some(Placed { value, place }),
            Ok(_) => {
                let help = format!("from {} to {}{why}", written(bounds.start()), written(bounds.end()));
                self.mistake(&place, format!("`{key}` is out of range: {text}"), help);
            }
        }
        None
    }

    /// What `read` makes of the table `key`, which reads as empty when it is not there.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = self.ask(key);
        let entries = value.and_then(|value| self.as_table(key, value));
        let place = value.map_or(self.place.clone(), Spanned::span);
        self.child(key, entries, place).read(read)
    }

    /// What `read` makes of the table `key`, if it is there.
    pub(super) fn optional_section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let value = self.ask(key)?;
        let entries = self.as_table(key, value)?;
        Some(self.child(key, Some(entries), value.span()).read(read))
    }

    /// What `read` makes of each table of the list `key`.
    pub(super) fn sections<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let elements = match value.get_ref() {
            DeValue::Array(elements) if !elements.is_empty() => elements.iter().collect(),
            // Read all the same: it has mistakes of its own to tell.
            DeValue::Table(_) => {
                self.mistake(
                    &value.span(),
                    format!("`{key}` must be a list of tables, not a single one"),
                    format!("write [[{key}]] above the keys of each"),
                );
                vec![value]
            }
            DeValue::Array(_) => {
                self.mistake(&value.span(), format!("`{key}` is empty"), format!("write [[{key}]] above the keys of each"));
                Vec::new()
            }
            _ => {
                self.wrong_kind(key, "a list of tables", value, &format!("write [[{key}]] above the keys of each"));
                Vec::new()
            }
        };
        let tables = elements.into_iter().filter_map(|element| Some((self.as_table(key, element)?, element.span())));
        tables.map(|(entries, place)| self.child(key, Some(entries), place).read(&mut read)).collect()
    }

    /// The strings of the table `key`, whose names the configuration's author chooses.
    pub(super) fn named_strings(&mut self, key: &'static str) -> Vec<(Placed<&'a str>, Placed<&'a str>)> {
        let Some(entries) = self.ask(key).and_then(|value| self.as_table(key, value)) else { return Vec::new() };
        let named = entries.iter().filter_map(|(name, value)| {
            let text = value.get_ref().as_str();
            if text.is_none() {
                self.wrong_kind(name.get_ref(), "a string", value, "write it in quotes");
            }
            let name = Placed { value: name.get_ref().as_ref(), place: name.span() };
            Some((name, Placed { value: text?, place: value.span() }))
        });
        named.collect()
    }

    fn as_table(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let name = self.child_name(key);
            let help = match value.get_ref() {
                DeValue::Array(_) => format!("there is only one: write [{name}]"),
                _ => format!("write [{name}] above its keys"),
            };
            self.wrong_kind(key, "a table", value, &help);
        }
        table
    }

    fn child(&self, key: &str, entries: Option<&'a DeTable<'a>>, place: Range<usize>) -> Self {
        Self { findings: self.findings, name: self.child_name(key), entries, place, asked: Vec::new() }
    }

    fn child_name(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}
