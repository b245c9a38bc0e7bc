//! One clip has at most one open call: which call buys it now, which call has bought it since the last look at the audio
//! cache, and which jobs wait for it.

use serde_json::json;

use crate::store::engine::db::{Asked, Conn, Found, Row, Trip, query};
use crate::store::{Moment, PermitRequest, StoreError};
use crate::{clock::Millis, domain::job::CallId};

/// What the ledger knows about the clip of an ask.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct ClipFence {
    /// An open call for it, and until when that call belongs to its worker.
    pub(in crate::store) open: Option<(CallId, Option<Millis>)>,
    /// A call that has been answered since the last look at the audio cache.
    pub(in crate::store) kept: Option<CallId>,
    /// A call of another job that was given up, and whether that job is over. Otherwise that job decides about it soon.
    pub(in crate::store) manual_review: Option<(CallId, bool)>,
}

/// Where the rows about clips are.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct ClipLook {
    open: Asked,
    kept: Asked,
    manual_review: Option<Asked>,
}

/// Asks for the fence of each ask's clip.
pub(in crate::store) fn ask(
    trip: &mut Trip<'_>,
    asks: &[(usize, &PermitRequest)],
    lease_ms: i64,
    now: &Moment,
) -> Option<ClipLook> {
    let (mut set, mut respects) = (Vec::new(), false);
    for (nth, (_, ask)) in asks.iter().enumerate() {
        if let Some(clip) = ask.buys.clip() {
            respects |= clip.respects_manual_review;
            let respects = u8::from(clip.respects_manual_review);
            set.push(json!([nth, ask.account, clip.cache_key.hex(), clip.looked_at, ask.job.0, respects]));
        }
    }
    if set.is_empty() {
        return None;
    }
    let set = serde_json::Value::from(set).to_string();
    let open = query(r"-- clips::fences: an open call is its job's to decide on as long as that job is at work or has its moment to come, and its
          -- process's as long as that lives and may wait for its answer, however late the heartbeat is.
          SELECT nth, id, CASE WHEN alive > due AND alive > slot THEN alive WHEN due > slot THEN due ELSE slot END AS until
          FROM (
            SELECT CAST(r.v ->> 0 AS BIGINT) AS nth, c.id, coalesce(c.slot_until, 0) AS slot, coalesce(j.due_at, 0) AS due,
              CASE WHEN EXISTS (SELECT 1 FROM processes AS p WHERE p.id = c.process)
                THEN $2 + c.timeout_ms + $5
                  - CASE WHEN c.boot_id = $4 AND $3 - c.boot_ms < $2 - c.sent_at THEN $3 - c.boot_ms ELSE $2 - c.sent_at END
                ELSE 0 END AS alive
            FROM rows_of($1) AS r
            CROSS JOIN calls AS c
            JOIN jobs AS j ON j.id = c.job
            WHERE c.account = r.v ->> 1 AND c.cache_key = unhex(r.v ->> 2) AND c.state IN ('sent', 'accepted')
              AND c.cache_key IS NOT NULL) AS o")
    .bind(&set)
    .bind(now.wall)
    .bind(now.boot)
    .bind(now.boot_id)
    .bind(lease_ms);
    let kept = query(
        r"-- clips::fences
            SELECT CAST(r.v ->> 0 AS BIGINT) AS nth, c.id
            FROM rows_of($1) AS r
            CROSS JOIN calls AS c
            WHERE c.cache_key = unhex(r.v ->> 2) AND c.state = 'answered' AND c.cache_key IS NOT NULL
              AND c.ended_at >= CAST(r.v ->> 3 AS BIGINT)",
    )
    .bind(&set);
    let manual_review = respects.then(|| {
        query(
            r"-- clips::fences: given up and settled are two transactions: in between nobody may slip through.
              SELECT CAST(r.v ->> 0 AS BIGINT) AS nth, c.id, j.state = 'failed' AS decided
              FROM rows_of($1) AS r
              CROSS JOIN calls AS c
              JOIN jobs AS j ON j.id = c.job AND j.generation = c.generation
              WHERE c.cache_key = unhex(r.v ->> 2) AND c.cache_key IS NOT NULL AND c.state = 'lost'
                AND c.unknown_at IS NOT NULL AND c.job <> CAST(r.v ->> 4 AS BIGINT) AND CAST(r.v ->> 5 AS BIGINT) = 1
                AND (j.state = 'running' OR (j.state = 'failed' AND j.error_kind = 'unknown_outcome'))",
        )
        .bind(&set)
    });
    Some(ClipLook {
        open: trip.ask(open),
        kept: trip.ask(kept),
        manual_review: manual_review.map(|query| trip.ask(query)),
    })
}

/// The fences of the clips of so many asks, in their order.
pub(in crate::store) fn fences(
    found: &mut Found,
    (look, asks): (Option<ClipLook>, usize),
    lease_ms: i64,
    now: &Moment,
) -> Result<Vec<ClipFence>, StoreError> {
    let mut fences = vec![ClipFence::default(); asks];
    let Some(look) = look else { return Ok(fences) };
    for row in found.rows(look.open) {
        let until: Millis = row.try_get("until")?;
        // The end of the call wakes those who wait; this is only the latest moment.
        let until = (until > now.wall).then(|| until.min(now.wall + 4 * lease_ms));
        at(&mut fences, &row)?.open = Some((row.try_get("id")?, until));
    }
    for row in found.rows(look.kept) {
        at(&mut fences, &row)?.kept = Some(row.try_get("id")?);
    }
    for row in look.manual_review.map(|asked| found.rows(asked)).unwrap_or_default() {
        at(&mut fences, &row)?.manual_review = Some((row.try_get("id")?, row.try_get("decided")?));
    }
    Ok(fences)
}

fn at<'f>(fences: &'f mut [ClipFence], row: &Row) -> Result<&'f mut ClipFence, StoreError> {
    let nth = usize::try_from(row.try_get::<i64, _>("nth")?).unwrap_or(usize::MAX);
    fences.get_mut(nth).ok_or_else(|| StoreError::Unexpected("a clip that nobody asked for".into()))
}

