//! The engine behind a ledger, for somebody who examines it.

use std::time::Duration;

use crate::clock::Millis;
use crate::process::{Holder, lock_holders};
use crate::store::engine::db::{Engine, query, query_scalar};
use crate::store::{Store, StoreError};

/// The byte of the index of the write-ahead log that a writer of SQLite locks.
const WRITE_LOCK: u64 = 120;
/// Over how long the growth of a ledger is measured.
const RECENT: Duration = Duration::from_hours(7 * 24);

/// The engine behind a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its name and version: `SQLite 3.51.3`.
    pub engine: String,
    /// The version of the ledger's schema.
    pub schema: i64,
    /// The time of the server's clock; `None` for a file.
    pub server_time: Option<Millis>,
}

/// How much is in a ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerGrowth {
    /// Its calls.
    pub calls: u64,
    /// Those of the last seven days.
    pub recent_calls: u64,
    /// The days that these cover, at least 1.
    pub days: u64,
}

impl Store {
    /// The engine behind this ledger.
    pub async fn engine_facts(&self) -> Result<EngineFacts, StoreError> {
        let mut conn = self.read.acquire().await?;
        let schema = query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut conn).await?;
        let (version, server_time) = match conn.engine() {
            Engine::Sqlite => (query_scalar("SELECT sqlite_version()").fetch_one(&mut conn).await?, None),
            Engine::Postgres => {
                let row = query(
                    r"-- engine::engine_facts
                      SELECT current_setting('server_version') AS version,
                        CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS now",
                )
                .fetch_one(&mut conn)
                .await?;
                (row.try_get("version")?, Some(row.try_get("now")?))
            }
        };
        let version: String = version;
        let name = if conn.engine() == Engine::Sqlite { "SQLite" } else { "PostgreSQL" };
        Ok(EngineFacts { engine: format!("{name} {version}"), schema, server_time })
    }

    /// How much was added to this ledger lately.
    pub async fn growth(&self) -> Result<LedgerGrowth, StoreError> {
        let now = self.now();
        let recent = i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
        // Ids of calls begin with their time.
        let mut since = [0_u8; 16];
        since[..6].copy_from_slice(&(now - recent).max(0).to_be_bytes()[2..]);
        let row = query(
            r"-- engine::growth
              SELECT (SELECT created_at FROM ledger) AS created_at, (SELECT count(*) FROM calls) AS calls,
                (SELECT count(*) FROM calls WHERE id > $1) AS recent",
        )
        .bind(since.to_vec())
        .fetch_one(&self.read)
        .await?;
        let created_at: Millis = row.try_get("created_at")?;
        let count = |name| row.try_get::<i64, _>(name).map(|n| u64::try_from(n).unwrap_or(0));
        let days = (now - created_at).clamp(0, recent) / 86_400_000;
        Ok(LedgerGrowth {
            calls: count("calls")?,
            recent_calls: count("recent")?,
            days: u64::try_from(days).unwrap_or(0).max(1),
        })
    }

    /// The processes of this machine that hold the write lock of a ledger in a file now.
    #[must_use]
    pub fn write_lock_holders(&self) -> Vec<Holder> {
        let Some(file) = self.file() else { return Vec::new() };
        let mut index = file.as_os_str().to_os_string();
        index.push("-shm");
        lock_holders(index.as_ref(), WRITE_LOCK)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{answered, ask, batch, claim, ended, ledger};
    use crate::{domain::pool::Limits, store::engine::db::query};

    #[tokio::test]
    async fn the_engine_and_the_growth_are_told() {
        let l = ledger().await;
        l.submit(batch("b"), 3).await;
        let me = l.store.enlist("{}".into()).await.unwrap();
        for job in claim(&l.store, 2).await {
            let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
            l.store.end(ended(permit.call, answered())).await.unwrap();
        }
        let facts = l.store.engine_facts().await.unwrap();
        let name = if l.store.file().is_some() { "SQLite 3." } else { "PostgreSQL " };
        assert!(facts.engine.starts_with(name) && facts.schema == 1, "{facts:?}");
        assert_eq!(facts.server_time.is_some(), l.store.file().is_none());
        let growth = l.store.growth().await.unwrap();
        assert_eq!((growth.calls, growth.recent_calls, growth.days), (2, 2, 1));
        assert_eq!(l.store.quick_check().await.unwrap(), []);
        l.store.leave(me).await.unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_holds_the_write_lock_is_found() {
        let l = ledger().await;
        assert_eq!(l.store.write_lock_holders(), []);
        let mut other = l.other().await;
        query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let holders = l.store.write_lock_holders();
        assert_eq!(holders.len(), 1, "{holders:?}");
        assert_eq!(u32::try_from(holders[0].pid).unwrap(), std::process::id());
        assert!(holders[0].program.is_some());
        query("ROLLBACK").execute(&mut other).await.unwrap();
        assert_eq!(l.store.write_lock_holders(), []);
    }

    crate::store::harness::on_postgres_too! {
        the_engine_and_the_growth_are_told,
    }
}
