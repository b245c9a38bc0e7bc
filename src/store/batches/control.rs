//! The verbs cancel and retry, in steps, since other processes wait for the lock; and the end of a batch.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::pauses;
use crate::store::{
    Selection, Store, StoreError, calls::end, engine::rows, engine::sql::sql, jobs::deliveries, jobs::parts::is_kept,
};
use crate::{
    clock::Millis,
    domain::job::{BatchId, CallId, JobState},
};

/// How many jobs one transaction changes at most.
const JOBS_AT_ONCE: usize = 4_000;
/// How many calls one transaction gives up at most.
const CALLS_AT_ONCE: i64 = 1_000;
/// How long a verb of many steps leaves the lock free between two steps, where other processes work. A process that waits
/// for SQLite's lock tries it at least every 100 ms: it would never find a lock that is free for a moment only.
const STEPS_APART: Duration = Duration::from_millis(30);

/// Which jobs a `retry` is meant for.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The batch.
    pub batch: BatchId,
    /// Only these lines. Those that succeeded are among them only if they are named by their keys.
    pub lines: Selection,
    /// Only this part of their texts, which is bought again.
    pub part: Option<i64>,
}

impl Chosen {
    /// These lines of a batch.
    #[must_use]
    pub fn of(batch: BatchId, lines: Selection) -> Self {
        Self { batch, lines, part: None }
    }
}

