//! What container runtimes write: Docker's json-file and CRI.

use crate::processor::fields::{Arena, Fields};

pub(super) const DOCKER_JSON_FIELDS: &[&str] = &[];
pub(super) const CRI_FIELDS: &[&str] = &[];

pub(super) fn docker_json<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}

pub(super) fn cri<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}
