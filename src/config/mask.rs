//! `mask` of `[flow.record]`: what of a record nobody shall read.

use regex_syntax::hir::Look;

use super::parse::check_outermost;
use super::pattern::{self, Pattern};
use super::reader::{Placed, Table};
use crate::limits::MASK_BYTES_MAX;

/// One entry of `mask`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// What is masked.
    pub what: MaskPattern,
    /// `with`: what stands there instead, literally; by default `***`.
    pub with: String,
    /// `fields`: where; none of them: in every value, and in lines that are sent as they are.
    pub fields: Vec<String>,
}

/// What is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaskPattern {
    /// `preset`
    Preset(MaskPreset),
    /// `pattern`: it matches one byte at least.
    Regex(Pattern),
}

/// `preset` of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskPreset {
    /// `"email"`: addresses of people, also with `%40` for the `@`.
    Email,
    /// `"ipv4"`
    Ipv4,
    /// `"ipv6"`, with the zone if there is one.
    Ipv6,
    /// `"card"`: numbers of payment cards.
    Card,
    /// `"bearer"`: what stands behind `Bearer`, `access_token=` or in a header `Authorization`, and JSON Web Tokens.
    Bearer,
    /// `"aws_keys"`: access key ids, and secret keys and session tokens behind their names.
    AwsKeys,
}

const PRESETS: [(&str, MaskPreset); 6] = [
    ("email", MaskPreset::Email),
    ("ipv4", MaskPreset::Ipv4),
    ("ipv6", MaskPreset::Ipv6),
    ("card", MaskPreset::Card),
    ("bearer", MaskPreset::Bearer),
    ("aws_keys", MaskPreset::AwsKeys),
];
const EXAMPLE: &str = "mask = [{ preset = \"email\" }, { pattern = '…', with = \"***\" }]";

/// Reads `mask`, in its order; `names` are those of the fields, if they are known.
pub(super) fn read(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Vec<Mask> {
    let masks = table.each(
        "mask",
        EXAMPLE,
        |table| mask(table, source, names),
        |table, written| {
            let preset = table.chosen("preset", &written, &PRESETS)?;
            Some(Mask { what: MaskPattern::Preset(preset), with: "***".to_owned(), fields: Vec::new() })
        },
    );
    masks.into_iter().flatten().collect()
}

fn mask(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Mask> {
    table.require_any(&["preset", "pattern"], "write preset = \"email\", or pattern = '…' with what is to be masked");
    if table.has("preset") && table.has("pattern") {
        table.mistake(table.place(), "`preset` and `pattern` exclude each other", "write two masks");
    }
    let preset = table.choice("preset", &PRESETS);
    let pattern = pattern::read(table, "pattern", source);
    let is_limited = table.has("fields");
    if let Some(pattern) = &pattern {
        check_pattern(table, pattern, is_limited);
    }
    let with = table.string("with");
    if let Some(with) = with.as_ref().filter(|with| with.value.len() > MASK_BYTES_MAX) {
        let message = format!("`with` has {} bytes, {MASK_BYTES_MAX} are the most", with.value.len());
        table.mistake(&with.place, message, "say in few words that something was taken out");
    }
    let with = with.map_or("***", |written| written.value).to_owned();
    let fields = table.strings("fields");
    if fields.as_ref().is_some_and(Vec::is_empty) {
        table.mistake(table.place(), "`fields` is empty", "leave it out to mask in every field");
    }
    let fields = fields.unwrap_or_default();
    fields.iter().for_each(|field| check_outermost(table, "fields", field, names));
    let what = preset.map(MaskPattern::Preset).or(pattern.map(|pattern| MaskPattern::Regex(pattern.value)))?;
    Some(Mask { what, with, fields: fields.iter().map(|field| field.value.to_owned()).collect() })
}

/// What matches where there is nothing would put a mask between all characters.
fn check_pattern(table: &Table<'_>, pattern: &Placed<Pattern>, is_limited: bool) {
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern.value.as_str());
    let Ok(parsed) = parsed else { return };
    if is_limited && (parsed.properties().look_set().contains(Look::Start) || parsed.properties().look_set().contains(Look::End))
    {
        let help = "leave `^` and `$` out: in a line that is not of its format nobody knows where the field begins and ends";
        table.mistake(&pattern.place, "the `pattern` of a mask of certain `fields` cannot be bound to their ends", help);
    }
    if parsed.properties().minimum_len() == Some(0) {
        let help = "write it so that it takes one character at least: x+ instead of x*";
        table.mistake(&pattern.place, "`pattern` matches where there is nothing", help);
    }
}
