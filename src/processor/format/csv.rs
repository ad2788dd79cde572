//! Tables in text: RFC 4180 with any delimiter, read as generously as the crate `csv` does.
//!
//! <https://www.rfc-editor.org/rfc/rfc4180>. Where that leaves something open:
//!
//! - A value is in quotes when its first byte is one. Behind the closing quote, and in a value without quotes, further
//!   quotes are text.
//! - A line with fewer values than there are columns has no others: they are null. One with more is not of this table, for
//!   what has no name cannot be sent, and must not vanish.
//! - A quote that is never closed makes a line no record, and so does a line break outside of quotes. Between quotes line
//!   breaks are text; a record of several lines has some when `[flow.multiline]` has joined it.
//! - An empty line is no record. Empty lines before a record do not count.
//! - A CR at the end, and a byte order mark at the beginning, belong to no value.
//! - A header is read by the same rules. A column that has no name in it, or that of an earlier column, is called by its
//!   number: `column_3` is the third (and, should another be called so, `column_3_`).

use std::collections::HashSet;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use memchr::{memchr_iter, memchr2};

use crate::config::{Columns, Csv};
use crate::limits::COLUMNS_MAX;
use crate::processor::fields::{Arena, Fields, Value};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Names of columns, and what it takes to divide lines.
pub(in crate::processor) struct Parser {
    splitter: Splitter,
    names: Names,
}

/// What the columns are called.
enum Names {
    /// As the configuration says.
    Fixed(Vec<Vec<u8>>),
    /// As the newest header says.
    Header {
        header: Option<Vec<u8>>,
        /// None when it is no record, or has more columns than [`COLUMNS_MAX`].
        names: Option<Vec<Vec<u8>>>,
    },
}

struct Splitter {
    delimiter: u8,
    // Boxed, since it is large and a parser is one of many kinds.
    reader: Box<Reader>,
    /// Where the values of the newest line end.
    ends: Vec<usize>,
}

impl Parser {
    pub(super) fn new(rules: &Csv) -> Self {
        let reader = Box::new(ReaderBuilder::new().delimiter(rules.delimiter).terminator(Terminator::Any(b'\n')).build());
        let names = match &rules.columns {
            Columns::Named(names) => Names::Fixed(names.iter().map(|name| name.clone().into_bytes()).collect()),
            Columns::Header => Names::Header { header: None, names: None },
        };
        Self { splitter: Splitter { delimiter: rules.delimiter, reader, ends: Vec::new() }, names }
    }

    pub(super) fn parse<'l>(
        &'l mut self,
        line: &'l [u8],
        header: Option<&'l [u8]>,
        arena: &'l Arena,
        fields: &mut Fields<'l>,
    ) -> Option<()> {
        let Self { splitter, names } = self;
        let names = names.under(header, splitter, arena)?;
        let mut unnamed = names.iter();
        splitter.split(line, names.len(), arena, |value| {
            fields.push(unnamed.next()?, Value::Text(value));
            Some(())
        })?;
        for name in unnamed {
            fields.push(name, Value::Null);
        }
        Some(())
    }
}

impl Names {
    /// Those of the columns of a file with this header; none without it.
    fn under(&mut self, in_file: Option<&[u8]>, splitter: &mut Splitter, arena: &Arena) -> Option<&[Vec<u8>]> {
        match self {
            Self::Fixed(names) => Some(names),
            Self::Header { header, names } => {
                let in_file = in_file?;
                if header.as_deref() != Some(in_file) {
                    *header = Some(in_file.to_vec());
                    *names = names_in(in_file, splitter, arena);
                }
                names.as_deref()
            }
        }
    }
}

fn names_in(header: &[u8], splitter: &mut Splitter, arena: &Arena) -> Option<Vec<Vec<u8>>> {
    let mut written = Vec::new();
    splitter.split(header, COLUMNS_MAX, arena, |name| {
        written.push(name);
        (written.len() <= COLUMNS_MAX).then_some(())
    })?;
    let all: HashSet<&[u8]> = written.iter().copied().collect();
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        if !name.is_empty() && taken.insert(*name) {
            names.push(name.to_vec());
            continue;
        }
        let mut numbered = format!("column_{}", index + 1).into_bytes();
        while all.contains(numbered.as_slice()) {
            numbered.push(b'_');
        }
        names.push(numbered);
    }
    Some(names)
}

impl Splitter {
    /// Gives each value of `line` to `take`. None when that does, or when this is no record, or one of more than
    /// `count_max` values.
    fn split<'l>(
        &mut self,
        line: &'l [u8],
        count_max: usize,
        arena: &'l Arena,
        mut take: impl FnMut(&'l [u8]) -> Option<()>,
    ) -> Option<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr2(b'"', b'\n', line).is_some() {
            return self.split_quoted(line, count_max, arena, take);
        }
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let mut start = 0;
        for end in memchr_iter(self.delimiter, line).chain([line.len()]) {
            take(&line[start..end])?;
            start = end + 1;
        }
        Some(())
    }

    /// The same for any line, with its values in the arena.
    fn split_quoted<'l>(
        &mut self,
        line: &[u8],
        count_max: usize,
        arena: &'l Arena,
        mut take: impl FnMut(&'l [u8]) -> Option<()>,
    ) -> Option<()> {
        self.reader.reset();
        self.ends.resize(count_max, 0);
        // Room for the line break that an open quote takes in.
        let output = arena.alloc_slice_fill_copy(line.len() + 1, 0);
        let (result, _, byte_count, value_count) = self.reader.read_record(line, output, &mut self.ends);
        if result != ReadRecordResult::InputEmpty {
            return None;
        }
        let (rest, ends) = (&mut output[byte_count..], &mut self.ends[value_count..]);
        let (result, ..) = self.reader.read_record(b"\n", rest, ends);
        if result != ReadRecordResult::Record {
            return None;
        }
        let output: &'l [u8] = output;
        let mut start = 0;
        for end in &self.ends[..=value_count] {
            take(&output[start..*end])?;
            start = *end;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
