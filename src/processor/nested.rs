//! Values nested in JSON text: read, found by a path, left out, changed.
//!
//! Text that is read comes from a line and may be anything. From there on it is the text of a [`Value::Json`]: valid, compact
//! (no white space outside of strings) and not nested deeper than [`DEPTH_MAX`]; the rest of what is here relies on that,
//! and makes nothing else. What is to be found or changed is decided elsewhere.

use bumpalo::collections::Vec as ArenaVec;
use memchr::memchr2;

use super::fields::{Arena, Value};
use super::json;

mod rewrite;
mod text;

pub(super) use self::rewrite::{Change, rewrite};
pub(super) use self::text::decode;

/// How many lists and objects may stand in each other: as many as `serde_json` and others read at most.
pub(super) const DEPTH_MAX: usize = 127;

/// One step of the way to a nested value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'l> {
    /// The member of an object that is called so.
    Name(&'l str),
    /// The element of a list, counted from 0.
    Index(usize),
}

impl Step<'_> {
    /// Whether this is what a configuration calls `segment`; "2" is an element of a list as well as a member of an object.
    pub(super) fn is(self, segment: &str) -> bool {
        match self {
            Self::Name(name) => name == segment,
            Self::Index(index) => index_of(segment) == Some(index),
        }
    }
}

/// Whether `path` is the one that a configuration writes as `segments`.
pub(super) fn is_at(path: &[Step<'_>], segments: &[impl AsRef<str>]) -> bool {
    path.len() == segments.len() && path.iter().zip(segments).all(|(step, segment)| step.is(segment.as_ref()))
}

/// The value of JSON text that is valid and has no white space around it: strings without their escapes, numbers as they are
/// written, lists and objects made compact. None when it is nested deeper than `depth_max`.
pub(super) fn read_valid<'l>(json: &'l str, arena: &'l Arena, depth_max: usize) -> Option<Value<'l>> {
    match json.as_bytes().first()? {
        b'[' | b'{' => text::compact(json, arena, depth_max).map(Value::Json),
        _ => Some(value_of(json, arena)),
    }
}

/// The value at `path` in the object or list `json`; of members with the same name the last. None when there is nothing.
pub(super) fn find<'l>(json: &'l str, path: &[impl AsRef<str>], arena: &'l Arena) -> Option<Value<'l>> {
    let mut found = json;
    for segment in path.iter().map(AsRef::as_ref) {
        found = match found.as_bytes().first()? {
            b'{' => Children::of(found).filter(|child| child.name.is_some_and(|name| is_called(name, segment, arena))).last()?,
            b'[' => Children::of(found).nth(index_of(segment)?)?,
            _ => return None,
        }
        .value;
    }
    Some(value_of(found, arena))
}

fn index_of(segment: &str) -> Option<usize> {
    // Other ways to write a number are names.
    let is_plain = segment == "0" || (!segment.starts_with(['0', '+']));
    segment.parse().ok().filter(|_| is_plain)
}

fn is_called(name: &str, segment: &str, arena: &Arena) -> bool {
    name == segment || (name.contains('\\') && decode(name, arena) == segment)
}

/// The value of the text of a [`Value::Json`] or of a part of it.
fn value_of<'l>(json: &'l str, arena: &'l Arena) -> Value<'l> {
    match json.as_bytes().first() {
        Some(b'"') => Value::Text(decode(within_quotes(json), arena).as_bytes()),
        Some(b'n') => Value::Null,
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        _ => Value::Json(json),
    }
}

pub(super) fn within_quotes(string: &str) -> &str {
    string.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(string)
}

/// A member of an object.
pub(super) struct Member<'l> {
    pub(super) name: &'l str,
    /// As it is written.
    pub(super) json: &'l str,
}

impl<'l> Member<'l> {
    pub(super) fn value(&self, arena: &'l Arena) -> Value<'l> {
        value_of(self.json, arena)
    }
}

/// The members of the object `json`, in its order.
pub(super) fn members<'l>(json: &'l str, arena: &'l Arena) -> impl Iterator<Item = Member<'l>> {
    Children::of(json).filter_map(|child| Some(Member { name: decode(child.name?, arena), json: child.value }))
}

/// What stands in a list or an object, in its order.
struct Children<'l> {
    /// Behind the opening bracket or the last comma.
    rest: &'l str,
    has_names: bool,
}

struct Child<'l> {
    /// In an object, without quotes, with escapes.
    name: Option<&'l str>,
    value: &'l str,
}

impl<'l> Children<'l> {
    fn of(json: &'l str) -> Self {
        Self { rest: json.get(1..).unwrap_or_default(), has_names: json.starts_with('{') }
    }

    /// Takes one value out of what is left.
    fn take(&mut self) -> Option<&'l str> {
        let (value, rest) = self.rest.split_at_checked(value_end(self.rest.as_bytes()))?;
        self.rest = rest;
        (!value.is_empty()).then_some(value)
    }
}

impl<'l> Iterator for Children<'l> {
    type Item = Child<'l>;

    fn next(&mut self) -> Option<Child<'l>> {
        let name = if self.has_names { Some(within_quotes(self.take()?)) } else { None };
        if name.is_some() {
            self.rest = self.rest.strip_prefix(':')?;
        }
        let value = self.take()?;
        self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        Some(Child { name, value })
    }
}

/// How many bytes the value has with which `json` begins; none when it begins with the end of a list or object.
fn value_end(json: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match json.get(at) {
            Some(b'"') => {
                at += string_end(&json[at..]);
                if depth == 0 {
                    return at;
                }
            }
            Some(b'[' | b'{') => {
                depth += 1;
                at += 1;
            }
            Some(b']' | b'}') if depth > 0 => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
            Some(b',' | b':' | b']' | b'}') | None if depth == 0 => return at,
            Some(_) => at += 1,
            None => return at,
        }
    }
}

/// How many bytes the string has with whose quote `json` begins, its quotes among them.
fn string_end(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

#[cfg(test)]
pub(super) mod tests;
