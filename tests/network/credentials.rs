//! Whose keys requests are signed by, and what happens when these expire.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{HOUR, ROLE, Story};
use crate::common::{Imds, Issuer, SECRET};

/// What is valid for so long serves for one request: the SDK takes what expires so soon for expired.
const MOMENT: Duration = Duration::from_secs(5);

/// No credentials but those that a story brings.
fn without_keys(command: &mut Command) {
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("KINETAIL_LOG", "kinetail=trace,error");
}

/// Keys of the environment, and in the log all that there is to be told.
fn with_secret(command: &mut Command) {
    command.env("AWS_SECRET_ACCESS_KEY", "Secret0fTheEnvironment").env("KINETAIL_LOG", "kinetail=trace,error");
}

/// A role is taken on with the credentials that there are, the external ID and the session's name as they are written; when
/// its credentials expire there are new ones, and nothing is lost meanwhile.
#[test]
fn a_role_is_taken_on_again_and_again() {
    let wanted = ["POST / test ", "Action=AssumeRole&", "logs", "ExternalId=outside%3A1", "RoleSessionName=web-1", "role%2Flogs"];
    let sts = Issuer::start(MOMENT, &wanted);
    let mut story = Story::new(&format!(
        "endpoints.kinesis = \"KINESIS\"\nendpoints.sts = \"{}\"\n\
         assume_role = {{ arn = \"{ROLE}\", external_id = \"outside:1\", session_name = \"web-1\" }}",
        sts.url()
    ));
    let agent = story.start(with_secret);
    for from in ["a", "b", "c"] {
        story.ship(&agent, from);
    }
    assert!(sts.issued_count() >= 3, "{:?}", sts.requests());
    let keys = story.kinesis.door.keys();
    assert!(keys.len() >= 3 && keys.iter().all(|key| key.starts_with("ISSUED")), "{keys:?}");
    story.keeps(&agent, &[SECRET, "Secret0fTheEnvironment"]);
    agent.stop();
}

/// Without a name in the configuration the session has that of the host; a flow can have a role of its own.
#[test]
fn a_flow_can_have_a_role_of_its_own() {
    let sts = Issuer::start(HOUR, &["Action=AssumeRole&", "RoleSessionName=kinetail-", "role%2Fother"]);
    let mut story = Story::new("");
    story.configure(
        &format!("region = \"us-east-1\"\nendpoints.kinesis = \"KINESIS\"\nassume_role.arn = \"{ROLE}\""),
        &format!("[flow.aws]\nendpoints.sts = \"{}\"\nassume_role.arn = \"arn:aws:iam::999999999999:role/other\"\n", sts.url()),
    );
    let agent = story.start(|_| {});
    story.ship(&agent, "a");
    story.ship(&agent, "b");
    assert_eq!(sts.issued_count(), 1, "{:?}", sts.requests());
    assert_eq!(story.kinesis.door.keys(), ["ISSUED1"]);
    agent.stop();
}

/// A role that may not be taken on pauses the flow, and the reason is told.
#[test]
fn a_role_that_is_refused_pauses_the_flow() {
    let sts = Issuer::start(HOUR, &["ExternalId=right"]);
    let role = |id: &str| {
        format!(
            "endpoints.kinesis = \"KINESIS\"\nendpoints.sts = \"{}\"\nassume_role = {{ arn = \"{ROLE}\", external_id = \"{id}\" }}",
            sts.url()
        )
    };
    let mut story = Story::new(&role("wrong"));
    let agent = story.start(with_secret);
    story.write("a");
    agent.wait_for_log("flow is paused");
    let health = agent.wait_health(503);
    assert!(health.contains("Credentials") && health.contains("not authorized to perform: sts:AssumeRole"), "{health}");
    story.keeps(&agent, &[SECRET, "Secret0fTheEnvironment"]);
    agent.abort();
    story.configure(&role("right"), "");
    let agent = story.start(|_| {});
    story.settle(&agent);
    agent.stop();
}

/// EKS: a token in a file is exchanged for credentials, and the configured endpoint is asked.
#[test]
fn a_web_identity_is_exchanged_for_credentials() {
    let sts = Issuer::start(MOMENT, &["Action=AssumeRoleWithWebIdentity&", "WebIdentityToken=TokenOfTheCluster"]);
    let mut story = Story::new(&format!("endpoints.kinesis = \"KINESIS\"\nendpoints.sts = \"{}\"", sts.url()));
    let token = story.place.folder().join("token");
    fs::write(&token, "TokenOfTheCluster").unwrap();
    let agent = story.start(|command| {
        without_keys(command);
        command.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", ROLE);
    });
    story.ship(&agent, "a");
    story.ship(&agent, "b");
    assert!(story.kinesis.door.keys().len() >= 2, "{:?}", story.kinesis.door.keys());
    story.keeps(&agent, &[SECRET, "TokenOfTheCluster"]);
    agent.stop();
}

