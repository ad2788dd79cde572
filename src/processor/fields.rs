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

    /// The same, to be changed.
    pub fn at_mut(&mut self, slot: usize) -> Option<&mut Field<'l>> {
        self.0.get_mut(slot)
    }

    /// The value of the last one called `name`.
    pub fn named(&self, name: &[u8]) -> Option<Value<'l>> {
        self.0.iter().rev().find(|field| field.name == name).map(|field| field.value)
    }
}

impl<'l> Value<'l> {
    /// Whether there is a value.
    pub fn is_present(self) -> bool {
        !matches!(self, Self::Absent | Self::Null)
    }

    /// Its text; none when there is none. Of a list or an object, its JSON.
    pub fn text(self, arena: &'l Arena) -> Option<&'l [u8]> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Json(json) => Some(json.as_bytes()),
            Self::Integer(value) => Some(bumpalo::format!(in arena, "{}", value).into_bump_str().as_bytes()),
            Self::Float(value) => Some(bumpalo::format!(in arena, "{:?}", value).into_bump_str().as_bytes()),
            Self::Boolean(value) => Some(if value { b"true" } else { b"false" }),
        }
    }

    /// The number that it is, or that its text says.
    #[expect(clippy::cast_precision_loss, reason = "it is compared with what somebody wrote in decimals")]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => str::from_utf8(text).ok()?.parse().ok(),
            Self::Json(json) => json.parse().ok(),
            Self::Integer(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Absent | Self::Null | Self::Boolean(_) => None,
        }
    }
}

/// A field that the configuration names, and how to find it in a line.
#[derive(Debug)]
pub(super) struct FieldPath {
    /// As it is written.
    name: String,
    /// Its place, where names are fixed.
    slot: Option<usize>,
    /// Where a dot leads into an object: the field that holds it, and the names on the way.
    nested: Option<(Box<FieldPath>, Vec<String>)>,
}

impl FieldPath {
    /// The field `name` of lines whose fields are `names`, if that is known.
    pub(super) fn new(name: &str, names: Option<&[String]>) -> Self {
        let slot = names.and_then(|names| names.iter().position(|known| known == name));
        let nested = name
            .split_once('.')
            .filter(|_| slot.is_none())
            .map(|(outermost, inner)| (Box::new(Self::new(outermost, names)), inner.split('.').map(str::to_owned).collect()));
        Self { name: name.to_owned(), slot, nested }
    }

    /// Its value in a line.
    pub(super) fn find<'l>(&self, fields: &Fields<'l>, arena: &'l Arena) -> Value<'l> {
        let found = match self.slot {
            Some(slot) => fields.at(slot).map(|field| field.value),
            None => fields.named(self.name.as_bytes()),
        };
        if let Some(value) = found {
            return value;
        }
        let Some((outermost, path)) = &self.nested else { return Value::Absent };
        match outermost.find(fields, arena) {
            Value::Json(json) => super::nested::find(json, path, arena).unwrap_or(Value::Absent),
            _ => Value::Absent,
        }
    }
}
