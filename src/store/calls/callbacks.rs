//! Callbacks: each is stored with its call's answer in one transaction, however often and whenever it arrives.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::store::engine::db::{Conn, Insert, Row, query};
use crate::store::{Body, End, Ended, PoolEffect, Store, StoreError, calls::end, engine::packed};
use crate::{
    clock::Millis,
    domain::{
        call::CallFailure,
        hex::hex,
        job::{CallId, CallState},
        options::listed,
        pool::Limits,
    },
    large::look_into,
};

/// How many bodies are kept for one call, including its answer's; and how many different ones are recorded. Anybody who
/// knows an address can post to it without end.
const BODIES_A_CALL: i64 = 2;
const NOTED_A_CALL: i64 = 16;

/// A callback as it was posted, parsed.
#[derive(Debug, Clone)]
pub struct Callback {
    /// Its call, proved by its address.
    pub call: CallId,
    /// The body.
    pub body: Body,
    /// The parsed content.
    pub content: CallbackContent,
}

/// The content of a callback.
#[derive(Debug, Clone)]
pub enum CallbackContent {
    /// The transcription.
    Answer {
        /// The vendor's id of the request.
        request_id: Option<String>,
        /// Length of the audio, in ms: what is billed.
        audio_ms: Option<u64>,
        /// At list price, in micro-USD; `None`: the reserved amount counts.
        cost: Option<i64>,
    },
    /// The request failed.
    Failed(CallFailure),
}

listed! {
    /// What a callback did. In every case the vendor need not send it again.
    Effect, "effect of a callback" {
        /// It is the answer of its call.
        Answered = "answered",
        /// It is an answer, but another call of the part had answered before.
        Surplus = "surplus",
        /// Its call failed, which uses up a try.
        Failed = "failed",
        /// The same body came before.
        Repeated = "repeated",
        /// Another body came before and counts. This one is kept beside it.
        Other = "other",
        /// Its call was closed before: it has no effect.
        Ignored = "ignored",
    }
}

/// A call that expects a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The model that was asked for.
    pub model: String,
    /// The state of the call.
    pub state: CallState,
    /// When its intent was written, ms since 1970.
    pub sent_at: Millis,
}

impl Store {
    /// The call of this id, if there is one.
    pub async fn expected(&self, call: CallId) -> Result<Option<Expected>, StoreError> {
        let row = query("SELECT request ->> 'model' AS model, state, sent_at FROM calls WHERE id = $1")
            .bind(call)
            .fetch_optional(&self.read)
            .await?;
        let expected = |row: Row| {
            Ok(Expected {
                model: row.try_get("model")?,
                state: row.try_get("state")?,
                sent_at: row.try_get("sent_at")?,
            })
        };
        row.map(expected).transpose()
    }
}

/// SHA-256 of a body as it was received.
fn digest(body: &Body) -> Result<[u8; 32], StoreError> {
    let (mut hash, mut reader, mut piece) = (Sha256::new(), body.reader(), vec![0; 64 << 10]);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => hash.update(&piece[..read]),
            Err(e) => return Err(StoreError::Unexpected(format!("a body does not unpack: {e}"))),
        }
    }
}

/// A callback on its way to the writer.
pub(in crate::store) struct Received {
    call: CallId,
    body: Body,
    digest: [u8; 32],
    content: CallbackContent,
}

impl Received {
    pub(in crate::store) async fn of(callback: Callback) -> Result<Self, StoreError> {
        let Callback { call, body, content } = callback;
        let digest = {
            let body = body.clone();
            look_into(body.len(), move || digest(&body)).await?
        };
        Ok(Self { call, body, digest, content })
    }
}

