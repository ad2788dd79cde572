//! What a pattern of `[flow.parse]` costs, and how it may be written so that it costs less.
//!
//! The crate regex finds groups in one pass over a line if at each byte there is only one way to go on. Otherwise it finds
//! the match first, and then the groups by keeping all ways in view, which takes three times as long or more (BENCHMARKS.md). It
//! is asked about the lines that the processor cannot match straight on.

use regex_automata::dfa::onepass::{self, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_syntax::ast::{Ast, ClassPerlKind, GroupKind, Repetition, RepetitionKind, RepetitionRange, Span, parse::Parser};
use regex_syntax::hir::Look;

/// As much memory for a one-pass matcher as the crate regex allows (`onepass_size_limit` of regex-automata's meta engine).
const ONE_PASS_BYTES_MAX: usize = 1 << 20;

/// How a pattern is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatternCost {
    /// In one pass.
    OnePass,
    /// In several; a pattern that is much the same may be matched in one.
    Several {
        /// That pattern, where one was found. It is matched by other lines in which a field has the character that stands
        /// behind it.
        instead: Option<String>,
    },
}

/// Looks at `pattern`, which is sound.
pub(super) fn cost_of(pattern: &str) -> PatternCost {
    if is_one_pass(pattern) {
        return PatternCost::OnePass;
    }
    // With flags parts of it may mean something else.
    if has_flags(pattern) {
        return PatternCost::Several { instead: None };
    }
    let mut candidate = pattern.to_owned();
    for rewrite in [anchored, bounded_by_what_follows, of_ascii] {
        candidate = rewrite(&candidate);
        if is_one_pass(&candidate) {
            return PatternCost::Several { instead: Some(candidate) };
        }
    }
    PatternCost::Several { instead: None }
}

/// Whether the crate regex finds the groups in one pass: only of a pattern that matches at the beginning of a line.
fn is_one_pass(pattern: &str) -> bool {
    let is_anchored = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(pattern)
        .is_ok_and(|hir| hir.properties().look_set_prefix().contains(Look::Start));
    let matcher: Result<DFA, _> = onepass::Builder::new()
        .configure(onepass::Config::new().starts_for_each_pattern(true).size_limit(Some(ONE_PASS_BYTES_MAX)))
        .syntax(syntax::Config::new().utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build(pattern);
    is_anchored && matcher.is_ok()
}

fn has_flags(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some(at) = rest.find("(?") {
        rest = &rest[at + 2..];
        if !rest.starts_with(['<', 'P', ':']) {
            return true;
        }
    }
    false
}

fn anchored(pattern: &str) -> String {
    let is_anchored = pattern.trim_start_matches("(?:").starts_with(['^']) || pattern.starts_with("\\A");
    if is_anchored { pattern.to_owned() } else { format!("^{pattern}") }
}

/// `\S+ ` becomes `[^ ]+ `, `.*?"` becomes `[^"]*"`: what goes on until a character excludes it.
fn bounded_by_what_follows(pattern: &str) -> String {
    let mut steps = Vec::new();
    if let Ok(ast) = Parser::new().parse(pattern) {
        push_steps(&ast, &mut steps);
    }
    let mut edits: Vec<(Span, String)> = Vec::new();
    for pair in steps.windows(2) {
        if let [Step::Many { span, is_at_least_one }, Step::Literal(next)] = *pair {
            let repeated = if is_at_least_one { '+' } else { '*' };
            edits.push((span, format!("[^{}]{repeated}", escaped_in_class(next))));
        }
    }
    edited(pattern, edits)
}

/// `\d`, `\w` and `\s` mean very many characters of very many scripts.
fn of_ascii(pattern: &str) -> String {
    let mut steps = Vec::new();
    if let Ok(ast) = Parser::new().parse(pattern) {
        push_classes(&ast, &mut steps);
    }
    edited(pattern, steps)
}

/// Replaces parts of `pattern`, from the last to the first, so that places stay right.
fn edited(pattern: &str, mut edits: Vec<(Span, String)>) -> String {
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start.offset));
    let mut edited = pattern.to_owned();
    for (span, text) in edits {
        edited.replace_range(span.start.offset..span.end.offset, &text);
    }
    edited
}

