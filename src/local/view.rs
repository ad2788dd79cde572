//! How it goes, while it goes: a picture that is drawn again in place on a terminal, else a line now and then.
//!
//! What the picture says is computed from a snapshot alone; how it gets on the screen is decided in `screen`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use console::{Style, style};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::consumer::StreamRead;
use super::screen::Screen;
use super::snapshot::{FlowFigures, Snapshot, Source};
use super::text::{bytes, count, counted};

/// How often the picture is drawn.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The time over which rates are averaged.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// Characters of a bar.
const BAR_CHARS: usize = 24;
/// Samples in the picture; the report shows all.
const SAMPLES_SHOWN: usize = 3;

/// Shows how it goes until the ending.
pub(super) async fn run(screen: Screen, source: Source, endpoint: String, started: Instant, mut ending: watch::Receiver<bool>) {
    let canvas = screen.is_terminal().then(|| screen.canvas());
    let mut ticks = interval(if canvas.is_some() { FRAME_INTERVAL } else { LINE_INTERVAL });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when there is nothing to say yet.
    ticks.tick().await;
    let mut meters = vec![Meter::from_nothing(started); source.routes.len()];
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ending.changed() => break,
        }
        let snapshot = Snapshot::take(&source);
        let now = Instant::now();
        let rates: Vec<Rate> = meters.iter_mut().zip(&snapshot.flows).map(|(meter, flow)| meter.rate(now, flow)).collect();
        match &canvas {
            Some(canvas) => canvas.draw(&picture(&snapshot, &rates, &endpoint, now - started)),
            None => {
                let lines: String = snapshot.flows.iter().zip(&rates).map(|(flow, rate)| line(flow, *rate, &snapshot)).collect();
                // A closed standard error is no reason to end.
                let _ = screen.write(lines.as_bytes());
            }
        }
    }
    if let Some(canvas) = canvas {
        canvas.erase();
    }
}

/// What passes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rate {
    lines: u64,
    bytes: u64,
}

/// Readings of the last [`RATE_WINDOW`], the oldest first, and the one before it.
#[derive(Clone)]
struct Meter(VecDeque<(Instant, u64, u64)>);

impl Meter {
    fn from_nothing(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0, 0)]))
    }

    fn rate(&mut self, now: Instant, flow: &FlowFigures) -> Rate {
        self.0.push_back((now, flow.read_lines, flow.read_bytes));
        while self.0.get(1).is_some_and(|(at, ..)| now - *at >= RATE_WINDOW) {
            self.0.pop_front();
        }
        let Some(&(since, lines, byte_count)) = self.0.front() else { return Rate::default() };
        let millis = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        let a_second = |difference: u64| difference.saturating_mul(1000).checked_div(millis).unwrap_or(0);
        Rate { lines: a_second(flow.read_lines - lines), bytes: a_second(flow.read_bytes - byte_count) }
    }
}

fn picture(snapshot: &Snapshot, rates: &[Rate], endpoint: &str, elapsed: Duration) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {}",
        style("kinetail --local").for_stderr().bold(),
        dim(&format!("embedded Kinesis at {endpoint} · {} s", elapsed.as_secs()))
    )];
    for (flow, rate) in snapshot.flows.iter().zip(rates) {
        lines.extend(flow_lines(flow, *rate));
    }
    for stream in &snapshot.streams {
        lines.extend(stream_lines(stream, snapshot.delivered_to(&stream.stream)));
    }
    lines
}

