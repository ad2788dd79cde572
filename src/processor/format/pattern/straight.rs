//! Patterns as they are usually written of lines of a log, matched straight on: each step takes what the pattern prefers there.
//!
//! A pattern is tried in the order of its preferences, as a backtracking engine would: the first way through all of it is the
//! match (so `regex` defines it). Here only one way is gone. Where a repetition or an alternative could be taken in several
//! ways, the most preferred one is taken behind which the next literal stands; what was preferred to it fails there and then.
//! So when that way leads through, it is the match. When it does not, this says nothing, and the regex has to be asked.
//!
//! A class of characters is a table of bytes. In text that is not ASCII a class that has all other characters, or none of
//! them, is sound as such a table where the line is UTF-8; of any other nothing is said when such a byte is met.

use std::ops::Range;

use memchr::{memchr2, memchr3, memrchr_iter};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use crate::processor::format::pieces::find_near;

/// A pattern that can be matched straight on.
pub(super) struct Straight {
    steps: Vec<Step>,
    /// Where the groups of the newest line begin and end, in turns; [`NOWHERE`] for those that take no part.
    slots: Vec<usize>,
}

const NOWHERE: usize = usize::MAX;

enum Step {
    /// This text, in ASCII.
    Literal(Vec<u8>),
    /// A place that is noted.
    Slot(usize),
    /// As much as there is that `next` can follow.
    Greedy(Repeated),
    /// As little as there can be in front of `next`.
    Lazy(Repeated),
    /// The first that matches.
    Either { ways: Vec<Vec<Step>>, slots: Vec<usize> },
    /// The end of the line.
    End,
}

struct Repeated {
    class: ByteClass,
    least: usize,
    most: usize,
    next: Next,
}

/// What stands behind a repetition; a step of its own as well.
enum Next {
    Literal(Vec<u8>),
    End,
    Other,
}

/// How far a step has led.
enum Way {
    /// To here.
    Through(usize),
    /// It does not match here, whatever is taken.
    Closed,
    /// Nobody knows.
    Lost,
}

impl Straight {
    /// None where `pattern`, with the flags that [`regex::bytes`] has by default, has something in it that is not known here.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let hir = ParserBuilder::new().utf8(false).build().parse(pattern).ok()?;
        let mut parts = Vec::new();
        take_apart(&hir, &mut parts)?;
        // Where it may stand anywhere, the match that begins first is the match; none begins before the line.
        let parts = if let [Part::Look(Look::Start), parts @ ..] = parts.as_slice() { parts } else { &parts };
        let slot_count = 2 * (1 + hir.properties().explicit_captures_len());
        // Groups that are repeated no times are not there, but they count.
        if parts.iter().filter_map(Part::last_slot).any(|slot| slot >= slot_count) {
            return None;
        }
        Some(Self { steps: steps(parts)?, slots: vec![NOWHERE; slot_count] })
    }

    /// Matches `line`; false says nothing of it.
    pub(super) fn matches(&mut self, line: &[u8]) -> bool {
        if !line.is_ascii() && str::from_utf8(line).is_err() {
            return false;
        }
        self.slots.fill(NOWHERE);
        matches!(walk(&self.steps, line, 0, &mut self.slots), Way::Through(_))
    }

    /// Where the group at `index` is in the newest line, which matched; none when it takes no part in that.
    pub(super) fn group(&self, index: usize) -> Option<(usize, usize)> {
        let [start, end] = *self.slots.get(2 * index..)?.first_chunk()?;
        (end != NOWHERE).then_some((start, end))
    }
}

/// A pattern without what only holds others.
enum Part {
    Literal(Vec<u8>),
    Slot(usize),
    Repetition { class: ByteClass, least: usize, most: usize, is_greedy: bool },
    Either(Vec<Vec<Part>>),
    Look(Look),
}

impl Part {
    /// The largest number of a place that is noted in it.
    fn last_slot(&self) -> Option<usize> {
        match self {
            Self::Slot(slot) => Some(*slot),
            Self::Either(ways) => ways.iter().flatten().filter_map(Self::last_slot).max(),
            Self::Literal(_) | Self::Repetition { .. } | Self::Look(_) => None,
        }
    }
}

fn take_apart(hir: &Hir, parts: &mut Vec<Part>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) if literal.0.is_ascii() => parts.push(Part::Literal(literal.0.to_vec())),
        HirKind::Literal(_) => return None,
        HirKind::Class(class) => {
            parts.push(Part::Repetition { class: ByteClass::new(class, true), least: 1, most: 1, is_greedy: true });
        }
        HirKind::Look(look) => parts.push(Part::Look(*look)),
        HirKind::Repetition(repetition) => take_repetition_apart(repetition, parts)?,
        HirKind::Capture(capture) => {
            let slot = 2 * usize::try_from(capture.index).ok()?;
            parts.push(Part::Slot(slot));
            take_apart(&capture.sub, parts)?;
            parts.push(Part::Slot(slot + 1));
        }
        HirKind::Concat(all) => all.iter().try_for_each(|part| take_apart(part, parts))?,
        HirKind::Alternation(ways) => {
            let ways = ways.iter().map(|way| {
                let mut parts = Vec::new();
                take_apart(way, &mut parts).map(|()| parts)
            });
            parts.push(Part::Either(ways.collect::<Option<_>>()?));
        }
    }
    Some(())
}

