//! The document of `kinetail offsets export`: everything that is in a store, as JSON.
//!
//! ```text
//! {"kinetail_offsets": 1,                     version of the document
//!  "started_flows": ["access"],               flows that have looked at their files before
//!  "files": [{
//!    "key": "0123456789abcdef",               of this life of the file: random, in the records that are sent
//!    "flow": "access",
//!    "path": "/var/log/access.log",           where a glob led to it last
//!    "place": {                               the file as its file system knows it, or null
//!      "device": "2049", "inode": "131", "created": "1795226130000000000"},   created in ns since 1970, or null
//!    "fingerprint": {"byte_count": 1024, "hash": "0123456789abcdef"},         of its beginning
//!    "mark": {"end": 4096, "byte_count": 256, "hash": "0123456789abcdef"},    of the bytes before `end`
//!    "byte_count": 8192,                      size when last seen
//!    "is_superseded": false,                  renamed, and another has its name
//!    "gone_at": null,                         since when it is gone, in seconds since 1970
//!    "watermark": 4096,                       all before is settled
//!    "settled_above": [[5000, 6000]]          and these ranges, (start, end), in order
//!  }],
//!  "sendings": [{                             what runs may have sent that did not end in an orderly way
//!    "run_id": "32 hexadecimal digits", "flow": "access", "stream": "logs",   stream: null for a delivery stream
//!    "marked_at_ms": 1795226130000, "in_flight_since_ms": null, "in_flight_record_count": 0, "sent_record_count": 0}]}
//! ```
//!
//! Hashes are the first 8 bytes of an MD5. What may take all 64 bits is a string, because many programs read numbers of JSON as
//! floating point. Order is fixed, each file is on a line of its own, and the same store is always the same document.

use serde_json::{Value, json};

use super::for_terminals;
use crate::offsets::{Content, Fingerprint, Identity, Mark, Place, Row, RunKey, Sending};
use crate::span::FileKey;

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u64 = 1;
/// The key by which the document is known.
pub(super) const VERSION_KEY: &str = "kinetail_offsets";

/// The document of a store.
pub(super) fn of(content: &Content) -> String {
    let Content { rows, started_flows, sendings } = content;
    let mut rows: Vec<&(FileKey, Row)> = rows.iter().collect();
    rows.sort_by(|(a_key, a), (b_key, b)| (&a.flow, &a.path, a_key).cmp(&(&b.flow, &b.path, b_key)));
    let mut sendings: Vec<&(RunKey, Sending)> = sendings.iter().collect();
    sendings.sort_by(|(a, _), (b, _)| a.cmp(b));
    let rows: Vec<String> = rows.into_iter().map(|(key, row)| of_row(*key, row).to_string()).collect();
    let sendings: Vec<String> = sendings.into_iter().map(|(run, sending)| of_sending(run, sending).to_string()).collect();
    for_terminals(&format!(
        "{{\"{VERSION_KEY}\":{VERSION},\n\"started_flows\":{},\n\"files\":{},\n\"sendings\":{}}}\n",
        json!(started_flows),
        on_lines(&rows),
        on_lines(&sendings),
    ))
}

fn on_lines(all: &[String]) -> String {
    if all.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", all.join(",\n")) }
}

fn of_row(FileKey(key): FileKey, row: &Row) -> Value {
    // All of it, so that what is added to a row is not forgotten here.
    let Row { flow, path, identity, gone_at, watermark, settled_above } = row;
    let Identity { place, fingerprint, mark, byte_count, is_superseded } = identity;
    let place = place.map(|Place { device, inode, created }| {
        json!({
            "device": device.to_string(),
            "inode": inode.to_string(),
            "created": created.map(|created| created.to_string()),
        })
    });
    let Fingerprint { byte_count: beginning_byte_count, hash } = fingerprint;
    let Mark { end, byte_count: mark_byte_count, hash: mark_hash } = mark;
    json!({
        "key": format!("{key:016x}"),
        "flow": flow,
        "path": path,
        "place": place,
        "fingerprint": { "byte_count": beginning_byte_count, "hash": format!("{hash:016x}") },
        "mark": { "end": end, "byte_count": mark_byte_count, "hash": format!("{mark_hash:016x}") },
        "byte_count": byte_count,
        "is_superseded": is_superseded,
        "gone_at": gone_at,
        "watermark": watermark,
        "settled_above": settled_above,
    })
}

fn of_sending(RunKey { run_id, flow }: &RunKey, sending: &Sending) -> Value {
    let Sending { stream, marked_at_ms, in_flight_since_ms, in_flight_record_count, sent_record_count } = sending;
    json!({
        "run_id": format!("{run_id:032x}"),
        "flow": flow,
        "stream": stream,
        "marked_at_ms": marked_at_ms,
        "in_flight_since_ms": in_flight_since_ms,
        "in_flight_record_count": in_flight_record_count,
        "sent_record_count": sent_record_count,
    })
}
