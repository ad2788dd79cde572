//! The lines of one flow: read, made into records as the packer would, shown and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::reading::{Dropped, Item, Piece, Reading};
use super::shown::{Counts, Shown};
use super::start::{self, Start};
use super::{Lines, Screen, json, text};
use crate::config::{Encoding, Flow, one_line};
use crate::discovery::Globs;
use crate::metadata::Ec2;
use crate::packer::rules;
use crate::processor::{Origin, Processor, Surroundings};
use crate::tailer::{Chunk, Line};

/// So many lines are gone back for each of the newest records of several lines.
const JOINED_LINES_ASSUMED: usize = 50;
/// Characters of the line that is shown when no line matches.
const EXAMPLE_CHARS_MAX: usize = 200;

/// Shows the lines of one flow.
pub(super) struct Viewer<'s, O: Write, N: Write> {
    flow: Arc<Flow>,
    processor: Processor,
    ec2: Arc<Ec2>,
    lines: Lines,
    screen: &'s mut Screen<O, N>,
    counts: Counts,
    total: &'s mut Counts,
    /// The first line that is not of the format, and where it is.
    first_mismatch: Option<String>,
    /// There may be more lines than were shown.
    is_cut_short: bool,
    /// What was dropped last: what follows it and is dropped for the same reason is shown with it.
    dropped: Option<Dropped>,
    record: Vec<u8>,
    field_key: String,
}

impl<'s, O: Write, N: Write> Viewer<'s, O, N> {
    pub(super) fn new(
        flow: Arc<Flow>,
        surroundings: &Surroundings,
        ec2: Arc<Ec2>,
        lines: Lines,
        screen: &'s mut Screen<O, N>,
        total: &'s mut Counts,
    ) -> Self {
        Self {
            processor: Processor::new(&flow, surroundings),
            flow,
            ec2,
            lines,
            screen,
            counts: Counts::default(),
            total,
            first_mismatch: None,
            is_cut_short: false,
            dropped: None,
            record: Vec::new(),
            field_key: String::new(),
        }
    }

    /// Shows what would be read next, or, where that is nothing, the newest lines.
    pub(super) async fn show(&mut self, start: &Start) -> io::Result<()> {
        let flow = Arc::clone(&self.flow);
        let globs = || Globs::new(&flow.files, &flow.exclude).map_err(|mistake| io::Error::other(mistake.message));
        let scan = globs()?.scan();
        if let Some(problem) = start::problems(&flow, &scan) {
            self.note(&problem)?;
        }
        if flow.filter.sample.as_ref().is_some_and(|sample| sample.key.is_none() && sample.rate < 1.0) {
            self.note("which lines `sample` chooses depends on how the agent knows the file: it may be others than these")?;
        }
        let rows = start.rows(&flow);
        let why_newest = match (&rows, start) {
            (Some(_), _) => Some("nothing is left to read from where it would start; these are the newest lines"),
            (None, Start::Known(_)) => Some("start_at = \"end\": it would start behind these, which are the newest lines"),
            (None, Start::Running) => None,
        };
        if let Some(rows) = rows {
            let mut reading = Reading::begin(Arc::clone(&flow), globs()?, rows);
            while let Some(piece) = reading.next().await {
                if self.show_piece(&piece, 0)?.is_break() {
                    break;
                }
            }
            self.flush_dropped()?;
        }
        if self.counts.read_lines > 0 {
            return Ok(());
        }
        // A record of several lines may need many of them.
        let line_count = self.lines.max().map(|count| match flow.multiline {
            Some(_) => count.saturating_mul(JOINED_LINES_ASSUMED),
            None => count,
        });
        let Some(newest) = start::newest(&flow, scan, line_count) else { return Ok(()) };
        if let Some(why) = why_newest {
            self.note(why)?;
        }
        self.show_newest(newest, globs()?).await
    }

    /// Shows the last lines of those that are read of one file.
    async fn show_newest(&mut self, newest: start::Newest, globs: Globs) -> io::Result<()> {
        let mut reading = Reading::begin(Arc::new(newest.flow), globs, newest.rows);
        let mut pieces: VecDeque<Piece> = VecDeque::new();
        let mut line_count = 0;
        while let Some(piece) = reading.next().await {
            if piece.file() != Some(newest.file) {
                continue;
            }
            let Some(line_count_max) = self.lines.max() else {
                if self.show_piece(&piece, 0)?.is_break() {
                    return Ok(());
                }
                continue;
            };
            line_count += piece.line_count();
            pieces.push_back(piece);
            while let Some(first) = pieces.front().map(Piece::line_count).filter(|first| line_count - first >= line_count_max) {
                line_count -= first;
                pieces.pop_front();
            }
        }
        let mut surplus = self.lines.max().map_or(0, |line_count_max| line_count.saturating_sub(line_count_max));
        for piece in pieces {
            if self.show_piece(&piece, surplus)?.is_break() {
                return Ok(());
            }
            surplus = 0;
        }
        self.flush_dropped()
    }

