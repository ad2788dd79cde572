//! Values that may be written in more than one way.

use toml::de::DeValue;

use super::{Placed, Table};

impl<'a> Table<'a> {
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
        let mut results = Vec::new();
        for element in elements.iter() {
            match element.get_ref() {
                DeValue::Table(entries) => results.push(self.child(key, Some(entries), element.span()).read(&mut read)),
                DeValue::String(text) => results.push(read_text(self, Placed { value: text.as_ref(), place: element.span() })),
                _ => self.wrong_kind(key, "a list of strings and tables", element, &format!("write {example}")),
            }
        }
        results
    }
}
