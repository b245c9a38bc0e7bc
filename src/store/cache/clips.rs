//! The rows of clips that are objects: written once the object is there, removed before it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::json;

use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{Store, StoreError};
use crate::{clock::Millis, domain::identity::Identity};

/// A day.
pub(super) const DAY: Duration = Duration::from_hours(24);
const DAY_MS: i64 = 24 * 3_600_000;
/// How many keys a statement has at most.
const AT_ONCE: usize = 1_000;

/// A clip as its row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClipRow {
    pub(super) cache_key: Identity,
    pub(super) take: u32,
    pub(super) bytes: u64,
    /// The day of its last use, counted from 1970.
    pub(super) used_day: i64,
}

/// The day of a moment.
pub(super) const fn day_of(now: Millis) -> i64 {
    now.div_euclid(DAY_MS)
}

/// The keys as a set of rows.
fn set_of<'a>(clips: impl IntoIterator<Item = &'a Identity>) -> String {
    json!(clips.into_iter().map(|clip| [clip.hex()]).collect::<Vec<_>>()).to_string()
}

/// Records clips whose objects are there: key, take and length. Of two takes, the later one counts.
pub(in crate::store) async fn keep_rows(
    conn: &mut Conn,
    clips: impl Iterator<Item = (Identity, u32, u64)>,
    now: Millis,
) -> Result<(), StoreError> {
    let mut newest: HashMap<Identity, (u32, u64)> = HashMap::new();
    for (cache_key, take, bytes) in clips {
        let known = newest.entry(cache_key).or_insert((take, bytes));
        if take > known.0 {
            *known = (take, bytes);
        }
    }
    if newest.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = newest.iter().map(|(clip, (take, bytes))| json!([clip.hex(), take, bytes])).collect();
    query(
        r"-- clips::keep_rows
          INSERT INTO clips (cache_key, take, bytes, used_day)
          SELECT unhex(v ->> 0), CAST(v ->> 1 AS BIGINT), CAST(v ->> 2 AS BIGINT), $2
          FROM rows_of($1) AS r
          WHERE 1 = 1
          ON CONFLICT (cache_key) DO UPDATE SET take = excluded.take, bytes = excluded.bytes, used_day = excluded.used_day
          WHERE excluded.take >= clips.take",
    )
    .bind(json!(rows).to_string())
    .bind(day_of(now))
    .later(conn)
    .await
}

impl Store {
    /// The rows of these clips.
    pub(super) async fn clip_rows(&self, clips: &[Identity]) -> Result<Vec<ClipRow>, StoreError> {
        let mut found = Vec::new();
        for clips in clips.chunks(AT_ONCE) {
            let rows: Vec<(Identity, u32, i64, i64)> = query_as(
                r"-- clips::clip_rows
                  SELECT cache_key, take, bytes, used_day
                  FROM clips
                  WHERE cache_key IN (SELECT unhex(v ->> 0) FROM rows_of($1) AS r)",
            )
            .bind(set_of(clips))
            .fetch_all(&self.read)
            .await?;
            found.extend(rows.into_iter().map(row));
        }
        Ok(found)
    }

    /// The rows of all clips, by their keys.
    pub(super) async fn all_clip_rows(&self, mut each: impl FnMut(ClipRow)) -> Result<(), StoreError> {
        let mut after = Vec::new();
        loop {
            let rows: Vec<(Identity, u32, i64, i64)> = query_as(
                r"-- clips::all_clip_rows
                  SELECT cache_key, take, bytes, used_day
                  FROM clips
                  WHERE cache_key > $1
                  ORDER BY cache_key
                  LIMIT 10000",
            )
            .bind(after)
            .fetch_all(&self.read)
            .await?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            after = last.0.to_vec();
            rows.into_iter().map(row).for_each(&mut each);
        }
    }

    /// Records that these clips were used today.
    pub(super) async fn use_clips(&self, clips: &[Identity]) -> Result<(), StoreError> {
        for clips in clips.chunks(AT_ONCE) {
            let set = set_of(clips);
            self.write(move |conn, now| {
                let set = set.clone();
                Box::pin(async move {
                    query(
                        r"-- clips::use_clips
                          UPDATE clips
                          SET used_day = $2
                          WHERE cache_key IN (SELECT unhex(v ->> 0) FROM rows_of($1) AS r) AND used_day < $2",
                    )
                    .bind(set)
                    .bind(day_of(now))
                    .execute(conn)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Removes the row of a take that is no good.
    pub(super) async fn forget_clip(&self, cache_key: Identity, take: u32) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                query("DELETE FROM clips WHERE cache_key = $1 AND take = $2")
                    .bind(cache_key)
                    .bind(i64::from(take))
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Which of these takes no row has, and no open call can have written. The end of a call and the row of its clip are one
    /// transaction, so that one of the two is always there.
    pub(super) async fn orphans(&self, takes: &[(Identity, u32)]) -> Result<HashSet<(Identity, u32)>, StoreError> {
        let set: Vec<_> = takes.iter().map(|(clip, take)| json!([clip.hex(), take])).collect();
        let known: Vec<(String, i64)> = query_as(
            r"-- clips::orphans
              SELECT r.v ->> 0, CAST(r.v ->> 1 AS BIGINT)
              FROM rows_of($1) AS r
              WHERE EXISTS (
                  SELECT 1 FROM clips AS k
                  WHERE k.cache_key = unhex(r.v ->> 0) AND k.take = CAST(r.v ->> 1 AS BIGINT))
                OR EXISTS (
                  SELECT 1 FROM calls AS c
                  WHERE c.cache_key = unhex(r.v ->> 0) AND c.cache_key IS NOT NULL AND c.state IN ('sent', 'accepted'))",
        )
        .bind(json!(set).to_string())
        .fetch_all(&self.read)
        .await?;
        let known: HashSet<(String, i64)> = known.into_iter().collect();
        Ok(takes.iter().copied().filter(|(clip, take)| !known.contains(&(clip.hex(), i64::from(*take)))).collect())
    }

    /// Whether any clip was bought for a job of this ledger.
    pub(super) async fn has_bought_clips(&self) -> Result<bool, StoreError> {
        query_scalar("SELECT EXISTS (SELECT 1 FROM calls WHERE cache_key IS NOT NULL AND state = 'answered')")
            .fetch_one(&self.read)
            .await
    }
}

fn row((cache_key, take, bytes, used_day): (Identity, u32, i64, i64)) -> ClipRow {
    ClipRow { cache_key, take, bytes: u64::try_from(bytes).unwrap_or_default(), used_day }
}
