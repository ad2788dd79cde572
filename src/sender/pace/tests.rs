use std::collections::BTreeMap;

use super::*;

/// What a shard admits.
enum Limit {
    /// Credit of a second at most, as it comes.
    Bucket,
    /// So much in each second of the clock.
    Windows,
}

struct Shard {
    limit: Limit,
    /// Parts of the shard that other producers leave, and from when, in seconds.
    left: Vec<(f64, f64)>,
    counted_until: f64,
    byte_seconds: f64,
    record_seconds: f64,
}

impl Shard {
    fn new(limit: Limit, left: &[(f64, f64)]) -> Self {
        Self { limit, left: left.to_vec(), counted_until: 0.0, byte_seconds: 1.0, record_seconds: 1.0 }
    }

    fn left_at(&self, now: f64) -> f64 {
        self.left.iter().rev().find(|(from, _)| *from <= now).map_or(1.0, |(_, left)| *left)
    }

    fn admits(&mut self, now: f64, byte_count: usize) -> bool {
        let left = self.left_at(now);
        let seconds = now - self.counted_until;
        match self.limit {
            Limit::Bucket => {
                self.byte_seconds = (self.byte_seconds + left * seconds).min(left);
                self.record_seconds = (self.record_seconds + left * seconds).min(left);
            }
            Limit::Windows if now.floor() > self.counted_until.floor() => {
                self.byte_seconds = left;
                self.record_seconds = left;
            }
            Limit::Windows => {}
        }
        self.counted_until = now;
        let load = Load { byte_count, record_count: 1 };
        let (byte_seconds, record_seconds) =
            (self.byte_seconds - load.byte_seconds(), self.record_seconds - load.record_seconds());
        let admits = byte_seconds >= 0.0 && record_seconds >= 0.0;
        if admits {
            self.byte_seconds = byte_seconds;
            self.record_seconds = record_seconds;
        }
        admits
    }
}

/// One agent with more to send than it may, from `from` until `until`.
struct Agent {
    pace: Pace,
    from: f64,
    until: f64,
    in_flight_count: usize,
    /// By seconds: records delivered and throttled.
    delivered: Vec<u32>,
    throttled: Vec<u32>,
}

#[derive(Clone, Copy)]
enum Happening {
    Wakes { agent: usize },
    Arrives { agent: usize, sent_at: f64, record_count: usize },
    Answered { agent: usize, sent_at: f64, delivered: usize, throttled: usize },
}

struct Model {
    start: Instant,
    shards: Vec<Shard>,
    agents: Vec<Agent>,
    record_bytes: usize,
    round_trip: f64,
    random: fastrand::Rng,
    happenings: BTreeMap<(u64, u64), Happening>,
    number: u64,
}

const IN_FLIGHT_MAX: usize = 4;

impl Model {
    fn new(shards: Vec<Shard>, spans: &[(f64, f64)], ceiling: f64, record_bytes: usize, round_trip: f64, seed: u64) -> Self {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(seed);
        let agent = |(from, until): &(f64, f64)| Agent {
            pace: Pace::new(start + Duration::from_secs_f64(*from), ceiling, random.u64(..)),
            from: *from,
            until: *until,
            in_flight_count: 0,
            delivered: vec![0; 1000],
            throttled: vec![0; 1000],
        };
        let agents: Vec<_> = spans.iter().map(agent).collect();
        let mut model = Self { start, shards, agents, record_bytes, round_trip, random, happenings: BTreeMap::new(), number: 0 };
        for agent in 0..model.agents.len() {
            let jitter = model.random.f64() * 0.01;
            model.at(model.agents[agent].from + jitter, Happening::Wakes { agent });
        }
        model
    }

    fn at(&mut self, seconds: f64, happening: Happening) {
        self.number += 1;
        self.happenings.insert(((seconds * 1e9) as u64, self.number), happening);
    }

    fn leg(&mut self) -> f64 {
        self.round_trip / 2.0 * (0.8 + 0.4 * self.random.f64())
    }

