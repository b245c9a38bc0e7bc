//! What reconciling needs to write: when an outcome became unknown, whose turn it is to probe, an answer set aside.

use super::{Store, StoreError, rows};
use crate::{
    clock::Millis,
    domain::{
        job::{BatchId, CallId, JobId},
        pool::Pool,
    },
};

impl Store {
    /// Notes since when a call's outcome is unknown, if that is not noted yet. Returns the moment.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn note_unknown(&self, call: CallId) -> Result<Millis, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                Ok(sqlx::query_scalar(
                    "UPDATE calls SET unknown_at = coalesce(unknown_at, ?) WHERE id = ? RETURNING unknown_at",
                )
                .bind(now)
                .bind(call.0.as_bytes().as_slice())
                .fetch_one(conn)
                .await?)
            })
        })
        .await
    }

    /// In an outage: whether this caller is the one to probe now. The next turn comes after the probe's wait. The second
    /// value: since when the outage lasts, and when the next probe is due.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn take_probe(&self, account: String, pool: Pool) -> Result<Option<(bool, Millis, Millis)>, StoreError> {
        self.write(move |conn, now| {
            let account = account.clone();
            Box::pin(async move {
                let mut state = rows::pool_state(conn, &account, pool).await?;
                let Some(since) = state.outage_since else { return Ok(None) };
                let mine = now >= state.probe_at;
                if mine {
                    state.probe_at = now + state.probe_ms.max(1);
                    rows::save_pool_state(conn, &account, pool, &state).await?;
                }
                Ok(Some((mine, since, state.probe_at)))
            })
        })
        .await
    }

    /// What a probe that was no call found out.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn probed(&self, account: String, pool: Pool, reached: bool) -> Result<(), StoreError> {
        self.write(move |conn, now| {
            let account = account.clone();
            Box::pin(async move {
                let mut state = rows::pool_state(conn, &account, pool).await?;
                if reached {
                    state.clean(now);
                } else {
                    state.failed(0, true, now);
                }
                rows::save_pool_state(conn, &account, pool, &state).await
            })
        })
        .await
    }

    /// Sets a job's answer aside, so that its part is bought again (`on_lost_words = "redo"`).
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn set_aside(&self, job: JobId, call: CallId) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                sqlx::query("UPDATE calls SET state = 'replaced' WHERE id = ? AND job = ? AND state = 'answered'")
                    .bind(call.0.as_bytes().as_slice())
                    .bind(job.0)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query("DELETE FROM answers WHERE call = ?")
                    .bind(call.0.as_bytes().as_slice())
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Whether another call of this ledger could own the log entry that `call` left: then an entry proves nothing.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn has_twin(&self, call: CallId) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM calls me JOIN calls o ON o.account = me.account AND o.pool = me.pool \
             AND o.sent_at >= me.sent_at - 86400000 WHERE me.id = ? AND o.id <> me.id AND o.trace = me.trace AND o.state <> 'rejected')",
        )
        .bind(call.0.as_bytes().as_slice())
        .fetch_one(&self.read)
        .await?)
    }

    /// Processes that are entered in the ledger: files of others in the spool belong to nobody.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn live_processes(&self) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar("SELECT id FROM processes").fetch_all(&self.read).await?)
    }

    /// State of a batch, cheap enough to ask every second: open (with nothing due any more or not), or paused.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn is_working(&self, batch: BatchId) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT state = 'open' AND finished_at IS NULL FROM batches WHERE id = ?")
            .bind(batch.0)
            .fetch_optional(&self.read)
            .await?
            .unwrap_or(false))
    }
}