/// What a match goes through, one behind the other.
enum Step {
    /// A repetition of something that may be almost anything.
    Many {
        span: Span,
        is_at_least_one: bool,
    },
    Literal(char),
    Other,
}

fn push_steps(ast: &Ast, steps: &mut Vec<Step>) {
    match ast {
        Ast::Concat(concat) => concat.asts.iter().for_each(|ast| push_steps(ast, steps)),
        Ast::Group(group) if !matches!(&group.kind, GroupKind::NonCapturing(flags) if !flags.items.is_empty()) => {
            push_steps(&group.ast, steps);
        }
        Ast::Literal(literal) => steps.push(Step::Literal(literal.c)),
        Ast::Repetition(repetition) => steps.push(many(repetition).unwrap_or(Step::Other)),
        _ => steps.push(Step::Other),
    }
}

fn many(repetition: &Repetition) -> Option<Step> {
    let is_wide = match &*repetition.ast {
        Ast::Dot(_) => true,
        Ast::ClassPerl(class) => class.negated || class.kind == ClassPerlKind::Word,
        Ast::ClassBracketed(class) => class.negated,
        _ => false,
    };
    let is_at_least_one = match repetition.op.kind {
        RepetitionKind::ZeroOrMore | RepetitionKind::Range(RepetitionRange::AtLeast(0)) => false,
        RepetitionKind::OneOrMore | RepetitionKind::Range(RepetitionRange::AtLeast(1)) => true,
        _ => return None,
    };
    is_wide.then_some(Step::Many { span: repetition.span, is_at_least_one })
}

fn push_classes(ast: &Ast, edits: &mut Vec<(Span, String)>) {
    match ast {
        Ast::Concat(concat) => concat.asts.iter().for_each(|ast| push_classes(ast, edits)),
        Ast::Alternation(alternation) => alternation.asts.iter().for_each(|ast| push_classes(ast, edits)),
        Ast::Group(group) => push_classes(&group.ast, edits),
        Ast::Repetition(repetition) => push_classes(&repetition.ast, edits),
        Ast::ClassPerl(class) => {
            let members = match class.kind {
                ClassPerlKind::Digit => "0-9",
                ClassPerlKind::Space => " \\t",
                ClassPerlKind::Word => "0-9A-Za-z_",
            };
            let negation = if class.negated { "^" } else { "" };
            edits.push((class.span, format!("[{negation}{members}]")));
        }
        _ => {}
    }
}

fn escaped_in_class(c: char) -> String {
    if r"\]^-[&~".contains(c) { format!("\\{c}") } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, instead: Option<&str>) {
        assert_eq!(cost_of(pattern), PatternCost::Several { instead: instead.map(str::to_owned) });
        for pattern in [Some(pattern), instead].into_iter().flatten() {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn some_patterns_are_one_pass() {
        for pattern in
            [r#"^(?<ip>[^ ]*) \[(?<time>[^\]]*)\] "(?<request>[^"]*)" (?<status>[0-9]+)$"#, "^(?<a>.*)$", r"\A(?<n>\d+) (?<b>.*)"]
        {
            assert_eq!(cost_of(pattern), PatternCost::OnePass, "{pattern}");
        }
    }

    #[test]
    fn others_can_be_written_so_that_they_are() {
        check("(?<a>[^ ]*) (?<b>.*)", Some("^(?<a>[^ ]*) (?<b>.*)"));
        check(r"^(?<a>\S+) (?<b>.+?): (?<c>.*)$", Some("^(?<a>[^ ]+) (?<b>[^:]+): (?<c>.*)$"));
        check(
            r#"^(?<ip>\S+) \S+ \S+ \[(?<time>.+?)\] "(?<request>.*?)" (?<status>\d{3}) (?<bytes>\d+|-)"#,
            Some(r#"^(?<ip>[^ ]+) [^ ]+ [^ ]+ \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?<bytes>\d+|-)"#),
        );
        check(r"^(?<level>\w+)\s(?<word>\w+) x", Some(r"^(?<level>[0-9A-Za-z_]+)[ \t](?<word>[^ ]+) x"));
    }

    #[test]
    fn others_cannot() {
        check("^(?<a>.*)(?<b>.*)$", None);
        check("^(?:(?<a>x+)|(?<b>x+y))$", None);
        check(r"(?x) ^(?<a>.+?) \x20 (?<b>.*)$", None);
    }
}
