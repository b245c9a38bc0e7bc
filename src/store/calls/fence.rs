//! The facts that decide about a permit, read in the transaction that grants it: lease, journal, pool, money.

use std::collections::HashMap;

use serde_json::json;

use crate::store::engine::db::{Asked, Conn, Found, Row, Trip, query, query_scalar};
use crate::store::{Moment, PermitRequest, StoreError, StoreShared, engine::rows, jobs::claim};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        job::{BatchId, CallId, JobId, Token},
        pool::{Limits, Pool, Traffic, WINDOW_MS},
    },
};

/// The money of a batch, and its room for calls.
pub(in crate::store) struct Money {
    /// Whether its calls may begin.
    pub(in crate::store) open: bool,
    /// Whether they may begin now.
    pub(in crate::store) in_window: bool,
    pub(in crate::store) environment: Environment,
    pub(in crate::store) definition: String,
    pub(in crate::store) priority: u32,
    pub(in crate::store) max: Option<i64>,
    pub(in crate::store) spent: i64,
    pub(in crate::store) reserved: i64,
    pub(in crate::store) longest_units: i64,
    pub(in crate::store) concurrency: Option<i64>,
    pub(in crate::store) in_flight: i64,
    /// Whether it has open calls that wait for their answers without a slot.
    pub(in crate::store) awaits: bool,
}

impl Money {
    /// Whether the money suffices for another call of this cost.
    pub(in crate::store) fn has(&self, estimate: i64) -> bool {
        let would = i128::from(self.spent) + i128::from(self.reserved) + i128::from(estimate);
        self.max.is_none_or(|max| would <= i128::from(max))
    }
}

/// The facts about a part that can forbid its call.
pub(in crate::store) struct Fence {
    pub(in crate::store) token: Option<Token>,
    pub(in crate::store) running: bool,
    /// Nobody wants the output of the job any more.
    pub(in crate::store) dropped: bool,
    pub(in crate::store) answered: bool,
    pub(in crate::store) open: Option<CallId>,
}

/// How long ago a call (`calls`) left. The machine's own clock (`$boot`, since its start `$boot_id`) counts for a call
/// made since the same start, if it gives less than the wall clock (`$wall`), which can be set at any time.
macro_rules! age {
    ($wall:literal, $boot:literal, $boot_id:literal) => {
        concat!(
            "(CASE WHEN boot_id = ",
            $boot_id,
            " AND ",
            $boot,
            " - boot_ms < ",
            $wall,
            " - sent_at THEN ",
            $boot,
            " - boot_ms ELSE ",
            $wall,
            " - sent_at END)"
        )
    };
}

pub(in crate::store) use age;

/// Whether a call (`calls`) holds a slot. A call whose owner lives holds it until its time-out and a lease (`$lease`) are
/// over, however late the owner's heartbeat is.
macro_rules! holds_slot {
    ($wall:literal, $boot:literal, $boot_id:literal, $lease:literal) => {
        concat!(
            "(slot_until IS NOT NULL AND (slot_until > ",
            $wall,
            " OR (slot_until > 0 AND process IS NOT NULL AND ",
            age!($wall, $boot, $boot_id),
            " < timeout_ms + ",
            $lease,
            ")))"
        )
    };
}

pub(in crate::store) use holds_slot;

/// Where the rows about a pool's traffic are.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct TrafficLook {
    in_flight: Asked,
    newest: Option<Asked>,
}

/// Asks what the journal says about a pool. The rate is counted only for a pool that has one.
pub(in crate::store) fn ask_traffic<'q>(
    trip: &mut Trip<'q>,
    (account, pool): (&'q str, Pool),
    limits: &Limits,
    lease_ms: i64,
    now: &Moment,
) -> TrafficLook {
    let in_flight = query(concat!(
        r"-- fence::ask_traffic: in flight
          SELECT count(*) AS n
          FROM calls
          WHERE account = $1 AND pool = $2 AND ",
        holds_slot!("$3", "$4", "$5", "$6")
    ))
    .bind(account)
    .bind(pool)
    .bind(now.wall)
    .bind(now.boot)
    .bind(now.boot_id)
    .bind(lease_ms);
    let newest = limits.requests_per_minute.map(|limit| {
        query(concat!(
            r"-- fence::ask_traffic: the newest calls, as many as a minute may hold. A step of the wall clock makes none of them older.
              SELECT count(*) FILTER (WHERE age < $6) AS n, max(age) FILTER (WHERE age < $6) AS oldest
              FROM (
                SELECT ",
            age!("$3", "$4", "$5"),
            " AS age
               FROM calls
               WHERE account = $1 AND pool = $2
               ORDER BY sent_at DESC
               LIMIT $7) AS newest"
        ))
        .bind(account)
        .bind(pool)
        .bind(now.wall)
        .bind(now.boot)
        .bind(now.boot_id)
        .bind(WINDOW_MS)
        .bind(limit)
    });
    TrafficLook { in_flight: trip.ask(in_flight), newest: newest.map(|newest| trip.ask(newest)) }
}

/// What the journal says about a pool now.
pub(in crate::store) async fn traffic_now(
    conn: &mut Conn,
    place: (&str, Pool),
    limits: &Limits,
    lease_ms: i64,
    now: &Moment,
) -> Result<Traffic, StoreError> {
    let mut trip = Trip::default();
    let look = ask_traffic(&mut trip, place, limits, lease_ms, now);
    traffic(&mut trip.make(conn).await?, look, limits, now)
}

