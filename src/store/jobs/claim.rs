//! Claiming: the right to work on jobs that are due, proved by a fresh token.

use std::sync::atomic::Ordering;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::store::{Store, StoreError, StoreShared, engine::rows, engine::sql::sql};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        facts::Facts,
        job::{BatchId, JobId, Token},
        pool::{Lane, Pool},
        s3::Listed,
    },
};

/// What a worker pool has room for now.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Only these batches; empty = all open batches of this environment.
    pub batches: Vec<BatchId>,
    /// Only batches of this environment.
    pub environment: Environment,
    /// The room for jobs that need no call.
    pub free: u32,
    /// The room for jobs that need a call, by pool.
    pub calls: Vec<(Pool, u32)>,
    /// Advances with each claim, so that batches take turns.
    pub turn: usize,
    /// Which batches' jobs go first.
    pub order: Order,
}

/// Which batch's lines go first where there are several batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Batches take turns.
    #[default]
    ByTurns,
    /// The batch that was submitted first, as long as one of its jobs is due.
    OldestFirst,
    /// Definitions take turns; within one definition, the batch that was submitted first.
    ByDefinition,
}

impl Default for ClaimRequest {
    /// No jobs, of all open live batches.
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            environment: Environment::Live,
            free: 0,
            calls: Vec::new(),
            turn: 0,
            order: Order::default(),
        }
    }
}

