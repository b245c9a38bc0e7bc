//! What is left in the ledger's storage of rows that are gone: in free pages, in the write-ahead log, and on pages of a file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::personal::PERSONAL;
use crate::store::engine::db::{Conn, Engine, of_sqlite, query};
use crate::store::engine::scour;
use crate::store::{Store, StoreError};

/// How long one try to get the lock, or to empty the write-ahead log, waits. Writers wait as long.
const TRY: Duration = Duration::from_millis(200);
/// How long it is tried.
const TRIES: Duration = Duration::from_secs(10);
/// The wait between two tries.
const APART: Duration = Duration::from_millis(30);
/// How many pages are overwritten while the lock is held.
const PAGES_AT_ONCE: usize = 400;

/// Whether what was removed is gone from the storage, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// It is.
    Done,
    /// Not yet, and why.
    Waiting(String),
}

impl Store {
    /// Makes sure that nothing is left of what was removed. In a file: free pages are given back, the unused parts of pages are
    /// overwritten, and the write-ahead log is brought in and emptied. On a server: the tables are vacuumed; its write-ahead log
    /// is its own.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn clean(&self) -> Result<Cleaned, StoreError> {
        let Some(path) = self.file() else {
            let mut conn = self.read.acquire().await?;
            vacuum_tables(&mut conn).await?;
            return Ok(Cleaned::Done);
        };
        self.shrink().await?;
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(TRY).pragma("secure_delete", "ON");
        let conn = options.disable_statement_logging().connect().await;
        let mut conn = Conn::from(conn.map_err(of_sqlite)?);
        let cleaned = self.overwrite(path, &mut conn).await;
        conn.close().await;
        cleaned
    }

    /// The ledger's file, beside SQLite. It stays open: closing it would drop this process's locks on it, SQLite's too.
    fn beside_sqlite(&self, path: &Path) -> Result<Arc<File>, StoreError> {
        let kept = &self.shared.beside_sqlite;
        if let Some(file) = kept.get() {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| unusable(path, e))?;
        // Whoever was faster keeps its own; this one is leaked rather than closed.
        if let Err(file) = kept.set(Arc::new(file)) {
            std::mem::forget(file);
        }
        Ok(Arc::clone(kept.get().expect("it was set just now")))
    }

    async fn overwrite(&self, path: &Path, conn: &mut Conn) -> Result<Cleaned, StoreError> {
        let file = self.beside_sqlite(path)?;
        if let Some(waiting) = empty_log(conn).await? {
            return Ok(waiting);
        }
        let looked = (path.to_owned(), Arc::clone(&file));
        let looked = blocking(path, move || scour::dirty_pages(&looked.0, &looked.1));
        let Some(dirty) = looked.await? else {
            // A file without a map of its pages is rewritten as a whole.
            query("VACUUM").execute(&mut *conn).await?;
            return Ok(empty_log(conn).await?.unwrap_or(Cleaned::Done));
        };
        for pages in dirty.chunks(PAGES_AT_ONCE) {
            if let Some(waiting) = self.overwrite_some((path, &file), conn, pages).await? {
                return Ok(waiting);
            }
            self.let_others_write().await?;
        }
        Ok(empty_log(conn).await?.unwrap_or(Cleaned::Done))
    }

    /// Overwrites the unused parts of some pages, with the write lock held and the log empty.
    async fn overwrite_some(
        &self,
        (path, file): (&Path, &Arc<File>),
        conn: &mut Conn,
        pages: &[u64],
    ) -> Result<Option<Cleaned>, StoreError> {
        let began = Instant::now();
        while began.elapsed() < TRIES {
            if let Some(waiting) = empty_log(conn).await? {
                return Ok(Some(waiting));
            }
            match query("BEGIN IMMEDIATE").execute(&mut *conn).await {
                Ok(_) => {}
                Err(StoreError::Locked(_)) => continue,
                Err(e) => return Err(e),
            }
            // Somebody may have written since the log was emptied.
            if is_empty(&log_of(path)) {
                let (file, pages) = (Arc::clone(file), pages.to_vec());
                let cleared = blocking(path, move || scour::clear_pages(&file, &pages)).await;
                let ended = match &cleared {
                    // The commit is what makes others drop the pages that they have in memory.
                    Ok(_) => commit_a_change(conn, self.now()).await,
                    Err(_) => query("ROLLBACK").execute(&mut *conn).await.map(drop),
                };
                cleared?;
                ended?;
                return Ok(None);
            }
            query("ROLLBACK").execute(&mut *conn).await?;
            tokio::time::sleep(APART).await;
        }
        Ok(Some(Cleaned::Waiting(
            "other processes write all the time, and pages of the ledger wait to be overwritten".into(),
        )))
    }
}

/// Uses the disk on a thread that may block.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|e| unusable(path, e))
}

async fn commit_a_change(conn: &mut Conn, now: i64) -> Result<(), StoreError> {
    query("UPDATE ledger SET newest_at = CASE WHEN newest_at < $1 THEN $1 ELSE newest_at + 1 END")
        .bind(now)
        .execute(&mut *conn)
        .await?;
    query("COMMIT").execute(conn).await?;
    Ok(())
}

fn unusable(path: &Path, source: io::Error) -> StoreError {
    StoreError::Path { path: path.to_owned(), source }
}

fn log_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn is_empty(log: &Path) -> bool {
    fs::metadata(log).map_or(true, |log| log.len() == 0)
}

/// Brings the write-ahead log in, and empties it. Returns why that has to wait, if so.
async fn empty_log(conn: &mut Conn) -> Result<Option<Cleaned>, StoreError> {
    let began = Instant::now();
    loop {
        let is_busy = match query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *conn).await {
            Ok(row) => row.try_get::<i64, _>(0_usize)? != 0,
            Err(StoreError::Locked(_)) => true,
            Err(e) => return Err(e),
        };
        if !is_busy {
            return Ok(None);
        }
        if began.elapsed() > TRIES {
            let why = "a program reads the ledger, and its write-ahead log cannot be emptied";
            return Ok(Some(Cleaned::Waiting(why.into())));
        }
        tokio::time::sleep(APART).await;
    }
}

/// Removes the versions of rows that are gone from the tables of a server.
async fn vacuum_tables(conn: &mut Conn) -> Result<(), StoreError> {
    if conn.engine() != Engine::Postgres {
        return Ok(());
    }
    for table in PERSONAL.iter().filter(|table| !table.personal.is_empty()) {
        query(format!("VACUUM {}", table.table)).execute(&mut *conn).await?;
    }
    Ok(())
}