    fn run(&mut self, until: f64) {
        while let Some(((nanos, _), happening)) = self.happenings.pop_first() {
            let now = nanos as f64 / 1e9;
            if now >= until {
                return;
            }
            match happening {
                Happening::Wakes { agent } => self.wake(now, agent),
                Happening::Arrives { agent, sent_at, record_count } => {
                    let mut delivered = 0;
                    for _ in 0..record_count {
                        let shard = self.random.usize(0..self.shards.len());
                        delivered += usize::from(self.shards[shard].admits(now, self.record_bytes));
                    }
                    let leg = self.leg();
                    self.at(now + leg, Happening::Answered { agent, sent_at, delivered, throttled: record_count - delivered });
                }
                Happening::Answered { agent, sent_at, delivered, throttled } => {
                    let instant = |seconds: f64| self.start + Duration::from_secs_f64(seconds);
                    let load = |record_count| Load { byte_count: record_count * self.record_bytes, record_count };
                    let it = &mut self.agents[agent];
                    it.pace.answered(instant(now), instant(sent_at), load(delivered), load(throttled));
                    it.in_flight_count -= 1;
                    it.delivered[now as usize] += delivered as u32;
                    it.throttled[now as usize] += throttled as u32;
                    if it.in_flight_count + 1 == IN_FLIGHT_MAX {
                        self.wake(now, agent);
                    }
                }
            }
        }
    }

    fn wake(&mut self, now: f64, agent: usize) {
        let instant = self.start + Duration::from_secs_f64(now);
        let it = &mut self.agents[agent];
        if now >= it.until || it.in_flight_count == IN_FLIGHT_MAX {
            return;
        }
        let mut record_count = 0;
        while it.pace.may_send(instant) && record_count < 500 {
            it.pace.sent(instant, Load { byte_count: self.record_bytes, record_count: 1 });
            record_count += 1;
        }
        it.in_flight_count += usize::from(record_count > 0);
        let wakes_at = (it.pace.ready_at(instant) - self.start).as_secs_f64().max(now + 0.001);
        if it.in_flight_count < IN_FLIGHT_MAX {
            self.at(wakes_at, Happening::Wakes { agent });
        }
        if record_count > 0 {
            let leg = self.leg();
            self.at(now + leg, Happening::Arrives { agent, sent_at: now, record_count });
        }
    }
}

/// What was measured from one second until another.
#[derive(Debug)]
struct Figures {
    /// Of what the shards admit.
    delivered_part: f64,
    throttled_part: f64,
    /// Of each agent, 1 where all are equal.
    fair_parts: Vec<f64>,
    /// Jain's index of fairness.
    fairness: f64,
}

impl Model {
    /// Records a second that a shard admits at a time.
    fn admitted(&self, at: f64) -> f64 {
        let record = Load { byte_count: self.record_bytes, record_count: 1 };
        let admitted = |shard: &Shard| {
            let records = shard.left_at(at) / record.seconds();
            if matches!(shard.limit, Limit::Windows) { records.floor() } else { records }
        };
        self.shards.iter().map(admitted).sum()
    }

    fn figures(&self, from: usize, until: usize) -> Figures {
        let sum = |counts: &[u32]| counts[from..until].iter().sum::<u32>() as f64;
        let delivered: Vec<f64> = self.agents.iter().map(|agent| sum(&agent.delivered)).collect();
        let throttled: f64 = self.agents.iter().map(|agent| sum(&agent.throttled)).sum();
        let active: Vec<f64> = (self.agents.iter().zip(&delivered))
            .filter(|(agent, _)| agent.from < until as f64 && agent.until > from as f64)
            .map(|(_, delivered)| *delivered)
            .collect();
        let all: f64 = delivered.iter().sum();
        let admitted: f64 = (from..until).map(|second| self.admitted(second as f64)).sum();
        let squares: f64 = active.iter().map(|part| part * part).sum();
        Figures {
            delivered_part: all / admitted,
            throttled_part: throttled / (all + throttled),
            fair_parts: active.iter().map(|part| part * active.len() as f64 / all).collect(),
            fairness: all * all / (active.len() as f64 * squares),
        }
    }
}
