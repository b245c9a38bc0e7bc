//! Claiming: the right to work on jobs that are due, proved by a fresh token.

use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};

use super::{Shared, Store, StoreError, rows, writer::Command};
use crate::{
    clock::Millis,
    domain::{
        job::{BatchId, JobId, Token},
        pool::Pool,
        s3::Listed,
    },
};

/// What a worker pool can take on now.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// Only these batches; empty = all that are open in this world.
    pub batches: Vec<BatchId>,
    /// `waves` or `sandbox`.
    pub world: &'static str,
    /// Jobs that need no call.
    pub free: u32,
    /// Jobs that need a call, by pool.
    pub calls: Vec<(Pool, u32)>,
    /// Advances with each claim, so that batches take turns.
    pub turn: usize,
    /// Batches take no turns: the others get what the oldest leaves.
    pub oldest_first: bool,
}

impl Want {
    /// Lanes with room, and how much.
    fn lanes(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        let calls = self.calls.iter().map(|(pool, n)| (pool.as_str(), *n));
        calls.chain([("free", self.free)]).filter(|(_, room)| *room > 0)
    }
}

/// A job with its lease.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job.
    pub job: JobId,
    /// Its batch.
    pub batch: BatchId,
    /// Proof of the lease.
    pub token: Token,
    /// Its key.
    pub key: String,
    /// Which of its line's jobs it is: voice and format.
    pub variant: String,
    /// Where its recording is.
    pub source: String,
    /// What a listing knew of it.
    pub expected: Option<Listed>,
    /// JSON of its options that differ from the batch's.
    pub overrides: Option<String>,
    /// Tries used up by the source.
    pub source_tries: u32,
    /// The user's `retry`s so far.
    pub era: i64,
    /// The pool it was claimed for; none if it was due for something that needs no call.
    pub lane: Option<Pool>,
    /// Whether the journal has calls of this era, or one that is open or answered: else it need not be read.
    pub has_calls: bool,
}

impl Store {
    /// Claims jobs that are due.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn claim(&self, want: Want) -> Result<Vec<Claimed>, StoreError> {
        self.send(|reply| Command::Claim(want, reply)).await
    }

    /// The next moment at which a job of these batches (or of any open one) is due that `want` has room for.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn next_due(&self, want: &Want) -> Result<Option<Millis>, StoreError> {
        let lanes: Vec<&str> = want.lanes().map(|(lane, _)| lane).collect();
        let sql = format!(
            "SELECT min(d) FROM (SELECT (SELECT min(due_at) FROM jobs WHERE batch = b.id AND lane = l.value AND due_at IS NOT NULL) AS d \
             FROM batches b, json_each(?) l WHERE b.state = 'open' AND b.finished_at IS NULL AND b.world = ? {})",
            among("b.id", &want.batches)
        );
        let lanes = serde_json::json!(lanes).to_string();
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(lanes).bind(want.world).fetch_one(&self.read).await?)
    }
}

/// `AND column IN (…)`, or nothing for an empty list. The ids are numbers: nothing to quote.
pub(super) fn among(column: &str, batches: &[BatchId]) -> String {
    if batches.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = batches.iter().map(|b| b.0.to_string()).collect();
    format!("AND {column} IN ({})", ids.join(","))
}

pub(super) async fn claim(
    conn: &mut SqliteConnection,
    shared: &Shared,
    want: &Want,
    now: Millis,
) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "SELECT id, started_at IS NULL FROM batches WHERE state = 'open' AND finished_at IS NULL AND world = ? {} ORDER BY id",
        among("id", &want.batches)
    );
    let mut batches: Vec<(i64, bool)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(want.world).fetch_all(&mut *conn).await?;
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    if !want.oldest_first {
        let turn = want.turn % batches.len();
        batches.rotate_left(turn);
    }
    let mut claimed = Vec::new();
    for (lane, room) in want.lanes() {
        let mut room = room;
        // First everybody's fair share, then what others left.
        let share = room.div_ceil(u32::try_from(batches.len()).unwrap_or(u32::MAX));
        for limit in if batches.len() == 1 || want.oldest_first { vec![room] } else { vec![share, room] } {
            for (batch, fresh) in &mut batches {
                let take = limit.min(room);
                if take == 0 {
                    break;
                }
                let got = claim_lane(conn, shared, *batch, lane, take, now).await?;
                if *fresh && !got.is_empty() {
                    *fresh = false;
                    start(conn, *batch, now).await?;
                }
                room -= u32::try_from(got.len()).unwrap_or(room).min(room);
                claimed.extend(got);
            }
        }
    }
    Ok(claimed)
}

async fn claim_lane(
    conn: &mut SqliteConnection,
    shared: &Shared,
    batch: i64,
    lane: &str,
    take: u32,
    now: Millis,
) -> Result<Vec<Claimed>, StoreError> {
    let token = shared.next_token();
    let rows = sqlx::query(
        "UPDATE jobs SET state = 'running', token = ?1, process = ?2, due_at = ?3, lane = 'free', \
                after = NULL, waits_for = NULL, started_at = coalesce(started_at, ?4) \
         WHERE id IN (SELECT id FROM jobs WHERE batch = ?5 AND lane = ?6 AND due_at <= ?4 ORDER BY due_at LIMIT ?7) \
         RETURNING id, batch, key, variant, source, source_bytes, source_etag, overrides, source_tries, era, \
                   EXISTS (SELECT 1 FROM calls WHERE job = jobs.id AND (era = jobs.era OR state IN ('sent', 'accepted', 'answered'))) AS has_calls",
    )
    .bind(token)
    .bind(shared.process.load(std::sync::atomic::Ordering::Acquire))
    .bind(now + shared.timing.lease_ms)
    .bind(now)
    .bind(batch)
    .bind(lane)
    .bind(take)
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed =
        rows.iter().map(|r| claimed(r, Token(token), lane.parse().ok())).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_unstable_by_key(|c| c.job);
    Ok(claimed)
}

async fn start(conn: &mut SqliteConnection, batch: i64, now: Millis) -> Result<(), StoreError> {
    sqlx::query("UPDATE batches SET started_at = ? WHERE id = ? AND started_at IS NULL")
        .bind(now)
        .bind(batch)
        .execute(conn)
        .await?;
    Ok(())
}

fn claimed(row: &SqliteRow, token: Token, lane: Option<Pool>) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        job: JobId(row.try_get("id")?),
        batch: BatchId(row.try_get("batch")?),
        token,
        key: row.try_get("key")?,
        variant: row.try_get("variant")?,
        source: row.try_get::<Option<String>, _>("source")?.unwrap_or_default(),
        expected: expected(row)?,
        overrides: row.try_get("overrides")?,
        source_tries: rows::count(row, "source_tries")?,
        era: row.try_get("era")?,
        lane,
        has_calls: row.try_get("has_calls")?,
    })
}

fn expected(row: &SqliteRow) -> Result<Option<Listed>, StoreError> {
    let etag: Option<String> = row.try_get("source_etag")?;
    let bytes: Option<i64> = row.try_get("source_bytes")?;
    Ok(etag.zip(bytes).map(|(etag, bytes)| Listed { bytes: u64::try_from(bytes).unwrap_or(0), etag }))
}
