//! The way to the service: whose keys requests are signed by and what happens when these expire, proxies, certificates.
//!
//! Where tinyproxy is not installed the stories of proxies are skipped, which is said; not so in CI.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;
#[path = "network/proxies.rs"]
mod proxies;

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{Agent, Imds, Issuer, Kinesis, Place, SECRET, TlsFront, lines, verify, wait_until_or};
use kinetail::limits::ATTEMPT_TIMEOUT;

const FLOW: &str = r#"
[[flow]]
name = "f"
files = ["LOGS/*.log"]
[flow.kinesis]
stream = "s"
max_delay = "20 ms"
"#;
const ROLE: &str = "arn:aws:iam::123456789012:role/logs";
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The service has nothing against the first keys of this, and whoever uses them uses them for one request only: the SDK
/// takes what expires so soon for expired.
const MOMENT: Duration = Duration::from_secs(5);

/// A Kinesis, and a host whose logs go there.
struct Story {
    kinesis: Kinesis,
    place: Place,
    sent: Vec<String>,
}

impl Story {
    /// With these keys in `[aws]`, in which `KINESIS` stands for the URL of the service.
    fn new(aws: &str) -> Self {
        let story = Self { kinesis: Kinesis::with_stream("s", 2), place: Place::new(), sent: Vec::new() };
        story.configure(aws, "");
        story
    }

    fn configure(&self, aws: &str, of_flow: &str) {
        let agent = format!("[agent]\nstate_dir = {:?}\nadmin = \"127.0.0.1:0\"\n", self.place.state());
        let aws = format!("[aws]\n{aws}\n").replace("KINESIS", &self.kinesis.url());
        self.place.configure_verbatim(&format!("{agent}{aws}{FLOW}{of_flow}"));
    }

    /// Starts the agent with the environment that `change` leaves.
    fn start(&self, change: impl FnOnce(&mut Command)) -> Agent {
        let mut command = self.place.command(&["run", "--config", self.place.config().to_str().unwrap()]);
        change(&mut command);
        self.place.start(&mut command)
    }

    fn write(&mut self, from: &str) {
        let written = lines(from, 200);
        self.place.append("app.log", &written);
        self.sent.extend(written);
    }

    /// Waits until all that was written has arrived, and sees to it that nothing has arrived twice.
    fn settle(&self, agent: &Agent) {
        let is_settled =
            || self.kinesis.received("s").len() >= self.sent.len() && agent.figures().sum("kinetail_in_flight_bytes") == 0;
        wait_until_or("all lines have arrived", is_settled, || agent.stderr());
        verify(&self.sent, &self.kinesis.received("s"));
        assert_eq!(agent.figures().sum("kinetail_possibly_doubled_records_total"), 0);
    }

    /// Writes, and all of it arrives.
    fn ship(&mut self, agent: &Agent, from: &str) {
        self.write(from);
        self.settle(agent);
    }

    /// Neither the log nor any page has one of `secrets`.
    fn keeps(&self, agent: &Agent, secrets: &[&str]) {
        for shown in [agent.stderr(), agent.page("/metrics").1, agent.page("/health").1] {
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret} in\n{shown}");
            }
        }
    }
}

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

