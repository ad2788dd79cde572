use super::*;
use crate::config::{Encoding, LineRules, TooLong};

struct Opened {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    file: TailedFile,
    buffer: Vec<u8>,
}

impl Opened {
    fn with(content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, content).unwrap();
        let file = tailed(&path);
        Self { _folder: folder, path, file, buffer: Vec::new() }
    }

    /// The lines of the next piece, none when there is none yet, or `["truncated"]`.
    fn look(&mut self, complete: Complete) -> Vec<String> {
        match self.file.look(&mut self.buffer, complete).unwrap() {
            Look::Piece(piece) => {
                let text = |line: &super::super::Line| String::from_utf8_lossy(&self.buffer[line.text.clone()]).into_owned();
                piece.records.iter().map(text).collect()
            }
            Look::Waiting => Vec::new(),
            Look::Different => vec!["different".to_owned()],
        }
    }
}

fn tailed(path: &Path) -> TailedFile {
    let rules = LineRules {
        encoding: Encoding::Utf8,
        skip_header_lines: 0,
        max_bytes: 1000,
        too_long: TooLong::Truncate,
        strip_cr: false,
    };
    let rules = Arc::new(Rules::of_lines(rules));
    let mut file = TailedFile::new(FileKey(1), path.into(), Source::open(path).unwrap(), &rules).unwrap();
    file.begin_at(0).unwrap();
    file
}

#[test]
fn an_unfinished_line_waits_and_is_a_line_of_its_own_only_at_the_finish() {
    let mut opened = Opened::with("one\ntwo\nhalf");
    assert_eq!(opened.look(Complete::Nothing), ["one", "two"]);
    assert_eq!(opened.look(Complete::Nothing), [""; 0]);
    assert_eq!(opened.look(Complete::All), ["half"]);
    assert_eq!(opened.look(Complete::All), [""; 0]);
}

#[test]
fn a_line_that_was_cut_short_and_written_anew_is_read() {
    let mut opened = Opened::with("one\nabcdef");
    assert_eq!(opened.look(Complete::Nothing), ["one"]);
    assert_eq!(opened.look(Complete::Nothing), [""; 0]);
    std::fs::write(&opened.path, "one\nx\n").unwrap();
    assert_eq!(opened.look(Complete::Nothing), ["x"]);
}

#[test]
fn a_file_shorter_than_what_was_read_has_other_content() {
    let mut opened = Opened::with("one\ntwo\n");
    assert_eq!(opened.look(Complete::Nothing), ["one", "two"]);
    std::fs::write(&opened.path, "new\n").unwrap();
    assert_eq!(opened.look(Complete::Nothing), ["different"]);
    opened.file = opened.file.anew(FileKey(2)).unwrap();
    opened.file.begin_at(0).unwrap();
    assert_eq!(opened.look(Complete::Nothing), ["new"]);
}

#[test]
fn a_file_rewritten_past_the_old_position_is_told_by_its_beginning() {
    let mut opened = Opened::with("one\n");
    assert_eq!(opened.look(Complete::Nothing), ["one"]);
    assert_eq!(opened.file.content().unwrap(), Content::Same);
    let before = opened.file.fingerprint();
    std::fs::write(&opened.path, "one\ntwo\n").unwrap();
    assert_eq!(opened.file.content().unwrap(), Content::Same);
    assert_ne!(opened.file.fingerprint(), before, "more of it is known");
    std::fs::write(&opened.path, "other\nlines\n").unwrap();
    assert_eq!(opened.file.content().unwrap(), Content::Different);
    std::fs::write(&opened.path, "on").unwrap();
    assert_eq!(opened.file.content().unwrap(), Content::Different);
}

#[test]
fn a_file_rewritten_behind_its_beginning_is_told_by_what_is_before_the_position() {
    let beginning = "the same line\n".repeat(100);
    let mut opened = Opened::with(&format!("{beginning}first\n"));
    assert_eq!(opened.look(Complete::Nothing).len(), 101);
    std::fs::write(&opened.path, format!("{beginning}other\nand more\n")).unwrap();
    assert_eq!(opened.file.content().unwrap(), Content::Different);
    assert_eq!(opened.look(Complete::Nothing), ["different"], "nothing of the other content is taken for this one's");
}

/// A file that yields less than its size, as those of sysfs do, is waited for, not read for ever.
#[test]
fn a_file_that_yields_less_than_its_size_is_waited_for() {
    let path = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
    if !path.exists() {
        return;
    }
    let mut file = tailed(path);
    file.byte_count = 1 << 20;
    let mut buffer = Vec::new();
    for complete in [Complete::Nothing, Complete::All, Complete::Nothing, Complete::All] {
        assert!(!matches!(file.look(&mut buffer, complete).unwrap(), Look::Different));
    }
}
