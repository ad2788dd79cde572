use std::fs;

use super::*;

/// What is shown, and the notes, of a flow with `settings` whose only file has `content`; `ROOT` is the folder of it all.
fn shown_of(settings: &str, content: &[u8], lines: Lines, paint: Paint) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_string_lossy().into_owned();
    fs::write(folder.path().join("a.log"), content).unwrap();
    let settings = match settings {
        _ if settings.contains("[flow.firehose]") => settings.to_owned(),
        _ if settings.contains("[flow.kinesis]") => format!("{settings}\nstream = 'logs'"),
        _ => format!("{settings}\n[flow.kinesis]\nstream = 'logs'"),
    };
    let text = format!("[agent]\nstate_dir = '{root}/state'\n[[flow]]\nname = 'app'\nfiles = '{root}/*.log'\n{settings}\n");
    let config = Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut screen = Screen { out: Vec::new(), notes: Vec::new(), is_json: false, paint };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(preview(&config, lines, &mut screen)).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&root, "ROOT");
    (text(screen.out), text(screen.notes))
}

fn shown(settings: &str, content: &[u8]) -> String {
    shown_of(settings, content, Lines::Some(10), Paint { is_coloured: false }).0
}

/// That `expected` stands between the heading and the counts.
#[track_caller]
fn check(settings: &str, content: &[u8], expected: &str) {
    let text = shown(settings, content);
    let (lines, _) = text.rsplit_once("app\n  lines read").unwrap();
    assert_eq!(lines.strip_prefix("app to stream logs\n\n").unwrap(), expected);
}

const PARSE: &str = "[flow.parse]\nregex = '^(?<user>\\S*) (?<status>\\S+)$'\ntypes = { status = 'integer' }\n";

#[test]
fn a_record_is_shown_a_field_a_line_and_what_is_wrong_below() {
    let settings = format!("{PARSE}[flow.record]\nadd = {{ 'a.b' = 'c' }}\n[flow.kinesis]\npartition_key = '${{user}}'");
    let content = b"eve 200\n x\n\xff 1\nno match at all\n";
    let expected = "\
ROOT/a.log:0  key=eve
  user    \"eve\"
  status  200
  a.b     \"c\"

ROOT/a.log:8  key=random
  user    \"\"
  status  \"x\"
  a.b     \"c\"
  ! does not fit its type: status
  ! its partition key is missing, empty or masked: a random one

ROOT/a.log:11  key=\u{fffd}
  user    \"\u{fffd}\"
  status  1
  a.b     \"c\"
  ! some bytes became U+FFFD

ROOT/a.log:15  key=random
  no match at all
  ! no match: sent as it is
  ! its partition key is missing, empty or masked: a random one

";
    check(&settings, content, expected);
}

#[test]
fn what_is_not_sent_is_shown_with_its_reason() {
    let filter = "[flow.filter]\ndrop = ['noise']\n";
    check(filter, b"a noise\n", "ROOT/a.log:0\n  a noise\n  ! not sent: filtered (a condition of [flow.filter] drop holds)\n\n");
    let mismatch = format!("{PARSE}on_mismatch = 'drop'\n");
    check(&mismatch, b"?\n", "ROOT/a.log:0\n  ?\n  ! not sent: mismatch (no match, and on_mismatch = \"drop\")\n\n");
    let wrap = format!("{PARSE}on_mismatch = 'wrap'\n");
    let wrapped = "ROOT/a.log:0  key=random\n  message  \"?\"\n  error    \"no match\"\n  ! no match: sent wrapped\n\n";
    check(&wrap, b"?\n", wrapped);
    let expected = "\
ROOT/a.log:0
  ! not sent: header ([flow.line] skip_header_lines)
  ! 7 B

ROOT/a.log:7  key=random
  12345678

ROOT/a.log:15
  ! not sent: too_long (beyond [flow.line] max_bytes)
  ! 3 B

ROOT/a.log:18  key=random
  last

";
    check("[flow.line]\nskip_header_lines = 1\nmax_bytes = '8 B'\n", b"header\n1234567890\nlast", expected);
}

#[test]
fn nothing_of_a_line_moves_the_cursor_and_long_ones_are_cut() {
    check("", b"a\tb\x1b[2J\xff\xe2\x80\xae\n", "ROOT/a.log:0  key=random\n  a\tb\\u{1b}[2J\\xff\\u{202e}\n\n");
    let text = shown("", &b"x".repeat(5_000));
    assert!(text.contains(&format!("  {}… (5000 bytes)\n", "x".repeat(4_000))), "{text}");
    let joined = "[flow.multiline]\npreset = 'indented'\n[flow.record]\nterminator = \"\\n\"\n";
    check(joined, b"a\n  b\n", "ROOT/a.log:0  key=random\n  a\n    b\n\n");
}

