//! How much of a request can have left this host: what decides whether a request that was not answered may have been
//! carried out.
//!
//! Bytes are counted where HTTP hands them to TLS or to the socket. What was not handed over has surely not left, and once
//! somebody has asked, nothing more of a request that was not handed over as a whole is let through: the answer stays true.
//! What was handed over may still be in a buffer of the system or on its way, so that of a request that was handed over as a
//! whole nothing is known; its connection may serve others by then.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Extensions;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;

use crate::outcome::Sent;

/// Watches one request; a clone watches the same.
///
/// [`Delivery::watching`] is what tells the request, by `customize().mutate_request(…)`.
#[derive(Clone, Debug, Default)]
pub struct Delivery(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
enum Progress {
    /// The body was not asked for.
    #[default]
    Waiting,
    /// It was asked for by this connection, which had sent so much before.
    Sending { gauge: Gauge, before: u64, body_bytes: u64 },
    /// It was asked for, and nobody knows by whom, or how long it is.
    Unknown,
    /// Somebody has asked for the outcome.
    Ended(Sent),
}

impl Delivery {
    /// Lets the request that it is called with be watched.
    pub fn watching(&self) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
        let delivery = self.clone();
        move |request| request.add_extension(delivery.clone())
    }

    /// What has left of the request. Unless that is perhaps all of it, nothing more leaves from now on: to be asked when it has
    /// failed.
    pub fn sent(&self) -> Sent {
        let mut progress = lock(&self.0);
        let sent = match &*progress {
            Progress::Waiting => Sent::Nothing,
            Progress::Sending { gauge, before, body_bytes } => match gauge.seal(before + body_bytes).saturating_sub(*before) {
                0 => Sent::Nothing,
                // The head of the request goes first: with so many bytes the end of the body was surely not among them. How
                // long it is does not matter, which may have been counted before the body was asked for.
                bytes if bytes < *body_bytes => Sent::Partly,
                _ => Sent::Perhaps,
            },
            Progress::Unknown => Sent::Perhaps,
            Progress::Ended(sent) => *sent,
        };
        *progress = Progress::Ended(sent);
        sent
    }

    /// The body, of so many bytes if that is known, is about to be sent by this connection. An error when it must not be any
    /// more.
    fn begin(&self, gauge: Option<Gauge>, body_bytes: Option<u64>) -> io::Result<()> {
        let mut progress = lock(&self.0);
        *progress = match (&*progress, gauge, body_bytes) {
            (Progress::Ended(_), ..) => return Err(given_up()),
            (Progress::Waiting, Some(gauge), Some(body_bytes)) => {
                Progress::Sending { before: gauge.written(), gauge, body_bytes }
            }
            // A second attempt with the same watch cannot undo what was sent by the first.
            _ => Progress::Unknown,
        };
        Ok(())
    }
}

/// Counts what is written to one connection; a clone counts the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    bytes: u64,
    is_sealed: bool,
    /// A write has failed. TLS may have kept what it was to write, and is not asked to try again: that is not counted.
    has_failed: bool,
}

impl Gauge {
    fn written(&self) -> u64 {
        lock(&self.0).bytes
    }

    /// What was written. If that is less than `complete_bytes`, nothing more will be.
    fn seal(&self, complete_bytes: u64) -> u64 {
        let mut written = lock(&self.0);
        written.is_sealed |= written.bytes < complete_bytes;
        written.bytes
    }

    /// Writes by `write`, unless the connection is sealed. Both at once: who seals it knows what was written.
    pub(super) fn write(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut written = lock(&self.0);
        if written.is_sealed {
            return Poll::Ready(Err(given_up()));
        }
        let result = write();
        match &result {
            Poll::Ready(Ok(count)) => written.bytes += *count as u64,
            Poll::Ready(Err(_)) => (written.is_sealed, written.has_failed) = (true, true),
            Poll::Pending => {}
        }
        result
    }

    /// Sends on what was written before by `flush`, unless some of that could not be written.
    pub(super) fn flush(&self, flush: impl FnOnce() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if lock(&self.0).has_failed { Poll::Ready(Err(given_up())) } else { flush() }
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the request was given up")
}

/// A panic while it was held leaves numbers that are still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of a request, which tells when its sending begins.
pub(super) struct Watched {
    body: SdkBody,
    /// None once it was told, or when nobody wants to know.
    watch: Option<(Delivery, CaptureConnection)>,
}

impl Watched {
    /// A body that nobody watches yet.
    pub(super) fn new(body: SdkBody) -> Self {
        Self { body, watch: None }
    }

    /// `delivery` is told; `connection` is the one that was captured for the request.
    pub(super) fn watch(&mut self, delivery: Delivery, connection: CaptureConnection) {
        self.watch = Some((delivery, connection));
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some((delivery, connection)) = self.watch.take() {
            delivery.begin(gauge_of(&connection), Body::size_hint(&self.body).exact())?;
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

fn gauge_of(connection: &CaptureConnection) -> Option<Gauge> {
    let mut extensions = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extensions);
    extensions.get::<Gauge>().cloned()
}

#[cfg(test)]
mod tests;
