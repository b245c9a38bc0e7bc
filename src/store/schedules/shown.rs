//! Views of schedules.

use crate::domain::environment::Environment;
use crate::store::engine::db::query;
use jiff::civil::Date;

use crate::clock::Millis;
use crate::store::{ScheduleNode, Store, StoreError, engine::rows};

/// The status of a definition with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleView {
    /// The definition's name.
    pub definition: String,
    /// Its newest run that was started.
    pub last: Option<LastRun>,
    /// Its runs that are not started yet, oldest first.
    pub waiting: Vec<WaitingRun>,
    /// Unfinished lines of its batches that wait for their next window.
    pub left_over: u64,
    /// The services that have it.
    pub nodes: Vec<ScheduleNode>,
}

/// A run that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// Its scheduled moment.
    pub at: Millis,
    /// When its batch was submitted.
    pub started_at: Millis,
    /// The batch's name.
    pub batch: String,
}

/// A run that is not started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRun {
    /// Its scheduled moment.
    pub at: Millis,
    /// The value of `{date}` in it.
    pub date: Date,
    /// When it is due again.
    pub due_at: Millis,
    /// Why it was not started, if a start was tried.
    pub why: Option<String>,
}

impl Store {
    /// The status of each definition that ever ran on a schedule with this ledger.
    pub async fn schedule_views(&self, environment: Environment) -> Result<Vec<ScheduleView>, StoreError> {
        let (mut views, mut nodes) = (Vec::new(), self.schedule_nodes(environment).await?);
        for row in query(VIEWS).bind(environment).bind(self.now()).fetch_all(&self.read).await? {
            let definition: String = row.try_get("definition")?;
            let last = match row.try_get::<Option<Millis>, _>("at")? {
                Some(at) => Some(LastRun { at, started_at: row.try_get("ended_at")?, batch: row.try_get("batch")? }),
                None => None,
            };
            let left_over = u64::from(rows::count(&row, "left_over")?);
            let waiting = self.waiting_runs(&definition, environment).await?;
            let nodes = nodes.remove(&definition).unwrap_or_default();
            views.push(ScheduleView { definition, last, waiting, left_over, nodes });
        }
        Ok(views)
    }

    async fn waiting_runs(&self, definition: &str, environment: Environment) -> Result<Vec<WaitingRun>, StoreError> {
        let sql = r"-- shown::waiting_runs
                SELECT at, date, due_at, why
                FROM runs
                WHERE definition = $1 AND environment = $2 AND due_at IS NOT NULL
                ORDER BY at";
        let found = query(sql).bind(definition).bind(environment).fetch_all(&self.read).await?;
        let waiting = found.iter().map(|row| {
            Ok(WaitingRun {
                at: row.try_get("at")?,
                date: rows::listed(row, "date")?,
                due_at: row.try_get("due_at")?,
                why: row.try_get("why")?,
            })
        });
        waiting.collect()
    }
}

const VIEWS: &str = r"-- shown::views
        SELECT s.definition, r.at, r.ended_at, r.batch,
          (SELECT count(*) FROM batches b JOIN jobs j ON j.batch = b.id AND j.due_at IS NOT NULL WHERE b.definition = s.definition AND b.environment = s.environment AND b.finished_at IS NULL AND (b.window_until <= $2 OR b.window_from > $2)) AS left_over
        FROM schedules s LEFT JOIN runs r ON r.definition = s.definition AND r.environment = s.environment
          AND r.at = (SELECT max(at) FROM runs WHERE definition = s.definition AND environment = s.environment AND state = 'started')
        WHERE s.environment = $1
        ORDER BY s.definition";
