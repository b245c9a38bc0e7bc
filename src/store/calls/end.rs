//! How calls end: the answer is stored, the slot freed, the money booked, the pool updated. Calls are found by id,
//! whatever the lease: a paid answer is kept even if another worker has the job by now.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::json;

mod money;

use crate::store::engine::db::{Asked, Conn, Found, Query, Row, Trip, query};
use crate::store::{
    Body, StoreError, batches::pauses, cache::keep_rows, calls::clips, calls::fence, engine::packed, engine::rows,
};
use crate::{
    clock::Millis,
    domain::{
        call::CallFailure,
        cost::MicroUsd,
        environment::Environment,
        identity::Identity,
        job::{BatchId, CallId, CallState},
        length,
        pool::{Limited, Limits, Pool, PoolState},
        retry::PauseKind,
    },
};

/// The end of a call, as its worker saw it.
#[derive(Debug)]
pub struct Ended {
    /// The call.
    pub call: CallId,
    /// When its first byte left, if that was noticeably later than its intent: the rate counts it from that moment.
    pub departed_at: Option<Millis>,
    /// The pool's limits as this process knows them.
    pub limits: Limits,
    /// How it ended.
    pub end: End,
    /// Pauses its batch in the same transaction, so that no further call leaves.
    pub pauses: Option<(PauseKind, String)>,
}

/// The ways a call can end.
#[derive(Debug)]
pub enum End {
    /// A usable answer.
    Answered {
        /// The body.
        body: Body,
        /// It was found in the vendor's log rather than received.
        from_log: bool,
        /// The vendor's id of the request.
        request_id: Option<String>,
        /// `x-content-expiry`.
        content_expiry: Option<String>,
        /// Length of the audio, in ms: what is billed.
        audio_ms: Option<u64>,
        /// At list price, in micro-USD. It is unknown where the length is unknown; then the reserved amount counts.
        cost: Option<i64>,
    },
    /// A part was synthesized; its audio is complete in the spool. It costs what was reserved, by its text's length.
    Synthesized {
        /// The key of its clip, and the object that has it, where clips are objects.
        object: Option<(Identity, u32)>,
        /// Length of the clip.
        bytes: u64,
        /// It was found in the spool rather than received.
        found: bool,
        /// The vendor's id of the request.
        request_id: Option<String>,
        /// `x-content-expiry`.
        content_expiry: Option<String>,
    },
    /// The vendor works on it and will post its answer. It stays open, without a slot.
    Accepted {
        /// The vendor's id of the request.
        request_id: Option<String>,
    },
    /// Refused, or provably not sent: free of charge.
    Rejected {
        /// The failure; none for a stale permit.
        failure: Option<CallFailure>,
        /// What the pool learns from it.
        effect: PoolEffect,
        /// Whether it uses up a try (it does not in an outage).
        counts: bool,
    },
    /// It may have been billed. It stays open.
    Unknown {
        /// What happened.
        failure: CallFailure,
        /// Whether the vendor may still be working, after our own time-out. The slot then expires with the lease.
        keeps_slot: bool,
        /// What the pool learns from it.
        effect: PoolEffect,
    },
    /// A complete 200 whose body cannot be used.
    Unusable {
        /// What is wrong with it.
        failure: CallFailure,
    },
    /// A 200 whose body is larger than the limit. It is billed, and its body is kept apart from the answers that count.
    TooLarge {
        /// The failure.
        failure: CallFailure,
        /// The body, where it could be kept.
        body: Option<Body>,
    },
    /// Given up without a new call: it may have been billed.
    GivenUp,
}

/// What a pool learns from the end of a call.
#[derive(Debug, Clone, Copy)]
pub enum PoolEffect {
    /// Nothing.
    None,
    /// The API works.
    Clean,
    /// A 429.
    Limited(Option<Duration>),
    /// A failed connection, a 5xx, or a proxy's page.
    Failed {
        /// Whether nothing was sent.
        ours: bool,
        /// The wait that the API asked for.
        retry_after: Option<Duration>,
    },
}

/// The effect of a call's end.
#[derive(Debug, Clone)]
pub struct EndReply {
    /// Its state now.
    pub state: CallState,
    /// Whether a worker still has its job. If none has, the answer is kept, but its worker must not deliver it.
    pub worked: bool,
    /// Whether it used up a try.
    pub counts: bool,
    /// How its 429 was interpreted, if it ended with one.
    pub limited: Option<Limited>,
    /// Since when the pool is in an outage, and when it probes next.
    pub outage: Option<(Millis, Millis)>,
    /// Whether this line alone has failed so often that the worker should ask the API whether the line is to blame.
    pub in_doubt: bool,
    /// Since when the pool has answered nothing but 429.
    pub only_limited_since: Option<Millis>,
}