fn take_repetition_apart(repetition: &Repetition, parts: &mut Vec<Part>) -> Option<()> {
    let least = usize::try_from(repetition.min).ok()?;
    let most = repetition.max.map_or(Some(usize::MAX), |most| usize::try_from(most).ok())?;
    // Characters are not bytes: so they can only be counted where that makes no difference.
    let is_counted = least > 1 || most < usize::MAX;
    let class = match repetition.sub.kind() {
        HirKind::Class(class) => ByteClass::new(class, is_counted),
        HirKind::Literal(literal) if literal.0.len() == 1 && literal.0.is_ascii() => {
            ByteClass::of(|byte| Some(byte == literal.0[0]))
        }
        _ if (least, most, repetition.greedy) == (0, 1, true) => {
            let mut way = Vec::new();
            take_apart(&repetition.sub, &mut way)?;
            parts.push(Part::Either(vec![way, Vec::new()]));
            return Some(());
        }
        _ => return None,
    };
    parts.push(Part::Repetition { class, least, most, is_greedy: repetition.greedy });
    Some(())
}

fn steps(parts: &[Part]) -> Option<Vec<Step>> {
    let step = |(index, part): (usize, &Part)| {
        Some(match part {
            Part::Literal(text) => Step::Literal(text.clone()),
            Part::Slot(slot) => Step::Slot(*slot),
            Part::Look(Look::End) => Step::End,
            Part::Look(_) => return None,
            Part::Either(ways) => {
                let ways: Vec<_> = ways.iter().map(|way| steps(way)).collect::<Option<_>>()?;
                let mut slots = Vec::new();
                ways.iter().for_each(|way| add_slots(way, &mut slots));
                Step::Either { ways, slots }
            }
            Part::Repetition { class, least, most, is_greedy } => {
                let next = match parts[index + 1..].iter().find(|part| !matches!(part, Part::Slot(_))) {
                    Some(Part::Literal(text)) => Next::Literal(text.clone()),
                    Some(Part::Look(Look::End)) => Next::End,
                    _ => Next::Other,
                };
                let is_free = *least <= 1 && *most == usize::MAX && !matches!(next, Next::Other);
                let repeated = Repeated { class: class.clone(), least: *least, most: *most, next };
                match is_greedy {
                    true => Step::Greedy(repeated),
                    false if is_free => Step::Lazy(repeated),
                    false => return None,
                }
            }
        })
    };
    parts.iter().enumerate().map(step).collect()
}

fn add_slots(steps: &[Step], slots: &mut Vec<usize>) {
    for step in steps {
        match step {
            Step::Slot(slot) => slots.push(*slot),
            Step::Either { slots: inner, .. } => slots.extend(inner),
            _ => {}
        }
    }
}

fn walk(steps: &[Step], line: &[u8], mut at: usize, slots: &mut [usize]) -> Way {
    // No step so far could have led anywhere else and these on from there.
    let mut is_only_way = true;
    for step in steps {
        match step.take(line, at, slots) {
            Way::Through(next) => at = next,
            Way::Closed if is_only_way => return Way::Closed,
            Way::Closed | Way::Lost => return Way::Lost,
        }
        is_only_way = is_only_way && step.is_only_way();
    }
    Way::Through(at)
}

impl Step {
    fn take(&self, line: &[u8], at: usize, slots: &mut [usize]) -> Way {
        match self {
            Self::Literal(text) if has(line, at, text) => Way::Through(at + text.len()),
            Self::End if at == line.len() => Way::Through(at),
            Self::Literal(_) | Self::End => Way::Closed,
            Self::Slot(slot) => {
                slots[*slot] = at;
                Way::Through(at)
            }
            Self::Greedy(repeated) => repeated.take_most(line, at),
            Self::Lazy(repeated) => repeated.take_least(line, at),
            Self::Either { ways, slots: inner } => {
                for way in ways {
                    match walk(way, line, at, slots) {
                        Way::Closed => inner.iter().for_each(|slot| slots[*slot] = NOWHERE),
                        found => return found,
                    }
                }
                Way::Closed
            }
        }
    }

    /// Whether, when what is next does not match behind it, nothing else that it could have taken changes that.
    fn is_only_way(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Slot(_) | Self::End => true,
            Self::Greedy(repeated) | Self::Lazy(repeated) => repeated.is_only_way(),
            Self::Either { .. } => false,
        }
    }
}

fn has(line: &[u8], at: usize, text: &[u8]) -> bool {
    line.get(at..).is_some_and(|rest| rest.starts_with(text))
}

impl Repeated {
    fn is_only_way(&self) -> bool {
        match &self.next {
            Next::Literal(text) => self.ends_before(text),
            Next::End => true,
            Next::Other => self.least == self.most,
        }
    }

