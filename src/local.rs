//! `--local`: a Kinesis of one's own to try the agent on, and a reader of it that keeps count.
//!
//! ```text
//!  agent --PutRecords--> server --GetRecords--> consumer --counts, samples--> view, report
//!                                                                              ^
//!  metrics of the agent -------------------------------------------------------'
//! ```
//!
//! Everything below lives on threads of its own and speaks to the agent over HTTP only, so that the agent
//! runs as it does against the service. Which streams there are, and how the agent is pointed here, is
//! decided by the caller.

mod consumer;
mod report;
mod screen;
mod server;
mod snapshot;
mod text;
mod view;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use consumer::Consumer;
use server::Server;
use snapshot::{Snapshot, Source};

pub use report::Report;
pub use screen::Screen;
pub use server::{REGION, credentials};

/// Where the lines of a flow go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the flow.
    pub flow: String,
    /// Name of its stream; several flows may share one.
    pub stream: String,
    /// Lines are joined in its records, which a consumer does not take apart.
    pub is_joined: bool,
}

/// The embedded Kinesis, its consumer and the live view.
pub struct Local {
    server: Server,
    consumer: Consumer,
    source: Source,
    started: Instant,
    /// True when the view shall end.
    view_ending: watch::Sender<bool>,
    view: JoinHandle<()>,
}

impl Local {
    /// Creates the streams, begins to read them, and to show on `screen` how it goes.
    ///
    /// # Errors
    /// No port or thread is to be had, or a stream's name is not one.
    pub async fn start(routes: Vec<Route>, metrics: Arc<Metrics>, screen: Screen) -> Result<Self, StartError> {
        let streams: BTreeSet<String> = routes.iter().map(|route| route.stream.clone()).collect();
        let server = Server::start(&streams).await?;
        let consumer = Consumer::start(&server, &streams).await?;
        let source = Source { routes, metrics, streams: consumer.streams() };
        let started = Instant::now();
        let (view_ending, ending) = watch::channel(false);
        let view = server.spawn(view::run(screen, source.clone(), server.endpoint().to_owned(), started, ending));
        Ok(Self { server, consumer, source, started, view_ending, view })
    }

    /// The URL for `[aws] endpoints.kinesis`.
    pub fn endpoint(&self) -> &str {
        self.server.endpoint()
    }

    /// Reads the streams to their ends, takes the live view off the screen, and compares what was delivered with
    /// what was read back. To be called when the agent has ended: what is acknowledged later is not read.
    pub async fn finish(self) -> Report {
        let elapsed = self.started.elapsed();
        self.consumer.finish().await;
        let _ = self.view_ending.send(true);
        let _ = self.view.await;
        Report::new(Snapshot::take(&self.source), elapsed)
    }
}

/// Why the embedded Kinesis could not be started.
#[derive(Debug)]
pub struct StartError {
    doing: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl StartError {
    fn new(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { doing, source: source.into() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedded Kinesis: cannot {}", self.doing)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
