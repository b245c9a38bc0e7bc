//! What a worker records of a call on the way, and what reconciling needs: when it left, since when its outcome is
//! unknown, which line probes next, which answer is set aside.

use std::{sync::atomic::Ordering, time::Duration};

use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{Store, StoreError, calls::spend_limits, engine::rows};
use crate::{
    clock::Millis,
    domain::{
        call::ErrorKind,
        job::{BatchId, CallId, JobId},
        pool::Pool,
    },
};

impl Store {
    /// A permitted call left noticeably later than its intent: the rate counts it from now on.
    pub async fn note_departure(&self, call: CallId) -> Result<(), StoreError> {
        let clock = self.clock().clone();
        let (sent_at, boot_ms) = (clock.now(), clock.boot());
        self.write(move |conn, _| {
            Box::pin(async move {
                spend_limits::note_departure(conn, call, sent_at).await?;
                query(
                    r"-- outcome::note_departure
                      UPDATE calls
                      SET sent_at = $2, boot_ms = CASE WHEN boot_id IS NULL THEN NULL ELSE $3 END
                      WHERE id = $1 AND state = 'sent' AND sent_at < $2",
                )
                .bind(call)
                .bind(sent_at)
                .bind(boot_ms)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Records since when a call's outcome is unknown, if that is not recorded yet. Returns the moment.
    pub async fn note_unknown(&self, call: CallId) -> Result<Millis, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                query_scalar(
                    r"-- outcome::note_unknown
                      UPDATE calls
                      SET unknown_at = coalesce(unknown_at, $1)
                      WHERE id = $2
                      RETURNING unknown_at",
                )
                .bind(now)
                .bind(call)
                .fetch_one(conn)
                .await
            })
        })
        .await
    }

