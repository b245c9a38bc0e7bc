//! When a service may begin calls of a batch; what it may try while wavebatch pauses it; its last reported status.

use std::sync::atomic::Ordering;

use crate::store::engine::db::{Row, query, query_as, query_scalar};
use crate::store::{BatchRow, Store, StoreError, queries::read};
use crate::{
    clock::Millis,
    domain::{environment::Environment, job::BatchId, retry::PauseKind},
};

/// How long a pause by wavebatch lasts until one line is tried, in ms.
const PROBE_AFTER: Millis = 15 * 60_000;

/// The status of an unfinished, or just finished, batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchStatus {
    /// It can be worked.
    Working,
    /// None of its jobs is due any more, and it is not marked as finished.
    Over,
    /// It is finished, since this moment.
    Finished(Millis),
    /// It is paused by wavebatch, since this moment.
    Paused(Millis),
    /// Its window closed at this moment, and none of its calls is in flight.
    WindowClosed(Millis),
}

impl BatchStatus {
    /// Its stored form, if it is a status to report.
    fn mark(&self) -> Option<String> {
        match self {
            Self::Working | Self::Over => None,
            Self::Finished(at) => Some(format!("finished {at}")),
            Self::Paused(at) => Some(format!("paused {at}")),
            Self::WindowClosed(at) => Some(format!("window {at}")),
        }
    }
}

impl Store {
    /// From now on this process starts calls only within the windows of their batches.
    pub fn enforce_windows(&self) {
        self.shared.enforces_windows.store(true, Ordering::Relaxed);
    }

    /// Waits until something may have become due here and no other task waits for it.
    pub async fn woken(&self) {
        self.shared.woken.notified().await;
    }

    /// Wakes the waiting task: something may have become due.
    pub fn wake(&self) {
        self.shared.woken.notify_one();
    }

    /// Lets one line pass of each batch that wavebatch paused or last probed over 15 min ago; but not if only the user
    /// may resume it, or its pause ends by itself. Returns these batches with the kinds of their pauses.
    pub async fn probe_paused(&self, environment: Environment) -> Result<Vec<(BatchId, PauseKind)>, StoreError> {
        let held = |kind: &&PauseKind| kind.only_the_user_lifts() || kind.ends_by_itself();
        let held: Vec<&str> = PauseKind::ALL.iter().filter(held).map(|kind| kind.as_str()).collect();
        let which = format!(
            "state = 'paused' AND pause_kind NOT IN ('{}') AND probing = 0 AND finished_at IS NULL AND submitting_at IS NULL
             AND environment = $1 AND coalesce(probed_at, paused_at, 0) <= $2",
            held.join("', '")
        );
        let any: bool = query_scalar(format!("SELECT EXISTS (SELECT 1 FROM batches WHERE {which})"))
            .bind(environment)
            .bind(self.now() - PROBE_AFTER)
            .fetch_one(&self.read)
            .await?;
        if !any {
            return Ok(Vec::new());
        }
        let probed = self
            .write(move |conn, now| {
                let which = which.clone();
                Box::pin(async move {
                    query_as(format!(
                        r"-- window::probe_paused
                          UPDATE batches
                          SET probing = 1, probe_job = NULL, probed_at = $3
                          WHERE {which}
                          RETURNING id, pause_kind"
                    ))
                    .bind(environment)
                    .bind(now - PROBE_AFTER)
                    .bind(now)
                    .fetch_all(conn)
                    .await
                })
            })
            .await?;
        self.wake();
        Ok(probed)
    }

    /// The batches of this environment that are not finished, or whose end was not reported yet, each with its status.
    pub async fn batch_statuses(&self, environment: Environment) -> Result<Vec<(BatchRow, BatchStatus)>, StoreError> {
        let rows = query(
            r"-- window::standings
              SELECT b.*, EXISTS (SELECT 1 FROM jobs WHERE batch = b.id AND due_at IS NOT NULL) AS unfinished,
                window_until <= $2
                  AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = b.id AND state = 'running') AS closed
              FROM batches AS b
              WHERE environment = $1
                AND (finished_at IS NULL OR reported IS DISTINCT FROM 'finished ' || CAST(finished_at AS TEXT))
              ORDER BY id",
        )
        .bind(environment)
        .bind(self.now())
        .fetch_all(&self.read)
        .await?;
        Ok(self.readable(&rows, batch_status))
    }

    /// Records that a batch's report was written and its status was reported.
    pub async fn set_reported(&self, batch: BatchId, batch_status: &BatchStatus) -> Result<(), StoreError> {
        let Some(mark) = batch_status.mark() else { return Ok(()) };
        self.write(move |conn, _| {
            let mark = mark.clone();
            Box::pin(async move {
                query("UPDATE batches SET reported = $1 WHERE id = $2").bind(mark).bind(batch).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }
}

fn batch_status(row: &Row) -> Result<(BatchRow, BatchStatus), StoreError> {
    let batch = read::batch_row(row)?;
    let batch_status = match batch.finished_at {
        Some(at) => BatchStatus::Finished(at),
        None if batch.submitting_at.is_some() => BatchStatus::Working,
        None if !row.try_get::<bool, _>("unfinished")? => BatchStatus::Over,
        None if batch.pause.as_ref().is_some_and(|(kind, _)| *kind != PauseKind::User) => {
            BatchStatus::Paused(batch.paused_at.unwrap_or(0))
        }
        None if batch.pause.is_none() && row.try_get::<Option<bool>, _>("closed")? == Some(true) => {
            BatchStatus::WindowClosed(row.try_get("window_until")?)
        }
        None => BatchStatus::Working,
    };
    let set_reported: Option<String> = row.try_get("reported")?;
    let is_reported = batch_status.mark().is_some_and(|mark| set_reported == Some(mark));
    Ok((batch, if is_reported { BatchStatus::Working } else { batch_status }))
}
