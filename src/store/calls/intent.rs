//! Intents: the rows of calls that are about to be made, with what they reserve of their batches' money.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::domain::job::{CallId, RequestFingerprint};
use crate::store::engine::db::{Conn, query};
use crate::store::{Moment, PermitRequest, StoreError, StoreShared, calls::end, jobs::content};

/// A call whose intent is about to be on disk.
pub(in crate::store) struct Intent<'a> {
    pub(in crate::store) ask: &'a PermitRequest,
    pub(in crate::store) call: CallId,
    pub(in crate::store) reserve: i64,
    pub(in crate::store) upload_bytes: Option<i64>,
}

/// Gives up the calls that these intents replace, and writes the intents.
pub(in crate::store) async fn insert(
    conn: &mut Conn,
    shared: &StoreShared,
    intents: &[Intent<'_>],
    now: &Moment,
) -> Result<(), StoreError> {
    let replaced: Vec<CallId> = intents.iter().filter_map(|intent| intent.ask.replaces).collect();
    end::give_up(conn, &replaced, now.wall).await?;
    let row = |Intent { ask, call, reserve, upload_bytes }: &Intent<'_>| {
        let clip = ask.buys.clip();
        let bytes = upload_bytes.and_then(|bytes| u64::try_from(bytes).ok()).or(ask.request.bytes);
        json!({
            "id": call.0.simple().to_string(), "job": ask.job.0, "part": ask.part, "batch": ask.batch.0,
            "account": ask.account, "pool": ask.pool, "why": ask.why, "reserve": reserve, "units": ask.buys.units(),
            "timeout": ask.timeout_ms.max(0), "grace": ask.grace_ms.max(0),
            "overdue": ask.overdue_after.map(|after| now.wall.saturating_add(after)), "cursor": ask.log_cursor,
            "request": RequestFingerprint { bytes, ..ask.request.clone() }, "upload": upload_bytes,
            "source_bytes": ask.upload.map(|upload| upload.bytes), "clip": clip.map(|clip| clip.cache_key.hex()),
        })
    };
    let set = serde_json::Value::from(intents.iter().map(row).collect::<Vec<_>>()).to_string();
    content::note(conn, intents.iter().filter_map(|intent| Some((intent.ask.job, intent.ask.content?)))).await?;
    query(r"-- intent::insert: the plan of a job that has one part is made with its first call; that of others stands there already.
          INSERT INTO job_parts (job, part, units, bytes, cache_key)
          SELECT CAST(v ->> 'job' AS BIGINT), CAST(v ->> 'part' AS BIGINT), CAST(v ->> 'units' AS BIGINT),
            CAST(v ->> 'source_bytes' AS BIGINT), unhex(v ->> 'clip')
          FROM rows_of($1) AS r
          WHERE 1 = 1
          ON CONFLICT (job, part) DO NOTHING")
    .bind(&set)
    .later(conn)
    .await?;
    query(r"-- intent::insert: a part that the user queued again is called for the first time all the same, if nothing was paid for it.
          INSERT INTO calls (id, job, part, batch, generation, account, pool, state, why, sent_at, boot_id, boot_ms, timeout_ms,
            grace_ms, slot_until, process, overdue_at, reserve, units, log_cursor, request, upload_bytes, cache_key)
          SELECT unhex(v ->> 'id'), j.id, CAST(v ->> 'part' AS BIGINT), CAST(v ->> 'batch' AS BIGINT), j.generation,
            v ->> 'account', v ->> 'pool', 'sent',
            CASE WHEN v ->> 'why' = 'retry'
              AND NOT EXISTS (SELECT 1 FROM calls AS k
                WHERE k.job = j.id AND k.part = CAST(v ->> 'part' AS BIGINT) AND k.state <> 'rejected')
              AND NOT EXISTS (SELECT 1 FROM job_parts AS p
                WHERE p.job = j.id AND p.part = CAST(v ->> 'part' AS BIGINT) AND p.forced_at IS NOT NULL)
              THEN 'first' ELSE v ->> 'why' END,
            $2, $3, CASE WHEN $3 IS NULL THEN NULL ELSE $4 END,
            CAST(v ->> 'timeout' AS BIGINT), CAST(v ->> 'grace' AS BIGINT), $5, $6, CAST(v ->> 'overdue' AS BIGINT),
            CAST(v ->> 'reserve' AS BIGINT), CAST(v ->> 'units' AS BIGINT), v ->> 'cursor', v ->> 'request',
            CAST(v ->> 'upload' AS BIGINT), unhex(v ->> 'clip')
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.id = CAST(v ->> 'job' AS BIGINT)")
    .bind(&set)
    .bind(now.wall)
    .bind(now.boot_id)
    .bind(now.boot)
    .bind(now.wall + shared.timing.lease_ms)
    .bind(shared.process.load(Ordering::Acquire))
    .later(conn)
    .await?;
    query(
        r"-- intent::insert
            UPDATE batches
            SET reserved = reserved + m.sum
            FROM (
              SELECT CAST(v ->> 'batch' AS BIGINT) AS batch, CAST(sum(CAST(v ->> 'reserve' AS BIGINT)) AS BIGINT) AS sum
              FROM rows_of($1) AS r
              GROUP BY 1) AS m
            WHERE batches.id = m.batch",
    )
    .bind(set)
    .later(conn)
    .await
}
