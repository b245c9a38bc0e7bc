//! The arithmetic of limits: how many calls may start now, and how a pool slows down, recovers, and sits out an outage.
//! Everything is a function of what the journal says and of one small row per pool; nothing here keeps a counter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    options::{SttModel, listed},
    speech::SpeechModel,
};

listed! {
    /// One set of limits of one account.
    Pool, "pool" {
        /// `pulse`
        Pulse = "pulse",
        /// `pulse-pro`
        PulsePro = "pulse-pro",
        /// `tts`: all text-to-speech models.
        Tts = "tts",
    }
}

impl From<SttModel> for Pool {
    fn from(model: SttModel) -> Self {
        match model {
            SttModel::Pulse => Self::Pulse,
            SttModel::PulsePro => Self::PulsePro,
        }
    }
}

impl From<SpeechModel> for Pool {
    fn from(model: SpeechModel) -> Self {
        match model {
            SpeechModel::Lightning | SpeechModel::LightningPro => Self::Tts,
        }
    }
}

/// A minute, and a second for jitter on the way: no rolling minute at the vendor may hold more than the limit.
pub const WINDOW_MS: i64 = 61_000;
/// What a 429 leaves of the pace.
const SLOW_DOWN: f64 = 0.7;
/// What a minute without a 429 gives back, as a share of the setting.
const RECOVERY_PER_MINUTE: f64 = 0.05;
const COOLDOWN_FIRST_MS: i64 = 500;
const COOLDOWN_MAX_MS: i64 = 30_000;
/// So many failures in a row on different lines are the pool's fault, not the lines'.
const FAILURES_TO_OUTAGE: u32 = 5;
const PROBE_FIRST_MS: i64 = 1_000;
const PROBE_MAX_MS: i64 = 60_000;

/// The account's limits for one pool, as set; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Calls in any rolling minute.
    pub requests_per_minute: Option<u32>,
    /// Calls in flight.
    pub concurrency: Option<u32>,
}

/// What all processes share about one pool. One row; every field is a fact with its moment, so that nothing drifts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolState {
    /// No call before this moment (ms since 1970).
    pub cooldown_until: i64,
    /// The next cooldown without `Retry-After`, in ms.
    pub cooldown_ms: i64,
    /// Pace right after the last 429, 0 < x <= 1; nought stands for 1, never slowed.
    pub factor: f64,
    /// When the pace was last cut.
    pub stepped_at: i64,
    /// When the last 429 came.
    pub limited_at: i64,
    /// Where no concurrency is set: calls in flight at the first 429.
    pub base_in_flight: Option<u32>,
    /// Since when nothing but 429 has come back.
    pub only_limited_since: Option<i64>,
    /// Failures in a row, each on another line than the one before.
    pub failing: u32,
    /// The line of the last failure.
    pub failing_job: Option<i64>,
    /// Since when the pool only probes.
    pub outage_since: Option<i64>,
    /// The next probe.
    pub probe_at: i64,
    /// The wait after it, in ms.
    pub probe_ms: i64,
}

/// What the journal says about one pool right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Calls that hold their slot.
    pub in_flight: u32,
    /// Calls started within [`WINDOW_MS`].
    pub in_window: u32,
    /// Start of the `limit`-th newest call, if there are so many.
    pub nth_newest: Option<i64>,
}

/// Which limit holds calls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Requests per minute.
    Rate,
    /// Calls in flight.
    InFlight,
    /// A 429's cooldown.
    Cooldown,
    /// An outage: the next probe is awaited.
    Outage,
}

/// How many calls may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// So many; in an outage one, a probe.
    Open(u32),
    /// None before `until` (`None`: when a call in flight ends), because of `bound`.
    Shut {
        /// When to look again, ms since 1970.
        until: Option<i64>,
        /// Why.
        bound: Bound,
    },
}

impl PoolState {
    /// The pace now, 0 < x <= 1, with what clean minutes gave back.
    #[must_use]
    pub fn pace(&self, now: i64) -> f64 {
        if self.factor <= 0.0 {
            return 1.0;
        }
        let clean_minutes = (now - self.stepped_at.max(self.limited_at)).max(0) / 60_000;
        #[expect(clippy::cast_precision_loss, reason = "minutes are far below 2^52")]
        (self.factor + RECOVERY_PER_MINUTE * clean_minutes as f64).min(1.0)
    }

    /// The limits in force at `now`: the settings, slowed by what 429s taught.
    #[must_use]
    pub fn effective(&self, limits: &Limits, now: i64) -> Limits {
        let pace = self.pace(now);
        if pace >= 1.0 {
            return *limits;
        }
        Limits {
            requests_per_minute: limits.requests_per_minute.map(|n| slowed(n, pace)),
            concurrency: limits.concurrency.or(self.base_in_flight).map(|n| slowed(n, pace)),
        }
    }

