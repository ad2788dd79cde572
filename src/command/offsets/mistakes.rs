//! Reading the document of `kinetail offsets export`: every mistake in it, each with its place. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::document::{VERSION, VERSION_KEY};
use crate::config::{nearest, one_line};
use crate::limits::{FINGERPRINT_BYTES, MARK_BYTES};
use crate::offsets::{Content, Fingerprint, Identity, Mark, Place, Row, RunKey, Sending};
use crate::span::FileKey;

/// No file is larger than its offsets can say.
const OFFSET_MAX: u64 = i64::MAX as u64;
/// The end of the year 9999, in seconds since 1970.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Bytes of a name: paths of Linux have up to 4,096, and three times that where they are no UTF-8.
const NAME_BYTES_MAX: usize = 16 << 10;

/// What the document says, or what is wrong with it.
pub(super) fn read(document: &[u8]) -> Result<Content, Vec<String>> {
    let value = serde_json::from_slice::<Value>(document).map_err(|error| vec![format!("no JSON: {error}")])?;
    let mut reader = Reader { mistakes: Vec::new() };
    let contents = reader.document(&value);
    match contents {
        Some(contents) if reader.mistakes.is_empty() => Ok(contents),
        _ => Err(reader.mistakes),
    }
}

/// Collects mistakes. What could not be read is none, and told.
struct Reader {
    mistakes: Vec<String>,
}

/// An object, and where it is.
struct Table<'v> {
    place: String,
    entries: &'v Map<String, Value>,
}

impl Table<'_> {
    fn place_of(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }
}

impl Reader {
    fn wrong<T>(&mut self, place: &str, what: impl AsRef<str>) -> Option<T> {
        self.mistakes.push(if place.is_empty() { what.as_ref().to_owned() } else { format!("{place}: {}", what.as_ref()) });
        None
    }

    fn document(&mut self, value: &Value) -> Option<Content> {
        let Some(version) = value.get(VERSION_KEY) else {
            return self.wrong("", format!("this is not a document of `kinetail offsets export`: it has no `{VERSION_KEY}`"));
        };
        if version.as_u64() != Some(VERSION) {
            return self
                .wrong(VERSION_KEY, format!("this kinetail reads version {VERSION}; use the kinetail that has written it"));
        }
        let table = self.table(value, String::new(), &[VERSION_KEY, "started_flows", "files", "sendings"])?;
        let started_flows = self.list(&table, "started_flows", |reader, value, place| reader.name(value, &place));
        let files = self.list(&table, "files", Self::row);
        let sendings = self.list(&table, "sendings", Self::sending);
        let (started_flows, files, sendings) = (started_flows?, files?, sendings?);
        self.twice("started_flows", started_flows.iter());
        self.twice("files", files.iter().map(|(key, _)| key));
        self.twice("sendings", sendings.iter().map(|(run, _)| run));
        Some(Content { rows: files, started_flows: started_flows.into_iter().collect(), sendings })
    }

    /// Tells which of them are not the first of their kind.
    fn twice<K: Eq + std::hash::Hash>(&mut self, list: &str, keys: impl Iterator<Item = K>) {
        let mut first = HashMap::new();
        for (index, key) in keys.enumerate() {
            let first_index = *first.entry(key).or_insert(index);
            if first_index != index {
                self.wrong::<()>(&format!("{list}[{index}]"), format!("is the same as {list}[{first_index}]"));
            }
        }
    }

