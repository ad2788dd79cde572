//! What a store holds: as it is used, and as the bytes of keys and values that are kept.
//!
//! Keys: `f` and the file key (8 bytes, most significant first) for a row; `s` and a name for a flow that has started; `r`, the
//! run id (16 bytes, most significant first) and the name of a flow for what a run may have sent. A value is a byte, the version
//! of values, and JSON: of a row or of a sending; nothing for a flow.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use md5::{Digest as _, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Changes, Row, RunKey, Sending};
use crate::span::FileKey;

/// First byte of every value.
const VALUE_VERSION: u8 = 2;
const ROW: u8 = b'f';
const STARTED: u8 = b's';
const RUN: u8 = b'r';

/// Keys and values; a value that is none takes the key away.
pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a store says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Every row.
    pub rows: Vec<(FileKey, Row)>,
    /// As [`Offsets::started_flows`](super::Offsets::started_flows).
    pub started_flows: BTreeSet<String>,
    /// As [`Offsets::sendings`](super::Offsets::sendings).
    pub sendings: Vec<(RunKey, Sending)>,
}

/// Everything that a store holds after one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// Number of that commit; 0 before the first.
    pub(super) generation: u64,
    /// There may have been later commits, and nobody has seen to what follows from that.
    pub(super) is_rolled_back: bool,
    /// All of its content.
    pub(super) entries: Entries,
}

impl Content {
    /// What the bytes mean, or what is wrong with them.
    pub(super) fn decode(entries: &Entries) -> Result<Self, String> {
        let mut content = Self::default();
        for (key, value) in entries {
            match key.split_first() {
                Some((&ROW, rest)) => content.rows.push(decode_row(rest, value)?),
                Some((&STARTED, name)) => {
                    content.started_flows.insert(String::from_utf8_lossy(name).into_owned());
                }
                Some((&RUN, rest)) => content.sendings.push(decode_sending(rest, value)?),
                _ => return Err(format!("a key of {} bytes is of no known kind", key.len())),
            }
        }
        content.sendings.sort_by_key(|(_, sending)| sending.marked_at_ms);
        Ok(content)
    }

