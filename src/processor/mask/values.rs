//! Masks on the values of fields, and on what is inside of objects and lists.

use super::{MaskSet, Masker};
use crate::limits::{ARENA_BYTES_KEPT, MASKED_BYTES_MAX};
use crate::processor::fields::{Arena, Fields, Value};
use crate::processor::nested::{Change, Step, rewrite};

/// Whole numbers of less are what they are in a double too.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Masks the values of all `fields`, with the help of `buffer`; returns how many masks there are now.
pub(in crate::processor) fn mask_fields<'l>(
    masker: &Masker,
    fields: &mut Fields<'l>,
    arena: &'l Arena,
    buffer: &mut Vec<u8>,
) -> u32 {
    let mut count = 0_u32;
    for field in fields.iter_mut() {
        let set = masker.of_field(field.name);
        let masked = match field.value {
            Value::Json(json) if field.value.is_nested() => masked_inside(masker, set, field.name, json, arena, buffer),
            value => masked_value(masker, [set], field.name, value, arena),
        };
        if let Some((value, mask_count)) = masked {
            field.value = value;
            count = count.saturating_add(mask_count);
        }
    }
    count
}

/// A value that is no list or object, and what it is called; one that is no text becomes text by a mask.
fn masked_value<'s, 'l>(
    masker: &Masker,
    sets: impl IntoIterator<Item = &'s MaskSet>,
    name: &[u8],
    value: Value<'l>,
    arena: &'l Arena,
) -> Option<(Value<'l>, u32)> {
    let name = if matches!(value, Value::Boolean(_)) { None } else { masker.name_of(name) };
    let mut text = None;
    let mut count = 0_u32;
    for set in sets.into_iter().filter(|set| !set.is_empty()) {
        let unmasked = match text {
            Some(text) => text,
            None => value.text(arena)?,
        };
        let masked = masker.mask_named(set, name, unmasked, arena);
        // A whole number need not be written as one.
        let masked = masked.or_else(|| masker.mask(set, whole_number(value, arena)?, arena));
        if let Some(masked) = masked {
            text = Some(masked.text);
            count = count.saturating_add(masked.count);
        }
    }
    Some((Value::Text(text?), count))
}

/// The digits of a whole number that is written with a fraction or an exponent.
#[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
fn whole_number<'l>(value: Value<'l>, arena: &'l Arena) -> Option<&'l [u8]> {
    let number = match value {
        Value::Float(number) => number,
        Value::Json(json) if json.contains(['.', 'e', 'E']) => json.parse().ok()?,
        _ => return None,
    };
    let is_whole = number.fract() == 0.0 && (0.0..EXACT_MAX).contains(&number);
    if is_whole { Value::Integer(number as i64).text(arena) } else { None }
}

/// The strings and numbers of a list or an object, at any depth, each by itself: a mask over its brackets would break it.
/// Where that would be too much, a single mask for all of it.
fn masked_inside<'l>(
    masker: &Masker,
    set: &MaskSet,
    name: &[u8],
    json: &'l str,
    arena: &'l Arena,
    buffer: &mut Vec<u8>,
) -> Option<(Value<'l>, u32)> {
    let (mut count, mut byte_count) = (0_u32, 0);
    buffer.clear();
    rewrite(json, arena, buffer, &mut |steps, value| {
        if byte_count > MASKED_BYTES_MAX {
            return Change::Remove;
        }
        if value.is_nested() {
            return Change::Enter;
        }
        let sets = std::iter::once(set).chain(masker.of_nested(name, steps));
        match masked_value(masker, sets, innermost_name(steps).unwrap_or(name), value, arena) {
            Some((value, mask_count)) => {
                count = count.saturating_add(mask_count);
                byte_count += value.text(arena).map_or(0, <[u8]>::len);
                Change::Replace(value)
            }
            None => Change::Keep,
        }
    });
    let masked = if byte_count > MASKED_BYTES_MAX {
        Some((Value::Text(masker.cover(set, arena)), 1))
    } else {
        // Rewritten JSON is text: what is not becomes U+FFFD there.
        let json = str::from_utf8(buffer).ok().filter(|_| count > 0);
        json.map(|json| (Value::Json(arena.alloc_str(json)), count))
    };
    buffer.clear();
    buffer.shrink_to(ARENA_BYTES_KEPT);
    masked
}

/// What is called by a name of its own is not known by those around it.
fn innermost_name<'l>(steps: &[Step<'l>]) -> Option<&'l [u8]> {
    let name = |step: &Step<'l>| match *step {
        Step::Name(name) => Some(name.as_bytes()),
        Step::Index(_) => None,
    };
    steps.iter().rev().find_map(name)
}
