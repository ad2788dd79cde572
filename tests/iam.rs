//! The policies in `packaging/iam` allow what the agent calls, and nothing else.
#![allow(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

/// Actions of policies that no code of ours calls by the SDK: which, the file that is the reason, and what stands there.
const NOT_CALLED_HERE: &[(&str, &str, &str)] = &[
    // Kinesis calls them for whoever writes or reads an encrypted stream.
    ("kms:Decrypt", "src/outcome/advice.rs", "\"kms:Decrypt\""),
    ("kms:GenerateDataKey", "src/outcome/advice.rs", "\"kms:GenerateDataKey\""),
    // The SDK's provider of credentials calls it.
    ("sts:AssumeRole", "src/aws/load.rs", "AssumeRoleProvider::builder"),
    // EKS takes on the role for the pods, and names them.
    ("sts:TagSession", "packaging/container/daemonset.yaml", "EKS Pod Identity"),
    ("s3:GetObject", "packaging/fleet/install", "aws s3 cp"),
];

/// What all policies speak of. `444455556666` is another account.
const ARNS: &[&str] = &[
    "arn:aws:kinesis:us-east-1:111122223333:stream/access-logs",
    "arn:aws:firehose:us-east-1:111122223333:deliverystream/access-logs",
    "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "arn:aws:iam::444455556666:role/logs",
    "arn:aws:iam::111122223333:role/web",
    // Packages of all versions.
    "arn:aws:s3:::amzn-s3-demo-bucket/kinetail/*",
];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// All files below a folder of the repository.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Policies by the names of their files.
fn policies() -> BTreeMap<String, Value> {
    let parsed = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let policy = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, policy)
    };
    files_below("packaging/iam").into_iter().map(parsed).collect()
}

fn statements(policy: &Value) -> &[Value] {
    policy["Statement"].as_array().unwrap()
}

/// A string, or the strings of a list.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_str().unwrap()).collect(),
        value => vec![value.as_str().unwrap()],
    }
}

fn actions(policy: &Value) -> BTreeSet<&str> {
    statements(policy).iter().flat_map(|statement| strings(&statement["Action"])).collect()
}

/// The actions that a source file calls by way of the SDK: one for each `client.operation()`, in files that know one of its crates.
fn actions_called_in(code: &str) -> BTreeSet<String> {
    let service = Regex::new(r"\baws_sdk_(\w+)").unwrap();
    let services: BTreeSet<&str> = service.captures_iter(code).map(|found| found.extract::<1>().1[0]).collect();
    let sent = Regex::new(r"\.send\(\)").unwrap().find_iter(code).count();
    let Some(service) = services.first() else {
        assert_eq!(sent, 0, "a request is sent, and nobody knows to which service: {code}");
        return BTreeSet::new();
    };
    let operation = Regex::new(r"\bclient\s*\.\s*([a-z]+_[a-z_]+)\(\)").unwrap();
    let found: Vec<&str> = operation.captures_iter(code).map(|found| found.extract::<1>().1[0]).collect();
    assert!(found.is_empty() || services.len() == 1, "one service in a file: {services:?}");
    assert_eq!(sent, found.len(), "of {service} requests are sent that were not made as expected; found {found:?}");
    found.iter().map(|name| format!("{service}:{}", pascal_case(name))).collect()
}

