//! What is read of the stream, and what a reader is told instead.

use std::time::Duration;

use kinetail::limits::ATTEMPT_TIMEOUT;
use kinetail::outcome::{Failure, Operation, Sent, Verdict};
use kinetail::readback::{Page, Position, Reader};
use kinetail::stream::Shard;
use tokio::time::{Instant, sleep};

use super::questions::PlanOfAnswer;
use super::{AS_SERVICE, Connection, State, log, transport};
use crate::story::Question;
use crate::weather::Listing;

/// So long an iterator lives: Developer Guide.
const ITERATOR_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Bytes in an answer: API reference of `GetRecords`.
const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024;

impl Reader for Connection {
    async fn shards_since(&self, from_ms: i64) -> Result<Vec<Shard>, Failure> {
        self.stream.tell(|| format!("shards since {from_ms}, by a clock that shows {}", self.clock.now_ms()));
        self.answered(Question::Shards, |state| Ok(state.listed_since(from_ms))).await
    }

    async fn iterator(&self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        self.stream.tell(|| format!("iterator of {shard_id}, {position:?}"));
        self.answered(Question::Iterator, |state| state.iterator(shard_id, position)).await
    }

    async fn records(&self, iterator: &str, count_max: u32) -> Result<Page, Failure> {
        let page = self.answered(Question::Records, |state| state.page(iterator, count_max as usize)).await;
        self.stream.tell(|| format!("records of {iterator}: {page:?}"));
        page
    }
}

impl Connection {
    async fn answered<T>(&self, question: Question, answer: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        let asked_at = Instant::now();
        let plan = self.stream.state().plan_reading(question);
        sleep(plan.after / 2).await;
        let (answer, second) = {
            let mut state = self.stream.state();
            let answer = plan.answer.and_then(|()| answer(&mut state));
            state.reading_answered(question, answer.is_ok());
            (answer, state.second())
        };
        sleep(plan.after / 2).await;
        self.learn(&answer, second, asked_at);
        answer
    }
}

fn service(question: Question, code: &str, status: u16) -> Failure {
    let operation = match question {
        Question::Shards => Operation::ListShards,
        Question::Iterator => Operation::GetShardIterator,
        Question::Records => Operation::GetRecords,
    };
    let failure = Failure::answered(operation, code, status, AS_SERVICE);
    // A question stores nothing.
    Failure { verdict: failure.verdict.given(Sent::Nothing), message: AS_SERVICE.to_owned(), ..failure }
}

impl State {
    fn plan_reading(&mut self, question: Question) -> PlanOfAnswer {
        let now = self.now();
        self.read_request_count += 1;
        let after = Duration::from_millis(self.rng.u64(..=self.weather.latency_ms_max));
        let failed = |after, failure| PlanOfAnswer { after, answer: Err(failure) };
        if now < self.blackout_until && self.is_hanging {
            return failed(ATTEMPT_TIMEOUT, transport(Verdict::Retry, Failure::TIMEOUT));
        }
        if now < self.blackout_until {
            return failed(after, transport(Verdict::Retry, Failure::CONNECTION));
        }
        if now < self.denied_until && self.is_denied_by_age() {
            return failed(after, service(question, "ExpiredTokenException", 400));
        }
        if let Some(code) = self.story.refusal(question, now) {
            self.note("reading denied");
            return failed(after, service(question, code, 400));
        }
        if self.rng.f64() < self.weather.read_throttled {
            self.note("reading throttled");
            let codes = match question {
                Question::Shards => ["LimitExceededException", "ThrottlingException"],
                Question::Iterator => ["ProvisionedThroughputExceededException", "ThrottlingException"],
                Question::Records => ["ProvisionedThroughputExceededException", "KMSThrottlingException"],
            };
            return failed(after, service(question, codes[self.rng.usize(..2)], 400));
        }
        if self.rng.f64() < self.weather.read_failed {
            self.note("reading failed");
            return match self.rng.u8(..4) {
                0 => failed(after, service(question, "InternalFailure", 500)),
                1 => failed(after, service(question, "ServiceUnavailable", 503)),
                2 => failed(after, transport(Verdict::Retry, Failure::CONNECTION_LOST)),
                _ => failed(ATTEMPT_TIMEOUT, transport(Verdict::Retry, Failure::TIMEOUT)),
            };
        }
        PlanOfAnswer { after, answer: Ok(()) }
    }