#[test]
fn headings_say_where_records_go_and_what_they_become() {
    let key = "[flow.encryption]\nkms_key = 'arn:aws:kms:us-east-1:111122223333:alias/logs'\n";
    let firehose = "[flow.firehose]\ndelivery_stream = 'd'\n";
    for (settings, expected) in [
        (key.to_owned() + "[flow.kinesis]\naggregate = 'none'", "app to stream logs\neach record is encrypted on its way\n\n"),
        (
            "[flow.kinesis]\naggregate = 'none'\ncompress = 'zstd'".to_owned(),
            "app to stream logs\neach record is compressed (zstd) on its way\n\n",
        ),
        ("[flow.kinesis]\naggregate = 'lines'".to_owned(), "app to stream logs\n\n"),
        (firehose.to_owned(), "app to delivery stream d\n\n"),
        (
            format!("{firehose}compress = 'gzip'\n{key}"),
            "app to delivery stream d\nrecords are joined, each joined one is compressed (gzip) and then encrypted on its way\n\n",
        ),
    ] {
        let text = shown(&settings, b"a line\n");
        let line = text.strip_prefix(expected).unwrap_or_else(|| panic!("{settings}: {text}"));
        let key = if settings.contains("firehose") { "" } else { "  key=random" };
        assert!(line.starts_with(&format!("ROOT/a.log:0{key}\n  a line\n\n")), "{text}");
    }
    let dim = shown_of(&format!("{firehose}{key}"), b"", Lines::All, Paint { is_coloured: true }).0;
    let expected = "\x1b[1mapp\x1b[0m \x1b[2mto delivery stream d\x1b[0m\n\x1b[2mrecords are joined, each joined one is encrypted on its way\x1b[0m\n\n";
    assert!(dim.starts_with(expected), "{dim}");
}

#[test]
fn counts_come_last() {
    let settings = format!("{PARSE}[flow.filter]\ndrop = ['noise']\n");
    let content = b"a 1\nb x\n?\nnoise 1\nc 2\nd 3\n";
    let (text, notes) = shown_of(&settings, content, Lines::Some(5), Paint { is_coloured: false });
    let expected = "app
  lines read                        5  22 B
  matched                           3
  mismatched                        1  sent as they are
  not sent, filtered                1  8 B
  records to send                   4  72 B
  type mismatches                   1
  these are the first 5; --lines 1000 or --lines all shows more
";
    assert!(text.ends_with(expected), "{text}");
    assert_eq!(notes, "note: no offsets in ROOT/state yet: files are read as at a first start\n");
}

#[test]
fn where_no_line_matches_the_first_of_them_is_told() {
    let lines = Lines::Some(10);
    let (text, notes) = shown_of(PARSE, b"what\nis this\nall\n", lines, Paint { is_coloured: true });
    assert!(text.contains("\x1b[33mwhat\x1b[0m") && text.contains("\x1b[36muser  \x1b[0m"), "{text}");
    assert!(!notes.contains("no line matched"), "{notes}");
    let (_, notes) = shown_of(PARSE, b"what\nis\x1b\n", lines, Paint { is_coloured: true });
    assert!(notes.ends_with("app: no line matched; this is the first that does not: ROOT/a.log:0  what\n"), "{notes}");
    let (_, notes) = shown_of(PARSE, b"", lines, Paint { is_coloured: false });
    assert!(notes.ends_with("there is no line to show; files that match are empty, compressed or cannot be read\n"), "{notes}");
}

#[test]
fn flows_are_chosen_by_name() {
    let flow = |name: &str| format!("[[flow]]\nname = '{name}'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n");
    let config = Config::parse(&["access", "errors", "audit"].map(flow).concat(), "test").unwrap();
    let chosen = |names: &[&str]| {
        let mut config = config.clone();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&mut config, &names)?;
        Ok::<_, String>(config.flows.into_iter().map(|flow| flow.name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(chosen(&[]).unwrap(), "access errors audit");
    assert_eq!(chosen(&["audit", "access"]).unwrap(), "access audit");
    assert_eq!(chosen(&["acces"]).unwrap_err(), "no flow is called `acces`; did you mean `access`?");
    assert_eq!(chosen(&["x\n"]).unwrap_err(), "no flow is called `x\u{fffd}`; there are: access, errors, audit");
}

#[test]
fn a_number_of_lines_or_all() {
    for (text, expected) in [("1", Some(Lines::Some(1))), ("all", Some(Lines::All)), ("0", None), ("-1", None), ("ten", None)] {
        assert_eq!(text.parse::<Lines>().ok(), expected, "{text}");
    }
}
