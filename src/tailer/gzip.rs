//! A file compressed by gzip, read by offsets of what it holds.
//!
//! It can only be read forwards: a read before the last one begins from the start of the file again.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;

use crate::limits::KIB;
use crate::progress;

/// How a file compressed by gzip begins, with the one method there is: RFC 1952, 2.3.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Compressed bytes read at once.
const COMPRESSED_BYTES: usize = 64 * KIB;
/// Decompressed bytes that are passed over at once.
const SKIPPED_BYTES: usize = 64 * KIB;

/// Whether the file is compressed, as far as its first bytes say.
pub(super) fn is_gzip(handle: &File) -> io::Result<bool> {
    let mut beginning = [0; MAGIC.len()];
    match handle.read_exact_at(&mut beginning, 0) {
        Ok(()) => Ok(beginning == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads what the file holds.
pub(super) struct GzipReader {
    handle: File,
    /// None before the first read, and behind an error.
    decoder: Option<MultiGzDecoder<BufReader<File>>>,
    /// What was decompressed last, `start..`.
    window: Vec<u8>,
    /// Where in the content the window begins.
    start: u64,
    /// The end of the content, when it was reached.
    byte_count: Option<u64>,
}

impl GzipReader {
    /// A reader that has read nothing yet.
    pub(super) fn new(handle: File) -> Self {
        Self { handle, decoder: None, window: Vec::new(), start: 0, byte_count: None }
    }

    /// The file.
    pub(super) fn handle(&self) -> &File {
        &self.handle
    }

    /// The file, not read any more.
    pub(super) fn into_handle(self) -> File {
        self.handle
    }

    /// Size of what the file holds, once its end was reached.
    pub(super) fn byte_count(&self) -> Option<u64> {
        self.byte_count
    }

    /// The size as the file's last bytes tell it: modulo 2³², of its last member only, and rubbish while it is being written.
    pub(super) fn byte_count_told(&self) -> io::Result<u32> {
        let mut told = [0; size_of::<u32>()];
        let start = self.handle.metadata()?.len().saturating_sub(size_of::<u32>() as u64);
        self.handle.read_exact_at(&mut told, start)?;
        Ok(u32::from_le_bytes(told))
    }

    /// Reads `start..end` of the content into `buffer`, less where it ends before.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before its content does: it is still being written, or was cut.
    pub(super) fn read_at(&mut self, buffer: &mut Vec<u8>, start: u64, end: u64) -> io::Result<()> {
        let read = self.fill(start, end);
        if let Err(error) = read {
            // Where in the content the decoder is now is not known.
            self.decoder = None;
            return Err(error);
        }
        let from = usize::try_from(start - self.start).unwrap_or(usize::MAX).min(self.window.len());
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        buffer.clear();
        buffer.extend(self.window[from..].iter().take(length));
        Ok(())
    }

    /// Makes the window begin at `start`, and reach to `end` or the end of the content.
    fn fill(&mut self, start: u64, end: u64) -> io::Result<()> {
        if self.decoder.is_none() || start < self.start {
            self.rewind()?;
        }
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let passed = usize::try_from(start - self.start).unwrap_or(usize::MAX).min(self.window.len());
        self.window.drain(..passed);
        self.start += passed as u64;
        while self.start < start && self.byte_count.is_none() {
            self.window.clear();
            progress::goes_on();
            let length = (start - self.start).min(SKIPPED_BYTES as u64);
            if decoder.take(length).read_to_end(&mut self.window)? == 0 {
                self.byte_count = Some(self.start);
            }
            self.start += self.window.len() as u64;
            self.window.clear();
        }
        let missing = end.saturating_sub(self.start + self.window.len() as u64);
        if missing > 0 && self.byte_count.is_none() && (decoder.take(missing).read_to_end(&mut self.window)? as u64) < missing {
            self.byte_count = Some(self.start + self.window.len() as u64);
        }
        Ok(())
    }

    fn rewind(&mut self) -> io::Result<()> {
        let mut handle = self.handle.try_clone()?;
        handle.seek(SeekFrom::Start(0))?;
        self.decoder = Some(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BYTES, handle)));
        self.window.clear();
        (self.start, self.byte_count) = (0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn compressed(members: &[&[u8]]) -> Vec<u8> {
        let member = |bytes: &&[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        members.iter().flat_map(member).collect()
    }

    fn reader(bytes: &[u8]) -> GzipReader {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        assert_eq!(is_gzip(&file).unwrap(), bytes.starts_with(&MAGIC));
        GzipReader::new(file)
    }

    fn read(reader: &mut GzipReader, start: u64, end: u64) -> Vec<u8> {
        let mut buffer = vec![1, 2, 3];
        reader.read_at(&mut buffer, start, end).unwrap();
        buffer
    }

    #[test]
    fn any_part_of_the_content_can_be_read() {
        let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let mut reader = reader(&compressed(&[&content[..700_000], &content[700_000..]]));
        for (start, end) in
            [(0, 10), (5, 300_000), (699_000, 701_000), (100, 200), (1_199_990, 1_300_000), (1_300_000, 1_300_001)]
        {
            let part = &content[content.len().min(start)..content.len().min(end)];
            assert!(read(&mut reader, start as u64, end as u64) == part, "{start}..{end}");
        }
        assert_eq!(reader.byte_count(), Some(1_200_000));
        assert_eq!(u64::from(reader.byte_count_told().unwrap()), 1_200_000 - 700_000);
    }

    #[test]
    fn what_is_still_being_written_is_told_from_what_is_complete() {
        let whole = compressed(&[&[b'x'; 100_000]]);
        let mut cut = reader(&whole[..whole.len() / 2]);
        let mut buffer = Vec::new();
        for _ in 0..2 {
            assert_eq!(cut.read_at(&mut buffer, 0, 200_000).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        cut.handle().write_all_at(&whole, 0).unwrap();
        cut.read_at(&mut buffer, 0, 200_000).unwrap();
        assert_eq!(buffer.len(), 100_000);
    }

    #[test]
    fn rubbish_is_an_error() {
        let mut reader = reader(b"\x1f\x8b\x08 and nothing that makes sense, however long it is read for");
        assert!(reader.read_at(&mut Vec::new(), 0, 1).is_err());
    }
}
