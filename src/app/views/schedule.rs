//! Schedules and their runs.

use serde::Serialize;

use crate::domain::{batch::BatchName, schedule::Missed};

/// Definitions and their next runs.
#[derive(Debug, Clone, Serialize)]
pub struct ListingView<'v> {
    /// Those with a schedule, the next to run first.
    pub definitions: Vec<ScheduledView<'v>>,
    /// The number of definitions without a schedule.
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
    /// Its faults.
    pub faults: Vec<String>,
    /// The number of further faults.
    pub more: u64,
}

/// Definitions that would make the same batch.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SameBatchView<'v> {
    /// The batch's name.
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
    /// The cron expression of its runs.
    pub cron: String,
    /// The time zone of its days, if that zone has a name.
    pub timezone: Option<&'v str>,
    /// The length of its window, if it has one.
    pub window_seconds: Option<u64>,
    /// The treatment of missed runs.
    pub missed: Missed,
    /// Its next runs.
    pub next: Vec<RunView<'v>>,
    /// The number of further runs in the requested days; a lower bound.
    pub more: u64,
    /// The last run that was started.
    pub last: Option<LastRunView<'v>>,
    /// Runs that are due but not started.
    pub waiting: Vec<WaitingRunView<'v>>,
    /// Lines of older runs that wait for the next window.
    pub left_over: u64,
    /// SHA-256 of its file.
    pub content: &'v str,
    /// The services that keep its schedule, each with the content that it has.
    pub nodes: Vec<ScheduleNodeView<'v>>,
    /// The work of the next run.
    pub calls: LoadView,
    /// Notes for its author.
    pub notes: &'v [String],
}

/// A service that keeps a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleNodeView<'v> {
    /// The name of its machine.
    pub host: &'v str,
    /// The number of its process there.
    pub pid: i64,
    /// SHA-256 of its file.
    pub content: &'v str,
    /// Whether that content is in force; with another one it starts nothing.
    pub in_force: bool,
}

/// A moment, in UTC and in the schedule's time zone.
#[derive(Debug, Clone, Serialize)]
pub struct ZonedView {
    /// In UTC.
    pub utc: String,
    /// In the schedule's time zone.
    pub local: String,
}

/// A future run.
#[derive(Debug, Clone, Serialize)]
pub struct RunView<'v> {
    /// The scheduled moment.
    pub at: ZonedView,
    /// The value of `{date}`.
    pub date: String,
    /// Its batch.
    pub batch: &'v BatchName,
    /// The end of its window, if it has one.
    pub until: Option<ZonedView>,
}

/// A run that was started.
#[derive(Debug, Clone, Serialize)]
pub struct LastRunView<'v> {
    /// Its scheduled moment.
    pub at: ZonedView,
    /// When it was started.
    pub started: ZonedView,
    /// Its batch.
    pub batch: &'v str,
}

/// A run that is due but not started.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingRunView<'v> {
    /// Its scheduled moment.
    pub at: ZonedView,
    /// The value of `{date}`.
    pub date: String,
    /// The next try.
    pub due: ZonedView,
    /// Why it was not started.
    pub why: Option<&'v str>,
}

/// The work of the next run.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum LoadView {
    /// The calls were counted.
    Counted {
        /// The number of calls.
        calls: u64,
        /// Whether there may be fewer: a recording of two channels is two calls only where both speak.
        at_most: bool,
        /// The number of calls that do not fit in the window.
        over_window: Option<u64>,
        /// The least time for the calls under the request limit, in whole seconds.
        least_seconds: Option<u64>,
        /// That limit.
        requests_per_minute: Option<u32>,
        /// The origin of that limit.
        limit_set_by: String,
    },
    /// The calls were not counted.
    Unknown {
        /// The reason.
        not_counted: &'static str,
    },
}
