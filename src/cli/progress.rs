//! The progress of the work, counted from events. Nothing is drawn here.

use std::collections::BTreeMap;

use super::words::{clock, counted, dollars, duration, grouped};
use crate::{
    domain::{
        job::JobState,
        pool::{Bound, Limits, Pool},
    },
    runner::Event,
    store::{Counts, SynthesisCounts},
};

/// Counts of the last minute, by second.
#[derive(Debug, Clone)]
pub(super) struct Minute {
    seconds: [(i64, u32); 60],
}

impl Default for Minute {
    fn default() -> Self {
        Self { seconds: [(i64::MIN, 0); 60] }
    }
}

impl Minute {
    pub(super) fn add(&mut self, now: i64) {
        let second = now.div_euclid(1_000);
        let slot = &mut self.seconds[usize::try_from(second.rem_euclid(60)).expect("below 60")];
        *slot = if slot.0 == second { (second, slot.1 + 1) } else { (second, 1) };
    }

    /// When the call that is the `nth` oldest of the last minute (from 0) leaves it, in ms; `None`: there are fewer.
    fn leaves(&self, now: i64, nth: u64) -> Option<i64> {
        let second = now.div_euclid(1_000);
        let mut of_late: Vec<(i64, u32)> =
            self.seconds.iter().copied().filter(|(at, _)| *at > second - 60 && *at <= second).collect();
        of_late.sort_unstable();
        let mut seen = 0;
        of_late.into_iter().find_map(|(at, n)| {
            seen += u64::from(n);
            (nth < seen).then_some((at + WINDOW_S) * 1_000)
        })
    }

    /// The count of the 60 seconds up to `now`.
    pub(super) fn count(&self, now: i64) -> u64 {
        let second = now.div_euclid(1_000);
        self.seconds.iter().filter(|(at, _)| *at > second - 60 && *at <= second).map(|(_, n)| u64::from(*n)).sum()
    }
}

/// How long a call counts against the rate, in seconds.
const WINDOW_S: i64 = 61;

/// The time for the lines that are left, in ms, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeLeft {
    ms: u64,
    /// The limit of calls per minute, if that decides.
    limit: Option<u32>,
}

/// `about 2 min 5 s left (by 25 calls/min)`
impl std::fmt::Display for TimeLeft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ms {
            0..1_000 => f.write_str("about to end")?,
            ms => write!(f, "about {} left", duration(ms))?,
        }
        self.limit.map_or(Ok(()), |limit| write!(f, " (by {} calls/min)", grouped(limit.into())))
    }
}

/// The time for the `left` lines at the pace of the last `in_ms`, in which `finished` lines were finished.
pub(super) fn time_at_pace(left: u64, finished: u64, in_ms: u64) -> Option<u64> {
    (finished > 0).then(|| left.saturating_mul(in_ms) / finished)
}

/// The time until the last of `calls` can begin, if `used` of the `limit` of a minute are used up. `leaves` says when the
/// nth oldest of these leaves the minute.
pub(super) fn time_by_limit(calls: u64, limit: u32, used: u64, now: i64, leaves: impl Fn(u64) -> Option<i64>) -> u64 {
    let limit = u64::from(limit.max(1));
    let free = limit.saturating_sub(used);
    if calls <= free {
        return 0;
    }
    // The last of the waiting calls takes the place of one of this minute, some minutes on.
    let waiting = calls - free - 1;
    let (minutes, place) = (waiting / limit, waiting % limit);
    let whole = minutes.saturating_mul(WINDOW_S.unsigned_abs() * 1_000);
    let first = match leaves(place) {
        Some(at) => at.saturating_sub(now).max(0).unsigned_abs(),
        // Calls of other processes, whose moments are not known.
        None => WINDOW_S.unsigned_abs() * 1_000,
    };
    whole.saturating_add(first)
}

/// The present state of a pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PoolNow {
    /// The limits in force.
    pub(super) effective: Limits,
    /// Calls in the last minute, including those of other processes.
    pub(super) in_window: u32,
    /// Unfinished lines of other batches, whoever works on them.
    pub(super) queued: u64,
}

