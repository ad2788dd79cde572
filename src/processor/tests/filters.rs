//! Which lines are left out.

use super::*;

const PARSE: &str = "[flow.parse]\nregex = '^(?<level>[A-Z]+) (?<status>[^ ]*)(?<rest> .*)?$'\n";

#[track_caller]
fn check_made(filter: &str, line: &str, made: Made) {
    let settings = format!("{PARSE}[flow.filter]\n{filter}");
    assert_eq!(process(&settings, line.as_bytes()).2.made, made, "{filter}: {line}");
}

#[test]
fn conditions_of_the_line() {
    let (not_kept, filtered) = (Made::Dropped(DropReason::NotKept), Made::Dropped(DropReason::Filtered));
    for (filter, line, made) in [
        ("keep = ['WARN', 'ERROR']", "WARN 1", Made::Record),
        ("keep = ['WARN', 'ERROR']", "INFO 1", not_kept),
        ("drop = ['health', { line = 'ready' }]", "INFO 1 /health", filtered),
        ("drop = ['health', { line = 'ready' }]", "INFO 1 /ready", filtered),
        ("drop = ['health']", "INFO 1 /", Made::Record),
        ("keep = ['INFO']\ndrop = ['health']", "INFO 1 /health", filtered),
        // Also where the line is not of the format.
        ("drop = ['health']", "no match health", filtered),
        ("keep = ['other']", "no match", not_kept),
    ] {
        check_made(filter, line, made);
    }
}

#[test]
fn conditions_of_a_field() {
    let filtered = Made::Dropped(DropReason::Filtered);
    for (condition, line, made) in [
        ("field = 'status', is = 404", "INFO 404", filtered),
        ("field = 'status', is = [404, '410']", "INFO 410", filtered),
        ("field = 'status', is = 404", "INFO 4040", Made::Record),
        ("field = 'level', is_not = ['WARN', 'ERROR']", "INFO 1", filtered),
        ("field = 'level', is_not = ['WARN', 'ERROR']", "WARN 1", Made::Record),
        ("field = 'status', at_least = 400, below = 500", "INFO 499", filtered),
        ("field = 'status', at_least = 400, below = 500", "INFO 500", Made::Record),
        ("field = 'status', above = 1.5", "INFO 1.6", filtered),
        ("field = 'status', at_most = 1", "INFO 1", filtered),
        // What is no number is neither more nor less.
        ("field = 'status', at_most = 1", "INFO -", Made::Record),
        ("field = 'status', matches = '^5..$'", "INFO 503", filtered),
        ("field = 'rest', exists = false", "INFO 1", filtered),
        ("field = 'rest', exists = true", "INFO 1 x", filtered),
        // Nothing holds of what is not there.
        ("field = 'rest', is_not = 'x'", "INFO 1", Made::Record),
        ("line = 'x$', field = 'level', is = 'INFO'", "INFO 1 x", filtered),
        ("line = 'x$', field = 'level', is = 'INFO'", "INFO 1 y", Made::Record),
        // Of a line that is not of the format nothing is known.
        ("field = 'level', is_not = 'x'", "no match", Made::Record),
    ] {
        check_made(&format!("drop = [{{ {condition} }}]"), line, made);
    }
    check_made("keep = [{ field = 'level', is = 'x' }]", "no match", Made::Record);
    check_made("keep = [{ field = 'level', is = 'x' }]", "INFO 1", Made::Dropped(DropReason::NotKept));
}

#[test]
fn numbers_are_compared_with_their_type() {
    let settings = "[flow.parse]\nregex = '^(?<n>.*)$'\ntypes = { n = 'float' }\n[flow.filter]\ndrop = [{ field = 'n', is = 1 }]";
    assert_eq!(process(settings, b"1.0").2.made, Made::Dropped(DropReason::Filtered));
    assert_eq!(process(settings, b"1.5").2.made, Made::Record);
}

#[test]
fn a_sample_is_its_share_and_the_same_again() {
    let settings = "[flow.parse]\nregex = '^(?<key>[^ ]*)'\n[flow.filter]\nsample = { rate = 0.25, key = '${key}' }";
    let mut processor = processor(settings);
    let mut is_chosen = |line: String| process_with(&mut processor, line.as_bytes()).2.made == Made::Record;
    let chosen: Vec<bool> = (0..4_000).map(|key| is_chosen(format!("key{key} a"))).collect();
    let chosen_count = chosen.iter().filter(|is_chosen| **is_chosen).count();
    assert!((850..1_150).contains(&chosen_count), "{chosen_count} of 4000");
    for (key, was_chosen) in chosen.into_iter().enumerate() {
        assert_eq!(is_chosen(format!("key{key} b")), was_chosen);
    }
}

#[test]
fn without_a_key_a_line_is_chosen_by_its_place() {
    for (rate, made) in [("1", Made::Record), ("1.0", Made::Record), ("0", Made::Dropped(DropReason::NotSampled))] {
        let settings = format!("[flow.filter]\nsample = {rate}");
        assert_eq!(process(&settings, b"x").2.made, made);
    }
    let mut processor = processor("[flow.filter]\nsample = 0.5");
    let ec2 = Ec2::default();
    let mut is_chosen = |offset| {
        let origin =
            Origin { path: Path::new("/a"), file: FileKey(1), offset, header: None, now: Timestamp::UNIX_EPOCH, ec2: &ec2 };
        processor.process(b"same", &origin, &mut Vec::new(), &mut String::new()).made == Made::Record
    };
    let chosen: Vec<bool> = (0..1_000).map(&mut is_chosen).collect();
    assert!((400..600).contains(&chosen.iter().filter(|is_chosen| **is_chosen).count()));
    assert_eq!((0..1_000).map(is_chosen).collect::<Vec<_>>(), chosen);
}
