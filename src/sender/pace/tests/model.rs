//! Shards as the service may enforce their limits, and agents that always have more to send.

use std::collections::BTreeMap;

use super::super::*;

/// How a shard counts what it takes. The service does not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// Credit comes steadily; that of a second is kept.
    Bucket,
    /// So much in each second of the clock.
    Windows,
}

struct Shard {
    limit: Limit,
    /// What other producers leave of it, and from which second.
    left: &'static [(f64, f64)],
    counted_until: f64,
    byte_credit: f64,
    record_credit: f64,
}

impl Shard {
    fn left_at(&self, now: f64) -> f64 {
        self.left.iter().rev().find(|(from, _)| *from <= now).map_or(1.0, |(_, left)| *left)
    }

    fn admits(&mut self, now: f64, byte_count: usize) -> bool {
        let left = self.left_at(now);
        let gain = match self.limit {
            Limit::Bucket => left * (now - self.counted_until),
            Limit::Windows if now.floor() > self.counted_until.floor() => left,
            Limit::Windows => 0.0,
        };
        self.counted_until = now;
        self.byte_credit = (self.byte_credit + gain).min(left);
        self.record_credit = (self.record_credit + gain).min(left);
        let load = Amount { byte_count, record_count: 1 };
        let admits = self.byte_credit >= load.byte_seconds() && self.record_credit >= load.record_seconds();
        if admits {
            self.byte_credit -= load.byte_seconds();
            self.record_credit -= load.record_seconds();
        }
        admits
    }
}

/// An agent that always has more to send.
struct Agent {
    pace: Pace,
    from: f64,
    until: f64,
    in_flight_count: usize,
    /// Records, by the second of the answer.
    delivered: Vec<usize>,
    throttled: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Event {
    Wakes { agent: usize },
    Arrives { agent: usize, sent_at: f64, record_count: usize },
    Answered { agent: usize, sent_at: f64, delivered: usize, throttled: usize },
}

/// What is simulated.
#[derive(Clone, Copy)]
pub(super) struct Scene {
    pub(super) shard_count: usize,
    pub(super) ceiling: f64,
    /// See [`Shard`].
    pub(super) left: &'static [(f64, f64)],
    /// Seconds from which and until which each agent sends.
    pub(super) agents: &'static [(f64, f64)],
    /// Measured from one second until the other.
    pub(super) measured: (usize, usize),
}

/// How its parts behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) limit: Limit,
    pub(super) record_bytes: usize,
    pub(super) round_trip: f64,
}

pub(super) struct Model {
    start: Instant,
    setting: Setting,
    shards: Vec<Shard>,
    agents: Vec<Agent>,
    random: fastrand::Rng,
    /// By time and number.
    events: BTreeMap<(Duration, usize), Event>,
    event_count: usize,
}

const IN_FLIGHT_MAX: usize = 4;

impl Model {
    pub(super) fn new(scene: &Scene, setting: Setting, seed: u64) -> Self {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(seed);
        let shard =
            |_| Shard { limit: setting.limit, left: scene.left, counted_until: 0.0, byte_credit: 1.0, record_credit: 1.0 };
        let agent = |(from, until): &(f64, f64)| Agent {
            pace: Pace::new(start + Duration::from_secs_f64(*from), scene.ceiling, random.u64(..)),
            from: *from,
            until: *until,
            in_flight_count: 0,
            delivered: vec![0; scene.measured.1],
            throttled: vec![0; scene.measured.1],
        };
        let agents = scene.agents.iter().map(agent).collect();
        let shards = (0..scene.shard_count).map(shard).collect();
        let mut model = Self { start, setting, shards, agents, random, events: BTreeMap::new(), event_count: 0 };
        for agent in 0..model.agents.len() {
            let jitter = model.random.f64() / 100.0;
            model.add(model.agents[agent].from + jitter, Event::Wakes { agent });
        }
        model
    }

    fn add(&mut self, at: f64, event: Event) {
        self.event_count += 1;
        self.events.insert((Duration::from_secs_f64(at), self.event_count), event);
    }

    /// One way of a round trip.
    fn way(&mut self) -> f64 {
        self.setting.round_trip / 2.0 * (0.8 + 0.4 * self.random.f64())
    }

