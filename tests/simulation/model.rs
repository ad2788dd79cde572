//! What must become of every byte of a file: written down a second time, from the README's words and not
//! from the agent's code, so that the two can disagree.

use std::ops::Range;

use kinetail::config::{AddedValue, Aggregate, Flow, Format, OnMismatch, Output, Parse, PartitionKey, TooLong};
use kinetail::limits::{LINE_BYTES_MAX, PARTITION_KEY_CHARS_MAX, TERMINATOR_BYTES_MAX};
use kinetail::settlement::DropReason;

/// Bytes of a file that are settled together.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: Range<u64>,
    pub(crate) fate: Fate,
}

#[derive(Clone)]
pub(crate) enum Fate {
    /// It arrives, as this.
    Sent(UserRecord),
    /// It is not sent. Of dropped bytes any part may be settled before the rest.
    Dropped(DropReason),
}

/// What a reader of the stream gets for a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserRecord {
    /// The partition key, where the configuration says which.
    pub(crate) key: Option<String>,
    pub(crate) data: Vec<u8>,
}

/// The pieces of a file that grows, as far as they are decided.
#[derive(Clone, Default)]
pub(crate) struct Decided {
    /// Those of the lines that have an end; they stay as they are.
    ended: Vec<Piece>,
    /// Bytes of those lines.
    ended_byte_count: usize,
    ended_line_count: usize,
    /// Those of an unfinished last line.
    last: Vec<Piece>,
}

impl Decided {
    /// The file is now `bytes`. When it is `complete`, an unfinished last line is a line, else it waits until it has
    /// an end or is surely too long.
    pub(crate) fn update(&mut self, flow: &Flow, bytes: &[u8], complete: bool) {
        let mut pieces = Pieces { flow, start: self.ended_byte_count as u64, pieces: std::mem::take(&mut self.ended) };
        let mut unfinished: &[u8] = &[];
        for line in bytes[self.ended_byte_count..].split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") {
                if self.ended_line_count < flow.line.skip_header_lines {
                    pieces.push(line.len(), Fate::Dropped(DropReason::Header));
                } else {
                    pieces.push_line(line);
                }
                self.ended_line_count += 1;
                self.ended_byte_count += line.len();
            } else {
                unfinished = line;
            }
        }
        self.ended = pieces.pieces;
        let mut last = Pieces { flow, start: self.ended_byte_count as u64, pieces: Vec::new() };
        if self.ended_line_count < flow.line.skip_header_lines {
            if !unfinished.is_empty() {
                last.push(unfinished.len(), Fate::Dropped(DropReason::Header));
            }
        } else if complete {
            last.push_line(unfinished);
        } else {
            last.push_unfinished(unfinished);
        }
        self.last = last.pieces;
    }

    /// All of them, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.ended.iter().chain(&self.last)
    }

    /// Bytes that are decided.
    pub(crate) fn byte_count(&self) -> u64 {
        self.pieces().last().map_or(0, |piece| piece.bytes.end)
    }
}

struct Pieces<'a> {
    flow: &'a Flow,
    start: u64,
    pieces: Vec<Piece>,
}

impl Pieces<'_> {
    fn push_line(&mut self, mut line: &[u8]) {
        let rules = self.flow.line;
        while !line.is_empty() {
            let text = text_of(line, rules.strip_cr);
            if text.len() <= rules.max_bytes {
                return self.push_sent(text, line.len());
            }
            let head = &line[..cut_before(line, rules.max_bytes)];
            match rules.too_long {
                TooLong::Drop => return self.push(line.len(), Fate::Dropped(DropReason::TooLong)),
                TooLong::Truncate => {
                    self.push_sent(head, head.len());
                    return self.push(line.len() - head.len(), Fate::Dropped(DropReason::TooLong));
                }
                TooLong::Split => {
                    self.push_sent(head, head.len());
                    line = &line[head.len()..];
                }
            }
        }
    }

    /// A CR at the end may yet turn out to be part of the terminator.
    fn push_unfinished(&mut self, mut line: &[u8]) {
        let rules = self.flow.line;
        while line.len() > rules.max_bytes + usize::from(rules.strip_cr) {
            let head_length = cut_before(line, rules.max_bytes);
            if rules.too_long != TooLong::Split {
                return self.push_line(line);
            }
            self.push_sent(&line[..head_length], head_length);
            line = &line[head_length..];
        }
    }

    fn push_sent(&mut self, text: &[u8], byte_count: usize) {
        let fate = fate(self.flow, text);
        self.push(byte_count, fate);
    }

    fn push(&mut self, byte_count: usize, fate: Fate) {
        let end = self.start + byte_count as u64;
        self.pieces.push(Piece { bytes: self.start..end, fate });
        self.start = end;
    }
}

