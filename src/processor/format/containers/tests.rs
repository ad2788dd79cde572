use proptest::prelude::*;
use regex::bytes::Regex;

use super::super::tests::{check, fields_of};
use super::*;
use crate::config::Format;

const TIME: &str = "2026-11-21T12:18:53.120000001Z";

#[test]
fn lines_of_cri() {
    for (line, expected) in [
        ("T stdout F hello world", r#"time="T" stream="stdout" logtag="F" message="hello world""#),
        ("T stderr P hello ", r#"time="T" stream="stderr" logtag="P" message="hello ""#),
        ("T stdout F ", r#"time="T" stream="stdout" logtag="F" message="""#),
        ("T stdout F   x", r#"time="T" stream="stdout" logtag="F" message="  x""#),
        ("T stdout F:new:x y", r#"time="T" stream="stdout" logtag="F:new:x" message="y""#),
        ("T stdout P: y", r#"time="T" stream="stdout" logtag="P:" message="y""#),
        ("T stdout F \t\"é\r", "time=\"T\" stream=\"stdout\" logtag=\"F\" message=\"\t\"é\r\""),
        ("1 stdout F x", r#"time="1" stream="stdout" logtag="F" message="x""#),
        // Parts of one line.
        ("T stdout P one,\nU stdout P two,\nV stdout F three", r#"time="T" stream="stdout" logtag="F" message="one,two,three""#),
        ("T stderr P a\nU stderr P b", r#"time="T" stream="stderr" logtag="P" message="ab""#),
        ("T stdout P \nU stdout F:x ", r#"time="T" stream="stdout" logtag="F:x" message="""#),
        ("T stdout P a\r\nU stdout F b", "time=\"T\" stream=\"stdout\" logtag=\"F\" message=\"a\rb\""),
        ("T stdout F a\nU stdout F b", ""),
        ("T stdout P a\nU stderr F b", ""),
        ("T stdout P a\nb", ""),
        ("T stdout P a\n", ""),
        ("\nT stdout F a", ""),
        // Something else.
        ("", ""),
        ("T", ""),
        ("T stdout", ""),
        ("T stdout F", ""),
        ("T stdout  F x", ""),
        ("T  stdout F x", ""),
        ("T stdin F x", ""),
        ("T STDOUT F x", ""),
        ("T stdout X x", ""),
        ("T stdout FP x", ""),
        ("T stdout f x", ""),
        ("T stdout  x", ""),
        (" stdout F x", ""),
        ("x stdout F x", ""),
    ] {
        let written = |text: &str| {
            ["U", "V"].into_iter().fold(text.to_owned(), |text, time| text.replace(&format!("{time} "), &format!("{TIME} ")))
        };
        let (line, expected) =
            (written(line).replace("T ", &format!("{TIME} ")), expected.replace("\"T\"", &format!("{TIME:?}")));
        check(&Format::Cri, &line, &expected);
    }
    assert!(fields_of(&Format::Cri, b"1 stdout F \xff\x00").is_some(), "a message may be any bytes");
}

#[test]
fn lines_of_docker() {
    let docker = |log: &str| format!(r#"{{"log":"{log}","stream":"stdout","time":"T"}}"#);
    for (line, expected) in [
        (docker(r"hello world\n"), r#"time="T" stream="stdout" message="hello world""#),
        (docker(r"a part"), r#"time="T" stream="stdout" message="a part""#),
        (docker(r"\n"), r#"time="T" stream="stdout" message="""#),
        (docker(""), r#"time="T" stream="stdout" message="""#),
        (docker(r"\n\n"), "time=\"T\" stream=\"stdout\" message=\"\n\""),
        (docker(r"a\\n"), r#"time="T" stream="stdout" message="a\n""#),
        (docker(r"a\\\n"), r#"time="T" stream="stdout" message="a\""#),
        (docker(r"a\u000a"), r#"time="T" stream="stdout" message="a""#),
        (docker(r"a\\u000A"), r#"time="T" stream="stdout" message="a\u000A""#),
        (docker(r#"{\"a\":\"\\\"\"}\r\n"#), "time=\"T\" stream=\"stdout\" message=\"{\"a\":\"\\\"\"}\r\""),
        (
            docker(r"\u003c\u00e9\u20AC\ud83e\udd80\/\b\f\t\u003e\n"),
            "time=\"T\" stream=\"stdout\" message=\"<é€🦀/\u{8}\u{c}\t>\"",
        ),
        (docker(r"\ud83e\ud83e\udd80\udd80x\ud83e"), "time=\"T\" stream=\"stdout\" message=\"\u{fffd}🦀\u{fffd}x\u{fffd}\""),
        (docker(r"\ud83e\u00e9\ud83e\n"), "time=\"T\" stream=\"stdout\" message=\"\u{fffd}é\u{fffd}\""),
        (docker(r"é🦀"), r#"time="T" stream="stdout" message="é🦀""#),
        (
            r#"{"log":"x\n","stream":"stderr","attrs":{"tag":"a b","n":[1]},"time":"T"}"#.to_owned(),
            r#"time="T" stream="stderr" message="x" attrs={"tag":"a b","n":[1]}"#,
        ),
        (r#" { "time" : "T" , "log" : "x\n" , "attrs" : null } "#.to_owned(), r#"time="T" message="x""#),
        (r#"{"stream":"std\u006fut","lo\u0067":"\u0078","time":"T"}"#.to_owned(), r#"time="T" stream="stdout" message="x""#),
        // Parts of one line.
        (
            docker("one, ") + "\n" + &docker("two, ") + "\r\n" + &docker(r"three\n"),
            r#"time="T" stream="stdout" message="one, two, three""#,
        ),
        (docker("a") + "\n" + &docker("b"), r#"time="T" stream="stdout" message="ab""#),
        (docker(r"a\n") + "\n" + &docker(r"b\n"), ""),
        (docker("a") + "\n" + &docker(r"b\n").replace("stdout", "stderr"), ""),
        (docker("a") + "\n", ""),
        // Something else.
        (String::new(), ""),
        ("{}".to_owned(), ""),
        ("[]".to_owned(), ""),
        (r#"["x","stdout","T",null]"#.to_owned(), ""),
        (docker("a") + "x", ""),
        (docker("a").replace('}', ""), ""),
        (docker("a\tb"), ""),
        (docker(r"\x41"), ""),
        (docker(r"\u12"), ""),
        (r#"{"log":"x\n","stream":"stdout"}"#.to_owned(), ""),
        (r#"{"stream":"stdout","time":"T"}"#.to_owned(), ""),
        (r#"{"log":1,"stream":"stdout","time":"T"}"#.to_owned(), ""),
        (r#"{"log":null,"stream":"stdout","time":"T"}"#.to_owned(), ""),
        (r#"{"log":"x","stream":"stdout","time":1}"#.to_owned(), ""),
        (r#"{"log":"x","stream":["stdout"],"time":"T"}"#.to_owned(), ""),
        (r#"{"log":"x","stream":"stdout","attrs":"y","time":"T"}"#.to_owned(), ""),
        (r#"{"log":"x","log":"y","stream":"stdout","time":"T"}"#.to_owned(), ""),
        (r#"{"log":"x","stream":"stdout","level":"info","time":"T"}"#.to_owned(), ""),
    ] {
        check(&Format::DockerJson, &line, expected);
    }
    assert_eq!(fields_of(&Format::DockerJson, b"{\"log\":\"\xff\",\"time\":\"T\"}"), None);
}

#[test]
fn a_message_without_escapes_is_not_copied() {
    let arena = Arena::with_capacity(0);
    let line = br#"{"log":"plain\n","stream":"stdout","time":"T"}"#;
    assert_eq!(docker::line(line, &arena).unwrap().message, b"plain");
    assert_eq!(joined(Container::Cri, b"1 stdout F plain", &arena).unwrap().message, b"plain");
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn parts_are_told_from_whole_lines() {
    let (stdout, stderr) = (Stream::Stdout, Stream::Stderr);
    for (container, line, expected) in [
        (Container::Cri, "1 stdout F x", Some((stdout, true))),
        (Container::Cri, "1 stderr P x", Some((stderr, false))),
        (Container::Cri, "1 stderr X x", None),
        (Container::Docker, r#"{"log":"x\n","stream":"stdout","time":"T"}"#, Some((stdout, true))),
        (Container::Docker, r#"{"log":"x\n","stream":"stderr","time":"T"}"#, Some((stderr, true))),
        (Container::Docker, r#"{"log":"x","stream":"stderr","time":"T"}"#, Some((stderr, false))),
        (Container::Docker, r#"{"log":"x\\n","stream":"stderr","time":"T"}"#, Some((stderr, false))),
        (Container::Docker, r#"{"log":"\",\"stream\":\"stderr\n","stream":"stdout","time":"T"}"#, Some((stdout, true))),
        (Container::Docker, r#"{"log":"x\n\"","stream":"stdout","time":"T"}"#, Some((stdout, false))),
        (
            Container::Docker,
            r#"{"log":"x\n","attrs":{"a":"b","stream":"stderr"},"stream":"stdout","time":"T"}"#,
            Some((stdout, true)),
        ),
        (Container::Docker, r#"{"time":"T","stream":"stdout","log":"x\u000a"}"#, Some((stdout, true))),
        (Container::Docker, r#"{"time":"T","stream":"stdout","log":"x"}"#, Some((stdout, false))),
        (Container::Docker, r#"{"log":"x\n","stream":"stdoutx","time":"T"}"#, None),
        (Container::Docker, r#"{"log":"x\n","time":"T"}"#, None),
        (Container::Docker, r#"{"log":"x","stream":"stdout","time":"T""#, None),
        (Container::Docker, r#"{"log":"x","stream":"stdout","time":1}"#, None),
        (Container::Docker, r#"{"log":"x"#, None),
        (Container::Docker, r#"{"log":"x\"#, None),
        (Container::Docker, r#"{"log":"x\n","stream":"std"#, None),
        (Container::Docker, "", None),
    ] {
        let expected = expected.map(|(stream, is_last)| Part { stream, is_last });
        assert_eq!(part_of(container, line.as_bytes()), expected, "{line}");
    }
}

fn texts(format: &Format, line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let arena = Arena::new();
    let mut parser = super::super::Parser::new(Some(format));
    let mut fields = Fields::new(&arena);
    parser.parse(line, None, &arena, &mut fields)?;
    let text = |value| match value {
        Value::Text(text) => text.to_vec(),
        Value::Json(json) => json.as_bytes().to_vec(),
        Value::Absent => b"absent".to_vec(),
        other => panic!("{other:?}"),
    };
    Some(fields.iter().map(|field| text(field.value)).collect())
}

/// Some bytes of `line` are taken out of it, and others put in.
fn mutated(line: &str, mutations: &[(prop::sample::Index, usize, String)]) -> Vec<u8> {
    let mut line = line.as_bytes().to_vec();
    for (at, removed_count, inserted) in mutations {
        let at = at.index(line.len() + 1);
        let end = (at + removed_count).min(line.len());
        line.splice(at..end, inserted.bytes());
    }
    line
}

fn any_mutations(inserted: &'static str) -> impl Strategy<Value = Vec<(prop::sample::Index, usize, String)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), 0usize..3, inserted), 0..4)
}

/// What Docker's line says, as `serde_json` has it.
fn known_of_docker(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    let text = |name: &str| object.get(name).map(|value| value.as_str().map(|text| text.as_bytes().to_vec()));
    let absent = || b"absent".to_vec();
    let is_known = |name: &String| ["log", "stream", "time", "attrs"].contains(&name.as_str());
    let mut message = text("log")??;
    if message.last() == Some(&b'\n') {
        message.pop();
    }
    let stream = match object.get("stream") {
        None | Some(serde_json::Value::Null) => absent(),
        Some(stream) => stream.as_str()?.as_bytes().to_vec(),
    };
    let attrs = match object.get("attrs") {
        None | Some(serde_json::Value::Null) => absent(),
        Some(attrs) => attrs.as_object().map(|_| attrs.to_string().into_bytes())?,
    };
    object.keys().all(is_known).then_some(vec![text("time")??, stream, message, attrs])
}

proptest! {
    #[test]
    fn lines_of_cri_are_read_as_a_pattern_reads_them(
        line in "2026-11-21T12:18:53(\\.1)?(Z|[+-]01:00) std(out|err) [FP](:x)? [a ]{0,4}",
        mutations in any_mutations("[ FP:s\\n\\xe9]{0,2}"),
    ) {
        let line = mutated(&line, &mutations);
        let pattern = Regex::new(r"(?s-u)\A([0-9][^ \n]*) (stdout|stderr) ([FP](?::[^ \n]*)?) ([^\n]*)\z").unwrap();
        let expected = pattern.captures(&line).map(|groups| groups.iter().skip(1).map(|group| group.unwrap().as_bytes().to_vec()).collect());
        if !line.contains(&b'\n') {
            prop_assert_eq!(texts(&Format::Cri, &line), expected, "{}", line.escape_ascii());
        }
        let parts: Option<Vec<_>> = line.split(|byte| *byte == b'\n').map(|line| part_of(Container::Cri, line)).collect();
        let is_one = parts.is_some_and(|parts| {
            parts.iter().all(|part| part.stream == parts[0].stream) && parts.iter().rev().skip(1).all(|part| !part.is_last)
        });
        prop_assert_eq!(texts(&Format::Cri, &line).is_some(), is_one);
    }

    #[test]
    fn lines_of_docker_are_read_as_json(
        log in "([a\u{e9}]|\\\\[\"\\\\/bfnrt]|\\\\u00(0a|e9|22)){0,6}",
        rest in "(,\"stream\":\"(stdout|stderr)\")?(,\"attrs\":(\\{\\}|\\{\"a\":\"stream\"\\}|1|null))?(,\"time\":\"2026\")",
        mutations in any_mutations("[\"\\\\,{}:nu0\\n]{0,2}"),
    ) {
        let line = mutated(&format!("{{\"log\":\"{log}\"{rest}}}"), &mutations);
        if line.contains(&b'\n') {
            return Ok(());
        }
        prop_assert_eq!(texts(&Format::DockerJson, &line), known_of_docker(&line), "{}", line.escape_ascii());
        if let Some(values) = texts(&Format::DockerJson, &line) {
            let part = part_of(Container::Docker, &line);
            prop_assert_eq!(part.map(|part| part.stream), Stream::called(&values[1]));
            let arena = Arena::new();
            let is_last = docker::line(&line, &arena).map(|line| line.is_last);
            prop_assert!(part.is_none() || part.map(|part| part.is_last) == is_last);
        }
    }

    #[test]
    fn escaped_units_of_utf_16_are_characters(units in proptest::collection::vec(prop_oneof![any::<u16>(), 0xd7ff_u16..0xe001], 0..8)) {
        let log: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let line = format!("{{\"log\":\"{log}\\n\",\"time\":\"\"}}");
        let message = String::from_utf16_lossy(&units).into_bytes();
        prop_assert_eq!(&texts(&Format::DockerJson, line.as_bytes()).unwrap()[2], &message);
    }

    /// However a message is divided, it is put together again.
    #[test]
    fn messages_are_put_together(parts in proptest::collection::vec("[a\"\\\\\u{e9} ]{0,4}", 1..5), ends in any::<bool>()) {
        let count = parts.len();
        let cri = |(index, part): (usize, &String)| format!("{index} stderr {} {part}", if index + 1 < count { "P" } else { "F" });
        let docker = |(index, part): (usize, &String)| {
            let newline = if ends && index + 1 == count { "\n" } else { "" };
            format!("{{\"log\":{},\"time\":\"{index}\"}}", serde_json::json!(format!("{part}{newline}")))
        };
        let cri = parts.iter().enumerate().map(cri).collect::<Vec<_>>().join("\n").into_bytes();
        let docker = parts.iter().enumerate().map(docker).collect::<Vec<_>>().join("\n").into_bytes();
        let message = parts.concat().into_bytes();
        prop_assert_eq!(&texts(&Format::Cri, &cri).unwrap()[3], &message);
        prop_assert_eq!(texts(&Format::DockerJson, &docker).unwrap(), [b"0".to_vec(), b"absent".to_vec(), message, b"absent".to_vec()]);
    }
}
