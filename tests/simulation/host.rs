//! A host: what an agent there leaves behind between two lives, and what is its own of all that is in the streams.

use std::fs;
use std::path::{Path, PathBuf};

use kinetail::config::Config;
use kinetail::offsets::{Offsets, Row};
use kinetail::span::FileKey;

use crate::kinesis::{LifeId, Shown, Stored};
use crate::ledger::{Ledger, ledgers};
use crate::state::{copy_folder, open_store};

/// One host.
pub(crate) struct Host {
    pub(crate) index: usize,
    /// The lives of others, up to these, that are also its own past: it was copied from them.
    past: Vec<LifeId>,
    state: PathBuf,
    /// Of each flow, in the order of the configuration.
    pub(crate) ledgers: Vec<Ledger>,
    /// What was stored of it while another host's agent lived, by flow.
    pub(crate) unseen: Vec<Vec<Stored>>,
    /// The store as the last life has left it.
    pub(crate) opened: Option<(Offsets, Vec<(FileKey, Row)>)>,
}

impl Host {
    /// The first.
    pub(crate) fn new(folder: &Path, config: &Config) -> Self {
        let ledgers = ledgers(config);
        let unseen = ledgers.iter().map(|_| Vec::new()).collect();
        Self { index: 0, past: Vec::new(), state: folder.join("state-0"), ledgers, unseen, opened: None }
    }

    /// A copy of this one when its agent had come to the end of `last`, as another one.
    pub(crate) fn copied(&self, index: usize, last: LifeId) -> Self {
        let state = self.state.with_file_name(format!("state-{index}"));
        copy_folder(&self.state, &state);
        let past = self.past.iter().copied().chain([last]).collect();
        Self { index, past, state, ledgers: self.ledgers.clone(), unseen: self.unseen.clone(), opened: None }
    }

    /// Whether an agent of this host has lived that life.
    pub(crate) fn has_lived(&self, life: LifeId) -> bool {
        life.host == self.index || self.past.iter().any(|last| last.host == life.host && life.number <= last.number)
    }

    /// What readers were shown of what it has sent.
    pub(crate) fn own<'a>(&'a self, shown: &'a Shown) -> impl Iterator<Item = (FileKey, kinetail::settlement::Settlement)> + 'a {
        let own = shown.iter().filter(|((life, _), _)| self.has_lived(*life));
        own.map(|((_, file), settlement)| (*file, settlement.clone()))
    }

    /// The store, for the next life.
    pub(crate) fn open(&mut self) -> (Offsets, Vec<(FileKey, Row)>) {
        self.opened.take().unwrap_or_else(|| {
            let (store, rows) = open_store(&self.state);
            assert!(store.recovered().is_none(), "the end of a process has damaged the store: {:?}", store.recovered());
            (store, rows)
        })
    }

    /// The state folder is what it is at this moment, whatever else is done in the process that is killed.
    pub(crate) fn kill(&self) {
        copy_folder(&self.state, &self.state_at_kill());
    }

    /// What it was when the agent was killed.
    pub(crate) fn restore(&self) {
        fs::remove_dir_all(&self.state).unwrap();
        fs::rename(self.state_at_kill(), &self.state).unwrap();
    }

    fn state_at_kill(&self) -> PathBuf {
        self.state.with_file_name("state-at-kill")
    }
}
