//! `[flow.parse]`: how a line becomes a JSON object.

use std::collections::BTreeMap;

use regex::bytes::Regex;

use super::mistakes::{listed, nearest};
use super::reader::{Placed, Table};
use super::{FieldType, OnMismatch, Parse, pattern};

const TYPES: [(&str, FieldType); 4] = [
    ("string", FieldType::String),
    ("integer", FieldType::Integer),
    ("float", FieldType::Float),
    ("boolean", FieldType::Boolean),
];
const ON_MISMATCH: [(&str, OnMismatch); 3] =
    [("send_raw", OnMismatch::SendRaw), ("drop", OnMismatch::Drop), ("wrap", OnMismatch::Wrap)];

/// Reads `[flow.parse]`; none when its pattern is not sound, of which all else depends.
pub(super) fn read(table: &mut Table<'_>, source: &str) -> Option<Parse> {
    table.require("regex", "write regex = '^(?<name>…)$': each named group becomes a field");
    let regex = regex(table, source);
    let types = table.named_strings("types");
    let on_mismatch = table.choice("on_mismatch", &ON_MISMATCH).unwrap_or(OnMismatch::SendRaw);
    let mut type_by_field = BTreeMap::new();
    for (field, type_name) in types {
        if let Some(regex) = &regex {
            check_group(table, &field, regex);
        }
        if let Some(field_type) = table.chosen(field.value, &type_name, &TYPES) {
            type_by_field.insert(field.value.to_owned(), field_type);
        }
    }
    Some(Parse { regex: regex?, types: type_by_field, on_mismatch })
}

fn regex(table: &mut Table<'_>, source: &str) -> Option<Regex> {
    let Placed { value: regex, place } = pattern::read(table, "regex", source)?;
    if regex.capture_names().flatten().next().is_none() {
        table.mistake(&place, "`regex` has no named group", "name what becomes a field: (?<name>…)");
        return None;
    }
    Some(regex)
}

fn check_group(table: &Table<'_>, field: &Placed<&str>, regex: &Regex) {
    let groups = || regex.capture_names().flatten();
    if groups().all(|group| group != field.value) {
        let help = match nearest(field.value, groups()) {
            Some(group) => format!("did you mean `{group}`?"),
            None => format!("named groups are {}", listed(groups(), '`')),
        };
        table.mistake(&field.place, format!("`types` names `{}`, which is not a group of `regex`", field.value), help);
    }
}
