//! What runs when.

use serde::Serialize;

use crate::domain::{batch::BatchName, schedule::Missed};

/// Definitions, and when they run.
#[derive(Debug, Clone, Serialize)]
pub struct ListingView<'v> {
    /// Those with a schedule, the next to run first.
    pub definitions: Vec<ScheduledView<'v>>,
    /// How many have none.
    pub without_schedule: u64,
    /// Those that cannot be read.
    pub broken: Vec<BrokenView<'v>>,
    /// Those that would make the same batch.
    pub same_batch: Vec<SameBatchView<'v>>,
}

/// A definition that cannot be read.
#[derive(Debug, Clone, Serialize)]
pub struct BrokenView<'v> {
    /// Its file.
    pub file: &'v str,
    /// What is wrong with it.
    pub faults: Vec<String>,
    /// How many more faults there are.
    pub more: u64,
}

/// Definitions that would make the same batch.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SameBatchView<'v> {
    /// Its name.
    pub batch: &'v BatchName,
    /// Their files.
    pub files: &'v [String],
}

/// A definition with a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduledView<'v> {
    /// Its name.
    pub name: &'v str,
    /// Its file.
    pub file: &'v str,
    /// When it runs.
    pub cron: String,
    /// Where days begin, if that zone has a name.
    pub timezone: Option<&'v str>,
    /// How long its window is open, if it has one.
    pub window_seconds: Option<u64>,
    /// What becomes of runs that were missed.
    pub missed: Missed,
    /// Its next runs.
    pub next: Vec<RunView<'v>>,
    /// How many more there are in the days that were asked for, at least.
    pub more: u64,
    /// The run that was started last.
    pub last: Option<LastRunView<'v>>,
    /// Runs that are due and not started.
    pub waiting: Vec<WaitingRunView<'v>>,
    /// Lines of older runs that wait for the next window.
    pub left_over: u64,
    /// What the next run has to do.
    pub calls: LoadView,
    /// What its author should know.
    pub notes: &'v [String],
}

/// A moment, in UTC and where the schedule is kept.
#[derive(Debug, Clone, Serialize)]
pub struct ZonedView {
    /// In UTC.
    pub utc: String,
    /// In the schedule's time zone.
    pub local: String,
}

/// A run to come.
#[derive(Debug, Clone, Serialize)]
pub struct RunView<'v> {
    /// When.
    pub at: ZonedView,
    /// What `{date}` stands for.
    pub date: String,
    /// The batch that it makes.
    pub batch: &'v BatchName,
    /// When its window closes, if it has one.
    pub until: Option<ZonedView>,
}

/// A run that was started.
#[derive(Debug, Clone, Serialize)]
pub struct LastRunView<'v> {
    /// Its scheduled moment.
    pub at: ZonedView,
    /// When it was started.
    pub started: ZonedView,
    /// The batch that it made.
    pub batch: &'v str,
}

/// A run that is due and not started.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingRunView<'v> {
    /// Its scheduled moment.
    pub at: ZonedView,
    /// What `{date}` stands for.
    pub date: String,
    /// When it is looked at again.
    pub due: ZonedView,
    /// Why it was not started.
    pub why: Option<&'v str>,
}

/// What the next run has to do.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum LoadView {
    /// It was counted.
    Counted {
        /// Calls.
        calls: u64,
        /// How many of them its window cannot hold.
        over_window: Option<u64>,
        /// The least time that they take under the limit of requests, in whole seconds.
        least_seconds: Option<u64>,
        /// That limit.
        requests_per_minute: Option<u32>,
        /// Who set it.
        limit_set_by: String,
    },
    /// It was not.
    Unknown {
        /// Why not.
        not_counted: &'static str,
    },
}
