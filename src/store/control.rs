//! The user's verbs: cancel and retry; and the end of a batch.

use serde_json::json;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{Store, StoreError, doubts, end, parts::all_parts_of, rows};
use crate::{
    clock::Millis,
    domain::job::{BatchId, JobState},
};

/// Which jobs a `retry` is meant for.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The batch.
    pub batch: BatchId,
    /// Only this key; then a succeeded job too.
    pub key: Option<String>,
    /// Only these states; empty = failed, suspect and cancelled.
    pub states: Vec<JobState>,
    /// Only this part of their texts is bought again.
    pub part: Option<i64>,
}

/// What a `retry` does, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// Jobs that go back to the queue.
    pub jobs: u64,
    /// Those whose kept answer is only delivered again.
    pub deliveries: u64,
    /// Audio of those that are bought, in ms, where it is known.
    pub audio_ms: u64,
    /// Those that are bought and whose length is unknown.
    pub unknown_length: u64,
    /// Characters that are bought.
    pub characters: u64,
}

/// What a `cancel` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Jobs taken back.
    pub jobs: u64,
    /// Of those, how many had a call in flight: it finishes, and its answer is kept.
    pub in_flight: u64,
}

impl Store {
    /// Takes back every job that is not finished. Calls in flight finish, and their answers are kept.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn cancel(&self, batch: BatchId) -> Result<Cancelled, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let in_flight: i64 = sqlx::query_scalar(
                    "SELECT count(DISTINCT job) FROM calls WHERE batch = ? AND state IN ('sent', 'accepted') AND process IS NOT NULL",
                )
                .bind(batch.0)
                .fetch_one(&mut *conn)
                .await?;
                let unawaited = sqlx::query(
                    "SELECT id FROM calls WHERE batch = ? AND state IN ('sent', 'accepted') AND process IS NULL",
                )
                .bind(batch.0)
                .fetch_all(&mut *conn)
                .await?;
                give_up_all(conn, &unawaited, now).await?;
                let done = sqlx::query(
                    "UPDATE jobs SET state = 'cancelled', due_at = NULL, token = NULL, process = NULL, finished_at = ?, \
                     lane = 'free' WHERE batch = ? AND due_at IS NOT NULL",
                )
                .bind(now)
                .bind(batch.0)
                .execute(&mut *conn)
                .await?;
                sqlx::query("UPDATE batches SET finished_at = ? WHERE id = ? AND finished_at IS NULL")
                    .bind(now)
                    .bind(batch.0)
                    .execute(conn)
                    .await?;
                Ok(Cancelled { jobs: done.rows_affected(), in_flight: u64::try_from(in_flight).unwrap_or(0) })
            })
        })
        .await
    }

    /// What [`Store::retry`] would do.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn plan_retry(&self, chosen: &Chosen) -> Result<Retried, StoreError> {
        let row = sqlx::query(RETRY_PLAN)
            .bind(chosen.batch.0)
            .bind(&chosen.key)
            .bind(states(chosen))
            .bind(chosen.part)
            .fetch_one(&self.read)
            .await?;
        Ok(Retried {
            jobs: u64::from(rows::count(&row, "jobs")?),
            deliveries: u64::from(rows::count(&row, "deliveries")?),
            audio_ms: rows::length(&row, "audio_ms")?.unwrap_or(0),
            unknown_length: u64::from(rows::count(&row, "unknown")?),
            characters: rows::length(&row, "characters")?.unwrap_or(0),
        })
    }

    /// Puts jobs back in the queue with their tries reset. A kept answer is delivered, not bought, unless the job is
    /// suspect or was chosen by key though it had succeeded.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn retry(&self, chosen: Chosen) -> Result<u64, StoreError> {
        self.write(move |conn, now| {
            let chosen = chosen.clone();
            Box::pin(async move {
                let jobs: Vec<Again> = sqlx::query_as(RETRY_JOBS)
                    .bind(chosen.batch.0)
                    .bind(&chosen.key)
                    .bind(states(&chosen))
                    .bind(chosen.part)
                    .fetch_all(&mut *conn)
                    .await?;
                let parts = doubts::parts(conn, &jobs).await?;
                requeue(conn, &parts, now).await?;
                unfinish(conn, chosen.batch).await?;
                Ok(u64::try_from(jobs.len()).unwrap_or(0))
            })
        })
        .await
    }

    /// Puts back what can be tried again for nothing: source errors, and deliveries whose answer is kept.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn retry_free(&self, batch: BatchId) -> Result<u64, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let jobs: Vec<Again> = sqlx::query_as(concat!(
                    "SELECT id, kept, iif(kept OR pool = 'tts', NULL, -1) FROM (SELECT j.id, j.error_kind, j.pool, ",
                    kept!(),
                    " AS kept FROM jobs j WHERE j.batch = ? AND j.state = 'failed') WHERE error_kind GLOB 'source_*' OR kept",
                ))
                .bind(batch.0)
                .fetch_all(&mut *conn)
                .await?;
                if !jobs.is_empty() {
                    requeue(conn, &jobs, now).await?;
                    unfinish(conn, batch).await?;
                }
                Ok(u64::try_from(jobs.len()).unwrap_or(0))
            })
        })
        .await
    }

    /// Marks a batch that has nothing due as finished. Returns whether it is.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn finish(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let done: Option<i64> = sqlx::query_scalar(
                    "UPDATE batches SET finished_at = coalesce(finished_at, ?) WHERE id = ? AND state <> 'submitting' AND NOT EXISTS \
                     (SELECT 1 FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL) RETURNING finished_at",
                )
                .bind(now)
                .bind(batch.0)
                .fetch_optional(conn)
                .await?;
                Ok(done.is_some())
            })
        })
        .await
    }
}

