//! What is sent for a line: the line itself, a JSON object made of it, or nothing.
//!
//! Pure. What is not sent is only said here, with its reason; counting and settling are the caller's, and so
//! is the size of what was made.

mod fields;
mod json;

use crate::config::{OnMismatch, Parse};
use crate::settlement::DropReason;
use fields::Fields;

/// The rules of one flow, and the memory that applying them reuses from line to line.
pub struct Processor {
    /// None: lines go as they are.
    fields: Option<(Fields, OnMismatch)>,
}

/// What became of a line, and what there is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processed {
    /// What is sent.
    pub made: Made,
    /// The pattern did not match.
    pub mismatched: bool,
    /// Values that did not fit their type and were kept as text.
    pub type_mismatches: u32,
    /// Bytes that are not UTF-8 became U+FFFD.
    pub replaced: bool,
}

/// What is sent for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The line itself.
    Raw,
    /// What stands in `out`.
    Record,
    /// Nothing.
    Dropped(DropReason),
}

impl Processor {
    /// For a flow with `[flow.parse]` or without; `key_field` is the field that is the partition key, if one is.
    pub fn new(parse: Option<&Parse>, key_field: Option<&str>) -> Self {
        Self { fields: parse.map(|parse| (Fields::new(parse, key_field), parse.on_mismatch)) }
    }

    /// Makes `line`, without its terminator, into the record `out`; `key` becomes the value of the partition
    /// key's field. Both are cleared first; `key` stays empty when there is no such field in this line.
    pub fn process(&mut self, line: &[u8], out: &mut Vec<u8>, key: &mut String) -> Processed {
        out.clear();
        key.clear();
        let Some((fields, on_mismatch)) = &mut self.fields else {
            return Processed { made: Made::Raw, mismatched: false, type_mismatches: 0, replaced: false };
        };
        if let Some(written) = fields.write(line, out, key) {
            let fields::Written { type_mismatches, replaced } = written;
            return Processed { made: Made::Record, mismatched: false, type_mismatches, replaced };
        }
        let (made, replaced) = match on_mismatch {
            OnMismatch::SendRaw => (Made::Raw, false),
            OnMismatch::Drop => (Made::Dropped(DropReason::Mismatch), false),
            OnMismatch::Wrap => (Made::Record, wrap(line, out)),
        };
        Processed { made, mismatched: true, type_mismatches: 0, replaced }
    }
}

fn wrap(line: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(br#"{"message":"#);
    let replaced = json::write_string(line, out);
    out.extend_from_slice(br#","error":"no match"}"#);
    replaced
}

#[cfg(test)]
mod tests;
