//! The arithmetic of limits: how many calls may start now, and how a pool slows down, recovers, and waits out an outage.
//! Every result is a function of the journal and of one small row per pool; nothing here keeps a counter.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    environment::Environment, open::open_list, options::SttModel, retry::asked_ms, synthesis_options::TtsModel,
};

open_list! {
    /// One set of limits of one account.
    Pool, "pool" {
        /// The model `pulse`.
        Pulse = "pulse",
        /// The model `pulse-pro`.
        PulsePro = "pulse-pro",
        /// Sessions of the model `pulse-live`.
        PulseLive = "pulse-live",
        /// All text-to-speech models together.
        Tts = "tts",
        /// The models that chat.
        Chat = "chat",
        /// The analysis of calls.
        Pca = "pca",
    }
}

impl Pool {
    /// The pool's limits if none are set. A model that this release does not know has the standard plan's 25 requests a minute;
    /// the sandbox has no limits.
    #[must_use]
    pub const fn default_limits(self, environment: Environment) -> Limits {
        match (self, environment) {
            (Self::Other(_), Environment::Live) => Limits { requests_per_minute: Some(25), concurrency: None },
            _ => Limits { requests_per_minute: None, concurrency: None },
        }
    }
}

impl Limits {
    /// A share of these limits, above 0 and at most 1. At least 1 is left of each.
    #[must_use]
    pub fn shared(self, share: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is no larger than the limit")]
        let of = |limit: u32| (((f64::from(limit) * share) + 1e-9).floor() as u32).max(1);
        Self { requests_per_minute: self.requests_per_minute.map(of), concurrency: self.concurrency.map(of) }
    }
}

impl From<SttModel> for Pool {
    fn from(model: SttModel) -> Self {
        match model {
            SttModel::Pulse => Self::Pulse,
            SttModel::PulsePro => Self::PulsePro,
            SttModel::PulseLive => Self::PulseLive,
            // A pool with the model's own name.
            SttModel::Other(_) => model.as_str().parse().expect("a model's name can be a pool's"),
        }
    }
}

impl From<TtsModel> for Pool {
    fn from(_: TtsModel) -> Self {
        Self::Tts
    }
}

/// What the next step of a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// No call: an output is to be delivered, a call is to be reconciled, or a lease has expired.
    Free,
    /// A call of this pool.
    Call(Pool),
}

impl Lane {
    /// The one spelling of this value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Free => "free",
            Self::Call(pool) => pool.as_str(),
        }
    }

    /// The pool of the call that the job needs.
    #[must_use]
    pub const fn pool(self) -> Option<Pool> {
        match self {
            Self::Free => None,
            Self::Call(pool) => Some(pool),
        }
    }
}

impl From<Option<Pool>> for Lane {
    fn from(pool: Option<Pool>) -> Self {
        pool.map_or(Self::Free, Self::Call)
    }
}

impl FromStr for Lane {
    type Err = <Pool as FromStr>::Err;

    fn from_str(lane: &str) -> Result<Self, Self::Err> {
        if lane == "free" { Ok(Self::Free) } else { lane.parse().map(Self::Call) }
    }
}

