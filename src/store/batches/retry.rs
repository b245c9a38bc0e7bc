//! The verb retry, in steps, since other processes wait for the lock.

use serde_json::json;

use super::control::{JOBS_AT_ONCE, id_rows, unfinish};
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{Selection, Store, StoreError, engine::rows, jobs::deliveries, jobs::parts::is_kept};
use crate::{
    clock::Millis,
    domain::job::{BatchId, JobState},
};

/// Which jobs a `retry` is meant for.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The batch.
    pub batch: BatchId,
    /// Only these lines. Those that succeeded are among them only if they are named by their keys.
    pub lines: Selection,
    /// Only this part of their texts, which is bought again.
    pub part: Option<i64>,
    /// Tried another way, as the task names it, once for each line: nothing is set aside. Only suspect lines are.
    pub other_way: Option<String>,
}

impl Chosen {
    /// These lines of a batch.
    #[must_use]
    pub fn of(batch: BatchId, lines: Selection) -> Self {
        Self { batch, lines, part: None, other_way: None }
    }
}

impl Chosen {
    /// The condition that a line was tried no other way yet.
    const fn untried(&self) -> &'static str {
        if self.other_way.is_some() { "AND j.other_way IS NULL " } else { "" }
    }
}

/// What a `retry` does, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many jobs go back to the queue.
    pub jobs: u64,
    /// How many of those only deliver their kept answer again.
    pub deliveries: u64,
    /// How many of the others have had no call that may have been billed, and share no audio of another: they are paid for once.
    pub first: u64,
    /// What is bought, in the units of the task (milliseconds of audio, or characters), for the jobs with a known amount.
    pub units: u64,
    /// How many jobs have an unknown amount.
    pub unknown: u64,
    /// How many other outputs share audio with what is bought: they are joined again, free of charge.
    pub joined: u64,
}

/// What was put back in the queue because it is not paid for again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FreeRetry {
    /// Jobs whose kept answer is delivered again.
    pub deliveries: u64,
    /// The others: their source failed, and they are called now.
    pub sources: u64,
}

impl FreeRetry {
    /// How many jobs there are.
    #[must_use]
    pub const fn jobs(self) -> u64 {
        self.deliveries + self.sources
    }
}

impl Store {
    /// The effect that [`Store::retry`] would have.
    pub async fn plan_retry(&self, chosen: &Chosen) -> Result<Retried, StoreError> {
        let row = query(format!(
            r"-- retry::plan_retry
              WITH chosen AS ({CHOSEN}),
                bought AS (
                  SELECT c.id, c.kept,
                    CASE WHEN {ALL} THEN c.units
                      WHEN EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = c.id)
                      THEN (SELECT CASE WHEN count(*) = count(p.units) THEN CAST(coalesce(sum(p.units), 0) AS BIGINT) END
                            FROM job_parts AS p WHERE p.job = c.id AND ({ASIDE} OR NOT {PRESENT}))
                      ELSE c.units END AS units
                  FROM chosen AS c)
              SELECT count(*) AS jobs, count(*) FILTER (WHERE kept) AS deliveries,
                CAST(coalesce(sum(units) FILTER (WHERE NOT kept), 0) AS BIGINT) AS units,
                count(*) FILTER (WHERE NOT kept AND units IS NULL) AS unknown,
                count(*) FILTER (WHERE NOT kept AND NOT EXISTS (
                  SELECT 1 FROM calls AS k WHERE k.job = bought.id AND k.state <> 'rejected')
                  AND NOT EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = bought.id AND p.reused = 1)) AS first
              FROM bought",
            ALL = if chosen.other_way.is_some() { "1 = 1" } else { "1 = 0" },
            CHOSEN = chosen_jobs(chosen, "j.id IS NOT NULL"),
            ASIDE = ASIDE,
            PRESENT = PRESENT,
        ))
        .bind(chosen.batch)
        .bind(state_rows(chosen))
        .bind(chosen.lines.bound())
        .bind(chosen.part)
        .fetch_one(&self.read)
        .await?;
        let joined: i64 = query_scalar(format!(
            r"-- retry::plan_retry
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
                AND j.batch = $1 AND j.state IN ('succeeded', 'suspect') AND j.wanted <> 'dropped' AND j.forget IS NULL
                AND j.id NOT IN (SELECT id FROM chosen)",
            CHOSEN = chosen_jobs(chosen, "j.id IS NOT NULL"),
            ASIDE = ASIDE,
        ))
        .bind(chosen.batch)
        .bind(state_rows(chosen))
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
            first: u64::from(rows::count(&row, "first")?),
        })
    }

    /// Puts jobs back in the queue with their tries reset. A kept answer is delivered, not bought again, unless the job
    /// is suspect, or was chosen by key although it succeeded.
    pub async fn retry(&self, chosen: Chosen) -> Result<u64, StoreError> {
        self.finish_cancel(chosen.batch).await?;
        let states: Vec<String> = states(&chosen).iter().map(|state| format!("'{state}'")).collect();
        let condition = format!(
            "j.state IN ({}) AND j.error_kind IS DISTINCT FROM 'bad_line' AND j.wanted <> 'dropped' AND j.forget IS NULL {}",
            states.join(", "),
            chosen.untried()
        );
        let ids = self.selected(chosen.batch, &condition, &chosen.lines).await?;
        let retried = self.retry_in_steps(&ids, chosen, false).await?;
        self.wake();
        Ok(retried.jobs())
    }

    /// Puts back the jobs for which nothing is paid twice: source errors, and deliveries whose answer is kept.
    pub async fn retry_free(&self, batch: BatchId) -> Result<FreeRetry, StoreError> {
        self.finish_cancel(batch).await?;
        let ids: Vec<i64> = query_scalar(
            r"-- retry::retry_free
              SELECT id
              FROM jobs
              WHERE batch = $1 AND state = 'failed' AND error_kind <> 'bad_line' AND wanted <> 'dropped' AND forget IS NULL
              ORDER BY id",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let chosen = Chosen::of(batch, Selection::of_states(&[JobState::Failed]));
        self.retry_in_steps(&ids, chosen, true).await
    }

    /// Puts these jobs back in the queue, some at a time; `free`: only those that buy nothing twice. Returns how many.
    async fn retry_in_steps(&self, ids: &[i64], chosen: Chosen, free: bool) -> Result<FreeRetry, StoreError> {
        let mut retried = FreeRetry::default();
        for some in ids.chunks(JOBS_AT_ONCE) {
            let (ids, chosen) = (id_rows(some), chosen.clone());
            let done = self
                .write(move |conn, now| {
                    let (ids, chosen) = (ids.clone(), chosen.clone());
                    Box::pin(async move {
                        let ids = if free { free_of(conn, &ids).await? } else { ids };
                        retry_some(conn, &chosen, &ids, now).await
                    })
                })
                .await?;
            retried.deliveries += done.deliveries;
            retried.sources += done.sources;
            self.let_others_write().await?;
        }
        Ok(retried)
    }
}

