//! Settles, coalesces, commits: the road back.
//!
//! This task owns what is settled of every file. It counts each byte once however often it is reported,
//! gives budget back, and once a second commits every watermark that moved as one batch. It waits for
//! nothing but the disk, so that the road back never waits for the road out.

mod event;
mod file;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

pub use self::event::{Event, FlowAccount, Opened, Remains};

use self::file::FileAccount;
use crate::gate::InFlight;
use crate::health::Health;
use crate::limits::{CHECKPOINTER_QUIET_MAX, COMMIT_INTERVAL, OPENED_COMMIT_DELAY};
use crate::metrics::Gauge;
use crate::offsets::{Changes, Offsets, RunKey, Sending};
use crate::settlement::Settled;
use crate::span::FileKey;
use crate::writing::Writing;

/// The task.
pub struct Checkpointer {
    store: Arc<Offsets>,
    writing: Writing,
    flows: BTreeMap<usize, FlowAccount>,
    /// Runs that report nothing more, and who waits for the commit of what they have reported.
    ended: BTreeMap<usize, oneshot::Sender<()>>,
    files: HashMap<FileKey, FileAccount>,
    rows_to_remove: Vec<FileKey>,
    started_flows: Vec<String>,
    /// Something was reported since the last commit.
    has_changed: bool,
    /// Flows of which the store says that something may be in flight.
    sending: HashSet<usize>,
    /// Rung when a request waits for a commit.
    knocked: Arc<Notify>,
    /// Nothing will be sent any more.
    is_ending: bool,
    /// 1 while commits fail.
    commit_failing: Gauge,
    health: Health,
}

impl Checkpointer {
    /// A checkpointer that commits to `store`. `knocked` is what the gates of the flows ring.
    pub fn new(store: Arc<Offsets>, writing: Writing, knocked: Arc<Notify>, commit_failing: Gauge, health: Health) -> Self {
        Self {
            store,
            writing,
            flows: BTreeMap::new(),
            ended: BTreeMap::new(),
            files: HashMap::new(),
            rows_to_remove: Vec::new(),
            started_flows: Vec::new(),
            has_changed: false,
            sending: HashSet::new(),
            knocked,
            is_ending: false,
            commit_failing,
            health,
        }
    }

