//! `[flow.filter]`: which lines are sent.

use super::mistakes::listed;
use super::parse::check_outermost;
use super::pattern::{self, Pattern};
use super::reader::Table;
use super::template::{self, Template};

/// `[flow.filter]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `keep`: where there are some, a line of which none holds is dropped.
    pub keep: Vec<Condition>,
    /// `drop`: a line of which one holds is dropped.
    pub drop: Vec<Condition>,
    /// `sample`: of what is left.
    pub sample: Option<Sample>,
}

/// What may hold of a line. All that it says must hold together, and it says something.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `line`: the line matches.
    pub line: Option<Pattern>,
    /// `field`, and what is asked of it.
    pub field: Option<(String, Vec<Test>)>,
}

/// What may be asked of a field. Nothing but [`Test::Exists`] holds of one that the line does not have.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `matches`
    Matches(Pattern),
    /// `is`: its text is one of these.
    Is(Vec<String>),
    /// `is_not`: its text is none of these.
    IsNot(Vec<String>),
    /// `above`: it is a number, and greater.
    Above(f64),
    /// `at_least`
    AtLeast(f64),
    /// `below`
    Below(f64),
    /// `at_most`
    AtMost(f64),
    /// `exists`: whether the line has it, and not as null.
    Exists(bool),
}

/// `sample`: a share of all lines, chosen so that the same line is always chosen again.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The share, from 0 to 1.
    pub rate: f64,
    /// `key`: lines of the same key are all chosen or none is, on every host. Without it each line by its place.
    pub key: Option<Template>,
}

type Comparison = fn(f64) -> Test;
const COMPARISONS: [(&str, Comparison); 4] =
    [("above", Test::Above), ("at_least", Test::AtLeast), ("below", Test::Below), ("at_most", Test::AtMost)];
const TEST_KEYS: [&str; 8] = ["matches", "is", "is_not", "above", "at_least", "below", "at_most", "exists"];

/// Reads `[flow.filter]`; `names` are the fields of its lines, if that is known.
pub(super) fn read(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Filter {
    Filter {
        keep: conditions(table, "keep", source, names),
        drop: conditions(table, "drop", source, names),
        sample: sample(table, source, names),
    }
}

/// A string is a pattern of the line.
fn conditions(table: &mut Table<'_>, key: &'static str, source: &str, names: Option<&[String]>) -> Vec<Condition> {
    let of_line = |table: &Table<'_>, written| {
        let line = pattern::compile(table, key, written, source)?;
        Some(Condition { line: Some(line.value), field: None })
    };
    let example = "['pattern of a line', { field = \"…\", is = \"…\" }]";
    table.each(key, example, |table| condition(table, source, names), of_line).into_iter().flatten().collect()
}

fn condition(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Condition> {
    table.require_any(&["line", "field"], "write line = 'pattern', or field = \"…\" and what is asked of it");
    let line = pattern::read(table, "line", source).map(|pattern| pattern.value);
    let field = table.string("field");
    let is_asked = TEST_KEYS.iter().any(|key| table.has(key));
    let tests = tests(table, source);
    match &field {
        Some(field) => {
            check_outermost(table, "field", field, names);
            if !is_asked {
                table.mistake(
                    table.place(),
                    format!("nothing is asked of the field `{}`", field.value),
                    format!("write one of {}", listed(TEST_KEYS, '`')),
                );
            }
        }
        None if is_asked => {
            table.mistake(table.place(), "it is not said of which field this is asked", "write field = \"…\"");
        }
        None => {}
    }
    (line.is_some() || field.is_some()).then(|| Condition { line, field: field.map(|field| (field.value.to_owned(), tests)) })
}

fn tests(table: &mut Table<'_>, source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(pattern::read(table, "matches", source).map(|pattern| Test::Matches(pattern.value)));
    tests.extend(table.texts("is").map(Test::Is));
    tests.extend(table.texts("is_not").map(Test::IsNot));
    for (key, test) in COMPARISONS {
        tests.extend(table.number(key, f64::MIN..=f64::MAX).map(|number| test(number.value)));
    }
    tests.extend(table.boolean("exists").map(Test::Exists));
    if !may_hold(&tests) {
        table.mistake(
            table.place(),
            "no field can be as it is asked",
            "the bounds exclude each other, or something is asked of a field that must not exist",
        );
    }
    tests
}

/// Whether some number is within all bounds, and something that is asked of a value is not asked of one that is not there.
fn may_hold(tests: &[Test]) -> bool {
    // Bounds, and whether they are excluded themselves.
    let (mut least, mut most) = ((f64::NEG_INFINITY, false), (f64::INFINITY, false));
    for test in tests {
        match *test {
            Test::Above(bound) if bound >= least.0 => least = (bound, true),
            Test::AtLeast(bound) if bound > least.0 => least = (bound, false),
            Test::Below(bound) if bound <= most.0 => most = (bound, true),
            Test::AtMost(bound) if bound < most.0 => most = (bound, false),
            _ => {}
        }
    }
    let is_never_there = tests.len() > 1 && tests.iter().any(|test| matches!(test, Test::Exists(false)));
    let is_within = least.0 < most.0 || least.0 == most.0 && !least.1 && !most.1;
    is_within && !is_never_there
}

fn sample(table: &mut Table<'_>, source: &str, names: Option<&[String]>) -> Option<Sample> {
    if !table.is_table("sample") {
        return table.number("sample", 0.0..=1.0).map(|rate| Sample { rate: rate.value, key: None });
    }
    table.optional_section("sample", |table| {
        table.require("rate", "write rate = 0.1 to send a tenth");
        let rate = table.number("rate", 0.0..=1.0);
        let key = table.string("key").map(|written| template::parse(table, "key", &written, source, names));
        rate.map(|rate| Sample { rate: rate.value, key })
    })?
}
