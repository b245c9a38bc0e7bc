//! When a definition runs: which moments, for which date, and until when its calls may begin.

mod cron;
mod moments;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod zone_tests;

use std::time::Duration;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

pub use self::cron::{Cron, CronFault};
use super::options::listed;

/// Missed dates that are made up for; older ones are let go.
pub const MOST_MISSED: usize = 7;
/// Of a schedule without a window: later than this, a run was missed.
pub const ON_TIME: Duration = Duration::from_secs(600);

listed! {
    /// What happens to runs that were missed, as while the machine was off.
    Missed, "policy for missed runs" {
        /// Each missed date is run, at most seven.
        Run = "run",
        /// They are let go.
        Skip = "skip",
    }
}

/// Which day `{date}` is, of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// That of the scheduled moment.
    Same,
    /// The day before it.
    Before,
    /// This one, whenever it runs.
    On(Date),
}

/// When a definition runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Which times.
    pub cron: Cron,
    /// Whose wall clock.
    pub zone: TimeZone,
    /// How long from its moment a run may begin calls; without end if `None`.
    pub window: Option<Duration>,
    /// What happens to missed runs.
    pub missed: Missed,
    /// Which day `{date}` is.
    pub day: Day,
    /// Whether anything depends on that day.
    pub dated: bool,
    /// Whether it decides which lines there are. If not, they are the same for all dates at any moment, and one run makes
    /// up for all that were missed: seven would buy the same seven times.
    pub dated_lines: bool,
    /// Whether the batch's name does not: then every run goes on with the same batch.
    pub one_batch: bool,
}

/// When calls may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub from: Timestamp,
    /// Before this.
    pub until: Timestamp,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// The scheduled moment: `now` to whoever fills in the definition.
    pub at: Timestamp,
    /// What `{date}` means.
    pub date: Date,
    /// When its calls may begin; any time if `None`.
    pub window: Option<Window>,
}

impl Schedule {
    /// The first run after this moment.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Occurrence> {
        self.cron.after(after, &self.zone).map(|at| self.occurrence(at))
    }

    /// The last run until this moment, or at it.
    #[must_use]
    pub fn latest(&self, until: Timestamp) -> Option<Occurrence> {
        self.cron.until(until, &self.zone).map(|at| self.occurrence(at))
    }

    /// All runs after this moment, in order.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = Occurrence> {
        std::iter::successors(self.next(after), |last| self.next(last.at))
    }

    /// What `{date}` means in a run on this day.
    #[must_use]
    pub fn date_of(&self, day: Date) -> Date {
        match self.day {
            Day::Same => day,
            Day::Before => day.yesterday().unwrap_or(day),
            Day::On(date) => date,
        }
    }

    fn occurrence(&self, at: Timestamp) -> Occurrence {
        let date = self.date_of(self.zone.to_datetime(at).date());
        Occurrence { at, date, window: self.window_of(at) }
    }

    /// Hours that pass, whatever the clock on the wall does meanwhile.
    fn window_of(&self, from: Timestamp) -> Option<Window> {
        let until = from.checked_add(self.window?).ok()?;
        Some(Window { from, until })
    }

    /// Whether a run of that moment is no missed one.
    #[must_use]
    pub fn is_on_time(&self, at: Timestamp, now: Timestamp) -> bool {
        let end = self.window.unwrap_or(ON_TIME);
        now >= at && at.checked_add(end).is_ok_and(|end| now < end)
    }

    /// The window that is open now, or opens next.
    #[must_use]
    pub fn window_at(&self, now: Timestamp) -> Option<Window> {
        let open = self.latest(now).filter(|last| self.is_on_time(last.at, now));
        open.or_else(|| self.next(now))?.window
    }

    /// Whether calls could begin all the time from `since` until now: one window was followed by the next without a break.
    #[must_use]
    pub fn was_open_since(&self, since: Timestamp, now: Timestamp) -> bool {
        let Some(length) = self.window else { return true };
        let Some(mut end) = self.latest(since).and_then(|run| run.at.checked_add(length).ok()) else { return false };
        if end < since {
            return false;
        }
        while end <= now {
            // The last run that comes before this window ends carries furthest.
            let Some(next) = self.latest(end).and_then(|run| run.at.checked_add(length).ok()) else { return false };
            if next <= end {
                return false;
            }
            end = next;
        }
        true
    }
}

/// The runs to start now, oldest first. `last_started` is the scheduled moment of the newest run that was started, or,
/// of a definition that never ran, the moment from which it counts; `None` knows of nothing that was missed.
///
/// Of one date only the last run is started: it finds whatever an earlier one would have. A run that was missed gets the
/// window that is open now, or else the next one: calls are not to begin at noon because the night was missed.
#[must_use]
pub fn due(last_started: Option<Timestamp>, now: Timestamp, schedule: &Schedule) -> Vec<Occurrence> {
    let since = last_started.unwrap_or(Timestamp::MIN);
    let Some(newest) = schedule.latest(now).filter(|newest| newest.at > since) else { return Vec::new() };
    if last_started.is_none() || schedule.missed == Missed::Skip {
        return if schedule.is_on_time(newest.at, now) { vec![newest] } else { Vec::new() };
    }
    let window = schedule.window_at(now);
    let mut due = dates_back(newest, since, schedule);
    due.reverse();
    due.iter_mut().for_each(|run| run.window = window);
    due
}

/// The last run of each date, newest first.
fn dates_back(newest: Occurrence, since: Timestamp, schedule: &Schedule) -> Vec<Occurrence> {
    if !schedule.dated_lines || matches!(schedule.day, Day::On(_)) {
        return vec![newest];
    }
    // From the beginning of its day, whatever else runs on it: of one that runs each minute, that is a step and not 1,440.
    let before = |run: &Occurrence| {
        let day = schedule.zone.to_datetime(run.at).date().to_zoned(schedule.zone.clone()).ok()?.timestamp();
        schedule.latest(day.min(run.at).checked_sub(1.second()).ok()?)
    };
    let days = std::iter::successors(Some(newest), before);
    let mut due: Vec<_> = days.take_while(|run| run.at > since).take(MOST_MISSED).collect();
    due.dedup_by_key(|run| run.date);
    due
}
