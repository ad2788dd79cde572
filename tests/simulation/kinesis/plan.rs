//! What happens to a request: drawn when it arrives.

use std::time::Duration;

use kinetail::collector::Entry;
use kinetail::hash_key::hash_of;
use kinetail::limits::{ATTEMPT_TIMEOUT, READ_BACK_PATIENCE};
use kinetail::outcome::{Failure, Verdict};

use super::{RECORD_FAILED, RECORD_THROTTLED, STREAMS_BECOME_AUTO, State, service, transport};
use crate::story::Access;
use crate::weather::RequestFault;

/// What happens to a request; decided when it arrives.
pub(super) struct Plan {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) stored: Vec<bool>,
    /// It is not stored before the answer, but so long after it.
    pub(super) late: Option<Duration>,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    /// For each record nothing, or the code of its error.
    ByRecord(Vec<Option<&'static str>>),
    /// So many good results, which is not the number of records.
    WrongCount(usize),
    Failed(Failure),
}

impl State {
    pub(super) fn plan(&mut self, entries: &[Entry], request_bytes_max: usize) -> Plan {
        let count = entries.len();
        self.drift();
        let mut latency = || Duration::from_millis(self.rng.u64(..=self.weather.latency_ms_max));
        let (before, after) = (latency(), latency());
        let not_stored = vec![false; count];
        let failed = |failure| Plan { before, after, stored: not_stored.clone(), late: None, answer: Answer::Failed(failure) };
        let now = self.now();
        if now < self.blackout_until && self.is_hanging {
            return Plan { after: ATTEMPT_TIMEOUT, ..failed(transport(Verdict::Uncertain, Failure::TIMEOUT)) };
        }
        if now < self.blackout_until {
            return failed(transport(Verdict::Retry, "Connection"));
        }
        if now < self.denied_until {
            let code = if self.is_denied_by_age() { "ExpiredTokenException" } else { "AccessDeniedException" };
            return failed(service(code, 400));
        }
        if entries.iter().map(Entry::byte_count).sum::<usize>() > request_bytes_max {
            self.note("request too large");
            return failed(service("InvalidArgumentException", 400));
        }
        if entries.iter().any(|entry| self.is_refused(entry)) {
            self.note("record refused");
            return failed(service("ValidationException", 400));
        }
        let drawn = self.weather.requests.iter().find(|(_, chance)| self.rng.f64() < *chance).map(|(fault, _)| *fault);
        let Some(fault) = drawn else { return self.plan_by_record(before, after, count) };
        self.note(&format!("{fault:?}"));
        let stored = self.drawn_stored(count);
        let lost = |failure| Plan { before, after, stored: stored.clone(), late: None, answer: Answer::Failed(failure) };
        match fault {
            RequestFault::Throttled => failed(service("ThrottlingException", 400)),
            RequestFault::ServerError => lost(service("InternalFailure", 500)),
            RequestFault::Unavailable => lost(service("ServiceUnavailable", 503)),
            RequestFault::ResetBeforeBody => failed(transport(Verdict::Retry, "Connection")),
            RequestFault::ResetAfterBody => {
                Plan { stored: vec![true; count], ..failed(transport(Verdict::Uncertain, "ConnectionLost")) }
            }
            RequestFault::Timeout => Plan { after: ATTEMPT_TIMEOUT, ..lost(transport(Verdict::Uncertain, Failure::TIMEOUT)) },
            RequestFault::AcceptedLate => {
                let late = Some(self.drawn_delay());
                Plan { after: ATTEMPT_TIMEOUT, late, ..lost(transport(Verdict::Uncertain, Failure::TIMEOUT)) }
            }
            RequestFault::TooFewResults => {
                Plan { before, after, stored, late: None, answer: Answer::WrongCount(self.rng.usize(..count)) }
            }
            RequestFault::TooManyResults => Plan { before, after, stored, late: None, answer: Answer::WrongCount(count + 1) },
            RequestFault::EmptyAnswer => Plan { before, after, stored, late: None, answer: Answer::WrongCount(0) },
            RequestFault::Blackout => {
                self.blackout_until = now + Duration::from_secs(self.rng.u64(5..600));
                self.is_hanging = self.rng.bool();
                if self.is_hanging && self.story.access == Access::Always {
                    // Then reading is given up, and what follows is another story.
                    self.blackout_until = self.blackout_until.min(now + READ_BACK_PATIENCE / 2);
                }
                if self.is_hanging {
                    Plan { after: ATTEMPT_TIMEOUT, ..lost(transport(Verdict::Uncertain, Failure::TIMEOUT)) }
                } else {
                    failed(transport(Verdict::Retry, "Connection"))
                }
            }
            RequestFault::Denied => {
                self.denied_until = now + Duration::from_millis(self.rng.u64(5_000..300_000));
                failed(service("AccessDeniedException", 400))
            }
        }
    }