impl Serialize for Lane {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A minute, plus a second for network jitter: no rolling minute at the vendor may exceed the limit.
pub const WINDOW_MS: i64 = 61_000;
/// The number of ended calls that are remembered: one bit each.
const RECENT: u32 = 20;
/// The number of refusals among them that make a storm.
const STORM_REFUSALS: u32 = 4;
/// The same while the pool recovers from a storm.
const STORM_REFUSALS_SLOWED: u32 = 3;
/// The share of the pace that remains after a storm, once per cooldown.
const CUT: f64 = 0.5;
/// The pace is not cut below this. At this pace every limit of up to ten thousand is one.
const PACE_MIN: f64 = 0.000_1;
/// The share of the remembered pace up to which each clean round doubles the pace.
const DOUBLING_END: f64 = 0.9;
/// What a clean round adds above that share, as a share of the setting.
const GAIN: f64 = 0.05;
/// The number of clean rounds before the pool tries a pace again at which a storm occurred during recovery.
const ROUNDS_BEFORE_MET: u32 = 4;
/// The least duration of a clean round, however fast the answers come.
const ROUND_MIN_MS: i64 = 1_000;
const COOLDOWN_FIRST_MS: i64 = 500;
/// The longest cooldown of a storm younger than [`STORM_YOUNG_MS`]; an older one has the second.
const COOLDOWN_YOUNG_MAX_MS: i64 = 2_000;
const COOLDOWN_MAX_MS: i64 = 30_000;
const STORM_YOUNG_MS: i64 = 60_000;
/// Everything about 429s is forgotten after this time without one: calls of many minutes have no rounds to wait for.
const MEMORY_MS: i64 = 10 * 60_000;
/// A stamp this far ahead of the clock comes from a clock that has been set back since.
const CLOCK_SLACK_MS: i64 = 2_000;
/// This many failures in a row on different lines are the pool's fault, not the lines'.
const FAILURES_TO_OUTAGE: u32 = 5;
/// After this many failures in a row of one line, with no other call in between, the API's health is checked.
const FAILURES_TO_ASK: u32 = 3;
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

/// The state of one pool that all processes share. One row; every field is a fact with its moment, so that nothing drifts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolState {
    /// No call before this moment (ms since 1970).
    pub cooldown_until: i64,
    /// The next cooldown without `Retry-After`, in ms; 0 = the first.
    pub cooldown_ms: i64,
    /// The last 20 ended calls, newest in the lowest bit: 1 = refused with 429.
    pub refused: u32,
    /// The pace, 0 < x <= 1, as a share of the setting; 0 means 1 (never slowed).
    pub factor: f64,
    /// The pace at which the last storm occurred; 0 if the pool is not slowed.
    pub remembered: f64,
    /// Since when the storm lasts; `None` once a clean round has followed it.
    pub storm_since: Option<i64>,
    /// When the pace was last cut.
    pub stepped_at: i64,
    /// When the last 429 came.
    pub limited_at: i64,
    /// When the current clean round began.
    pub round_since: i64,
    /// Clean answers in the current round so far.
    pub round_clean: u32,
    /// If no concurrency is set: the calls in flight when the storm began.
    pub base_in_flight: Option<u32>,
    /// Since when every reply has been a 429.
    pub only_limited_since: Option<i64>,
    /// Failures in a row, each on another line than the previous one.
    pub failing: u32,
    /// The line of the last failure.
    pub failing_job: Option<i64>,
    /// How often in a row that line has failed, without the end of another call in between.
    pub failing_times: u32,
    /// Since when the pool only probes.
    pub outage_since: Option<i64>,
    /// The next probe.
    pub probe_at: i64,
    /// The wait after that probe, in ms.
    pub probe_ms: i64,
}

/// How a 429 is interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// One of few: its line waits, and the pool continues unchanged.
    Isolated,
    /// One of many: the pool slows down and waits, and the line waits as well.
    Storm,
}

/// The journal's current counts for one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Calls that hold a slot.
    pub in_flight: u32,
    /// Calls started within [`WINDOW_MS`].
    pub in_window: u32,
    /// Start of the `limit`-th newest call, if there are that many.
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
    /// An outage: the next probe is due later.
    Outage,
}

/// How many calls may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// This many; during an outage one, as a probe.
    Open(u32),
    /// None before `until` (`None`: when a call in flight ends), because of `bound`.
    Shut {
        /// When to look again, ms since 1970.
        until: Option<i64>,
        /// The limit that causes the wait.
        bound: Bound,
    },
}

impl PoolState {
    /// The pace at `now`, 0 < x <= 1, as a share of the setting.
    #[must_use]
    pub fn pace(&self, limits: &Limits, now: i64) -> f64 {
        self.at(limits, now).current()
    }

