use std::fs;
use std::time::Duration;

mod delivery;
mod encryption;
mod equality;
mod example;
mod files;
mod mask;
mod multiline;
mod records;
mod reload;
mod types;

use toml::de::DeTable;

use super::reader::{Findings, Table};
use super::*;
use crate::limits::MEMORY_PER_FLOW_MIN;

/// A sound file: `edit` it to make one mistake.
const SOUND: &str = r#"[agent]
state_dir = "/var/lib/kinetail"

[aws]
region = "us-east-1"

[[flow]]
name = "access"
files = ["/var/log/nginx/**/access*.log"]

[flow.line]
max_bytes = "64 KiB"

[flow.parse]
regex = '^(?<remote>\S+) (?<status>\d+)'
types = { status = "integer" }

[flow.kinesis]
stream = "access-logs"
"#;

/// Each mistake as `line:column message (help)`.
fn mistakes(source: &str) -> Vec<String> {
    let Err(mistakes) = Config::parse(source, "agent.toml") else { return Vec::new() };
    let _must_not_panic = mistakes.render(true);
    let text = |mistake: &Mistake| {
        let (line, column) = mistakes.position(mistake);
        let help = mistake.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{line}:{column} {}{help}", mistake.message)
    };
    mistakes.iter().map(text).collect()
}

