//! How fast one agent may send to one shard.
//!
//! A shard takes so many bytes and records a second from all producers together, and nothing but throttled records says
//! how much of that the others use. A pace keeps the share of the shard that this agent may use, and makes it larger or
//! smaller by what the answers say. The time and the answers come from the sender; what is sent to which shard, and what
//! becomes of throttled records, is decided there.
//!
//! All is counted in seconds of the shard: what the shard takes in one second, by bytes or by records, whichever is more,
//! is one second. So a share is seconds of the shard a second, and 0.25 is a quarter of it.
//!
//! **Down:** each throttled record takes [`DECREASE`] of its own seconds from the share, so that the share goes to what is
//! really delivered within a second or so, in many small steps where records are many and in few where they are not.
//! **Up:** in balance, when the share is `x`, a part of [`throttled_part`]`(x)` of the records is throttled. The greater the
//! share, the smaller the part that it bears: of two agents at one shard, which see the same part, the greater gives way,
//! until they are equal. With few answers (21 aggregates a second fill a shard) that part is the price of fairness: the rarer
//! the throttles, the longer it takes. After a while without any the share grows faster, as CUBIC does (RFC 9438).
//! The share grows only while it is what holds up the sender.

use std::time::{Duration, Instant};

use crate::limits::{REQUEST_BYTES_MAX, SHARD_BYTES_IN_MAX, SHARD_RECORDS_IN_MAX};

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
    /// The part of the shard's limits that this agent uses at most: [`SHARE_MIN`] to `ceiling`.
    share: f64,
    ceiling: f64,
    /// Nothing was throttled yet, and nobody knows where the ceiling is: the share doubles every second.
    is_starting: bool,
    /// Credit, in seconds of the shard, or debt: a record may take more than there is.
    byte_seconds: f64,
    record_seconds: f64,
    /// Nothing may be sent until there is credit for a while: see [`QUANTUM`].
    is_exhausted: bool,
    /// Until when credit and growth are counted.
    counted_until: Instant,
    /// Seconds of waiting for credit since a record was throttled, those of small shares in part: see [`FULL_EVIDENCE_SHARE`].
    clean_seconds: f64,
    /// An answer to a request that was sent before belongs to the same round of throttling.
    round_began: Instant,
    /// The share falls no lower in this round.
    round_share_min: f64,
}

/// By how much of its own seconds a throttled record lowers the share: with 1 it follows what is delivered within a second.
const DECREASE: f64 = 1.0;
/// In one round trip the share falls to no less than this part of it: what is throttled was sent before the share fell.
const ROUND_PART_MIN: f64 = 0.5;
/// Least share: an aggregate in five seconds.
const SHARE_MIN: f64 = 0.01;
/// Greatest share where no ceiling is known: more than any stream has shards.
const SHARE_MAX: f64 = 100_000.0;
/// The part of the records of a very small share that is throttled in balance.
const THROTTLED_PART_MAX: f64 = 0.15;
/// At this share it is half of it.
const THROTTLED_PART_HALF: f64 = 0.158;
/// Seconds without a throttled record until the share grows faster.
const CLEAN_SECONDS: f64 = 10.0;
/// Additional growth, in shares a second, one second after that; it goes with the square of the seconds.
const ACCELERATION: f64 = 0.0035;
/// A smaller share sends too little in a second to learn as much from it: its seconds count in proportion.
const FULL_EVIDENCE_SHARE: f64 = 0.25;
/// The greatest growth doubles the share in a second.
const GROWTH_MAX: f64 = std::f64::consts::LN_2;
/// Seconds in which the share of an idle agent goes most of the way back to the ceiling.
const IDLE_SECONDS: f64 = 30.0;
/// Seconds of the share that are kept as credit, at most.
const CREDIT_SECONDS_MAX: f64 = 1.0;
/// Seconds of the share that must be there after credit is exhausted: several records go in one request.
const QUANTUM: f64 = 0.1;
/// Debt, in seconds of the shard, is that of the largest record there can be.
const DEBT_MAX: f64 = (REQUEST_BYTES_MAX / SHARD_BYTES_IN_MAX) as f64;
/// Credit counts as enough when so little is missing: sums of fractions are not exact.
const ENOUGH: f64 = 1e-9;
/// Least and greatest time until it is asked again whether something may be sent: the share may have grown meanwhile.
const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Amount {
    fn byte_seconds(self) -> f64 {
        self.byte_count as f64 / SHARD_BYTES_IN_MAX as f64
    }

    fn record_seconds(self) -> f64 {
        self.record_count as f64 / SHARD_RECORDS_IN_MAX as f64
    }

    /// By the limit that it comes closer to.
    fn seconds(self) -> f64 {
        self.byte_seconds().max(self.record_seconds())
    }
}

impl Pace {
    /// A pace with all credit. `ceiling` is the greatest share there is: 1 for one shard; infinite where it is not known
    /// how many shards there are, or for a delivery stream.
    pub(super) fn new(now: Instant, ceiling: f64) -> Self {
        let share = 1.0;
        Self {
            share,
            ceiling: ceiling.clamp(SHARE_MIN, SHARE_MAX),
            is_starting: ceiling > 1.0,
            byte_seconds: share * CREDIT_SECONDS_MAX,
            record_seconds: share * CREDIT_SECONDS_MAX,
            is_exhausted: false,
            counted_until: now,
            clean_seconds: 0.0,
            round_began: now,
            round_share_min: share * ROUND_PART_MIN,
        }
    }

