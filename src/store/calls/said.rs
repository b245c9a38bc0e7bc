//! What a process says in the ledger about its waiting asks, so that definitions share a pool over all processes.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use serde_json::json;

use crate::store::engine::db::{Conn, query};
use crate::store::{StoreError, StoreShared};
use crate::{clock::Millis, domain::pool::Pool};

/// A pool of an account, and a definition whose lines wait for its calls.
type Waiting = (String, Pool, String);

/// What this process says about its waiting asks: weight and number.
#[derive(Debug, Default)]
pub(in crate::store) struct Said {
    what: BTreeMap<Waiting, (u32, u32)>,
    /// When it was written.
    at: Millis,
}

impl Said {
    /// One more line of this definition waits.
    pub(in crate::store) fn add(&mut self, (account, pool): (&str, Pool), definition: &str, priority: u32) {
        let (said, n) = self.what.entry((account.to_owned(), pool, definition.to_owned())).or_default();
        *said = priority;
        *n = n.saturating_add(1);
    }

    /// Writes it, if the ledger says something else about this process, or said it a heartbeat ago.
    pub(in crate::store) async fn write(
        mut self,
        conn: &mut Conn,
        (shared, before): (&StoreShared, &Self),
        now: Millis,
    ) -> Result<Option<Self>, StoreError> {
        let same = self.what.keys().eq(before.what.keys());
        if same && (self.what.is_empty() || (0..shared.timing.beat_ms).contains(&(now - before.at))) {
            return Ok(None);
        }
        let process = shared.process.load(Ordering::Acquire);
        if !before.what.is_empty() {
            query("DELETE FROM demand WHERE process = $1").bind(process).later(conn).await?;
        }
        if !self.what.is_empty() {
            let rows: Vec<_> = self
                .what
                .iter()
                .map(|((account, pool, definition), (priority, n))| json!([account, pool, definition, priority, n]))
                .collect();
            // This process may have said something under the same number before its ledger was out of reach.
            query(
                r"-- demand::write
                  INSERT INTO demand (account, pool, definition, process, priority, waiting, seen_at)
                  SELECT v ->> 0, v ->> 1, v ->> 2, p.id, CAST(v ->> 3 AS BIGINT), CAST(v ->> 4 AS BIGINT), $3
                  FROM rows_of($1) AS r
                  JOIN processes AS p ON p.id = $2
                  WHERE 1 = 1
                  ON CONFLICT (account, pool, definition, process) DO UPDATE
                  SET priority = excluded.priority, waiting = excluded.waiting, seen_at = excluded.seen_at",
            )
            .bind(json!(rows).to_string())
            .bind(process)
            .bind(now)
            .later(conn)
            .await?;
        }
        self.at = now;
        Ok(Some(self))
    }
}