struct KnownCall {
    batch: i64,
    job: i64,
    part: i64,
    /// Another job waits for its end.
    waited_for: bool,
    /// The user wants its part bought again.
    forced: bool,
    /// Its job is over: nobody will look at it again.
    over: bool,
    /// A worker has its job.
    worked: bool,
    /// Its line is forgotten: nothing of its answer is kept.
    forgotten: bool,
    account: String,
    environment: Environment,
    pool: Pool,
    state: CallState,
    sent_at: Millis,
    reserve: i64,
    cost: i64,
}

/// The change of one call, collected so that few statements write the whole set.
struct Change<'a> {
    call: CallId,
    known: &'a KnownCall,
    state: CallState,
    cost: i64,
    end: &'a End,
    counts: bool,
    departed_at: Option<Millis>,
}

/// Records how calls ended, in sets. A set has at most one end of each call: the meaning of the next end depends on the
/// state that the first one leaves.
pub(in crate::store) async fn end(conn: &mut Conn, ends: &[&Ended], now: Millis) -> Result<Vec<EndReply>, StoreError> {
    let mut trip = Trip::default();
    let look = ask(&mut trip, ends);
    let mut found = trip.make(conn).await?;
    end_found(conn, (ends, look, &mut found), now).await
}

/// What is asked about the first set of these ends.
pub(in crate::store) fn ask(trip: &mut Trip<'_>, ends: &[&Ended]) -> Option<Look> {
    let set = &ends[..first_set(ends)];
    (!set.is_empty()).then(|| Look { calls: trip.ask(look_up(set)), pools: trip.ask(rows::pool_states()) })
}

/// Where the rows about a set of ends are.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Look {
    calls: Asked,
    pools: Asked,
}

/// How many of these ends are of different calls.
fn first_set(ends: &[&Ended]) -> usize {
    let mut calls = HashSet::with_capacity(ends.len());
    ends.iter().position(|ended| !calls.insert(ended.call)).unwrap_or(ends.len())
}

/// Records how calls ended. What [`ask`] asked about them is found.
pub(in crate::store) async fn end_found(
    conn: &mut Conn,
    (ends, look, found): (&[&Ended], Option<Look>, &mut Found),
    now: Millis,
) -> Result<Vec<EndReply>, StoreError> {
    let Some(look) = look else { return Ok(Vec::new()) };
    let (mut set, mut rest) = ends.split_at(first_set(ends));
    let mut replies = end_set(conn, (set, look, found), now).await?;
    while !rest.is_empty() {
        (set, rest) = rest.split_at(first_set(rest));
        let mut trip = Trip::default();
        if let Some(look) = ask(&mut trip, set) {
            let mut found = trip.make(conn).await?;
            replies.extend(end_set(conn, (set, look, &mut found), now).await?);
        }
    }
    Ok(replies)
}

/// A pool in which calls ended.
struct EndedIn {
    state: PoolState,
    /// Whether it learned something.
    touched: bool,
    /// How many of its calls are in flight, once that was asked.
    in_flight: Option<u32>,
}

