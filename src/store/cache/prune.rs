//! Pruning: kept answers are removed once nobody will need them. Rows and receipts stay, so that nothing is bought again.
//! All steps are short, since calls in flight wait for the same writer.

use serde_json::json;

use crate::store::engine::db::{query, query_scalar};
use crate::store::{
    Store, StoreError,
    engine::rows,
    engine::space::{self, Log},
};
use crate::{
    clock::Millis,
    domain::{hex::hex, job::BatchId},
};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Answers.
    pub answers: u64,
    /// Other bodies that were posted as callbacks.
    pub callbacks: u64,
    /// The bytes that all of them used in the ledger.
    pub bytes: u64,
    /// Texts of lines that have changed since then.
    pub texts: u64,
}

/// How many answers a transaction removes at most.
const AT_ONCE: u32 = 500;
/// How many bytes of answers a transaction removes at most, if more than one: a page must be read to be freed.
const BYTES_AT_ONCE: u64 = 1_000_000;

impl Store {
    /// Removes the answers of batches that finished before `finished_before` (ms since 1970), or of one batch.
    pub async fn prune(&self, batch: Option<BatchId>, finished_before: Millis) -> Result<Pruned, StoreError> {
        let batches: Vec<i64> =
            query_scalar("SELECT id FROM batches WHERE finished_at < $1 AND ($2 IS NULL OR id = $2)")
                .bind(finished_before)
                .bind(batch)
                .fetch_all(&self.read)
                .await?;
        let mut pruned = Pruned::default();
        let mut log = Log::default();
        for batch in batches {
            self.prune_one(batch, finished_before, &mut log, &mut pruned).await?;
            self.prune_callbacks(batch, finished_before, &mut log, &mut pruned).await?;
            pruned.texts += self.prune_texts(BatchId(batch)).await?;
        }
        log.close().await;
        Ok(pruned)
    }

    async fn prune_one(
        &self,
        batch: i64,
        finished_before: Millis,
        log: &mut Log,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let mut after = Vec::new();
        loop {
            let page = self.page(batch, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            let calls = json!(page.iter().map(|call| [hex(call)]).collect::<Vec<_>>()).to_string();
            let taken = self
                .write(move |conn, _| {
                    let calls = calls.clone();
                    Box::pin(async move {
                        // The batch may have been reopened since then.
                        let taken: Vec<i64> = query_scalar(
                            r"-- prune::prune_one
                                DELETE FROM answers
                                WHERE call IN (SELECT unhex(v ->> 0) FROM rows_of($1) AS r)
                                  AND EXISTS (SELECT 1 FROM batches WHERE id = $2 AND finished_at < $3)
                                RETURNING length(body)",
                        )
                        .bind(calls)
                        .bind(batch)
                        .bind(finished_before)
                        .fetch_all(conn)
                        .await?;
                        Ok(taken)
                    })
                })
                .await?;
            pruned.answers += u64::try_from(taken.len()).unwrap_or(0);
            pruned.bytes += u64::try_from(taken.iter().sum::<i64>()).unwrap_or(0);
            log.step(self).await;
        }
    }

    /// Removes the callbacks' bodies of a batch's calls. How often each came, and its effect, stay.
    async fn prune_callbacks(
        &self,
        batch: i64,
        finished_before: Millis,
        log: &mut Log,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let kept = query(
            r"-- prune::prune_callbacks
              SELECT b.id, length(b.body) AS size
              FROM calls AS c
              CROSS JOIN callbacks AS b
              WHERE b.call = c.id AND c.batch = $1 AND b.body IS NOT NULL
              ORDER BY b.id",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let mut rows = kept.into_iter().peekable();
        while rows.peek().is_some() {
            let (mut ids, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next_if(|_| ids.len() < AT_ONCE as usize && bytes < BYTES_AT_ONCE) {
                bytes += rows::length(&row, "size")?.unwrap_or(0);
                ids.push([row.try_get::<i64, _>("id")?]);
            }
            let ids = json!(ids).to_string();
            let taken = self
                .write(move |conn, _| {
                    let ids = ids.clone();
                    Box::pin(async move {
                        let taken = query(
                            r"-- prune::prune_callbacks: the batch may have been taken up again since.
                              UPDATE callbacks
                              SET body = NULL, packed = NULL
                              WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r) AND body IS NOT NULL
                                AND EXISTS (SELECT 1 FROM batches WHERE id = $2 AND finished_at < $3)",
                        )
                        .bind(ids)
                        .bind(batch)
                        .bind(finished_before)
                        .execute(conn)
                        .await?;
                        Ok(taken.rows_affected())
                    })
                })
                .await?;
            if taken > 0 {
                pruned.callbacks += taken;
                pruned.bytes += bytes;
            }
            log.step(self).await;
        }
        Ok(())
    }

    /// The next calls of a batch that have answers, as many as one transaction removes. The search runs beside the
    /// writer, and skips the calls that are older than every answer: ids grow with time.
    async fn page(&self, batch: i64, after: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let found = query(
            r"-- prune::page
              SELECT c.id, length(a.body) AS size
              FROM calls AS c
              CROSS JOIN answers AS a
              WHERE a.call = c.id AND c.batch = $1 AND c.id > $2 AND c.id >= (SELECT call FROM answers ORDER BY call LIMIT 1)
              ORDER BY c.id
              LIMIT $3",
        )
        .bind(batch)
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(&self.read)
        .await?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        for row in found {
            bytes += rows::length(&row, "size")?.unwrap_or(0);
            if bytes > BYTES_AT_ONCE && !page.is_empty() {
                break;
            }
            page.push(row.try_get("id")?);
        }
        Ok(page)
    }

    /// Gives free pages back to the file system, and empties the write-ahead log.
    pub async fn shrink(&self) -> Result<(), StoreError> {
        let mut log = Log::default();
        loop {
            let (before, left) = self.write(|conn, _| Box::pin(space::give_back(conn))).await?;
            // A ledger that was rewritten with other settings gives nothing back.
            if left == 0 || left >= before {
                break;
            }
            log.step(self).await;
        }
        log.empty(self).await;
        log.close().await;
        Ok(())
    }
}
