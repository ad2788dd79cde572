//! Values inside of JSON text.

use super::fields::{Arena, Value};

/// The value at a path of names in the object `json`.
pub(super) fn find<'l>(_json: &'l str, _path: &[String], _arena: &'l Arena) -> Option<Value<'l>> {
    None
}

/// Appends `json` without what is at the paths `removed`.
pub(super) fn write_without(json: &str, _removed: &[Vec<String>], out: &mut Vec<u8>) {
    out.extend_from_slice(json.as_bytes());
}
