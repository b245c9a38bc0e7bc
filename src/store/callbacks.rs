//! What is posted for calls: kept with its call's answer in one transaction, however often and whenever it comes.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{End, Ended, PoolEffect, Store, StoreError, end, packed::pack, rows};
use crate::{
    clock::Millis,
    domain::{
        call::Trouble,
        job::{CallId, CallState},
        pool::Limits,
    },
};

/// A callback as it was posted, read.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its call, proved by its address.
    pub call: CallId,
    /// The body, as it came.
    pub body: Bytes,
    /// What it says.
    pub says: Says,
}

/// What a callback says.
#[derive(Debug, Clone)]
pub enum Says {
    /// The transcription.
    Answer {
        /// The vendor's id of the request.
        request_id: Option<String>,
        /// Length of the audio, in ms: what is billed.
        audio_ms: Option<u64>,
        /// At list price, in micro-USD; `None`: what was reserved.
        cost: Option<i64>,
    },
    /// It failed.
    Failed(Trouble),
}

/// What a callback did. Whichever it is, the vendor need not send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is its call's answer.
    Answered,
    /// It is one, and another call had answered before.
    Surplus,
    /// Its call has failed, which is a try.
    Failed,
    /// The same came before.
    Repeated,
    /// Another body came before, which counts. This one is kept beside.
    Other,
    /// Its call was closed before: nothing.
    Ignored,
}

/// A call that a callback is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The model that was asked for.
    pub model: String,
    /// How the call stands.
    pub state: CallState,
    /// When its intent was noted, ms since 1970.
    pub sent_at: Millis,
}

impl Store {
    /// The call of this id, if there is one.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn expected(&self, call: CallId) -> Result<Option<Expected>, StoreError> {
        let row = sqlx::query("SELECT trace ->> 'model' AS model, state, sent_at FROM calls WHERE id = ?")
            .bind(call.0.as_bytes().as_slice())
            .fetch_optional(&self.read)
            .await?;
        let expected = |row: SqliteRow| {
            Ok(Expected {
                model: row.try_get("model")?,
                state: rows::listed(&row, "state")?,
                sent_at: row.try_get("sent_at")?,
            })
        };
        row.map(expected).transpose()
    }

    /// Keeps a callback and what it means for its call and its job. `None`: there is no such call. When this returns, it
    /// is on disk.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn receive(&self, delivery: Delivery) -> Result<Option<Effect>, StoreError> {
        let digest: [u8; 32] = Sha256::digest(&delivery.body).into();
        self.write(move |conn, now| {
            let delivery = delivery.clone();
            Box::pin(async move { receive(conn, &delivery, &digest, now).await })
        })
        .await
    }
}

async fn receive(
    conn: &mut SqliteConnection,
    delivery: &Delivery,
    digest: &[u8],
    now: Millis,
) -> Result<Option<Effect>, StoreError> {
    let call = delivery.call.0.as_bytes().as_slice();
    let known: Option<i64> =
        sqlx::query_scalar("SELECT job FROM calls WHERE id = ?").bind(call).fetch_optional(&mut *conn).await?;
    let Some(job) = known else { return Ok(None) };
    let repeated = sqlx::query("UPDATE callbacks SET times = times + 1 WHERE call = ? AND digest = ?")
        .bind(call)
        .bind(digest)
        .execute(&mut *conn)
        .await?;
    if repeated.rows_affected() > 0 {
        return Ok(Some(Effect::Repeated));
    }
    let effect = effect(conn, delivery, now).await?;
    let (name, kept) = match effect {
        Effect::Answered => ("answered", None),
        Effect::Surplus => ("surplus", None),
        Effect::Failed => ("failed", Some(&delivery.body)),
        Effect::Other => ("other", Some(&delivery.body)),
        Effect::Repeated | Effect::Ignored => ("ignored", Some(&delivery.body)),
    };
    let packed = kept.map(|body| pack(body));
    sqlx::query(
        "INSERT INTO callbacks (call, received_at, times, digest, effect, packed, bytes, body) VALUES (?, ?, 1, ?, ?, ?, ?, ?)",
    )
    .bind(call)
    .bind(now)
    .bind(digest)
    .bind(name)
    .bind(packed.as_ref().map(Result::is_ok))
    .bind(i64::try_from(delivery.body.len()).unwrap_or(i64::MAX))
    .bind(packed.map(|packed| packed.unwrap_or_else(|whole| whole)))
    .execute(&mut *conn)
    .await?;
    // A running job is left to its worker, whose next move looks at the journal.
    sqlx::query("UPDATE jobs SET due_at = min(due_at, ?) WHERE id = ? AND state = 'awaiting'")
        .bind(now)
        .bind(job)
        .execute(conn)
        .await?;
    Ok(Some(effect))
}

async fn effect(conn: &mut SqliteConnection, delivery: &Delivery, now: Millis) -> Result<Effect, StoreError> {
    let state = state(conn, delivery.call).await?;
    let end = match &delivery.says {
        // Its words are there already, of another delivery or of the log.
        Says::Answer { .. } if matches!(state, CallState::Answered | CallState::Surplus) => return Ok(Effect::Other),
        Says::Failed(_) if !state.is_open() => return Ok(Effect::Ignored),
        Says::Answer { request_id, audio_ms, cost } => End::Answered {
            body: delivery.body.clone(),
            from_log: false,
            request_id: request_id.clone(),
            content_expiry: None,
            audio_ms: *audio_ms,
            cost: *cost,
        },
        Says::Failed(trouble) => {
            End::Rejected { trouble: Some(trouble.clone()), effect: PoolEffect::None, counts: true }
        }
    };
    let ended = Ended { call: delivery.call, departed_at: None, limits: Limits::default(), end, pauses: None };
    let reply = end::end(conn, &[&ended], now).await?.pop();
    Ok(match reply.map(|reply| reply.state) {
        Some(CallState::Answered) => Effect::Answered,
        Some(CallState::Surplus) => Effect::Surplus,
        Some(CallState::Rejected) if matches!(delivery.says, Says::Failed(_)) => Effect::Failed,
        _ => Effect::Ignored,
    })
}

async fn state(conn: &mut SqliteConnection, call: CallId) -> Result<CallState, StoreError> {
    let row =
        sqlx::query("SELECT state FROM calls WHERE id = ?").bind(call.0.as_bytes().as_slice()).fetch_one(conn).await?;
    rows::listed(&row, "state")
}
