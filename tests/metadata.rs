//! Instance metadata, asked of a service as EC2 has it.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Imds;
use kinetail::metadata::{Ec2, Metadata, Wanted};

const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const TAGS: &str = "/latest/meta-data/tags/instance";

fn wanted(tags: &[&str]) -> Wanted {
    Wanted { document: true, tags: tags.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>() }
}

/// What is known of `wanted`, and what the log has said, as soon as it says `expected`.
fn ask_until(expected: &str, url: &str, wanted: Wanted) -> (Ec2, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let metadata = runtime.block_on(async { Metadata::ask(wanted, Some(url)) });
        let is_said = || {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            log.text().contains(expected)
        };
        common::wait_until_or(&format!("{expected:?} is logged"), is_said, || log.text());
        (Ec2::clone(&metadata.current()), log.text())
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const KNOWN: &str = "EC2 instance metadata are known";

/// With a token, and with one token for all of it.
#[test]
fn the_instance_and_its_tags_are_known() {
    let imds = Imds::start();
    imds.say(DOCUMENT, r#"{"accountId": "123456789012", "instanceId": "i-0abc", "region": "eu-west-1"}"#);
    imds.say(&format!("{TAGS}/Name"), "web 1/é");
    imds.say(&format!("{TAGS}/gr%C3%B6%C3%9Fe"), "XL");
    let (ec2, log) = ask_until(KNOWN, &imds.url(), wanted(&["Name", "größe"]));
    assert_eq!((ec2.instance_id.as_deref(), ec2.region.as_deref()), (Some("i-0abc"), Some("eu-west-1")));
    assert_eq!(ec2.account_id.as_deref(), Some("123456789012"));
    assert_eq!(ec2.tags["Name"], "web 1/é");
    assert_eq!(ec2.tags["größe"], "XL");
    assert_eq!(imds.requests().iter().filter(|request| request.starts_with("PUT")).count(), 1, "{:?}", imds.requests());
    assert!(!log.contains("WARN"), "{log}");
}

/// A service that is starting fails a few times: more often than the SDK's client tries again.
#[test]
fn a_slow_start_is_waited_for() {
    let imds = Imds::start();
    imds.say(DOCUMENT, r#"{"instanceId": "i-0abc"}"#);
    imds.fail(6, 503);
    let (ec2, _) = ask_until(KNOWN, &imds.url(), wanted(&[]));
    assert_eq!(ec2.instance_id.as_deref(), Some("i-0abc"));
    assert_eq!(imds.requests().len(), 6 + 2, "{:?}", imds.requests());
}

/// Tags must be allowed in the metadata; that they are not is another mistake than a tag that is missing.
#[test]
fn tags_that_are_not_shown_are_told_from_a_tag_that_is_not_there() {
    let imds = Imds::start();
    imds.say(DOCUMENT, r#"{"instanceId": "i-0abc"}"#);
    let (ec2, _) = ask_until("\"allow tags in instance metadata\" must be on", &imds.url(), wanted(&["Name"]));
    assert!(ec2.instance_id.is_some() && ec2.tags.is_empty());
    imds.say(TAGS, "Stage");
    ask_until("the EC2 instance has no tag \"Name\"", &imds.url(), wanted(&["Name"]));
}

/// Switched off, the service refuses already to give a token.
#[test]
fn a_service_that_is_switched_off_says_so() {
    let imds = Imds::start();
    imds.fail(1, 403);
    let (ec2, _) = ask_until("refuses (403), it is switched off", &imds.url(), wanted(&["Name"]));
    assert_eq!((ec2, imds.requests().len()), (Ec2::default(), 1));
}

/// What answers there need not be the service.
#[test]
fn who_is_no_metadata_service_is_not_believed() {
    let imds = Imds::start();
    imds.fail(100, 404);
    ask_until("who answers is no metadata service", &imds.url(), wanted(&[]));
}

/// On a host that is no instance.
#[test]
fn nobody_there_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (ec2, _) = ask_until("nobody answers", &format!("http://{free}"), wanted(&["Name"]));
    assert_eq!(ec2, Ec2::default());
}
