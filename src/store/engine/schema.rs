//! The schema: its migrations, and what a process does that meets a newer one.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use sqlx::{SqliteConnection, SqliteExecutor, migrate::Migrator};
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Whether a newer program migrated the ledger while this process had it open.
#[derive(Debug)]
pub(in crate::store) struct Outgrown {
    ledger: PathBuf,
    found: OnceLock<i64>,
    noticed: CancellationToken,
}

impl Outgrown {
    pub(super) fn of(ledger: &Path) -> Self {
        Self { ledger: ledger.to_owned(), found: OnceLock::new(), noticed: CancellationToken::new() }
    }

    /// Whether it was noticed.
    pub(in crate::store) fn is_noticed(&self) -> bool {
        self.noticed.is_cancelled()
    }

    /// Looks at the ledger.
    pub(in crate::store) async fn watch(&self, conn: impl SqliteExecutor<'_>) -> Result<(), StoreError> {
        let found = found(conn).await?;
        if found > known() {
            let _ = self.found.set(found);
            self.noticed.cancel();
        }
        Ok(())
    }

    /// Refuses a newer ledger, and does not count it as noticed: each write of a verb is refused.
    pub(in crate::store) async fn refuse_newer(&self, conn: impl SqliteExecutor<'_>) -> Result<(), StoreError> {
        let (found, known) = (found(conn).await?, known());
        if found > known {
            return Err(StoreError::Newer { path: self.ledger.clone(), found, known });
        }
        Ok(())
    }

    /// Refuses a ledger of which it was noticed.
    pub(in crate::store) fn refuse(&self) -> Result<(), StoreError> {
        match self.found.get() {
            None => Ok(()),
            Some(found) => Err(StoreError::Newer { path: self.ledger.clone(), found: *found, known: known() }),
        }
    }
}

/// The newest schema that this program knows.
fn known() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

async fn found(conn: impl SqliteExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(conn).await?)
}

impl Store {
    /// Waits until it is noticed that a newer program migrated the ledger. Each heartbeat looks.
    pub async fn outgrown(&self) {
        self.shared.outgrown.noticed.cancelled().await;
    }

    /// Refuses a ledger of which it was noticed that a newer program migrated it.
    ///
    /// # Errors
    /// It was noticed.
    pub fn refuse_outgrown(&self) -> Result<(), StoreError> {
        self.shared.outgrown.refuse()
    }

    /// Looks whether a newer program migrated the ledger. For processes that have no heartbeat.
    pub(in crate::store) async fn watch_schema(&self) -> Result<(), StoreError> {
        self.shared.outgrown.watch(&self.read).await?;
        self.refuse_outgrown()
    }
}

pub(super) async fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let table: Option<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_optional(&mut *conn)
        .await?;
    if table.is_some() {
        let (found, known) = (found(&mut *conn).await?, known());
        let first: Option<Vec<u8>> = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = 1")
            .fetch_optional(&mut *conn)
            .await?;
        let ours = MIGRATIONS.iter().find(|m| m.version == 1).map(|m| m.checksum.to_vec());
        if found > 0 && first != ours {
            return Err(StoreError::Unreleased(path.to_owned()));
        }
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found == known {
            return Ok(());
        }
    }
    MIGRATIONS.run_direct(None, conn, false).await.map_err(|e| match e {
        sqlx::migrate::MigrateError::Execute(e) => StoreError::from(e),
        e => StoreError::Unexpected(format!("its schema could not be brought up to date: {e}")),
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::{
        domain::pool::Limits,
        store::{
            Opening,
            tests::{ask, batch, claim, ledger},
        },
    };

    async fn migrated(path: &Path) {
        let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        let row = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                   VALUES (99, 'x', 1, x'00', 0)";
        sqlx::query(row).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_heartbeat_notices_a_newer_ledger_and_nothing_is_begun_any_more() {
        let l = ledger().await;
        l.submit(batch("b"), 3).await;
        let enlisted = l.store.enlist("{}".into()).await.unwrap();
        let jobs = claim(&l.store, 2).await;
        assert_eq!(jobs.len(), 2);
        l.store.refuse_outgrown().unwrap();
        migrated(&l.path).await;
        let beat = std::time::Duration::from_millis(l.store.timing().beat_ms.unsigned_abs());
        tokio::time::timeout(beat * 3, l.store.outgrown()).await.unwrap();
        let error = l.store.refuse_outgrown().unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, .. }) && error.is_fatal(), "{error:?}");
        assert!(claim(&l.store, 1).await.is_empty());
        let permit = l.store.permit(ask(&jobs[0], Limits::default()));
        assert!(tokio::time::timeout(beat, permit).await.is_err(), "the call waits for a drain");
        assert!(matches!(l.store.can_be_written().await, Err(StoreError::Newer { .. })));
        // What is held is given back.
        l.store.leave(enlisted).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_without_a_heartbeat_writes_nothing_to_a_newer_ledger() {
        let l = ledger().await;
        let other = Store::open(Opening::new(&l.path)).await.unwrap().0;
        migrated(&l.path).await;
        let refused = l.store.write(|_, _| Box::pin(async { Ok(()) })).await;
        assert!(matches!(refused, Err(StoreError::Newer { found: 99, .. })), "{refused:?}");
        assert!(matches!(other.watch_clock().await, Err(StoreError::Newer { .. })));
        assert!(matches!(other.enlist("{}".into()).await, Err(StoreError::Newer { .. })));
    }
}
