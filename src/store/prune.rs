//! Giving space back: kept answers are taken once nobody will ask for them; rows and receipts stay, so that nothing is
//! bought again.

use super::{Store, StoreError};
use crate::{clock::Millis, domain::job::BatchId};

/// What was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Answers.
    pub answers: u64,
    /// Bytes that they took in the ledger.
    pub bytes: u64,
}

/// Answers a transaction takes at most: the writer has other things to do.
const AT_ONCE: i64 = 500;

impl Store {
    /// Takes the answers of batches that finished before `finished_before` (ms since 1970), or of one batch.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn prune(&self, batch: Option<BatchId>, finished_before: Millis) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        loop {
            let (n, bytes): (i64, i64) = self
                .write(move |conn, _| {
                    Box::pin(async move {
                        let taken: Vec<i64> = sqlx::query_scalar(
                            "DELETE FROM answers WHERE call IN (SELECT a.call FROM batches b JOIN calls c ON c.batch = b.id \
                               JOIN answers a ON a.call = c.id WHERE b.finished_at < ?1 AND (?2 IS NULL OR b.id = ?2) LIMIT ?3) \
                             RETURNING length(body)",
                        )
                        .bind(finished_before)
                        .bind(batch.map(|b| b.0))
                        .bind(AT_ONCE)
                        .fetch_all(conn)
                        .await?;
                        Ok((i64::try_from(taken.len()).unwrap_or(0), taken.iter().sum::<i64>()))
                    })
                })
                .await?;
            if n == 0 {
                break;
            }
            pruned.answers += u64::try_from(n).unwrap_or(0);
            pruned.bytes += u64::try_from(bytes).unwrap_or(0);
        }
        Ok(pruned)
    }

    /// Gives free pages back to the file system.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn shrink(&self) -> Result<(), StoreError> {
        loop {
            let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&self.read).await?;
            if left == 0 {
                return Ok(());
            }
            self.write(|conn, _| {
                Box::pin(async move {
                    sqlx::query("PRAGMA incremental_vacuum(2000)").fetch_all(conn).await?;
                    Ok(())
                })
            })
            .await?;
        }
    }
}
