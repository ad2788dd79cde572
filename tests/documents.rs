//! What people copy is sound: the shell in README, and what lies in `packaging` for them to change.
//!
//! The checkers are installed from the Python package index, once; see `common/installed.rs`.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kinetail::config::{Config, Format};
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use common::installed::{self, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DAEMON_SET: &str = "packaging/container/daemonset.yaml";
const DOCKERFILE: &str = "packaging/container/Dockerfile";

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// A program that was installed for these stories; where it cannot be, `story` is skipped, but not in CI.
fn checker(story: &str, program: &str) -> Option<Command> {
    let folder = Path::new(ROOT).join("tests/documents");
    let environment = installed::or_skip(story, installed::python(&folder))?;
    let mut command = Command::new(environment.join(program));
    command.current_dir(ROOT);
    Some(command)
}

/// The blocks of a language in README, without their fences.
fn blocks(language: &str) -> Vec<String> {
    let readme = file("README.md");
    let fence = format!("\n```{language}\n");
    readme.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

/// The blocks of shell in README, as files in a folder.
fn shell_blocks() -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().unwrap();
    let as_file = |(number, block): (usize, String)| {
        let path = folder.path().join(format!("{number}.sh"));
        fs::write(&path, block).unwrap();
        path
    };
    let paths: Vec<PathBuf> = blocks("sh").into_iter().enumerate().map(as_file).collect();
    assert!(paths.len() > 10, "{} of them", paths.len());
    (folder, paths)
}

/// The scripts for hosts.
fn scripts() -> Vec<PathBuf> {
    fs::read_dir(Path::new(ROOT).join("packaging/fleet")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_shell_in_readme_can_be_read_by_a_shell() {
    let (_folder, blocks) = shell_blocks();
    for path in blocks.iter().chain(&scripts()) {
        run(Command::new("bash").arg("-n").arg(path))
            .unwrap_or_else(|error| panic!("{error}\n{}", fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(mut shellcheck) = checker("shellcheck_finds_nothing", "shellcheck") else { return };
    let (_folder, blocks) = shell_blocks();
    // Blocks go on from each other: of a variable one of them may have the value, and another the use.
    shellcheck.args(["--shell=bash", "--exclude=SC2034,SC2154"]).args(blocks);
    run(&mut shellcheck).unwrap_or_else(|error| panic!("{error}"));
    let mut shellcheck = checker("shellcheck_finds_nothing", "shellcheck").unwrap();
    run(shellcheck.args(scripts())).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn packages_and_images_are_named_with_the_version_of_the_repository() {
    let named = Regex::new(r"kinetail[_:-](\d+\.\d+\.\d+)").unwrap();
    for path in ["README.md", DAEMON_SET, DOCKERFILE] {
        let text = file(path);
        let versions: Vec<&str> = named.captures_iter(&text).map(|found| found.extract::<1>().1[0]).collect();
        assert!(
            !versions.is_empty() && versions.iter().all(|version| *version == env!("CARGO_PKG_VERSION")),
            "{path}: {versions:?}"
        );
    }
}

#[test]
fn the_json_in_readme_is_json() {
    for block in blocks("json") {
        serde_json::from_str::<Value>(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

/// A policy that is copied out of README is the one that lies in `packaging/iam`, with its statements taken together.
#[test]
fn the_policy_in_readme_allows_what_the_file_does() {
    let allowed = |policy: &str| {
        let policy: Value = serde_json::from_str(policy).unwrap();
        let mut allowed = Vec::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
            allowed.extend(actions.into_iter().map(|action| (action.to_string(), statement["Resource"].to_string())));
        }
        allowed.sort();
        allowed.dedup();
        allowed
    };
    assert_eq!(allowed(&blocks("json")[0]), allowed(&file("packaging/iam/kinesis.json")));
}

#[test]
fn the_daemon_set_has_a_sound_configuration() {
    let manifest = file(DAEMON_SET);
    let (_, block) = manifest.split_once("  agent.toml: |\n").unwrap();
    let block: String =
        block.split("---").next().unwrap().lines().map(|line| line.trim_start_matches("    ").to_owned() + "\n").collect();
    let config = Config::parse(&block, "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // Probes come from outside the pod.
    assert!(config.agent.admin.unwrap().ip().is_unspecified());
    assert!(manifest.contains(&format!("containerPort: {}", config.agent.admin.unwrap().port())));
    assert!(matches!(config.flows[0].parse.as_ref().unwrap().format, Format::Cri));
    // Who is killed before it has delivered what it read has something to look up at its next start.
    let (_, grace) = manifest.split_once("terminationGracePeriodSeconds: ").unwrap();
    let grace: u64 = grace.lines().next().unwrap().parse().unwrap();
    assert!(grace > config.agent.drain_timeout.as_secs() + 10);
}

#[test]
fn kubernetes_accepts_the_daemon_set() {
    let Some(mut validate) = checker("kubernetes_accepts_the_daemon_set", "kubernetes-validate") else { return };
    run(validate.args(["--strict", DAEMON_SET])).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    let Some(mut hadolint) = checker("hadolint_finds_nothing_in_the_dockerfile", "hadolint") else { return };
    run(hadolint.arg(DOCKERFILE)).unwrap_or_else(|error| panic!("{error}"));
}
