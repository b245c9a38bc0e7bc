//! The characters and parts of batches that synthesize.

use crate::domain::job::BatchId;
use crate::store::engine::db::query;
use crate::store::{Store, StoreError, SynthesisCounts, engine::rows};

impl Store {
    /// How much a batch synthesizes, and how much of that is there.
    pub async fn synthesis_counts(&self, batch: BatchId) -> Result<SynthesisCounts, StoreError> {
        let row = query(
            r"-- synthesis_counts::spoken
              SELECT CAST(sum(n) AS BIGINT) AS asked, CAST(sum(n) FILTER (WHERE well) AS BIGINT) AS done,
                CAST(sum(n) FILTER (WHERE due) AS BIGINT) AS unfinished, CAST(sum(parts) FILTER (WHERE well) AS BIGINT) AS parts,
                CAST(sum(reused) FILTER (WHERE well) AS BIGINT) AS reused
              FROM (
                SELECT state IN ('succeeded', 'suspect') AS well, state IN ('queued', 'running', 'awaiting') AS due,
                  sum(units) AS n, sum(CAST(facts ->> 'parts' AS BIGINT)) AS parts,
                  sum(CAST(facts ->> 'reused_parts' AS BIGINT)) AS reused
                FROM jobs
                WHERE batch = $1 AND units IS NOT NULL AND state <> 'superseded' AND wanted <> 'dropped'
                GROUP BY state) AS states",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        // Only of running jobs: the other jobs have journals too, and there may be a million of them.
        let at_work = query(
            r"-- synthesis_counts::spoken
              SELECT CAST(sum(p.units) AS BIGINT) AS n
              FROM jobs AS j
              JOIN job_parts AS p ON p.job = j.id
              WHERE j.batch = $1 AND j.state = 'running' AND (p.reused = 1 OR EXISTS (
                SELECT 1 FROM calls AS c WHERE c.job = p.job AND c.part = p.part AND c.take = p.take AND c.state = 'answered'))",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        let get = |name| rows::length(&row, name).map(Option::unwrap_or_default);
        Ok(SynthesisCounts {
            asked: get("asked")?,
            done: get("done")?,
            left: get("unfinished")?,
            at_work: rows::length(&at_work, "n")?.unwrap_or(0),
            parts: get("parts")?,
            reused_parts: get("reused")?,
        })
    }
}