async fn end_set(
    conn: &mut Conn,
    (ends, look, found): (&[&Ended], Look, &mut Found),
    now: Millis,
) -> Result<Vec<EndReply>, StoreError> {
    let (known, rivals) = known_calls(&found.rows(look.calls))?;
    let mut states = rows::read_pool_states(&found.rows(look.pools))?;
    let mut pools: HashMap<(String, Pool), EndedIn> = HashMap::new();
    let mut changes = Vec::with_capacity(ends.len());
    let mut replies = Vec::with_capacity(ends.len());
    for ended in ends {
        let call = known.get(&ended.call).ok_or_else(|| StoreError::Unexpected(format!("no call {}", ended.call)))?;
        let place = (call.account.clone(), call.pool);
        let state = states.remove(&place).unwrap_or_default();
        let pool = pools.entry(place).or_insert(EndedIn { state, touched: false, in_flight: None });
        let lesson = teach(conn, pool, call, ended, now).await?;
        pool.touched |= lesson != PoolChange::Nothing;
        let pool = &pool.state;
        let change = change(ended, call, rivals.contains(&ended.call), pool.outage_since.is_some());
        replies.push(EndReply {
            state: change.state,
            worked: call.worked,
            counts: change.counts,
            limited: if let PoolChange::Limited(limited) = lesson { Some(limited) } else { None },
            outage: pool.outage_since.map(|since| (since, pool.probe_at)),
            in_doubt: lesson == PoolChange::Failed && pool.is_in_doubt(),
            only_limited_since: pool.only_limited_since,
        });
        changes.push(change);
        if let Some((kind, reason)) = &ended.pauses {
            pauses::pause_in(conn, BatchId(call.batch), *kind, reason, now).await?;
        }
    }
    write_calls(conn, &changes, now).await?;
    let answers = changes.iter().filter(|c| !c.known.forgotten).filter_map(|c| match c.end {
        End::Answered { body, from_log, .. } => Some((c.call, *from_log, body)),
        End::TooLarge { body: Some(body), .. } if c.state == CallState::Lost => Some((c.call, false, body)),
        _ => None,
    });
    packed::insert_answers(conn, answers.collect()).await?;
    let objects = changes.iter().filter_map(|c| match c.end {
        End::Synthesized { object: Some((clip, take)), bytes, .. } => Some((*clip, *take, *bytes)),
        _ => None,
    });
    keep_rows(conn, objects, now).await?;
    let closed = changes.iter().filter(|c| c.known.waited_for && !c.state.is_open());
    clips::wake(conn, &closed.map(|c| c.call).collect::<Vec<_>>(), now).await?;
    let replaced = changes.iter().filter(|c| c.known.forced && c.state == CallState::Answered);
    clips::rejoin(conn, &replaced.map(|c| c.call).collect::<Vec<_>>(), now).await?;
    money::write(conn, &changes).await?;
    for ((account, pool), ended) in &pools {
        if ended.touched {
            rows::save_pool_state(conn, account, *pool, &ended.state).await?;
        }
    }
    Ok(replies)
}

/// The calls as they are now, and those of them whose part another call has answered.
fn look_up<'q>(ends: &[&Ended]) -> Query<'q> {
    let ids = json!(ends.iter().map(|e| [e.call.0.simple().to_string()]).collect::<Vec<_>>()).to_string();
    query(r"-- end::look_up
          SELECT c.id, c.batch, c.job, c.part, c.account, b.environment, c.pool, c.state, c.sent_at,
            c.reserve, c.cost,
            EXISTS (
              SELECT 1 FROM calls AS o
              WHERE o.job = c.job AND o.part = c.part AND o.take = c.take AND o.state = 'answered' AND o.id <> c.id) AS rival,
            EXISTS (SELECT 1 FROM jobs AS w WHERE w.waits_for = c.id) AS waited_for,
            c.cache_key IS NOT NULL AND EXISTS (
              SELECT 1 FROM job_parts AS p WHERE p.job = c.job AND p.part = c.part AND p.forced_at IS NOT NULL) AS forced,
            c.cache_key IS NOT NULL AND j.due_at IS NULL AND j.token IS NULL AS over, j.state = 'running' AS worked,
            j.forget IS NOT NULL AS forgotten
          FROM rows_of($1) AS r
          JOIN calls AS c ON c.id = unhex(r.v ->> 0)
          JOIN jobs AS j ON j.id = c.job
          JOIN batches AS b ON b.id = c.batch")
    .bind(ids)
}

fn known_calls(rows: &[Row]) -> Result<(HashMap<CallId, KnownCall>, Vec<CallId>), StoreError> {
    let (mut known, mut rivals) = (HashMap::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let id: CallId = row.try_get("id")?;
        if row.try_get("rival")? {
            rivals.push(id);
        }
        known.insert(
            id,
            KnownCall {
                batch: row.try_get("batch")?,
                job: row.try_get("job")?,
                part: row.try_get("part")?,
                waited_for: row.try_get("waited_for")?,
                forced: row.try_get("forced")?,
                over: row.try_get("over")?,
                worked: row.try_get("worked")?,
                forgotten: row.try_get("forgotten")?,
                account: row.try_get("account")?,
                environment: row.try_get("environment")?,
                pool: row.try_get("pool")?,
                state: row.try_get("state")?,
                sent_at: row.try_get("sent_at")?,
                reserve: row.try_get("reserve")?,
                cost: row.try_get("cost")?,
            },
        );
    }
    Ok((known, rivals))
}

/// What a pool has learned from the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PoolChange {
    /// Nothing new.
    Nothing,
    /// It works.
    Clean,
    /// The API asks for fewer calls.
    Limited(Limited),
    /// The API is out of reach, or the line is to blame.
    Failed,
}

