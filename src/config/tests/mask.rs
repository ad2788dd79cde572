//! `mask` of `[flow.record]`: what may be said of what nobody shall read.

use super::*;
use crate::config::mask;

/// The masks of `source`, a `mask` at the top of a file, and each mistake; `names` are the fields of the flow.
fn masks(source: &str, names: Option<&[&str]>) -> (Vec<Mask>, Vec<String>) {
    let (entries, _) = DeTable::parse_recoverable(source);
    let names: Option<Vec<String>> = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let findings = Findings::new(false);
    let masks = Table::read_top(&findings, entries.get_ref(), |table| mask::read(table, source, names.as_deref()));
    let mistakes = Mistakes::new("agent.toml", source, findings.into_mistakes());
    let text = |mistake: &Mistake| {
        let help = mistake.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{} {}{help}", mistakes.position(mistake).0, mistakes.position(mistake).1, mistake.message)
    };
    (masks, mistakes.iter().map(text).collect())
}

#[test]
fn presets_and_patterns_in_their_order() {
    let source = r#"mask = [
        { preset = "email" },
        { pattern = '\d{6}-\d{7}', with = "$0" },
        "ipv4",
        { preset = "card", with = "", fields = ["message", "user"] },
    ]"#;
    let (read, mistakes) = masks(source, Some(&["message", "user"]));
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let shown: Vec<String> = read
        .iter()
        .map(|mask| match &mask.what {
            MaskPattern::Preset(preset) => format!("{preset:?} {:?} {:?}", mask.with, mask.fields),
            MaskPattern::Regex(regex) => format!("{} {:?} {:?}", regex.as_str(), mask.with, mask.fields),
        })
        .collect();
    let expected = [r#"Email "***" []"#, r#"\d{6}-\d{7} "$0" []"#, r#"Ipv4 "***" []"#, r#"Card "" ["message", "user"]"#];
    assert_eq!(shown, expected);
    for (word, meant) in [
        ("email", MaskPreset::Email),
        ("ipv4", MaskPreset::Ipv4),
        ("ipv6", MaskPreset::Ipv6),
        ("card", MaskPreset::Card),
        ("bearer", MaskPreset::Bearer),
        ("aws_keys", MaskPreset::AwsKeys),
    ] {
        let (read, _) = masks(&format!("mask = [{{ preset = '{word}' }}]"), None);
        assert!(matches!(read[0].what, MaskPattern::Preset(preset) if preset == meant), "{word}");
    }
    assert!(masks("", None).0.is_empty());
    // Which fields there are is not known: any may be named.
    assert!(masks("mask = [{ preset = 'email', fields = ['x'] }]", None).1.is_empty());
}

#[test]
fn mistakes_are_told_with_their_place() {
    let presets = r#"valid are "email", "ipv4", "ipv6", "card", "bearer", "aws_keys""#;
    let nothing = "`pattern` matches where there is nothing (write it so that it takes one character at least: x+ instead of x*)";
    for (source, mistake) in [
        (
            "mask = 'email'",
            "1:8 `mask` must be a list, not a string (write mask = [{ preset = \"email\" }, { pattern = '…', with = \"***\" }])",
        ),
        (
            "mask = [7]",
            "1:9 `mask` must be a list of strings and tables, not a number (write mask = [{ preset = \"email\" }, \
             { pattern = '…', with = \"***\" }])",
        ),
        ("mask = ['emial']", &format!("1:9 `preset` cannot be \"emial\" (did you mean \"email\"? {presets})")),
        ("mask = [{ preset = 'phone' }]", &format!("1:20 `preset` cannot be \"phone\" ({presets})")),
        (
            "mask = [{ with = '*' }]",
            "1:9 one of `preset`, `pattern` is missing in [mask] (write preset = \"email\", or pattern = '…' with what is to be \
             masked)",
        ),
        ("mask = [{ preset = 'card', pattern = '1' }]", "1:9 `preset` and `pattern` exclude each other (write two masks)"),
        ("mask = [{ pattern = 'a(' }]", "1:23 `pattern`: unclosed group (the syntax is that of the Rust crate regex)"),
        ("mask = [{ pattern = 'a*' }]", &format!("1:21 {nothing}")),
        ("mask = [{ pattern = 'a|' }]", &format!("1:21 {nothing}")),
        ("mask = [{ pattern = '\\b' }]", &format!("1:21 {nothing}")),
        ("mask = [{ pattern = '' }]", &format!("1:21 {nothing}")),
        ("mask = [{ preset = 'card', with = 7 }]", "1:35 `with` must be a string, not a number (write it in quotes)"),
        (
            &format!("mask = [{{ preset = 'card', with = '{}' }}]", "*".repeat(101)),
            "1:35 `with` has 101 bytes, 100 are the most (say in few words that something was taken out)",
        ),
        (
            "mask = [{ preset = 'card', fields = ['mesage'] }]",
            "1:38 `fields` names `mesage`, which is not a field of [flow.parse] (did you mean `message`?)",
        ),
        ("mask = [{ preset = 'card', fields = [] }]", "1:9 `fields` is empty (leave it out to mask in every field)"),
        ("mask = [{ preset = 'card', feilds = [] }]", "1:28 unknown key `feilds` in [mask] (did you mean `fields`?)"),
    ] {
        assert_eq!(masks(source, Some(&["message", "user"])).1, [mistake], "{source}");
    }
}
