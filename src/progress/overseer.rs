//! Looks at everything from time to time, and tells what does not go on: the log, `/health`, the metrics, and by
//! [`Progress::is_wedged`] whoever keeps a watchdog quiet.
//!
//! On a thread of its own: a small host has one thread for all stages but tailers, and what is wedged there wedges all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::verdict::{Stuck, stuck};
use super::{Progress, Stage, kernel};
use crate::health::Health;
use crate::limits::PAUSE_REMINDER;
use crate::metrics::Metrics;

/// Who looks.
pub struct Overseer {
    /// At what.
    pub progress: Progress,
    /// What counts what does not go on.
    pub metrics: Arc<Metrics>,
    /// What says so.
    pub health: Health,
    /// How long a stage may be in the middle of something.
    pub busy_max: Duration,
    /// How often it looks.
    pub interval: Duration,
}

/// Looking ends when this is dropped.
pub struct Overseen {
    _end: SyncSender<()>,
}

impl Overseer {
    /// Begins to look.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(self) -> io::Result<Overseen> {
        let (end, ended) = sync_channel(0);
        let mut told = Told::default();
        thread::Builder::new().name("overseer".to_owned()).spawn(move || {
            while ended.recv_timeout(self.interval) == Err(RecvTimeoutError::Timeout) {
                self.look(&mut told);
            }
        })?;
        Ok(Overseen { _end: end })
    }

    fn look(&self, told: &mut Told) {
        let found = stuck(&self.progress.picture(), self.busy_max, |seen| kernel::doing(seen.stage, seen.thread));
        let wedged_count = found.iter().filter(|stuck| stuck.how.is_wedged()).count();
        // First of all: where the log goes something may hang too.
        self.progress.0.is_wedged.store(wedged_count > 0, Ordering::Relaxed);
        self.metrics.stuck_stages(wedged_count, found.len() - wedged_count);
        self.health.stuck(found.clone());
        told.tell(found, Instant::now());
    }
}

/// What was said already.
#[derive(Default)]
struct Told(Vec<(Stuck, Instant)>);

impl Told {
    fn tell(&mut self, found: Vec<Stuck>, now: Instant) {
        let mended = self.0.extract_if(.., |(before, _)| !found.iter().any(|stuck| stuck.is_same_as(before)));
        for (Stuck { stage, flow, how, .. }, _) in mended {
            let stage = stage.map(Stage::as_str);
            tracing::info!(flow, stage, ?how, "what did not go on goes on again");
        }
        for stuck in found {
            match self.0.iter_mut().find(|(before, _)| stuck.is_same_as(before)) {
                Some((_, at)) if now.duration_since(*at) < PAUSE_REMINDER => continue,
                Some((_, at)) => *at = now,
                None => self.0.push((stuck.clone(), now)),
            }
            let stage = stuck.stage.map(Stage::as_str);
            if stuck.how.is_wedged() {
                tracing::error!(flow = stuck.flow, stage, reason = %stuck, "a part of the agent is wedged; only a restart mends that");
            } else {
                tracing::error!(flow = stuck.flow, stage, reason = %stuck, "a file system hangs; whoever needs it waits, all else goes on");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::progress::verdict::How;

    #[test]
    fn what_does_not_go_on_is_told_to_everybody_until_it_does() {
        let (progress, metrics, health) = (Progress::default(), Arc::new(Metrics::default()), Health::default());
        let (busy_max, interval) = (Duration::ZERO, Duration::ZERO);
        let overseer =
            Overseer { progress: progress.clone(), metrics: Arc::clone(&metrics), health: health.clone(), busy_max, interval };
        let flow = progress.flow(metrics.flow("access"), Duration::ZERO);
        let mut told = Told::default();
        let is_seen = AtomicBool::new(false);
        let computes = poll_fn(|_| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    overseer.look(&mut told);
                    is_seen.store(true, Ordering::Relaxed);
                });
                while !is_seen.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            Poll::<()>::Pending
        });
        assert!(pin!(flow.follow(Stage::Packer, computes)).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(progress.is_wedged());
        let found = health.found_stuck();
        assert_eq!(
            (found[0].stage, found[0].flow.as_deref(), found[0].how),
            (Some(Stage::Packer), Some("access"), How::Computing)
        );
        assert!(metrics.render().contains("kinetail_wedged_stages 1\n"), "{}", metrics.render());
        overseer.look(&mut told);
        assert!(!progress.is_wedged() && health.found_stuck().is_empty());
        assert!(metrics.render().contains("kinetail_wedged_stages 0\n"));
    }

    #[test]
    fn it_is_told_once_and_again_from_time_to_time() {
        let (now, mut told) = (Instant::now(), Told::default());
        let stuck =
            |seconds| Stuck { stage: Some(Stage::Tailer), flow: None, how: How::Hanging, duration: Duration::from_secs(seconds) };
        told.tell(vec![stuck(60)], now);
        told.tell(vec![stuck(70)], now + Duration::from_secs(10));
        assert_eq!(told.0, [(stuck(60), now)]);
        told.tell(vec![stuck(360)], now + PAUSE_REMINDER);
        assert_eq!(told.0, [(stuck(60), now + PAUSE_REMINDER)]);
        told.tell(Vec::new(), now + PAUSE_REMINDER);
        assert!(told.0.is_empty());
    }
}
