//! The members of a JSON object in their order, for people: those of objects inside of it one by one, with dots in their names.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Nobody looks at more of them.
const MEMBERS_MAX: usize = 500;
/// Nor reads a longer name.
const NAME_CHARS_MAX: usize = 200;

/// The members of the object `json`: names, and values as they are written. Where there are very many, the last says so. None
/// when it is no object.
pub(super) fn members(json: &[u8]) -> Option<Vec<(String, &str)>> {
    let object: Object<'_> = serde_json::from_slice(json).ok()?;
    let mut members = Vec::new();
    flatten("", object, &mut members);
    if members.len() > MEMBERS_MAX {
        members.truncate(MEMBERS_MAX);
        members.push(("…".to_owned(), "and more"));
    }
    Some(members)
}

fn flatten<'a>(prefix: &str, object: Object<'a>, members: &mut Vec<(String, &'a str)>) {
    for (name, value) in object.0 {
        if members.len() > MEMBERS_MAX {
            return;
        }
        let (name, value) = (format!("{prefix}{}", short(&name)), value.get());
        match serde_json::from_str::<Object<'_>>(value) {
            Ok(inner) if !inner.0.is_empty() => flatten(&format!("{name}."), inner, members),
            _ => members.push((name, value)),
        }
    }
}

/// The beginning of a name that is too long.
fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Object<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'a> Visitor<'a> for Members {
    type Value = Object<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Object<'a>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_cut() {
        let many: String = (0..10_000).map(|number| format!("\"{number}\":1,")).collect();
        let json = format!("{{\"{}\":{{{many}\"z\":1}}}}", "n".repeat(100_000));
        let members = members(json.as_bytes()).unwrap();
        assert_eq!((members.len(), members.last().unwrap().1), (MEMBERS_MAX + 1, "and more"));
        assert_eq!(members[0].0, format!("{}….0", "n".repeat(NAME_CHARS_MAX)));
    }

    #[test]
    fn members_stay_in_their_order_and_values_as_they_are() {
        let json = r#"{"z":1.0,"a":{"y":"\u00e9","b":{"c":[1,{"d":2}]}},"e":{},"z":null}"#;
        let expected = [("z", "1.0"), ("a.y", r#""\u00e9""#), ("a.b.c", r#"[1,{"d":2}]"#), ("e", "{}"), ("z", "null")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(members(json.as_bytes()).unwrap(), expected);
        assert!(members(b"[1]").is_none());
        assert!(members(b"{").is_none());
    }
}
