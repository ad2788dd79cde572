//! Values that may be written in more than one way: numbers with or without a fraction, one or a list, a word or a table.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Placed, Table};

/// A value below a table whose keys the configuration's author chooses.
pub(in crate::config) struct Leaf<'a> {
    /// The keys that lead to it, at least one.
    pub(in crate::config) path: Vec<&'a str>,
    /// Where the last of these is written.
    pub(in crate::config) place: Range<usize>,
    /// What is written there; no table.
    pub(in crate::config) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    /// Whether the value of `key` is a table.
    pub(in crate::config) fn is_table(&self, key: &str) -> bool {
        self.entries.and_then(|entries| entries.get(key)).is_some_and(|value| value.get_ref().is_table())
    }

    /// A number within bounds, with or without a fraction.
    pub(in crate::config) fn number(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<Placed<f64>> {
        let value = self.ask(key)?;
        let written = match value.get_ref() {
            DeValue::Integer(written) if written.radix() == 10 => written.as_str(),
            DeValue::Float(written) => written.as_str(),
            _ => {
                self.wrong_kind(key, "a number", value, "write it in digits, without quotes");
                return None;
            }
        };
        let number = written.parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let help = match (*bounds.start(), *bounds.end()) {
                (f64::MIN, _) => String::new(),
                (start, f64::MAX) => format!("{start} or more"),
                (start, end) => format!("from {start} to {end}"),
            };
            self.mistake(&value.span(), format!("`{key}` is out of range: {written}"), help);
        }
        Some(Placed { value: number?, place: value.span() })
    }

    /// The text of a string, a number or a truth value, or of each of a list of them.
    pub(in crate::config) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.ask(key)?;
        let elements = match value.get_ref() {
            DeValue::Array(elements) => elements.iter().collect(),
            _ => vec![value],
        };
        if elements.is_empty() {
            self.mistake(&value.span(), format!("`{key}` is empty"), "");
        }
        let texts = elements.into_iter().filter_map(|element| {
            let text = scalar_text(element.get_ref());
            if text.is_none() {
                self.wrong_kind(key, "a string, a number, true or false, or a list of them", element, "");
            }
            text
        });
        Some(texts.collect())
    }

    /// What `read` makes of each table of the list `key`, and `read_text` of each string in it. `example` shows how to write one.
    pub(in crate::config) fn each<T>(
        &mut self,
        key: &'static str,
        example: &str,
        mut read: impl FnMut(&mut Self) -> T,
        mut read_text: impl FnMut(&Self, Placed<&'a str>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let DeValue::Array(elements) = value.get_ref() else {
            self.wrong_kind(key, "a list", value, &format!("write {example}"));
            return Vec::new();
        };
        if elements.is_empty() {
            self.mistake(&value.span(), format!("`{key}` is empty"), format!("leave it out, or write {example}"));
        }
        let mut results = Vec::new();
        for element in elements {
            match element.get_ref() {
                DeValue::Table(entries) => results.push(self.child(key, Some(entries), element.span()).read(&mut read)),
                DeValue::String(text) => results.push(read_text(self, Placed { value: text.as_ref(), place: element.span() })),
                _ => self.wrong_kind(key, "a list of strings and tables", element, &format!("write {example}")),
            }
        }
        results
    }

    /// What `read` makes of each table in the table `key`, whose names the configuration's author chooses, and `read_text` of each
    /// string.
    pub(in crate::config) fn each_named<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Self, Placed<&'a str>) -> T,
        mut read_text: impl FnMut(&Self, Placed<&'a str>, Placed<&'a str>) -> T,
    ) -> Vec<T> {
        let Some(entries) = self.ask(key).and_then(|value| self.as_table(key, value)) else { return Vec::new() };
        let of = self.child(key, None, self.place.clone());
        let each = entries.iter().filter_map(|(name, value)| {
            let name = Placed { value: name.get_ref().as_ref(), place: name.span() };
            match value.get_ref() {
                DeValue::String(text) => Some(read_text(self, name, Placed { value: text.as_ref(), place: value.span() })),
                DeValue::Table(entries) => {
                    Some(of.child(name.value, Some(entries), value.span()).read(|table| read(table, name)))
                }
                _ => {
                    self.wrong_kind(name.value, "a string", value, "write it in quotes");
                    None
                }
            }
        });
        each.collect()
    }

    /// All values below the table `key`, whose keys the configuration's author chooses, in the order in which they are written.
    pub(in crate::config) fn leaves(&mut self, key: &'static str) -> Vec<Leaf<'a>> {
        let mut leaves = Vec::new();
        if let Some(entries) = self.ask(key).and_then(|value| self.as_table(key, value)) {
            collect_leaves(entries, &[], &mut leaves);
        }
        leaves.sort_by_key(|leaf| leaf.place.start);
        leaves
    }
}

fn collect_leaves<'a>(entries: &'a DeTable<'a>, above: &[&'a str], leaves: &mut Vec<Leaf<'a>>) {
    for (key, value) in entries {
        let path = [above, &[key.get_ref().as_ref()]].concat();
        match value.get_ref() {
            DeValue::Table(entries) => collect_leaves(entries, &path, leaves),
            _ => leaves.push(Leaf { path, place: key.span(), value }),
        }
    }
}

/// A string, a number or a truth value as text.
fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A number, a truth value, a date, or a list of such values and strings as JSON; none for what JSON does not have, such as
/// infinite numbers.
pub(in crate::config) fn json_of(value: &DeValue<'_>) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::from(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Float(number) => Value::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(elements) => {
            Value::Array(elements.iter().map(|element| json_of(element.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(entries) => {
            let member = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                Some((key.get_ref().to_string(), json_of(value.get_ref())?))
            };
            Value::Object(entries.iter().map(member).collect::<Option<_>>()?)
        }
    })
}