/// Handles callbacks in sets, at most one of each call: the next one depends on the first one's effect.
pub(in crate::store) async fn receive(
    conn: &mut Conn,
    deliveries: &[&Received],
    now: Millis,
) -> Result<Vec<Option<Effect>>, StoreError> {
    let mut effects = vec![None; deliveries.len()];
    let mut left: Vec<usize> = (0..deliveries.len()).collect();
    while !left.is_empty() {
        let mut calls = HashSet::with_capacity(left.len());
        let (round, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|at| calls.insert(deliveries[*at].call));
        let set: Vec<&Received> = round.iter().map(|at| deliveries[*at]).collect();
        for (at, effect) in round.into_iter().zip(receive_set(conn, &set, now).await?) {
            effects[at] = effect;
        }
        left = rest;
    }
    Ok(effects)
}

async fn receive_set(conn: &mut Conn, set: &[&Received], now: Millis) -> Result<Vec<Option<Effect>>, StoreError> {
    let known = look_up(conn, set).await?;
    let mut effects = Vec::with_capacity(set.len());
    let mut ends = Vec::new();
    for delivery in set {
        let effect = known.get(&delivery.call).map(|known| known.effect(delivery));
        if effect == Some(Effect::Answered) || effect == Some(Effect::Failed) {
            ends.push(delivery.ended());
        }
        effects.push(effect);
    }
    // The journal decides about those that count: another call of the same part may have answered before.
    let replies = end::end(conn, &ends.iter().collect::<Vec<_>>(), now).await?;
    let mut replies = ends.iter().map(|ended| ended.call).zip(replies).collect::<HashMap<_, _>>();
    for (delivery, effect) in set.iter().zip(&mut effects) {
        if let Some(reply) = replies.remove(&delivery.call) {
            *effect = Some(match reply.state {
                CallState::Answered => Effect::Answered,
                CallState::Surplus => Effect::Surplus,
                CallState::Rejected if matches!(delivery.content, CallbackContent::Failed(_)) => Effect::Failed,
                _ => Effect::Ignored,
            });
        }
    }
    let kept: Vec<(&Received, Effect)> =
        set.iter().zip(&effects).filter_map(|(delivery, effect)| Some((*delivery, (*effect)?))).collect();
    let has_room = |call: CallId| known.get(&call).is_some_and(|known| known.bodies < BODIES_A_CALL);
    let is_noted = |call: CallId| {
        known.get(&call).is_some_and(|known| !known.forgotten && (known.repeated || known.kept < NOTED_A_CALL))
    };
    let noted: Vec<_> = kept.iter().filter(|(delivery, _)| is_noted(delivery.call)).copied().collect();
    keep(conn, &noted, has_room, now).await?;
    wake(conn, &kept, now).await?;
    Ok(effects)
}

/// A call that a callback has arrived for.
struct CallbackTarget {
    state: CallState,
    /// The same body came before.
    repeated: bool,
    /// How many different bodies were recorded.
    kept: i64,
    /// How many bodies are kept, including its answer's.
    bodies: i64,
    /// Its line is forgotten: nothing that comes for it is kept.
    forgotten: bool,
}

impl CallbackTarget {
    fn effect(&self, delivery: &Received) -> Effect {
        match &delivery.content {
            _ if self.forgotten => Effect::Ignored,
            _ if self.repeated => Effect::Repeated,
            // The text is already there, from another callback or from the vendor's log.
            CallbackContent::Answer { .. } if matches!(self.state, CallState::Answered | CallState::Surplus) => {
                Effect::Other
            }
            CallbackContent::Failed(_) if !self.state.is_open() => Effect::Ignored,
            CallbackContent::Answer { .. } => Effect::Answered,
            CallbackContent::Failed(_) => Effect::Failed,
        }
    }
}

impl Received {
    fn ended(&self) -> Ended {
        let end = match &self.content {
            CallbackContent::Answer { request_id, audio_ms, cost } => End::Answered {
                body: self.body.clone(),
                from_log: false,
                request_id: request_id.clone(),
                content_expiry: None,
                audio_ms: *audio_ms,
                cost: *cost,
            },
            CallbackContent::Failed(failure) => {
                End::Rejected { failure: Some(failure.clone()), effect: PoolEffect::None, counts: true }
            }
        };
        Ended { call: self.call, departed_at: None, limits: Limits::default(), end, pauses: None }
    }
}

