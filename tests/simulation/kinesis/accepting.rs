//! What the stream has: what was accepted in time, and late.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use kinetail::collector::Entry;
use kinetail::delivery_token;
use kinetail::span::Spans;

use super::log::{Log, Logged};
use super::{Late, State, Stored, Stream};

impl State {
    /// Index of the shard to which a record goes now.
    pub(super) fn owner(&mut self, entry: &Entry) -> usize {
        if self.auto_since.is_none() {
            return self.shards.owner(entry.hash_key);
        }
        let open = self.shards.open_now();
        open[self.rng.usize(..open.len())]
    }

    /// A record is in the stream from now on; its index among those that were not taken yet.
    pub(super) fn accept(&mut self, owner: usize, entry: &Entry, at: Duration) -> usize {
        self.add_foreign(owner, entry, at);
        self.log(owner, entry.partition_key.to_string(), entry.data.clone(), entry.spans.clone(), at);
        let shard = self.shards.get(owner);
        self.stored.push(Stored {
            life: self.life_id,
            accepted_at: at,
            shard: shard.range,
            shard_id: shard.id.clone(),
            is_map_sure: self.is_map_sure,
            auto_for: self.auto_since.map(|since| at - since),
            entry: entry.clone(),
            acknowledged_at: None,
        });
        self.stored.len() - 1
    }

    pub(super) fn log_of(&mut self, shard: usize) -> &mut Log {
        if self.logs.len() <= shard {
            self.logs.resize_with(shard + 1, Log::default);
        }
        &mut self.logs[shard]
    }

    fn log(&mut self, owner: usize, partition_key: String, data: Bytes, spans: Spans, at: Duration) {
        let jitter_ms = self.rng.i64(-self.story.jitter_ms_max..=self.story.jitter_ms_max);
        let arrived_at_ms = Stream::clock_ms(at, jitter_ms);
        let visible_at = at + self.drawn_delay();
        let life = self.life_id;
        self.log_of(owner).push(Logged { partition_key, data, arrived_at_ms, visible_at, life, spans });
    }

    /// Others write to the stream, too: applications, and agents on hosts that were cloned from this one.
    fn add_foreign(&mut self, owner: usize, entry: &Entry, at: Duration) {
        let other_run = format!("{:032x}-{:x}", self.rng.u128(..), self.rng.u8(..));
        let (partition_key, data) = match self.rng.u8(..40) {
            0 => ("user-17".to_owned(), Bytes::from_static(b"a line of something else")),
            1 => (other_run, entry.data.clone()),
            2 if delivery_token::has_room_for(&entry.spans) => {
                (delivery_token::naming(&other_run, &entry.spans), entry.data.clone())
            }
            3 => (format!("{other_run}-"), entry.data.clone()),
            _ => return,
        };
        self.log(owner, partition_key, data, Spans::default(), at);
    }

    /// A request that nobody waits for any more may have left all the same.
    pub(super) fn abandon(&mut self, entries: Vec<Entry>) {
        if self.rng.bool() {
            let accepted_at = self.now() + self.drawn_delay();
            self.note("abandoned and accepted");
            self.late.push(Late { accepted_at, life: self.life_id, entries });
        }
    }

    pub(super) fn accept_late(&mut self) {
        let now = self.now();
        while let Some(first) = self.late.iter().enumerate().min_by_key(|(_, late)| late.accepted_at).map(|(index, _)| index)
            && self.late[first].accepted_at <= now
        {
            let Late { accepted_at, life, entries } = self.late.remove(first);
            let life_id = mem::replace(&mut self.life_id, life);
            let is_map_sure = mem::replace(&mut self.is_map_sure, false);
            for entry in &entries {
                let owner = self.owner(entry);
                self.accept(owner, entry, accepted_at);
            }
            (self.life_id, self.is_map_sure) = (life_id, is_map_sure);
        }
    }
}