/// Progress of a synthesis, in characters: one job may be a whole book.
#[derive(Debug, Clone, Copy)]
struct SynthesisProgress {
    counts: SynthesisCounts,
    /// The most characters that were to be worked.
    total: u64,
    /// The finished characters when watching began, and that moment.
    began: (u64, i64),
}

/// Counts events.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) total: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) suspect: u64,
    /// Skipped and cancelled lines.
    pub(super) other: u64,
    pub(super) in_flight: u64,
    pub(super) audio_ms: u64,
    pub(super) spent: i64,
    pub(super) pools: BTreeMap<Pool, PoolNow>,
    /// The progress of a synthesis, if nothing else is worked.
    synthesis: Option<SynthesisProgress>,
    held: BTreeMap<Pool, (Bound, Option<i64>)>,
    calls: Minute,
    finishes: Minute,
    started_at: i64,
}

impl Meter {
    pub(super) fn new(now: i64) -> Self {
        Self { started_at: now, ..Self::default() }
    }

    /// Sets the counts from the ledger, over all batches.
    pub(super) fn rebase(&mut self, counts: &[Counts], spent: i64) {
        let of = |state: JobState| counts.iter().map(|c| c.of(state)).sum::<u64>();
        // Lines never become fewer while they are worked.
        self.total = self.total.max(counts.iter().map(Counts::total).sum());
        self.succeeded = of(JobState::Succeeded);
        self.failed = of(JobState::Failed);
        self.suspect = of(JobState::Suspect);
        self.other = of(JobState::Skipped) + of(JobState::Cancelled);
        self.audio_ms = counts.iter().map(|c| c.audio_ms).sum();
        self.spent = spent;
    }

    /// Sets the synthesis counts from the ledger, over all batches, if all of them are syntheses.
    pub(super) fn update_synthesis(&mut self, counts: SynthesisCounts, now: i64) {
        let began = self.synthesis.map_or((counts.there(), now), |synthesis| synthesis.began);
        // The text of a job that fails stays in the total, so that this does not shrink.
        let total = self.synthesis.map_or(0, |synthesis| synthesis.total).max(counts.done + counts.left);
        self.synthesis = Some(SynthesisProgress { counts, began, total });
    }

    /// The work done and the total: in lines, or in characters for a synthesis.
    pub(super) fn reached(&self) -> (u64, u64) {
        match self.synthesis {
            None => (self.finished(), self.total),
            Some(SynthesisProgress { counts, total, .. }) => (counts.there(), total),
        }
    }