fn flow_lines(flow: &FlowFigures, rate: Rate) -> [String; 3] {
    let paused = if flow.paused { style("  paused").for_stderr().red().to_string() } else { String::new() };
    let whole = flow.read_bytes + flow.lag_bytes;
    [
        format!(
            "{} {} {}{paused}",
            style(&flow.flow).for_stderr().cyan().bold(),
            dim(&format!("→ stream {}", flow.stream)),
            dim(&format!("· {}", counted(flow.open_files, "file")))
        ),
        format!(
            "  read      {:>13} lines {:>11}   {} lines/s  {}/s",
            count(flow.read_lines),
            bytes(flow.read_bytes),
            count(rate.lines),
            bytes(rate.bytes)
        ),
        format!(
            "  delivered {:>13} lines   {} {}",
            count(flow.delivered_lines),
            bar(flow.settled_bytes, whole, &Style::new().for_stderr().green()),
            dim(&format!("{} in flight, {} to read", bytes(flow.in_flight_bytes), bytes(flow.lag_bytes)))
        ),
    ]
}

fn stream_lines(stream: &StreamRead, delivered: u64) -> Vec<String> {
    let total = stream.total();
    let most = stream.shards.iter().map(|shard| shard.user_records).max().unwrap_or(0);
    let progress = format!("{} of {} read back", count(total.user_records), counted(delivered, "line"));
    let mean = total.bytes.checked_div(total.records).map_or(String::new(), |mean| format!(" · {} a record", bytes(mean)));
    let mut lines =
        vec![format!("{} {}", style(&stream.stream).for_stderr().magenta().bold(), dim(&format!("{progress}{mean}")))];
    for (index, shard) in stream.shards.iter().enumerate() {
        lines.push(format!(
            "  shard {index:<3} {:>13} lines {:>11} records {}",
            count(shard.user_records),
            count(shard.records),
            bar(shard.user_records, most, &Style::new().for_stderr().magenta())
        ));
    }
    let lost = total.dropped_user_records + total.malformed_user_records;
    if lost > 0 {
        lines.push(style(format!("  {} lost by the consumer", counted(lost, "line"))).for_stderr().red().to_string());
    }
    lines.extend(stream.samples.iter().take(SAMPLES_SHOWN).map(|sample| dim(&format!("  │ {sample}"))));
    lines
}

/// How much of a whole, as a bar.
fn bar(part: u64, whole: u64, filled: &Style) -> String {
    let chars =
        (part.min(whole) * BAR_CHARS as u64).checked_div(whole).and_then(|chars| usize::try_from(chars).ok()).unwrap_or(0);
    format!("{}{}", filled.apply_to("━".repeat(chars)), dim(&"─".repeat(BAR_CHARS - chars)))
}

fn dim(text: &str) -> String {
    style(text).for_stderr().dim().to_string()
}

/// What is written of a flow where there is no terminal.
fn line(flow: &FlowFigures, rate: Rate, snapshot: &Snapshot) -> String {
    let read_back =
        snapshot.streams.iter().find(|stream| stream.stream == flow.stream).map_or(0, |stream| stream.total().user_records);
    format!(
        "kinetail --local: {}: {} read ({}, {} lines/s, {}/s), {} delivered, {} in flight, {} to read; {} read back from {}{}\n",
        flow.flow,
        counted(flow.read_lines, "line"),
        bytes(flow.read_bytes),
        count(rate.lines),
        bytes(rate.bytes),
        count(flow.delivered_lines),
        bytes(flow.in_flight_bytes),
        bytes(flow.lag_bytes),
        count(read_back),
        flow.stream,
        if flow.paused { "; paused" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = Meter::from_nothing(start);
        let mut at = |millis, read_lines| {
            let flow = FlowFigures { read_lines, ..FlowFigures::default() };
            meter.rate(start + Duration::from_millis(millis), &flow).lines
        };
        assert_eq!(at(500, 100), 200);
        assert_eq!(at(2500, 2100), 1000);
        assert_eq!(at(9000, 2100), 0);
    }

    #[test]
    fn a_bar_is_as_full_as_the_part_is_of_the_whole() {
        let plain = |part, whole| console::strip_ansi_codes(&bar(part, whole, &Style::new())).matches('━').count();
        assert_eq!(
            [plain(0, 0), plain(0, 9), plain(5, 10), plain(10, 10), plain(11, 10)],
            [0, 0, BAR_CHARS / 2, BAR_CHARS, BAR_CHARS]
        );
    }
}
