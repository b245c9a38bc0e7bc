//! SQLite's own space: pages, caches and the write-ahead log. Other engines manage theirs themselves.

use std::time::Duration;

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use crate::store::engine::db::{Conn, Engine, query, query_scalar};
use crate::store::{Store, StoreError, engine::rows};

/// The size of the writer's page cache, as SQLite expects it: in KiB, and negative.
pub(in crate::store) const WRITER_CACHE: &str = "-65536";
/// The size while a body of megabytes is written: otherwise all its pages would stay in the cache.
const SMALL_CACHE: &str = "-2048";
/// How many pages a transaction gives back at most.
const PAGES_AT_ONCE: i64 = 500;
/// After how many transactions the write-ahead log is checkpointed: otherwise the writer would do that inside a commit,
/// all at once.
const CHECKPOINT_EVERY: u32 = 8;
/// How long emptying the log waits for a reader. Writers wait as long.
const TIMEOUT: Duration = Duration::from_millis(100);

/// Sets the size of the writer's cache from now on.
pub(in crate::store) async fn set_cache(conn: &mut Conn, is_small: bool) -> Result<(), StoreError> {
    let size = if is_small { SMALL_CACHE } else { WRITER_CACHE };
    if conn.engine() == Engine::Sqlite {
        query(format!("PRAGMA cache_size = {size}")).execute(conn).await?;
    }
    Ok(())
}

/// After the disk was full, the log is checkpointed before it exceeds 4 MB, and starts again in its file. It repeats most
/// pages many times: with its usual limit (64 MB) it would take all the space that is freed.
pub(in crate::store) async fn keep_log_short(conn: &mut Conn) {
    // The next full disk tries this again.
    let _ = query("PRAGMA wal_autocheckpoint = 1000").execute(conn).await;
}

/// Gives some free pages back to the file system. Returns how many were free before, and how many are left.
pub(in crate::store) async fn give_back(conn: &mut Conn) -> Result<(i64, i64), StoreError> {
    if conn.engine() == Engine::Postgres {
        return Ok((0, 0));
    }
    let free = "PRAGMA freelist_count";
    let before = query_scalar(free).fetch_one(&mut *conn).await?;
    query(format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})")).fetch_all(&mut *conn).await?;
    Ok((before, query_scalar(free).fetch_one(conn).await?))
}

/// The bytes of the ledger's pages, and of its free pages.
pub(in crate::store) async fn page_bytes(conn: &mut Conn) -> Result<(u64, u64), StoreError> {
    if conn.engine() == Engine::Postgres {
        let bytes: i64 = query_scalar("SELECT wb_bytes()").fetch_one(conn).await?;
        return Ok((u64::try_from(bytes).unwrap_or(0), 0));
    }
    let row = query(
        r"-- space::page_bytes
          SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS file,
            (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size) AS free",
    )
    .fetch_one(conn)
    .await?;
    let get = |name| rows::length(&row, name).map(Option::unwrap_or_default);
    Ok((get("file")?, get("free")?))
}

/// A connection beside the writer's that checkpoints the write-ahead log. The writer does later what it cannot do now, so
/// it returns no errors.
#[derive(Default)]
pub(in crate::store) struct Log {
    conn: Option<Conn>,
    steps: u32,
}

impl Log {
    /// Counts a transaction. From time to time it checkpoints the log, beside the readers and writers.
    pub(in crate::store) async fn step(&mut self, store: &Store) {
        self.steps += 1;
        if self.steps.is_multiple_of(CHECKPOINT_EVERY) {
            self.checkpoint(store, "PASSIVE").await;
            // Without a readable ledger there is nothing to wait for; the next step returns the error.
            let _ = store.let_others_write().await;
        }
    }

    /// Checkpoints everything and truncates the log. Only then is the file itself as small as it can be.
    pub(in crate::store) async fn empty(&mut self, store: &Store) {
        self.checkpoint(store, "PASSIVE").await;
        self.checkpoint(store, "TRUNCATE").await;
    }

    async fn checkpoint(&mut self, store: &Store, mode: &str) {
        let Some(path) = store.file() else { return };
        if self.conn.is_none() {
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(TIMEOUT);
            self.conn = options.disable_statement_logging().connect().await.ok().map(Conn::from);
        }
        if let Some(conn) = &mut self.conn
            && let Err(e) = query(format!("PRAGMA wal_checkpoint({mode})")).fetch_all(conn).await
        {
            tracing::debug!(error = %e, "the write-ahead log was not brought in");
        }
    }

    pub(in crate::store) async fn close(self) {
        if let Some(conn) = self.conn {
            conn.close().await;
        }
    }
}
