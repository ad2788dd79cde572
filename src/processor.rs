//! What is sent for a line: the line itself, what a template makes of it, a JSON object of its fields, or nothing.
//!
//! In this order: conditions on the line, `format`, `types`, conditions on the fields, sample, masks, partition key,
//! `record`. Conditions come before masks, because nothing leaves the process by them; the key comes behind.
//!
//! Pure. What is not sent is only said here, with its reason; counting and settling are the caller's, and so
//! is the size of what was made.

pub mod fields;
mod filter;
pub mod format;
mod json;
mod mask;
mod nested;
mod path;
mod record;
mod template;
mod types;
mod unfit;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use self::fields::{Arena, Fields};
use self::filter::{Conditions, Judgement, Sample};
use self::format::Parser;
pub use self::format::field_names;
use self::mask::{Masker, mask_fields};
use self::record::{Plan, Written};
use self::template::{Filling, Scope};
pub use self::types::{PatternMistake, check_time_pattern};
use crate::config::{FieldType, Flow, OnMismatch, Output, PartitionKey, Template, Variable, WRAPPED_FIELDS};
use crate::limits::{ARENA_BYTES_KEPT, PARTITION_KEY_CHARS_MAX};
use crate::metadata::Ec2;
use crate::settlement::DropReason;
use crate::span::FileKey;

/// What records may say that stays the same while the agent runs.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The host's name.
    pub host_name: String,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

/// Where a line comes from, and when.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its file, and where that was last seen.
    pub path: &'a Path,
    /// The life of that file.
    pub file: FileKey,
    /// Where in it the line begins.
    pub offset: u64,
    /// The line at the beginning of the file that names columns, if it is known.
    pub header: Option<&'a [u8]>,
    /// When it was read.
    pub now: Timestamp,
    /// What is known of the instance.
    pub ec2: &'a Ec2,
}

/// The rules of one flow, and the memory that applying them reuses from line to line.
pub struct Processor {
    /// Lines go as they are, with the terminator: there are no rules.
    is_plain: bool,
    conditions: Conditions,
    parser: Parser,
    /// By place where names are fixed, else by name.
    types: Vec<(Option<usize>, String, FieldType)>,
    on_mismatch: OnMismatch,
    sample: Option<Sample>,
    /// None: nothing is masked.
    masker: Option<Masker>,
    /// None: lines have no key of their own.
    key: Option<Filling>,
    output: Writer,
    /// For lines that are wrapped because they are not of the format.
    wrapped: Plan,
    /// Something is made of the line itself, not of its fields.
    uses_line: bool,
    /// Something is made of its fields.
    uses_fields: bool,
    terminator: Vec<u8>,
    arena: Arena,
    buffer: Vec<u8>,
    /// The key of the newest line, masked.
    masked_key: String,
}

/// What a record is.
enum Writer {
    Raw,
    Json(Plan),
    Template(Filling),
}

/// What became of a line, and what there is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processed {
    /// What is sent.
    pub made: Made,
    /// It is not of the format.
    pub mismatched: bool,
    /// Values that did not fit their type and were kept as text.
    pub type_mismatches: u32,
    /// Bytes that are not UTF-8 became U+FFFD.
    pub replaced: bool,
    /// It has no partition key, because what that is made of is missing, empty or masked.
    pub key_missing: bool,
    /// A variable of the record is not known.
    pub unknown_variables: bool,
    /// Fields of the line that gave way to added ones of the same name.
    pub overwritten_fields: u32,
    /// Places that were masked.
    pub masks: u32,
}

/// What is sent for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The line itself.
    Raw,
    /// What was appended to `out`.
    Record,
    /// Nothing.
    Dropped(DropReason),
}

impl Processed {
    fn of(made: Made) -> Self {
        Self {
            made,
            mismatched: false,
            type_mismatches: 0,
            replaced: false,
            key_missing: false,
            unknown_variables: false,
            overwritten_fields: 0,
            masks: 0,
        }
    }
}

