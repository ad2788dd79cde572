//! Which lines are left out.
//!
//! What cannot be told is sent: of a line that is not of its format no field is known.

use regex::bytes::Regex;

use super::Origin;
use super::fields::{Arena, Fields, Value};
use super::path::FieldPath;
use super::template::{Filling, Scope};
use crate::config::{Condition, Filter, Test};
use crate::hash_key::hash_of;
use crate::settlement::DropReason;

/// The rules of a flow.
pub(super) struct Conditions {
    keep: Vec<Compiled>,
    drop: Vec<Compiled>,
    /// Some of them ask for a field.
    asks_for_fields: bool,
}

struct Compiled {
    line: Option<Regex>,
    field: Option<(FieldPath, Vec<Test>)>,
}

/// What the line alone says.
pub(super) enum Judgement {
    LeftOut(DropReason),
    /// It depends on fields, or it is sent; `is_kept` when the line alone is enough for a condition of `keep`.
    Undecided {
        is_kept: bool,
    },
}

impl Conditions {
    pub(super) fn new(filter: &Filter, names: Option<&[String]>) -> Self {
        let compiled = |condition: &Condition| Compiled {
            line: condition.line.as_deref().cloned(),
            field: condition.field.as_ref().map(|(name, tests)| (FieldPath::new(name, names), tests.clone())),
        };
        Self {
            keep: filter.keep.iter().map(compiled).collect(),
            drop: filter.drop.iter().map(compiled).collect(),
            asks_for_fields: filter.keep.iter().chain(&filter.drop).any(|condition| condition.field.is_some()),
        }
    }

    /// Judges by the line. Of conditions that ask for a field only those are known to fail of which the line does not match.
    pub(super) fn judge_line(&self, line: &[u8]) -> Judgement {
        let (mut is_kept, mut may_be_kept) = (self.keep.is_empty(), self.keep.is_empty());
        for condition in self.keep.iter().filter(|condition| condition.has_line(line)) {
            may_be_kept = true;
            is_kept |= condition.field.is_none();
        }
        if !may_be_kept {
            return Judgement::LeftOut(DropReason::NotKept);
        }
        if self.drop.iter().any(|condition| condition.field.is_none() && condition.has_line(line)) {
            return Judgement::LeftOut(DropReason::Filtered);
        }
        Judgement::Undecided { is_kept }
    }

    /// Judges by the fields, and by the line where a condition asks for both.
    pub(super) fn judge_fields<'l>(
        &self,
        is_kept: bool,
        line: &[u8],
        fields: &Fields<'l>,
        arena: &'l Arena,
    ) -> Option<DropReason> {
        if !self.asks_for_fields {
            return None;
        }
        let holds = |condition: &Compiled| condition.has_fields(fields, arena) && condition.has_line(line);
        if !is_kept && !self.keep.iter().any(holds) {
            return Some(DropReason::NotKept);
        }
        self.drop.iter().any(holds).then_some(DropReason::Filtered)
    }
}

impl Compiled {
    fn has_line(&self, line: &[u8]) -> bool {
        self.line.as_ref().is_none_or(|regex| regex.is_match(line))
    }

    /// Whether it asks for a field, and that is as it asks.
    fn has_fields<'l>(&self, fields: &Fields<'l>, arena: &'l Arena) -> bool {
        self.field.as_ref().is_some_and(|(path, tests)| {
            let value = path.find(fields, arena);
            tests.iter().all(|test| holds(test, value, arena))
        })
    }
}

fn holds<'l>(test: &Test, value: Value<'l>, arena: &'l Arena) -> bool {
    let is_one_of = |texts: &[String]| {
        value.text(arena).map(|text| texts.iter().any(|one| one.as_bytes() == text || is_same_number(one, value)))
    };
    let compares = |compare: fn(&f64, &f64) -> bool, with: f64| value.number().is_some_and(|number| compare(&number, &with));
    match test {
        Test::Matches(regex) => value.text(arena).is_some_and(|text| regex.is_match(text)),
        Test::Is(texts) => is_one_of(texts) == Some(true),
        Test::IsNot(texts) => is_one_of(texts) == Some(false),
        Test::Above(with) => compares(f64::gt, *with),
        Test::AtLeast(with) => compares(f64::ge, *with),
        Test::Below(with) => compares(f64::lt, *with),
        Test::AtMost(with) => compares(f64::le, *with),
        Test::Exists(wanted) => value.is_present() == *wanted,
    }
}

/// 1 and 1.0 are the same where the value is a number and not text. Whole numbers are told apart by all their digits.
fn is_same_number(text: &str, value: Value<'_>) -> bool {
    let whole = match value {
        Value::Integer(number) => Some(i128::from(number)),
        Value::Json(json) => json.parse().ok(),
        _ => None,
    };
    if let (Some(number), Ok(other)) = (whole, text.parse::<i128>()) {
        return number == other;
    }
    matches!(value, Value::Integer(_) | Value::Float(_) | Value::Json(_))
        && value.number() == text.parse().ok()
        && value.number().is_some()
}

/// A share of all lines.
pub(super) struct Sample {
    /// Lines whose hash is below are sent.
    threshold: u128,
    key: Option<Filling>,
}

impl Sample {
    /// Lines of the same `key`, without one of the same place, share their fate.
    pub(super) fn new(rate: f64, key: Option<Filling>) -> Self {
        Self { threshold: threshold(rate), key }
    }

    pub(super) fn is_chosen<'l>(&'l self, scope: &Scope<'l>) -> bool {
        let hash = match self.key.as_ref().and_then(|key| key.key(scope)) {
            Some(key) => hash_of(key),
            None => hash_of_place(scope.origin),
        };
        // The other half of the bits of which the first decide on the shard, so that a sample by the partition key spreads.
        hash & u128::from(u64::MAX) < self.threshold
    }
}

/// A line of which the fields are not known is chosen by its place.
pub(super) fn hash_of_place(origin: &Origin<'_>) -> u128 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&origin.file.0.to_be_bytes());
    place[8..].copy_from_slice(&origin.offset.to_be_bytes());
    hash_of(place)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^64, exactly enough of it")]
fn threshold(rate: f64) -> u128 {
    (rate * 2f64.powi(64)) as u128
}
