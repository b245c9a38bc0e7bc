//! The size of an upload identifies its call. The vendor honours no idempotency key, but its log shows how many bytes
//! each request had. Where no other recent call of the pool has that number, it proves a lost call.

use std::collections::HashMap;

use sqlx::SqliteConnection;

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

/// The smallest padding (0 or one that the container accepts) that gives the upload a unique size: no call of this pool
/// that is open or was sent within a day has it, nor is it in `others`, the sizes of this transaction. Without one: 0.
pub(in crate::store) async fn padding(
    conn: &mut SqliteConnection,
    hints: &mut Hints,
    (account, pool): (&str, Pool),
    upload: &Upload,
    others: &[(Pool, i64)],
    now: &Moment,
) -> Result<u32, StoreError> {
    let Some(sizes) = upload.padding else { return Ok(0) };
    let key = (account.to_owned(), pool, upload.bytes);
    let bytes = i64::try_from(upload.bytes).unwrap_or(i64::MAX);
    let mut next = match hints.0.get(&key) {
        Some(Hint::Given(last)) => following(*last, sizes),
        Some(Hint::Exhausted(at)) if (0..EXHAUSTED_MS).contains(&(now.wall - at)) => return Ok(0),
        _ => 0,
    };
    let mut jumped = next > 0;
    for _ in 0..TRIED_MOST {
        if next > sizes.most() {
            break;
        }
        let size = bytes.saturating_add(next.into());
        if !others.contains(&(pool, size)) && !is_taken(conn, account, pool, size, now).await? {
            if hints.0.len() >= HINTS_MOST {
                hints.0.clear();
            }
            hints.0.insert(key, Hint::Given(next));
            return Ok(next);
        }
        // Each of many recordings of one size has another padding: the largest assigned one shows where to continue.
        if next > 0 && !jumped {
            jumped = true;
            if let Some(largest) = largest_taken(conn, account, pool, bytes, sizes, now).await? {
                let given = u32::try_from(largest - bytes).unwrap_or(0);
                // A padding that this recording can have, too: containers differ in the least that they accept.
                let steps = given.saturating_sub(sizes.least()) / PaddingSizes::STEP;
                next = next.max(sizes.least().saturating_add(steps * PaddingSizes::STEP));
            }
        }
        next = following(next, sizes);
    }
    hints.0.insert(key, Hint::Exhausted(now.wall));
    Ok(0)
}

/// The padding after this one.
fn following(padding: u32, sizes: PaddingSizes) -> u32 {
    if padding < sizes.least() { sizes.least() } else { padding.saturating_add(PaddingSizes::STEP) }
}

async fn is_taken(
    conn: &mut SqliteConnection,
    account: &str,
    pool: Pool,
    size: i64,
    now: &Moment,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
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
    .await?)
}

async fn largest_taken(
    conn: &mut SqliteConnection,
    account: &str,
    pool: Pool,
    bytes: i64,
    sizes: PaddingSizes,
    now: &Moment,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
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
    .await?)
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
