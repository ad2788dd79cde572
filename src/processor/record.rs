//! What is written of the fields of a line.
//!
//! All that does not depend on the line is decided once: the order, the names with their quotes and colons, the objects around
//! them. Names of lines of which the format has none stay where they are, and are looked up one by one.

use std::collections::HashMap;

use super::Surroundings;
use super::fields::Arena;
use super::fields::{Field, Value};
use super::json::{write_string, write_value};
use super::nested::{Change, Step, is_at, rewrite};
use super::path::FieldPath;
use super::template::{Filling, Scope};
use crate::config::{AddedValue, Record};

/// The members of an object, in their order.
pub(super) struct Plan(Vec<Member>);

enum Member {
    /// A value.
    Value { prefix: Vec<u8>, source: Source },
    /// An object, which is left out when nothing is in it.
    Object { name: String, prefix: Vec<u8>, members: Vec<Self> },
    /// The fields that the line itself names.
    Found(Found),
}

enum Source {
    /// The field at a place of the format's names, and the paths inside of it that are left out.
    Slot {
        slot: usize,
        removed: Vec<Vec<String>>,
    },
    Field(FieldPath),
    Added(Filling),
    /// The same in every record: JSON.
    Fixed(Vec<u8>),
}

/// What becomes of fields that the line itself names.
struct Found {
    /// Fields that are not named here are left out.
    keeps_only_named: bool,
    by_name: HashMap<Vec<u8>, Fate>,
}

enum Fate {
    /// Written under its own name, without what is at these paths inside of it.
    Kept {
        removed: Vec<Vec<String>>,
    },
    /// Written under another name: the prefix.
    Renamed(Vec<u8>),
    LeftOut,
    /// Left out because an added field has its name.
    Overwritten,
}

/// What there is to count of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Bytes that are not UTF-8 became U+FFFD.
    pub(super) is_replaced: bool,
    /// A variable is not known.
    pub(super) is_unknown: bool,
    /// Fields of the line that gave way to added ones of the same name.
    pub(super) overwritten_count: u32,
}

impl Plan {
    /// For lines whose fields are `names`, or say them themselves.
    pub(super) fn new(record: &Record, names: Option<&[String]>, flow: &str, surroundings: &Surroundings) -> Self {
        let mut plan = match names {
            Some(names) => Self::of_names(record, names),
            None => Self(vec![Member::Found(Found::new(record))]),
        };
        plan.rename(record, names);
        plan.add(record, names, flow, surroundings);
        plan
    }

    /// For the given fields and what is added to all records.
    pub(super) fn of_wrapped(record: &Record, names: &[&str], flow: &str, surroundings: &Surroundings) -> Self {
        let mut plan = Self(Vec::new());
        for (slot, name) in names.iter().enumerate() {
            plan.insert(&[(*name).to_owned()], Source::Slot { slot, removed: Vec::new() });
        }
        // Of the fields that added ones may name a line that does not match has none.
        plan.add(record, None, flow, surroundings);
        plan
    }

    fn of_names(record: &Record, names: &[String]) -> Self {
        let mut plan = Self(Vec::new());
        for (slot, name) in names.iter().enumerate() {
            let path = match record.rename.iter().find(|(field, _)| field == name) {
                Some((_, path)) => path.clone(),
                None if is_left_out(record, name) => continue,
                None => name.split('.').map(str::to_owned).collect(),
            };
            plan.insert(&path, Source::Slot { slot, removed: removed_inside(record, name) });
        }
        plan
    }

    /// What is renamed and not written in its place: nested, or out of an object.
    fn rename(&mut self, record: &Record, names: Option<&[String]>) {
        for (field, path) in &record.rename {
            let is_in_its_place = names.map_or(path.len() == 1 && !field.contains('.'), |names| names.contains(field));
            if !is_in_its_place {
                self.insert(path, Source::Field(FieldPath::new(field, names)));
            }
        }
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
        insert(&mut self.0, path, source);
    }

    /// Appends the object that a line makes.
    pub(super) fn write<'l>(&'l self, scope: &Scope<'l>, out: &mut Vec<u8>) -> Written {
        let mut written = Written::default();
        out.push(b'{');
        write_members(&self.0, scope, out, &mut written);
        out.push(b'}');
        written
    }
}

fn is_left_out(record: &Record, name: &str) -> bool {
    let is_kept = record.keep_only.as_ref().is_none_or(|kept| kept.iter().any(|kept| outermost(kept) == name));
    !is_kept || record.remove.iter().any(|removed| removed == name)
}