/// A job, whether all that it needs is kept, and which part of it is set aside ([`ALL_PARTS`]: all).
///
/// [`ALL_PARTS`]: crate::domain::job::ALL_PARTS
pub(super) type Again = (i64, bool, Option<i64>);

/// Whether a job can be delivered without a call.
macro_rules! kept {
    () => {
        concat!(
            "CASE j.pool WHEN 'tts' THEN ",
            all_parts_of!("j"),
            " ELSE EXISTS (SELECT 1 FROM calls c JOIN answers a ON a.call = c.id WHERE c.job = j.id AND c.state = 'answered') END"
        )
    };
}
use kept;

/// The jobs a retry is meant for, and whether their kept answer will do. Of speech that failed, only what is missing is
/// bought.
macro_rules! retry_jobs {
    () => {
        concat!(
            "SELECT id, audio_ms, pool, characters, there, said, doubted, kept, CASE WHEN kept THEN NULL WHEN pool <> 'tts' THEN -1 \
               WHEN ?4 IS NOT NULL THEN ?4 WHEN state IN ('suspect', 'succeeded') THEN -1 END AS aside FROM \
             (SELECT id, audio_ms, pool, characters, there, said, doubted, state, \
                kept AND state NOT IN ('suspect', 'succeeded') AND (?4 IS NULL OR pool <> 'tts') AS kept FROM \
              (SELECT j.id, j.state, j.audio_ms, j.pool, j.characters, ",
            kept!(),
            " AS kept, \
                 (SELECT coalesce(sum(characters), 0) FROM (SELECT part, characters FROM calls WHERE job = j.id AND state = 'answered' \
                   UNION SELECT part, characters FROM reused WHERE job = j.id)) AS there, \
                 (SELECT max(characters) FROM (SELECT characters FROM calls WHERE job = j.id AND part = ?4 \
                   UNION SELECT characters FROM reused WHERE job = j.id AND part = ?4)) AS said, \
                 CASE j.state WHEN 'suspect' THEN (SELECT sum(characters) FROM doubtful WHERE job = j.id) END AS doubted \
               FROM jobs j WHERE j.batch = ?1 AND j.state IN (SELECT value FROM json_each(?3)) AND (?2 IS NULL OR j.key = ?2) \
               AND j.error_kind IS NOT 'bad_line'))"
        )
    };
}
const RETRY_JOBS: &str = concat!("SELECT id, kept, aside FROM (", retry_jobs!(), ")");
const RETRY_PLAN: &str = concat!(
    "SELECT count(*) AS jobs, count(*) FILTER (WHERE kept) AS deliveries, \
     sum(audio_ms) FILTER (WHERE NOT kept AND pool <> 'tts') AS audio_ms, \
     count(*) FILTER (WHERE NOT kept AND audio_ms IS NULL AND pool <> 'tts') AS unknown, \
     sum(CASE WHEN aside >= 0 THEN said WHEN aside = -1 THEN coalesce(doubted, characters) ELSE max(0, characters - there) END) \
       FILTER (WHERE NOT kept AND pool = 'tts') AS characters FROM (",
    retry_jobs!(),
    ")"
);

