//! One sound, one open call: who else buys it now, who has bought it since the spool was looked at, and who waits for it.

use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::{PermitAsk, StoreError, rows};
use crate::{clock::Millis, domain::job::CallId};

/// What the ledger knows of the sound that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SoundFence {
    /// An open call for it, and until when it is somebody's.
    pub(super) open: Option<(CallId, Option<Millis>)>,
    /// A call that has been answered since the spool was looked at.
    pub(super) kept: Option<CallId>,
    /// A call of another job that was given up, and whether that job is done with: else it is about to say what is next.
    pub(super) parked: Option<(CallId, bool)>,
}

/// The fence of each ask's sound, in their order.
pub(super) async fn fences(
    conn: &mut SqliteConnection,
    asks: impl Iterator<Item = &PermitAsk>,
    now: Millis,
) -> Result<Vec<SoundFence>, StoreError> {
    let (mut fences, mut set, mut heeds) = (Vec::new(), Vec::new(), false);
    for ask in asks {
        if let Some(sound) = ask.buys.sound() {
            heeds |= sound.heeds_parked;
            let heeds = sound.heeds_parked;
            set.push(json!([fences.len(), ask.account, sound.fingerprint.hex(), sound.looked_at, ask.job.0, heeds]));
        }
        fences.push(SoundFence::default());
    }
    if set.is_empty() {
        return Ok(fences);
    }
    let set = serde_json::Value::from(set).to_string();
    // As long as the job of that call is at work or has its moment to come, the call is that job's to decide on.
    let open = sqlx::query(
        "SELECT e.value ->> 0 AS nth, c.id, max(coalesce(c.slot_until, 0), coalesce(j.due_at, 0)) AS until \
         FROM json_each(?) e CROSS JOIN calls c ON c.account = e.value ->> 1 AND c.fingerprint = unhex(e.value ->> 2) \
         AND c.state IN ('sent', 'accepted') AND c.fingerprint IS NOT NULL JOIN jobs j ON j.id = c.job",
    )
    .bind(&set)
    .fetch_all(&mut *conn)
    .await?;
    for row in open {
        let until: Millis = row.try_get("until")?;
        let call = rows::call_id(&row, "id")?.map(|call| (call, (until > now).then_some(until)));
        at(&mut fences, &row)?.open = call;
    }
    let kept = sqlx::query(
        "SELECT e.value ->> 0 AS nth, c.id FROM json_each(?) e CROSS JOIN calls c ON c.fingerprint = unhex(e.value ->> 2) \
         AND c.state = 'answered' AND c.fingerprint IS NOT NULL AND c.ended_at >= e.value ->> 3",
    )
    .bind(&set)
    .fetch_all(&mut *conn)
    .await?;
    for row in kept {
        at(&mut fences, &row)?.kept = rows::call_id(&row, "id")?;
    }
    if heeds {
        // Given up and settled are two transactions: in between nobody may slip through.
        let parked = sqlx::query(
            "SELECT e.value ->> 0 AS nth, c.id, j.state = 'failed' AS decided FROM json_each(?) e \
             CROSS JOIN calls c ON c.fingerprint = unhex(e.value ->> 2) AND c.fingerprint IS NOT NULL AND c.state = 'lost' \
             AND c.unknown_at IS NOT NULL AND c.job <> e.value ->> 4 JOIN jobs j ON j.id = c.job AND j.era = c.era \
             WHERE e.value ->> 5 AND (j.state = 'running' OR (j.state = 'failed' AND j.error_kind = 'unknown_outcome'))",
        )
        .bind(&set)
        .fetch_all(&mut *conn)
        .await?;
        for row in parked {
            let decided = row.try_get("decided")?;
            at(&mut fences, &row)?.parked = rows::call_id(&row, "id")?.map(|call| (call, decided));
        }
    }
    Ok(fences)
}

fn at<'f>(fences: &'f mut [SoundFence], row: &sqlx::sqlite::SqliteRow) -> Result<&'f mut SoundFence, StoreError> {
    let nth = usize::try_from(row.try_get::<i64, _>("nth")?).unwrap_or(usize::MAX);
    fences.get_mut(nth).ok_or_else(|| StoreError::Unexpected("a sound that nobody asked for".into()))
}

/// These calls are closed: the jobs that waited for one of them are due.
pub(super) async fn wake(conn: &mut SqliteConnection, closed: &[CallId], now: Millis) -> Result<(), StoreError> {
    if closed.is_empty() {
        return Ok(());
    }
    let closed: Vec<String> = closed.iter().map(|call| call.0.simple().to_string()).collect();
    sqlx::query(
        "UPDATE jobs SET due_at = min(due_at, ?2), waits_for = NULL WHERE waits_for IN (SELECT unhex(value) FROM json_each(?1)) \
         AND waits_for IS NOT NULL AND state = 'queued'",
    )
    .bind(json!(closed).to_string())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
