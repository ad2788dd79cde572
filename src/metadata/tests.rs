use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;

/// A service that says what it is told to say, and keeps what it was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: HashMap<String, Answer>,
    /// What is asked for and stands not in `answers` has this.
    otherwise: Option<Answer>,
    asked: Vec<String>,
}

impl Script {
    fn set(&self, path: &str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    fn tag(&self, name: &str, value: &str) {
        self.set(&format!("{TAGS_PATH}/{name}"), text(value));
    }

    fn otherwise(&self, answer: Answer) {
        self.0.lock().unwrap().otherwise = Some(answer);
    }

    /// What was asked since the last call, without the folders in front.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.0.lock().unwrap().asked);
        asked.into_iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

impl Source for Script {
    async fn get(&self, path: &str) -> Answer {
        let mut scripted = self.0.lock().unwrap();
        scripted.asked.push(path.to_owned());
        let otherwise = scripted.otherwise.clone().unwrap_or(Answer::NotThere);
        scripted.answers.get(path).cloned().unwrap_or(otherwise)
    }
}

fn text(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

fn nobody() -> Answer {
    Answer::Nobody("connection refused".to_owned())
}

fn wanted(document: bool, tags: &[&str]) -> Wanted {
    Wanted { document, tags: tags.iter().map(|name| (*name).to_owned()).collect() }
}

const DOCUMENT: &str = r#"{
  "accountId" : "123456789012",
  "architecture" : "arm64",
  "availabilityZone" : "eu-west-1b",
  "billingProducts" : null,
  "imageId" : "ami-0abc",
  "instanceId" : "i-0abc",
  "instanceType" : "m7g.large",
  "kernelId" : null,
  "pendingTime" : "2026-11-21T12:18:53Z",
  "privateIp" : "10.0.0.7",
  "region" : "eu-west-1",
  "version" : "2017-09-30"
}"#;

fn of_document(tags: &[(&str, &str)]) -> Ec2 {
    let some = |text: &str| Some(text.to_owned());
    Ec2 {
        instance_id: some("i-0abc"),
        region: some("eu-west-1"),
        availability_zone: some("eu-west-1b"),
        instance_type: some("m7g.large"),
        account_id: some("123456789012"),
        ami_id: some("ami-0abc"),
        private_ip: some("10.0.0.7"),
        tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// How long `ready` waits.
async fn ready_after(metadata: &Metadata) -> Duration {
    let begun = Instant::now();
    metadata.ready().await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_document_and_the_wanted_tags_are_known_at_once() {
    let script = Script::default();
    script.set(DOCUMENT_PATH, text(DOCUMENT));
    script.tag("Name", "web-1");
    script.tag("Other", "not wanted");
    let metadata = Metadata::ask_of(script.clone(), wanted(true, &["Name"]));
    assert_eq!(ready_after(&metadata).await, Duration::ZERO);
    assert_eq!(*metadata.current(), of_document(&[("Name", "web-1")]));
    assert_eq!(script.asked(), ["document", "Name"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_is_not_asked_for() {
    let script = Script::default();
    script.tag("Name", "web-1");
    let metadata = Metadata::ask_of(script.clone(), wanted(false, &["Name"]));
    metadata.ready().await;
    assert_eq!((metadata.current().instance_id.clone(), script.asked()), (None, vec!["Name".to_owned()]));
    let nothing = Metadata::ask(Wanted::default(), Some("http://192.0.2.1"));
    assert_eq!((ready_after(&nothing).await, &*nothing.current()), (Duration::ZERO, &Ec2::default()));
}

#[tokio::test(start_paused = true)]
async fn lines_wait_ten_seconds_for_a_service_that_does_not_answer_and_nobody_waits_again() {
    let script = Script::default();
    script.otherwise(nobody());
    let metadata = Metadata::ask_of(script.clone(), wanted(true, &["a", "b"]));
    assert_eq!(ready_after(&metadata).await, METADATA_WAIT);
    assert_eq!(ready_after(&metadata).await, Duration::ZERO);
    // At 0, 1, 3 and 7 s: where nobody answers to the first question, no other is asked.
    assert_eq!(script.asked(), ["document"; 4]);
    assert_eq!(*metadata.current(), Ec2::default());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_late_is_found_and_then_left_alone() {
    let script = Script::default();
    script.otherwise(nobody());
    let metadata = Metadata::ask_of(script.clone(), wanted(true, &[]));
    sleep(Duration::from_secs(3_600)).await;
    // Six times until the delay is a minute, then every minute.
    let asked_count = script.asked().len();
    assert!((64..=66).contains(&asked_count), "{asked_count}");
    script.set(DOCUMENT_PATH, text(DOCUMENT));
    sleep(METADATA_RETRY_MAX).await;
    assert_eq!(*metadata.current(), of_document(&[]));
    script.asked();
    sleep(Duration::from_secs(3_600)).await;
    assert!(script.asked().is_empty(), "the document does not change");
}

#[tokio::test(start_paused = true)]
async fn lines_do_not_wait_where_the_service_says_no() {
    let script = Script::default();
    script.otherwise(Answer::Forbidden);
    let metadata = Metadata::ask_of(script, wanted(true, &["Name"]));
    assert_eq!(ready_after(&metadata).await, Duration::ZERO);

    let script = Script::default();
    script.set(DOCUMENT_PATH, text(DOCUMENT));
    let metadata = Metadata::ask_of(script.clone(), wanted(true, &["Name", "Stage"]));
    assert_eq!(ready_after(&metadata).await, Duration::ZERO, "tags are not shown");
    assert_eq!((&*metadata.current(), script.asked().join(" ")), (&of_document(&[]), "document Name instance".to_owned()));

    script.set(TAGS_PATH, text("Stage"));
    script.tag("Stage", "test");
    sleep(METADATA_RETRY_MIN).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(*metadata.current(), of_document(&[("Stage", "test")]), "one of the tags is there");
}

#[tokio::test(start_paused = true)]
async fn tags_follow_their_instance_and_are_kept_while_nobody_tells() {
    let script = Script::default();
    script.set(TAGS_PATH, text("Name"));
    script.tag("Name", "blue");
    let metadata = Metadata::ask_of(script.clone(), wanted(false, &["Name"]));
    metadata.ready().await;
    let name = || metadata.current().tags.get("Name").cloned();
    script.tag("Name", "green");
    sleep(METADATA_TAGS_INTERVAL - Duration::from_millis(1)).await;
    assert_eq!(name().as_deref(), Some("blue"));
    sleep(Duration::from_millis(2)).await;
    assert_eq!(name().as_deref(), Some("green"));
    for answer in [nobody(), Answer::Forbidden, Answer::Failed("HTTP status 500".to_owned())] {
        script.set(&format!("{TAGS_PATH}/Name"), answer);
        sleep(METADATA_TAGS_INTERVAL).await;
        assert_eq!(name().as_deref(), Some("green"));
    }
    script.set(&format!("{TAGS_PATH}/Name"), Answer::NotThere);
    script.set(TAGS_PATH, Answer::NotThere);
    sleep(METADATA_TAGS_INTERVAL).await;
    assert_eq!(name().as_deref(), Some("green"), "tags are not shown any more");
    script.set(TAGS_PATH, text(""));
    sleep(METADATA_TAGS_INTERVAL).await;
    assert_eq!(name(), None, "the tag is gone");
    script.tag("Name", "red");
    sleep(METADATA_TAGS_INTERVAL).await;
    assert_eq!(name().as_deref(), Some("red"));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_read_does_not_keep_the_tags_away() {
    for answer in [text("<html>"), Answer::NotThere, Answer::Failed("HTTP status 500".to_owned())] {
        let script = Script::default();
        script.set(DOCUMENT_PATH, answer);
        script.tag("Name", "web-1");
        let metadata = Metadata::ask_of(script.clone(), wanted(true, &["Name"]));
        assert_eq!(ready_after(&metadata).await, METADATA_WAIT, "it may be there a moment later");
        assert_eq!(metadata.current().tags.len(), 1);
    }
    let script = Script::default();
    script.set(DOCUMENT_PATH, text(r#"{"region": "eu-west-1", "instanceId": null}"#));
    let metadata = Metadata::ask_of(script, wanted(true, &[]));
    assert_eq!(ready_after(&metadata).await, Duration::ZERO);
    assert_eq!(*metadata.current(), Ec2 { region: Some("eu-west-1".to_owned()), ..Ec2::default() });
}

#[tokio::test]
async fn each_trouble_is_said_once_and_each_missing_tag() {
    let script = Script::default();
    let (sender, _view) = watch::channel(View::default());
    let (known, wanted) = (Ec2::default(), wanted(true, &["a", "b"]));
    let mut inquiry =
        Inquiry { source: script.clone(), wanted, known, has_document: false, has_told_success: false, told: Vec::new(), sender };
    for why in ["refused", "too late", "refused"] {
        script.otherwise(Answer::Nobody(why.to_owned()));
        inquiry.ask().await;
    }
    assert_eq!(inquiry.told.len(), 1);
    script.set(TAGS_PATH, text("c"));
    script.otherwise(Answer::NotThere);
    inquiry.ask().await;
    inquiry.ask().await;
    assert!(matches!(&inquiry.told[1..], [Trouble::NoTag(_), Trouble::NoTag(_), Trouble::Failed(_)]), "{:?}", inquiry.told);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_last_view() {
    let script = Script::default();
    script.otherwise(nobody());
    let metadata = Metadata::ask_of(script.clone(), wanted(true, &[]));
    let other = metadata.clone();
    drop(metadata);
    sleep(Duration::from_secs(120)).await;
    assert!(!script.asked().is_empty());
    drop(other);
    sleep(Duration::from_secs(120)).await;
    assert!(script.asked().is_empty());
}

#[test]
fn names_of_tags_become_paths() {
    for (name, path) in [
        ("Name", Some("Name")),
        ("team:stage@x=1,2+3-4.5_6", Some("team:stage@x=1,2+3-4.5_6")),
        ("größe", Some("gr%C3%B6%C3%9Fe")),
        ("a?b#c%d\n", Some("a%3Fb%23c%25d%0A")),
        ("", None),
        ("..", None),
        ("_index", None),
        ("a/b", None),
        ("a b", None),
    ] {
        assert_eq!(tag_path(name), path.map(|path| format!("{TAGS_PATH}/{path}")), "{name:?}");
    }
}

#[test]
fn the_host_has_a_name() {
    let name = host_name();
    assert!(!name.is_empty() && !name.contains('\0'));
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end(), name);
}