    /// Whether, and how many, calls may start at `now`. Where to count from is [`PoolState::effective`].
    #[must_use]
    pub fn gate(&self, limits: &Limits, traffic: &Traffic, now: i64) -> Gate {
        if now < self.cooldown_until {
            return Gate::Shut { until: Some(self.cooldown_until), bound: Bound::Cooldown };
        }
        if self.outage_since.is_some() {
            return match (traffic.in_flight, now < self.probe_at) {
                (0, false) => Gate::Open(1),
                (0, true) => Gate::Shut { until: Some(self.probe_at), bound: Bound::Outage },
                _ => Gate::Shut { until: None, bound: Bound::Outage },
            };
        }
        let limits = self.effective(limits, now);
        let by_flight = limits.concurrency.map_or(u32::MAX, |n| n.saturating_sub(traffic.in_flight));
        if by_flight == 0 {
            return Gate::Shut { until: None, bound: Bound::InFlight };
        }
        let by_rate = limits.requests_per_minute.map_or(u32::MAX, |n| n.saturating_sub(traffic.in_window));
        if by_rate == 0 {
            let until = traffic.nth_newest.map(|t| t + WINDOW_MS);
            return Gate::Shut { until, bound: Bound::Rate };
        }
        Gate::Open(by_flight.min(by_rate))
    }

