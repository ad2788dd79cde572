//! What there is to be shown of a line, and the counts of many.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::processor::Processed;
use crate::settlement::DropReason;
use crate::span::Span;

/// A line, and what becomes of it; or bytes of a file that are no line.
pub(super) struct Shown<'a> {
    /// Where it stands.
    pub(super) path: &'a Path,
    pub(super) span: Span,
    /// Without terminator, as UTF-8 when the flow says what it is; none when the bytes never became a line.
    pub(super) line: Option<&'a [u8]>,
    /// The record, or why there is none.
    pub(super) record: Result<&'a [u8], DropReason>,
    /// None: a random one.
    pub(super) partition_key: Option<&'a str>,
    /// What the processor says of the line.
    pub(super) processed: Option<Processed>,
    /// Fields that do not fit their type.
    pub(super) unfit_fields: Vec<String>,
    /// Bytes became U+FFFD.
    pub(super) is_replaced: bool,
}

impl Shown<'_> {
    /// The line is not of the format.
    pub(super) fn is_mismatched(&self) -> bool {
        self.processed.is_some_and(|processed| processed.mismatched)
    }
}

/// What was shown, under the names of the metrics where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) read_lines: u64,
    pub(super) read_bytes: u64,
    pub(super) matched_lines: u64,
    pub(super) mismatched_lines: u64,
    pub(super) user_records: u64,
    pub(super) user_record_bytes: u64,
    /// By reason; without what never was a line.
    pub(super) dropped_lines: BTreeMap<&'static str, u64>,
    pub(super) dropped_bytes: BTreeMap<&'static str, u64>,
    pub(super) type_mismatches: u64,
    pub(super) replaced_characters_lines: u64,
    pub(super) partition_key_missing_lines: u64,
    pub(super) unknown_variables_lines: u64,
    pub(super) overwritten_fields: u64,
    pub(super) masked_places: u64,
}

impl Counts {
    /// Counts what is shown.
    pub(super) fn add(&mut self, shown: &Shown<'_>) {
        self.read_bytes += shown.span.byte_count();
        if let Err(reason) = shown.record {
            *self.dropped_bytes.entry(reason.as_str()).or_default() += shown.span.byte_count();
        }
        let Some(processed) = shown.processed else { return };
        self.read_lines += 1;
        match shown.record {
            Ok(record) => {
                self.user_records += 1;
                self.user_record_bytes += record.len() as u64;
            }
            Err(reason) => *self.dropped_lines.entry(reason.as_str()).or_default() += 1,
        }
        // Whether a line that a filter leaves out is of the format may never have been looked at.
        let is_left_out = matches!(shown.record, Err(DropReason::NotKept | DropReason::Filtered | DropReason::NotSampled));
        self.mismatched_lines += u64::from(processed.mismatched);
        self.matched_lines += u64::from(!processed.mismatched && !is_left_out);
        self.type_mismatches += u64::from(processed.type_mismatches);
        self.replaced_characters_lines += u64::from(shown.is_replaced);
        self.partition_key_missing_lines += u64::from(processed.key_missing);
        self.unknown_variables_lines += u64::from(processed.unknown_variables);
        self.overwritten_fields += u64::from(processed.overwritten_fields);
        self.masked_places += u64::from(processed.masks);
    }
}
