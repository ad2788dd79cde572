//! An object of JSON a line (RFC 8259), or one over several lines that were joined before.
//!
//! A value that is a string is text, as its escapes say; a number, a list or an object keeps the text of the line, so that no
//! digit of it is lost, without white space outside of strings, so that no record has a newline. Of members with the same
//! name the last counts, as for most that read JSON.

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::processor::fields::{Arena, Fields};
use crate::processor::nested::{self, DEPTH_MAX};

/// Some programs write it at the beginning of their files.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let text = str::from_utf8(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)).ok()?;
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Members { arena, fields: &mut *fields }).and_then(|()| reader.end()).ok()?;
    fields.keep_one_of_each_name();
    Some(())
}

/// What puts the members of an object into `fields`.
struct Members<'f, 'l> {
    arena: &'l Arena,
    fields: &'f mut Fields<'l>,
}

impl<'l> Visitor<'l> for Members<'_, 'l> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'l>>(self, mut members: M) -> Result<(), M::Error> {
        while let Some((name, value)) = members.next_entry::<&'l RawValue, &'l RawValue>()? {
            let name = nested::decode(nested::within_quotes(name.get()), self.arena);
            // The object around it is one level.
            let value = nested::read_valid(value.get(), self.arena, DEPTH_MAX - 1);
            self.fields.push(name, value.ok_or_else(|| M::Error::custom("nested too deep"))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Format;
    use crate::processor::fields::Value;
    use crate::processor::format::tests::{check, fields_of};
    use crate::processor::nested::tests::{any_json, written};

    #[test]
    fn members_become_fields() {
        let check = |line: &str, expected: &str| check(&Format::Json, line, expected);
        check(r#"{"a":"x","b":1}"#, r#"a="x" b=1"#);
        check(r#" { "a" : null , "b" : true, "c":false } "#, "a=null b=true c=false");
        check(r#"{"level":"info","msg":"say \"hi\"\n\u00e4","":""}"#, "level=\"info\" msg=\"say \"hi\"\nä\" =\"\"");
        check(r#"{"n\u0061me\t":1,"\ud800":"\udc00"}"#, "name\t=1 \u{fffd}=\"\u{fffd}\"");
        check(
            r#"{"n":123456789012345678901234567890,"d":0.10,"e":-1E+400}"#,
            "n=123456789012345678901234567890 d=0.10 e=-1E+400",
        );
        check(r#"{"l":[1, 2],"o":{"p": {"q": " , "}}}"#, r#"l=[1,2] o={"p":{"q":" , "}}"#);
        check("{\n  \"a\": {\r\n\t\"b\": [\n]\n  },\n  \"c\": \"d\"\n}\n", r#"a={"b":[]} c="d""#);
        check("\u{feff}{\"a\":1}\r", "a=1");
    }

    #[test]
    fn the_last_of_the_same_name_counts() {
        let check = |line: &str, expected: &str| check(&Format::Json, line, expected);
        check(r#"{"a":1,"b":2,"a":3}"#, "a=3 b=2");
        check(r#"{"a":1,"\u0061":null,"b":2}"#, "a=null b=2");
        check(r#"{"a":{"x":1,"x":2}}"#, r#"a={"x":1,"x":2}"#);
    }

    #[test]
    fn what_is_not_one_object_is_a_mismatch() {
        for line in [
            "",
            " ",
            "{",
            "}",
            "{}x",
            "{}{}",
            "{} []",
            "[]",
            "[{}]",
            "1",
            "null",
            r#""a""#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{'a':1}"#,
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            r#"{"a":tru}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":"\x"}"#,
            "\u{feff}\u{feff}{}",
            "info: {}",
        ] {
            assert_eq!(fields_of(&Format::Json, line.as_bytes()), None, "{line}");
        }
        assert_eq!(fields_of(&Format::Json, b"{}"), Some(String::new()));
        assert_eq!(fields_of(&Format::Json, b"{\"a\":\"\xff\"}"), None);
        assert_eq!(fields_of(&Format::Json, b"{}\xff"), None);
    }

    #[test]
    fn a_record_is_nested_as_deep_as_it_can_be_read() {
        for (depth, is_read) in [(DEPTH_MAX - 1, true), (DEPTH_MAX, false), (1_000_000, false)] {
            let line = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(fields_of(&Format::Json, line.as_bytes()).is_some(), is_read, "{depth}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), is_read, "{depth}");
        }
    }

    /// What `serde_json` reads of `line`, its members one by one.
    fn known(line: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(line.strip_prefix('\u{feff}').unwrap_or(line)).ok()
    }

    /// The same of what is found here.
    fn found(line: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
        let arena = Arena::new();
        let mut fields = Fields::new(&arena);
        parse(line.as_bytes(), &arena, &mut fields)?;
        let members = fields.iter().map(|field| {
            let value = match field.value {
                Value::Text(text) => str::from_utf8(text).unwrap().into(),
                Value::Json(json) => serde_json::from_str(json).unwrap(),
                Value::Boolean(value) => value.into(),
                Value::Null => serde_json::Value::Null,
                other => panic!("{other:?}"),
            };
            (str::from_utf8(field.name).unwrap().to_owned(), value)
        });
        let members: Vec<_> = members.collect();
        let count = members.len();
        let members = serde_json::Map::from_iter(members);
        assert_eq!(members.len(), count, "{line}");
        Some(members)
    }

    proptest! {
        #[test]
        fn any_object_is_read(members in prop::collection::vec(("[abc\"\n]{0,2}", any_json()), 0..80), seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let members = members.iter().map(|(name, value)| {
                format!("{}:{}", written(&name.as_str().into(), &mut random), written(value, &mut random))
            });
            let line = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            prop_assert!(known(&line).is_some());
            prop_assert_eq!(found(&line), known(&line), "{}", line);
        }

        /// Lines that are almost an object, or with a half of a pair of surrogates, which is not an error here.
        #[test]
        fn what_is_read_is_an_object(line in "\u{feff}?[{\\[]?([{}\\[\\],: 0]|\"a\"|\"a\":|\"\\\\u00e4\":|null|-1.5e7|\"\\\\ud83e\"){0,8}}?") {
            let is_read = found(&line);
            if line.contains(r"\ud83e") {
                prop_assert_eq!(is_read.is_some(), known(&line.replace(r"\ud83e", "x")).is_some(), "{}", line);
            } else {
                prop_assert_eq!(is_read, known(&line), "{}", line);
            }
        }
    }
}
