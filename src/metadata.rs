//! What is known of the host: its name, and on EC2 what the instance metadata service says of the instance.
//!
//! It decides when the service is asked, how long the first lines may wait for the answer, and what is kept while there is
//! none. How the service is asked is the business of `imds`; where the values go, of those who make records.

mod imds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::{env, fmt};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use self::imds::Imds;
use crate::config::{Ec2Variable, Flow, Template, Variable};
use crate::limits::{METADATA_RETRY_MAX, METADATA_RETRY_MIN, METADATA_TAGS_INTERVAL, METADATA_WAIT};

/// The instance identity document: EC2 User Guide, "Instance identity documents for Amazon EC2 instances".
const DOCUMENT_PATH: &str = "/latest/dynamic/instance-identity/document";
/// The names of the tags, one a line; below it their values: EC2 User Guide, "View tags for your EC2 instances using
/// instance metadata". Not there unless the instance allows it.
const TAGS_PATH: &str = "/latest/meta-data/tags/instance";
/// With the value `true` no SDK asks the service.
const DISABLED_VARIABLE: &str = "AWS_EC2_METADATA_DISABLED";

/// The host's name, as `hostname` prints it. Bytes that are not UTF-8 are replaced.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What somebody will ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Anything but tags.
    pub document: bool,
    /// Names of tags.
    pub tags: BTreeSet<String>,
}

impl Wanted {
    /// What the records of `flows` name.
    pub fn of(flows: &[Flow]) -> Self {
        let mut wanted = Self::default();
        for variable in flows.iter().flat_map(Flow::templates).flat_map(Template::variables) {
            match variable {
                Variable::Ec2(Ec2Variable::Tag(name)) => _ = wanted.tags.insert(name.clone()),
                Variable::Ec2(_) => wanted.document = true,
                _ => {}
            }
        }
        wanted
    }

    /// Whether it is all that `other` is, or more.
    pub fn covers(&self, other: &Self) -> bool {
        (self.document || !other.document) && self.tags.is_superset(&other.tags)
    }

    /// Nobody asks for anything.
    pub fn is_nothing(&self) -> bool {
        !self.document && self.tags.is_empty()
    }
}

/// What is known of the instance. What is not known, or not wanted, is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ec2 {
    /// `i-0123456789abcdef0`
    pub instance_id: Option<String>,
    /// `us-east-1`
    pub region: Option<String>,
    /// `us-east-1a`
    pub availability_zone: Option<String>,
    /// `m7g.large`
    pub instance_type: Option<String>,
    /// Of the account that launched the instance; twelve digits.
    pub account_id: Option<String>,
    /// `ami-0123456789abcdef0`
    pub ami_id: Option<String>,
    /// IPv4; IPv6 where there is no other.
    pub private_ip: Option<String>,
    /// Of the tags that are wanted those that there are.
    pub tags: BTreeMap<String, String>,
}

/// A view of what is known now; a clone is the same view.
#[derive(Clone, Debug)]
pub struct Metadata {
    view: watch::Receiver<View>,
    /// From then on nobody waits.
    ready_by: Instant,
}

#[derive(Clone, Debug, Default)]
struct View {
    ec2: Arc<Ec2>,
    /// Everything wanted is known, or the service has said that it will not tell.
    is_answered: bool,
}