/// TLS by a private authority: without its certificate the flow is paused and the log says what to do; with it, it goes on.
#[test]
fn a_private_authority_is_trusted_when_the_configuration_says_so() {
    let mut story = Story::new("");
    let front = TlsFront::start(&story.kinesis.url(), &["127.0.0.1"]);
    let ca_file = story.place.folder().join("ca.pem");
    fs::write(&ca_file, front.authority()).unwrap();
    let endpoint = format!("region = \"us-east-1\"\nendpoints.kinesis = \"{}\"\n", front.url("127.0.0.1"));
    story.configure(&endpoint, "");
    let agent = story.start(|_| {});
    story.write("a");
    agent.wait_for_log("flow is paused");
    let health = agent.wait_health(503);
    assert!(health.contains("Certificate: ") && health.contains("UnknownIssuer"), "{health}");
    assert!(health.contains("set `ca_file` in [aws]"), "{health}");
    agent.abort();

    story.configure(&format!("{endpoint}ca_file = {ca_file:?}\n"), "");
    let agent = story.start(|_| {});
    story.settle(&agent);
    assert!(agent.stderr().contains("certificates of ca_file are trusted, too"), "{}", agent.stderr());
    agent.stop();

    // A certificate of another name is another's.
    story.configure(&format!("{endpoint}ca_file = {ca_file:?}\n").replace("127.0.0.1", "127.0.0.2"), "");
    let agent = story.start(|_| {});
    story.write("b");
    let health = agent.wait_health(503);
    assert!(health.contains("Certificate: ") && health.contains("127.0.0.1"), "{health}");
    agent.abort();

    // A file that is not there is not silently done without.
    fs::remove_file(&ca_file).unwrap();
    story.configure(&format!("{endpoint}ca_file = {ca_file:?}\n"), "");
    let agent = story.start(|_| {});
    let health = agent.wait_health(503);
    assert!(health.contains("CaFile: ") && health.contains(ca_file.to_str().unwrap()), "{health}");
    // It is enough that it comes.
    fs::write(&ca_file, front.authority()).unwrap();
    story.settle(&agent);
    agent.stop();
}

/// A name that does not exist is told as such.
#[test]
fn a_name_that_cannot_be_resolved_is_told() {
    let mut story = Story::new("endpoints.kinesis = \"http://kinesis.invalid\"\nproxy = \"off\"");
    let agent = story.start(|_| {});
    story.write("a");
    let health = agent.wait_health(503);
    assert!(health.contains("Dns: ") && health.contains("kinesis.invalid"), "{health}");
    agent.abort();
}

/// Somebody who takes connections and says nothing: it takes no longer than the configuration says.
#[test]
fn timeouts_are_those_of_the_configuration() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut story = Story::new(&format!("endpoints.kinesis = \"{url}\"\nattempt_timeout = \"1 s\""));
    let agent = story.start(|_| {});
    story.write("a");
    let began = Instant::now();
    assert!(agent.wait_health(503).contains("Timeout: "));
    assert!(began.elapsed() < ATTEMPT_TIMEOUT, "{:?}", began.elapsed());
    agent.abort();
}

/// Passes connections on to `service`, but for the first `count`, which it resets when it has read a little of them. It is at
/// the address 0.0.0.0.
fn resetting(service: &str, count: usize) -> String {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = service.strip_prefix("http://").unwrap().to_owned();
    thread::spawn(move || {
        for (number, near) in listener.incoming().enumerate() {
            let mut near = near.unwrap();
            if number < count {
                near.read_exact(&mut [0; 10_000]).unwrap();
                // What is not read makes it a reset.
                continue;
            }
            let mut far = TcpStream::connect(&service).unwrap();
            let (mut near_too, mut far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut near, &mut far);
                far.shutdown(Shutdown::Write)
            });
            thread::spawn(move || {
                let _ = io::copy(&mut far_too, &mut near_too);
                near_too.shutdown(Shutdown::Write)
            });
        }
    });
    url
}

fn forwarding(service: &str) -> String {
    resetting(service, 0)
}

/// A connection that is lost in the middle of a request has not brought it: it is sent again, and nobody has to think that
/// it may be there twice.
#[test]
fn what_was_cut_off_is_known_not_to_be_there() {
    let mut story = Story::new("");
    let url = resetting(&story.kinesis.url(), 3);
    story.configure(&format!("region = \"us-east-1\"\nendpoints.kinesis = \"{url}\""), "");
    // Requests that are larger than the buffers of the system for a connection, as soon as they are full.
    let config = fs::read_to_string(story.place.config()).unwrap();
    fs::write(story.place.config(), config.replace("max_delay = \"20 ms\"", "max_delay = \"5 s\"")).unwrap();
    let written = lines("a", 60_000);
    story.place.append("app.log", &written);
    assert!(story.place.byte_count("app.log") > 5 << 20);
    story.sent.extend(written);
    let agent = story.start(|_| {});
    story.settle(&agent);
    let lost = agent.figures().sum_where("kinetail_requests_total", "outcome=\"ConnectionLost\"");
    assert_eq!(lost, 3, "{}", agent.page("/metrics").1);
    agent.stop();
}