    pub(super) fn event(&mut self, event: &Event, now: i64) {
        match event {
            Event::CallStarted { .. } => {
                self.in_flight += 1;
                self.calls.add(now);
            }
            Event::CallEnded { cost, .. } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.spent = self.spent.saturating_add(*cost);
            }
            Event::Finished { state, audio_ms, .. } => {
                self.finishes.add(now);
                match state {
                    JobState::Succeeded => self.succeeded += 1,
                    JobState::Suspect => self.suspect += 1,
                    JobState::Failed => self.failed += 1,
                    _ => self.other += 1,
                }
                if matches!(state, JobState::Succeeded | JobState::Suspect) {
                    self.audio_ms += audio_ms.unwrap_or(0);
                }
            }
            Event::Held { pool, by: Some(by) } => {
                self.held.insert(*pool, *by);
            }
            Event::Held { pool, by: None } => {
                self.held.remove(pool);
            }
            Event::Claimed { .. }
            | Event::Requeued { .. }
            | Event::DeliveryFailed { .. }
            | Event::CallbackOverdue { .. }
            | Event::Paused { .. }
            | Event::Warning(_) => {}
        }
    }

    pub(super) fn finished(&self) -> u64 {
        (self.succeeded + self.failed + self.suspect + self.other).min(self.total)
    }

    /// The sum of all pools' limits of calls per minute; `None` if one has no limit.
    fn limit(&self) -> Option<u32> {
        let used = self.pools.values().map(|pool| pool.effective.requests_per_minute);
        used.reduce(|a, b| Some(a?.saturating_add(b?))).flatten()
    }

    fn left(&self, now: i64) -> Option<TimeLeft> {
        if let Some(SynthesisProgress { counts, began: (there, at), .. }) = self.synthesis {
            let left = counts.left.saturating_sub(counts.at_work);
            let pace = counts.there().saturating_sub(there);
            let ran = now.saturating_sub(at).max(1_000).unsigned_abs();
            return time_at_pace(left, pace, ran).map(|ms| TimeLeft { ms, limit: None });
        }
        let run_ms = now.saturating_sub(self.started_at).clamp(1_000, 60_000).unsigned_abs();
        let left = self.total - self.finished();
        let by_pace = time_at_pace(left, self.finishes.count(now), run_ms);
        let by_limit = self.limit().map(|limit| {
            // A line whose call is in flight needs no other.
            let calls = left.saturating_sub(self.in_flight);
            (limit, time_by_limit(calls, limit, self.calls_of_late(now), now, |nth| self.calls.leaves(now, nth)))
        });
        match (by_pace, by_limit) {
            (by_pace, Some((limit, ms))) if ms > by_pace.unwrap_or(0) => Some(TimeLeft { ms, limit: Some(limit) }),
            (by_pace, _) => by_pace.map(|ms| TimeLeft { ms, limit: None }),
        }
    }

    /// Calls in the last minute: our own, or all of the account's if they are counted.
    fn calls_of_late(&self, now: i64) -> u64 {
        let window: u64 = self.pools.values().map(|pool| u64::from(pool.in_window)).sum();
        self.calls.count(now).max(window)
    }

    /// Writes the progress to a log for machines.
    pub(super) fn log(&self, now: i64) {
        tracing::info!(
            lines.finished = self.finished(),
            lines.total = self.total,
            lines.failed = self.failed,
            lines.suspect = self.suspect,
            calls.in_flight = self.in_flight_now(),
            calls.last_minute = self.calls_of_late(now),
            audio_ms = self.audio_ms,
            spend_usd = crate::domain::cost::MicroUsd(self.spent).usd(),
            left = self.left(now).map(|left| left.to_string()),
            held = self.held(),
            shared = self.others(),
            "progress"
        );
    }

    /// The finished lines, with failures.
    pub(super) fn lines(&self) -> String {
        let one = if self.synthesis.is_some() { "job" } else { "line" };
        let mut words = format!("{} of {}", grouped(self.finished()), counted(self.total, one));
        for (n, what) in [(self.failed, "failed"), (self.suspect, "suspect")] {
            if n > 0 {
                words.push_str(&format!(", {} {what}", grouped(n)));
            }
        }
        if self.synthesis.is_some() {
            let (there, all) = self.reached();
            words.push_str(&format!(" · {} of {}", grouped(there), counted(all, "character")));
        }
        words
    }

    /// The limit of calls in flight, for a synthesis.
    fn at_once(&self) -> Option<u32> {
        self.synthesis.and_then(|_| self.pools.get(&Pool::Tts)?.effective.concurrency)
    }

    /// Calls in flight. The end of a call is heard of after the ledger has given its place to another.
    fn in_flight_now(&self) -> u64 {
        let caps = self.pools.values().map(|pool| pool.effective.concurrency);
        let cap = caps.reduce(|a, b| Some(a?.saturating_add(b?))).flatten();
        cap.map_or(self.in_flight, |cap| self.in_flight.min(cap.into()))
    }

    /// Calls, audio, cost and remaining time, on one line.
    pub(super) fn pace(&self, now: i64) -> String {
        let calls = self.calls_of_late(now);
        let limit = self.limit().map(|limit| format!(" of {}", grouped(limit.into()))).unwrap_or_default();
        let at_once = self.at_once().map(|limit| format!(" of {}", grouped(limit.into()))).unwrap_or_default();
        let mut words = vec![
            format!("{}{at_once} in flight", grouped(self.in_flight_now())),
            format!("{}{limit} calls/min", grouped(calls)),
        ];
        // A chat has none.
        if self.audio_ms > 0 {
            words.push(format!("{} of audio", duration(self.audio_ms)));
        }
        words.push(dollars(self.spent));
        if self.finished() < self.total {
            words.extend(self.left(now).map(|left| left.to_string()));
        }
        words.join(" · ")
    }

    /// What else waits for calls of the same pools.
    pub(super) fn others(&self) -> Option<String> {
        let shared = self.pools.iter().filter(|(_, pool)| pool.queued > 0);
        let shared: Vec<_> = shared
            .map(|(name, pool)| format!("{} of other batches share the limits of {name}", counted(pool.queued, "line")))
            .collect();
        (!shared.is_empty()).then(|| shared.join(" · "))
    }

    /// Why calls are held back beyond the set limits.
    pub(super) fn held(&self) -> Option<String> {
        let why = |(pool, (bound, until)): (&Pool, &(Bound, Option<i64>))| {
            let why = match bound {
                Bound::Rate | Bound::InFlight => return None, // The rate shows it already.
                Bound::Cooldown => "the API said to wait",
                Bound::Outage => "the API is out of reach; the next probe waits",
            };
            Some(format!("{pool}: {why}{}", until.map(|at| format!(" until {}", clock(at))).unwrap_or_default()))
        };
        let held: Vec<_> = self.held.iter().filter_map(why).collect();
        (!held.is_empty()).then(|| held.join(" · "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::job::BatchId, runner::CallEnd};

    fn limited(limit: Option<u32>) -> PoolNow {
        PoolNow { effective: Limits { requests_per_minute: limit, concurrency: None }, in_window: 0, queued: 0 }
    }

    fn finished(state: JobState) -> Event {
        Event::Finished { batch: BatchId(1), key: "k".into(), state, audio_ms: Some(60_000), error: None }
    }

    #[test]
    fn a_minute_forgets() {
        let mut minute = Minute::default();
        for now in [1_000, 1_500, 30_000, 60_999] {
            minute.add(now);
        }
        assert_eq!(minute.count(60_999), 4);
        assert_eq!(minute.count(61_000), 2);
        assert_eq!(minute.count(500_000), 0);
        minute.add(61_000);
        assert_eq!(minute.count(61_000), 3, "the slot of second 1 was taken over");
    }

    #[test]
    fn the_time_left_follows_pace_or_limit() {
        assert_eq!(time_at_pace(100, 0, 60_000), None);
        assert_eq!(time_at_pace(100, 50, 60_000), Some(120_000));
        let spread = |nth: u64| Some(61_000 + i64::try_from(nth).unwrap() * 2_000);
        let at = |now, calls, used| time_by_limit(calls, 25, used, now, spread);
        assert_eq!(at(0, 25, 0), 0, "all fit into this minute");
        assert_eq!(at(30_000, 1, 25), 31_000, "the oldest call leaves the minute");
        assert_eq!(at(40_000, 1, 25), 21_000, "and that comes nearer");
        assert_eq!(at(30_000, 5, 25), 39_000);
        assert_eq!(at(30_000, 26, 25), 31_000 + 61_000, "a minute later");
        assert_eq!(time_by_limit(1, 25, 25, 0, |_| None), 61_000, "another process made the calls");
    }

    #[test]
    fn the_last_minute_moves_and_says_what_it_waits_for() {
        let mut meter = Meter::new(0);
        meter.rebase(&[Counts { by_state: [(JobState::Queued, 3)].into(), ..Counts::default() }], 0);
        meter.pools.insert(Pool::Pulse, limited(Some(2)));
        for at in [1_000, 2_000] {
            meter.event(&Event::CallStarted { pool: Pool::Pulse }, at);
            meter.event(
                &Event::CallEnded { pool: Pool::Pulse, how: CallEnd::Answered, failure: None, cost: 0 },
                at + 500,
            );
            meter.event(&finished(JobState::Succeeded), at + 500);
        }
        assert!(meter.pace(30_000).ends_with("about 32 s left (by 2 calls/min)"), "{}", meter.pace(30_000));
        assert!(meter.pace(50_000).ends_with("about 25 s left"), "{}", meter.pace(50_000));
        assert_eq!(TimeLeft { ms: 0, limit: None }.to_string(), "about to end");
    }

    #[test]
    fn in_flight_is_never_over_the_cap_and_a_total_does_not_shrink() {
        let mut meter = Meter::new(0);
        let effective = Limits { requests_per_minute: None, concurrency: Some(2) };
        meter.pools.insert(Pool::Tts, PoolNow { effective, in_window: 0, queued: 0 });
        for _ in 0..5 {
            meter.event(&Event::CallStarted { pool: Pool::Tts }, 0);
        }
        assert!(meter.pace(1_000).starts_with("2 in flight"), "{}", meter.pace(1_000));
        let spoken = |left| SynthesisCounts { asked: 100, left, ..SynthesisCounts::default() };
        meter.update_synthesis(spoken(100), 1_000);
        meter.update_synthesis(spoken(60), 2_000);
        assert_eq!(meter.reached(), (0, 100), "40 characters failed");
    }

    #[test]
    fn events_add_up() {
        let mut meter = Meter::new(0);
        let by_state = [(JobState::Queued, 9), (JobState::Skipped, 1)].into();
        let counts = Counts { by_state, ..Counts::default() };
        meter.rebase(&[counts], 5_000);
        meter.pools.insert(Pool::Pulse, limited(Some(25)));
        let call = || Event::CallStarted { pool: Pool::Pulse };
        for event in [call(), call(), call()] {
            meter.event(&event, 1_000);
        }
        meter.event(&Event::CallEnded { pool: Pool::Pulse, how: CallEnd::Answered, failure: None, cost: 5_000 }, 2_000);
        for state in [JobState::Succeeded, JobState::Suspect, JobState::Failed] {
            meter.event(&finished(state), 2_000);
        }
        assert_eq!(meter.lines(), "4 of 10 lines, 1 failed, 1 suspect");
        assert_eq!(meter.pace(3_000), "2 in flight · 3 of 25 calls/min · 2 min 0 s of audio · $0.01 · about 6 s left");
        let outage = Event::Held { pool: Pool::Pulse, by: Some((Bound::Outage, None)) };
        meter.event(&outage, 3_000);
        assert_eq!(meter.held().unwrap(), "pulse: the API is out of reach; the next probe waits");
        meter.event(&Event::Held { pool: Pool::Pulse, by: None }, 3_000);
        assert_eq!(meter.held(), None);
        assert_eq!(meter.others(), None);
        meter.pools.insert(Pool::Pulse, PoolNow { queued: 1_380, ..limited(Some(25)) });
        assert_eq!(meter.others().unwrap(), "1,380 lines of other batches share the limits of pulse");
    }

    #[test]
    fn speech_is_measured_in_characters() {
        let mut meter = Meter::new(0);
        let counts = Counts { by_state: [(JobState::Running, 3)].into(), ..Counts::default() };
        meter.rebase(&[counts], 0);
        let effective = Limits { requests_per_minute: None, concurrency: Some(10) };
        meter.pools.insert(Pool::Tts, PoolNow { effective, in_window: 0, queued: 0 });
        let spoken = |at_work| SynthesisCounts { asked: 5_000, left: 4_000, at_work, ..SynthesisCounts::default() };
        meter.update_synthesis(spoken(1_000), 10_000);
        meter.event(&Event::CallStarted { pool: Pool::Tts }, 10_000);
        assert_eq!(meter.pace(10_000), "1 of 10 in flight · 1 calls/min · $0.00", "no pace is known yet");
        meter.update_synthesis(spoken(2_000), 20_000);
        assert_eq!(
            meter.lines(),
            "0 of 3 jobs · 2,000 of 4,000 characters",
            "1,000 of a job that failed are no way to go"
        );
        assert_eq!(meter.reached(), (2_000, 4_000));
        assert!(meter.pace(20_000).ends_with("about 20 s left"), "{}", meter.pace(20_000));
    }

    #[test]
    fn one_pool_without_a_limit_means_none() {
        let mut meter = Meter::new(0);
        assert_eq!(meter.limit(), None);
        meter.pools.insert(Pool::Pulse, limited(Some(25)));
        assert_eq!(meter.limit(), Some(25));
        meter.pools.insert(Pool::PulsePro, limited(Some(10)));
        assert_eq!(meter.limit(), Some(35));
        meter.pools.insert(Pool::PulsePro, limited(None));
        assert_eq!(meter.limit(), None);
    }
}
