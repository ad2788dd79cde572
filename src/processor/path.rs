//! Fields that the configuration names.

use super::fields::{Arena, Fields, Value};
use super::nested;

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
            Value::Json(json) => nested::find(json, path, arena).unwrap_or(Value::Absent),
            _ => Value::Absent,
        }
    }
}
