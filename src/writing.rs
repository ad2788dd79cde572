//! Where the work of commits is done.

use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use crate::progress::{Stage, elsewhere};

/// Where what waits for the disk, or takes long, is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// On a thread of its own: a disk that hangs holds up nothing else.
    OwnThread,
    /// On the caller's, so that a simulation is repeatable. It takes so long on the runtime's clock; half-way it is done.
    Here(Duration),
}

impl Writing {
    /// Does `work`.
    ///
    /// # Errors
    /// It has panicked, or the runtime is going down.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        match self {
            Self::OwnThread => spawn_blocking(elsewhere(Stage::Offsets, work)).await,
            Self::Here(latency) => {
                sleep(latency / 2).await;
                let done = work();
                sleep(latency / 2).await;
                Ok(done)
            }
        }
    }
}
