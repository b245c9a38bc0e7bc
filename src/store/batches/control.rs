//! Cancelling and delivering again, in steps, since other processes wait for the lock; and the end of a batch.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;

use super::{fed, pauses};
use crate::store::engine::db::{Conn, Row, query, query_scalar};
use crate::store::{Selection, Store, StoreError, calls::end, jobs::deliveries};
use crate::{
    clock::Millis,
    domain::job::{BatchId, CallId},
};

/// How many jobs one transaction changes at most.
pub(super) const JOBS_AT_ONCE: usize = 4_000;
/// How many calls one transaction gives up at most.
const CALLS_AT_ONCE: i64 = 1_000;
/// How long a verb of many steps leaves the lock free between two steps, where other processes work. A process that waits
/// for SQLite's lock tries it at least every 100 ms: it would never find a lock that is free for a moment only.
const STEPS_APART: Duration = Duration::from_millis(30);

/// What a `cancel` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// How many jobs were cancelled.
    pub jobs: u64,
    /// How many of those had a call in flight: it finishes, and its answer is kept.
    pub in_flight: u64,
}

pub(in crate::store) const AWAITED_CALLS: &str = r"-- control::cancel: by the open calls, which are few, and not by all of the batch (hence the plus).
        SELECT count(DISTINCT job)
        FROM calls
        WHERE +batch = $1 AND state IN ('sent', 'accepted') AND process IS NOT NULL";

impl Store {
    /// Cancels every job that is not finished. Calls in flight finish, and their answers are kept. From the first step on
    /// no call begins. Lines that a running submission still adds are cancelled when it ends.
    pub async fn cancel(&self, batch: BatchId) -> Result<Cancelled, StoreError> {
        let in_flight = self
            .write(move |conn, now| {
                Box::pin(async move {
                    query("UPDATE batches SET cancelled_at = $2 WHERE id = $1")
                        .bind(batch)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    // Nothing is left that a pause could hold back.
                    pauses::lift(conn, batch, now).await?;
                    let in_flight: i64 = query_scalar(AWAITED_CALLS).bind(batch).fetch_one(conn).await?;
                    Ok(u64::try_from(in_flight).unwrap_or(0))
                })
            })
            .await?;
        Ok(Cancelled { jobs: self.cancel_lines(batch).await?, in_flight })
    }