fn pascal_case(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// All that the agent can call. The embedded Kinesis of `--local` asks for no permission.
fn actions_called() -> BTreeSet<String> {
    let is_of_the_agent = |path: &PathBuf| {
        let path = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        let is_local = path.starts_with("local") || path == Path::new("local.rs");
        !is_local && !path.iter().any(|part| part == "tests" || part == "tests.rs")
    };
    let code = |path: PathBuf| fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap().to_owned();
    files_below("src").into_iter().filter(is_of_the_agent).flat_map(|path| actions_called_in(&code(path))).collect()
}

#[test]
fn each_policy_is_one_of_iam_and_allows_certain_actions_on_certain_resources() {
    let policies = policies();
    assert!(policies.len() > 10);
    for (name, policy) in &policies {
        assert_eq!(policy["Version"], "2012-10-17", "{name}");
        for statement in statements(policy) {
            assert_eq!(statement["Effect"], "Allow", "{name}");
            assert!(!statement["Sid"].as_str().unwrap().contains(|c: char| !c.is_ascii_alphanumeric()), "{name}");
            assert!(strings(&statement["Action"]).iter().all(|action| !action.contains('*')), "{name}");
            // A trust policy says who, any other what.
            assert_eq!(name.starts_with("trust-"), statement["Principal"].is_object(), "{name}");
            assert_eq!(name.starts_with("trust-"), statement["Resource"].is_null(), "{name}");
        }
    }
}

#[test]
fn all_policies_speak_of_the_same_things() {
    let arn = Regex::new(r#""(arn:[^"]*)""#).unwrap();
    let mut seen = BTreeSet::new();
    for (name, policy) in policies() {
        for found in arn.captures_iter(&policy.to_string()) {
            let found = found.extract::<1>().1[0];
            assert!(ARNS.contains(&found), "{name}: {found}");
            seen.insert(found.to_owned());
        }
    }
    assert_eq!(seen.len(), ARNS.len());
}

#[test]
fn what_the_agent_calls_is_allowed() {
    let (policies, called) = (policies(), actions_called());
    let allowed: BTreeSet<&str> = policies.values().flat_map(actions).collect();
    assert!(called.contains("kinesis:PutRecords") && called.contains("firehose:PutRecordBatch"), "{called:?}");
    for action in &called {
        assert!(allowed.contains(action.as_str()), "{action} is called, and no policy allows it");
    }
}

#[test]
fn what_is_allowed_is_called() {
    let called = actions_called();
    for (name, policy) in policies() {
        for action in actions(&policy) {
            let elsewhere = NOT_CALLED_HERE.iter().find(|(known, ..)| *known == action);
            let has_reason = elsewhere.is_some_and(|(_, path, text)| file(path).contains(text));
            assert!(called.contains(action) || has_reason, "{name} allows {action}, which nothing needs");
        }
    }
}

/// The parts of a policy are there by themselves, for who does not want all of them.
#[test]
fn the_policy_for_a_stream_is_the_sum_of_its_parts() {
    let policies = policies();
    let parts = ["kinesis-put.json", "kinesis-shards.json", "kinesis-read-back.json"];
    let parts: Vec<&Value> = parts.iter().flat_map(|part| statements(&policies[*part])).collect();
    assert_eq!(statements(&policies["kinesis.json"]).iter().collect::<Vec<_>>(), parts);
}

#[test]
fn readme_names_each_policy_and_each_action() {
    let readme = file("README.md");
    let section = readme.split("\n## Permissions\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for (name, policy) in policies() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
        for action in actions(&policy) {
            assert!(readme.contains(&format!("`{action}`")), "{name}: {action}");
        }
    }
    for named in Regex::new(r"`([a-z-]+\.json)`").unwrap().captures_iter(section) {
        let named = named.extract::<1>().1[0];
        assert!(policies().contains_key(named), "README names {named}, which is not there");
    }
}

#[test]
fn calls_are_found_however_they_are_written() {
    let called = |code: &str| actions_called_in(&format!("use aws_sdk_kinesis::Client;\n{code}"));
    let put = BTreeSet::from(["kinesis:PutRecords".to_owned()]);
    assert_eq!(called("made.client.put_records().stream_name(x).send().await"), put);
    assert_eq!(called("made\n    .client\n    .put_records()\n    .send()"), put);
    assert_eq!(called("self.client.get().await"), BTreeSet::new());
    assert_eq!(actions_called_in("sender.send(record).await"), BTreeSet::new());
}