impl ClaimRequest {
    /// The lanes with room, and how much.
    fn lanes(&self) -> impl Iterator<Item = (Lane, u32)> {
        let calls = self.calls.iter().map(|(pool, n)| (Lane::Call(*pool), *n));
        calls.chain([(Lane::Free, self.free)]).filter(|(_, room)| *room > 0)
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
    /// What a listing said about its recording.
    pub expected: Option<Listed>,
    /// JSON of its options that differ from the batch's.
    pub overrides: Option<String>,
    /// Tries used up by the source.
    pub source_tries: u32,
    /// The user's `retry`s so far.
    pub generation: i64,
    /// The pool that it was claimed for; none if it was due for something that needs no call.
    pub lane: Option<Pool>,
    /// The known facts about it.
    pub facts: Facts,
    /// Whether its line wants another voice or format now. Then it is put back and makes no call.
    pub dropped: bool,
    /// Whether the journal has calls of this generation, or one that is open or answered. If not, it need not be read.
    pub has_calls: bool,
}

impl Store {
    /// The next moment at which a job of these batches (or of any open one) is due for which `want` has room.
    pub async fn next_due(&self, want: &ClaimRequest) -> Result<Option<Millis>, StoreError> {
        let statement = format!(
            r"-- claim::next_due
              SELECT min(due) FROM (
                SELECT (SELECT min(due_at) FROM jobs WHERE batch = b.id AND lane = l.v ->> 0 AND due_at IS NOT NULL) AS due
                FROM batches AS b
                CROSS JOIN rows_of($1) AS l
                WHERE b.state = 'open' AND {WORKABLE} AND b.finished_at IS NULL AND b.environment = $2
                  AND (l.v ->> 0 = 'free' OR $4 = 0 OR {IN_WINDOW}) {}) AS moments",
            among("b.id", &want.batches)
        );
        let lanes: Vec<_> = want.lanes().map(|(lane, _)| [lane]).collect();
        Ok(sqlx::query_scalar(sql(&statement))
            .bind(serde_json::json!(lanes).to_string())
            .bind(want.environment)
            .bind(self.now())
            .bind(i64::from(self.shared.enforces_windows()))
            .fetch_one(&self.read)
            .await?)
    }
}

impl Store {
    /// The pools that unfinished lines wait for.
    pub async fn pools_waited_for(&self, environment: Environment) -> Result<Vec<Pool>, StoreError> {
        // Only the first line of each lane of a batch is read: there may be millions.
        let lanes: Vec<Lane> = sqlx::query_scalar(
            r"-- claim::pools_waited_for
              WITH RECURSIVE lanes (batch, lane) AS (
                SELECT id, (SELECT min(lane) FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL)
                FROM batches
                WHERE finished_at IS NULL AND environment = $1
                UNION ALL
                SELECT l.batch,
                  (SELECT min(j.lane) FROM jobs AS j WHERE j.batch = l.batch AND j.lane > l.lane AND j.due_at IS NOT NULL)
                FROM lanes AS l
                WHERE l.lane IS NOT NULL)
              SELECT DISTINCT lane FROM lanes WHERE lane IS NOT NULL AND lane <> 'free'",
        )
        .bind(environment)
        .fetch_all(&self.read)
        .await?;
        Ok(lanes.into_iter().filter_map(Lane::pool).collect())
    }
}

/// `AND column IN (…)`, or an empty text for an empty list. The ids are numbers, which need no quotes.
pub(in crate::store) fn among(column: &str, batches: &[BatchId]) -> String {
    if batches.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = batches.iter().map(|b| b.0.to_string()).collect();
    format!("AND {column} IN ({})", ids.join(","))
}

/// Whether the calls of a batch may begin now (`$3`).
pub(in crate::store) const IN_WINDOW: &str = "(window_from IS NULL OR (window_from <= $3 AND $3 < window_until))";

/// Whether the jobs of a batch may be claimed: it is open, or paused and probed; completely submitted; and not cancelled.
pub(in crate::store) const WORKABLE: &str =
    "((state = 'open' OR probing = 1) AND submitting_at IS NULL AND cancelled_at IS NULL)";

/// A batch that has room.
struct Open {
    id: i64,
    definition: String,
    /// Whether none of its jobs was claimed before.
    fresh: bool,
    /// Whether its calls may begin now.
    in_window: bool,
    /// Whether it is paused, and one line of it may pass.
    probing: bool,
    /// That line, if one is chosen.
    chosen: Option<i64>,
    /// Whether it is paused because its sink accepted nothing.
    sink: bool,
    /// How many of its jobs may still be claimed; at most one of a probed batch.
    most: u32,
}

pub(in crate::store) async fn claim(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    want: &ClaimRequest,
    now: Millis,
) -> Result<Vec<Claimed>, StoreError> {
    let mut open = open(conn, shared, want, now).await?;
    let mut claimed = Vec::new();
    let mut free = want.free;
    // A job whose answer is bought already tests whether a sink accepts files again.
    for batch in open.iter_mut().filter(|batch| batch.probing && batch.sink && batch.most > 0) {
        if free > 0 && claim_of(conn, shared, batch, (Lane::Free, 1), now, &mut claimed).await? > 0 {
            free -= 1;
        }
    }
    for (lane, room) in want.lanes() {
        let mut room = if lane == Lane::Free { free } else { room };
        let takers = |b: &Open| b.most > 0 && (lane == Lane::Free || b.in_window);
        let groups = groups(&open, want.order, takers);
        // The first round gives every group its fair share, the second what others left.
        let share = room.div_ceil(u32::try_from(groups.len()).unwrap_or(u32::MAX).max(1));
        for limit in if groups.len() <= 1 { vec![room] } else { vec![share, room] } {
            for group in &groups {
                let mut share = limit;
                for place in group {
                    let batch = &mut open[*place];
                    let take = share.min(room).min(batch.most);
                    if take == 0 {
                        continue;
                    }
                    let n = claim_of(conn, shared, batch, (lane, take), now, &mut claimed).await?;
                    (room, share) = (room - n, share - n);
                }
            }
        }
    }
    Ok(claimed)
}

/// Claims up to so many jobs of a lane of one batch. Returns how many.
async fn claim_of(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    batch: &mut Open,
    (lane, take): (Lane, u32),
    now: Millis,
    claimed: &mut Vec<Claimed>,
) -> Result<u32, StoreError> {
    let got = claim_lane(conn, shared, batch, (lane, take), now).await?;
    if batch.fresh && !got.is_empty() {
        batch.fresh = false;
        start(conn, batch.id, now).await?;
    }
    if let Some(first) = got.first().filter(|_| batch.probing) {
        shared.probes.store(true, Ordering::Relaxed);
        // From now on this line is the probe, whichever worker has it and however long its answer takes.
        sqlx::query("UPDATE batches SET probe_job = $1 WHERE id = $2 AND probing = 1")
            .bind(first.job)
            .bind(batch.id)
            .execute(conn)
            .await?;
    }
    let n = u32::try_from(got.len()).unwrap_or(take).min(take);
    batch.most -= n;
    claimed.extend(got);
    Ok(n)
}

/// The batches whose jobs may be claimed, in the order of their turns.
async fn open(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    want: &ClaimRequest,
    now: Millis,
) -> Result<Vec<Open>, StoreError> {
    let statement = format!(
        r"-- claim::open
          SELECT id, definition, started_at IS NULL AS fresh, ($2 = 0 OR {IN_WINDOW}) AS in_window,
            coalesce(pause_kind = 'sink', 1 = 0) AS sink,
            (SELECT id FROM jobs WHERE id = probe_job AND batch = batches.id AND due_at IS NOT NULL) AS chosen,
            CASE WHEN probing = 1 THEN NOT EXISTS (
              SELECT 1 FROM jobs WHERE batch = batches.id AND state = 'running' AND due_at > $3) END AS most
          FROM batches
          WHERE {WORKABLE} AND finished_at IS NULL AND environment = $1 {}
          ORDER BY id",
        among("id", &want.batches)
    );
    let rows = sqlx::query(sql(&statement))
        .bind(want.environment)
        .bind(i64::from(shared.enforces_windows()))
        .bind(now)
        .fetch_all(conn)
        .await?;
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        let most: Option<i64> = row.try_get("most")?;
        open.push(Open {
            id: row.try_get("id")?,
            definition: row.try_get("definition")?,
            fresh: row.try_get("fresh")?,
            in_window: row.try_get("in_window")?,
            probing: most.is_some(),
            chosen: row.try_get("chosen")?,
            sink: row.try_get("sink")?,
            most: most.map_or(u32::MAX, |most| u32::from(most != 0)),
        });
    }
    if !open.is_empty() && want.order != Order::OldestFirst {
        let turn = want.turn % open.len();
        open.rotate_left(turn);
    }
    Ok(open)
}

