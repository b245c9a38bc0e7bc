//! Pauses: the user's, those that wavebatch makes itself, and the one line that is let through to see whether the wall still
//! stands.

use sqlx::SqliteConnection;

use super::{Store, StoreError};
use crate::{
    clock::Millis,
    domain::{job::BatchId, retry::PauseKind},
};

impl Store {
    /// Pauses a batch: no new claims and no new calls.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn pause(&self, batch: BatchId, kind: PauseKind, reason: String) -> Result<(), StoreError> {
        let by = if kind == PauseKind::User { "user" } else { "wavebatch" };
        self.write(move |conn, now| {
            let reason = reason.clone();
            Box::pin(async move { pause_in(conn, batch.0, by, kind, &reason, now).await })
        })
        .await
    }

    /// Lifts a pause; a user's only if `users_too`. Returns whether there was one to lift.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn resume(&self, batch: BatchId, users_too: bool) -> Result<bool, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE batches SET state = 'open', paused_by = NULL, pause_kind = NULL, pause_reason = NULL, resumed_at = ?, \
                     paused_at = NULL, probing = 0, probed_at = NULL, \
                     lately_well = 0, lately_badly = 0 WHERE id = ? AND state = 'paused' AND (paused_by <> 'user' OR ?)",
                )
                .bind(now)
                .bind(batch.0)
                .bind(users_too)
                .execute(&mut *conn)
                .await?;
                let lifted = done.rows_affected() > 0;
                if lifted {
                    fresh_patience(conn, now).await?;
                }
                Ok(lifted)
            })
        })
        .await
    }
}

/// A pause inside somebody's transaction. The first reason stays.
pub(super) async fn pause_in(
    conn: &mut SqliteConnection,
    batch: i64,
    by: &str,
    kind: PauseKind,
    reason: &str,
    now: Millis,
) -> Result<(), StoreError> {
    // Into the same wall again: the pause lasts, and its probe is over.
    sqlx::query(
        "UPDATE batches SET state = 'paused', paused_by = ?1, pause_kind = ?2, pause_reason = ?3, \
         paused_at = coalesce(paused_at, ?5), probing = 0, probed_at = CASE WHEN probing THEN ?5 ELSE probed_at END WHERE id = ?4 AND \
         (state = 'open' OR probing OR (state = 'paused' AND paused_by = 'wavebatch' AND ?1 = 'user'))",
    )
    .bind(by)
    .bind(kind.as_str())
    .bind(reason)
    .bind(batch)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// What a settled line says of a batch that is probed: one that went well lifts the pause, one that failed keeps it. A
/// source that is at fault says nothing.
pub(super) async fn end_probe(
    conn: &mut SqliteConnection,
    batch: i64,
    well: bool,
    now: Millis,
) -> Result<(), StoreError> {
    let sql = if well {
        "UPDATE batches SET state = 'open', paused_by = NULL, pause_kind = NULL, pause_reason = NULL, paused_at = NULL, \
         probing = 0, probed_at = NULL, resumed_at = ?1, lately_well = 0, lately_badly = 0 WHERE id = ?2 AND probing"
    } else {
        "UPDATE batches SET probing = 0, probed_at = ?1 WHERE id = ?2 AND probing"
    };
    sqlx::query(sql).bind(now).bind(batch).execute(conn).await?;
    Ok(())
}

/// What waited for a pool that was out of reach tries at once, and is patient as long as before.
pub(super) async fn fresh_patience(conn: &mut SqliteConnection, now: Millis) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE pools SET only_limited_since = NULL, outage_since = CASE WHEN outage_since IS NOT NULL THEN ?1 END, \
         probe_at = min(probe_at, ?1), probe_ms = min(probe_ms, 1000)",
    )
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
