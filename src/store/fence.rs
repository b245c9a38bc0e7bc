//! What a permit is judged by, read inside the transaction that grants it: the lease, the journal, the pool, the money.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{PermitAsk, Shared, StoreError, claim, rows};
use crate::{
    clock::Millis,
    domain::{
        job::{BatchId, CallId},
        pool::{Limits, Pool, Traffic, WINDOW_MS},
    },
};

/// A batch's money and room.
pub(super) struct Money {
    pub(super) open: bool,
    /// Its calls may begin now.
    pub(super) in_window: bool,
    pub(super) max: Option<i64>,
    pub(super) spent: i64,
    pub(super) reserved: i64,
    pub(super) longest_ms: i64,
    pub(super) concurrency: Option<i64>,
    pub(super) in_flight: i64,
    /// Answers are waited for that hold no slot.
    pub(super) awaits: bool,
}

/// What stands between an ask and its call.
pub(super) struct Fence {
    pub(super) token: Option<i64>,
    pub(super) running: bool,
    pub(super) answered: bool,
    pub(super) open: Option<CallId>,
}

/// What the journal says about a pool. The rate is counted only where there is one.
pub(super) async fn traffic(
    conn: &mut SqliteConnection,
    account: &str,
    pool: Pool,
    limits: &Limits,
    now: Millis,
) -> Result<Traffic, StoreError> {
    let in_flight: i64 =
        sqlx::query_scalar("SELECT count(*) FROM calls WHERE account = ? AND pool = ? AND slot_until > ?")
            .bind(account)
            .bind(pool.as_str())
            .bind(now)
            .fetch_one(&mut *conn)
            .await?;
    let mut traffic = Traffic { in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX), ..Traffic::default() };
    if let Some(limit) = limits.requests_per_minute {
        let row = sqlx::query(
            "SELECT count(*) AS n, min(sent_at) AS oldest FROM (SELECT sent_at FROM calls WHERE account = ? AND pool = ? \
             AND sent_at > ? ORDER BY sent_at DESC LIMIT ?)",
        )
        .bind(account)
        .bind(pool.as_str())
        .bind(now - WINDOW_MS)
        .bind(limit)
        .fetch_one(conn)
        .await?;
        traffic.in_window = rows::count(&row, "n")?;
        traffic.nth_newest = if traffic.in_window >= limit { row.try_get("oldest")? } else { None };
    }
    Ok(traffic)
}

/// Money and room of the batches that are asked for.
pub(super) async fn batches(
    conn: &mut SqliteConnection,
    shared: &Shared,
    waiting: &[PermitAsk],
    now: Millis,
) -> Result<HashMap<i64, Money>, StoreError> {
    let mut ids: Vec<BatchId> = waiting.iter().map(|a| a.batch).collect();
    ids.sort_unstable();
    ids.dedup();
    let sql = format!(
        "SELECT id, state = 'open' OR probing AS open, NOT ?2 OR window_from IS NULL OR (window_from <= ?1 AND ?1 < window_until) AS in_window, max_spend, spent, reserved, longest_ms, concurrency, \
         CASE WHEN concurrency IS NULL AND max_spend IS NULL THEN 0 ELSE (SELECT count(*) FROM calls INDEXED BY calls_by_slot WHERE slot_until IS NOT NULL AND slot_until > ?1 AND batch = batches.id) END AS in_flight, \
         max_spend IS NOT NULL AND EXISTS (SELECT 1 FROM jobs WHERE batch = batches.id AND state = 'awaiting') AS awaits FROM batches WHERE true {}",
        claim::among("id", &ids)
    );
    let mut found = HashMap::new();
    for row in sqlx::query(AssertSqlSafe(sql)).bind(now).bind(shared.heeds_windows()).fetch_all(conn).await? {
        found.insert(
            row.try_get("id")?,
            Money {
                open: row.try_get("open")?,
                in_window: row.try_get("in_window")?,
                max: row.try_get("max_spend")?,
                spent: row.try_get("spent")?,
                reserved: row.try_get("reserved")?,
                longest_ms: row.try_get("longest_ms")?,
                concurrency: row.try_get("concurrency")?,
                in_flight: row.try_get("in_flight")?,
                awaits: row.try_get("awaits")?,
            },
        );
    }
    Ok(found)
}

/// The fence of each part that is asked for, by job and part.
pub(super) async fn fences(
    conn: &mut SqliteConnection,
    asks: impl Iterator<Item = &PermitAsk>,
) -> Result<HashMap<(i64, i64), Fence>, StoreError> {
    let set = serde_json::Value::from(asks.map(|a| json!([a.job.0, a.part])).collect::<Vec<_>>()).to_string();
    let rows = sqlx::query(
        "SELECT j.id, e.value ->> 1 AS part, j.token, j.state = 'running' AS running, \
           EXISTS (SELECT 1 FROM calls c WHERE c.job = j.id AND c.part = e.value ->> 1 AND c.state = 'answered') AS answered, \
           (SELECT c.id FROM calls c WHERE c.job = j.id AND c.part = e.value ->> 1 AND c.state IN ('sent', 'accepted')) AS open \
         FROM json_each(?) e JOIN jobs j ON j.id = e.value ->> 0",
    )
    .bind(set)
    .fetch_all(conn)
    .await?;
    let mut fences = HashMap::with_capacity(rows.len());
    for row in rows {
        let fence = Fence {
            token: row.try_get("token")?,
            running: row.try_get("running")?,
            answered: row.try_get("answered")?,
            open: rows::call_id(&row, "open")?,
        };
        fences.insert((row.try_get("id")?, row.try_get("part")?), fence);
    }
    Ok(fences)
}
