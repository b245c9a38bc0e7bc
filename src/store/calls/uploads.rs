//! The size of an upload identifies its call. The vendor honours no idempotency key, but its log shows how many bytes
//! each request had. Where no other recent call of the pool has that number, it proves a lost call.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::store::engine::db::{Asked, Conn, Row, Trip, query_scalar};
use crate::store::{Moment, StoreError};
use crate::{
    clock::Millis,
    domain::{padding::PaddingSizes, pool::Pool},
};

/// How long a size stays taken after a call had it, in ms: for as long the worker may search the log for that call.
const TAKEN_MS: i64 = 24 * 3_600_000;
/// How many sizes are tried in turn before the call goes without a unique size.
const TRIED_MOST: u32 = 512;

/// A recording that is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    /// Its length in bytes, without padding.
    pub bytes: u64,
    /// The padding that its container accepts; `None`: none.
    pub padding: Option<PaddingSizes>,
}

/// Where to continue the search, for recordings of one size. These are only hints: every size is looked up, since other
/// processes assign sizes too.
#[derive(Debug, Default)]
pub(in crate::store) struct Hints(HashMap<(String, Pool, u64), Hint>);

#[derive(Debug, Clone, Copy)]
enum Hint {
    /// This padding was assigned last.
    Given(u32),
    /// No size was left at this moment.
    Exhausted(Millis),
}

/// The hints are cleared before they fill the memory.
const HINTS_MOST: usize = 10_000;
/// How long no search starts again where no size was left, in ms.
const EXHAUSTED_MS: i64 = 600_000;

/// How many paddings of a recording are looked at in the trip that asks for all recordings.
const LOOKED_AT: u32 = 32;

/// The sizes that calls of an account's pool have, as far as they were looked at.
#[derive(Debug, Default)]
pub(in crate::store) struct Sizes {
    /// Recordings' own lengths, each with the range of sizes that was looked at.
    ranges: HashMap<u64, (i64, i64)>,
    taken: HashSet<i64>,
}

/// Asks which sizes are taken that these recordings could get first. Each ask is of this account.
pub(in crate::store) fn ask<'q>(
    trip: &mut Trip<'q>,
    hints: &Hints,
    (account, pool): (&'q str, Pool),
    uploads: impl Iterator<Item = Upload>,
    now: &Moment,
) -> (Option<Asked>, Sizes) {
    let (mut sizes, mut ranges) = (Sizes::default(), Vec::new());
    for upload in uploads {
        let Some(paddings) = upload.padding else { continue };
        let Some(first) = hints.first(&(account.to_owned(), pool, upload.bytes), paddings, now) else { continue };
        let range =
            (size(upload.bytes, first), size(upload.bytes, first.saturating_add(LOOKED_AT * PaddingSizes::STEP)));
        if sizes.ranges.insert(upload.bytes, range).is_none() {
            ranges.push(json!([range.0, range.1]));
        }
    }
    let taken = (!ranges.is_empty()).then(|| {
        query_scalar::<i64>(
            r"-- uploads::ask
              SELECT c.upload_bytes
              FROM rows_of($4) AS r
              CROSS JOIN calls AS c
              WHERE c.account = $1 AND c.pool = $2 AND c.upload_bytes >= CAST(r.v ->> 0 AS BIGINT)
                AND c.upload_bytes <= CAST(r.v ->> 1 AS BIGINT) AND (c.sent_at > $3 OR c.state IN ('sent', 'accepted'))",
        )
        .bind(account)
        .bind(pool)
        .bind(now.wall - TAKEN_MS)
        .bind(json!(ranges).to_string())
    });
    (taken.map(|taken| trip.ask(taken)), sizes)
}

impl Sizes {
    /// Adds the sizes that were found taken.
    pub(in crate::store) fn read(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        for row in rows {
            self.taken.insert(row.try_get(0_usize)?);
        }
        Ok(())
    }

    /// A call of this transaction takes a size.
    pub(in crate::store) fn take(&mut self, size: i64) {
        self.taken.insert(size);
    }

    /// Whether a size is taken that this recording could get; `None`: it was not looked at.
    fn is_taken(&self, bytes: u64, size: i64) -> Option<bool> {
        if self.taken.contains(&size) {
            return Some(true);
        }
        self.ranges.get(&bytes).filter(|(from, to)| (*from..=*to).contains(&size)).map(|_| false)
    }
}

/// The size of an upload with a padding.
fn size(bytes: u64, padding: u32) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX).saturating_add(padding.into())
}

