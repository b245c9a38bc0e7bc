//! Pauses by the user and by wavebatch, and the one line that may pass to test whether the obstacle is still there.

use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{Store, StoreError};
use crate::{
    clock::Millis,
    domain::{job::BatchId, retry::PauseKind},
};

impl Store {
    /// Pauses a batch: no new claims and no new calls.
    pub async fn pause(&self, batch: BatchId, kind: PauseKind, reason: String) -> Result<(), StoreError> {
        self.write(move |conn, now| {
            let reason = reason.clone();
            Box::pin(async move { pause_in(conn, batch, kind, &reason, now).await })
        })
        .await
    }

    /// Lifts a pause. A pause that only the user may lift ([`PauseKind::only_the_user_lifts`]), or that ends by itself
    /// ([`PauseKind::ends_by_itself`], [`Store::lift_spend_pauses`]), is lifted only if `by_user`. Returns whether there
    /// was one to lift.
    pub async fn resume(&self, batch: BatchId, by_user: bool) -> Result<bool, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let kind: Option<PauseKind> =
                    query_scalar("SELECT pause_kind FROM batches WHERE id = $1 AND state = 'paused'")
                        .bind(batch)
                        .fetch_optional(&mut *conn)
                        .await?;
                let lifts = kind.is_some_and(|kind| by_user || !(kind.only_the_user_lifts() || kind.ends_by_itself()));
                if lifts {
                    lift(conn, batch, now).await?;
                    reset_outage_timers(conn, now).await?;
                }
                Ok(lifts)
            })
        })
        .await
    }
}

pub(in crate::store) async fn lift(conn: &mut Conn, batch: BatchId, now: Millis) -> Result<(), StoreError> {
    query(
        r"-- pauses::lift
          UPDATE batches
          SET state = 'open', pause_kind = NULL, pause_reason = NULL, paused_at = NULL, pause_until = NULL,
            pause_reserve = NULL, probing = 0, probe_job = NULL, probed_at = NULL, resumed_at = $1, lately_well = 0, lately_badly = 0
          WHERE id = $2",
    )
    .bind(now)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pauses inside a running transaction. The first reason stays; but a user's pause replaces one by wavebatch.
pub(in crate::store) async fn pause_in(
    conn: &mut Conn,
    batch: BatchId,
    kind: PauseKind,
    reason: &str,
    now: Millis,
) -> Result<(), StoreError> {
    query(
        r"-- pauses::pause_in: whoever was let through met the same cause: the pause lasts, and its probe is over.
          UPDATE batches
          SET state = 'paused', pause_kind = $1, pause_reason = $2, paused_at = coalesce(paused_at, $4),
            pause_until = NULL, pause_reserve = NULL, probing = 0, probe_job = NULL,
            probed_at = CASE WHEN probing = 1 THEN $4 ELSE probed_at END
          WHERE id = $3 AND (state = 'open' OR probing = 1 OR ($1 = 'user' AND pause_kind <> 'user'))",
    )
    .bind(kind)
    .bind(reason)
    .bind(batch)
    .bind(now)
    .later(conn)
    .await
}

/// The effect of a settled line on a batch that is probed: a success lifts the pause, a failure keeps it. A fault of the
/// source has no effect.
pub(in crate::store) async fn end_probe(
    conn: &mut Conn,
    batch: BatchId,
    well: bool,
    now: Millis,
) -> Result<(), StoreError> {
    if well {
        return lift(conn, batch, now).await;
    }
    query(
        r"-- pauses::end_probe
          UPDATE batches
          SET probing = 0, probe_job = NULL, probed_at = $1
          WHERE id = $2 AND probing = 1",
    )
    .bind(now)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pools that were out of reach are tried at once, and the time until a pause begins starts again.
pub(in crate::store) async fn reset_outage_timers(conn: &mut Conn, now: Millis) -> Result<(), StoreError> {
    query(
        r"-- pauses::reset_outage_timers
          UPDATE pools
          SET only_limited_since = NULL, outage_since = CASE WHEN outage_since IS NOT NULL THEN $1 END,
            probe_at = CASE WHEN probe_at < $1 THEN probe_at ELSE $1 END,
            probe_ms = CASE WHEN probe_ms < 1000 THEN probe_ms ELSE 1000 END",
    )
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