fn outermost(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The paths inside of the field `name` that are not written there.
fn removed_inside(record: &Record, name: &str) -> Vec<Vec<String>> {
    let renamed = record.rename.iter().map(|(field, _)| field);
    let inside = record.remove.iter().chain(renamed).filter_map(|removed| removed.strip_prefix(name)?.strip_prefix('.'));
    inside.map(|path| path.split('.').map(str::to_owned).collect()).collect()
}

fn insert(members: &mut Vec<Member>, path: &[String], source: Source) {
    let [name, inner @ ..] = path else { return };
    if inner.is_empty() {
        members.push(Member::Value { prefix: prefix(name.as_bytes()), source });
        return;
    }
    let known = members.iter_mut().find_map(|member| match member {
        Member::Object { name: known, members, .. } if known == name => Some(members),
        _ => None,
    });
    if let Some(members) = known {
        return insert(members, inner, source);
    }
    let mut inside = Vec::new();
    insert(&mut inside, inner, source);
    members.push(Member::Object { name: name.clone(), prefix: prefix(name.as_bytes()), members: inside });
}

/// A name in quotes, and the colon.
fn prefix(name: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    write_string(name, &mut prefix);
    prefix.push(b':');
    prefix
}

fn write_members<'l>(members: &'l [Member], scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
    for member in members {
        match member {
            Member::Value { prefix, source } => source.write(prefix, scope, out, written),
            Member::Found(found) => found.write(scope, out, written),
            Member::Object { prefix, members, .. } => {
                let before = out.len();
                push_comma(out);
                out.extend_from_slice(prefix);
                let start = out.len();
                out.push(b'{');
                write_members(members, scope, out, written);
                if out.len() == start + 1 {
                    out.truncate(before);
                } else {
                    out.push(b'}');
                }
            }
        }
    }
}

/// Between two members: behind one there is never a brace that opens.
fn push_comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

impl Source {
    fn write<'l>(&'l self, prefix: &[u8], scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        match self {
            Self::Slot { slot, removed } => {
                let value = scope.fields.at(*slot).map_or(Value::Absent, |field| field.value);
                write_field(prefix, value, removed, scope.arena, out, written);
            }
            Self::Field(path) => write_field(prefix, path.find(scope.fields, scope.arena), &[], scope.arena, out, written),
            Self::Added(filling) => {
                let filled = filling.value(scope);
                written.is_unknown |= filled.is_unknown;
                write_field(prefix, filled.value, &[], scope.arena, out, written);
            }
            Self::Fixed(json) => {
                push_comma(out);
                out.extend_from_slice(prefix);
                out.extend_from_slice(json);
            }
        }
    }
}

fn write_field<'l>(
    prefix: &[u8],
    value: Value<'l>,
    removed: &[Vec<String>],
    arena: &'l Arena,
    out: &mut Vec<u8>,
    written: &mut Written,
) {
    if value != Value::Absent {
        push_comma(out);
        out.extend_from_slice(prefix);
        write_without(value, removed, arena, out, written);
    }
}

/// Appends `value` without what is at the paths `removed` inside of it.
fn write_without<'l>(value: Value<'l>, removed: &[Vec<String>], arena: &'l Arena, out: &mut Vec<u8>, written: &mut Written) {
    match value {
        Value::Json(json) if !removed.is_empty() && json.starts_with(['{', '[']) => {
            let is_removed = |path: &[Step<'l>]| removed.iter().any(|removed| is_at(path, removed));
            rewrite(json, arena, out, &mut |path, _| if is_removed(path) { Change::Remove } else { Change::Enter });
        }
        _ => written.is_replaced |= write_value(value, out),
    }
}

impl Found {
    fn new(record: &Record) -> Self {
        let mut by_name = HashMap::new();
        for kept in record.keep_only.iter().flatten().chain(&record.remove) {
            let name = outermost(kept);
            by_name.insert(name.as_bytes().to_vec(), Fate::Kept { removed: removed_inside(record, name) });
        }
        for (field, path) in &record.rename {
            let fate = match path.as_slice() {
                _ if field.contains('.') => Fate::Kept { removed: removed_inside(record, outermost(field)) },
                [name] => Fate::Renamed(prefix(name.as_bytes())),
                _ => Fate::LeftOut,
            };
            // With a dot it may also be a field of that very name.
            if field.contains('.') {
                by_name.insert(field.as_bytes().to_vec(), Fate::LeftOut);
            }
            by_name.insert(outermost(field).as_bytes().to_vec(), fate);
        }
        for removed in &record.remove {
            by_name.insert(removed.as_bytes().to_vec(), Fate::LeftOut);
        }
        let targets = record.rename.iter().map(|(_, path)| path).chain(record.add.iter().map(|added| &added.path));
        for name in targets.filter_map(|path| path.first()) {
            by_name
                .entry(name.as_bytes().to_vec())
                .and_modify(|fate| {
                    if matches!(fate, Fate::Kept { .. }) {
                        *fate = Fate::Overwritten;
                    }
                })
                .or_insert(Fate::Overwritten);
        }
        Self { keeps_only_named: record.keep_only.is_some(), by_name }
    }

    fn write<'l>(&self, scope: &Scope<'l>, out: &mut Vec<u8>, written: &mut Written) {
        for field in scope.fields.iter() {
            let fate = if self.by_name.is_empty() { None } else { self.by_name.get(field.name) };
            match fate {
                None if self.keeps_only_named => {}
                None => write_named(field, &[], scope.arena, out, written),
                Some(Fate::Kept { removed }) => write_named(field, removed, scope.arena, out, written),
                Some(Fate::Renamed(prefix)) => write_field(prefix, field.value, &[], scope.arena, out, written),
                Some(Fate::LeftOut) => {}
                Some(Fate::Overwritten) => written.overwritten_count += 1,
            }
        }
    }
}

fn write_named<'l>(field: &Field<'l>, removed: &[Vec<String>], arena: &'l Arena, out: &mut Vec<u8>, written: &mut Written) {
    if field.value != Value::Absent {
        push_comma(out);
        written.is_replaced |= write_string(field.name, out);
        out.push(b':');
        write_without(field.value, removed, arena, out, written);
    }
}