impl Hints {
    /// The padding to try first; `None`: no size was left lately.
    fn first(&self, key: &(String, Pool, u64), paddings: PaddingSizes, now: &Moment) -> Option<u32> {
        match self.0.get(key) {
            Some(Hint::Given(last)) => Some(following(*last, paddings)),
            Some(Hint::Exhausted(at)) if (0..EXHAUSTED_MS).contains(&(now.wall - at)) => None,
            _ => Some(0),
        }
    }
}

/// The smallest padding (0 or one that the container accepts) that gives the upload a unique size: no call of this pool
/// that is open or was sent within a day has it, nor one of this transaction. Without one: 0.
pub(in crate::store) async fn padding(
    conn: &mut Conn,
    (hints, sizes): (&mut Hints, &Sizes),
    (account, pool): (&str, Pool),
    upload: &Upload,
    now: &Moment,
) -> Result<u32, StoreError> {
    let Some(paddings) = upload.padding else { return Ok(0) };
    let key = (account.to_owned(), pool, upload.bytes);
    let Some(mut next) = hints.first(&key, paddings, now) else { return Ok(0) };
    let mut jumped = next > 0;
    for _ in 0..TRIED_MOST {
        if next > paddings.most() {
            break;
        }
        let size = size(upload.bytes, next);
        let is_taken = match sizes.is_taken(upload.bytes, size) {
            Some(is_taken) => is_taken,
            None => is_taken(conn, account, pool, size, now).await?,
        };
        if !is_taken {
            if hints.0.len() >= HINTS_MOST {
                hints.0.clear();
            }
            hints.0.insert(key, Hint::Given(next));
            return Ok(next);
        }
        // Each of many recordings of one size has another padding: the largest assigned one shows where to continue.
        if next > 0 && !jumped {
            jumped = true;
            let bytes = i64::try_from(upload.bytes).unwrap_or(i64::MAX);
            if let Some(largest) = largest_taken(conn, account, pool, bytes, paddings, now).await? {
                let given = u32::try_from(largest - bytes).unwrap_or(0);
                // A padding that this recording can have, too: containers differ in the least that they accept.
                let steps = given.saturating_sub(paddings.least()) / PaddingSizes::STEP;
                next = next.max(paddings.least().saturating_add(steps * PaddingSizes::STEP));
            }
        }
        next = following(next, paddings);
    }
    hints.0.insert(key, Hint::Exhausted(now.wall));
    Ok(0)
}

/// The padding after this one.
fn following(padding: u32, sizes: PaddingSizes) -> u32 {
    if padding < sizes.least() { sizes.least() } else { padding.saturating_add(PaddingSizes::STEP) }
}

async fn is_taken(conn: &mut Conn, account: &str, pool: Pool, size: i64, now: &Moment) -> Result<bool, StoreError> {
    query_scalar(
        r"-- uploads::is_taken
          SELECT EXISTS (
            SELECT 1 FROM calls
            WHERE account = $1 AND pool = $2 AND upload_bytes = $3 AND (sent_at > $4 OR state IN ('sent', 'accepted')))",
    )
    .bind(account)
    .bind(pool)
    .bind(size)
    .bind(now.wall - TAKEN_MS)
    .fetch_one(conn)
    .await
}

async fn largest_taken(
    conn: &mut Conn,
    account: &str,
    pool: Pool,
    bytes: i64,
    sizes: PaddingSizes,
    now: &Moment,
) -> Result<Option<i64>, StoreError> {
    query_scalar(
        r"-- uploads::largest_taken
          SELECT upload_bytes
          FROM calls
          WHERE account = $1 AND pool = $2 AND upload_bytes >= $3 AND upload_bytes <= $4 AND sent_at > $5
          ORDER BY upload_bytes DESC
          LIMIT 1",
    )
    .bind(account)
    .bind(pool)
    .bind(bytes)
    .bind(bytes.saturating_add(sizes.most().into()))
    .bind(now.wall - TAKEN_MS)
    .fetch_optional(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paddings_follow_each_other_in_steps_of_two() {
        let sizes = PaddingSizes::new(10, 14).unwrap();
        let mut paddings = vec![0];
        while *paddings.last().unwrap() <= sizes.most() {
            paddings.push(following(*paddings.last().unwrap(), sizes));
        }
        assert_eq!(paddings, [0, 10, 12, 14, 16]);
        assert_eq!(following(u32::MAX, sizes), u32::MAX);
    }
}