    /// The limits in force at `now`: the settings, reduced according to recent 429s.
    #[must_use]
    pub fn effective(&self, limits: &Limits, now: i64) -> Limits {
        self.at(limits, now).slowed(limits)
    }

    /// Whether, and how many, calls may start at `now`. `traffic` must be counted under [`PoolState::effective`].
    #[must_use]
    pub fn gate(&self, limits: &Limits, traffic: &Traffic, now: i64) -> Gate {
        let state = self.at(limits, now);
        if now < state.cooldown_until {
            return Gate::Shut { until: Some(state.cooldown_until), bound: Bound::Cooldown };
        }
        if state.outage_since.is_some() {
            return match (traffic.in_flight, now < state.probe_at) {
                (0, false) => Gate::Open(1),
                (0, true) => Gate::Shut { until: Some(state.probe_at), bound: Bound::Outage },
                _ => Gate::Shut { until: None, bound: Bound::Outage },
            };
        }
        let limits = state.slowed(limits);
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

    /// Records a 429 for a call that was sent at `sent_at`, with `in_flight` calls in flight. `jitter` in 0..1 spreads the
    /// cooldown.
    pub fn limited(
        &mut self,
        limits: &Limits,
        sent_at: i64,
        in_flight: u32,
        retry_after: Option<Duration>,
        jitter: f64,
        now: i64,
    ) -> Limited {
        *self = self.at(limits, now);
        self.note(true);
        self.limited_at = now;
        self.only_limited_since.get_or_insert(now);
        self.reached();
        let storm_at = if self.factor > 0.0 { STORM_REFUSALS_SLOWED } else { STORM_REFUSALS };
        if self.refused.count_ones() < storm_at {
            return Limited::Isolated;
        }
        // A call sent before the last cut says nothing about the pace after it. The vendor's `Retry-After` counts anyway.
        if self.stepped_at == 0 || sent_at > self.stepped_at {
            self.cut(limits, in_flight, retry_after, jitter, now);
        } else if let Some(asked) = retry_after {
            self.cooldown_until = self.cooldown_until.max(now + asked_ms(asked));
        }
        Limited::Storm
    }

    /// Records a usable answer (or the line's own refusal) to a call that was sent at `sent_at`: the pool works.
    pub fn clean(&mut self, limits: &Limits, sent_at: i64, now: i64) {
        *self = self.at(limits, now);
        self.note(false);
        self.only_limited_since = None;
        self.reached();
        if self.factor > 0.0 && sent_at > self.stepped_at {
            self.round_clean = self.round_clean.saturating_add(1);
        }
    }

    /// Records a connect failure, a 5xx, or a proxy's page on `job`, for a call that was sent at `sent_at`. `provably_ours` =
    /// nothing was sent, so no line is to blame and the same line counts again.
    pub fn failed(&mut self, job: i64, provably_ours: bool, retry_after: Option<Duration>, sent_at: i64, now: i64) {
        if let Some(since) = self.outage_since {
            // A call that was in flight when the outage began is not a probe: it says nothing new.
            if sent_at >= since {
                self.probe_ms = (self.probe_ms * 2).clamp(PROBE_FIRST_MS, PROBE_MAX_MS);
                self.probe_at = now + retry_after.map_or(self.probe_ms, asked_ms);
            }
            return;
        }
        let again = self.failing_job == Some(job);
        self.failing_times = if again { self.failing_times.saturating_add(1) } else { 1 };
        if provably_ours || !again {
            self.failing += 1;
            self.failing_job = Some(job);
        }
        if self.failing >= FAILURES_TO_OUTAGE {
            self.out_of_reach(retry_after, now);
        }
    }

    /// Whether one line alone has failed so often that a health check must show whether the line or an outage is to blame.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.outage_since.is_none() && self.failing_times >= FAILURES_TO_ASK
    }