    /// Cancels the lines of a batch. Returns how many jobs were cancelled.
    pub(in crate::store) async fn cancel_lines(&self, batch: BatchId) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        // Nobody waits for these calls any more, and once their jobs are over nobody would look at them.
        while self.write(move |conn, now| Box::pin(give_up_unawaited(conn, batch, now))).await? {
            self.let_others_write().await?;
        }
        while let Some(some) = self.write(move |conn, now| Box::pin(cancel_some(conn, batch, now))).await? {
            cancelled += some;
            self.let_others_write().await?;
        }
        Ok(cancelled)
    }

    /// Cancels those of these lines that are not finished, as [`Store::cancel`] does with all lines. The other lines of the
    /// batch go on.
    pub async fn cancel_selected(&self, batch: BatchId, lines: &Selection) -> Result<Cancelled, StoreError> {
        let ids = self.selected(batch, "j.due_at IS NOT NULL AND j.state <> 'superseded'", lines).await?;
        let mut cancelled = Cancelled::default();
        for some in ids.chunks(JOBS_AT_ONCE) {
            let ids = id_rows(some);
            let step = self.write(move |conn, now| {
                let ids = ids.clone();
                Box::pin(async move { cancel_these(conn, &ids, now).await })
            });
            let (jobs, in_flight) = step.await?;
            cancelled.jobs += jobs;
            cancelled.in_flight += in_flight;
            self.let_others_write().await?;
        }
        self.finish(batch).await?;
        Ok(cancelled)
    }

    /// Makes those of these lines due for delivery that are finished and whose answer is kept. All their files are written
    /// again. Returns how many, and how many answers are pruned.
    pub async fn redeliver_selected(&self, batch: BatchId, lines: &Selection) -> Result<(u64, u64), StoreError> {
        self.finish_cancel(batch).await?;
        let ids = self
            .selected(batch, "j.state IN ('succeeded', 'suspect', 'failed') AND j.wanted <> 'dropped'", lines)
            .await?;
        let (mut delivered, mut pruned) = (0, 0);
        for some in ids.chunks(JOBS_AT_ONCE) {
            let ids = id_rows(some);
            let step = self.write(move |conn, now| {
                let ids = ids.clone();
                Box::pin(async move {
                    deliveries::forget_checksums(conn, &ids).await?;
                    let done = deliveries::redeliver(conn, &ids, now).await?;
                    if done.0 > 0 {
                        unfinish(conn, batch).await?;
                    }
                    Ok(done)
                })
            });
            let done = step.await?;
            delivered += done.0;
            pruned += done.1;
            self.let_others_write().await?;
        }
        self.wake();
        Ok((delivered, pruned))
    }

    /// The jobs (`j`) of these lines that meet a condition, as they are now. Each step of a verb looks at its own again.
    pub(in crate::store) async fn selected(
        &self,
        batch: BatchId,
        condition: &str,
        lines: &Selection,
    ) -> Result<Vec<i64>, StoreError> {
        let statement = format!(
            r"-- control::selected
              SELECT id
              FROM jobs AS j
              WHERE j.batch = $1 AND {condition} {}
              ORDER BY id",
            lines.sql(2)
        );
        query_scalar(statement.clone()).bind(batch).bind(lines.bound()).fetch_all(&self.read).await
    }

    /// Finishes a `cancel` that was killed halfway, if there is one. Otherwise, making one line due again would buy the
    /// rest, too.
    pub async fn finish_cancel(&self, batch: BatchId) -> Result<(), StoreError> {
        let half_done: bool = query_scalar(
            r"-- control::finish_cancel
              SELECT EXISTS (
                SELECT 1 FROM batches
                WHERE id = $1 AND cancelled_at IS NOT NULL AND finished_at IS NULL AND submitting_at IS NULL)",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        if half_done {
            self.cancel_lines(batch).await?;
        }
        Ok(())
    }

    /// Leaves the lock free between two steps of a verb, for as long as other processes need to find it free.
    pub async fn let_others_write(&self) -> Result<(), StoreError> {
        let others: bool = query_scalar("SELECT EXISTS (SELECT 1 FROM processes WHERE id <> $1)")
            .bind(self.shared.process.load(Ordering::Acquire))
            .fetch_one(&self.read)
            .await?;
        if others {
            tokio::time::sleep(STEPS_APART).await;
        }
        Ok(())
    }

    /// Marks a batch that has nothing due as finished. Returns whether it is finished.
    pub async fn finish(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let done: Option<i64> = query_scalar(
                    r"-- control::finish
                      UPDATE batches
                      SET finished_at = coalesce(finished_at, $1)
                      WHERE id = $2 AND submitting_at IS NULL
                        AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL)
                        AND (fed_by IS NULL OR (
                          EXISTS (SELECT 1 FROM batches AS u WHERE u.id = batches.fed_by AND u.finished_at IS NOT NULL)
                          AND NOT EXISTS (SELECT 1 FROM jobs AS u WHERE u.batch = batches.fed_by AND u.seq > batches.fed_to)))
                      RETURNING finished_at",
                )
                .bind(now)
                .bind(batch)
                .fetch_optional(conn)
                .await?;
                Ok(done.is_some())
            })
        })
        .await
    }
}

pub(super) fn id_rows(ids: &[i64]) -> String {
    json!(ids.iter().map(|id| json!([id])).collect::<Vec<_>>()).to_string()
}

/// Reopens a batch with something due. An earlier `cancel` ends, unless the batch's lines are being submitted.
pub(in crate::store) async fn unfinish(conn: &mut Conn, batch: BatchId) -> Result<(), StoreError> {
    query(
        r"-- control::unfinish: a batch that goes on has its window at once.
          UPDATE batches
          SET window_from = s.window_from, window_until = s.window_until
          FROM schedules AS s
          WHERE batches.id = $1 AND batches.finished_at IS NOT NULL AND s.definition = batches.definition
            AND s.environment = batches.environment",
    )
    .bind(batch)
    .execute(&mut *conn)
    .await?;
    query(
        r"-- control::unfinish
          UPDATE batches
          SET finished_at = NULL, lately_well = 0, lately_badly = 0,
            cancelled_at = CASE WHEN submitting_at IS NULL THEN NULL ELSE cancelled_at END
          WHERE id = $1",
    )
    .bind(batch)
    .execute(&mut *conn)
    .await?;
    fed::unfinish_fed(conn, batch).await
}

/// Gives up open calls of a batch that nobody waits for, up to a limit. Returns whether there may be more.
async fn give_up_unawaited(conn: &mut Conn, batch: BatchId, now: Millis) -> Result<bool, StoreError> {
    let unawaited = query(
        r"-- control::give_up_unawaited: by the open calls, as in `cancel`.
          SELECT id
          FROM calls
          WHERE +batch = $1 AND state IN ('sent', 'accepted') AND process IS NULL
          LIMIT $2",
    )
    .bind(batch)
    .bind(CALLS_AT_ONCE)
    .fetch_all(&mut *conn)
    .await?;
    give_up_all(conn, &unawaited, now).await?;
    Ok(!unawaited.is_empty())
}

