//! How fast one agent may send to one shard.
//!
//! A shard takes so many bytes and records a second from all producers together, and nothing but throttled records says how
//! much of that the others use. A pace keeps the share of the shard that this agent may use, raises it by what is delivered
//! and lowers it by what is throttled. What is sent to which shard, and when throttled records are sent again, is decided by
//! the sender, which also brings the time.
//!
//! All is counted in seconds of the shard: what it takes in one second, by bytes or by records, whichever is more, is one
//! second. So a share is seconds of the shard a second, and 0.25 is a quarter of it.
//!
//! **Down:** a throttled record takes [`DECREASE`] of its own seconds from the share, so that within seconds the share goes
//! to what is really delivered, in many small steps where records are small and in few where they are not.
//! **Up:** what is delivered adds a part of its own seconds, so that a share is in balance where [`balanced_part`] of its
//! records is throttled. The greater the share, the smaller that part: of two agents at one shard, which see the same part,
//! the greater gives way until they are equal. That is the price of fairness. 21 aggregates a second fill a shard, and who is
//! told of fewer throttles than one in 25 of them learns too slowly how many others there are.
//! **Later:** after seconds without a throttle the share grows with their square, as CUBIC does (RFC 9438): the others may
//! have left. All growth is only for what holds up the sender; the share of one who has little to send drifts to the ceiling.

use std::time::{Duration, Instant};

use crate::limits::{SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};

/// What was sent, or what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    /// Data and partition keys.
    pub(super) byte_count: usize,
    pub(super) record_count: usize,
}

/// The pace at one shard.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Of the shard's limits, what this agent uses at most: [`SHARE_MIN`] to `ceiling`.
    share: f64,
    ceiling: f64,
    /// Nothing was throttled yet, and the ceiling is not reached: the share doubles every second.
    is_starting: bool,
    /// Credit in seconds of the shard, or debt: a record may take more than there is.
    byte_credit: f64,
    record_credit: f64,
    /// There was no credit left; nothing is sent until there is for `quantum` seconds of the share.
    is_exhausted: bool,
    quantum: f64,
    /// The state of a generator of random numbers.
    random: u64,
    /// Until when credit and growth are counted.
    counted_until: Instant,
    /// When the share last held up the sender.
    held_up_until: Instant,
    /// Seconds for which it did since a record was throttled; those of small shares count in part.
    clean_seconds: f64,
    /// Requests that were sent before are of the same round of throttling: nobody knew better when they were sent.
    round_began: Instant,
    /// The share when it began.
    round_share: f64,
}

/// By how much of its seconds a throttled record lowers the share. More follows changes faster, and makes shares of few large
/// records more uneven: one aggregate in 21 is as much as a fifth of the share of one in four agents.
const DECREASE: f64 = 0.6;
/// In one round the share falls to no less than this part of it. Lower, and one of twenty agents that has bad luck is a minute
/// behind the others.
const ROUND_PART_MIN: f64 = 0.7;
/// The part of its records that is throttled when the share is the whole shard ...
const BALANCED_PART_MIN: f64 = 0.007;
/// ... and how much more when it is very small. With [`BALANCED_SHARE`] it is chosen so that of four agents each bears four in
/// a hundred: less, and they take minutes to become equal.
const BALANCED_PART_MORE: f64 = 0.14;
/// At this share it is half of that more; above, it falls with the square.
const BALANCED_SHARE: f64 = 0.14;
/// One answer raises the share by no more than this part of it: a large record says little about a small share.
const STEP_PART_MAX: f64 = 0.25;
/// The greatest growth: the share doubles in a second.
const GROWTH_MAX: f64 = std::f64::consts::LN_2;
/// After so many seconds without a throttle the share grows faster. One of four agents has one every five seconds.
const CLEAN_SECONDS: f64 = 9.0;
/// By how many shares a second, one second later; it goes with the square. A quarter becomes the whole six seconds later.
const ACCELERATION: f64 = 0.007;
/// A smaller share is told of too few records in a second: its seconds without a throttle count in proportion.
const EVIDENT_SHARE: f64 = 0.25;
/// Least share: an aggregate in five seconds.
const SHARE_MIN: f64 = 0.01;
/// Greatest share where no ceiling is known: more than any stream has shards.
const SHARE_MAX: f64 = 100_000.0;
/// Seconds in which the share of an agent with little to send goes two thirds of the way to the ceiling; without a ceiling it
/// starts anew after so many.
const IDLE_SECONDS: f64 = 30.0;
/// Seconds of the share that are kept as credit. More let a shard that counts by seconds of the clock throttle whoever has
/// rested.
const CREDIT_SECONDS_MAX: f64 = 0.5;
/// The longest debt, in seconds of the share: a large record does not hold up a small share for longer.
const DEBT_SECONDS_MAX: f64 = 10.0;
/// Seconds of the share that must be there after credit was exhausted, so that requests carry several records: half to one
/// and a half of it for a small share, by chance. Without chance agents keep step, and the same one always comes too late.
const QUANTUM: f64 = 0.1;
/// So much may be missing of it: sums of fractions are not exact.
const ENOUGH: f64 = 1e-9;
/// Least and greatest time until the sender asks again.
const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Amount {
    fn byte_seconds(self) -> f64 {
        self.byte_count as f64 / SHARD_BYTES_IN_MAX as f64
    }

    fn record_seconds(self) -> f64 {
        self.record_count as f64 / SHARD_RECORDS_IN_MAX as f64
    }

    fn seconds(self) -> f64 {
        self.byte_seconds().max(self.record_seconds())
    }
}

