//! What is sent for a line: the line itself, a JSON object made of it, or nothing.
//!
//! Pure. What is not sent is only said here, with its reason; counting and settling are the caller's, and so
//! is the size of what was made.

pub mod fields;
pub mod format;
mod json;
pub mod mask;
mod types;

pub use self::format::field_names;
pub use self::types::{PatternMistake, check_time_pattern};

use jiff::Timestamp;

use self::fields::{Arena, Fields, Value};
use self::format::Parser;
use crate::config::{FieldType, OnMismatch, Parse};
use crate::limits::PARTITION_KEY_CHARS_MAX;
use crate::settlement::DropReason;

/// The rules of one flow, and the memory that applying them reuses from line to line.
pub struct Processor {
    /// None: lines go as they are.
    parse: Option<(Parser, OnMismatch)>,
    types: Vec<(String, FieldType)>,
    key_field: Option<String>,
    arena: Arena,
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
        Self {
            parse: parse.map(|parse| (Parser::new(Some(&parse.format)), parse.on_mismatch)),
            types: parse.map(|parse| parse.types.clone().into_iter().collect()).unwrap_or_default(),
            key_field: key_field.map(str::to_owned),
            arena: Arena::new(),
        }
    }

    /// Makes `line`, without its terminator, into the record `out`; `key` becomes the value of the partition
    /// key's field. Both are cleared first; `key` stays empty when there is no such field in this line.
    /// `now` says which year a time without one is of.
    pub fn process(&mut self, line: &[u8], now: Timestamp, out: &mut Vec<u8>, key: &mut String) -> Processed {
        out.clear();
        key.clear();
        self.arena.reset();
        let Some((parser, on_mismatch)) = &mut self.parse else {
            return Processed { made: Made::Raw, mismatched: false, type_mismatches: 0, replaced: false };
        };
        let mut fields = Fields::new(&self.arena);
        if parser.parse(line, None, &self.arena, &mut fields).is_some() {
            let (mut type_mismatches, mut replaced) = (0, false);
            if let Some(Value::Text(text)) = self.key_field.as_ref().and_then(|field| fields.named(field.as_bytes())) {
                write_key(text, key);
            }
            for field in fields.iter_mut() {
                let wanted = self.types.iter().find(|(name, _)| name.as_bytes() == field.name);
                if let Some((_, field_type)) = wanted {
                    match types::convert(field.value, field_type, now, &self.arena) {
                        Some(value) => field.value = value,
                        None => type_mismatches += 1,
                    }
                }
            }
            out.push(b'{');
            for field in fields.iter().filter(|field| field.value != Value::Absent) {
                if out.len() > 1 {
                    out.push(b',');
                }
                json::write_string(field.name, out);
                out.push(b':');
                replaced |= json::write_value(field.value, out);
            }
            out.push(b'}');
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

fn write_key(value: &[u8], key: &mut String) {
    let characters = value.utf8_chunks().flat_map(|chunk| {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replacement)
    });
    key.extend(characters.take(PARTITION_KEY_CHARS_MAX));
}

#[cfg(test)]
mod tests;