fn text_of(line: &[u8], strip_cr: bool) -> &[u8] {
    let Some(text) = line.strip_suffix(b"\n") else { return line };
    if strip_cr { text.strip_suffix(b"\r").unwrap_or(text) } else { text }
}

/// The longest beginning of at most `length_max` bytes that does not end within a character.
fn cut_before(line: &[u8], length_max: usize) -> usize {
    let begins_character = |at: &usize| line.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let shortest = length_max.saturating_sub(3).max(1);
    (shortest..=length_max).rev().find(begins_character).unwrap_or(length_max)
}

/// What becomes of a line of acceptable length.
fn fate(flow: &Flow, text: &[u8]) -> Fate {
    if flow.filter.drop.iter().any(|condition| condition.line.as_ref().is_some_and(|pattern| pattern.is_match(text))) {
        return Fate::Dropped(DropReason::Filtered);
    }
    let raw = || sent_unless_too_large(flow, None, text.to_owned());
    let object = |key, fields: Vec<String>| {
        let added = flow.record.add.iter().map(|added| match &added.value {
            AddedValue::Json(json) => format!("\"{}\":{json}", added.path.join(".")),
            AddedValue::Template(_) => panic!("what the flows of the simulation add is the same in all lines"),
        });
        let fields: Vec<String> = fields.into_iter().chain(added).collect();
        sent_unless_too_large(flow, key, format!("{{{}}}", fields.join(",")).into_bytes())
    };
    let message = || format!("\"message\":{}", json(text));
    let Some(parse) = &flow.parse else {
        return if flow.record.output == Output::Raw { raw() } else { object(None, vec![message()]) };
    };
    if let Some((key, fields)) = parsed(flow, parse, text) {
        return object(key, fields);
    }
    match parse.on_mismatch {
        OnMismatch::SendRaw => raw(),
        OnMismatch::Drop => Fate::Dropped(DropReason::Mismatch),
        OnMismatch::Wrap => object(None, vec![message(), "\"error\":\"no match\"".to_owned()]),
    }
}

fn sent_unless_too_large(flow: &Flow, key: Option<String>, mut data: Vec<u8>) -> Fate {
    data.extend(flow.record.terminator.as_bytes());
    if data.len() > LINE_BYTES_MAX + TERMINATOR_BYTES_MAX {
        return Fate::Dropped(DropReason::RecordTooLarge);
    }
    Fate::Sent(UserRecord { key, data })
}

/// The partition key, and the fields with their names.
fn parsed(flow: &Flow, parse: &Parse, text: &[u8]) -> Option<(Option<String>, Vec<String>)> {
    let Format::Regex(patterns) = &parse.format else { panic!("the flows of the simulation have patterns") };
    let captures = patterns[0].captures(text)?;
    let names = patterns[0].capture_names().flatten();
    let fields: Vec<String> = names.map(|name| format!("\"{name}\":{}", json(&captures[name]))).collect();
    let key = match &flow.delivery.partition_key {
        PartitionKey::Template(template) => {
            let field = template.fields().next().expect("the flows of the simulation go by a field");
            String::from_utf8_lossy(&captures[field]).chars().take(PARTITION_KEY_CHARS_MAX).collect()
        }
        PartitionKey::Random | PartitionKey::File => String::new(),
    };
    // Of joined lines nobody learns the key.
    Some((Some(key).filter(|key| !key.is_empty() && flow.delivery.aggregate != Aggregate::Lines), fields))
}

fn json(text: &[u8]) -> String {
    serde_json::to_string(&String::from_utf8_lossy(text)).unwrap()
}