    /// Always the same of the same record.
    fn is_refused(&self, entry: &Entry) -> bool {
        let drawn = hash_of(&entry.partition_key) ^ entry.spans.iter().next().map_or(0, |span| hash_of(span.start.to_string()));
        (drawn as f64) < self.weather.record_refused * (u128::MAX as f64)
    }

    fn plan_by_record(&mut self, before: Duration, after: Duration, count: usize) -> Plan {
        let mut stored = Vec::with_capacity(count);
        let mut errors = Vec::with_capacity(count);
        for _ in 0..count {
            if self.rng.f64() < self.weather.record_throttled {
                self.note("record throttled");
                stored.push(false);
                errors.push(Some(RECORD_THROTTLED));
            } else if self.rng.f64() < self.weather.record_failed {
                self.note("record failed");
                stored.push(self.rng.bool());
                errors.push(Some(RECORD_FAILED));
            } else {
                stored.push(true);
                errors.push(None);
            }
        }
        Plan { before, after, stored, late: None, answer: Answer::ByRecord(errors) }
    }

    /// What happens to the stream meanwhile.
    fn drift(&mut self) {
        let now = self.now();
        if self.rng.f64() < self.weather.reshard {
            self.is_map_sure = false;
            // One change is often followed by another.
            for _ in 0..[1, 1, 2, 5][self.rng.usize(..4)] {
                let open = self.shards.open_now();
                let index = open[self.rng.usize(..open.len())];
                if open.len() < 2 || open.len() < 40 && self.rng.bool() {
                    self.note("split");
                    self.shards.split(index, now);
                } else {
                    self.note("merge");
                    self.shards.merge(index, now);
                }
            }
        }
        if self.rng.f64() < self.weather.others {
            self.note("other producers");
            let open = self.shards.open_now();
            let (index, part) = (open[self.rng.usize(..open.len())], self.rng.f64() * 0.95);
            self.shards.take_part(index, part, now + Duration::from_millis(self.rng.u64(..60_000)));
        }
        if STREAMS_BECOME_AUTO && self.rng.f64() < self.weather.reshard / 10.0 {
            self.note("auto");
            self.is_map_sure = false;
            self.auto_since = if self.auto_since.is_some() { None } else { Some(now) };
        }
    }

    /// It is the credentials that are too old, else access to what is written to.
    pub(super) fn is_denied_by_age(&self) -> bool {
        !self.denied_until.subsec_millis().is_multiple_of(2)
    }

    /// How long something takes that may take as long as the story says.
    pub(super) fn drawn_delay(&mut self) -> Duration {
        let most = self.story.delay_max();
        // Mostly it is quick.
        let part = self.rng.f64();
        if self.rng.bool() { most.mul_f64(part * 0.1) } else { most.mul_f64(part) }
    }

    /// All of a request, nothing of it, or some.
    pub(super) fn drawn_stored(&mut self, count: usize) -> Vec<bool> {
        match self.rng.u8(..3) {
            0 => vec![true; count],
            1 => vec![false; count],
            _ => (0..count).map(|_| self.rng.bool()).collect(),
        }
    }
}
