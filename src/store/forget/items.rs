//! What a `forget` removes outside its lines' rows, one by one, and what became of it.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    ForgetId,
    mark::{VERSIONS, key_rows},
};
use crate::store::engine::db::{Row, query, query_as, query_scalar};
use crate::store::{Store, StoreError, engine::rows};
use crate::{
    clock::Millis,
    domain::{
        forget::{ForgottenKind, ForgottenState},
        job::{BatchId, JobId, JobState},
    },
};

/// How many keys or rows a statement handles.
const AT_ONCE: usize = 1_000;

/// One thing that is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetItem {
    /// Its number in its `forget`.
    pub nth: i64,
    /// The job that it belongs to.
    pub job: JobId,
    /// That job's batch.
    pub batch: BatchId,
    /// What it is.
    pub kind: ForgottenKind,
    /// Where it is: a path below the output, a cache key, the vendor's id of a request or JSON of what its entry shows.
    pub place: String,
    /// SHA-256 of what was there, in hex.
    pub checksum: Option<String>,
    /// Its length in bytes.
    pub bytes: Option<u64>,
    /// What became of it.
    pub state: ForgottenState,
    /// When that was, in ms since 1970.
    pub at: Option<Millis>,
    /// Why it was not removed.
    pub why: Option<String>,
}

/// A job that a `forget` took, as its tombstone shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenLine {
    /// The job.
    pub job: JobId,
    /// Its batch.
    pub batch: String,
    /// Its key, or the hash of it.
    pub key: String,
    /// Its voice and format.
    pub variant: String,
    /// Its state.
    pub state: JobState,
    /// When it was forgotten, in ms since 1970; `None`: not yet.
    pub forgotten_at: Option<Millis>,
}

/// What a `forget` would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetPlan {
    /// Lines.
    pub lines: u64,
    /// Jobs: voices, formats and former versions of those lines.
    pub jobs: u64,
    /// Those that are not finished, and would be cancelled.
    pub unfinished: u64,
    /// Kept answers, and their bytes as they are stored.
    pub answers: (u64, u64),
    /// Bodies that were posted, and their bytes as they are stored.
    pub callbacks: (u64, u64),
    /// Files in the output.
    pub outputs: u64,
    /// Clips in the audio cache that no other line uses.
    pub clips: u64,
    /// Clips that other lines use, too: they stay.
    pub shared_clips: u64,
    /// Calls whose entry in the vendor's log has a known id.
    pub known_calls: u64,
    /// Calls that may have an entry under an id that is not known.
    pub unknown_calls: u64,
}

/// The clips of jobs (`r`), and whether a line that is not to be forgotten uses them. `{mine}` says of a job `o` whether it is
/// to be forgotten.
pub(super) fn clips_sql(mine: &str) -> String {
    format!(
        r"SELECT k.job, k.cache_key,
            EXISTS (SELECT 1 FROM calls AS u JOIN jobs AS o ON o.id = u.job
              WHERE u.cache_key = k.cache_key AND u.cache_key IS NOT NULL AND u.state = 'answered' AND NOT {mine})
            OR EXISTS (SELECT 1 FROM job_parts AS q JOIN jobs AS o ON o.id = q.job
              WHERE q.cache_key = k.cache_key AND q.reused = 1 AND NOT {mine}) AS shared
          FROM (
            SELECT c.job, c.cache_key FROM rows_of($1) AS r JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE c.cache_key IS NOT NULL
            UNION
            SELECT p.job, p.cache_key FROM rows_of($1) AS r JOIN job_parts AS p ON p.job = CAST(r.v ->> 0 AS BIGINT)
            WHERE p.cache_key IS NOT NULL) AS k"
    )
}

impl Store {
    /// What forgetting these lines of a batch would remove. `at_vendor` says of which tasks the vendor's entries can be removed.
    pub async fn plan_forget(
        &self,
        batch: BatchId,
        keys: &[String],
        at_vendor: &[String],
    ) -> Result<ForgetPlan, StoreError> {
        let mut plan = ForgetPlan { lines: keys.len() as u64, ..ForgetPlan::default() };
        for keys in keys.chunks(AT_ONCE) {
            let jobs: Vec<(i64, bool)> = query_as(format!(
                r"-- items::plan_forget
                  SELECT j.id, j.due_at IS NOT NULL
                  FROM ({VERSIONS}) AS j
                  WHERE j.forget IS NULL"
            ))
            .bind(batch)
            .bind(key_rows(keys))
            .fetch_all(&self.read)
            .await?;
            plan.jobs += jobs.len() as u64;
            plan.unfinished += jobs.iter().filter(|(_, due)| *due).count() as u64;
            self.plan_jobs(&super::id_rows(jobs.iter().map(|(id, _)| *id)), at_vendor, &mut plan).await?;
        }
        Ok(plan)
    }