impl Metadata {
    /// Begins to ask for what is `wanted`, in a task of this runtime that ends when the last view is gone.
    ///
    /// `endpoint` is an address of the configuration; it is asked even where the environment says that nobody shall be.
    /// Without it the SDK's settings decide (`AWS_EC2_METADATA_SERVICE_ENDPOINT`, the profile), and then 169.254.169.254.
    pub fn ask(wanted: Wanted, endpoint: Option<&str>) -> Self {
        if wanted.is_nothing() {
            return Self::nothing();
        }
        if endpoint.is_none() && env::var(DISABLED_VARIABLE).is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            tracing::warn!("{DISABLED_VARIABLE} switches EC2 instance metadata off: what is taken from there is null in records");
            return Self::nothing();
        }
        match Imds::new(endpoint) {
            Ok(imds) => Self::ask_of(imds, wanted),
            Err(message) => {
                tracing::error!("cannot ask for EC2 instance metadata: {message}");
                Self::nothing()
            }
        }
    }

    /// Nothing is known, and nothing will be.
    pub fn nothing() -> Self {
        let (_, view) = watch::channel(View { is_answered: true, ..View::default() });
        Self { view, ready_by: Instant::now() }
    }

    fn ask_of<S: Source>(source: S, wanted: Wanted) -> Self {
        let (sender, view) = watch::channel(View::default());
        let inquiry = Inquiry {
            source,
            wanted,
            known: Ec2::default(),
            has_document: false,
            has_told_success: false,
            told: Vec::new(),
            sender,
        };
        tokio::spawn(inquiry.run());
        Self { view, ready_by: Instant::now() + METADATA_WAIT }
    }

    /// What is known now: a lock held for a moment, and a counter.
    pub fn current(&self) -> Arc<Ec2> {
        Arc::clone(&self.view.borrow().ec2)
    }

    /// Waits for the first answer, until [`METADATA_WAIT`] after the asking began at the latest.
    pub async fn ready(&self) {
        let mut view = self.view.clone();
        // After that lines go on without.
        let _ = timeout_at(self.ready_by, view.wait_for(|view| view.is_answered)).await;
    }
}

/// What the service says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Text(String),
    /// There is nothing at this path.
    NotThere,
    /// The service says that it is switched off.
    Forbidden,
    /// No answer came, and why.
    Nobody(String),
    /// Something else is wrong.
    Failed(String),
}

/// Who is asked: the service, or a test.
trait Source: Send + Sync + 'static {
    /// Asks once; an attempt takes seconds at most.
    fn get(&self, path: &str) -> impl Future<Output = Answer> + Send;
}

/// The task that asks.
struct Inquiry<S> {
    source: S,
    wanted: Wanted,
    known: Ec2,
    has_document: bool,
    /// The log says once that all is known.
    has_told_success: bool,
    /// What else the log has said.
    told: Vec<Trouble>,
    sender: watch::Sender<View>,
}

/// Why something is not known.
#[derive(Debug)]
enum Trouble {
    Nobody(String),
    Forbidden,
    TagsHidden,
    NoTag(String),
    Failed(String),
}

/// The part of the document that has names in records.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_id: Option<String>,
    availability_zone: Option<String>,
    image_id: Option<String>,
    instance_id: Option<String>,
    instance_type: Option<String>,
    private_ip: Option<String>,
    region: Option<String>,
}

impl<S: Source> Inquiry<S> {
    async fn run(mut self) {
        let mut retry_delay = METADATA_RETRY_MIN;
        loop {
            let is_answered = self.ask().await;
            self.show(is_answered);
            let is_all_known = self.is_all_known();
            if is_all_known && !std::mem::replace(&mut self.has_told_success, true) {
                let Ec2 { instance_id, region, .. } = &self.known;
                tracing::info!(instance_id, region, "EC2 instance metadata are known");
            }
            let delay = match is_all_known {
                true if self.wanted.tags.is_empty() => return,
                true => METADATA_TAGS_INTERVAL,
                false => retry_delay,
            };
            retry_delay = (retry_delay * 2).min(METADATA_RETRY_MAX);
            tokio::select! {
                biased;
                () = self.sender.closed() => return,
                () = sleep(delay) => {}
            }
        }
    }

    fn is_all_known(&self) -> bool {
        (self.has_document || !self.wanted.document) && self.wanted.tags.iter().all(|name| self.known.tags.contains_key(name))
    }

    /// Shows what is known now, if that has changed.
    fn show(&self, is_answered: bool) {
        self.sender.send_if_modified(|view| {
            let has_changed = *view.ec2 != self.known;
            if has_changed {
                view.ec2 = Arc::new(self.known.clone());
            }
            let is_first_answer = is_answered && !view.is_answered;
            view.is_answered |= is_answered;
            has_changed || is_first_answer
        });
    }

    /// Asks for what is not known, and for all tags. Returns whether each question was answered, if only by a no.
    async fn ask(&mut self) -> bool {
        let mut is_answered = true;
        let mut troubles = Vec::new();
        if self.wanted.document && !self.has_document {
            troubles.extend(self.ask_document().await.err());
        }
        if !self.wanted.tags.is_empty() && !troubles.iter().any(Trouble::is_general) {
            troubles.extend(self.ask_tags().await.err());
        }
        for trouble in troubles {
            is_answered &= trouble.is_answer();
            self.tell(trouble);
        }
        is_answered
    }