    fn row(&mut self, value: &Value, place: String) -> Option<(FileKey, Row)> {
        let keys = [
            "key",
            "flow",
            "path",
            "place",
            "fingerprint",
            "mark",
            "byte_count",
            "is_superseded",
            "gone_at",
            "watermark",
            "settled_above",
        ];
        let table = self.table(value, place, &keys)?;
        let key = self.hexadecimal(&table, "key", 16);
        let flow = self.named(&table, "flow");
        let path = self.named(&table, "path");
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            self.wrong::<()>(&table.place_of("path"), "must be an absolute path");
        }
        let place = self.nullable(&table, "place", Self::file_place);
        let fingerprint = self.inner(&table, "fingerprint", Self::fingerprint);
        let mark = self.inner(&table, "mark", Self::mark);
        let byte_count = self.number(&table, "byte_count", OFFSET_MAX);
        let is_superseded = self.truth(&table, "is_superseded");
        let gone_at = self.nullable(&table, "gone_at", |reader, value, place| reader.number_in(value, &place, SECONDS_MAX));
        let watermark = self.number(&table, "watermark", OFFSET_MAX);
        let settled_above = self.ranges(&table, watermark);
        if let (Some(mark), Some(byte_count), Some(watermark)) = (mark, byte_count, watermark)
            && mark.end > byte_count.max(watermark)
        {
            self.wrong::<()>(&table.place_of("mark.end"), "is behind all that was seen of the file");
        }
        let identity = Identity {
            place: place?,
            fingerprint: fingerprint?,
            mark: mark?,
            byte_count: byte_count?,
            is_superseded: is_superseded?,
        };
        let row =
            Row { flow: flow?, path: path?, identity, gone_at: gone_at?, watermark: watermark?, settled_above: settled_above? };
        Some((FileKey(u64::try_from(key?).ok()?), row))
    }

    fn file_place(&mut self, value: &Value, place: String) -> Option<Place> {
        let table = self.table(value, place, &["device", "inode", "created"])?;
        let device = self.decimal(&table, "device");
        let inode = self.decimal(&table, "inode");
        let created = self.nullable(&table, "created", |reader, value, place| reader.decimal_in(value, &place));
        Some(Place { device: device?, inode: inode?, created: created? })
    }

    fn fingerprint(&mut self, value: &Value, place: String) -> Option<Fingerprint> {
        let table = self.table(value, place, &["byte_count", "hash"])?;
        let (byte_count, hash) = self.hashed(&table, FINGERPRINT_BYTES)?;
        Some(Fingerprint { byte_count, hash })
    }

    fn mark(&mut self, value: &Value, place: String) -> Option<Mark> {
        let table = self.table(value, place, &["end", "byte_count", "hash"])?;
        let end = self.number(&table, "end", OFFSET_MAX);
        let (byte_count, hash) = self.hashed(&table, MARK_BYTES)?;
        let end = end?;
        if end < u64::from(byte_count) {
            return self.wrong(&table.place_of("byte_count"), format!("there are only {end} bytes before `end`"));
        }
        Some(Mark { end, byte_count, hash })
    }

    fn hashed(&mut self, table: &Table<'_>, byte_count_max: usize) -> Option<(u32, u64)> {
        let byte_count = self.number(table, "byte_count", byte_count_max as u64);
        let hash = self.hexadecimal(table, "hash", 16);
        let (byte_count, hash) = (u32::try_from(byte_count?).ok()?, u64::try_from(hash?).ok()?);
        if byte_count == 0 && hash != 0 {
            return self.wrong(&table.place_of("hash"), "that of 0 bytes is 0");
        }
        Some((byte_count, hash))
    }

    fn ranges(&mut self, table: &Table<'_>, watermark: Option<u64>) -> Option<Vec<(u64, u64)>> {
        let mut end_before = watermark.unwrap_or(0);
        self.list(table, "settled_above", |reader, value, place| {
            let bounds = value.as_array().map(Vec::as_slice);
            let Some([start, end]) = bounds else { return reader.wrong(&place, "must be [start, end]") };
            let (start, end) = (reader.number_in(start, &place, OFFSET_MAX)?, reader.number_in(end, &place, OFFSET_MAX)?);
            if start >= end {
                return reader.wrong(&place, format!("ends at {end}, and begins at {start}"));
            }
            if start < end_before {
                return reader.wrong(
                    &place,
                    format!(
                        "begins at {start}, where all is settled up to {end_before}: ranges are in order, and do not overlap"
                    ),
                );
            }
            end_before = end;
            Some((start, end))
        })
    }

    fn sending(&mut self, value: &Value, place: String) -> Option<(RunKey, Sending)> {
        let keys =
            ["run_id", "flow", "stream", "marked_at_ms", "in_flight_since_ms", "in_flight_record_count", "sent_record_count"];
        let table = self.table(value, place, &keys)?;
        let run_id = self.hexadecimal(&table, "run_id", 32);
        let flow = self.named(&table, "flow");
        let stream = self.nullable(&table, "stream", |reader, value, place| reader.name(value, &place));
        let marked_at_ms = self.number(&table, "marked_at_ms", SECONDS_MAX * 1000);
        let in_flight_since_ms = self
            .nullable(&table, "in_flight_since_ms", |reader, value, place| reader.number_in(value, &place, SECONDS_MAX * 1000));
        let in_flight_record_count = self.number(&table, "in_flight_record_count", OFFSET_MAX);
        let sent_record_count = self.number(&table, "sent_record_count", OFFSET_MAX);
        let sending = Sending {
            stream: stream?,
            marked_at_ms: i64::try_from(marked_at_ms?).ok()?,
            in_flight_since_ms: in_flight_since_ms?.and_then(|ms| i64::try_from(ms).ok()),
            in_flight_record_count: in_flight_record_count?,
            sent_record_count: sent_record_count?,
        };
        Some((RunKey { run_id: run_id?, flow: flow? }, sending))
    }

    /// An object with these keys and no others.
    fn table<'v>(&mut self, value: &'v Value, place: String, keys: &[&str]) -> Option<Table<'v>> {
        let Some(entries) = value.as_object() else {
            return self.wrong(&place, format!("must be an object, not {}", kind(value)));
        };
        let table = Table { place, entries };
        for key in entries.keys().filter(|key| !keys.contains(&key.as_str())) {
            let help = nearest(key, keys.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            self.wrong::<()>(&table.place, format!("`{}` is not known{help}", one_line(&shortened(key))));
        }
        Some(table)
    }

    fn value<'v>(&mut self, table: &Table<'v>, key: &str) -> Option<&'v Value> {
        let value = table.entries.get(key);
        if value.is_none() { self.wrong(&table.place, format!("`{key}` is missing")) } else { value }
    }

    fn inner<T>(&mut self, table: &Table<'_>, key: &str, read: impl FnOnce(&mut Self, &Value, String) -> Option<T>) -> Option<T> {
        let value = self.value(table, key)?;
        read(self, value, table.place_of(key))
    }

    /// None when it could not be read, and none in it when it is `null`.
    #[expect(clippy::option_option, reason = "the outer one is a mistake that was told")]
    fn nullable<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value, String) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.value(table, key)? {
            Value::Null => Some(None),
            value => read(self, value, table.place_of(key)).map(Some),
        }
    }

    /// Each of a list is read, also after one that cannot be.
    fn list<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Value, String) -> Option<T>,
    ) -> Option<Vec<T>> {
        let place = table.place_of(key);
        let value = self.value(table, key)?;
        let Some(values) = value.as_array() else { return self.wrong(&place, format!("must be a list, not {}", kind(value))) };
        let all: Vec<Option<T>> =
            values.iter().enumerate().map(|(index, value)| read(self, value, format!("{place}[{index}]"))).collect();
        all.into_iter().collect()
    }

    fn named(&mut self, table: &Table<'_>, key: &str) -> Option<String> {
        self.inner(table, key, |reader, value, place| reader.name(value, &place))
    }

    fn name(&mut self, value: &Value, place: &str) -> Option<String> {
        match self.text(value, place)? {
            "" => self.wrong(place, "must not be empty"),
            name if name.len() > NAME_BYTES_MAX => {
                self.wrong(place, format!("has {} bytes, more than {NAME_BYTES_MAX}", name.len()))
            }
            name => Some(name.to_owned()),
        }
    }

    fn text<'v>(&mut self, value: &'v Value, place: &str) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() { self.wrong(place, format!("must be a string, not {}", kind(value))) } else { text }
    }

    fn truth(&mut self, table: &Table<'_>, key: &str) -> Option<bool> {
        self.inner(table, key, |reader, value, place| {
            let truth = value.as_bool();
            if truth.is_none() { reader.wrong(&place, format!("must be true or false, not {}", kind(value))) } else { truth }
        })
    }

    fn number(&mut self, table: &Table<'_>, key: &str, max: u64) -> Option<u64> {
        self.inner(table, key, |reader, value, place| reader.number_in(value, &place, max))
    }

    fn number_in(&mut self, value: &Value, place: &str, max: u64) -> Option<u64> {
        match value.as_u64() {
            Some(number) if number <= max => Some(number),
            _ if value.is_number() => self.wrong(place, format!("must be a whole number from 0 to {max}, not {value}")),
            _ => self.wrong(place, format!("must be a number, not {}", kind(value))),
        }
    }

    fn decimal(&mut self, table: &Table<'_>, key: &str) -> Option<u64> {
        self.inner(table, key, |reader, value, place| reader.decimal_in(value, &place))
    }

    fn decimal_in(&mut self, value: &Value, place: &str) -> Option<u64> {
        let text = self.text(value, place)?;
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        if number.is_none() { self.wrong(place, "must be a whole number of 64 bits, in quotes") } else { number }
    }

    fn hexadecimal(&mut self, table: &Table<'_>, key: &str, digit_count: usize) -> Option<u128> {
        self.inner(table, key, |reader, value, place| {
            let text = reader.text(value, &place)?;
            let is_digits = text.len() == digit_count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u128::from_str_radix(text, 16).ok().filter(|_| is_digits);
            if number.is_none() { reader.wrong(&place, format!("must be {digit_count} hexadecimal digits")) } else { number }
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A key that somebody has written, who may have written much.
fn shortened(key: &str) -> String {
    key.chars().take(40).collect()
}
