//! Bodies that are kept packed, as raw DEFLATE.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::StoreError;
use crate::domain::job::CallId;

/// Below this a body is kept as it is: packing would cost more than it saves.
const PACK_FROM: usize = 1_024;

/// `Ok` = packed, `Err` = as it was.
pub(super) fn pack(body: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    if body.len() < PACK_FROM {
        return Err(body.to_vec());
    }
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    match encoder.write_all(body).and_then(|()| encoder.finish()) {
        Ok(packed) => Ok(packed),
        Err(_) => Err(body.to_vec()),
    }
}

/// The body of a row with `packed`, `bytes` and `body`.
pub(super) fn unpack(row: &SqliteRow) -> Result<Bytes, StoreError> {
    let body: Vec<u8> = row.try_get("body")?;
    if !row.try_get::<bool, _>("packed")? {
        return Ok(body.into());
    }
    let bytes: i64 = row.try_get("bytes")?;
    let mut whole = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    DeflateDecoder::new(body.as_slice())
        .read_to_end(&mut whole)
        .map_err(|e| StoreError::Unexpected(format!("a body does not unpack: {e}")))?;
    Ok(whole.into())
}

/// A body as it is kept. It is packed where it is made: the writer has no time for that.
#[derive(Debug, Clone)]
pub struct Body {
    /// As it came.
    bytes: usize,
    packed: bool,
    kept: Bytes,
}

impl From<Bytes> for Body {
    fn from(body: Bytes) -> Self {
        let bytes = body.len();
        match pack(&body) {
            Ok(packed) => Self { bytes, packed: true, kept: packed.into() },
            Err(_) => Self { bytes, packed: false, kept: body },
        }
    }
}

impl From<String> for Body {
    fn from(body: String) -> Self {
        Bytes::from(body).into()
    }
}

impl From<&'static str> for Body {
    fn from(body: &'static str) -> Self {
        Bytes::from(body).into()
    }
}

impl Body {
    /// Its length as it came, for the ledger.
    pub(super) fn bytes(&self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(i64::MAX)
    }

    /// What is kept, and whether that is packed.
    pub(super) fn kept(&self) -> (&[u8], bool) {
        (&self.kept, self.packed)
    }
}

/// Keeps answers: each with its call, and whether it was found in the vendor's log.
pub(super) async fn insert_answers(
    conn: &mut SqliteConnection,
    answers: Vec<(CallId, bool, &Body)>,
) -> Result<(), StoreError> {
    if answers.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO answers (call, origin, packed, bytes, body) ");
    insert.push_values(answers, |mut row, (call, from_log, body)| {
        let (kept, packed) = body.kept();
        row.push_bind(call)
            .push_bind(if from_log { "log" } else { "api" })
            .push_bind(i64::from(packed))
            .push_bind(body.bytes())
            .push_bind(kept);
    });
    insert.push(" ON CONFLICT (call) DO NOTHING");
    insert.build().execute(conn).await?;
    Ok(())
}