    async fn ask_document(&mut self) -> Result<(), Trouble> {
        let text = match self.source.get(DOCUMENT_PATH).await {
            Answer::Text(text) => text,
            Answer::NotThere => return Err(Trouble::Failed(format!("there is no {DOCUMENT_PATH}"))),
            other => return Err(Trouble::of(other)),
        };
        let document: Document = serde_json::from_str(&text)
            .map_err(|error| Trouble::Failed(format!("{DOCUMENT_PATH} is not as it should be: {error}")))?;
        let tags = std::mem::take(&mut self.known.tags);
        self.known = Ec2 {
            instance_id: document.instance_id,
            region: document.region,
            availability_zone: document.availability_zone,
            instance_type: document.instance_type,
            account_id: document.account_id,
            ami_id: document.image_id,
            private_ip: document.private_ip,
            tags,
        };
        self.has_document = true;
        Ok(())
    }

    /// A tag that cannot be asked for now keeps its value; one that the instance does not have any more loses it.
    async fn ask_tags(&mut self) -> Result<(), Trouble> {
        for name in self.wanted.tags.clone() {
            let answer = match tag_path(&name) {
                Some(path) => self.source.get(&path).await,
                None => Answer::NotThere,
            };
            match answer {
                Answer::Text(value) => _ = self.known.tags.insert(name, value),
                Answer::NotThere => match self.source.get(TAGS_PATH).await {
                    Answer::Text(_) => {
                        self.known.tags.remove(&name);
                        self.tell(Trouble::NoTag(name));
                    }
                    Answer::NotThere => return Err(Trouble::TagsHidden),
                    other => return Err(Trouble::of(other)),
                },
                other => return Err(Trouble::of(other)),
            }
        }
        Ok(())
    }

    /// Says each kind of trouble once, however its reasons vary.
    fn tell(&mut self, trouble: Trouble) {
        let is_told = |told: &Trouble| match (told, &trouble) {
            (Trouble::NoTag(told), Trouble::NoTag(name)) => told == name,
            _ => std::mem::discriminant(told) == std::mem::discriminant(&trouble),
        };
        if self.told.iter().any(is_told) {
            return tracing::debug!("{trouble}");
        }
        tracing::warn!("{trouble}");
        self.told.push(trouble);
    }
}

impl Trouble {
    /// Of an answer that is no text.
    fn of(answer: Answer) -> Self {
        match answer {
            Answer::Nobody(why) => Self::Nobody(why),
            Answer::Forbidden => Self::Forbidden,
            Answer::Failed(why) => Self::Failed(why),
            Answer::Text(_) | Answer::NotThere => Self::Failed("an unexpected answer".to_owned()),
        }
    }

    /// Other questions would fare no better.
    fn is_general(&self) -> bool {
        matches!(self, Self::Nobody(_) | Self::Forbidden)
    }

    /// The service has told what there is to tell; a moment later it would say the same.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Forbidden | Self::TagsHidden | Self::NoTag(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(why) => write!(
                f,
                "no EC2 instance metadata: nobody answers ({why}); this is no EC2 instance, or its metadata service is switched \
                 off, or does not answer into containers (hop limit)"
            ),
            Self::Forbidden => {
                f.write_str("no EC2 instance metadata: the service refuses (403), it is switched off for this instance")
            }
            Self::TagsHidden => f.write_str(
                "the EC2 instance does not show its tags: \"allow tags in instance metadata\" must be on for it, until then \
                 they are null in records",
            ),
            Self::NoTag(name) => {
                write!(f, "the EC2 instance has no tag {name:?}: it is null in records until there is one")
            }
            Self::Failed(why) => write!(f, "EC2 instance metadata are not complete: {why}"),
        }
    }
}

/// Where the value of the tag `name` is. None for a name that cannot be there: EC2 takes no such tags while it shows tags
/// in the metadata.
fn tag_path(name: &str) -> Option<String> {
    if name.is_empty() || matches!(name, "." | ".." | "_index") || name.contains(['/', ' ']) {
        return None;
    }
    // Everything but letters, digits and what RFC 3986 lets stand in a segment of a path.
    let mut path = format!("{TAGS_PATH}/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'=' | b'.' | b',' | b'_' | b':' | b'@' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests;
