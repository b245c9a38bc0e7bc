//! Bodies that are kept packed, as raw DEFLATE.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use sqlx::{Row, sqlite::SqliteRow};

use super::StoreError;

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
