use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;

/// A folder with the entries named: `a/b` a file of one byte, `a/` a folder, `a -> b` a symbolic link,
/// `a = b` a hard link, `a | ` a socket.
fn folder(entries: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for entry in entries {
        let at = |name: &str| root.path().join(name);
        let parent = entry.split(' ').next().unwrap();
        fs::create_dir_all(at(parent).parent().unwrap()).unwrap();
        if let Some((link, target)) = entry.split_once(" -> ") {
            symlink(target, at(link)).unwrap();
        } else if let Some((link, target)) = entry.split_once(" = ") {
            fs::hard_link(at(target), at(link)).unwrap();
        } else if let Some(socket) = entry.strip_suffix(" |") {
            drop(UnixListener::bind(at(socket)).unwrap());
        } else if entry.ends_with('/') {
            fs::create_dir_all(at(entry)).unwrap();
        } else {
            fs::write(at(entry), "\n").unwrap();
        }
    }
    root
}

fn globs(root: &Path, patterns: &[&str]) -> Globs {
    let (exclude, files): (Vec<_>, Vec<_>) = patterns.iter().copied().partition(|pattern: &&str| pattern.starts_with('!'));
    let files: Vec<String> = files.iter().map(|pattern| format!("{}/{pattern}", root.display())).collect();
    let under_root = |pattern: &str| match pattern.strip_prefix("!/") {
        Some(path) => format!("{}/{path}", root.display()),
        None => pattern.trim_start_matches('!').to_owned(),
    };
    let exclude: Vec<String> = exclude.iter().map(|pattern| under_root(pattern)).collect();
    Globs::new(&files, &exclude).unwrap()
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().into_owned()
}

/// `patterns` that begin with `!` are of `exclude`; `expected` are the files, then `path: reason` of the problems.
#[track_caller]
fn check(entries: &[&str], patterns: &[&str], expected: &[&str]) {
    let root = folder(entries);
    let scan = globs(root.path(), patterns).scan();
    let files = scan.files.iter().map(|found| relative(root.path(), &found.path));
    let problems = scan.problems.iter().map(|problem| format!("{}: {}", relative(root.path(), &problem.path), problem.reason));
    assert_eq!(files.chain(problems).collect::<Vec<_>>(), expected, "{patterns:?} in {entries:?}");
}

#[test]
fn patterns_match_files_at_their_depth() {
    let tree = &["a.log", "b.txt", "d/a.log", "d/e/a.log", "d/e/c.log", "f/a.log"];
    check(tree, &["*.log"], &["a.log"]);
    check(tree, &["*/a.log"], &["d/a.log", "f/a.log"]);
    check(tree, &["**/a.log"], &["a.log", "d/a.log", "d/e/a.log", "f/a.log"]);
    check(tree, &["d/**/*.log"], &["d/a.log", "d/e/a.log", "d/e/c.log"]);
    check(tree, &["**/e/**/*.log"], &["d/e/a.log", "d/e/c.log"]);
    check(tree, &["d/**"], &["d/a.log", "d/e/a.log", "d/e/c.log"]);
    check(tree, &["**/*"], tree);
    check(tree, &["?.txt", "[a-c].log", "nothing/*.log"], &["a.log", "b.txt"]);
    check(tree, &["d/a.log", "d/*.log", "**/a.log", "!/f/**"], &["a.log", "d/a.log", "d/e/a.log"]);
}

#[test]
fn exclude_is_of_names_without_a_slash_and_of_paths_with_one() {
    let tree = &["a.gz", "a.log", "d/a.gz", "d/a.log", "d/e/a.log"];
    check(tree, &["**/*", "!*.gz"], &["a.log", "d/a.log", "d/e/a.log"]);
    check(tree, &["**/*", "!*.gz", "!/d/*.log"], &["a.log", "d/e/a.log"]);
    check(tree, &["**/*", "!/d/**"], &["a.gz", "a.log"]);
    check(tree, &["**/*", "!/**/e/*"], &["a.gz", "a.log", "d/a.gz", "d/a.log"]);
}

#[test]
fn hidden_files_are_matched_by_a_dot_only() {
    let tree = &[".a.log", ".d/a.log", "b.log"];
    check(tree, &["**/*.log"], &["b.log"]);
    check(tree, &["**/.*.log", ".d/*.log"], &[".a.log", ".d/a.log"]);
}

#[test]
fn a_file_counts_once_by_a_path_without_links_if_there_is_one() {
    check(&["z.log", "a.log -> z.log", "m.log = z.log"], &["*.log"], &["m.log"]);
    check(&["z/x.log", "a -> z", "b -> a"], &["**/*.log"], &["z/x.log"]);
    check(&["z/x.log", "a -> z", "b -> a"], &["a/*.log"], &["a/x.log"]);
    check(&["elsewhere/x.log", "logs/current -> ../elsewhere"], &["logs/**/*.log"], &["logs/current/x.log"]);
}

