//! `[flow.encryption]`: which keys, for how long, with what context.

use super::*;

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn written(lines: &str) -> String {
    format!("{SOUND}aggregate = 'lines'\n[flow.encryption]\n{lines}\n")
}

fn encryption(lines: &str) -> Encryption {
    Config::parse(&written(lines), "agent.toml").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows[0]
        .encryption
        .clone()
        .unwrap()
}

#[test]
fn without_the_section_nothing_is_encrypted() {
    assert_eq!(Config::parse(SOUND, "agent.toml").unwrap().flows[0].encryption, None);
}

#[test]
fn all_but_the_key_has_its_default() {
    let read = encryption(&format!("kms_key = '{ARN}'"));
    assert_eq!((read.kms_key.as_str(), read.kms_region(), read.context.len()), (ARN, "eu-west-1", 0));
    assert_eq!((read.max_age, read.max_messages, read.max_bytes), (Duration::from_secs(300), 1_000_000, 1 << 30));
}

#[test]
fn bounds_and_context_are_as_written() {
    let lines = "context = { stream = 'access', app = 'x' }\nmax_age = '1 d'\nmax_messages = 4294967295\nmax_bytes = '16 MiB'";
    let read = encryption(&format!("kms_key = '{ARN}'\n{lines}"));
    let context: Vec<_> = read.context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(context, [("app", "x"), ("stream", "access")]);
    assert_eq!((read.max_age.as_secs(), read.max_messages, read.max_bytes), (86_400, u32::MAX as usize, 16 << 20));
}

#[test]
fn keys_are_arns_of_keys_or_aliases() {
    for key in [
        "arn:aws:kms:us-east-1:111122223333:alias/team/logs_1",
        "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ] {
        assert_eq!(encryption(&format!("kms_key = '{key}'")).kms_key, key);
    }
    for key in [
        "",
        "alias/logs",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:us-east-1:111122223333:logs",
        "arn:aws:kms:us-east-1:111122223333:key/",
        "arn:aws:kms:us-east-1:111122223333:key/a b",
        "arn:aws:kms::111122223333:key/1234abcd",
        "arn:aws:kms:us-east-1:1111:key/1234abcd",
        "arn:aws:s3:us-east-1:111122223333:key/1234abcd",
    ] {
        let told = mistakes(&written(&format!("kms_key = '{key}'")));
        assert!(matches!(&told[..], [one] if one.contains("`kms_key` is not the ARN of a key of KMS")), "{key}: {told:?}");
    }
}

#[test]
fn mistakes_have_their_place() {
    let line = SOUND.lines().count() + 3;
    let key = format!("kms_key = '{ARN}'");
    let long = "v".repeat(2100);
    for (lines, mistake) in [
        (
            String::new(),
            format!(
                "{}:1 `kms_key` is missing in [flow.encryption] (write the ARN of a symmetric key, \
             \"arn:aws:kms:us-east-1:111122223333:key/…\", or of an alias, \"…:alias/…\")",
                line - 1
            ),
        ),
        (
            format!("{key}\ncontext = {{ aws-crypto-public-key = 'x' }}"),
            format!(
                "{}:13 `aws-crypto-public-key` cannot be a name in `context` \
             (names that begin with \"aws-crypto-\" are the AWS Encryption SDK's own)",
                line + 1
            ),
        ),
        (
            format!("{key}\ncontext = {{ '' = 'x' }}"),
            format!("{}:13 a pair of `context` has no name (write context = {{ app = \"…\" }})", line + 1),
        ),
        (
            format!("{key}\ncontext = {{ app = 1 }}"),
            format!("{}:19 `app` must be a string, not a number (write it in quotes)", line + 1),
        ),
        (
            format!("{key}\ncontext = {{ app = '{long}' }}"),
            format!(
                "{}:13 `context` has 2109 bytes as it is written in a record \
             (every record has all of it: write at most 2048 bytes)",
                line + 1
            ),
        ),
        (format!("{key}\nmax_age = '10 ms'"), format!("{}:11 `max_age` is out of range: 10 ms (from 1 s to 1 d)", line + 1)),
        (format!("{key}\nmax_messages = 0"), format!("{}:16 `max_messages` is out of range: 0 (from 1 to 4294967295)", line + 1)),
        (
            format!("{key}\nmax_bytes = '1 MiB'"),
            format!("{}:13 `max_bytes` is out of range: 1 MiB (from 16 MiB to 1024 GiB)", line + 1),
        ),
    ] {
        assert_eq!(mistakes(&written(&lines)), [mistake]);
    }
}

#[test]
fn aggregates_cannot_be_encrypted() {
    let source = format!("{SOUND}[flow.encryption]\nkms_key = '{ARN}'\n");
    let help = "no reader finds the records in an encrypted aggregate: write aggregate = \"lines\" or \"none\" in [flow.kinesis]";
    let mistake = format!("20:1 [flow.encryption] cannot be used with aggregates of the KPL ({help})");
    assert_eq!(mistakes(&source), [mistake]);
}

/// A record grows when it is encrypted.
#[test]
fn lines_are_as_long_as_they_fit_a_record_encrypted() {
    let flow =
        |rest: &str| Config::parse(&format!("{SOUND}aggregate = 'none'\n{rest}").replace("max_bytes = \"64 KiB\"", ""), "a");
    let max_bytes = |rest: &str| flow(rest).unwrap_or_else(|mistakes| panic!("{mistakes}")).flows[0].line.max_bytes;
    assert_eq!(max_bytes("") - max_bytes(&format!("[flow.encryption]\nkms_key = '{ARN}'\n")), 4096);
}
