use proptest::prelude::*;
use serde_json::Map;
use serde_json::value::RawValue;

use super::*;

/// The value of any JSON text; none when it is not valid, or nested too deep.
fn read<'l>(json: &'l str, arena: &'l Arena) -> Option<Value<'l>> {
    read_valid(serde_json::from_str::<&RawValue>(json).ok()?.get(), arena, DEPTH_MAX)
}

/// What `value` is, as `serde_json` has it.
fn known(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into(),
        Value::Json(json) => serde_json::from_str(json).unwrap(),
        Value::Absent | Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Float(value) => value.into(),
    }
}

#[test]
fn values_are_decoded_or_made_compact() {
    let check = |json: &str, expected: Option<Value<'_>>| {
        let arena = Arena::new();
        assert_eq!(read(json, &arena), expected, "{json}");
    };
    let text = |text: &'static str| Some(Value::Text(text.as_bytes()));
    check(r#""""#, text(""));
    check(r#" "a b" "#, text("a b"));
    check(r#""\"\\\/\b\f\n\r\t""#, text("\"\\/\u{8}\u{c}\n\r\t"));
    check(r#""a\\""#, text("a\\"));
    check(r#""\u00e4x\u20ac\u0000""#, text("äx€\0"));
    check(r#""\ud83e\udd80.\uD83E\uDD80""#, text("🦀.🦀"));
    check(r#""\ud800""#, text("\u{fffd}"));
    check(r#""\udc00\ud800""#, text("\u{fffd}\u{fffd}"));
    check(r#""\ud800\u0041\ud800\n\ud800ä""#, text("\u{fffd}A\u{fffd}\n\u{fffd}ä"));
    check(r#""\ud800\ud83e\udd80""#, text("\u{fffd}🦀"));
    for not_valid in
        [r#""\u12"#, r#""\u+123""#, r#""\x41""#, "\"\n\"", "\"a", "", "a", "01", "1.", "+1", "NaN", "[1,]", "{\"a\"}"]
    {
        check(not_valid, None);
    }
    check("null", Some(Value::Null));
    check("true", Some(Value::Boolean(true)));
    check(" false\n", Some(Value::Boolean(false)));
    for number in ["0", "-0", "-0.10", "1E+400", "123456789012345678901234567890.000000000000000001"] {
        check(number, Some(Value::Json(number)));
    }
    check("[ ]", Some(Value::Json("[]")));
    check("{\r\n\t\"a b\" : [ 1 , \" \\\" [ \" ] ,\n \"\": { } }", Some(Value::Json(r#"{"a b":[1," \" [ "],"":{}}"#)));
    check(r#"[1,[" "]]"#, Some(Value::Json(r#"[1,[" "]]"#)));
}

#[test]
fn what_can_be_borrowed_is() {
    let arena = Arena::with_capacity(0);
    for json in [r#"[1,{"a":" "}]"#, "12", r#" "plain" "#] {
        assert!(read(json, &arena).is_some());
    }
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn nesting_has_an_end() {
    let arena = Arena::new();
    for (depth, is_read) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false), (1_000_000, false)] {
        let json = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(read(&json, &arena).is_some(), is_read, "{depth}");
        assert_eq!(depth <= DEPTH_MAX, serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{depth}");
    }
}

#[test]
fn values_are_found_by_their_path() {
    let json = r#"{"a":{"b":[10,{"c":"x\ty"},null],"b c":true,"a\u0062":1},"":{"":"e"},"0":"zero","d":1,"d":2}"#;
    let check = |path: &[&str], expected: Option<Value<'_>>| {
        let arena = Arena::new();
        assert_eq!(find(json, path, &arena), expected, "{path:?}");
    };
    check(&[], Some(Value::Json(json)));
    check(&["a", "b", "0"], Some(Value::Json("10")));
    check(&["a", "b", "1"], Some(Value::Json(r#"{"c":"x\ty"}"#)));
    check(&["a", "b", "1", "c"], Some(Value::Text(b"x\ty")));
    check(&["a", "b", "2"], Some(Value::Null));
    check(&["a", "b c"], Some(Value::Boolean(true)));
    check(&["a", "ab"], Some(Value::Json("1")));
    check(&["", ""], Some(Value::Text(b"e")));
    check(&["0"], Some(Value::Text(b"zero")));
    check(&["d"], Some(Value::Json("2")));
    for nowhere in [
        &["x"][..],
        &["a", "b", "3"],
        &["a", "b", "00"],
        &["a", "b", "+1"],
        &["a", "b", "-1"],
        &["a", "b", ""],
        &["a", "b", "99999999999999999999999"],
        &["a", "b", "c"],
        &["d", "0"],
        &["0", "z"],
    ] {
        check(nowhere, None);
    }
}

#[track_caller]
fn check_rewritten(json: &str, visit: impl Fn(&[Step<'_>], Value<'_>) -> Change<'static>, expected: &str) {
    let (arena, mut out) = (Arena::new(), Vec::new());
    rewrite(json, &arena, &mut out, &mut |path, value| visit(path, value));
    assert_eq!(String::from_utf8(out).unwrap(), expected, "{json}");
}

#[test]
fn members_and_elements_are_left_out() {
    let check = |json: &str, removed: &[&[&str]], expected: &str| {
        let is_removed = |path: &[Step<'_>]| removed.iter().any(|segments| is_at(path, segments));
        check_rewritten(json, |path, _| if is_removed(path) { Change::Remove } else { Change::Enter }, expected);
    };
    check(r#"{"a":1,"b":{"c":2,"d":3}}"#, &[], r#"{"a":1,"b":{"c":2,"d":3}}"#);
    check(r#"{"a":1,"b":{"c":2,"d":3}}"#, &[&["a"], &["b", "d"]], r#"{"b":{"c":2}}"#);
    check(r#"{"a":1,"b":{"c":2,"d":3}}"#, &[&["b", "c"], &["b", "d"]], r#"{"a":1,"b":{}}"#);
    check(r#"{"a":1,"b":{"c":2}}"#, &[&["a"], &["b"], &["c"]], "{}");
    check(r#"[{"a":1,"b":2},[3,4,5],{}]"#, &[&["0", "a"], &["1", "1"], &["2"]], r#"[{"b":2},[3,5]]"#);
    check(r#"{"x\u0079":1,"z":2,"z":3,"":4}"#, &[&["xy"], &["z"], &[""]], "{}");
    check("[]", &[&["0"]], "[]");
}

#[test]
fn values_are_replaced_and_the_rest_is_kept() {
    let json = r#"{"a":"x","n":[1.50,"x",{"b\u0020":"x","c":"\u00e4"}],"t":true,"z":null}"#;
    let keep = |_: &[Step<'_>], _: Value<'_>| Change::Keep;
    check_rewritten(json, keep, json);
    let stars = |_: &[Step<'_>], value: Value<'_>| match value {
        Value::Text(b"x") => Change::Replace(Value::Text(b"*\"*")),
        Value::Json("1.50") => Change::Replace(Value::Absent),
        _ => Change::Enter,
    };
    check_rewritten(json, stars, r#"{"a":"*\"*","n":[null,"*\"*",{"b\u0020":"*\"*","c":"\u00e4"}],"t":true,"z":null}"#);
    let whole = |path: &[Step<'_>], _: Value<'_>| {
        if path == [Step::Name("n")] { Change::Replace(Value::Json("[]")) } else { Change::Enter }
    };
    check_rewritten(json, whole, r#"{"a":"x","n":[],"t":true,"z":null}"#);
    let (arena, mut out) = (Arena::new(), Vec::new());
    assert!(rewrite("[0]", &arena, &mut out, &mut |_, _| Change::Replace(Value::Text(b"\xff"))));
    assert_eq!(out, "[\"\u{fffd}\"]".as_bytes());
}

/// Any JSON value; names and strings are of few characters, so that some are the same and some have escapes.
pub(in crate::processor) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(|eighths| serde_json::Value::from(f64::from(eighths) / 8.0)),
        any_string().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::vec((any_string(), inner), 0..6).prop_map(|members| Map::from_iter(members).into()),
        ]
    })
}

fn any_string() -> impl Strategy<Value = String> {
    prop_oneof!["[ab01]{0,2}", "[\"\\\\/\n\u{0}ä🦀{} ,:\\[\\]]{0,5}"]
}

/// `value` written with white space, and with escapes that it needs and some that it does not need, as `random` decides.
pub(in crate::processor) fn written(value: &serde_json::Value, random: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    write_freely(value, random, &mut text);
    text
}

fn write_freely(value: &serde_json::Value, random: &mut fastrand::Rng, text: &mut String) {
    white_space(random, text);
    match value {
        serde_json::Value::String(string) => write_string_freely(string, random, text),
        serde_json::Value::Array(elements) => {
            text.push('[');
            white_space(random, text);
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_freely(element, random, text);
            }
            text.push(']');
        }
        serde_json::Value::Object(members) => {
            text.push('{');
            white_space(random, text);
            for (index, (name, member)) in members.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                white_space(random, text);
                write_string_freely(name, random, text);
                white_space(random, text);
                text.push(':');
                write_freely(member, random, text);
            }
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
    white_space(random, text);
}

fn write_string_freely(string: &str, random: &mut fastrand::Rng, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        if random.u8(0..4) == 0 {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            let quoted = serde_json::to_string(&character).unwrap();
            text.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    text.push('"');
}

fn white_space(random: &mut fastrand::Rng, text: &mut String) {
    while random.u8(0..4) == 0 {
        text.push(random.choice([' ', '\t', '\r', '\n']).unwrap());
    }
}

/// All paths in `value`, each with what is there.
fn paths(value: &serde_json::Value) -> Vec<(Vec<String>, &serde_json::Value)> {
    let mut paths = vec![(Vec::new(), value)];
    let mut done = 0;
    while done < paths.len() {
        let (path, value) = paths[done].clone();
        done += 1;
        let below = |segment: String| [path.clone(), vec![segment]].concat();
        match value {
            serde_json::Value::Array(elements) => {
                paths.extend(elements.iter().enumerate().map(|(index, value)| (below(index.to_string()), value)));
            }
            serde_json::Value::Object(members) => {
                paths.extend(members.iter().map(|(name, value)| (below(name.clone()), value)));
            }
            _ => {}
        }
    }
    paths
}

/// What is left of `value` without what is at `removed`, and with `!` behind every string.
fn changed(value: &serde_json::Value, removed: Option<&[String]>) -> serde_json::Value {
    let below = |segment: &str| removed.and_then(<[_]>::split_first).filter(|(first, _)| *first == segment).map(|(_, rest)| rest);
    let is_kept = |segment: &str| below(segment).is_none_or(|rest| !rest.is_empty());
    match value {
        serde_json::Value::String(text) => (text.clone() + "!").into(),
        serde_json::Value::Array(elements) => {
            let elements = elements.iter().enumerate().map(|(index, element)| (index.to_string(), element));
            let kept = elements.filter(|(index, _)| is_kept(index));
            kept.map(|(index, element)| changed(element, below(&index))).collect::<Vec<_>>().into()
        }
        serde_json::Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| is_kept(name));
            kept.map(|(name, member)| (name.clone(), changed(member, below(name)))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_json(), seed: u64) {
        let json = written(&value, &mut fastrand::Rng::with_seed(seed));
        let arena = Arena::new();
        let read = read(&json, &arena).unwrap();
        prop_assert_eq!(&known(read), &value, "{}", json);
        if let Value::Json(compact) = read {
            // As long as `serde_json` writes it, where that does not escape anything or nothing at all.
            prop_assert!(json.contains('\\') || compact.len() == value.to_string().len(), "{}", compact);
            prop_assert!(!compact.contains(['\n', '\r', '\t']));
        }
    }

    #[test]
    fn every_value_is_found_left_out_and_changed(value in any_json(), chosen: prop::sample::Index, seed: u64) {
        let json = written(&value, &mut fastrand::Rng::with_seed(seed));
        let arena = Arena::new();
        let Some(Value::Json(json)) = read(&json, &arena) else { return Ok(()) };
        let paths = paths(&value);
        for (path, value) in &paths {
            prop_assert_eq!(&find(json, path, &arena).map(known).unwrap(), *value, "{:?} of {}", path, json);
        }
        let (removed, _) = chosen.get(&paths);
        if !json.starts_with(['[', '{']) {
            return Ok(());
        }
        let mut out = Vec::new();
        let replaced = rewrite(json, &arena, &mut out, &mut |path, value| match value {
            _ if is_at(path, removed) => Change::Remove,
            Value::Text(text) => Change::Replace(Value::Text(arena.alloc_slice_copy(&[text, b"!"].concat()))),
            _ => Change::Enter,
        });
        let out = String::from_utf8(out).unwrap();
        prop_assert!(!replaced);
        let expected = changed(&value, Some(removed));
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected, "{}", out);
    }

    /// What is kept is kept byte for byte.
    #[test]
    fn what_is_only_looked_at_stays(value in any_json(), seed: u64) {
        let json = written(&value, &mut fastrand::Rng::with_seed(seed));
        let arena = Arena::new();
        let Some(Value::Json(json)) = read(&json, &arena).filter(|_| value.is_array() || value.is_object()) else { return Ok(()) };
        let mut out = Vec::new();
        rewrite(json, &arena, &mut out, &mut |_, _| Change::Enter);
        prop_assert_eq!(String::from_utf8(out).unwrap(), json);
    }

    /// Text that is almost JSON is read if, and only if, it is JSON.
    #[test]
    fn what_is_not_json_is_not_read(value in any_json(), at: prop::sample::Index, with in "[ \"\\\\{}\\[\\],:a0.eu-]{0,2}", seed: u64) {
        let mut json = written(&value, &mut fastrand::Rng::with_seed(seed));
        let at = at.index(json.len());
        let at = (0..=at).rev().find(|at| json.is_char_boundary(*at)).unwrap();
        let end = at + json[at..].chars().next().map_or(0, char::len_utf8);
        json.replace_range(at..end, &with);
        let arena = Arena::new();
        let expected: Option<serde_json::Value> = serde_json::from_str(&json).ok();
        // Halves of surrogate pairs are no error here; numbers out of range are none because nothing is made of them.
        let is_excused = serde_json::from_str::<&RawValue>(&json).is_ok();
        let found = read(&json, &arena);
        prop_assert_eq!(found.is_some(), is_excused, "{}", json);
        if let (Some(found), Some(expected)) = (found, expected) {
            prop_assert_eq!(known(found), expected, "{}", json);
        }
    }

    /// What stands in for JSON is never trusted so far that it ends the agent.
    #[test]
    fn nothing_panics_on_what_is_not_json(text in "[ \"\\\\{}\\[\\],:a0u🦀]{0,40}") {
        let arena = Arena::new();
        let _ = find(&text, &["a", "0"], &arena);
        let _ = decode(&text, &arena);
        rewrite(&text, &arena, &mut Vec::new(), &mut |_, _| Change::Enter);
    }
}
