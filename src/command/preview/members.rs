//! The members of a JSON object in their order, for people: those of objects inside of it one by one, with dots in their names.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the object `json`: names, and values as they are written. None when it is no object.
pub(super) fn members(json: &[u8]) -> Option<Vec<(String, &str)>> {
    let object: Object<'_> = serde_json::from_slice(json).ok()?;
    let mut members = Vec::new();
    flatten("", object, &mut members);
    Some(members)
}

fn flatten<'a>(prefix: &str, object: Object<'a>, members: &mut Vec<(String, &'a str)>) {
    for (name, value) in object.0 {
        let (name, value) = (format!("{prefix}{name}"), value.get());
        match serde_json::from_str::<Object<'_>>(value) {
            Ok(inner) if !inner.0.is_empty() => flatten(&format!("{name}."), inner, members),
            _ => members.push((name, value)),
        }
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
    fn members_stay_in_their_order_and_values_as_they_are() {
        let json = r#"{"z":1.0,"a":{"y":"\u00e9","b":{"c":[1,{"d":2}]}},"e":{},"z":null}"#;
        let expected = [("z", "1.0"), ("a.y", r#""\u00e9""#), ("a.b.c", r#"[1,{"d":2}]"#), ("e", "{}"), ("z", "null")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(members(json.as_bytes()).unwrap(), expected);
        assert!(members(b"[1]").is_none());
        assert!(members(b"{").is_none());
    }
}