/// Cancels some jobs of a batch. `None`: none was left, and the batch is marked as finished.
async fn cancel_some(conn: &mut Conn, batch: BatchId, now: Millis) -> Result<Option<u64>, StoreError> {
    let done = query(
        r"-- control::cancel_some
          UPDATE jobs
          SET state = 'cancelled', due_at = NULL, token = NULL, process = NULL, finished_at = $1, lane = 'free'
          WHERE id IN (SELECT id FROM jobs WHERE batch = $2 AND due_at IS NOT NULL LIMIT $3)",
    )
    .bind(now)
    .bind(batch)
    .bind(i64::try_from(JOBS_AT_ONCE).unwrap_or(i64::MAX))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        return Ok(Some(done.rows_affected()));
    }
    query(
        r"-- control::cancel_some: one that is being submitted may get more.
          UPDATE batches
          SET finished_at = $1
          WHERE id = $2 AND finished_at IS NULL AND submitting_at IS NULL",
    )
    .bind(now)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(None)
}

/// Cancels these jobs (`[[job], …]`), if they are not finished. Returns how many, and how many of them have a call in flight.
pub(in crate::store) async fn cancel_these(conn: &mut Conn, jobs: &str, now: Millis) -> Result<(u64, u64), StoreError> {
    let unawaited = query(
        r"-- control::cancel_these: nobody waits for these calls any more.
            SELECT c.id
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted') AND c.process IS NULL",
    )
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    give_up_all(conn, &unawaited, now).await?;
    let in_flight: i64 = query_scalar(
        r"-- control::cancel_these
            SELECT count(DISTINCT c.job)
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted')",
    )
    .bind(jobs)
    .fetch_one(&mut *conn)
    .await?;
    let done = query(
        r"-- control::cancel_these
            UPDATE jobs
            SET state = 'cancelled', due_at = NULL, token = NULL, process = NULL, finished_at = $2, lane = 'free'
            WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r) AND due_at IS NOT NULL",
    )
    .bind(jobs)
    .bind(now)
    .execute(conn)
    .await?;
    Ok((done.rows_affected(), u64::try_from(in_flight).unwrap_or(0)))
}

/// Gives up and books the open calls of jobs (`[[job], …]`) that no worker has any more.
pub(in crate::store) async fn give_up_open_calls_of(
    conn: &mut Conn,
    jobs: &str,
    now: Millis,
) -> Result<(), StoreError> {
    let open = query(
        r"-- control::give_up_open_calls_of
            SELECT c.id
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted')",
    )
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    give_up_all(conn, &open, now).await
}

/// Gives up and books the open calls of one job that no worker has any more.
pub(in crate::store) async fn give_up_open_calls(conn: &mut Conn, job: i64, now: Millis) -> Result<(), StoreError> {
    give_up_open_calls_of(conn, &id_rows(&[job]), now).await
}

/// The workers of these superseded jobs have stopped: their successors may start. If a predecessor itself waited for an
/// older job's worker, and began after that worker's lease expired, its successor waits while that worker is active.
pub(in crate::store) async fn release_successors(
    conn: &mut Conn,
    stopped: &[i64],
    now: Millis,
) -> Result<(), StoreError> {
    query(
        r"-- control::release_successors
            WITH held AS (
              SELECT o.id AS stopped, h.id AS older
              FROM rows_of($1) AS r
              JOIN jobs AS o ON o.id = CAST(r.v ->> 0 AS BIGINT)
              LEFT JOIN jobs AS h ON h.id = o.after AND h.token IS NOT NULL)
            UPDATE jobs
            SET after = held.older,
              due_at = CASE WHEN state <> 'queued' THEN due_at WHEN held.older IS NULL THEN $2 ELSE $2 + 60000 END
            FROM held
            WHERE jobs.after = held.stopped AND jobs.due_at IS NOT NULL",
    )
    .bind(id_rows(stopped))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up the calls of these rows.
pub(in crate::store) async fn give_up_all(conn: &mut Conn, open: &[Row], now: Millis) -> Result<(), StoreError> {
    let calls = open.iter().map(|row| row.try_get("id")).collect::<Result<Vec<CallId>, StoreError>>()?;
    end::give_up(conn, &calls, now).await
}