    /// Records that the answer posted for an open call is larger than the limit. The call stays open, because the
    /// vendor's log may have its text; but no worker makes another call for it.
    pub async fn note_too_large(&self, call: CallId, message: &str) -> Result<(), StoreError> {
        let message = message.to_owned();
        self.write(move |conn, _| {
            let message = message.clone();
            Box::pin(async move {
                query(
                    r"-- outcome::note_too_large
                      UPDATE calls
                      SET error_kind = $1, error = $2
                      WHERE id = $3 AND state IN ('sent', 'accepted')",
                )
                .bind(ErrorKind::AnswerTooLarge)
                .bind(message)
                .bind(call)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The request of a call is over, but its answer is not handled yet: its slot is free. The call stays open, and its
    /// process still decides how it ended.
    pub async fn free_slot(&self, call: CallId) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                // A moment long past, not NULL: it still counts as a call that a dead process leaves open.
                query(
                    r"-- outcome::free_slot
                      UPDATE calls
                      SET slot_until = 0
                      WHERE id = $1 AND state = 'sent' AND slot_until IS NOT NULL",
                )
                .bind(call)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// In an outage: whether the line of this call, whose outcome is unknown, probes now. It does if all other lines left
    /// in its batch have such a call too, and it has waited longest. The next turn comes after the probe's wait. The
    /// second value: since when the outage lasts, and when the next probe is due.
    pub async fn take_probe(
        &self,
        account: String,
        pool: Pool,
        call: CallId,
    ) -> Result<Option<(bool, Millis, Millis)>, StoreError> {
        self.write(move |conn, now| {
            let account = account.clone();
            Box::pin(async move {
                let mut state = rows::pool_state(conn, &account, pool).await?;
                let Some(since) = state.outage_since else { return Ok(None) };
                let mine = now >= state.probe_at && may_probe(conn, pool, call).await?;
                if mine {
                    state.probe_at = now + state.probe_ms.max(1);
                    rows::save_pool_state(conn, &account, pool, &state).await?;
                }
                Ok(Some((mine, since, state.probe_at)))
            })
        })
        .await
    }

    /// A probe that was not a call found the API out of reach.
    pub async fn probe_failed(&self, account: String, pool: Pool) -> Result<(), StoreError> {
        self.write(move |conn, now| {
            let account = account.clone();
            Box::pin(async move {
                let mut state = rows::pool_state(conn, &account, pool).await?;
                state.failed(0, true, None, now, now);
                rows::save_pool_state(conn, &account, pool, &state).await
            })
        })
        .await
    }

    /// The worker asked the API whether the line of this call is to blame, and the API is out of reach: an outage begins,
    /// and the call uses up no try. Returns when the pool probes next.
    pub async fn out_of_reach(
        &self,
        account: String,
        pool: Pool,
        call: CallId,
        retry_after: Option<Duration>,
    ) -> Result<Millis, StoreError> {
        self.write(move |conn, now| {
            let account = account.clone();
            Box::pin(async move {
                let mut state = rows::pool_state(conn, &account, pool).await?;
                state.out_of_reach(retry_after, now);
                rows::save_pool_state(conn, &account, pool, &state).await?;
                query("UPDATE calls SET counts = 0 WHERE id = $1")
                    .bind(call.0.as_bytes().as_slice())
                    .execute(conn)
                    .await?;
                Ok(state.probe_at)
            })
        })
        .await
    }

    /// Nobody waits any more for the calls that this process made for a job, because its worker panicked. Their outcome
    /// is unknown from now on. The vendor may still work on them, so each keeps its slot for as long as that may take.
    pub async fn abandon_calls(&self, job: JobId) -> Result<(), StoreError> {
        let process = self.shared.process.load(Ordering::Acquire);
        self.write(move |conn, now| {
            Box::pin(async move {
                query(
                    r"-- outcome::abandon_calls
                      UPDATE calls
                      SET process = NULL, unknown_at = coalesce(unknown_at, $1),
                        slot_until = CASE WHEN slot_until > 0 THEN $1 + grace_ms ELSE slot_until END
                      WHERE job = $2 AND process = $3",
                )
                .bind(now)
                .bind(job)
                .bind(process)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Sets a job's answer aside, so that its part is bought again (`on_lost_words = "redo"`).
    pub async fn set_aside(&self, job: JobId, call: CallId) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                query(
                    r"-- outcome::set_aside
                      UPDATE calls
                      SET state = 'replaced'
                      WHERE id = $1 AND job = $2 AND state = 'answered'",
                )
                .bind(call)
                .bind(job)
                .execute(&mut *conn)
                .await?;
                query("DELETE FROM answers WHERE call = $1").bind(call).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// Whether a call for another line could own the log entry that `call` left: then an entry proves nothing. An earlier
    /// call for the same part sent the same recording, so its entry is as good an answer.
    pub async fn is_ambiguous(&self, call: CallId) -> Result<bool, StoreError> {
        query_scalar(
            r"-- outcome::has_twin
              SELECT EXISTS (
                SELECT 1
                FROM calls AS me
                JOIN calls AS o ON o.account = me.account AND o.pool = me.pool AND o.upload_bytes = me.upload_bytes
                WHERE me.id = $1 AND o.job <> me.job AND o.state <> 'rejected' AND o.request = me.request
                  AND o.sent_at >= me.sent_at - 86400000)",
        )
        .bind(call)
        .fetch_one(&self.read)
        .await
    }

    /// Processes registered in the ledger: files of any other process in the spool have no owner.
    pub async fn live_processes(&self) -> Result<Vec<i64>, StoreError> {
        query_scalar("SELECT id FROM processes").fetch_all(&self.read).await
    }

    /// The state of a batch, cheap enough for a query every second: open (with something still due or not), or paused.
    pub async fn is_working(&self, batch: BatchId) -> Result<bool, StoreError> {
        Ok(query_scalar(
            r"-- outcome::is_working
              SELECT state = 'open' AND submitting_at IS NULL AND cancelled_at IS NULL AND finished_at IS NULL
              FROM batches
              WHERE id = $1",
        )
        .bind(batch)
        .fetch_optional(&self.read)
        .await?
        .unwrap_or(false))
    }
}

/// Whether a line with an unknown outcome may probe: its batch has no line left that could probe free of charge, and no
/// such line has waited longer.
async fn may_probe(conn: &mut Conn, pool: Pool, call: CallId) -> Result<bool, StoreError> {
    Ok(query_scalar(
        r"-- outcome::may_probe
          SELECT NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.batch = me.batch AND j.lane = $2 AND j.due_at IS NOT NULL)
            AND NOT EXISTS (
              SELECT 1 FROM jobs AS j
              WHERE j.batch = me.batch AND j.lane = 'free' AND j.due_at IS NOT NULL AND j.state = 'running' AND j.pool = $2
                AND NOT EXISTS (
                  SELECT 1 FROM calls AS c WHERE c.job = j.id AND c.state IN ('sent', 'accepted', 'answered')))
            AND NOT EXISTS (
              SELECT 1 FROM calls AS o
              JOIN jobs AS j ON j.id = o.job
              WHERE o.state IN ('sent', 'accepted') AND o.batch = me.batch AND o.pool = me.pool AND o.process IS NULL
                AND o.unknown_at < me.unknown_at AND j.due_at IS NOT NULL)
          FROM calls AS me
          WHERE me.id = $1",
    )
    .bind(call)
    .bind(pool)
    .fetch_optional(conn)
    .await?
    .unwrap_or(false))
}
