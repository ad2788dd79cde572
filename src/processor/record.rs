//! What is written of the fields of a line.
//!
//! All that does not depend on the line is decided once: the order, the names with their quotes and colons, the objects around
//! them. Fields that the line itself names stay where they are, and are looked up one by one; where one has the name of a
//! member that is added or renamed, that decides which has a value.

mod found;

use self::found::Found;
use super::Surroundings;
use super::fields::{Arena, Value};
use super::json::{Sink as _, write_string, write_value};
use super::nested::{Change, Step, is_at, members, rewrite};
use super::path::FieldPath;
use super::template::{Filling, Scope};
use crate::config::{AddedValue, FieldFate, FieldRule, Record};

/// What a record is made of.
pub(super) struct Plan {
    /// What becomes of fields that the line itself names; none where the format does.
    found: Option<Found>,
    /// Those that are decided beforehand, in their order, behind the found ones.
    members: Vec<Member>,
}

struct Member {
    name: String,
    prefix: Prefix,
    holds: Holds,
}

enum Holds {
    Value(Source),
    /// An object, which is left out when nothing is in it.
    Object(Vec<Member>),
}

enum Source {
    /// The field at a place of the format's names.
    Slot(usize, Inside),
    Field(FieldPath),
    Added(Filling),
    /// The same in every record: JSON.
    Fixed(Vec<u8>),
}

/// Which part of an object is written, by paths inside of it.
#[derive(Default)]
struct Inside {
    /// Only these; all where there are none.
    kept: Vec<Vec<String>>,
    removed: Vec<Vec<String>>,
}

/// What there is to count of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Bytes that are not UTF-8 became U+FFFD.
    pub(super) is_replaced: bool,
    /// A variable is not known.
    pub(super) is_unknown: bool,
    /// Fields of the line that gave way to added or renamed ones of the same name.
    pub(super) overwritten_count: u32,
}

impl Plan {
    /// For lines whose fields are `names`, or say them themselves.
    pub(super) fn new(record: &Record, names: Option<&[String]>, flow: &str, surroundings: &Surroundings) -> Self {
        let mut plan = Self { found: None, members: Vec::new() };
        for (slot, name) in names.unwrap_or_default().iter().enumerate() {
            let FieldRule { fate, kept, removed } = record.rule_of(name);
            let path = match fate {
                FieldFate::LeftOut => continue,
                FieldFate::Kept => name.split('.').map(str::to_owned).collect(),
                FieldFate::Renamed(path) => path,
            };
            plan.insert(&path, Source::Slot(slot, Inside { kept, removed }));
        }
        for (field, path) in record.rename.iter().filter(|(field, path)| !is_written_in_place(field, path, names)) {
            plan.insert(path, Source::Field(FieldPath::new(field, names)));
        }
        plan.add(record, names, flow, surroundings);
        plan.found = names.is_none().then(|| Found::new(record, &plan.members));
        plan
    }

    /// For lines that are not of their format: the line as the first of `names`, the JSON `reason` as the second, and what is
    /// added to all records.
    pub(super) fn of_wrapped(names: [&str; 2], reason: &[u8], record: &Record, flow: &str, surroundings: &Surroundings) -> Self {
        let mut plan = Self { found: None, members: Vec::new() };
        let [line, error] = names.map(|name| [name.to_owned()]);
        plan.insert(&line, Source::Added(Filling::of_line()));
        plan.insert(&error, Source::Fixed(reason.to_vec()));
        plan.add(record, None, flow, surroundings);
        plan
    }

    fn add(&mut self, record: &Record, names: Option<&[String]>, flow: &str, surroundings: &Surroundings) {
        for added in &record.add {
            let source = match &added.value {
                AddedValue::Template(template) => Source::Added(Filling::new(template, names, flow, surroundings)),
                AddedValue::Json(json) => Source::Fixed(json.to_string().into_bytes()),
            };
            self.insert(&added.path, source);
        }
    }