#[track_caller]
fn check_edits(edits: &[(&str, &str, &str)]) {
    for (old, new, mistake) in edits {
        assert!(SOUND.contains(old), "{old}");
        assert_eq!(mistakes(&SOUND.replacen(old, new, 1)), [*mistake], "{new}");
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = Config::parse("[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n", "agent.toml").unwrap();
    assert_eq!(config.agent.state_dir, None);
    assert_eq!(config.agent.memory_max, 32 << 20);
    assert_eq!(config.agent.admin, Some(ADMIN_DEFAULT));
    assert_eq!(config.agent.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.aws, Aws::default());
    let flow = &config.flows[0];
    assert_eq!((flow.files.as_slice(), flow.exclude.len()), (["/a".to_owned()].as_slice(), 0));
    assert_eq!((flow.start_at, flow.line.max_bytes), (StartAt::Beginning, 1020 << 10));
    assert_eq!((flow.line.too_long, flow.line.strip_cr), (TooLong::Truncate, false));
    assert_eq!((flow.line.encoding, flow.line.skip_header_lines), (Encoding::Utf8, 0));
    assert!(flow.parse.is_none());
    assert_eq!((flow.delivery.aggregate, &flow.delivery.partition_key), (Aggregate::Kpl, &PartitionKey::Random));
    assert_eq!((flow.delivery.max_delay, flow.delivery.request_bytes), (Duration::from_secs(1), 5 << 20));
}

#[test]
fn what_is_written_is_used() {
    let source = SOUND
        .replace(
            "[aws]",
            "memory_max = '1 GiB'\nadmin = 'off'\ndrain_timeout = '5 min'\n[aws]\nendpoints.kinesis = 'http://[::1]:4567'\nendpoints.ec2_metadata = 'http://[::1]:1338'",
        )
        .replace(
            "[flow.line]",
            "exclude = ['*.gz', '/var/log/nginx/old/**']\nstart_at = 'end'\n[flow.line]\ntoo_long = 'split'\nstrip_cr = false\nencoding = 'utf-16'\nskip_header_lines = 3",
        )
        .replace("types = ", "on_mismatch = 'wrap'\ntypes = ")
        + "aggregate = 'none'\npartition_key = '${remote}'\nmax_delay = '500 ms'\nrequest_bytes = '10 MiB'\n";
    let config = Config::parse(&source, "agent.toml").unwrap();
    assert_eq!(config.agent.state_dir, Some(PathBuf::from("/var/lib/kinetail")));
    assert_eq!((config.agent.memory_max, config.agent.admin), (1 << 30, None));
    assert_eq!(config.agent.drain_timeout, Duration::from_secs(300));
    assert_eq!(config.aws.region.as_deref(), Some("us-east-1"));
    assert_eq!(config.aws.endpoints.kinesis.as_deref(), Some("http://[::1]:4567"));
    assert_eq!(config.aws.endpoints.ec2_metadata.as_deref(), Some("http://[::1]:1338"));
    let flow = &config.flows[0];
    assert_eq!((flow.name.as_str(), flow.exclude.len(), flow.start_at), ("access", 2, StartAt::End));
    assert_eq!((flow.line.max_bytes, flow.line.too_long, flow.line.strip_cr), (64 << 10, TooLong::Split, false));
    assert_eq!((flow.line.encoding, flow.line.skip_header_lines), (Encoding::Utf16, 3));
    let parse = flow.parse.as_ref().unwrap();
    assert_eq!((parse.types.get("status"), parse.on_mismatch), (Some(&FieldType::Integer), OnMismatch::Wrap));
    assert_eq!((flow.delivery.destination.stream(), flow.delivery.aggregate), ("access-logs", Aggregate::None));
    assert_eq!(flow.delivery.partition_key, PartitionKey::Template(Template { parts: vec![Part::Field("remote".to_owned())] }));
    assert_eq!((flow.delivery.max_delay, flow.delivery.request_bytes), (Duration::from_millis(500), 10 << 20));
}

#[test]
fn parsed_lines_lose_their_cr_by_default() {
    assert!(Config::parse(SOUND, "agent.toml").unwrap().flows[0].line.strip_cr);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_what_to_write() {
    let source = "[agent]
memory_max = 67108864
state_dri = \"/tmp\"

[[flow]]
name = \"a\"
files = [\"/var/log/*.log\"]
start_at = \"begining\"

[flow.parse]
regex = '^(?<remote>\\S+) (?<time>[^]+$'

[flow.kinesis]
max_delay = \"1 m\"
";
    let expected = "\
error: `memory_max` must be a size with a unit, not a number
 --> agent.toml:2:14
  |
2 | memory_max = 67108864
  |              ^^^^^^^^
  |
  = help: write a string with the unit, for example \"67108864 B\"

error: unknown key `state_dri` in [agent]
 --> agent.toml:3:1
  |
3 | state_dri = \"/tmp\"
  | ^^^^^^^^^
  |
  = help: did you mean `state_dir`?

error: `start_at` cannot be \"begining\"
 --> agent.toml:8:12
  |
8 | start_at = \"begining\"
  |            ^^^^^^^^^^
  |
  = help: did you mean \"beginning\"? valid are \"beginning\", \"end\"

error: `regex`: unclosed character class
  --> agent.toml:11:34
   |
11 | regex = '^(?<remote>\\S+) (?<time>[^]+$'
   |                                  ^^^
   |
   = help: the syntax is that of the Rust crate regex

error: `stream` is missing in [flow.kinesis]
  --> agent.toml:13:1
   |
13 | [flow.kinesis]
   | ^^^^^^^^^^^^^^
   |
   = help: write stream = \"…\", the name of the Kinesis data stream

error: `max_delay` must be a duration with a unit
  --> agent.toml:14:13
   |
14 | max_delay = \"1 m\"
   |             ^^^^^
   |
   = help: did you mean \"1 min\"? units are ms, s, min, h or d

error: agent.toml: 6 mistakes
";
    assert_eq!(Config::parse(source, "agent.toml").unwrap_err().to_string(), expected);
}

#[test]
fn the_process() {
    check_edits(&[
        (
            "[agent]\n",
            "[agent]\nmemory_max = true\n",
            "2:14 `memory_max` must be a size with a unit, not true or false (write for example \"2 MiB\")",
        ),
        (
            "[agent]\n",
            "[agent]\nadmin = 'localhost:9559'\n",
            "2:9 `admin` cannot be \"localhost:9559\" (write an IP address and a port, for example \"127.0.0.1:9559\", or \"off\")",
        ),
        ("[agent]\n", "[agent]\ndrain_timeout = '2 h'\n", "2:17 `drain_timeout` is out of range: 2 h (from 0 ms to 1 h)"),
        ("\"/var/lib/kinetail\"", "\"state\"", "2:13 `state_dir` must be an absolute path (begin it with `/`)"),
        ("\"/var/lib/kinetail\"", "7", "2:13 `state_dir` must be a string, not a number (write it in quotes)"),
        ("[agent]", "[[agent]]", "1:1 `agent` must be a table, not a list (there is only one: write [agent])"),
        ("[agent]", "[agnet]", "1:2 unknown key `agnet` at the top level (did you mean `agent`?)"),
        (
            "us-east-1",
            "us-east-1a",
            "5:10 `region` cannot be \"us-east-1a\" (write it as in the service's addresses, for example \"us-east-1\")",
        ),
        (
            "[aws]\n",
            "[aws]\nendpoints.kinesis = 'localhost:4567'\n",
            "5:21 `kinesis` must be an http or https URL (write a URL, for example \"https://kinesis.us-east-1.amazonaws.com\" or \"http://127.0.0.1:4567\")",
        ),
        (
            "[aws]\n",
            "[aws]\nendpoints.ec2_metadata = '169.254.169.254'\n",
            "5:26 `ec2_metadata` must be an http or https URL (write a URL, for example \"http://[fd00:ec2::254]\")",
        ),
        (
            "[aws]\n",
            "[aws]\nendpoints.kineses = 'http://a'\n",
            "5:11 unknown key `kineses` in [aws.endpoints] (did you mean `kinesis`?)",
        ),
        (
            "[aws]\n",
            "[aws]\nendpoints = 'http://a'\n",
            "5:13 `endpoints` must be a table, not a string (write [aws.endpoints] above its keys)",
        ),
    ]);
}

#[test]
fn flows_and_their_lines() {
    check_edits(&[
        ("[\"/var/log", "[\"var/log", "9:11 pattern in `files`: not an absolute path (begin it with `/`)"),
        ("access*.log", "access[.log", "9:35 pattern in `files`: invalid range pattern (for a `[` as it is write `[[]`)"),
        (
            "[flow.line]",
            "exclude = ['*.gz', 'a**']\n[flow.line]",
            "11:21 pattern in `exclude`: recursive wildcards must form a single path component (write `**` alone between two `/`)",
        ),
        ("[[flow]]", "[flow]", "7:1 `flow` must be a list of tables, not a single one (write [[flow]] above the keys of each)"),
        ("name = \"access\"\n", "", "7:1 `name` is missing in [[flow]] (write name = \"…\": offsets and metrics are kept by it)"),
        ("\"access\"", "\"\"", "8:8 `name` cannot be used (write 1 to 128 characters on one line)"),
        ("[\"/var/log/nginx/**/access*.log\"]", "[]", "7:1 `files` is empty (write files = [\"/var/log/app/**/*.log\"])"),
        (
            "[\"/var/log/nginx/**/access*.log\"]",
            "true",
            "9:9 `files` must be a list of strings, not true or false (write [\"…\", \"…\"])",
        ),
        (
            "[flow.line]",
            "start_at = 'begin'\n[flow.line]",
            "11:12 `start_at` cannot be \"begin\" (did you mean \"beginning\"? valid are \"beginning\", \"end\")",
        ),
        ("max_bytes = \"64 KiB\"", "max_bytes = '10 MiB'", "12:13 `max_bytes` is out of range: 10 MiB (from 1 B to 10236 KiB)"),
        (
            "max_bytes = \"64 KiB\"",
            "strip_cr = 'yes'",
            "12:12 `strip_cr` must be true or false, not a string (write true or false, without quotes)",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "start_at = 'end'",
            "12:1 unknown key `start_at` in [flow.line] (`start_at` belongs in [[flow]])",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "too_long = 'skip'",
            "12:12 `too_long` cannot be \"skip\" (valid are \"truncate\", \"split\", \"drop\")",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "encoding = 'utf16'",
            "12:12 `encoding` cannot be \"utf16\" (did you mean \"utf-16\"? valid are \"utf-8\", \"utf-16\", \"utf-16le\", \
             \"utf-16be\", \"latin-1\", \"shift_jis\", \"euc-kr\", \"gb18030\")",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "skip_header_lines = 1_001",
            "12:21 `skip_header_lines` is out of range: 1001 (from 0 to 1000)",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "skip_header_lines = '1'",
            "12:21 `skip_header_lines` must be a whole number, not a string (write it in digits, without quotes)",
        ),
        ("max_bytes = \"64 KiB\"", "skip_header_lines = -1", "12:21 `skip_header_lines` is out of range: -1 (from 0 to 1000)"),
        (
            "max_bytes = \"64 KiB\"",
            "skip_header_lines = 1.5",
            "12:21 `skip_header_lines` must be a whole number, not a fraction (write it in digits, without quotes)",
        ),
    ]);
}

#[test]
fn the_longest_line_depends_on_the_encoding() {
    let rules = |lines: &str| {
        let source = SOUND.replace("max_bytes = \"64 KiB\"", lines);
        Config::parse(&source, "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows[0].line
    };
    for (encoding, longest) in [
        ("utf-8", 1020 << 10),
        ("utf-16", 680 << 10),
        ("utf-16le", 680 << 10),
        ("utf-16be", 680 << 10),
        ("latin-1", 510 << 10),
        ("shift_jis", 340 << 10),
        ("euc-kr", 340 << 10),
        ("gb18030", 340 << 10),
    ] {
        assert_eq!(rules(&format!("encoding = '{encoding}'")).max_bytes, longest, "{encoding}");
        let largest = format!("encoding = '{encoding}'\nmax_bytes = '{} KiB'", longest >> 10);
        assert_eq!(rules(&largest).max_bytes, longest, "{encoding}");
    }
    check_edits(&[
        (
            "max_bytes = \"64 KiB\"",
            "max_bytes = '7 MiB'\nencoding = 'utf-16le'",
            "12:13 `max_bytes` is out of range: 7 MiB (from 4 B to 6824 KiB with this `encoding`: \
             bytes of the file, which may become more as UTF-8 and must then fit a record)",
        ),
        (
            "max_bytes = \"64 KiB\"",
            "max_bytes = '1 B'\nencoding = 'shift_jis'",
            "12:13 `max_bytes` is out of range: 1 B (from 2 B to 3412 KiB with this `encoding`: \
             bytes of the file, which may become more as UTF-8 and must then fit a record)",
        ),
    ]);
}

#[test]
fn parsing_and_packing() {
    check_edits(&[
        ("(?<remote>\\S+) (?<status>\\d+)", "\\S+", "15:9 `regex` has no named group (name what becomes a field: (?<name>…))"),
        (
            "(?<status>\\d+)",
            "(\\d+)",
            "15:26 `regex` has a group without a name (write (?<name>…) for a field, (?:…) for a group that is none)",
        ),
        (
            "(?<status>\\d+)",
            "(?<status>\\d+)\\d{200}{200}{200}",
            "15:9 `regex` cannot be used: compiled, it is larger than 10 MiB (repeat less: counts of repetitions multiply)",
        ),
        ("status =", "satus =", "16:11 `types` names `satus`, which is not a field of [flow.parse] (did you mean `status`?)"),
        (
            "\"integer\"",
            "\"int\"",
            "16:20 `status` cannot be \"int\" (did you mean \"integer\"? valid are \"string\", \"integer\", \"float\", \"boolean\", \
             \"timestamp\")",
        ),
        ("\"integer\"", "7", "16:20 `status` must be a string, not a number (write it in quotes)"),
        (
            "types =",
            "on_mismach = 'drop'\ntypes =",
            "16:1 unknown key `on_mismach` in [flow.parse] (did you mean `on_mismatch`?)",
        ),
        (
            "stream = \"access-logs\"",
            "stream = 'arn:aws:kinesis:us-east-1:1:stream/logs'",
            "19:10 `stream` is not the name of a stream (write the name, without the rest of the ARN: \"logs\")",
        ),
        (
            "stream =",
            "partition_key = '${host}'\nstream =",
            "19:18 `partition_key` names `host`, which is not a field (the fields are `remote`, `status`; there are variables, too, such as `${host.name}`)",
        ),
        (
            "stream =",
            "partition_key = 'rnd'\nstream =",
            "19:17 `partition_key` cannot be \"rnd\" (valid are \"random\", \"file\", \"host\", \"${field}\", \"fixed:text\")",
        ),
        (
            "stream =",
            "request_bytes = '1 MiB'\nstream =",
            "19:17 `request_bytes` is out of range: 1 MiB (from 1088 KiB to 10 MiB)",
        ),
        ("stream =", "max_delay = '1 ms'\nstream =", "19:13 `max_delay` is out of range: 1 ms (from 10 ms to 15 min)"),
        (
            "stream =",
            "aggregate = 'KPL'\nstream =",
            "19:13 `aggregate` cannot be \"KPL\" (did you mean \"kpl\"? valid are \"kpl\", \"lines\", \"none\")",
        ),
    ]);
}

#[test]
fn what_depends_on_other_keys() {
    let flow = "[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n";
    let unparsed = format!("{flow}partition_key = '${{user}}'\n");
    assert_eq!(
        mistakes(&unparsed),
        [
            "6:18 `partition_key` names `user`, which is not a field (the fields are `message`; there are variables, too, such as `${host.name}`)"
        ]
    );
    assert_eq!(
        mistakes(&flow.repeat(2)),
        ["7:8 `name` is taken: \"a\" (line 2 has it already; offsets and metrics are kept by it)"]
    );
    assert_eq!(
        mistakes(&format!("[agent]\nmemory_max = '3 MiB'\n{flow}{}", flow.replace("'a'", "'b'"))),
        ["2:14 `memory_max` of 3 MiB does not suffice for 2 flows (write memory_max = \"4 MiB\", or more)"]
    );
}

#[test]
fn many_flows_have_the_memory_they_need_when_nothing_is_said() {
    let flow = "[[flow]]\nname = 'a'\nfiles = ['/x']\n[flow.kinesis]\nstream = 's'\n";
    let forty: String = (0..40).map(|index| flow.replace("'a'", &format!("'{index}'"))).collect();
    assert_eq!(Config::parse(&forty, "agent.toml").unwrap().agent.memory_max, 40 * MEMORY_PER_FLOW_MIN);
}

#[test]
fn what_is_torn_is_not_told_twice_and_hides_nothing_else() {
    assert_eq!(
        mistakes("[agent\nmemory_max = 3\n[[flow]]\nname = \"x\nfile = ['a']\n"),
        [
            "1:7 unclosed table, expected `]`",
            "4:10 invalid basic string, expected `\"`",
            "5:1 unknown key `file` in [[flow]] (did you mean `files`?)",
        ]
    );
    assert_eq!(mistakes("flow = []"), ["1:8 `flow` is empty (write [[flow]] above the keys of each)"]);
    assert_eq!(
        mistakes(""),
        [
            "1:1 `flow` is missing at the top level (write [[flow]], and below it name, files and [flow.kinesis]; here, or in a file conf.d/NAME.toml)"
        ]
    );
}

#[test]
fn a_file_that_is_not_text_is_told_where() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"[agent]\n# \xff\n").unwrap();
    let Err(LoadError { files }) = Config::load(file.path()) else { panic!("it was read") };
    let [FileError::Mistaken(mistakes)] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(mistakes.iter().map(|mistake| mistakes.position(mistake)).collect::<Vec<_>>(), [(2, 3)]);
    let Err(LoadError { files }) = Config::load(Path::new("/nonexistent/agent.toml")) else { panic!("it was read") };
    assert!(matches!(files.as_slice(), [FileError::Unreadable { .. }]), "{files:?}");
}