    /// Records that the API is unreachable: from now on the pool only probes.
    pub fn out_of_reach(&mut self, retry_after: Option<Duration>, now: i64) {
        if self.outage_since.is_none() {
            self.outage_since = Some(now);
            self.probe_ms = PROBE_FIRST_MS;
            self.probe_at = now + retry_after.map_or(PROBE_FIRST_MS, asked_ms);
        }
    }

    /// The state as it is at `now`: a completed clean round takes effect, and data that is too old, or was stamped by a
    /// clock that was ahead, is forgotten.
    fn at(&self, limits: &Limits, now: i64) -> Self {
        let mut state = self.clone();
        let quiet_since = state.limited_at.max(state.cooldown_until);
        if state.limited_at > now + CLOCK_SLACK_MS || (state.limited_at > 0 && now - quiet_since >= MEMORY_MS) {
            state = state.without_limits();
        }
        // The same for the round: it begins at the end of a cooldown, or has begun already.
        state.round_since = state.round_since.min(state.cooldown_until.max(now));
        if state.factor > 0.0 && state.is_round_over(limits, now) {
            state.speed_up(now);
        }
        state
    }

    /// The state without anything that 429s changed in the pace.
    fn without_limits(&self) -> Self {
        Self {
            only_limited_since: self.only_limited_since,
            failing: self.failing,
            failing_job: self.failing_job,
            failing_times: self.failing_times,
            outage_since: self.outage_since,
            probe_at: self.probe_at,
            probe_ms: self.probe_ms,
            ..Self::default()
        }
    }

    /// The pace in the row, without effects of time.
    const fn current(&self) -> f64 {
        if self.factor > 0.0 { self.factor } else { 1.0 }
    }

    fn slowed(&self, limits: &Limits) -> Limits {
        let pace = self.current();
        if pace >= 1.0 {
            return *limits;
        }
        Limits {
            requests_per_minute: limits.requests_per_minute.map(|n| slowed(n, pace)),
            concurrency: limits.concurrency.or(self.base_in_flight).map(|n| slowed(n, pace)),
        }
    }

    /// Records how one more call ended.
    fn note(&mut self, refused: bool) {
        self.refused = ((self.refused << 1) | u32::from(refused)) & ((1 << RECENT) - 1);
    }

