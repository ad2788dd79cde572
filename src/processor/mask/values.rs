//! Masks on the values of fields, and on what is inside of objects and lists.

use super::{MaskSet, Masker};
use crate::processor::fields::{Arena, Fields, Value};
use crate::processor::nested::{Change, Step, rewrite};

/// Masks the values of all `fields`; returns how many masks there are now.
pub(in crate::processor) fn mask_fields<'l>(masker: &Masker, fields: &mut Fields<'l>, arena: &'l Arena) -> u32 {
    let mut count = 0_u32;
    for field in fields.iter_mut() {
        let set = masker.of_field(field.name);
        let masked = match field.value {
            Value::Json(json) if json.starts_with(['{', '[']) => masked_inside(masker, set, field.name, json, arena),
            value => masked_text(masker, [set], value, arena),
        };
        if let Some((value, mask_count)) = masked {
            field.value = value;
            count = count.saturating_add(mask_count);
        }
    }
    count
}

/// A value that is no list or object; one that is no text becomes text by a mask.
fn masked_text<'s, 'l>(
    masker: &Masker,
    sets: impl IntoIterator<Item = &'s MaskSet>,
    value: Value<'l>,
    arena: &'l Arena,
) -> Option<(Value<'l>, u32)> {
    let mut text = None;
    let mut count = 0_u32;
    for set in sets.into_iter().filter(|set| !set.is_empty()) {
        let unmasked = match (text, value) {
            (Some(text), _) => text,
            (None, Value::Boolean(_)) => return None,
            (None, value) => value.text(arena)?,
        };
        if let Some(masked) = masker.mask(set, unmasked, arena) {
            text = Some(masked.text);
            count = count.saturating_add(masked.count);
        }
    }
    Some((Value::Text(text?), count))
}

/// The strings and numbers of a list or an object, at any depth, each by itself: a mask over its brackets would break it.
fn masked_inside<'l>(masker: &Masker, set: &MaskSet, name: &[u8], json: &'l str, arena: &'l Arena) -> Option<(Value<'l>, u32)> {
    let mut count = 0_u32;
    let mut out = Vec::new();
    let mut path = Vec::new();
    rewrite(json, arena, &mut out, &mut |steps, value| {
        if matches!(value, Value::Json(json) if json.starts_with(['{', '['])) {
            return Change::Enter;
        }
        write_path(name, steps, &mut path);
        match masked_text(masker, std::iter::once(set).chain(masker.of_nested(&path)), value, arena) {
            Some((value, mask_count)) => {
                count = count.saturating_add(mask_count);
                Change::Replace(value)
            }
            None => Change::Keep,
        }
    });
    // Rewritten JSON is text: what is not becomes U+FFFD there.
    let json = str::from_utf8(&out).ok().filter(|_| count > 0)?;
    Some((Value::Json(arena.alloc_str(json)), count))
}

fn write_path(name: &[u8], steps: &[Step<'_>], path: &mut Vec<u8>) {
    path.clear();
    path.extend_from_slice(name);
    for step in steps {
        path.push(b'.');
        match step {
            Step::Name(name) => path.extend_from_slice(name.as_bytes()),
            Step::Index(index) => path.extend_from_slice(index.to_string().as_bytes()),
        }
    }
}