    async fn plan_jobs(&self, jobs: &str, at_vendor: &[String], plan: &mut ForgetPlan) -> Result<(), StoreError> {
        let row = query(
            r"-- items::plan_jobs
              SELECT
                (SELECT count(*) FROM rows_of($1) AS r JOIN outputs AS o ON o.job = CAST(r.v ->> 0 AS BIGINT)) AS outputs,
                count(a.call) AS answers, CAST(coalesce(sum(length(a.body)), 0) AS BIGINT) AS answer_bytes,
                (SELECT count(b.body) FROM rows_of($1) AS r JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
                   JOIN callbacks AS b ON b.call = c.id) AS callbacks,
                (SELECT CAST(coalesce(sum(length(b.body)), 0) AS BIGINT) FROM rows_of($1) AS r
                   JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT) JOIN callbacks AS b ON b.call = c.id) AS callback_bytes,
                count(CASE WHEN j.kind IN (SELECT v ->> 0 FROM rows_of($2) AS k) AND c.request_id IS NOT NULL THEN 1 END) AS known,
                count(CASE WHEN j.kind IN (SELECT v ->> 0 FROM rows_of($2) AS k) AND c.request_id IS NULL
                  AND c.state <> 'rejected' THEN 1 END) AS unknown
              FROM rows_of($1) AS r
              JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)
              JOIN calls AS c ON c.job = j.id
              LEFT JOIN answers AS a ON a.call = c.id",
        )
        .bind(jobs)
        .bind(key_rows(at_vendor))
        .fetch_one(&self.read)
        .await?;
        let count = |name: &str| rows::length(&row, name).map(Option::unwrap_or_default);
        plan.outputs += count("outputs")?;
        plan.answers.0 += count("answers")?;
        plan.answers.1 += count("answer_bytes")?;
        plan.callbacks.0 += count("callbacks")?;
        plan.callbacks.1 += count("callback_bytes")?;
        plan.known_calls += count("known")?;
        plan.unknown_calls += count("unknown")?;
        let clips: Vec<(i64, Vec<u8>, bool)> = query_as(format!(
            "-- items::plan_jobs\n{}",
            clips_sql("(o.forget IS NOT NULL OR o.id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS m))")
        ))
        .bind(jobs)
        .fetch_all(&self.read)
        .await?;
        let distinct: BTreeMap<Vec<u8>, bool> = clips.into_iter().map(|(_, clip, shared)| (clip, shared)).collect();
        let shared = distinct.values().filter(|shared| **shared).count() as u64;
        plan.shared_clips += shared;
        plan.clips += distinct.len() as u64 - shared;
        Ok(())
    }

    /// The list of a `forget`, in the order of its numbers: after `after`, or only what is still to be removed.
    pub async fn forget_items(
        &self,
        forget: ForgetId,
        after: i64,
        only_open: bool,
    ) -> Result<Vec<ForgetItem>, StoreError> {
        let rows = query(
            r"-- items::forget_items
              SELECT i.nth, i.job, j.batch, i.kind, i.place, i.checksum, i.bytes, i.state, i.at, i.why
              FROM forget_items AS i
              JOIN jobs AS j ON j.id = i.job
              WHERE i.forget = $1 AND i.nth > $2 AND ($3 = 0 OR i.state IN ('waiting', 'refused'))
              ORDER BY i.nth
              LIMIT $4",
        )
        .bind(forget.0)
        .bind(after)
        .bind(i64::from(only_open))
        .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(item).collect()
    }

    /// What a `forget` noted for the jobs from one number to another.
    pub async fn items_of_jobs(
        &self,
        forget: ForgetId,
        (first, last): (JobId, JobId),
    ) -> Result<Vec<ForgetItem>, StoreError> {
        let rows = query(
            r"-- items::items_of_jobs
              SELECT i.nth, i.job, j.batch, i.kind, i.place, i.checksum, i.bytes, i.state, i.at, i.why
              FROM forget_items AS i
              JOIN jobs AS j ON j.id = i.job
              WHERE i.forget = $1 AND i.job >= $2 AND i.job <= $3
              ORDER BY i.job, i.nth",
        )
        .bind(forget.0)
        .bind(first)
        .bind(last)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(item).collect()
    }

    /// Whether something of a `forget` is still to be removed.
    pub async fn has_open_items(&self, forget: ForgetId) -> Result<bool, StoreError> {
        query_scalar(
            r"-- items::has_open_items
              SELECT EXISTS (SELECT 1 FROM forget_items WHERE forget = $1 AND state IN ('waiting', 'refused'))
                OR EXISTS (SELECT 1 FROM jobs WHERE forget = $1 AND forgotten_at IS NULL)",
        )
        .bind(forget.0)
        .fetch_one(&self.read)
        .await
    }

    /// Notes what became of things.
    pub async fn note_items(&self, forget: ForgetId, items: &[ForgetItem]) -> Result<(), StoreError> {
        for items in items.chunks(AT_ONCE) {
            let set: Vec<_> =
                items.iter().map(|i| json!([i.nth, i.state.as_str(), i.why, i.checksum, i.bytes])).collect();
            let set = json!(set).to_string();
            self.write(move |conn, now| {
                let set = set.clone();
                Box::pin(async move {
                    query(
                        r"-- items::note_items
                          UPDATE forget_items
                          SET state = r.v ->> 1, why = r.v ->> 2, at = $3, checksum = coalesce(r.v ->> 3, checksum),
                            bytes = coalesce(CAST(r.v ->> 4 AS BIGINT), bytes)
                          FROM rows_of($2) AS r
                          WHERE forget_items.forget = $1 AND forget_items.nth = CAST(r.v ->> 0 AS BIGINT)",
                    )
                    .bind(forget.0)
                    .bind(set)
                    .bind(now)
                    .execute(conn)
                    .await?;
                    Ok(())
                })
            })
            .await?;
            self.let_others_write().await?;
        }
        Ok(())
    }

    /// The jobs of a `forget`, by their numbers, after `after`.
    pub async fn forgotten_jobs(&self, forget: ForgetId, after: JobId) -> Result<Vec<ForgottenLine>, StoreError> {
        let rows = query(
            r"-- items::forgotten_jobs
              SELECT j.id, b.name, j.key, j.variant, j.state, j.forgotten_at
              FROM jobs AS j
              JOIN batches AS b ON b.id = j.batch
              WHERE j.forget = $1 AND j.id > $2
              ORDER BY j.id
              LIMIT $3",
        )
        .bind(forget.0)
        .bind(after)
        .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
        .fetch_all(&self.read)
        .await?;
        let line = |row: &Row| {
            Ok(ForgottenLine {
                job: row.try_get("id")?,
                batch: row.try_get("name")?,
                key: row.try_get("key")?,
                variant: row.try_get("variant")?,
                state: row.try_get("state")?,
                forgotten_at: row.try_get("forgotten_at")?,
            })
        };
        rows.iter().map(line).collect()
    }

    /// The batches whose lines a `forget` took.
    pub async fn batches_of_forget(&self, forget: ForgetId) -> Result<Vec<BatchId>, StoreError> {
        query_scalar("SELECT DISTINCT batch FROM jobs WHERE forget = $1 ORDER BY batch")
            .bind(forget.0)
            .fetch_all(&self.read)
            .await
    }

    /// Whether a path below the output of a batch belongs to a line of it.
    pub async fn is_owned(&self, batch: BatchId, path: &str) -> Result<bool, StoreError> {
        query_scalar("SELECT EXISTS (SELECT 1 FROM outputs WHERE batch = $1 AND path = $2)")
            .bind(batch)
            .bind(path)
            .fetch_one(&self.read)
            .await
    }
}

fn item(row: &Row) -> Result<ForgetItem, StoreError> {
    Ok(ForgetItem {
        nth: row.try_get("nth")?,
        job: row.try_get("job")?,
        batch: row.try_get("batch")?,
        kind: row.try_get("kind")?,
        place: row.try_get("place")?,
        checksum: row.try_get("checksum")?,
        bytes: rows::length(row, "bytes")?,
        state: row.try_get("state")?,
        at: row.try_get("at")?,
        why: row.try_get("why")?,
    })
}
