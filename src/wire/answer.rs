//! What an answer says: of each record what became of it, or why the whole request was refused.
//!
//! The per-record results are all that counts; the number of failures that an answer gives is passed over. Answers as the
//! services usually write them are read in one pass, and names of shards are shared, so that nothing is allocated for a record
//! that was delivered. Any other valid answer is read in the general way and says the same. The format is told by the answer itself:
//! what does not know CBOR may answer in JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::{Wire, cbor, json};
use crate::limits::SHARD_ID_BYTES_MAX;
use crate::outcome::{Failure, RecordResult, Service, shard_in};
use crate::stream::ShardId;

/// What an answer is called that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not one of the service")
    }
}

impl std::error::Error for Unreadable {}

/// The error that a whole request was answered with, as far as the body says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSaid {
    /// Its name.
    pub code: Option<String>,
    /// Its sentence.
    pub message: Option<String>,
}

/// The format of a body; none of one that is empty.
pub fn wire_of(body: &[u8]) -> Option<Wire> {
    // An object begins with a brace or with white space, a map with a byte of which the first bit is set.
    body.first().map(|byte| if *byte >= 0x80 { Wire::Cbor } else { Wire::Json })
}

/// What became of each record, in the order of the request, which had `record_count`; one more where more is said. An error where
/// that cannot be read.
pub fn results(
    service: Service,
    body: &[u8],
    record_count: usize,
    shard_ids: &mut ShardIds,
) -> Result<Vec<RecordResult>, Unreadable> {
    let shape = Shape::of(service);
    let mut results = Vec::with_capacity(record_count);
    let mut take = |results: &mut Vec<RecordResult>, said: Said<'_>| {
        if results.len() <= record_count {
            results.push(said.result(shard_ids));
        }
    };
    if wire_of(body) == Some(Wire::Cbor) {
        cbor::read(body, shape, |said| take(&mut results, said)).ok_or(Unreadable)?;
    } else if json::read_usual(body, shape, |said| take(&mut results, said)).is_none() {
        results.clear();
        read_json(body, shape, |said| take(&mut results, said)).ok_or(Unreadable)?;
    }
    Ok(results)
}

/// The error in the body of an answer that is one.
pub fn error(body: &[u8]) -> Result<ErrorSaid, Unreadable> {
    let mut named = [const { None }; 5];
    match wire_of(body) {
        None => {}
        Some(Wire::Cbor) => cbor::read_texts(body, &ERROR_MEMBERS, &mut named).ok_or(Unreadable)?,
        Some(Wire::Json) => {
            let whole: Value = serde_json::from_slice(body).map_err(|_| Unreadable)?;
            for (text, name) in named.iter_mut().zip(ERROR_MEMBERS) {
                *text = whole.get(name).and_then(Value::as_str).map(str::to_owned);
            }
        }
    }
    let [of_code, of_type, message, other_message, error_message] = named;
    let code = of_code.or(of_type).map(|code| name_of_error(&code).to_owned());
    Ok(ErrorSaid { code, message: message.or(other_message).or(error_message) })
}

/// What the name and the sentence of an error are called, those first that count first.
const ERROR_MEMBERS: [&str; 5] = ["code", "__type", "message", "Message", "errorMessage"];

/// The name alone of `namespace#Name:http://…`, as headers and bodies have it.
pub fn name_of_error(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.split_once('#').map_or(code, |(_, code)| code)
}

/// What the members of an answer are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The list of results.
    pub(super) list: &'static str,
    /// Of a result what there is only when the record is stored.
    id: &'static str,
}

impl Shape {
    pub(super) fn of(service: Service) -> Self {
        match service {
            Service::Kinesis => Self { list: "Records", id: "SequenceNumber" },
            Service::Firehose => Self { list: "RequestResponses", id: "RecordId" },
        }
    }
}

/// The members of one result while it is read.
#[derive(Default)]
pub(super) struct Members<'a> {
    id: Option<Cow<'a, str>>,
    shard_id: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

impl<'a> Members<'a> {
    /// The place of the member `name`; none when it is not known.
    pub(super) fn of(&mut self, shape: Shape, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        match name {
            "ShardId" => Some(&mut self.shard_id),
            "ErrorCode" => Some(&mut self.code),
            "ErrorMessage" => Some(&mut self.message),
            _ if name == shape.id => Some(&mut self.id),
            _ => None,
        }
    }
}

/// The sentence for a record of which an answer says nothing.
pub(super) const NOTHING_SAID: &str = "the answer has neither the place of the record nor an error for it";

/// What is said of one record.
pub(super) struct Said<'a>(Members<'a>);

impl<'a> From<Members<'a>> for Said<'a> {
    fn from(members: Members<'a>) -> Self {
        Self(members)
    }
}

impl Said<'_> {
    /// It is delivered if it has a sequence number, or a record ID; what else is said does not matter then.
    pub(super) fn result(self, shard_ids: &mut ShardIds) -> RecordResult {
        let Members { id, shard_id, code, message } = self.0;
        if id.is_some_and(|id| !id.is_empty()) {
            return RecordResult::Delivered { shard_id: shard_id.map(|name| shard_ids.of(&name)) };
        }
        let (code, unsaid) = match code {
            Some(code) => (code.into_owned(), ""),
            None => (Failure::NO_RESULT.to_owned(), NOTHING_SAID),
        };
        let message = message.map_or_else(|| unsaid.to_owned(), Cow::into_owned);
        RecordResult::Failed { code, shard_id: shard_in(&message).map(str::to_owned), message }
    }
}

/// Names of shards, each kept once for all results that have it.
#[derive(Debug, Default)]
pub struct ShardIds {
    /// Each in the place that its last digits lead to.
    known: Vec<Option<ShardId>>,
}

impl ShardIds {
    /// Streams with more open shards have some of their names allocated more than once.
    const COUNT_MAX: usize = 4_096;

    fn of(&mut self, name: &str) -> ShardId {
        // Names are numbered.
        let digits = &name.as_bytes()[name.len().saturating_sub(6)..];
        let place = digits.iter().fold(0, |sum, byte| sum * 10 + usize::from(byte & 0xf)) % Self::COUNT_MAX;
        if self.known.len() <= place {
            self.known.resize(place + 1, None);
        }
        let known = &mut self.known[place];
        match known {
            Some(known) if **known == *name => ShardId::clone(known),
            // No shard is called that, and what is kept is bounded.
            _ if name.len() > SHARD_ID_BYTES_MAX => name.into(),
            _ => ShardId::clone(known.insert(name.into())),
        }
    }
}

/// Reads any answer in JSON.
pub(super) fn read_json(body: &[u8], shape: Shape, mut result: impl FnMut(Said<'_>)) -> Option<()> {
    let whole: Value = serde_json::from_slice(body).ok()?;
    for record in whole.get(shape.list)?.as_array()? {
        let mut members = Members::default();
        for (name, value) in record.as_object()? {
            match (members.of(shape, name), value) {
                (None, _) | (_, Value::Null) => {}
                (Some(member), Value::String(text)) => *member = Some(text.into()),
                (Some(_), _) => return None,
            }
        }
        result(members.into());
    }
    Some(())
}
