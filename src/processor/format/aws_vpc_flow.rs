//! VPC flow logs of AWS.

use crate::config::Columns;
use crate::processor::fields::{Arena, Fields};

pub(super) const FIELDS: &[&str] = &[];

pub(in crate::processor) struct Parser;

impl Parser {
    pub(super) fn new(_columns: Option<&Columns>) -> Self {
        Self
    }

    pub(super) fn parse<'l>(
        &'l mut self,
        line: &'l [u8],
        header: Option<&'l [u8]>,
        arena: &'l Arena,
        fields: &mut Fields<'l>,
    ) -> Option<()> {
        let _ = (line, header, arena, fields);
        None
    }
}