    /// Halves the pace and begins a cooldown.
    fn cut(&mut self, limits: &Limits, in_flight: u32, retry_after: Option<Duration>, jitter: f64, now: i64) {
        if limits.concurrency.is_none() && self.base_in_flight.is_none() {
            self.base_in_flight = Some(in_flight.max(1));
        }
        let pace = self.current();
        let since = *self.storm_since.get_or_insert_with(|| {
            self.remembered = pace;
            self.cooldown_ms = 0;
            now
        });
        self.factor = (pace * CUT).max(PACE_MIN);
        self.stepped_at = now;
        let most = if now - since < STORM_YOUNG_MS { COOLDOWN_YOUNG_MAX_MS } else { COOLDOWN_MAX_MS };
        let next = self.cooldown_ms.clamp(COOLDOWN_FIRST_MS, most);
        self.cooldown_ms = (next * 2).min(COOLDOWN_MAX_MS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most 30,000 ms")]
        let wait = retry_after.map_or((next as f64 * (1.0 + jitter * 0.1)) as i64, asked_ms);
        self.cooldown_until = self.cooldown_until.max(now + wait);
        self.round_since = self.cooldown_until;
        self.round_clean = 0;
    }

    /// Whether the round had as many clean answers as the pace allows in flight (one if only a rate is set), and lasted long
    /// enough. A rate that allows fewer calls in a second requires only that many answers, and at least one.
    fn is_round_over(&self, limits: &Limits, now: i64) -> bool {
        let slowed = self.slowed(limits);
        let in_flight = if limits.concurrency.is_none() && limits.requests_per_minute.is_some() {
            1
        } else {
            slowed.concurrency.unwrap_or(1)
        };
        let in_a_second = slowed.requests_per_minute.map_or(u32::MAX, |n| (n / 60).max(1));
        let rounds = if self.next_gain_reaches_storm_pace() { ROUNDS_BEFORE_MET } else { 1 };
        self.round_clean >= in_flight.min(in_a_second).saturating_mul(rounds)
            && now - self.round_since >= ROUND_MIN_MS * i64::from(rounds)
    }

    /// Whether the next gain reaches a pace that was too much for a server, slowed as the pool was. If the server's limit is
    /// below ours, that pace is tried again and again; each time costs refusals and a cooldown.
    fn next_gain_reaches_storm_pace(&self) -> bool {
        let gains = self.storm_since.is_none() && self.factor >= self.remembered * DOUBLING_END;
        gains && self.remembered < 1.0 && self.factor < self.remembered && self.factor + GAIN >= self.remembered
    }

    /// Applies the effect of a clean round.
    fn speed_up(&mut self, now: i64) {
        let doubling_end = self.remembered * DOUBLING_END;
        if self.storm_since.take().is_some() {
            self.factor = self.remembered * CUT;
            self.cooldown_ms = 0;
            self.refused = 0;
        } else if self.factor < doubling_end {
            self.factor = (self.factor * 2.0).min(doubling_end);
        } else {
            self.factor += GAIN;
        }
        self.round_since = now;
        self.round_clean = 0;
        if self.factor > 1.0 - 1e-9 {
            self.factor = 0.0;
            self.remembered = 0.0;
            self.base_in_flight = None;
        }
    }

    fn reached(&mut self) {
        self.failing = 0;
        self.failing_job = None;
        self.failing_times = 0;
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

    /// Records this many 429s for calls that were sent at `sent_at`; returns how the last one was interpreted.
    fn refuse(s: &mut PoolState, limits: &Limits, times: u32, sent_at: i64, now: i64) -> Limited {
        (0..times).map(|_| s.limited(limits, sent_at, 10, None, 0.0, now)).last().expect("at least one")
    }

    fn answer(s: &mut PoolState, limits: &Limits, times: u32, sent_at: i64, now: i64) {
        (0..times).for_each(|_| s.clean(limits, sent_at, now));
    }

    /// This many ms after the end of the cooldown.
    fn past(s: &PoolState, ms: i64) -> i64 {
        s.cooldown_until + ms
    }

    #[test]
    fn few_refusals_are_no_reason_to_slow_down() {
        let mut s = PoolState::default();
        for at in 0..50 {
            answer(&mut s, &LIMITS, 6, at, at);
            assert_eq!(refuse(&mut s, &LIMITS, 1, at, at), Limited::Isolated, "three of the last twenty");
            assert!(matches!(s.gate(&LIMITS, &Traffic::default(), at), Gate::Open(10)));
        }
        answer(&mut s, &LIMITS, 4, 90, 90);
        assert_eq!(refuse(&mut s, &LIMITS, 1, 90, 90), Limited::Storm, "the fourth");
    }

    #[test]
    fn a_burst_of_429s_is_one_cut() {
        let mut s = PoolState::default();
        assert_eq!(refuse(&mut s, &LIMITS, 3, 900, 1_000), Limited::Isolated);
        assert_eq!(s.effective(&LIMITS, 1_000), LIMITS);
        assert_eq!(refuse(&mut s, &LIMITS, 7, 900, 1_000), Limited::Storm);
        assert_eq!(s.effective(&LIMITS, 1_100), Limits { requests_per_minute: Some(30), concurrency: Some(5) });
        let shut = Gate::Shut { until: Some(1_500), bound: Bound::Cooldown };
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 1_100), shut);
        refuse(&mut s, &LIMITS, 3, 1_000, 1_200);
        assert_eq!(
            s.gate(&LIMITS, &Traffic::default(), 1_200),
            shut,
            "what was sent before the cut begins no other wait"
        );
        let mut cooldowns = Vec::new();
        while cooldowns.len() < 8 {
            let now = past(&s, 10);
            assert_eq!(refuse(&mut s, &LIMITS, 1, now - 10, now), Limited::Storm);
            cooldowns.push((s.cooldown_until - now, s.effective(&LIMITS, now).concurrency.expect("slowed")));
        }
        assert_eq!(cooldowns[..4], [(1_000, 2), (2_000, 1), (2_000, 1), (2_000, 1)], "halved once a cooldown");
        let floor = Limits { requests_per_minute: Some(1), concurrency: Some(1) };
        assert_eq!(s.effective(&LIMITS, s.cooldown_until), floor);
    }

