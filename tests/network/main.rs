//! The way to the service: whose keys requests are signed by and what happens when these expire, proxies, certificates.
//!
//! Where tinyproxy is not installed the stories of proxies are skipped, which is said; not so in CI.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod credentials;
mod proxies;

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{Agent, Kinesis, Place, TlsFront, lines, verify, wait_until_or};
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

/// Passes connections on to `service`. It is at the address 0.0.0.0.
fn forwarding(service: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = service.strip_prefix("http://").unwrap().to_owned();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, mut far) = (near.unwrap(), TcpStream::connect(&service).unwrap());
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
