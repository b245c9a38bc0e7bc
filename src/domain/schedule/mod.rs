//! When a definition runs: its moments, their dates, and until when its calls may begin.

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

/// How many missed dates are made up for; older ones are dropped.
pub const MAX_MISSED: usize = 7;
/// For a schedule without a window: a run that is later than this was missed.
pub const ON_TIME: Duration = Duration::from_secs(600);

listed! {
    /// What happens to missed runs, for example while the machine was off.
    Missed, "policy for missed runs" {
        /// Each missed date is run, the oldest first, at most seven.
        Run = "run",
        /// Missed runs are dropped.
        Skip = "skip",
    }
}

/// Which day is the `{date}` of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// The day of the scheduled moment.
    Same,
    /// The day before the scheduled moment.
    Before,
    /// A fixed day, whenever the definition runs.
    On(Date),
}

/// When a definition runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The times.
    pub cron: Cron,
    /// The time zone of those times.
    pub zone: TimeZone,
    /// How long after its moment a run may begin calls; without limit if `None`.
    pub window: Option<Duration>,
    /// What happens to missed runs.
    pub missed: Missed,
    /// Which day `{date}` is.
    pub day: Day,
    /// Whether anything depends on `{date}`.
    pub dated: bool,
    /// Whether `{date}` decides which lines there are. If not, all dates have the same lines, and one run makes
    /// up for all missed ones: seven runs would buy the same lines seven times.
    pub dated_lines: bool,
    /// Whether the batch's name is independent of `{date}`. If so, every run continues the same batch.
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
    /// The scheduled moment, which is `now` in the definition's templates.
    pub at: Timestamp,
    /// The value of `{date}`.
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

    /// The last run before this moment, or at it.
    #[must_use]
    pub fn latest(&self, until: Timestamp) -> Option<Occurrence> {
        self.cron.until(until, &self.zone).map(|at| self.occurrence(at))
    }

    /// All runs after this moment, in order.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = Occurrence> {
        std::iter::successors(self.next(after), |last| self.next(last.at))
    }

    /// The value of `{date}` in a run on this day.
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

    /// The window's length is elapsed time, independent of clock changes.
    fn window_of(&self, from: Timestamp) -> Option<Window> {
        let until = from.checked_add(self.window?).ok()?;
        Some(Window { from, until })
    }

    /// Whether a run of that moment is not a missed one.
    #[must_use]
    pub fn is_on_time(&self, at: Timestamp, now: Timestamp) -> bool {
        let end = self.window.unwrap_or(ON_TIME);
        now >= at && at.checked_add(end).is_ok_and(|end| now < end)
    }

    /// The window that is open now, or the next one.
    #[must_use]
    pub fn window_at(&self, now: Timestamp) -> Option<Window> {
        let open = self.latest(now).filter(|last| self.is_on_time(last.at, now));
        open.or_else(|| self.next(now))?.window
    }

    /// Whether calls could begin at any time from `since` until now: the windows followed each other without a gap.
    #[must_use]
    pub fn was_open_since(&self, since: Timestamp, now: Timestamp) -> bool {
        let Some(length) = self.window else { return true };
        let Some(mut end) = self.latest(since).and_then(|run| run.at.checked_add(length).ok()) else { return false };
        if end < since {
            return false;
        }
        while end <= now {
            // The last run before the end of this window has the latest end.
            let Some(next) = self.latest(end).and_then(|run| run.at.checked_add(length).ok()) else { return false };
            if next <= end {
                return false;
            }
            end = next;
        }
        true
    }
}

/// The runs to start now, oldest first. `last_started` is the scheduled moment of the newest run that was started. For a
/// definition that never ran, it is the moment from which runs count; `None` means that no run was missed.
///
/// Only the last run of a date is started: it finds whatever an earlier one would have found. A missed run gets the
/// window that is open now, or else the next one, so that a run missed at night does not begin its calls at noon.
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
    // Go to the beginning of the run's day, so that a schedule of each minute takes one step a day and not 1,440.
    let before = |run: &Occurrence| {
        let day = schedule.zone.to_datetime(run.at).date().to_zoned(schedule.zone.clone()).ok()?.timestamp();
        schedule.latest(day.min(run.at).checked_sub(1.second()).ok()?)
    };
    let days = std::iter::successors(Some(newest), before);
    let mut due: Vec<_> = days.take_while(|run| run.at > since).take(MAX_MISSED).collect();
    due.dedup_by_key(|run| run.date);
    due
}