    /// A 429 for a call that was sent at `sent_at`, with `in_flight` calls on the wire.
    pub fn limited(
        &mut self,
        limits: &Limits,
        sent_at: i64,
        in_flight: u32,
        retry_after: Option<Duration>,
        jitter: f64,
        now: i64,
    ) {
        let stale = sent_at <= self.stepped_at && self.stepped_at > 0;
        let next = self.cooldown_ms.clamp(COOLDOWN_FIRST_MS, COOLDOWN_MAX_MS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most 30,000 ms")]
        let wait = retry_after.map_or((next as f64 * (1.0 + jitter * 0.1)) as i64, |d| {
            i64::try_from(d.as_millis()).unwrap_or(COOLDOWN_MAX_MS)
        });
        if !stale {
            if limits.concurrency.is_none() && self.base_in_flight.is_none() {
                self.base_in_flight = Some(in_flight.max(1));
            }
            self.factor = (self.pace(now) * SLOW_DOWN).max(0.01);
            self.stepped_at = now;
            self.cooldown_ms = (next * 2).min(COOLDOWN_MAX_MS);
        }
        // A call of the same burst asks for no second wait on top of the first, but the vendor's own word counts.
        if !stale || retry_after.is_some() {
            self.cooldown_until = self.cooldown_until.max(now + wait);
        }
        // Easing up to here is kept in `factor` only at a step; a late 429 must not take it back twice.
        self.limited_at = if stale { self.limited_at } else { now };
        self.only_limited_since.get_or_insert(now);
        self.reached();
    }

    /// A usable answer (or the line's own refusal): the pool works.
    pub fn clean(&mut self, now: i64) {
        self.only_limited_since = None;
        if now >= self.cooldown_until {
            self.cooldown_ms = 0;
        }
        if self.pace(now) >= 1.0 {
            self.factor = 0.0;
            self.base_in_flight = None;
        }
        self.reached();
    }

    /// A connect failure, a 5xx, or a proxy's page, on `job`, for a call that was sent at `sent_at`. `provably_ours` =
    /// nothing was sent, so no line is to blame and the same line counts again.
    pub fn failed(&mut self, job: i64, provably_ours: bool, sent_at: i64, now: i64) {
        if let Some(since) = self.outage_since {
            // What was in flight when the outage began is no probe: it says nothing new.
            if sent_at < since {
                return;
            }
            self.probe_ms = (self.probe_ms * 2).clamp(PROBE_FIRST_MS, PROBE_MAX_MS);
            self.probe_at = now + self.probe_ms;
            return;
        }
        if provably_ours || self.failing_job != Some(job) {
            self.failing += 1;
            self.failing_job = Some(job);
        }
        if self.failing >= FAILURES_TO_OUTAGE {
            self.outage_since = Some(now);
            self.probe_ms = PROBE_FIRST_MS;
            self.probe_at = now + PROBE_FIRST_MS;
        }
    }

    fn reached(&mut self) {
        self.failing = 0;
        self.failing_job = None;
        self.outage_since = None;
    }
}

fn slowed(setting: u32, pace: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `setting`")]
    let n = (f64::from(setting) * pace + 1e-9).floor() as u32;
    n.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { requests_per_minute: Some(60), concurrency: Some(10) };

    #[test]
    fn the_tighter_limit_binds() {
        let s = PoolState::default();
        let t = Traffic { in_flight: 8, in_window: 55, nth_newest: None };
        assert_eq!(s.gate(&LIMITS, &t, 0), Gate::Open(2));
        let t = Traffic { in_flight: 8, in_window: 60, nth_newest: Some(5) };
        assert_eq!(s.gate(&LIMITS, &t, 100), Gate::Shut { until: Some(61_005), bound: Bound::Rate });
        let t = Traffic { in_flight: 10, in_window: 1, nth_newest: None };
        assert_eq!(s.gate(&LIMITS, &t, 100), Gate::Shut { until: None, bound: Bound::InFlight });
    }

    #[test]
    fn no_rolling_minute_holds_more_than_the_limit() {
        let limits = Limits { requests_per_minute: Some(25), concurrency: None };
        let (s, mut sent, mut now) = (PoolState::default(), Vec::<i64>::new(), 1_000_000);
        while sent.len() < 500 {
            let in_window = u32::try_from(sent.iter().filter(|t| now - **t < WINDOW_MS).count()).unwrap();
            let nth_newest = sent.len().checked_sub(25).map(|i| sent[i]);
            match s.gate(&limits, &Traffic { in_flight: 0, in_window, nth_newest }, now) {
                Gate::Open(n) => sent.extend(std::iter::repeat_n(now, usize::try_from(n.min(7)).unwrap())),
                Gate::Shut { until, .. } => now = until.expect("a rate has an end"),
            }
            now += 13;
        }
        for (i, t) in sent.iter().enumerate() {
            assert!(sent[i..].iter().filter(|u| **u < t + 60_000).count() <= 25);
        }
        assert!(sent[499] - sent[0] < 20 * 62_000, "and the limit is used");
    }

    #[test]
    fn a_burst_of_429s_is_one_step() {
        let mut s = PoolState::default();
        s.limited(&LIMITS, 900, 10, None, 0.0, 1_000);
        for _ in 0..9 {
            s.limited(&LIMITS, 950, 9, None, 0.0, 1_010);
        }
        assert_eq!(s.effective(&LIMITS, 1_100), Limits { requests_per_minute: Some(42), concurrency: Some(7) });
        assert_eq!(
            s.gate(&LIMITS, &Traffic::default(), 1_100),
            Gate::Shut { until: Some(1_500), bound: Bound::Cooldown }
        );
        s.limited(&LIMITS, 2_000, 7, None, 0.0, 2_100);
        assert_eq!(s.cooldown_until, 3_100, "the second wait is twice the first");
        assert_eq!(s.effective(&LIMITS, 2_200).concurrency, Some(4));
    }

    #[test]
    fn retry_after_is_obeyed() {
        let mut s = PoolState::default();
        s.limited(&LIMITS, 1, 1, Some(Duration::from_secs(7)), 0.0, 10);
        assert_eq!(s.cooldown_until, 7_010);
    }

    #[test]
    fn clean_minutes_give_the_pace_back() {
        let mut s = PoolState::default();
        s.limited(&LIMITS, 1, 10, None, 0.0, 10);
        assert!((s.pace(10 + 120_000) - 0.8).abs() < 1e-9);
        assert_eq!(s.effective(&LIMITS, 10 + 6 * 60_000), LIMITS);
        s.clean(10 + 6 * 60_000);
        assert_eq!(s.factor, 0.0);
    }

    #[test]
    fn without_a_setting_the_flight_at_the_429_is_the_base() {
        let none = Limits::default();
        let mut s = PoolState::default();
        s.limited(&none, 1, 40, None, 0.0, 10);
        assert_eq!(s.effective(&none, 20), Limits { requests_per_minute: None, concurrency: Some(28) });
        s.clean(10 + 6 * 60_000);
        assert_eq!(s.effective(&none, 10 + 6 * 60_000), none);
    }

    #[test]
    fn five_lines_in_a_row_are_an_outage_and_one_line_is_not() {
        let mut s = PoolState::default();
        for _ in 0..20 {
            s.failed(1, false, 0, 0);
        }
        assert_eq!(s.outage_since, None);
        for job in 2..=5 {
            s.failed(job, false, 90, 100);
        }
        assert_eq!(s.outage_since, Some(100));
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 200), Gate::Shut { until: Some(1_100), bound: Bound::Outage });
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 1_100), Gate::Open(1));
        s.failed(8, false, 95, 1_150);
        assert_eq!(s.probe_at, 1_100, "what was in flight already is no probe");
        s.failed(9, false, 1_100, 1_200);
        assert_eq!(s.probe_at, 3_200);
        s.clean(3_300);
        assert!(matches!(s.gate(&LIMITS, &Traffic::default(), 3_300), Gate::Open(10)));
    }
}
