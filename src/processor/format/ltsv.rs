//! Format ltsv: labelled tab-separated values, `label:value` (<http://ltsv.org>).
//!
//! The specification has letters, digits, `_`, `.` and `-` in labels. Here they have anything but spaces and control
//! characters: some have others in them, and prose with a colon in it still is no line of this format. Nothing between two
//! tabs, or behind the last one, is nothing.

use super::pieces::find_near;
use crate::processor::fields::{Arena, Fields, Value};

pub(super) fn parse<'l>(line: &'l [u8], _arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let mut rest = Some(line);
    while let Some(text) = rest {
        let tab = find_near(b'\t', text);
        let field = &text[..tab.unwrap_or(text.len())];
        rest = tab.map(|tab| &text[tab + 1..]);
        if field.is_empty() {
            continue;
        }
        let colon = find_near(b':', field)?;
        let (label, value) = (&field[..colon], &field[colon + 1..]);
        if label.is_empty() || label.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return None;
        }
        fields.push(label, Value::Text(value));
    }
    fields.keep_one_of_each_name();
    fields.at(0).map(|_| ())
}

#[cfg(test)]
mod tests;
