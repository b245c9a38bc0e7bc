//! The first and the last step of submitting: what a batch is asked for now, and what that means for the lines it has.

use sqlx::SqliteConnection;

use super::{NewBatch, Store, StoreError, deliveries};
use crate::{clock::Millis, domain::job::BatchId};

/// What a new specification means for the lines of a batch that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    /// The outputs are other ones: what was answered is rendered and delivered again.
    pub redeliver: bool,
    /// The carried columns are other ones: for each of the new, its place among the old.
    pub carried: Option<Vec<Option<usize>>>,
}

/// A batch whose lines are being submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The batch.
    pub batch: BatchId,
    /// Whether it was there before.
    pub existed: bool,
    /// When.
    pub at: Millis,
    /// Lines that are delivered again.
    pub redelivered: u64,
    /// Lines that should be, and whose answers are pruned: they are left as they are.
    pub pruned: u64,
}

impl Store {
    /// Records a batch, or the newest specification of one that is there together with what that means for its lines.
    /// Until [`Store::end_submit`] it is not worked.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn begin(&self, batch: NewBatch, again: Again) -> Result<Begun, StoreError> {
        self.write(move |conn, now| {
            let (batch, again) = (batch.clone(), again.clone());
            Box::pin(async move {
                let Some(id) = update(conn, &batch).await? else {
                    let id = BatchId(insert(conn, &batch, now).await?);
                    return Ok(Begun { batch: id, existed: false, at: now, redelivered: 0, pruned: 0 });
                };
                let id = BatchId(id);
                if let Some(places) = &again.carried {
                    carry_over(conn, id, places).await?;
                }
                let (redelivered, pruned) =
                    if again.redeliver { deliveries::redeliver(conn, id, now).await? } else { (0, 0) };
                Ok(Begun { batch: id, existed: true, at: now, redelivered, pruned })
            })
        })
        .await
    }

    /// Every line was read: bad lines that were not among them are mended or gone, and leave the report. Returns how many.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn drop_mended(&self, begun: Begun) -> Result<u64, StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                let gone = sqlx::query(
                    "UPDATE jobs SET state = 'superseded' WHERE batch = ? AND state = 'failed' AND error_kind = 'bad_line' \
                     AND finished_at < ?",
                )
                .bind(begun.batch.0)
                .bind(begun.at)
                .execute(conn)
                .await?;
                Ok(gone.rows_affected())
            })
        })
        .await
    }
}

async fn update(conn: &mut SqliteConnection, batch: &NewBatch) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "UPDATE batches SET spec = ?, max_spend = ?, concurrency = ?, pause_on_failures = ?, \
         state = CASE state WHEN 'open' THEN 'submitting' ELSE state END WHERE name = ? RETURNING id",
    )
    .bind(&batch.spec)
    .bind(batch.max_spend)
    .bind(batch.concurrency)
    .bind(batch.pause_on_failures)
    .bind(&batch.name)
    .fetch_optional(conn)
    .await?)
}

async fn insert(conn: &mut SqliteConnection, batch: &NewBatch, now: Millis) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO batches (name, definition, task, world, spec, state, max_spend, concurrency, pause_on_failures, \
         submitted_at, resumed_at) VALUES (?1, ?2, coalesce(?4 ->> 'task', 'transcribe'), ?3, ?4, 'submitting', ?5, ?6, ?7, ?8, ?8) RETURNING id",
    )
    .bind(&batch.name)
    .bind(&batch.definition)
    .bind(batch.world)
    .bind(&batch.spec)
    .bind(batch.max_spend)
    .bind(batch.concurrency)
    .bind(batch.pause_on_failures)
    .bind(now)
    .fetch_one(conn)
    .await?)
}

/// Lines that are gone from the manifest keep their cells, under the columns of today.
async fn carry_over(conn: &mut SqliteConnection, batch: BatchId, places: &[Option<usize>]) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET carried = (SELECT json_group_array(coalesce(jobs.carried ->> p.value, '') ORDER BY p.key) \
           FROM json_each(?1) p) WHERE batch = ?2 AND state <> 'superseded' AND carried IS NOT NULL",
    )
    .bind(serde_json::json!(places).to_string())
    .bind(batch.0)
    .execute(conn)
    .await?;
    Ok(())
}
