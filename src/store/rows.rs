//! Between rows and domain types.

use std::str::FromStr;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    job::{CallId, CallRecord},
    pool::{Pool, PoolState},
};

/// A column that counts something.
pub(super) fn count(row: &SqliteRow, column: &str) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

/// A column with a closed list of spellings.
pub(super) fn listed<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} = {text}")))
}

/// The same where the column may be empty.
pub(super) fn listed_or_none<T: FromStr>(row: &SqliteRow, column: &str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|t| t.parse().map_err(|_| StoreError::Unexpected(format!("{column} = {t}")))).transpose()
}

/// A call's id, 16 bytes.
pub(super) fn call_id(row: &SqliteRow, column: &str) -> Result<Option<CallId>, StoreError> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    bytes
        .map(|b| Uuid::from_slice(&b).map(CallId).map_err(|e| StoreError::Unexpected(format!("{column}: {e}"))))
        .transpose()
}

/// A length that may be unknown.
pub(super) fn length(row: &SqliteRow, column: &str) -> Result<Option<u64>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|ms| u64::try_from(ms).ok()))
}

/// A row of `calls` with `awaited`.
pub(super) fn call_record(row: &SqliteRow) -> Result<CallRecord, StoreError> {
    let trace: String = row.try_get("trace")?;
    Ok(CallRecord {
        id: call_id(row, "id")?.ok_or_else(|| StoreError::Unexpected("a call without id".into()))?,
        state: listed(row, "state")?,
        sent_at: row.try_get("sent_at")?,
        slot_until: row.try_get("slot_until")?,
        awaited: row.try_get("awaited")?,
        overdue_at: row.try_get("overdue_at")?,
        unknown_at: row.try_get("unknown_at")?,
        counts: row.try_get("counts")?,
        error_kind: listed_or_none(row, "error_kind")?,
        error: row.try_get("error")?,
        bytes: length(row, "bytes")?,
        mark: row.try_get("mark")?,
        trace: serde_json::from_str(&trace).map_err(|e| StoreError::Unexpected(format!("trace: {e}")))?,
    })
}

/// A pool's shared state; the default where it has none yet.
pub(super) async fn pool_state(
    conn: &mut SqliteConnection,
    account: &str,
    pool: Pool,
) -> Result<PoolState, StoreError> {
    let row = sqlx::query("SELECT * FROM pools WHERE account = ? AND pool = ?")
        .bind(account)
        .bind(pool.as_str())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(PoolState::default()) };
    Ok(PoolState {
        cooldown_until: row.try_get("cooldown_until")?,
        cooldown_ms: row.try_get("cooldown_ms")?,
        refused: count(&row, "refused")?,
        factor: row.try_get("factor")?,
        remembered: row.try_get("remembered")?,
        storm_since: row.try_get("storm_since")?,
        stepped_at: row.try_get("stepped_at")?,
        limited_at: row.try_get("limited_at")?,
        round_since: row.try_get("round_since")?,
        round_clean: count(&row, "round_clean")?,
        base_in_flight: row.try_get::<Option<i64>, _>("base_in_flight")?.and_then(|n| u32::try_from(n).ok()),
        only_limited_since: row.try_get("only_limited_since")?,
        failing: count(&row, "failing")?,
        failing_job: row.try_get("failing_job")?,
        failing_times: count(&row, "failing_times")?,
        outage_since: row.try_get("outage_since")?,
        probe_at: row.try_get("probe_at")?,
        probe_ms: row.try_get("probe_ms")?,
    })
}

/// Writes a pool's shared state.
pub(super) async fn save_pool_state(
    conn: &mut SqliteConnection,
    account: &str,
    pool: Pool,
    state: &PoolState,
) -> Result<(), StoreError> {
    // By name: a process of another version may have given the table more columns than it knows here.
    sqlx::query(
        "INSERT OR REPLACE INTO pools (account, pool, cooldown_until, cooldown_ms, refused, factor, remembered, storm_since, \
           stepped_at, limited_at, round_since, round_clean, base_in_flight, only_limited_since, failing, failing_job, \
           failing_times, outage_since, probe_at, probe_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    .execute(conn)
    .await?;
    Ok(())
}