#[test]
fn what_matches_and_is_no_file_is_a_problem() {
    check(&["a.log/", "b.log"], &["*.log"], &["b.log", "a.log: directory"]);
    check(&["a.log |", "b.log"], &["*"], &["b.log", "a.log: not_a_file"]);
    check(&["a.log -> gone"], &["*.log"], &["a.log: dangling_symlink"]);
    check(&["a.log -> b.log", "b.log -> a.log"], &["*.log"], &["a.log: symlink_loop", "b.log: symlink_loop"]);
    check(&["a.log -> gone", "b.log/"], &["*.log", "!*.log"], &[]);
}

#[test]
fn a_folder_that_only_a_bare_star_matches_is_no_problem() {
    check(&["d/e/a.log"], &["**/*"], &["d/e/a.log"]);
    check(&["d/e/a.log"], &["*"], &[]);
}

#[test]
fn a_link_to_a_folder_above_is_told_and_not_followed() {
    check(&["d/a.log", "d/up -> .."], &["**/*.log"], &["d/a.log", "d/up: symlink_loop"]);
    check(&["d/a.log", "d/self -> ."], &["**/*.log", "!/d/self/**"], &["d/a.log"]);
    check(&["a/x.log", "b/y.log", "a/b -> ../b", "b/a -> ../a"], &["**/*.log"], &["a/x.log", "b/y.log"]);
}

#[test]
fn names_that_are_not_utf8_match() {
    let root = folder(&["a.log"]);
    let strange = root.path().join(OsStr::from_bytes(b"\xff.log"));
    if fs::create_dir(root.path().join(OsStr::from_bytes(b"d\xfe"))).is_err() {
        return; // A file system that takes UTF-8 only.
    }
    let deeper = root.path().join(OsStr::from_bytes(b"d\xfe/x.log"));
    fs::write(&strange, "\n").unwrap();
    fs::write(&deeper, "\n").unwrap();
    let found = globs(root.path(), &["**/*.log"]).scan().files;
    assert_eq!(found.iter().map(|found| found.path.clone()).collect::<Vec<_>>(), [root.path().join("a.log"), deeper, strange]);
}

#[test]
fn a_folder_that_may_not_be_listed_is_a_problem_and_hides_no_other() {
    let root = folder(&["closed/a.log", "open/a.log"]);
    let closed = root.path().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        return; // Run by root, for whom nothing is closed.
    }
    for pattern in ["**/*.log", "*/a.log"] {
        let scan = globs(root.path(), &[pattern]).scan();
        assert_eq!(scan.files.iter().map(|found| relative(root.path(), &found.path)).collect::<Vec<_>>(), ["open/a.log"]);
        assert_eq!(scan.problems.iter().map(|problem| problem.reason).collect::<Vec<_>>(), ["permission_denied"]);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_folders_to_watch_are_those_in_which_a_match_could_appear() {
    let root = folder(&["app/a/x.log", "app/b/old/y.log", "app/z.txt", ".hidden/a.log", "other/"]);
    let watched = |patterns: &[&str]| -> Vec<String> {
        globs(root.path(), patterns).scan().folders.keys().map(|path| relative(root.path(), path)).collect()
    };
    assert_eq!(watched(&["app/*.log"]), ["app"]);
    assert_eq!(watched(&["app/z.txt"]), ["app"]);
    assert_eq!(watched(&["app/*/x.log"]), ["app", "app/a", "app/b"]);
    assert_eq!(watched(&["app/**/*.log"]), ["app", "app/a", "app/b", "app/b/old"]);
    assert_eq!(watched(&["app/**/*.log", "!/app/b/**"]), ["app", "app/a"]);
    assert_eq!(watched(&["missing/below/*.log"]), [""]);
    assert_eq!(watched(&["other/missing/*.log", "app/a/x.log"]), ["app/a", "other"]);
}

#[test]
fn a_found_file_says_when_it_came_and_under_how_many_names() {
    let root = folder(&["a.log", "b.log", "c.log = b.log"]);
    let found = globs(root.path(), &["*.log"]).scan().files;
    assert_eq!(found.iter().map(|found| found.link_count).collect::<Vec<_>>(), [1, 2]);
    for found in found {
        let metadata = fs::metadata(&found.path).unwrap();
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        assert_eq!(found.created.map(u128::from), metadata.created().ok().map(since_epoch));
        assert_eq!(found.modified, metadata.modified().unwrap());
    }
}

#[test]
fn siblings_are_the_files_of_the_folder_each_once() {
    let root = folder(&["a.log", "a.log.1", ".hidden", "z = a.log", "d/b.log", "link -> d/b.log", "socket |"]);
    let mut found: Vec<String> =
        siblings(&root.path().join("gone.log")).iter().map(|found| relative(root.path(), &found.path)).collect();
    found.sort();
    // Of two names of one file either may be listed first.
    assert!(found == [".hidden", "a.log", "a.log.1"] || found == [".hidden", "a.log.1", "z"], "{found:?}");
    for nowhere in [root.path().join("gone/a.log"), root.path().join("a.log/b.log"), PathBuf::from("/")] {
        assert!(siblings(&nowhere).is_empty(), "{nowhere:?}");
    }
}
