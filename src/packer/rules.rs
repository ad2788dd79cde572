//! What of a processed line is packed, and under which key: the rules that whoever shows records shares.

use std::path::Path;

use crate::config::{Flow, PartitionKey};
use crate::limits::{PARTITION_KEY_CHARS_MAX, TERMINATOR_BYTES_MAX};
use crate::processor::Made;
use crate::settlement::DropReason;

/// The bytes that are sent of `line`, of which `record` was made, where records have room for at most `bytes_max` of them.
///
/// # Errors
/// Why none are.
pub fn data_of<'a>(made: Made, line: &'a [u8], record: &'a [u8], bytes_max: usize) -> Result<&'a [u8], DropReason> {
    let data = match made {
        Made::Raw => line,
        Made::Record => record,
        Made::Dropped(reason) => return Err(reason),
    };
    // JSON may be several times as long as the line that it is made of.
    if data.len() > bytes_max { Err(DropReason::RecordTooLarge) } else { Ok(data) }
}

/// The longest data of a user record where nothing is known of the stream but that it takes the lines of this flow.
pub fn data_bytes_expected(flow: &Flow) -> usize {
    flow.delivery.line_bytes_default().max(flow.line.max_bytes) + TERMINATOR_BYTES_MAX
}

/// The key of the lines of a file, where that is what `rule` asks for; else empty.
pub fn file_key(rule: &PartitionKey, path: &Path) -> String {
    match rule {
        PartitionKey::File => end_of_path(path),
        PartitionKey::Random | PartitionKey::Template(_) => String::new(),
    }
}

/// The key of a line, of those that its file and its fields have; none when it goes with a random one.
pub fn key_of<'a>(rule: &PartitionKey, file_key: &'a str, field_key: &'a str) -> Option<&'a str> {
    match rule {
        PartitionKey::Random => None,
        PartitionKey::File => Some(file_key),
        PartitionKey::Template(_) => (!field_key.is_empty()).then_some(field_key),
    }
}

/// The last 256 characters of a path.
fn end_of_path(path: &Path) -> String {
    let path = path.to_string_lossy();
    let excess = path.chars().count().saturating_sub(PARTITION_KEY_CHARS_MAX);
    path.chars().skip(excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_file_is_the_end_of_its_path() {
        let key = |path: &str| file_key(&PartitionKey::File, Path::new(path));
        assert_eq!(key("/var/log/é.log"), "/var/log/é.log");
        assert_eq!(key(&format!("/{}", "é".repeat(300))), "é".repeat(256));
        assert_eq!(file_key(&PartitionKey::Random, Path::new("/var/log/a.log")), "");
    }
}