    #[test]
    fn a_storm_that_lasts_is_looked_at_less_often() {
        let mut s = PoolState::default();
        refuse(&mut s, &LIMITS, 4, 1, 10);
        let (mut now, mut longest) = (10, 0);
        while now < 300_000 {
            let until = s.cooldown_until;
            now = until + 5;
            refuse(&mut s, &LIMITS, 1, until + 1, now);
            let wait = s.cooldown_until - now;
            assert!(wait <= if now < 60_010 { 2_000 } else { 30_000 }, "{wait} ms at {now}");
            longest = longest.max(wait);
        }
        assert_eq!(longest, 30_000);
    }

    #[test]
    fn what_was_sent_before_the_cut_is_not_forgotten_as_a_refusal() {
        let limits = Limits { requests_per_minute: None, concurrency: Some(100) };
        let mut s = PoolState::default();
        refuse(&mut s, &limits, 4, 100, 200);
        answer(&mut s, &limits, 20, 100, 250);
        assert_eq!(s.refused, 0, "the burst of before went well but for four");
        assert_eq!(refuse(&mut s, &limits, 3, 100, 260), Limited::Storm, "three are enough while it is slowed");
        assert_eq!(s.effective(&limits, 260).concurrency, Some(50), "and yet it is the same cut");
        let now = past(&s, 5);
        assert_eq!(refuse(&mut s, &limits, 1, now - 5, now), Limited::Storm, "they count for what comes after");
        assert_eq!(s.effective(&limits, now).concurrency, Some(25));
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        for (asked, wait) in [(7, 7_000), (0, 500), (u64::MAX, 3_600_000)] {
            let mut s = PoolState::default();
            refuse(&mut s, &LIMITS, 3, 1, 10);
            s.limited(&LIMITS, 1, 1, Some(Duration::from_secs(asked)), 0.5, 10);
            assert_eq!(s.cooldown_until, 10 + wait);
            s.limited(&LIMITS, 1, 1, Some(Duration::from_secs(9)), 0.5, 20);
            assert_eq!(
                s.cooldown_until,
                (10 + wait).max(9_020),
                "the vendor's word counts, whenever the call was sent"
            );
        }
    }

    #[test]
    fn clean_rounds_give_the_pace_back() {
        let mut s = PoolState::default();
        refuse(&mut s, &LIMITS, 4, 1, 10);
        let sent_at = past(&s, 0);
        refuse(&mut s, &LIMITS, 1, sent_at, sent_at + 1);
        let mut now = past(&s, 0);
        let percents: Vec<f64> = (0..5)
            .map(|_| {
                answer(&mut s, &LIMITS, 10, now + 1, now + 999);
                let before = s.pace(&LIMITS, now + 999);
                now += 1_000;
                let after = s.pace(&LIMITS, now);
                assert!(after >= before && (s.pace(&LIMITS, now + 5_000) - after).abs() < 1e-9, "one step a round");
                // The next ended call stores the state that the gate computed.
                s.clean(&LIMITS, now, now);
                (after * 100.0).round()
            })
            .collect();
        assert_eq!(percents, [50.0, 90.0, 95.0, 100.0, 100.0]);
        assert_eq!((s.factor, s.remembered, s.refused, s.cooldown_ms, s.storm_since), (0.0, 0.0, 0, 0, None));
        assert_eq!(s.effective(&LIMITS, now), LIMITS);
    }

