//! A real proxy, tinyproxy, which wants a name and a password.
//!
//! Services are reached at 0.0.0.0, which leads to this host and yet is none of the addresses that need no proxy.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{HOUR, ROLE, Story, forwarding};
use crate::common::{Issuer, SECRET, TlsFront, skipped, wait_until_or};

const PASSWORD: &str = "Secret0fTheProxy";

/// The program, or why there is none.
fn tinyproxy() -> Option<PathBuf> {
    // Where it is may be left out of the path of those who are not root.
    let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/bin:/usr/sbin:/sbin";
    folders.split(':').map(|folder| Path::new(folder).join("tinyproxy")).find(|path| path.exists())
}

/// A running proxy; killed when dropped.
struct Proxy {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Proxy {
    /// A proxy in the folder of `story`, or none where it cannot be had.
    fn start(name: &str, story: &Story) -> Option<Self> {
        let Some(program) = tinyproxy() else {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "in CI this has to run: there is no tinyproxy");
            skipped(name, "there is no tinyproxy");
            return None;
        };
        let folder = story.place.folder();
        let (config, log) = (folder.join("tinyproxy.conf"), folder.join("tinyproxy.log"));
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nBasicAuth agent {PASSWORD}\n\
             LogFile \"{}\"\nLogLevel Connect\n",
            log.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config).stdin(Stdio::null());
        let said = File::create(folder.join("tinyproxy.out")).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let proxy = Self { child: command.spawn().unwrap(), port, log };
        let is_up = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        wait_until_or("the proxy is up", is_up, || fs::read_to_string(folder.join("tinyproxy.out")).unwrap());
        Some(proxy)
    }

    fn url(&self) -> String {
        format!("http://agent:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// TLS in front of it.
    fn front(&self) -> TlsFront {
        TlsFront::start(&format!("http://127.0.0.1:{}", self.port), &["127.0.0.1"])
    }

    /// What it was asked for: `CONNECT 0.0.0.0:4567 HTTP/1.1`, without what came from who looked whether it is up.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let requests = log.lines().filter(|line| line.contains("Request (file descriptor"));
        requests.map(|line| line.rsplit_once("): ").unwrap().1.to_owned()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what the proxy said ---\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn with_trace(command: &mut Command) {
    command.env("KINETAIL_LOG", "kinetail=trace,error");
}

/// An https service by way of CONNECT, and STS as well; name and password are in no log.
#[test]
fn services_are_reached_through_a_proxy() {
    let mut story = Story::new("");
    let Some(proxy) = Proxy::start("services_are_reached_through_a_proxy", &story) else { return };
    let front = TlsFront::start(&story.kinesis.url(), &["0.0.0.0"]);
    let sts = Issuer::start(HOUR, &["Action=AssumeRole&"]);
    let sts_front = TlsFront::start(&sts.url(), &["0.0.0.0"]);
    let ca_file = story.place.folder().join("ca.pem");
    fs::write(&ca_file, [front.authority(), sts_front.authority()].concat()).unwrap();
    let (kinesis, sts) = (front.url("0.0.0.0"), sts_front.url("0.0.0.0"));
    story.configure(
        &format!(
            "region = \"us-east-1\"\nendpoints = {{ kinesis = \"{kinesis}\", sts = \"{sts}\" }}\nca_file = {ca_file:?}\n\
             proxy = \"{}\"\nassume_role.arn = \"{}\"",
            proxy.url(),
            ROLE
        ),
        "",
    );
    let agent = story.start(with_trace);
    story.ship(&agent, "a");
    story.ship(&agent, "b");
    let connect = |url: &str| format!("CONNECT {} HTTP/1.1", url.strip_prefix("https://").unwrap());
    let requests = proxy.requests();
    assert!(requests.contains(&connect(&kinesis)) && requests.contains(&connect(&sts)), "{requests:?}");
    story.keeps(&agent, &[PASSWORD, SECRET]);
    agent.stop();
}

/// A proxy that speaks TLS itself, and TLS to the service within.
#[test]
fn a_proxy_can_be_behind_tls_itself() {
    let mut story = Story::new("");
    let Some(proxy) = Proxy::start("a_proxy_can_be_behind_tls_itself", &story) else { return };
    let (front, proxy_front) = (TlsFront::start(&story.kinesis.url(), &["0.0.0.0"]), proxy.front());
    let ca_file = story.place.folder().join("ca.pem");
    fs::write(&ca_file, [front.authority(), proxy_front.authority()].concat()).unwrap();
    let keys = format!(
        "region = \"us-east-1\"\nendpoints.kinesis = \"{}\"\nca_file = {ca_file:?}\nproxy = \"{}\"",
        front.url("0.0.0.0"),
        proxy_front.url(&format!("agent:{PASSWORD}@127.0.0.1"))
    );
    story.configure(&keys, "");
    let agent = story.start(with_trace);
    story.ship(&agent, "a");
    assert!(proxy.requests().iter().any(|request| request.starts_with("CONNECT ")), "{:?}", proxy.requests());
    story.keeps(&agent, &[PASSWORD]);
    agent.stop();
}

/// A plain http service: the proxy reads the requests, and is told in each who may use it. The environment names the proxy.
#[test]
fn the_proxy_of_the_environment_is_used() {
    let mut story = Story::new("");
    let Some(proxy) = Proxy::start("the_proxy_of_the_environment_is_used", &story) else { return };
    let kinesis = forwarding(&story.kinesis.url());
    let aws = format!("region = \"us-east-1\"\nendpoints.kinesis = \"{kinesis}\"");
    story.configure(&aws, "");
    let environment = |command: &mut Command| {
        with_trace(command);
        command.env("http_proxy", proxy.url()).env("NO_PROXY", "example.com");
    };
    let agent = story.start(environment);
    story.ship(&agent, "a");
    let count = proxy.requests().len();
    assert!(proxy.requests().iter().any(|request| request.starts_with(&format!("POST {kinesis}/"))), "{:?}", proxy.requests());
    story.keeps(&agent, &[PASSWORD]);
    agent.stop();

    for (from, direct) in [("b", "proxy = \"off\""), ("c", "no_proxy = [\"0.0.0.0/8\"]")] {
        story.configure(&format!("{aws}\n{direct}"), "");
        let agent = story.start(environment);
        story.ship(&agent, from);
        agent.stop();
    }
    assert_eq!(proxy.requests().len(), count, "what is excepted goes another way");
}

/// A wrong password, a proxy that is not there: the flow is paused, the reason is told, without what was wrong.
#[test]
fn a_proxy_that_refuses_pauses_the_flow() {
    let mut story = Story::new("");
    let Some(proxy) = Proxy::start("a_proxy_that_refuses_pauses_the_flow", &story) else { return };
    let front = TlsFront::start(&story.kinesis.url(), &["0.0.0.0"]);
    let ca_file = story.place.folder().join("ca.pem");
    fs::write(&ca_file, front.authority()).unwrap();
    let plain = forwarding(&story.kinesis.url());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let wrong = proxy.url().replace(PASSWORD, "Wrong0fTheProxy");
    story.write("a");
    for (endpoint, proxy, expected) in [
        (front.url("0.0.0.0"), &wrong, ["ProxyAuth: ", "wants another name and password"]),
        (plain, &wrong, ["Http401: ", "is there a proxy in between?"]),
        (
            front.url("0.0.0.0"),
            &format!("http://u:Wrong0fTheProxy@{free}"),
            ["Proxy: ", &format!("proxy http://{free}/ cannot be reached")],
        ),
    ] {
        let keys =
            format!("region = \"us-east-1\"\nendpoints.kinesis = \"{endpoint}\"\nca_file = {ca_file:?}\nproxy = \"{proxy}\"");
        story.configure(&keys, "");
        let agent = story.start(with_trace);
        let health = agent.wait_health(503);
        for text in expected {
            assert!(health.contains(text), "{text} in\n{health}");
        }
        story.keeps(&agent, &["Wrong0fTheProxy"]);
        agent.abort();
    }
}