impl Processor {
    /// For the lines of `flow`.
    pub fn new(flow: &Flow, surroundings: &Surroundings) -> Self {
        let names = field_names(flow.parse.as_ref().map(|parse| &parse.format));
        let names = names.as_deref();
        let filling = |template: &Template| Filling::new(template, names, &flow.name, surroundings);
        let slot = |name: &String| names.and_then(|names| names.iter().position(|known| known == name));
        let types = flow.parse.iter().flat_map(|parse| &parse.types);
        let filter = &flow.filter;
        let key = match &flow.delivery.partition_key {
            PartitionKey::Random | PartitionKey::File => None,
            PartitionKey::Template(template) => Some(filling(template)),
        };
        let is_filtered = !filter.keep.is_empty() || !filter.drop.is_empty() || filter.sample.is_some();
        let is_raw = flow.record.output == Output::Raw;
        let is_plain = flow.parse.is_none() && is_raw && !is_filtered && flow.record.mask.is_empty() && key.is_none();
        Self {
            is_plain,
            conditions: Conditions::new(filter, names),
            parser: Parser::new(flow.parse.as_ref().map(|parse| &parse.format)),
            types: types.map(|(name, field_type)| (slot(name), name.clone(), field_type.clone())).collect(),
            on_mismatch: flow.parse.as_ref().map_or(OnMismatch::SendRaw, |parse| parse.on_mismatch),
            masker: (!flow.record.mask.is_empty()).then(|| Masker::new(&flow.record.mask)),
            sample: filter.sample.as_ref().map(|sample| Sample::new(sample.rate, sample.key.as_ref().map(filling))),
            key,
            output: match &flow.record.output {
                Output::Raw => Writer::Raw,
                Output::Json => Writer::Json(Plan::new(&flow.record, names, &flow.name, surroundings)),
                Output::Template(template) => Writer::Template(filling(template)),
            },
            wrapped: Plan::of_wrapped(WRAPPED_FIELDS, b"\"no match\"", &flow.record, &flow.name, surroundings),
            uses_fields: flow.record.output == Output::Json
                || flow.templates().any(|template| template.fields().next().is_some()),
            uses_line: is_raw || flow.templates().flat_map(Template::variables).any(|variable| *variable == Variable::LineText),
            terminator: flow.record.terminator.clone().into_bytes(),
            arena: Arena::new(),
            buffer: Vec::new(),
            masked_key: String::new(),
        }
    }

    /// Whether lines go as they are, with the terminator of records behind: nothing else is to be done.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Appends the record of `line`, which has no terminator, to `out`: what is behind its former end is the record, and nothing
    /// unless [`Made::Record`] is returned. `key` is cleared, and becomes the record's partition key, of at most 256 characters;
    /// it stays empty when the line has none of its own.
    pub fn process(&mut self, line: &[u8], origin: &Origin<'_>, out: &mut Vec<u8>, key: &mut String) -> Processed {
        key.clear();
        if self.is_plain && self.terminator.is_empty() {
            return Processed::of(Made::Raw);
        }
        if self.arena.allocated_bytes() > ARENA_BYTES_KEPT {
            self.arena = Arena::new();
        }
        self.arena.reset();
        let is_kept = match self.conditions.judge_line(line) {
            Judgement::LeftOut(reason) => return Processed::of(Made::Dropped(reason)),
            Judgement::Undecided { is_kept } => is_kept,
        };
        if let Some(processed) = self.process_as(line, line, is_kept, origin, out, key) {
            return processed;
        }
        // Patterns of text do not match other bytes, and JSON has none.
        if let Cow::Owned(text) = String::from_utf8_lossy(line)
            && let Some(processed) = self.process_as(text.as_bytes(), line, is_kept, origin, out, key)
        {
            let is_written = processed.made == Made::Record && !matches!(self.output, Writer::Raw);
            return Processed { replaced: is_written, ..processed };
        }
        self.process_mismatch(line, origin, out, key)
    }

    /// As [`Self::process`], of a `line` whose fields are those of `text`; none when that is not of the format.
    fn process_as(
        &mut self,
        text: &[u8],
        line: &[u8],
        is_kept: bool,
        origin: &Origin<'_>,
        out: &mut Vec<u8>,
        key: &mut String,
    ) -> Option<Processed> {
        let arena = &self.arena;
        let mut fields = Fields::new(arena);
        self.parser.parse(text, origin.header, arena, &mut fields)?;
        let type_mismatches = convert(&self.types, &mut fields, origin.now, arena);
        if let Some(reason) = self.conditions.judge_fields(is_kept, line, &fields, arena) {
            return Some(Processed::of(Made::Dropped(reason)));
        }
        let scope = Scope::unmasked(&fields, line, origin, arena);
        if self.sample.as_ref().is_some_and(|sample| !sample.is_chosen(&scope)) {
            return Some(Processed::of(Made::Dropped(DropReason::NotSampled)));
        }
        let has_key = self.key.as_ref().is_some_and(|filling| write_key(filling.key(&scope), key));
        let (line, line_mask_count) = masked_line(self.masker.as_ref().filter(|_| self.uses_line), line, arena);
        let masker = self.masker.as_ref().filter(|_| self.uses_fields);
        let field_mask_count = masker.map_or(0, |masker| mask_fields(masker, &mut fields, arena, &mut self.buffer));
        let scope = Scope { masker: self.masker.as_ref(), ..Scope::unmasked(&fields, line, origin, arena) };
        if let (true, Some(filling), Some(_)) = (has_key, &self.key, &self.masker) {
            clear_masked(key, filling.key(&scope), &mut self.masked_key);
        }
        let key_missing = self.key.is_some() && key.is_empty();
        let written = match &self.output {
            Writer::Raw => {
                out.extend_from_slice(line);
                Written::default()
            }
            Writer::Json(plan) => {
                let written = plan.write(&scope, out);
                Written { is_replaced: written.is_replaced || fields.is_replaced(), ..written }
            }
            Writer::Template(filling) => {
                let filled = filling.value(&scope);
                out.extend_from_slice(filled.value.text(arena).unwrap_or_default());
                Written { is_unknown: filled.is_unknown, ..Written::default() }
            }
        };
        out.extend_from_slice(&self.terminator);
        Some(Processed {
            made: Made::Record,
            mismatched: false,
            type_mismatches,
            replaced: written.is_replaced,
            key_missing,
            unknown_variables: written.is_unknown,
            overwritten_fields: written.overwritten_count,
            // Of the same places both count, where both are used.
            masks: line_mask_count.max(field_mask_count).saturating_add(scope.mask_count.get()),
        })
    }

