//! Fields that the line itself names: which of them are written, and which give way to members of the configuration.

use std::collections::HashMap;

use super::{Contest, Inside, Member, Prefix, Written, is_written_in_place, write_field};
use crate::config::{FieldFate, FieldRule, Record};
use crate::processor::fields::{Arena, Field, Value};
use crate::processor::json::write_string;
use crate::processor::path::FieldPath;
use crate::processor::template::Scope;

/// What becomes of fields that the line itself names.
pub(super) struct Found {
    /// Fields without a rule are left out.
    keeps_only_named: bool,
    rules: HashMap<Vec<u8>, Rule>,
}

struct Rule {
    fate: Fate,
    inside: Inside,
    rival: Option<Rival>,
}

enum Fate {
    Kept,
    /// Written under another name.
    Renamed {
        name: String,
        prefix: Prefix,
    },
    LeftOut,
}

/// What else would be written under the name of a field.
enum Rival {
    /// The member at this place.
    Member(usize),
    /// Another field, under its new name.
    Renamed(FieldPath),
}

impl Found {
    /// `members` are what is written beside.
    pub(super) fn new(record: &Record, members: &[Member]) -> Self {
        let selected =
            record.keep_only.iter().flatten().chain(&record.remove).chain(record.rename.iter().map(|(field, _)| field));
        let in_place = || record.rename.iter().filter(|(field, path)| is_written_in_place(field, path, None));
        let names = selected
            .flat_map(|name| [name.as_str(), outermost(name)])
            .chain(in_place().map(|(_, path)| path[0].as_str()))
            .chain(members.iter().map(|member| member.name.as_str()));
        let rule = |name: &str| {
            let FieldRule { fate, kept, removed } = record.rule_of(name);
            let fate = match fate {
                FieldFate::Kept => Fate::Kept,
                FieldFate::Renamed(path) if is_written_in_place(&name.to_owned(), &path, None) => {
                    Fate::Renamed { name: path[0].clone(), prefix: Prefix::of(&path[0]) }
                }
                FieldFate::Renamed(_) | FieldFate::LeftOut => Fate::LeftOut,
            };
            let member = members.iter().position(|member| member.name == name).map(Rival::Member);
            let renamed = in_place().find(|(field, path)| path[0] == name && field != name);
            let rival = member.or_else(|| renamed.map(|(field, _)| Rival::Renamed(FieldPath::new(field, None))));
            Rule { fate, inside: Inside { kept, removed }, rival }
        };
        let rules = names.map(|name| (name.as_bytes().to_vec(), rule(name))).collect();
        Self { keeps_only_named: record.keep_only.is_some(), rules }
    }

    /// The value that the line itself has for a member called `name`, if that is written.
    pub(super) fn own<'l>(&self, name: &str, scope: &Scope<'l>) -> Option<Value<'l>> {
        let rule = self.rules.get(name.as_bytes())?;
        matches!(rule.fate, Fate::Kept).then(|| scope.fields.named(name.as_bytes()))?.filter(|value| *value != Value::Absent)
    }

    pub(super) fn write<'l>(&'l self, members: &'l [Member], scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        for field in scope.fields.iter() {
            match self.rules.get(field.name) {
                None if self.keeps_only_named => {}
                None => write_named(field, &Inside::default(), scope.arena, out, written),
                Some(rule) => self.write_by(rule, field, members, scope, out, written),
            }
        }
    }

    fn write_by<'l>(
        &'l self,
        rule: &'l Rule,
        field: &Field<'l>,
        members: &'l [Member],
        scope: &Scope<'l>,
        out: &mut Vec<u8>,
        written: &mut Written,
    ) {
        let contest = match &rule.rival {
            None => Contest::Lost,
            Some(Rival::Member(index)) => members.get(*index).map_or(Contest::Lost, |rival| rival.contest(field.value, scope)),
            Some(Rival::Renamed(path)) if path.find(scope.fields, scope.arena).is_present() => Contest::Won,
            Some(Rival::Renamed(_)) => Contest::Lost,
        };
        match (&rule.fate, contest, &rule.rival) {
            (Fate::LeftOut, ..) => {}
            (Fate::Renamed { name, .. }, ..) if !field.value.is_present() && self.own(name, scope).is_some() => {}
            (Fate::Renamed { prefix, .. }, ..) => write_field(prefix, field.value, &rule.inside, scope.arena, out, written),
            (Fate::Kept, Contest::Won, _) => written.overwritten_count += 1,
            (Fate::Kept, Contest::Joined, Some(Rival::Member(index))) => {
                let mut own = Vec::new();
                rule.inside.write(field.value, scope.arena, &mut own, written);
                if let (Some(rival), Ok(own)) = (members.get(*index), str::from_utf8(&own)) {
                    rival.prefix.write(out);
                    rival.write_joined(scope.arena.alloc_str(own), scope, out, written);
                }
            }
            (Fate::Kept, ..) => write_named(field, &rule.inside, scope.arena, out, written),
        }
    }
}

fn outermost(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn write_named<'l>(field: &Field<'l>, inside: &Inside, arena: &'l Arena, out: &mut Vec<u8>, written: &mut Written) {
    if field.value != Value::Absent {
        out.push(b',');
        written.is_replaced |= write_string(field.name, out);
        out.push(b':');
        inside.write(field.value, arena, out, written);
    }
}
