use super::*;
use crate::config::Config;

fn parse(aws: &str) -> Result<Config, crate::config::Mistakes> {
    let source = format!("[aws]\n{aws}\n[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n");
    Config::parse(&source, "agent.toml")
}

#[track_caller]
fn check_mistake(aws: &str, place: (usize, usize), message: &str) {
    let mistakes = parse(aws).expect_err(aws);
    let found: Vec<_> = mistakes.iter().map(|mistake| (mistakes.position(mistake), mistake.message.as_str())).collect();
    assert_eq!(found, [(place, message)], "{aws}");
}

#[test]
fn all_of_it_is_read() {
    let config = parse(
        "region = 'eu-west-1'\nprofile = 'logs'\nuse_fips = true\nuse_dualstack = false\naccount_id_endpoint_mode = 'required'\n\
         assume_role = { arn = 'arn:aws-cn:iam::123456789012:role/a/b', external_id = 'a:b/c', session_name = 'x@y' }\n\
         endpoints.sts = 'https://sts'\nendpoints.kms = 'http://kms:1'\nendpoints.firehose = 'https://f'\n\
         endpoints.cloudwatch = 'https://c'\n\
         proxy = 'http://user:secret@proxy:3128'\nno_proxy = ['10.0.0.0/8', '.internal', '::1', 'fd00::/8']\n\
         ca_file = '/ca.pem'\nconnect_timeout = '1 s'\nattempt_timeout = '2 min'\nwire = 'json'",
    );
    let aws = config.unwrap().aws;
    let expected = Aws {
        region: Some("eu-west-1".to_owned()),
        profile: Some("logs".to_owned()),
        assume_role: Some(AssumeRole {
            arn: "arn:aws-cn:iam::123456789012:role/a/b".to_owned(),
            external_id: Some("a:b/c".to_owned()),
            session_name: Some("x@y".to_owned()),
        }),
        endpoints: Endpoints {
            kinesis: None,
            firehose: Some("https://f".to_owned()),
            sts: Some("https://sts".to_owned()),
            cloudwatch: Some("https://c".to_owned()),
            kms: Some("http://kms:1".to_owned()),
            ec2_metadata: None,
        },
        use_fips: Some(true),
        use_dualstack: Some(false),
        account_id_endpoint_mode: Some(AccountIdEndpointMode::Required),
        proxy: Some(Proxy::At(ProxyUrl("http://user:secret@proxy:3128".to_owned()))),
        no_proxy: Some(["10.0.0.0/8", ".internal", "::1", "fd00::/8"].map(str::to_owned).to_vec()),
        ca_file: Some("/ca.pem".into()),
        connect_timeout: Some(Duration::from_secs(1)),
        attempt_timeout: Some(Duration::from_secs(120)),
        wire: Some(WireSetting::Json),
    };
    assert_eq!(aws, expected);
    assert_eq!((aws.connect_timeout(), aws.attempt_timeout()), (Duration::from_secs(1), Duration::from_secs(120)));
    assert_eq!(Aws::default().connect_timeout(), CONNECT_TIMEOUT);
    assert_eq!(Aws::default().attempt_timeout(), ATTEMPT_TIMEOUT);
    assert_eq!((aws.wire(), Aws::default().wire()), (WireSetting::Json, WireSetting::Auto));
}

/// Key by key; a role is one key, an endpoint is one.
#[test]
fn what_a_flow_says_goes_before_what_all_say() {
    let written = parse(
        "region = 'us-east-1'\nproxy = 'off'\nuse_fips = true\nattempt_timeout = '9 s'\nwire = 'json'\nendpoints.sts = 'https://sts'\n\
         endpoints.kinesis = 'https://all'\n\
         assume_role = { arn = 'arn:aws:iam::123456789012:role/all', external_id = 'all' }",
    );
    let base = written.unwrap().aws;
    let flow = parse(
        "region = 'eu-west-1'\nuse_fips = false\nprofile = 'p'\nendpoints.kinesis = 'https://flow'\nno_proxy = 'a'\n\
         assume_role = { arn = 'arn:aws:iam::123456789012:role/flow' }",
    );
    let merged = flow.unwrap().aws.over(&base);
    assert_eq!(merged.wire(), WireSetting::Json);
    assert_eq!((merged.region.as_deref(), merged.profile.as_deref()), (Some("eu-west-1"), Some("p")));
    assert_eq!((merged.proxy, merged.use_fips, merged.use_dualstack), (Some(Proxy::Off), Some(false), None));
    assert_eq!((merged.no_proxy, merged.attempt_timeout), (Some(vec!["a".to_owned()]), Some(Duration::from_secs(9))));
    assert_eq!(merged.endpoints.kinesis.as_deref(), Some("https://flow"));
    assert_eq!(merged.endpoints.sts.as_deref(), Some("https://sts"));
    let role = merged.assume_role.unwrap();
    assert_eq!((role.arn.as_str(), role.external_id), ("arn:aws:iam::123456789012:role/flow", None));
    assert_eq!(Aws::default().over(&base), base);
    assert_eq!(base.over(&Aws::default()), base);
}

