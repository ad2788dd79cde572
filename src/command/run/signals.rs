//! Signals that end: the first asks for it, a second one insists.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

const INT: u8 = 2;
pub(super) const TERM: u8 = 15;

/// Whoever passes a signal on to a whole process group after the process itself, as timeout(1) does, sends it twice
/// at once; a person takes longer.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// The signals that end the agent.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Tells `stop` at the first signal, whose number goes into `first`, and returns that of the second.
    pub(super) async fn stop_then_abort(mut self, stop: &watch::Sender<bool>, first: &Cell<u8>) -> u8 {
        first.set(self.next().await);
        let is_same_until = Instant::now() + SAME_SIGNAL;
        tracing::info!("stopping: what was read is being delivered; a second signal aborts");
        stop.send_replace(true);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(is_same_until) => return self.next().await,
                _ = self.next() => {}
            }
        }
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INT,
            _ = self.terminate.recv() => TERM,
        }
    }
}
