//! Conversions between rows and domain types.

use std::{collections::HashMap, str::FromStr};

use crate::domain::{
    job::{CallId, CallRecord},
    pool::{Pool, PoolState},
};
use crate::store::StoreError;
use crate::store::engine::db::{Conn, Query, Row, query};

/// A column that is a count.
pub(in crate::store) fn count(row: &Row, column: &str) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

/// A column with a closed list of spellings.
pub(in crate::store) fn listed<T: FromStr>(row: &Row, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} = {text}")))
}

/// A call's id, 16 bytes.
pub(in crate::store) fn call_id(row: &Row, column: &str) -> Result<Option<CallId>, StoreError> {
    row.try_get(column)
}

/// A length that may be unknown.
pub(in crate::store) fn length(row: &Row, column: &str) -> Result<Option<u64>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|ms| u64::try_from(ms).ok()))
}

/// The columns of `calls` that [`call_record`] reads, with `c` for the row: whether the process that waits for the call's
/// answer is there, and how long ago the call left. The machine's own clock (`$2`, since its start `$3`) counts for a
/// call made since the same start, if it gives less than the wall clock (`$1`): a wall clock may be set.
macro_rules! call_columns {
    () => {
        "c.id, c.part, c.state, c.sent_at, c.timeout_ms, c.slot_until, c.overdue_at, c.unknown_at, c.counts, c.error_kind,
         c.error, c.clip_bytes, c.log_cursor, c.request,
         CASE WHEN c.boot_id = $3 AND $2 - c.boot_ms < $1 - c.sent_at THEN $2 - c.boot_ms ELSE $1 - c.sent_at END AS age_ms,
         EXISTS (SELECT 1 FROM processes p WHERE p.id = c.process) AS awaited"
    };
}
pub(in crate::store) use call_columns;

/// Reads a row of [`call_columns`].
pub(in crate::store) fn call_record(row: &Row) -> Result<CallRecord, StoreError> {
    let request: String = row.try_get("request")?;
    Ok(CallRecord {
        id: call_id(row, "id")?.ok_or_else(|| StoreError::Unexpected("a call without id".into()))?,
        state: row.try_get("state")?,
        sent_at: row.try_get("sent_at")?,
        age_ms: row.try_get("age_ms")?,
        timeout_ms: row.try_get("timeout_ms")?,
        slot_until: row.try_get("slot_until")?,
        awaited: row.try_get("awaited")?,
        overdue_at: row.try_get("overdue_at")?,
        unknown_at: row.try_get("unknown_at")?,
        counts: row.try_get("counts")?,
        error_kind: row.try_get("error_kind")?,
        error: row.try_get("error")?,
        bytes: length(row, "clip_bytes")?,
        log_cursor: row.try_get("log_cursor")?,
        request: serde_json::from_str(&request).map_err(|e| StoreError::Unexpected(format!("request: {e}")))?,
    })
}

/// A pool's shared state; the default where it has none yet.
pub(in crate::store) async fn pool_state(conn: &mut Conn, account: &str, pool: Pool) -> Result<PoolState, StoreError> {
    let row = query("SELECT * FROM pools WHERE account = $1 AND pool = $2")
        .bind(account)
        .bind(pool.as_str())
        .fetch_optional(conn)
        .await?;
    row.map_or_else(|| Ok(PoolState::default()), |row| read_pool_state(&row))
}

/// The shared states of all pools. They are few: one for each model of an account.
pub(in crate::store) fn pool_states<'q>() -> Query<'q> {
    query("SELECT * FROM pools")
}

/// Reads the rows of [`pool_states`].
pub(in crate::store) fn read_pool_states(rows: &[Row]) -> Result<HashMap<(String, Pool), PoolState>, StoreError> {
    let mut states = HashMap::with_capacity(rows.len());
    for row in rows {
        // A pool that this program does not know is no reason to stop.
        if let Ok(pool) = row.text("pool")?.parse() {
            states.insert((row.try_get("account")?, pool), read_pool_state(row)?);
        }
    }
    Ok(states)
}

fn read_pool_state(row: &Row) -> Result<PoolState, StoreError> {
    Ok(PoolState {
        cooldown_until: row.try_get("cooldown_until")?,
        cooldown_ms: row.try_get("cooldown_ms")?,
        refused: count(row, "refused")?,
        factor: row.try_get("factor")?,
        remembered: row.try_get("remembered")?,
        storm_since: row.try_get("storm_since")?,
        stepped_at: row.try_get("stepped_at")?,
        limited_at: row.try_get("limited_at")?,
        round_since: row.try_get("round_since")?,
        round_clean: count(row, "round_clean")?,
        base_in_flight: row.try_get::<Option<i64>, _>("base_in_flight")?.and_then(|n| u32::try_from(n).ok()),
        only_limited_since: row.try_get("only_limited_since")?,
        failing: count(row, "failing")?,
        failing_job: row.try_get("failing_job")?,
        failing_times: count(row, "failing_times")?,
        outage_since: row.try_get("outage_since")?,
        probe_at: row.try_get("probe_at")?,
        probe_ms: row.try_get("probe_ms")?,
    })
}

/// Writes a pool's shared state.
pub(in crate::store) async fn save_pool_state(
    conn: &mut Conn,
    account: &str,
    pool: Pool,
    state: &PoolState,
) -> Result<(), StoreError> {
    query(
        r"-- rows::save_pool_state
          INSERT INTO pools (account, pool, cooldown_until, cooldown_ms, refused, factor, remembered, storm_since, stepped_at,
            limited_at, round_since, round_clean, base_in_flight, only_limited_since, failing, failing_job, failing_times,
            outage_since, probe_at, probe_ms)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
          ON CONFLICT (account, pool) DO UPDATE SET cooldown_until = excluded.cooldown_until,
            cooldown_ms = excluded.cooldown_ms, refused = excluded.refused, factor = excluded.factor,
            remembered = excluded.remembered, storm_since = excluded.storm_since, stepped_at = excluded.stepped_at,
            limited_at = excluded.limited_at, round_since = excluded.round_since, round_clean = excluded.round_clean,
            base_in_flight = excluded.base_in_flight, only_limited_since = excluded.only_limited_since,
            failing = excluded.failing, failing_job = excluded.failing_job, failing_times = excluded.failing_times,
            outage_since = excluded.outage_since, probe_at = excluded.probe_at, probe_ms = excluded.probe_ms",
    )
    .bind(account)
    .bind(pool.as_str())
    .bind(state.cooldown_until)
    .bind(state.cooldown_ms)
    .bind(state.refused)
    .bind(state.factor)
    .bind(state.remembered)
    .bind(state.storm_since)
    .bind(state.stepped_at)
    .bind(state.limited_at)
    .bind(state.round_since)
    .bind(state.round_clean)
    .bind(state.base_in_flight)
    .bind(state.only_limited_since)
    .bind(state.failing)
    .bind(state.failing_job)
    .bind(state.failing_times)
    .bind(state.outage_since)
    .bind(state.probe_at)
    .bind(state.probe_ms)
    .later(conn)
    .await
}