#[test]
fn a_flow_has_all_keys_of_aws() {
    let source = "[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n[flow.aws]\nregion = 'eu-west-1'\n\
                  endpoints.kinesis = 'http://a'\n[flow.aws.assume_role]\narn = 'arn:aws:iam::123456789012:role/r'\n";
    let flow = Config::parse(source, "agent.toml").unwrap().flows.remove(0);
    assert_eq!(flow.aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(flow.aws.endpoints.kinesis.as_deref(), Some("http://a"));
    assert!(flow.aws.assume_role.is_some());
}

#[test]
fn mistakes_have_their_place() {
    for arn in [
        "",
        "logs",
        "arn:aws:iam::123456789012:user/logs",
        "arn:aws:iam::12345678901:role/logs",
        "arn:aws:iam::12345678901x:role/logs",
        "arn:aws:iam:us-east-1:123456789012:role/logs",
        "arn:aws:sts::123456789012:assumed-role/logs/a",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/a b",
        "arn:gcp:iam::123456789012:role/a",
    ] {
        check_mistake(&format!("assume_role.arn = '{arn}'"), (2, 19), "`arn` is not the ARN of a role");
    }
    let role = "assume_role.arn = 'arn:aws:iam::123456789012:role/logs'\nassume_role";
    for name in ["", "a", "a b", "a/b", "a:b", "ä", &"a".repeat(65)] {
        check_mistake(&format!("{role}.session_name = '{name}'"), (3, 28), "`session_name` cannot be used");
    }
    for id in ["", "a", "a b", "a#b", &"a".repeat(1225)] {
        check_mistake(&format!("{role}.external_id = '{id}'"), (3, 27), "`external_id` cannot be used");
    }
    for name in ["ab", "_+=,.@-", &"a".repeat(64)] {
        assert!(parse(&format!("{role}.session_name = '{name}'")).is_ok(), "{name}");
    }
    assert!(parse(&format!("{role}.external_id = '{}'", "a".repeat(1224))).is_ok());
    check_mistake("assume_role = { external_id = 'ab' }", (2, 15), "`arn` is missing in [aws.assume_role]");
    for (key, column) in [("kinesis", 21), ("firehose", 22), ("sts", 17), ("cloudwatch", 24), ("kms", 17), ("ec2_metadata", 26)] {
        for url in ["", "sts", "ftp://a", "https://", "https://user:secret@a"] {
            check_mistake(&format!("endpoints.{key} = '{url}'"), (2, column), &format!("`{key}` must be an http or https URL"));
        }
    }
    for url in ["", "on", "proxy:3128", "socks5://proxy:1080", "http://", "http://proxy:3128/path", "http://pro xy"] {
        check_mistake(&format!("proxy = '{url}'"), (2, 9), "`proxy` must be the URL of a proxy");
    }
    for host in ["", "a b", "a,b", "http://a", "a:80", "10.0.0.0/33", "::/129", "a/8"] {
        check_mistake(&format!("no_proxy = ['ok', '{host}']"), (2, 19), &format!("`no_proxy` cannot have \"{host}\""));
    }
    check_mistake("profile = ''", (2, 11), "`profile` cannot be used");
    check_mistake("profile = 'a]'", (2, 11), "`profile` cannot be used");
    check_mistake("ca_file = 'ca.pem'", (2, 11), "`ca_file` must be an absolute path");
    check_mistake("connect_timeout = '1 ms'", (2, 19), "`connect_timeout` is out of range: 1 ms");
    check_mistake("connect_timeout = '61 s'", (2, 19), "`connect_timeout` is out of range: 61 s");
    check_mistake("attempt_timeout = '999 ms'", (2, 19), "`attempt_timeout` is out of range: 999 ms");
    check_mistake("attempt_timeout = '11 min'", (2, 19), "`attempt_timeout` is out of range: 11 min");
    check_mistake("account_id_endpoint_mode = 'on'", (2, 28), "`account_id_endpoint_mode` cannot be \"on\"");
    check_mistake("use_fips = 1", (2, 12), "`use_fips` must be true or false, not a number");
}

#[test]
fn nothing_shows_the_password_of_a_proxy() {
    let proxy = ProxyUrl("http://user:secret@proxy:3128".to_owned());
    assert_eq!(proxy.to_string(), "http://proxy:3128");
    assert_eq!(format!("{proxy:?}"), "\"http://proxy:3128\"");
    assert_eq!(ProxyUrl("https://proxy".to_owned()).to_string(), "https://proxy");
    assert!(!format!("{:?}", parse("proxy = 'http://user:secret@proxy'").unwrap()).contains("secret"));
    for wrong in ["proxy = 'htp://user:secret@proxy'", "proxy = 'http://user:secret@proxy' x", "proxy = \"http://user:secret@"] {
        let mistakes = parse(wrong).unwrap_err();
        for shown in [mistakes.render(false), mistakes.render(true), format!("{mistakes}"), format!("{mistakes:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert!(mistakes.render(false).contains("user:******@"), "{}", mistakes.render(false));
    }
}

#[test]
fn passwords_are_replaced_byte_by_byte() {
    for (source, shown) in [
        ("a = 'http://u:p@h/x'", "a = 'http://u:*@h/x'"),
        ("http://u:pä@ss@h", "http://u:******@h"),
        ("http://u@h", "http://u@h"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("x\nhttp://u:p@h\nhttps://v:qq@i", "x\nhttp://u:*@h\nhttps://v:**@i"),
        ("://", "://"),
        ("none", "none"),
        // What is no URL may hold one all the same.
        ("proxy = \"me:pw@h:1\"", "proxy = \"me:**@h:1\""),
        ("[aws]\nproxy = 'http://me:p/w@h'\nx = 'a@b'", "[aws]\nproxy = 'http://me:***@h'\nx = 'a@b'"),
        ("proxy = \"http://token@h/x\"", "proxy = \"http://*****@h/x\""),
        ("aws.proxy='http:\\u002fme:pw@h'", "aws.proxy='http:***********@h'"),
        ("#proxy = \"http://name:password@h\"", "#proxy = \"http://name:********@h\""),
    ] {
        assert_eq!(without_passwords(source), shown);
        assert_eq!(shown.len(), source.len());
    }
}