    fn insert(&mut self, path: &[String], source: Source) {
        insert(&mut self.members, path, source);
    }

    /// Appends the object that a line makes.
    pub(super) fn write<'l>(&'l self, scope: &Scope<'l>, out: &mut Vec<u8>) -> Written {
        let mut written = Written::default();
        let start = out.len();
        if let Some(found) = &self.found {
            found.write(&self.members, scope, out, &mut written);
        }
        for member in &self.members {
            let own = self.found.as_ref().and_then(|found| found.own(&member.name, scope));
            if own.is_none_or(|own| member.contest(own, scope) == Contest::Won) {
                member.write(scope, out, &mut written);
            }
        }
        close(start, out);
        written
    }
}

/// Whether a field that is renamed stays at its place among the others.
fn is_written_in_place(field: &String, path: &[String], names: Option<&[String]>) -> bool {
    names.map_or(path.len() == 1 && !field.contains('.'), |names| names.contains(field))
}

fn insert(members: &mut Vec<Member>, path: &[String], source: Source) {
    let [name, inner @ ..] = path else { return };
    let known = members.iter_mut().find(|member| member.name == *name);
    if let (false, Some(Member { holds: Holds::Object(members), .. })) = (inner.is_empty(), known) {
        return insert(members, inner, source);
    }
    let holds = if inner.is_empty() {
        Holds::Value(source)
    } else {
        let mut members = Vec::new();
        insert(&mut members, inner, source);
        Holds::Object(members)
    };
    members.push(Member { name: name.clone(), prefix: Prefix::of(name), holds });
}

/// What stands in front of a value: a comma, which [`close`] makes the brace of the first member, the name in quotes and a colon.
struct Prefix {
    bytes: Vec<u8>,
    /// The same, with anything behind, where it is as short as most are: to write that takes no call.
    block: Option<[u8; PREFIX_BLOCK_BYTES]>,
}

const PREFIX_BLOCK_BYTES: usize = 32;

impl Prefix {
    fn of(name: &str) -> Self {
        let mut bytes = b",".to_vec();
        write_string(name.as_bytes(), &mut bytes);
        bytes.push(b':');
        let mut padded = bytes.clone();
        padded.resize(PREFIX_BLOCK_BYTES.max(bytes.len()), 0);
        Self { bytes, block: padded.try_into().ok() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match &self.block {
            Some(block) => {
                out.extend_from_slice(block);
                out.cut(PREFIX_BLOCK_BYTES - self.bytes.len());
            }
            None => out.extend_from_slice(&self.bytes),
        }
    }
}

/// Makes what stands from `start` on, members each behind a comma, into an object.
fn close(start: usize, out: &mut Vec<u8>) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// What becomes of a member where the line has something of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contest {
    /// It is written, and what the line has is not.
    Won,
    /// It has no value, so that what the line has is written.
    Lost,
    /// Both are objects, and are written as one.
    Joined,
}