/// Makes the jobs due that waited for one of these closed calls.
pub(in crate::store) async fn wake(conn: &mut Conn, closed: &[CallId], now: Millis) -> Result<(), StoreError> {
    if closed.is_empty() {
        return Ok(());
    }
    let closed: Vec<_> = closed.iter().map(|call| [call.0.simple().to_string()]).collect();
    query(r"-- clips::wake
          UPDATE jobs
          SET due_at = CASE WHEN due_at < $2 THEN due_at ELSE $2 END, waits_for = NULL
          WHERE waits_for IN (SELECT unhex(v ->> 0) FROM rows_of($1) AS r) AND waits_for IS NOT NULL AND state = 'queued'
            AND wanted <> 'dropped'")
    .bind(json!(closed).to_string())
    .bind(now)
    .later(conn)
    .await
}

/// These calls have bought clips again because the user wanted that: every output of their batch that contains one of
/// them is joined again.
pub(in crate::store) async fn rejoin(conn: &mut Conn, bought: &[CallId], now: Millis) -> Result<(), StoreError> {
    if bought.is_empty() {
        return Ok(());
    }
    let bought: Vec<_> = bought.iter().map(|call| [call.0.simple().to_string()]).collect();
    query(
        r"-- clips::join_anew
            WITH c AS (
              SELECT c.job, c.batch, c.cache_key FROM rows_of($1) AS r JOIN calls AS c ON c.id = unhex(r.v ->> 0))
            UPDATE jobs
            SET state = 'queued', due_at = $2, finished_at = NULL, lane = 'free'
            WHERE state IN ('succeeded', 'suspect') AND wanted <> 'dropped' AND id IN (
              SELECT p.job
              FROM c
              JOIN job_parts AS p ON p.cache_key = c.cache_key AND p.reused = 1 AND p.job <> c.job
              JOIN jobs AS j ON j.id = p.job AND j.batch = c.batch
              UNION
              SELECT k.job
              FROM c
              JOIN calls AS k ON k.cache_key = c.cache_key AND k.cache_key IS NOT NULL AND k.state = 'answered'
                AND k.job <> c.job AND k.batch = c.batch)",
    )
    .bind(json!(bought).to_string())
    .bind(now)
    .later(conn)
    .await
}
