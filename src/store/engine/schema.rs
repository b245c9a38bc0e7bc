//! The schema: its migrations, and what a process does that meets a newer one.

use std::sync::OnceLock;

use sqlx::{
    Connection, Executor, PgConnection, Row as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::engine::db::{self, Conn, Query, Row, Target, query, query_scalar};
use crate::store::engine::mark::{CopyEnd, CopyMark};
use crate::store::{Store, StoreError};

static FOR_SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
/// With the same numbers and names.
static FOR_POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Whether this process may not use the ledger any more: a newer program migrated it while this process had it open, or it
/// was copied to another place.
#[derive(Debug)]
pub(in crate::store) struct Outgrown {
    pub(super) ledger: String,
    /// Whether this process copies it.
    for_copy: bool,
    found: OnceLock<Obstacle>,
    noticed: CancellationToken,
}

/// Why a ledger may not be used.
#[derive(Debug)]
enum Obstacle {
    /// The version of its schema, which a newer program made.
    Newer(i64),
    /// It was copied, or is a copy that is not finished.
    Copied(CopyMark),
}

/// The columns of a mark.
const MARK: &str = "copy, copy_with, copy_id";

impl CopyMark {
    fn of(row: &Row) -> Result<Option<Self>, StoreError> {
        let end = match row.text_if_any("copy")? {
            None => return Ok(None),
            Some("source") => CopyEnd::Source,
            Some("target") => CopyEnd::Target,
            Some("moved") => CopyEnd::Moved,
            Some(other) => return Err(StoreError::Unexpected(format!("copy = {other}"))),
        };
        Ok(Some(Self { end, with: row.try_get("copy_with")?, id: row.try_get("copy_id")? }))
    }

    /// The mark of a ledger, if it has one.
    pub(in crate::store) async fn find(conn: impl Into<Target<'_>>) -> Result<Option<Self>, StoreError> {
        Self::of(&query(format!("SELECT {MARK} FROM ledger")).fetch_one(conn).await?)
    }

    /// Gives the ledger this mark, or takes its mark away.
    pub(in crate::store) async fn set(mark: Option<&Self>, conn: &mut Conn) -> Result<(), StoreError> {
        query("UPDATE ledger SET copy = $1, copy_with = $2, copy_id = $3")
            .bind(mark.map(|mark| mark.end.as_str()))
            .bind(mark.map(|mark| mark.with.clone()))
            .bind(mark.map(|mark| mark.id.clone()))
            .execute(conn)
            .await?;
        Ok(())
    }
}

impl Outgrown {
    pub(super) fn of(ledger: &str, for_copy: bool) -> Self {
        Self { ledger: ledger.to_owned(), for_copy, found: OnceLock::new(), noticed: CancellationToken::new() }
    }

    /// Whether it was noticed.
    pub(in crate::store) fn is_noticed(&self) -> bool {
        self.noticed.is_cancelled()
    }

    /// Looks at the ledger.
    pub(in crate::store) async fn watch(&self, conn: impl Into<Target<'_>>) -> Result<(), StoreError> {
        self.note(&standing().fetch_one(conn).await?)
    }

    /// Notes what the ledger was found to be.
    pub(in crate::store) fn note(&self, row: &Row) -> Result<(), StoreError> {
        if let Some(obstacle) = self.obstacle(row)? {
            let _ = self.found.set(obstacle);
            self.noticed.cancel();
        }
        Ok(())
    }

    fn obstacle(&self, row: &Row) -> Result<Option<Obstacle>, StoreError> {
        let found: i64 = row.try_get("version")?;
        if found > known() {
            return Ok(Some(Obstacle::Newer(found)));
        }
        Ok(CopyMark::of(row)?.filter(|_| !self.for_copy).map(Obstacle::Copied))
    }

    fn error(&self, obstacle: &Obstacle) -> StoreError {
        let ledger = self.ledger.clone();
        match obstacle {
            Obstacle::Newer(found) => StoreError::Newer { ledger, found: *found, known: known() },
            Obstacle::Copied(mark) => StoreError::Copied { ledger, mark: mark.clone() },
        }
    }

    /// Refuses a ledger that may not be used, and does not count it as noticed: each write of a verb is refused.
    pub(in crate::store) async fn refuse_now(&self, conn: impl Into<Target<'_>>) -> Result<(), StoreError> {
        let row = standing().fetch_one(conn).await?;
        self.obstacle(&row)?.map_or(Ok(()), |obstacle| Err(self.error(&obstacle)))
    }

    /// Refuses a ledger of which it was noticed.
    pub(in crate::store) fn refuse(&self) -> Result<(), StoreError> {
        self.found.get().map_or(Ok(()), |obstacle| Err(self.error(obstacle)))
    }

    /// Refuses a ledger of which it was noticed that it was copied. What is written there now would be in no copy.
    pub(in crate::store) fn refuse_copied(&self) -> Result<(), StoreError> {
        match self.found.get() {
            Some(obstacle @ Obstacle::Copied(_)) => Err(self.error(obstacle)),
            _ => Ok(()),
        }
    }
}

/// The newest schema that this program knows.
pub(in crate::store) fn known() -> i64 {
    FOR_SQLITE.iter().map(|m| m.version).max().unwrap_or(0)
}

/// Asks for what may keep this program from using a ledger.
pub(super) fn standing<'q>() -> Query<'q> {
    query(format!("SELECT (SELECT coalesce(max(version), 0) FROM _sqlx_migrations) AS version, {MARK} FROM ledger"))
}

impl Store {
    /// Waits until it is noticed that a newer program migrated the ledger, or that it was copied elsewhere. Each heartbeat
    /// looks.
    pub async fn outgrown(&self) {
        self.shared.outgrown.noticed.cancelled().await;
    }

    /// Refuses a ledger of which it was noticed that a newer program migrated it, or that it was copied elsewhere.
    ///
    /// # Errors
    /// It was noticed.
    pub fn refuse_outgrown(&self) -> Result<(), StoreError> {
        self.shared.outgrown.refuse()
    }

    /// Looks whether this process may use the ledger. For processes that have no heartbeat.
    pub(in crate::store) async fn watch_schema(&self) -> Result<(), StoreError> {
        self.shared.outgrown.watch(&self.read).await?;
        self.refuse_outgrown()
    }
}

/// Brings a file up to date, or refuses it.
pub(super) async fn of_sqlite(conn: &mut SqliteConnection, shown: &str) -> Result<(), StoreError> {
    let table = sqlx::query("SELECT name FROM sqlite_schema WHERE name = '_sqlx_migrations'");
    if table.fetch_optional(&mut *conn).await.map_err(db::of_sqlite)?.is_some() {
        let found = sqlx::query(MIGRATED).fetch_one(&mut *conn).await.map_err(db::of_sqlite)?;
        if is_up_to_date(&FOR_SQLITE, found.get(0), found.get(1), shown)? {
            return Ok(());
        }
    }
    FOR_SQLITE.run_direct(None, conn, false).await.map_err(|e| not_migrated(e, db::of_sqlite))
}

/// Brings the tables on a server up to date, or refuses them. Returns whether they were created just now.
pub(super) async fn of_postgres(conn: &mut PgConnection, shown: &str, create: bool) -> Result<bool, StoreError> {
    // One after the other, from the first look on: of two processes, one creates the tables.
    conn.execute("SELECT pg_advisory_lock(hashtext('wavebatch schema ' || current_schema()))")
        .await
        .map_err(db::of_postgres)?;
    let brought = brought_up_to_date(conn, shown, create).await;
    let _ = conn.execute("SELECT pg_advisory_unlock(hashtext('wavebatch schema ' || current_schema()))").await;
    brought
}

async fn brought_up_to_date(conn: &mut PgConnection, shown: &str, create: bool) -> Result<bool, StoreError> {
    let tables = "SELECT CAST(current_schema() AS TEXT) AS schema, CAST(c.relname AS TEXT) AS name
       FROM pg_class AS c
       WHERE c.relnamespace = CAST(current_schema() AS REGNAMESPACE) AND c.relkind IN ('r', 'p', 'v', 'm')
       ORDER BY (c.relname <> 'ledger'), c.relname";
    let tables = sqlx::query(tables).fetch_all(&mut *conn).await.map_err(db::of_postgres)?;
    let fresh = tables.is_empty();
    if let Some(table) = tables.first() {
        let (schema, table): (String, String) = (table.get(0), table.get(1));
        if table != "ledger" {
            return Err(StoreError::Foreign { schema, table });
        }
        let found = sqlx::query(MIGRATED).fetch_one(&mut *conn).await.map_err(db::of_postgres)?;
        if is_up_to_date(&FOR_POSTGRES, found.get(0), found.get(1), shown)? {
            return Ok(false);
        }
    } else if !create {
        return Err(StoreError::Missing(shown.into()));
    }
    // One transaction: a process that dies in the middle leaves nothing, not even the table of migrations.
    let mut all = conn.begin().await.map_err(db::of_postgres)?;
    FOR_POSTGRES.run_direct(None, &mut *all, false).await.map_err(|e| not_migrated(e, db::of_postgres))?;
    all.commit().await.map_err(db::of_postgres)?;
    Ok(fresh)
}

/// The newest schema of a ledger, and the checksum of its first.
const MIGRATED: &str = "SELECT coalesce(max(version), 0), (SELECT checksum FROM _sqlx_migrations WHERE version = 1)
   FROM _sqlx_migrations";

fn is_up_to_date(ours: &Migrator, found: i64, first: Option<Vec<u8>>, shown: &str) -> Result<bool, StoreError> {
    let first_of_ours = ours.iter().find(|m| m.version == 1).map(|m| m.checksum.to_vec());
    if found > 0 && first != first_of_ours {
        return Err(StoreError::Unreleased(shown.to_owned()));
    }
    let known = known();
    if found > known {
        return Err(StoreError::Newer { ledger: shown.to_owned(), found, known });
    }
    Ok(found == known)
}

fn not_migrated(e: MigrateError, of: fn(sqlx::Error) -> StoreError) -> StoreError {
    match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => of(e),
        e => StoreError::Unexpected(format!("its schema could not be brought up to date: {e}")),
    }
}

