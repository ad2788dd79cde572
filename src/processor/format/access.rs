//! Access logs of Apache and nginx.

use crate::processor::fields::{Arena, Fields};

pub(super) const APACHE_COMMON_FIELDS: &[&str] = &[];
pub(super) const APACHE_COMBINED_FIELDS: &[&str] = &[];
pub(super) const NGINX_COMBINED_FIELDS: &[&str] = &[];

pub(super) fn apache_common<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}

pub(super) fn apache_combined<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}

pub(super) fn nginx_combined<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let _ = (line, arena, fields);
    None
}
