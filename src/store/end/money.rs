//! What the ends of calls do to the money of their batches.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::{Change, End};
use crate::store::StoreError;

/// Frees what was reserved for calls that are over, and books what they cost.
pub(super) async fn write(conn: &mut SqliteConnection, changes: &[Change<'_>]) -> Result<(), StoreError> {
    let mut batches: HashMap<i64, (i64, i64, i64)> = HashMap::new();
    for c in changes {
        let (reserved, spent, longest) = batches.entry(c.known.batch).or_default();
        let open = c.state.is_open();
        *reserved -= if open { 0 } else { c.known.reserve };
        *spent += c.cost - c.known.cost;
        if let End::Answered { audio_ms: Some(ms), .. } = c.end {
            *longest = (*longest).max(i64::try_from(*ms).unwrap_or(i64::MAX));
        }
    }
    for (batch, (reserved, spent, longest)) in batches {
        if (reserved, spent, longest) == (0, 0, 0) {
            continue;
        }
        sqlx::query("UPDATE batches SET reserved = max(0, reserved + ?), spent = spent + ?, longest_ms = max(longest_ms, ?) WHERE id = ?")
            .bind(reserved)
            .bind(spent)
            .bind(longest)
            .bind(batch)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