/// What a `retry` does, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many jobs go back to the queue.
    pub jobs: u64,
    /// How many of those only deliver their kept answer again.
    pub deliveries: u64,
    /// What is bought, in the units of the task (milliseconds of audio, or characters), for the jobs with a known amount.
    pub units: u64,
    /// How many jobs have an unknown amount.
    pub unknown: u64,
    /// How many other outputs share audio with what is bought: they are joined again, free of charge.
    pub joined: u64,
}

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
                    sqlx::query("UPDATE batches SET cancelled_at = $2 WHERE id = $1")
                        .bind(batch)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    // Nothing is left that a pause could hold back.
                    pauses::lift(conn, batch, now).await?;
                    let in_flight: i64 = sqlx::query_scalar(AWAITED_CALLS).bind(batch).fetch_one(conn).await?;
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
        let ids: Vec<i64> = sqlx::query_scalar(sql(&format!(
            r"-- control::cancel_selected
              SELECT id
              FROM jobs AS j
              WHERE j.batch = $1 AND j.due_at IS NOT NULL AND j.state <> 'superseded' {}
              ORDER BY id",
            lines.sql(2)
        )))
        .bind(batch)
        .bind(lines.bound())
        .fetch_all(&self.read)
        .await?;
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
        let ids: Vec<i64> = sqlx::query_scalar(sql(&format!(
            r"-- control::redeliver_selected
              SELECT id
              FROM jobs AS j
              WHERE j.batch = $1 AND j.state IN ('succeeded', 'suspect', 'failed') AND j.wanted <> 'dropped' {}
              ORDER BY id",
            lines.sql(2)
        )))
        .bind(batch)
        .bind(lines.bound())
        .fetch_all(&self.read)
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

    /// Finishes a `cancel` that was killed halfway, if there is one. Otherwise, making one line due again would buy the
    /// rest, too.
    pub async fn finish_cancel(&self, batch: BatchId) -> Result<(), StoreError> {
        let half_done: bool = sqlx::query_scalar(
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
        let others: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM processes WHERE id <> $1)")
            .bind(self.shared.process.load(Ordering::Acquire))
            .fetch_one(&self.read)
            .await?;
        if others {
            tokio::time::sleep(STEPS_APART).await;
        }
        Ok(())
    }

    /// The effect that [`Store::retry`] would have.
    pub async fn plan_retry(&self, chosen: &Chosen) -> Result<Retried, StoreError> {
        let row = sqlx::query(sql(&format!(
            r"-- control::plan_retry
              WITH chosen AS ({CHOSEN}),
                bought AS (
                  SELECT c.id, c.kept,
                    CASE WHEN EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = c.id)
                      THEN (SELECT CASE WHEN count(*) = count(p.units) THEN CAST(coalesce(sum(p.units), 0) AS BIGINT) END
                            FROM job_parts AS p WHERE p.job = c.id AND ({ASIDE} OR NOT {PRESENT}))
                      ELSE c.units END AS units
                  FROM chosen AS c)
              SELECT count(*) AS jobs, count(*) FILTER (WHERE kept) AS deliveries,
                CAST(coalesce(sum(units) FILTER (WHERE NOT kept), 0) AS BIGINT) AS units,
                count(*) FILTER (WHERE NOT kept AND units IS NULL) AS unknown
              FROM bought",
            CHOSEN = chosen_jobs(&chosen.lines, "j.id IS NOT NULL"),
            ASIDE = ASIDE,
            PRESENT = PRESENT,
        )))
        .bind(chosen.batch)
        .bind(states(chosen))
        .bind(chosen.lines.bound())
        .bind(chosen.part)
        .fetch_one(&self.read)
        .await?;
        let joined: i64 = sqlx::query_scalar(sql(&format!(
            r"-- control::plan_retry
              WITH chosen AS ({CHOSEN}),
                aside AS (
                  SELECT DISTINCT p.cache_key FROM chosen AS c JOIN job_parts AS p ON p.job = c.id
                  WHERE p.cache_key IS NOT NULL AND {ASIDE})
              SELECT count(*)
              FROM jobs AS j
              WHERE j.id IN (
                  SELECT p.job FROM aside AS a JOIN job_parts AS p ON p.cache_key = a.cache_key AND p.reused = 1
                  UNION
                  SELECT k.job FROM aside AS a
                  JOIN calls AS k ON k.cache_key = a.cache_key AND k.cache_key IS NOT NULL AND k.state = 'answered')
                AND j.batch = $1 AND j.state IN ('succeeded', 'suspect') AND j.wanted <> 'dropped'
                AND j.id NOT IN (SELECT id FROM chosen)",
            CHOSEN = chosen_jobs(&chosen.lines, "j.id IS NOT NULL"),
            ASIDE = ASIDE,
        )))
        .bind(chosen.batch)
        .bind(states(chosen))
        .bind(chosen.lines.bound())
        .bind(chosen.part)
        .fetch_one(&self.read)
        .await?;
        Ok(Retried {
            joined: u64::try_from(joined).unwrap_or(0),
            jobs: u64::from(rows::count(&row, "jobs")?),
            deliveries: u64::from(rows::count(&row, "deliveries")?),
            units: rows::length(&row, "units")?.unwrap_or(0),
            unknown: u64::from(rows::count(&row, "unknown")?),
        })
    }

    /// Puts jobs back in the queue with their tries reset. A kept answer is delivered, not bought again, unless the job
    /// is suspect, or was chosen by key although it succeeded.
    pub async fn retry(&self, chosen: Chosen) -> Result<u64, StoreError> {
        self.finish_cancel(chosen.batch).await?;
        let ids: Vec<i64> = sqlx::query_scalar(sql(&format!(
            r"-- control::retry: the lines as they are now. Each step looks at the states of its own lines again.
              SELECT id
              FROM jobs AS j
              WHERE j.batch = $1 AND j.state IN (SELECT v ->> 0 FROM rows_of($2) AS r)
                AND j.error_kind IS DISTINCT FROM 'bad_line' AND j.wanted <> 'dropped' {}
              ORDER BY id",
            chosen.lines.sql(3)
        )))
        .bind(chosen.batch)
        .bind(states(&chosen))
        .bind(chosen.lines.bound())
        .fetch_all(&self.read)
        .await?;
        let retried = self.retry_in_steps(&ids, chosen, false).await?;
        self.wake();
        Ok(retried)
    }

    /// Puts back the jobs that can be tried again free of charge: source errors, and deliveries whose answer is kept.
    pub async fn retry_free(&self, batch: BatchId) -> Result<u64, StoreError> {
        self.finish_cancel(batch).await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            r"-- control::retry_free
              SELECT id
              FROM jobs
              WHERE batch = $1 AND state = 'failed' AND error_kind <> 'bad_line' AND wanted <> 'dropped'
              ORDER BY id",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let chosen = Chosen::of(batch, Selection::of_states(&[JobState::Failed]));
        self.retry_in_steps(&ids, chosen, true).await
    }

    /// Puts these jobs back in the queue, some at a time; `free`: only those that buy nothing. Returns how many.
    async fn retry_in_steps(&self, ids: &[i64], chosen: Chosen, free: bool) -> Result<u64, StoreError> {
        let mut retried = 0;
        for some in ids.chunks(JOBS_AT_ONCE) {
            let (ids, chosen) = (id_rows(some), chosen.clone());
            retried += self
                .write(move |conn, now| {
                    let (ids, chosen) = (ids.clone(), chosen.clone());
                    Box::pin(async move {
                        let ids = if free { free_of(conn, &ids).await? } else { ids };
                        retry_some(conn, &chosen, &ids, now).await
                    })
                })
                .await?;
            self.let_others_write().await?;
        }
        Ok(retried)
    }

    /// Marks a batch that has nothing due as finished. Returns whether it is finished.
    pub async fn finish(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let done: Option<i64> = sqlx::query_scalar(
                    r"-- control::finish
                      UPDATE batches
                      SET finished_at = coalesce(finished_at, $1)
                      WHERE id = $2 AND submitting_at IS NULL
                        AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL)
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

/// Those of these failed jobs that buy nothing when they are tried again.
async fn free_of(conn: &mut SqliteConnection, ids: &str) -> Result<String, StoreError> {
    let free: Vec<i64> = sqlx::query_scalar(sql(concat!(
        r"-- control::free_of
          SELECT j.id
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)
          WHERE j.state = 'failed' AND j.wanted <> 'dropped' AND (j.error_kind LIKE 'source\_%' ESCAPE '\' OR ",
        is_kept!("j"),
        ")"
    )))
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(id_rows(&free))
}

fn id_rows(ids: &[i64]) -> String {
    json!(ids.iter().map(|id| json!([id])).collect::<Vec<_>>()).to_string()
}

/// The jobs (`j`) of a retry: of batch `$1`, in the states `$2`, of the selection `$3`, for part `$4`. Also whether they are
/// delivered from kept answers: a suspect job, or one chosen although it succeeded, is bought again.
fn chosen_jobs(lines: &Selection, which: &str) -> String {
    format!(
        "SELECT j.id, j.state, j.units,
           $4 IS NULL AND j.state NOT IN ('suspect', 'succeeded') AND {} AS kept
         FROM jobs AS j
         WHERE j.batch = $1 AND j.state IN (SELECT v ->> 0 FROM rows_of($2) AS r)
           AND j.error_kind IS DISTINCT FROM 'bad_line' AND j.wanted <> 'dropped' AND {which} {}",
        is_kept!("j"),
        lines.sql(3)
    )
}

/// Whether a part (`p`) of a chosen job (`c`) is there.
const PRESENT: &str = "(p.reused = 1 OR EXISTS (
    SELECT 1 FROM calls AS k WHERE k.job = p.job AND k.part = p.part AND k.take = p.take AND k.state = 'answered'))";

