//! SIGHUP: the configuration is read anew. What is well takes effect, and of what is not the old stays in force.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::respect_descriptor_limit;
use super::service::Notifier;
use crate::config::{Config, Loaded, Refused, Reloaded, Trouble};
use crate::metrics::Metrics;

/// What reads the configuration anew, and where it goes.
pub(super) struct Reload {
    /// What was read last, as it is written.
    pub(super) loaded: Loaded,
    /// What is in force.
    pub(super) configs: watch::Sender<Arc<Config>>,
    pub(super) metrics: Arc<Metrics>,
    /// Told when it begins, and when it is over.
    pub(super) notifier: Notifier,
    /// Told of a configuration before it takes effect.
    pub(super) announce: Box<dyn Fn(&Config) + Send + Sync>,
}

impl Reload {
    /// Reads it at each signal, if it can take effect at all.
    pub(super) async fn at_each(mut self, mut hang_up: Signal, can_reload: bool) -> Infallible {
        while hang_up.recv().await.is_some() {
            if can_reload {
                self.notifier.reloading();
                self.once().await;
                self.notifier.ready_again();
            } else {
                // Terminals that close send it too.
                tracing::warn!("SIGHUP: with --once and --local the configuration is read at the start only; going on");
            }
        }
        pending().await
    }

    async fn once(&mut self) {
        let before = self.loaded.clone();
        // A file system that hangs shall not hold up a worker of the runtime.
        let Ok(Reloaded { loaded, refused }) = tokio::task::spawn_blocking(move || before.again()).await else { return };
        refused.iter().for_each(tell);
        match loaded {
            None => {
                self.metrics.reloaded("refused");
                tracing::error!("SIGHUP: the configuration of before stays in force");
            }
            Some(loaded) => {
                self.metrics.reloaded(if refused.is_empty() { "applied" } else { "partial" });
                self.apply(loaded.config.clone());
                self.loaded = loaded;
            }
        }
    }

    fn apply(&self, mut config: Config) {
        let before = Arc::clone(&self.configs.borrow());
        let (old, new) = (&before.agent, &mut config.agent);
        for (key, has_changed) in [
            ("state_dir", old.state_dir != new.state_dir),
            ("admin", old.admin != new.admin),
            ("threads", old.threads != new.threads),
        ] {
            if has_changed {
                tracing::warn!(key, "a key of [agent] has changed that takes effect at the next start only");
            }
        }
        // As they are, so that the next reload says it again.
        (new.state_dir, new.admin, new.threads) = (old.state_dir.clone(), old.admin, old.threads);
        respect_descriptor_limit(&mut config.agent, config.flows.len());
        (self.announce)(&config);
        if *before == config {
            tracing::info!("SIGHUP: the configuration in force is the same as before");
            return;
        }
        let names = |config: &Config| config.flows.iter().map(|flow| flow.name.clone()).collect::<Vec<_>>();
        let (old, new) = (names(&before), names(&config));
        tracing::info!(
            flows = new.len(),
            begin = ?new.iter().filter(|name| !old.contains(name)).collect::<Vec<_>>(),
            end = ?old.iter().filter(|name| !new.contains(name)).collect::<Vec<_>>(),
            "SIGHUP: the configuration has changed"
        );
        self.configs.send_replace(Arc::new(config));
    }
}

fn tell(Refused { error, is_kept }: &Refused) {
    for Trouble { file, position, message, help } in error.troubles() {
        let place = position.map_or_else(|| file.clone(), |(line, column)| format!("{file}:{line}:{column}"));
        let help = help.unwrap_or_default();
        tracing::error!(place, mistake = message, help, is_kept, "a file of the configuration is refused");
    }
}