    /// The bytes of it.
    pub(super) fn encode(&self) -> io::Result<Entries> {
        let changes = Changes {
            rows: self.rows.clone(),
            started_flows: self.started_flows.iter().cloned().collect(),
            sendings: self.sendings.clone(),
            ..Changes::default()
        };
        Ok(encode_changes(&changes)?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

/// The bytes of what a commit changes: each key with what it is from now on, or that it goes.
pub(super) fn encode_changes(changes: &Changes) -> io::Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let Changes { rows, removed, started_flows, forgotten_flows, sendings, reconciled } = changes;
    let mut encoded = BTreeMap::new();
    encoded.extend(removed.iter().map(|file| (row_key(*file), None)));
    for (file, row) in rows {
        encoded.insert(row_key(*file), Some(encode(row)?));
    }
    encoded.extend(forgotten_flows.iter().map(|flow| (started_key(flow), None)));
    encoded.extend(started_flows.iter().map(|flow| (started_key(flow), Some(vec![VALUE_VERSION]))));
    encoded.extend(reconciled.iter().map(|run| (run_key(run), None)));
    for (run, sending) in sendings {
        encoded.insert(run_key(run), Some(encode(sending)?));
    }
    Ok(encoded)
}

/// What one entry adds to the check over all of them: the first 16 bytes of an MD5 of it, added up modulo 2^128.
pub(super) fn digest(key: &[u8], value: &[u8]) -> u128 {
    let hash = Md5::new().chain_update((key.len() as u64).to_le_bytes()).chain_update(key).chain_update(value).finalize();
    u128::from_le_bytes(hash.into())
}

/// The check over all of them.
pub(super) fn check_of(entries: &Entries) -> u128 {
    entries.iter().map(|(key, value)| digest(key, value)).fold(0, u128::wrapping_add)
}

/// The keys that version 2 of the store had, in a tree for each kind, as they are now.
pub(super) fn key_of_version_2(tree: &str, key: &[u8]) -> Option<Vec<u8>> {
    let kind = match tree {
        "files" => ROW,
        "flows" => STARTED,
        "sendings" => RUN,
        _ => return None,
    };
    Some([&[kind], key].concat())
}

fn row_key(file: FileKey) -> Vec<u8> {
    [&[ROW][..], &file.0.to_be_bytes()].concat()
}

fn started_key(flow: &str) -> Vec<u8> {
    [&[STARTED], flow.as_bytes()].concat()
}

fn run_key(run: &RunKey) -> Vec<u8> {
    [&[RUN][..], &run.run_id.to_be_bytes(), run.flow.as_bytes()].concat()
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut encoded = vec![VALUE_VERSION];
    serde_json::to_writer(&mut encoded, value)?;
    Ok(encoded)
}

fn decode_row(key: &[u8], value: &[u8]) -> Result<(FileKey, Row), String> {
    let key = key.try_into().map_err(|_| format!("the key of a file has {} bytes, not 8", key.len()))?;
    let key = FileKey(u64::from_be_bytes(key));
    Ok((key, decode(value).map_err(|what| format!("row {key:?}: {what}"))?))
}

fn decode_sending(key: &[u8], value: &[u8]) -> Result<(RunKey, Sending), String> {
    let (run_id, flow) = key.split_first_chunk().ok_or_else(|| format!("the key of a run has {} bytes", key.len()))?;
    let key = RunKey { run_id: u128::from_be_bytes(*run_id), flow: String::from_utf8_lossy(flow).into_owned() };
    let sending = decode(value).map_err(|what| format!("{key:?}: {what}"))?;
    Ok((key, sending))
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    match value.split_first() {
        Some((&VALUE_VERSION, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("it is of version {version}, this kinetail reads version {VALUE_VERSION}")),
        None => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Identity;

    fn row(path: &str) -> Row {
        let (flow, path) = ("access".to_owned(), path.to_owned());
        Row { flow, path, identity: Identity::default(), gone_at: None, watermark: 5, settled_above: vec![(7, 9)] }
    }

    fn sending(marked_at_ms: i64) -> Sending {
        let stream = Some("s".to_owned());
        Sending { stream, marked_at_ms, in_flight_since_ms: None, in_flight_record_count: 1, sent_record_count: 2 }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let run = |run_id| RunKey { run_id, flow: "access".to_owned() };
        let content = Content {
            rows: vec![(FileKey(1), row("a")), (FileKey(u64::MAX), row("b"))],
            started_flows: ["access".to_owned(), "\u{e9}rrors".to_owned()].into(),
            // The oldest first, whatever its id.
            sendings: vec![(run(2), sending(1)), (run(1), sending(2))],
        };
        assert_eq!(Content::decode(&content.encode().unwrap()), Ok(content));
    }

    #[test]
    fn what_a_commit_writes_comes_after_what_it_removes() {
        let (file, run) = (FileKey(1), RunKey { run_id: 1, flow: "access".to_owned() });
        let changes = Changes {
            rows: vec![(file, row("a"))],
            removed: vec![file, FileKey(2)],
            sendings: vec![(run.clone(), sending(1))],
            reconciled: vec![run],
            ..Changes::default()
        };
        let encoded = encode_changes(&changes).unwrap();
        assert_eq!(encoded.values().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn the_check_is_the_same_in_any_order_and_tells_entries_apart() {
        let check = |entries: &[(&str, &str)]| {
            entries.iter().fold(0_u128, |sum, (key, value)| sum.wrapping_add(digest(key.as_bytes(), value.as_bytes())))
        };
        assert_eq!(check(&[("a", "1"), ("b", "2")]), check(&[("b", "2"), ("a", "1")]));
        assert_ne!(check(&[("a", "b")]), check(&[("ab", "")]));
        assert_ne!(check(&[("a", "1"), ("b", "2")]), check(&[("a", "2"), ("b", "1")]));
    }

    #[test]
    fn what_is_of_no_known_kind_is_refused() {
        for (key, value, what) in [
            (&b"x"[..], &b""[..], "a key of 1 bytes is of no known kind"),
            (b"", b"", "a key of 0 bytes is of no known kind"),
            (b"f123", b"", "the key of a file has 3 bytes, not 8"),
            (b"f12345678", b"", "it is empty"),
            (b"f12345678", b"\x09{}", "it is of version 9, this kinetail reads version 2"),
            (b"f12345678", b"\x02{}", "missing field `flow`"),
            (b"r", b"\x02{}", "the key of a run has 0 bytes"),
        ] {
            let refused = Content::decode(&[(key.to_vec(), value.to_vec())].into()).unwrap_err();
            assert!(refused.contains(what), "{refused}");
        }
    }
}
