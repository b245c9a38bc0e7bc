//! The heartbeat: leases and slots are renewed while their process lives, and a clock that was set back is forgiven.

use sqlx::SqliteConnection;

use super::{Shared, StoreError};
use crate::clock::Millis;

/// A clock this far behind the newest stamp was set back.
const CLOCK_SLACK_MS: i64 = 2_000;

pub(super) async fn beat(
    conn: &mut SqliteConnection,
    shared: &Shared,
    process: i64,
    now: Millis,
) -> Result<(), StoreError> {
    let newest: i64 =
        sqlx::query_scalar("SELECT coalesce(max(beat_at), 0) FROM processes").fetch_one(&mut *conn).await?;
    if now < newest - CLOCK_SLACK_MS {
        forgive_the_clock(conn, now, shared.timing.lease_ms).await?;
    }
    let until = now + shared.timing.lease_ms;
    sqlx::query("UPDATE jobs SET due_at = ? WHERE process = ? AND state = 'running'")
        .bind(until)
        .bind(process)
        .execute(&mut *conn)
        .await?;
    // The successor of a superseded job waits as long as that job's worker is at it.
    sqlx::query(
        "UPDATE jobs SET due_at = ? WHERE due_at IS NOT NULL AND after IN \
         (SELECT id FROM jobs WHERE process = ? AND state = 'superseded')",
    )
    .bind(until)
    .bind(process)
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE calls SET slot_until = ? WHERE slot_until > 0 AND process = ?")
        .bind(until)
        .bind(process)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE processes SET beat_at = ? WHERE id = ?").bind(now).bind(process).execute(conn).await?;
    Ok(())
}

/// Calls of a process that is gone: their outcome is unknown from now on.
pub(super) async fn orphan_calls(conn: &mut SqliteConnection, process: i64, now: Millis) -> Result<(), StoreError> {
    sqlx::query("UPDATE calls SET process = NULL, unknown_at = coalesce(unknown_at, ?) WHERE slot_until IS NOT NULL AND process = ?")
        .bind(now)
        .bind(process)
        .execute(conn)
        .await?;
    Ok(())
}

/// Everything that was stamped with a future that will not come for hours is pulled to now.
async fn forgive_the_clock(conn: &mut SqliteConnection, now: Millis, lease_ms: i64) -> Result<(), StoreError> {
    tracing::warn!("the system clock was set back; stamps that lie in its future are pulled to now");
    let longest_wait = now + 30_000_i64.max(lease_ms);
    for (sql, limit) in [
        ("UPDATE calls SET sent_at = ?1 WHERE sent_at > ?2", now),
        ("UPDATE calls SET slot_until = ?1 + ?3 WHERE slot_until > ?2", now + lease_ms),
        ("UPDATE jobs SET due_at = ?1 WHERE due_at IS NOT NULL AND due_at > ?2 AND state = 'queued'", longest_wait),
        (
            "UPDATE jobs SET due_at = ?1 + ?3 WHERE due_at IS NOT NULL AND due_at > ?2 AND state = 'running'",
            now + lease_ms,
        ),
        ("UPDATE pools SET cooldown_until = ?1 WHERE cooldown_until > ?2", longest_wait),
        ("UPDATE pools SET probe_at = ?1 WHERE probe_at > ?2", now + 60_000),
        ("UPDATE pools SET stepped_at = ?1, limited_at = ?1 WHERE stepped_at > ?2", now),
        ("UPDATE notices SET due_at = ?1 WHERE due_at > ?2", now + 20 * 60_000),
        ("UPDATE schedules SET settled_to = ?1 WHERE settled_to > ?2", now),
        ("UPDATE runs SET due_at = ?1 WHERE due_at > ?2", now + 20 * 60_000),
        ("UPDATE batches SET paused_at = ?1 WHERE paused_at > ?2", now),
        ("UPDATE batches SET probed_at = ?1 WHERE probed_at > ?2", now),
        ("UPDATE processes SET beat_at = ?1 WHERE beat_at > ?2", now),
    ] {
        let query = sqlx::query(sql).bind(now).bind(limit);
        let query = if sql.contains("?3") { query.bind(lease_ms) } else { query };
        query.execute(&mut *conn).await?;
    }
    Ok(())
}