impl Member {
    fn contest<'l>(&'l self, own: Value<'l>, scope: &Scope<'l>) -> Contest {
        match &self.holds {
            Holds::Object(_) if own.is_object() => Contest::Joined,
            _ if self.has_value(scope) => Contest::Won,
            _ => Contest::Lost,
        }
    }

    fn has_value<'l>(&'l self, scope: &Scope<'l>) -> bool {
        match &self.holds {
            Holds::Object(members) => members.iter().any(|member| member.has_value(scope)),
            Holds::Value(Source::Fixed(_)) => true,
            Holds::Value(Source::Slot(slot, _)) => scope.fields.at(*slot).is_some_and(|field| field.value.is_present()),
            Holds::Value(Source::Field(path)) => path.find(scope.fields, scope.arena).is_present(),
            Holds::Value(Source::Added(filling)) => filling.value(scope).value.is_present(),
        }
    }

    fn write<'l>(&'l self, scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        match &self.holds {
            Holds::Value(source) => source.write(&self.prefix, scope, out, written),
            Holds::Object(members) => {
                let before = out.len();
                self.prefix.write(out);
                let start = out.len();
                members.iter().for_each(|member| member.write(scope, out, written));
                if out.len() == start {
                    out.truncate(before);
                } else {
                    close(start, out);
                }
            }
        }
    }

    /// Appends the object `json` of the line with what this one, an object too, has in it.
    fn write_joined<'l>(&'l self, json: &'l str, scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        let Holds::Object(ours) = &self.holds else { return };
        let start = out.len();
        for own in members(json, scope.arena) {
            let ours = ours.iter().find(|member| member.name == own.name);
            let contest = ours.map(|member| (member, member.contest(own.value(scope.arena), scope)));
            if let Some((_, Contest::Won)) = contest {
                written.overwritten_count += 1;
                continue;
            }
            out.push(b',');
            write_string(own.name.as_bytes(), out);
            out.push(b':');
            match contest {
                Some((member, Contest::Joined)) => member.write_joined(own.json, scope, out, written),
                _ => out.extend_from_slice(own.json.as_bytes()),
            }
        }
        for member in ours {
            let own = members(json, scope.arena).find(|own| own.name == member.name);
            if own.is_none_or(|own| member.contest(own.value(scope.arena), scope) == Contest::Won) {
                member.write(scope, out, written);
            }
        }
        close(start, out);
    }
}

impl Source {
    #[inline]
    fn write<'l>(&'l self, prefix: &Prefix, scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        match self {
            Self::Slot(slot, inside) => {
                let value = scope.fields.at(*slot).map_or(Value::Absent, |field| field.value);
                write_field(prefix, value, inside, scope.arena, out, written);
            }
            Self::Field(path) => {
                let value = path.find(scope.fields, scope.arena);
                write_field(prefix, value, &Inside::default(), scope.arena, out, written);
            }
            Self::Added(filling) => {
                let filled = filling.value(scope);
                written.is_unknown |= filled.is_unknown;
                write_field(prefix, filled.value, &Inside::default(), scope.arena, out, written);
            }
            Self::Fixed(json) => {
                prefix.write(out);
                out.extend_from_slice(json);
            }
        }
    }
}

#[inline]
fn write_field<'l>(
    prefix: &Prefix,
    value: Value<'l>,
    inside: &Inside,
    arena: &'l Arena,
    out: &mut Vec<u8>,
    written: &mut Written,
) {
    if value != Value::Absent {
        prefix.write(out);
        inside.write(value, arena, out, written);
    }
}

impl Inside {
    fn is_all(&self) -> bool {
        self.kept.is_empty() && self.removed.is_empty()
    }

    #[inline]
    fn write<'l>(&self, value: Value<'l>, arena: &'l Arena, out: &mut Vec<u8>, written: &mut Written) {
        match value {
            Value::Text(text) => written.is_replaced |= write_string(text, out),
            Value::Json(json) if !self.is_all() && value.is_nested() => self.rewrite(json, arena, out),
            _ => written.is_replaced |= write_value(value, out),
        }
    }

    fn rewrite<'l>(&self, json: &'l str, arena: &'l Arena, out: &mut Vec<u8>) {
        let is_begun = |path: &[Step<'l>], kept: &[String]| path.len() < kept.len() && is_at(path, &kept[..path.len()]);
        let is_in = |path: &[Step<'l>], kept: &[String]| kept.len() <= path.len() && is_at(&path[..kept.len()], kept);
        rewrite(json, arena, out, &mut |path, _| {
            if self.removed.iter().any(|removed| is_at(path, removed)) {
                return Change::Remove;
            }
            let is_kept = |kept: &Vec<String>| is_begun(path, kept) || is_in(path, kept);
            if self.kept.is_empty() || self.kept.iter().any(is_kept) { Change::Enter } else { Change::Remove }
        });
    }
}
