//! What of a chunk is not sent: gathered by reason, and reported once.

use tokio::sync::mpsc;

use crate::checkpointer::Event;
use crate::metrics::FlowMetrics;
use crate::settlement::{DropReason, Outcome, Settled};
use crate::span::{Span, Spans};

/// What of a chunk is not sent, by reason.
#[derive(Default)]
pub(super) struct Dropped {
    lines: [(Spans, u64); DropReason::OF_LINES.len()],
    /// Parts of lines, or lines.
    too_long: Spans,
}

impl Dropped {
    /// Nothing is made of this line, which `span` has.
    pub(super) fn push(&mut self, reason: DropReason, span: Span) {
        let of_reason = DropReason::OF_LINES.iter().zip(&mut self.lines).find(|(of, _)| **of == reason);
        if let Some((_, (spans, line_count))) = of_reason {
            spans.push(span);
            *line_count += 1;
        }
    }

    /// This part of a line is not sent, because all of it would be too long.
    pub(super) fn push_too_long(&mut self, span: Span) {
        self.too_long.push(span);
    }

    /// Counts and reports all of it.
    pub(super) async fn report(self, events: &mpsc::Sender<Event>, metrics: &FlowMetrics) {
        let mut dropped = vec![(DropReason::TooLong, self.too_long)];
        for (reason, (spans, line_count)) in DropReason::OF_LINES.into_iter().zip(self.lines) {
            metrics.dropped_lines(reason, line_count);
            dropped.push((reason, spans));
        }
        for (reason, spans) in dropped.into_iter().filter(|(_, spans)| !spans.is_empty()) {
            let settled = Settled { spans, outcome: Outcome::Dropped(reason) };
            // The checkpointer ends last; without it there is nobody to tell.
            let _ = events.send(Event::Settled(settled)).await;
        }
    }
}
