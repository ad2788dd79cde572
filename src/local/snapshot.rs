//! What all counters say at one moment: those of the agent's flows, and those of the consumer.

use std::sync::Arc;

use super::Route;
use super::consumer::{StreamRead, StreamReads, lock};
use crate::metrics::Metrics;
use crate::settlement::DropReason;

/// Where the figures come from.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) routes: Vec<Route>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) streams: StreamReads,
}

/// The figures at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// In the order of the configuration.
    pub(super) flows: Vec<FlowFigures>,
    /// In the order of their names.
    pub(super) streams: Vec<StreamRead>,
}

/// What the agent says about one flow.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowFigures {
    pub(super) flow: String,
    pub(super) stream: String,
    /// The consumer counts its records, not its lines.
    pub(super) is_joined: bool,
    pub(super) open_files: u64,
    pub(super) read_lines: u64,
    pub(super) read_bytes: u64,
    /// Bytes of files that need no more care: delivered or dropped.
    pub(super) settled_bytes: u64,
    pub(super) in_flight_bytes: u64,
    /// Bytes of the files that are not read yet.
    pub(super) lag_bytes: u64,
    /// By reason; only those that are not zero.
    pub(super) dropped_bytes: Vec<(&'static str, u64)>,
    /// User records acknowledged: lines, unless a rule makes of a line several or none.
    pub(super) delivered_lines: u64,
    pub(super) delivered_records: u64,
    pub(super) delivered_record_bytes: u64,
    pub(super) paused: bool,
}

impl Snapshot {
    pub(super) fn take(source: &Source) -> Self {
        // The consumer first: what it has read was delivered before.
        let streams = source.streams.iter().map(|stream| lock(stream).clone()).collect();
        let flows = source.routes.iter().map(|route| figures(route, &source.metrics)).collect();
        Self { flows, streams }
    }

    /// What was acknowledged to the flows of a stream, as the consumer counts it: user records, or those in which they are
    /// joined.
    pub(super) fn delivered_to(&self, stream: &str) -> u64 {
        let delivered = |flow: &FlowFigures| if flow.is_joined { flow.delivered_records } else { flow.delivered_lines };
        self.flows.iter().filter(|flow| flow.stream == stream).map(delivered).sum()
    }
}

/// The figures of one flow; all zero until the agent has registered it.
fn figures(route: &Route, metrics: &Metrics) -> FlowFigures {
    let Route { flow, stream, is_joined } = route.clone();
    let mut figures = FlowFigures { flow, stream, is_joined, ..FlowFigures::default() };
    let Some(flow) = metrics.flows().into_iter().find(|flow| flow.name == route.flow) else { return figures };
    let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
    let dropped = DropReason::ALL.map(|reason| (reason.as_str(), flow.dropped(reason).get()));
    figures.settled_bytes = flow.delivered_bytes.get() + flow.dropped_bytes();
    figures.in_flight_bytes = flow.in_flight();
    figures.delivered_lines = flow.delivered_user_records.get();
    figures.delivered_records = flow.delivered_records.get();
    figures.delivered_record_bytes = flow.delivered_record_bytes.get();
    figures.dropped_bytes = dropped.into_iter().filter(|(_, byte_count)| *byte_count > 0).collect();
    figures.lag_bytes = gauge(flow.lag_bytes.get());
    figures.open_files = gauge(flow.open_files.get());
    figures.paused = flow.paused.get() != 0;
    figures.read_lines = flow.read_lines.get();
    figures.read_bytes = flow.read_bytes.get();
    figures
}
