//! The state of the ledger for a monitor: a few numbers, each read from an index of what is not finished.

use std::collections::BTreeMap;

use crate::store::engine::db::{query, query_scalar};
use crate::store::{Store, StoreError, engine::rows, jobs::claim};
use crate::{
    clock::Millis,
    domain::{environment::Environment, job::JobState, pool::Lane, retry::PauseKind, task::TaskName},
};

/// The unfinished work of all batches of one environment together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Jobs of batches that are not finished, without superseded ones.
    pub jobs: BTreeMap<(TaskName, JobState), u64>,
    /// How long the oldest job that a worker could claim now has been due, in ms; `None` where none is due.
    pub oldest_due_ms: Option<u64>,
    /// Paused batches by the reason of the pause.
    pub paused: BTreeMap<PauseKind, u64>,
    /// Calls without an outcome.
    pub open_calls: u64,
    /// Those of them whose callback should have come by now.
    pub overdue_calls: u64,
    /// Micro-USD spent at list price, finished batches included.
    pub spent: i64,
    /// Micro-USD reserved for calls without an outcome.
    pub reserved: i64,
}

pub(in crate::store) const UNFINISHED_JOBS: &str = r"-- vitals::vitals: jobs
        SELECT b.task, j.state, count(*) AS n
        FROM batches AS b
        CROSS JOIN jobs AS j
        WHERE j.batch = b.id AND b.environment = $1 AND b.finished_at IS NULL AND j.state <> 'superseded' AND j.wanted <> 'dropped'
        GROUP BY b.id, b.task, j.state";

pub(in crate::store) const OPEN_CALLS: &str = r"-- vitals::vitals: by the open calls, which are few, and not by all of each batch (hence the plus).
        SELECT count(*) AS open, count(*) FILTER (WHERE c.overdue_at <= $1) AS overdue
        FROM calls AS c
        JOIN batches AS b ON b.id = +c.batch
        WHERE c.state IN ('sent', 'accepted') AND b.environment = $2";

impl Vitals {
    /// Jobs in a state, whatever their task.
    #[must_use]
    pub fn of(&self, state: JobState) -> u64 {
        self.jobs.iter().filter(|((_, s), _)| *s == state).map(|(_, n)| n).sum()
    }

    /// How many lines are not finished.
    #[must_use]
    pub fn lines_left(&self) -> u64 {
        self.of(JobState::Queued) + self.of(JobState::Running) + self.of(JobState::Awaiting)
    }
}

impl Store {
    /// The unfinished work of an environment, and the cost of all of its batches.
    pub async fn vitals(&self, environment: Environment) -> Result<Vitals, StoreError> {
        let mut vitals = Vitals { oldest_due_ms: self.oldest_due(environment).await?, ..Vitals::default() };
        // The query starts from the batches, so that the jobs of finished ones are not even read.
        let found = query(UNFINISHED_JOBS).bind(environment).fetch_all(&self.read).await?;
        for row in found {
            let of = (row.try_get("task")?, row.try_get("state")?);
            *vitals.jobs.entry(of).or_default() += u64::from(rows::count(&row, "n")?);
        }
        let found = query(
            r"-- vitals::vitals
              SELECT pause_kind, count(*) AS n
              FROM batches
              WHERE environment = $1 AND state = 'paused' AND finished_at IS NULL
              GROUP BY 1",
        )
        .bind(environment)
        .fetch_all(&self.read)
        .await?;
        for row in found {
            vitals.paused.insert(row.try_get("pause_kind")?, u64::from(rows::count(&row, "n")?));
        }
        let calls = query(OPEN_CALLS).bind(self.now()).bind(environment).fetch_one(&self.read).await?;
        vitals.open_calls = u64::from(rows::count(&calls, "open")?);
        vitals.overdue_calls = u64::from(rows::count(&calls, "overdue")?);
        let money = query(
            r"-- vitals::vitals
              SELECT coalesce(CAST(sum(spent) AS BIGINT), 0) AS spent, coalesce(CAST(sum(reserved) AS BIGINT), 0) AS reserved
              FROM batches
              WHERE environment = $1",
        )
        .bind(environment)
        .fetch_one(&self.read)
        .await?;
        vitals.spent = money.try_get("spent")?;
        vitals.reserved = money.try_get("reserved")?;
        Ok(vitals)
    }

    /// A running job is due only once its lease has expired, so that every due job can be claimed.
    async fn oldest_due(&self, environment: Environment) -> Result<Option<u64>, StoreError> {
        let waited_for = self.pools_waited_for(environment).await?;
        let lanes = waited_for.into_iter().map(Lane::Call).chain([Lane::Free]);
        let oldest: Option<Millis> = query_scalar(format!(
            r"-- vitals::oldest_due
              SELECT min(due) FROM (
                SELECT (SELECT min(due_at) FROM jobs WHERE batch = b.id AND lane = l.v ->> 0 AND due_at IS NOT NULL) AS due
                FROM batches AS b
                CROSS JOIN rows_of($1) AS l
                WHERE b.state = 'open' AND {} AND b.finished_at IS NULL AND b.environment = $2
                  AND (l.v ->> 0 = 'free' OR {})) AS moments",
            claim::WORKABLE,
            claim::IN_WINDOW
        ))
        .bind(serde_json::json!(lanes.map(|lane| [lane]).collect::<Vec<_>>()).to_string())
        .bind(environment)
        .bind(self.now())
        .fetch_one(&self.read)
        .await?;
        Ok(oldest.and_then(|due_at| u64::try_from(self.now() - due_at).ok()))
    }

    /// Writes to the disk without changing anything. While the ledger cannot be written, a process that works on it waits
    /// until it can, so the caller must limit the wait.
    pub async fn can_be_written(&self) -> Result<(), StoreError> {
        self.watch_schema().await?;
        self.write(|conn, _| {
            Box::pin(async move {
                // SQLite does not write a page whose bytes stay the same; changing a value there and back does.
                for change in ["created_at + 1", "created_at - 1"] {
                    let sql = format!("UPDATE ledger SET created_at = {change}");
                    query(sql).execute(&mut *conn).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
