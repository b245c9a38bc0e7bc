//! When a service may begin calls of a batch; what it may try of one that wavebatch paused itself; how it was told of last.

use std::sync::atomic::Ordering;

use sqlx::Row;

use super::{BatchRow, Store, StoreError, read};
use crate::{
    clock::Millis,
    domain::{job::BatchId, retry::PauseKind},
};

/// How long a pause that wavebatch made lasts until one line is tried, in ms.
const PROBE_AFTER: Millis = 15 * 60_000;

/// How an unfinished, or just finished, batch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It can be worked.
    Working,
    /// Nothing of it is due any more, and it is not marked as finished.
    Over,
    /// Finished, since then.
    Finished(Millis),
    /// Paused by wavebatch, since then.
    Paused(Millis),
    /// Its window closed then, and nothing of it is in flight.
    WindowClosed(Millis),
}

impl Standing {
    /// As it is kept, if it is one to tell of.
    fn mark(&self) -> Option<String> {
        match self {
            Self::Working | Self::Over => None,
            Self::Finished(at) => Some(format!("finished {at}")),
            Self::Paused(at) => Some(format!("paused {at}")),
            Self::WindowClosed(at) => Some(format!("window {at}")),
        }
    }
}

impl Store {
    /// From now on this process starts calls only within the windows of their batches.
    pub fn heed_windows(&self) {
        self.shared.heeds_windows.store(true, Ordering::Relaxed);
    }

    /// Waits until something may have become due here that nobody waits for.
    pub async fn stirred(&self) {
        self.shared.stirred.notified().await;
    }

    /// Something may have become due: whoever works here is to look.
    pub fn stir(&self) {
        self.shared.stirred.notify_one();
    }

    /// Sets from when until when (ms since 1970) calls of the definition's unfinished batches may begin; `None`: any time.
    /// Returns how many batches had another window.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn set_window(
        &self,
        definition: &str,
        world: &'static str,
        window: Option<(Millis, Millis)>,
    ) -> Result<u64, StoreError> {
        let (from, until) = window.unzip();
        let differ: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM batches WHERE definition = ? AND world = ? AND finished_at IS NULL \
             AND (window_from IS NOT ? OR window_until IS NOT ?))",
        )
        .bind(definition)
        .bind(world)
        .bind(from)
        .bind(until)
        .fetch_one(&self.read)
        .await?;
        if !differ {
            return Ok(0);
        }
        let definition = definition.to_owned();
        let set = self
            .write(move |conn, _| {
                let definition = definition.clone();
                Box::pin(async move {
                    let set = sqlx::query(
                        "UPDATE batches SET window_from = ?1, window_until = ?2 WHERE definition = ?3 AND world = ?4 \
                         AND finished_at IS NULL AND (window_from IS NOT ?1 OR window_until IS NOT ?2)",
                    )
                    .bind(from)
                    .bind(until)
                    .bind(definition)
                    .bind(world)
                    .execute(conn)
                    .await?;
                    Ok(set.rows_affected())
                })
            })
            .await?;
        self.stir();
        Ok(set)
    }

    /// Lets one line through of each batch that wavebatch paused over 15 min ago, or probed so long ago. Returns them with
    /// why they are paused.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn probe_paused(&self, world: &'static str) -> Result<Vec<(BatchId, PauseKind)>, StoreError> {
        const WHICH: &str = "state = 'paused' AND paused_by = 'wavebatch' AND NOT probing AND finished_at IS NULL AND world = ?1 \
             AND coalesce(probed_at, paused_at, 0) <= ?2";
        let long_ago = self.now() - PROBE_AFTER;
        let any: bool =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM batches WHERE {WHICH})")))
                .bind(world)
                .bind(long_ago)
                .fetch_one(&self.read)
                .await?;
        if !any {
            return Ok(Vec::new());
        }
        let probed = self
            .write(move |conn, now| {
                Box::pin(async move {
                    // Until a line is claimed; then it is that line's number below nought.
                    let sql = format!(
                        "UPDATE batches SET probing = 1, probed_at = ?3 WHERE {WHICH} RETURNING id, pause_kind"
                    );
                    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                        .bind(world)
                        .bind(now - PROBE_AFTER)
                        .bind(now)
                        .fetch_all(conn)
                        .await?;
                    rows.iter()
                        .map(|row| Ok((BatchId(row.try_get("id")?), super::rows::listed(row, "pause_kind")?)))
                        .collect()
                })
            })
            .await?;
        self.stir();
        Ok(probed)
    }

    /// The batches of this world that are not finished, or whose end was not told of, and how each stands.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn standings(&self, world: &'static str) -> Result<Vec<(BatchRow, Standing)>, StoreError> {
        let rows = sqlx::query(
            "SELECT *, EXISTS (SELECT 1 FROM jobs WHERE batch = b.id AND due_at IS NOT NULL) AS left, \
               window_until <= ?2 AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = b.id AND state = 'running') AS closed \
             FROM batches b WHERE world = ?1 AND (finished_at IS NULL OR told IS NOT 'finished ' || finished_at) ORDER BY id",
        )
        .bind(world)
        .bind(self.now())
        .fetch_all(&self.read)
        .await?;
        let mut standings = Vec::with_capacity(rows.len());
        for row in &rows {
            let batch = read::batch_row(row)?;
            let by: Option<String> = row.try_get("paused_by")?;
            let standing = match batch.finished_at {
                Some(at) => Standing::Finished(at),
                None if batch.state == "submitting" => Standing::Working,
                None if !row.try_get::<bool, _>("left")? => Standing::Over,
                None if by.as_deref() == Some("wavebatch") => {
                    Standing::Paused(row.try_get::<Option<Millis>, _>("paused_at")?.unwrap_or(0))
                }
                None if row.try_get::<Option<bool>, _>("closed")? == Some(true) && by.is_none() => {
                    Standing::WindowClosed(row.try_get("window_until")?)
                }
                None => Standing::Working,
            };
            let told: Option<String> = row.try_get("told")?;
            let standing =
                if standing.mark().is_some_and(|mark| told == Some(mark)) { Standing::Working } else { standing };
            standings.push((batch, standing));
        }
        Ok(standings)
    }

    /// Notes that a batch's report was written and that it was told how it stands.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn told(&self, batch: BatchId, standing: &Standing) -> Result<(), StoreError> {
        let Some(mark) = standing.mark() else { return Ok(()) };
        self.write(move |conn, _| {
            let mark = mark.clone();
            Box::pin(async move {
                sqlx::query("UPDATE batches SET told = ? WHERE id = ?").bind(mark).bind(batch.0).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }
}