    /// Works until `end`, then takes what has been reported by then, and commits for the last time. The senders of
    /// `events` may live on: a tailer that hangs in a system call keeps its own. Returns whether everything that is
    /// settled is on the disk.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, mut end: oneshot::Receiver<()>) -> bool {
        let mut commits = interval_at(Instant::now() + COMMIT_INTERVAL, COMMIT_INTERVAL);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A file that the store does not know is not found again if it is renamed: so this is committed sooner.
        let mut opened_commit_at = None;
        loop {
            let was_anything_due = self.is_anything_due();
            tokio::select! {
                // However many events there are, what they settled is committed in time; and when it ends there is one commit more,
                // not those that were due, each of which may take long. A sender of `end` that is gone means the same.
                biased;
                _ = &mut end => break,
                _ = commits.tick(), if was_anything_due => self.commit(&mut events).await,
                () = sleep_until(opened_commit_at.unwrap_or_else(Instant::now)), if opened_commit_at.is_some() => {
                    opened_commit_at = None;
                    self.commit(&mut events).await;
                }
                // Who looks after the stages hears of it.
                () = sleep(CHECKPOINTER_QUIET_MAX), if !was_anything_due => {}
                () = self.knocked.notified() => self.commit(&mut events).await,
                Some(event) = events.recv() => {
                    match event {
                        Event::Opened(_) => _ = opened_commit_at.get_or_insert(Instant::now() + OPENED_COMMIT_DELAY),
                        Event::Ended { .. } => opened_commit_at = Some(Instant::now()),
                        _ => {}
                    }
                    self.take(event);
                }
            }
            if !was_anything_due && self.is_anything_due() {
                // The first of many, perhaps.
                commits.reset();
            }
        }
        self.is_ending = true;
        self.has_changed = true;
        self.commit(&mut events).await;
        self.commit_failing.get() == 0
    }

    /// There is, or will be without another event, something to commit. Else an agent with nothing to do would wake up for it.
    fn is_anything_due(&self) -> bool {
        self.has_changed || !self.sending.is_empty()
    }

    fn take(&mut self, event: Event) {
        self.has_changed = true;
        match event {
            Event::Begun { flow_index, account } => _ = self.flows.insert(flow_index, *account),
            Event::Ended { flow_index, committed } => _ = self.ended.insert(flow_index, committed),
            Event::Opened(opened) => self.open(opened),
            Event::Seen { file, fingerprint, mark, byte_count } => self.change(file, |account| {
                let identity = &mut account.opened.identity;
                (identity.fingerprint, identity.byte_count) = (fingerprint, byte_count);
                account.add_mark(mark);
            }),
            Event::Moved { file, path, is_superseded } => self.change(file, |account| {
                account.opened.path = path;
                account.opened.identity.is_superseded = is_superseded;
            }),
            Event::Settled(settled) => self.settle(&settled),
            Event::Closed { file, read_until, remains } => {
                self.change(file, |account| account.close(read_until, remains));
                if remains == Remains::Nothing {
                    self.rows_to_remove.push(file);
                }
            }
            Event::Started { flow_index } => self.started_flows.push(self.flows[&flow_index].metrics.name.clone()),
            Event::Forgotten(file) => {
                // Spans of it may still be in flight: when they are settled its row must not come back.
                self.change(file, |account| account.has_row = false);
                self.rows_to_remove.push(file);
            }
        }
    }

    /// A life that was closed and goes on may still have spans in flight: what is settled of it here is newer
    /// than what the tailer knows.
    fn open(&mut self, opened: Opened) {
        let settlement = self.files.remove(&opened.file).map(|account| account.opened.settlement);
        let settlement = settlement.unwrap_or_else(|| opened.settlement.clone());
        self.files.insert(opened.file, FileAccount::new(Opened { settlement, ..opened }));
    }

    fn change(&mut self, file: FileKey, change: impl FnOnce(&mut FileAccount)) {
        if let Some(account) = self.files.get_mut(&file) {
            change(account);
            account.dirty = true;
        }
    }

    fn settle(&mut self, settled: &Settled) {
        for span in settled.spans.iter() {
            let Some(account) = self.files.get_mut(&span.file) else {
                debug_assert!(false, "{span:?} settled before its file was opened, or after all of it was settled");
                continue;
            };
            let newly_settled = account.opened.settlement.settle(span.start, span.end);
            account.dirty |= newly_settled > 0;
            let flow = &self.flows[&account.opened.flow_index];
            flow.metrics.settled(settled.outcome, newly_settled);
            flow.budget.give_back(usize::try_from(newly_settled).unwrap_or(usize::MAX));
        }
    }

    /// Commits what has changed. What is in flight is looked at first, then everything that was reported until then is taken: so
    /// what is not in flight any more is settled in this commit.
    async fn commit(&mut self, events: &mut mpsc::Receiver<Event>) {
        let at = Instant::now();
        let in_flight: BTreeMap<usize, InFlight> =
            self.flows.iter().map(|(index, flow)| (*index, flow.gate.in_flight())).collect();
        // Those that end later may have had something in flight a moment ago.
        let ended: Vec<usize> = self.ended.keys().copied().collect();
        for _ in 0..events.len() {
            let Ok(event) = events.try_recv() else { break };
            self.take(event);
        }
        let (sendings, reconciled) = self.sendings(at, &in_flight);
        if !std::mem::take(&mut self.has_changed) && sendings.is_empty() && reconciled.is_empty() {
            return;
        }
        let waiting = self.waiting();
        let dirty = self.files.iter_mut().filter(|(file, account)| account.dirty && account.has_row && !waiting.contains(file));
        let changes = Changes {
            rows: dirty.map(|(file, account)| (*file, account.row(&self.flows[&account.opened.flow_index]))).collect(),
            removed: std::mem::take(&mut self.rows_to_remove),
            started_flows: std::mem::take(&mut self.started_flows),
            sendings,
            reconciled,
            ..Changes::default()
        };
        let is_sending = |flow: &FlowAccount| changes.sendings.iter().any(|(run, _)| flow.run == *run);
        let marked: HashSet<usize> = self.flows.iter().filter(|(_, flow)| is_sending(flow)).map(|(index, _)| *index).collect();
        self.sending.extend(&marked);
        let mut is_committed = true;
        if !changes.is_empty() {
            let store = Arc::clone(&self.store);
            match self.writing.run(move || (store.commit(&changes), changes)).await {
                Ok((Ok(()), changes)) => self.committed(&waiting, &changes),
                Ok((Err(error), changes)) => {
                    is_committed = false;
                    self.not_committed(&error, changes);
                }
                // The runtime is going down: nothing more can be written.
                Err(_) => return,
            }
        }
        // After a failure too: delivery goes on, and a restart has less to go by.
        for (index, flow) in &self.flows {
            // Those that wait for others too: they get no row before, so that waiting for one would lead to nothing.
            flow.gate.known(|file| self.files.contains_key(&file));
            if marked.contains(index) {
                flow.gate.marked(at);
            }
        }
        self.files.retain(|_, account| account.dirty || !account.is_over());
        if is_committed {
            self.let_go(&ended);
        }
        self.has_changed |= !self.ended.is_empty();
    }

    /// The store has everything of these runs.
    fn let_go(&mut self, ended: &[usize]) {
        for index in ended {
            self.flows.remove(index);
            self.sending.remove(index);
            if let Some(committed) = self.ended.remove(index) {
                // Who does not wait any more knows by itself.
                let _ = committed.send(());
            }
        }
        if !ended.is_empty() {
            self.files.retain(|_, account| !ended.contains(&account.opened.flow_index));
        }
    }

    /// What the store has to say from now on of what may be in flight, and of which flows nothing any more.
    fn sendings(&self, at: Instant, in_flight: &BTreeMap<usize, InFlight>) -> (Vec<(RunKey, Sending)>, Vec<RunKey>) {
        let (mut sendings, mut reconciled) = (Vec::new(), Vec::new());
        for (index, in_flight) in in_flight {
            let flow = &self.flows[index];
            let is_in_store = self.sending.contains(index);
            // Of what has landed since, the events were perhaps not taken.
            let is_idle = is_in_store && in_flight.record_count == 0;
            let is_ending = self.is_ending || self.ended.contains_key(index);
            if is_idle && (if is_ending { flow.gate.shut_at_end() } else { flow.gate.shut_if_idle() }) {
                reconciled.push(flow.run.clone());
            } else if in_flight.is_waited_for
                || in_flight.is_mark_old
                || (self.has_changed && (is_in_store || in_flight.since.is_some()))
            {
                sendings.push((flow.run.clone(), flow.sending(at, in_flight)));
            }
        }
        (sendings, reconciled)
    }

    /// Lives that come after others of which not all is settled.
    fn waiting(&self) -> HashSet<FileKey> {
        let is_waiting = |(_, account): &(&FileKey, &FileAccount)| {
            account.opened.after.and_then(|after| self.files.get(&after)).is_some_and(|before| !before.is_over())
        };
        self.files.iter().filter(is_waiting).map(|(file, _)| *file).collect()
    }

    fn committed(&mut self, waiting: &HashSet<FileKey>, changes: &Changes) {
        self.sending.retain(|index| !changes.reconciled.contains(&self.flows[index].run));
        if self.commit_failing.set(0) != 0 {
            self.health.commits_work();
            tracing::info!("offsets are committed again");
        }
        for (file, account) in &mut self.files {
            account.dirty = waiting.contains(file);
        }
        self.has_changed = !waiting.is_empty();
    }

    fn not_committed(&mut self, error: &io::Error, changes: Changes) {
        self.has_changed = true;
        self.rows_to_remove = changes.removed;
        self.started_flows = changes.started_flows;
        // What of the commits before is on the disk is not known any more.
        for account in self.files.values_mut() {
            account.dirty = true;
        }
        self.health.commits_fail(&format!("cannot commit offsets: {error}; a restart now would send lines twice"));
        if self.commit_failing.set(1) == 0 {
            tracing::error!(%error, "cannot commit offsets; delivery goes on, but a restart now would send lines twice");
        }
    }
}

#[cfg(test)]
mod tests;