    /// Whether `text` cannot begin with one of the class.
    fn ends_before(&self, text: &[u8]) -> bool {
        text.first().is_some_and(|byte| self.class.is(*byte) == Is::Out)
    }

    fn take_most(&self, line: &[u8], start: usize) -> Way {
        let Some(rest) = line.get(start..) else { return Way::Closed };
        let Some(byte_count) = self.class.count_first(&rest[..rest.len().min(self.most)]) else { return Way::Lost };
        if byte_count < self.least {
            return Way::Closed;
        }
        let end = start + byte_count;
        match &self.next {
            // Whatever is taken less has one of the class behind it.
            Next::Literal(text) if !self.ends_before(text) => {
                let last = last_before(text, line, start + self.least..end + 1);
                last.map_or(Way::Closed, Way::Through)
            }
            Next::End if end < line.len() => Way::Closed,
            Next::Literal(_) | Next::End | Next::Other => Way::Through(end),
        }
    }

    fn take_least(&self, line: &[u8], start: usize) -> Way {
        let end = match &self.next {
            Next::Literal(text) => first_from(text, line, start + self.least),
            Next::End | Next::Other => Some(line.len()).filter(|end| start + self.least <= *end),
        };
        let Some(end) = end else { return Way::Closed };
        match self.class.count_first(&line[start..end]) {
            Some(byte_count) if byte_count == end - start => Way::Through(end),
            Some(_) => Way::Closed,
            None => Way::Lost,
        }
    }
}

/// The first place from `start` on where `line` has `text`, which is not empty.
fn first_from(text: &[u8], line: &[u8], start: usize) -> Option<usize> {
    let first = *text.first()?;
    let mut at = start;
    loop {
        at += find_near(first, line.get(at..)?)?;
        if has(line, at, text) {
            return Some(at);
        }
        at += 1;
    }
}

/// The last of `places` where `line` has `text`, which is not empty.
fn last_before(text: &[u8], line: &[u8], places: Range<usize>) -> Option<usize> {
    let (first, start) = (*text.first()?, places.start);
    let within = line.get(start..places.end.min(line.len()))?;
    memrchr_iter(first, within).map(|at| start + at).find(|at| has(line, *at, text))
}

/// Which bytes are of a class of characters, in text that is UTF-8.
#[derive(Clone)]
struct ByteClass {
    table: Box<[Is; 256]>,
    /// Those that are not, if these are at most three and all others are.
    excluded: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    In,
    Out,
    /// It depends on the bytes around it.
    Unclear,
}

impl ByteClass {
    /// Where characters are counted, none but ASCII is known to be in it.
    fn new(class: &Class, is_counted: bool) -> Self {
        let has = |first: u32, last: u32| match class {
            Class::Unicode(class) => {
                class.iter().any(|range| u32::from(range.start()) <= first && last <= u32::from(range.end()))
            }
            Class::Bytes(class) => {
                class.iter().any(|range| u32::from(range.start()) <= first && last.min(0xff) <= u32::from(range.end()))
            }
        };
        let has_others = match class {
            Class::Unicode(class) => class.iter().any(|range| !range.end().is_ascii()),
            Class::Bytes(class) => class.iter().any(|range| !range.end().is_ascii()),
        };
        // All characters but ASCII; there are none between U+D7FF and U+E000.
        let has_all_others = has(0x80, u32::from(char::MAX)) || has(0x80, 0xd7ff) && has(0xe000, u32::from(char::MAX));
        Self::of(|byte| match byte {
            _ if byte.is_ascii() => Some(has(byte.into(), byte.into())),
            _ if !has_others => Some(false),
            _ if has_all_others && !is_counted => Some(true),
            _ => None,
        })
    }

    fn of(is_in: impl Fn(u8) -> Option<bool>) -> Self {
        let mut table = Box::new([Is::Unclear; 256]);
        for (byte, is) in (0..=u8::MAX).zip(table.iter_mut()) {
            *is = is_in(byte).map_or(Is::Unclear, |is_in| if is_in { Is::In } else { Is::Out });
        }
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| table[usize::from(*byte)] != Is::In).collect();
        let is_simple = (1..=3).contains(&others.len()) && others.iter().all(|byte| table[usize::from(*byte)] == Is::Out);
        Self { table, excluded: is_simple.then_some(others) }
    }

    fn is(&self, byte: u8) -> Is {
        self.table[usize::from(byte)]
    }

    /// How many of the first bytes are in it; none when that is not clear.
    fn count_first(&self, bytes: &[u8]) -> Option<usize> {
        let end = match self.excluded.as_deref() {
            Some([one]) => find_near(*one, bytes),
            Some([one, two]) => memchr2(*one, *two, bytes),
            Some([one, two, three]) => memchr3(*one, *two, *three, bytes),
            _ => bytes.iter().position(|byte| self.is(*byte) != Is::In),
        };
        match end {
            Some(end) if self.is(bytes[end]) == Is::Unclear => None,
            Some(end) => Some(end),
            None => Some(bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests;
