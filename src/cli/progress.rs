//! The progress of the work, counted from events. Nothing is drawn here.

use std::collections::BTreeMap;

use super::words::{clock, counted, dollars, duration, grouped};
use crate::{
    domain::{
        estimate::least_time,
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

    /// The count of the 60 seconds up to `now`.
    pub(super) fn count(&self, now: i64) -> u64 {
        let second = now.div_euclid(1_000);
        self.seconds.iter().filter(|(at, _)| *at > second - 60 && *at <= second).map(|(_, n)| u64::from(*n)).sum()
    }
}

/// The time in ms for the `left` lines: the longer of two estimates. One follows the recent pace, the other the limit
/// of calls per minute, of which `used` are used up. `None` if neither is known.
pub(super) fn time_left(left: u64, finished: u64, in_ms: u64, limit: Option<u32>, used: u64) -> Option<u64> {
    let by_pace = (finished > 0).then(|| left.saturating_mul(in_ms) / finished);
    let by_limit = limit.filter(|_| left > 0).map(|limit| least_time(left.saturating_add(used), limit));
    by_pace.max(by_limit)
}

/// The present state of a pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PoolNow {
    /// The limits in force.
    pub(super) effective: Limits,
    /// Calls in the last minute, including those of other processes.
    pub(super) in_window: u32,
}

/// Progress of a synthesis, in characters: one job may be a whole book.
#[derive(Debug, Clone, Copy)]
struct SynthesisProgress {
    counts: SynthesisCounts,
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
        self.total = counts.iter().map(Counts::total).sum();
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
        self.synthesis = Some(SynthesisProgress { counts, began });
    }

    /// Whether progress is measured in characters.
    pub(super) const fn is_synthesis(&self) -> bool {
        self.synthesis.is_some()
    }

    /// The work done and the total: in lines, or in characters for a synthesis.
    pub(super) fn reached(&self) -> (u64, u64) {
        match self.synthesis {
            None => (self.finished(), self.total),
            // The text of failed jobs is not part of the total.
            Some(SynthesisProgress { counts, .. }) => (counts.there(), counts.done + counts.left),
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

    fn left(&self, now: i64) -> Option<u64> {
        if let Some(SynthesisProgress { counts, began: (there, at) }) = self.synthesis {
            let left = counts.left.saturating_sub(counts.at_work);
            let pace = counts.there().saturating_sub(there);
            let ran = now.saturating_sub(at).max(1_000).unsigned_abs();
            return time_left(left, pace, ran, None, 0);
        }
        let run_ms = now.saturating_sub(self.started_at).clamp(1_000, 60_000).unsigned_abs();
        let left = self.total - self.finished();
        time_left(left, self.finishes.count(now), run_ms, self.limit(), self.calls_of_late(now))
    }

    /// Calls in the last minute: our own, or all of the account's if they are counted.
    fn calls_of_late(&self, now: i64) -> u64 {
        let window: u64 = self.pools.values().map(|pool| u64::from(pool.in_window)).sum();
        self.calls.count(now).max(window)
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

    /// Calls, audio, cost and remaining time, on one line.
    pub(super) fn pace(&self, now: i64) -> String {
        let calls = self.calls_of_late(now);
        let limit = self.limit().map(|limit| format!(" of {}", grouped(limit.into()))).unwrap_or_default();
        let at_once = self.at_once().map(|limit| format!(" of {}", grouped(limit.into()))).unwrap_or_default();
        let mut words = vec![
            format!("{}{at_once} in flight", grouped(self.in_flight)),
            format!("{}{limit} calls/min", grouped(calls)),
            format!("{} of audio", duration(self.audio_ms)),
            dollars(self.spent),
        ];
        if self.finished() < self.total {
            words.extend(self.left(now).map(|ms| format!("about {} left", duration(ms))));
        }
        words.join(" · ")
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
        PoolNow { effective: Limits { requests_per_minute: limit, concurrency: None }, in_window: 0 }
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
    fn the_time_left_is_the_longer_of_pace_and_limit() {
        assert_eq!(time_left(100, 0, 60_000, None, 0), None);
        assert_eq!(time_left(100, 50, 60_000, None, 0), Some(120_000));
        assert_eq!(time_left(100, 50, 60_000, Some(25), 0), Some(180_000), "a burst at the start misleads nobody");
        assert_eq!(time_left(100, 5, 60_000, Some(25), 0), Some(1_200_000), "nor does a limit that is never reached");
        assert_eq!(time_left(5, 50, 60_000, Some(25), 25), Some(60_000), "this minute is used up");
        assert_eq!(time_left(0, 50, 60_000, Some(25), 25), Some(0));
        assert_eq!(least_time(25, 25), 0);
        assert_eq!(least_time(26, 25), 60_000);
        assert_eq!(least_time(0, 25), 0);
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
    }

    #[test]
    fn speech_is_measured_in_characters() {
        let mut meter = Meter::new(0);
        let counts = Counts { by_state: [(JobState::Running, 3)].into(), ..Counts::default() };
        meter.rebase(&[counts], 0);
        let effective = Limits { requests_per_minute: None, concurrency: Some(10) };
        meter.pools.insert(Pool::Tts, PoolNow { effective, in_window: 0 });
        let spoken = |at_work| SynthesisCounts { asked: 5_000, left: 4_000, at_work, ..SynthesisCounts::default() };
        meter.update_synthesis(spoken(1_000), 10_000);
        meter.event(&Event::CallStarted { pool: Pool::Tts }, 10_000);
        assert_eq!(
            meter.pace(10_000),
            "1 of 10 in flight · 1 calls/min · 0 ms of audio · $0.00",
            "no pace is known yet"
        );
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