/// Indexes of batches that share a turn: the first batch of a group leaves the others what it does not need.
fn groups(open: &[Open], order: Order, takers: impl Fn(&Open) -> bool) -> Vec<Vec<usize>> {
    let places = open.iter().enumerate().filter(|(_, batch)| takers(batch)).map(|(place, _)| place);
    match order {
        Order::ByTurns => places.map(|place| vec![place]).collect(),
        Order::OldestFirst => vec![places.collect()],
        Order::ByDefinition => {
            let mut groups: Vec<Vec<usize>> = Vec::new();
            for place in places {
                match groups.iter_mut().find(|group| open[group[0]].definition == open[place].definition) {
                    Some(group) => group.push(place),
                    None => groups.push(vec![place]),
                }
            }
            groups.iter_mut().for_each(|group| group.sort_unstable_by_key(|place| open[*place].id));
            groups
        }
    }
}

async fn claim_lane(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    batch: &Open,
    (lane, take): (Lane, u32),
    now: Millis,
) -> Result<Vec<Claimed>, StoreError> {
    let token = shared.next_token();
    let which = if batch.chosen.is_some() { "id = $8 AND" } else { "" };
    let statement = format!(
        r"-- claim::claim_lane
          UPDATE jobs
          SET state = 'running', token = $1, process = $2, due_at = $3, lane = 'free', waits_for = NULL,
            after = CASE WHEN after IS NOT NULL AND EXISTS (SELECT 1 FROM jobs AS h WHERE h.id = jobs.after AND h.token IS NOT NULL)
              THEN after END,
            started_at = coalesce(started_at, $4)
          WHERE id IN (SELECT id FROM jobs WHERE {which} batch = $5 AND lane = $6 AND due_at <= $4 ORDER BY due_at LIMIT $7)
          RETURNING id, batch, key, variant, source, source_bytes, source_etag, overrides, source_tries, generation, facts,
            wanted = 'dropped' AS dropped,
            EXISTS (
              SELECT 1 FROM calls
              WHERE job = jobs.id
                AND (generation = jobs.generation OR state IN ('sent', 'accepted', 'answered'))) AS has_calls",
    );
    let rows = sqlx::query(sql(&statement))
        .bind(token)
        .bind(shared.process.load(Ordering::Acquire))
        .bind(now + shared.timing.lease_ms)
        .bind(now)
        .bind(batch.id)
        .bind(lane)
        .bind(take)
        .bind(batch.chosen)
        .fetch_all(&mut *conn)
        .await?;
    let mut claimed = rows.iter().map(|r| claimed(r, Token(token), lane.pool())).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_unstable_by_key(|c| c.job);
    Ok(claimed)
}

async fn start(conn: &mut SqliteConnection, batch: i64, now: Millis) -> Result<(), StoreError> {
    sqlx::query("UPDATE batches SET started_at = $1 WHERE id = $2 AND started_at IS NULL")
        .bind(now)
        .bind(batch)
        .execute(conn)
        .await?;
    Ok(())
}

fn claimed(row: &SqliteRow, token: Token, lane: Option<Pool>) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        job: row.try_get("id")?,
        batch: row.try_get("batch")?,
        token,
        key: row.try_get("key")?,
        variant: row.try_get("variant")?,
        source: row.try_get::<Option<String>, _>("source")?.unwrap_or_default(),
        expected: expected(row)?,
        overrides: row.try_get("overrides")?,
        source_tries: rows::count(row, "source_tries")?,
        generation: row.try_get("generation")?,
        lane,
        facts: Facts::from_json(row.try_get("facts")?),
        dropped: row.try_get("dropped")?,
        has_calls: row.try_get("has_calls")?,
    })
}

fn expected(row: &SqliteRow) -> Result<Option<Listed>, StoreError> {
    let etag: Option<String> = row.try_get("source_etag")?;
    let bytes: Option<i64> = row.try_get("source_bytes")?;
    Ok(etag.zip(bytes).map(|(etag, bytes)| Listed { bytes: u64::try_from(bytes).unwrap_or(0), etag }))
}
