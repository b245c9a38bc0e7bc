//! Bodies in rows: as raw DEFLATE, or unchanged where that would save nothing.

use bytes::Bytes;

use crate::domain::{
    body::{self, Body},
    job::CallId,
};
use crate::store::engine::db::{Conn, Insert, Row};
use crate::store::{StoreError, engine::space};

/// A larger body has a statement of its own: the driver copies what a statement binds.
const ALONE: usize = 1 << 20;

/// `Ok` = packed, `Err` = unchanged.
pub(in crate::store) fn pack(body: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    body::pack(body).ok_or_else(|| body.to_vec())
}

/// The body of a row with `packed`, `bytes` and `body`, as it is stored.
pub(in crate::store) fn kept(row: &Row) -> Result<Body, StoreError> {
    let bytes: i64 = row.try_get("bytes")?;
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Body::from_kept(u64::try_from(bytes).unwrap_or(0), row.try_get("packed")?, body.into()))
}

/// The body of such a row, unpacked.
pub(in crate::store) fn unpack(row: &Row) -> Result<Bytes, StoreError> {
    kept(row)?.whole().map_err(|e| StoreError::Unexpected(format!("a body does not unpack: {e}")))
}

/// Its unpacked length, for the ledger.
pub(in crate::store) fn bytes(body: &Body) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// Stores answers: each with its call, and whether it was found in the vendor's log.
pub(in crate::store) async fn insert_answers(
    conn: &mut Conn,
    answers: Vec<(CallId, bool, &Body)>,
) -> Result<(), StoreError> {
    let (large, small): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(.., body)| body.kept().0.len() > ALONE);
    if !small.is_empty() {
        insert(conn, &small).await?;
    }
    for answer in large.chunks(1) {
        space::set_cache(conn, true).await?;
        let inserted = insert(conn, answer).await;
        space::set_cache(conn, false).await?;
        inserted?;
    }
    Ok(())
}

async fn insert(conn: &mut Conn, answers: &[(CallId, bool, &Body)]) -> Result<(), StoreError> {
    let mut insert = Insert::into("answers", &["call", "origin", "packed", "bytes", "body"]);
    for (call, from_log, body) in answers {
        let (kept, packed) = body.kept();
        insert.bind(*call).bind(if *from_log { "log" } else { "api" }).bind(packed).bind(bytes(body)).bind(kept);
    }
    insert.ending("ON CONFLICT (call) DO NOTHING").later(conn).await
}
