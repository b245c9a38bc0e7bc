//! What a worker needs to know of its job beside the claim: the journal of its part, and kept answers.

use sqlx::{Row, SqliteConnection};

use super::{Body, Store, StoreError, control, packed, parts::all_parts_of, rows};
use crate::{
    clock::Millis,
    domain::job::{BatchId, CallId, JobId, Journal},
};

/// The vendor's request id, `x-content-expiry`, and the time from intent to answer in ms.
#[derive(Debug, Clone, Default)]
pub struct AnswerFacts {
    /// For the vendor's support.
    pub request_id: Option<String>,
    /// What the vendor said about the content's expiry.
    pub content_expiry: Option<String>,
    /// From intent to answer, in ms.
    pub processing_ms: Option<i64>,
    /// Found in the vendor's log rather than received.
    pub from_log: bool,
}

impl Store {
    /// The calls of a part since the user's last `retry`, and any that is open or answered, oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn journal(&self, job: JobId, part: i64, era: i64) -> Result<Journal, StoreError> {
        let calls = sqlx::query(
            "SELECT c.*, EXISTS (SELECT 1 FROM processes p WHERE p.id = c.process) AS awaited FROM calls c \
             WHERE job = ? AND part = ? AND (era = ? OR state IN ('sent', 'accepted', 'answered')) ORDER BY id",
        )
        .bind(job.0)
        .bind(part)
        .bind(era)
        .fetch_all(&self.read)
        .await?;
        Ok(Journal { calls: calls.iter().map(rows::call_record).collect::<Result<_, _>>()? })
    }

    /// A kept answer; `None` if it was pruned.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn answer(&self, call: CallId) -> Result<Option<(Body, AnswerFacts)>, StoreError> {
        let row = sqlx::query(
            "SELECT a.packed, a.bytes, a.body, a.origin = 'log' AS from_log, c.request_id, c.content_expiry, \
             c.ended_at - c.sent_at AS ms FROM answers a JOIN calls c ON c.id = a.call WHERE a.call = ?",
        )
        .bind(call.0.as_bytes().as_slice())
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let facts = AnswerFacts {
            request_id: row.try_get("request_id")?,
            content_expiry: row.try_get("content_expiry")?,
            processing_ms: row.try_get("ms")?,
            from_log: row.try_get("from_log")?,
        };
        Ok(Some((packed::kept(&row)?, facts)))
    }

    /// Has every finished job whose answer is kept delivered again. Returns how many, and how many answers are pruned.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn redeliver(&self, batch: BatchId) -> Result<(u64, u64), StoreError> {
        self.write(move |conn, now| Box::pin(redeliver(conn, batch, now))).await
    }
}

/// The same inside somebody's transaction.
pub(super) async fn redeliver(
    conn: &mut SqliteConnection,
    batch: BatchId,
    now: Millis,
) -> Result<(u64, u64), StoreError> {
    let kept = concat!(
        "CASE jobs.pool WHEN 'tts' THEN ",
        all_parts_of!("jobs"),
        " ELSE EXISTS (SELECT 1 FROM calls c JOIN answers a ON a.call = c.id WHERE c.job = jobs.id AND c.state = 'answered') END"
    );
    let pruned: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT count(*) FROM jobs WHERE batch = ? AND state IN ('succeeded', 'suspect') AND NOT {kept}"
    )))
    .bind(batch.0)
    .fetch_one(&mut *conn)
    .await?;
    let done = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE jobs SET state = 'queued', due_at = ?, finished_at = NULL, lane = 'free' WHERE batch = ? \
         AND state IN ('succeeded', 'suspect', 'failed') AND {kept}"
    )))
    .bind(now)
    .bind(batch.0)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        control::unfinish(conn, batch).await?;
    }
    Ok((done.rows_affected(), u64::try_from(pruned).unwrap_or(0)))
}
