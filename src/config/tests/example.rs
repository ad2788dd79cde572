//! `agent.toml.example`: sound as it stands, complete, and true about the defaults.

use proptest::prelude::*;

use super::*;
use crate::limits::{ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, JOINED_LINES_DEFAULT, JOINING_TIMEOUT_DEFAULT};

const EXAMPLE: &str = include_str!("../../../agent.toml.example");

#[test]
fn the_example_is_a_sound_configuration() {
    let config = Config::parse(EXAMPLE, "agent.toml.example").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.flows.len(), 1);
    assert!(config.flows[0].parse.is_none() && config.flows[0].multiline.is_none());
}

/// "Lines that begin with `#` and no space are settings with their defaults, or examples where there is no default".
pub(super) fn example_with_all_settings() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(uncomment).collect()
}

#[test]
fn the_example_shows_every_key() {
    let source = example_with_all_settings();
    let entries = DeTable::parse(&source).unwrap();
    let findings = Findings::default();
    Table::read_top(&findings, entries.get_ref(), |table| top::read(table, &source, &Role::Main));
    for key in findings.known_keys() {
        assert!(source.lines().any(|line| line.contains(key) && !line.starts_with('#')), "`{key}` is not in the example");
    }
}

#[test]
fn what_the_example_shows_as_defaults_are_the_defaults() {
    let mut spelt_out =
        Config::parse(&example_with_all_settings(), "agent.toml.example").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(spelt_out.agent.state_dir.take().as_deref(), Some(Path::new(STATE_DIR_DEFAULT)));
    // Half as many as there are cores.
    assert_eq!(spelt_out.agent.threads.take(), Some(1));
    let aws = std::mem::take(&mut spelt_out.aws);
    assert_eq!((aws.connect_timeout, aws.attempt_timeout), (Some(CONNECT_TIMEOUT), Some(ATTEMPT_TIMEOUT)));
    assert_eq!((aws.use_fips, aws.use_dualstack), (Some(false), Some(false)));
    assert_eq!(aws.wire, Some(WireSetting::Auto));
    assert_eq!(aws.account_id_endpoint_mode, Some(AccountIdEndpointMode::Preferred));
    // None of them has a default.
    let Endpoints { kinesis, firehose, sts, cloudwatch, kms, ec2_metadata } = aws.endpoints;
    assert!([kinesis, firehose, sts, cloudwatch, kms, ec2_metadata].iter().all(Option::is_some));
    assert!(
        aws.profile.is_some()
            && aws.assume_role.is_some()
            && aws.proxy.is_some()
            && aws.no_proxy.is_some()
            && aws.ca_file.is_some()
    );
    spelt_out.aws.region = aws.region;
    assert_eq!(spelt_out.flows[0].aws.region.as_deref(), Some("eu-west-1"));
    for flow in &mut spelt_out.flows {
        flow.aws = spelt_out.aws.clone();
    }
    assert_eq!(spelt_out.flows[0].ignore_older.take(), Some(Duration::from_secs(7 * 24 * 60 * 60)));
    let to_firehose = spelt_out.flows.pop().expect("the example shows a flow to Firehose");
    let (encryption, to_firehose) = (to_firehose.encryption.expect("the example shows a key"), to_firehose.delivery);
    assert_eq!(to_firehose.destination, Destination::Firehose("access-logs".to_owned()));
    let written = "[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.firehose]\ndelivery_stream = 'access-logs'\n";
    let delivery = Config::parse(written, "agent.toml").unwrap().flows.remove(0).delivery;
    assert_eq!(format!("{to_firehose:?}"), format!("{delivery:?}"));
    let multiline = spelt_out.flows[0].multiline.take().expect("the example shows a preset");
    assert!(matches!(multiline.joining, Joining::Preset(Preset::Java)));
    assert_eq!((multiline.timeout, multiline.max_lines), (JOINING_TIMEOUT_DEFAULT, JOINED_LINES_DEFAULT));
    let parse = spelt_out.flows[0].parse.take().expect("the example shows a pattern");
    let Format::Regex(patterns) = &parse.format else { panic!("the example shows a pattern") };
    assert!(patterns[0].is_match(b"Nov 21 12:18:53 web-1 sshd[4242]: Accepted publickey for core"));
    let filter = std::mem::take(&mut spelt_out.flows[0].filter);
    assert_eq!((filter.keep.len(), filter.drop.len(), filter.sample.map(|sample| sample.rate)), (2, 2, Some(0.1)));
    let record = std::mem::take(&mut spelt_out.flows[0].record);
    assert_eq!((record.output, record.add.len(), record.mask.len()), (Output::Json, 3, 2));
    assert_eq!(record.terminator, "");
    let context = std::collections::BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
    let (max_age, max_messages, max_bytes) = (Duration::from_secs(300), 1_000_000, 1 << 30);
    assert_eq!(encryption, Encryption { kms_key: encryption.kms_key.clone(), context, max_age, max_messages, max_bytes });
    let as_it_stands = Config::parse(EXAMPLE, "agent.toml.example").unwrap();
    assert_eq!(format!("{spelt_out:?}"), format!("{as_it_stands:?}"));
}

proptest! {
    /// Whatever is written, there is a configuration or a list of mistakes that can be shown.
    #[test]
    fn any_text_is_read_or_told_to_be_wrong(
        at in any::<prop::sample::Index>(),
        removed_count in 0usize..20,
        inserted in "[\\[\\]'\"={}#$.,\\n\\t a-z0-9\u{e9}\u{1f980}\\x00]{0,8}",
    ) {
        let source = example_with_all_settings();
        let mut characters: Vec<char> = source.chars().collect();
        let start = at.index(characters.len());
        let end = (start + removed_count).min(characters.len());
        characters.splice(start..end, inserted.chars());
        if let Err(mistakes) = Config::parse(&characters.into_iter().collect::<String>(), "agent.toml") {
            prop_assert!(mistakes.iter().len() > 0);
            prop_assert!(mistakes.render(true).contains("error"));
        }
    }
}

/// Whoever copies a configuration out of README has a sound one.
#[test]
fn the_configurations_in_readme_are_sound() {
    let readme = include_str!("../../../README.md");
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 4, "{} of them", blocks.len());
    for block in blocks {
        Config::parse(block, "README.md").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}