/// Whether a part (`p`) of a chosen job (`c`) is set aside, to be bought again: the requested part; of a suspect job the
/// doubtful parts, if they are known; of a failed job the answered parts whose answer is pruned.
const ASIDE: &str = "CASE
    WHEN c.kept THEN 1 = 0
    WHEN $4 IS NOT NULL THEN p.part = $4
    WHEN c.state = 'suspect' AND EXISTS (SELECT 1 FROM job_parts AS d WHERE d.job = c.id AND d.doubtful = 1) THEN p.doubtful = 1
    WHEN c.state IN ('suspect', 'succeeded') THEN 1 = 1
    ELSE EXISTS (SELECT 1 FROM calls AS k
      WHERE k.job = p.job AND k.part = p.part AND k.take = p.take AND k.state = 'answered' AND k.cache_key IS NULL
        AND NOT EXISTS (SELECT 1 FROM answers AS a WHERE a.call = k.id)) END";

/// The states from which a retry begins. Only a key can choose a job that succeeded.
fn states(chosen: &Chosen) -> String {
    let mut states = vec![JobState::Failed, JobState::Suspect, JobState::Cancelled];
    if chosen.lines.names_keys() {
        states.push(JobState::Succeeded);
    }
    json!(states.iter().map(|state| [state]).collect::<Vec<_>>()).to_string()
}