    /// A pace that goes on where another has ended, of which this share was learned; nothing is known of the credit there.
    pub(super) fn of_share(now: Instant, ceiling: f64, share: f64, is_starting: bool) -> Self {
        let new = Self::new(now, ceiling);
        let share = share.clamp(SHARE_MIN, new.ceiling);
        Self { share, is_starting, byte_seconds: 0.0, record_seconds: 0.0, ..new }
    }

    /// Nothing was throttled yet.
    pub(super) fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// The part of a shard's limits that this agent uses at most.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Whether something may be sent. One record may take more credit than there is.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.count(now);
        !self.is_exhausted
    }

    /// When to ask again whether something may be sent: when it may, but in a second at the latest.
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
        self.byte_seconds = (self.byte_seconds - amount.byte_seconds()).max(-DEBT_MAX);
        self.record_seconds = (self.record_seconds - amount.record_seconds()).max(-DEBT_MAX);
        self.is_exhausted |= self.credit() <= 0.0;
    }

    /// Gives credit back for what was surely not stored, and not because of its pace.
    pub(super) fn returned(&mut self, amount: Amount) {
        self.byte_seconds += amount.byte_seconds();
        self.record_seconds += amount.record_seconds();
        self.limit_credit(CREDIT_SECONDS_MAX);
    }

    /// Learns from the answer to a request that was sent at `sent_at`: what of its records for this shard was delivered, and
    /// what was throttled. Throttled records keep the credit that they took.
    pub(super) fn answered(&mut self, now: Instant, sent_at: Instant, throttled: Amount) {
        self.count(now);
        let throttled_seconds = throttled.seconds();
        if throttled_seconds <= 0.0 {
            return;
        }
        if sent_at >= self.round_began {
            self.round_began = now;
            self.round_share_min = (self.share * ROUND_PART_MIN).max(SHARE_MIN);
        }
        self.share = (self.share - DECREASE * throttled_seconds).max(self.round_share_min.min(self.share));
        self.is_starting = false;
        self.clean_seconds = 0.0;
        self.limit_credit(QUANTUM);
    }

    /// Seconds until so many more bytes have their credit; less than none where there is more credit. The least is the shard
    /// with the least amount.
    pub(super) fn seconds_for(&self, amount: Amount) -> f64 {
        (amount.byte_seconds() - self.byte_seconds).max(amount.record_seconds() - self.record_seconds) / self.share
    }

    /// Seconds that each further byte takes.
    pub(super) fn seconds_per_byte(&self) -> f64 {
        1.0 / (SHARD_BYTES_IN_MAX as f64 * self.share)
    }

    fn credit(&self) -> f64 {
        self.byte_seconds.min(self.record_seconds)
    }

    fn limit_credit(&mut self, seconds_max: f64) {
        self.byte_seconds = self.byte_seconds.min(self.share * seconds_max);
        self.record_seconds = self.record_seconds.min(self.share * seconds_max);
    }

    fn seconds_until_ready(&self) -> f64 {
        (QUANTUM - self.credit() / self.share).max(0.0)
    }

    /// Counts credit and growth up to `now`.
    fn count(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.counted_until).as_secs_f64();
        self.counted_until = self.counted_until.max(now);
        let waited = if self.is_exhausted { seconds.min(self.seconds_until_ready()) } else { 0.0 };
        self.byte_seconds += self.share * seconds;
        self.record_seconds += self.share * seconds;
        self.grow(waited);
        self.drift(seconds - waited);
        self.limit_credit(CREDIT_SECONDS_MAX);
        self.is_exhausted &= self.seconds_until_ready() > ENOUGH;
    }

    /// Of seconds in which the share held up the sender.
    fn grow(&mut self, seconds: f64) {
        self.clean_seconds += seconds * (self.share / FULL_EVIDENCE_SHARE).min(1.0);
        let growth_max = GROWTH_MAX * self.share;
        let growth = if self.is_starting { growth_max } else { growth(self.share, self.clean_seconds).min(growth_max) };
        self.share = (self.share + growth * seconds).min(self.ceiling);
    }

    /// Of seconds in which it did not.
    fn drift(&mut self, seconds: f64) {
        if self.ceiling < SHARE_MAX {
            self.share += (self.ceiling - self.share) * (seconds / IDLE_SECONDS).min(1.0);
        } else if seconds >= IDLE_SECONDS {
            self.is_starting = true;
        }
    }
}

/// Shares a second.
fn growth(share: f64, clean_seconds: f64) -> f64 {
    let balance = DECREASE * throttled_part(share) * share;
    let fast_seconds = (clean_seconds - CLEAN_SECONDS).max(0.0);
    balance + ACCELERATION * share.max(1.0) * fast_seconds * fast_seconds
}

/// The part of the records of a share that is throttled in balance.
fn throttled_part(share: f64) -> f64 {
    THROTTLED_PART_MAX / (1.0 + (share.min(1.0) / THROTTLED_PART_HALF).powi(2))
}

#[cfg(test)]
mod tests;
