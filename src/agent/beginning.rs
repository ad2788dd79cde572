//! What a flow does before its tailer begins: if a run before has not ended in an orderly way, it waits until it is known what that
//! has sent. Other flows go on meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{oneshot, watch};

use crate::offsets::{Offsets, Row};
use crate::readback::Reader;
use crate::readback::start::{Parts, reconcile};
use crate::span::FileKey;
use crate::writing::Writing;

/// How many flows have not begun yet that were there at the start. When the last has, nothing more can be found of what a store has
/// lost.
pub(super) struct Waiting(Arc<AtomicUsize>);

/// One of them; a clone is the same.
#[derive(Clone)]
pub(super) struct WaitingFlow {
    all: Arc<AtomicUsize>,
    has_begun: Arc<AtomicBool>,
}

impl Waiting {
    pub(super) fn of(flow_count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(flow_count)))
    }

    pub(super) fn of_flow(&self) -> WaitingFlow {
        WaitingFlow { all: Arc::clone(&self.0), has_begun: Arc::default() }
    }
}

impl WaitingFlow {
    /// It has begun; true when it is the last, and for the first time.
    fn is_last(&self) -> bool {
        !self.has_begun.swap(true, Ordering::Relaxed) && self.all.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Settles in `rows` what runs before have sent, and hands them to the tailer by `begun`. Told to stop before it is done, it leaves
/// everything as it is, for the next start.
pub(super) async fn begin<R: Reader, F: Fn(&str) -> Arc<R> + Send>(
    parts: Parts<F>,
    rows: Vec<(FileKey, Row)>,
    begun: oneshot::Sender<Vec<(FileKey, Row)>>,
    waiting: Option<WaitingFlow>,
    mut stop: watch::Receiver<bool>,
) {
    let (store, writing, is_rolled_back) = (Arc::clone(&parts.store), parts.writing, parts.is_rolled_back);
    let stopped = async {
        // Gone, it is as told.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let Some((rows, _)) = reconcile(parts, rows, stopped).await else { return };
    if waiting.is_some_and(|waiting| waiting.is_last()) && is_rolled_back {
        mend_rollback(store, writing).await;
    }
    // Without a tailer the run has ended already.
    let _ = begun.send(rows);
}

async fn mend_rollback(store: Arc<Offsets>, writing: Writing) {
    let mended = writing.run(move || store.mend_rollback()).await;
    if let Err(error) = mended.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "cannot write down that what the offset store has lost was looked for; the next start does it again");
    }
}