    /// What becomes of a line that is not of the format.
    fn process_mismatch(&mut self, line: &[u8], origin: &Origin<'_>, out: &mut Vec<u8>, key: &mut String) -> Processed {
        let arena = &self.arena;
        let mismatched = |made| Processed { mismatched: true, ..Processed::of(made) };
        if self.on_mismatch == OnMismatch::Drop {
            return mismatched(Made::Dropped(DropReason::Mismatch));
        }
        let no_fields = Fields::new(arena);
        let scope = Scope::unmasked(&no_fields, line, origin, arena);
        if self.sample.as_ref().is_some_and(|sample| !sample.is_chosen(&scope)) {
            return mismatched(Made::Dropped(DropReason::NotSampled));
        }
        let has_key = self.key.as_ref().is_some_and(|filling| write_key(filling.key(&scope), key));
        let (line, masks) = masked_line(self.masker.as_ref(), line, arena);
        let scope = Scope { masker: self.masker.as_ref(), ..Scope::unmasked(&no_fields, line, origin, arena) };
        if let (true, Some(filling), Some(_)) = (has_key, &self.key, &self.masker) {
            clear_masked(key, filling.key(&scope), &mut self.masked_key);
        }
        let key_missing = self.key.is_some() && key.is_empty();
        let written = if self.on_mismatch == OnMismatch::Wrap {
            self.wrapped.write(&scope, out)
        } else {
            out.extend_from_slice(line);
            Written::default()
        };
        out.extend_from_slice(&self.terminator);
        Processed {
            key_missing,
            replaced: written.is_replaced,
            unknown_variables: written.is_unknown,
            masks: masks.saturating_add(scope.mask_count.get()),
            ..mismatched(Made::Record)
        }
    }
}

/// `line` as it may be sent, and how many masks are in it.
fn masked_line<'l>(masker: Option<&Masker>, line: &'l [u8], arena: &'l Arena) -> (&'l [u8], u32) {
    let masked = masker.and_then(|masker| masker.mask(masker.of_lines(), line, arena));
    masked.map_or((line, 0), |masked| (masked.text, masked.count))
}

/// Gives the fields their types; returns how many have a value that does not fit and stays as it is.
fn convert<'l>(types: &[(Option<usize>, String, FieldType)], fields: &mut Fields<'l>, now: Timestamp, arena: &'l Arena) -> u32 {
    let mut mismatch_count = 0;
    for (slot, name, field_type) in types {
        let field = match slot {
            Some(slot) => fields.at_mut(*slot),
            None => fields.iter_mut().rfind(|field| field.name == name.as_bytes()),
        };
        if let Some(field) = field
            && field.value.is_present()
        {
            match types::convert(field.value, field_type, now, arena) {
                Some(value) => field.value = value,
                None => mismatch_count += 1,
            }
        }
    }
    mismatch_count
}

/// Appends the `text` of a key, of which it is at most as long as a key may be; false, and nothing appended, when there is none.
fn write_key(text: Option<&[u8]>, key: &mut String) -> bool {
    let Some(text) = text else { return false };
    let characters = text.utf8_chunks().flat_map(|chunk| {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replacement)
    });
    key.extend(characters.take(PARTITION_KEY_CHARS_MAX));
    true
}

/// Clears `key` where `text`, which is the same with its masks, is another: all that is masked would be one key, on one shard.
fn clear_masked(key: &mut String, text: Option<&[u8]>, masked_key: &mut String) {
    masked_key.clear();
    write_key(text, masked_key);
    if masked_key != key {
        key.clear();
    }
}

#[cfg(test)]
mod tests;