    #[test]
    fn a_round_is_as_many_answers_as_are_in_flight_and_a_second() {
        let mut s = PoolState::default();
        refuse(&mut s, &LIMITS, 4, 1, 10);
        let flight = Limits { requests_per_minute: None, concurrency: Some(10) };
        let began = past(&s, 0);
        answer(&mut s, &flight, 50, 5, began + 100);
        assert_eq!(s.round_clean, 0, "these were sent before the cut");
        answer(&mut s, &flight, 4, began, began + 1_500);
        assert!(s.at(&flight, began + 5_000).storm_since.is_some(), "four of five");
        answer(&mut s, &flight, 1, began, began + 1_600);
        assert!(s.at(&flight, began + 1_600).storm_since.is_none());
        let rate = Limits { requests_per_minute: Some(25), concurrency: None };
        let mut s = PoolState::default();
        refuse(&mut s, &rate, 4, 1, 10);
        let began = past(&s, 0);
        answer(&mut s, &rate, 1, began, began + 200);
        assert!(s.at(&rate, began + 999).storm_since.is_some(), "under a second");
        assert!(s.at(&rate, began + 1_000).storm_since.is_none(), "of a rate, one answer is enough");
    }

    #[test]
    fn a_storm_on_the_way_up_remembers_the_pace_that_it_met() {
        let mut s = PoolState::default();
        refuse(&mut s, &LIMITS, 4, 1, 10);
        let up = |s: &mut PoolState| {
            let now = s.round_since + 1_000;
            answer(s, &LIMITS, 10, now, now);
            *s = s.at(&LIMITS, now);
            s.factor
        };
        assert_eq!([up(&mut s), up(&mut s)], [0.5, 0.9]);
        let now = s.round_since + 5;
        assert_eq!(refuse(&mut s, &LIMITS, 2, now, now), Limited::Isolated);
        assert_eq!(refuse(&mut s, &LIMITS, 1, now, now), Limited::Storm, "the third, while it comes back");
        assert_eq!((s.remembered, s.factor, s.cooldown_until), (0.9, 0.45, now + 500));
        let paces: Vec<f64> = (0..3).map(|_| (up(&mut s) * 1_000.0).round()).collect();
        assert_eq!(paces, [450.0, 810.0, 860.0]);
        // 91 % were too much: the pool tries that pace again after four rounds. Above it one round is enough, as before.
        let (began, rounds) = (s.round_since, i64::from(ROUNDS_BEFORE_MET));
        answer(&mut s, &LIMITS, 50, began + 900, began + rounds * 1_000 - 1);
        assert!((s.pace(&LIMITS, began + rounds * 1_000 - 1) - 0.86).abs() < 1e-9);
        s = s.at(&LIMITS, began + rounds * 1_000);
        assert!((s.factor - 0.91).abs() < 1e-9);
        assert!((up(&mut s) - 0.96).abs() < 1e-9);
    }

    #[test]
    fn without_a_setting_the_flight_at_the_storm_is_the_base() {
        let none = Limits::default();
        let mut s = PoolState::default();
        for _ in 0..4 {
            s.limited(&none, 1, 40, None, 0.0, 10);
        }
        assert_eq!(s.effective(&none, 20), Limits { requests_per_minute: None, concurrency: Some(20) });
        for _ in 0..6 {
            let now = s.round_since + 1_000;
            answer(&mut s, &none, 40, now, now);
        }
        assert_eq!(s.effective(&none, s.round_since + 1_000), none);
    }

