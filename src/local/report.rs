//! What it came to: figures of every flow, stream and shard, and whether every line was read back.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use console::style;

use super::consumer::{ShardRead, StreamRead};
use super::snapshot::{FlowFigures, Snapshot};
use super::text::{bytes, count, counted};

/// Columns of a sample: with its margin it fits a terminal of the usual width.
const SAMPLE_WIDTH: usize = 75;

/// The end of a run.
pub struct Report {
    snapshot: Snapshot,
    elapsed: Duration,
}

impl Report {
    pub(super) fn new(snapshot: Snapshot, elapsed: Duration) -> Self {
        Self { snapshot, elapsed }
    }

    /// Whether as many user records were read back of every stream as were acknowledged to its flows.
    pub fn is_all_read_back(&self) -> bool {
        self.snapshot.streams.iter().all(|stream| self.snapshot.delivered_to(&stream.stream) == stream.total().user_records)
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub fn print(&self) -> io::Result<()> {
        io::stdout().lock().write_all(self.text().as_bytes())
    }

    /// Some lines for a person, in colour if standard output shows any.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for flow in &self.snapshot.flows {
            push_flow(&mut text, flow, self.elapsed);
        }
        for stream in &self.snapshot.streams {
            push_stream(&mut text, stream);
        }
        self.push_verdict(&mut text);
        text
    }

    fn push_verdict(&self, text: &mut String) {
        let flows = &self.snapshot.flows;
        let (read, delivered) =
            flows.iter().fold((0, 0), |(read, delivered), flow| (read + flow.read_lines, delivered + flow.delivered_lines));
        if self.is_all_read_back() {
            let verdict = if read == 0 {
                "nothing to compare: no line was read".to_owned()
            } else if read == delivered {
                format!("every line read was read back: {}", count(read))
            } else {
                format!("every line delivered was read back: {} of {} read", count(delivered), count(read))
            };
            push(text, &format!("{} {}", style("✓").green().bold(), style(verdict).bold()));
            return;
        }
        for stream in &self.snapshot.streams {
            let (delivered, read_back) = (self.snapshot.delivered_to(&stream.stream), stream.total().user_records);
            let difference = match delivered.abs_diff(read_back) {
                0 => continue,
                missing if delivered > read_back => format!("{} delivered and not read back", counted(missing, "line")),
                extra => format!("{} read back more than was delivered: sent twice", counted(extra, "line")),
            };
            let figures = format!("{} delivered, {} read back", count(delivered), count(read_back));
            push(text, &format!("{} {}: {difference} ({figures})", style("✗").red().bold(), stream.stream));
        }
    }
}

fn push_flow(text: &mut String, flow: &FlowFigures, elapsed: Duration) {
    push(text, &format!("{} {}", style(&flow.flow).cyan().bold(), style(format!("→ stream {}", flow.stream)).dim()));
    let row = |text: &mut String, name: &str, lines: &str, byte_count: u64, note: &str| {
        push(
            text,
            &format!(
                "  {name:<9} {lines:>13} {:5} {:>12}  {note}",
                if lines.is_empty() { "" } else { "lines" },
                bytes(byte_count)
            ),
        );
    };
    let (lines_a_second, bytes_a_second) = (per_second(flow.read_lines, elapsed), per_second(flow.read_bytes, elapsed));
    let speed = format!("in {:.1} s: {} lines/s, {}/s", elapsed.as_secs_f64(), count(lines_a_second), bytes(bytes_a_second));
    row(text, "read", &count(flow.read_lines), flow.read_bytes, &speed);
    let packing = match flow.delivered_lines.checked_div(flow.delivered_records) {
        None => String::new(),
        Some(lines_each) => format!(
            "in {}: on average {}, {}",
            counted(flow.delivered_records, "Kinesis record"),
            counted(lines_each, "line"),
            bytes(flow.delivered_record_bytes / flow.delivered_records)
        ),
    };
    row(text, "delivered", &count(flow.delivered_lines), flow.delivered_record_bytes, &packing);
    for (reason, byte_count) in &flow.dropped_bytes {
        row(text, "dropped", "", *byte_count, reason);
    }
    if flow.in_flight_bytes > 0 {
        row(text, "in flight", "", flow.in_flight_bytes, "neither delivered nor dropped");
    }
    push(text, "");
}

fn per_second(total: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    total.saturating_mul(1000) / millis
}

fn push_stream(text: &mut String, stream: &StreamRead) {
    let heads = format!("{:>13} {:>18} {:>12}", "lines", "Kinesis records", "bytes");
    let name = console::pad_str(&stream.stream, 11, console::Alignment::Left, None).into_owned();
    push(text, &format!("{} {}", style(name).magenta().bold(), style(heads).dim()));
    let row = |text: &mut String, name: &str, shard: &ShardRead| {
        let (lines, records, byte_count) = (count(shard.user_records), count(shard.records), bytes(shard.bytes));
        push(text, &format!("  {name:<9} {lines:>13} {records:>18} {byte_count:>12}"));
    };
    for (index, shard) in stream.shards.iter().enumerate() {
        row(text, &format!("shard {index}"), shard);
    }
    let total = stream.total();
    row(text, "read back", &total);
    for (lost, why) in [
        (total.dropped_user_records, "in aggregates that reach into another shard: a consumer drops them"),
        (total.malformed_user_records, "in aggregates that a consumer cannot read"),
    ] {
        if lost > 0 {
            push(text, &format!("  {} {} {why}", style("lost").red().bold(), counted(lost, "line")));
        }
    }
    if total.failed_reads > 0 {
        push(text, &format!("  {} failed: see the log", counted(total.failed_reads, "read")));
    }
    for sample in &stream.samples {
        push(text, &style(format!("  │ {}", console::truncate_str(sample, SAMPLE_WIDTH, "…"))).dim().to_string());
    }
    push(text, "");
}

fn push(text: &mut String, line: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow that delivered and a stream that gave back so many lines.
    fn report(read: u64, delivered: u64, read_back: u64) -> Report {
        let flow = FlowFigures {
            flow: "f".into(),
            stream: "s".into(),
            read_lines: read,
            delivered_lines: delivered,
            ..FlowFigures::default()
        };
        let shard = ShardRead { user_records: read_back, ..ShardRead::default() };
        let stream = StreamRead { stream: "s".into(), shards: vec![ShardRead::default(), shard], samples: Vec::new() };
        Report::new(Snapshot { flows: vec![flow], streams: vec![stream] }, Duration::from_secs(2))
    }

    #[track_caller]
    fn check(report: &Report, all_read_back: bool, verdict: &str) {
        assert_eq!(report.is_all_read_back(), all_read_back);
        let text = console::strip_ansi_codes(&report.text()).into_owned();
        assert_eq!(text.lines().last(), Some(verdict), "{text}");
    }

    #[test]
    fn the_last_line_says_whether_every_line_was_read_back() {
        check(&report(1000, 1000, 1000), true, "✓ every line read was read back: 1,000");
        check(&report(0, 0, 0), true, "✓ nothing to compare: no line was read");
        check(&report(1000, 900, 900), true, "✓ every line delivered was read back: 900 of 1,000 read");
        check(&report(1000, 1000, 999), false, "✗ s: 1 line delivered and not read back (1,000 delivered, 999 read back)");
        check(
            &report(1000, 1000, 1002),
            false,
            "✗ s: 2 lines read back more than was delivered: sent twice (1,000 delivered, 1,002 read back)",
        );
    }
}