/// Puts some of the chosen jobs back in the queue, with kept answers or with new calls.
async fn retry_some(conn: &mut SqliteConnection, chosen: &Chosen, ids: &str, now: Millis) -> Result<u64, StoreError> {
    let which = "j.id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($5) AS r)";
    let jobs: Vec<(i64, bool)> = sqlx::query_as(sql(&format!(
        r"-- control::retry_some: which of them, and which of their parts are set aside.
          SELECT id, kept
          FROM ({}) AS c",
        chosen_jobs(&chosen.lines, which)
    )))
    .bind(chosen.batch)
    .bind(states(chosen))
    .bind(chosen.lines.bound())
    .bind(chosen.part)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    if let Some(part) = chosen.part {
        // A job that was never claimed has no plan yet: only the part's number is known.
        sqlx::query(sql(r"-- control::retry_some
                INSERT INTO job_parts (job, part)
                SELECT CAST(v ->> 0 AS BIGINT), $2 FROM rows_of($1) AS r WHERE 1 = 1
                ON CONFLICT (job, part) DO NOTHING"))
        .bind(id_rows(&jobs.iter().map(|job| job.0).collect::<Vec<_>>()))
        .bind(part)
        .execute(&mut *conn)
        .await?;
    }
    let aside: Vec<(i64, i64)> = sqlx::query_as(sql(&format!(
        r"-- control::retry_some
          SELECT p.job, p.part
          FROM ({}) AS c JOIN job_parts AS p ON p.job = c.id
          WHERE {ASIDE}",
        chosen_jobs(&chosen.lines, which)
    )))
    .bind(chosen.batch)
    .bind(states(chosen))
    .bind(chosen.lines.bound())
    .bind(chosen.part)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    set_aside(conn, &json!(aside).to_string(), now).await?;
    requeue(conn, &jobs, now).await?;
    if !jobs.is_empty() {
        unfinish(conn, chosen.batch).await?;
    }
    Ok(u64::try_from(jobs.len()).unwrap_or(0))
}

/// Sets parts aside, bought or reused: `[[job, part], …]`. Clips that the audio cache has had until now do not count.
async fn set_aside(conn: &mut SqliteConnection, parts: &str, now: Millis) -> Result<(), StoreError> {
    for statement in [
        r"-- control::set_aside
          DELETE FROM answers
          WHERE call IN (
            SELECT c.id FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT) AND c.part = CAST(r.v ->> 1 AS BIGINT)
            WHERE c.state = 'answered')",
        r"-- control::set_aside
          UPDATE calls
          SET state = 'replaced'
          WHERE id IN (
            SELECT c.id FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT) AND c.part = CAST(r.v ->> 1 AS BIGINT)
            WHERE c.state = 'answered')",
    ] {
        sqlx::query(sql(statement)).bind(parts).execute(&mut *conn).await?;
    }
    sqlx::query(sql(r"-- control::set_aside
            UPDATE job_parts
            SET reused = 0, forced_at = $2
            WHERE (job, part) IN (SELECT CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT) FROM rows_of($1) AS r)"))
    .bind(parts)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts jobs back in the queue; each entry also says whether its kept answer is used.
async fn requeue(conn: &mut SqliteConnection, jobs: &[(i64, bool)], now: Millis) -> Result<(), StoreError> {
    let set = json!(jobs.iter().map(|(id, kept)| (id, u8::from(*kept))).collect::<Vec<_>>()).to_string();
    // The files of retried jobs are written again, whatever is there.
    deliveries::forget_checksums(conn, &set).await?;
    sqlx::query(sql(r"-- control::requeue: what was in doubt is paid for again, or delivered again and judged anew.
            UPDATE job_parts
            SET doubtful = 0
            WHERE doubtful = 1 AND job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)"))
    .bind(&set)
    .execute(&mut *conn)
    .await?;
    sqlx::query(sql(
        r"-- control::requeue: what went wrong before does not count against the line. One that waited for the worker of its older self waits
          -- for it still.
          UPDATE jobs
          SET state = 'queued',
            due_at = CASE WHEN EXISTS (SELECT 1 FROM jobs AS h WHERE h.id = jobs.after AND h.token IS NOT NULL)
              THEN $2 + 60000 ELSE $2 END,
            generation = generation + 1, source_tries = 0, finished_at = NULL, error_kind = NULL, error = NULL, notes = NULL,
            lane = CASE WHEN CAST(r.v ->> 1 AS BIGINT) = 1 THEN 'free' ELSE pool END
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)",
    ))
    .bind(&set)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reopens a batch with something due. An earlier `cancel` ends, unless the batch's lines are being submitted.
pub(in crate::store) async fn unfinish(conn: &mut SqliteConnection, batch: BatchId) -> Result<(), StoreError> {
    sqlx::query(
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
    sqlx::query(
        r"-- control::unfinish
          UPDATE batches
          SET finished_at = NULL, lately_well = 0, lately_badly = 0,
            cancelled_at = CASE WHEN submitting_at IS NULL THEN NULL ELSE cancelled_at END
          WHERE id = $1",
    )
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up open calls of a batch that nobody waits for, up to a limit. Returns whether there may be more.
async fn give_up_unawaited(conn: &mut SqliteConnection, batch: BatchId, now: Millis) -> Result<bool, StoreError> {
    let unawaited = sqlx::query(
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
async fn cancel_some(conn: &mut SqliteConnection, batch: BatchId, now: Millis) -> Result<Option<u64>, StoreError> {
    let done = sqlx::query(
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
    sqlx::query(
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
async fn cancel_these(conn: &mut SqliteConnection, jobs: &str, now: Millis) -> Result<(u64, u64), StoreError> {
    let unawaited = sqlx::query(sql(r"-- control::cancel_these: nobody waits for these calls any more.
            SELECT c.id
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted') AND c.process IS NULL"))
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    give_up_all(conn, &unawaited, now).await?;
    let in_flight: i64 = sqlx::query_scalar(sql(r"-- control::cancel_these
            SELECT count(DISTINCT c.job)
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted')"))
    .bind(jobs)
    .fetch_one(&mut *conn)
    .await?;
    let done = sqlx::query(sql(r"-- control::cancel_these
            UPDATE jobs
            SET state = 'cancelled', due_at = NULL, token = NULL, process = NULL, finished_at = $2, lane = 'free'
            WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r) AND due_at IS NOT NULL"))
    .bind(jobs)
    .bind(now)
    .execute(conn)
    .await?;
    Ok((done.rows_affected(), u64::try_from(in_flight).unwrap_or(0)))
}

/// Gives up and books the open calls of jobs (`[[job], …]`) that no worker has any more.
pub(in crate::store) async fn give_up_open_calls_of(
    conn: &mut SqliteConnection,
    jobs: &str,
    now: Millis,
) -> Result<(), StoreError> {
    let open = sqlx::query(sql(r"-- control::give_up_open_calls_of
            SELECT c.id
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.state IN ('sent', 'accepted')"))
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    give_up_all(conn, &open, now).await
}

/// Gives up and books the open calls of one job that no worker has any more.
pub(in crate::store) async fn give_up_open_calls(
    conn: &mut SqliteConnection,
    job: i64,
    now: Millis,
) -> Result<(), StoreError> {
    give_up_open_calls_of(conn, &id_rows(&[job]), now).await
}

/// The workers of these superseded jobs have stopped: their successors may start. If a predecessor itself waited for an
/// older job's worker, and began after that worker's lease expired, its successor waits while that worker is active.
pub(in crate::store) async fn release_successors(
    conn: &mut SqliteConnection,
    stopped: &[i64],
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query(sql(r"-- control::release_successors
            WITH held AS (
              SELECT o.id AS stopped, h.id AS older
              FROM rows_of($1) AS r
              JOIN jobs AS o ON o.id = CAST(r.v ->> 0 AS BIGINT)
              LEFT JOIN jobs AS h ON h.id = o.after AND h.token IS NOT NULL)
            UPDATE jobs
            SET after = held.older,
              due_at = CASE WHEN state <> 'queued' THEN due_at WHEN held.older IS NULL THEN $2 ELSE $2 + 60000 END
            FROM held
            WHERE jobs.after = held.stopped AND jobs.due_at IS NOT NULL"))
    .bind(id_rows(stopped))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up the calls of these rows.
pub(in crate::store) async fn give_up_all(
    conn: &mut SqliteConnection,
    open: &[SqliteRow],
    now: Millis,
) -> Result<(), StoreError> {
    let calls = open.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<Vec<CallId>, StoreError>>()?;
    end::give_up(conn, &calls, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_can_choose_what_went_well() {
        let chosen = |lines| Chosen::of(BatchId(1), lines);
        assert_eq!(states(&chosen(Selection::default())), r#"[["failed"],["suspect"],["cancelled"]]"#);
        let by_state = Selection::of_states(&[JobState::Succeeded, JobState::Failed]);
        assert_eq!(states(&chosen(by_state)), r#"[["failed"],["suspect"],["cancelled"]]"#);
        assert_eq!(states(&chosen(Selection::of_key("a"))), r#"[["failed"],["suspect"],["cancelled"],["succeeded"]]"#);
    }
}