async fn teach(
    conn: &mut Conn,
    EndedIn { state: pool, in_flight, .. }: &mut EndedIn,
    call: &KnownCall,
    ended: &Ended,
    now: Millis,
) -> Result<PoolChange, StoreError> {
    let effect = match &ended.end {
        End::Answered { from_log: false, .. }
        | End::Synthesized { found: false, .. }
        | End::Accepted { .. }
        | End::Unusable { .. }
        | End::TooLarge { .. } => PoolEffect::Clean,
        End::Rejected { effect, .. } | End::Unknown { effect, .. } => *effect,
        End::Answered { .. } | End::Synthesized { .. } | End::GivenUp => PoolEffect::None,
    };
    Ok(match effect {
        PoolEffect::None => PoolChange::Nothing,
        PoolEffect::Clean => {
            let before = pool.clone();
            pool.clean(&ended.limits, call.sent_at, now);
            if *pool == before { PoolChange::Nothing } else { PoolChange::Clean }
        }
        PoolEffect::Limited(retry_after) => {
            let in_flight = match *in_flight {
                Some(n) => n,
                None => *in_flight.insert(fence::in_flight(conn, &call.account, call.pool, now).await?),
            };
            let jitter = f64::from(u16::try_from(now & 0x3ff).unwrap_or(0)) / 1024.0;
            PoolChange::Limited(pool.limited(&ended.limits, call.sent_at, in_flight, retry_after, jitter, now))
        }
        PoolEffect::Failed { ours, retry_after } => {
            // A book is one line: five failed parts of it in a row are as good a sign as five failed lines.
            pool.failed(call.job ^ (call.part << 40), ours, retry_after, call.sent_at, now);
            PoolChange::Failed
        }
    })
}

fn change<'a>(ended: &'a Ended, call: &'a KnownCall, rival: bool, outage: bool) -> Change<'a> {
    let closed = !matches!(call.state, CallState::Sent | CallState::Accepted);
    let (state, cost, counts) = match &ended.end {
        // A replaced call stays replaced; any other late answer wins if the part has none.
        End::Answered { .. } | End::Synthesized { .. } if call.state == CallState::Replaced => {
            (CallState::Replaced, call.cost, false)
        }
        End::Answered { .. } | End::Synthesized { .. } => {
            let state = if rival { CallState::Surplus } else { CallState::Answered };
            let said = if let End::Answered { cost, .. } = &ended.end { *cost } else { None };
            // Nothing is reserved any more for a call that was given up: its cost already has that amount.
            let cost = said.unwrap_or(call.reserve.max(call.cost));
            (state, cost.clamp(0, MicroUsd::MOST.0), false)
        }
        _ if closed => (call.state, call.cost, false),
        End::Accepted { .. } => (CallState::Accepted, 0, false),
        End::Rejected { counts, .. } => (CallState::Rejected, 0, *counts && !outage),
        End::Unknown { .. } if call.over => (CallState::Lost, call.reserve, false),
        End::Unknown { .. } => (CallState::Sent, 0, !outage),
        // The reserved amount is the best guess at its cost.
        End::Unusable { .. } | End::TooLarge { .. } => (CallState::Lost, call.reserve, true),
        End::GivenUp => (CallState::Lost, call.reserve, false),
    };
    Change { call: ended.call, known: call, state, cost, end: &ended.end, counts, departed_at: ended.departed_at }
}

impl Change<'_> {
    /// When it was sent, as it is recorded from now on.
    fn sent_at(&self) -> Millis {
        self.departed_at.map_or(self.known.sent_at, |departed| departed.max(self.known.sent_at))
    }

    /// What it may still cost, from now on.
    fn reserve(&self) -> i64 {
        if self.state.is_open() { self.known.reserve } else { 0 }
    }

    /// How much it bought, where the answer contains that.
    fn units(&self) -> Option<i64> {
        let End::Answered { audio_ms: Some(ms), .. } = self.end else { return None };
        length::bounded(*ms).and_then(|ms| i64::try_from(ms).ok())
    }
}

