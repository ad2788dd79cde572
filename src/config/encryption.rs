//! `[flow.encryption]`: records that only those who may use a key of KMS can read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delivery::Aggregate;
use super::reader::{Placed, Table};
use crate::encryption::message::context_byte_count;
use crate::limits::{
    CONTEXT_BYTES_MAX, DATA_KEY_AGE_DEFAULT, DATA_KEY_AGE_MAX, DATA_KEY_AGE_MIN, DATA_KEY_BYTES_DEFAULT, DATA_KEY_BYTES_MAX,
    DATA_KEY_BYTES_MIN, DATA_KEY_MESSAGES_DEFAULT, DATA_KEY_MESSAGES_MAX,
};

/// `[flow.encryption]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// ARN of a key of KMS, or of an alias.
    pub kms_key: String,
    /// What is authenticated with every record, and can be read by everybody; no more than [`CONTEXT_BYTES_MAX`] as it is
    /// written there.
    pub context: BTreeMap<String, String>,
    /// Greatest age of a data key.
    pub max_age: Duration,
    /// Most records that are encrypted with one.
    pub max_messages: usize,
    /// Most bytes of records that are encrypted with one.
    pub max_bytes: usize,
}

impl Encryption {
    /// The region of the key, where KMS is to be asked.
    pub fn kms_region(&self) -> &str {
        self.kms_key.split(':').nth(3).unwrap_or_default()
    }
}

/// Names of pairs with this are the AWS Encryption SDK's own.
const RESERVED_PREFIX: &str = "aws-crypto-";
const KEY_HELP: &str =
    "write the ARN of a symmetric key, \"arn:aws:kms:us-east-1:111122223333:key/…\", or of an alias, \"…:alias/…\"";

/// Reads `[flow.encryption]` of a flow with this `aggregate`, if that is known.
pub(super) fn read(table: &mut Table<'_>, aggregate: Option<Aggregate>) -> Option<Encryption> {
    if aggregate == Some(Aggregate::Kpl) {
        let help =
            "no reader finds the records in an encrypted aggregate: write aggregate = \"lines\" or \"none\" in [flow.kinesis]";
        table.mistake(table.place(), "[flow.encryption] cannot be used with aggregates of the KPL", help);
    }
    let kms_key = kms_key(table);
    let context = context(table);
    let max_age = table.duration("max_age", DATA_KEY_AGE_MIN..=DATA_KEY_AGE_MAX);
    let max_messages = table.integer("max_messages", 1..=DATA_KEY_MESSAGES_MAX);
    let max_bytes = table.size("max_bytes", DATA_KEY_BYTES_MIN..=DATA_KEY_BYTES_MAX);
    Some(Encryption {
        kms_key: kms_key?,
        context,
        max_age: max_age.map_or(DATA_KEY_AGE_DEFAULT, |written| written.value),
        max_messages: max_messages.map_or(DATA_KEY_MESSAGES_DEFAULT, |written| written.value),
        max_bytes: max_bytes.map_or(DATA_KEY_BYTES_DEFAULT, |written| written.value),
    })
}

fn kms_key(table: &mut Table<'_>) -> Option<String> {
    table.require("kms_key", KEY_HELP);
    let Placed { value, place } = table.string("kms_key")?;
    if !is_key_arn(value) {
        table.mistake(&place, "`kms_key` is not the ARN of a key of KMS", KEY_HELP);
    }
    Some(value.to_owned())
}

/// `arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`, or `alias/name` at its end.
fn is_key_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else { return false };
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |name: &str, others: &str| {
        !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || others.contains(character))
    };
    let is_resource = match resource.split_once('/') {
        Some(("key", id)) => is_name(id, "-"),
        Some(("alias", name)) => is_name(name, "/_-"),
        _ => false,
    };
    is_word(partition) && is_word(region) && is_account && is_resource
}

fn context(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let written = table.named_strings("context");
    for (name, _) in &written {
        if name.value.is_empty() {
            table.mistake(&name.place, "a pair of `context` has no name", "write context = { app = \"…\" }");
        } else if name.value.starts_with(RESERVED_PREFIX) {
            let help = format!("names that begin with \"{RESERVED_PREFIX}\" are the AWS Encryption SDK's own");
            table.mistake(&name.place, format!("`{}` cannot be a name in `context`", name.value), help);
        }
    }
    let places = written.first().zip(written.last()).map(|((first, _), (_, last))| first.place.start..last.place.end);
    let pairs = written.into_iter().map(|(name, value)| (name.value.to_owned(), value.value.to_owned()));
    let context: BTreeMap<String, String> = pairs.collect();
    let byte_count = context_byte_count(&context);
    if let Some(place) = places.filter(|_| byte_count > CONTEXT_BYTES_MAX) {
        let help = format!("every record has all of it: write at most {CONTEXT_BYTES_MAX} bytes");
        table.mistake(&place, format!("`context` has {byte_count} bytes as it is written in a record"), help);
    }
    context
}
