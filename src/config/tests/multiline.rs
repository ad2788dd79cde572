//! `[flow.multiline]`: what may be said of lines that belong together.

use super::*;

/// The flow of [`SOUND`] with this section.
fn with_section(section: &str) -> String {
    SOUND.replace("[flow.kinesis]", &format!("[flow.multiline]\n{section}\n[flow.kinesis]"))
}

fn read(section: &str) -> Multiline {
    let config = Config::parse(&with_section(section), "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    config.flows[0].multiline.clone().unwrap()
}

#[test]
fn a_preset_and_its_defaults() {
    for (word, meant) in [
        ("java", Preset::Java),
        ("python", Preset::Python),
        ("go", Preset::Go),
        ("ruby", Preset::Ruby),
        ("javascript", Preset::JavaScript),
        ("node", Preset::JavaScript),
        ("dotnet", Preset::DotNet),
        ("indented", Preset::Indented),
    ] {
        let Multiline { joining, timeout, max_lines } = read(&format!("preset = '{word}'"));
        assert!(matches!(joining, Joining::Preset(preset) if preset == meant), "{word}");
        assert_eq!((timeout, max_lines), (Duration::from_secs(1), 1000));
    }
    assert!(Config::parse(SOUND, "agent.toml").unwrap().flows[0].multiline.is_none());
}

#[test]
fn patterns_alone_and_together() {
    let Joining::Patterns { start: Some(start), goes_on: None, end: None } = read("start = '^\\d'").joining else { panic!() };
    assert!(start.is_match(b"2026"));
    let section = "start = '^A'\ncontinue = '^B'\nend = '^C'\ntimeout = '1 h'\nmax_lines = 0x1388";
    let Multiline { joining, timeout, max_lines } = read(section);
    let Joining::Patterns { start: Some(start), goes_on: Some(goes_on), end: Some(end) } = joining else { panic!() };
    assert_eq!((start.as_str(), goes_on.as_str(), end.as_str()), ("^A", "^B", "^C"));
    assert_eq!((timeout, max_lines), (Duration::from_secs(3600), 5000));
    assert!(matches!(read("end = ';$'").joining, Joining::Patterns { start: None, goes_on: None, end: Some(_) }));
}

#[test]
fn what_a_container_runtime_has_divided_is_joined_without_the_section() {
    for (format, container) in [("docker_json", Container::Docker), ("cri", Container::Cri)] {
        let source = SOUND.replacen("types", "#types", 1);
        let source = source.replacen("regex = '^(?<remote>\\S+) (?<status>\\d+)'", &format!("format = '{format}'"), 1);
        assert!(source.contains(format));
        let config = Config::parse(&source, "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let Multiline { joining, timeout, max_lines } = config.flows[0].multiline.clone().unwrap();
        assert!(matches!(joining, Joining::Parts(of) if of == container), "{format}");
        assert_eq!((timeout, max_lines), (Duration::from_secs(60), 1000));
        let both = source.replace("[flow.kinesis]", "[flow.multiline]\nend = 'x'\n[flow.kinesis]");
        let mistake = format!(
            "18:1 [flow.multiline] and format = \"{format}\" exclude each other (leave [flow.multiline] out: what the \
             container runtime has divided is joined without it)"
        );
        assert_eq!(mistakes(&both), [mistake]);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (section, mistake) in [
        (
            "",
            "18:1 one of `preset`, `start`, `continue`, `end` is missing in [flow.multiline] (write preset = \"java\", \
             or start = '^\\d{4}-' with a pattern of the lines that begin a record)",
        ),
        (
            "preset = 'java'\nend = 'x'",
            "18:1 `preset` and `end` exclude each other (leave one of them out: a preset has patterns of its own)",
        ),
        (
            "preset = 'jav'",
            "19:10 `preset` cannot be \"jav\" (did you mean \"java\"? valid are \"java\", \"python\", \"go\", \"ruby\", \
             \"javascript\", \"node\", \"dotnet\", \"indented\")",
        ),
        ("continue = '^(\\s'", "19:14 `continue`: unclosed group (the syntax is that of the Rust crate regex)"),
        (
            "start = '\\d{200}{200}{200}'",
            "19:9 `start` cannot be used: compiled, it is larger than 10 MiB (repeat less: counts of repetitions multiply)",
        ),
        ("end = 1", "19:7 `end` must be a string, not a number (write it in quotes)"),
        ("end = 'x'\nmax_lines = 1", "20:13 `max_lines` is out of range: 1 (from 2 to 5000)"),
        ("end = 'x'\nmax_lines = -2", "20:13 `max_lines` is out of range: -2 (from 2 to 5000)"),
        (
            "end = 'x'\nmax_lines = '9'",
            "20:13 `max_lines` must be a whole number, not a string (write it in digits, without quotes)",
        ),
        (
            "end = 'x'\nmax_lines = 1.5",
            "20:13 `max_lines` must be a whole number, not a fraction (write it in digits, without quotes)",
        ),
        ("end = 'x'\ntimeout = '2 h'", "20:11 `timeout` is out of range: 2 h (from 10 ms to 1 h)"),
        ("end = 'x'\nstarts = 'x'", "20:1 unknown key `starts` in [flow.multiline] (did you mean `start`?)"),
    ] {
        assert_eq!(mistakes(&with_section(section)), [mistake], "{section}");
    }
}
