use super::super::tests::{group_in_pieces, grouper, lines_of};
use super::super::{Ending, Grouped};
use super::*;
use crate::config::Joining;
use crate::tailer::Line;

const PRESETS: [Preset; 7] =
    [Preset::Java, Preset::Python, Preset::Go, Preset::Ruby, Preset::JavaScript, Preset::DotNet, Preset::Indented];

/// Of logs of all kinds; what a trace goes on with somewhere looks a little like some of them.
const ORDINARY_LINES: &[&str] = &[
    "2026-11-21 12:18:53,120 INFO  [main] c.e.shop.Checkout - order 4711 accepted",
    "Nov 21 12:18:53 web-1 sshd[4242]: Accepted publickey for core",
    r#"{"time":"2026-11-21T12:18:53Z","level":"error","msg":"upstream at 10.0.0.7 failed: Error: timeout"}"#,
    "INFO:     127.0.0.1:51312 - \"GET / HTTP/1.1\" 200 OK",
    "",
    "ready",
    "Done.",
    "at last",
    "from here on",
    "Error rate: 0.3 %",
    "retry(3)",
    "main.go started",
    "caused by: the weather",
    "... 3 more items",
    "level=info msg=\"listening\" addr=:8080",
    "I1121 12:18:53.120000       1 leaderelection.go:250] attempting to acquire leader lease",
    "I, [2026-11-21T12:18:53.120000 #4242]  INFO -- : Completed 200 OK in 12ms",
    "",
    "",
    "/srv/app/current",
    "}",
];

/// The lines of `records`, one record after the other, are grouped into them, however they are cut into pieces and
/// whichever terminators they have; and none of those that are traces swallows an ordinary line.
#[track_caller]
pub(super) fn check(preset: Preset, records: &[&str]) {
    let grouper = grouper(Joining::Preset(preset), 1000);
    for terminator in ["\n", "\r\n"] {
        let records: Vec<String> = records.iter().map(|record| format!("{record}\n").replace('\n', terminator)).collect();
        let bytes = records.concat().into_bytes();
        let lines = lines_of(&bytes);
        let whole = |record: &Line| std::str::from_utf8(&bytes[record.whole.clone()]).unwrap();
        let Grouped { records: grouped, .. } = grouper.group(&bytes, lines.clone(), bytes.len(), Ending::Complete);
        assert_eq!(grouped.iter().map(whole).collect::<Vec<_>>(), records);
        for trace in records.iter().filter(|record| record.lines().count() > 1) {
            for line in ORDINARY_LINES {
                let bytes = format!("{trace}{line}{terminator}").into_bytes();
                let Grouped { records, .. } = grouper.group(&bytes, lines_of(&bytes), bytes.len(), Ending::Complete);
                assert_eq!(records.first().map(|record| record.whole.clone()), Some(0..trace.len()), "{line:?} behind {trace}");
            }
        }
        for line_count in [1, 2, 5] {
            let in_pieces = group_in_pieces(&grouper, &bytes, &lines, bytes.len(), &[line_count]);
            assert_eq!(in_pieces, grouped, "{line_count} lines at a time");
        }
    }
}

#[test]
fn every_preset_compiles_and_no_state_is_out_of_reach() {
    for preset in PRESETS {
        let _must_not_panic = Machine::new(preset);
        for (states, pattern, _) in rules(preset) {
            for state in *states {
                let is_reached = rules(preset).iter().any(|(_, _, to)| to == state);
                assert!(is_reached || [State::Begin, State::Plain].contains(state), "{preset:?}: {state:?}, {pattern}");
            }
        }
    }
}

#[test]
fn without_a_trace_each_line_is_a_record() {
    for preset in PRESETS {
        check(preset, ORDINARY_LINES);
    }
}

#[test]
fn indented_lines_belong_to_the_one_before() {
    check(Preset::Indented, &["a\n b\n\tc\n ", "d", "", "e\n  }", "f"]);
    check(Preset::Indented, &[" a\n b", "c"]);
}
