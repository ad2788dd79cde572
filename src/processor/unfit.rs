//! Which fields of a line do not fit their type: asked again, for people, of a line for which they were only counted.

use std::slice;

use super::fields::Fields;
use super::{Origin, Processor, convert};

impl Processor {
    /// The names of the fields of `line` that do not fit their type and stay as they are. Slow: `line` is parsed once more.
    pub fn unfit_fields(&mut self, line: &[u8], origin: &Origin<'_>) -> Vec<String> {
        self.arena.reset();
        // As in processing.
        let replaced = String::from_utf8_lossy(line);
        for text in [line, replaced.as_bytes()] {
            let arena = &self.arena;
            let mut fields = Fields::new(arena);
            if self.parser.parse(text, origin.header, arena, &mut fields).is_some() {
                let mut is_unfit = |one| convert(slice::from_ref(one), &mut fields, origin.now, arena) > 0;
                return self.types.iter().filter(|one| is_unfit(one)).map(|(_, name, _)| name.clone()).collect();
            }
        }
        Vec::new()
    }
}