    fn instant(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn amount(&self, record_count: usize) -> Amount {
        Amount { byte_count: record_count * self.setting.record_bytes, record_count }
    }

    pub(super) fn run(&mut self, until: f64) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            let now = at.as_secs_f64();
            if now >= until {
                return;
            }
            match event {
                Event::Wakes { agent } => self.wake(now, agent),
                Event::Arrives { agent, sent_at, record_count } => {
                    let admits = |_| {
                        let shard = self.random.usize(..self.shards.len());
                        usize::from(self.shards[shard].admits(now, self.setting.record_bytes))
                    };
                    let delivered = (0..record_count).map(admits).sum();
                    let answered_at = now + self.way();
                    self.add(answered_at, Event::Answered { agent, sent_at, delivered, throttled: record_count - delivered });
                }
                Event::Answered { agent, sent_at, delivered, throttled } => {
                    let (loads, sent_at) = ((self.amount(delivered), self.amount(throttled)), self.instant(sent_at));
                    let answered_at = self.instant(now);
                    let second = usize::try_from(at.as_secs()).unwrap();
                    let agent_answered = &mut self.agents[agent];
                    agent_answered.pace.answered(answered_at, sent_at, loads.0, loads.1);
                    agent_answered.delivered[second] += delivered;
                    agent_answered.throttled[second] += throttled;
                    agent_answered.in_flight_count -= 1;
                    if agent_answered.in_flight_count + 1 == IN_FLIGHT_MAX {
                        self.wake(now, agent);
                    }
                }
            }
        }
    }

    fn wake(&mut self, now: f64, number: usize) {
        let (instant, load) = (self.instant(now), self.amount(1));
        let agent = &mut self.agents[number];
        if now >= agent.until {
            return;
        }
        let mut record_count = 0;
        while agent.pace.may_send(instant) && record_count < 500 {
            agent.pace.sent(instant, load);
            record_count += 1;
        }
        agent.in_flight_count += usize::from(record_count > 0);
        if agent.in_flight_count < IN_FLIGHT_MAX {
            let wakes_at = (agent.pace.ready_at(instant) - self.start).as_secs_f64().max(now + 0.001);
            self.add(wakes_at, Event::Wakes { agent: number });
        }
        if record_count > 0 {
            let arrives_at = now + self.way();
            self.add(arrives_at, Event::Arrives { agent: number, sent_at: now, record_count });
        }
    }

    /// Records that the shards take in one second.
    fn admitted(&self, second: usize) -> f64 {
        let admitted = |shard: &Shard| {
            let record_count = shard.left_at(second as f64) / self.amount(1).seconds();
            if shard.limit == Limit::Windows { record_count.floor() } else { record_count }
        };
        self.shards.iter().map(admitted).sum()
    }

    pub(super) fn figures(&self, (from, until): (usize, usize)) -> Figures {
        let sum = |counts: &[usize]| counts[from..until].iter().sum::<usize>() as f64;
        let active = || self.agents.iter().filter(|agent| agent.until > from as f64);
        let counts: Vec<f64> = active().map(|agent| sum(&agent.delivered)).collect();
        let throttled: f64 = active().map(|agent| sum(&agent.throttled)).sum();
        let delivered: f64 = counts.iter().sum();
        let squares: f64 = counts.iter().map(|count| count * count).sum();
        let fair = delivered / counts.len() as f64;
        Figures {
            delivered: delivered / (from..until).map(|second| self.admitted(second)).sum::<f64>(),
            throttled: throttled / (delivered + throttled),
            fairness: fair * delivered / squares,
            least: counts.iter().fold(f64::INFINITY, |least, count| least.min(count / fair)),
            greatest: counts.iter().fold(0.0, |greatest, count| greatest.max(count / fair)),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Of what the shards take.
    pub(super) delivered: f64,
    /// Of the records sent.
    pub(super) throttled: f64,
    /// Jain's index.
    pub(super) fairness: f64,
    /// What the agents with the least and with the most delivered, 1 being a fair part.
    pub(super) least: f64,
    pub(super) greatest: f64,
}
