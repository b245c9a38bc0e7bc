//! What batches of speech come to.

use super::{SpeechCounts, Store, StoreError, rows};
use crate::domain::job::BatchId;

impl Store {
    /// What a batch speaks, and how much of it is there.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn spoken(&self, batch: BatchId) -> Result<SpeechCounts, StoreError> {
        let row = sqlx::query(
            "SELECT sum(n) AS asked, sum(n) FILTER (WHERE well) AS done, sum(n) FILTER (WHERE due) AS left, sum(parts) FILTER (WHERE well) AS parts, \
               sum(reused) FILTER (WHERE well) AS reused FROM \
             (SELECT state IN ('succeeded', 'suspect') AS well, state IN ('queued', 'running', 'awaiting') AS due, sum(characters) AS n, sum(parts) AS parts, sum(reused_parts) AS reused \
               FROM jobs WHERE batch = ? AND text IS NOT NULL AND state <> 'superseded' GROUP BY state)",
        )
        .bind(batch.0)
        .fetch_one(&self.read)
        .await?;
        // Only of jobs at work: all the others have a journal too, and there may be a million of them.
        let at_work = sqlx::query(
            "SELECT sum(characters) AS n FROM (SELECT c.job, c.part, c.characters FROM jobs j JOIN calls c ON c.job = j.id \
               WHERE j.batch = ?1 AND j.state = 'running' AND c.state = 'answered' \
             UNION SELECT r.job, r.part, r.characters FROM jobs j JOIN reused r ON r.job = j.id WHERE j.batch = ?1 AND j.state = 'running')",
        )
        .bind(batch.0)
        .fetch_one(&self.read)
        .await?;
        let get = |name| rows::length(&row, name).map(Option::unwrap_or_default);
        Ok(SpeechCounts {
            asked: get("asked")?,
            done: get("done")?,
            left: get("left")?,
            at_work: rows::length(&at_work, "n")?.unwrap_or(0),
            parts: get("parts")?,
            reused_parts: get("reused")?,
        })
    }
}
