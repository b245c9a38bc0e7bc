//! What submitting would do, before it does.

use sqlx::Row;

use super::{LineSet, NewJob, Store, StoreError, sql::sql, submit::IS_RENAMED};
use crate::domain::job::BatchId;

/// What submitting would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diff {
    /// Lines that are not there.
    pub new: u64,
    /// Lines that are there, with another recording or other options.
    pub changed: u64,
    /// Lines that are there as they are and finished well.
    pub done: u64,
    /// Lines that are there as they are and are not finished, or failed.
    pub open: u64,
    /// Those of the done ones whose outputs have other names now, or are asked for again.
    pub redelivered: u64,
    /// Those of the open ones that failed.
    pub failed: u64,
    /// Lines that are answered, with the same recording and other options: bought again.
    pub rebuy: u64,
    /// Audio of those, in ms.
    pub rebuy_ms: u64,
    /// Those of the new and changed ones that name no recording.
    pub idle: u64,
    /// Lines that are to be worked and whose length is known.
    pub known: u64,
    /// Audio of those, in ms.
    pub known_ms: u64,
}

impl std::ops::AddAssign for Diff {
    fn add_assign(&mut self, o: Self) {
        self.new += o.new;
        self.changed += o.changed;
        self.done += o.done;
        self.open += o.open;
        self.failed += o.failed;
        self.redelivered += o.redelivered;
        self.rebuy += o.rebuy;
        self.rebuy_ms += o.rebuy_ms;
        self.idle += o.idle;
        self.known += o.known;
        self.known_ms += o.known_ms;
    }
}

impl Store {
    /// What submitting these lines would do.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn diff(&self, batch: BatchId, lines: &[NewJob]) -> Result<Diff, StoreError> {
        self.diff_set(batch, lines.iter().zip(0..).collect()).await
    }

    /// The same of a set that is ready.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn diff_set(&self, batch: BatchId, lines: LineSet) -> Result<Diff, StoreError> {
        // diff_set
        let row = sqlx::query(sql(&format!(
            "WITH
               i AS (
                 SELECT v ->> 1 AS key, coalesce(v ->> 12, '') AS variant, v ->> 2 IS NULL AND v ->> 13 IS NULL AS idle,
                   unhex(v ->> 3) AS source_id, unhex(v ->> 4) AS options_id,
                   v ->> 5 AS overrides, v ->> 13 IS NOT NULL AS speaks
                 FROM rows_of($1) AS r),
               d AS (
                 SELECT j.id, i.idle, j.state, j.units, j.source_id = i.source_id AND j.options_id = i.options_id AS same,
                   j.source_id = i.source_id AND j.options_id <> i.options_id AS redefined,
                   j.state IN ('succeeded', 'suspect', 'skipped', 'cancelled') AS done, j.state = 'failed' AS failed,
                   j.state IN ('succeeded', 'suspect')
                     OR EXISTS (SELECT 1 FROM calls AS c WHERE c.job = j.id AND c.state = 'answered') AS bought,
                   j.state IN ('queued', 'running', 'awaiting') AS unfinished,
                   j.outputs IS NOT NULL AND (j.wanted = 'dropped' OR (i.speaks AND {IS_RENAMED})) AS anew
                 FROM i
                 LEFT JOIN jobs AS j
                   ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded')
             SELECT count(*) FILTER (WHERE id IS NULL) AS new, count(*) FILTER (WHERE NOT same) AS changed,
               count(*) FILTER (WHERE same AND done) AS done, count(*) FILTER (WHERE same AND NOT done) AS open,
               count(*) FILTER (WHERE same AND failed) AS failed, count(*) FILTER (WHERE same AND done AND anew) AS redelivered,
               count(*) FILTER (WHERE redefined AND bought) AS rebuy,
               coalesce(CAST(sum(units) FILTER (WHERE redefined AND bought) AS BIGINT), 0) AS rebuy_ms,
               count(*) FILTER (WHERE idle AND NOT coalesce(same, 1 = 0)) AS idle,
               count(units) FILTER (WHERE redefined OR (same AND unfinished)) AS known,
               coalesce(CAST(sum(units) FILTER (WHERE redefined OR (same AND unfinished)) AS BIGINT), 0) AS known_ms
             FROM d",
        )))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        let get = |name| row.try_get::<i64, _>(name).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Diff {
            new: get("new")?,
            changed: get("changed")?,
            done: get("done")?,
            open: get("open")?,
            failed: get("failed")?,
            redelivered: get("redelivered")?,
            rebuy: get("rebuy")?,
            rebuy_ms: get("rebuy_ms")?,
            idle: get("idle")?,
            known: get("known")?,
            known_ms: get("known_ms")?,
        })
    }
}
