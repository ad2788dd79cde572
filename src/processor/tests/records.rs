//! What records look like.

use super::*;

const PARSE: &str = "[flow.parse]\nregex = '^(?<ip>[^ ]*) (?<user>[^ ]*) (?<path>.*)$'\n[flow.record]\n";

#[track_caller]
fn check_record(settings: &str, record: &str) {
    check(&format!("{PARSE}{settings}"), "::1 ann /a?b", record);
}

#[test]
fn fields_are_added_behind_those_of_the_line() {
    check_record("", r#"{"ip":"::1","user":"ann","path":"/a?b"}"#);
    check_record(
        "add = { env = 'prod', n = 3, f = 0.5, ok = true, list = [1, 'a'] }",
        r#"{"ip":"::1","user":"ann","path":"/a?b","env":"prod","n":3,"f":0.5,"ok":true,"list":[1,"a"]}"#,
    );
    check_record(
        "remove = ['ip', 'user', 'path']\nadd = { host = '${host.name}', path = '${file.path}', name = '${file.name}', \
         at = '${file.offset}', flow = '${flow.name}', now = '${time.now}', stage = '${env.STAGE}', id = '${ec2.instance_id}' }",
        r#"{"host":"web-1","path":"/var/log/a.log","name":"a.log","at":42,"flow":"app","now":"2026-11-21T12:00:00.500Z","stage":"test","id":"i-1"}"#,
    );
    check_record(
        "keep_only = ['ip']\nadd = { who = '${user} at ${ip}', line = '${line.text}', dollar = '$${x} $' }",
        r#"{"ip":"::1","who":"ann at ::1","line":"::1 ann /a?b","dollar":"${x} $"}"#,
    );
}

#[test]
fn what_is_not_known_is_null_and_counted() {
    let settings =
        format!("{PARSE}keep_only = []\nadd = {{ a = '${{env.NONE}}', b = '${{ec2.tags.Name}}', c = 'x${{env.NONE}}' }}");
    let (out, _, processed) = process(&settings, b"::1 ann /");
    assert_eq!(out, r#"{"a":null,"b":null,"c":"x"}"#);
    assert_eq!(processed, Processed { unknown_variables: true, ..Processed::of(Made::Record) });
}

#[test]
fn fields_are_left_out_and_renamed_in_their_places() {
    check_record("remove = ['user']", r#"{"ip":"::1","path":"/a?b"}"#);
    check_record("keep_only = ['path', 'ip']", r#"{"ip":"::1","path":"/a?b"}"#);
    check_record("rename = { user = 'who' }", r#"{"ip":"::1","who":"ann","path":"/a?b"}"#);
    // One takes the name of the other.
    check_record("rename = { user = 'ip', ip = 'user' }", r#"{"user":"::1","ip":"ann","path":"/a?b"}"#);
}

#[test]
fn a_dot_in_a_name_nests() {
    check_record(
        "rename = { ip = 'client.ip', path = 'url.path' }\nadd = { client.kind = 'v6', 'url.scheme' = 'https' }",
        r#"{"client":{"ip":"::1","kind":"v6"},"user":"ann","url":{"path":"/a?b","scheme":"https"}}"#,
    );
    check("regex = '(?<a.b>x)(?<c>y)(?<a.d>z)'", "xyz", r#"{"a":{"b":"x","d":"z"},"c":"y"}"#);
    // Of objects in which nothing is nothing is left.
    let settings = "[flow.parse]\nregex = ['^x(?<a.b>x)', '(?<c>.*)']";
    check(settings, "y", r#"{"c":"y"}"#);
}

#[test]
fn a_line_that_is_not_parsed_is_its_message() {
    check("[flow.record]\noutput = 'json'", "a b", r#"{"message":"a b"}"#);
    check("[flow.record]\nadd = { env = 'prod' }", "a b", r#"{"message":"a b","env":"prod"}"#);
    check("[flow.record]\nrename = { message = 'data' }", "a b", r#"{"data":"a b"}"#);
}

#[test]
fn a_record_can_be_text() {
    check_record("output = 'raw'", "::1 ann /a?b");
    check_record("output = 'template'\ntemplate = '${path} by ${user}'", "/a?b by ann");
    check("[flow.record]\ntemplate = '{${line.text}}'", "hello", "{hello}");
    let (_, _, processed) = process(&format!("{PARSE}output = 'raw'"), b"no-match");
    assert!(processed.mismatched);
}

#[test]
fn a_terminator_ends_every_record() {
    check("[flow.record]\nterminator = \"\\n\"", "a", "a\n");
    check_record("keep_only = ['ip']\nterminator = \"\\n\"", "{\"ip\":\"::1\"}\n");
    let (out, ..) = process(&format!("{PARSE}terminator = '|'"), b"no-match");
    assert_eq!(out, "no-match|");
}

const JSON: &str = "[flow.parse]\nformat = 'json'\n[flow.record]\n";

/// The record of a line of JSON, and how many of its fields gave way.
#[track_caller]
fn check_json(settings: &str, line: &str, record: &str, overwritten_fields: u32) {
    let (out, _, processed) = process(&format!("{JSON}{settings}"), line.as_bytes());
    assert_eq!((out.as_str(), processed.overwritten_fields), (record, overwritten_fields), "{settings}: {line}");
}

#[test]
fn a_field_gives_way_only_to_a_value() {
    let renamed = "rename = { msg = 'message' }";
    check_json(renamed, r#"{"message":"a","t":1}"#, r#"{"message":"a","t":1}"#, 0);
    check_json(renamed, r#"{"message":"a","msg":"b"}"#, r#"{"message":"b"}"#, 1);
    check_json(renamed, r#"{"message":"a","msg":null}"#, r#"{"message":"a"}"#, 0);
    check_json("add = { user = '${user_name}' }", r#"{"user":"a","t":1}"#, r#"{"user":"a","t":1}"#, 0);
    check_json("add = { user = '${user_name}' }", r#"{"user":"a","user_name":"b"}"#, r#"{"user_name":"b","user":"b"}"#, 1);
    check_json("add = { host = '${env.MISSING}' }", r#"{"host":"a"}"#, r#"{"host":"a"}"#, 0);
    check_json("add = { host = 'b' }", r#"{"host":"a","t":1}"#, r#"{"t":1,"host":"b"}"#, 1);
}

#[test]
fn objects_of_the_line_and_of_the_configuration_are_joined() {
    let node = "add = { 'k8s.node' = 'n', 'k8s.a.b' = 1 }";
    check_json(node, r#"{"k8s":{"pod":"p"},"t":1}"#, r#"{"k8s":{"pod":"p","node":"n","a":{"b":1}},"t":1}"#, 0);
    check_json(node, r#"{"k8s":{"node":"x","a":{"c":2,"b":3}}}"#, r#"{"k8s":{"a":{"c":2,"b":1},"node":"n"}}"#, 2);
    check_json(node, r#"{"k8s":"x"}"#, r#"{"k8s":{"node":"n","a":{"b":1}}}"#, 1);
    check_json(node, r#"{"k8s":{}}"#, r#"{"k8s":{"node":"n","a":{"b":1}}}"#, 0);
    check_json(
        "remove = ['k8s.pod']\nadd = { 'k8s.node' = 'n' }",
        r#"{"k8s":{"pod":"p","x":1}}"#,
        r#"{"k8s":{"x":1,"node":"n"}}"#,
        0,
    );
}

#[test]
fn a_dot_is_of_a_name_or_leads_into_an_object() {
    let line = r#"{"log.level":"INFO","a":{"b":1,"c":{"d":2}},"t":1}"#;
    check_json("keep_only = ['log.level', 'a.c']", line, r#"{"log.level":"INFO","a":{"c":{"d":2}}}"#, 0);
    check_json("remove = ['log.level', 'a.c.d']", line, r#"{"a":{"b":1,"c":{}},"t":1}"#, 0);
    check_json("keep_only = ['t']\nrename = { 'a.b' = 'y' }", line, r#"{"t":1,"y":1}"#, 0);
    for renames in ["a = 'z', 'a.b' = 'y'", "'a.b' = 'y', a = 'z'"] {
        check_json(&format!("rename = {{ {renames} }}"), r#"{"a":{"b":1,"c":2}}"#, r#"{"z":{"c":2},"y":1}"#, 0);
    }
    let csv = "[flow.parse]\nformat = 'csv'\ncolumns = ['a.b', 'c']\n[flow.record]\nkeep_only = ['a.b']";
    check(csv, "1,2", r#"{"a":{"b":"1"}}"#);
}

/// An object of JSON whose names are unique, at every depth.
struct Unique;

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object with unique names, or a number")
            }

            fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut names = std::collections::BTreeSet::new();
                while let Some((name, Unique)) = map.next_entry::<String, Unique>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("`{name}` twice")));
                    }
                }
                Ok(Unique)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn any_object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![Just(serde_json::Value::Null), (0u64..9).prop_map(serde_json::Value::from)];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        proptest::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| map.into_iter().collect())
    });
    proptest::collection::btree_map("[abc](\\.[abc])?", value, 0..4).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// Whatever is kept, removed, renamed and added, no two fields of a record have the same name, and with nothing of that
    /// all of them are there.
    #[test]
    fn names_are_unique(
        object in any_object(),
        kept in proptest::option::of(proptest::collection::vec("[abc](\\.[abc])?", 0..3)),
        removed in proptest::collection::vec("[abc](\\.[abc]){0,2}", 0..3),
        renamed in proptest::collection::btree_map("[abc](\\.[abc])?", "[abcd](\\.[abd])?", 0..3),
        added in proptest::collection::btree_map("[abcd](\\.[abd])?", prop_oneof![Just("1"), Just("'${a}'"), Just("'${b.c}'")], 0..3),
    ) {
        let mut settings = match kept {
            Some(kept) => format!("keep_only = {kept:?}\n"),
            None => format!("remove = {removed:?}\n"),
        };
        settings += &renamed.iter().fold("rename = { ".to_owned(), |text, (from, to)| format!("{text}'{from}' = '{to}', "));
        settings += &added.iter().fold("}\nadd = { ".to_owned(), |text, (name, value)| format!("{text}'{name}' = {value}, "));
        settings += "}";
        let source = format!("[[flow]]\nname = 'a'\nfiles = '/a'\n{JSON}{settings}\n[flow.kinesis]\nstream = 's'\n");
        prop_assume!(Config::parse(&source, "test").is_ok());
        let (out, ..) = process(&format!("{JSON}{settings}"), object.to_string().as_bytes());
        let unique = serde_json::from_str::<Unique>(&out);
        prop_assert!(unique.is_ok(), "{}\n{}\n{}: {:?}", settings, object, out, unique.err());
        let (all, ..) = process(JSON, object.to_string().as_bytes());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&all).unwrap(), object);
    }
}