/// A profile that takes on a role by itself, be it named by the environment or by the configuration, asks the configured
/// endpoint, too.
#[test]
fn a_profile_can_take_on_a_role() {
    let sts = Issuer::start(HOUR, &["POST / BASE ", "Action=AssumeRole&", "ExternalId=of-the-profile"]);
    let mut story = Story::new("");
    let folder = story.place.folder().join(".aws");
    fs::create_dir(&folder).unwrap();
    let base = format!("[profile base]\naws_access_key_id = BASE\naws_secret_access_key = {SECRET}\n");
    let role = format!("[profile logs]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = of-the-profile\n");
    fs::write(folder.join("config"), base + &role).unwrap();
    let aws = format!("region = \"us-east-1\"\nendpoints.kinesis = \"KINESIS\"\nendpoints.sts = \"{}\"", sts.url());
    for (from, key) in [("environment", ""), ("configuration", "profile = \"logs\"")] {
        story.configure(&format!("{aws}\n{key}"), "");
        let agent = story.start(|command| {
            without_keys(command);
            command.env("AWS_PROFILE", if key.is_empty() { "logs" } else { "base" });
        });
        story.ship(&agent, from);
        story.keeps(&agent, &[SECRET]);
        agent.stop();
    }
    assert_eq!(story.kinesis.door.keys(), ["ISSUED1", "ISSUED2"], "{:?}", sts.requests());
}

/// ECS, and pod identities of EKS: the container has an address to ask, and a token.
#[test]
fn a_container_has_credentials() {
    let service = Issuer::start(MOMENT, &["GET /v2/credentials TokenOfTheTask"]);
    // The environment has a proxy, which is not for addresses of the host.
    let mut story = Story::new("endpoints.kinesis = \"KINESIS\"");
    let agent = story.start(|command| {
        without_keys(command);
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v2/credentials", service.url()));
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "TokenOfTheTask").env("HTTP_PROXY", "http://127.0.0.1:9");
    });
    story.ship(&agent, "a");
    story.ship(&agent, "b");
    assert!(service.issued_count() >= 2, "{:?}", service.requests());
    story.keeps(&agent, &[SECRET, "TokenOfTheTask"]);
    agent.stop();
}

/// EC2: region and credentials are those of the instance, at the configured address.
#[test]
fn an_instance_has_region_and_credentials() {
    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
    let imds = Imds::start();
    imds.say("/latest/meta-data/placement/region", "eu-north-1");
    imds.say(CREDENTIALS, "role-of-the-instance");
    imds.say(
        &format!("{CREDENTIALS}role-of-the-instance"),
        &format!(
            r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "INSTANCE", "SecretAccessKey": "{SECRET}",
                "Token": "{SECRET}", "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2020-01-01T00:00:00Z"}}"#
        ),
    );
    let mut story = Story::new(&format!("endpoints.kinesis = \"KINESIS\"\nendpoints.ec2_metadata = \"{}\"", imds.url()));
    let agent = story.start(|command| {
        without_keys(command);
        command.env_remove("AWS_EC2_METADATA_DISABLED").env_remove("AWS_REGION").env("HTTP_PROXY", "http://127.0.0.1:9");
    });
    story.ship(&agent, "a");
    assert_eq!(story.kinesis.door.keys(), ["INSTANCE"]);
    assert!(imds.requests().contains(&"GET /latest/meta-data/placement/region".to_owned()), "{:?}", imds.requests());
    story.keeps(&agent, &[SECRET]);
    agent.stop();
}

fn profile(story: &Story, text: &str) {
    let folder = story.place.folder().join(".aws");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("credentials"), text).unwrap();
}

/// Keys in a file that are replaced while the agent runs: the old ones are refused, the file is read anew, nothing is lost
/// and nothing is sent twice. The profile that the configuration names goes before the keys of the environment.
#[test]
fn keys_that_are_refused_are_read_anew() {
    let mut story = Story::new("endpoints.kinesis = \"KINESIS\"\nprofile = \"logs\"");
    let keys = |key: &str| format!("[logs]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n");
    profile(&story, &keys("FIRST"));
    let agent = story.start(with_secret);
    story.ship(&agent, "a");
    profile(&story, &keys("SECOND"));
    story.ship(&agent, "b");
    assert_eq!(story.kinesis.door.keys(), ["FIRST"], "what works is not looked for");
    story.kinesis.door.expire("FIRST");
    story.ship(&agent, "c");
    assert_eq!(story.kinesis.door.keys(), ["FIRST", "SECOND"]);
    assert!(agent.stderr().contains("credentials are not accepted, they are loaded anew"), "{}", agent.stderr());
    assert!(!agent.stderr().contains("flow is paused"), "{}", agent.stderr());

    // New ones that come late: the flow is paused until then.
    story.kinesis.door.expire("SECOND");
    story.write("d");
    agent.wait_for_log("flow is paused");
    assert!(agent.wait_health(503).contains("ExpiredTokenException"));
    profile(&story, &keys("THIRD"));
    story.settle(&agent);
    assert_eq!(story.kinesis.door.keys().last().map(String::as_str), Some("THIRD"));
    story.keeps(&agent, &[SECRET, "Secret0fTheEnvironment"]);
    agent.stop();
}

/// Nobody else's credentials are used when the profile that the configuration names is not there.
#[test]
fn a_profile_that_is_not_there_pauses_the_flow() {
    let mut story = Story::new("endpoints.kinesis = \"KINESIS\"\nprofile = \"logs\"");
    profile(&story, "[other]\naws_access_key_id = OTHER\naws_secret_access_key = x\n");
    let agent = story.start(|_| {});
    story.write("a");
    let health = agent.wait_health(503);
    assert!(health.contains("Credentials") && health.contains("logs"), "{health}");
    assert_eq!(story.kinesis.door.keys(), [""; 0]);
    agent.abort();
}