    #[test]
    fn ten_minutes_without_a_429_are_enough_however_few_answers_came() {
        let mut s = PoolState::default();
        s.failed(1, false, None, 1, 5);
        refuse(&mut s, &LIMITS, 9, 1, 10);
        let since = s.only_limited_since;
        assert!(s.pace(&LIMITS, past(&s, MEMORY_MS - 1)) < 1.0);
        let s = s.at(&LIMITS, past(&s, MEMORY_MS));
        assert_eq!((s.pace(&LIMITS, 0), s.refused, s.only_limited_since), (1.0, 0, since));
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_stamped_is_forgotten() {
        let mut s = PoolState::default();
        let day = 86_400_000;
        for _ in 0..4 {
            s.limited(&LIMITS, day, 9, Some(Duration::from_secs(600)), 0.0, day);
        }
        assert!(matches!(s.gate(&LIMITS, &Traffic::default(), day), Gate::Shut { .. }));
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 1_000), Gate::Open(10));
        assert_eq!(refuse(&mut s, &LIMITS, 4, 900, 1_000), Limited::Storm);
        assert_eq!((s.stepped_at, s.cooldown_until), (1_000, 1_500));
        // A heartbeat caps the stamps that it knows of at the current time.
        let mut s = PoolState { round_since: day, cooldown_until: 1_300, ..s };
        answer(&mut s, &LIMITS, 9, 1_400, 1_500);
        assert!(s.at(&LIMITS, 2_600).storm_since.is_none(), "a round is not waited for until the clock has caught up");
    }

    #[test]
    fn five_lines_in_a_row_are_an_outage_and_one_line_is_not() {
        let mut s = PoolState::default();
        for _ in 0..20 {
            s.failed(1, false, None, 0, 0);
        }
        assert_eq!(s.outage_since, None);
        for job in 2..=5 {
            s.failed(job, false, None, 90, 100);
        }
        assert_eq!(s.outage_since, Some(100));
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 200), Gate::Shut { until: Some(1_100), bound: Bound::Outage });
        assert_eq!(s.gate(&LIMITS, &Traffic::default(), 1_100), Gate::Open(1));
        s.failed(8, false, None, 95, 1_150);
        assert_eq!(s.probe_at, 1_100, "what was in flight already is no probe");
        s.failed(9, false, None, 1_100, 1_200);
        assert_eq!(s.probe_at, 3_200);
        s.clean(&LIMITS, 3_250, 3_300);
        assert!(matches!(s.gate(&LIMITS, &Traffic::default(), 3_300), Gate::Open(10)));
    }

    #[test]
    fn three_failures_of_one_line_alone_are_in_doubt() {
        let mut s = PoolState::default();
        let fail = |s: &mut PoolState, job| {
            s.failed(job, false, None, 90, 100);
            s.is_in_doubt()
        };
        assert_eq!([fail(&mut s, 1), fail(&mut s, 1), fail(&mut s, 1), fail(&mut s, 1)], [false, false, true, true]);
        s.clean(&LIMITS, 100, 110);
        assert_eq!([fail(&mut s, 1), fail(&mut s, 1)], [false, false], "another line's answer says that the API works");
        assert_eq!([fail(&mut s, 2), fail(&mut s, 1), fail(&mut s, 1)], [false; 3], "another line fails, too");
        assert!(fail(&mut s, 1));
        s.out_of_reach(None, 200);
        assert_eq!((s.is_in_doubt(), s.outage_since, s.probe_at), (false, Some(200), 1_200));
        s.out_of_reach(None, 900);
        assert_eq!(s.outage_since, Some(200), "it lasts since it was first seen");
    }

    #[test]
    fn a_probe_comes_when_the_api_asks_for_it() {
        let mut s = PoolState::default();
        let asked = Some(Duration::from_secs(45));
        (1..=5).for_each(|job| s.failed(job, false, asked, 90, 100));
        assert_eq!((s.outage_since, s.probe_at), (Some(100), 45_100));
        s.failed(6, false, None, 45_100, 45_200);
        assert_eq!(s.probe_at, 47_200);
        s.failed(7, false, asked, 47_200, 47_300);
        assert_eq!(s.probe_at, 92_300);
    }
}
