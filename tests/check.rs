//! `kinetail check` where flows have files of their own: every mistake of every file is told at once, with its path.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;

use common::{Ended, Place};

/// A flow of this name.
fn flow(name: &str) -> String {
    format!("[[flow]]\nname = \"{name}\"\nfiles = [\"/nonexistent/{name}.log\"]\n[flow.kinesis]\nstream = \"s\"\n")
}

/// A place with this text in `agent.toml`, and with these files in `conf.d` beside it.
fn place(main: &str, files: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.configure_verbatim(main);
    fs::create_dir(place.folder().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(place.folder().join("conf.d").join(name), text).unwrap();
    }
    place
}

/// What a command says of the configuration, paths without the folder.
fn told(place: &Place, command: &str) -> (Option<i32>, String) {
    let Ended { code, stdout, stderr, .. } =
        place.start(&mut place.command(&[command, "--config", place.config().to_str().unwrap()])).wait();
    (code, format!("{stdout}{stderr}").replace(&format!("{}/", place.folder().display()), ""))
}

#[test]
fn flows_in_files_of_their_own_are_checked_with_all_others() {
    let place = place(&flow("main"), &[("nginx.toml", &flow("nginx")), ("nginx.toml~", "["), ("empty.toml", "")]);
    let (code, told) = told(&place, "check");
    assert_eq!(code, Some(0), "{told}");
    let expected = "\
agent.toml: no mistakes, 2 flows in 3 files
    agent.toml: 1 flow
    conf.d/empty.toml: 0 flows
    conf.d/nginx.toml: 1 flow

main to stream s
  warning: no file matches now: /nonexistent/main.log

nginx to stream s
  warning: no file matches now: /nonexistent/nginx.log
";
    assert_eq!(told, expected);
}

#[test]
fn every_mistake_of_every_file_is_told_with_its_path_and_nothing_is_run() {
    let place = place(
        &format!("[agent]\nmemory_max = \"3 MiB\"\n\n{}", flow("a")),
        &[
            ("1.toml", &format!("{}\n[aws]\nregion = \"us-east-1\"\n", flow("b"))),
            ("2.toml", &flow("a")),
            ("3.toml", "[[flow]\n"),
        ],
    );
    fs::create_dir(place.folder().join("conf.d/4.toml")).unwrap();
    let expected = "\
error: `memory_max` of 3 MiB does not suffice for 4 flows in 4 files
 --> agent.toml:2:14
  |
2 | memory_max = \"3 MiB\"
  |              ^^^^^^^
  |
  = help: write memory_max = \"8 MiB\", or more

error: agent.toml: 1 mistake

error: [aws] cannot be written here
 --> conf.d/1.toml:7:1
  |
7 | [aws]
  | ^^^^^
  |
  = help: it belongs in agent.toml; here are [[flow]] tables only

error: conf.d/1.toml: 1 mistake

error: `name` is taken: \"a\"
 --> conf.d/2.toml:2:8
  |
2 | name = \"a\"
  |        ^^^
  |
  = help: agent.toml, line 5 has it already; offsets and metrics are kept by it

error: conf.d/2.toml: 1 mistake

error: unclosed array table, expected `]`
 --> conf.d/3.toml:1:8
  |
1 | [[flow]
  |        ^

error: conf.d/3.toml: 1 mistake

error: cannot read the configuration conf.d/4.toml: it is a folder, not a file
";
    for command in ["check", "run"] {
        assert_eq!(told(&place, command), (Some(78), expected.to_owned()), "{command}");
    }
}
