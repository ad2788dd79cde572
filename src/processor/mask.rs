//! What nobody shall read, out of the values of a record.
//!
//! Texts are bytes, whatever they are. A line of 200 bytes in which there is nothing to mask costs some 0.5 µs with all
//! presets together: each looks for a byte or a word that what it masks must have, or at every twelfth byte and more.
//! Which values are masked is the caller's. A value that is no text, such as a number in JSON, becomes text by a mask.

use std::ops::Range;

use bumpalo::collections::Vec as ArenaVec;
use memchr::memmem;
use regex::bytes::Regex;

use super::fields::Arena;
use super::nested::Step;
use crate::config::{Mask, MaskPattern, MaskPreset};
use crate::limits::{MASKED_ARENA_BYTES_MAX, MASKED_BYTES_MAX};

use self::credential::Name;

mod address;
mod card;
mod credential;
mod escape;
mod values;

pub(super) use self::values::mask_fields;

/// The masks of one flow.
pub(super) struct Masker {
    /// In the order of the configuration; a preset may be several.
    rules: Vec<Rule>,
    /// All of them.
    all: MaskSet,
    /// Those that are not limited to fields.
    everywhere: MaskSet,
    /// The fields that some masks are limited to.
    limited: Vec<Limited>,
    /// Some masks are for values that are known by their names.
    uses_names: bool,
}

/// A field that some masks are limited to.
struct Limited {
    field: String,
    /// The same, where its dots lead into an object.
    path: Vec<String>,
    /// Its masks, those for every field among them.
    set: MaskSet,
}

/// Which masks are to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MaskSet {
    /// Places in `rules`, ascending.
    rules: Vec<usize>,
}

/// What masking has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masked<'l> {
    /// The text with its masks.
    pub(super) text: &'l [u8],
    /// How many there are; at least one.
    pub(super) count: u32,
}

struct Rule {
    finder: Finder,
    with: Vec<u8>,
}

/// Finds the first place in a text that is to be masked, by what it is or by what is in front of it; it is never empty.
enum Finder {
    /// In what has a name, by the function.
    Named(fn(Name, &[u8]) -> Option<Range<usize>>),
    /// By a function of its own.
    Shape(fn(&[u8]) -> Option<Range<usize>>),
    /// Behind a word: the function is told where it is, and says whether it means anything there.
    Word(Box<memmem::Finder<'static>>, fn(&[u8], usize) -> Option<Range<usize>>),
    Pattern(Regex),
}

impl MaskSet {
    /// Nothing is masked.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Masker {
    /// For `masks`, which are used one after the other.
    pub(super) fn new(masks: &[Mask]) -> Self {
        let mut rules = Vec::new();
        // To which mask each rule belongs.
        let mut masks_of_rules = Vec::new();
        for mask in masks {
            for finder in finders(&mask.what) {
                rules.push(Rule { finder, with: mask.with.clone().into_bytes() });
                masks_of_rules.push(mask);
            }
        }
        let set = |is_in: &dyn Fn(&Mask) -> bool| {
            let numbered = masks_of_rules.iter().enumerate();
            MaskSet { rules: numbered.filter(|(_, mask)| is_in(mask)).map(|(number, _)| number).collect() }
        };
        let mut fields: Vec<&String> = masks.iter().flat_map(|mask| &mask.fields).collect();
        fields.sort_unstable();
        fields.dedup();
        let limited = |field: &String| Limited {
            field: field.clone(),
            path: field.split('.').map(str::to_owned).collect(),
            set: set(&|mask| mask.fields.is_empty() || mask.fields.contains(field)),
        };
        let limited = fields.into_iter().map(limited).collect();
        let uses_names = rules.iter().any(|rule| matches!(rule.finder, Finder::Named(_)));
        Self { uses_names, all: set(&|_| true), everywhere: set(&|mask| mask.fields.is_empty()), limited, rules }
    }

    /// Whether a value that is called `name` is to be masked for that.
    fn name_of(&self, name: &[u8]) -> Option<Name> {
        if self.uses_names { Name::of(name) } else { None }
    }

    /// The masks for lines that are sent as they are: all, since nobody knows what of such a line is which field.
    pub(super) fn of_lines(&self) -> &MaskSet {
        &self.all
    }

    /// The masks for text that is made of several values.
    pub(super) fn of_composed(&self) -> &MaskSet {
        &self.everywhere
    }

    /// The masks for the field `name`.
    pub(super) fn of_field(&self, name: &[u8]) -> &MaskSet {
        let limited = self.limited.iter().find(|limited| limited.field.as_bytes() == name);
        limited.map_or(&self.everywhere, |limited| &limited.set)
    }

    /// The masks that are limited to what is at `steps` inside of the field `name`, or to what is around that. A list stands
    /// for each of its elements.
    fn of_nested<'s>(&'s self, name: &'s [u8], steps: &'s [Step<'s>]) -> impl Iterator<Item = &'s MaskSet> {
        let is_around = move |limited: &&Limited| {
            let [outermost, inner @ ..] = limited.path.as_slice() else { return false };
            let names = steps.iter().filter(|step| matches!(step, Step::Name(_)));
            !inner.is_empty()
                && outermost.as_bytes() == name
                && names.clone().count() >= inner.len()
                && names.zip(inner).all(|(step, segment)| step.is(segment))
        };
        self.limited.iter().filter(is_around).map(|limited| &limited.set)
    }

    /// What stands for a whole value for which there are the masks of `set`.
    fn cover<'l>(&self, set: &MaskSet, arena: &'l Arena) -> &'l [u8] {
        let rule = set.rules.first().and_then(|number| self.rules.get(*number));
        rule.map_or(b"***", |rule| arena.alloc_slice_copy(&rule.with))
    }