/// The id that is generated with a ledger. Refuses a ledger that was copied elsewhere, unless it is opened for that.
pub(super) async fn ledger_id(conn: &mut Conn, now: i64, shown: &str, for_copy: bool) -> Result<String, StoreError> {
    if let Some(row) = query(format!("SELECT id, {MARK} FROM ledger")).fetch_optional(&mut *conn).await? {
        return match CopyMark::of(&row)?.filter(|_| !for_copy) {
            Some(mark) => Err(StoreError::Copied { ledger: shown.to_owned(), mark }),
            None => row.try_get("id"),
        };
    }
    query(
        r"-- schema::ledger_id
          INSERT INTO ledger (one, id, created_at, newest_at)
          VALUES (1, $1, $2, $2)
          ON CONFLICT (one) DO NOTHING",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    query_scalar("SELECT id FROM ledger").fetch_one(conn).await
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        domain::pool::Limits,
        store::{
            Opening,
            tests::{ask, batch, claim, ledger},
        },
    };

    async fn migrated(l: &crate::store::tests::Ledger) {
        let mut other = l.other().await;
        let row = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                   VALUES (99, 'x', true, unhex('00'), 0)";
        query(row).execute(&mut other).await.unwrap();
        other.close().await;
    }

    #[tokio::test]
    async fn a_heartbeat_notices_a_newer_ledger_and_nothing_is_begun_any_more() {
        let l = ledger().await;
        l.submit(batch("b"), 3).await;
        let enlisted = l.store.enlist("{}".into()).await.unwrap();
        let jobs = claim(&l.store, 2).await;
        assert_eq!(jobs.len(), 2);
        l.store.refuse_outgrown().unwrap();
        migrated(&l).await;
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
        migrated(&l).await;
        let refused = l.store.write(|_, _| Box::pin(async { Ok(()) })).await;
        assert!(matches!(refused, Err(StoreError::Newer { found: 99, .. })), "{refused:?}");
        assert!(matches!(other.watch_clock().await, Err(StoreError::Newer { .. })));
        assert!(matches!(other.enlist("{}".into()).await, Err(StoreError::Newer { .. })));
    }

    crate::store::harness::on_postgres_too! {
        a_heartbeat_notices_a_newer_ledger_and_nothing_is_begun_any_more,
        a_process_without_a_heartbeat_writes_nothing_to_a_newer_ledger,
    }
}
