//! What a format finds in a line: fields, in order.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

/// Memory for what is made of one line and does not stand in it as it is; emptied before the next.
pub type Arena = Bump;

/// The fields of one line, in the order in which they are written.
///
/// A format whose names are fixed has all of them in every line, in their order, so that a place in its list of names is
/// a place here.
#[derive(Debug)]
pub struct Fields<'l>(ArenaVec<'l, Field<'l>>);

/// One field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'l> {
    /// Its name, as the format or the line says it; need not be UTF-8.
    pub name: &'l [u8],
    /// What it holds.
    pub value: Value<'l>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'l> {
    /// Nothing: the line has no such field, and nor has its record.
    Absent,
    /// The line says that there is no value, as `-` does in an access log; null in JSON.
    Null,
    /// Text, which need not be UTF-8.
    Text(&'l [u8]),
    /// A number, a list or an object, valid JSON as the line has it.
    Json(&'l str),
    /// A whole number that was made of text.
    Integer(i64),
    /// A number that was made of text; finite.
    Float(f64),
    /// `true` or `false`
    Boolean(bool),
}

impl<'l> Fields<'l> {
    /// None so far.
    pub fn new(arena: &'l Arena) -> Self {
        Self(ArenaVec::new_in(arena))
    }

    /// Adds one behind the others.
    pub fn push(&mut self, name: &'l (impl AsRef<[u8]> + ?Sized), value: Value<'l>) {
        self.0.push(Field { name: name.as_ref(), value });
    }

    /// Takes all of them out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'l>> {
        self.0.iter()
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Field<'l>> {
        self.0.iter_mut()
    }

    /// The one at a place in the list of fixed names.
    pub fn at(&self, slot: usize) -> Option<&Field<'l>> {
        self.0.get(slot)
    }

    /// The value of the last one called `name`.
    pub fn named(&self, name: &[u8]) -> Option<Value<'l>> {
        self.0.iter().rev().find(|field| field.name == name).map(|field| field.value)
    }
}
