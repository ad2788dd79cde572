//! The named groups of a pattern as the fields of a JSON object.

use regex::bytes::{CaptureLocations, Regex};

use super::json::write_string;
use crate::config::{FieldType, Parse};
use crate::limits::PARTITION_KEY_CHARS_MAX;

/// A pattern, and what its groups become.
pub(super) struct Fields {
    regex: Regex,
    /// Where the groups of the newest line are.
    groups: CaptureLocations,
    /// In the order of the groups.
    fields: Vec<Field>,
    /// The group that is the partition key.
    key_group: Option<usize>,
}

struct Field {
    group: usize,
    field_type: FieldType,
    /// All that is before the value: brace or comma, the name, the colon.
    prefix: Vec<u8>,
}

/// What there is to count of a line that matched.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) type_mismatches: u32,
    pub(super) replaced: bool,
}

impl Fields {
    pub(super) fn new(parse: &Parse, key_field: Option<&str>) -> Self {
        let named = || parse.regex.capture_names().enumerate().filter_map(|(group, name)| Some((group, name?)));
        let field = |(index, (group, name)): (usize, (usize, &str))| {
            let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
            write_string(name.as_bytes(), &mut prefix);
            prefix.push(b':');
            Field { group, field_type: parse.types.get(name).copied().unwrap_or(FieldType::String), prefix }
        };
        Self {
            groups: parse.regex.capture_locations(),
            fields: named().enumerate().map(field).collect(),
            key_group: named().find(|(_, name)| Some(*name) == key_field).map(|(group, _)| group),
            regex: parse.regex.clone(),
        }
    }

    /// Appends the object that `line` makes, and the partition key; none, and nothing appended, when it does not match.
    pub(super) fn write(&mut self, line: &[u8], out: &mut Vec<u8>, key: &mut String) -> Option<Written> {
        self.regex.captures_read(&mut self.groups, line)?;
        let mut written = Written::default();
        for field in &self.fields {
            out.extend_from_slice(&field.prefix);
            match self.groups.get(field.group) {
                Some((start, end)) => write_value(&line[start..end], field.field_type, out, &mut written),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
        if let Some((start, end)) = self.key_group.and_then(|group| self.groups.get(group)) {
            write_key(&line[start..end], key);
        }
        Some(written)
    }
}

fn write_value(value: &[u8], field_type: FieldType, out: &mut Vec<u8>, written: &mut Written) {
    if field_type != FieldType::String {
        if write_typed(value, field_type, out).is_some() {
            return;
        }
        written.type_mismatches += 1;
    }
    written.replaced |= write_string(value, out);
}

/// None, and nothing written, when the value does not fit its type.
fn write_typed(value: &[u8], field_type: FieldType, out: &mut Vec<u8>) -> Option<()> {
    let text = str::from_utf8(value).ok()?;
    match field_type {
        FieldType::Integer => serde_json::to_writer(out, &text.parse::<i64>().ok()?).ok(),
        FieldType::Float => serde_json::to_writer(out, &text.parse::<f64>().ok().filter(|float| float.is_finite())?).ok(),
        FieldType::Boolean => serde_json::to_writer(out, &boolean(text)?).ok(),
        FieldType::String => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    [("true", true), ("false", false)].iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
}

fn write_key(value: &[u8], key: &mut String) {
    let characters = value.utf8_chunks().flat_map(|chunk| {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replacement)
    });
    key.extend(characters.take(PARTITION_KEY_CHARS_MAX));
}