async fn look_up(conn: &mut Conn, set: &[&Received]) -> Result<HashMap<CallId, CallbackTarget>, StoreError> {
    let asked: Vec<_> = set.iter().map(|d| json!([d.call.0.simple().to_string(), hex(&d.digest)])).collect();
    let rows = query(
        r"-- callbacks::look_up
            SELECT c.id, c.state,
              (SELECT count(*) FROM callbacks AS b WHERE b.call = c.id) AS kept,
              (SELECT count(*) FROM callbacks AS b WHERE b.call = c.id AND b.body IS NOT NULL)
                + (SELECT count(*) FROM answers AS a WHERE a.call = c.id) AS bodies,
              EXISTS (SELECT 1 FROM callbacks AS b WHERE b.call = c.id AND b.digest = unhex(r.v ->> 1)) AS repeated,
              j.forget IS NOT NULL AS forgotten
            FROM rows_of($1) AS r
            JOIN calls AS c ON c.id = unhex(r.v ->> 0)
            JOIN jobs AS j ON j.id = c.job",
    )
    .bind(json!(asked).to_string())
    .fetch_all(conn)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let call: CallId = row.try_get("id")?;
        known.insert(
            call,
            CallbackTarget {
                state: row.try_get("state")?,
                repeated: row.try_get("repeated")?,
                kept: row.try_get("kept")?,
                bodies: row.try_get("bodies")?,
                forgotten: row.try_get("forgotten")?,
            },
        );
    }
    Ok(known)
}

/// Records the callbacks. The answer that counts is stored in `answers`.
async fn keep(
    conn: &mut Conn,
    kept: &[(&Received, Effect)],
    has_room: impl Fn(CallId) -> bool,
    now: Millis,
) -> Result<(), StoreError> {
    if kept.is_empty() {
        return Ok(());
    }
    let columns = ["call", "received_at", "times", "digest", "effect", "packed", "bytes", "body"];
    let mut insert = Insert::into("callbacks", &columns);
    for (delivery, effect) in kept {
        // A repeated one is only counted, and its first effect stays.
        let effect = if *effect == Effect::Repeated { Effect::Ignored } else { *effect };
        // The body of an answer is stored in `answers`.
        let beside = !matches!(effect, Effect::Answered | Effect::Surplus) && has_room(delivery.call);
        let (body, is_packed) = delivery.body.kept();
        insert
            .bind(delivery.call)
            .bind(now)
            .bind(1)
            .bind(delivery.digest.as_slice())
            .bind(effect)
            .bind(beside.then_some(is_packed))
            .bind(packed::bytes(&delivery.body))
            .bind(beside.then_some(body));
    }
    // One that came before is only counted.
    let counted = "ON CONFLICT (call, digest) DO UPDATE SET times = callbacks.times + 1";
    insert.ending(counted).later(conn).await
}

/// Makes the jobs due. A running job is left to its worker, which looks at the journal next.
async fn wake(conn: &mut Conn, kept: &[(&Received, Effect)], now: Millis) -> Result<(), StoreError> {
    let fresh = kept.iter().filter(|(_, effect)| *effect != Effect::Repeated);
    let calls: Vec<_> = fresh.map(|(delivery, _)| [delivery.call.0.simple().to_string()]).collect();
    if calls.is_empty() {
        return Ok(());
    }
    query(
        r"-- callbacks::wake
            UPDATE jobs
            SET due_at = CASE WHEN due_at < $1 THEN due_at ELSE $1 END
            WHERE state = 'awaiting' AND id IN (
              SELECT c.job FROM rows_of($2) AS r JOIN calls AS c ON c.id = unhex(r.v ->> 0))",
    )
    .bind(now)
    .bind(json!(calls).to_string())
    .later(conn)
    .await
}