    /// Masks `text` by the masks of `set`, which is of this masker; none when there was nothing to mask.
    pub(super) fn mask<'l>(&self, set: &MaskSet, text: &'l [u8], arena: &'l Arena) -> Option<Masked<'l>> {
        self.mask_named(set, None, text, arena)
    }

    /// The same, of a value that has a name by which it may be known.
    fn mask_named<'l>(&self, set: &MaskSet, name: Option<Name>, text: &'l [u8], arena: &'l Arena) -> Option<Masked<'l>> {
        let mut masked = Masked { text, count: 0 };
        for rule in set.rules.iter().filter_map(|number| self.rules.get(*number)) {
            if let Some(Masked { text, count }) = rule.mask(masked.text, name, arena) {
                masked = Masked { text, count: masked.count.saturating_add(count) };
            }
        }
        (masked.count > 0).then_some(masked)
    }
}

impl Rule {
    /// `text` with its masks; where that would be too much, a single one for all of it.
    fn mask<'l>(&self, text: &'l [u8], name: Option<Name>, arena: &'l Arena) -> Option<Masked<'l>> {
        let mut found = self.find(text, 0, name)?;
        if arena.allocated_bytes() > MASKED_ARENA_BYTES_MAX {
            return Some(Masked { text: arena.alloc_slice_copy(&self.with), count: 1 });
        }
        let mut out = ArenaVec::with_capacity_in(text.len() + self.with.len(), arena);
        let (mut copied, mut count) = (0, 0_u32);
        loop {
            if out.len() + found.start - copied + self.with.len() > MASKED_BYTES_MAX {
                return Some(Masked { text: arena.alloc_slice_copy(&self.with), count: 1 });
            }
            out.extend_from_slice_copy(&text[copied..found.start]);
            out.extend_from_slice_copy(&self.with);
            (copied, count) = (found.end, count.saturating_add(1));
            match self.find(text, copied, None) {
                Some(next) => found = next,
                None => break,
            }
        }
        out.extend_from_slice_copy(&text[copied..]);
        Some(Masked { text: out.into_bump_slice(), count })
    }

    /// The first place from `start` on; a `name` is that of the whole.
    fn find(&self, text: &[u8], start: usize, name: Option<Name>) -> Option<Range<usize>> {
        // What was masked before is no part of any word: as if the text began behind it.
        let rest = &text[start..];
        let found = match &self.finder {
            Finder::Named(find) => find(name?, rest)?,
            Finder::Shape(find) => find(rest)?,
            Finder::Word(word, find) => word_found(rest, word, *find)?,
            // A match of nothing would be found for ever.
            Finder::Pattern(regex) => {
                return regex.find_at(text, start).map(|found| found.range()).filter(|found| !found.is_empty());
            }
        };
        Some(start + found.start..start + found.end)
    }
}

fn word_found(text: &[u8], word: &memmem::Finder<'_>, find: fn(&[u8], usize) -> Option<Range<usize>>) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let start = at + word.find(text.get(at..)?)?;
        if let Some(found) = find(text, start) {
            return Some(found);
        }
        at = start + 1;
    }
}

fn finders(what: &MaskPattern) -> Vec<Finder> {
    let preset = match what {
        MaskPattern::Regex(regex) => return vec![Finder::Pattern(Regex::clone(regex))],
        MaskPattern::Preset(preset) => preset,
    };
    match preset {
        MaskPreset::Email => vec![Finder::Shape(address::email)],
        MaskPreset::Ipv4 => vec![Finder::Shape(address::ipv4)],
        MaskPreset::Ipv6 => vec![Finder::Shape(address::ipv6)],
        MaskPreset::Card => vec![Finder::Shape(card::find)],
        MaskPreset::Bearer => {
            let names = [Finder::Named(credential::token_in), Finder::Shape(credential::in_header)];
            let words = credential::WORDS.iter();
            let words = words.map(|(word, find)| Finder::Word(Box::new(memmem::Finder::new(word)), *find));
            names.into_iter().chain(words).chain([Finder::Shape(credential::access_token)]).collect()
        }
        MaskPreset::AwsKeys => {
            vec![Finder::Named(credential::key_in), Finder::Shape(credential::aws_key_id), Finder::Shape(credential::aws_secret)]
        }
    }
}

/// Whether a byte is a part of a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a word can begin at `start`: there is none right before it, escapes aside.
fn begins_word(text: &[u8], start: usize) -> bool {
    text[..start].last().is_none_or(|before| !is_word(*before)) || escape::is_behind(text, start)
}

/// Whether a word can end at `end`: there is none right behind it.
fn ends_word(text: &[u8], end: usize) -> bool {
    text.get(end).is_none_or(|behind| !is_word(*behind))
}

/// How many bytes are `wanted` at the beginning of `text`.
fn count_first(text: &[u8], mut wanted: impl FnMut(u8) -> bool) -> usize {
    text.iter().take_while(|byte| wanted(**byte)).count()
}

/// How many bytes are `wanted` at the end of `text`.
fn count_last(text: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    text.iter().rev().take_while(|byte| wanted(**byte)).count()
}

#[cfg(test)]
mod tests;