impl Pace {
    /// A pace with all credit. `ceiling` is the greatest share: 1 for one shard, infinite where a pace stands for an unknown
    /// number of shards or for a delivery stream. `random` makes agents differ.
    pub(super) fn new(now: Instant, ceiling: f64, random: u64) -> Self {
        let ceiling = ceiling.clamp(SHARE_MIN, SHARE_MAX);
        let share = ceiling.min(1.0);
        Self {
            share,
            ceiling,
            is_starting: share < ceiling,
            byte_credit: share * CREDIT_SECONDS_MAX,
            record_credit: share * CREDIT_SECONDS_MAX,
            is_exhausted: false,
            quantum: QUANTUM,
            random,
            counted_until: now,
            held_up_until: now,
            clean_seconds: 0.0,
            round_began: now,
            round_share: share,
        }
    }

    /// Of the shard's limits, what this agent uses at most.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// The same for a shard that has taken the place of others, of which this share was learned. Of the credit there nothing is
    /// known.
    pub(super) fn of_share(self, share: f64, is_starting: bool) -> Self {
        let share = share.clamp(SHARE_MIN, self.ceiling);
        Self { share, is_starting: is_starting && share < self.ceiling, byte_credit: 0.0, record_credit: 0.0, ..self }
    }

    /// Nothing was throttled yet.
    pub(super) fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Whether one more record may be sent, of any size: it may take more credit than there is.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.count(now);
        !self.is_exhausted
    }

    /// When to ask again: when a record may be sent, but in a second at the latest, because the share may grow meanwhile.
    pub(super) fn ready_at(&mut self, now: Instant) -> Instant {
        self.count(now);
        if !self.is_exhausted {
            return now;
        }
        let wait = Duration::from_secs_f64(self.seconds_until_ready().min(WAIT_MAX.as_secs_f64()));
        now + wait.max(WAIT_MIN)
    }

    /// Takes credit.
    pub(super) fn sent(&mut self, now: Instant, amount: Amount) {
        self.count(now);
        self.byte_credit -= amount.byte_seconds();
        self.record_credit -= amount.record_seconds();
        self.limit_credit(CREDIT_SECONDS_MAX);
        if !self.is_exhausted && self.credit() <= 0.0 {
            self.is_exhausted = true;
            // An agent that has the whole shard has none to be in step with.
            let spread = (1.0 - self.share).max(0.0) * (self.next_random() - 0.5);
            self.quantum = QUANTUM * (1.0 + spread);
        }
    }

    /// Gives back the credit of what was surely not stored, and not because it was throttled.
    pub(super) fn returned(&mut self, amount: Amount) {
        self.byte_credit += amount.byte_seconds();
        self.record_credit += amount.record_seconds();
        self.limit_credit(CREDIT_SECONDS_MAX);
    }

    /// Learns from the answer to a request that was sent at `sent_at` what became of its records for this shard. Throttled
    /// ones do not get their credit back.
    pub(super) fn answered(&mut self, now: Instant, sent_at: Instant, delivered: Amount, throttled: Amount) {
        self.count(now);
        if self.held_up_until >= sent_at {
            self.rise(delivered.seconds());
        }
        if throttled.record_count > 0 {
            self.fall(now, sent_at, throttled.seconds());
        }
    }

    /// Seconds until `amount` more would be paid for; below zero where there is more credit.
    pub(super) fn seconds_for(&mut self, now: Instant, amount: Amount) -> f64 {
        self.count(now);
        (amount.byte_seconds() - self.byte_credit).max(amount.record_seconds() - self.record_credit) / self.share
    }

    /// Seconds that each further byte takes.
    pub(super) fn seconds_per_byte(&self) -> f64 {
        1.0 / (SHARD_BYTES_IN_MAX as f64 * self.share)
    }

    fn credit(&self) -> f64 {
        self.byte_credit.min(self.record_credit)
    }

    fn limit_credit(&mut self, seconds_max: f64) {
        let (min, max) = (-self.share * DEBT_SECONDS_MAX, self.share * seconds_max);
        self.byte_credit = self.byte_credit.clamp(min, max);
        self.record_credit = self.record_credit.clamp(min, max);
    }

    fn seconds_until_ready(&self) -> f64 {
        (self.quantum - self.credit() / self.share).max(0.0)
    }

    /// Counts credit and growth up to `now`.
    fn count(&mut self, now: Instant) {
        if now > self.counted_until {
            self.count_up_to(now);
        }
        self.is_exhausted &= self.seconds_until_ready() > ENOUGH;
    }

    fn count_up_to(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.counted_until).as_secs_f64();
        let held_up = if self.is_exhausted { seconds.min(self.seconds_until_ready()) } else { 0.0 };
        if self.is_exhausted {
            self.held_up_until = self.counted_until + Duration::from_secs_f64(held_up);
        }
        self.counted_until = now;
        self.byte_credit += self.share * seconds;
        self.record_credit += self.share * seconds;
        self.accelerate(held_up);
        self.drift(seconds - held_up);
        self.limit_credit(CREDIT_SECONDS_MAX);
    }

    /// By seconds of the shard that were delivered.
    fn rise(&mut self, delivered: f64) {
        let part = if self.is_starting { GROWTH_MAX } else { DECREASE * balanced_part(self.share) };
        self.grow((part * delivered).min(STEP_PART_MAX * self.share));
    }

    /// By seconds in which the share held up the sender.
    fn accelerate(&mut self, held_up: f64) {
        if self.is_starting {
            return;
        }
        self.clean_seconds += held_up * (self.share / EVIDENT_SHARE).min(1.0);
        let seconds = (self.clean_seconds - CLEAN_SECONDS).max(0.0);
        let growth = ACCELERATION * seconds * seconds * self.share.max(1.0);
        self.grow(growth.min(GROWTH_MAX * self.share) * held_up);
    }

    fn grow(&mut self, growth: f64) {
        self.share = (self.share + growth).min(self.ceiling);
    }

    /// By seconds in which it did not.
    fn drift(&mut self, seconds: f64) {
        if self.ceiling < SHARE_MAX {
            self.share += (self.ceiling - self.share) * (seconds / IDLE_SECONDS).min(1.0);
        } else {
            let idle = self.counted_until.saturating_duration_since(self.held_up_until);
            self.is_starting |= idle.as_secs_f64() >= IDLE_SECONDS;
        }
    }

    /// By seconds of the shard that were throttled.
    fn fall(&mut self, now: Instant, sent_at: Instant, throttled: f64) {
        if sent_at >= self.round_began {
            self.round_began = now;
            self.round_share = self.share;
        }
        let share_min = (self.round_share * ROUND_PART_MIN).clamp(SHARE_MIN, self.share.max(SHARE_MIN));
        self.share = (self.share - DECREASE * throttled).max(share_min);
        self.is_starting = false;
        self.clean_seconds = 0.0;
        // What was saved for more than the next request would be throttled too.
        self.limit_credit(QUANTUM);
    }

    /// 0 to 1: the upper bits of a linear congruential generator, with Knuth's constants for MMIX.
    fn next_random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The part of the records of a share that is throttled when it neither grows nor falls.
fn balanced_part(share: f64) -> f64 {
    BALANCED_PART_MIN + BALANCED_PART_MORE / (1.0 + (share / BALANCED_SHARE).powi(2))
}

#[cfg(test)]
mod tests;
