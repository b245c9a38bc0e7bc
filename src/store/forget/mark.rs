//! Marking: a `forget` takes its lines, so that nobody works, delivers or buys them any more.

use super::{ForgetId, id_rows};
use crate::store::batches::control::{cancel_these, give_up_open_calls_of};
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{Selection, Store, StoreError};
use crate::{clock::Millis, domain::job::BatchId};

/// How many keys one transaction marks.
const KEYS_AT_ONCE: usize = 1_000;
/// How many lines at work are named.
const NAMED: i64 = 5;

/// A line that cannot be forgotten now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusyLine {
    /// Its key.
    pub key: String,
}

/// What was marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marked {
    /// Lines.
    pub lines: u64,
    /// Jobs: voices, formats and former versions of those lines.
    pub jobs: u64,
    /// Lines that are at work now, and stay.
    pub busy: u64,
}

/// Why nothing can be marked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkRefused {
    /// The lines of the batch are being submitted: the manifest would bring the content back.
    Submitting,
}

/// All versions of the lines with the keys `$2` of the batch `$1`. Those that were superseded have an index of their own.
/// SQLite would look through all lines for each key otherwise: it keeps to the order of a `CROSS JOIN`.
pub(super) const VERSIONS: &str = "SELECT j.id, j.key, j.token, j.process, j.due_at, j.forget
      FROM rows_of($2) AS r CROSS JOIN jobs AS j WHERE j.batch = $1 AND j.key = r.v ->> 0 AND j.state <> 'superseded'
      UNION ALL
      SELECT j.id, j.key, j.token, j.process, j.due_at, j.forget
      FROM rows_of($2) AS r CROSS JOIN jobs AS j WHERE j.batch = $1 AND j.key = r.v ->> 0 AND j.state = 'superseded'";

/// Whether a worker has the job `j`, or waits for an answer of it.
const AT_WORK: &str = "((j.token IS NOT NULL AND EXISTS (SELECT 1 FROM processes AS p WHERE p.id = j.process))
    OR EXISTS (
      SELECT 1 FROM calls AS c JOIN processes AS p ON p.id = c.process
      WHERE c.job = j.id AND c.state IN ('sent', 'accepted')))";

impl Store {
    /// The keys of these lines of a batch that are not forgotten, in the order of the report.
    pub async fn keys_to_forget(&self, batch: BatchId, lines: &Selection) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String, i64)> = query_as(format!(
            r"-- mark::keys_to_forget
              SELECT j.key, min(j.ordinal)
              FROM jobs AS j
              WHERE j.batch = $1 AND j.state <> 'superseded' AND j.forget IS NULL {}
              GROUP BY j.key
              ORDER BY min(j.ordinal), j.key",
            lines.sql(2)
        ))
        .bind(batch)
        .bind(lines.bound())
        .fetch_all(&self.read)
        .await?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// How many lines of a batch there are, and how many of them are forgotten, or are being forgotten.
    pub async fn forgotten_lines(&self, batch: BatchId) -> Result<(u64, u64), StoreError> {
        let (all, forgotten): (i64, i64) = query_as(
            r"-- mark::forgotten_lines
              SELECT count(DISTINCT key), count(DISTINCT CASE WHEN forget IS NOT NULL THEN key END)
              FROM jobs
              WHERE batch = $1 AND state <> 'superseded'",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        Ok((u64::try_from(all).unwrap_or(0), u64::try_from(forgotten).unwrap_or(0)))
    }

    /// How many good jobs of a batch are forgotten, of those that count.
    pub async fn forgotten_good_jobs(&self, batch: BatchId) -> Result<u64, StoreError> {
        let count: i64 = query_scalar(
            r"-- mark::forgotten_good_jobs
              SELECT count(*)
              FROM jobs
              WHERE batch = $1 AND forget IS NOT NULL AND state <> 'superseded' AND wanted <> 'dropped'
                AND error_kind IS DISTINCT FROM 'bad_line'",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Those of these lines that are at work now: how many, and some of them. Dead processes give back what they had first.
    pub async fn busy_lines(&self, batch: BatchId, keys: &[String]) -> Result<(u64, Vec<BusyLine>), StoreError> {
        self.reap().await?;
        let (mut count, mut named) = (0, Vec::new());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let found: Vec<String> = query_scalar(format!(
                r"-- mark::busy_lines
                  SELECT DISTINCT j.key
                  FROM ({VERSIONS}) AS j
                  WHERE {AT_WORK}
                  ORDER BY j.key"
            ))
            .bind(batch)
            .bind(key_rows(keys))
            .fetch_all(&self.read)
            .await?;
            count += found.len() as u64;
            let room = usize::try_from(NAMED).unwrap_or(usize::MAX).saturating_sub(named.len());
            named.extend(found.into_iter().take(room).map(|key| BusyLine { key }));
        }
        Ok((count, named))
    }

    /// Marks lines: those that are not finished are cancelled. A line that is at work stays as it is, and is counted.
    pub async fn mark_to_forget(
        &self,
        forget: ForgetId,
        batch: BatchId,
        keys: &[String],
    ) -> Result<Result<Marked, MarkRefused>, StoreError> {
        let mut marked = Marked::default();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let keys = key_rows(keys);
            let step = self
                .write(move |conn, now| {
                    let keys = keys.clone();
                    Box::pin(async move { mark_some(conn, (forget, batch), &keys, now).await })
                })
                .await?;
            let Ok(step) = step else { return Ok(Err(MarkRefused::Submitting)) };
            marked.lines += step.lines;
            marked.jobs += step.jobs;
            marked.busy += step.busy;
            self.let_others_write().await?;
        }
        Ok(Ok(marked))
    }
}

pub(super) fn key_rows(keys: &[String]) -> String {
    serde_json::json!(keys.iter().map(|key| [key]).collect::<Vec<_>>()).to_string()
}

async fn mark_some(
    conn: &mut Conn,
    (forget, batch): (ForgetId, BatchId),
    keys: &str,
    now: Millis,
) -> Result<Result<Marked, MarkRefused>, StoreError> {
    let submitting: bool = query_scalar("SELECT submitting_at IS NOT NULL FROM batches WHERE id = $1")
        .bind(batch)
        .fetch_one(&mut *conn)
        .await?;
    if submitting {
        return Ok(Err(MarkRefused::Submitting));
    }
    let found: Vec<(i64, String, bool)> = query_as(format!(
        r"-- mark::mark_some: all versions of the line, in all voices and formats.
          SELECT j.id, j.key, {AT_WORK}
          FROM ({VERSIONS}) AS j
          WHERE j.forget IS NULL
          ORDER BY j.key"
    ))
    .bind(batch)
    .bind(keys)
    .fetch_all(&mut *conn)
    .await?;
    let mut marked = Marked::default();
    let mut ids = Vec::new();
    for line in found.chunk_by(|one, next| one.1 == next.1) {
        if line.iter().any(|(.., at_work)| *at_work) {
            marked.busy += 1;
            continue;
        }
        marked.lines += 1;
        ids.extend(line.iter().map(|(id, ..)| *id));
    }
    marked.jobs = ids.len() as u64;
    let set = id_rows(ids);
    cancel_these(conn, &set, now).await?;
    give_up_open_calls_of(conn, &set, now).await?;
    query(
        r"-- mark::mark_some: whoever had it is gone.
          UPDATE jobs
          SET forget = $2, token = NULL, process = NULL
          WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(set)
    .bind(forget.0)
    .execute(conn)
    .await?;
    Ok(Ok(marked))
}