/// What the journal said about a pool.
pub(in crate::store) fn traffic(
    found: &mut Found,
    look: TrafficLook,
    limits: &Limits,
    now: &Moment,
) -> Result<Traffic, StoreError> {
    let in_flight = rows::count(&found.one(look.in_flight)?, "n")?;
    let mut traffic = Traffic { in_flight, ..Traffic::default() };
    if let (Some(newest), Some(limit)) = (look.newest, limits.requests_per_minute) {
        let row = found.one(newest)?;
        traffic.in_window = rows::count(&row, "n")?;
        let oldest: Option<i64> = row.try_get("oldest")?;
        traffic.nth_newest = oldest.filter(|_| traffic.in_window >= limit).map(|age| now.wall - age);
    }
    Ok(traffic)
}

/// How many calls of a pool are in flight, precise enough to learn a pace from.
pub(in crate::store) async fn in_flight(
    conn: &mut Conn,
    account: &str,
    pool: Pool,
    now: Millis,
) -> Result<u32, StoreError> {
    // in_flight
    let n: i64 = query_scalar("SELECT count(*) FROM calls WHERE account = $1 AND pool = $2 AND slot_until > $3")
        .bind(account)
        .bind(pool)
        .bind(now)
        .fetch_one(conn)
        .await?;
    Ok(u32::try_from(n).unwrap_or(u32::MAX))
}

/// Asks for the money and the room of the batches of these asks.
pub(in crate::store) fn ask_batches(
    trip: &mut Trip<'_>,
    shared: &StoreShared,
    asks: &[(usize, &PermitRequest)],
    now: &Moment,
) -> Asked {
    let limited = asks.iter().any(|(_, ask)| ask.spend.is_some());
    let mut ids: Vec<BatchId> = asks.iter().map(|(_, ask)| ask.batch).collect();
    ids.sort_unstable();
    ids.dedup();
    trip.ask(
        query(batches_of(&ids))
            .bind(now.wall)
            .bind(i64::from(shared.enforces_windows()))
            .bind(now.boot)
            .bind(now.boot_id)
            .bind(shared.timing.lease_ms)
            .bind(i64::from(limited)),
    )
}

/// The money and the room of batches.
pub(in crate::store) fn batches(rows: &[Row]) -> Result<HashMap<BatchId, Money>, StoreError> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        found.insert(
            row.try_get("id")?,
            Money {
                open: row.try_get("open")?,
                in_window: row.try_get("in_window")?,
                environment: row.try_get("environment")?,
                definition: row.try_get("definition")?,
                priority: row.try_get("priority")?,
                max: row.try_get("max_spend")?,
                spent: row.try_get("spent")?,
                reserved: row.try_get("reserved")?,
                longest_units: row.try_get("longest_units")?,
                concurrency: row.try_get("concurrency")?,
                in_flight: row.try_get("in_flight")?,
                awaits: row.try_get("awaits")?,
            },
        );
    }
    Ok(found)
}

pub(in crate::store) fn batches_of(ids: &[BatchId]) -> String {
    format!(
        r"-- fence::batches: by the calls in flight, which are few, and not by all of the batch (hence the plus).
          SELECT id, {workable} AS open,
            ($2 = 0 OR window_from IS NULL OR (window_from <= $1 AND $1 < window_until)) AS in_window,
            environment, definition, priority, max_spend, spent, reserved, longest_units, concurrency,
            CASE WHEN concurrency IS NULL AND max_spend IS NULL THEN 0
              ELSE (SELECT count(*) FROM calls WHERE {holds_slot} AND +batch = batches.id) END AS in_flight,
            (max_spend IS NOT NULL OR $6 = 1)
              AND EXISTS (SELECT 1 FROM jobs WHERE batch = batches.id AND state = 'awaiting') AS awaits
          FROM batches
          WHERE 1 = 1 {among}",
        workable = claim::WORKABLE,
        holds_slot = holds_slot!("$1", "$3", "$4", "$5"),
        among = claim::among("id", ids)
    )
}

/// Asks for the fence of each part in these asks.
pub(in crate::store) fn ask_fences(trip: &mut Trip<'_>, asks: &[(usize, &PermitRequest)]) -> Asked {
    let set: Vec<_> = asks.iter().map(|(_, ask)| json!([ask.job.0, ask.part])).collect();
    let fences = query(
        r"-- fence::fences
            SELECT j.id, CAST(r.v ->> 1 AS BIGINT) AS part, j.token, j.state = 'running' AS running,
              j.wanted = 'dropped' AS dropped,
              EXISTS (
                SELECT 1 FROM calls AS c
                WHERE c.job = j.id AND c.part = CAST(r.v ->> 1 AS BIGINT) AND c.state = 'answered') AS answered,
              (SELECT c.id FROM calls AS c
               WHERE c.job = j.id AND c.part = CAST(r.v ->> 1 AS BIGINT) AND c.state IN ('sent', 'accepted')) AS open
            FROM rows_of($1) AS r
            JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(json!(set).to_string());
    trip.ask(fences)
}

/// The fences, by job and part.
pub(in crate::store) fn fences(rows: &[Row]) -> Result<HashMap<(JobId, i64), Fence>, StoreError> {
    let mut fences = HashMap::with_capacity(rows.len());
    for row in rows {
        let fence = Fence {
            token: row.try_get("token")?,
            running: row.try_get("running")?,
            dropped: row.try_get("dropped")?,
            answered: row.try_get("answered")?,
            open: row.try_get("open")?,
        };
        fences.insert((row.try_get("id")?, row.try_get("part")?), fence);
    }
    Ok(fences)
}