async fn write_calls(conn: &mut Conn, changes: &[Change<'_>], now: Millis) -> Result<(), StoreError> {
    let set: Vec<serde_json::Value> = changes
        .iter()
        .map(|c| {
            let unknown = c.state == CallState::Sent;
            let keeps_slot = matches!(c.end, End::Unknown { keeps_slot: true, .. } | End::GivenUp);
            let failure = match c.end {
                End::Rejected { failure, .. } => failure.as_ref(),
                End::Unknown { failure, .. } | End::Unusable { failure } | End::TooLarge { failure, .. } => {
                    Some(failure)
                }
                End::Answered { .. } | End::Synthesized { .. } | End::Accepted { .. } | End::GivenUp => None,
            };
            let failure = failure.filter(|_| !c.known.forgotten);
            let (request_id, expiry) = match c.end {
                End::Answered { request_id, content_expiry, .. }
                | End::Synthesized { request_id, content_expiry, .. } => {
                    (request_id.as_deref(), content_expiry.as_deref())
                }
                End::Accepted { request_id } => (request_id.as_deref(), None),
                _ => (failure.and_then(|t| t.request_id.as_deref()), None),
            };
            let (request_id, expiry) = if c.known.forgotten { (None, None) } else { (request_id, expiry) };
            json!({
                "id": c.call.0.simple().to_string(), "state": c.state, "cost": c.cost, "counts": u8::from(c.counts),
                "open": u8::from(c.state.is_open()), "unknown": u8::from(unknown), "keeps_slot": u8::from(keeps_slot),
                "departed": c.departed_at, "request_id": request_id,
                "expiry": expiry, "status": failure.and_then(|t| t.status), "kind": failure.map(|t| t.kind),
                "error": failure.map(|t| t.message.as_str()), "units": c.units(),
                "clip_bytes": if let End::Synthesized { bytes, .. } = c.end { Some(bytes) } else { None },
            })
        })
        .collect();
    query(r"-- end::write_calls
          UPDATE calls
          SET state = v ->> 'state', cost = CAST(v ->> 'cost' AS BIGINT),
            counts = CASE WHEN CAST(v ->> 'counts' AS BIGINT) = 1 THEN 1 ELSE counts END,
            reserve = CASE WHEN CAST(v ->> 'open' AS BIGINT) = 1 THEN reserve ELSE 0 END,
            slot_until = CASE WHEN CAST(v ->> 'keeps_slot' AS BIGINT) = 1 THEN slot_until END,
            process = NULL, ended_at = $2,
            unknown_at = CASE WHEN CAST(v ->> 'unknown' AS BIGINT) = 1 THEN coalesce(unknown_at, $2) ELSE unknown_at END,
            sent_at = CASE WHEN CAST(v ->> 'departed' AS BIGINT) > sent_at THEN CAST(v ->> 'departed' AS BIGINT) ELSE sent_at END,
            request_id = coalesce(v ->> 'request_id', request_id), content_expiry = coalesce(v ->> 'expiry', content_expiry),
            status = coalesce(CAST(v ->> 'status' AS BIGINT), status), error_kind = coalesce(v ->> 'kind', error_kind),
            error = coalesce(v ->> 'error', error), units = coalesce(CAST(v ->> 'units' AS BIGINT), units),
            clip_bytes = coalesce(CAST(v ->> 'clip_bytes' AS BIGINT), clip_bytes)
          FROM rows_of($1) AS r
          WHERE calls.id = unhex(v ->> 'id')")
    .bind(serde_json::Value::from(set).to_string())
    .bind(now)
    .later(conn)
    .await
}

/// Gives up open calls, as part of the transaction that makes the next one.
pub(in crate::store) async fn give_up(conn: &mut Conn, calls: &[CallId], now: Millis) -> Result<(), StoreError> {
    let given_up = |call: &CallId| Ended {
        call: *call,
        departed_at: None,
        limits: Limits::default(),
        end: End::GivenUp,
        pauses: None,
    };
    let ends: Vec<Ended> = calls.iter().map(given_up).collect();
    end(conn, &ends.iter().collect::<Vec<_>>(), now).await.map(|_| ())
}

/// A permit whose worker is gone: the call counts as not made.
pub(in crate::store) async fn never_sent(conn: &mut Conn, call: CallId, now: Millis) -> Result<(), StoreError> {
    let end_as = End::Rejected { failure: None, effect: PoolEffect::None, counts: false };
    let ended = Ended { call, departed_at: None, limits: Limits::default(), end: end_as, pauses: None };
    end(conn, &[&ended], now).await.map(|_| ())
}
