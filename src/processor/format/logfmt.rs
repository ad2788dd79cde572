//! Format logfmt.

use crate::processor::fields::{Arena, Fields};

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}