    /// The answer to `ListShards`, with or without a filter. That the agent may list open shards or not is another question.
    fn listed_since(&mut self, from_ms: i64) -> Vec<Shard> {
        let now = self.now();
        let at = match self.weather.listing {
            Listing::Stale(age) => now.saturating_sub(age),
            _ => now,
        };
        let since = self.time_at(from_ms);
        let mut indexes = self.shards.open_between(if self.lists_all { Duration::ZERO } else { since }, at);
        if self.weather.listing == Listing::Incomplete && self.rng.bool() {
            self.note("incomplete list");
            indexes.remove(self.rng.usize(..indexes.len()));
        }
        let listed = |index: usize| {
            let shard = self.shards.get(index);
            Shard { id: shard.id.as_str().into(), range: shard.range }
        };
        indexes.into_iter().map(listed).collect()
    }

    fn iterator(&mut self, shard_id: &str, position: &Position) -> Result<String, Failure> {
        let Some(index) = self.shards.index_of(shard_id) else {
            return Err(service(Question::Iterator, Failure::NO_RESOURCE, 400));
        };
        let from = match position {
            // "The timestamp argument passed is greater than the current timestamp."
            Position::At(at_ms) if *at_ms > self.now_ms() => {
                return Err(service(Question::Iterator, "InvalidArgumentException", 400));
            }
            Position::At(at_ms) => self.log_of(index).first_since(*at_ms),
            Position::Behind(number) => log::index_of(number).unwrap() + 1,
        };
        Ok(self.new_iterator(index, from))
    }

    fn new_iterator(&mut self, index: usize, from: usize) -> String {
        let lifetime = if self.rng.u8(..50) == 0 { ITERATOR_LIFETIME.mul_f64(self.rng.f64()) } else { ITERATOR_LIFETIME };
        format!("{index} {from} {}", (self.now() + lifetime).as_millis())
    }

    fn page(&mut self, iterator: &str, count_max: usize) -> Result<Page, Failure> {
        let now = self.now();
        let mut parts = iterator.split(' ').map(|part| part.parse::<usize>().unwrap());
        let (index, from, expires_ms) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        if now.as_millis() > expires_ms as u128 {
            self.note("iterator expired");
            return Err(service(Question::Records, Failure::EXPIRED_ITERATOR, 400));
        }
        let count_max = self.rng.usize(1..=count_max.min(self.weather.page_records_max.max(1)));
        // There may be nothing in an answer, though there is something behind it.
        let count_max = if self.rng.u8(..20) == 0 { 0 } else { count_max };
        self.log_of(index);
        let readable = self.logs[index].readable(from, count_max, now);
        let (mut records, mut byte_count) = (Vec::with_capacity(readable.len()), 0);
        for (position, logged) in readable.iter().enumerate() {
            byte_count += logged.data.len() + logged.partition_key.len();
            if byte_count > ANSWER_BYTES_MAX {
                break;
            }
            records.push(logged.read(from + position));
            for span in logged.spans.iter() {
                self.shown.entry((logged.life, span.file)).or_default().settle(span.start, span.end);
            }
        }
        let behind = from + records.len();
        let is_all_read = self.logs[index].readable(behind, 1, now).is_empty();
        let is_closed = self.shards.is_closed(index) && behind == self.logs[index].count();
        self.read_record_count += records.len() as u64;
        Ok(Page {
            is_at_tip: records.is_empty() && is_all_read,
            next: (!is_closed).then(|| self.new_iterator(index, behind)),
            records,
        })
    }
}
