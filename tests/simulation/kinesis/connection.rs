//! The agent's way to a stream: requests that take their time, and may go on without it.

use std::sync::Arc;
use std::thread;

use kinetail::collector::Entry;
use kinetail::outcome::{Failure, RecordResult};
use kinetail::sender::{Destination, Summary};
use kinetail::service_clock::ServiceClock;
use kinetail::stream::Shard;
use tokio::time::{Instant, sleep};

use super::{AS_SERVICE, Late, State, Stream};

/// The agent's way to a stream.
pub(crate) struct Connection {
    pub(crate) stream: Arc<Stream>,
    /// Which learns from answers what time it is, if they say so.
    pub(crate) clock: ServiceClock,
    pub(crate) is_time_told: bool,
}

/// A request that is not accepted yet. When it is dropped as that, the network may have it all the same.
struct OnItsWay<'a> {
    stream: &'a Stream,
    entries: &'a [Entry],
    accepted: Vec<bool>,
}

impl OnItsWay<'_> {
    fn chosen(&self) -> Vec<Entry> {
        let chosen = self.entries.iter().zip(&self.accepted).filter(|(_, is_accepted)| **is_accepted);
        chosen.map(|(entry, _)| entry.clone()).collect()
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let entries = self.chosen();
        if !entries.is_empty() && !thread::panicking() {
            self.stream.state().abandon(entries);
        }
    }
}

impl Connection {
    /// Of an answer, if it was one, that it was made in this second since 1970.
    pub(super) fn learn<T>(&self, answer: &Result<T, Failure>, second: i64, asked_at: Instant) {
        let is_answer = answer.as_ref().err().is_none_or(|failure| failure.message == AS_SERVICE);
        if is_answer && self.is_time_told {
            self.clock.learn(second, asked_at);
        }
    }
}

impl Destination for Connection {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let (stream, asked_at) = (&*self.stream, Instant::now());
        stream.receive(entries);
        let mut plan = stream.state().plan(entries, stream.request_bytes_max);
        stream.tell(|| {
            let keys: Vec<_> = entries.iter().map(|entry| &entry.partition_key).collect();
            format!("put {keys:?}, by a clock that shows {}", self.clock.now_ms())
        });
        let mut on_its_way = OnItsWay { stream, entries, accepted: plan.stored.clone() };
        sleep(plan.before).await;
        let indexes = match plan.late {
            Some(_) => vec![None; entries.len()],
            None => {
                on_its_way.accepted.clear();
                stream.store(entries, &mut plan)
            }
        };
        let second = stream.state().second();
        sleep(plan.after).await;
        if let Some(late) = plan.late {
            let mut state = stream.state();
            let (accepted_at, life) = (state.now() + late, state.life_id);
            state.late.push(Late { accepted_at, life, entries: on_its_way.chosen() });
            drop(state);
            on_its_way.accepted.clear();
        }
        let answer = stream.answer(entries, plan.answer, &indexes);
        stream.tell(|| format!("put: {answer:?}"));
        self.learn(&answer, second, asked_at);
        answer
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        self.asked(State::listed).await
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        self.asked(|state| state.summarized()).await
    }
}

impl Connection {
    async fn asked<T>(&self, answer: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        let asked_at = Instant::now();
        let plan = self.stream.state().plan_answer();
        sleep(plan.after).await;
        let (answer, second) = {
            let mut state = self.stream.state();
            (plan.answer.and_then(|()| answer(&mut state)), state.second())
        };
        self.learn(&answer, second, asked_at);
        answer
    }
}