    /// Shows a piece but the first `skipped_count` lines of it; breaks when enough was shown.
    fn show_piece(&mut self, piece: &Piece, skipped_count: usize) -> io::Result<ControlFlow<()>> {
        let mut skipped_left = skipped_count;
        for item in piece.items() {
            match item {
                Item::Line(..) if skipped_left > 0 => skipped_left -= 1,
                Item::Dropped(_) if skipped_left > 0 => {}
                Item::Dropped(dropped) => self.put_dropped(dropped)?,
                Item::Line(chunk, line) => {
                    if self.lines.max().is_some_and(|line_count_max| self.counts.read_lines >= line_count_max as u64) {
                        self.is_cut_short = true;
                        self.flush_dropped()?;
                        return Ok(ControlFlow::Break(()));
                    }
                    self.show_line(chunk, line)?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn put_dropped(&mut self, dropped: &Dropped) -> io::Result<()> {
        if let Some(last) = &mut self.dropped
            && (last.span.file, last.span.end, last.reason) == (dropped.span.file, dropped.span.start, dropped.reason)
        {
            last.span.end = dropped.span.end;
            return Ok(());
        }
        self.flush_dropped()?;
        self.dropped = Some(dropped.clone());
        Ok(())
    }

    fn flush_dropped(&mut self) -> io::Result<()> {
        let Some(dropped) = self.dropped.take() else { return Ok(()) };
        self.put(&Shown {
            path: &dropped.path,
            span: dropped.span,
            line: None,
            record: Err(dropped.reason),
            partition_key: None,
            processed: None,
            unfit_fields: Vec::new(),
            is_replaced: false,
        })
    }

    fn show_line(&mut self, chunk: &Chunk, line: &Line) -> io::Result<()> {
        self.flush_dropped()?;
        let (span, text) = (chunk.span(line), chunk.text(line));
        let ec2 = Arc::clone(&self.ec2);
        let header = chunk.header.as_deref();
        let origin = Origin { path: &chunk.path, file: chunk.file, offset: span.start, header, now: Timestamp::now(), ec2: &ec2 };
        let (mut record, mut field_key) = (std::mem::take(&mut self.record), std::mem::take(&mut self.field_key));
        record.clear();
        let processed = self.processor.process(text, &origin, &mut record, &mut field_key);
        let unfit_fields = if processed.type_mismatches > 0 { self.processor.unfit_fields(text, &origin) } else { Vec::new() };
        let rule = &self.flow.delivery.partition_key;
        let file_key = rules::file_key(rule, &chunk.path);
        // In UTF-8 the tailer replaces nothing.
        let is_replaced = processed.replaced || self.flow.line.encoding != Encoding::Utf8 && has_replacement(text);
        let made = rules::data_of(processed.made, text, &record, rules::data_bytes_expected(&self.flow));
        let shown = Shown {
            path: &chunk.path,
            span,
            line: Some(text),
            record: made,
            partition_key: made.ok().and_then(|_| rules::key_of(rule, &file_key, &field_key)),
            processed: Some(processed),
            unfit_fields,
            is_replaced,
        };
        if processed.mismatched && self.first_mismatch.is_none() {
            let place = one_line(&format!("{}:{}", chunk.path.display(), span.start));
            self.first_mismatch = Some(format!("{place}  {}", text::visible(text, EXAMPLE_CHARS_MAX)));
        }
        self.put(&shown)?;
        (self.record, self.field_key) = (record, field_key);
        Ok(())
    }

    fn put(&mut self, shown: &Shown<'_>) -> io::Result<()> {
        self.counts.add(shown);
        self.total.add(shown);
        if self.screen.is_json {
            json::write_line(&self.flow.name, shown, &mut self.screen.out)
        } else {
            text::write_line(&self.flow, shown, self.screen.paint, &mut self.screen.out)
        }
    }

    /// Shows the counts, and returns them.
    pub(super) fn conclude(self) -> io::Result<(Arc<Flow>, Counts)> {
        let Self { flow, counts, screen, first_mismatch, is_cut_short, lines, .. } = self;
        if counts.read_bytes == 0 {
            screen.note(&format!(
                "{}: there is no line to show; files that match are empty, compressed or cannot be read",
                one_line(&flow.name)
            ))?;
        }
        if !screen.is_json {
            let paint = screen.paint;
            text::write_counts(&one_line(&flow.name), Some(&flow), &counts, paint, &mut screen.out)?;
            if let (true, Lines::Some(line_count)) = (is_cut_short, lines) {
                let remark = format!("  these are the first {line_count}; --lines 1000 or --lines all shows more");
                text::write_remark(&remark, paint, &mut screen.out)?;
            }
        }
        if let Some(first) = first_mismatch.filter(|_| counts.matched_lines == 0) {
            screen.note(&format!("{}: no line matched; this is the first that does not: {first}", one_line(&flow.name)))?;
        }
        Ok((flow, counts))
    }

    fn note(&mut self, text: &str) -> io::Result<()> {
        let name = one_line(&self.flow.name);
        self.screen.note(&format!("{name}: {text}"))
    }
}

fn has_replacement(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.contains(char::REPLACEMENT_CHARACTER))
}