/// Those of these failed jobs that buy nothing twice when they are tried again.
async fn free_of(conn: &mut Conn, ids: &str) -> Result<String, StoreError> {
    let free: Vec<i64> = query_scalar(concat!(
        r"-- retry::free_of
          SELECT j.id
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)
          WHERE j.state = 'failed' AND j.wanted <> 'dropped' AND j.forget IS NULL AND (j.error_kind LIKE 'source\_%' ESCAPE '\' OR ",
        is_kept!("j"),
        ")"
    ))
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(id_rows(&free))
}

/// The jobs (`j`) of a retry: of batch `$1`, in the states `$2`, of the selection `$3`, for part `$4`. Also whether they are
/// delivered from kept answers: a suspect job, or one chosen although it succeeded, is bought again.
fn chosen_jobs(chosen: &Chosen, which: &str) -> String {
    format!(
        "SELECT j.id, j.state, j.units,
           $4 IS NULL AND j.state NOT IN ('suspect', 'succeeded') AND {} AS kept
         FROM jobs AS j
         WHERE j.batch = $1 AND j.state IN (SELECT v ->> 0 FROM rows_of($2) AS r)
           AND j.error_kind IS DISTINCT FROM 'bad_line' AND j.wanted <> 'dropped' AND j.forget IS NULL AND {which} {}{}",
        is_kept!("j"),
        chosen.untried(),
        chosen.lines.sql(3)
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
fn states(chosen: &Chosen) -> Vec<JobState> {
    if chosen.other_way.is_some() {
        return vec![JobState::Suspect];
    }
    let mut states = vec![JobState::Failed, JobState::Suspect, JobState::Cancelled];
    if chosen.lines.names_keys() {
        states.push(JobState::Succeeded);
    }
    states
}

/// The same states as rows.
fn state_rows(chosen: &Chosen) -> String {
    json!(states(chosen).iter().map(|state| [state]).collect::<Vec<_>>()).to_string()
}

/// Puts some of the chosen jobs back in the queue, with kept answers or with new calls.
async fn retry_some(conn: &mut Conn, chosen: &Chosen, ids: &str, now: Millis) -> Result<FreeRetry, StoreError> {
    let which = "j.id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($5) AS r)";
    let jobs: Vec<(i64, bool)> = query_as(format!(
        r"-- retry::retry_some: which of them, and which of their parts are set aside.
          SELECT id, kept
          FROM ({}) AS c",
        chosen_jobs(chosen, which)
    ))
    .bind(chosen.batch)
    .bind(state_rows(chosen))
    .bind(chosen.lines.bound())
    .bind(chosen.part)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    if let Some(part) = chosen.part {
        // A job that was never claimed has no plan yet: only the part's number is known.
        query(
            r"-- retry::retry_some
                INSERT INTO job_parts (job, part)
                SELECT CAST(v ->> 0 AS BIGINT), $2 FROM rows_of($1) AS r WHERE 1 = 1
                ON CONFLICT (job, part) DO NOTHING",
        )
        .bind(id_rows(&jobs.iter().map(|job| job.0).collect::<Vec<_>>()))
        .bind(part)
        .execute(&mut *conn)
        .await?;
    }
    if let Some(way) = &chosen.other_way {
        query(
            r"-- retry::retry_some
                UPDATE jobs SET other_way = $2
                WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
        )
        .bind(id_rows(&jobs.iter().map(|job| job.0).collect::<Vec<_>>()))
        .bind(way.clone())
        .execute(&mut *conn)
        .await?;
        requeue(conn, &jobs, now).await?;
        if !jobs.is_empty() {
            unfinish(conn, chosen.batch).await?;
        }
        return Ok(FreeRetry { deliveries: 0, sources: jobs.len() as u64 });
    }
    let aside: Vec<(i64, i64)> = query_as(format!(
        r"-- retry::retry_some
          SELECT p.job, p.part
          FROM ({}) AS c JOIN job_parts AS p ON p.job = c.id
          WHERE {ASIDE}",
        chosen_jobs(chosen, which)
    ))
    .bind(chosen.batch)
    .bind(state_rows(chosen))
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
    let deliveries = jobs.iter().filter(|(_, kept)| *kept).count();
    Ok(FreeRetry { deliveries: deliveries as u64, sources: (jobs.len() - deliveries) as u64 })
}

/// Sets parts aside, bought or reused: `[[job, part], …]`. Clips that the audio cache has had until now do not count.
async fn set_aside(conn: &mut Conn, parts: &str, now: Millis) -> Result<(), StoreError> {
    for statement in [
        r"-- retry::set_aside
          DELETE FROM answers
          WHERE call IN (
            SELECT c.id FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT) AND c.part = CAST(r.v ->> 1 AS BIGINT)
            WHERE c.state = 'answered')",
        r"-- retry::set_aside
          UPDATE calls
          SET state = 'replaced'
          WHERE id IN (
            SELECT c.id FROM rows_of($1) AS r
            JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT) AND c.part = CAST(r.v ->> 1 AS BIGINT)
            WHERE c.state = 'answered')",
    ] {
        query(statement).bind(parts).execute(&mut *conn).await?;
    }
    query(
        r"-- retry::set_aside
            UPDATE job_parts
            SET reused = 0, forced_at = $2
            WHERE (job, part) IN (SELECT CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(parts)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts jobs back in the queue; each entry also says whether its kept answer is used.
async fn requeue(conn: &mut Conn, jobs: &[(i64, bool)], now: Millis) -> Result<(), StoreError> {
    let set = json!(jobs.iter().map(|(id, kept)| (id, u8::from(*kept))).collect::<Vec<_>>()).to_string();
    // The files of retried jobs are written again, whatever is there.
    deliveries::forget_checksums(conn, &set).await?;
    query(
        r"-- retry::requeue: what was in doubt is paid for again, or delivered again and judged anew.
            UPDATE job_parts
            SET doubtful = 0
            WHERE doubtful = 1 AND job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(&set)
    .execute(&mut *conn)
    .await?;
    query(r"-- retry::requeue: what went wrong before does not count against the line. One that waited for the worker of its older self waits
          -- for it still.
          UPDATE jobs
          SET state = 'queued',
            due_at = CASE WHEN EXISTS (SELECT 1 FROM jobs AS h WHERE h.id = jobs.after AND h.token IS NOT NULL)
              THEN $2 + 60000 ELSE $2 END,
            generation = generation + 1, source_tries = 0, finished_at = NULL, error_kind = NULL, error = NULL,
            notes = CASE WHEN notes LIKE '%upstream_changed%' THEN 'upstream_changed' END,
            lane = CASE WHEN CAST(r.v ->> 1 AS BIGINT) = 1 THEN 'free' ELSE pool END
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)")
    .bind(&set)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::JobState::{Cancelled, Failed, Succeeded, Suspect};

    #[test]
    fn only_a_key_can_choose_what_went_well() {
        let chosen = |lines| Chosen::of(BatchId(1), lines);
        assert_eq!(states(&chosen(Selection::default())), [Failed, Suspect, Cancelled]);
        let by_state = Selection::of_states(&[JobState::Succeeded, JobState::Failed]);
        assert_eq!(states(&chosen(by_state)), [Failed, Suspect, Cancelled]);
        assert_eq!(states(&chosen(Selection::of_key("a"))), [Failed, Suspect, Cancelled, Succeeded]);
    }
}
