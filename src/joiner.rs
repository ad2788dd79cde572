//! User records into one record, one behind the other.
//!
//! Each already ends as the flow wants it, or with a newline that is put behind it here, so a reader who knows how they end takes
//! them apart. Unlike an aggregate it says nothing of partition keys, nor of the bytes of files that it is made of.
//!
//! Pure. Which records are joined, and when there are enough, is the packer's decision.

use bytes::Bytes;

use crate::span::{Span, Spans};

/// Records that are being joined.
#[derive(Debug, Default)]
pub struct Joined {
    data: Vec<u8>,
    spans: Spans,
    user_record_count: u32,
}

impl Joined {
    /// Begins anew, with room for so many bytes.
    pub fn begin(&mut self, expected_bytes: usize) {
        *self = Self { data: Vec::with_capacity(expected_bytes), ..Self::default() };
    }

    /// The newest span ended in this line.
    pub fn set_last_line(&mut self, span: &Span, line: &[u8]) {
        self.spans.set_last_line(span, line);
    }

    /// True when no record is in it.
    pub fn is_empty(&self) -> bool {
        self.user_record_count == 0
    }

    /// Adds a record, and what is put `behind` it, unless there would then be more than `bytes_max`, or more spans than `fit`; then
    /// nothing changes and the answer is false. A record that is the first is always taken.
    pub fn try_push(
        &mut self,
        data: &[u8],
        behind: &[u8],
        span: Span,
        bytes_max: usize,
        fit: impl FnOnce(&Spans) -> bool,
    ) -> bool {
        if self.is_empty() {
            self.spans.push(span);
        } else if self.data.len() + data.len() + behind.len() > bytes_max || !self.spans.try_push(span, fit) {
            return false;
        }
        self.data.extend_from_slice(data);
        self.data.extend_from_slice(behind);
        self.user_record_count += 1;
        true
    }

    /// Bytes so far.
    pub fn byte_count(&self) -> usize {
        self.data.len()
    }

    /// The data of the record, the bytes of files that it is made of, and how many records are in it.
    /// It is empty afterwards.
    pub fn take(&mut self) -> (Bytes, Spans, u32) {
        let mut joined = std::mem::take(self);
        // Room for a record that has become much smaller is given back: this may wait long.
        if joined.data.capacity() - joined.data.len() > joined.data.len() / 4 {
            joined.data.shrink_to_fit();
        }
        (joined.data.into(), joined.spans, joined.user_record_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::FileKey;

    #[test]
    fn records_stand_one_behind_the_other_up_to_the_limit() {
        let span = |start, end| Span::new(FileKey(1), start, end);
        let mut joined = Joined::default();
        assert!(joined.try_push(b"longer than that\n", b"", span(0, 17), 10, |_| true));
        assert!(!joined.try_push(b"\n", b"", span(17, 18), 17, |_| true));
        assert!(joined.try_push(b"", b"\n", span(17, 18), 18, |_| true));
        assert!(!joined.try_push(b"", b"\n", span(18, 19), 18, |_| true));
        assert_eq!(joined.byte_count(), 18);
        let (data, spans, user_record_count) = joined.take();
        assert_eq!(data, "longer than that\n\n");
        assert_eq!(spans.iter().collect::<Vec<_>>(), [span(0, 18)]);
        assert_eq!(user_record_count, 2);
    }
}
