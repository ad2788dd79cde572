//! Lines that show what became of them: each says who it is and whether it is whole.

use std::fmt;

/// One line, wherever copies of it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LineId(pub(crate) usize);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// All lines that were ever begun.
#[derive(Default)]
pub(crate) struct Lines(Vec<Line>);

/// What a line is made from: of hundreds of kilobytes each, they are not all kept.
#[derive(Clone, Copy)]
struct Line {
    program: usize,
    filling: u8,
    filling_bytes: usize,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Recognised {
    /// A line without its newline.
    Whole(LineId),
    /// So many bytes of the beginning of one.
    Beginning(LineId, usize),
}

/// Whoever reads less of a line than this cannot tell which it is.
const NUMBER_BYTES: usize = "#0123456 ".len();

impl Lines {
    /// A new line of a program: most are short, a few are much longer than what is read at once.
    pub(crate) fn begin(&mut self, program: usize, rng: &mut fastrand::Rng) -> LineId {
        let filling_bytes = match rng.u8(..100) {
            0 => rng.usize(250_000..350_000),
            1..10 => rng.usize(1_000..8_000),
            10..40 => rng.usize(..4),
            _ => rng.usize(..200),
        };
        self.0.push(Line { program, filling: rng.u8(b'a'..=b'z'), filling_bytes });
        LineId(self.0.len() - 1)
    }

    /// A long line, so that a few of them are a backlog.
    pub(crate) fn begin_long(&mut self, program: usize, rng: &mut fastrand::Rng) -> LineId {
        self.0.push(Line { program, filling: rng.u8(b'a'..=b'z'), filling_bytes: rng.usize(100_000..300_000) });
        LineId(self.0.len() - 1)
    }

    /// A line of so many bytes, with its newline; or the shortest that there is.
    pub(crate) fn begin_of(&mut self, program: usize, byte_count: usize, rng: &mut fastrand::Rng) -> LineId {
        let line = LineId(self.0.len());
        self.0.push(Line { program, filling: rng.u8(b'a'..=b'z'), filling_bytes: 0 });
        self.0[line.0].filling_bytes = byte_count.saturating_sub(self.text(line).len() + 1);
        line
    }

    /// Its bytes, without the newline.
    pub(crate) fn text(&self, line: LineId) -> Vec<u8> {
        let Line { program, filling, filling_bytes } = self.0[line.0];
        let mut text = format!("#{:07} p{program} ", line.0).into_bytes();
        text.resize(text.len() + filling_bytes, filling);
        let checksum = fnv(&text);
        text.extend(format!(" {checksum:08x}").into_bytes());
        text
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Where a line that is written in two goes may be cut, so that its first part still tells which it is.
    pub(crate) fn cut(&self, line: LineId, rng: &mut fastrand::Rng) -> usize {
        rng.usize(NUMBER_BYTES..self.text(line).len())
    }

    /// Which line a record is, or is the beginning of.
    ///
    /// # Errors
    /// What else it is.
    pub(crate) fn recognise(&self, record: &[u8]) -> Result<Recognised, String> {
        let line = number(record).map(LineId).filter(|line| line.0 < self.0.len());
        let text = line.map(|line| (line, self.text(line)));
        match text {
            Some((line, text)) if text == record => Ok(Recognised::Whole(line)),
            Some((line, text)) if text.starts_with(record) => Ok(Recognised::Beginning(line, record.len())),
            _ => Err(self.diagnosis(record, text.as_ref().map(|(line, text)| (*line, text.as_slice())))),
        }
    }

    fn diagnosis(&self, record: &[u8], line: Option<(LineId, &[u8])>) -> String {
        let what = if record.starts_with(&[0x1f, 0x8b]) {
            "COMPRESSED bytes sent as lines".to_owned()
        } else if record.iter().filter(|byte| **byte == b'#').count() > 1 {
            "MERGED, several lines in one record".to_owned()
        } else if let Some((line, text)) = line {
            let same = record.iter().zip(text).take_while(|(a, b)| a == b).count();
            format!("CHANGED, {line} of {} bytes from byte {same} on", text.len())
        } else if self.0.is_empty() || !record.contains(&b'#') {
            "TORN, a record without the beginning of a line".to_owned()
        } else {
            "of no line at all".to_owned()
        };
        format!("{what}: {} bytes {}", record.len(), record[..record.len().min(200)].escape_ascii())
    }
}

fn number(record: &[u8]) -> Option<usize> {
    let (number, _) = record.strip_prefix(b"#")?.split_first_chunk::<7>()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// FNV-1a of 32 bits.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
