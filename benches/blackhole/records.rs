//! The records of a request that streams by.

use kinetail::hash_key::hash_of;

use super::cbor::CborRecords;
use super::json::JsonRecords;

/// Looks through the pieces of a body as they come.
pub(super) enum Records {
    Json(JsonRecords),
    Cbor(CborRecords),
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) count: u64,
    /// Where each goes, if anybody wants to know.
    pub(super) hash_keys: Vec<u128>,
    wants_keys: bool,
    partition_key: String,
    explicit_hash_key: Option<u128>,
    has_data: bool,
}

impl Records {
    pub(super) fn new(is_cbor: bool, wants_keys: bool) -> Self {
        let found = Found { wants_keys, ..Found::default() };
        if is_cbor { Self::Cbor(CborRecords::new(found)) } else { Self::Json(JsonRecords::new(found)) }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Json(records) => records.push(piece),
            Self::Cbor(records) => records.push(piece),
        }
    }

    pub(super) fn finish(self) -> Found {
        match self {
            Self::Json(records) => records.found,
            Self::Cbor(records) => records.found,
        }
    }
}

impl Found {
    /// The data of a record were passed.
    pub(super) fn data(&mut self) {
        self.has_data = true;
    }

    /// A member with a text.
    pub(super) fn text(&mut self, name: &[u8], value: &[u8]) {
        if !self.wants_keys {
            return;
        }
        let value = String::from_utf8_lossy(value);
        match name {
            b"PartitionKey" => value.as_ref().clone_into(&mut self.partition_key),
            b"ExplicitHashKey" => self.explicit_hash_key = value.parse().ok(),
            _ => {}
        }
    }

    /// An object has ended: a record if it had data.
    pub(super) fn end(&mut self) {
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        self.count += 1;
        if self.wants_keys {
            self.hash_keys.push(self.explicit_hash_key.take().unwrap_or_else(|| hash_of(&self.partition_key)));
        }
    }
}
