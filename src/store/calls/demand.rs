//! Who waits for calls of a pool: what other processes say about their waiting asks, and what the definitions used lately.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use crate::store::engine::db::{Asked, Found, Row, Trip, query};
use crate::store::{
    Moment, StoreError, StoreShared,
    calls::fence::{age, holds_slot},
    engine::rows,
};
use crate::{
    clock::Millis,
    domain::{
        pool::{Pool, WINDOW_MS},
        share::Contender,
    },
};

/// How many of a pool's newest calls are counted by definition. More would tell the same shares.
const COUNTED: u32 = 1_000;
/// How many of them are looked through for those of one definition: more than any minute holds.
const COUNTED_OWN: u32 = 10_000;

/// Asks for what other processes said lately.
pub(in crate::store) fn ask_others(trip: &mut Trip<'_>, shared: &StoreShared, now: Millis) -> Asked {
    trip.ask(
        query("SELECT account, pool, definition, priority, waiting FROM demand WHERE process <> $1 AND seen_at > $2")
            .bind(shared.process.load(Ordering::Acquire))
            .bind(now - shared.timing.lease_ms),
    )
}

/// What other processes said, by pool and definition.
#[derive(Debug, Default)]
pub(in crate::store) struct Others(HashMap<(String, Pool), BTreeMap<String, Contender>>);

impl Others {
    pub(in crate::store) fn read(rows: &[Row]) -> Result<Self, StoreError> {
        let mut others = Self::default();
        for row in rows {
            // A pool that this program does not know has no calls of this process.
            let Ok(pool) = row.text("pool")?.parse() else { continue };
            let (priority, waiting): (u32, u32) = (row.try_get("priority")?, row.try_get("waiting")?);
            let there = others.0.entry((row.try_get("account")?, pool)).or_default();
            let one = there.entry(row.try_get("definition")?).or_insert(Contender {
                used: 0,
                priority,
                waiting: 0,
                elsewhere: true,
            });
            one.waiting = one.waiting.saturating_add(waiting);
        }
        Ok(others)
    }

    /// The definitions that other processes want calls of this pool for.
    pub(in crate::store) fn of(&self, (account, pool): (&str, Pool)) -> BTreeMap<String, Contender> {
        self.0.get(&(account.to_owned(), pool)).cloned().unwrap_or_default()
    }
}

/// Asks how many calls of a pool each definition made in the last minute, and how many it has in flight.
pub(in crate::store) fn ask_used<'q>(
    trip: &mut Trip<'q>,
    (account, pool): (&'q str, Pool),
    lease_ms: i64,
    now: &Moment,
) -> Asked {
    trip.ask(
        query(concat!(
            r"-- demand::ask_used
              SELECT b.definition, count(*) AS n
              FROM (
                SELECT batch
                FROM (
                  SELECT batch, ",
            age!("$3", "$4", "$5"),
            " AS age
                  FROM calls
                  WHERE account = $1 AND pool = $2
                  ORDER BY sent_at DESC
                  LIMIT $8) AS newest
                WHERE age < $7
                UNION ALL
                SELECT batch FROM calls WHERE account = $1 AND pool = $2 AND ",
            holds_slot!("$3", "$4", "$5", "$6"),
            ") AS c
              JOIN batches AS b ON b.id = c.batch
              GROUP BY 1"
        ))
        .bind(account)
        .bind(pool)
        .bind(now.wall)
        .bind(now.boot)
        .bind(now.boot_id)
        .bind(lease_ms)
        .bind(WINDOW_MS)
        .bind(COUNTED),
    )
}

/// Asks for the newest calls of a definition in the last minute, at most so many: how many there are, and how old the
/// oldest of them is.
pub(in crate::store) fn ask_own_rate<'q>(
    trip: &mut Trip<'q>,
    (account, pool): (&'q str, Pool),
    (definition, most): (String, u32),
    now: &Moment,
) -> Asked {
    trip.ask(
        query(concat!(
            r"-- demand::ask_own_rate
              SELECT count(*) AS n, max(age) AS oldest
              FROM (
                SELECT newest.age
                FROM (
                  SELECT batch, ",
            age!("$3", "$4", "$5"),
            " AS age
                  FROM calls
                  WHERE account = $1 AND pool = $2
                  ORDER BY sent_at DESC
                  LIMIT $7) AS newest
                JOIN batches AS b ON b.id = newest.batch
                WHERE newest.age < $6 AND b.definition = $8
                ORDER BY newest.age
                LIMIT $9) AS own"
        ))
        .bind(account)
        .bind(pool)
        .bind(now.wall)
        .bind(now.boot)
        .bind(now.boot_id)
        .bind(WINDOW_MS)
        .bind(COUNTED_OWN)
        .bind(definition)
        .bind(most),
    )
}

/// What a definition that lowers its rate may begin.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct OwnRate {
    /// How many calls.
    pub(in crate::store) room: u32,
    /// When there is room again.
    pub(in crate::store) until: Option<Millis>,
}

impl OwnRate {
    /// Reads what was found.
    pub(in crate::store) fn read(
        found: &mut Found,
        (asked, most): (Asked, u32),
        now: &Moment,
    ) -> Result<Self, StoreError> {
        let row = found.one(asked)?;
        let oldest: Option<i64> = row.try_get("oldest")?;
        let room = most.saturating_sub(rows::count(&row, "n")?);
        let until = oldest.filter(|_| room == 0).map(|age| now.wall - age + WINDOW_MS);
        Ok(Self { room, until })
    }
}

/// How many calls each definition used.
pub(in crate::store) fn used(found: &mut Found, asked: Asked) -> Result<HashMap<String, u32>, StoreError> {
    let mut used = HashMap::new();
    for row in found.rows(asked) {
        used.insert(row.try_get("definition")?, row.try_get("n")?);
    }
    Ok(used)
}