fn states(chosen: &Chosen) -> String {
    let mut states = chosen.states.clone();
    if states.is_empty() {
        states = vec![JobState::Failed, JobState::Suspect, JobState::Cancelled];
        if chosen.key.is_some() {
            states.push(JobState::Succeeded);
        }
    }
    // Only a key can choose what already went well.
    if chosen.key.is_none() {
        states.retain(|s| *s != JobState::Succeeded);
    }
    states.retain(|s| matches!(s, JobState::Failed | JobState::Suspect | JobState::Cancelled | JobState::Succeeded));
    json!(states).to_string()
}

/// Back to the queue: with the answer kept, or with a call to be made. A job may stand there once for each of its parts.
async fn requeue(conn: &mut SqliteConnection, jobs: &[Again], now: Millis) -> Result<(), StoreError> {
    let set = json!(jobs).to_string();
    for sql in [
        "UPDATE calls SET state = 'replaced' WHERE id IN (SELECT c.id FROM json_each(?) e JOIN calls c \
         ON c.job = e.value ->> 0 AND c.state = 'answered' WHERE e.value ->> 2 = -1 OR e.value ->> 2 = c.part)",
        "DELETE FROM answers WHERE call IN (SELECT c.id FROM json_each(?) e JOIN calls c ON c.job = e.value ->> 0 WHERE c.state = 'replaced')",
        "DELETE FROM reused WHERE (job, part) IN (SELECT r.job, r.part FROM json_each(?) e JOIN reused r ON r.job = e.value ->> 0 \
         WHERE e.value ->> 2 = -1 OR e.value ->> 2 = r.part)",
        "DELETE FROM doubtful WHERE job IN (SELECT value ->> 0 FROM json_each(?))",
    ] {
        sqlx::query(sql).bind(&set).execute(&mut *conn).await?;
    }
    sqlx::query(
        "INSERT OR REPLACE INTO anew (job, part, at) SELECT j.id, e.value ->> 2, ?2 FROM json_each(?1) e \
         JOIN jobs j ON j.id = e.value ->> 0 WHERE j.pool = 'tts' AND e.value ->> 2 IS NOT NULL",
    )
    .bind(&set)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    // The batch as well as the line begins anew: what went wrong before does not count against it. One that waited for the
    // worker of its older self waits for it still.
    sqlx::query(
        "UPDATE jobs SET state = 'queued', \
           due_at = ?2 + 60000 * EXISTS (SELECT 1 FROM jobs h WHERE h.id = jobs.after AND h.token IS NOT NULL), era = era + 1, source_tries = 0, finished_at = NULL, error_kind = NULL, \
         error = NULL, notes = NULL, lane = CASE WHEN e.value ->> 1 THEN 'free' ELSE pool END FROM json_each(?1) e WHERE jobs.id = e.value ->> 0",
    )
    .bind(&set)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Something is due again.
pub(super) async fn unfinish(conn: &mut SqliteConnection, batch: BatchId) -> Result<(), StoreError> {
    sqlx::query("UPDATE batches SET finished_at = NULL, lately_well = 0, lately_badly = 0 WHERE id = ?")
        .bind(batch.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// The open calls of a job that nobody works on any more: given up, and in the books.
pub(super) async fn give_up_open_calls(conn: &mut SqliteConnection, job: i64, now: Millis) -> Result<(), StoreError> {
    let open = sqlx::query("SELECT id FROM calls WHERE job = ? AND state IN ('sent', 'accepted')")
        .bind(job)
        .fetch_all(&mut *conn)
        .await?;
    give_up_all(conn, &open, now).await
}

/// Gives up the calls of these rows.
pub(super) async fn give_up_all(
    conn: &mut SqliteConnection,
    open: &[SqliteRow],
    now: Millis,
) -> Result<(), StoreError> {
    for row in open {
        if let Some(call) = rows::call_id(row, "id")? {
            end::give_up(conn, call, now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_can_choose_what_went_well() {
        let mut chosen = Chosen { batch: BatchId(1), key: None, states: vec![], part: None };
        assert_eq!(states(&chosen), r#"["failed","suspect","cancelled"]"#);
        chosen.states = vec![JobState::Succeeded, JobState::Failed];
        assert_eq!(states(&chosen), r#"["failed"]"#);
        chosen.key = Some("a".into());
        assert_eq!(states(&chosen), r#"["succeeded","failed"]"#);
    }
}
